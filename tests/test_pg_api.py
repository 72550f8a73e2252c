# SPDX-License-Identifier: Apache-2.0
"""The forwarding path as VPP's own tests look at it: packet-generator interfaces by API, packets by scapy."""

import os
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from lab.pg import PgBed


@pytest.fixture
def bed(lab):
    made = PgBed(lab)
    yield made
    made.close()


def packets(source, target_ip, count=257, **ip):
    ether = Ether(src=source.remote_mac, dst=source.local_mac)
    return [ether / IP(src=source.remote_ip, dst=target_ip, id=n, **ip) / UDP(sport=1000 + n, dport=4321) / bytes(n % 64)
            for n in range(count)]


def test_ip4_is_forwarded(bed):
    a, b = bed.interfaces
    sent = packets(a, b.remote_ip)
    received = bed.send_and_expect(a, sent, b)
    for before, after in zip(sent, received):
        assert (after[Ether].src, after[Ether].dst) == (b.local_mac, b.remote_mac)
        assert (after[IP].ttl, after[IP].id, after[UDP].sport) == (63, before[IP].id, before[UDP].sport)
        checksum = after[IP].chksum
        del after[IP].chksum
        assert IP(bytes(after[IP])).chksum == checksum
    counted = {c["name"]: c for c in bed.weft.cli_json("show interface")["interfaces"]}
    assert (counted["pg0"]["rx_packets"], counted["pg1"]["tx_packets"]) == (257, 257)


def test_a_route_by_api(bed):
    a, b = bed.interfaces
    path = {"sw_if_index": b.index, "weight": 1, "n_labels": 0, "label_stack": [{}] * 16, "nh": {"address": {"ip4": b.remote_ip}}}
    route = {"table_id": 0, "prefix": "10.9.0.0/16", "n_paths": 1, "paths": [path]}
    (error, *_) = bed.send_and_expect(a, packets(a, "10.9.1.1", 3), a)
    assert (error[ICMP].type, error[ICMP].code) == (3, 0), "no route: network unreachable"
    bed.done(bed.api.ip_route_add_del(is_add=True, is_multipath=False, route=route))
    bed.send_and_expect(a, packets(a, "10.9.1.1", 3), b)


def test_an_expired_ttl_is_told(bed):
    a, b = bed.interfaces
    sent = packets(a, b.remote_ip, 5, ttl=1)
    for before, error in zip(sent, bed.send_and_expect(a, sent, a)):
        assert (error[IP].src, error[IP].dst, error[ICMP].type, error[ICMP].code) == (a.local_ip, a.remote_ip, 11, 0)
        assert bytes(error[ICMP].payload)[4:6] == before[IP].id.to_bytes(2, "big")


def test_arp_is_answered(bed):
    a, _ = bed.interfaces
    ask = Ether(src=a.remote_mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=a.remote_mac, psrc=a.remote_ip, pdst=a.local_ip)
    (answer,) = bed.send_and_expect(a, [ask], a)
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, a.local_mac, a.local_ip)


def test_a_rule_drops(bed):
    a, b = bed.interfaces
    bed.cli("classify rule add edge id 10 proto udp dport 4321 action drop")
    bed.cli("classify attach edge interface pg0 input")
    bed.send_and_expect_nothing(a, packets(a, b.remote_ip, 20))
    assert "ip4-classify" in bed.cli("show errors")


def mask(*fields):
    """16-byte vectors from the IPv4 header on, with these bytes at these places."""
    data = bytearray(32)
    for at, value in fields:
        data[at:at + len(value)] = value
    return bytes(data)


def test_tables_of_vpp_s_classifier(bed):
    a, b = bed.interfaces
    api = bed.api
    fields = dict(is_add=True, table_index=0xFFFFFFFF, nbuckets=2, memory_size=1 << 20, match_n_vectors=2, current_data_flag=1,
                  current_data_offset=0, next_table_index=0xFFFFFFFF)
    dport = mask((9, b"\xff"), (22, b"\xff\xff"))
    whole = mask((12, b"\xff\xff\xff\xff"))
    sources = bed.done(api.classify_add_del_table(**fields, miss_next_index=0xFFFFFFFF, mask_len=32, mask=whole))
    assert (sources.skip_n_vectors, sources.match_n_vectors) == (0, 2)
    fields["next_table_index"] = sources.new_table_index
    ports = bed.done(api.classify_add_del_table(**fields, miss_next_index=0xFFFFFFFF, mask_len=32, mask=dport)).new_table_index
    assert api.classify_table_ids().ids == [sources.new_table_index, ports]

    session = dict(is_add=True, table_index=ports, hit_next_index=0, opaque_index=7, match_len=32)
    to_4321 = mask((9, bytes([17])), (22, (4321).to_bytes(2, "big")))
    bed.done(api.classify_add_del_session(**session, match=to_4321))
    acl = dict(ip4_table_index=ports, ip6_table_index=0xFFFFFFFF, l2_table_index=0xFFFFFFFF)
    bed.done(api.input_acl_set_interface(is_add=True, sw_if_index=a.index, **acl))
    assert api.classify_table_by_interface(sw_if_index=a.index).ip4_table_id == ports
    assert "pg0" in bed.cli("show inacl type ip4") and "No output" in bed.cli("show outacl type ip4")
    bed.send_and_expect_nothing(a, packets(a, b.remote_ip, 10))
    bed.send_and_expect(b, packets(b, a.remote_ip, 10), a)
    assert "hits 10\n" in bed.cli("show classify tables verbose")
    (shown,) = api.classify_session_dump(table_id=ports)
    assert (shown.hit_next_index, shown.opaque_index, shown.match) == (0, 7, to_4321)
    info = api.classify_table_info(table_id=ports)
    assert (info.active_sessions, info.next_table_index, info.mask) == (1, sources.new_table_index, dport)
    assert api.classify_add_del_table(**{**fields, "is_add": False, "table_index": ports}, miss_next_index=0, mask_len=0,
                                      mask=b"").retval == -155, "a table that packets are asked about stays"

    # The second table decides about what the first does not know; the chain can be changed while it is in use.
    bed.done(api.classify_add_del_session(**{**session, "is_add": False}, match=to_4321))
    bed.send_and_expect(a, packets(a, b.remote_ip, 10), b)
    source = mask((12, bytes(map(int, a.remote_ip.split(".")))))
    bed.done(api.classify_add_del_session(**{**session, "table_index": sources.new_table_index}, match=source))
    bed.send_and_expect_nothing(a, packets(a, b.remote_ip, 10))
    bed.done(api.input_acl_set_interface(is_add=False, sw_if_index=a.index, **acl))
    bed.done(api.output_acl_set_interface(is_add=True, sw_if_index=b.index, **acl))
    bed.send_and_expect_nothing(a, packets(a, b.remote_ip, 10))
    bed.done(api.output_acl_set_interface(is_add=False, sw_if_index=b.index, **acl))
    bed.send_and_expect(a, packets(a, b.remote_ip, 10), b)

    for wrong, retval in [({"mask": mask((8, b"\xff"))}, -126), ({"mask_len": 16, "mask": bytes(16)}, -7), ({"nbuckets": 0}, -7),
                          ({"memory_size": 0}, -70), ({"miss_next_index": 5}, -126), ({"next_table_index": 99}, -66)]:
        request = {**fields, "miss_next_index": 0, "mask_len": 32, "mask": dport, **wrong}
        assert api.classify_add_del_table(**request).retval == retval, wrong
    for wrong, retval in [({"table_index": 99}, -65), ({"match_len": 16, "match": bytes(16)}, -7), ({"hit_next_index": 3}, -126),
                          ({"action": 1}, -126), ({"is_add": False}, -6)]:
        assert api.classify_add_del_session(**{**session, "match": to_4321, **wrong}).retval == retval, wrong
    bed.done(api.classify_add_del_table(**{**fields, "is_add": False, "del_chain": True, "table_index": ports}, miss_next_index=0,
                                        mask_len=0, mask=b""))
    assert api.classify_table_ids().ids == [] and "No classifier tables" in bed.cli("show classify tables")


def test_traces(bed):
    a, b = bed.interfaces
    bed.send_and_expect(a, packets(a, b.remote_ip, 2), b)
    shown = bed.cli("show trace max 1")
    assert shown.count("Packet ") == 1 and "Limiting display to 1 packets" in shown
    for node in ("pg-input", "ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite"):
        assert f": {node}\n" in shown
    first, second = bed.api.trace_v2_dump(thread_id=0xFFFFFFFF, position=0, max=50, clear_cache=False)
    assert (first.more, second.more, second.position) == (True, False, 1)
    assert first.trace_data.rstrip() in shown
    bed.done(bed.api.trace_clear_capture())
    assert bed.api.trace_v2_dump(thread_id=0xFFFFFFFF, position=0, max=50, clear_cache=False) == []
    node = bed.api.get_node_index(node_name="pg-input").node_index
    bed.done(bed.api.trace_capture_packets(node_index=node, max_packets=1, use_filter=False, verbose=False, pre_capture_clear=True))
    lookup = bed.api.get_node_index(node_name="ip4-lookup").node_index
    refused = bed.api.trace_capture_packets(node_index=lookup, max_packets=1, use_filter=False, verbose=False, pre_capture_clear=False)
    assert refused.retval == -63


def test_the_graph(bed):
    everything = dict(cursor=0, index=0xFFFFFFFF, name="", flags=0, want_arcs=True)
    nodes = {node.name: node for node in bed.client.details_iter(bed.api.graph_node_get, **everything)}
    lookup = nodes["ip4-lookup"]
    assert nodes["ip4-rewrite"].index in lookup.arcs_out
    reply, (only,) = bed.api.graph_node_get(**{**everything, "name": "ip4-lookup"})
    assert (reply.retval, only.index) == (0, lookup.index)
    reply, (only,) = bed.api.graph_node_get(**{**everything, "index": lookup.index, "want_arcs": False})
    assert (only.name, only.n_arcs) == ("ip4-lookup", 0)


def test_captures_and_streams_are_refused_by_number(bed):
    a, _ = bed.interfaces
    capture = dict(is_enabled=True, count=1, pcap_file_name=str(bed.folder / "new.pcap"))
    assert bed.api.pg_capture(interface_id=9, **capture).retval == -71
    a.captured.write_bytes(b"")
    assert bed.api.pg_capture(interface_id=0, **{**capture, "pcap_file_name": str(a.captured)}).retval == -93
    a.captured.unlink()
    assert bed.api.pg_enable_disable(is_enabled=True, stream_name="none").retval == -6
    assert bed.api.pg_create_interface_v3(interface_id=3, pg_flags=2, gso_size=1460, mode=0).retval == -126
    again = bed.api.pg_create_interface_v3(interface_id=0, pg_flags=0, gso_size=0, mode=0)
    assert (again.retval, again.sw_if_index) == (0, a.index)
    assert bed.api.pg_delete_interface(sw_if_index=99).retval == -2
    third = bed.done(bed.api.pg_create_interface_v3(interface_id=3, pg_flags=0, gso_size=0, mode=1)).sw_if_index
    bed.done(bed.api.pg_delete_interface(sw_if_index=third))


def test_what_vpp_s_framework_says_after_each_test(bed):
    for command in ("clear trace", "show trace max 100", "show interface", "show hardware", "show error", "show run", "show log",
                    "show clock", "show thread"):
        bed.cli(command)
    refused = bed.api.cli_inband(cmd="show nonsense\n")
    assert refused.retval == -1 and refused.reply.startswith("show: unknown input `nonsense'\n")


def test_an_interface_that_borrows_its_address(bed):
    """A host behind a link without a subnet of its own: it asks for the borrowed address, is reached and answers."""
    a, b = bed.interfaces
    host = "10.9.9.9"
    bed.done(bed.api.sw_interface_add_del_address(sw_if_index=b.index, is_add=False, del_all=True, prefix="0.0.0.0/0"))
    bed.done(bed.api.sw_interface_set_unnumbered(sw_if_index=a.index, unnumbered_sw_if_index=b.index, is_add=True))
    path = {"sw_if_index": b.index, "weight": 1, "n_labels": 0, "label_stack": [{}] * 16, "nh": {"address": {"ip4": host}}}
    route = {"table_id": 0, "prefix": f"{host}/32", "n_paths": 1, "paths": [path]}
    bed.done(bed.api.ip_route_add_del(is_add=True, is_multipath=False, route=route))
    # Nobody knows the host yet: it is asked for, in the name of the borrowed address.
    (asked,) = bed.send_and_expect(a, packets(a, host, 1), b)
    assert (asked[ARP].op, asked[ARP].psrc, asked[ARP].pdst, asked[ARP].hwsrc) == (1, a.local_ip, host, b.local_mac)
    answer = Ether(src=b.remote_mac, dst=b.local_mac) / ARP(
        op=2, hwsrc=b.remote_mac, psrc=host, hwdst=b.local_mac, pdst=a.local_ip)
    (waited,) = bed.send_and_expect(b, [answer], b)
    assert (waited[IP].dst, waited[Ether].dst) == (host, b.remote_mac)
    ask = Ether(src=b.remote_mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=b.remote_mac, psrc=host, pdst=a.local_ip)
    (told,) = bed.send_and_expect(b, [ask], b)
    assert (told[ARP].op, told[ARP].hwsrc, told[ARP].psrc) == (2, b.local_mac, a.local_ip)
    back = Ether(src=b.remote_mac, dst=b.local_mac) / IP(src=host, dst=a.remote_ip) / UDP(sport=1, dport=2)
    bed.send_and_expect(b, [back], a)
    bed.done(bed.api.sw_interface_set_unnumbered(sw_if_index=a.index, unnumbered_sw_if_index=b.index, is_add=False))
    bed.send_and_expect_nothing(b, [back])


def test_what_is_asked_after_each_test(bed):
    bed.cli("api trace on")
    bed.api.show_version()
    for command in ("clear trace", "show trace max 100", "show interface", "show hardware", "show error", "show run",
                    "show log", "show bihash"):
        bed.cli(command)
    name = f"weft-{os.getpid()}-{bed.folder.parent.name}.api-trace"
    bed.cli(f"api trace save {name}")
    saved = Path("/tmp") / name
    try:
        lines = saved.read_text().splitlines()
    finally:
        saved.unlink()
    kept = [line.split(" ") for line in lines]
    (version,) = [fields for fields in kept if fields[3] == "show_version"]
    assert version[2] == '"weft-tests"' and int(version[4]) == len(version[5]) // 2 == 10
