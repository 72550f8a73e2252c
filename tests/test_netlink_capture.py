# SPDX-License-Identifier: Apache-2.0
"""What the lab says in vplaned's place: topics as recorded from the real one, messages as the kernel wrote them."""

import struct
import time

from lab import NetlinkCapture


def collect(capture, expected):
    """Messages until all the expected topics were among them, by topic."""
    heard, deadline = {}, time.monotonic() + 10
    while not expected <= heard.keys():
        assert time.monotonic() < deadline, f"not heard: {expected - heard.keys()}; heard {sorted(heard)}"
        for topic, message in capture.live(0.1):
            heard.setdefault(topic, []).append(message)
    return heard


def test_live_messages_have_the_topics_of_vplaned(lab):
    ns = lab.namespace("capture")
    with NetlinkCapture(ns) as capture:
        ns.ip("link", "add", "p0", "type", "veth", "peer", "name", "p1")
        index = ns.links()["p0"]["ifindex"]
        ns.ip("link", "set", "p1", "up")
        ns.ip("link", "set", "p0", "up")
        ns.ip("address", "add", "192.0.2.1/24", "dev", "p0")
        ns.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.254")
        ns.ip("neigh", "add", "192.0.2.254", "lladdr", "02:aa:bb:cc:dd:01", "dev", "p0", "nud", "permanent")
        ns.ip("link", "add", "br0", "type", "bridge")
        ns.ip("link", "set", "p1", "master", "br0")
        ns.ip("link", "add", "vxl7", "type", "vxlan", "id", "7", "dstport", "4789", "local", "192.0.2.1")
        ns.ip("link", "add", "link", "p0", "name", "m0", "type", "macvlan")
        ns.sysctl(net__ipv4__conf__p0__forwarding=1)
        links = ns.links()
        heard = collect(capture, {
            f"address {index} inet 192.0.2.1/24 scope global",
            "route 192.0.2.1/32 254 255",
            "route 192.0.2.0/24 253 254",
            "route 203.0.113.0/24 0 254",
            f"neigh {index} 192.0.2.254",
            f"bridge_link {links['p1']['ifindex']} ",
            f"link {links['br0']['ifindex']} 0 ",
            f"vxlan {links['vxl7']['ifindex']} 0 ",
            f"link {index} ifindex {links['m0']['ifindex']} 0 ",
            f"netconf {index} 2",
        })
        for messages in heard.values():
            for message in messages:
                assert struct.unpack_from("=I", message)[0] == len(message)

        ns.ip("route", "del", "203.0.113.0/24")
        heard = collect(capture, {"route 203.0.113.0/24 0 254"})
        assert struct.unpack_from("=H", heard["route 203.0.113.0/24 0 254"][-1], 4)[0] == 25, "RTM_DELROUTE"


def test_a_dump_describes_what_is_there(lab):
    ns = lab.namespace("dump")
    ns.ip("link", "add", "p0", "type", "veth", "peer", "name", "p1")
    ns.ip("link", "set", "p0", "up")
    ns.ip("address", "add", "192.0.2.1/24", "dev", "p0")
    ns.ip("neigh", "add", "192.0.2.254", "lladdr", "02:aa:bb:cc:dd:01", "dev", "p0", "nud", "permanent")
    with NetlinkCapture(ns) as capture:
        topics = [topic for topic, _ in capture.dump()]
    index = ns.links()["p0"]["ifindex"]
    places = [topics.index(topic) for topic in (
        "link 1 0 ", f"address {index} inet 192.0.2.1/24 scope global", "route 192.0.2.1/32 254 255",
        f"neigh {index} 192.0.2.254", f"netconf {index} 2")]
    assert places == sorted(places), "the order of a snapshot"
