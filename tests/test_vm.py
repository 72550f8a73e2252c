# SPDX-License-Identifier: Apache-2.0
"""Weft on real NIC drivers, in virtual machines (tests/vm; docs/nics.md): a guest per row, and in it the tests of tests/vm/guest.

`scripts/test` runs the rows without the mark `matrix`, `scripts/test --vm` all, and then prints the matrix (`machine/matrix.py`). Where packages of Debian cannot be fetched the
rows are skipped, and say so.
"""

import os
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "vm"))

from machine import matrix  # noqa: E402
from machine.fetch import FetchError, fetch  # noqa: E402
from machine.run import Guest, Lab  # noqa: E402

TOOLS = Path(os.environ.get("WEFT_TOOLS_DIR", HERE.parent / "target/tools"))
BIN = Path(os.environ.get("WEFT_BIN_DIR", HERE.parent / "target/ci")).resolve()
VIRTIO = "virtio-net-pci,mq=on,vectors=10"

LIFE = "base frames life"
MORE = "shared stacked jumbo queues speed"
IOMMU = "virtio-net-pci,iommu_platform=on"
FIXED = "virtio-net-pci,ctrl_guest_offloads=off"


class Row:
    """A guest, modules of its drivers, test modules, and the rung and number of queues that are expected."""

    def __init__(self, nic, kernel, model, modules, tests, rung=None, queues=None, taps=0):
        self.nic, self.kernel, self.model = nic, kernel, model
        self.modules, self.tests, self.rung, self.queues = modules, tests, rung, queues
        self.guest = Guest(kernel, [model] * 2, taps=taps)


QUICK = {
    "igb-sid": Row("igb", "sid", "igb", "igb 8021q", LIFE, "native copy", 2),
    "igb-6.12": Row("igb", "6.12", "igb", "igb", "base", "native copy", 2),
    "virtio-6.12-4-queues": Row("virtio-net, 4 queues on a TAP", "6.12", VIRTIO, "virtio_net", "base", "native copy", 4, taps=4),
    "e1000e-6.12": Row("e1000e", "6.12", "e1000e", "e1000e 8021q", "base frames", "generic copy", 1),
    "vmxnet3-sid": Row("vmxnet3", "sid", "vmxnet3", "vmxnet3", "base", "native copy", 2),
    "bond-6.12": Row("bond of igb", "6.12", "igb", "igb bonding", "bond"),
}
MATRIX = {
    "igb-6.1": Row("igb", "6.1", "igb", "igb 8021q", LIFE, "native copy", 2),
    "igb-6.12-life": Row("igb", "6.12", "igb", "igb 8021q", "frames life", "native copy", 2),
    "virtio-6.1": Row("virtio-net", "6.1", "virtio-net-pci", "virtio_net 8021q", LIFE, "native copy", 1),
    "virtio-6.12": Row("virtio-net", "6.12", "virtio-net-pci", "virtio_net 8021q", LIFE, "native copy", 1),
    "virtio-sid": Row("virtio-net", "sid", "virtio-net-pci", "virtio_net 8021q", LIFE, "native copy", 1),
    "virtio-iommu-6.12": Row("virtio-net with an IOMMU", "6.12", IOMMU, "virtio_net 8021q", LIFE, "native zero-copy", 1),
    "virtio-iommu-sid": Row("virtio-net with an IOMMU", "sid", IOMMU, "virtio_net 8021q", LIFE, "native zero-copy", 1),
    "virtio-fixed-6.12": Row("virtio-net with fixed offloads, on a TAP", "6.12", FIXED, "virtio_net 8021q", "base frames", "generic copy", 1, taps=1),
    "e1000e-6.1": Row("e1000e", "6.1", "e1000e", "e1000e 8021q", LIFE, "generic copy", 1),
    "e1000e-6.12-life": Row("e1000e", "6.12", "e1000e", "e1000e 8021q", "life", "generic copy", 1),
    "e1000e-sid": Row("e1000e", "sid", "e1000e", "e1000e 8021q", LIFE, "generic copy", 1),
    "vmxnet3-6.1": Row("vmxnet3", "6.1", "vmxnet3", "vmxnet3 8021q", LIFE, "generic copy", 2),
    "vmxnet3-6.12": Row("vmxnet3", "6.12", "vmxnet3", "vmxnet3 8021q", LIFE, "native copy", 2),
    "vmxnet3-sid-life": Row("vmxnet3", "sid", "vmxnet3", "vmxnet3 8021q", "frames life", "native copy", 2),
    "bond-sid": Row("bond of igb", "sid", "igb", "igb bonding", "bond"),
}
MATRIX["igb-sid-ladder"] = Row("igb", "sid", "igb", "igb", "ladder")
for nic, model, driver, rungs, queues in (
    ("igb", "igb", "igb", ("native copy",) * 3, 2),
    ("virtio-net", "virtio-net-pci", "virtio_net", ("native copy",) * 3, 1),
    ("e1000e", "e1000e", "e1000e", ("generic copy",) * 3, 1),
    ("vmxnet3", "vmxnet3", "vmxnet3", ("generic copy", "native copy", "native copy"), 2),
):
    for kernel, rung in zip(("6.1", "6.12", "sid"), rungs):
        MATRIX[f"{nic.removesuffix('-net')}-{kernel}-more"] = Row(nic, kernel, model, f"{driver} 8021q bridge", MORE, rung, queues)
MATRIX["virtio-6.12-4-queues-more"] = Row("virtio-net, 4 queues on a TAP", "6.12", VIRTIO, "virtio_net", "queues speed", "native copy", 4, taps=4)


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
    run = {**QUICK, **MATRIX}[name]
    files = " ".join(f"test_{test}.py" for test in run.tests.split())
    wanted = f"VM_RUNG='{run.rung}' VM_QUEUES={run.queues}" if run.rung else ""
    command = f"""
        export WEFT_BIN_DIR={BIN} VM_MODULES='{run.modules}' VM_MODEL='{run.model}' {wanted}
        rm -f /out/cells /out/rung
        cd {HERE / "vm/guest"} && /usr/bin/python3 -m pytest -p no:cacheprovider -rA {files}
    """
    # Emulated hardware on a busy machine is late now and then: what fails twice fails.
    for _ in range(2):
        status = machines.run(run.guest, command, tmp_path, timeout=560)
        output = (tmp_path / "output").read_text(errors="replace") if (tmp_path / "output").exists() else "no output"
        for line in re.findall(r"RUNG .*|SPEED .*|^(?:PASSED|FAILED|SKIPPED|ERROR) .*", output, re.M):
            print(line)
        matrix.keep(TOOLS / "vm-lab/results", name, run.nic, run.kernel, tmp_path)
        if status == 0:
            return
    pytest.fail(f"{name}: status {status}, {tmp_path}\n{output[-12000:]}")


def test_the_page_shows_what_was_found():
    """docs/nics.md is made of tests/vm/results.json by `scripts/vm-lab matrix --write`."""
    assert matrix.table(matrix.recorded()) in matrix.PAGE.read_text()
