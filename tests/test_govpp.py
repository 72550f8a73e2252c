# SPDX-License-Identifier: Apache-2.0
"""GoVPP, unmodified: an agent of ours written with it, its command line, and its examples.

It is not among the packages that the tests can install. Who has it names a checkout in WEFT_GOVPP, whose modules are vendored or
in Go's cache, with `go` in PATH:

    WEFT_GOVPP=~/govpp .../pytest tests/test_govpp.py
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import Weft
from lab.weft import TREE

CHECKOUT = os.environ.get("WEFT_GOVPP")
SECONDS = 600
# Where the agent seems to stand in the checkout, so that it finds the modules there. Nothing is written there.
PLACE = "cmd/weft-agent"

pytestmark = [
    pytest.mark.skipif(not CHECKOUT, reason="WEFT_GOVPP names no checkout of GoVPP"),
    pytest.mark.skipif(not shutil.which("go"), reason="there is no Go toolchain (go) in PATH"),
]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Builds a program of the checkout."""
    folder, checkout = tmp_path_factory.mktemp("govpp"), Path(CHECKOUT)
    overlay = folder / "overlay.json"
    agent = TREE / "tests/govpp/main.go"
    overlay.write_text(json.dumps({"Replace": {str(checkout / PLACE / "main.go"): str(agent)}}))
    modules = "vendor" if (checkout / "vendor").is_dir() else "mod"
    environment = os.environ | {"GOFLAGS": f"-mod={modules}", "GOPROXY": "off", "GOCACHE": str(folder / "cache")}

    def program(package):
        target = folder / Path(package).name
        subprocess.run(["go", "build", "-overlay", overlay, "-o", target, f"./{package}"], cwd=checkout, env=environment,
                       check=True, timeout=SECONDS)
        return target
    return program


@pytest.fixture
def weft(lab):
    daemon = Weft(lab, lab.namespace("router"), []).start()
    yield daemon
    daemon.stop()


def run(weft, *command):
    """Runs a client to its end; /dev/null keeps it from reading commands."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert weft.main_thread_answers()
    return done.stdout + done.stderr


def test_an_agent_in_go(weft, build):
    said = run(weft, build(PLACE), "-sock", weft.runtime / "api.sock", "-stats", weft.runtime / "stats.sock")
    assert "all is well" in said


def test_the_command_line_of_govpp(weft, build):
    said = run(weft, build("cmd/govpp"), "cli", "--apisock", weft.runtime / "api.sock", "show", "version")
    assert "weft" in said


@pytest.mark.parametrize("example", ["simple-client", "stream-client", "rpc-service"])
def test_an_example_of_govpp(weft, build, example):
    run(weft, build(f"examples/{example}"), "-sock", weft.runtime / "api.sock")
