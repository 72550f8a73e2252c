# SPDX-License-Identifier: Apache-2.0
"""All shipped plugins at once: none knows the others, so whichever comes first, each finds its place on its arcs, and what
brings nodes later (the flow tracker) finds its own."""

import itertools

import pytest

from lab.plugins import PluginFolder
from lab.reach import pings

SHIPPED = ("acl", "noop", "ping", "policer")
ORDER = ["ip4-rx-urpf-strict", "ip4-rx-urpf-loose", "ip4-local-only", "flow-track", "ip4-classify", "ip4-tcp-mss",
         "noop", "policer-input"]
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
        if order in (SHIPPED, SHIPPED[::-1]):
            assert pings(a, b) and not pings(b, a)
        weft.cli("flow disable p1")
        for name in order:
            weft.cli(f"plugin unload {name}")
        assert features(net) == ORDER[:-2], order
