# SPDX-License-Identifier: Apache-2.0
"""802.1Q and QinQ sub-interfaces. The host's kernel has no such device, so the test speaks ARP and ICMP in its place."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lab import Wire
from lab import weft as words

ADDRESS, PEER = "10.100.0.1", "10.100.0.2"


def _tagged(site, *vlans, broadcast=False):
    frame = Ether(src=site.host_mac, dst="ff:ff:ff:ff:ff:ff" if broadcast else site.port_mac)
    for vlan in vlans:
        frame /= Dot1Q(vlan=vlan)
    return frame


def _vlans(frame):
    packet, tags = Ether(frame), []
    while isinstance(packet.payload, Dot1Q):
        packet = packet.payload
        tags.append(packet.vlan)
    return tags


@pytest.fixture(params=[(100,), (300, 7)], ids=["802.1Q", "QinQ"])
def trunk(request, network):
    """A trunk on p0 with one sub-interface, an ordinary host on p1, and the tags that belong on the trunk."""
    net = network()
    vlan, *inner = request.param
    for command in words.sub_interface("p0", vlan, *inner):
        net.weft.cli(command)
    net.weft.cli(words.address(f"p0.{vlan}", f"{ADDRESS}/24"))
    with Wire(net.sites[0].host, "eth0") as wire:
        yield net, wire, list(request.param)


def test_arp_is_answered_with_the_same_tags(trunk):
    net, wire, vlans = trunk
    a = net.sites[0]
    wire.send(_tagged(a, *vlans, broadcast=True) / ARP(hwsrc=a.host_mac, psrc=PEER, pdst=ADDRESS))
    [reply] = wire.expect(lambda f: ARP in Ether(f) and Ether(f)[ARP].op == 2, what="an ARP reply")
    assert _vlans(reply) == vlans
    assert (Ether(reply)[ARP].psrc, Ether(reply)[ARP].hwsrc) == (ADDRESS, a.port_mac)


def test_echo_is_answered_with_the_same_tags(trunk):
    net, wire, vlans = trunk
    a = net.sites[0]
    net.weft.cli(words.neighbor(f"p0.{vlans[0]}", PEER, a.host_mac))
    wire.send(_tagged(a, *vlans) / IP(src=PEER, dst=ADDRESS) / ICMP(id=7, seq=1) / b"payload")
    [reply] = wire.expect(lambda f: ICMP in Ether(f) and Ether(f)[ICMP].type == 0, what="an echo reply")
    assert _vlans(reply) == vlans
    assert Ether(reply)[ICMP].id == 7 and bytes(Ether(reply)[ICMP].payload)[:7] == b"payload"


def test_routed_between_a_vlan_and_an_untagged_port(trunk):
    net, wire, vlans = trunk
    a, b = net.sites
    net.weft.cli(words.neighbor(f"p0.{vlans[0]}", PEER, a.host_mac))
    wire.send(_tagged(a, *vlans) / IP(src=PEER, dst=b.host_ip) / ICMP(id=8, seq=1) / b"through")
    [reply] = wire.expect(lambda f: ICMP in Ether(f) and Ether(f)[ICMP].type == 0, what="the host's echo reply")
    assert _vlans(reply) == vlans
    assert Ether(reply)[IP].src == b.host_ip and Ether(reply)[IP].ttl == 63


@pytest.mark.parametrize("tags", [(), (101,), (100, 5)], ids=["untagged", "another VLAN", "a second tag"])
def test_an_exact_match_takes_no_other_tags(network, tags):
    net = network()
    a = net.sites[0]
    for command in [*words.sub_interface("p0", 100), words.address("p0.100", f"{ADDRESS}/24")]:
        net.weft.cli(command)
    with Wire(a.host, "eth0") as wire:
        wire.send(_tagged(a, *tags, broadcast=True) / ARP(hwsrc=a.host_mac, psrc=PEER, pdst=ADDRESS))
        wire.expect_none(lambda f: ARP in Ether(f) and Ether(f)[ARP].op == 2, what="an ARP reply")


def test_two_vlans_of_one_trunk_are_routed_to_each_other(network):
    net = network()
    a = net.sites[0]
    for vlan in (100, 200):
        for command in words.sub_interface("p0", vlan):
            net.weft.cli(command)
        net.weft.cli(words.address(f"p0.{vlan}", f"10.{vlan}.0.1/24"))
    net.weft.cli(words.neighbor("p0.200", "10.200.0.2", "02:fe:00:00:ff:02"))
    with Wire(a.host, "eth0") as wire:
        wire.send(_tagged(a, 100) / IP(src="10.100.0.2", dst="10.200.0.2") / ICMP(id=9) / b"hairpin")
        [frame] = wire.expect(lambda f: ICMP in Ether(f), what="the packet, back on the trunk")
    assert _vlans(frame) == [200]
    assert (Ether(frame).src, Ether(frame).dst) == (a.port_mac, "02:fe:00:00:ff:02")
