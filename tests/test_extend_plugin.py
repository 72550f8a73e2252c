# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md, "A plugin that brings an EtherType and a setting": what the page says is what is built, loaded and sent
packets, and no other file of the tree knows of it."""

import os
import shutil
import subprocess
import sys

import pytest
from scapy.layers.l2 import Ether

from lab.pg import PgBed
from lab.plugins import PluginFolder
from lab.weft import TREE

FOLDER = TREE / "tests/extend/plugin"
FILES = ("Cargo.toml", "src/lib.rs", "src/node.rs")
HELLO, KEY = 0x88B5, "0x88b5"


def test_the_page_shows_the_files():
    page = (TREE / "docs/extending.md").read_text().split("## A plugin that brings an EtherType and a setting", 1)[1]
    page = page.split("\n## ", 1)[0]
    shown = [block.split("\n", 1)[1] for block in page.split("```")[1::2] if block.startswith(("rust\n", "toml\n"))]
    assert shown == [(FOLDER / name).read_text() for name in FILES]
    here = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file())
    assert here == sorted(FILES), "three files"


@pytest.fixture
def bed(lab, tmp_path):
    """Builds it as the page says, and has a daemon that has not loaded it yet."""
    for name in FILES:
        target = tmp_path / "hello" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOLDER / name, target)
    manifest = tmp_path / "hello/Cargo.toml"
    manifest.write_text(manifest.read_text().replace("../../../plugins/sdk", str(TREE / "plugins/sdk")))
    environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"} | {"CARGO_NET_OFFLINE": "true"}
    subprocess.run(["cargo", "build", "--release"], cwd=tmp_path / "hello", env=environment, check=True, stdout=sys.stderr, timeout=600)
    folder = PluginFolder(lab)
    shutil.copy(tmp_path / "hello/target/release/libhello.so", folder.path / "hello.so")
    (folder.path / "hello.so").chmod(0o755)
    made = PgBed(lab, more=folder.settings.replace("}", "plugin default { disable } }"))
    yield made
    made.close()


# Texts of the reasons, and what tests call them.
REASONS = {"a neighbour has said something": "heard", "the interface is not to hear what neighbours say": "deaf",
           "no handler for this EtherType, and no host interface to punt to": "unknown"}


def counted(weft):
    """Frames by what has become of them."""
    return {REASONS[text]: count for (_, text), count in weft.errors().items() if text in REASONS and count}


def test_it_hears_frames_of_its_ethertype(bed):
    (first, second), weft = bed.interfaces, bed.weft

    def say(interface, count):
        frame = Ether(dst=interface.local_mac, src=interface.remote_mac, type=HELLO) / b"good morning"
        bed.send(interface, [frame] * count)

    say(first, 2)
    assert counted(weft) == {"unknown": 2}
    weft.cli("plugin load hello")
    entries = weft.cli_json("show registrations")["registrations"]
    assert [(each["node"], each["owner"]) for each in entries if each["key"] == KEY] == [("hello-input", "hello")]
    weft.cli(f"set interface hello accept {second.name} off")
    say(first, 3)
    say(second, 4)
    assert counted(weft) == {"unknown": 2, "heard": 3, "deaf": 4}

    # A client of the binary API sets the same, by name; and what it said stays over a reload.
    assert bed.api.weft_setting_set(name="hello.accept", value="off", sw_if_index=first.index).retval == 0
    assert bed.api.weft_setting_set(name="hello.accept", value="on", sw_if_index=second.index).retval == 0
    weft.cli("plugin reload hello")
    say(first, 1)
    say(second, 1)
    assert counted(weft) == {"unknown": 2, "heard": 1, "deaf": 1}, "the new node begins at zero"
    weft.cli("plugin disable hello")
    say(first, 1)
    weft.cli("plugin unload hello")
    say(first, 1)
    assert counted(weft)["unknown"] == 3, "nobody wants them any more"
