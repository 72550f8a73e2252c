# SPDX-License-Identifier: Apache-2.0
"""Weft against the kernel's own forwarding, in the same guest and in turns: what TCP gets, and how long a small ping takes.

The NICs are software here, and their emulation takes most of the time; so it is a ratio, and that of a machine on which interrupts and
register accesses cost more than they do anywhere else. The kernel forwards what GRO has merged in one go, by TSO where the NIC has it; without both
it forwards frame by frame, as Weft does.
"""

import pytest
from inside import PORTS, Weft, flush_hosts, latency, log, passes, row, sh, tcp, wait

TURNS = 2


@pytest.fixture(scope="module")
def measured():
    """{`weft`, `kernel`, or `frames` (the kernel without GRO and TSO): [(Mbit/s, ms)]}."""
    found = {"kernel": [], "frames": [], "weft": []}
    for _ in range(TURNS):
        sh("ip addr add 10.1.0.1/24 dev w0; ip addr add 10.2.0.1/24 dev w1; ip link set w0 up; ip link set w1 up; sysctl -qw net.ipv4.ip_forward=1")
        flush_hosts()
        assert passes(0, "10.2.0.2", 40)
        found["kernel"].append((tcp(0, 1, "10.2.0.2", seconds=4), latency(0, "10.2.0.2")))
        sh("for i in w0 w1; do ethtool -K $i gro off tso off gso off; done")
        found["frames"].append((tcp(0, 1, "10.2.0.2", seconds=4), latency(0, "10.2.0.2")))
        sh("for i in w0 w1; do ethtool -K $i gro on tso on gso on; done")
        sh("sysctl -qw net.ipv4.ip_forward=0; ip addr flush dev w0; ip addr flush dev w1")
        weft = Weft(PORTS).started()
        flush_hosts()
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2", 40)
        found["weft"].append((tcp(0, 1, "10.2.0.2", seconds=4), latency(0, "10.2.0.2")))
        weft.ctl("show errors")
        assert weft.stop() == 0
    log(f"SPEED {found}")
    return found


@row(11, "TCP, as a share of ip_forward in the same guest")
def test_tcp_is_near_that_of_the_kernel(measured, note):
    kernel, weft = (max(rate for rate, _ in measured[of]) for of in ("kernel", "weft"))
    note(f"{weft / kernel:.2f} ({weft:.0f} of {kernel:.0f} Mbit/s)")
    assert weft >= 0.9 * kernel, f"{weft / kernel:.2f} ({weft:.0f} of {kernel:.0f} Mbit/s)"


@row(11, "TCP, as a share of ip_forward without GRO and TSO")
def test_tcp_is_near_that_of_the_kernel_frame_by_frame(measured, note):
    kernel, weft = (max(rate for rate, _ in measured[of]) for of in ("frames", "weft"))
    note(f"{weft / kernel:.2f} ({weft:.0f} of {kernel:.0f} Mbit/s)")
    assert weft >= 0.9 * kernel, f"{weft / kernel:.2f} ({weft:.0f} of {kernel:.0f} Mbit/s)"


@row(11, "a small ping, as a multiple of ip_forward's")
def test_small_pings_are_near_those_of_the_kernel(measured, note):
    kernel, weft = (min(time for _, time in measured[of]) for of in ("kernel", "weft"))
    note(f"{weft / kernel:.2f} ({weft:.1f} and {kernel:.1f} ms)")
    assert weft <= 1.3 * kernel, f"{weft / kernel:.2f} ({weft:.1f} and {kernel:.1f} ms)"
