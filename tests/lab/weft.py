# SPDX-License-Identifier: Apache-2.0
"""The Weft daemon under test. Every word of configuration and of the command line that tests use stands in this file.

Tests speak of ports, addresses and routes; which words Weft wants for them, and where its JSON keeps a figure, is said
once, here.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .lab import LabError
from .namespace import poll_until

TREE = Path(__file__).resolve().parents[2]
START_SECONDS = 15
# WEFT_NO_WOVEN=1: all packets take the graph. No test may see that but in what nodes count.
WOVEN = not os.environ.get("WEFT_NO_WOVEN")
# The nodes that plain packets pass, from the one that the ports send to.
PLAIN_WAY = ["ethernet-input", "ip4-woven"] if WOVEN else ["ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite"]
# The last node before the port's, of plain packets of IPv6.
LAST6 = "ip6-woven" if WOVEN else "ip6-rewrite"
STOP_SECONDS = 5


def binary(name):
    path = Path(os.environ.get("WEFT_BIN_DIR", TREE / "target/ci")) / name
    if not path.exists():
        raise LabError(f"no {path}: build it with `cargo build --profile ci`, or say where it is in WEFT_BIN_DIR")
    return path


class CliError(AssertionError):
    """A command that Weft refused."""

    def __init__(self, command, status, output):
        super().__init__(f"`{command}` ended with {status}: {output.strip()}")
        self.status = status
        self.output = output


@dataclass
class Port:
    """A host interface that Weft takes over by AF_XDP, under its own name."""

    name: str
    addresses: tuple = ()
    queues: int = 1
    table: int = 0
    mtu: int = 0
    host_tap: str = ""
    filter: str = ""
    settings: str = ""

    def section(self):
        """As it stands in startup.conf."""
        lines = [f"ip table {self.table}"] if self.table else []
        lines += [f"ip address {address}" for address in self.addresses]
        lines += [f"num-rx-queues {self.queues}", "state up"]
        lines += [f"mtu {self.mtu}"] if self.mtu else []
        lines += [f"host-tap {self.host_tap}"] if self.host_tap else []
        lines += [f"filter {{ {self.filter} }}"] if self.filter else []
        lines += [self.settings] if self.settings else []
        return f"  af_xdp {self.name} {{ {' '.join(lines)} }}"

    def commands(self):
        """The same by the command line, for a daemon that runs already."""
        lines = [f"create interface af_xdp host-if {self.name} name {self.name} num-rx-queues {self.queues}"]
        lines += [f"set interface ip table {self.name} {self.table}"] if self.table else []
        lines += [address(self.name, each) for each in self.addresses]
        return [*lines, state(self.name, True)]


class Weft:
    """One daemon in one namespace. `start` it, talk to it, `stop` it; the lab stops it at the latest."""

    def __init__(self, lab, namespace, ports, workers=1, commands=(), main_core=0, first_worker_core=1, idle="adaptive",
                 flow="", more=""):
        self.lab, self.namespace = lab, namespace
        self.folder = Path(lab.folder("weft"))
        self.runtime = self.folder / "run"
        self.socket = self.runtime / "weftctl.sock"
        self.stats_socket = self.runtime / "stats.sock"
        self.log = self.folder / "log"
        self.process = None
        self.config = self.folder / "startup.conf"
        startup = self.folder / "startup.commands"
        startup.write_text("".join(f"{command}\n" for command in commands))
        last_worker_core = first_worker_core + workers - 1
        sections = "\n".join(port.section() for port in ports)
        self.config.write_text(f"""\
unix {{ nodaemon runtime-dir {self.runtime} startup-config {startup} }}
cpu {{ main-core {main_core} corelist-workers {first_worker_core}-{last_worker_core} idle {idle} }}
flow {{ {flow} }}
interfaces {{
{sections}
}}
{more}
""")

    def flows(self, match=""):
        """The flows that `show flow` lists, at most 100."""
        return self.cli_json(f"show flow {f'match {match}' if match else ''}")["flows"]

    def flow_count(self, counter):
        """A counter of the flow tracker."""
        counters = self.cli_json("show flow summary")["counters"]
        return next(each["value"] for each in counters if each["name"] == counter)

    # Life ----------------------------------------------------------------------------------------------------------

    def start(self):
        self.runtime.mkdir(exist_ok=True)
        options = [] if WOVEN else ["--no-woven"]
        self.process = self.namespace.start(binary("weft"), *options, "-c", self.config, log=self.log)
        self.lab.on_close(self._end)
        poll_until(lambda: self.process.poll() is not None or self._answers(), START_SECONDS,
                   f"weft answers on {self.socket}; its log:\n{self.log_text()}")
        if self.process.poll() is not None:
            raise AssertionError(f"weft ended with {self.process.returncode} at start:\n{self.log_text()}")
        return self

    def _answers(self):
        return self.socket.exists() and self._ctl("show version").returncode == 0

    def stop(self):
        """SIGTERM; asserts that the daemon ends in time, with status 0, and that nothing of it remains."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"weft still runs {STOP_SECONDS} s after SIGTERM:\n{self.log_text()}") from None
        took = time.monotonic() - started
        assert status == 0, f"weft ended with {status} after SIGTERM:\n{self.log_text()}"
        self.assert_nothing_left()
        return took

    def kill(self):
        """SIGKILL: the kernel alone cleans up."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def assert_nothing_left(self):
        left = self.leftovers()
        assert not left, f"left behind: {left}"

    def leftovers(self):
        """XDP programs on links, sockets and pid files of the daemon that ended, as sentences."""
        left = [f"XDP program {link['xdp']} on {name}" for name, link in self.namespace.links().items() if "xdp" in link]
        left += [f"file {path}" for path in self.runtime.rglob("*") if path.is_socket() or path.suffix == ".pid"]
        return left

    def _end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else "(no log)"

    def sleeps(self):
        """Whether no thread of the daemon runs or wants to: 20 looks, 5 ms apart, which wake nobody."""
        for _ in range(20):
            states = [task.read_text().rsplit(")", 1)[1].split()[0] for task in Path(f"/proc/{self.process.pid}/task").glob("*/stat")]
            if any(state != "S" for state in states):
                return False
            time.sleep(0.005)
        return True

    def worker(self):
        """What `show threads` says of the first worker."""
        return next(thread for thread in self.cli_json("show threads")["threads"] if thread["type"] == "workers")

    # Command line --------------------------------------------------------------------------------------------------

    def _ctl(self, *words):
        return subprocess.run([binary("weftctl"), "--socket", self.socket, *words], capture_output=True, text=True, timeout=60)

    def cli(self, command):
        """What Weft answers; raises `CliError` if it refuses."""
        done = self._ctl(command)
        if done.returncode != 0:
            raise CliError(command, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def cli_json(self, command):
        done = self._ctl("--json", command)
        if done.returncode != 0:
            raise CliError(command, done.returncode, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def reads(self, *words):
        """What `weftctl stats` or `weftctl top` prints, which asks the daemon for no command."""
        done = subprocess.run([binary("weftctl"), "--socket", self.stats_socket, *words], capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise CliError(" ".join(words), done.returncode, done.stdout + done.stderr)
        return done.stdout

    def stats(self, *patterns):
        """{name: values} of the entries of the stats segment that match."""
        return {name: entry.get("values", entry.get("value")) for name, entry in json.loads(self.reads("stats", "dump", "--json", *patterns)).items()}

    def main_thread_answers(self):
        """Whether a command is answered; waits a second for it."""
        return self._ctl("--timeout", "1", "show version").returncode == 0

    def script(self, commands):
        """Runs many commands in one session, as an operator who pipes a file into the client does."""
        text = "".join(f"{command}\n" for command in commands)
        done = subprocess.run([binary("weftctl"), "--socket", self.socket], input=text, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise CliError(f"{len(commands)} commands", done.returncode, (done.stdout + done.stderr)[-2000:])
        return done.stdout

    # Figures -------------------------------------------------------------------------------------------------------

    def interface(self, name):
        for interface in self.cli_json("show interface")["interfaces"]:
            if interface["name"] == name:
                return interface
        raise AssertionError(f"`show interface` has no {name}")

    def neighbor_entries(self):
        """Resolved neighbours: `interface`, `address`, `mac`."""
        return [n for n in self.cli_json("show ip neighbors")["neighbors"] if n["mac"]]

    def neighbors(self):
        """{address: MAC} of resolved neighbours."""
        return {n["address"]: n["mac"] for n in self.neighbor_entries()}

    def node_packets(self, node):
        """{thread: packets} that a graph node has seen."""
        threads = self.cli_json("show runtime")["threads"]
        return {t["name"]: n["vectors"] for t in threads for n in t["nodes"] if n["name"] == node}

    def errors(self):
        """{(node, reason): count} of what nodes have counted: packets that ended, and events."""
        return {(e["node"], e["reason"]): e["count"] for e in self.cli_json("show errors")["errors"]}

    def drops(self):
        """{(node, reason): count} of packets that ended."""
        found = self.cli_json("show errors")["errors"]
        return {(e["node"], e["reason"]): e["count"] for e in found if e["kind"] == "drop"}

    def buffers_used(self):
        return sum(pool["used"] for pool in self.cli_json("show buffers")["pools"])

    def route_count(self, table=0):
        return self.cli_json(f"show ip fib table {table} summary")["tables"][0]["prefixes"]

    def rx_placement(self):
        """{(interface, queue): thread}."""
        return {(p["interface"], p["queue"]): p["thread"] for p in self.cli_json("show interface rx-placement")["queues"]}


# Commands ----------------------------------------------------------------------------------------------------------


def site_port(site, **options):
    """The router's end of a site's link."""
    return Port(site.port, (site.router_address,), **options)


def delete_port(name):
    return f"delete interface af_xdp {name}"


def state(name, up):
    return f"set interface state {name} {'up' if up else 'down'}"


def address(name, prefix):
    return f"set interface ip address {name} {prefix}"


def table(number):
    return f"ip table add {number}"


def sub_interface(parent, vlan, inner=None):
    """The commands' interface is called `parent.vlan`."""
    tags = f"dot1q {vlan} inner-dot1q {inner}" if inner else f"dot1q {vlan}"
    return [f"create sub-interfaces {parent} {vlan} {tags} exact-match", state(f"{parent}.{vlan}", True)]


def route(prefix, next_hop=None, interface=None, table=0, add=True):
    words = ["ip", "route", "add" if add else "del", prefix]
    if table:
        words += ["table", str(table)]
    if next_hop:
        words += ["via", next_hop] + ([interface] if interface else [])
    return " ".join(words)


def neighbor(interface, ip, mac):
    return f"set ip neighbor static {interface} {ip} {mac}"


def placement(interface, queue, worker):
    return f"set interface rx-placement {interface} queue {queue} worker {worker}"


def pg_stream(name, limit, interface, node, size, data):
    return (f"packet-generator new {{ name {name} limit {limit} interface {interface} node {node} size {size} "
            f"data {{ {data} }} }}")


def pg_replay(name, path, interface, node):
    return f"packet-generator new {{ name {name} pcap {path} interface {interface} node {node} }}"


def pg_enable(name):
    return f"packet-generator enable-stream {name}"


def pcap_start(where, name):
    return f"pcap trace {where} max 1000 file {name}"


def pcap_stop():
    return "pcap trace off"
