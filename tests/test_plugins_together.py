# SPDX-License-Identifier: Apache-2.0
"""All shipped plugins at once: none knows the others, so whichever comes first, each finds its place on its arcs, and what
brings nodes later (the flow tracker) finds its own."""

import itertools

import pytest

from lab import poll_until
from lab.pg import PgBed
from lab.plugins import PluginFolder
from lab.reach import pings
from test_plugins_shipped import USE

SHIPPED = ("acl", "noop", "ping", "policer")
ORDER = ["ip4-rx-urpf-strict", "ip4-rx-urpf-loose", "ip4-local-only", "flow-track", "ip4-classify", "ip4-tcp-mss",
         "noop", "policer-input"]
ORDER6 = ["ip6-rx-urpf-strict", "ip6-rx-urpf-loose", "ip6-local-only", "flow-track", "ip6-classify", "ip6-tcp-mss",
          "policer-input"]
REFLECT = "permit+reflect proto icmp sport 8"


@pytest.fixture
def net(lab, network):
    # Loaded by hand: none comes from the path by itself.
    folder = PluginFolder(lab, *SHIPPED)
    return network(more=folder.settings.replace("}", "plugin default { disable } }"))


def features(net, arc="ip4-unicast"):
    return next(each["features"] for each in net.weft.cli_json("show features")["arcs"] if each["arc"] == arc)


def test_plugins_in_every_order_with_flows_and_reflexive_lists(net):
    a, b = net.sites
    weft = net.weft
    for order in itertools.permutations(SHIPPED):
        for name in order:
            weft.cli(f"plugin load {name}")
        assert features(net) == ORDER, order
        assert features(net, "ip6-unicast") == ORDER6, order
        weft.cli("flow enable p1")
        number = weft.cli_json(f"set acl-plugin acl {REFLECT}")["index"]
        denial = weft.cli_json("set acl-plugin acl deny")["index"]
        weft.cli(f"set acl-plugin interface p0 input acl {number}")
        weft.cli(f"set acl-plugin interface p0 output acl {denial}")
        weft.cli("policer add name gold rate kbps cir 100000 cb 1500000 exceed-action drop")
        weft.cli("policer input name gold p0")
        weft.cli("set interface feature p0 noop arc ip4-unicast")
        shown = weft.cli_json("show interface features p0")["arcs"]
        on = next(each["features"] for each in shown if each["arc"] == "ip4-unicast")
        assert on == ["flow-track", "ip4-classify", "noop", "policer-input"], order
        on = next(each["features"] for each in shown if each["arc"] == "ip6-unicast")
        assert on == ["flow-track", "ip6-classify", "policer-input"], order
        if order in (SHIPPED, SHIPPED[::-1]):
            assert pings(a, b) and not pings(b, a)
        weft.cli("flow disable p1")
        for name in order:
            weft.cli(f"plugin unload {name}")
        assert features(net) == ORDER[:-2], order
        assert features(net, "ip6-unicast") == ORDER6[:-1], order


# Packets a second of a generator.
RATE = 200_000


@pytest.mark.slow
def test_every_order_of_coming_and_going_under_traffic(lab):
    """All five, the one in C too: loaded in every order, each put in the way of the packets, and unloaded in that order or the
    opposite one. Not one packet is lost, and nothing is left."""
    folder = PluginFolder(lab, *SHIPPED).compile("plugins/classify/classify.c")
    bed = PgBed(lab, more=folder.settings.replace("}", "plugin default { disable } }"))
    (inner, outer), weft = bed.interfaces, bed.weft
    words = {"a": inner.remote_ip, "b": outer.remote_ip, "own": outer.local_ip, "inner": inner.name, "outer": outer.name}
    use = {**USE, "noop": ["set interface feature {inner} noop arc ip4-unicast"]}
    used, before = weft.buffers_used(), weft.cli("show features")
    weft.cli(f"packet-generator new {{ name flood limit 0 rate {RATE} source {inner.name} node ethernet-input size 64-64 data {{ "
             f"IP4: {inner.remote_mac} -> {inner.local_mac} UDP: {inner.remote_ip} -> {outer.remote_ip} "
             "UDP: 1234 -> 4321 incrementing 22 } }")
    weft.cli("packet-generator enable-stream flood")
    # By the API, since a process for each command takes longer than the command.
    for number, order in enumerate(itertools.permutations(sorted(use))):
        for name in order:
            bed.cli(f"plugin load {name}")
            for command in use[name] if name != "ping" else ():
                bed.cli(command.format(**words))
            # A ping takes its time: once for each place that it can have.
            if name == "ping" and number % 24 == 0:
                weft.cli(use[name][0].format(**words))
        for name in order[::1 if number % 2 else -1]:
            bed.cli(f"plugin unload {name}")
        assert weft.cli("show features") == before, order
    weft.cli("packet-generator disable-stream flood")

    def left():
        (stream,) = weft.cli_json("show packet-generator")["streams"]
        return stream["count"], weft.interface(outer.name)["tx_packets"]

    # What the router itself has sent is its pings, which are answered here.
    poll_until(lambda: left()[0] == left()[1] > 0, 10, "all that were generated have left")
    poll_until(lambda: weft.buffers_used() == used, 10, "all buffers are back")
    bed.close()
