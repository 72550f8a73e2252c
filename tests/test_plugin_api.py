# SPDX-License-Identifier: Apache-2.0
"""Plugins answer messages of the binary API; clients are vpp_papi from PyPI, unmodified."""

import queue
import socket
import struct

import pytest

from lab import poll_until
from lab.plugins import HEADERS, PluginFolder
from lab.reach import pings
from test_binapi import HEADER, SOCKCLNT_CREATE, client
from test_plugins import plugin, refusal, settings

SECONDS = 15
PATIENCE = 60
INVALID_VALUE, INVALID_SW_IF_INDEX, UNSPECIFIED = -7, -2, -1
DEADLY = 0xDEAD


@pytest.fixture
def folder(lab):
    return PluginFolder(lab)


@pytest.fixture
def probed(network, folder):
    folder.add("probe")
    return network(count=1, more=settings(folder, "plugin default { disable } plugin probe { disable }"))


def numbers(*values):
    return {"count": len(values), "values": list(values)}


def test_messages_come_and_go_with_their_plugin(probed):
    weft = probed.weft
    with client(weft, "early") as early:
        assert not hasattr(early.api, "probe_set")
        weft.cli("plugin load probe")
        # It was told of the messages that were there when it came.
        assert early.api.show_version().retval == 0
        with client(weft, "agent") as vpp:
            assert vpp.api.probe_set(**numbers(1, 2, 0xFFFFFFFF)).retval == 0
            assert [each.value for each in vpp.api.probe_values_dump()] == [1, 2, 0xFFFFFFFF]
            reply = vpp.api.probe_sum(sw_if_index=0)
            assert (reply.retval, reply.sum) == (0, 0x1_0000_0002)
            reply = vpp.api.probe_sum(sw_if_index=4711)
            assert (reply.retval, reply.sum) == (INVALID_SW_IF_INDEX, 0)
            assert any("probe_set_" in line for line in weft.cli("show api messages").splitlines())

            weft.cli("plugin unload probe")
            assert not any("probe_set_" in line for line in weft.cli("show api messages").splitlines())
            # Nobody answers it, and nobody is disturbed; the ping behind it ends the dump.
            assert vpp.api.probe_values_dump() == []
            assert vpp.api.show_version().retval == 0
            with client(weft, "late") as late:
                assert not hasattr(late.api, "probe_set")

            # Ids mean what they meant.
            weft.cli("plugin load probe")
            assert vpp.api.probe_set(**numbers(7)).retval == 0
            weft.cli("plugin reload probe")
            assert vpp.api.probe_values_dump() == []
            assert vpp.api.probe_set(**numbers(8)).retval == 0
            with client(weft, "late") as late:
                assert [each.value for each in late.api.probe_values_dump()] == [8]
        assert early.api.show_version().retval == 0


def test_events_of_a_plugin(probed):
    weft = probed.weft
    weft.cli("plugin load probe")
    heard = queue.Queue()
    with client(weft) as vpp, client(weft, "other") as other:
        vpp.register_event_callback(lambda name, message: heard.put((name, message.value)))
        other.register_event_callback(lambda name, message: heard.put((name, "other")))
        assert weft.cli("probe event 1").strip() == "0 clients"
        assert vpp.api.want_probe_events().retval == 0
        assert weft.cli("probe event 2").strip() == "1 clients"
        assert heard.get(timeout=PATIENCE) == ("probe_event", 2)
    poll_until(lambda: weft.cli("probe event 3").strip() == "0 clients", SECONDS, "a client that has gone is forgotten")
    assert heard.empty()


def test_a_long_dump_outlives_neither_its_plugin_nor_its_client(probed):
    """400,000 records are more than a client may leave unread."""
    weft = probed.weft
    weft.cli("plugin load probe")
    first, count = 1_000_000, 400_000
    raw = Raw(weft)
    raw.send("probe_set", struct.pack(f">I{count}I", count, *range(first, first + count)))
    assert raw.receive() == struct.pack(">i", 0)
    raw.send("probe_values_dump", b"")
    assert raw.receive() == struct.pack(">I", first)
    weft.cli("plugin reload probe")
    records = 1
    raw.send("control_ping", b"")
    while len(body := raw.receive()) == 4:
        records += 1
    assert records < count, "the new plugin has no values: the dump has ended"
    assert struct.unpack(">iII", body)[2] == weft.process.pid, "the ping behind it is answered"
    raw.close()
    assert plugin(weft, "probe")["state"] == "running"


class Raw:
    """A client that sends what it likes."""

    def __init__(self, weft):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(weft.runtime / "api.sock"))
        self.frame(struct.pack(">HI64s", SOCKCLNT_CREATE, 1, b"raw"))
        # Behind id, client_index, context, response and index.
        table = self.message()[18:]
        (count,) = struct.unpack_from(">H", table)
        self.ids = {}
        for at in range(count):
            number, name = struct.unpack_from(">H64s", table, 2 + at * 66)
            self.ids[name.rstrip(b"\0").decode().rpartition("_")[0]] = number

    def frame(self, message):
        self.socket.sendall(HEADER.pack(0, len(message), 0) + message)

    def send(self, name, body):
        self.frame(struct.pack(">HII", self.ids[name], 0, 5) + body)

    def exactly(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            assert more, "the connection was closed"
            data += more
        return data

    def message(self):
        _, length, _ = HEADER.unpack(self.exactly(HEADER.size))
        return self.exactly(length)

    def receive(self):
        """What is behind id and context."""
        return self.message()[6:]

    def close(self):
        self.socket.close()


def test_bodies_that_are_not_what_they_should_be(probed):
    weft = probed.weft
    weft.cli("plugin load probe")
    raw = Raw(weft)
    retval = struct.Struct(">i")
    for name, body in [("probe_set", b""), ("probe_set", b"\0\0\0"), ("probe_set", b"\xff\xff\xff\xff"),
                       ("probe_set", struct.pack(">II", 2, 1))]:
        raw.send(name, body)
        assert raw.receive() == retval.pack(INVALID_VALUE), (name, body)
    raw.send("probe_sum", b"\0\0")
    assert raw.receive() == retval.pack(INVALID_VALUE) + bytes(8)
    # More than is needed is not looked at.
    raw.send("probe_sum", bytes(400))
    assert raw.receive() == bytes(12)
    raw.close()


def test_a_panic_in_a_message_ends_the_plugin_alone(probed):
    weft = probed.weft
    weft.cli("plugin load probe")
    with client(weft) as vpp:
        assert vpp.api.probe_set(**numbers(DEADLY)).retval == UNSPECIFIED
        found = plugin(weft, "probe")
        assert found["state"] == "failed" and "API message 'probe_set'" in found["reason"], found
        assert vpp.api.probe_set(**numbers(1)).retval == UNSPECIFIED
        weft.cli("plugin reload probe")
        assert vpp.api.probe_set(**numbers(1)).retval == 0


ANSWERING = """
#include <weft_plugin.h>
static int32_t answer(void *user, void *state, struct weft_main *main, const struct weft_api_request *request,
                      struct weft_api_reply *reply)
{
    (void)user; (void)state; (void)main; (void)request;
    reply->retval = RETVAL;
    return WEFT_OK;
}
static int32_t init(const struct weft_host *host, struct weft_main *main, void **state)
{
    static const struct weft_api_message message = {.size = sizeof message, .name = MESSAGE, .run = answer};
    (void)state;
    if (host->define_api(main, "answering", TEXT) || host->add_api_message(main, &message)) {
        char why[256];
        size_t length = host->why(main, (uint8_t *)why, sizeof why);
        host->fail(main, (const uint8_t *)why, length < sizeof why ? length : sizeof why);
        return WEFT_REFUSED;
    }
    return WEFT_OK;
}
WEFT_EXPORT const struct weft_plugin weft_plugin = {
    .magic = WEFT_MAGIC, .abi_version = WEFT_ABI_VERSION, .size = sizeof weft_plugin, .fingerprint = WEFT_ABI_FINGERPRINT,
    .name = "answering", .init = init,
};
"""
VERSION = 'option version = \\"1.0.0\\"; '
ONE = VERSION + "autoreply define answering_one { u32 client_index; u32 context; };"


def answering(folder, tmp_path, message, text, retval=0):
    source = tmp_path / "answering.c"
    source.write_text(ANSWERING)
    return folder.add_c("answering", source, HEADERS, f'-DMESSAGE="{message}"', f'-DTEXT="{text}"', f"-DRETVAL={retval}")


@pytest.mark.parametrize("message, text, found", [
    ("control_ping", ONE, "answers message 'control_ping', and so does Weft"),
    ("no_such_message", ONE, "answers message 'no_such_message', which is defined nowhere"),
    ("answering_one_reply", ONE, "expected a request or a dump"),
    ("answering_one", "define x {", "plugins/answering/answering.api:1"),
    ("answering_one", ONE.replace("answering_one", "show_version"), "message `show_version` is defined already"),
    ("probe_set", ONE.replace("answering_one", "probe_set"), "defines message 'probe_set', and so does plugin 'probe'"),
])
def test_messages_that_are_refused(probed, folder, tmp_path, message, text, found):
    probed.weft.cli("plugin load probe")
    answering(folder, tmp_path, message, text)
    assert found in refusal(probed.weft, "plugin load answering")
    with client(probed.weft) as vpp:
        assert vpp.api.probe_set(**numbers(1)).retval == 0


def test_a_definition_that_changes_has_ids_of_its_own(probed, folder, tmp_path):
    """A plugin in C, which answers by a return value alone."""
    weft = probed.weft
    answering(folder, tmp_path, "answering_one", ONE, -5)
    weft.cli("plugin load answering")
    with client(weft) as vpp:
        assert vpp.api.answering_one().retval == -5
        answering(folder, tmp_path, "answering_one", ONE.replace("context;", "context; u32 more;"), 0)
        weft.cli("plugin reload answering")
        assert vpp.api.show_version().retval == 0
        with client(weft, "late") as late:
            assert late.api.answering_one(more=1).retval == 0


PERMIT, DENY, REFLECT = 1, 0, 2


def rule(action, src="0.0.0.0/0", dst="0.0.0.0/0", proto=0, first=(0, 65535), second=(0, 65535), flags=(0, 0)):
    """Ports, or ICMP types and codes; mask and value of TCP flags."""
    return {"is_permit": action, "src_prefix": src, "dst_prefix": dst, "proto": proto,
            "srcport_or_icmptype_first": first[0], "srcport_or_icmptype_last": first[1],
            "dstport_or_icmpcode_first": second[0], "dstport_or_icmpcode_last": second[1],
            "tcp_flags_mask": flags[0], "tcp_flags_value": flags[1]}


def replace(vpp, rules, index=0xFFFFFFFF, tag="test"):
    return vpp.api.acl_add_replace(acl_index=index, tag=tag, count=len(rules), r=rules)


def applied(vpp, interface):
    (shown,) = vpp.api.acl_interface_list_dump(sw_if_index=interface)
    return list(shown.acls[:shown.n_input]), list(shown.acls[shown.n_input:])


def set_lists(vpp, interface, inputs, outputs=()):
    acls = [*inputs, *outputs]
    return vpp.api.acl_interface_set_acl_list(sw_if_index=interface, count=len(acls), n_input=len(inputs), acls=acls).retval


def test_access_lists_by_message(network, folder):
    folder.add("acl")
    net = network(count=2, more=settings(folder), flow="flows 50000")
    a, b = net.sites
    assert pings(a, b)
    with client(net.weft) as vpp:
        ports = {each.interface_name: each.sw_if_index for each in vpp.api.sw_interface_dump()}
        port = ports["p0"]
        assert (vpp.api.acl_plugin_get_version().major, vpp.api.acl_plugin_control_ping().vpe_pid) == (1, net.weft.process.pid)
        assert vpp.api.acl_plugin_get_conn_table_max_entries().conn_table_max_entries == 50_000, "as many as there may be flows"

        no_ping = [rule(DENY, proto=1, first=(8, 8)), rule(PERMIT)]
        reply = replace(vpp, no_ping, tag="no ping")
        assert (reply.retval, reply.acl_index) == (0, 0)
        assert set_lists(vpp, port, [0]) == 0
        assert not pings(a, b), "a list set by message drops"
        assert pings(b, a), "and drops nothing else"
        assert applied(vpp, port) == ([0], []) and applied(vpp, ports["p1"]) == ([], [])
        assert "no ping" in net.weft.cli("show acl-plugin acl")

        rules = [rule(REFLECT, src="10.0.0.0/8", dst="192.0.2.1/32", proto=6, first=(1024, 65535), second=(80, 90)),
                 rule(PERMIT, proto=6, flags=(18, 2)), rule(DENY)]
        assert replace(vpp, rules, tag="").acl_index == 1
        shown = {each.acl_index: each for each in vpp.api.acl_dump(acl_index=0xFFFFFFFF)}
        assert [(each.tag, each.count) for each in shown.values()] == [("no ping", 2), ("", 3)]
        for index, expected in ((0, no_ping), (1, rules)):
            assert [as_sent(each) for each in shown[index].r] == expected
        assert [each.acl_index for each in vpp.api.acl_dump(acl_index=1)] == [1]
        assert vpp.api.acl_dump(acl_index=7) == []

        # Replaced in place: the interface has the new rules at once.
        assert replace(vpp, [rule(PERMIT)], index=0).retval == 0
        assert pings(a, b)
        apply = vpp.api.acl_interface_add_del
        assert apply(is_add=True, is_input=False, sw_if_index=port, acl_index=1).retval == 0
        assert applied(vpp, port) == ([0], [1])
        net.weft.cli("plugin reload acl")
        assert applied(vpp, port) == ([0], [1])
        assert not pings(a, b), "list 1 denies the answers"
        assert apply(is_add=False, is_input=False, sw_if_index=port, acl_index=1).retval == 0
        assert pings(a, b)

        # What is refused changes nothing.
        assert replace(vpp, [rule(PERMIT)], index=9).retval == -6
        assert replace(vpp, [rule(PERMIT, first=(2, 1))]).retval == -8
        assert replace(vpp, [rule(PERMIT, src="10.0.0.0/8", dst="2001:db8::/32")]).retval == -7, "of two families"
        assert vpp.api.acl_del(acl_index=0).retval == -142
        assert vpp.api.acl_del(acl_index=9).retval == -6
        assert set_lists(vpp, 4711, [0]) == -2
        assert set_lists(vpp, port, [9]) == -6
        assert set_lists(vpp, port, [0, 0]) == 1
        assert apply(is_add=True, is_input=True, sw_if_index=port, acl_index=0).retval == -116
        assert apply(is_add=False, is_input=False, sw_if_index=port, acl_index=0).retval == -6
        assert applied(vpp, port) == ([0], [])

        assert set_lists(vpp, port, []) == 0
        assert [vpp.api.acl_del(acl_index=index).retval for index in (0, 1)] == [0, 0]
        assert vpp.api.acl_dump(acl_index=0xFFFFFFFF) == []
        net.weft.cli("plugin unload acl")
        assert vpp.api.show_version().retval == 0
    with client(net.weft) as vpp:
        assert not hasattr(vpp.api, "acl_add_replace")


def as_sent(shown):
    sent = {field: getattr(shown, field) for field in rule(DENY)}
    return {field: str(value) if field.endswith("prefix") else int(value) for field, value in sent.items()}


def test_policers_by_message(network, folder):
    folder.add("policer")
    net = network(count=2, more=settings(folder))
    a, b = net.sites
    transmit, drop, mark = {"type": 1, "dscp": 0}, {"type": 0, "dscp": 0}, {"type": 2, "dscp": 12}
    gold = {"cir": 4000, "eir": 0, "cb": 30000, "eb": 20000, "rate_type": 0, "round_type": 0, "type": 1,
            "color_aware": True, "conform_action": transmit, "exceed_action": mark, "violate_action": drop}
    with client(net.weft) as vpp:
        port = next(each.sw_if_index for each in vpp.api.sw_interface_dump() if each.interface_name == "p0")
        reply = vpp.api.policer_add(name="gold", infos=gold)
        assert (reply.retval, reply.policer_index) == (0, 0)
        assert vpp.api.policer_add(name="gold", infos=gold).retval == -81
        assert vpp.api.policer_add(name="pps", infos=gold | {"rate_type": 1}).retval == -126
        assert vpp.api.policer_add(name="none", infos=gold | {"cir": 0}).retval == -7
        (shown,) = vpp.api.policer_dump_v2(policer_index=0xFFFFFFFF)
        assert (shown.name, shown.cir, shown.eir, shown.cb, shown.eb, int(shown.type)) == ("gold", 4000, 0, 30000, 20000, 1)
        actions = [(int(each.type), each.dscp) for each in (shown.conform_action, shown.exceed_action, shown.violate_action)]
        assert actions == [(1, 0), (2, 12), (0, 0)] and shown.color_aware and shown.single_rate

        assert vpp.api.policer_input(name="gold", sw_if_index=port, apply=True).retval == 0
        assert pings(a, b)
        closed = gold | {"conform_action": drop, "exceed_action": drop, "color_aware": False}
        assert vpp.api.policer_update(policer_index=0, infos=closed).retval == 0
        assert not pings(a, b), "what was changed by message has effect"
        assert vpp.api.policer_del(policer_index=0).retval != 0, "it is applied"
        assert vpp.api.policer_input_v2(policer_index=0, sw_if_index=port, apply=False).retval == 0
        assert vpp.api.policer_input_v2(policer_index=0, sw_if_index=port, apply=False).retval == -6
        assert pings(a, b)
        assert vpp.api.policer_output(name="gold", sw_if_index=4711, apply=True).retval == -2
        assert vpp.api.policer_del(policer_index=0).retval == 0
        assert vpp.api.policer_del(policer_index=0).retval == 0, "it is not there"
        assert vpp.api.policer_add_del(is_add=False, name="gold", **gold).retval == 0, "it is not there"
        assert vpp.api.policer_add(name="flat", infos=gold | {"eb": 0}).retval == 0, "RFC 2697: no excess burst"
        assert vpp.api.policer_add_del(is_add=False, name="flat", **gold).retval == 0
        assert vpp.api.policer_dump_v2(policer_index=0xFFFFFFFF) == []


def test_pings_by_message(network, folder):
    folder.add("ping")
    net = network(count=2, more=settings(folder))
    b = net.sites[1]
    with client(net.weft) as vpp:
        told = queue.Queue()
        vpp.register_event_callback(lambda name, event: told.put((name, event.request_count, event.reply_count)))
        nobody = b.host_ip.rsplit(".", 1)[0] + ".99"
        for address, answers in [(b.host_ip, 3), (nobody, 0)]:
            assert vpp.api.want_ping_finished_events(address=address, repeat=3, interval=0.05).retval == 0
            assert told.get(timeout=20) == ("ping_finished_event", 3, answers)
        for wrong, retval in [({"address": "2001:db8::1"}, -1), ({"address": "224.0.0.1"}, -58), ({"address": "ff02::1"}, -58), ({"repeat": 0}, -7),
                              ({"interval": float("nan")}, -8), ({"address": "203.0.113.1"}, -1)]:
            asked = {"address": b.host_ip, "repeat": 1, "interval": 1.0} | wrong
            assert vpp.api.want_ping_finished_events(**asked).retval == retval, wrong
        assert vpp.api.want_ping_finished_events(address=b.host_ip, repeat=1000, interval=10.0).retval == 0
    net.weft.cli("plugin unload ping")
