# SPDX-License-Identifier: Apache-2.0
"""What tests inside of a virtual machine share: its NICs by their place, hosts, Weft, and the monitor of the hardware.

Link N is a cable between `wN`, a NIC in this namespace, for Weft, and `eth` of the host hN (a namespace), which has 10.N+1.0.2/24 and
Weft's 10.N+1.0.1 as its router.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(os.environ["WEFT_BIN_DIR"])
OUT = Path("/out")
LINKS = int(os.environ.get("VM_LINKS", "2"))
# Both ports, as most tests have them.
PORTS = "".join(f"af_xdp w{link} {{ ip address 10.{link + 1}.0.1/24 state up }}\n" for link in (0, 1))


def row(subject, words):
    """Says which row of the matrix a test is: subjects are those of docs/nics.md."""
    return pytest.mark.row(subject, words)


def log(*words):
    print(f"[{time.monotonic():8.2f}]", *words, flush=True)


def sh(line, timeout=60, check=False):
    """Runs a line; gives its output and errors together."""
    try:
        done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True, errors="replace")
        status, out = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, out = 124, (late.stdout or b"").decode(errors="replace")
    log(f"$ {line}\n{out.rstrip()}" + (f"\n(status {status})" if status else ""))
    if check and status:
        raise RuntimeError(f"{line}: {out}")
    return out


def wait(what, condition, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    log(f"waited {seconds} s in vain for {what}")
    return False


def mac(link, end):
    return f"52:54:00:00:{link:02x}:{end:02x}"


def nic(link, end):
    """The interface of that place."""
    for folder in Path("/sys/class/net").iterdir():
        try:
            if (folder / "address").read_text().strip() == mac(link, end) and (folder / "device").exists():
                return folder.name
        except OSError:
            pass
    return None


def setup():
    """Gives NICs and hosts their names and addresses."""
    for module in os.environ["VM_MODULES"].split():
        sh(f"modprobe {module}")
    places = [(link, end) for link in range(LINKS) for end in (1, 2)]
    assert wait("all NICs", lambda: all(nic(*place) for place in places), 60), sh("ip -br link")
    sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=0")
    for link in range(LINKS):
        near, far, host = nic(link, 1), nic(link, 2), f"h{link}"
        sh(f"ip link set {near} down; ip link set {near} name w{link}", check=True)
        sh(f"ip netns add {host}; ip link set {far} netns {host}; ip netns exec {host} sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
        sh(f"ip -n {host} link set {far} name eth; ip -n {host} link set eth up; ip -n {host} link set lo up", check=True)
        sh(f"ip -n {host} addr add 10.{link + 1}.0.2/24 dev eth; ip -n {host} route add default via 10.{link + 1}.0.1", check=True)


class Monitor:
    """QEMU's monitor, by a virtio port that leads back to QEMU itself."""

    def __init__(self):
        sh("modprobe virtio_console")
        assert wait("the port of the monitor", self.path)
        self.file = open(self.path(), "r+b", buffering=0)
        self.rest = b""
        self.read()
        self.call("qmp_capabilities")

    @staticmethod
    def path():
        for name in glob.glob("/sys/class/virtio-ports/*/name"):
            if Path(name).read_text().strip() == "qmp":
                return "/dev/" + name.split("/")[4]
        return None

    def read(self):
        until = time.monotonic() + 30
        while b"\n" not in self.rest:
            assert time.monotonic() < until, "the monitor answers within 30 s"
            more = self.file.read(65536)
            if not more:
                time.sleep(0.05)
            self.rest += more or b""
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)

    def call(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self.read()
            log("monitor:", answer)
            if "return" in answer or "error" in answer:
                return answer

    def unplug(self, link):
        """Takes Weft's NIC out of its slot. The guest has to let it go, which takes some 5 s (the button of PCI Express)."""
        self.call("device_del", id=f"w{link}nic")

    def plug(self, link):
        """And puts another one like it in."""
        driver, *options = os.environ["VM_MODEL"].split(",")
        options = dict(option.split("=") for option in options)
        if driver != "igb":
            options["romfile"] = ""
        options = {name: int(value) if value.isdigit() else {"on": True, "off": False}.get(value, value) for name, value in options.items()}
        done = self.call("device_add", driver=driver, id=f"w{link}nic", netdev=f"w{link}", mac=mac(link, 1), bus=f"port{2 * link + 1}", **options)
        assert "return" in done, done

    def cable(self, link, plugged):
        """Pulls the cable of Weft's NIC, or plugs it in."""
        self.call("set_link", name=f"w{link}nic", up=plugged)


class Weft:
    def __init__(self, interfaces, commands=(), cpu="main-core 0 corelist-workers 1", more=""):
        self.folder = Path(f"/run/weft{time.monotonic_ns()}")
        self.folder.mkdir()
        (self.folder / "commands").write_text("".join(f"{command}\n" for command in commands))
        (self.folder / "startup.conf").write_text(
            f"unix {{ nodaemon runtime-dir {self.folder} startup-config {self.folder}/commands }}\ncpu {{ {cpu} }}\n"
            f"interfaces {{\n{interfaces}\n}}\nlogging {{ default-log-level info }}\n{more}\n"
        )
        log("startup.conf:\n" + (self.folder / "startup.conf").read_text())
        with open(self.folder / "log", "w") as file:
            self.process = subprocess.Popen([BIN / "weft", "-c", self.folder / "startup.conf"], stdout=file, stderr=file)

    def started(self):
        """It answers."""
        wait("Weft", lambda: self.process.poll() is not None or self.answers("show version"), 60)
        assert self.process.poll() is None, self.log()
        return self

    def log(self):
        return (self.folder / "log").read_text()

    def run(self, command):
        done = subprocess.run(
            [BIN / "weftctl", "--socket", self.folder / "weftctl.sock", *command.split()],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )
        return done.returncode, done.stdout

    def answers(self, command):
        return self.run(command)[0] == 0

    def ctl(self, command):
        status, text = self.run(command)
        log(f"weft# {command}\n{text.rstrip()}")
        assert status == 0, text
        return text

    def hardware(self, name):
        status, text = self.run("show hardware-interfaces --json")
        return {each["name"]: each for each in json.loads(text)["interfaces"]}[name] if status == 0 else {}

    def is_up(self, name):
        return bool(self.hardware(name).get("link_up"))

    def cpu(self, thread, seconds=3):
        """Percent of a core that a thread takes."""

        def ticks():
            for stat in glob.glob(f"/proc/{self.process.pid}/task/*/stat"):
                text = Path(stat).read_text()
                if text[text.index("(") + 1 : text.rindex(")")] == thread:
                    fields = text[text.rindex(")") + 2 :].split()
                    return int(fields[11]) + int(fields[12])
            raise KeyError(thread)

        before, began = ticks(), time.monotonic()
        time.sleep(seconds)
        used = (ticks() - before) / (time.monotonic() - began)
        log(f"{thread}: {used:.0f} % of a core")
        return used

    def kill(self):
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it; gives its status."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        log(f"Weft has ended with {self.process.returncode}; its log:\n{self.log()}")
        return self.process.returncode


def ping(host, to, count=5, size=56, interval=0.2, more=""):
    """Answers that came."""
    text = sh(f"ip netns exec h{host} ping -n -c {count} -i {interval} -W 3 -s {size} {more} {to}", timeout=count * interval + 60)
    found = re.search(r"(\d+) received", text)
    return int(found[1]) if found else 0


def latency(host, to, count=100, interval=0.02):
    """The median round trip of small pings, in ms."""
    text = sh(f"ip netns exec h{host} ping -n -c {count} -i {interval} -W 3 {to}", timeout=count * interval + 60)
    times = sorted(float(time) for time in re.findall(r"time=([\d.]+)", text))
    assert len(times) > count / 2, f"{len(times)} of {count} pings are answered"
    return times[len(times) // 2]


def kernel():
    """Its version as numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def offload(name, feature):
    """`on`, `off`, with `[fixed]` where the driver decides."""
    return re.search(rf"^{feature}: (.*)$", sh(f"ethtool -k {name}"), re.M)[1].strip()


def passes(host, to, seconds=20):
    """Whether a ping is answered within that time."""
    return wait(f"an answer of {to}", lambda: ping(host, to, count=1) == 1, seconds)


def flush_hosts():
    """What hosts know of their neighbours, which they keep for up to 40 s after a MAC address has changed."""
    for link in range(LINKS):
        sh(f"ip -n h{link} neigh flush all")


def tcp(client, server, to, seconds=3):
    """Mbit/s that arrive."""
    listening = subprocess.Popen(f"exec ip netns exec h{server} iperf3 -s", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait("the server", lambda: ":5201" in sh(f"ip netns exec h{server} ss -ltn"), 30)
        done = subprocess.run(
            f"ip netns exec h{client} iperf3 -c {to} -t {seconds} -J --connect-timeout 5000",
            shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 60,
        )
        report = json.loads(done.stdout)
        assert "error" not in report, report["error"]
        rate = report["end"]["sum_received"]["bits_per_second"] / 1e6
        log(f"TCP h{client} > {to}: {rate:.1f} Mbit/s")
        return rate
    finally:
        listening.kill()
        listening.wait()


SENDER = """
import socket, sys, time
to, size, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((to, 9))
began = time.monotonic()
for n in range(count):
    time.sleep(max(0, began + n / rate - time.monotonic()))
    for _ in range(3):
        try:
            s.send(b"x" * size)
            break
        except OSError:
            pass  # the ICMP error of an earlier one: this one was not sent
"""


def datagrams(host):
    """UDP datagrams that a host's stack has taken, and those with wrong checksums."""
    text = subprocess.run(f"ip netns exec h{host} cat /proc/net/snmp", shell=True, stdout=subprocess.PIPE, text=True).stdout
    names, values = [line.split()[1:] for line in text.splitlines() if line.startswith("Udp:")]
    row = dict(zip(names, map(int, values)))
    return row["InDatagrams"] + row["NoPorts"] + row["RcvbufErrors"], row["InCsumErrors"]


def udp(client, server, to, size=1400, count=500, rate=500):
    """Datagrams that arrived, and those with wrong checksums, of `count`."""
    before = datagrams(server)
    subprocess.run(["ip", "netns", "exec", f"h{client}", sys.executable, "-c", SENDER, to, str(size), str(count), str(rate)])
    time.sleep(1)
    after = datagrams(server)
    found = (after[0] - before[0], after[1] - before[1])
    log(f"UDP h{client} > {to}, {count} of {size} bytes: {found[0]} arrived, {found[1]} with wrong checksums")
    return found


FLOWS = """
import socket, sys, time
to, flows, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(flows):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((f"10.{sys.argv[4]}.0.{100 + number}", 20000 + number))
    for _ in range(each):
        s.sendto(b"x" * 64, (to, 30000 + number))
        time.sleep(0.004)
"""


def udp_flows(client, server, to, flows=32, each=10):
    """Datagrams of so many flows that arrived. Receive queues are chosen by a hash, and some NICs leave ports out of it: each flow has
    a source address of its own."""
    for number in range(flows):
        subprocess.run(["ip", "-n", f"h{client}", "addr", "replace", f"10.{client + 1}.0.{100 + number}/24", "dev", "eth"], check=True)
    before = datagrams(server)[0]
    subprocess.run(["ip", "netns", "exec", f"h{client}", sys.executable, "-c", FLOWS, to, str(flows), str(each), str(client + 1)], check=True)
    time.sleep(1)
    arrived = datagrams(server)[0] - before
    log(f"UDP h{client} > {to}, {flows} flows of {each}: {arrived} arrived")
    return arrived


@contextlib.contextmanager
def inside_netns(name):
    """Sockets that are made meanwhile are in that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{name}") as other:
        assert libc.setns(other.fileno(), 0) == 0
        try:
            yield
        finally:
            assert libc.setns(own.fileno(), 0) == 0


def send_frames(host, text, count=10):
    """Sends a frame (bytes in hex) out of a host's NIC, so slowly that emulated hardware keeps up."""
    script = (
        "import socket, time\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('eth', 0))\n"
        f"for _ in range({count}):\n    s.send(bytes.fromhex('{text}'))\n    time.sleep(0.1)"
    )
    subprocess.run(["ip", "netns", "exec", f"h{host}", sys.executable, "-c", script], check=True)
