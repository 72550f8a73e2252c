# SPDX-License-Identifier: Apache-2.0
"""The command line as an operator meets it: weftctl beside a running daemon."""

import os
import pty
import select
import subprocess
import time

import pytest

from lab import poll_until
from lab.weft import PLAIN_WAY, TREE, CliError, binary

SHOWS = [
    "version", "interface", "interface address", "interface rx-placement", "hardware", "runtime", "errors", "threads",
    "buffers", "node ip4-lookup", "graph", "ip fib", "ip neighbors", "trace", "features", "log", "packet-generator",
]


@pytest.fixture(scope="module")
def weft():
    """One daemon with two ports and some packets behind it, for all that only looks."""
    from conftest import Network
    from lab import Lab

    with Lab() as lab:
        net = Network(lab)
        a, b = net.sites
        a.host.run("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
        yield net.weft
        net.weft.stop()


@pytest.mark.parametrize("what", SHOWS)
def test_every_show_answers_as_text_and_as_json(weft, what):
    assert weft.cli(f"show {what}").strip() or what in ("trace", "log")
    assert isinstance(weft.cli_json(f"show {what}"), (dict, list))


def test_a_unique_prefix_of_a_word_is_enough(weft):
    assert weft.cli("sh int addr") == weft.cli("show interface address")


def test_what_show_interface_says(weft):
    lines = weft.cli("show interface").splitlines()
    assert lines[0].split() == ["Name", "Idx", "State", "MTU", "(L3/IP4/IP6/MPLS)", "Counter", "Count"]
    first = next(line for line in lines if line.startswith("p0 "))
    assert first.split()[2] == "up"
    assert any(line.split()[-3:-1] == ["rx", "packets"] and int(line.split()[-1]) >= 3 for line in lines)


def test_show_runtime_names_the_nodes_on_the_packets_way(weft):
    text = weft.cli("show runtime")
    for node in ("ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite"):
        assert node in text


def test_show_runtime_has_rows_for_system_calls(weft):
    row = next(line for line in weft.cli("show runtime").splitlines() if line.startswith("p1-tx system calls"))
    state, calls, packets = row.split()[3:6]
    thread = weft.cli_json("show runtime")["threads"][0]
    told = next(each for each in thread["system_calls"] if each["node"] == "p1-tx")
    assert state == "kernel" and 0 < int(calls) <= told["calls"] and 0 < int(packets) <= told["vectors"]
    assert told["clocks"] > told["calls"] * 100, "a system call takes longer than that"


@pytest.mark.parametrize("command, word", [
    ("show verion", "verion"),
    ("show interface p9", "p9"),
    ("set interface state p0 sideways", "sideways"),
    ("set interface ip address p0 10.0.0.300/24", "10.0.0.300/24"),
    ("ip route add 10.0.0.0/8 by 10.1.0.2", "by"),
])
def test_a_wrong_word_is_named(weft, command, word):
    with pytest.raises(CliError) as refused:
        weft.cli(command)
    assert refused.value.status == 1
    assert word in refused.value.output
    assert "expected" in refused.value.output or "did you mean" in refused.value.output or "no " in refused.value.output


def test_a_refusal_prints_nothing_on_standard_output(weft):
    words = [binary("weftctl"), "--socket", weft.socket, "--json", "show", "verion"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_pipe_stops_at_the_first_line_that_fails(weft):
    with pytest.raises(CliError) as refused:
        weft.script(["show version", "shwo version", "show threads"])
    assert refused.value.status == 1
    assert "line 2" in refused.value.output
    assert "weft_wk" not in refused.value.output


def test_without_a_daemon_the_status_is_2(tmp_path):
    done = subprocess.run([binary("weftctl"), "--socket", tmp_path / "none", "show", "version"], capture_output=True, text=True)
    assert done.returncode == 2
    assert str(tmp_path / "none") in done.stderr


def test_packets_are_traced_through_the_graph(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    net.weft.cli("clear trace")
    net.weft.cli("trace add af-xdp-input 10")
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)
    text = poll_until(lambda: _both_ways(net.weft.cli("show trace"), a, b), 2, "both packets are in the trace")
    positions = [text.index(node) for node in ("ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite")]
    assert positions == sorted(positions)


def _both_ways(text, a, b):
    return text if f"{a.host_ip} -> {b.host_ip}" in text and f"{b.host_ip} -> {a.host_ip}" in text else None


def test_plain_packets_pass_few_nodes_unless_they_are_traced(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 1, "-W", 2, b.host_ip)

    def grown(node):
        before = sum(net.weft.node_packets(node).values())
        a.host.run("ping", "-c", 5, "-i", 0.2, "-W", 2, b.host_ip)
        return sum(net.weft.node_packets(node).values()) - before

    assert grown(PLAIN_WAY[-1]) >= 10, "both ways"
    net.weft.cli("trace add af-xdp-input 100")
    assert grown("ip4-rewrite") >= 10
    net.weft.cli("clear trace")
    assert grown(PLAIN_WAY[-1]) >= 10


def test_clear_interfaces(network):
    net = network()
    a, b = net.sites
    a.host.run("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)
    assert net.weft.interface("p0")["rx_packets"] >= 3
    net.weft.cli("clear interfaces")
    assert net.weft.interface("p0")["rx_packets"] == 0


def test_an_interactive_session(weft):
    """On a terminal: a prompt, `?` answered without Enter, Tab completes, quit leaves."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", HOME=str(weft.folder))
        os.execv(binary("weftctl"), ["weftctl", "--socket", str(weft.socket)])
    seen = _read_until(terminal, "weft# ")
    os.write(terminal, b"show ?")
    assert "interface" in _read_until(terminal, "version")
    os.write(terminal, b"vers\t\r")
    seen = _read_until(terminal, "weft v0.")
    os.write(terminal, b"quit\r")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen


def _read_until(terminal, expected, seconds=5):
    text, deadline = "", time.monotonic() + seconds
    while expected not in text:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([terminal], [], [], left)[0], f"{expected!r} did not come; seen: {text!r}"
        text += os.read(terminal, 4096).decode(errors="replace")
    return text


class TestCheckConfig:
    def _check(self, folder, text):
        path = folder / "startup.conf"
        path.write_text(text)
        return subprocess.run([binary("weft"), "--check-config", path], capture_output=True, text=True, timeout=10), path

    def test_the_example_is_right(self):
        done = subprocess.run([binary("weft"), "--check-config", TREE / "startup.conf.example"], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, done.stderr

    def test_an_error_says_where_and_what(self, tmp_path):
        done, path = self._check(tmp_path, "unix { nodaemon }\ncpu {\n  mian-core 0\n}\n")
        assert done.returncode != 0
        assert f"{path}:3:3" in done.stderr
        assert "mian-core" in done.stderr and "main-core" in done.stderr

    def test_a_section_of_another_engine_gets_a_warning(self, tmp_path):
        done, path = self._check(tmp_path, "unix { nodaemon }\ndpdk { dev 0000:01:00.0 { num-rx-queues 2 } socket-mem 4096,0 }\n")
        assert done.returncode == 0
        assert f"{path}:2" in done.stderr and "warning" in done.stderr

    def test_it_starts_nothing(self, tmp_path):
        run = tmp_path / "run"
        done, _ = self._check(tmp_path, f"unix {{ nodaemon runtime-dir {run} cli-listen {run}/cli.sock }}\n")
        assert done.returncode == 0
        assert not run.exists()
