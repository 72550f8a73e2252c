# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests in the guest. NICs and hosts are set up once: a guest lives for one run of pytest.

What becomes of each test is a cell of the matrix in docs/nics.md: `row(N, "words")` says of which row, N being the number of the
subject. Cells are written to /out/cells as they come, so that those of a guest that breaks off are known.
"""

import json

import inside
import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "row(subject, words): the row of the matrix that the test stands in")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    row = item.get_closest_marker("row")
    ended = report.when == "call" or report.outcome != "passed" and report.when != "call"
    if not row or not ended:
        return
    if report.outcome == "skipped":
        words = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.outcome == "failed":
        # Of a log, which some assertions show, the end says most; of an assertion that pytest explains, the beginning.
        lines = str(call.excinfo.value).strip().splitlines() if call.excinfo else ["failed"]
        words = next((line for line in lines if not line.startswith(" ")), "failed")
        words = (lines[-1] if " INFO " in words else words)[:200]
    else:
        words = "; ".join(str(value) for name, value in item.user_properties if name == "note")
    cell = {"subject": row.args[0], "row": row.args[1], "outcome": report.outcome, "words": words}
    with open(inside.OUT / "cells", "a") as file:
        file.write(json.dumps(cell) + "\n")


@pytest.fixture
def note(record_property):
    """Words for the cell of a test that passes."""
    return lambda words: record_property("note", words)


@pytest.fixture(scope="session", autouse=True)
def nics():
    inside.setup()


@pytest.fixture(scope="session")
def monitor():
    return inside.Monitor()


@pytest.fixture
def start():
    """`start(interfaces, ...)` starts a daemon. One that the test has not ended must end cleanly afterwards."""
    made = []

    def make(*args, **options):
        made.append(inside.Weft(*args, **options))
        return made[-1].started()

    yield make
    for weft in made:
        if weft.process.returncode is None:
            assert weft.stop() == 0, weft.log()
