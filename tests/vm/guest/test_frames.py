# SPDX-License-Identifier: Apache-2.0
"""What a NIC would filter or change reaches Weft: groups that nobody on this host has joined, frames with VLAN tags."""

import json

from inside import PORTS, flush_hosts, offload, passes, ping, row, send_frames, sh, wait


def listens(name):
    """How many want all frames of a NIC, and how many all for groups."""
    shown = json.loads(sh(f"ip -d -j link show {name}"))[0]
    return shown["promiscuity"], shown["allmulti"]


def received(weft, name):
    text = weft.ctl("show interface --json")
    return next(each for each in json.loads(text)["interfaces"] if each["name"] == name)["rx_packets"]


@row(2, "frames for groups that only daemons behind Weft have joined")
def test_frames_for_groups_arrive(start):
    weft = start(PORTS)
    assert passes(0, "10.1.0.1")
    assert listens("w0") == (0, 1)
    host = "525400000002"
    # Protocol 89 with a time to live of 1, 26 bytes in it (and a right checksum: hardware looks); the same over IPv6.
    ip4 = "4500002e00000000" + "0159cf6f" + "0a010002" + "e0000005" + "00" * 26
    ip6 = "60000000" + "0006" + "5901" + "fe80" + "00" * 13 + "02" + "ff02" + "00" * 13 + "05" + "00" * 6
    frames = {
        "OSPF": "01005e000005" + host + "0800" + ip4,
        "LLDP": "0180c200000e" + host + "88cc" + "0207045254000000020403053130060200780000" + "00" * 26,
        "OSPFv3": "333300000005" + host + "86dd" + ip6,
    }
    for name, frame in frames.items():
        before = received(weft, "w0")
        send_frames(0, frame, 10)
        assert wait(name, lambda: received(weft, "w0") >= before + 8, 5), f"frames of {name} arrive"
    assert weft.stop() == 0
    assert listens("w0") == (0, 0)


@row(3, "sub-interfaces, tagged and untagged frames side by side")
def test_frames_with_tags_arrive(start):
    sh("ip netns exec h0 modprobe 8021q; ip -n h0 link add link eth name eth.100 type vlan id 100; ip -n h0 addr add 10.100.0.2/24 dev eth.100")
    sh("ip -n h0 link set eth.100 up", check=True)
    before = offload("w0", "rx-vlan-offload")
    commands = ["create sub-interfaces w0 100", "set interface ip address w0.100 10.100.0.1/24", "set interface state w0.100 up"]
    weft = start(PORTS, commands=commands)
    flush_hosts()
    assert passes(0, "10.100.0.1"), "tagged frames"
    assert passes(0, "10.1.0.1"), "frames without tags"
    assert ping(0, "10.100.0.1", count=3, size=1472, more="-M do") == 3, "with a tag a full packet makes a longer frame"
    weft.ctl("delete sub-interface w0.100")
    assert offload("w0", "rx-vlan-offload") == before, "as before when no sub-interface is left"
    assert weft.stop() == 0
    assert listens("w0") == (0, 0)


@row(2, "kill -9 leaves no filter of the NIC open")
def test_nothing_is_open_after_kill(start):
    weft = start(PORTS, commands=["create sub-interfaces w0 100"])
    assert listens("w0") == (1, 1)
    weft.kill()
    assert listens("w0") == (0, 0)
    assert wait("no program", lambda: "xdp" not in sh("ip link show w0"), 5)
