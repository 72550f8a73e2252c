# SPDX-License-Identifier: Apache-2.0
"""The directory that a daemon under test loads plugins from."""

import shutil
from pathlib import Path

from .lab import LabError
from .weft import binary


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
