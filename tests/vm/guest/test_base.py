# SPDX-License-Identifier: Apache-2.0
"""Weft forwards between two NICs: frames of all sizes, both ways, with right checksums; and leaves the NICs as they were."""

import json
import os
import time

from inside import OUT, PORTS, log, passes, ping, row, sh, tcp, udp, wait


@row(4, "frames of all sizes, both ways, on the rung that is taken")
def test_frames_of_all_sizes_pass(start, note):
    weft = start(PORTS)
    for name in ("w0", "w1"):
        hardware = weft.hardware(name)
        log(f"RUNG {name}: {hardware['mode']}, {hardware['queues']} queues; refused: {hardware['refused']}; advice: {hardware['advice']}")
        (OUT / "rung").write_text(json.dumps({key: hardware[key] for key in ("mode", "queues", "refused", "driver")} | {"release": os.uname().release}))
        if wanted := os.environ.get("VM_RUNG"):
            assert hardware["mode"] == wanted
        if wanted := os.environ.get("VM_QUEUES"):
            assert hardware["queues"] == int(wanted)
    assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
    assert passes(0, "10.1.0.1") and passes(0, "10.2.0.2")
    assert ping(0, "10.2.0.2") == 5
    assert ping(1, "10.1.0.2") == 5
    assert ping(0, "10.2.0.2", size=1472, more="-M do") == 5
    assert ping(0, "10.2.0.2", size=4000) == 5
    for client, server, to, size in ((0, 1, "10.2.0.2", 1400), (1, 0, "10.1.0.2", 64)):
        arrived, wrong = udp(client, server, to, size=size)
        # The hardware is software here, and a burst of it may wait for longer than a queue is long.
        assert wrong == 0 and arrived >= 490
    assert tcp(0, 1, "10.2.0.2") > 1
    assert tcp(1, 0, "10.1.0.2") > 1
    time.sleep(1)
    weft.ctl("show errors")
    assert weft.cpu("weft_wk_0") < 50, "a worker without packets sleeps"
    assert weft.stop() == 0
    assert "xdp" not in sh("ip link show w0")
    note(weft_rung())


def weft_rung():
    rung = json.loads((OUT / "rung").read_text())
    return f"{rung['mode']}, {rung['queues']} {'queue' if rung['queues'] == 1 else 'queues'}"


@row(4, "each rung that is not taken says why")
def test_refused_rungs_have_a_reason(note):
    refused = json.loads((OUT / "rung").read_text())["refused"]
    assert all(": " in reason and len(reason) > 30 for reason in refused), refused
    note(" / ".join(refused) or "none is better")
