# SPDX-License-Identifier: Apache-2.0
"""One run of a guest: a command in it, as root, in the machine's own file system below a layer in memory.

Each link is a cable with two NICs: one for Weft (MAC address 52:54:00:00:<link>:01), one for the host at its other end (:02).
The guest finds /out, a folder of ours, for results, and a virtio port named `qmp`, which leads back to QEMU's own monitor: a test
inside pulls its own cables. Nothing on the machine changes, except while links are TAPs (see `Guest.taps`): these and their
bridges live in a network namespace that goes at the end.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# What a run ends with that the command did not.
NO_END, NO_GUEST = 98, 99
# A guest must be up by then: some nested KVMs never boot a stock kernel, and one boot of many by software hangs.
PATIENCE = {"kvm": 25, "tcg": 120}


@dataclass
class Guest:
    """A machine."""

    kernel: str
    # Models of NICs, one per link, with options of QEMU: "igb", "virtio-net-pci,mq=on,vectors=10". "A:B" gives the host another one.
    links: list = field(default_factory=list)
    # Links are bridges with TAPs on this machine, of so many queues, in place of hubs in QEMU, which have one queue and no virtio header.
    taps: int = 0
    cpus: int = 2
    memory: int = 2048
    # Two nodes: the NICs of even links on node 0, the others on node 1.
    numa: bool = False
    accel: str = "tcg"
    devices: list = field(default_factory=list)


class Lab:
    """What `fetch` has made."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def qemu(self):
        return self.folder / "qemu/usr/bin/qemu-system-x86_64"

    def environment(self):
        tree = self.folder / "qemu"
        libraries = [tree / "usr/lib/x86_64-linux-gnu", tree / "lib/x86_64-linux-gnu"]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "QEMU_MODULE_DIR": str(libraries[0] / "qemu"),
        }

    def command(self, guest, out):
        kernel, share = self.folder / "kernels" / guest.kernel, self.folder / "qemu/usr/share"
        words = [str(self.qemu())]
        for firmware in (share / "qemu", share / "seabios", self.folder / "qemu/usr/lib/ipxe/qemu"):
            words += ["-L", str(firmware)]
        modules = (kernel / "modules").read_text()
        return words + [
            *("-machine", "q35", "-smp", str(guest.cpus), "-m", str(guest.memory)),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", f"file:{out}/console"),
            *("-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initrd")),
            *("-append", f"console=ttyS0 quiet panic=-1 net.ifnames=0 modules={modules}"),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
            *("-fsdev", f"local,id=out,path={out},security_model=none", "-device", "virtio-9p-pci,fsdev=out,mount_tag=out"),
            # QEMU is the client of its own monitor.
            *("-chardev", f"socket,id=monitor,path={out}/qmp.sock,server=on,wait=off", "-mon", "chardev=monitor,mode=control"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=loop,path={out}/qmp.sock"),
            *("-device", "virtserialport,chardev=loop,name=qmp", "-device", "virtio-rng-pci"),
        ]

    def run(self, guest, command, out, timeout=300, say=print):
        """Runs a shell command in a guest, and gives its exit status, or NO_END or NO_GUEST. `out` is what the guest sees as /out."""
        out = Path(out).resolve()
        out.mkdir(parents=True, exist_ok=True)
        (out / "cmd").write_text(command + "\n")
        # A path of a socket has 108 bytes at most.
        short = Path(tempfile.mkdtemp(prefix="weft-vm-"))
        (short / "out").symlink_to(out)
        namespace = Namespace() if guest.taps else None
        try:
            words = (namespace.enter if namespace else []) + self.command(guest, short / "out")
            words += numa(guest) + cables(guest, namespace)
            for device in guest.devices:
                words += shlex.split(device)
            # Multi-threaded TCG dies now and then while the firmware maps PCI (an assertion in QEMU): a second try is enough.
            for accel in {"tcg": ["tcg", "tcg"], "kvm": ["kvm"], "auto": ["kvm", "tcg", "tcg"]}[guest.accel]:
                if accel == "kvm" and not os.access("/dev/kvm", os.W_OK):
                    continue
                status = self.attempt(words + ACCEL[accel], out, timeout, PATIENCE[accel], say)
                if status is not None:
                    return status
                say(f"with {accel} no guest came up")
            return NO_GUEST
        finally:
            if namespace:
                namespace.remove()
            shutil.rmtree(short)

    def attempt(self, words, out, timeout, patience, say):
        """The status of the command; None if the guest never came up."""
        console = out / "console"
        for left in ("console", "status", "output", "qmp.sock"):
            (out / left).unlink(missing_ok=True)

        def up():
            return console.exists() and b"vm: up" in console.read_bytes()

        began = time.monotonic()
        with open(out / "qemu", "w") as log:
            print(shlex.join(words), file=log, flush=True)
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment())
            try:
                while process.poll() is None:
                    took = time.monotonic() - began
                    if took > patience and not up():
                        return None
                    if took > timeout:
                        say(f"no end within {timeout} s: see {console}")
                        return NO_END
                    time.sleep(0.2)
            finally:
                process.kill()
                process.wait()
        if (out / "status").exists():
            return int((out / "status").read_text())
        if up():
            say(f"the guest ended without a status: see {console} and {out / 'qemu'}")
            return NO_GUEST
        return None


# arch-capabilities: a nested KVM that cannot set this MSR ends QEMU.
ACCEL = {
    "kvm": ["-accel", "kvm", "-cpu", "host,arch-capabilities=off"],
    "tcg": ["-accel", "tcg,thread=multi", "-cpu", "max"],
}


# A bridge keeps frames to 01:80:c2:00:00:0X unless bit X is set.
LLDP = "0x4000"


def numa(guest):
    words = []
    for node in (0, 1) if guest.numa else ():
        half, cpus = guest.memory // 2, guest.cpus // 2
        words += ["-object", f"memory-backend-ram,id=m{node},size={half}M"]
        words += ["-numa", f"node,nodeid={node},cpus={node * cpus}-{(node + 1) * cpus - 1},memdev=m{node}"]
        words += ["-device", f"pxb-pcie,id=pxb{node},bus_nr={64 + 64 * node},numa_node={node},bus=pcie.0"]
    return words


class Namespace:
    """A network namespace for bridges and TAPs."""

    def __init__(self):
        self.name = f"weft-vm-{os.getpid()}"
        self.enter = ["ip", "netns", "exec", self.name]
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run([*self.enter, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"], check=True)

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


def cables(guest, namespace):
    """The words of QEMU for all links."""
    words, slot = [], 0
    for link, spec in enumerate(guest.links):
        near, _, far = spec.partition(":")
        if namespace:
            namespace.ip("link", "add", f"b{link}", "type", "bridge", "mcast_snooping", "0", "group_fwd_mask", LLDP)
            namespace.ip("link", "set", f"b{link}", "up")
        for end, model in ((1, near), (2, far or near)):
            slot += 1
            name = f"{'w' if end == 1 else 'h'}{link}"
            model, *options = model.split(",")
            backend = f"hubport,id={name},hubid={link + 1}"
            if namespace:
                many = guest.taps > 1
                namespace.ip("tuntap", "add", name, "mode", "tap", "vnet_hdr", *(["multi_queue"] if many else []))
                namespace.ip("link", "set", name, "mtu", "9100", "master", f"b{link}", "up")
                backend = f"tap,id={name},ifname={name},script=no,downscript=no" + (f",queues={guest.taps}" if many else "")
            bus = f",bus=pxb{link % 2}" if guest.numa else ""
            # igb has no option for its boot code.
            options += [] if model == "igb" else ["romfile="]
            mac = f"52:54:00:00:{link:02x}:{end:02x}"
            words += ["-netdev", backend, "-device", f"pcie-root-port,id=port{slot},chassis={slot},slot={slot}{bus}"]
            words += ["-device", ",".join([model, f"id={name}nic", f"netdev={name}", f"mac={mac}", f"bus=port{slot}", *options])]
    return words
