# SPDX-License-Identifier: Apache-2.0
"""The directory that a daemon under test loads plugins from."""

import shutil
import subprocess
from pathlib import Path

from .lab import LabError
from .weft import TREE, binary


class PluginFolder:
    """Holds plugins of this repository, by name; `settings` is for `network(more=...)`."""

    def __init__(self, lab, *names):
        self.path = Path(lab.folder("plugins"))
        self.path.chmod(0o755)
        self.settings = f"plugins {{ path {self.path} }}"
        for name in names:
            source = binary("weft").parent / f"libweft_plugin_{name}.so"
            if not source.exists():
                raise LabError(f"no {source}: build it with `cargo build --profile ci -p weft-plugin-{name}`")
            shutil.copy(source, self.path / f"{name}.so")
            (self.path / f"{name}.so").chmod(0o755)

    def compile(self, source, *options):
        """Builds a plugin in C; `source` is its path in this repository."""
        target = self.path / f"{Path(source).stem}.so"
        subprocess.run(["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-O2", "-shared",
                        "-fPIC", "-fvisibility=hidden", "-I", TREE / "plugins/sdk/include", *options, "-o", target,
                        TREE / source], check=True)
        target.chmod(0o755)
        return self
