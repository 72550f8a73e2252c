# SPDX-License-Identifier: Apache-2.0
"""A port is its link, not a name: what the kernel does to links is followed."""

import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Weft, Wire, bpf, poll_until, sites
from lab import weft as words

SECONDS = 10


@pytest.fixture
def net(network):
    net = network()
    assert reaches(*net.sites)
    return net


def reaches(a, b):
    return a.host.run("ping", "-c", 1, "-W", 1, b.host_ip, check=False).returncode == 0


def port(net, name="p0"):
    return next(each for each in net.weft.cli_json("show interface")["interfaces"] if each["name"] == name)


def configure(site):
    """The host's side, as it was before its link went."""
    site.host.ip("addr", "add", f"{site.host_ip}/{site.length}", "dev", "eth0")
    site.host.ip("route", "add", "default", "via", site.router_ip)


def test_a_link_that_is_deleted_and_made_again_is_bound_again(net):
    a, b = net.sites
    for _ in range(2):
        net.router.ip("link", "del", "p0")
        poll_until(lambda: "link is down: no interface p0" in net.weft.log_text(), SECONDS, "it is gone")
        net.lab.veth(a.host, "eth0", net.router, "p0")
        configure(a)
        poll_until(lambda: "p0: bound again to p0" in net.weft.log_text(), SECONDS, "it is bound again")
        poll_until(lambda: reaches(a, b) and reaches(b, a), SECONDS, "packets pass")
    poll_until(lambda: port(net)["mac"] == net.router.links()["p0"]["address"], SECONDS, "it has the MAC address of the new one")
    assert net.weft.log_text().count("is not bound again") == 0


def test_a_link_that_is_renamed_is_followed(net):
    a, b = net.sites
    for old, new in (("p0", "wan"), ("wan", "p0")):
        net.router.ip("link", "set", old, "down")
        net.router.ip("link", "set", old, "name", new)
        net.router.ip("link", "set", new, "up")
        poll_until(lambda: reaches(a, b), SECONDS, "packets pass")
    assert "bound again" not in net.weft.log_text(), "it is the same link"


def test_a_link_that_is_moved_away_and_back_is_bound_again(net):
    a, b = net.sites
    elsewhere = net.lab.namespace("elsewhere")
    net.router.ip("link", "set", "p0", "netns", elsewhere.name)
    poll_until(lambda: not reaches(b, a), SECONDS, "it is away")
    elsewhere.ip("link", "set", "p0", "netns", net.router.name)
    # The kernel sets down what it moves.
    net.router.ip("link", "set", "p0", "up")
    poll_until(lambda: reaches(a, b) and reaches(b, a), SECONDS, "packets pass")


def test_a_link_that_comes_back_at_once_is_bound_again_each_time(net):
    a, b = net.sites
    elsewhere = net.lab.namespace("elsewhere")
    for _ in range(5):
        net.router.ip("link", "set", "p0", "netns", elsewhere.name)
        elsewhere.ip("link", "set", "p0", "netns", net.router.name)
        net.router.ip("link", "set", "p0", "up")
        poll_until(lambda: reaches(a, b) and reaches(b, a), SECONDS, "packets pass")


def test_a_mac_address_that_is_set_in_the_kernel_is_ours_at_once(net):
    a, b = net.sites
    for last in (1, 2, 3):
        fresh = f"02:cd:00:00:00:{last:02x}"
        net.router.ip("link", "set", "p0", "address", fresh)
        poll_until(lambda: port(net)["mac"] == fresh, 1, "it is noticed")
        assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 1, b.host_ip)
    assert net.router.links()["p0"]["address"] == fresh


def test_an_mtu_that_is_set_in_the_kernel_is_ours_down_and_up(net):
    a, b = net.sites
    def has(mtu):
        poll_until(lambda: port(net)["mtu"] == mtu, SECONDS, f"{mtu} is noticed")
    for mtu in (1400, 1500, 1000, 1500):
        net.router.ip("link", "set", "p0", "mtu", mtu)
        has(mtu)
    # A new link has its own.
    net.router.ip("link", "set", "p0", "mtu", 1400)
    has(1400)
    net.router.ip("link", "del", "p0")
    net.lab.veth(a.host, "eth0", net.router, "p0")
    has(1500)
    # What Weft was told itself is the most.
    net.weft.cli("set interface mtu 1450 p0")
    net.router.ip("link", "set", "p0", "mtu", 1400)
    has(1400)
    net.router.ip("link", "set", "p0", "mtu", 1500)
    has(1450)
    # IPv6 or not, no packet is longer than the kernel takes.
    net.weft.cli("set interface ip address p0 2001:db8::1/64")
    net.router.ip("link", "set", "p0", "mtu", 1000)
    has(1000)
    assert "IPv6 needs an MTU of at least 1280" in net.weft.log_text()
    net.router.ip("link", "set", "p0", "mtu", 1500)
    has(1450)


def test_an_mtu_that_was_asked_of_weft_is_that_of_a_new_link(network):
    net = network(ports={"p0": {"mtu": 9000}})
    a, _ = net.sites
    for command in words.sub_interface("p0", 100):
        net.weft.cli(command)
    for again in (False, True):
        if again:
            net.router.ip("link", "del", "p0")
            # Which sets 1500 on it when Weft may have it already.
            net.lab.veth(a.host, "eth0", net.router, "p0")
            configure(a)
            poll_until(lambda: "p0: bound again to p0" in net.weft.log_text(), SECONDS, "it is bound again")
        poll_until(lambda: net.router.links()["p0"]["mtu"] == 9000, SECONDS, "the Linux interface has it")
        a.host.ip("link", "set", "eth0", "mtu", 9000)
        poll_until(lambda: "1 received" in a.host.output("ping", "-c", 1, "-W", 1, "-M", "do", "-s", 8972, a.router_ip, check=False),
                   SECONDS, "a frame of that length is answered")
        assert (port(net)["mtu"], port(net, "p0.100")["mtu"]) == (9000, 9000)


def test_a_sub_interface_follows_the_mtu_of_its_port(net):
    for command in words.sub_interface("p0", 100):
        net.weft.cli(command)
    def follows(kernel, mtu):
        net.router.ip("link", "set", "p0", "mtu", kernel)
        poll_until(lambda: (port(net)["mtu"], port(net, "p0.100")["mtu"]) == (kernel, mtu), SECONDS, f"{kernel} is noticed")
    follows(1400, 1400)
    follows(1500, 1500)
    # One of its own is the most that it has.
    net.weft.cli("set interface mtu 1450 p0.100")
    follows(1400, 1400)
    follows(1500, 1450)
    net.weft.cli("set interface mtu 9000 p0.100")
    assert port(net, "p0.100")["mtu"] == 1500, "a longer frame does not fit its port"
    # What Weft is told of the port holds for both.
    net.weft.cli("set interface mtu 1300 p0")
    assert (port(net)["mtu"], port(net, "p0.100")["mtu"]) == (1300, 1300)


def test_what_was_changed_is_put_back_after_a_kill(lab):
    """The kernel undoes what hangs on a socket; what does not is noted, and the next start undoes it."""
    router = lab.namespace("router")
    [a] = sites(lab, router, 1, queues=2)
    router.run("ethtool", "-L", "p0", "rx", 1, "tx", 1)
    def is_now():
        features, queues = (router.output("ethtool", option, "p0") for option in ("-k", "-l"))
        return (re.search(r"rx-vlan-offload: (\w+)", features)[1], re.findall(r"RX:\s+(\d+)", queues)[-1],
                router.links()["p0"].get("promiscuity"))
    before = is_now()
    weft = Weft(lab, router, [words.Port("p0", (a.router_address,), queues="all", settings="channels 2")]).start()
    weft.script(words.sub_interface("p0", 100))
    assert is_now()[:2] == ("off", "2")
    weft.kill()
    assert is_now()[:2] == ("off", "2")
    weft.config.write_text(re.sub(r"af_xdp .*", "", weft.config.read_text()))
    weft.start()
    assert is_now() == before
    assert "p0: rx-vlan-offload put back" in weft.log_text() and "p0: its queues put back" in weft.log_text()
    weft.stop()


def test_a_program_that_is_taken_off_is_attached_again(network):
    """The NIC goes on receiving and nothing comes to Weft: seen by the counters, whatever the cause."""
    before = bpf.link_ids()
    net = network()
    a, b = net.sites
    assert reaches(a, b)
    for link in bpf.link_ids() - before:
        bpf.detach_link(link)
    assert not reaches(a, b), "the kernel has the frames now"
    with Wire(a.host, "eth0") as left, Wire(b.host, "eth0") as right:
        def send_and_is_told():
            for wire, near, far in ((left, a, b), (right, b, a)):
                wire.send(Ether(src=near.host_mac, dst=near.port_mac) / IP(src=near.host_ip, dst=far.host_ip) / UDP())
            text = net.weft.log_text()
            return all(re.search(rf"{port}: it has received \d+ packets, and none of them came here: the program is attached again", text)
                       for port in ("p0", "p1"))
        poll_until(send_and_is_told, SECONDS, "it is noticed")
    assert "xdp" in net.router.links()["p0"]
    poll_until(lambda: reaches(a, b), SECONDS, "packets pass")
