# SPDX-License-Identifier: Apache-2.0
"""The CLI socket of VPP's users: vppctl with a command, with a pipe, on a terminal; telnet; netcat.

`WEFT_VPPCTL` may name VPP's own client to be used in place of ours.
"""

import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from lab import Weft, poll_until
from lab.plugins import PluginFolder

CLIENT = os.environ.get("WEFT_VPPCTL", Path(__file__).parent / "lab/vppctl.py")
PREAMBLE = bytes.fromhex("fffc22fffe22fffb03fffd03fffb01fffe01fffd18fffa1801fff0fffd1ffffa1f01fff0")


class Vppctl:
    def __init__(self, weft):
        self.weft = weft
        self.path = weft.runtime / "cli.sock"

    def command(self, *words):
        return [CLIENT, "-s", self.path, *words]

    def __call__(self, *words, text=None):
        source = {"input": text} if text is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(self.command(*words), capture_output=True, timeout=30, **source)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()


@pytest.fixture
def vppctl(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { cli-listen cli.sock cli-listen localhost:5002 }").start()
    yield Vppctl(weft)
    weft.stop()


class Terminal:
    """vppctl on a terminal of 12 lines."""

    def __init__(self, vppctl):
        self.process, self.fd = pty.fork()
        if self.process == 0:
            os.environ["TERM"] = "xterm"
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 80, 0, 0))
            os.execv(CLIENT, [str(word) for word in vppctl.command()])
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text):
        """What came up to `text`."""
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen!r}"
            if select.select([self.fd], [], [], 1)[0]:
                self.seen += os.read(self.fd, 4096).decode()
        before, self.seen = self.seen.split(text, 1)
        return before

    def status(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_one_command(vppctl):
    assert vppctl("show", "version").startswith("weft ")
    assert vppctl("create loopback interface") == "loop0\r\n"
    assert vppctl("set", "int", "state", "loop0", "up") == ""
    assert "\r\nloop0                             1      up " in vppctl("sh int")
    assert vppctl("show verion").startswith("show: unknown input `verion'\r\n")


@pytest.mark.parametrize("late", [False, True])
def test_a_pipe(vppctl, late):
    commands = b"create loopback interface\n\nset interface ip address loop0 10.1.0.1/24\nset int state loop0 up\nshow int addr"
    if not late:
        assert vppctl(text=commands) == "loop0\r\nlocal0 (dn):\r\nloop0 (up):\r\n  L3 10.1.0.1/24\r\n"
        return
    # The pipe ends when the last answer has been there, and vppctl has nothing to wake it.
    process = subprocess.Popen(vppctl.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(commands)
    process.stdin.flush()
    assert process.stdout.readline() == b"loop0\r\n"
    assert process.stdout.readline() == b"local0 (dn):\r\n"
    assert process.stdout.readline() == b"loop0 (up):\r\n"
    assert process.stdout.readline() == b"  L3 10.1.0.1/24\r\n"
    assert process.communicate(timeout=30)[0] == b""
    assert process.returncode == 0


def test_an_answer_that_comes_later(lab):
    """A ping of plugin ping: as one command, in a pipe, and given up by ^C."""
    weft = Weft(lab, lab.namespace("router"), [],
                more=PluginFolder(lab, "ping").settings + "\nunix { cli-listen cli.sock }").start()
    vppctl = Vppctl(weft)
    assert vppctl(text=b"create loopback interface\nset interface state loop0 up\nset interface ip address loop0 10.1.0.1/24\n")
    own = "ping 10.1.0.1 repeat 3 interval 0.02"
    assert "3 sent, 3 received" in vppctl(*own.split())
    answers = vppctl(text=f"show version\n{own}\nshow version".encode())
    assert [line.split()[0] for line in answers.split("\r\n") if line.startswith(("weft", "ping"))] == ["weft", "ping", "weft"]
    # A telnet client sends ^C as a byte; vppctl itself would end.
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(vppctl.path))
        seen = b""
        client.sendall(b"\xff\xfa\x18\x00xterm\xff\xf0ping 10.1.0.1 repeat 1000 interval 10\r")
        for typed, expected in [(b"\x03", b"interval 10\r\n"), (b"show version\r", b"^C\r\n"), (b"quit\r", b"weft v0")]:
            while expected not in seen:
                seen += client.recv(4096)
            client.sendall(typed)
        while client.recv(4096):
            pass
    weft.stop()


def test_many_commands_in_a_pipe_are_all_answered(vppctl):
    assert vppctl(text=b"show version\n" * 500).count("weft") == 500


def test_a_terminal(vppctl):
    terminal = Terminal(vppctl)
    assert "__ __ _____" in terminal.expect("vpp# ")
    terminal.type("sh ver\t\r")
    assert terminal.expect("vpp# ").startswith("sh version \r")
    terminal.type("show ?")
    assert "Why packets were dropped" in terminal.expect("vpp# show ")
    terminal.type("graph\r")
    terminal.expect("-- more -- (1-11/")
    terminal.type("q")
    terminal.expect("vpp# ")
    terminal.type("\x1b[A\x1b[A\r")
    assert "weft v0" in terminal.expect("vpp# ")
    terminal.type("quit\r")
    assert terminal.status() == 0


def test_telnet_over_tcp(vppctl):
    with vppctl.weft.namespace.socket() as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", 5002))
        assert client.recv(100) == PREAMBLE
        client.sendall(b"show version\r\n")
        seen = b""
        while seen.count(b"vpp# ") < 2:
            seen += client.recv(4096)
        assert b"show version\r\nweft v0" in seen


def test_a_hundred_clients_and_one_that_does_not_read(vppctl):
    slow = socket.socket(socket.AF_UNIX)
    slow.connect(str(vppctl.path))
    slow.sendall(b"\xff\xfa\x18\x00vppctl\xff\xf0" + b"show graph\n" * 3000)
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for each in crowd:
        each.settimeout(20)
        each.connect(str(vppctl.path))
        assert each.recv(100) == PREAMBLE
    for each in crowd:
        each.sendall(b"\xff\xfa\x18\x00vppctl\xff\xf0show version\n\0")
    for each in crowd:
        assert each.recv(100).startswith(b"weft ")
        each.close()
    assert vppctl("show version").startswith("weft ")
    slow.close()


def test_command_files_say_where_they_fail(vppctl, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("# two interfaces\ncreate loopback interface \\\n  instance 3\n\ncreate loopback interface # instance 0\n")
    bad.write_text(f"exec {good}\nset interface state loop3 upp\ncreate loopback interface instance 9\n")
    answer = vppctl("exec", str(bad))
    assert f"{bad}:2: expected up or down, found \"upp\"" in answer
    shown = vppctl("show interface")
    assert "loop3" in shown and "loop0" in shown and "loop9" not in shown


def test_a_start_up_file_that_fails_does_not_stop_the_daemon(lab):
    folder = Path(lab.folder("exec"))
    (folder / "setup").write_text("create loopback interface\nset interface state loop1 up\n")
    weft = Weft(lab, lab.namespace("router"), [], more=f"unix {{ exec {folder / 'setup'} }}").start()
    poll_until(lambda: "setup:2: expected interface" in weft.log_text(), 10, "the log says which line failed")
    assert weft.interface("loop0")
    weft.stop()
