# SPDX-License-Identifier: Apache-2.0
"""A rung by a rule: zero-copy on a NIC that counts buffers in KiB, where the MTU fits what it uses of one."""

from inside import PORTS, flush_hosts, passes, ping, row, sh, wait


@row(4, "zero-copy at MTU 1,000, which fits a KiB; a larger MTU is refused then")
def test_zero_copy_where_the_mtu_fits(start):
    def mtu(size):
        for link in (0, 1):
            sh(f"ip link set w{link} mtu {size}; ip -n h{link} link set eth mtu {size}", check=True)

    mtu(1000)
    try:
        weft = start(PORTS)
        assert weft.hardware("w0")["mode"] == "native zero-copy", weft.hardware("w0")
        flush_hosts()
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2", 30)
        assert ping(0, "10.2.0.2", size=972, more="-M do") == 5
        assert ping(1, "10.1.0.2", size=4000) == 5
        status, text = weft.run("set interface mtu 1100 w0")
        assert status != 0 and "expected 68 to 1002" in text and "KiB" in text, text
        assert weft.stop() == 0
    finally:
        mtu(1500)
