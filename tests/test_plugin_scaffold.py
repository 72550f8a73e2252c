# SPDX-License-Identifier: Apache-2.0
"""The recipe of docs/plugins.md works as it stands, in both languages, outside of the repository."""

import os
import subprocess

import pytest

from lab.weft import TREE, binary


def recipe():
    """The commands of the page's first listing."""
    page = (TREE / "docs/plugins.md").read_text()
    return page.split("## Recipe", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]


def follow(folder, commands):
    environment = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}
    environment |= {"WEFT_BIN_DIR": str(binary("weft").parent.resolve()), "CARGO_NET_OFFLINE": "true"}
    return subprocess.run(["bash", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("language", ["rust", "c"])
def test_the_recipe(language, tmp_path):
    commands = recipe().replace("scripts/new-plugin my-plugin", f"{TREE}/scripts/new-plugin my-plugin --lang {language}")
    done = follow(tmp_path, commands)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("my-plugin: 100 packets seen\n")
    assert str(TREE) not in "".join(path.read_text() for path in tmp_path.glob("my-plugin/*.toml"))


@pytest.mark.parametrize("name", ["", "My-Plugin", "9lives", "a--b", "x" * 33, "a/b"])
def test_names_that_are_refused(name, tmp_path):
    done = follow(tmp_path, f"{TREE}/scripts/new-plugin '{name}'")
    assert done.returncode == 1 and "expected a name" in done.stderr and not list(tmp_path.iterdir())


def test_a_folder_is_never_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    done = follow(tmp_path, f"{TREE}/scripts/new-plugin mine")
    assert done.returncode == 1 and "is there already" in done.stderr
