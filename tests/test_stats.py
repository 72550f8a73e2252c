# SPDX-License-Identifier: Apache-2.0
"""The stats segment as others read it: vpp_papi from PyPI, unmodified, beside the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab import weft as words

TOOLS = Path(os.environ.get("WEFT_TOOLS_DIR", words.TREE / "target/tools")) / "python"
sys.path.insert(0, str(TOOLS))

from vpp_papi.vpp_stats import VPPStats  # noqa: E402  (scripts/setup puts it there)

SIMPLE = ["drops", "punt", "ip4", "ip6", "rx-no-buf", "rx-miss", "rx-error", "tx-error"]


@pytest.fixture
def net(network):
    """Two hosts that have pinged each other, and some packets that were dropped."""
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 20, "-i", 0.01, "-W", 2, b.host_ip)
    a.host.run("ping", "-c", 3, "-i", 0.01, "-W", 1, "-t", 1, b.host_ip, check=False)
    return net


@pytest.fixture
def stats(net):
    client = VPPStats(str(net.weft.runtime / "stats.sock"))
    client.connect()
    yield client
    client.disconnect()


def _same(told, shown, what):
    """What the client reads is what the command shows, once nothing moves any more; packets that hosts send by
    themselves may still be on their way when the test begins."""
    last = []

    def equal():
        last[:] = told(), shown()
        return last[0] == last[1]

    try:
        poll_until(equal, 15, what)
    except AssertionError:
        assert last[0] == last[1], what
        raise


def test_interfaces_are_what_show_interface_says(net, stats):
    def told():
        return {
            name: {
                "rx": (stats["/if/rx"][:, index].sum_packets(), stats["/if/rx"][:, index].sum_octets()),
                "tx": (stats["/if/tx"][:, index].sum_packets(), stats["/if/tx"][:, index].sum_octets()),
                **{counter: sum(row[index] for row in stats[f"/if/{counter}"]) for counter in SIMPLE},
            }
            for index, name in enumerate(stats["/if/names"])
        }

    def shown():
        found = {}
        for interface in net.weft.cli_json("show interface")["interfaces"]:
            found[interface["name"]] = {
                "rx": (interface["rx_packets"], interface["rx_bytes"]),
                "tx": (interface["tx_packets"], interface["tx_bytes"]),
                **{counter: interface[counter.replace("-", "_")] for counter in SIMPLE},
            }
        return found

    _same(told, shown, "/if equals show interface")
    assert told()["local0"]["rx"] == told()["local0"]["tx"] == (0, 0)
    assert all(interface["rx"][0] >= 20 for name, interface in told().items() if name != "local0")
    assert stats["/interfaces/p0/rx"].sum_packets() == told()["p0"]["rx"][0]


def test_an_agent_of_snmp_finds_what_it_reads_of_vpp(net, stats):
    """The counters of IF-MIB and of others that programs take for granted, read as they read them."""
    a, b = net.sites
    index = stats["/if/names"].index("p0")

    def packets(name):
        return stats[name][:, index].sum_packets()

    def octets(name):
        return stats[name][:, index].sum_octets()

    kinds = ("unicast", "multicast", "broadcast")
    before = {kind: packets(f"/if/rx-{kind}") for kind in kinds}
    data = b"x" * 100
    with Wire(a.host, "eth0") as wire:
        for destination, count in ((a.port_mac, 4), ("01:00:5e:00:00:09", 3), ("ff:ff:ff:ff:ff:ff", 2)):
            for _ in range(count):
                wire.send(Ether(dst=destination, src=a.host_mac, type=0x88B6) / data)
        mpls = Ether(dst=a.port_mac, src=a.host_mac, type=0x8847) / data
        wire.send(mpls)

    def grown():
        net.weft.cli("show interface")
        return {kind: packets(f"/if/rx-{kind}") - before[kind] for kind in kinds}

    poll_until(lambda: grown()["multicast"] >= 3 and grown()["broadcast"] >= 2 and grown()["unicast"] >= 5, 10,
               "each frame is counted for what it is")
    for direction in ("rx", "tx"):
        def whole(count):
            net.weft.cli("show interface")
            return count(f"/if/{direction}") == sum(count(f"/if/{direction}-{kind}") for kind in kinds)
        poll_until(lambda: whole(packets) and whole(octets), 10, "every frame is of one kind")
    assert stats["/if/mpls"][:, index].sum() == 1
    requests, replies = (stats[f"/net/arp/{which}"][:, index].sum() for which in ("rx/requests", "tx/replies"))
    assert requests >= replies >= 1, "the host has asked for the port"
    other = stats["/if/names"].index("p1")
    asked = stats["/net/arp/tx/requests"][:, other].sum()
    assert stats["/if/tx-broadcast"][:, other].sum_packets() >= asked >= 1, "questions for the MAC address of the other host"
    assert stats["/net/arp/rx/replies"][:, other].sum() >= 1
    assert stats["/interfaces/p0/rx-multicast"].sum_packets() == packets("/if/rx-multicast")

    net.weft.cli("classify rule add edge id 10 proto udp dport 4321 action drop")
    net.weft.cli("classify attach edge interface p0 input")
    hits, misses = "/err/ip4-inacl/input ACL hits", "/err/ip4-inacl/input ACL misses"
    assert sum(stats[hits]) == 0
    with Wire(a.host, "eth0") as wire:
        for port in (4321, 4321, 4322):
            wire.send(Ether(dst=a.port_mac, src=a.host_mac) / IP(src=a.host_ip, dst=b.host_ip) / UDP(dport=port))
    poll_until(lambda: sum(stats[hits]) == 2 and sum(stats[misses]) >= 1, 10, "rules hit and missed")


def test_nodes_are_what_show_runtime_says(net, stats):
    # Input nodes and timers run without packets; what internal nodes have done stands still.
    def shown():
        return {
            (thread["id"], node["name"]): (node["calls"], node["vectors"], node["clocks"], node["suspends"])
            for thread in net.weft.cli_json("show runtime")["threads"]
            for node in thread["nodes"]
            if node["state"] == "active"
        }

    def told():
        columns = [stats[f"/sys/node/{column}"] for column in ("calls", "vectors", "clocks", "suspends")]
        names = stats["/sys/node/names"]
        return {
            (thread, name): tuple(column[thread][index] for column in columns)
            for thread in range(1, len(columns[0]))
            for index, name in enumerate(names)
            if columns[0][thread][index] and (thread, name) in shown_keys
        }

    shown_keys = set(shown())
    assert {name for _, name in shown_keys} >= {"ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite"}
    _same(told, lambda: {key: value for key, value in shown().items() if key in shown_keys}, "/sys/node equals show runtime")
    assert stats["/nodes/ip4-lookup/vectors"][1] == next(v[1] for k, v in shown().items() if k[1] == "ip4-lookup")


def test_errors_are_what_show_errors_says(net, stats):
    def shown():
        errors = net.weft.cli_json("show errors")["errors"]
        return {f"/err/{error['node'].replace('/', '_')}/{error['counter']}": error["count"] for error in errors}

    _same(stats.set_errors, shown, "/err equals show errors")
    assert shown(), "something was dropped: packets whose time to live ended"
    told = dict(zip(stats["/sys/reason/names"], zip(stats["/sys/reason/sentences"], stats["/sys/reason/severities"])))
    for error in net.weft.cli_json("show errors")["errors"]:
        assert told[f"{error['node']}/{error['counter']}"] == (error["reason"], error["severity"])


def test_everything_in_the_segment_can_be_read(net, stats):
    # Levels are brought up to date every second.
    poll_until(lambda: stats["/sys/last_update"] > 0, 30, "the first update")
    everything = stats.dump(stats.ls([".*"]))
    for name in ["/sys/heartbeat", "/sys/boottime", "/sys/num_worker_threads", "/sys/vector_rate", "/sys/input_rate",
                 "/sys/last_update", "/sys/last_stats_clear", "/sys/clocks_per_second", "/net/route/to",
                 "/buffer-pools/default-numa-0/available", "/mem/main heap/used", "/xdp/p0/rx_dropped",
                 "/xdp/p0/rx_ring_full", "/xdp/p0/rx_fill_ring_empty", "/xdp/p0/rx_invalid_descs"]:
        assert everything.get(name) is not None, name
    pool = net.weft.cli_json("show buffers")["pools"][0]
    parts = [everything[f"/buffer-pools/{pool['name']}/{part}"] for part in ("cached", "used", "available")]
    assert sum(parts) == pool["total"]
    total, used, free = everything["/mem/stat segment"][0][:3]
    assert total == used + free == 32 << 20
    assert everything["/sys/thread/names"][0] and len(everything["/sys/thread/names"]) == 2
    queue = stats["/xdp/p0/rx"][:, 0].sum_packets()
    assert queue >= 20 and stats["/workers/turns"][1] > 0 and sum(row[0] for row in stats["/xdp/p0/polls"]) > 0


def test_edges_carry_what_their_nodes_have_seen(net, stats):
    def told():
        packets = stats["/sys/edge/packets"]
        return {
            tuple(name.split()): sum(row[index] for row in packets)
            for index, name in enumerate(stats["/sys/edge/names"])
        }

    def into(node):
        return sum(count for edge, count in told().items() if edge[-1] == node)

    for node in ("ip4-input", "ip4-lookup"):
        _same(lambda: into(node), lambda: stats[f"/nodes/{node}/vectors"][1], f"what comes to {node} came along its edges")
        assert into(node) > 0

    def shown():
        nodes = net.weft.cli_json("show node ip4-lookup")["next"]
        return {next_node["node"]: next_node["vectors"] for next_node in nodes}

    _same(lambda: {to: count for (node, to), count in told().items() if node == "ip4-lookup"}, shown,
          "/sys/edge equals show node")


def test_a_client_follows_interfaces_that_come_and_go(net, stats):
    for number in range(10, 40):
        name = f"p0.{number}"
        net.weft.script(words.sub_interface("p0", number))
        assert name in stats["/if/names"]
        assert len(stats["/if/names"]) == len(stats["/if/rx"][0]) == len(stats["/if/drops"][0])
        assert stats[f"/interfaces/{name}/rx"].sum_packets() == 0
        net.weft.cli(f"delete sub-interface {name}")
        assert name not in stats["/if/names"]
        with pytest.raises(KeyError):
            stats[f"/interfaces/{name}/rx"]


WRITER = r"""
import ctypes, mmap, os, socket, sys

client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(sys.argv[1])
_, fds, _, _ = socket.recv_fds(client, 0, 1)
fd, size = fds[0], os.fstat(fds[0]).st_size
libc = ctypes.CDLL(None, use_errno=True)


def refused(what, attempt):
    try:
        attempt()
    except (PermissionError, OSError) as error:
        print(what, error.errno)
    else:
        sys.exit(f"{what} was allowed")


libc.mmap.restype = ctypes.c_void_p
address = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)


def protect():
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


refused("mmap", lambda: mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
refused("mprotect", protect)
refused("write", lambda: os.pwrite(fd, b"x", 0))
refused("truncate", lambda: os.ftruncate(fd, 0))
refused("grow", lambda: os.ftruncate(fd, 2 * size))
again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
refused("write again", lambda: os.pwrite(again, b"x", 0))
refused("mmap again", lambda: mmap.mmap(again, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
sys.stdout.flush()
ctypes.memset(address, 1, 8)
"""


def test_a_reader_that_tries_to_write_harms_itself_only(net, stats):
    before = stats["/if/names"]
    done = subprocess.run([sys.executable, "-c", WRITER, net.weft.runtime / "stats.sock"], capture_output=True, text=True, timeout=60)
    assert [line.rsplit(" ", 1)[0] for line in done.stdout.splitlines()] == [
        "mmap", "mprotect", "write", "truncate", "grow", "write again", "mmap again"], done.stderr
    assert done.returncode < 0, "it was ended by a signal when it stored into the mapping"
    heartbeat = stats["/sys/heartbeat"]
    poll_until(lambda: stats["/sys/heartbeat"] > heartbeat, 30, "the daemon goes on")
    assert (stats.version, stats["/if/names"]) == (2, before)
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
