# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. They need root and build nothing but the traffic generator; see scripts/test."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

# They run in a virtual machine (test_vm.py).
collect_ignore = ["vm"]

from lab import Lab, Trafficgen, Weft, sites  # noqa: E402
from lab import weft as words  # noqa: E402


def pytest_configure(config):
    # An ended CI job sends SIGTERM: unwind as for ^C, so that every lab is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config.addinivalue_line("markers", "slow: takes more than about ten seconds; left out by `scripts/test --fast`")
    config.addinivalue_line("markers", "vm: runs a virtual machine")
    config.addinivalue_line("markers", "matrix: one of many virtual machines; run by `scripts/test --vm`")


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def trafficgen():
    return Trafficgen()


class Network:
    """A router namespace with Weft in it and hosts around it. `ports` gives single ports other options, by name."""

    def __init__(self, lab, count=2, queues=1, ports=None, **options):
        self.lab = lab
        self.router = lab.namespace("router")
        self.sites = sites(lab, self.router, count, queues=queues)
        self.ports = [words.site_port(site, queues=queues, **(ports or {}).get(site.port, {})) for site in self.sites]
        self.weft = Weft(lab, self.router, self.ports, **options).start()


@pytest.fixture
def network(lab):
    """`network(count=2, workers=1, ...)` starts a daemon with that many hosts around it. A daemon that the test has not
    ended must end cleanly afterwards."""
    made = []

    def make(**options):
        made.append(Network(lab, **options))
        return made[-1]

    yield make
    for each in made:
        if each.weft.process.returncode is None:
            each.weft.stop()
