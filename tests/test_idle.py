# SPDX-License-Identifier: Apache-2.0
"""An idle daemon sleeps, wakes quickly, and stays awake if told so."""

import re
import time

import pytest


def _share_of_a_core(weft, seconds):
    used, started = weft.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (weft.cpu_seconds() - used) / (time.monotonic() - started)


@pytest.mark.slow
def test_an_idle_daemon_uses_less_than_two_percent_of_a_core(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    time.sleep(1)  # the workers poll for a while after the last packet
    assert _share_of_a_core(net.weft, 5) < 0.02


def test_a_sleeping_worker_wakes_for_one_packet(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    text = a.host.output("ping", "-c", 10, "-i", 0.25, "-W", 2, b.host_ip)
    assert "10 received" in text
    average = float(re.search(r"= [\d.]+/([\d.]+)/", text).group(1))
    assert average < 10, f"average round trip {average} ms"


def test_a_setting_keeps_the_worker_polling(network):
    assert _share_of_a_core(network(idle="poll").weft, 1) > 0.5
