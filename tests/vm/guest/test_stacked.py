# SPDX-License-Identifier: Apache-2.0
"""Weft on what the kernel has put on a NIC: a VLAN device of its own, a port of a bridge."""

from inside import flush_hosts, passes, ping, row, sh, tcp, wait


@row(7, "a VLAN device of the kernel: GRO below is said, and TCP is whole without it")
def test_a_vlan_device_of_the_kernel(start, note):
    sh("modprobe 8021q; ip link add link w0 name w0.7 type vlan id 7; ip link set w0 up; ip link set w0.7 up", check=True)
    sh("ip -n h0 link add link eth name eth.7 type vlan id 7; ip -n h0 link set eth.7 up; ip -n h0 addr flush dev eth", check=True)
    sh("ip -n h0 addr add 10.1.0.2/24 dev eth.7; ip -n h0 route add default via 10.1.0.1", check=True)
    try:
        weft = start("af_xdp w0.7 { ip address 10.1.0.1/24 state up }\naf_xdp w1 { ip address 10.2.0.1/24 state up }")
        flush_hosts()
        assert passes(0, "10.2.0.2", 30)
        assert any("ethtool -K w0 gro off" in advice for advice in weft.hardware("w0.7")["advice"]), weft.hardware("w0.7")
        merged = tcp(0, 1, "10.2.0.2")
        sh("ethtool -K w0 gro off", check=True)
        alone = tcp(0, 1, "10.2.0.2")
        assert wait("no advice", lambda: not any("gro off" in advice for advice in weft.hardware("w0.7")["advice"]), 5)
        assert alone > 2 * merged
        note(f"{merged:.1f} Mbit/s with GRO, {alone:.1f} without")
        assert weft.stop() == 0
    finally:
        sh("ethtool -K w0 gro on; ip link del w0.7; ip -n h0 link del eth.7; ip -n h0 addr add 10.1.0.2/24 dev eth")
        sh("ip -n h0 route add default via 10.1.0.1")


@row(7, "a port of a bridge of the kernel is warned of")
def test_a_port_of_a_bridge(start):
    sh("modprobe bridge; ip link add br0 type bridge; ip link set w0 master br0; ip link set br0 up", check=True)
    try:
        weft = start("af_xdp w0 { ip address 10.1.0.1/24 state up }")
        assert any("port of the bridge br0, which gets no frame any more" in advice for advice in weft.hardware("w0")["advice"])
        assert "port of the bridge br0" in weft.log()
        assert passes(0, "10.1.0.1", 30)
        assert ping(0, "10.1.0.1", count=3) == 3
    finally:
        sh("ip link del br0")
