# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md is true: its code is the tree's, it takes the lines that it says, and what it adds works.

`WEFT_WRITE_DOCS=1` brings the blocks of the page up to date with their files.
"""

import os
import re
from pathlib import Path

import pytest

from lab import poll_until

TOP = Path(__file__).parent.parent
PAGE = TOP / "docs/extending.md"
BLOCK = re.compile(r"^```rust (?P<what>file|line|test)=(?P<path>\S+)\n(?P<text>.*?)^```$", re.M | re.S)
# By section: how many existing files, and how many lines in them.
TOUCHED = {"A node": (1, 1), "A setting for all front ends": (1, 1), "A device kind": (1, 1)}


def sections():
    """{section: [(what, path, text)]} of those that have code."""
    parts = [part.split("\n", 1) for part in PAGE.read_text().split("\n## ")[1:]]
    found = {title: [match.group("what", "path", "text") for match in BLOCK.finditer(text)] for title, text in parts}
    return {title: blocks for title, blocks in found.items() if blocks}


def write():
    def current(match):
        what, path, text = match.group("what", "path", "text")
        text = text if what == "line" else (TOP / path).read_text()
        return f"```rust {what}={path}\n{text}```"

    PAGE.write_text(BLOCK.sub(current, PAGE.read_text()))


@pytest.fixture(scope="module")
def page():
    if "WEFT_WRITE_DOCS" in os.environ:
        write()
    return sections()


def test_the_code_of_the_page_is_that_of_the_tree(page):
    assert page.keys() == TOUCHED.keys()
    for blocks in page.values():
        for what, path, text in blocks:
            if what != "line":
                assert text == (TOP / path).read_text(), f"{path}: WEFT_WRITE_DOCS=1 brings the page up to date"


@pytest.mark.parametrize("section", TOUCHED)
def test_existing_files_are_touched_as_often_as_is_said(page, section):
    lines = [(path, text.splitlines()) for what, path, text in page[section] if what == "line"]
    assert (len(lines), sum(len(text) for _, text in lines)) == TOUCHED[section]
    for path, text in lines:
        there = [line.strip() for line in (TOP / path).read_text().splitlines()]
        for line in text:
            assert there.count(line.strip()) == 1, f"{path}: {line}"


def _code():
    """Source files beside tests."""
    for folder in ("api", "benches", "dataplane", "nodes", "plugins", "stats"):
        for path in (TOP / folder).rglob("*"):
            if path.suffix in (".rs", ".c", ".h") and not {"tests", "tests.rs", "target"} & set(path.parts):
                yield path


def _mentions(words):
    """{(file, line)} of code that has one of the words."""
    word = re.compile("|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in words))
    return {
        (str(path.relative_to(TOP)), line.strip())
        for path in _code() for line in path.read_text().splitlines() if word.search(line)
    }


@pytest.mark.parametrize("sections_of_one, words", [
    (("A node", "A setting for all front ends"), ("min_ttl", "MIN_TTL", "IP4_MIN_TTL", "Ip4MinTtl", "ip4-min-ttl", "min-ttl")),
    (("A device kind",), ("mod null", "null::WORDS", "NULL_OUTPUT", "NullOutput")),
])
def test_nobody_else_knows_of_it(page, sections_of_one, words):
    blocks = [block for section in sections_of_one for block in page[section]]
    files = {path for what, path, _ in blocks if what != "line"}
    lines = {(path, line.strip()) for what, path, text in blocks if what == "line" for line in text.splitlines()}
    assert {mention for mention in _mentions(words) if mention[0] not in files} == lines


def test_the_node_and_its_setting_work(network):
    net = network(ports={"p1": {"settings": "ip min-ttl 64"}})
    a, b = net.sites

    def ping(site, ttl, target):
        return site.host.run("ping", "-c", 1, "-W", 1, "-t", ttl, target, check=False).returncode == 0

    assert ping(a, 9, a.router_ip) and ping(b, 64, b.router_ip)
    assert not ping(b, 63, b.router_ip), "startup.conf has set it"
    assert ping(b, 9, a.host_ip), "it is for others"
    net.weft.cli("set interface ip min-ttl p0 64")
    assert not ping(a, 63, a.router_ip)
    dropped = "TTL below the interface's minimum: the sender is farther away than is allowed"
    poll_until(lambda: net.weft.errors().get(("ip4-min-ttl", dropped)) == 2, 3, "both are counted")
    net.weft.cli("set interface ip min-ttl p0 off")
    assert ping(a, 9, a.router_ip)
