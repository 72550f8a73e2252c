# SPDX-License-Identifier: Apache-2.0
"""An idle daemon sleeps, wakes for a packet, and stays awake if told so."""

from lab import poll_until


def test_an_idle_daemon_sleeps_and_wakes_for_one_packet(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    for _ in range(3):
        # Its workers poll for a while after the last packet. One that polls on, or a main thread that does, is never
        # found asleep 20 times in a row.
        poll_until(net.weft.sleeps, 10, "all threads of the daemon sleep")
        a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)


def test_a_setting_keeps_the_worker_polling(network):
    weft = network(idle="poll").weft
    began = weft.worker()["loops"]
    poll_until(lambda: weft.worker()["loops"] > began + 100_000, 20, "turns of a worker that polls")
    assert weft.worker()["sleeps"] == 0
