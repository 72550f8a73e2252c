# SPDX-License-Identifier: Apache-2.0
"""A machine with one NIC keeps its own SSH: Weft takes only what a filter names, the kernel keeps the rest, and both know
the neighbours."""

import contextlib
import socket

import pytest
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lab import Weft, Wire, poll_until, sites
from lab import weft as words

SECONDS = 10


@pytest.fixture
def shared(network):
    """Port p0 belongs to both: Weft takes what goes to the right host's network, the kernel all else, ARP included."""
    net = network(ports={"p0": {"filter": "destination 10.2.0.0/24 destination 2001:db8:2::/64 arp pass"}})
    a, _ = net.sites
    net.router.ip("addr", "add", a.router_address, "dev", "p0")
    return net


def ip_packets(weft):
    """What Weft has received from p0 beside ARP and neighbour discovery, of which it gets copies."""
    return weft.interface("p0")["rx_packets"] - sum(weft.node_packets("tap-input").values())


def test_what_the_filter_names_is_forwarded(shared):
    a, b = shared.sites
    text = a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
    assert "3 received" in text and "ttl=63" in text
    assert shared.weft.interface("p0")["rx_packets"] >= 3


def test_the_rest_stays_with_the_kernel(shared):
    a, _ = shared.sites
    before = ip_packets(shared.weft)
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, a.router_ip)
    with shared.router.socket() as listener, a.host.socket() as client:
        listener.bind((a.router_ip, 22))
        listener.listen()
        client.settimeout(3)
        client.connect((a.router_ip, 22))
    assert ip_packets(shared.weft) == before, "Weft saw nothing of it"


def test_both_sides_resolve_neighbours(shared):
    """An answer that Weft has asked for, and one that the kernel has asked for, reach whoever asked."""
    a, b = shared.sites
    # To the left host from the right one: Weft has to ask for it.
    assert "1 received" in b.host.output("ping", "-c", 1, "-W", 2, a.host_ip)
    assert shared.weft.neighbors()[a.host_ip] == a.host_mac
    shared.router.ip("neigh", "flush", "dev", "p0")
    assert "1 received" in shared.router.output("ping", "-c", 1, "-W", 2, "-I", "p0", a.host_ip)
    # A neighbour with another address now, which Weft learns from what it asks, as the kernel does.
    a.host.ip("link", "set", "eth0", "address", "02:fe:00:00:77:77")
    a.host.ip("neigh", "flush", "dev", "eth0")
    assert "1 received" in a.host.output("ping", "-c", 1, "-W", 2, a.router_ip)
    poll_until(lambda: shared.weft.neighbors()[a.host_ip] == "02:fe:00:00:77:77", SECONDS, "Weft knows it too")
    assert "1 received" in b.host.output("ping", "-c", 1, "-W", 2, a.host_ip)


def test_copies_keep_their_vlan_tag(shared):
    """A sub-interface of a shared port resolves neighbours behind its tag; the kernel takes tags out of what it hands over."""
    a = shared.sites[0]
    for vlan, inner in ((7, None), (8, 9)):
        shared.weft.script([*words.sub_interface("p0", vlan, inner), words.address(f"p0.{vlan}", f"10.{vlan}.0.1/24")])
        frame = Ether(src=a.host_mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=vlan)
        frame = frame / Dot1Q(vlan=inner) if inner else frame
        with Wire(a.host, "eth0") as wire:
            wire.send(frame / ARP(hwsrc=a.host_mac, psrc=f"10.{vlan}.0.2", pdst=f"10.{vlan}.0.1"))
            poll_until(lambda: shared.weft.neighbors().get(f"10.{vlan}.0.2") == a.host_mac, SECONDS, "the neighbour is known")
            wire.expect(lambda f: ARP in Ether(f) and Ether(f)[ARP].psrc == f"10.{vlan}.0.1" and Dot1Q in Ether(f), what="an answer")


def test_neighbour_discovery_reaches_both_sides(lab):
    router = lab.namespace("router")
    a, b = sites(lab, router, 2)
    router.sysctl(net__ipv6__conf__p0__disable_ipv6=0, net__ipv6__conf__p0__accept_dad=0)
    for number, site in enumerate((a, b), 1):
        site.host.sysctl(net__ipv6__conf__eth0__disable_ipv6=0, net__ipv6__conf__eth0__accept_dad=0)
        site.host.ip("addr", "add", f"2001:db8:{number}::2/64", "dev", "eth0", "nodad")
        site.host.ip("route", "add", "default", "via", f"2001:db8:{number}::1")
    router.ip("addr", "add", "2001:db8:1::1/64", "dev", "p0", "nodad")
    taken = "destination 2001:db8:2::/64 udp 4789"
    weft = Weft(lab, router, [words.Port("p0", ("2001:db8:1::1/64",), filter=taken), words.Port("p1", ("2001:db8:2::1/64",))]).start()
    def pings(space, address):
        return space.run("ping", "-6", "-c", 1, "-W", 1, address, check=False).returncode == 0
    poll_until(lambda: pings(a.host, "2001:db8:2::2"), SECONDS, "a packet that the filter names is forwarded, and its answer")
    assert pings(a.host, "2001:db8:1::1"), "the kernel answers for its address"
    known = {each["address"]: each["mac"] for each in weft.cli_json("show ip6 neighbors")["neighbors"]}
    assert known["2001:db8:1::2"] == a.host_mac
    router.ip("neigh", "flush", "dev", "p0")
    assert pings(router, "2001:db8:1::2"), "and it has its answers"
    weft.stop()


def test_a_tcp_connection_of_the_host_outlives_weft(lab):
    """As an SSH session does: through the start, kill -9, another start, and the end."""
    router = lab.namespace("router")
    a, b = sites(lab, router, 2)
    router.ip("addr", "add", a.router_address, "dev", "p0")
    ports = [words.site_port(a, filter="destination 10.2.0.0/24"), words.site_port(b)]
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(router.socket())
        listener.bind((a.router_ip, 22))
        listener.listen()
        client = stack.enter_context(a.host.socket())
        client.connect((a.router_ip, 22))
        session = stack.enter_context(listener.accept()[0])
        for end in (client, session):
            end.settimeout(SECONDS)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def echoes(times=50):
            for number in range(times):
                word = b"%06d" % number * 100
                for near, far in ((client, session), (session, client)):
                    near.sendall(word)
                    assert far.recv(len(word), socket.MSG_WAITALL) == word

        def forwards():
            return "1 received" in a.host.output("ping", "-c", 1, "-W", 1, b.host_ip, check=False)

        echoes()
        for end in ("kill", "kill", "stop"):
            weft = Weft(lab, router, ports).start()
            echoes()
            poll_until(forwards, SECONDS, "Weft forwards meanwhile")
            # Neighbours of the kernel have to be asked again sooner or later, also while Weft runs.
            router.ip("neigh", "flush", "dev", "p0")
            a.host.ip("neigh", "flush", "dev", "eth0")
            echoes()
            getattr(weft, end)()
            echoes()
