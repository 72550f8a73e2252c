# SPDX-License-Identifier: Apache-2.0
"""Flows of IPv6, and the rules that admit them, with real kernels on both sides."""

import json
import socket
import subprocess

import pytest
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab import weft as words
from lab.plugins import PluginFolder
from test_ip6 import PLEN, hosts, pings, reachable, routers, six  # noqa: F401 (a fixture)
from test_vplaned import SECONDS, Driven
from test_vplaned_filter import send

PORT = 4000


def connect(a, b, port=PORT, timeout=SECONDS):
    """A TCP connection from a host to another: both ends; None if it does not open."""
    with b.host.socket(family=socket.AF_INET6) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        listener.listen()
        client = a.host.socket(family=socket.AF_INET6)
        client.settimeout(timeout)
        try:
            client.connect((hosts(2 if b.port == "p1" else 1), port))
        except TimeoutError:
            client.close()
            return None
        server, _ = listener.accept()
        server.settimeout(timeout)
        return client, server


def exchange(client, server):
    client.sendall(b"ping")
    assert server.recv(100) == b"ping"
    server.sendall(b"pong")
    assert client.recv(100) == b"pong"


def tracked(six, **options):
    (a, b), start = six
    weft = start([words.Port(site.port, (f"{routers(number)}/{PLEN}",)) for number, site in enumerate((a, b), 1)],
                 **options)
    reachable(a, weft)
    return a, b, weft


def only(weft, match):
    flows = weft.flows(match)
    assert len(flows) == 1, flows
    return flows[0]


def test_a_connection_a_ping_an_error_and_fragments(six):  # noqa: F811
    a, b, weft = tracked(six, commands=["flow enable p0", "flow enable p1"])
    weft.cli("clear flow")
    client, server = connect(a, b)
    exchange(client, server)
    poll_until(lambda: [flow["state"] for flow in weft.flows("protocol tcp")] == ["established"], SECONDS, "it is seen")
    flow = only(weft, f"protocol tcp address {hosts(2)}")
    assert flow["to"] == f"[{hosts(2)}]:{PORT}" and flow["from"].startswith(f"[{hosts(1)}]:")
    client.close()
    assert server.recv(100) == b""
    server.close()
    poll_until(lambda: only(weft, "protocol tcp")["state"] == "closed", SECONDS, "it is closed")

    poll_until(lambda: weft.flows("protocol icmp6") == [], SECONDS, "what was cleared is gone")
    assert "3 received" in a.host.output("ping", "-6", "-c", 3, "-i", 0.05, "-W", 2, hosts(2))
    flow = only(weft, "protocol icmp6")
    assert (flow["state"], flow["packets"]) == ("established", [3, 3])
    weft.cli("clear flow match protocol icmp6")
    poll_until(lambda: weft.flows("protocol icmp6") == [], SECONDS, "it is gone")
    assert "3 received" in a.host.output("ping", "-6", "-c", 3, "-i", 0.05, "-W", 2, "-s", 5000, hosts(2))
    assert only(weft, "protocol icmp6")["packets"] == [12, 12]

    sender = a.host.socket(family=socket.AF_INET6, kind=socket.SOCK_DGRAM)
    sender.connect((hosts(2), PORT))
    sender.send(b"anybody?")
    poll_until(lambda: weft.flow_count("icmp-errors") == 1, SECONDS, "port unreachable")
    flow = only(weft, "protocol udp")
    assert (flow["state"], flow["packets"]) == ("new", [1, 1])
    # The tables themselves say the same.
    shown = subprocess.check_output([words.binary("weftctl"), "--socket", weft.socket, "--json", "flow", "ls"])
    listed = json.loads(shown)["flows"]
    assert {flow["from"] for flow in listed if flow["protocol"] == "icmp6"} == {only(weft, "protocol icmp6")["from"]}
    weft.stop()


def test_an_agent_decides_and_neighbours_do_not_wait(six):  # noqa: F811
    a, b, weft = tracked(six, flow="agent-timeout 60")
    for command in ("flow enable p0 mode agent", "flow enable p1"):
        weft.cli(command)
    a.host.ip("neigh", "flush", "dev", "eth0")
    assert not pings(a, hosts(2)), "the router is found, and the first packet waits"
    flow = only(weft, "waiting")
    assert flow["to"] == f"[{hosts(2)}]:{flow['to'].rsplit(':', 1)[1]}", flow
    with pytest.raises(words.CliError) as refused:
        weft.cli(f"flow verdict {flow['id']} redirect next-hop 192.0.2.1 {b.port}")
    assert "is of IPv6" in refused.value.output
    weft.cli(f"flow verdict {flow['id']} forward")
    assert only(weft, f"address {hosts(2)}")["state"] == "established"
    weft.stop()


def only_answers_get_in(a, b):
    """A ping of the first host is permitted: from the second one come answers to it, and nothing else."""
    # A request has the same addresses, id and sequence as the answer that is waited for: the type decides.
    ident = 0x4242
    with Wire(b.host, "eth0") as far, Wire(a.host, "eth0") as near:
        a.host.output("ping", "-6", "-c", 1, "-W", 5, "-e", ident, hosts(2))
        request = next(frame for frame in map(Ether, far.frames()) if ICMPv6EchoRequest in frame)
        head = Ether(src=request.dst, dst=request.src) / IPv6(src=hosts(2), dst=hosts(1))
        seen = lambda payload: any(payload in frame for frame in near.frames())  # noqa: E731
        far.send(head / ICMPv6EchoRequest(id=ident, seq=1, data=b"a request from outside"))
        far.send(head / ICMPv6EchoReply(id=ident + 1, seq=1, data=b"an answer to nobody"))
        far.send(head / ICMPv6EchoReply(id=ident, seq=1, data=b"one more answer"))
        poll_until(lambda: seen(b"one more answer"), SECONDS, "an answer gets through")
        assert not seen(b"a request from outside") and not seen(b"an answer to nobody")


def test_reflexive_lists(lab, six):  # noqa: F811
    a, b, weft = tracked(six, more=PluginFolder(lab, "acl").settings)
    discovery = "permit src ::/0 proto icmp6 sport 133-137"
    listed = [f"permit+reflect src ::/0 proto icmp6 sport 128, permit+reflect src ::/0 proto tcp dport {PORT}, {discovery}",
              discovery]
    for direction, rules in zip(("input", "output"), listed):
        number = weft.cli_json(f"set acl-plugin acl {rules}")["index"]
        weft.cli(f"set acl-plugin interface p0 {direction} acl {number}")
    assert pings(a, hosts(2)) and not pings(b, hosts(1))
    ends = connect(a, b)
    exchange(*ends)
    assert connect(a, b, PORT + 1, timeout=1) is None and connect(b, a, timeout=1) is None
    only_answers_get_in(a, b)
    # Fragments follow the first one, once a rule has admitted that: those of the first ping may come with it, and find nothing.
    assert a.host.run("ping", "-6", "-c", 3, "-i", 0.2, "-W", 2, "-s", 5000, hosts(2), check=False).returncode == 0
    flows = weft.flows(f"protocol tcp address {hosts(2)} port {PORT}")
    assert [flow["state"] for flow in flows] == ["established"]
    exchange(*ends)
    weft.stop()


def test_long_pings_to_the_router_are_answered(six):  # noqa: F811
    a, _, weft = tracked(six)
    for size in (1452, 1453, 3000, 20000):
        assert pings(a, routers(1), "-s", size) and pings(a, routers(2), "-s", size), f"{size} bytes"
    counted = weft.cli("show errors")
    assert "ip6-reassembly" in counted and "ip6-frag" in counted
    assert weft.drops() == {} or not any("reassembly" in node for node, _ in weft.drops())
    weft.stop()


def test_a_stateful_filter_of_vplaned(lab):
    net = Driven(lab).start()
    a, b = net.sites
    for number, site in enumerate(net.sites, 1):
        tap = f"dp0{site.port}"
        net.router.ip("link", "set", tap, "up")
        for place, interface in ((net.router, tap), (site.host, "eth0"), (site.host, "lo")):
            place.sysctl(**{f"net__ipv6__conf__{interface}__{key}": 0 for key in ("disable_ipv6", "accept_dad")})
        # Weft follows it. The kernel itself forwards only if "all" is set, too.
        net.router.sysctl(**{f"net__ipv6__conf__{tap}__forwarding": 1})
        net.router.ip("addr", "add", f"{routers(number)}/{PLEN}", "dev", tap, "nodad")
        site.host.ip("addr", "add", f"{hosts(number)}/{PLEN}", "dev", "eth0", "nodad")
        site.host.ip("route", "add", "default", "via", routers(number))
    reachable(a, net.weft)
    send(net, "npf-cfg add fw:SIX 10 action=accept stateful=y proto-final=58 icmpv6=128",
         f"npf-cfg add fw:SIX 20 action=accept stateful=y proto-final=6 dst-port={PORT}",
         "npf-cfg attach interface:dp0p0 fw-in fw:SIX", "npf-cfg commit")
    assert pings(a, hosts(2)) and not pings(b, hosts(1))
    ends = connect(a, b)
    exchange(*ends)
    assert connect(a, b, PORT + 1, timeout=1) is None and connect(b, a, timeout=1) is None
    only_answers_get_in(a, b)
    status, output = net.ask("session-op show sessions summary")
    assert status == "OK" and '"tcp"' in output
    status, output = net.ask("session-op show dataplane sessions summary")
    # Two pings of different ids, and a connection.
    assert status == "OK" and '"ip6":3' in output and '"icmp":2' in output, output
    assert net.double.events() == []


def messages_sent(host):
    """How many ICMPv6 messages the host's kernel has sent."""
    counted = dict(line.split() for line in host.output("cat", "/proc/net/snmp6").splitlines())
    return int(counted["Icmp6OutMsgs"])


@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_policer_holds_ip6_to_its_rate_and_leaves_neighbours_alone(lab, six, direction):  # noqa: F811
    a, b, weft = tracked(six, more=PluginFolder(lab, "policer").settings)
    weft.cli("policer add name gold type 1r3c rate kbps cir 1 cb 1000 eb 1000 conform-action mark-and-transmit 10 "
             "exceed-action mark-and-transmit 12")
    port = a.port if direction == "input" else b.port
    weft.cli(f"policer {direction} name gold {port}")
    sender = a.host.socket(family=socket.AF_INET6, kind=socket.SOCK_DGRAM)
    receiver = b.host.socket(family=socket.AF_INET6, kind=socket.SOCK_DGRAM)
    receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    receiver.bind(("::", PORT))
    receiver.settimeout(1)
    said = messages_sent(a.host)
    for _ in range(5):
        sender.sendto(bytes(1000 - 48), (hosts(2), PORT))
    marks = []
    for _ in range(2):
        _, ancillary, _, _ = receiver.recvmsg(2000, 100)
        marks.append(int.from_bytes(ancillary[0][2], "little") >> 2)
    assert marks == [10, 12]
    with pytest.raises(TimeoutError):
        receiver.recvmsg(2000, 100)
    policer = weft.cli_json("show policer")["policers"][0]
    colours = [policer[colour]["packets"] for colour in ("conform", "exceed", "violate")]
    # A kernel that joins a group says so to the routers on its link, whenever it likes: a second fills the bucket enough for that.
    said = messages_sent(a.host) - said if direction == "input" else 0
    assert all(datagrams <= packets for datagrams, packets in zip([1, 1, 3], colours)) and sum(colours) <= 5 + said
    # With nothing left in the buckets, neighbours are found all the same.
    a.host.ip("-6", "neigh", "flush", "dev", "eth0")
    pings(a, hosts(2))
    poll_until(lambda: "lladdr" in a.host.ip("-6", "neigh", "show", routers(1)), SECONDS, "the router answers")
    weft.stop()
