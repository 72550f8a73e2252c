# SPDX-License-Identifier: Apache-2.0
"""Two queues of each port on two workers."""

import socket

import pytest

from lab import poll_until
from lab import weft as words
from lab.weft import PLAIN_WAY


@pytest.fixture
def two_by_two(network):
    return network(workers=2, queues=2, first_worker_core=0)


def _spray(a, b, flows, packets):
    """UDP through the host's own stack: its hash spreads flows over the link's transmit queues, which are the queues
    that the far end receives on."""
    for _ in range(flows):
        with a.host.socket(kind=socket.SOCK_DGRAM) as sender:
            for _ in range(packets):
                sender.sendto(b"x" * 32, (b.host_ip, 9))


def test_each_queue_has_its_worker(two_by_two):
    placed = two_by_two.weft.rx_placement()
    for port in ("p0", "p1"):
        assert len({placed[port, 0], placed[port, 1]}) == 2, "round robin over two workers"


def test_both_workers_forward(two_by_two):
    a, b = two_by_two.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    b.host.sysctl(net__ipv4__icmp_ratelimit=1000)
    before = two_by_two.weft.node_packets(PLAIN_WAY[-1])
    received = b.host.counters("eth0")["rx_packets"]
    _spray(a, b, flows=32, packets=20)
    poll_until(lambda: b.host.counters("eth0")["rx_packets"] >= received + 640, 3, "640 packets arrive")
    grown = {thread: count - before.get(thread, 0) for thread, count in two_by_two.weft.node_packets(PLAIN_WAY[-1]).items()}
    busy = [thread for thread, count in grown.items() if count > 50]
    assert len(busy) == 2, f"packets by thread: {grown}"


def test_a_queue_moves_to_another_worker_under_traffic(two_by_two, trafficgen):
    a, b = two_by_two.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    flow = trafficgen.flow(a, b, rate=5_000)
    for worker in (1, 0, 1, 0):
        for queue in (0, 1):
            two_by_two.weft.cli(words.placement("p0", queue, worker))
        placed = two_by_two.weft.rx_placement()
        assert placed["p0", 0] == placed["p0", 1]
        received = two_by_two.weft.interface("p0")["rx_packets"]
        poll_until(lambda: two_by_two.weft.interface("p0")["rx_packets"] > received + 300, 5, "packets for the new worker")
    account = flow.stop()
    assert account["sent"] > 1_000
    assert account["lost"] == 0
