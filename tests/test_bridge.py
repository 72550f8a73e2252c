# SPDX-License-Identifier: Apache-2.0
"""Bridging: hosts on ports of one bridge domain are neighbours, and this host is one of them by its BVI."""

import threading

import pytest

from lab import Wire
from lab import weft as words
from lab.namespace import poll_until
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Dot1Q, Ether

DOMAIN = 10
SECONDS = 15


def _address(number):
    return f"10.9.0.{number}"


def _bridge(port, more=""):
    return f"set interface l2 bridge {port} {DOMAIN} {more}"


def _pings(site, address, *options):
    return site.host.run("ping", "-c", 1, "-W", 2, *options, address, check=False).returncode == 0


def _reaches(site, address, *options):
    poll_until(lambda: _pings(site, address, *options), SECONDS, f"{site.host.name} pings {address}")


def _stations(net):
    """{MAC: interface} of what is learned."""
    stations = net.weft.cli_json(f"show l2fib bd_id {DOMAIN}")["stations"]
    return {it["mac"]: it["interface"] for it in stations if it["learned"]}


def _domain(net):
    return net.weft.cli_json(f"show bridge-domain {DOMAIN} detail")["domains"][0]


@pytest.fixture
def bridged(network):
    """Three hosts, 10.9.0.1 to 3, on ports of one domain."""
    net = network(count=3)
    for number, site in enumerate(net.sites, 1):
        site.host.ip("addr", "add", f"{_address(number)}/24", "dev", "eth0")
        net.weft.cli(_bridge(site.port))
    return net


def test_hosts_on_a_domain_are_neighbours(bridged):
    sites = bridged.sites
    for site in sites:
        for number in range(1, 4):
            assert _pings(site, _address(number)), f"{site.host.name} pings {_address(number)}"
    assert _stations(bridged) == {site.host_mac: site.port for site in sites}
    domain = _domain(bridged)
    assert (domain["learned"], domain["moves"], len(domain["ports"])) == (3, 0, 3)
    # A broadcast reaches everybody, and its sender only once.
    with Wire(sites[0].host, "eth0") as first, Wire(sites[1].host, "eth0") as second, Wire(sites[2].host, "eth0") as third:
        def mine(frame):
            return ARP in Ether(frame) and Ether(frame)[ARP].pdst == "10.9.0.99"
        first.send(Ether(src=sites[0].host_mac, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc=_address(1), pdst="10.9.0.99"))
        second.expect(mine, what="the request")
        third.expect(mine, what="the request")
        first.expect_none(mine, what="its own request")


def test_a_port_in_a_domain_is_no_router(bridged):
    """As in VPP: it answers no ARP for its address and routes nothing, until it is l3 again."""
    a = bridged.sites[0]
    assert not _pings(a, a.router_ip)
    bridged.weft.cli(f"set interface l3 {a.port}")
    _reaches(a, a.router_ip)
    assert not _pings(a, _address(2))


def test_tcp_carries_bytes_both_ways(bridged):
    a, b = bridged.sites[0], bridged.sites[2]
    assert _pings(a, _address(3))
    size = 20 << 20
    with b.host.socket() as listener, a.host.socket() as client:
        listener.bind((_address(3), 7000))
        listener.listen()
        listener.settimeout(SECONDS)
        client.settimeout(SECONDS)
        client.connect((_address(3), 7000))
        server, _ = listener.accept()
        server.settimeout(SECONDS)

        def echo():
            left = size
            while left:
                data = server.recv(min(left, 1 << 16))
                server.sendall(data)
                left -= len(data)

        echoing = threading.Thread(target=echo)
        echoing.start()
        sending = threading.Thread(target=lambda: client.sendall(bytes(size)))
        sending.start()
        received = 0
        while received < size:
            received += len(client.recv(1 << 16))
        sending.join(SECONDS)
        echoing.join(SECONDS)
        server.close()
    assert received == size
    # Known stations are not flooded: the third host saw next to none of it.
    assert bridged.sites[1].host.counters("eth0")["rx_packets"] < 1000


def test_a_station_that_moves_is_found(bridged):
    a, b, c = bridged.sites
    assert _pings(b, _address(1))
    assert _stations(bridged)[a.host_mac] == a.port
    # The same machine, by another port.
    a.host.ip("addr", "del", f"{_address(1)}/24", "dev", "eth0")
    a.host.ip("link", "set", "eth0", "down")
    c.host.ip("link", "set", "eth0", "down")
    c.host.ip("link", "set", "eth0", "address", a.host_mac, "up")
    c.host.ip("addr", "add", f"{_address(1)}/24", "dev", "eth0")
    _reaches(c, _address(2), "-I", _address(1))
    assert _stations(bridged)[a.host_mac] == c.port
    _reaches(b, _address(1))


def test_a_move_between_ports_that_are_up_is_counted(bridged):
    a, _, c = bridged.sites
    with Wire(a.host, "eth0") as first, Wire(c.host, "eth0") as third:
        def speak(wire):
            wire.send(Ether(src="02:fe:77:00:00:01", dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.9.0.77", pdst="10.9.0.99"))
        speak(first)
        poll_until(lambda: _stations(bridged).get("02:fe:77:00:00:01") == a.port, SECONDS, "it is learned")
        speak(third)
        poll_until(lambda: _stations(bridged).get("02:fe:77:00:00:01") == c.port, SECONDS, "it has moved")
    assert _domain(bridged)["moves"] == 1


def test_flush_filter_and_static_entries(bridged):
    a, b, c = bridged.sites
    assert _pings(a, _address(2))
    bridged.weft.cli(f"l2fib flush-mac bridge-domain {DOMAIN}")
    assert _stations(bridged) == {}
    bridged.weft.cli(f"l2fib add {b.host_mac} {DOMAIN} filter")
    assert not _pings(a, _address(2))
    assert _pings(a, _address(3))
    bridged.weft.cli(f"l2fib del {b.host_mac} {DOMAIN}")
    bridged.weft.cli(f"l2fib add {b.host_mac} {DOMAIN} {c.port}")
    assert not _pings(a, _address(2)) and not _pings(b, _address(1))
    assert bridged.weft.drops()[("l2-input", "source is configured to be on another port")] > 0
    bridged.weft.cli(f"l2fib del {b.host_mac} {DOMAIN}")
    _reaches(a, _address(2))


def test_ports_of_one_split_horizon_group_do_not_hear_each_other(bridged):
    a, b, c = bridged.sites
    for site in (a, b):
        bridged.weft.cli(_bridge(site.port, "shg 1"))
    assert not _pings(a, _address(2))
    assert _pings(a, _address(3)) and _pings(b, _address(3))


def test_the_bvi_is_a_host_of_the_domain_and_a_router(bridged):
    a, b, c = bridged.sites
    weft = bridged.weft
    weft.cli(f"set interface l3 {c.port}")
    for command in ["create loopback interface", _bridge("loop0", "bvi"), words.address("loop0", "10.9.0.254/24"),
                    words.address("loop0", "2001:db8:9::1/64"), words.state("loop0", True)]:
        weft.cli(command)
    _reaches(a, "10.9.0.254")
    assert _pings(b, "10.9.0.254")
    # The router asks for hosts behind the BVI, and routes to them.
    a.host.ip("route", "replace", "default", "via", "10.9.0.254")
    c.host.ip("route", "replace", "10.9.0.0/24", "via", c.router_ip)
    c.host.ip("addr", "del", f"{_address(3)}/24", "dev", "eth0")
    c.host.ip("route", "replace", "10.9.0.0/24", "via", c.router_ip)
    weft.cli("clear ip neighbors")
    _reaches(c, _address(1))
    assert _pings(a, c.host_ip)
    assert weft.neighbors()[_address(1)] == a.host_mac
    # IPv6 as well.
    for site, last in ((a, 11), (b, 12)):
        site.host.sysctl(net__ipv6__conf__eth0__disable_ipv6=0)
        site.host.ip("addr", "add", f"2001:db8:9::{last}/64", "dev", "eth0", "nodad")
    _reaches(a, "2001:db8:9::1")
    _reaches(a, "2001:db8:9::12")
    weft.cli("clear ip neighbors")
    _reaches(b, "2001:db8:9::1")


def test_a_vlan_of_a_trunk_is_bridged_with_an_access_port(network):
    net = network()
    a, b = net.sites
    b.host.ip("addr", "add", f"{_address(2)}/24", "dev", "eth0")
    for command in [*words.sub_interface(a.port, 100), _bridge(f"{a.port}.100"), _bridge(b.port),
                    f"set interface l2 tag-rewrite {a.port}.100 pop 1"]:
        net.weft.cli(command)
    trunk = Ether(src=a.host_mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=100)
    with Wire(a.host, "eth0") as wire:
        wire.send(trunk / ARP(hwsrc=a.host_mac, psrc=_address(1), pdst=_address(2)))
        [reply] = wire.expect(lambda f: ARP in Ether(f) and Ether(f)[ARP].op == 2, what="the host's answer")
        assert (Ether(reply)[Dot1Q].vlan, Ether(reply)[ARP].hwsrc) == (100, b.host_mac)
        echo = Ether(src=a.host_mac, dst=b.host_mac) / Dot1Q(vlan=100) / IP(src=_address(1), dst=_address(2)) / ICMP(id=3)
        wire.send(echo / b"in a vlan")
        [reply] = wire.expect(lambda f: ICMP in Ether(f) and Ether(f)[ICMP].type == 0, what="an echo reply")
        assert Ether(reply)[Dot1Q].vlan == 100


def test_a_cross_connection_is_a_cable(network):
    net = network()
    a, b = net.sites
    for number, site in enumerate(net.sites, 1):
        site.host.ip("addr", "add", f"{_address(number)}/24", "dev", "eth0")
    net.weft.cli(f"set interface l2 xconnect {a.port} {b.port}")
    assert not _pings(a, _address(2)), "the way back is another command"
    net.weft.cli(f"set interface l2 xconnect {b.port} {a.port}")
    _reaches(a, _address(2))
    assert f"l2 xconnect {b.port} {a.port}" in net.weft.cli("show mode")


def test_startup_conf_has_it_all(network):
    net = network(count=2, ports={port: {"settings": f"l2 bridge {DOMAIN}"} for port in ("p0", "p1")},
                  more=f"bridge-domains {{ domain {DOMAIN} {{ mac-age 9 uu-flood off }} }}")
    for number, site in enumerate(net.sites, 1):
        site.host.ip("addr", "add", f"{_address(number)}/24", "dev", "eth0")
    _reaches(net.sites[0], _address(2))
    domain = _domain(net)
    assert (domain["age_minutes"], domain["unknown_flood"]) == (9, False)


def test_a_flood_of_addresses_leaves_the_main_thread_free(bridged):
    a = bridged.sites[0]
    bridged.weft.cli(f"set interface l2 learn-limit {a.port} 500")
    with Wire(a.host, "eth0") as wire:
        for number in range(3000):
            source = f"02:ab:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}:01"
            wire.send(Ether(src=source, dst=bridged.sites[1].host_mac) / b"strangers")
    poll_until(lambda: len(_stations(bridged)) >= 500, SECONDS, "as many are learned as may be")
    assert bridged.weft.main_thread_answers()
    learned = [port for port in _stations(bridged).values() if port == a.port]
    assert len(learned) == 500
    full = "frames from unknown stations while the port had as many as it may"
    assert bridged.weft.errors()[("l2-input", full)] > 0
    assert _pings(bridged.sites[1], _address(3))


def test_a_port_that_goes_leaves_the_others_alone(bridged):
    a, b, c = bridged.sites
    assert _pings(a, _address(2)) and _pings(b, _address(3))
    bridged.weft.cli(words.delete_port(c.port))
    assert c.host_mac not in _stations(bridged)
    assert len(_domain(bridged)["ports"]) == 2
    assert _pings(a, _address(2))
    # The device takes frames for others while it is a port, and no longer.
    assert bridged.router.links()[a.port]["promiscuity"] > 0
    bridged.weft.cli(f"set interface l3 {a.port}")
    poll_until(lambda: bridged.router.links()[a.port]["promiscuity"] == 0, SECONDS, "it ends")
