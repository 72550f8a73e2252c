# SPDX-License-Identifier: Apache-2.0
"""Tells whether a round was disturbed. A second job on either core halves every figure, so a round during which another
process ran is no result: who wants to run is looked at before and after, and the time that others got in between."""

import os
import time
from pathlib import Path

PF_KTHREAD = 0x00200000  # linux/sched.h
TICK = os.sysconf("SC_CLK_TCK")

# Of one core. The kernel accounts in ticks of 10 ms, so a round of 3 s resolves a third of a percent.
FOREIGN_SHARE = 0.03


def _stat(path):
    """The fields of /proc/PID/stat after the name, and the name."""
    head, tail = path.read_text().rsplit(")", 1)
    return tail.split(), head.split("(", 1)[1]


def foreign_runnable(own):
    """Names of user processes with a runnable first thread, other than `own` and this one."""
    found = []
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) in own or int(path.name) == os.getpid():
            continue
        try:
            fields, name = _stat(path / "stat")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] == "R" and not int(fields[6]) & PF_KTHREAD:
            found.append(name)
    return found


def wait_until_quiet(seconds, calm=0.5):
    """Waits until nothing else wanted to run for `calm` seconds; returns whether that came within `seconds`."""
    deadline = time.monotonic() + seconds
    since = time.monotonic()
    while time.monotonic() < deadline:
        if foreign_runnable(set()):
            since = time.monotonic()
        elif time.monotonic() - since >= calm:
            return True
        time.sleep(0.1)
    return False


def _processes_time():
    """Seconds that all cores spent in processes: user, nice and system, without interrupts."""
    user, nice, system = Path("/proc/stat").read_text().split(None, 4)[1:4]
    return (int(user) + int(nice) + int(system)) / TICK


def _stolen_time():
    """Seconds that the hypervisor gave to others."""
    return int(Path("/proc/stat").read_text().split(None, 9)[8]) / TICK


def _time_of(pids):
    total = sum(os.times()[:2])
    for pid in pids:
        fields, _ = _stat(Path(f"/proc/{pid}/stat"))
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


class Watch:
    """Around one measurement with the processes `own`: `why_disturbed()` at its end is None, or a sentence."""

    def __init__(self, own):
        self.own = set(own)
        self.before = foreign_runnable(self.own)
        self.foreign = _processes_time() - _time_of(self.own)
        self.stolen = _stolen_time()
        self.started = time.monotonic()

    def why_disturbed(self):
        seconds = time.monotonic() - self.started
        foreign = _processes_time() - _time_of(self.own) - self.foreign
        stolen = _stolen_time() - self.stolen
        others = sorted({*self.before, *foreign_runnable(self.own)})
        if others:
            return f"also running: {', '.join(others)}"
        if foreign > FOREIGN_SHARE * seconds:
            return f"other processes ran for {foreign:.2f} s of {seconds:.1f} s"
        if stolen > FOREIGN_SHARE * seconds:
            return f"the hypervisor took {stolen:.2f} s of {seconds:.1f} s"
        return None
