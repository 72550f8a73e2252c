# SPDX-License-Identifier: Apache-2.0
"""Interfaces and daemons that come and go, under traffic."""


import pytest

from lab import Weft, bpf, poll_until, sites
from lab import weft as words


def _ping(site, target, count=2):
    return site.host.run("ping", "-c", count, "-i", 0.05, "-W", 1, target.host_ip, check=False).returncode == 0


def test_down_and_up(network):
    net = network()
    a, b = net.sites
    assert _ping(a, b)
    for _ in range(3):
        net.weft.cli(words.state(b.port, False))
        assert not _ping(a, b, count=1)
        net.weft.cli(words.state(b.port, True))
        assert _ping(a, b)


def test_down_and_up_under_traffic(network, trafficgen):
    net = network()
    a, b = net.sites
    assert _ping(a, b)
    at_rest = net.weft.buffers_used()
    flow = trafficgen.flow(a, b, rate=20_000)
    for port in (a.port, b.port) * 5:
        net.weft.cli(words.state(port, False))
        net.weft.cli(words.state(port, True))
    flow.stop()
    assert _ping(a, b), "traffic goes on"
    poll_until(lambda: net.weft.buffers_used() == at_rest, 3, "all buffers are back in the pool")


def test_delete_and_create_under_traffic(network, trafficgen):
    net = network()
    a, b = net.sites
    assert _ping(a, b)
    at_rest = net.weft.buffers_used()
    flow = trafficgen.flow(a, b, rate=20_000)
    for port in net.ports * 3:
        net.weft.cli(words.delete_port(port.name))
        assert "xdp" not in net.router.links()[port.name], "a deleted port's program is gone from its link"
        for command in port.commands():
            net.weft.cli(command)
    flow.stop()
    assert _ping(a, b), "traffic goes on"
    poll_until(lambda: net.weft.buffers_used() == at_rest, 3, "all buffers are back in the pool")


def test_the_host_interface_disappears(network):
    """Somebody deletes the veth under a running port: the daemon lives on and says so."""
    net = network()
    a, b = net.sites
    assert _ping(a, b)
    net.router.ip("link", "del", b.port)
    assert not _ping(a, b, count=1)
    assert a.host.run("ping", "-c", 1, "-W", 1, a.router_ip, check=False).returncode == 0, "the other port still answers"
    net.weft.cli("show interface")


def test_sigterm_under_traffic(network, trafficgen):
    net = network()
    a, b = net.sites
    assert _ping(a, b)
    flood = trafficgen.sender(a, b, seconds=20, flows=64)
    poll_until(lambda: net.weft.interface(a.port)["rx_packets"] > 1_000, 5, "the flood is in Weft")
    net.weft.stop()
    flood.terminate()
    flood.wait(5)
    assert not net.router.processes()


def test_a_killed_daemon_leaves_the_link_clean(network):
    """The XDP program hangs on a bpf_link, which the kernel drops with the process."""
    net = network()
    a, b = net.sites
    assert "xdp" in net.router.links()[a.port]
    net.weft.kill()
    poll_until(lambda: not any("xdp" in link for link in net.router.links().values()), 3, "no XDP program on any link")
    net.weft.start()
    assert _ping(a, b), "a new daemon takes over at once, in spite of the old one's socket files"


@pytest.mark.slow
def test_twenty_starts_and_stops_leave_nothing(lab):
    router = lab.namespace("router")
    a, b = sites(lab, router, 2)
    weft = Weft(lab, router, [words.site_port(a), words.site_port(b)])
    links, programs, objects = router.links().keys(), bpf.program_ids(), bpf.link_ids()
    for _ in range(20):
        weft.start()
        assert _ping(a, b)
        weft.stop()
        assert router.links().keys() == links
        assert not router.processes()
        assert not list(weft.runtime.iterdir())
    # Objects of other processes may come and go meanwhile, so only what stays counts; the kernel frees with a delay.
    poll_until(lambda: bpf.program_ids() <= programs and bpf.link_ids() <= objects, 10,
               "no BPF program or link is left over")
