# SPDX-License-Identifier: Apache-2.0
"""Makes the namespaces and links of one test, and removes them whatever happens."""

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile

from .namespace import Namespace

# Every name carries the number of the process that made it, so that `scripts/cleanup` can tell a killed run from one
# that still goes on, and two runs never meet.
PREFIX = "weft-lab-"
TEMP_PREFIX = "weft-lab-"

_serial = itertools.count()


class LabError(Exception):
    """The network could not be made; not a failure of what is tested."""


class Lab:
    def __init__(self):
        self._id = f"{os.getpid()}-{next(_serial)}"
        self._namespaces = []
        self._folders = []
        self._closers = []
        self._mac = itertools.count(1)

    def __enter__(self):
        # Also covers an interpreter that ends without unwinding this block.
        atexit.register(self.close)
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        atexit.unregister(self.close)
        for closer in reversed(self._closers):
            closer()
        self._closers.clear()
        for namespace in self._namespaces:
            namespace.end_processes()
        for namespace in self._namespaces:
            _ip("netns", "del", namespace.name, check=False)
        self._namespaces.clear()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()

    def on_close(self, closer):
        """Calls `closer()` when the lab ends, before anything is removed."""
        self._closers.append(closer)

    def namespace(self, role):
        """A new, empty namespace whose name ends in `role`."""
        name = f"{PREFIX}{self._id}-{role}"
        _ip("netns", "add", name)
        namespace = Namespace(name)
        self._namespaces.append(namespace)
        # Without IPv6 no router solicitation, neighbour discovery or multicast report disturbs a count.
        namespace.sysctl(net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        namespace.ip("link", "set", "lo", "up")
        return namespace

    def veth(self, left, left_name, right, right_name, queues=1, mtu=1500):
        """A veth pair between two namespaces, both ends up; returns the two MAC addresses.

        Transmit offloads are off at both ends: the sender's kernel would leave checksums and segmentation to hardware
        that is not there, and whoever reads the frame by AF_XDP sees it unfinished.
        """
        left_mac, right_mac = self.mac(), self.mac()
        pair = ("numtxqueues", queues, "numrxqueues", queues)
        left.ip("link", "add", left_name, "address", left_mac, *pair, "type", "veth",
                "peer", "name", right_name, "address", right_mac, *pair, "netns", right.name)
        for namespace, name in ((left, left_name), (right, right_name)):
            namespace.run("ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off")
            if queues > 1:
                namespace.run("ethtool", "-L", name, "rx", queues, "tx", queues)
            namespace.ip("link", "set", name, "mtu", mtu, "up")
        return left_mac, right_mac

    def mac(self):
        """A locally administered unicast address that no other interface of this lab has."""
        number = next(self._mac)
        return f"02:fe:00:00:{number >> 8:02x}:{number & 255:02x}"

    def folder(self, role="tmp"):
        """A temporary folder that goes with the lab."""
        path = tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{self._id}-{role}-")
        self._folders.append(path)
        return path


def _ip(*words, check=True):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
    if check and done.returncode != 0:
        raise LabError(f"`ip {' '.join(words)}` failed: {done.stderr.strip()} (the lab needs root and iproute2)")
