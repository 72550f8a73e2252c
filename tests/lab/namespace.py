# SPDX-License-Identifier: Apache-2.0
"""One network namespace: a host or a router of a test."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def poll_until(condition, seconds, what):
    """Waits until `condition()` is true and returns its value; fails with a sentence after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Namespace:
    """Runs commands and opens sockets inside one namespace. Made by `Lab.namespace`."""

    def __init__(self, name):
        self.name = name
        self._processes = []
        self._net_dev = None

    # Commands ---------------------------------------------------------------------------------------------------

    def _inside(self, words):
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def run(self, *words, timeout=20, check=True, stdin=None):
        """Runs a command to its end and returns the `CompletedProcess` with text output."""
        done = subprocess.run(self._inside(words), capture_output=True, text=True, timeout=timeout, input=stdin)
        if check and done.returncode != 0:
            raise AssertionError(
                f"`{' '.join(map(str, words))}` in {self.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def output(self, *words, **options):
        return self.run(*words, **options).stdout

    def start(self, *words, log=None, cpu=None):
        """Starts a command that goes on beside the test; `Lab` ends it at the latest."""
        sink = open(log, "wb") if log else subprocess.PIPE
        inside = self._inside(words)
        if cpu is not None:
            inside = ["taskset", "-c", str(cpu), *inside]
        try:
            process = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, text=True)
        finally:
            if log:
                sink.close()
        self._processes.append(process)
        return process

    def processes(self):
        """Numbers of all processes that live in this namespace."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def end_processes(self):
        """Ends every process in this namespace, first kindly. Bounded."""
        for sign, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            for pid in self.processes():
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                for process in self._processes:
                    process.poll()
                if not self.processes():
                    break
                time.sleep(0.02)
        for process in self._processes:
            if process.stdout:
                process.stdout.close()
        if self._net_dev:
            self._net_dev.close()

    # Interfaces and addresses ------------------------------------------------------------------------------------

    def ip(self, *words, **options):
        """`ip WORDS` in this namespace."""
        done = subprocess.run(["ip", "-n", self.name, *map(str, words)], capture_output=True, text=True, timeout=20)
        if options.get("check", True) and done.returncode != 0:
            raise AssertionError(f"`ip {' '.join(map(str, words))}` in {self.name}: {done.stderr.strip()}")
        return done.stdout

    def sysctl(self, **settings):
        """`ns.sysctl(net__ipv4__ip_forward=1)`: a double underscore stands for a dot."""
        self.run("sysctl", "-qw", *(f"{key.replace('__', '.')}={value}" for key, value in settings.items()))

    def links(self):
        """`ip -d link` of this namespace as {name: attributes}."""
        return {link["ifname"]: link for link in json.loads(self.ip("-d", "-j", "link", "show"))}

    def counters(self, interface):
        """Packets, bytes, errors and drops of an interface, `rx_packets` and so on. Starts no process."""
        if self._net_dev is None:
            # The file stays bound to the namespace of the thread that opens it.
            self._net_dev = self._in_thread(lambda: open("/proc/thread-self/net/dev"))
        self._net_dev.seek(0)
        for line in self._net_dev.read().splitlines()[2:]:
            name, figures = line.split(":")
            if name.strip() == interface:
                values = [int(figure) for figure in figures.split()]
                names = ("bytes", "packets", "errors", "dropped")
                return {f"rx_{n}": v for n, v in zip(names, values)} | {f"tx_{n}": v for n, v in zip(names, values[8:])}
        raise AssertionError(f"no interface {interface} in {self.name}")

    # Sockets -----------------------------------------------------------------------------------------------------

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket of this namespace for use in the test's own process."""
        return self._in_thread(lambda: socket.socket(family, kind, protocol))

    def enter(self):
        """Takes the calling thread into this namespace, for good, and what it starts from now on."""
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
        finally:
            os.close(fd)

    def _in_thread(self, work):
        """`work()` with this namespace entered. A namespace is a property of the thread, so a thread of its own cannot
        leave the caller astray."""
        result = []

        def enter_and_work():
            try:
                self.enter()
                result.append(work())
            except OSError as error:
                result.append(error)

        thread = threading.Thread(target=enter_and_work)
        thread.start()
        thread.join()
        if isinstance(result[0], OSError):
            raise result[0]
        return result[0]
