# SPDX-License-Identifier: Apache-2.0
"""What happens to a NIC while Weft runs: traffic passes soon after the link does, and nobody spins meanwhile."""

import subprocess
import time

import pytest
from inside import PORTS, flush_hosts, nic, passes, ping, row, sh, wait


@pytest.fixture
def weft(start):
    weft = start(PORTS)
    assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
    flush_hosts()
    assert passes(0, "10.2.0.2")
    return weft


@row(5, "a cable that is pulled while frames are sent, and plugged in")
def test_a_cable_that_is_pulled_while_frames_are_sent_costs_no_cpu(weft, monitor):
    pinging = subprocess.Popen("exec ip netns exec h1 ping -n -i 0.05 10.1.0.2", shell=True, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        monitor.cable(0, False)
        assert wait("no link", lambda: not weft.is_up("w0"))
    finally:
        pinging.kill()
        pinging.wait()
    time.sleep(2)
    assert weft.cpu("weft_wk_0") < 50
    monitor.cable(0, True)
    assert wait("link", lambda: weft.is_up("w0"))
    assert passes(0, "10.2.0.2")


@row(5, "`ip link set down`, `up`")
def test_down_and_up(weft):
    sh("ip link set w0 down")
    assert wait("no link", lambda: not weft.is_up("w0"))
    time.sleep(2)
    sh("ip link set w0 up")
    assert wait("link", lambda: weft.is_up("w0"), 30)
    assert passes(0, "10.2.0.2")


@row(5, "another name, and the old one again")
def test_a_rename(weft):
    sh("ip link set w0 down; ip link set w0 name q0; ip link set q0 up", check=True)
    try:
        assert passes(0, "10.2.0.2", 30)
    finally:
        sh("ip link set q0 down; ip link set q0 name w0; ip link set w0 up")
    assert passes(0, "10.2.0.2", 30)


@row(5, "the driver unbound and bound")
def test_the_driver_is_bound_again(weft):
    device = sh("basename $(readlink -f /sys/class/net/w0/device)", check=True).strip()
    driver = sh("readlink -f /sys/class/net/w0/device/driver", check=True).strip()
    sh(f"echo {device} > {driver}/unbind", check=True)
    assert wait("no link", lambda: not weft.is_up("w0"))
    sh(f"echo {device} > {driver}/bind", check=True)
    assert wait("the NIC", lambda: nic(0, 1))
    sh(f"ip link set {nic(0, 1)} name w0", check=True)
    flush_hosts()
    assert passes(0, "10.2.0.2", 30)
    assert ping(0, "10.2.0.2") == 5


@row(5, "the NIC pulled out of its slot, and another one put in")
def test_the_nic_is_pulled_and_plugged(weft, monitor):
    monitor.unplug(0)
    assert wait("no NIC", lambda: not nic(0, 1), 30)
    assert wait("no link", lambda: not weft.is_up("w0"))
    assert ping(1, "10.2.0.1", count=3) == 3, "the other port goes on"
    assert weft.cpu("weft_wk_0") < 50
    monitor.plug(0)
    assert wait("the NIC", lambda: nic(0, 1), 30)
    sh(f"ip link set {nic(0, 1)} name w0", check=True)
    flush_hosts()
    assert passes(0, "10.2.0.2", 30)


@row(5, "another MAC address in the kernel")
def test_a_mac_address_that_the_kernel_is_given(weft):
    sh("ip link set w0 address 02:00:00:00:00:77", check=True)
    try:
        assert wait("the address", lambda: "02:00:00:00:00:77" in weft.run("show interface w0 --json")[1] or "02:00:00:00:00:77" in weft.run("show hardware-interfaces")[1])
        assert passes(0, "10.2.0.2", 10), "without a flush: hosts are told"
    finally:
        sh("ip link set w0 address 52:54:00:00:00:01")
    assert passes(0, "10.2.0.2", 10)
