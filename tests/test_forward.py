# SPDX-License-Identifier: Apache-2.0
"""Two hosts talk through Weft with ordinary tools."""

import json
import re
import socket
import threading

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Weft, Wire, poll_until, sites
from lab import weft as words


def test_ping(network):
    a, b = network().sites
    answer = a.host.output("ping", "-c", 5, "-i", 0.05, "-W", 2, b.host_ip)
    assert "5 received" in answer
    assert "ttl=63" in answer, "a router lowers TTL once"


@pytest.mark.parametrize("size", [18, 64, 1000, 1472])
def test_ping_of_every_size_that_fits(network, size):
    a, b = network().sites
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, "-M", "do", "-s", size, b.host_ip)


def test_fragments_of_a_host_are_forwarded(network):
    a, b = network().sites
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, "-s", 5000, b.host_ip)


def test_the_router_answers_on_each_of_its_addresses(network):
    a, b = network().sites
    for address in (a.router_ip, b.router_ip):
        assert "2 received" in a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, address)


def test_traceroute(network):
    a, b = network().sites
    hops = a.host.output("traceroute", "-n", "-w", 2, "-q", 1, b.host_ip).splitlines()[1:]
    assert [line.split()[1] for line in hops] == [a.router_ip, b.host_ip]


def test_no_route(network):
    a, _ = network().sites
    answer = a.host.run("ping", "-c", 2, "-i", 0.3, "-W", 1, "192.0.2.1", check=False)
    assert answer.returncode == 1
    assert re.search(rf"From {a.router_ip} .*Net Unreachable", answer.stdout)


def _iperf3(source, destination, *options):
    server = destination.host.start("iperf3", "-s", "-1")
    poll_until(lambda: ":5201" in destination.host.output("ss", "-Hltn"), 3, "iperf3 listens")
    result = json.loads(source.host.output("iperf3", "-J", "-c", destination.host_ip, "-t", 2, *options, timeout=30))
    server.wait(5)
    return result["end"]


def test_tcp_streams(network):
    a, b = network().sites
    received = _iperf3(a, b, "-P", 4)["sum_received"]
    assert received["bits_per_second"] > 50e6


def test_udp_stream(network):
    a, b = network().sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    total = _iperf3(a, b, "-u", "-b", "20M", "-l", 1200, "-w", "2M")["sum"]
    assert total["packets"] > 3000
    assert total["lost_percent"] < 1


def test_every_packet_arrives_once_and_in_order(network, trafficgen):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    at_rest = net.weft.buffers_used()
    flow = trafficgen.flow(a, b, rate=10_000, flows=16)
    poll_until(lambda: b.host.counters("eth0")["rx_packets"] > 20_000, 10, "20,000 packets")
    account = flow.stop()
    assert account == {"sent": account["sent"], "lost": 0, "doubled": 0, "overtaken": 0}
    poll_until(lambda: net.weft.buffers_used() == at_rest, 3, "all buffers are back in the pool")


def test_interface_counters_count_what_was_sent(network, trafficgen):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    before = net.weft.interface(a.port), net.weft.interface(b.port)
    trafficgen.result(trafficgen.sender(a, b, rate=10_000, count=10_000, size=100))
    poll_until(lambda: net.weft.interface(b.port)["tx_packets"] >= before[1]["tx_packets"] + 10_000, 3, "transmitted")
    after = net.weft.interface(a.port), net.weft.interface(b.port)
    assert after[0]["rx_packets"] - before[0]["rx_packets"] == 10_000
    assert after[0]["rx_bytes"] - before[0]["rx_bytes"] == 1_000_000
    assert after[1]["tx_packets"] - before[1]["tx_packets"] == 10_000
    assert after[1]["tx_bytes"] - before[1]["tx_bytes"] == 1_000_000


def test_a_broken_header_is_dropped_and_counted_by_its_reason(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    packet = IP(src=a.host_ip, dst=b.host_ip) / UDP(sport=7, dport=7) / (b"broken" * 4)
    packet.chksum = 0x1234
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        for _ in range(5):
            left.send(Ether(src=a.host_mac, dst=a.port_mac) / packet)
        right.expect_none(lambda frame: UDP in Ether(frame), what="the broken packet")
    counted = [count for (node, reason), count in net.weft.errors().items() if node == "ip4-input" and "checksum" in reason]
    assert counted == [5]


class TestPathMtu:
    """The right link carries 1400 bytes, the left one 1500."""

    MTU = 1400

    @pytest.fixture
    def narrow(self, network):
        net = network(ports={"p1": {"mtu": self.MTU}})
        net.sites[1].host.ip("link", "set", "eth0", "mtu", self.MTU)
        return net

    def test_the_router_reports_the_mtu(self, narrow):
        a, b = narrow.sites
        answer = a.host.run("ping", "-c", 1, "-W", 2, "-M", "do", "-s", 1400, b.host_ip, check=False).stdout
        assert re.search(rf"From {a.router_ip} .*Frag needed and DF set \(mtu = {self.MTU}\)", answer)
        assert f"mtu {self.MTU}" in a.host.ip("route", "get", b.host_ip), "the host's kernel learned it"

    def test_tcp_finds_the_mtu(self, narrow):
        a, b = narrow.sites
        assert _iperf3(a, b)["sum_received"]["bytes"] > 1_000_000

    def test_what_may_be_fragmented_is(self, narrow):
        a, b = narrow.sites
        with Wire(b.host, "eth0") as right:
            assert "2 received" in a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, "-M", "dont", "-s", 1450, b.host_ip)
            fragments = [Ether(f)[IP] for f in right.frames() if IP in Ether(f) and Ether(f)[IP].proto == 1]
        assert len(fragments) == 4
        assert all(fragment.len <= self.MTU for fragment in fragments)
        assert [int(bool(fragment.flags.MF)) for fragment in fragments] == [1, 0, 1, 0]


@pytest.mark.parametrize("version", [4, 6])
def test_checksums_that_hosts_leave_to_their_links_are_filled_in(lab, version):
    """A veth has no hardware that would do it, and a host's kernel believes it has: TCP and UDP arrive right all the same."""
    router = lab.namespace("router")
    made = sites(lab, router, 2)
    ports = [words.site_port(site) for site in made]
    family, hosts = socket.AF_INET, [site.host_ip for site in made]
    if version == 6:
        family, hosts = socket.AF_INET6, [f"2001:db8:{number}::2" for number in (1, 2)]
        ports = [words.Port(site.port, (f"2001:db8:{number}::1/64",)) for number, site in enumerate(made, 1)]
    for number, site in enumerate(made, 1):
        site.host.run("ethtool", "-K", "eth0", "tx", "on", "tso", "on", "gso", "on")
        if version == 6:
            site.host.sysctl(net__ipv6__conf__eth0__disable_ipv6=0, net__ipv6__conf__eth0__accept_dad=0)
            site.host.ip("addr", "add", f"2001:db8:{number}::2/64", "dev", "eth0", "nodad")
            site.host.ip("route", "add", "default", "via", f"2001:db8:{number}::1")
    weft = Weft(lab, router, ports).start()
    a, b = made
    with b.host.socket(family, socket.SOCK_DGRAM) as receiver, a.host.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((hosts[1], 7))
        receiver.settimeout(5)
        for size in (0, 1, 32, 999, 1000):
            sender.sendto(b"x" * size, (hosts[1], 7))
            assert len(receiver.recv(2000)) == size
    with b.host.socket(family) as listener, a.host.socket(family) as client:
        listener.bind((hosts[1], 80))
        listener.listen()
        client.settimeout(5)
        client.connect((hosts[1], 80))
        with listener.accept()[0] as session:
            session.settimeout(5)
            sent = bytes(range(256)) * 4000
            sender = threading.Thread(target=client.sendall, args=(sent,))
            sender.start()
            got = b""
            while len(got) < len(sent):
                got += session.recv(1 << 20)
            assert got == sent
            sender.join()
    wrong = b.host.output("nstat", "-az", "UdpInCsumErrors", "Udp6InCsumErrors", "TcpInCsumErrors")
    assert [int(line.split()[1]) for line in wrong.splitlines()[1:]] == [0, 0, 0], wrong
    assert "open checksums of TCP and UDP are filled in" in weft.cli("show hardware-interfaces")
    weft.stop()


def test_long_pings_of_the_router_are_answered(network):
    """Fragments for the router itself are put together, and answers to them are fragmented."""
    net = network(count=1)
    a = net.sites[0]
    for size in (3000, 20_000, 65_507):
        a.host.run("ping", "-c", 3, "-i", 0.05, "-W", 5, "-s", size, a.router_ip)
    reassembled = sum(count for (node, reason), count in net.weft.errors().items()
                      if node == "ip4-reassembly" and "become whole" in reason)
    assert reassembled >= 9
    assert a.router_ip in a.host.output("ping", "-c", 1, "-W", 5, "-R", a.router_ip).split("RR:")[1], "a recorded route"
    assert "TS:" in a.host.output("ping", "-c", 1, "-W", 5, "-T", "tsandaddr", a.router_ip), "time stamps"
