# SPDX-License-Identifier: Apache-2.0
"""IPv6 between two hosts, configured by each of the front ends that configure IPv4."""

import contextlib
import ipaddress
import json
import random
import socket
import threading
import time

import pytest

from lab import Weft, poll_until, sites
from lab import weft as words
from test_binapi import VppEnum, client
from test_vplaned import SECONDS, Driven

PLEN = 64


def network_of(number):
    return f"2001:db8:{number}::"


def routers(number):
    return f"{network_of(number)}1"


def hosts(number):
    return f"{network_of(number)}2"


# A network behind the second host.
BEHIND = "2001:db8:9::"


@pytest.fixture
def six(lab):
    """A router and two hosts with IPv6; the daemon is the test's to start."""
    router = lab.namespace("router")
    made = sites(lab, router, 2)
    for number, site in enumerate(made, 1):
        site.host.sysctl(**{f"net__ipv6__conf__{name}__disable_ipv6": 0 for name in ("lo", "eth0")},
                         net__ipv6__conf__eth0__accept_dad=0)
        site.host.ip("addr", "add", f"{hosts(number)}/{PLEN}", "dev", "eth0", "nodad")
        site.host.ip("route", "add", "default", "via", routers(number))
    made[1].host.ip("addr", "add", f"{BEHIND}1/128", "dev", "lo", "nodad")

    def start(ports, **options):
        return Weft(lab, router, ports, **options).start()

    return made, start


def pings(site, address, *options):
    return site.host.run("ping", "-6", "-c", 1, "-W", 1, *options, address, check=False).returncode == 0


def reachable(a, weft, address=None):
    poll_until(lambda: pings(a, address or hosts(2)), SECONDS, f"the host answers; the log:\n{weft.log_text()}")


def test_startup_conf_and_the_command_line(six):
    (a, b), start = six
    ports = [words.Port(a.port, (f"{routers(1)}/{PLEN}",)), words.Port(b.port)]
    weft = start(ports)
    assert not pings(a, hosts(2))
    weft.cli(f"set interface ip address {b.port} {routers(2)}/{PLEN}")
    reachable(a, weft)
    assert pings(a, routers(1)) and pings(a, routers(2)), "the router answers under each of its addresses"
    assert "time=" in a.host.output("ping", "-6", "-c", 1, "-s", 1452, "-M", "do", hosts(2))
    own = weft.cli_json(f"show ip6 interface {a.port}")["interfaces"][0]["link_local"]
    assert pings(a, f"{own}%eth0"), "and on the link alone"

    weft.cli(f"ip route add {BEHIND}/48 via {hosts(2)} {b.port}")
    reachable(a, weft, f"{BEHIND}1")
    weft.cli(f"ip route del {BEHIND}/48")
    assert not pings(a, f"{BEHIND}1")
    # A next hop is often known by its link-local address alone.
    link_local = next(info["local"] for link in json.loads(b.host.ip("-6", "-j", "addr", "show", "dev", "eth0"))
                      for info in link["addr_info"] if info["scope"] == "link")
    weft.cli(f"ip route add {BEHIND}/48 via {link_local} {b.port}")
    reachable(a, weft, f"{BEHIND}1")

    known = {each["address"]: each["mac"] for each in weft.cli_json("show ip6 neighbors")["neighbors"]}
    assert known[hosts(1)] == a.host_mac and known[hosts(2)] == b.host_mac
    assert weft.cli_json("show ip4 neighbors")["neighbors"] == []
    # Who is configured is not asked.
    weft.cli(f"set ip neighbor {b.port} {network_of(2)}77 02:00:00:00:00:77")
    assert not pings(a, f"{network_of(2)}77")
    route = weft.cli_json(f"show ip6 fib {network_of(2)}77")["tables"][0]["routes"][0]
    assert route["prefix"] == f"{network_of(2)}77/128" and "mac:02:00:00:00:00:77" in route["buckets"][0]
    with pytest.raises(words.CliError) as refused:
        weft.cli(f"set interface mtu 1279 {b.port}")
    assert "IPv6 is enabled there" in refused.value.output
    weft.stop()


@pytest.mark.slow
def test_a_change_of_200_000_routes_loses_no_packet(six):
    """As its like for IPv4: traffic goes to addresses whose most specific route comes and goes, and so do others around them."""
    (a, b), start = six
    b.host.ip("-6", "route", "add", "local", f"{BEHIND}/48", "dev", "lo")
    weft = start([words.Port(site.port, (f"{routers(number)}/{PLEN}",)) for number, site in enumerate((a, b), 1)])
    weft.cli(words.route(f"{BEHIND}/48", hosts(2), b.port))
    reachable(a, weft, f"{BEHIND}1")
    routes = lambda: weft.cli_json("show ip6 fib table 0 summary")["tables"][0]["prefixes"]  # noqa: E731
    before = routes()

    chosen = random.Random(7)
    behind = int(ipaddress.IPv6Address(BEHIND))
    prefixes = [f"{ipaddress.IPv6Address(behind | subnet << 64)}/64" for subnet in range(65_536)]
    while len(prefixes) < 200_000:
        length = chosen.choice((29, 32, 40, 44, 48, 48, 48, 64, 128))
        address = (0x2A00 << 112 | chosen.getrandbits(20) << 92 | chosen.getrandbits(92)) >> (128 - length) << (128 - length)
        prefixes.append(f"{ipaddress.IPv6Address(address)}/{length}")
    prefixes = list(dict.fromkeys(prefixes))
    chosen.shuffle(prefixes)

    got, ended = set(), threading.Event()
    receiver = b.host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    receiver.settimeout(0.1)
    receiver.bind(("::", 4000))
    sender = a.host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sent = 0

    def receive():
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                got.add(int.from_bytes(receiver.recv(8)))

    def send():
        nonlocal sent
        while not ended.is_set():
            address = str(ipaddress.IPv6Address(behind | random.getrandbits(80)))
            sender.sendto(sent.to_bytes(8), (address, 4000))
            sent += 1
            time.sleep(0.0005)

    threads = [threading.Thread(target=work) for work in (receive, send)]
    try:
        threads[0].start()
        threads[1].start()
        weft.script(words.route(prefix, hosts(2), b.port) for prefix in prefixes)
        assert routes() == before + len(prefixes)
        weft.script(words.route(prefix, add=False) for prefix in prefixes)
        assert routes() == before
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    with contextlib.suppress(TimeoutError):
        while len(got) < sent:
            got.add(int.from_bytes(receiver.recv(8)))
    assert sent > 1_000, "traffic flowed meanwhile"
    assert len(got) == sent, f"lost: {sorted(set(range(sent)) - got)[:10]}"
    weft.stop()


def test_two_tables_have_the_same_addresses_and_never_meet(six):
    (a, b), start = six
    ports = [words.Port(site.port, settings="ip6 table 7" if site is b else "") for site in (a, b)]
    weft = start(ports)
    for number, site in enumerate((a, b), 1):
        weft.cli(f"set interface ip address {site.port} {routers(number)}/{PLEN}")
    weft.cli(f"set interface ip address {b.port} {routers(1)}/128")
    poll_until(lambda: pings(b, routers(1)), SECONDS, "the other table has the address, too")
    assert pings(a, routers(1)) and not pings(a, hosts(2))
    # A route leads from one table into the other, and one back.
    weft.cli(f"ip route add {network_of(2)}/{PLEN} via table 7")
    weft.cli(f"ip route add {network_of(1)}/{PLEN} table 7 via table 0")
    reachable(a, weft)
    weft.stop()


def test_messages(six):
    (a, b), start = six
    weft = start([words.Port(site.port) for site in (a, b)])
    with client(weft) as vpp:
        index = {each.interface_name: each.sw_if_index for each in vpp.api.sw_interface_dump()}
        for number, site in enumerate((a, b), 1):
            vpp.api.sw_interface_add_del_address(sw_if_index=index[site.port], is_add=True,
                                                 prefix=f"{routers(number)}/{PLEN}")
        reachable(a, weft)
        family = VppEnum.vl_api_address_family_t.ADDRESS_IP6
        known = {str(each.neighbor.ip_address): str(each.neighbor.mac_address)
                 for each in vpp.api.ip_neighbor_dump(sw_if_index=0xFFFFFFFF, af=family)}
        assert known[hosts(2)] == b.host_mac
        addresses = [str(each.prefix) for each in vpp.api.ip_address_dump(sw_if_index=index[a.port], is_ipv6=True)]
        assert addresses == [f"{routers(1)}/{PLEN}"]
        next_hop = {
            "sw_if_index": index[b.port],
            "proto": VppEnum.vl_api_fib_path_nh_proto_t.FIB_API_PATH_NH_PROTO_IP6,
            "nh": {"address": {"ip6": hosts(2)}},
            "weight": 1,
            "label_stack": [{}] * 16,
        }
        said = {"prefix": f"{BEHIND}/48", "n_paths": 1, "paths": [next_hop]}
        assert vpp.api.ip_route_add_del(is_add=True, route=said).retval == 0
        reachable(a, weft, f"{BEHIND}1")
        routes = {str(each.route.prefix): each.route for each in vpp.api.ip_route_dump(table={"is_ip6": True})}
        assert str(routes[f"{BEHIND}/48"].paths[0].nh.address.ip6) == hosts(2)
        tables = {(each.table.is_ip6, each.table.table_id) for each in vpp.api.ip_table_dump()}
        assert tables == {(False, 0), (True, 0)}
        own = vpp.api.sw_interface_ip6_get_link_local_address(sw_if_index=index[a.port])
        assert own.retval == 0 and pings(a, f"{own.ip}%eth0")
        assert vpp.api.ip_route_add_del(is_add=False, route=said).retval == 0
        assert not pings(a, f"{BEHIND}1")
    weft.stop()


def test_vplaned(lab):
    net = Driven(lab).start()
    a, b = net.sites
    for number, site in enumerate(net.sites, 1):
        tap = f"dp0{site.port}"
        net.router.ip("link", "set", tap, "up")
        for place, interface in ((net.router, tap), (site.host, "eth0"), (site.host, "lo")):
            place.sysctl(**{f"net__ipv6__conf__{interface}__{key}": 0 for key in ("disable_ipv6", "accept_dad")})
        # Weft follows it. The kernel itself forwards only if "all" is set, too.
        net.router.sysctl(**{f"net__ipv6__conf__{tap}__forwarding": 1})
        net.router.ip("addr", "add", f"{routers(number)}/{PLEN}", "dev", tap, "nodad")
        site.host.ip("addr", "add", f"{hosts(number)}/{PLEN}", "dev", "eth0", "nodad")
        site.host.ip("route", "add", "default", "via", routers(number))
    # The kernel does not forward IPv6: what arrives was sent on by Weft.
    reachable(a, net.weft)
    before = sum(net.weft.node_packets(words.LAST6).values())
    assert pings(a, hosts(2)) and sum(net.weft.node_packets(words.LAST6).values()) >= before + 2
    b.host.ip("addr", "add", f"{BEHIND}1/128", "dev", "lo", "nodad")
    net.router.ip("route", "add", f"{BEHIND}/48", "via", hosts(2))
    reachable(a, net.weft, f"{BEHIND}1")
    status, output = net.ask(f"route6 lookup {BEHIND}1")
    found = json.loads(output)["route6_lookup"][0]
    assert status == "OK" and (found["state"], found["via"]) == ("gateway", hosts(2))
    known = {each["ip"]: each["mac"] for each in json.loads(net.ask("nd6")[1])["nd6"]}
    assert hosts(1) in known
    net.router.ip("route", "del", f"{BEHIND}/48")
    poll_until(lambda: not pings(a, f"{BEHIND}1"), SECONDS, "the route is gone")
    # What the kernel says of forwarding and of proxying on an interface holds here, too.
    net.router.sysctl(net__ipv6__conf__dp0p0__forwarding=0)
    poll_until(lambda: not pings(a, hosts(2)), SECONDS, "nothing is forwarded")
    assert pings(a, routers(1)) and "forwards no IPv6" in net.weft.log_text()
    net.router.sysctl(net__ipv6__conf__dp0p0__forwarding=1, net__ipv6__conf__dp0p0__proxy_ndp=1)
    reachable(a, net.weft)
    settings = {each["setting"]: each["value"] for each in net.weft.cli_json("show settings p0")["settings"]}
    assert (settings["ip6-forwarding"], settings["proxy-nd"]) == ("enable", "enable")
    assert net.weft.cli_json("show vplaned")["changes_failed"] == 0
