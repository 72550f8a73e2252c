# SPDX-License-Identifier: Apache-2.0
"""Queues of a NIC: what comes by each arrives, when there are more workers, and when there are more queues than before."""

import re

import pytest
from inside import PORTS, flush_hosts, passes, row, sh, udp_flows, wait


@row(10, "two workers: what comes by each queue arrives")
def test_two_workers(start, note):
    weft = start(PORTS, cpu="main-core 0 corelist-workers 0,1")
    flush_hosts()
    assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
    assert passes(0, "10.2.0.2") and passes(1, "10.1.0.2")
    arrived = udp_flows(0, 1, "10.2.0.2", flows=32)
    assert arrived >= 31 * 10, arrived
    queues = weft.hardware("w0")["queues"]
    note("1 queue" if queues == 1 else f"{queues} queues")


@row(10, "more queues while Weft runs (`ethtool -L`)")
def test_more_queues(start):
    most = re.search(r"maximums:.*?Combined:\s+(\S+)", sh("ethtool -l w0"), re.S)
    if not most or most[1] in ("n/a", "0", "1"):
        pytest.skip("it has one queue")
    if "not supported" in sh("ethtool -L w0 combined 1"):
        pytest.skip("the driver takes no other number of queues")
    try:
        weft = start(PORTS)
        flush_hosts()
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2") and weft.hardware("w0")["queues"] == 1
        sh("ethtool -L w0 combined 2", check=True)
        assert wait("two queues", lambda: weft.hardware("w0")["queues"] == 2, 10)
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2")
        assert udp_flows(0, 1, "10.2.0.2", flows=32) >= 31 * 10
    finally:
        sh("ethtool -L w0 combined 2")
