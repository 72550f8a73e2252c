# SPDX-License-Identifier: Apache-2.0
"""A directory that Weft loads plugins from; the directory is one that nobody else can write to."""

import shutil
import subprocess
from pathlib import Path

from .lab import LabError
from .weft import TREE, binary

HEADERS = TREE / "plugins/sdk/include"


class PluginFolder:
    """Holds plugins of this repository, by name; `settings` is for `network(more=...)`."""

    def __init__(self, lab, *names):
        self.path = Path(lab.folder("plugins"))
        self.path.chmod(0o755)
        self.settings = f"plugins {{ path {self.path} }}"
        for name in names:
            self.add(name)

    def add(self, name):
        """Installs a plugin as an operator does: beside the old file, then in its place."""
        source = binary("weft").parent / f"libweft_plugin_{name}.so"
        if not source.exists():
            raise LabError(f"no {source}: build it with `cargo build --profile ci -p weft-plugin-{name}`")
        fresh = self.path / f".{name}"
        shutil.copy(source, fresh)
        fresh.chmod(0o755)
        return fresh.rename(self.path / f"{name}.so")

    def add_c(self, name, source, headers=HEADERS, *options):
        """Builds a plugin in C."""
        target = self.path / f"{name}.so"
        subprocess.run(["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-O2", "-shared",
                        "-fPIC", "-fvisibility=hidden", "-I", headers, *options, "-o", target, source], check=True)
        target.chmod(0o755)
        return target

    def compile(self, source, *options):
        """Builds a plugin in C; `source` is its path in this repository."""
        self.add_c(Path(source).stem, TREE / source, HEADERS, *options)
        return self

    def add_template(self, name):
        """Builds the plugin in C that `scripts/new-plugin` makes: it counts packets and bytes."""
        source = self.path / f"{name}.c"
        source.write_text((TREE / "plugins/template/c/plugin.c").read_text().replace("@NAME@", name))
        return self.add_c(name, source)
