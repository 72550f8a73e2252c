# SPDX-License-Identifier: Apache-2.0
"""Two VRF tables whose hosts have the same addresses and never meet."""

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.l2 import Ether

from lab import Weft, Wire, sites
from lab import weft as words


@pytest.fixture
def two_vrfs(lab):
    router = lab.namespace("router")
    made = sites(lab, router, 4, networks=["10.1.0", "10.2.0", "10.1.0", "10.2.0"])
    ports = [words.site_port(site, table=table) for site, table in zip(made, (1, 1, 2, 2))]
    weft = Weft(lab, router, ports).start()
    yield weft, made[:2], made[2:]
    weft.stop()


def _echo_request(frame):
    packet = Ether(frame)
    return ICMP in packet and packet[ICMP].type == 8


def test_overlapping_addresses_stay_apart(two_vrfs):
    _, red, blue = two_vrfs
    for (source, target), (_, stranger) in ((red, blue), (blue, red)):
        with Wire(target.host, "eth0") as right, Wire(stranger.host, "eth0") as wrong:
            assert "3 received" in source.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, target.host_ip)
            right.expect(_echo_request, 3, what="the echo requests in their own VRF")
            wrong.expect_none(_echo_request, seconds=0.2, what="an echo request of the other VRF")


def test_a_route_of_one_table_is_unknown_to_the_other(two_vrfs):
    weft, red, blue = two_vrfs
    weft.cli(words.route("192.0.2.0/24", red[1].host_ip, red[1].port, table=1))
    for vrf in (red, blue):
        vrf[1].host.ip("addr", "add", "192.0.2.1/32", "dev", "lo")
    assert "2 received" in red[0].host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, "192.0.2.1")
    answer = blue[0].host.run("ping", "-c", 1, "-W", 1, "192.0.2.1", check=False)
    assert "Net Unreachable" in answer.stdout


def test_neighbours_of_both_tables_are_kept(two_vrfs):
    weft, red, blue = two_vrfs
    for source, target in (red, blue):
        source.host.run("ping", "-c", 1, "-W", 2, target.host_ip)
    by_port = {(n["interface"], n["address"]): n["mac"] for n in weft.neighbor_entries()}
    for site in (*red, *blue):
        assert by_port[site.port, site.host_ip] == site.host_mac
