# SPDX-License-Identifier: Apache-2.0
"""What hosts of a link learn from the router over IPv6: hops, the MTU of a path, duplicates, their addresses and their way out."""

import json

from lab import poll_until
from lab import weft as words
from test_ip6 import PLEN, hosts, network_of, pings, reachable, routers, six
from test_vplaned import SECONDS

__all__ = ["six"]


def started(six, settings=""):
    (a, b), start = six
    ports = [words.Port(site.port, (f"{routers(number)}/{PLEN}",), settings=settings)
             for number, site in enumerate((a, b), 1)]
    weft = start(ports)
    reachable(a, weft)
    return a, b, weft


def test_a_hop_limit_that_runs_out_is_told_by_the_router(six):
    a, _, weft = started(six)
    answer = a.host.run("ping", "-6", "-c", 1, "-W", 1, "-t", 1, hosts(2), check=False).stdout
    assert f"From {routers(1)}" in answer and "Hop limit" in answer, answer
    weft.stop()


def test_a_sender_finds_the_mtu_of_its_path(six):
    a, b, weft = started(six)
    weft.cli(f"set interface mtu 1400 {b.port}")
    sent = a.host.run("ping", "-6", "-c", 2, "-i", "0.2", "-W", 1, "-s", 1452, "-M", "do", hosts(2), check=False).stdout
    assert "mtu=1400" in sent.lower() or "mtu: 1400" in sent.lower(), sent
    # The kernel knows the path from then on, and sends fragments where it may.
    assert "mtu 1400" in a.host.ip("-6", "route", "get", hosts(2))
    assert pings(a, hosts(2), "-s", 1452)
    weft.stop()


def test_hosts_autoconfigure_from_advertisements(six):
    a, _, weft = started(six)
    host = a.host
    host.ip("-6", "route", "del", "default")
    host.sysctl(net__ipv6__conf__eth0__forwarding=0, net__ipv6__conf__eth0__accept_ra=2, net__ipv6__conf__eth0__autoconf=1)
    weft.cli(f"set interface ip6 router-advertisement {a.port} enable")

    def formed():
        links = json.loads(host.ip("-6", "-j", "addr", "show", "dev", "eth0"))
        return any(each["local"].startswith(network_of(1)[:-1]) and each.get("dynamic") for each in links[0]["addr_info"])

    poll_until(formed, SECONDS, "an address in the subnet of the advertisement")
    assert "proto ra" in host.ip("-6", "route", "show", "default")
    reachable(a, weft)
    weft.cli(f"set interface ip6 router-advertisement {a.port} disable")
    poll_until(lambda: "proto ra" not in host.ip("-6", "route", "show", "default"), SECONDS, "the way out is taken back")
    weft.stop()


def test_nobody_takes_the_address_of_the_router(six):
    a, _, weft = started(six)
    a.host.sysctl(net__ipv6__conf__eth0__accept_dad=1)
    a.host.ip("addr", "add", f"{routers(1)}/{PLEN}", "dev", "eth0")

    def failed():
        links = json.loads(a.host.ip("-6", "-j", "addr", "show", "dev", "eth0"))
        return any(each["local"] == routers(1) and each.get("dadfailed") for each in links[0]["addr_info"])

    poll_until(failed, SECONDS, "the host has asked, and the router has answered")
    # Who does not ask is found out.
    a.host.ip("addr", "del", f"{routers(1)}/{PLEN}", "dev", "eth0")
    weft.cli(f"set interface ip address del {a.port} {routers(1)}/{PLEN}")
    a.host.ip("addr", "add", f"{routers(1)}/{PLEN}", "dev", "eth0", "nodad")
    weft.cli(f"set interface ip address {a.port} {routers(1)}/{PLEN}")
    poll_until(lambda: f"uses our address {routers(1)}" in weft.log_text(), SECONDS, "the log names the other station")
    weft.stop()
