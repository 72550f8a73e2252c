# SPDX-License-Identifier: Apache-2.0
"""Weft on real NIC drivers, in virtual machines (tests/vm; docs/nics.md): a guest per row, and in it the tests of tests/vm/guest.

`scripts/test` runs the rows without the mark `matrix`, `scripts/test --vm` all. Where packages of Debian cannot be fetched the
rows are skipped, and say so.
"""

import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "vm"))

from machine.fetch import FetchError, fetch  # noqa: E402
from machine.run import Guest, Lab  # noqa: E402

TOOLS = Path(os.environ.get("WEFT_TOOLS_DIR", HERE.parent / "target/tools"))
BIN = Path(os.environ.get("WEFT_BIN_DIR", HERE.parent / "target/ci")).resolve()
VIRTIO = "virtio-net-pci,mq=on,vectors=10"

# Name: guest, modules of its drivers, test modules, and the rung and number of queues that are expected.
QUICK = {
    "igb-sid": (Guest("sid", ["igb"] * 2), "igb 8021q", "base frames life", "native copy", 2),
    "igb-6.12": (Guest("6.12", ["igb"] * 2), "igb", "base", "native copy", 2),
    "virtio-6.12-4-queues": (Guest("6.12", [VIRTIO] * 2, taps=4), "virtio_net", "base", "native copy", 4),
    "e1000e-6.12": (Guest("6.12", ["e1000e"] * 2), "e1000e 8021q", "base frames", "generic copy", 1),
    "vmxnet3-sid": (Guest("sid", ["vmxnet3"] * 2), "vmxnet3", "base", "native copy", 2),
    "bond-6.12": (Guest("6.12", ["igb"] * 2), "igb bonding", "bond", None, None),
}
MATRIX = {
    "igb-6.1": (Guest("6.1", ["igb"] * 2), "igb 8021q", "base frames life", "native copy", 2),
    "igb-6.12-life": (Guest("6.12", ["igb"] * 2), "igb 8021q", "frames life", "native copy", 2),
    "virtio-6.1": (Guest("6.1", ["virtio-net-pci"] * 2), "virtio_net 8021q", "base frames life", "native copy", 1),
    "virtio-6.12": (Guest("6.12", ["virtio-net-pci"] * 2), "virtio_net 8021q", "base frames life", "native copy", 1),
    "virtio-sid": (Guest("sid", ["virtio-net-pci"] * 2), "virtio_net 8021q", "base frames life", "native copy", 1),
    "e1000e-6.1": (Guest("6.1", ["e1000e"] * 2), "e1000e 8021q", "base frames life", "generic copy", 1),
    "e1000e-sid": (Guest("sid", ["e1000e"] * 2), "e1000e 8021q", "base frames life", "generic copy", 1),
    "vmxnet3-6.1": (Guest("6.1", ["vmxnet3"] * 2), "vmxnet3 8021q", "base frames life", "generic copy", 2),
    "vmxnet3-6.12": (Guest("6.12", ["vmxnet3"] * 2), "vmxnet3 8021q", "base frames life", "native copy", 2),
    "vmxnet3-sid-life": (Guest("sid", ["vmxnet3"] * 2), "vmxnet3", "life", "native copy", 2),
    "bond-sid": (Guest("sid", ["igb"] * 2), "igb bonding", "bond", None, None),
}


@pytest.fixture(scope="module")
def machines():
    folder = TOOLS / "vm-lab"
    try:
        fetch(folder)
    except FetchError as error:
        pytest.skip(f"no virtual machines: {error}")
    return Lab(folder)


def row(name, marks):
    return pytest.param(name, id=name, marks=marks)


@pytest.mark.parametrize(
    "name",
    [row(name, [pytest.mark.slow, pytest.mark.vm]) for name in QUICK] + [row(name, [pytest.mark.slow, pytest.mark.vm, pytest.mark.matrix]) for name in MATRIX],
)
def test_a_driver_in_a_guest(name, machines, tmp_path):
    guest, modules, tests, rung, queues = {**QUICK, **MATRIX}[name]
    files = " ".join(f"test_{test}.py" for test in tests.split())
    wanted = f"VM_RUNG='{rung}' VM_QUEUES={queues}" if rung else ""
    command = f"""
        export WEFT_BIN_DIR={BIN} VM_MODULES='{modules}' {wanted}
        cd {HERE / "vm/guest"} && /usr/bin/python3 -m pytest -p no:cacheprovider -rA {files}
    """
    # Emulated hardware on a busy machine is late now and then: what fails twice fails.
    for _ in range(2):
        status = machines.run(guest, command, tmp_path, timeout=560)
        output = (tmp_path / "output").read_text(errors="replace") if (tmp_path / "output").exists() else "no output"
        for line in re.findall(r"RUNG .*|^(?:PASSED|FAILED|ERROR) .*", output, re.M):
            print(line)
        if status == 0:
            return
    pytest.fail(f"{name}: status {status}, {tmp_path}\n{output[-12000:]}")
