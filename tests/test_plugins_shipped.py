# SPDX-License-Identifier: Apache-2.0
"""The plugins that ship come, are replaced and go while packets flow, and leave nothing behind."""

import os
import re
import time
from pathlib import Path

import pytest

from lab import poll_until
from lab.pg import PgBed
from lab.plugins import PluginFolder

# How often a plugin is loaded, reloaded and unloaded; 1000 before a release.
ROUNDS = int(os.environ.get("WEFT_PLUGIN_ROUNDS", 30))
# What puts each of them in the way of the packets that come in by `inner` and leave by `outer`.
USE = {
    "policer": ["policer add name wide cir 400000000 cb 1000000000", "policer input name wide {inner}",
                "policer output name wide {outer}"],
    "classify": ["classify add rule {inner} src {a} dst {b} pass"],
    "ping": ["ping {own} repeat 2 interval 0.01 timeout 5"],
    "acl": ["set acl-plugin acl permit+reflect proto udp, permit tag wide", "set acl-plugin interface {inner} input acl wide"],
}
# Packets a second of a generator; the worker takes as many as it can.
RATE = 1_000_000


def _resident(weft):
    """Kilobytes."""
    status = Path(f"/proc/{weft.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def _settings(lab):
    """All that ship are there, none is loaded."""
    folder = PluginFolder(lab, "acl", "policer", "ping").compile("plugins/classify/classify.c")
    return folder.settings.replace("}", "plugin default { disable } }")


def _come_and_go(weft, name, **words):
    commands = [command.format(**words) for command in USE[name]]
    for round_ in range(ROUNDS):
        weft.cli(f"plugin load {name}")
        for command in commands:
            weft.cli(command)
        weft.cli(f"plugin reload {name}")
        weft.cli(f"plugin unload {name}")
        if round_ == ROUNDS // 4:
            # What is allocated once has been allocated.
            before = _resident(weft)
    assert _resident(weft) < before + 1024
    assert "memfd:weft-plugin" not in Path(f"/proc/{weft.process.pid}/maps").read_text()


@pytest.mark.parametrize("name", USE)
def test_it_comes_and_goes_under_traffic(network, lab, name):
    net = network(more=_settings(lab), workers=2, first_worker_core=0)
    (a, b), weft = net.sites, net.weft
    a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    used = weft.buffers_used()
    traffic = a.host.start("ping", "-i", 0.002, "-q", b.host_ip)
    _come_and_go(weft, name, a=a.host_ip, b=b.host_ip, own=b.router_ip, inner="p0", outer="p1")
    traffic.send_signal(2)
    said = traffic.communicate(timeout=10)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
    # The last one may be on its way.
    assert sent > ROUNDS and received >= sent - 1, said
    poll_until(lambda: weft.buffers_used() == used, 10, "all buffers are back")


@pytest.mark.parametrize("name", USE)
def test_a_generator_at_full_speed_loses_no_packet(lab, name):
    bed = PgBed(lab, more=_settings(lab))
    (inner, outer), weft = bed.interfaces, bed.weft
    used = weft.buffers_used()
    addresses = f"{inner.remote_ip} -> {outer.remote_ip}"
    weft.cli(f"packet-generator new {{ name flood limit 0 rate {RATE} source {inner.name} node ethernet-input size 64-64 data {{ "
             f"IP4: {inner.remote_mac} -> {inner.local_mac} UDP: {addresses} UDP: 1234 -> 4321 incrementing 22 }} }}")
    weft.cli("packet-generator enable-stream flood")
    began = time.monotonic()
    _come_and_go(weft, name, a=inner.remote_ip, b=outer.remote_ip, own=outer.local_ip, inner=inner.name, outer=outer.name)
    weft.cli("packet-generator disable-stream flood")

    def left():
        (stream,) = weft.cli_json("show packet-generator")["streams"]
        return stream["count"], weft.interface(outer.name)["tx_packets"]

    poll_until(lambda: left()[0] == left()[1] > 0, 10, "all that were generated have left")
    poll_until(lambda: weft.buffers_used() == used, 10, "all buffers are back")
    print(f"{name}: {left()[0]} packets in {time.monotonic() - began:.1f} s")
    bed.close()
