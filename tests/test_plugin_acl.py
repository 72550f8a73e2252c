# SPDX-License-Identifier: Apache-2.0
"""The plugin `acl` between real kernels: lists on an interface, reflexive ones, and what becomes of them when the plugin is
replaced or goes."""

import json

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab.plugins import PluginFolder
from lab.reach import connects, pings
from lab.weft import TREE, CliError

SECONDS = 15
WEB = 8080
REFLECT = f"permit+reflect proto icmp sport 8, permit+reflect proto tcp dport 5201, permit+reflect proto tcp dport {WEB}"


@pytest.fixture
def net(lab, network):
    return network(more=PluginFolder(lab, "acl").settings)


def guard(net, *lists):
    """These lists behind p0: what comes in from the left host meets the first, what leaves for it the second."""
    for direction, rules in zip(("input", "output"), lists):
        number = net.weft.cli_json(f"set acl-plugin acl {rules}")["index"]
        net.weft.cli(f"set acl-plugin interface p0 {direction} acl {number}")


def met(net, number, rule):
    """Packets that a rule of a list has met."""
    return net.weft.cli_json(f"show acl-plugin acl index {number}")[0]["rules"][rule]["packets"]


def denied(net, direction):
    """Packets that no list on p0 has permitted."""
    shown = net.weft.cli_json("show acl-plugin interface p0")
    return next(each["rest"]["packets"] for each in shown if each["direction"] == direction)


def rule_sets(net):
    return [each["name"] for each in net.weft.cli_json("show classify")["sets"]]


def transfer(net, *options):
    """A transfer from the left host to the right one, which runs."""
    a, b = net.sites
    b.host.start("iperf3", "-s", "-1")
    poll_until(lambda: "5201" in b.host.output("ss", "-Hltn"), SECONDS, "the server listens")
    return a.host.start("iperf3", "-c", b.host_ip, "-J", *options)


def finished(client):
    text, _ = client.communicate(timeout=120)
    assert client.returncode == 0, text
    return json.loads(text)["end"]


def test_stateless_lists_in_their_order(net):
    a, b = net.sites
    assert connects(a, b, WEB) and pings(a, b)
    guard(net, f"deny proto tcp dport {WEB}, permit tag first")
    assert not connects(a, b, WEB)
    assert connects(a, b, WEB + 1) and pings(a, b) and pings(b, a)
    assert met(net, "first", 0) > 0 and met(net, "first", 1) > 0
    # Replaced as a whole; what no list permits is denied, and a rule that stays goes on counting.
    before = met(net, 0, 0)
    net.weft.cli(f"set acl-plugin acl index first deny proto tcp dport {WEB}, permit proto icmp")
    assert met(net, 0, 0) == before
    assert pings(a, b) and not connects(a, b, WEB + 1)
    assert denied(net, "input") > 0
    # A second list is asked behind the first.
    net.weft.cli("set acl-plugin acl permit proto tcp tag second")
    net.weft.cli("set acl-plugin interface p0 input acl second")
    assert connects(a, b, WEB + 1) and not connects(a, b, WEB)
    with pytest.raises(CliError, match="applied to p0"):
        net.weft.cli("delete acl-plugin acl index second")
    for each in ("first", "second"):
        net.weft.cli(f"set acl-plugin interface p0 input acl {each} del")
    assert connects(a, b, WEB) and rule_sets(net) == []
    net.weft.cli("delete acl-plugin acl index second")
    assert "second" not in net.weft.cli("show acl-plugin acl")


def test_icmp_types_and_tcp_flags(net):
    a, b = net.sites
    # Whoever is behind p0 answers, and begins nothing.
    guard(net, "permit proto icmp sport 0 dport 0, permit proto tcp tcpflags 16 mask 16")
    assert pings(b, a) and not pings(a, b)
    assert connects(b, a, WEB) and not connects(a, b, WEB)


def test_reflexive_lists_let_answers_pass(net):
    a, b = net.sites
    guard(net, REFLECT, "deny")
    assert pings(a, b) and connects(a, b, WEB)
    # Nobody begins anything from the other side, nor by another port.
    assert not pings(b, a) and not connects(b, a, WEB) and not connects(a, b, WEB + 1)
    assert net.weft.cli_json("show flow match protocol tcp")["count"] >= 1
    # The router itself is no stranger.
    a.host.output("ping", "-c", 1, "-W", SECONDS, a.router_ip)
    assert finished(transfer(net, "-t", "1"))["sum_received"]["bytes"] > 0
    # Rules see beginnings of flows, and not the rest.
    assert 0 < met(net, 0, 1) < 10


def test_a_permitted_ping_lets_answers_in_and_no_request(net):
    """A request has the same addresses, id and sequence as the answer that is waited for: the type decides."""
    a, b = net.sites
    guard(net, REFLECT, "deny")
    ident = 0x4242
    with Wire(b.host, "eth0") as far, Wire(a.host, "eth0") as near:
        a.host.output("ping", "-c", 1, "-W", SECONDS, "-e", ident, b.host_ip)
        request = next(frame for frame in map(Ether, far.frames()) if ICMP in frame and frame[ICMP].type == 8)
        # What b's kernel answered has come; and so does another answer of the same session.
        head = Ether(src=request.dst, dst=request.src) / IP(src=b.host_ip, dst=a.host_ip)
        seen = lambda payload: any(payload in frame for frame in near.frames())  # noqa: E731
        before = met(net, 1, 0)
        for kind in (8, 13, 15, 17):
            far.send(head / ICMP(type=kind, id=ident, seq=1) / b"a request from outside")
        far.send(head / ICMP(type=0, id=ident, seq=1) / b"one more answer")
        poll_until(lambda: seen(b"one more answer"), SECONDS, "an answer gets through")
        assert not seen(b"a request from outside")
        assert met(net, 1, 0) >= before + 4, "each of them is counted"
        # Nor under another id, nor an answer that nobody waits for.
        far.send(head / ICMP(type=0, id=ident + 1, seq=1) / b"an answer to nobody")
        far.send(head / ICMP(type=0, id=ident, seq=1) / b"the last answer")
        poll_until(lambda: seen(b"the last answer"), SECONDS, "an answer gets through")
        assert not seen(b"an answer to nobody")


def test_a_reload_under_traffic_changes_nothing(net):
    a, b = net.sites
    guard(net, REFLECT, "deny")
    assert pings(a, b)
    net.weft.cli("set acl-plugin acl deny proto udp tag other")
    client = transfer(net, "-n", "20M", "-b", "60M")
    poll_until(lambda: any(flow["to"].endswith(":5201") and sum(flow["packets"]) > 100
                           for flow in net.weft.flows("protocol tcp")), SECONDS, "it runs")
    shown, counted = net.weft.cli("show acl-plugin interface"), met(net, 0, 0)
    drops = net.weft.drops()
    for _ in range(20):
        net.weft.cli("plugin reload acl")
    assert net.weft.cli_json("show plugins")["plugins"][0]["reloads"] == 20
    assert finished(client)["sum_sent"]["bytes"] >= 20 << 20
    assert net.weft.drops() == drops
    assert net.weft.cli("show acl-plugin interface") == shown and met(net, 0, 0) == counted
    # The lists are those from before, and still in force.
    assert "other" in net.weft.cli("show acl-plugin acl")
    assert not pings(b, a) and not connects(a, b, WEB + 1) and connects(a, b, WEB)


def test_an_unload_leaves_nothing_behind(net):
    a, b = net.sites
    guard(net, REFLECT, "deny")
    assert not pings(b, a)
    net.weft.cli("plugin unload acl")
    assert pings(b, a) and connects(b, a, WEB)
    assert rule_sets(net) == []
    tracked = net.weft.node_packets("flow-track")
    assert pings(a, b) and net.weft.node_packets("flow-track") == tracked, "nobody needs to know flows any more"
    with pytest.raises(CliError):
        net.weft.cli("show acl-plugin acl")
    net.weft.cli("plugin load acl")
    assert net.weft.cli_json("show acl-plugin acl") == []


def test_an_interface_takes_its_rules_along(net):
    net.weft.cli("create loopback interface instance 7")
    number = net.weft.cli_json("set acl-plugin acl permit+reflect")["index"]
    net.weft.cli(f"set acl-plugin interface loop7 input acl {number}")
    assert rule_sets(net) == ["plugin.acl.loop7.in"]
    net.weft.cli("delete loopback interface loop7")
    assert rule_sets(net) == [] and net.weft.cli_json("show acl-plugin interface") == []
    net.weft.cli("create loopback interface instance 7")
    assert net.weft.cli_json("show acl-plugin interface") == []
    net.weft.cli(f"delete acl-plugin acl index {number}")


def test_what_is_refused_changes_nothing(net):
    a, b = net.sites
    guard(net, "permit proto icmp")
    before = net.weft.cli("show acl-plugin acl")
    for command, why in [
        ("set acl-plugin acl permit proto gre dport 1", "rule 1: protocol 47 has no ports"),
        ("set acl-plugin acl permit, allow", "rule 2: expected permit, permit\\+reflect or deny"),
        ("set acl-plugin acl index 7 permit", "there is no list 7"),
        ("set acl-plugin interface p9 input acl 0", "p9"),
        ("set acl-plugin interface p0 input acl 0", "already"),
        ("set acl-plugin interface p0 output acl 0 del", "not applied"),
    ]:
        with pytest.raises(CliError, match=why):
            net.weft.cli(command)
    assert net.weft.cli("show acl-plugin acl") == before
    # Somebody else's rules stay.
    net.weft.cli("classify rule add mine id 1 action drop")
    net.weft.cli("classify attach mine interface p1 input")
    with pytest.raises(CliError, match="has rules in this direction already"):
        net.weft.cli("set acl-plugin interface p1 input acl 0")
    assert pings(a, b) is False and len(net.weft.cli_json("show acl-plugin interface")) == 1


def test_the_examples_of_the_page(net):
    lines = (TREE / "docs/acl.md").read_text().splitlines()
    commands = [line.removeprefix("    weftctl ") for line in lines if line.startswith("    weftctl ")]
    assert commands[0] == "plugin load acl"
    for command in commands[1:]:
        net.weft.cli(command)
    shown = net.weft.cli_json("show acl-plugin acl")
    assert [(each["tag"], len(each["rules"]), each["input"]) for each in shown] == [("web", 1, ["p0"])]
