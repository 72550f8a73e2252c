# SPDX-License-Identifier: Apache-2.0
"""Queues and workers: two queues of each port on two workers, queues that come while Weft runs, and workers without one."""

import re
import socket

import pytest

from lab import Weft, poll_until, sites
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


SECONDS = 10


def channels(site, queues):
    """As an operator does, at both ends of the link."""
    site.router.run("ethtool", "-L", site.port, "rx", queues, "tx", queues)
    site.host.run("ethtool", "-L", "eth0", "rx", queues, "tx", queues)


@pytest.fixture
def growing(lab):
    """Two sites with links of four queues, of which one is used."""
    router = lab.namespace("router")
    made = sites(lab, router, 2, queues=4)
    for site in made:
        site.router = router
        channels(site, 1)

    def start(**options):
        return Weft(lab, router, [words.site_port(site, queues="all") for site in made], **options).start()

    return made, start


@pytest.mark.parametrize("workers", [1, 2])
def test_queues_that_come_are_served(growing, workers):
    """`ethtool -L` while packets flow: without Weft's doing, frames of new queues would be the kernel's, which loses them."""
    (a, b), start = growing
    weft = start(workers=workers, first_worker_core=0)
    b.host.sysctl(net__ipv4__icmp_ratelimit=1000)
    assert a.host.run("ping", "-c", 1, "-W", 2, b.host_ip).returncode == 0
    assert {key for key in weft.rx_placement()} == {("p0", 0), ("p1", 0)}
    for queues in (3, 4):
        channels(a, queues)
        poll_until(lambda: len(weft.rx_placement()) == queues + 1, SECONDS, "the queues have workers")
        placed = [thread for (port, _), thread in weft.rx_placement().items() if port == "p0"]
        assert len(set(placed)) == workers
        received = b.host.counters("eth0")["rx_packets"]
        _spray(a, b, flows=32, packets=20)
        poll_until(lambda: b.host.counters("eth0")["rx_packets"] >= received + 640, 3, "640 packets arrive")
        by_queue = weft.cli_json("show hardware-interfaces p0")["interfaces"][0]["sockets"]
        assert len(by_queue) == queues
    assert sum(weft.stats("/xdp/p0/rx")["/xdp/p0/rx"][-1][queue]["packets"] for queue in range(1, 4)) > 0, "counted by queue"
    # The other way: packets leave by the queue of their worker.
    assert b.host.run("ping", "-c", 1, "-W", 2, a.host_ip).returncode == 0
    assert a.router.run("ethtool", "-L", "p0", "rx", 1, "tx", 1, check=False).returncode != 0, "the kernel keeps what has a socket"
    weft.stop()


def test_a_number_of_queues_that_was_asked_for_stays(lab):
    """The rest is said to stay with the kernel."""
    router = lab.namespace("router")
    [site] = sites(lab, router, 1, queues=4)
    site.router = router
    channels(site, 1)
    weft = Weft(lab, router, [words.site_port(site, queues=1)]).start()
    channels(site, 4)
    said = "it spreads frames over 4 receive queues and only 1 are served"
    poll_until(lambda: said in weft.log_text(), SECONDS, "it is said")
    assert said in weft.cli("show hardware-interfaces") and len(weft.rx_placement()) == 1
    weft.stop()


def test_a_worker_without_a_queue_is_named(lab):
    router = lab.namespace("router")
    [site] = sites(lab, router, 1)
    weft = Weft(lab, router, [words.site_port(site)], workers=2, first_worker_core=0).start()
    said = weft.cli_json("show interface rx-placement")
    [polling] = {queue["thread"] for queue in said["queues"]}
    assert (polling, said["idle"]) == ("weft_wk_0", ["weft_wk_1"])
    assert "No queue: weft_wk_1" in weft.cli("show interface rx-placement")
    assert "no receive queue for weft_wk_1: 1 for 2 workers" in weft.log_text()
    weft.stop()


def test_the_number_of_queues_is_set_and_put_back(lab):
    router = lab.namespace("router")
    [site] = sites(lab, router, 1, queues=4)
    site.router = router
    channels(site, 1)
    def used():
        return int(re.findall(r"RX:\s+(\d+)", router.output("ethtool", "-l", site.port))[-1])
    weft = Weft(lab, router, [words.site_port(site, queues="all", settings="channels 3")]).start()
    assert used() == 3 and len(weft.rx_placement()) == 3
    weft.cli(words.delete_port(site.port))
    poll_until(lambda: used() == 1, SECONDS, "it is as before")
    with pytest.raises(words.CliError) as refused:
        weft.cli(f"create interface af_xdp host-if {site.port} channels 5")
    assert "set the number of queues" in refused.value.output
    weft.stop()
