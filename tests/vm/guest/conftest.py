# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests in the guest. NICs and hosts are set up once: a guest lives for one module."""

import inside
import pytest


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
