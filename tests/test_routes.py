# SPDX-License-Identifier: Apache-2.0
"""Many routes, changed while traffic follows them."""

import random
import re

import pytest

from lab import poll_until
from lab import weft as words

RANGE = "20.0.0.0/8"


def test_longest_prefix_wins_and_falls_back(network):
    net = network(count=3)
    a, b, c = net.sites
    for site in (b, c):
        site.host.ip("route", "add", "local", RANGE, "dev", "lo")
    net.weft.cli(words.route(RANGE, b.host_ip, b.port))
    ping = ("ping", "-c", 1, "-W", 2, "20.1.2.3")
    for more_specific, expected in ((None, b), ("20.1.0.0/16", c), ("20.1.2.0/24", b), ("20.1.2.3/32", c)):
        if more_specific:
            net.weft.cli(words.route(more_specific, expected.host_ip, expected.port))
        before = expected.host.counters("eth0")["rx_packets"]
        a.host.run(*ping)
        assert expected.host.counters("eth0")["rx_packets"] > before, f"{more_specific} is followed"
    net.weft.cli(words.route("20.1.2.3/32", c.host_ip, c.port, add=False))
    before = b.host.counters("eth0")["rx_packets"]
    a.host.run(*ping)
    assert b.host.counters("eth0")["rx_packets"] > before, "the /24 is followed again"


def test_equal_cost_paths_share_flows_and_keep_each_on_one_path(network, trafficgen):
    net = network(count=3)
    a, *ends = net.sites
    for site in ends:
        site.host.ip("route", "add", "local", RANGE, "dev", "lo")
        site.host.run("ping", "-c", 1, "-W", 2, site.router_ip)
        net.weft.cli(words.route(RANGE, site.host_ip, site.port))
    before = [site.host.counters("eth0")["rx_packets"] for site in ends]
    trafficgen.result(trafficgen.sender(a, None, destination_ip="20.1.2.3", rate=10_000, count=10_000, flows=1000))
    got = lambda: [site.host.counters("eth0")["rx_packets"] - old for site, old in zip(ends, before)]  # noqa: E731
    poll_until(lambda: sum(got()) >= 10_000, 3, "all packets arrive")
    assert all(count > 3_500 for count in got()), f"both paths are used about equally: {got()}"
    before = [site.host.counters("eth0")["rx_packets"] for site in ends]
    trafficgen.result(trafficgen.sender(a, None, destination_ip="20.1.2.3", rate=10_000, count=1_000))
    poll_until(lambda: sum(got()) >= 1_000, 3, "all packets arrive")
    assert min(got()) < 50, f"one flow stays on one path: {got()}"


@pytest.mark.slow
def test_a_change_of_100_000_routes_loses_no_packet(network, trafficgen):
    """Traffic goes to 65,536 addresses whose most specific route is added and deleted all the time: each lookup finds the
    covering route or the more specific one, both lead to the same host, so every packet must arrive."""
    net = network()
    a, b = net.sites
    b.host.ip("route", "add", "local", RANGE, "dev", "lo")
    net.weft.cli(words.route(RANGE, b.host_ip, b.port))
    a.host.run("ping", "-c", 1, "-W", 2, "20.0.0.1")
    before = net.weft.route_count()

    # 65,536 /32 routes that traffic follows, and others of all lengths around them.
    chosen = random.Random(7)
    prefixes = [f"20.0.{n >> 8}.{n & 255}/32" for n in range(65_536)]
    while len(prefixes) < 100_000:
        length = chosen.randint(17, 32)
        network_bits = chosen.getrandbits(16) << 8 | chosen.getrandbits(8)
        address = (20 << 24 | 1 << 23 | network_bits >> 1) & (0xFFFFFFFF << 32 - length)
        prefixes.append(".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0)) + f"/{length}")
    prefixes = list(dict.fromkeys(prefixes))
    chosen.shuffle(prefixes)

    flow = trafficgen.flow(a, b, rate=10_000, destination_ip="20.0.0.0", dst_count=65_536, flows=64, cpu=0)
    net.weft.script(words.route(prefix, b.host_ip, b.port) for prefix in prefixes)
    assert net.weft.route_count() == before + len(prefixes)
    net.weft.script(words.route(prefix, b.host_ip, b.port, add=False) for prefix in prefixes)
    assert net.weft.route_count() == before
    account = flow.stop()
    assert account["sent"] > 5_000, "traffic flowed meanwhile"
    assert account["lost"] == 0 and account["doubled"] == 0


def test_a_route_through_nowhere_is_refused(network):
    net = network()
    for command, complaint in (
        ("ip route add 20.0.0.0/8 via 10.1.0.2 p7", "p7"),
        ("ip route add 20.0.0.0/33 via 10.1.0.2 p0", "20.0.0.0/33"),
        ("ip route add 20.0.0.0/8 via 10.1.0.256 p0", "10.1.0.256"),
    ):
        with pytest.raises(AssertionError, match=re.escape(complaint)):
            net.weft.cli(command)
