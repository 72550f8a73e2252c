# SPDX-License-Identifier: Apache-2.0
"""The plugins that ship come, are replaced and go while packets flow, and leave nothing behind."""

import os
import re
from pathlib import Path

import pytest

from lab import poll_until
from lab.plugins import PluginFolder

# How often a plugin is loaded, reloaded and unloaded; 1000 before a release.
ROUNDS = int(os.environ.get("WEFT_PLUGIN_ROUNDS", 30))
# What puts each of them in the way of the packets from p0.
USE = {
    "policer": ["policer add name wide cir 400000000 cb 1000000000", "policer input name wide p0",
                "policer output name wide p1"],
    "classify": ["classify add rule p0 src {a} dst {b} pass"],
    "ping": ["ping {b} repeat 2 interval 0.01 timeout 5"],
}


def _resident(weft):
    """Kilobytes."""
    status = Path(f"/proc/{weft.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.parametrize("name", USE)
def test_it_comes_and_goes_under_traffic(network, lab, name):
    folder = PluginFolder(lab, "policer", "ping").compile("plugins/classify/classify.c")
    settings = folder.settings.replace("}", "plugin default { disable } }")
    net = network(more=settings, workers=2, first_worker_core=0)
    (a, b), weft = net.sites, net.weft
    a.host.output("ping", "-c", 2, "-i", 0.05, "-W", 2, b.host_ip)
    used = weft.buffers_used()
    traffic = a.host.start("ping", "-i", 0.002, "-q", b.host_ip)
    commands = [command.format(a=a.host_ip, b=b.host_ip) for command in USE[name]]
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
    traffic.send_signal(2)
    said = traffic.communicate(timeout=10)[0]
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
    # The last one may be on its way.
    assert sent > ROUNDS and received >= sent - 1, said
    poll_until(lambda: weft.buffers_used() == used, 10, "all buffers are back")
    assert "memfd:weft-plugin" not in Path(f"/proc/{weft.process.pid}/maps").read_text()
