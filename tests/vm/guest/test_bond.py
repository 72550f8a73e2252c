# SPDX-License-Identifier: Apache-2.0
"""A bond of one NIC, on which only the generic rung receives anything."""

from inside import passes, ping, row, sh


@row(4, "a bond takes the generic rung, and forwards")
def test_a_bond_forwards(start):
    sh("modprobe bonding max_bonds=0; ip link add bond0 type bond mode active-backup miimon 100; ip link set w0 master bond0", check=True)
    sh("ip link set bond0 address 52:54:00:00:00:01; ip link set bond0 up", check=True)
    weft = start("af_xdp bond0 { ip address 10.1.0.1/24 state up }\naf_xdp w1 { ip address 10.2.0.1/24 state up }")
    hardware = weft.hardware("bond0")
    assert hardware["mode"] == "generic copy", hardware
    assert "queue numbers of its members" in str(hardware["refused"])
    assert passes(0, "10.2.0.2", 30)
    assert ping(0, "10.2.0.2") == 5
