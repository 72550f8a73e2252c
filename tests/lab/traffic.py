# SPDX-License-Identifier: Apache-2.0
"""The traffic generator of benches/trafficgen, driven from tests."""

import json
import os
import subprocess
import time
from pathlib import Path

from .lab import LabError

TREE = Path(__file__).resolve().parents[2]


class Trafficgen:
    """Paced, accounted traffic from one site's host to another's."""

    def __init__(self):
        folder = Path(os.environ.get("WEFT_TOOLS_DIR", TREE / "target/tools"))
        self.path = folder / "trafficgen"
        made = subprocess.run(["make", "-s", "-C", TREE / "benches/trafficgen", f"OUT={folder}"],
                              capture_output=True, text=True)
        if made.returncode != 0:
            raise LabError(f"the traffic generator does not build (`scripts/setup` installs what it needs):\n{made.stderr}")

    def sender(self, source, destination, destination_ip=None, next_hop_mac=None, **options):
        """Starts a sender at site `source`; `options` are the program's own (`rate=`, `count=`, `flows=`, ...)."""
        return source.host.start(
            self.path, "send", "--if", source.interface, "--src-mac", source.host_mac,
            "--dst-mac", next_hop_mac or source.port_mac, "--src-ip", source.host_ip,
            "--dst-ip", destination_ip or destination.host_ip, *_words(options))

    def sink(self, site, **options):
        """Starts a sink at `site` and waits until it listens."""
        process = site.host.start(self.path, "sink", *_words(options))
        line = process.stdout.readline()
        if line.strip() != "ready":
            raise AssertionError(f"the sink did not start: {line}{process.stdout.read()}")
        return process

    def flow(self, source, destination, rate, **options):
        """Starts paced traffic that is accounted for at both ends; end it with `Flow.stop`. The destination must be
        resolved already if every packet is to arrive: only a few wait for a neighbour."""
        return Flow(self, source, destination, rate, options)

    @staticmethod
    def result(process, timeout=60):
        """What a sender or sink reports when it ends, as a dictionary."""
        text, _ = process.communicate(timeout=timeout)
        if process.returncode != 0:
            raise AssertionError(f"the traffic generator ended with {process.returncode}: {text}")
        return json.loads(text.splitlines()[-1])


def _words(options):
    return [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]


class Flow:
    MOST = 10_000_000  # packets that the sink can tell apart

    def __init__(self, trafficgen, source, destination, rate, options):
        self._sink = trafficgen.sink(destination, count=self.MOST)
        self._sender = trafficgen.sender(source, destination, rate=rate, count=self.MOST, **options)

    def stop(self, drain=0.5):
        """Ends the sender, waits `drain` seconds for what is on its way, and accounts: sent, lost, doubled, overtaken."""
        self._sender.terminate()
        sent = Trafficgen.result(self._sender)["sent"]
        time.sleep(drain)
        self._sink.terminate()
        counted = Trafficgen.result(self._sink)
        distinct = counted["received"] - counted["doubled"]
        return {"sent": sent, "lost": sent - distinct, "doubled": counted["doubled"], "overtaken": counted["overtaken"]}
