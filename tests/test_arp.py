# SPDX-License-Identifier: Apache-2.0
"""Neighbours: answered, resolved, learned, and given up."""

import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from lab import Wire, poll_until
from lab import weft as words

BROADCAST = "ff:ff:ff:ff:ff:ff"


def _arp(frame, operation):
    packet = Ether(frame)
    return ARP in packet and packet[ARP].op == operation


def _udp(frame):
    return UDP in Ether(frame)


def test_a_request_for_the_routers_address_is_answered(network):
    a, _ = network().sites
    with Wire(a.host, "eth0") as wire:
        wire.send(Ether(src=a.host_mac, dst=BROADCAST) / ARP(hwsrc=a.host_mac, psrc=a.host_ip, pdst=a.router_ip))
        [reply] = wire.expect(lambda f: _arp(f, 2), what="an ARP reply")
    reply = Ether(reply)
    assert (reply.src, reply.dst) == (a.port_mac, a.host_mac)
    assert (reply[ARP].hwsrc, reply[ARP].psrc) == (a.port_mac, a.router_ip)
    assert (reply[ARP].hwdst, reply[ARP].pdst) == (a.host_mac, a.host_ip)


def test_other_addresses_are_not_answered(network):
    """Proxy ARP is off: neither a neighbour's address nor one behind another port."""
    a, b = network().sites
    with Wire(a.host, "eth0") as wire:
        for target in ("10.1.0.77", b.host_ip, b.router_ip):
            wire.send(Ether(src=a.host_mac, dst=BROADCAST) / ARP(hwsrc=a.host_mac, psrc=a.host_ip, pdst=target))
        wire.expect_none(lambda f: _arp(f, 2), what="an ARP reply")


def test_neighbours_are_resolved_when_needed(network):
    net = network()
    a, b = net.sites
    assert b.host_ip not in net.weft.neighbors()
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    assert net.weft.neighbors()[b.host_ip] == b.host_mac


@pytest.fixture
def silent(network):
    """The right host's kernel answers no ARP request; the test does."""
    net = network()
    net.sites[1].host.sysctl(net__ipv4__conf__eth0__arp_ignore=8)
    return net


def _send_numbered(wire, a, b, count):
    for number in range(count):
        wire.send(Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst=b.host_ip)
                  / UDP(sport=1000, dport=2000) / number.to_bytes(2, "big") / bytes(20))


def _numbers(frames):
    return [int.from_bytes(bytes(Ether(f)[UDP].payload)[:2], "big") for f in frames if _udp(f)]


def _answer_as(b, wire):
    wire.send(Ether(src=b.host_mac, dst=b.port_mac)
              / ARP(op=2, hwsrc=b.host_mac, psrc=b.host_ip, hwdst=b.port_mac, pdst=b.router_ip))


def test_packets_wait_for_the_neighbour_and_leave_in_order(silent):
    a, b = silent.sites
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        _send_numbered(left, a, b, 3)
        [request] = right.expect(lambda f: _arp(f, 1), what="an ARP request")
        assert (Ether(request)[ARP].psrc, Ether(request)[ARP].pdst) == (b.router_ip, b.host_ip)
        assert not _numbers(right.frames())
        _answer_as(b, right)
        assert _numbers(right.expect(_udp, 3, what="the packets that waited")) == [0, 1, 2]


def test_the_hold_queue_is_bounded(silent):
    a, b = silent.sites
    at_rest = silent.weft.buffers_used()
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        _send_numbered(left, a, b, 500)
        right.expect(lambda f: _arp(f, 1), what="an ARP request")
        _answer_as(b, right)
        right.expect(_udp, 1, what="a packet that waited")
        poll_until(lambda: silent.weft.buffers_used() == at_rest, 3, "all buffers are back in the pool")
        numbers = _numbers(right.frames())
    assert len(numbers) < 100, "most of 500 packets found the queue full"
    assert numbers == sorted(set(numbers)), "what waited leaves in order, once"


def test_a_neighbour_that_does_not_answer_is_reported(network):
    net = network()
    a, _ = net.sites
    at_rest = net.weft.buffers_used()
    answer = a.host.run("ping", "-c", 2, "-W", 8, "-w", 9, "10.2.0.77", check=False)
    assert answer.returncode == 1
    assert re.search(rf"From {a.router_ip} .*Host Unreachable", answer.stdout)
    poll_until(lambda: net.weft.buffers_used() == at_rest, 8, "all buffers are back in the pool")


def test_a_neighbours_new_mac_is_learned(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    fresh = net.lab.mac()
    b.host.ip("link", "set", "eth0", "address", fresh)
    with Wire(b.host, "eth0") as wire:
        wire.send(Ether(src=fresh, dst=BROADCAST) / ARP(op=1, hwsrc=fresh, psrc=b.host_ip, pdst=b.host_ip))
    poll_until(lambda: net.weft.neighbors().get(b.host_ip) == fresh, 3, "the announced MAC is in the table")
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)


def _requests(frames, target):
    return [f for f in frames if _arp(f, 1) and Ether(f)[ARP].pdst == target]


def test_packets_for_who_does_not_answer_ask_again_and_again(silent):
    """Not with the next tick of a clock: a host that has just come up must not wait for it."""
    a, b = silent.sites
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        def sent_and_asked():
            _send_numbered(left, a, b, 1)
            return len(_requests(right.frames(), b.host_ip)) >= 5
        poll_until(sent_and_asked, 3, "five requests, of which one clock tick a second would send four")


def test_a_request_teaches_its_sender_also_right_after_a_flush(network):
    net = network()
    a, _ = net.sites
    with Wire(a.host, "eth0") as wire:
        for _ in range(3):
            wire.send(Ether(src=a.host_mac, dst=BROADCAST) / ARP(hwsrc=a.host_mac, psrc=a.host_ip, pdst=a.router_ip))
            poll_until(lambda: net.weft.neighbors().get(a.host_ip) == a.host_mac, 0.4, "the sender is known")
            net.weft.cli(f"set ip neighbor del {a.port} {a.host_ip}")


def test_invented_senders_take_no_room_from_the_living(network):
    net = network(more="limits { neighbors 200 }")
    a, b = net.sites
    net.weft.cli(words.address(a.port, "10.9.0.1/16"))
    assert b.host.run("ping", "-c", 1, "-W", 2, a.host_ip).returncode == 0
    with Wire(a.host, "eth0") as wire:
        for number in range(3000):
            mac, address = f"02:aa:00:00:{number >> 8:02x}:{number & 255:02x}", f"10.9.{number // 250 + 1}.{number % 250 + 1}"
            wire.send(Ether(src=mac, dst=BROADCAST) / ARP(hwsrc=mac, psrc=address, pdst="10.9.0.1"))
    assert net.weft.neighbors()[b.host_ip] == b.host_mac
    net.weft.cli(f"set ip neighbor del {b.port} {b.host_ip}")
    assert a.host.run("ping", "-c", 1, "-W", 2, b.host_ip).returncode == 0, "another neighbour finds room at once"
    assert net.weft.log_text().count("the neighbour table is full") == 1


def test_static_neighbours_stay(network):
    net = network(commands=[words.neighbor("p1", "10.2.0.9", "02:fe:00:00:ff:09")])
    a, b = net.sites
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        left.send(Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst="10.2.0.9") / UDP() / bytes(20))
        [frame] = right.expect(_udp, what="the packet, without any ARP")
        assert Ether(frame).dst == "02:fe:00:00:ff:09"
        assert not [f for f in right.frames() if _arp(f, 1)]


@pytest.mark.slow
def test_ten_thousand_neighbours(network, trafficgen):
    """One host stands for 10,000: an address range that is local to it is answered by its kernel one by one. The router's
    own address must lie outside of that range, or the host takes its requests for its own."""
    count = 10_000
    net = network()
    a, b = net.sites
    net.weft.cli(words.address(b.port, "10.9.0.1/16"))
    b.host.ip("route", "add", "local", "10.9.128.0/17", "dev", "lo")
    sink = trafficgen.sink(b, count=count, seconds=30)
    sender = trafficgen.sender(a, b, destination_ip="10.9.128.0", rate=2_000, count=count, dst_count=count)
    assert trafficgen.result(sender)["sent"] == count
    assert trafficgen.result(sink)["lost"] == 0, "the first packet to each neighbour waits and arrives"
    resolved = [ip for ip, mac in net.weft.neighbors().items() if ip.startswith("10.9.") and mac == b.host_mac]
    assert len(resolved) == count
