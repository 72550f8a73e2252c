# SPDX-License-Identifier: Apache-2.0
"""What scripts do with vpp_papi. usage: papi.py SOCKET FOLDER-OF-API-JSON"""

import ipaddress
import queue
import sys

from vpp_papi import VPPApiClient, VppEnum

PATIENCE = 60


def client(**source):
    vpp = VPPApiClient(server_address=sys.argv[1], read_timeout=PATIENCE, **source)
    assert vpp.connect("papi") == 0
    return vpp


def diagnostics(vpp):
    assert vpp.api.control_ping().retval == 0
    version = vpp.api.show_version()
    assert (version.program, version.version) == ("weft", "0.1.0-?"), version
    assert vpp.api.show_vpe_system_time().vpe_system_time.year > 2023
    assert vpp.api.get_f64_endian_value(f64_one=1.0).f64_one_result == 1.0
    assert vpp.api.get_f64_increment_by_one(f64_value=1.5).f64_value == 2.5
    assert vpp.api.cli_inband(cmd="show clients\n").reply == "1"
    failed = vpp.api.cli_inband(cmd="nonsense")
    assert (failed.retval, failed.reply) == (-1, "unknown command: nonsense"), failed
    names = {entry.name for entry in vpp.api.api_versions().api_versions}
    assert {"memclnt.api", "vpe.api", "interface.api"} <= names, names
    # What nobody handles is not there.
    assert not hasattr(vpp.api, "l2_xconnect_dump")


def interfaces(vpp):
    flags = VppEnum.vl_api_if_status_flags_t
    dump = vpp.api.sw_interface_dump()
    assert [interface.interface_name for interface in dump] == ["loop1", "loop2", "loop3"], dump
    assert str(dump[0].l2_address) == "00:00:00:00:00:00", dump[0]
    assert vpp.api.sw_interface_dump(sw_if_index=99) == []
    assert vpp.api.sw_interface_set_flags(sw_if_index=2, flags=flags.IF_STATUS_API_FLAG_ADMIN_UP).retval == 0
    assert vpp.api.sw_interface_set_flags(sw_if_index=9, flags=0).retval == -2
    (interface,) = vpp.api.sw_interface_dump(sw_if_index=2)
    assert interface.flags == flags.IF_STATUS_API_FLAG_ADMIN_UP, interface
    assert vpp.api.create_loopback().sw_if_index == 4


def streams(vpp):
    reply, details = vpp.api.sw_interface_tx_placement_get(cursor=0, sw_if_index=0xFFFFFFFF)
    assert reply.retval == 0 and [detail.threads for detail in details] == [[1, 2]] * 4, (reply, details)
    everything = vpp.details_iter(vpp.api.sw_interface_tx_placement_get, sw_if_index=0xFFFFFFFF)
    assert [detail.sw_if_index for detail in everything] == [1, 2, 3, 4]


def path(next_hop):
    return {
        "sw_if_index": 2,
        "proto": VppEnum.vl_api_fib_path_nh_proto_t.FIB_API_PATH_NH_PROTO_IP4,
        "nh": {"address": {"ip4": ipaddress.IPv4Address(next_hop)}},
        "weight": 1,
        "label_stack": [{}] * 16,
    }


def route(vpp, prefix, is_add=True):
    paths = [path("10.10.0.1")]
    return vpp.api.ip_route_add_del(
        is_add=is_add, route={"prefix": prefix, "n_paths": len(paths), "paths": paths}
    )


def routes(vpp):
    reply = route(vpp, "10.1.0.0/24")
    assert (reply.retval, reply.stats_index) == (0, 7), reply
    assert route(vpp, "10.2.0.0/24", is_add=False).retval == -6


def events(vpp):
    heard = queue.Queue()
    vpp.register_event_callback(lambda name, message: heard.put((name, message)))
    assert vpp.api.want_interface_events(enable_disable=1, pid=42).retval == 0
    assert vpp.api.want_interface_events(enable_disable=1, pid=42).retval == -31
    assert vpp.api.sw_interface_set_flags(sw_if_index=3, flags=1).retval == 0
    # Events are looked for when an answer is waited for.
    vpp.api.control_ping()
    name, event = heard.get(timeout=PATIENCE)
    assert (name, event.sw_if_index, event.flags, event.pid) == ("sw_interface_event", 3, 1, 42), event
    assert vpp.api.want_interface_events(enable_disable=0, pid=42).retval == 0


def batches(vpp):
    flags = VppEnum.vl_api_weft_batch_flags_t
    assert vpp.api.weft_batch_begin(flags=flags.WEFT_BATCH_ALL_RESULTS).retval == 0
    assert route(vpp, "10.3.0.0/24").stats_index == 0xFFFFFFFF
    assert route(vpp, "10.3.1.0/24").retval == 0
    reply, results = vpp.api.weft_batch_commit()
    assert (reply.retval, reply.applied, [result.retval for result in results]) == (0, 2, [0, 0]), reply
    assert vpp.api.weft_batch_begin().retval == 0
    assert route(vpp, "10.4.0.0/24").retval == 0
    assert route(vpp, "10.5.0.0/24", is_add=False).retval == 0
    reply, results = vpp.api.weft_batch_commit()
    assert (reply.retval, reply.applied, reply.first_failed) == (-6, 0, 1), reply
    assert [(result.item, result.retval) for result in results] == [(1, -6)], results


def main():
    vpp = client(apidir=sys.argv[2])
    for part in (diagnostics, interfaces, streams, routes, events, batches):
        part(vpp)
    vpp.disconnect()
    # Nothing but the socket: the server sends its definitions itself.
    vpp = client(bootstrapapi=True)
    assert len(vpp.api.sw_interface_dump()) == 4
    vpp.disconnect()
    print("all done")


main()
