# SPDX-License-Identifier: Apache-2.0
"""The binary API as agents and scripts use it: vpp_papi from PyPI, unmodified; and as the worst of them do."""

import os
import queue
import random
import re
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import poll_until
from lab import weft as words
from lab.pg import PgBed

TOOLS = Path(os.environ.get("WEFT_TOOLS_DIR", words.TREE / "target/tools")) / "python"
sys.path.insert(0, str(TOOLS))

from vpp_papi import VPPApiClient, VppEnum  # noqa: E402  (scripts/setup puts it there)

PATIENCE = 60
ALL = 0xFFFFFFFF
HEADER = struct.Struct(">QII")
SOCKCLNT_CREATE, CONTROL_PING = 15, 23


@contextmanager
def client(weft, name="agent", **source):
    """A connected client; without files of its own it asks the daemon for them."""
    vpp = VPPApiClient(server_address=str(weft.runtime / "api.sock"), read_timeout=PATIENCE,
                       **(source or {"bootstrapapi": True}))
    assert vpp.connect(name) == 0
    try:
        yield vpp
    finally:
        vpp.disconnect()


def path(interface, next_hop):
    return {
        "sw_if_index": interface,
        "proto": VppEnum.vl_api_fib_path_nh_proto_t.FIB_API_PATH_NH_PROTO_IP4,
        "nh": {"address": {"ip4": next_hop}},
        "weight": 1,
        "label_stack": [{}] * 16,
    }


def route(vpp, prefix, paths, is_add=True):
    return vpp.api.ip_route_add_del(is_add=is_add, route={"prefix": prefix, "n_paths": len(paths), "paths": paths})


def test_an_agent_s_day(lab, network, tmp_path):
    """What tutorials of vpp_papi do, from files where clients expect them."""
    net = network(count=2)
    files = tmp_path / "api"
    subprocess.run([words.binary("weft"), "--write-api-files", files], check=True)
    assert not list(files.rglob("memif.api.json"))
    assert {"core/interface.api.json", "core/memclnt.api.json", "plugins/tapv2.api.json"} <= {
        str(path.relative_to(files)) for path in files.rglob("*.json")}
    a, b = net.sites
    with client(net.weft, "my-python-agent", apidir=str(files)) as vpp:
        version = vpp.api.show_version()
        assert (version.retval, version.program) == (0, "vpe") and version.version
        interfaces = {each.interface_name: each for each in vpp.api.sw_interface_dump()}
        local = interfaces.pop("local0")
        assert (local.sw_if_index, local.flags) == (0, 0), "index 0 is no port"
        assert set(interfaces) == {"p0", "p1"}
        assert all(each.flags == 3 and each.interface_dev_type == "AF_XDP interface" for each in interfaces.values())
        assert str(interfaces["p0"].l2_address) == a.port_mac

        tap = vpp.api.tap_create_v3(id=0, host_if_name_set=True, host_if_name="vpp0", host_ip4_prefix_set=True,
                                    host_ip4_prefix="10.10.0.2/30", tag="agent")
        assert tap.retval == 0 and "vpp0" in net.router.links()
        index = tap.sw_if_index
        assert vpp.api.sw_interface_add_del_address(sw_if_index=index, is_add=1, prefix="10.10.0.1/30").retval == 0
        up = VppEnum.vl_api_if_status_flags_t.IF_STATUS_API_FLAG_ADMIN_UP
        assert vpp.api.sw_interface_set_flags(sw_if_index=index, flags=up).retval == 0
        assert [str(each.prefix) for each in vpp.api.ip_address_dump(sw_if_index=index)] == ["10.10.0.1/30"]
        (shown,) = vpp.api.sw_interface_tap_v2_dump(sw_if_index=index)
        assert (shown.id, shown.dev_name, shown.host_if_name) == (0, "tap0", "vpp0")
        net.router.run("ping", "-c", 1, "-W", 5, "10.10.0.1")

        reply = route(vpp, "20.0.0.0/8", [path(interfaces["p1"].sw_if_index, b.host_ip)])
        assert reply.retval == 0 and reply.stats_index != ALL
        b.host.ip("route", "add", "local", "20.0.0.0/8", "dev", "lo")
        a.host.run("ping", "-c", 1, "-W", 5, "20.1.2.3")
        routes = {str(each.route.prefix): each.route for each in vpp.api.ip_route_dump(table={"table_id": 0})}
        assert str(routes["20.0.0.0/8"].paths[0].nh.address.ip4) == b.host_ip
        found = vpp.api.ip_route_lookup(table_id=0, exact=0, prefix="20.1.2.3/32")
        assert (found.retval, str(found.route.prefix)) == (0, "20.0.0.0/8")
        neighbors = {str(each.neighbor.ip_address): each for each in vpp.api.ip_neighbor_dump()}
        assert str(neighbors[b.host_ip].neighbor.mac_address) == b.host_mac
        assert route(vpp, "20.0.0.0/8", [], is_add=False).retval == 0

        threads = vpp.api.show_threads().thread_data
        assert [(each.id, each.type) for each in threads] == [(0, ""), (1, "workers")]
        placed = {each.sw_if_index: each.worker_id for each in vpp.api.sw_interface_rx_placement_dump(sw_if_index=ALL)}
        assert placed[interfaces["p0"].sw_if_index] == 1
        assert "p0" in vpp.api.cli_inband(cmd="show interface").reply
        assert vpp.api.tap_delete_v2(sw_if_index=index).retval == 0
        # Families that are served are there whole, others are not.
        assert vpp.api.bridge_domain_dump(bd_id=ALL) == [] and vpp.api.sw_bond_interface_dump(sw_if_index=ALL) == []
        assert vpp.api.get_node_graph().retval == -9
        assert vpp.api.bridge_domain_add_del_v2(is_add=True, bd_id=1).retval == 0
        assert [domain.bd_id for domain in vpp.api.bridge_domain_dump(bd_id=ALL)] == [1]
        assert vpp.api.bridge_domain_add_del_v2(is_add=False, bd_id=1).retval == 0
        assert any("p0" in line.message for line in vpp.api.log_dump(start_timestamp=0))
        assert vpp.api.add_node_next(node_name="ip4-lookup", next_name="ip4-rewrite").retval == 0
        assert not hasattr(vpp.api, "memif_dump")


def test_objects_have_vpp_s_habits(lab):
    """What VPP's own tests take for granted, whatever they test."""
    bed = PgBed(lab)
    api, (a, _) = bed.api, bed.interfaces
    version = api.show_version().version
    assert re.fullmatch(r"26\.10~weft-\d+\.\d+\.\d+", version), "clients derive the level of the API from it"
    local = {each.sw_if_index: each.interface_name for each in api.sw_interface_dump()}[0]
    assert local == "local0"
    made = api.pg_create_interface_v3(interface_id=7, pg_flags=0, gso_size=0, mode=0).sw_if_index
    (shown,) = api.sw_interface_dump(sw_if_index=made)
    assert shown.flags == 3, "up by the operator and by the link"
    assert api.sw_interface_add_del_address(sw_if_index=a.index, is_add=True, prefix=f"{a.local_ip}/24").retval == -105

    def neighbor(number, static):
        return {"sw_if_index": a.index, "flags": int(static), "mac_address": f"02:00:00:00:00:{number:02x}",
                "ip_address": "172.16.0.99"}

    for number, static in ((1, False), (2, False), (3, True)):
        bed.done(api.ip_neighbor_add_del(is_add=True, neighbor=neighbor(number, static)))
        (entry,) = [each.neighbor for each in api.ip_neighbor_dump(sw_if_index=a.index) if str(each.neighbor.ip_address) == "172.16.0.99"]
        assert (str(entry.mac_address)[-2:], int(entry.flags) & 1) == (f"{number:02x}", int(static))
    bed.done(api.ip_neighbor_add_del(is_add=False, neighbor=neighbor(3, True)))

    unresolved = route(bed, "10.66.0.0/16", [path(ALL, "198.51.100.9")])
    assert unresolved.retval == 0 and unresolved.stats_index != ALL
    assert route(bed, "10.66.0.0/16", [], is_add=False).retval == 0
    assert route(bed, "10.66.0.0/16", [], is_add=False).retval == 0, "it is not there"
    assert api.ip_table_add_del(is_add=False, table={"table_id": 77}).retval == 0, "it is not there"
    for index in (ALL, 0):
        _, nodes = api.graph_node_get(cursor=ALL, index=index, name="ip4-lookup", flags=0, want_arcs=True)
        assert [node.name for node in nodes] == ["ip4-lookup"] and nodes[0].arcs_out
    for limit in (3, 5):
        bed.cli(f"packet-generator new name again limit {limit} source pg0 data {{ hex 0x00 }}")
    assert bed.cli("show packet-generator").count("again") == 1 and "limit 5" in bed.cli("show packet-generator")
    bed.close()


def test_events_tell_of_the_command_line_and_of_the_cable(network):
    net = network(count=1)
    heard = queue.Queue()
    with client(net.weft) as vpp:
        vpp.register_event_callback(lambda name, message: heard.put((name, message)))
        assert vpp.api.want_interface_events(enable_disable=1, pid=42).retval == 0
        assert vpp.api.want_interface_events(enable_disable=1, pid=42).retval == -31

        def flags():
            name, event = heard.get(timeout=PATIENCE)
            assert (name, event.pid, event.sw_if_index, event.deleted) == ("sw_interface_event", 42, 1, False)
            return event.flags

        net.weft.cli(words.state("p0", False))
        assert flags() == 0
        net.weft.cli(words.state("p0", True))
        assert flags() == 3
        # The other end of the cable.
        net.sites[0].host.ip("link", "set", "eth0", "down")
        assert flags() == 0
        net.sites[0].host.ip("link", "set", "eth0", "up")
        assert flags() == 3


def test_a_batch_is_all_or_nothing_and_a_restart_loses_nothing(network):
    net = network(count=1)
    paths = [path(0, net.sites[0].host_ip)]
    before = net.weft.route_count()
    flags = VppEnum.vl_api_weft_batch_flags_t
    with client(net.weft) as vpp:
        for dry, last, count in ((False, "10.9.0.0/16", 0), (True, None, 0), (False, None, 300)):
            assert vpp.api.weft_batch_begin(flags=flags.WEFT_BATCH_DRY_RUN if dry else 0).retval == 0
            for number in range(300):
                assert route(vpp, f"30.{number >> 8}.{number & 255}.0/24", paths).retval == 0
            if last:
                assert route(vpp, last, [], is_add=False).retval == 0
            reply, results = vpp.api.weft_batch_commit()
            assert (reply.retval, reply.applied) == (-6 if last else 0, count), reply
            assert [(each.item, each.retval) for each in results] == ([(300, -6)] if last else [])
            assert net.weft.route_count() == before + count
    # The agent starts again, and has less to say.
    with client(net.weft) as vpp:
        assert net.weft.route_count() == before + 300
        assert vpp.api.weft_resync_begin().retval == 0
        for number in range(10):
            assert route(vpp, f"30.0.{number}.0/24", paths).retval == 0
        assert vpp.api.weft_resync_end().removed == 290
    assert net.weft.route_count() == before + 10


def route_body(prefix, length, next_hop, interface, is_add=True):
    """The body of ip_route_add_del with one path: 100,000 of them take vpp_papi half a minute."""
    path = struct.pack(">IIIBBIII16sIIIB", interface, 0, 0, 1, 0, 0, 0, 0, socket.inet_aton(next_hop), 0, 0, 0, 0)
    return struct.pack(">??IIB16sBB", is_add, False, 0, 0, 0, prefix, length, 1) + path + bytes(16 * 7)


@pytest.mark.slow
def test_batches_of_100_000_routes_lose_no_packet(network, trafficgen):
    """Traffic goes to 65,536 addresses; a more specific route for each comes and goes with a batch, to the same host."""
    net = network()
    a, b = net.sites
    b.host.ip("route", "add", "local", "20.0.0.0/8", "dev", "lo")
    net.weft.cli(words.route("20.0.0.0/8", b.host_ip, b.port))
    a.host.run("ping", "-c", 1, "-W", 5, "20.0.0.1")
    before = net.weft.route_count()
    raw = Raw(net.weft)
    offered = raw.handshake()

    def message(name, body=b"", context=7):
        return frame(struct.pack(">HII", offered[name], 0, context) + body)

    prefixes = [struct.pack(">I", 20 << 24 | number) for number in range(100_000)]
    flow = trafficgen.flow(a, b, rate=5_000, destination_ip="20.0.0.0", dst_count=65_536, flows=64, cpu=0)
    for is_add in (True, False):
        changes = [message("ip_route_add_del", route_body(each, 32, b.host_ip, 2, is_add)) for each in prefixes]
        quiet = bytes([2])
        raw.socket.sendall(message("weft_batch_begin", quiet) + b"".join(changes) + message("weft_batch_commit"))
        assert struct.unpack_from(">i", raw.receive(), 6) == (0,)
        retval, items, applied = struct.unpack_from(">iII", raw.receive(), 6)
        assert (retval, items, applied) == (0, 100_000, 100_000)
        assert net.weft.route_count() == before + (100_000 if is_add else 0)
    account = flow.stop()
    raw.close()
    assert account["sent"] > 1_000 and account["lost"] == 0, account


# The worst ---------------------------------------------------------------------------------------------------------


def frame(message):
    return HEADER.pack(0, len(message), 0) + message


class Raw:
    """A client that knows the handshake and nothing else."""

    def __init__(self, weft):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(weft.runtime / "api.sock"))

    def close(self):
        self.socket.close()

    def _exactly(self, count):
        got = bytearray()
        while len(got) < count:
            part = self.socket.recv(count - len(got))
            if not part:
                raise ConnectionError("closed")
            got += part
        return bytes(got)

    def receive(self):
        return self._exactly(HEADER.unpack(self._exactly(HEADER.size))[1])

    def handshake(self):
        """{name: id} of what the daemon offers."""
        self.socket.sendall(frame(struct.pack(">HI64s", SOCKCLNT_CREATE, 1, b"raw")))
        reply = self.receive()
        (count,) = struct.unpack_from(">H", reply, 18)
        entries = (struct.unpack_from(">H64s", reply, 20 + 66 * at) for at in range(count))
        return {name.rstrip(b"\0").decode().rsplit("_", 1)[0]: number for number, name in entries}

    def ping(self, context):
        """Whether the daemon goes on with this client: its answer to all that was sent before may come first."""
        self.socket.sendall(frame(struct.pack(">HII", CONTROL_PING, 0, context)))
        while True:
            message = self.receive()
            if struct.unpack_from(">HI", message) == (CONTROL_PING + 1, context):
                return


def garbage(chosen, number):
    """The body of a message: random, zeros or ones; short, long, or what a count says that is not there."""
    length = chosen.choice([0, 1, 3, 8, 17, 40, 100, 300, 2000])
    body = chosen.choice([chosen.randbytes(length), bytes(length), b"\xff" * length,
                          bytes(chosen.choice([0, 0, 1, 255]) for _ in range(length))])
    return struct.pack(">HII", number, 0, chosen.getrandbits(31)) + body


def test_messages_of_garbage_are_answered_or_ignored(network):
    net = network(count=1)
    probe = Raw(net.weft)
    offered = probe.handshake()
    # These end a connection, or say what the others do in longer words.
    numbers = [number for name, number in offered.items() if name not in ("sockclnt_delete", "sockclnt_create")]
    chosen = random.Random(11)
    raw, context = Raw(net.weft), 0x7FFF0000
    raw.handshake()
    for _ in range(20):
        for number in [*numbers, 0, 9999, 65535]:
            raw.socket.sendall(frame(garbage(chosen, number)))
            # A batch that is open keeps what comes.
            raw.socket.sendall(frame(struct.pack(">HII", offered["weft_batch_abort"], 0, 1)))
            context += 1
            raw.ping(context)
    raw.close()
    probe.ping(1)
    probe.close()
    # Frames that are none: no message, half of one, and one that would be too long.
    for bad in (HEADER.pack(0, 0, 0), frame(b"\0"), HEADER.pack(0, 0xFFFFFFFF, 0), HEADER.pack(0, 100, 0) + b"x",
                chosen.randbytes(5000)):
        raw = Raw(net.weft)
        raw.socket.sendall(bad)
        raw.close()
    assert net.weft.main_thread_answers()


def test_clients_that_vanish_or_never_read_disturb_nobody(network, trafficgen):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 5, b.host_ip)
    flow = trafficgen.flow(a, b, rate=5_000, flows=64, cpu=0)
    with client(net.weft) as vpp:
        # One asks for more than it will ever read.
        deaf = Raw(net.weft)
        offered = deaf.handshake()
        deaf.socket.settimeout(0.5)
        dump = frame(struct.pack(">HIIII?", offered["ip_route_dump"], 0, 1, 0, 0, False) + bytes(64))
        with pytest.raises((TimeoutError, BlockingIOError)):
            for _ in range(100_000):
                deaf.socket.sendall(dump * 64)
        chosen = random.Random(5)
        for number in range(1000):
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(PATIENCE)
            raw.connect(str(net.weft.runtime / "api.sock"))
            kind = number % 4
            if kind == 0:
                raw.sendall(chosen.randbytes(200))
            elif kind == 1:
                raw.sendall(frame(struct.pack(">HI64s", SOCKCLNT_CREATE, 1, b"gone"))[:50])
            elif kind == 2:
                raw.sendall(frame(struct.pack(">HI64s", SOCKCLNT_CREATE, 1, b"gone")) + dump)
            raw.close()
            if number % 100 == 0:
                assert vpp.api.control_ping().retval == 0
        assert len(vpp.api.sw_interface_dump()) == 3, "local0 and two ports"
        deaf.close()
        poll_until(lambda: [each["name"] for each in net.weft.cli_json("show api clients")["clients"]] == ["agent"],
                   PATIENCE, "clients that have gone are forgotten")
    account = flow.stop()
    assert account["sent"] > 100 and account["lost"] == 0, account
