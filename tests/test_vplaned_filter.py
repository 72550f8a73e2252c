# SPDX-License-Identifier: Apache-2.0
"""Packet filters, sessions and MSS limits as vplaned sets them, between real kernels."""

import json
import re
import struct

import pytest

from lab import poll_until
from lab.reach import connects, pings
from test_vplaned import SECONDS, Driven

WEB = 8080
ATTACH = "npf-cfg attach interface:dp0p0 fw-in fw:WEB"
STATEFUL = [
    "npf-cfg add fw:WEB 10 action=accept stateful=y proto-final=1 icmpv4=8",
    f"npf-cfg add fw:WEB 20 action=accept stateful=y proto-final=6 dst-port=5201;{WEB}",
    ATTACH,
    "npf-cfg commit",
]


@pytest.fixture
def net(lab):
    net = Driven(lab).start()
    net.configure()
    return net


def send(net, *commands):
    """Commands, and a wait until all are carried out."""
    def counted():
        shown = net.weft.cli_json("show vplaned")
        return shown["commands_applied"] + shown["commands_failed"]
    before = counted()
    for command in commands:
        net.double.command(command)
    poll_until(lambda: counted() == before + len(commands), SECONDS, "the commands are carried out")


def rules(net, arguments="all: fw-in"):
    """Rules that `npf-op show` lists, by number."""
    status, output = net.ask(f"npf-op show {arguments}")
    assert status == "OK", output
    points = json.loads(output)["config"]
    return {number: rule for point in points for ruleset in point["rulesets"] for group in ruleset["groups"]
            for number, rule in group["rules"].items()}


def sessions(net):
    status, output = net.ask("session-op show sessions")
    assert status == "OK", output
    return json.loads(output)["config"]["sessions"]


def test_a_stateless_filter(net):
    a, b = net.sites
    assert connects(a, b, WEB) and connects(a, b, WEB + 1)
    send(net, f"npf-cfg add fw:F 10 action=drop proto-final=6 dst-port={WEB}", "npf-cfg add fw:F 20 action=accept",
         "npf-cfg attach interface:dp0p0 fw-in fw:F", "npf-cfg commit")
    assert not connects(a, b, WEB)
    assert connects(a, b, WEB + 1) and pings(a, b) and pings(b, a)
    shown = rules(net)
    assert shown["10"]["packets"] > 0 and shown["20"]["packets"] > 0
    assert (shown["10"]["action"], shown["20"]["action"]) == ("block ", "pass ")
    # What matches no rule is dropped.
    send(net, "npf-cfg delete fw:F 20", "npf-cfg commit")
    assert not connects(a, b, WEB + 1) and not pings(a, b)
    send(net, "npf-cfg detach interface:dp0p0 fw-in fw:F", "npf-cfg commit")
    assert connects(a, b, WEB) and pings(a, b)
    assert net.double.events() == []


def test_a_stateful_filter_lets_answers_pass(net):
    a, b = net.sites
    send(net, *STATEFUL)
    assert pings(a, b) and connects(a, b, WEB)
    # Nobody begins anything from the other side, nor by another port.
    assert not pings(b, a) and not connects(b, a, WEB) and not connects(a, b, WEB + 1)
    assert net.weft.cli_json("show flow match protocol tcp")["count"] >= 1
    b.host.start("iperf3", "-s", "-1")
    poll_until(lambda: "5201" in b.host.output("ss", "-Hltn"), SECONDS, "the server listens")
    done = json.loads(a.host.output("iperf3", "-c", b.host_ip, "-t", "1", "-J", timeout=60))
    assert done["end"]["sum_received"]["bytes"] > 0
    assert net.ask("npf-op clear all: fw-in") == ("OK", "")
    assert rules(net)["20"]["packets"] == 0
    assert net.double.events() == []


def test_established_connections_survive_another_rule_set(net):
    a, b = net.sites
    send(net, *STATEFUL)
    b.host.start("iperf3", "-s", "-1")
    poll_until(lambda: "5201" in b.host.output("ss", "-Hltn"), SECONDS, "the server listens")
    client = a.host.start("iperf3", "-c", b.host_ip, "-n", "20M", "-b", "40M", "-J")
    poll_until(lambda: any(flow["to"].endswith(":5201") and sum(flow["packets"]) > 100
                           for flow in net.weft.cli_json("show flow match protocol tcp")["flows"]),
               SECONDS, "it runs")
    send(net, "npf-cfg delete fw:WEB 20", "npf-cfg commit")
    assert not connects(a, b, WEB), "new connections meet the new rules"
    text, _ = client.communicate(timeout=120)
    assert client.returncode == 0, text
    assert json.loads(text)["end"]["sum_sent"]["bytes"] >= 20 << 20


def test_a_direction_with_a_rule_that_is_refused_is_closed(net):
    a, b = net.sites
    send(net, *STATEFUL)
    bad = "npf-cfg add fw:WEB 15 action=drop rproc=policer(1)"
    send(net, bad, "npf-cfg add fw:WEB 30 action=accept", "npf-cfg commit")
    poll_until(lambda: net.double.events() == [bad, "npf-cfg commit"], SECONDS, "both are reported")
    assert not connects(a, b, WEB + 1) and not connects(a, b, WEB), "never open"
    assert "fw:WEB rule 15: rproc=policer" in net.weft.log_text()
    assert rules(net) == {}, "none of its rules is in effect"
    corrected = f"action=drop proto-final=6 dst-port={WEB + 1}"
    send(net, f"npf-cfg add fw:WEB 15 {corrected}", "npf-cfg commit")
    assert connects(a, b, WEB) and not connects(a, b, WEB + 1), "as the rules say"
    shown = rules(net)
    assert set(shown) == {"10", "15", "20", "30"}
    assert shown["15"]["config"] == corrected and shown["15"]["packets"] > 0 and shown["20"]["packets"] > 0
    assert net.double.events() == [bad, "npf-cfg commit"], "nothing else was refused"


def test_ipv6_meets_the_filters_of_the_interface_that_it_comes_in_by(net):
    a, b = net.sites
    for number, site in enumerate(net.sites, 1):
        tap = f"dp0{site.port}"
        for place, interface in ((net.router, tap), (site.host, "eth0")):
            place.sysctl(**{f"net__ipv6__conf__{interface}__{key}": 0 for key in ("disable_ipv6", "accept_dad")})
        net.router.ip("addr", "add", f"2001:db8:{number}::1/64", "dev", tap, "nodad")
        site.host.ip("addr", "add", f"2001:db8:{number}::2/64", "dev", "eth0", "nodad")
        site.host.ip("route", "add", "default", "via", f"2001:db8:{number}::1")
    net.router.sysctl(net__ipv6__conf__all__forwarding=1)

    def answers(address="2001:db8:2::2"):
        return a.host.run("ping", "-6", "-c", 1, "-W", 1, address, check=False).returncode == 0

    poll_until(answers, SECONDS, "IPv6 is forwarded")
    send(net, "npf-cfg add fw:V6 10 action=accept icmpv6=packet-too-big", "npf-cfg attach interface:dp0p0 fw-in fw:V6",
         "npf-cfg commit")
    assert not answers() and not answers("2001:db8:1::1") and not pings(a, b)
    # Discovery is never cut by what is only not permitted: the router still finds host A, which has forgotten it.
    a.host.ip("-6", "neigh", "flush", "all")
    a.host.run("ping", "-6", "-c", 1, "-W", 1, "2001:db8:1::1", check=False)
    poll_until(lambda: "lladdr" in a.host.ip("-6", "neigh", "show", "2001:db8:1::1"), SECONDS, "it is answered")
    send(net, "npf-cfg add fw:V6 20 action=accept proto-final=58 src-addr=2001:db8:1::/64", "npf-cfg commit")
    assert answers() and answers("2001:db8:1::1") and not pings(a, b)
    assert rules(net)["20"]["packets"] >= 2
    send(net, "npf-cfg add fw:V6 15 action=drop dst-addr=2001:db8:2::2", "npf-cfg commit")
    assert not answers() and answers("2001:db8:1::1")
    assert "ip6-classify" in net.weft.cli("show errors")
    never = "npf-cfg add fw:V6 30 action=accept family=inet6 src-addr=10.0.0.0/8"
    send(net, never, "npf-cfg commit")
    poll_until(lambda: net.double.events() == ["npf-cfg commit"], SECONDS, "a rule that can never match is refused")
    assert "it has conditions of both IPv4 and IPv6" in net.weft.log_text()


def test_sessions_are_shown_and_cleared(net):
    a, b = net.sites
    send(net, *STATEFUL, "session-cfg sessions-max 5000")
    assert connects(a, b, WEB) and pings(a, b)
    shown = poll_until(lambda: sessions(net), SECONDS, "sessions are shown")
    tcp = [session for session in shown.values() if session["proto"] == 6]
    assert set(tcp[0]) == {"vrf_id", "src_addr", "src_port", "dst_addr", "dst_port", "proto", "interface", "time_to_expire",
                           "state_expire_window", "state", "gen_state", "parent", "duration", "feature_type", "counters"}
    assert (tcp[0]["src_addr"], tcp[0]["dst_addr"], tcp[0]["dst_port"]) == (a.host_ip, b.host_ip, WEB)
    assert tcp[0]["interface"] == "dp0p0"
    assert set(tcp[0]["counters"]) == {"packets_in", "bytes_in", "packets_out", "bytes_out"}
    statistics = json.loads(net.ask("session-op show sessions summary")[1])["config"]["sessions"]["statistics"]
    assert set(statistics) == {"used", "max", "nat", "nat64", "nat46", "tcp", "udp", "icmp", "other"}
    assert (statistics["used"], statistics["max"]) == (len(shown), 5000)
    summary = json.loads(net.ask("session-op show dataplane sessions summary")[1])["summary"]
    assert set(summary) == {"total", "address-family", "direction", "protocol", "feature"}
    net.ask("session-op clear session filter saddr any sport any daddr any dport any proto 1")
    poll_until(lambda: all(session["proto"] == 6 for session in sessions(net).values()), SECONDS, "the ping is forgotten")
    net.ask("session-op clear session all")
    poll_until(lambda: sessions(net) == {}, SECONDS, "all are forgotten")
    assert net.ask("session-op clear session nosuch")[0] == "ERROR"


def envelope(kind, message):
    """A DataplaneEnvelope."""
    return b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + bytes([len(message)]) + message


def test_the_mss_of_connections_is_clamped(net):
    a, b = net.sites

    def syn():
        """The MSS that the SYN of a connection has when it arrives."""
        dump = b.host.start("tcpdump", "-nn", "-l", "-c", "1", "-i", "eth0", f"dst port {WEB} and tcp[tcpflags] & tcp-syn != 0")
        for line in dump.stdout:
            if "listening on" in line:
                break
        assert connects(a, b, WEB)
        text, _ = dump.communicate(timeout=SECONDS)
        return int(re.search(r"mss (\d+)", text)[1])

    assert syn() == 1460
    name = b"dp0p0"
    settings = [(3, 1200, 1200), (2, 200, 1300), (1, 0, 1460), (0, 0, 1460)]
    for sequence, (option, value, expected) in enumerate(settings, 1 << 40):
        number = bytes([value & 0x7f | 0x80, value >> 7])
        message = (bytes([8, int(option != 0), 0x10, 0, 0x1a, len(name)]) + name + bytes([0x20, option, 0x28]) + number)
        applied = net.weft.cli_json("show vplaned")["commands_applied"]
        net.double.send_publication(b"protobuf", struct.pack("Q", sequence), envelope(b"vyatta:tcp-mss", message))
        poll_until(lambda: net.weft.cli_json("show vplaned")["commands_applied"] > applied, SECONDS, "it is applied")
        assert syn() == expected, option
