# SPDX-License-Identifier: Apache-2.0
"""Flows, with real kernels on both sides."""

import json
import socket
import struct
import subprocess

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from lab import Wire, frozen, poll_until
from lab.weft import binary

PORT = 4000
BOTH = ["flow enable p0", "flow enable p1"]
SECONDS = 10


def connect(a, b):
    """A TCP connection from a host to another: both ends."""
    listener = b.host.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((b.host_ip, PORT))
    listener.listen()
    client = a.host.socket()
    client.settimeout(SECONDS)
    client.connect((b.host_ip, PORT))
    server, _ = listener.accept()
    server.settimeout(SECONDS)
    listener.close()
    return client, server


def only(weft, match):
    flows = weft.flows(match)
    assert len(flows) == 1, flows
    return flows[0]


def until_state(weft, state, match="protocol tcp"):
    poll_until(lambda: [flow["state"] for flow in weft.flows(match)] == [state], SECONDS, f"a flow that is {state}")


def exchange(client, server):
    client.sendall(b"ping")
    assert server.recv(100) == b"ping"
    server.sendall(b"pong")
    assert client.recv(100) == b"pong"


def test_a_connection_opens_and_closes(network):
    net = network(commands=BOTH)
    a, b = net.sites
    client, server = connect(a, b)
    exchange(client, server)
    until_state(net.weft, "established")
    flow = only(net.weft, "protocol tcp")
    assert flow["to"] == f"{b.host_ip}:{PORT}" and flow["from"].startswith(f"{a.host_ip}:")
    client.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b""
    until_state(net.weft, "fin-wait")
    server.sendall(b"late")
    assert client.recv(100) == b"late"
    server.close()
    assert client.recv(100) == b""
    until_state(net.weft, "closed")


def test_both_sides_close_at_once(network):
    net = network(commands=BOTH)
    client, server = connect(*net.sites)
    exchange(client, server)
    # Neither hears of the other's FIN before it has sent its own: both are lost, and sent again.
    ends = [(here.host, f"{there.host_ip}/32") for here, there in (net.sites, reversed(net.sites))]
    for host, other in ends:
        host.ip("route", "add", "blackhole", other)
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    for host, other in ends:
        host.ip("route", "del", "blackhole", other)
    until_state(net.weft, "closed")
    assert client.recv(100) == b"" and server.recv(100) == b""


def test_a_reset_closes_and_a_forged_one_does_not(network):
    net = network(commands=BOTH)
    a, b = net.sites
    client, server = connect(a, b)
    exchange(client, server)
    until_state(net.weft, "established")
    port = client.getsockname()[1]
    packet = IP(src=a.host_ip, dst=b.host_ip) / TCP(sport=port, dport=PORT, flags="R", seq=12345)
    with Wire(a.host, "eth0") as wire:
        wire.send(Ether(src=a.host_mac, dst=a.port_mac) / packet)
    poll_until(lambda: net.weft.flow_count("left-to-receiver") == 1, SECONDS, "the forged reset is seen")
    until_state(net.weft, "established")
    exchange(client, server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    until_state(net.weft, "closed")
    with pytest.raises(ConnectionResetError):
        server.recv(100)


def test_a_refused_connection_is_closed(network):
    net = network(commands=BOTH)
    a, b = net.sites
    with pytest.raises(ConnectionRefusedError):
        a.host.socket().connect((b.host_ip, PORT))
    until_state(net.weft, "closed")


def test_udp_ping_and_an_icmp_error(network):
    net = network(commands=BOTH)
    a, b = net.sites
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
    flow = only(net.weft, "protocol icmp")
    assert (flow["state"], flow["packets"]) == ("established", [3, 3])
    sender = a.host.socket(kind=socket.SOCK_DGRAM)
    sender.connect((b.host_ip, PORT))
    sender.send(b"anybody?")
    poll_until(lambda: net.weft.flow_count("icmp-errors") == 1, SECONDS, "port unreachable")
    flow = only(net.weft, "protocol udp")
    assert (flow["state"], flow["packets"]) == ("new", [1, 1])
    with pytest.raises(ConnectionRefusedError):
        sender.recv(100)


def test_fragments_belong_to_their_flow(network):
    net = network(commands=BOTH)
    a, b = net.sites
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, "-s", 5000, b.host_ip)
    assert only(net.weft, "protocol icmp")["packets"] == [12, 12]


def test_an_idle_flow_ends_and_that_is_told(network):
    net = network(commands=[*BOTH, "flow events on"], flow="icmp 1")
    a, b = net.sites
    a.host.output("ping", "-c", 1, "-W", 2, b.host_ip)
    poll_until(lambda: net.weft.flow_count("expired") == 1, SECONDS, "the flow ends")
    assert net.weft.flows() == []

    def events():
        return [event["event"] for event in net.weft.cli_json("show flow events")["events"]]

    poll_until(lambda: events() == ["began", "ended"], SECONDS, "its beginning and its end are told")


def test_two_workers_are_as_good_as_one(network):
    net = network(commands=BOTH, workers=2, first_worker_core=0, queues=2)
    a, b = net.sites
    client, server = connect(a, b)
    for _ in range(20):
        exchange(client, server)
    until_state(net.weft, "established")
    assert "20 received" in a.host.output("ping", "-c", 20, "-i", 0.02, "-W", 2, b.host_ip)
    assert only(net.weft, "protocol icmp")["packets"] == [20, 20]


def test_an_agent_decides(network):
    net = network(commands=["flow enable p0 mode agent", "flow enable p1"], flow="agent-timeout 60")
    a, b = net.sites
    receiver = b.host.socket(kind=socket.SOCK_DGRAM)
    receiver.bind((b.host_ip, PORT))
    receiver.settimeout(SECONDS)
    sender = a.host.socket(kind=socket.SOCK_DGRAM)
    sender.connect((b.host_ip, PORT))
    for number in range(3):
        sender.send(bytes([number]))
    poll_until(lambda: net.weft.flow_count("parked") == 3, SECONDS, "three packets wait")
    flow = only(net.weft, "waiting")
    net.weft.cli(f"flow verdict {flow['id']} forward mark 7")
    assert [receiver.recv(100) for _ in range(3)] == [b"\0", b"\1", b"\2"]
    assert only(net.weft, "protocol udp")["mark"] == 7
    net.weft.cli(f"flow verdict {flow['id']} drop")
    sender.send(b"no")
    poll_until(lambda: only(net.weft, "protocol udp")["packets"][0] == 4, SECONDS, "the packet is seen")
    receiver.settimeout(0.5)
    with pytest.raises(TimeoutError):
        receiver.recv(100)


def weftctl(weft, *words, status=0):
    done = subprocess.run([binary("weftctl"), "--socket", weft.socket, *words], capture_output=True, text=True,
                          timeout=SECONDS)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_the_tables_can_be_read_while_the_main_thread_hangs(network):
    net = network(commands=BOTH)
    a, b = net.sites
    client, server = connect(a, b)
    exchange(client, server)
    flow = only(net.weft, "protocol tcp")["id"]
    # The main thread has the number of the process.
    with frozen(net.weft.process.pid):
        exchange(client, server)
        assert flow in weftctl(net.weft, "flow", "ls")
        assert f"{b.host_ip}:{PORT}" in weftctl(net.weft, "flow", "get", flow)
        assert flow in weftctl(net.weft, "flow", "top", "-n", "1")
        shown = json.loads(weftctl(net.weft, "flow", "top", "-n", "1", "--json"))["flows"]
        assert [each["id"] for each in shown] == [flow]
        assert json.loads(weftctl(net.weft, "--json", "flow", "get", flow))["packets"] == shown[0]["packets"]
        pings = a.host.start("ping", "-i", "0.05", b.host_ip)
        assert "packets/s" in weftctl(net.weft, "flow", "top", "--rate")
        pings.terminate()
        refused = weftctl(net.weft, "flow", "get", "1/99.1", status=1)
        assert "has ended" in refused


@pytest.mark.slow
def test_a_flood_of_new_flows_leaves_established_ones_alone(network, trafficgen):
    net = network(commands=BOTH, flow="flows 50000 new-flow-rate 20000 new-flow-burst 20000 excess drop udp-new 2")
    a, b = net.sites
    client, server = connect(a, b)
    exchange(client, server)
    # 59,999 ports and 20 addresses in turn, which meet after 1,199,980 packets: 100,000 flows a second that nobody has seen before.
    flood = trafficgen.sender(a, b, rate=100_000, seconds=5, flows=59_999, dst_count=20)
    while flood.poll() is None:
        exchange(client, server)
    trafficgen.result(flood)
    assert net.weft.flow_count("rate-limit") + net.weft.flow_count("full") > 0
    until_state(net.weft, "established")
    assert not [flow for flow in net.weft.flows("protocol tcp") if flow["state"] != "established"]


@pytest.mark.slow
def test_iperf3_under_a_flood_of_new_flows(network, trafficgen):
    """The connection loses no byte, and not one of its packets to the tracker, whatever the flood is refused."""
    net = network(commands=BOTH, flow="flows 50000 new-flow-rate 20000 new-flow-burst 20000 excess drop udp-new 2")
    a, b = net.sites
    b.host.start("iperf3", "-s", "-1")
    poll_until(lambda: "5201" in b.host.output("ss", "-Hltn"), SECONDS, "the server listens")
    client = a.host.start("iperf3", "-c", b.host_ip, "-n", "20M", "-b", "40M", "-J")
    big = "protocol tcp port 5201 state established"
    # The control connection and the one with the data.
    poll_until(lambda: len(net.weft.flows(big)) == 2, SECONDS, "both connections are established")
    flood = trafficgen.sender(a, b, rate=100_000, seconds=5, flows=59_999, dst_count=20)
    text, _ = client.communicate(timeout=120)
    trafficgen.result(flood)
    assert client.returncode == 0, text
    # All was sent and acknowledged; the server stops to count when the client says so.
    assert json.loads(text)["end"]["sum_sent"]["bytes"] >= 20 << 20
    assert net.weft.flow_count("rate-limit") + net.weft.flow_count("full") > 0
    # One of its packets that found no flow would have begun another.
    assert len(net.weft.flows("protocol tcp port 5201")) == 2


@pytest.mark.slow
def test_a_million_flows(network, trafficgen):
    net = network(commands=BOTH,
                  flow="flows 1200000 new-flow-rate 1000000 new-flow-burst 1000000 udp-new 600")
    a, b = net.sites
    # As ports and addresses change together, only numbers without a common divisor meet in all combinations.
    sender = trafficgen.sender(a, b, rate=150_000, flows=49_999, dst_count=21, seconds=30)
    poll_until(lambda: net.weft.flow_count("active") >= 1_000_000, 60, "a million flows")
    trafficgen.result(sender)
    assert net.weft.cli_json("show flow match protocol udp limit 1")["count"] >= 1_000_000
    net.weft.cli("clear flow")
    poll_until(lambda: net.weft.flow_count("active") < 100, 60, "they are cleared")
