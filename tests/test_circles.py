# SPDX-License-Identifier: Apache-2.0
"""scripts/circles on a crate whose circles are known."""

import subprocess
from pathlib import Path

TOOL = Path(__file__).parent.parent / "scripts" / "circles"
FILES = {
    "lib.rs": "mod a; mod b; mod c; mod d; mod e;\n",
    # a and b need each other, c hands b's on and so is in no circle, although a names it by c.
    "a.rs": "use crate::c::Thing;\npub struct Other(Thing);\n",
    "b.rs": 'pub struct Thing(Box<crate::a::Other>); // use crate::d::X;\nconst S: &str = "crate::e::Y";\n',
    "c.rs": "pub use crate::b::{self, Thing};\n",
    # d needs e, and e needs d only in tests.
    "d.rs": "use super::{e::{Y, Z as Zed}};\npub struct X(Y, Zed);\n",
    "e.rs": "pub struct Y;\npub struct Z;\n#[cfg(test)]\nmod tests { use crate::d::X; }\n",
}


def circles(folder, *arguments):
    done = subprocess.run([TOOL, *arguments, folder], capture_output=True, text=True, cwd=TOOL.parent)
    return done.returncode, [line.strip() for line in done.stdout.splitlines()]


def test_files_that_need_each_other_are_a_circle(tmp_path):
    (tmp_path / "src").mkdir()
    for name, text in FILES.items():
        (tmp_path / "src" / name).write_text(text)
    code, lines = circles(tmp_path, "--bound", "2")
    assert code == 0 and lines[-3:] == ["src/a.rs", "src/b.rs", "largest circle: 2 files"], lines
    (tmp_path / "src" / "e.rs").write_text("pub struct Y(crate::d::X);\npub struct Z;\n")
    code, lines = circles(tmp_path)
    assert len([line for line in lines if line.startswith("src/")]) == 4, lines
    assert circles(tmp_path, "--bound", "1")[0] == 1
