# SPDX-License-Identifier: Apache-2.0
"""The lab itself, with the kernel's own forwarding in the router's place: what fails here is not Weft's fault."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from lab import PREFIX, Lab, Wire, poll_until, sites

TESTS = Path(__file__).parent


@pytest.fixture
def kernel_network(lab):
    router = lab.namespace("router")
    made = sites(lab, router, 2)
    for site in made:
        router.ip("addr", "add", site.router_address, "dev", site.port)
    router.sysctl(net__ipv4__ip_forward=1)
    return router, *made


def test_ping_through_the_router(kernel_network):
    _, a, b = kernel_network
    answer = a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
    assert "3 received" in answer
    assert "ttl=63" in answer, "the router lowers TTL once"


def test_traceroute_names_the_router(kernel_network):
    _, a, b = kernel_network
    hops = a.host.output("traceroute", "-n", "-w", 2, "-q", 1, b.host_ip).splitlines()[1:]
    assert [line.split()[1] for line in hops] == [a.router_ip, b.host_ip]


def test_iperf3_through_the_router(kernel_network):
    _, a, b = kernel_network
    server = b.host.start("iperf3", "-s", "-1")
    poll_until(lambda: ":5201" in b.host.output("ss", "-Hltn"), 3, "iperf3 listens")
    result = json.loads(a.host.output("iperf3", "-J", "-c", b.host_ip, "-t", 1))
    assert result["end"]["sum_received"]["bytes"] > 1_000_000
    assert server.wait(5) == 0


def test_a_tagged_frame_is_sent_and_seen_whole(lab):
    left, right = lab.namespace("left"), lab.namespace("right")
    left_mac, right_mac = lab.veth(left, "eth0", right, "eth0")
    frame = (Ether(src=left_mac, dst=right_mac) / Dot1Q(vlan=100, prio=5) / Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="10.0.0.2")
             / UDP(sport=1, dport=2) / b"payload of more than eighteen bytes")
    with Wire(left, "eth0") as sender, Wire(right, "eth0") as receiver:
        sender.send(frame)
        [seen] = receiver.expect(lambda f: f[:6] == bytes.fromhex(right_mac.replace(":", "")), what="the frame")
    assert seen == bytes(frame), "both tags, priority and payload arrive as sent"


def test_a_wire_reports_what_it_missed(lab):
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0")
    with Wire(right, "eth0") as receiver:
        with pytest.raises(AssertionError, match="0 of 1 within"):
            receiver.expect(lambda f: ICMP in Ether(f), seconds=0.3)


def test_paced_traffic_arrives_once_and_in_order(kernel_network, trafficgen):
    router, a, b = kernel_network
    router.run("ping", "-c", 1, "-W", 2, b.host_ip)  # resolves the neighbour, so that no packet waits for it
    sink = trafficgen.sink(b, count=20_000, seconds=5)
    sender = trafficgen.sender(a, b, rate=20_000, count=20_000, flows=16)
    assert trafficgen.result(sender)["sent"] == 20_000
    counted = trafficgen.result(sink)
    assert (counted["received"], counted["lost"], counted["doubled"], counted["overtaken"]) == (20_000, 0, 0, 0)


def test_a_sink_counts_what_is_lost(kernel_network, trafficgen):
    router, a, b = kernel_network
    router.run("ping", "-c", 1, "-W", 2, b.host_ip)
    sink = trafficgen.sink(b, count=1_000, seconds=1)
    trafficgen.result(trafficgen.sender(a, b, rate=10_000, count=900))
    assert trafficgen.result(sink)["lost"] == 100


def test_queues_of_a_link(lab):
    left, right = lab.namespace("left"), lab.namespace("right")
    lab.veth(left, "eth0", right, "eth0", queues=2)
    channels = right.output("ethtool", "-l", "eth0").split("Current hardware settings:")[1]
    assert "RX:\t\t2" in channels and "TX:\t\t2" in channels


def test_a_lab_leaves_nothing_behind():
    with Lab() as lab:
        namespace = lab.namespace("x")
        folder = Path(lab.folder())
        sleeper = namespace.start("sleep", 60)
        assert namespace.name in _namespaces()
    assert namespace.name not in _namespaces()
    assert sleeper.poll() is not None
    assert not folder.exists()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_is_cleaned_up(tmp_path, sign):
    """^C unwinds the lab itself; what SIGKILL leaves is removed by scripts/cleanup, and only that."""
    program = tmp_path / "run.py"
    program.write_text(textwrap.dedent(f"""\
        import sys, time
        sys.path.insert(0, {str(TESTS)!r})
        from lab import Lab
        with Lab() as lab:
            namespace = lab.namespace("x")
            namespace.start("sleep", 60)
            print(namespace.name, flush=True)
            time.sleep(60)
    """))
    # A test run in the background ignores ^C, and what is ignored is inherited.
    run = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    name = run.stdout.readline().strip()
    assert name.startswith(PREFIX) and name in _namespaces()
    with Lab() as other:
        running = other.namespace("running")
        os.kill(run.pid, sign)
        run.wait(10)
        run.stdout.close()
        if sign == signal.SIGKILL:
            assert name in _namespaces(), "nobody could unwind"
            subprocess.run([TESTS.parent / "scripts/cleanup"], check=True, capture_output=True, timeout=30)
        assert running.name in _namespaces(), "a run that goes on is left alone"
    assert name not in _namespaces()


def _namespaces():
    return set(os.listdir("/run/netns")) if Path("/run/netns").is_dir() else set()
