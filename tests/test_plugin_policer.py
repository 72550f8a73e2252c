# SPDX-License-Identifier: Apache-2.0
"""The policer between real kernels: rates hold, colours are on the wire, and every packet is counted once."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab.plugins import PluginFolder
from lab.weft import TREE, CliError

sys.path.insert(0, str(Path(os.environ.get("WEFT_TOOLS_DIR", TREE / "target/tools")) / "python"))

from vpp_papi.vpp_stats import VPPStats  # noqa: E402  (scripts/setup puts it there)

COLOURS = ("conform", "exceed", "violate")
# Code points of Assured Forwarding class 1.
AF11, AF12, AF13 = 10, 12, 14


@pytest.fixture
def net(network, lab):
    """Two hosts that know each other."""
    net = network(more=PluginFolder(lab, "policer").settings, workers=2, first_worker_core=0)
    a, b = net.sites
    a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    return net


def _policer(net, name="gold"):
    return next(each for each in net.weft.cli_json("show policer")["policers"] if each["name"] == name)


def _counted(net, what="packets"):
    policer = _policer(net)
    return [policer[colour][what] for colour in COLOURS]


def _drops(net, node):
    return sum(count for (of, _), count in net.weft.drops().items() if of == node)


def _iperf3(source, destination, *options):
    server = destination.host.start("iperf3", "-s", "-1")
    poll_until(lambda: ":5201" in destination.host.output("ss", "-Hltn"), 10, "iperf3 listens")
    result = json.loads(source.host.output("iperf3", "-J", "-c", destination.host_ip, "-t", 3, *options, timeout=60))
    server.wait(10)
    return result["end"]


def _within(passed, kbps, burst, seconds):
    """The promise of a token bucket, whatever else the machine does. The clock of the test may be off by 0.1 %."""
    assert passed <= burst + kbps * 125 * seconds * 1.001


def test_udp_is_held_to_its_rate(net):
    a, b = net.sites
    net.weft.cli("policer add name gold type 1r3c rate kbps cir 4000 cb 30000 eb 20000 conform-action transmit "
                 "exceed-action drop violate-action drop")
    net.weft.cli(f"policer input name gold {a.port}")
    began = time.monotonic()
    total = _iperf3(a, b, "-u", "-b", "20M", "-l", 1200)["sum"]
    seconds = time.monotonic() - began
    conform, exceed, violate = _counted(net)
    passed, above, dropped = _counted(net, "bytes")
    _within(passed, 4000, 30000, seconds)
    _within(passed + above, 4000, 50000, seconds)
    # Five times the rate was offered for three seconds; half of the rate passes even where the sender was held up.
    assert passed > 4000 * 125 * 3 / 2 and dropped > 0
    assert _drops(net, "policer-input") == exceed + violate
    assert sum(net.weft.node_packets("policer-input").values()) == conform + exceed + violate
    assert 0 < total["lost_packets"] <= exceed + violate


def test_tcp_is_held_on_the_way_out(net):
    a, b = net.sites
    net.weft.cli("policer add name gold rate kbps cir 10000 cb 150000 exceed-action drop")
    net.weft.cli(f"policer output name gold {b.port}")
    began = time.monotonic()
    received = _iperf3(a, b)["sum_received"]["bytes"]
    seconds = time.monotonic() - began
    passed, exceed, dropped = _counted(net, "bytes")
    _within(passed, 10000, 150000, seconds)
    assert received <= passed, "payload is less than what the packets weigh"
    assert received > 10000 * 125 * 3 / 10, "TCP finds its way under the rate"
    assert exceed == 0 and dropped > 0
    assert _drops(net, "policer-output") == _counted(net)[2]


# At 1 kbit/s a packet of 1000 bytes is earned in 8 seconds, and all of these are sent within one.
SLOW = "rate kbps cir 1 cb 1000 eb 1000"
MARK = f"conform-action mark-and-transmit {AF11} exceed-action mark-and-transmit {AF12}"


def _frames(net, count, dscp=0, port=7000):
    a, b = net.sites
    packet = IP(src=a.host_ip, dst=b.host_ip, tos=dscp << 2 | 1) / UDP(sport=4000, dport=port) / bytes(1000 - 28)
    return [Ether(src=a.host_mac, dst=a.port_mac) / packet] * count


def _dropped(net):
    return _drops(net, "policer-input") + _drops(net, "policer-output")


def _send(net, frames, expected, port=7000):
    """The code points with which the packets arrive. Returns when `expected` have arrived and all others were dropped."""
    a, b = net.sites
    dropped = _dropped(net) + len(frames) - expected
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        def arrived():
            frames = (Ether(frame) for frame in right.frames())
            return [frame[IP] for frame in frames if UDP in frame and frame[UDP].dport == port]

        for frame in frames:
            left.send(frame)
        poll_until(lambda: len(arrived()) >= expected and _dropped(net) >= dropped, 5,
                   f"{expected} packets that pass, and no other")
        packets = arrived()
    for packet in packets:
        assert packet.tos & 3 == 1, "congestion bits are left alone"
        checksum = packet.chksum
        del packet.chksum
        assert IP(bytes(packet)).chksum == checksum
    return [packet.tos >> 2 for packet in packets]


@pytest.mark.parametrize("direction", ["input", "output"])
def test_colours_are_on_the_wire(net, direction):
    net.weft.cli(f"policer add name gold type 1r3c {SLOW} {MARK}")
    port = net.sites[0 if direction == "input" else 1].port
    net.weft.cli(f"policer {direction} name gold {port}")
    assert _send(net, _frames(net, 4), 2) == [AF11, AF12]
    assert _counted(net) == [1, 1, 2] and _counted(net, "bytes") == [1000, 1000, 2000]
    assert _policer(net)["applied"] == [{"direction": direction, "interface": port}]
    stats = VPPStats(str(net.weft.runtime / "stats.sock"))
    stats.connect()
    for colour, packets in zip(COLOURS, (1, 1, 2)):
        counter = stats[f"/net/policer/{colour}"][:, 0]
        assert (counter.sum_packets(), counter.sum_octets()) == (packets, packets * 1000), "as VPP's clients read it"
    stats.disconnect()


def test_a_policer_that_is_aware_of_colours(net):
    net.weft.cli(f"policer add name gold type 1r3c {SLOW} {MARK} color-aware")
    net.weft.cli(f"policer input name gold {net.sites[0].port}")
    # What came red stays red, what came yellow is no green, and takes nothing that a green one can have.
    assert _send(net, _frames(net, 1, AF13) + _frames(net, 1, AF12) + _frames(net, 1, AF11), 2) == [AF12, AF11]
    assert _counted(net) == [1, 1, 1]


def test_a_reload_gives_nobody_a_fresh_burst(net):
    net.weft.cli(f"policer add name gold type 1r3c {SLOW} {MARK}")
    net.weft.cli(f"policer input name gold {net.sites[0].port}")
    assert _send(net, _frames(net, 2), 2) == [AF11, AF12]
    before = _policer(net)
    net.weft.cli("plugin reload policer")
    assert _policer(net) == before
    assert _send(net, _frames(net, 1, port=7001), 0, port=7001) == []
    assert _counted(net) == [1, 1, 1]


def test_it_goes_and_comes_fresh(net):
    a = net.sites[0]
    net.weft.cli(f"policer add name gold {SLOW.removesuffix(' eb 1000')} exceed-action drop")
    net.weft.cli(f"policer input name gold {a.port}")
    assert len(_send(net, _frames(net, 3), 1)) == 1
    net.weft.cli("plugin unload policer")
    assert len(_send(net, _frames(net, 3), 3)) == 3
    net.weft.cli("plugin load policer")
    assert net.weft.cli_json("show policer") == {"policers": []}
    assert len(_send(net, _frames(net, 3, port=7001), 3, port=7001)) == 3
    # A second policer in the place of a deleted one begins at zero.
    for _ in range(2):
        net.weft.cli(f"policer add name gold type 1r3c {SLOW}")
        net.weft.cli(f"policer input name gold {a.port}")
        assert _counted(net) == [0, 0, 0]
        assert len(_send(net, _frames(net, 3), 2)) == 2
        with pytest.raises(CliError, match=f"is applied to the input of {a.port}"):
            net.weft.cli("policer del name gold")
        net.weft.cli(f"policer input unapply name gold {a.port}")
        net.weft.cli("policer del name gold")


def test_refusals(net):
    def refused(command, why):
        with pytest.raises(CliError, match=why):
            net.weft.cli(command)

    refused("policer add name gold cir 5", "type 1r2c needs cb")
    net.weft.cli("policer add name gold cir 5 cb 5")
    refused("policer add name gold cir 5 cb 5", "there is a policer .*gold.* already")
    refused("policer input name gold nowhere", "no such interface")
    refused("policer input unapply name gold p0", "not applied to the input of p0")
    refused("policer input name silver p0", "no such policer")
    assert "gold: type 1r2c rate kbps cir 5 cb 5\n  conform  transmit" in net.weft.cli("show policer gold")


def test_a_policer_ends_where_its_interface_ends(net):
    net.weft.cli("create loopback interface")
    net.weft.cli("policer add name gold rate kbps cir 10000 cb 150000")
    net.weft.cli("policer input name gold loop0")
    with pytest.raises(CliError, match="is applied to the input of loop0"):
        net.weft.cli("policer del name gold")
    net.weft.cli("delete loopback interface intfc loop0")
    assert _policer(net)["applied"] == []
    net.weft.cli("create loopback interface")
    assert _policer(net)["applied"] == []
    net.weft.cli("policer output name gold loop0")
    assert _policer(net)["applied"] == [{"direction": "output", "interface": "loop0"}]
    net.weft.cli("delete loopback interface intfc loop0")
    net.weft.cli("policer del name gold")
