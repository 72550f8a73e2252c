# SPDX-License-Identifier: Apache-2.0
"""Measures the daemon itself: what `show runtime` says while its packet generator replays recorded packets.

Nothing is made for the measurement: the daemon that is shipped, its command line, its nodes. Packets are as many different
ones as a case says, in an order of their own, so that tables and flows are as cold as that makes them. A row is the sum of all
nodes but the generator, or one node of a case whose features are of interest, in clocks of the time stamp counter per packet.

With --against, another build (a commit, or a folder with `weft`, `weftctl` and the plugins) runs the same packets in the same
minutes: daemons of both wait side by side, and each case is measured in turn, A B B A. Rivals, where there are some, take
turns with them. A row has min / median / max of the rounds; of two builds also the ratio of the least values, and the median
of the ratios of neighbouring rounds. Other jobs make single rounds dear, never cheap: the least values are what counts.
"""

import argparse
import csv
import datetime
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "benches"))

import traffic  # noqa: E402
from against import build_other  # noqa: E402

RECORD = TREE / "benches/record/daemon.csv"
COLUMNS = ["date", "commit", "cpu", "kernel", "load", "rounds", "case", "row", "build", "min", "median", "max", "ratio_least",
           "ratio_median"]
NAMES = ["weft", "weftctl", "libweft_plugin_acl.so", "libweft_plugin_policer.so"]
PACKAGES = ["weft", "weftctl", "weft-plugin-acl", "weft-plugin-policer"]
# Of the generator and of the loop; all else is what a packet costs.
NOT_COUNTED = {"pg-input", "unix-epoll-input"}
START_SECONDS = 20
NEXT_HOPS = 16


class Bed:
    """A configuration of the daemon, of which several cases are measured."""

    def __init__(self, title, routes=1, features=(), protocol=traffic.UDP, answered=True):
        self.title, self.features, self.protocol, self.answered = title, features, protocol, answered
        self.routes = routes

    def has_flows(self):
        return "flow" in self.features or "acl" in self.features

    def nodes(self):
        """Nodes that have rows of their own."""
        shown = []
        if self.has_flows():
            shown.append("flow-track")
        if {"sessions", "rules", "acl"} & set(self.features):
            shown.append("ip4-classify")
        if "policer" in self.features:
            shown.append("policer-input")
        return shown


BEDS = [
    Bed("1 route"),
    Bed("1,000 routes", routes=1000),
    Bed("600,000 routes", routes=600_000),
    Bed("flows, UDP", features=("flow",)),
    Bed("flows, UDP one way", features=("flow",), answered=False),
    Bed("flows, TCP", features=("flow",), protocol=traffic.TCP),
    Bed("sessions", features=("sessions",)),
    Bed("1,000 rules", features=("rules",)),
    Bed("acl reflexive, UDP", features=("acl",)),
    Bed("acl reflexive, TCP", features=("acl",), protocol=traffic.TCP),
    Bed("3 features", features=("urpf", "flow", "sessions")),
    Bed("3 features, 600,000 routes", routes=600_000, features=("urpf", "flow", "sessions")),
    Bed("flows, sessions, policer", features=("flow", "sessions", "policer")),
]
PACKETS = [1, 10_000, 100_000, 1_000_000]
# What a run without --all measures: bed, distinct packets, vector, mix of sizes.
CHOSEN = {
    "1 route": [(1, 256, False), (1, 32, False), (10_000, 256, False), (10_000, 256, True), (1_000_000, 256, False)],
    "1,000 routes": [(10_000, 256, False), (10_000, 32, False), (100_000, 256, True), (1_000_000, 256, False)],
    "600,000 routes": [(100_000, 256, False), (1_000_000, 256, False), (1_000_000, 32, False)],
    "flows, UDP": [(1, 256, False), (100_000, 256, False), (100_000, 32, False), (1_000_000, 256, False)],
    "flows, UDP one way": [(100_000, 256, False)],
    "flows, TCP": [(1, 256, False), (100_000, 256, False), (1_000_000, 256, False)],
    "sessions": [(10_000, 256, False), (10_000, 32, False)],
    "1,000 rules": [(10_000, 256, False)],
    "acl reflexive, UDP": [(100_000, 256, False), (100_000, 32, False)],
    "acl reflexive, TCP": [(100_000, 256, False)],
    "3 features": [(10_000, 256, False), (100_000, 256, False), (100_000, 256, True)],
    "3 features, 600,000 routes": [(100_000, 256, False)],
    "flows, sessions, policer": [(100_000, 256, False)],
}
# What one rule set may hold here, and what is sent through it.
MOST_SESSIONS = 10_000
# Of a command file.
MOST_LINES = 200_000


class Case:
    def __init__(self, bed, packets, vector, mixed):
        self.bed, self.packets, self.vector, self.mixed = bed, packets, vector, mixed
        size = "IMIX" if mixed else "64 bytes"
        self.name = f"{bed.title}, {packets:,} packets, {size}, vectors of {vector}"


def cases(everything):
    for bed in BEDS:
        chosen = itertools.product(PACKETS, (256, 32), (False, True)) if everything else CHOSEN[bed.title]
        for packets, vector, mixed in chosen:
            # A million long packets are 350 MB for each daemon.
            if not (mixed and packets > 100_000):
                yield Case(bed, packets, vector, mixed)


class Store:
    """Files that cases need, made once and kept."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = {}

    def flows(self, count, routes, protocol):
        key = count, routes, protocol
        if key not in self.kept:
            self.kept[key] = traffic.Flows(count, traffic.prefixes(routes), protocol)
        return self.kept[key]

    def pcap(self, case, answers=False, order=None):
        bed = case.bed
        sizes = traffic.IMIX if case.mixed and not answers and order is None else [traffic.SHORT]
        words = [f"r{bed.routes}", f"p{bed.protocol}", f"n{case.packets}", "mix" if len(sizes) > 1 else "64"]
        words += ["answers"] if answers else []
        words += [f"order{order}"] if order is not None else []
        path = self.folder / ("-".join(words) + ".pcap")
        if not path.exists():
            flows = self.flows(case.packets, bed.routes, bed.protocol)
            traffic.write_pcap(path, flows, sizes, answers, order)
        return path

    def routes(self, bed):
        """Command files: one may have 16 MiB."""
        first = self.folder / f"routes-{bed.routes}-0.cli"
        if not first.exists():
            lines = [f"ip route add {traffic.dotted(address)}/{length} via 10.0.1.{2 + number % NEXT_HOPS} pg1\n"
                     for number, (address, length) in enumerate(traffic.prefixes(bed.routes))]
            # The first one last: it says that all are there.
            for number in reversed(range(0, len(lines), MOST_LINES)):
                first.with_name(f"routes-{bed.routes}-{number // MOST_LINES}.cli").write_text("".join(lines[number:number + MOST_LINES]))
        return sorted(self.folder.glob(f"routes-{bed.routes}-*.cli"))

    def rules(self, bed, kind):
        path = self.folder / f"{kind}-r{bed.routes}-p{bed.protocol}.rules"
        if not path.exists():
            flows = self.flows(MOST_SESSIONS, bed.routes, bed.protocol)
            path.write_text(traffic.session_rules(flows) if kind == "sessions" else traffic.prefix_rules(1000, flows))
        return path


class Build:
    """Programs of one commit."""

    def __init__(self, name, folder, commit):
        self.name, self.folder, self.commit = name, folder, commit
        for needed in NAMES:
            if not (folder / needed).exists():
                sys.exit(f"daemon: {folder} has no {needed}: expected {', '.join(NAMES)} of one build")


class Refused(Exception):
    """The daemon does not take a command."""


class Daemon:
    """A running weft of one build, set up for a bed."""

    def __init__(self, build, bed, store, options, flows):
        self.build, self.bed, self.store = build, bed, store
        self.folder = tempfile.TemporaryDirectory(prefix="weft-bench-")
        run = Path(self.folder.name)
        plugins = run / "plugins"
        plugins.mkdir()
        for name in {"acl", "policer"} & set(bed.features):
            (plugins / f"{name}.so").symlink_to(build.folder / f"libweft_plugin_{name}.so")
        config = run / "startup.conf"
        realtime = f" scheduler-policy fifo scheduler-priority {options.priority}" if options.priority else ""
        config.write_text(
            f"unix {{ nodaemon runtime-dir {run / 'run'} }}\n"
            f"cpu {{ main-core {options.main_core} corelist-workers {options.core}{realtime} }}\n"
            f"flow {{ flows {flows} new-flow-rate 1000000000 new-flow-burst 1000000000 udp-new 86400 udp-established 86400 tcp-new 86400 }}\n"
            f"plugins {{ path {plugins} }}\n" + options.more)
        (run / "run").mkdir()
        self.socket = run / "run/weftctl.sock"
        self.log = (run / "log").open("wb+")
        words = ["--no-woven"] if options.no_woven and build.name == "after" else []
        self.process = subprocess.Popen([build.folder / "weft", *words, "-c", config], stdout=self.log, stderr=self.log)
        try:
            self._wait()
            self.load_seconds = self._set_up()
        except BaseException:
            self.stop()
            raise

    def _wait(self):
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up and self.process.poll() is None:
            if self.socket.exists() and self._ctl("show version").returncode == 0:
                return
            time.sleep(0.02)
        self.log.seek(0)
        sys.exit(f"daemon: weft of {self.build.commit} does not start:\n{self.log.read().decode(errors='replace')}")

    def _ctl(self, *words):
        command = [self.build.folder / "weftctl", "--socket", self.socket, "--timeout", "120", *words]
        return subprocess.run(command, capture_output=True, text=True)

    def cli(self, command, *options):
        done = self._ctl(*options, command)
        if done.returncode:
            raise Refused(f"weft of {self.build.commit} refuses '{command}': {done.stdout}{done.stderr}")
        return done.stdout

    def _set_up(self):
        for number, mac in enumerate(traffic.MACS):
            self.cli(f"create packet-generator interface pg{number} hw-addr {traffic.mac_text(mac)}")
            self.cli(f"set interface state pg{number} up")
            self.cli(f"set interface ip address pg{number} 10.0.{number}.1/24")
        peer = traffic.mac_text(traffic.PEER)
        self.cli(f"set ip neighbor static pg0 10.0.0.2 {peer}")
        for number in range(NEXT_HOPS):
            self.cli(f"set ip neighbor static pg1 10.0.1.{2 + number} {peer}")
        self.cli("ip route add 100.64.0.0/10 via 10.0.0.2 pg0")
        files = self.store.routes(self.bed)
        started, worked = time.monotonic(), self._main_thread_seconds()
        for path in files:
            self.cli(f"exec {path}")
        took = time.monotonic() - started, self._main_thread_seconds() - worked
        for feature in self.bed.features:
            self._enable(feature)
        return took

    def _main_thread_seconds(self):
        """Processor time of the main thread, which other jobs do not lengthen."""
        stat = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat").read_text()
        return sum(int(field) for field in stat.rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")

    def _enable(self, feature):
        if feature == "flow":
            self.cli("flow enable pg0")
            self.cli("flow enable pg1")
        elif feature in ("sessions", "rules"):
            path = self.store.rules(self.bed, feature)
            self.cli("classify rule add edge id 1 priority 1 action pass")
            self.cli(f"classify replace-set edge file {path}")
            self.cli("classify attach edge interface pg0 input")
        elif feature == "urpf":
            self.cli("set urpf ip4 rx strict pg0")
        elif feature == "acl":
            self.cli("set acl-plugin acl permit+reflect src 100.64.0.0/10 tag in")
            self.cli("set acl-plugin interface pg0 input acl in")
            self.cli("set acl-plugin acl deny tag out")
            self.cli("set acl-plugin interface pg1 input acl out")
        elif feature == "policer":
            self.cli("policer add name all rate kbps cir 400000000 cb 1000000000 conform-action transmit exceed-action transmit "
                     "violate-action transmit")
            self.cli("policer input name all pg0")

    def run_once(self, pcap, port):
        """Sends each packet of a file once, and waits until all have passed."""
        name = f"once{port}"
        self.cli(f"packet-generator new {{ name {name} source pg{port} pcap {pcap} }}")
        self.cli(f"packet-generator enable-stream {name}")
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            streams = json.loads(self.cli("show packet-generator", "--json"))["streams"]
            if not any(stream["name"] == name and stream["enabled"] for stream in streams):
                break
            time.sleep(0.01)
        else:
            sys.exit(f"daemon: {pcap} is not through after two minutes")
        self.cli(f"packet-generator delete {name}")

    def prepare(self, case):
        """Loads the packets of a case; its flows begin in an order that is not the one in which they are replayed."""
        if self.bed.has_flows():
            self.cli("clear flow")
            self._until_flows(0)
            self.run_once(self.store.pcap(case, order=6), 0)
            if self.bed.answered:
                self.run_once(self.store.pcap(case, answers=True, order=7), 1)
            self._until_flows(case.packets)
        self.cli(f"packet-generator new {{ name replay limit 1e15 maxframe {case.vector} source pg0 pcap {self.store.pcap(case)} }}")

    def _until_flows(self, wanted):
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            counters = json.loads(self.cli("show flow summary", "--json"))["counters"]
            found = next(each["value"] for each in counters if each["name"] == "active")
            if found == wanted:
                return
            time.sleep(0.02)
        sys.exit(f"daemon: {found} flows in weft of {self.build.commit}, expected {wanted}")

    def finish(self):
        self.cli("packet-generator delete replay")

    def measure(self, seconds, warm_up):
        """Clocks per packet of each node, and of all together."""
        self.cli("packet-generator enable-stream replay")
        time.sleep(warm_up)
        self.cli("clear runtime")
        time.sleep(seconds)
        runtime = json.loads(self.cli("show runtime", "--json"))
        self.cli("packet-generator disable-stream replay")
        nodes = {node["name"]: node for node in runtime["threads"][0]["nodes"]}
        packets = nodes["pg-input"]["vectors"]
        sent = sum(node["vectors"] for name, node in nodes.items() if name == "pg1-tx")
        # A vector may be under way while the figures are read.
        if not packets or abs(packets - sent) > 2048:
            sys.exit(f"daemon: of {packets} packets {sent} were sent: {', '.join(nodes)}")
        costs = {name: node["clocks"] / packets for name, node in nodes.items() if name not in NOT_COUNTED}
        return {"sum": sum(costs.values()), **costs}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()


class Rival:
    """A program of benches/rivals/dpdk that takes turns with the daemons."""

    def __init__(self, name, words, core, ready):
        self.name = name
        self.process = subprocess.Popen(["taskset", "-c", str(core), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if ready and not self.process.stdout.readline().startswith("ready"):
            sys.exit(f"daemon: the rival {words[0]} does not start")

    def round(self, order):
        self.process.stdin.write(order)
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()


def rival_of(case, options, store):
    """What DPDK has for the node of a case, and how a round of it is asked for."""
    bed = case.bed
    if options.rivals is None or case.mixed or case.vector != 256:
        return None
    if bed.has_flows() and len(bed.features) == 1 and case.packets >= 10_000 and bed.protocol == traffic.UDP:
        words = [options.rivals / "flows", str(case.packets)]
        return Rival("rte_hash, bulk lookup alone", words, options.core, False), "hit 1000000\n"
    if bed.features == ("sessions",) and case.packets == MOST_SESSIONS:
        path = store.folder / f"rival-sessions-r{bed.routes}"
        path.write_text(traffic.rival_sessions(store.flows(MOST_SESSIONS, bed.routes, bed.protocol)))
        return Rival("rte_hash, bulk lookup alone", [options.rivals / "rules", "hash", path], options.core, True), "round\n"
    return None


def measure_bed(bed, wanted, builds, store, options, report):
    flows = max((case.packets for case in wanted), default=1) if bed.has_flows() else 1 << 18
    daemons = []
    try:
        for build in builds:
            try:
                daemons.append(Daemon(build, bed, store, options, max(flows, 1 << 18)))
            except Refused as error:
                # An older build may lack a word, or not combine what this one does.
                print(f"\n== {bed.title}: {build.name} is left out: {error}", flush=True)
        if not daemons:
            return
        if bed.routes > 1000:
            for daemon in daemons:
                report.load(bed, daemon)
        for case in wanted:
            for daemon in daemons:
                daemon.prepare(case)
            rival = rival_of(case, options, store)
            figures = {daemon.build.name: [] for daemon in daemons}
            theirs = []
            try:
                for number in range(options.rounds):
                    for daemon in daemons if number % 2 == 0 else daemons[::-1]:
                        figures[daemon.build.name].append(daemon.measure(options.seconds, options.warm_up))
                    if rival:
                        theirs.append(rival[0].round(rival[1]))
            finally:
                if rival:
                    rival[0].stop()
            for daemon in daemons:
                daemon.finish()
            report.case(case, figures, rival and rival[0].name, theirs)
    finally:
        for daemon in daemons:
            daemon.stop()


class Report:
    def __init__(self, builds, options):
        self.builds, self.options, self.rows = builds, options, []
        names = "".join(f"{f'{build.name} {build.commit}':>26}" for build in builds)
        ratio = "   ratio of least, median" if len(builds) > 1 else ""
        print(f"\nclocks per packet, min / median / max of {options.rounds} rounds\n{'':34}{names}{ratio}", flush=True)

    def load(self, bed, daemon):
        took, worked = daemon.load_seconds
        for row, seconds in (("seconds", took), ("seconds of the main thread", worked)):
            self.rows.append([f"{bed.title}, by a command file", row, daemon.build.name, f"{seconds:.2f}", "", "", "", ""])
        print(f"\n== {bed.title} by a command file, {daemon.build.name}: {took:.2f} s, of which the main thread worked {worked:.2f} s",
              flush=True)

    def case(self, case, figures, rival, theirs):
        print(f"\n== {case.name}")
        shown = ["sum", *case.bed.nodes()]
        if self.options.nodes:
            shown = ["sum", *sorted({name for rounds in figures.values() for each in rounds for name in each} - {"sum"})]
        for row in shown:
            values = {name: [each.get(row, 0.0) for each in rounds] for name, rounds in figures.items()}
            cells, ratio = [], ["", ""]
            for name in values:
                cells.append(spread(values[name]))
            if len(values) > 1:
                before, after = values.values()
                if min(before) > 0:
                    ratio = [f"{min(after) / min(before):.3f}", f"{statistics.median(a / b for a, b in zip(after, before) if b):.3f}"]
            text = "".join(f"{' / '.join(cell):>26}" for cell in cells)
            print(f"  {row:<32}{text}   {ratio[0]:>8} {ratio[1]:>8}")
            for name, cell in zip(values, cells):
                self.rows.append([case.name, row, name, *cell, *(ratio if name == "after" else ["", ""])])
        if theirs:
            cell = spread(theirs)
            ours = [each.get(case.bed.nodes()[0], 0.0) for each in figures.get("after", [])] or [0.0]
            ratio = f"{min(ours) / min(theirs):.3f}"
            print(f"  {rival:<32}{' / '.join(cell):>26}   {case.bed.nodes()[0]} / rival: {ratio}")
            self.rows.append([case.name, rival, "rival", *cell, ratio, ""])
        sys.stdout.flush()

    def record(self):
        new = not RECORD.exists()
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
        load = f"{os.getloadavg()[0]:.1f}"
        commits = {build.name: build.commit for build in self.builds} | {"rival": "-"}
        with RECORD.open("a", newline="") as file:
            out = csv.writer(file)
            if new:
                out.writerow(COLUMNS)
            for case, row, build, *rest in self.rows:
                out.writerow([datetime.date.today().isoformat(), commits[build], cpu, platform.release(), load,
                              self.options.rounds, case, row, build, *rest])
        print(f"recorded in {RECORD.relative_to(TREE)}")


def spread(values):
    return [f"{value:.1f}" for value in (min(values), statistics.median(values), max(values))]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench daemon", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rivals", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--against", metavar="COMMIT|FOLDER", help="another build to run the same packets in the same minutes")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT",
                        help="cases whose name contains this; several are possible, and =NAME is one case")
    parser.add_argument("--all", action="store_true", help="every case that there is, in place of the chosen ones")
    parser.add_argument("--list", action="store_true", help="say which cases there are, and end")
    parser.add_argument("--rounds", type=int, default=5, help="of each case and build (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a round (default: 0.2)")
    parser.add_argument("--warm-up", type=float, default=0.1, help="time before it (default: 0.1)")
    parser.add_argument("--nodes", action="store_true", help="a row for each node")
    parser.add_argument("--no-woven", action="store_true", help="have this build send all packets through the graph")
    parser.add_argument("--core", type=int, default=1, help="core of the worker (default: 1)")
    parser.add_argument("--main-core", type=int, default=0, help="core of the main thread (default: 0)")
    parser.add_argument("--priority", type=int, default=50,
                        help="of the worker, under SCHED_FIFO, as others of these benchmarks run; 0: none (default: 50)")
    parser.add_argument("--more", default="", metavar="SECTIONS", help="more of startup.conf, such as 'buffers { ... }'")
    parser.add_argument("--record", action="store_true", help=f"append the rows to {RECORD.relative_to(TREE)}")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: expected 1 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the daemons end
    wanted = [case for case in cases(options.all)
              if not options.only or any(case.name == text[1:] if text.startswith("=") else text in case.name for text in options.only)]
    if options.list:
        print("\n".join(case.name for case in wanted))
        return
    if not wanted:
        parser.error(f"--only {' '.join(options.only)}: no case is called that; --list names them")
    head = subprocess.run(["git", "-C", TREE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    builds = [Build("after", options.bin, head)]
    if options.against:
        folder, commit = build_other(options.against, PACKAGES)
        builds.insert(0, Build("before", folder, commit))
    store = Store(options.files)
    report = Report(builds, options)
    for bed, group in itertools.groupby(wanted, lambda case: case.bed):
        measure_bed(bed, list(group), builds, store, options, report)
    if options.record:
        report.record()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
