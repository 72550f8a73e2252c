# SPDX-License-Identifier: Apache-2.0
"""The classifier in C: its rules between real hosts, and what it has counted."""

from ipaddress import IPv4Address

import pytest

from lab.plugins import PluginFolder
from lab.reach import connects, pings
from lab.weft import CliError
from test_binapi import client

PING = ("ping", "-c", 3, "-i", 0.05, "-W", 1, "-s", 100)
# Data, ICMP header, IPv4 header.
BYTES = 100 + 8 + 20


@pytest.fixture
def net(network, lab):
    """Two hosts that know each other."""
    net = network(more=PluginFolder(lab).compile("plugins/classify/classify.c").settings)
    a, b = net.sites
    a.host.output(*PING, b.host_ip)
    return net


def _rules(net, interface=""):
    return net.weft.cli_json(f"show pkt-classify {interface}")["rules"]


def _received(net):
    a, b = net.sites
    answer = a.host.run(*PING, b.host_ip, check=False).stdout
    return int(answer.split(" received")[0].split()[-1])


def test_drop_and_pass(net):
    a, b = net.sites
    pair = f"src {a.host_ip} dst {b.host_ip}"
    net.weft.cli(f"classify add rule {a.port} {pair} proto 17 drop")
    assert net.weft.cli(f"classify add rule {a.port} {pair} proto 1 pass") == "rule 1 added\n"
    assert net.weft.cli_json(f"classify add rule {a.port} {pair} drop") == {"id": 2}
    net.weft.cli(f"classify add rule {a.port} src {b.host_ip} dst {a.host_ip} drop")
    assert _received(net) == 3, "the first rule that matches says pass, and the others are for other packets"
    assert [(rule["packets"], rule["bytes"]) for rule in _rules(net)] == [(0, 0), (3, 3 * BYTES), (0, 0), (0, 0)]
    net.weft.cli("classify del rule 1")
    assert _received(net) == 0
    assert net.weft.errors()[("pkt-classify", "a rule of pkt-classify says drop")] == 3
    assert [rule["packets"] for rule in _rules(net)] == [0, 3, 0]
    # The place of the deleted rule, from zero.
    net.weft.cli(f"classify add rule {a.port} {pair} proto 1 pass")
    assert [rule["packets"] for rule in _rules(net)] == [0, 0, 3, 0]
    assert _received(net) == 3
    line = net.weft.cli("show pkt-classify").splitlines()[2].split()
    assert line == ["1", a.port, a.host_ip, b.host_ip, "1", "0", "0", "PASS", "3", str(3 * BYTES)]
    assert _rules(net, b.port) == []


def test_a_reload_keeps_rules_and_counts(net):
    a, b = net.sites
    net.weft.cli(f"classify add rule {a.port} src {a.host_ip} dst {b.host_ip} drop")
    assert _received(net) == 0
    before = _rules(net)
    net.weft.cli("plugin reload classify")
    assert _rules(net) == before and before[0]["packets"] == 3
    assert _received(net) == 0 and _rules(net)[0]["packets"] == 6
    net.weft.cli("plugin unload classify")
    assert _received(net) == 3


def test_a_full_table(net):
    a, b = net.sites
    net.weft.script(f"classify add rule {a.port} src 192.0.2.{i} dst {b.host_ip} drop" for i in range(255))
    net.weft.cli(f"classify add rule {a.port} src {a.host_ip} dst {b.host_ip} pass")
    with pytest.raises(CliError, match="there are 256 rules"):
        net.weft.cli(f"classify add rule {a.port} src {a.host_ip} dst {b.host_ip} drop")
    assert _received(net) == 3 and _rules(net)[255]["packets"] == 3


def test_refusals(net):
    def refused(rule, why):
        with pytest.raises(CliError, match=why):
            net.weft.cli(f"classify add rule {rule}")

    refused("", "expected interface")
    refused("nowhere src 10.0.0.1 dst 10.0.0.2", "there is none of that name")
    refused("p0 src 10.0.0.1", "needs src and dst")
    for bad in ("src 10.0.0.256", "src", "proto 256", "proto -1", "proto", "flood"):
        refused(f"p0 dst 10.0.0.1 {bad}", "expected src ADDRESS")
    refused("p0 " + "drop " * 100, "too long")
    with pytest.raises(CliError, match="expected the id of a rule"):
        net.weft.cli("classify del rule 0")
    assert _rules(net) == []


def test_rules_by_message(net):
    a, b = net.sites
    number = {host: int(IPv4Address(host)) for host in (a.host_ip, b.host_ip)}
    with client(net.weft) as vpp:
        port = next(each.sw_if_index for each in vpp.api.sw_interface_dump() if each.interface_name == a.port)
        web = {"sw_if_index": port, "src_ip": number[a.host_ip], "dst_ip": number[b.host_ip], "src_port": 0, "dst_port": 8080,
               "protocol": 6, "action": 1, "redirect_sw_if_index": 0}
        assert connects(a, b, 8080)
        assert vpp.api.classify_add_rule(**web).retval == 0
        assert not connects(a, b, 8080) and connects(a, b, 8081) and pings(a, b)
        for wrong, retval in [({"sw_if_index": 99}, -2), ({"action": 2}, -126), ({"action": 3}, -7)]:
            assert vpp.api.classify_add_rule(**web | wrong).retval == retval
        assert vpp.api.classify_add_rule(**web | {"dst_port": 0, "protocol": 0, "action": 0}).retval == 0
        first, second = vpp.api.classify_rule_dump()
        assert {field: getattr(first, field) for field in web if field != "redirect_sw_if_index"} == \
            {field: value for field, value in web.items() if field != "redirect_sw_if_index"}
        assert (first.rule_index, second.rule_index, second.action) == (0, 1, 0)
        assert first.packet_count > 0 and first.byte_count >= 40 * first.packet_count and second.packet_count == 0
        assert [rule["dport"] for rule in _rules(net)] == [8080, 0]


def test_rules_end_with_their_interface(net):
    net.weft.cli("create loopback interface")
    net.weft.cli("classify add rule loop0 src 10.9.0.1 dst 10.9.0.2 drop")
    assert len(_rules(net)) == 1
    net.weft.cli("delete loopback interface intfc loop0")
    net.weft.cli("create loopback interface")
    assert _rules(net) == []
