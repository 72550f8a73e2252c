# SPDX-License-Identifier: Apache-2.0
"""Who handles which packets, and what is not handed to anybody: as an operator sees it."""

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until


def _errors(weft):
    return {(each["node"], each["counter"]): each["count"] for each in weft.cli_json("show errors")["errors"]}


def test_who_handles_what_is_shown(network):
    weft = network().weft
    shown = weft.cli_json("show registrations")["registrations"]
    handlers = {(each["registry"], each["key"]): (each["node"], each["owner"]) for each in shown}
    assert handlers["ethertype", "0x0800"] == ("ip4-input", "weft")
    assert handlers["ethertype", "0x0806"] == ("arp-input", "weft")
    reasons = weft.cli_json("show punt reasons")["reasons"]
    to = {each["reason"]: each["to"] for each in reasons}
    assert to["ip4-local-end-of-arc/tcp_no_host"] == "host"
    assert all(each["text"] for each in reasons)


def test_a_frame_from_a_group_is_dropped(network):
    """No station sends from a group's address (IEEE 802), so nobody is told of such frames and nobody gets them."""
    net = network()
    a, b = net.sites
    assert a.host.run("ping", "-c", 1, "-W", 2, b.host_ip, check=False).returncode == 0
    header = IP(src=a.host_ip, dst=b.host_ip) / UDP(sport=4000, dport=4001)
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        for source in ("01:00:5e:00:00:05", "ff:ff:ff:ff:ff:ff"):
            left.send(Ether(src=source, dst=a.port_mac) / header / b"forged")
        left.send(Ether(src=a.host_mac, dst=a.port_mac) / header / b"honest")
        right.expect(lambda frame: b"honest" in frame, what="the packet of a station, which was sent last")
        assert not any(b"forged" in frame for frame in right.frames())
    dropped = ("ethernet-input", "multicast_source")
    poll_until(lambda: _errors(net.weft).get(dropped) == 2, 3, "both are counted")
