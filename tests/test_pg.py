# SPDX-License-Identifier: Apache-2.0
"""The packet generator and packet capture of the command line."""

import os
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from lab import Wire, poll_until
from lab import weft as words


@pytest.fixture
def ready(network):
    """Both neighbours are resolved."""
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    return net


def _wait_until_done(weft):
    poll_until(lambda: "Yes" not in weft.cli("show packet-generator"), 5, "no stream is enabled any more")


def _generated(frame):
    packet = Ether(frame)
    return UDP in packet and packet[UDP].dport == 4321


def _stream(a, b, name, limit):
    return words.pg_stream(
        name, limit=limit, interface=a.port, node="ethernet-input", size="100-100",
        data=f"IP4: {a.host_mac} -> {a.port_mac} UDP: {a.host_ip} -> {b.host_ip} UDP: 1234 -> 4321 incrementing 58")


def test_a_stream_is_forwarded_like_received_packets(ready):
    a, b = ready.sites
    with Wire(b.host, "eth0") as wire:
        ready.weft.cli(_stream(a, b, "burst", 500))
        ready.weft.cli(words.pg_enable("burst"))
        _wait_until_done(ready.weft)
        frames = wire.expect(_generated, 500, what="generated packets")
    first = Ether(frames[0])
    assert (first.src, first.dst) == (b.port_mac, b.host_mac)
    assert (first[IP].src, first[IP].dst, first[IP].ttl, len(frames[0])) == (a.host_ip, b.host_ip, 63, 100)
    assert len([f for f in frames if _generated(f)]) == 500


def test_a_pcap_is_replayed_byte_for_byte(ready, tmp_path):
    a, b = ready.sites
    sent = [Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst=b.host_ip, ttl=9, id=n)
            / UDP(sport=n, dport=4321) / bytes([n] * (n + 20)) for n in range(50)]
    wrpcap(str(tmp_path / "in.pcap"), sent)
    with Wire(b.host, "eth0") as wire:
        ready.weft.cli(words.pg_replay("replay", tmp_path / "in.pcap", interface=a.port, node="ethernet-input"))
        ready.weft.cli(words.pg_enable("replay"))
        _wait_until_done(ready.weft)
        frames = wire.expect(_generated, 50, what="replayed packets")
    for before, after in zip(sent, frames):
        after = Ether(after)
        assert bytes(after[UDP]) == bytes(Ether(bytes(before))[UDP])
        assert (after[IP].ttl, after[IP].id) == (8, before[IP].id)


def test_a_stream_keeps_its_rate(ready):
    a, b = ready.sites
    ready.weft.cli(_stream(a, b, "slow", 400).replace("name slow", "name slow rate 1000"))
    with Wire(b.host, "eth0") as wire:
        ready.weft.cli(words.pg_enable("slow"))
        poll_until(lambda: any(map(_generated, wire.frames())), 2, "the first packet")
        assert len(wire.frames()) < 200, "not everything at once"
        wire.expect(_generated, 400, seconds=3, what="generated packets")


@pytest.mark.parametrize("where, packets", [("rx", 20), ("tx", 20), ("drop", 5)])
def test_capture_at(ready, where, packets):
    a, b = ready.sites
    name = f"weft-lab-{os.getpid()}-{where}.pcap"
    ready.weft.cli(words.pcap_start(where, name))
    with Wire(a.host, "eth0") as left:
        for number in range(20):
            left.send(Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst=b.host_ip) / UDP(sport=number, dport=4321))
        for number in range(5):
            left.send(Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst=b.host_ip, ttl=0) / UDP(dport=4322))
        poll_until(lambda: b.host.counters("eth0")["rx_packets"] >= 20, 3, "the packets arrive")
    ready.weft.cli(words.pcap_stop())
    path = Path("/tmp") / name
    try:
        captured = rdpcap(str(path))
    finally:
        path.unlink(missing_ok=True)
    port = 4322 if where == "drop" else 4321
    matching = [packet for packet in captured if UDP in packet and packet[UDP].dport == port]
    assert len(matching) == packets
    if where == "tx":
        assert all(packet[IP].ttl == 63 for packet in matching)
