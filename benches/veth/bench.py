# SPDX-License-Identifier: Apache-2.0
"""Measures how many packets a second a forwarder on one core moves from veth to veth, beside its rivals in the same run.

Rounds are interleaved, so that what drifts (the hypervisor, the clock of the core) hits everybody; a round in which
something else ran is done again. Run it by `scripts/bench veth`.
"""

import argparse
import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests"))

from forwarders import ALL, Bed  # noqa: E402
from lab import Lab, Trafficgen  # noqa: E402
from quiet import Watch, foreign_runnable, wait_until_quiet  # noqa: E402

GENERATOR_CORE = 0
WARM_UP = 0.5
QUIET_SECONDS = 10


def one_round(bed, forwarder, generator, options):
    """Packets a second at the sink in Mpps, what the generator offered, and why the round does not count."""
    if not wait_until_quiet(QUIET_SECONDS):
        return 0, 0, f"also running: {', '.join(sorted(set(foreign_runnable(set())))) or 'others, off and on'}"
    pids = forwarder.start()
    try:
        sender = bed.gen.start(
            generator, "send", "--if", "eth0", "--src-mac", bed.gen_mac, "--dst-mac", bed.in_mac, "--src-ip", bed.SOURCE,
            "--dst-ip", bed.TARGET, "--seconds", options.seconds + WARM_UP + 0.5, "--size", options.size,
            "--flows", options.flows, "--cpu", GENERATOR_CORE)
        time.sleep(WARM_UP)
        watch = Watch([*pids, sender.pid])
        packets, started = bed.sink.counters("eth0")["rx_packets"], time.monotonic()
        time.sleep(options.seconds)
        packets, seconds = bed.sink.counters("eth0")["rx_packets"] - packets, time.monotonic() - started
        why = watch.why_disturbed()
        offered = Trafficgen.result(sender)["mpps"]
    finally:
        forwarder.stop()
    return packets / seconds / 1e6, offered, why


def measure(options):
    """{name: [Mpps of each round]}"""
    figures = {name: [] for name in options.only}
    discarded = 0
    with Lab() as lab:
        bed = Bed(lab)
        generator = Trafficgen().path
        forwarders = [ALL[name](bed, options.ring) for name in options.only]
        print("round  " + "".join(f"{name:>13}" for name in options.only) + "   Mpps at the sink (offered)", flush=True)
        for number in range(1, options.rounds + 1):
            cells = []
            for forwarder in forwarders:
                give_up = time.monotonic() + options.patience
                while True:
                    mpps, offered, why = one_round(bed, forwarder, generator, options)
                    if why is None:
                        break
                    if time.monotonic() > give_up:
                        sys.exit(f"bench: no undisturbed round for {forwarder.name} within {options.patience} s; {why}")
                    discarded += 1
                    print(f"       {forwarder.name}: discarded, {why}", flush=True)
                figures[forwarder.name].append(mpps)
                cells.append(f"{mpps:6.3f} ({offered:4.1f})")
                if offered < 1.1 * mpps and not forwarder.on_generators_core:
                    print(f"       the generator offered {offered:.2f} Mpps only: it may be what limits {forwarder.name}")
            print(f"{number:5}  " + "".join(f"{cell:>13}" for cell in cells), flush=True)
    print(f"{discarded} disturbed rounds were done again")
    return figures


def spread(values):
    return min(values), statistics.median(values), max(values)


def report(figures):
    print(f"\n{'forwarder':<14}{'min':>8}{'median':>8}{'max':>8}   Mpps")
    for name, values in figures.items():
        print(f"{name:<14}" + "".join(f"{value:8.3f}" for value in spread(values)))
    ours = figures.get("weft")
    for name, values in figures.items() if ours else ():
        if name != "weft":
            ratios = [mine / theirs for mine, theirs in zip(ours, values)]
            low, middle, high = spread(ratios)
            print(f"weft / {name:<13} by round: min {low:.3f}  median {middle:.3f}  max {high:.3f}")


def record(figures, options):
    """Appends one line for each forwarder to benches/record/veth.csv."""
    def line_of(*words):
        return subprocess.run(words, capture_output=True, text=True, cwd=TREE).stdout.strip()

    cpu = next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    path = TREE / "benches/record/veth.csv"
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["date", "commit", "cpu", "kernel", "size", "ring", "seconds", "forwarder", "rounds",
                             "min_mpps", "median_mpps", "max_mpps", "weft_ratio_min", "weft_ratio_median", "weft_ratio_max"])
        for name, values in figures.items():
            ratios = [mine / theirs for mine, theirs in zip(figures.get("weft", []), values)]
            writer.writerow([
                time.strftime("%Y-%m-%d"), line_of("git", "rev-parse", "--short", "HEAD"), cpu, os.uname().release, options.size,
                options.ring, options.seconds, name, len(values), *(f"{value:.3f}" for value in spread(values)),
                *(f"{value:.3f}" for value in (spread(ratios) if ratios else []))])
    print(f"recorded in {path.relative_to(TREE)}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench veth", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), default=["xsk-rs", "weft", "linux"],
                        help=f"forwarders, in order: {', '.join(ALL)} (default: xsk-rs,weft,linux)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="length of one round")
    parser.add_argument("--size", type=int, default=60, help="bytes of a frame, without FCS")
    parser.add_argument("--flows", type=int, default=1024, help="UDP source ports")
    parser.add_argument("--ring", type=int, default=256, help="ring entries of xsk-rs")
    parser.add_argument("--patience", type=float, default=120, help="seconds to try for one undisturbed round")
    parser.add_argument("--record", action="store_true", help="append the result to benches/record/veth.csv")
    parser.add_argument("--json", type=Path, help="also write the figures of all rounds to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that the namespaces go
    for name in options.only:
        if name not in ALL:
            parser.error(f"--only {name}: expected some of {', '.join(ALL)}")
    if os.cpu_count() < 2:
        sys.exit("bench: needs two cores, one for the generator and one for the forwarder")
    figures = measure(options)
    report(figures)
    if options.record:
        record(figures, options)
    if options.json:
        options.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
