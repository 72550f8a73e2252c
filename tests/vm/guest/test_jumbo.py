# SPDX-License-Identifier: Apache-2.0
"""Frames of 9,000 bytes, or a refusal that says what would fit."""

import pytest
from inside import Weft, flush_hosts, kernel, passes, ping, row, sh, wait

BIG = "".join(f"af_xdp w{link} {{ ip address 10.{link + 1}.0.1/24 mtu 9000 state up }}\n" for link in (0, 1))


@pytest.fixture
def wide():
    for link in (0, 1):
        sh(f"ip -n h{link} link set eth mtu 9000", check=True)
    yield
    sh("ip link set w0 mtu 1500; ip link set w1 mtu 1500")
    for link in (0, 1):
        sh(f"ip -n h{link} link set eth mtu 1500")


def carries_them():
    """The NICs, between two kernels."""
    sh("ip link set w0 mtu 9000; ip addr add 10.1.0.1/24 dev w0; ip link set w0 up")
    try:
        assert passes(0, "10.1.0.1", 30)
        return ping(0, "10.1.0.1", count=3, size=8972, more="-M do") == 3
    finally:
        sh("ip addr flush dev w0; ip link set w0 mtu 1500")


@row(8, "frames of 9,000 bytes")
def test_jumbo_frames(wide, note):
    if not carries_them():
        pytest.skip("the emulated NIC loses them between two kernels, too")
    weft = Weft(BIG)
    wait("Weft", lambda: weft.process.poll() is not None or weft.answers("show version"), 60)
    if weft.process.poll() is not None:
        text = weft.log()
        assert kernel() < (6, 6), text
        # XDP_USE_SG is of Linux 6.6.
        assert "what fits one is 1770" in text, text
        assert "mtu 1500" in sh("ip link show w0"), "as it was"
        pytest.skip("refused: chains of buffers take Linux 6.6; what fits is 1,770")
    try:
        flush_hosts()
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2", 30)
        for size in (56, 1472, 3000, 8972):
            assert ping(0, "10.2.0.2", count=3, size=size, more="-M do") == 3, size
            assert ping(1, "10.1.0.2", count=3, size=size, more="-M do") == 3, size
        note(weft.hardware("w0")["mode"])
    finally:
        assert weft.stop() == 0
