# SPDX-License-Identifier: Apache-2.0
"""The first file system of a guest: it mounts the machine's own root by 9p, read-only, below a layer of its own in memory.

It holds busybox, the modules on the way to that mount in the order of loading, and /init. What else a guest needs it loads
from the mounted root. The command is /out/cmd, on a second mount that can be written; its exit status goes to /out/status.
"""

import gzip

WANTED = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
die() { echo "vm: $1"; echo 97 >/out/status 2>/dev/null; sync; poweroff -f; }
for m in $(cat /mod/list); do insmod /mod/$m || die "insmod $m failed"; done
opts=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $opts,rw out /out || die "no share for results"
mount -t 9p -o $opts,ro,cache=loose host /lower || die "no root"
mount -t tmpfs -o size=60% rw /rw; mkdir /rw/u /rw/w
mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w ov /root || die "no overlay"
cd /root
mount -t proc proc proc; mount -t sysfs sys sys; mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm lib/modules/$(uname -r) out
mount -t devpts pts dev/pts; mount -t tmpfs shm dev/shm; mount -t tmpfs tmp run; mkdir -p run/netns run/lock
mount -t bpf bpf sys/fs/bpf; mount -t cgroup2 cg sys/fs/cgroup; mount -t tracefs t sys/kernel/tracing; mount -t debugfs d sys/kernel/debug
modules=$(word modules); [ -z "$modules" ] || mount --bind .$modules lib/modules/$(uname -r)
mount --move /out out
echo "vm: up after $(cut -d' ' -f1 /proc/uptime) s"
chroot . /bin/bash -c 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
ip link set lo up; hostname weft-vm; cd /out; bash /out/cmd >/out/output 2>&1; echo $? >/out/status; sync'
echo "vm: done after $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
"""


def make(modules, busybox, read):
    """The archive for a kernel with these modules (a folder lib/modules/VERSION); `read` gives a module's bytes."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[name(path)] = (path, [name(other) for other in others.split()])
    order = []

    def add(module):
        # One that is not listed is built in.
        if module in needs:
            for other in reversed(needs[module][1]):
                add(other)
            if module not in order:
                order.append(module)

    for module in WANTED:
        add(module)
    archive = Archive()
    for folder in "bin dev lower mod out proc root rw sys".split():
        archive.add(folder, 0o040755, b"")
    archive.add("bin/busybox", 0o100755, busybox.read_bytes())
    archive.add("init", 0o100755, INIT.encode())
    for module in order:
        archive.add(f"mod/{module}.ko", 0o100644, read(modules / needs[module][0]))
    archive.add("mod/list", 0o100644, "".join(f"{module}.ko\n" for module in order).encode())
    return gzip.compress(archive.end(), 1)


def name(path):
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


class Archive:
    """The archive format that the kernel unpacks ("newc", Documentation/driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self):
        self.data, self.inode = bytearray(), 0

    def add(self, name, mode, content):
        self.inode += 1
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        self.data += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self.pad()
        self.data += content
        self.pad()

    def pad(self):
        self.data += bytes(-len(self.data) % 4)

    def end(self):
        self.add("TRAILER!!!", 0, b"")
        return bytes(self.data)
