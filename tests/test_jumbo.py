# SPDX-License-Identifier: Apache-2.0
"""Jumbo frames: a port whose MTU does not fit one buffer takes and sends frames of several (XDP_USE_SG)."""

import json
import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Weft, Wire, poll_until, sites
from lab import weft as words

MTU = 9000


@pytest.fixture
def jumbo(lab):
    router = lab.namespace("router")
    made = sites(lab, router, 2, mtu=MTU)
    weft = Weft(lab, router, [words.site_port(site) for site in made]).start()
    yield made, weft
    weft.stop()


def test_frames_of_every_length_pass(jumbo):
    (a, b), weft = jumbo
    # Around what fits one buffer, two, and all.
    for size in (1, 1400, 1740, 1741, 1742, 1743, 1744, 1745, 3500, 3534, 3535, 3536, 5000, 8900, 8972):
        assert "1 received" in a.host.output("ping", "-c", 1, "-W", 2, "-M", "do", "-s", size, b.host_ip), size
    used = weft.buffers_used()
    assert "20 received" in a.host.output("ping", "-c", 20, "-i", 0.01, "-W", 2, "-M", "do", "-s", 8972, b.host_ip)
    poll_until(lambda: weft.buffers_used() <= used, 5, "every buffer comes home")
    shown = weft.cli("show hardware-interfaces p0")
    assert "frames: of several buffers (XDP_USE_SG), MTU up to 30442" in shown, shown
    assert weft.interface("p0")["mtu"] == MTU


def test_bytes_stay_as_they_are(jumbo):
    (a, b), weft = jumbo
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    payload = bytes(number * 7 % 251 for number in range(8900))
    with Wire(b.host, "eth0") as right, Wire(a.host, "eth0") as left:
        left.send(Ether(src=a.host_mac, dst=a.port_mac) / IP(src=a.host_ip, dst=b.host_ip) / UDP(sport=9, dport=7) / payload)
        [frame] = right.expect(lambda f: UDP in Ether(f) and Ether(f)[UDP].dport == 7, what="the datagram")
    assert bytes(Ether(frame)[UDP].payload) == payload and Ether(frame)[IP].ttl == 63


def test_tcp_uses_them(jumbo):
    (a, b), weft = jumbo
    b.host.start("iperf3", "-s", "-1", log="/dev/null")
    poll_until(lambda: ":5201" in b.host.output("ss", "-ltn"), 5, "iperf3 listens")
    done = json.loads(a.host.output("iperf3", "-J", "-c", b.host_ip, "-n", "20M"))
    assert done["end"]["sum_received"]["bytes"] > 10_000_000
    left = weft.interface("p0")
    assert left["rx_bytes"] / left["rx_packets"] > 7000, left
    assert weft.drops().get(("p1-tx", "too_long"), 0) == 0


def test_between_a_jumbo_link_and_another(lab):
    """Packets for the narrow side are fragmented, or their sender is told; fragments come together again behind."""
    router = lab.namespace("router")
    a, b = sites(lab, router, 2, mtu=MTU)
    for space, name in ((b.host, "eth0"), (router, b.port)):
        space.ip("link", "set", name, "mtu", 1500)
    weft = Weft(lab, router, [words.site_port(a), words.site_port(b)]).start()
    assert "of several buffers" in weft.cli("show hardware-interfaces p0")
    assert "of one buffer" in weft.cli("show hardware-interfaces p1")
    assert "2 received" in a.host.output("ping", "-c", 2, "-i", 0.1, "-W", 2, "-M", "dont", "-s", 8900, b.host_ip)
    answer = a.host.run("ping", "-c", 1, "-W", 2, "-M", "do", "-s", 8900, b.host_ip, check=False).stdout
    assert re.search(r"Frag needed and DF set \(mtu = 1500\)", answer)
    weft.stop()


def test_an_mtu_of_the_configuration_makes_room(lab):
    """The Linux interface has a small one when Weft starts."""
    router = lab.namespace("router")
    a, b = sites(lab, router, 2)
    weft = Weft(lab, router, [words.site_port(site, mtu=MTU) for site in (a, b)]).start()
    for site in (a, b):
        site.host.ip("link", "set", "eth0", "mtu", MTU)
    assert "1 received" in a.host.output("ping", "-c", 1, "-W", 2, "-M", "do", "-s", 8972, b.host_ip)
    weft.stop()


def test_a_refused_start_leaves_the_mtu_that_was_there(lab):
    """The first port is opened, with a larger MTU, before the second one turns out to be impossible."""
    router = lab.namespace("router")
    a, b = sites(lab, router, 2)
    weft = Weft(lab, router, [words.site_port(a, mtu=MTU), words.site_port(b, queues=64)])
    with pytest.raises(AssertionError, match="weft ended with 1 at start") as ended:
        weft.start()
    assert b.port in str(ended.value)
    links = json.loads(router.output("ip", "-j", "link"))
    assert {link["ifname"]: link["mtu"] for link in links if link["ifname"] in (a.port, b.port)} == {a.port: 1500, b.port: 1500}


def test_what_does_not_fit_is_refused_with_what_would(network):
    net = network()
    with pytest.raises(words.CliError) as refused:
        net.weft.cli("set interface mtu 9000 p0")
    assert "1770" in refused.value.output and "set it in startup.conf" in refused.value.output
    net.weft.cli(words.delete_port("p0"))
    net.router.ip("link", "set", "p0", "mtu", 30443)
    poll_until(lambda: "p0" in net.router.links(), 5, "it is there")
    with pytest.raises(words.CliError) as refused:
        net.weft.cli("create interface af_xdp host-if p0 name p0")
    assert "MTU 30443, but the largest whose frames fit is 30442" in refused.value.output
