# SPDX-License-Identifier: Apache-2.0
"""What hosts of a link learn from the router over IPv6: hops, the MTU of a path, duplicates, their addresses and their way out."""

import json
import re
import threading
from ipaddress import IPv6Address

from scapy.layers.inet6 import (
    ICMPv6MLQuery,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    ICMPv6ND_RA,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether

from lab import poll_until
from lab import weft as words
from lab.wire import Wire
from test_ip6 import PLEN, hosts, network_of, pings, reachable, routers, six
from test_ip6_flow import connect
from test_vplaned import SECONDS

# Bytes of a transfer: some 1,700 segments.
BULK = 2 << 20

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


def heard(wire, layer):
    """The packets with a layer of scapy that have arrived, as scapy reads them."""
    packets = (Ether(bytes(frame)) for frame in wire.frames())
    return [packet for packet in packets if layer in packet]


def test_hosts_hear_who_resolves_names_and_what_is_said_of_prefixes(six):
    a, _, weft = started(six)
    with Wire(a.host, "eth0") as wire:
        weft.cli(f"set interface ip6 ra-dns {a.port} 2001:db8::53,2001:db8::54")
        weft.cli(f"set interface ip6 ra-domains {a.port} corp.example,example.org")
        weft.cli(f"ip6 nd {a.port} ra-other-config-flag ra-interval 30 prefix 2001:db8:77::/64 600 300 no-autoconfig")
        weft.cli(f"ip6 nd {a.port} no ra-suppress")
        poll_until(lambda: heard(wire, ICMPv6ND_RA), SECONDS, "an advertisement")
        said = heard(wire, ICMPv6ND_RA)[-1]
        assert (said[ICMPv6ND_RA].M, said[ICMPv6ND_RA].O) == (0, 1)
        assert (said[ICMPv6NDOptRDNSS].dns, said[ICMPv6NDOptRDNSS].lifetime) == (["2001:db8::53", "2001:db8::54"], 90)
        domains = said[ICMPv6NDOptDNSSL].searchlist
        assert [name.rstrip(".") for name in domains if name.strip(".")] == ["corp.example", "example.org"]
        prefixes, at = {}, said[ICMPv6NDOptPrefixInfo]
        while isinstance(at, ICMPv6NDOptPrefixInfo):
            prefixes[f"{at.prefix}/{at.prefixlen}"] = (at.L, at.A, at.validlifetime, at.preferredlifetime)
            at = at.payload
        assert prefixes == {f"{network_of(1)}/64": (1, 1, 2592000, 604800), "2001:db8:77::/64": (1, 0, 600, 300)}
        # A change is heard soon.
        wire.clear()
        weft.cli(f"ip6 nd {a.port} no prefix 2001:db8:77::/64 ra-managed-config-flag")
        poll_until(lambda: any(each[ICMPv6ND_RA].M for each in heard(wire, ICMPv6ND_RA)), SECONDS, "the change")
    weft.stop()


def test_a_stable_address_outlives_the_daemon_and_the_mac_address(six, tmp_path):
    (a, _), start = six
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef\n")

    def own(settings):
        port = words.Port(a.port, (f"{routers(1)}/{PLEN}",), settings=settings)
        weft = start([port], more=f"unix {{ stable-secret {secret} }}")
        return weft, weft.cli_json(f"show ip6 interface {a.port}")["interfaces"][0]["link_local"]

    weft, first = own("ip6 link-local stable")
    weft.cli(f"set interface mac address {a.port} 02:00:00:00:00:99")
    assert weft.cli_json(f"show ip6 interface {a.port}")["interfaces"][0]["link_local"] == first
    poll_until(lambda: pings(a, f"{first}%eth0"), SECONDS, "it answers")
    weft.stop()
    weft, again = own("ip6 link-local stable")
    assert again == first
    weft.stop()
    secret.write_text("fedcba9876543210fedcba9876543210\n")
    weft, other = own("ip6 link-local stable")
    assert other != first
    weft.stop()


def listed(packet):
    """The groups of a report of version 2 (RFC 3810 section 5.2); scapy reads the first one only."""
    rest = packet[ICMPv6MLReport2].original[8:]
    while len(rest) >= 20:
        yield str(IPv6Address(rest[4:20]))
        rest = rest[20 + 4 * rest[1] + 16 * int.from_bytes(rest[2:4], "big"):]


def test_a_querier_of_either_version_is_answered_in_its_own(six):
    a, _, weft = started(six)
    wanted = f"ff02::1:ff00:{int(routers(1).split(':')[-1]):x}"
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)])
    (shown,) = json.loads(a.host.ip("-6", "-j", "addr", "show", "dev", "eth0"))
    from_host = next(each["local"] for each in shown["addr_info"] if each["scope"] == "link")
    frame = Ether(src=a.host_mac, dst="33:33:00:00:00:01") / IPv6(src=from_host, dst="ff02::1", hlim=1) / alert
    old = frame / ICMPv6MLQuery(mrd=100)
    # As version 2 has it: four bytes more.
    new = frame / ICMPv6MLQuery(mrd=100) / b"\x02\x7d\x00\x00"
    with Wire(a.host, "eth0") as wire:
        def groups(layer, read):
            return {group for packet in heard(wire, layer) if packet[Ether].src == a.port_mac for group in read(packet)}

        wire.send(new)
        poll_until(lambda: {wanted, "ff02::2"} <= groups(ICMPv6MLReport2, listed), SECONDS, "version 2")
        assert not groups(ICMPv6MLReport, lambda packet: [packet[ICMPv6MLReport].mladdr])
        wire.send(old)
        each = lambda packet: [packet[ICMPv6MLReport].mladdr]  # noqa: E731
        poll_until(lambda: {wanted, "ff02::2"} <= groups(ICMPv6MLReport, each), SECONDS, "version 1")
        reports = [packet for packet in heard(wire, ICMPv6MLReport) if packet[Ether].src == a.port_mac]
        assert all(packet[IPv6].dst == packet[ICMPv6MLReport].mladdr for packet in reports)
    weft.stop()


def test_with_a_small_mtu_of_the_kernel_ipv6_is_off_until_it_grows(six):
    a, b, weft = started(six)
    router = weft.namespace
    router.ip("link", "set", a.port, "mtu", 1279)
    poll_until(lambda: not pings(a, routers(1)), SECONDS, "it is off")
    assert not pings(a, hosts(2)) and "IPv6 needs an MTU of at least 1280" in weft.log_text()
    assert "IPv6 is OFF" in weft.cli(f"show ip6 interface {a.port}")
    router.ip("link", "set", a.port, "mtu", 1280)
    reachable(a, weft)
    assert "IPv6 is on again" in weft.log_text()
    weft.stop()


def test_a_station_elsewhere_is_answered_for(six):
    """The second host has an address of the first one's subnet, which that one takes to be on its own link."""
    a, b, weft = started(six)
    moved = f"{network_of(1)}99"
    b.host.ip("addr", "add", f"{moved}/128", "dev", "eth0", "nodad")
    assert not pings(a, moved)
    weft.cli(f"set ip6 nd proxy {b.port} {moved}")
    a.host.ip("-6", "neigh", "flush", "all")
    poll_until(lambda: pings(a, moved), SECONDS, "it is reached")
    known = json.loads(a.host.ip("-6", "-j", "neigh", "show", moved))[0]
    assert known["lladdr"] == a.port_mac
    weft.cli(f"set ip6 nd proxy {b.port} del {moved}")
    a.host.ip("-6", "neigh", "flush", "all")
    assert not pings(a, moved)
    weft.stop()


def test_traceroute_names_the_router_and_tcp_passes_a_link_of_1280_bytes(six):
    a, b, weft = started(six)
    trace = a.host.output("traceroute", "-6", "-n", "-q", 1, "-w", 2, hosts(2))
    hops = re.findall(r"^ *(\d+) +(\S+)", trace, re.M)
    assert hops == [("1", routers(1)), ("2", hosts(2))], trace
    weft.cli(f"set interface mtu 1280 {b.port}")
    client, server = connect(a, b)
    sender = threading.Thread(target=client.sendall, args=(bytes(BULK),))
    sender.start()
    received = 0
    while received < BULK and (piece := server.recv(1 << 16)):
        received += len(piece)
    sender.join(SECONDS)
    assert received == BULK
    assert "mtu 1280" in a.host.ip("-6", "route", "get", hosts(2)), "by a packet too big"
    weft.stop()
