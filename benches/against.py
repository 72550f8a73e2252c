# SPDX-License-Identifier: Apache-2.0
"""Measures this tree beside another commit of it: is anything slower than before?

Both are built with the release profile and run in turn, A B B A A B ..., so that a machine which becomes slower or faster
disturbs both alike. A row is a figure that `weft-bench` prints (clocks per packet of a node in a case) or the rate between two
veths. Of each row the table has the least value of either side (what the code costs when nobody disturbs it), the ratio of
these, and the median of the ratios of neighbouring runs. A ratio above 1 means that this tree is slower.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
RECORD = TREE / "benches/record/against.csv"
IN_MEMORY = ["graph", "flow", "classify", "acl"]
FIGURE = re.compile(r"^\s*(\S.*?)\s+(\d+\.\d) /\s+(\d+\.\d) /\s+(\d+\.\d)")


def run(command, **options):
    """Runs a command that must succeed; returns what it printed."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, **options)
    if done.returncode:
        sys.exit(f"against: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def commit_of(tree):
    return run(["git", "-C", tree, "rev-parse", "--short", "HEAD"]).strip()


class Side:
    """A built tree."""

    def __init__(self, name, tree, target):
        self.name = name
        self.tree = tree
        self.target = target
        self.commit = commit_of(tree)
        self.binaries = target / "release"

    def build(self, packages):
        command = ["cargo", "build", "--quiet", "--release", "--locked"]
        for package in packages:
            command += ["-p", package]
        run(command, cwd=self.tree, env={**os.environ, "CARGO_TARGET_DIR": str(self.target)})

    def figures(self, what, options):
        """The figures of one run, by row."""
        if what == "veth":
            return self.rate(options)
        command = [self.binaries / "weft-bench", what, "--rounds", "1", "--core", str(options.core)]
        return dict(parse(what, run(command)))

    def rate(self, options):
        """Nanoseconds per packet from veth to veth, so that more is slower, as with clocks."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [sys.executable, self.tree / "benches/veth/bench.py", "--only", "weft", "--rounds", "1"]
            command += ["--seconds", str(options.seconds), "--json", file.name]
            run(command, env={**os.environ, "WEFT_BIN_DIR": str(self.binaries)})
            rates = json.load(open(file.name))["weft"]
        return {"veth: ns per packet": 1000 / statistics.median(rates)}


def parse(what, text):
    """The rows of a report of `weft-bench`: `label  min / median / max`, below `== case` where there are cases."""
    case = ""
    for line in text.splitlines():
        if line.startswith("== "):
            case = line[3:] + ": "
        elif match := FIGURE.match(line):
            # The rival and the sink of the bed are not ours.
            if match[1] not in ("bare loop", "sink"):
                yield f"{what}: {case}{match[1]}", float(match[3])


def target_folder():
    """Where this tree is built."""
    return Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target"))


def side_of(commit):
    """Another commit, checked out below this tree's target folder and not built yet."""
    other = target_folder() / "against"
    tree = other / "tree"
    run(["git", "-C", TREE, "worktree", "prune"])
    if not tree.exists():
        run(["git", "-C", TREE, "worktree", "add", "--quiet", "--detach", tree, commit])
    run(["git", "-C", tree, "checkout", "--quiet", "--detach", commit])
    return Side("before", tree, other)


def build_other(what, packages):
    """A folder with the programs of another build, and its commit: a commit is built, a folder taken as it is."""
    if Path(what).is_dir():
        return Path(what), Path(what).name
    side = side_of(what)
    print(f"against: building {side.commit}", flush=True)
    side.build(packages)
    return side.binaries, side.commit


def sides(options):
    """This tree and the other, built."""
    both = [side_of(options.commit), Side("after", TREE, target_folder())]
    packages = ["weft-bench"] if options.what != ["veth"] else []
    if "veth" in options.what:
        packages += ["weft", "weftctl"]
    for side in both:
        print(f"against: building {side.name} ({side.commit})", flush=True)
        side.build(packages)
    return both


def measure(before, after, options):
    """Per row the pairs of values that were measured one after the other."""
    pairs = {}
    for what in options.what:
        for number in range(options.pairs):
            order = [before, after] if number % 2 == 0 else [after, before]
            found = {side.name: side.figures(what, options) for side in order}
            as_it_goes(found["before"]), as_it_goes(found["after"])
            for row in found["before"].keys() & found["after"].keys():
                pairs.setdefault(row, []).append((found["before"][row], found["after"][row]))
            print(f"against: {what}, pair {number + 1} of {options.pairs}", flush=True)
        if not any(row.startswith(f"{what}: ") for row in pairs):
            sys.exit(f"against: '{what}' printed no figure that both commits have")
    return pairs


def as_it_goes(figures):
    """Adds what a packet costs on the way that the daemon has it take: by the woven node where the commit has one, else by the graph."""
    for row in [row for row in figures if row.endswith(": sum")]:
        case = row.removesuffix(": sum")
        figures[f"{case}: as it goes"] = figures.get(f"{case}: woven", figures[row])


def report(pairs, before, after):
    """Prints the table; returns its rows."""
    width = max(map(len, pairs))
    print(f"\n{'':{width}}  {before.commit:>9} {after.commit:>9}   ratio of least   median ratio")
    rows = []
    for row in sorted(pairs, key=lambda row: (IN_MEMORY + ["veth"]).index(row.split(":")[0])):
        values = pairs[row]
        least = min(pair[0] for pair in values), min(pair[1] for pair in values)
        # A node that costs less than the clock resolves has no ratio.
        ratio = least[1] / least[0] if least[0] else float("nan")
        median = statistics.median(pair[1] / pair[0] for pair in values if pair[0]) if least[0] else float("nan")
        print(f"{row:{width}}  {least[0]:9.1f} {least[1]:9.1f}   {ratio:14.3f} {median:14.3f}")
        rows.append([row, least[0], least[1], f"{ratio:.3f}", f"{median:.3f}"])
    return rows


def record(rows, before, after, options):
    new = not RECORD.exists()
    with RECORD.open("a", newline="") as file:
        out = csv.writer(file)
        if new:
            out.writerow(["date", "before", "after", "cpu", "kernel", "pairs", "row", "before_least", "after_least",
                          "ratio_least", "ratio_median"])
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
        for row in rows:
            out.writerow([datetime.date.today().isoformat(), before.commit, after.commit, cpu, platform.release(),
                          options.pairs, *row])
    print(f"recorded in {RECORD.relative_to(TREE)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the commit to measure this tree against, as git names it")
    parser.add_argument("what", nargs="*", metavar="benchmark", help=f"{', '.join(IN_MEMORY)}, veth (default: all)")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side (default: 7)")
    parser.add_argument("--seconds", type=float, default=2, help="length of a run between veths (default: 2)")
    parser.add_argument("--core", type=int, default=1, help="core of the benchmarks in memory (default: 1)")
    parser.add_argument("--record", action="store_true", help=f"append the table to {RECORD.relative_to(TREE)}")
    options = parser.parse_args()
    options.what = options.what or [*IN_MEMORY, "veth"]
    unknown = [what for what in options.what if what not in [*IN_MEMORY, "veth"]]
    if unknown:
        parser.error(f"unknown benchmark '{unknown[0]}': expected {', '.join(IN_MEMORY)} or veth")
    if options.pairs < 1:
        parser.error(f"--pairs {options.pairs}: expected 1 or more")
    before, after = sides(options)
    rows = report(measure(before, after, options), before, after)
    if options.record:
        record(rows, before, after, options)


if __name__ == "__main__":
    main()
