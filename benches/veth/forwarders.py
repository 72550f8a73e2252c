# SPDX-License-Identifier: Apache-2.0
"""What is compared. Each forwarder is started in the same namespace between the same two interfaces, forwards from the
first to the second on core 1, and is stopped again, once for every round."""

import os
from pathlib import Path

from lab import Weft, poll_until
from lab import weft as words

TREE = Path(__file__).resolve().parents[2]
FORWARDER_CORE = 1


class Bed:
    """gen:eth0 -- in:dut:out -- eth0:sink. Nobody at the sink owns the address or the MAC that traffic is sent to: its
    kernel drops each packet as soon as it looks at the MAC, the cheapest end that still counts (an XDP program, a tc
    filter or GRO there cost the forwarder more, since it is the forwarder's core that runs the receiver)."""

    SOURCE, SOURCE_ROUTER = "10.1.0.2", "10.1.0.1"
    TARGET, TARGET_ROUTER = "10.2.0.9", "10.2.0.1"
    TARGET_MAC = "02:fe:00:00:ff:09"

    def __init__(self, lab):
        self.lab = lab
        self.gen, self.dut, self.sink = (lab.namespace(role) for role in ("gen", "dut", "sink"))
        self.gen_mac, self.in_mac = lab.veth(self.gen, "eth0", self.dut, "in")
        self.out_mac, _ = lab.veth(self.dut, "out", self.sink, "eth0")


class XskRs:
    """A bare AF_XDP loop on xsk-rs: writes two MAC addresses, looks at nothing."""

    name = "xsk-rs"
    on_generators_core = False

    def __init__(self, bed, ring):
        self.bed = bed
        path = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target")) / "release/xsk-l2fwd"
        self.command = [path, "--ports", "in,out", "--cpu", FORWARDER_CORE, "--ring", ring,
                        "--mac-ab", f"{bed.TARGET_MAC},{bed.out_mac}"]

    def start(self):
        log = Path(self.bed.lab.folder("rival")) / "log"
        self.process = self.bed.dut.start(*self.command, log=log)
        poll_until(lambda: self.process.poll() is not None or "forwarding" in log.read_text(), 5, "xsk-l2fwd is ready")
        if self.process.poll() is not None:
            raise AssertionError(f"xsk-l2fwd ended:\n{log.read_text()}")
        return [self.process.pid]

    def stop(self):
        self.process.terminate()
        self.process.wait(5)


class Linux:
    """The kernel's ip_forward, moved to the forwarder's core by receive packet steering."""

    name = "linux"
    on_generators_core = False
    steer = 1 << FORWARDER_CORE

    def __init__(self, bed, _ring):
        self.bed = bed

    def start(self):
        dut = self.bed.dut
        # A veth accepts the generator's redirected frames only with XDP or GRO at the receiving end.
        dut.run("ethtool", "-K", "in", "gro", "on")
        dut.run("sh", "-c", f"printf %x {self.steer} >/sys/class/net/in/queues/rx-0/rps_cpus")
        dut.ip("addr", "add", f"{self.bed.SOURCE_ROUTER}/24", "dev", "in")
        dut.ip("addr", "add", f"{self.bed.TARGET_ROUTER}/24", "dev", "out")
        dut.ip("neigh", "replace", self.bed.TARGET, "lladdr", self.bed.TARGET_MAC, "dev", "out", "nud", "permanent")
        dut.sysctl(net__ipv4__ip_forward=1)
        return []

    def stop(self):
        dut = self.bed.dut
        dut.sysctl(net__ipv4__ip_forward=0)
        dut.ip("neigh", "del", self.bed.TARGET, "dev", "out")
        for interface in ("in", "out"):
            dut.ip("addr", "flush", "dev", interface)
        dut.run("sh", "-c", "echo 0 >/sys/class/net/in/queues/rx-0/rps_cpus")
        dut.run("ethtool", "-K", "in", "gro", "off")


class LinuxOnSendersCore(Linux):
    """The kernel's ip_forward where packets arrive, so on the generator's core: no hand-over, but the generator waits."""

    name = "linux-1core"
    on_generators_core = True
    steer = 0


class WeftForwarder:
    """Weft with one worker and one route each way; main thread on the generator's core."""

    name = "weft"
    on_generators_core = False

    def __init__(self, bed, _ring):
        self.bed = bed

    def start(self):
        bed = self.bed
        ports = [words.Port("in", (f"{bed.SOURCE_ROUTER}/24",)), words.Port("out", (f"{bed.TARGET_ROUTER}/24",))]
        self.weft = Weft(bed.lab, bed.dut, ports, commands=[words.neighbor("out", bed.TARGET, bed.TARGET_MAC)],
                         first_worker_core=FORWARDER_CORE).start()
        return [self.weft.process.pid]

    def stop(self):
        self.weft.stop()


ALL = {forwarder.name: forwarder for forwarder in (XskRs, Linux, LinuxOnSendersCore, WeftForwarder)}
