#!/usr/bin/env python3
"""Loads @NAME@.so into a Weft of its own, sends packets through its node, and asks it how many it has seen.

Needs `weft` and `weftctl` in PATH or in $WEFT_BIN_DIR. Touches no interface of the machine.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

PACKETS = 100
SECONDS = 30
HERE = Path(__file__).resolve().parent
CONFIG = """
unix {{ nodaemon runtime-dir {run} }}
buffers {{ buffers-per-numa 4096 }}
interfaces {{ loopback 0 {{ ip address 192.0.2.1/32 }} }}
plugins {{ path {folder} }}
"""
STREAM = (f"packet-generator new {{ name test limit {PACKETS} interface loop0 node ip4-input size 60-60 "
          "data { UDP: 192.0.2.2 -> 192.0.2.3 UDP: 1 -> 2 incrementing 32 } }")


def program(name):
    folder = os.environ.get("WEFT_BIN_DIR")
    path = shutil.which(name, path=folder) if folder else shutil.which(name)
    assert path, f"no {name} in {'$WEFT_BIN_DIR' if folder else 'PATH'}"
    return path


def until(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def main():
    with tempfile.TemporaryDirectory(prefix="weft-plugin-test-") as temporary:
        folder = Path(temporary)
        run = folder / "run"
        shutil.copy(HERE / "@NAME@.so", folder / "@NAME@.so")
        config = folder / "startup.conf"
        config.write_text(CONFIG.format(run=run, folder=folder))
        with open(folder / "log", "w+") as log:
            weft = subprocess.Popen([program("weft"), "-c", config], stdout=log, stderr=subprocess.STDOUT)
            try:
                test(run / "cli.sock", weft)
            except BaseException:
                print((folder / "log").read_text())
                raise
            finally:
                weft.terminate()
                status = weft.wait(SECONDS)
    assert status == 0, f"weft ended with {status}"
    print(f"@NAME@: {PACKETS} packets seen")


def test(socket, weft):
    def ctl(*words, check=True):
        done = subprocess.run([program("weftctl"), "--socket", socket, *words], capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    until(lambda: weft.poll() is not None or ctl("show version", check=False).returncode == 0, "weft answers")
    found = [each for each in json.loads(ctl("--json", "show plugins").stdout)["plugins"] if each["name"] == "@NAME@"]
    assert found and found[0]["state"] == "running", found
    ctl("set interface state loop0 up")
    ctl("set interface feature loop0 @NAME@ arc ip4-unicast")
    ctl(STREAM)
    ctl("packet-generator enable-stream test")
    seen = lambda: json.loads(ctl("--json", "show @NAME@").stdout)["packets"]
    until(lambda: seen() >= PACKETS, f"{PACKETS} packets are seen")
    assert seen() == PACKETS
    ctl("plugin unload @NAME@")


if __name__ == "__main__":
    main()
