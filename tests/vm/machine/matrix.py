# SPDX-License-Identifier: Apache-2.0
"""The matrix: what each driver does in each kernel, as the tests in guests have found it.

A guest leaves its cells (`tests/vm/guest/conftest.py`); `keep` puts them beside those of other guests, below the lab's folder. `record` takes
them into `tests/vm/results.json`, from which docs/nics.md has its tables. A newer cell replaces an older one of the same place.
"""

import datetime
import json
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
RESULTS = TOP / "tests/vm/results.json"
PAGE = TOP / "docs/nics.md"
BEGIN, END = "<!-- scripts/vm-lab matrix --write -->\n", "<!-- end -->\n"
KERNELS = ("6.1", "6.12", "sid")
SUBJECTS = {
    2: "filters",
    3: "VLAN",
    4: "ladder",
    5: "life",
    6: "shared",
    7: "stacked",
    8: "MTU",
    9: "offloads",
    10: "queues",
    11: "speed",
}


def keep(folder, name, nic, kernel, out):
    """Keeps what a guest has left in `out`; a guest that never came so far leaves nothing."""
    cells = [json.loads(line) for line in (out / "cells").read_text().splitlines()] if (out / "cells").exists() else []
    if not cells:
        return
    rung = json.loads((out / "rung").read_text()) if (out / "rung").exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.date.today().isoformat()
    found = {"nic": nic, "kernel": kernel, "date": date, **{key: rung[key] for key in ("release",) if key in rung}, "cells": cells}
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def recorded():
    """{nic: {kernel: {row: cell}}} of the record."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def found(folder, into):
    """The same, with what guests have left there, the oldest first."""
    for path in sorted(Path(folder).glob("*.json"), key=lambda path: path.stat().st_mtime):
        guest = json.loads(path.read_text())
        rows = into.setdefault(guest["nic"], {}).setdefault(guest["kernel"], {})
        for cell in guest["cells"]:
            rows[cell["row"]] = {key: cell[key] for key in ("subject", "outcome", "words")} | {"date": guest["date"]}
    return into


def words(cell):
    """What stands in a cell of the table."""
    if cell is None:
        return ""
    text = cell["words"].replace("|", "/").replace("\n", " ")
    match cell["outcome"]:
        case "passed":
            return f"ok: {text}" if text else "ok"
        case "skipped":
            return text
        case _:
            return f"**no**: {text}"


def table(results):
    """The tables of all NICs, as Markdown."""
    text = ""
    for nic, kernels in sorted(results.items()):
        there = [kernel for kernel in KERNELS if kernel in kernels]
        rows = {row: cell["subject"] for kernel in there for row, cell in kernels[kernel].items()}
        text += f"\n### {nic}\n\n| | {' | '.join(there)} |\n|---|{'---|' * len(there)}\n"
        for row, subject in sorted(rows.items(), key=lambda item: (item[1], item[0])):
            cells = " | ".join(words(kernels[kernel].get(row)) for kernel in there)
            text += f"| {SUBJECTS[subject]}: {row} | {cells} |\n"
    return text


def record(results):
    """Writes the record, and the page's tables."""
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + table(results) + "\n" + END + after)
