# SPDX-License-Identifier: Apache-2.0
"""Instructions per packet of the hot nodes, counted by callgrind: does the code itself do more than at the last record?

Clocks depend on the machine and on who shares it, instructions do not: the same compiler and the same packets give the same
count to less than a tenth of a percent. `weft-bench` runs its cases under callgrind, which counts what happens in the nodes
(below `Node::process`) and nowhere else. What a node costs in clocks is measured by the other benchmarks.

The record, benches/record/instructions.csv, has a row for each node, commit by commit. --check compares with the last row
of each node and fails if one takes more than 3 % more, or is gone. Another compiler makes other instructions, and on another
processor the C library copies memory by others: rows of those are printed, but not compared, and that is said.

Time stands still for the dataplane meanwhile, or what ages with it would be counted one time and not another.
"""

import argparse
import csv
import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
RECORD = TREE / "benches/record/instructions.csv"
COLUMNS = ["date", "commit", "rustc", "cpu", "row", "instructions"]
# More than this is a failure.
BOUND = 1.03
# Of a case.
PACKETS = 131_072
# Of cases with a hash table, of which the least counts: its keys are drawn by lot, and few lots let many flows share a bucket.
RUNS = 5
# Title, what weft-bench runs, and packets in a vector of it.
CASES = [
    ("IPv4", ["graph", "--only", "=1 route, 16,384 buffers"], 256),
    ("IPv4, 10 % odd", ["graph", "--only", "=1 route, 10 % odd"], 256),
    ("IPv6", ["graph", "--only", "=IPv6, 1 route, vectors of 32"], 32),
    ("hit, UDP", ["flow", "--flows", "256", "--only", "=hit among 256 flows, UDP"], 256),
    ("hit, TCP", ["flow", "--flows", "256", "--only", "=hit among 256 flows, TCP"], 256),
    ("hit, UDP over IPv6", ["flow", "--flows", "256", "--only", "=hit among 256 flows, UDP over IPv6"], 256),
    ("admitted, UDP and TCP", ["acl", "--flows", "256"], 256),
    ("sessions", ["classify", "--only", "=sessions 10000"], 256),
    ("1,000 rules", ["classify", "--only", "=acl 1000"], 256),
    ("1,000 rules of IPv6", ["classify", "--only", "=ip6 acl 1000"], 256),
]
# Source and sink are the bed's, and what is dropped comes in vectors of any size.
NODE = re.compile(r"<(?!weft_bench|weft_engine)(?:\w+::)*(\w+)(?:<.*>)? as weft_engine::node::Node>::process")


def run(command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode:
        sys.exit(f"instructions: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def inclusive(path):
    """Instructions in and below each `process`, and how often it was called, by its type, from a file of callgrind."""
    names, total, calls = {}, {}, {}

    def name(field):
        number, _, text = field.partition(" ")
        if text:
            names[number] = text
        return names[number]

    function = called = ""
    for line in path.open():
        if line.startswith("fn="):
            function = name(line[3:].strip())
        elif line.startswith("cfn="):
            called = name(line[4:].strip())
        elif line.startswith("calls="):
            if match := NODE.search(called):
                calls[match[1]] = calls.get(match[1], 0) + int(line[6:].split()[0])
        elif line[:1].isdigit() or line[:1] in "+-*":
            cost = int(line.split()[1])
            if match := NODE.search(function):
                total[match[1]] = total.get(match[1], 0) + cost
    return {node: (cost, calls[node]) for node, cost in total.items()}


def measure(bench, case, core):
    title, arguments, vector = case
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        run(["valgrind", "--tool=callgrind", "--toggle-collect=*Node>::process*", f"--callgrind-out-file={out}",
             bench, *arguments, "--still", "--rounds", "1", "--packets", str(PACKETS), "--core", str(core)])
        rows = {f"{title}: {node}": round(cost / calls / vector, 1) for node, (cost, calls) in inclusive(out).items()}
    return rows


def last_record():
    """The last row of each node."""
    if not RECORD.exists():
        return {}
    return {row["row"]: row for row in csv.DictReader(RECORD.open())}


def made_on(row):
    return row["rustc"], row["cpu"]


def compiler():
    return run(["rustc", "--version"]).split()[1]


def processor():
    fields = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M))
    return " ".join(fields.get(name, "?") for name in ("vendor_id", "cpu family", "model"))


def compare(rows, record, machine):
    """Prints the table; returns what is worse than the record."""
    worse = []
    width = max(map(len, rows | record))
    print(f"{'instructions per packet':{width}}  {'record':>8} {'now':>8}   ratio")
    for row in sorted(rows | record):
        was = float(record[row]["instructions"]) if row in record else None
        now = rows.get(row)
        ratio = now / was if now and was else None
        print(f"{row:{width}}  {was or '-':>8} {now or '-':>8}   {f'{ratio:.3f}' if ratio else '-'}")
        if was and made_on(record[row]) == machine:
            if now is None:
                worse.append(f"'{row}' is not measured any more: delete its rows if that is meant")
            elif ratio > BOUND:
                worse.append(f"'{row}' takes {now} instructions, {(ratio - 1) * 100:.1f} % more than the {was} of {record[row]['commit']}")
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="the program weft-bench")
    parser.add_argument("--check", action="store_true", help=f"fail if a node takes more than {BOUND} of the record")
    parser.add_argument("--record", action="store_true", help=f"append what is measured to {RECORD.relative_to(TREE)}")
    parser.add_argument("--core", type=int, default=0, help="core to run on (default: 0)")
    options = parser.parse_args()
    rows = {}
    for case in CASES:
        runs = [measure(options.bench, case, options.core) for _ in range(1 if case[1][0] == "graph" else RUNS)]
        rows |= {row: min(run[row] for run in runs) for row in runs[0]}
    record, machine = last_record(), (compiler(), processor())
    worse = compare(rows, record, machine)
    for rustc, cpu in {made_on(row) for row in record.values()} - {machine}:
        print(f"rows of rustc {rustc} on {cpu} are not compared with this, rustc {machine[0]} on {machine[1]}")
    if options.record:
        new = not RECORD.exists()
        commit = run(["git", "-C", TREE, "rev-parse", "--short", "HEAD"]).strip()
        with RECORD.open("a", newline="") as file:
            out = csv.writer(file)
            if new:
                out.writerow(COLUMNS)
            out.writerows([datetime.date.today().isoformat(), commit, *machine, row, rows[row]] for row in sorted(rows))
        print(f"recorded in {RECORD.relative_to(TREE)}")
    if options.check and worse:
        sys.exit("instructions: " + "\ninstructions: ".join(worse) + "\nIf that is meant, say why in the commit and record it: scripts/bench instructions --record")


if __name__ == "__main__":
    main()
