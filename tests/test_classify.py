# SPDX-License-Identifier: Apache-2.0
"""Classifier rules on real packets: what they say is what happens on the wire."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab.weft import CliError


def _add(weft, rule, name="edge"):
    weft.cli(f"classify rule add {name} {rule}")


def _hits(weft, rule, name="edge"):
    """Packets that a rule has matched."""
    rules = weft.cli_json(f"show classify {name}")["rule_list"]
    return next(r["packets"] for r in rules if r["id"] == rule)


@pytest.fixture
def net(network):
    """Two hosts that know each other, and an empty set on what comes from the left one."""
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    _add(net.weft, "id 1000 priority 1000 action pass")
    net.weft.cli(f"classify attach edge interface {a.port} input")
    return net


def _frame(net, dport, **fields):
    a, b = net.sites[:2]
    packet = IP(src=a.host_ip, dst=b.host_ip, **fields) / UDP(sport=4000, dport=dport) / (b"classified" * 3)
    return Ether(src=a.host_mac, dst=a.port_mac) / packet


def _to(port):
    return lambda frame: UDP in Ether(frame) and Ether(frame)[UDP].dport == port


def test_drop_and_pass(net):
    a, b = net.sites
    _add(net.weft, f"id 1 priority 5 src {a.host_ip} proto udp dport 7000-7009 action drop")
    _add(net.weft, "id 2 priority 4 proto udp dport 7005 action pass")
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        for port in (7000, 7009):
            left.send(_frame(net, port))
        left.send(_frame(net, 7005))
        right.expect(_to(7005), what="the packet that rule 2 lets pass")
        poll_until(lambda: _hits(net.weft, 1) == 2, 5, "two packets denied")
        right.expect_none(lambda frame: _to(7000)(frame) or _to(7009)(frame), what="a denied packet")
    denied = [count for (node, _), count in net.weft.drops().items() if node == "ip4-classify"]
    assert denied == [2]
    assert "1 received" in a.host.output("ping", "-c", 1, "-W", 2, b.host_ip), "the last rule lets it pass"


def test_a_code_point_is_set_on_the_wire(net):
    a, b = net.sites
    _add(net.weft, "id 1 proto udp dport 7000 action set-dscp ef")
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        left.send(_frame(net, 7000, tos=0x03))
        got = Ether(right.expect(_to(7000), what="the marked packet")[0])
    assert got[IP].tos == 46 << 2 | 0x03, "ECN stays"
    checksum = got[IP].chksum
    del got[IP].chksum
    assert Ether(bytes(got))[IP].chksum == checksum, "as scapy computes it"


def test_a_trace_shows_rule_and_mark(net):
    a, b = net.sites
    _add(net.weft, "id 42 proto udp dport 7000 action mark 77 pass")
    net.weft.cli("trace add af-xdp-input 20")
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        left.send(_frame(net, 7000))
        right.expect(_to(7000), what="the marked packet")
    assert "rule 42: pass, mark 77" in net.weft.cli("show trace")


def test_redirects(network):
    net = network(count=3)
    a, b, c = net.sites
    for other in (b, c):
        a.host.run("ping", "-c", 1, "-W", 2, other.host_ip)
    _add(net.weft, f"id 1 proto udp dport 7001 action redirect interface {c.port}")
    _add(net.weft, f"id 2 proto udp dport 7002 action redirect next-hop {c.host_ip}")
    net.weft.cli(f"classify attach edge interface {a.port} input")
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right, Wire(c.host, "eth0") as aside:
        for port in (7001, 7002, 7003):
            left.send(_frame(net, port, ttl=9))
        frame = Ether(aside.expect(_to(7001), what="the frame that rule 1 redirects")[0])
        routed = Ether(aside.expect(_to(7002), what="the packet that rule 2 redirects")[0])
        right.expect(_to(7003), what="the packet that no rule matches")
    assert (frame.src, frame.dst, frame[IP].ttl) == (a.host_mac, a.port_mac, 9), "as it came"
    assert (routed.src, routed.dst, routed[IP].ttl) == (c.port_mac, c.host_mac, 8), "routed"


def test_punt_reaches_the_host(network):
    net = network(ports={"p0": {"host_tap": "host0"}})
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    _add(net.weft, "id 1 proto udp dport 7000 action punt")
    net.weft.cli(f"classify attach edge interface {a.port} input")
    net.weft.namespace.ip("link", "set", "host0", "up")
    with Wire(a.host, "eth0") as left, Wire(net.weft.namespace, "host0") as host:
        sent = _frame(net, 7000)
        left.send(sent)
        assert host.expect(_to(7000), what="the punted packet") == [bytes(sent)]


def test_a_policer_limits(net):
    a, b = net.sites
    _add(net.weft, "id 1 proto udp dport 7000 action police packets 1 burst 10 pass")
    with Wire(a.host, "eth0") as left:
        for _ in range(200):
            left.send(_frame(net, 7000))
        poll_until(lambda: _hits(net.weft, 1) == 200, 10, "all packets have met the rule")
    policed = [count for (node, _), count in net.weft.drops().items() if node == "ip4-classify"]
    # The bucket refills by one packet a second, however long this took.
    assert 100 <= policed[0] <= 190


def test_output_rules_meet_what_leaves(net):
    a, b = net.sites
    _add(net.weft, "id 1 proto icmp icmp echo-reply action drop", name="out")
    net.weft.cli(f"classify attach out interface {a.port} output")
    answer = a.host.run("ping", "-c", 2, "-i", 0.1, "-W", 1, b.host_ip, check=False).stdout
    assert "0 received" in answer
    assert _hits(net.weft, 1, "out") == 2
    net.weft.cli(f"classify detach interface {a.port} output")
    assert "1 received" in a.host.output("ping", "-c", 1, "-W", 2, b.host_ip)


def test_replacing_10000_rules_under_traffic_loses_nothing(net, trafficgen, tmp_path):
    a, b = net.sites
    files = []
    for version in range(2):
        path = tmp_path / f"rules{version}"
        lines = [f"id {i} src 172.{16 + i % 16}.{i // 256 % 256}.{i % 256} proto tcp dport {1 + i % 1000} action drop"
                 for i in range(version, 9999 + version)]
        path.write_text("\n".join([*lines, "id 50000 priority 9 action pass", ""]))
        files.append(path)
    flow = trafficgen.flow(a, b, rate=5_000, flows=16)
    poll_until(lambda: b.host.counters("eth0")["rx_packets"] > 2_000, 20, "traffic flows")
    for turn in range(6):
        net.weft.cli(f"classify replace-set edge file {files[turn % 2]}")
    account = flow.stop()
    assert account == {"sent": account["sent"], "lost": 0, "doubled": 0, "overtaken": 0}
    assert net.weft.cli_json("show classify")["sets"][0]["rules"] == 10_000
    assert _hits(net.weft, 50_000) > 0


def test_a_bad_file_changes_nothing(net, tmp_path):
    path = tmp_path / "rules"
    path.write_text("id 1 action drop\nid 2 proto tcp dport 99999 action drop\n")
    with pytest.raises(CliError) as refused:
        net.weft.cli(f"classify replace-set edge file {path}")
    assert f"{path}:2:22: expected port or range of ports, found \"99999\"" in refused.value.output
    assert net.weft.cli_json("show classify")["sets"][0]["rules"] == 1
