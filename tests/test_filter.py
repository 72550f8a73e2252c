# SPDX-License-Identifier: Apache-2.0
"""A machine with one NIC keeps its own SSH: Weft takes only what a filter names, the kernel keeps the rest."""

import pytest

from lab import weft as words


@pytest.fixture
def shared(network):
    """Port p0 belongs to both: Weft takes what goes to the right host's network, the kernel all else, ARP included."""
    net = network(ports={"p0": {"filter": "destination 10.2.0.0/24 arp pass"}})
    a, _ = net.sites
    net.router.ip("addr", "add", a.router_address, "dev", "p0")
    # ARP replies go to the kernel, so Weft is told how to reach the left host.
    net.weft.cli(words.neighbor("p0", a.host_ip, a.host_mac))
    return net


def test_what_the_filter_names_is_forwarded(shared):
    a, b = shared.sites
    text = a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
    assert "3 received" in text and "ttl=63" in text
    assert shared.weft.interface("p0")["rx_packets"] >= 3


def test_the_rest_stays_with_the_kernel(shared):
    a, _ = shared.sites
    before = shared.weft.interface("p0")["rx_packets"]
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, a.router_ip)
    with shared.router.socket() as listener, a.host.socket() as client:
        listener.bind((a.router_ip, 22))
        listener.listen()
        client.settimeout(3)
        client.connect((a.router_ip, 22))
    assert shared.weft.interface("p0")["rx_packets"] == before, "Weft saw nothing of it"
