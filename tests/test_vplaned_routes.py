# SPDX-License-Identifier: Apache-2.0
"""What the kernel and a route broker say of interfaces and routes, in traffic: netconf, VRFs, VLANs, routes of the host's own."""

import random
import re
import shutil

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lab import Wire, poll_until
from lab import netlink_messages as netlink
from test_vplaned import SECONDS, Driven

WARNINGS = re.compile(r"\bWARN\b")


@pytest.fixture
def driven(lab):
    def make(**options):
        return Driven(lab, **options).start()

    return make


def _pings(site, address):
    return site.host.run("ping", "-c", 1, "-W", 1, address, check=False).returncode == 0


def _dropped(net, node, words):
    return sum(count for (name, reason), count in net.weft.errors().items() if name == node and words in reason)


def _checked(net, port):
    """How sources are checked that come in by a port."""
    return next(each["mode"] for each in net.weft.cli_json("show urpf")["interfaces"] if each["interface"] == port)


def test_netconf_says_what_an_interface_lets_in(driven):
    net = driven()
    net.configure()
    a, b = net.sites
    net.router.sysctl(net__ipv4__conf__dp0p0__forwarding=0)
    poll_until(lambda: not _pings(a, b.host_ip), SECONDS, "nothing is forwarded from p0")
    assert _dropped(net, "ip4-local-only", "forwarding is off") > 0
    assert _pings(a, a.router_ip), "the router itself still answers"
    assert {"interface": "p0", "mode": "disabled"} in net.weft.cli_json("show ip forwarding")["interfaces"]
    net.router.sysctl(net__ipv4__conf__dp0p0__forwarding=1)
    net.reachable()

    net.router.sysctl(net__ipv4__conf__dp0p0__rp_filter=1)
    poll_until(lambda: _checked(net, "p0") == "strict", SECONDS, "the check is on")
    net.reachable()
    spoofed = Ether(src=a.host_mac, dst=a.port_mac) / IP(src=b.host_ip, dst=b.host_ip) / UDP(sport=7, dport=7) / b"spoofed"
    with Wire(a.host, "eth0") as out, Wire(b.host, "eth0") as there:
        out.send(spoofed)
        poll_until(lambda: _dropped(net, "ip4-rx-urpf-strict", "leads to another interface") == 1, SECONDS,
                   "a spoofed source is not believed")
        # Loose: some route leads to it.
        net.router.sysctl(net__ipv4__conf__dp0p0__rp_filter=2)
        poll_until(lambda: _checked(net, "p0") == "loose", SECONDS, "the check is loose")
        out.send(spoofed)
        there.expect(lambda frame: b"spoofed" in bytes(frame), seconds=SECONDS, what="the packet")


def test_a_network_behind_the_kernel_is_reached_through_it(driven):
    net = driven()
    net.configure()
    a = net.sites[0]
    # A link of the router that is none of Weft's, and a host on it.
    behind = net.lab.namespace("behind")
    net.lab.veth(behind, "eth0", net.router, "mgmt0")
    net.router.ip("addr", "add", "10.9.0.1/24", "dev", "mgmt0")
    behind.ip("addr", "add", "10.9.0.2/24", "dev", "eth0")
    behind.ip("route", "add", "default", "via", "10.9.0.1")
    net.router.ip("route", "add", "172.20.0.0/16", "via", "10.9.0.2")
    poll_until(lambda: _pings(a, "10.9.0.2"), SECONDS, "the host behind the kernel answers")
    assert net.route("172.20.0.0/16") == ["punt"]
    # Nobody has this address: Weft does not answer in its place.
    assert not _pings(a, "10.9.0.77")
    # TTL 1 ends at the router, whose answer is the kernel's.
    answer = a.host.run("ping", "-c", 1, "-W", 2, "-t", 1, "10.9.0.2", check=False).stdout
    assert "Time to live exceeded" in answer
    # An address of the host itself is answered as such.
    assert _pings(a, "10.9.0.1")


def test_vrfs_by_netlink_keep_their_routes_apart(driven):
    net = driven()
    net.configure()
    a, b = net.sites
    assert _pings(a, b.host_ip)
    tap = net.index(b)
    link = f"link {tap} 0 "
    plain = net.double.kept(link)
    net.double.netlink(*netlink.vrf(900, "vrfblue", 1000))
    net.double.netlink(link, netlink.with_attribute(plain, netlink.IFLA_MASTER, 900))
    net.double.netlink(*netlink.route("172.30.0.0/16", b.host_ip, tap, table=1000))
    net.double.command("tablemap vrfblue 7 1007 900")
    poll_until(lambda: net.route("172.30.0.0/16", 1000), SECONDS, "the route is in the VRF's table")
    tables = {table["name"] for table in net.weft.cli_json("show ip table")["tables"]}
    assert "vrfblue" in tables
    assert not _pings(a, b.host_ip), "p1 is in another VRF"
    poll_until(lambda: _pings(b, b.router_ip), SECONDS, "p1's address is in its VRF")
    net.double.netlink(link, plain)
    net.reachable()


def test_a_vlan_by_netlink_is_a_sub_interface(driven):
    net = driven()
    net.configure()
    a = net.sites[0]
    tap = net.index(a)
    mac = bytes.fromhex(a.port_mac.replace(":", ""))
    net.double.netlink(*netlink.vlan(901, "dp0p0.100", mac, tap, 100))
    net.double.netlink(*netlink.address(901, "10.100.0.1", 24))
    poll_until(lambda: any("10.100.0.1/24" in str(entry) for entry in net.weft.cli_json("show interface addr")["interfaces"]),
               SECONDS, "the VLAN has its address")
    with Wire(a.host, "eth0") as wire:
        wire.send(Ether(src=a.host_mac, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=100)
                  / ARP(hwsrc=a.host_mac, psrc="10.100.0.2", pdst="10.100.0.1"))
        [reply] = wire.expect(lambda f: ARP in Ether(f) and Ether(f)[ARP].psrc == "10.100.0.1", seconds=SECONDS, what="an answer")
        assert Ether(reply)[Dot1Q].vlan == 100
    assert "dp0p0.100" in net.ask("ifconfig")[1]


@pytest.mark.parametrize("form", [0, 1], ids=["netlink", "protobuf"])
def test_a_route_broker_tells_replaces_and_restarts(driven, form):
    net = driven(broker=form)
    net.configure()
    a, b = net.sites
    tap = net.index(b)

    def said(prefix, **options):
        return netlink.rib_update(prefix, b.host_ip, tap, **options) if form else netlink.route(prefix, b.host_ip, tap, **options)[1]

    b.host.ip("addr", "add", "172.16.5.1/32", "dev", "lo")
    net.broker.push(said("172.16.5.0/24"), said("172.16.6.0/24"), b"no route at all")
    poll_until(lambda: _pings(a, "172.16.5.1"), SECONDS, "the route forwards")
    net.broker.push(said("172.16.6.0/24", delete=True))
    poll_until(lambda: not net.route("172.16.6.0/24"), SECONDS, "the other one is gone")
    shown = net.weft.cli_json("show vplaned")["broker"]
    assert (shown["accepts"], shown["routes"], shown["malformed"]) == (1, 3, 1)
    # A broker that dies takes nothing along, and says everything again when it is back.
    net.broker.kill()
    assert _pings(a, "172.16.5.1")
    net.broker.routes = [said("172.16.5.0/24"), said("172.16.7.0/24")]
    net.broker.start()
    poll_until(lambda: net.route("172.16.7.0/24"), SECONDS, "the new route is told")
    assert net.weft.cli_json("show vplaned")["broker"]["accepts"] == 2
    assert _pings(a, "172.16.5.1")
    # RECONNECT is a full reset.
    sessions = net.double.words().count("WHATSUP?")
    net.broker.say(b"RECONNECT")
    poll_until(lambda: net.double.words().count("WHATSUP?") > sessions, SECONDS, "a new snapshot is asked for")
    poll_until(lambda: _pings(a, "172.16.5.1"), SECONDS, "the routes are there again")


def test_tcp_and_curve(lab, tmp_path):
    """The request channel by TCP under CURVE, publications from a v4-mapped address; Weft's own certificate is made by it."""
    admitted = tmp_path / "admitted"
    admitted.mkdir()
    net = Driven(lab, tcp=True, curve=admitted)
    net.double.start()
    net.weft.start()
    shown = poll_until(lambda: net.weft.cli_json("show vplaned"), SECONDS, "an answer")
    assert shown["state"] != "ready", "nobody has admitted Weft"
    shutil.copy(f"{net.folder}/weft.cert", admitted / "weft.key")
    net.double.admit()
    net.ready()
    net.configure()
    assert net.weft.cli_json("show vplaned")["publisher"] == "tcp://[::ffff:127.0.0.1]:4416"


def test_snapshots_with_a_fourth_frame_and_old_publications(driven):
    net = driven()
    net.configure()
    before = net.fib()
    # vplaned leaves an envelope behind when it cannot decode a command (protocol page, 8.5).
    net.double.mangle = lambda number, frames: [b"\0abcd", *frames] if number % 2 else frames
    net.double.kill()
    net.double.start()
    net.ready()
    assert net.fib() == before
    assert net.weft.cli_json("show vplaned")["malformed"] == 0
    # Numbers that are not above the last one are duplicates, whatever they say.
    topic, message = netlink.route("172.16.9.0/24", net.sites[1].host_ip, net.index(net.sites[1]))
    duplicates = net.weft.cli_json("show vplaned")["duplicates"]
    net.double.send_publication(topic.encode(), (1).to_bytes(8, "little"), message)
    poll_until(lambda: net.weft.cli_json("show vplaned")["duplicates"] == duplicates + 1, SECONDS, "it is a duplicate")
    assert not net.route("172.16.9.0/24")
    # A jump is no gap.
    net.double.send_publication(topic.encode(), (1 << 40).to_bytes(8, "little"), message)
    poll_until(lambda: net.route("172.16.9.0/24"), SECONDS, "it is taken")


def test_a_link_that_comes_back_after_its_deletion(driven):
    """The kernel's teardown after vplaned's own deletion of a port (protocol page, 7.10)."""
    net = driven()
    net.configure()
    site = net.sites[1]
    link = f"link {net.index(site)} 0 "
    plain = net.double.kept(link)
    gone = plain[:4] + (17).to_bytes(2, "little") + plain[6:]
    for message in (gone, plain, gone, gone):
        net.double.netlink(link, message)
    poll_until(lambda: not _pings(net.sites[0], site.host_ip), SECONDS, "the port is gone")
    assert net.weft.cli_json("show vplaned")["state"] == "ready"


def _mutated(chance, frames):
    """Frames with something wrong somewhere."""
    frames = list(frames)
    kind = chance.randrange(6)
    at = chance.randrange(len(frames))
    if kind == 0:
        frames[at] = chance.randbytes(chance.randrange(80))
    elif kind == 1 and frames[at]:
        cut = bytearray(frames[at])
        for _ in range(chance.randrange(1, 5)):
            cut[chance.randrange(len(cut))] = chance.randrange(256)
        frames[at] = bytes(cut)
    elif kind == 2:
        frames[at] = frames[at][:chance.randrange(len(frames[at]) + 1)]
    elif kind == 3:
        del frames[at]
    elif kind == 4:
        frames.insert(at, chance.randbytes(chance.randrange(40)))
    else:
        frames[at] *= chance.randrange(2, 5)
    return frames or [b""]


@pytest.mark.slow
def test_noise_ends_no_session_and_no_daemon(driven):
    """Damaged messages on every channel: the daemon goes on, answers, says at most a line for each, and a snapshot heals all."""
    net = driven(broker=1)
    net.configure()
    before = net.fib()
    chance = random.Random(4)
    tap = net.index(net.sites[1])
    good = [(topic, (1 << 41).to_bytes(8, "little"), message) for topic, (_, message) in net.double._snapshot.items()]
    good += [(b"npf-cfg add ", (1 << 41).to_bytes(8, "little"), b"npf-cfg add fw:F 10 action=drop src-addr=10.0.0.0/8"),
             (b"protobuf", (1 << 41).to_bytes(8, "little"), b"\x0a\x0avyatta:arp\x12\x02\x08\x01"),
             (b"OK", (1 << 41).to_bytes(8, "little"), b"\x01\0\0\0", b"dp0p0"),
             (b"ACCEPT", b"00000000-0000-0000-0000-000000000000", b"\0\0")]
    update = netlink.rib_update("172.16.0.0/16", net.sites[1].host_ip, tap)
    warned, count = len(WARNINGS.findall(net.weft.log_text())), 1500
    for _ in range(count):
        net.double.send_publication(*_mutated(chance, chance.choice(good)))
        net.double.say(*_mutated(chance, chance.choice(good)))
        net.broker.push(*_mutated(chance, [update]))
    for _ in range(20):
        status, _ = net.ask(chance.randbytes(chance.randrange(1, 60)))
        assert status in ("OK", "ERROR")
    poll_until(lambda: net.weft.cli_json("show vplaned")["state"] == "ready", SECONDS, "the session stands")
    assert net.weft.process.poll() is None
    # At most one line for each, besides those of sessions that were begun anew by what looked like an order.
    lines = len(WARNINGS.findall(net.weft.log_text())) - warned
    assert lines <= 3 * count + 40, lines
    assert "panicked" not in net.weft.log_text()
    net.broker.kill()
    net.double.kill()
    net.double.start()
    net.ready()
    net.reachable()
    # What a damaged message of the broker said stays until it has told everything again.
    after, addresses = net.fib()
    assert before[0].items() <= after.items() and before[1] == addresses
