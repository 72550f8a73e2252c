# SPDX-License-Identifier: Apache-2.0
"""Counters read straight from the segment: the same as the daemon tells, and to be had when it tells nothing."""

import json
import os
import pty
import select
import subprocess
import termios
import time

import pytest

from lab import frozen, poll_until
from lab.weft import PLAIN_WAY, CliError, binary

COLUMNS = ["drops", "punt", "ip4", "ip6", "rx-no-buf", "rx-miss", "rx-error", "tx-error"]


def _ping(network):
    """Some packets each way. On a loaded machine ping does not wait for all answers; one is enough for it to succeed."""
    a, b = network.sites
    a.host.run("ping", "-c", 5, "-i", 0.05, "-W", 2, b.host_ip)


def _counters(weft):
    """Of each interface, in the words of `show interface`, from the segment."""
    stats = weft.stats("^/if/")
    counters = {}
    for index, name in enumerate(stats["/if/names"]):
        row = {column.replace("-", "_"): sum(thread[index] for thread in stats[f"/if/{column}"]) for column in COLUMNS}
        for way in ("rx", "tx"):
            for part in ("packets", "bytes"):
                row[f"{way}_{part}"] = sum(thread[index][part] for thread in stats[f"/if/{way}"])
        counters[name] = row
    return counters


def _shown(weft):
    return {shown["name"]: shown for shown in weft.cli_json("show interface")["interfaces"]}


def test_the_segment_and_show_interface_say_the_same(network):
    net = network()
    _ping(net)

    def same():
        # A packet may arrive between the two looks; when traffic rests they agree.
        counters, shown = _counters(net.weft), _shown(net.weft)
        forwarded = counters["p0"]["rx_packets"] >= 5 and counters["p1"]["tx_packets"] >= 5
        return forwarded and all(counters[name][key] == row[key] for name, row in shown.items() for key in counters[name])

    poll_until(same, 20, "the segment and `show interface` agree")


def test_names_errors_and_what_nothing_matches(network):
    net = network()
    names = net.weft.reads("stats", "ls", "^/sys/(heartbeat|boottime)$").split()
    assert names == ["/sys/heartbeat", "/sys/boottime"]
    with pytest.raises(CliError) as refused:
        net.weft.reads("stats", "dump", "^/no/such")
    assert refused.value.status == 1 and "^/no/such" in refused.value.output
    net.weft.stop()
    with pytest.raises(CliError) as refused:
        net.weft.reads("stats", "dump")
    assert refused.value.status == 2 and str(net.weft.stats_socket) in refused.value.output


def test_counters_can_be_had_while_the_main_thread_hangs(network):
    net = network()
    _ping(net)
    before = _counters(net.weft)
    with frozen(net.weft.process.pid):
        assert not net.weft.main_thread_answers()
        # The workers go on, and so does whoever looks at them.
        _ping(net)
        poll_until(lambda: _counters(net.weft)["p0"]["rx_packets"] >= before["p0"]["rx_packets"] + 5, 20, "the counters go on")
        assert "/if/rx" in net.weft.reads("stats", "dump", "^/if/rx$", "--summary")
        text = net.weft.reads("top", "--once", "--interval", "0.2")
        assert text.startswith("weft ") and "\nInterfaces\n" in text and "\np0 " in text
        frame = json.loads(net.weft.reads("top", "--once", "--interval", "0.2", "--json"))
        assert frame["pid"] == net.weft.process.pid
    poll_until(net.weft.main_thread_answers, 10, "the main thread goes on")


def test_a_frame_tells_rates_nodes_and_load(network):
    net = network()
    a, b = net.sites
    flood = a.host.start("ping", "-i", 0.002, "-W", 2, b.host_ip)

    def busy():
        frame = json.loads(net.weft.reads("top", "--once", "--interval", "0.5", "--json"))
        return frame if frame["rx"]["packets_per_second"] > 20 else None

    frame = poll_until(busy, 20, "packets come in")
    flood.terminate()
    interfaces = {row["name"]: row for row in frame["interfaces"]}
    assert interfaces["p0"]["rx"]["packets_per_second"] > 0 and interfaces["p1"]["tx"]["packets_per_second"] > 0
    nodes = {row["name"]: row for row in frame["nodes"]}
    # Woven nodes are also called for vectors of which they take nothing; no other node is called without a packet.
    assert nodes[f"{b.port}-tx"]["vectors_per_call"] >= 1 and nodes[PLAIN_WAY[-1]]["clocks_per_packet"] > 0
    assert sum(row["share"] for row in nodes.values()) == pytest.approx(1)
    worker, = frame["workers"]
    assert 0 < worker["busy"] <= 1.5 and worker["clocks_per_packet"] > 0 and worker["loops_per_second"] > 0
    assert frame["version"] in net.weft.cli("show version")


def test_a_frame_tells_which_interfaces_are_up(network):
    net = network()
    b = net.sites[1]

    def state():
        frame = json.loads(net.weft.reads("top", "--once", "--interval", "0.1", "--json"))
        return {row["name"]: row["state"] for row in frame["interfaces"]}

    assert state() == {"local0": "down", "p0": "up", "p1": "up"}
    b.host.ip("link", "set", "eth0", "down")
    poll_until(lambda: state()["p1"] == "no-link", 10, "its cable is out")
    b.host.ip("link", "set", "eth0", "up")
    poll_until(lambda: state()["p1"] == "up", 10, "its cable is in again")
    net.weft.cli("set interface state p1 down")
    assert state() == {"local0": "down", "p0": "up", "p1": "down"}


def test_the_live_screen_survives_a_restart(network):
    net = network()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm")
        termios.tcsetwinsize(0, (24, 80))
        os.execv(binary("weftctl"), ["weftctl", "top", "--interval", "0.2", "--socket", str(net.weft.stats_socket)])
    try:
        # The screen is drawn once, then only what changes.
        _read_until(terminal, "sorted by activity")
        net.weft.stop()
        _read_until(terminal, "waiting for weft")
        net.weft.start()
        _read_until(terminal, "up 0")
        os.write(terminal, b"q")
        _read_until(terminal, "\x1b[?1049l")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        pid = None
    finally:
        os.close(terminal)
        if pid:
            subprocess.run(["kill", "-9", str(pid)], check=False)
            os.waitpid(pid, 0)


def _read_until(terminal, expected, seconds=20):
    text, deadline = "", time.monotonic() + seconds
    while expected not in text:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([terminal], [], [], left)[0], f"{expected!r} did not come; seen: {text!r}"
        text += os.read(terminal, 65536).decode(errors="replace")
    return text
