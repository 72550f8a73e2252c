# SPDX-License-Identifier: Apache-2.0
"""What strangers' commands and files must not do to a running daemon: keep its main thread, lend them its rights, end it silently."""

import itertools
import json
import os
import random
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lab import Weft, poll_until
from lab.pg import PgBed
from lab.weft import TREE, CliError, binary

# Far below what a command took that kept the main thread (5 to 17 s), far above what a busy machine adds to a turn of 4 ms.
PATIENCE = 1.0
NOBODY = 65534


@pytest.fixture
def weft(lab):
    daemon = Weft(lab, lab.namespace("router"), [], more=f"unix {{ gid {NOBODY} }}")
    daemon.folder.chmod(0o755)
    yield daemon.start()
    if daemon.process.returncode is None:
        daemon.stop()


def as_nobody(weft, command):
    """The command, given by a user who is in the group of the socket and no more."""
    def change():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    done = subprocess.run([binary("weftctl"), "--socket", weft.socket, command], capture_output=True, text=True, timeout=30, preexec_fn=change)
    return done.returncode, done.stdout + done.stderr


def slowest_answer_during(weft, work):
    """Runs `work` and asks for the version meanwhile; the longest time that an answer took."""
    thread = threading.Thread(target=work)
    thread.start()
    longest = 0
    while thread.is_alive():
        started = time.monotonic()
        weft.cli("show version")
        longest = max(longest, time.monotonic() - started)
    thread.join()
    return longest


def test_long_commands_give_way_to_others(weft):
    routes = 300_000
    assert slowest_answer_during(weft, lambda: weft.cli(f"ip route add count {routes} 10.0.0.0/32 via drop")) < PATIENCE
    shown = []
    assert slowest_answer_during(weft, lambda: shown.append(weft.cli("show ip fib"))) < PATIENCE
    assert shown[0].count("\n10.") >= routes
    shown.clear()
    # Read as JSON afterwards: to do so holds Python's lock, and with it the thread that measures.
    ask = [binary("weftctl"), "--socket", weft.socket, "--json", "show ip fib"]
    assert slowest_answer_during(weft, lambda: shown.append(subprocess.run(ask, capture_output=True, timeout=60).stdout)) < PATIENCE
    assert len(json.loads(shown[0])["tables"][0]["routes"]) >= routes
    assert slowest_answer_during(weft, lambda: weft.cli(f"ip route del count {routes} 10.0.0.0/32")) < PATIENCE


@pytest.mark.parametrize("what", ["neighbours", "routes", "rules"])
def test_one_change_of_ten_thousand_holds_nobody_up(weft, what):
    """All of it, or nothing: so it is made in one step, which is short."""
    weft.cli("create loopback interface")
    weft.cli("set interface state loop0 up")
    weft.cli("set interface ip address loop0 10.0.0.1/8")
    address = lambda net, i: f"{net}.1.{i // 256}.{i % 256}"  # noqa: E731
    command = {
        "neighbours": lambda i: f"set ip neighbor loop0 {address(10, i)} 02:00:00:00:{i // 256:02x}:{i % 256:02x} static",
        "routes": lambda i: f"ip route add {address(20, i)}/32 via {address(10, i)} loop0",
        "rules": lambda i: f"classify rule add edge id {i + 1} priority {i + 1} src {address(30, i)}/32 action drop",
    }[what]
    path = weft.folder / "change"
    path.write_text("".join(f"{command(i)}\n" for i in range(10_000)))
    assert slowest_answer_during(weft, lambda: weft.cli(f"exec --atomic {path}")) < PATIENCE
    shown, net = {"neighbours": ("show ip neighbors", 10), "routes": ("show ip fib", 20), "rules": ("show classify edge", 30)}[what]
    assert address(net, 9_999) in weft.cli(shown)


def test_files_are_opened_with_the_rights_of_whoever_names_them(weft):
    secret = weft.folder / "secret"
    secret.write_text("show version\n")
    secret.chmod(0o600)
    assert "weft" in weft.cli(f"exec {secret}")
    status, said = as_nobody(weft, f"exec {secret}")
    assert status != 0 and "Permission denied" in said, said
    secret.chmod(0o644)
    status, said = as_nobody(weft, f"exec {secret}")
    assert status == 0 and "weft" in said, said

    trace = Path("/tmp") / f"weft-api-trace-{os.getpid()}"
    try:
        status, said = as_nobody(weft, f"api trace save {trace.name}")
        assert status == 0 and trace.stat().st_uid == NOBODY, said
    finally:
        trace.unlink(missing_ok=True)

    weft.cli("create packet-generator interface pg0")
    captured = weft.folder / "captured.pcap"
    status, said = as_nobody(weft, f"packet-generator capture pg0 pcap {captured}")
    assert status != 0 and "Permission denied" in said, said
    assert not captured.exists()
    weft.cli(f"packet-generator capture pg0 pcap {captured}")
    assert not captured.exists(), "no file without a packet"
    weft.cli("packet-generator capture pg0 disable")
    precious = Path("/tmp") / f"weft-precious-{os.getpid()}.pcap"
    precious.write_text("precious")
    try:
        status, said = as_nobody(weft, f"pcap trace rx file {precious.name}")
        assert status != 0 and precious.read_text() == "precious", said
    finally:
        precious.unlink()


def test_a_fifo_in_the_place_of_a_file_hangs_nothing(weft):
    fifo = weft.folder / "fifo"
    os.mkfifo(fifo)
    for command in (f"exec {fifo}", f"packet-generator new {{ name a source pg0 pcap {fifo} }}"):
        with pytest.raises(CliError, match="it is a FIFO, not a regular file"):
            weft.cli(command)
    assert weft.main_thread_answers()


def test_the_log_is_opened_again_on_sighup(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { log weft.log }").start()
    log, moved = weft.runtime / "weft.log", weft.runtime / "weft.log.1"
    poll_until(log.exists, 5, "there is a log")
    log.rename(moved)
    weft.process.send_signal(signal.SIGHUP)
    poll_until(lambda: log.exists() and "opened again" in log.read_text(), 5, "a new log")
    assert weft.main_thread_answers()
    assert "opened again" not in moved.read_text()
    weft.stop()


def test_sighup_waits_for_nobody_whatever_has_taken_the_places_of_files(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { log weft.log }").start()
    log, moved = weft.runtime / "weft.log", weft.runtime / "weft.log.1"
    poll_until(log.exists, 5, "there is a log")
    log.rename(moved)
    weft.config.unlink()
    for path in (log, weft.config):
        os.mkfifo(path)
    weft.process.send_signal(signal.SIGHUP)
    poll_until(lambda: "cannot open the log" in moved.read_text(), 5, "the old log is written to as before")
    assert "it is a FIFO, not a regular file" in moved.read_text()
    assert weft.main_thread_answers()
    log.unlink()
    weft.process.send_signal(signal.SIGHUP)
    poll_until(lambda: log.exists() and "opened again" in log.read_text(), 5, "a new log")
    weft.stop()


def started_by_hand(weft, *arguments, **files):
    """The daemon, started with other files than the lab gives it; ended by the test."""
    weft.runtime.mkdir(exist_ok=True)
    process = subprocess.Popen(["ip", "netns", "exec", weft.namespace.name, binary("weft"), "-c", weft.config, *arguments], **files)
    weft.lab.on_close(lambda: process.poll() is None and process.kill())
    return process


@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "link"])
@pytest.mark.parametrize("what", ["pipe", "socket", "file"])
def test_a_log_is_whatever_the_starter_has_connected(lab, tmp_path, name, what):
    """systemd connects a socket, a container's runtime a pipe. Every line comes, and comes once."""
    if name == "link":
        name = tmp_path / "link"
        name.symlink_to("/dev/stderr")
    weft = Weft(lab, lab.namespace("router"), [], more=f"unix {{ log {name} }}")
    if what == "pipe":
        ours, theirs = (os.fdopen(fd, mode) for fd, mode in zip(os.pipe(), ("rb", "wb")))
    elif what == "socket":
        ours, theirs = socket.socketpair()
        ours = ours.makefile("rb")
    else:
        theirs = open(tmp_path / "log", "wb")
        ours = open(tmp_path / "log", "rb")
    weft.process = started_by_hand(weft, stderr=theirs)
    poll_until(weft._answers, 20, "weft answers")
    weft.cli("show version")
    weft.process.send_signal(signal.SIGHUP)
    assert weft.main_thread_answers()
    weft.process.send_signal(signal.SIGTERM)
    assert weft.process.wait(20) == 0
    theirs.close()
    lines = ours.read().decode().splitlines()
    for said in ("main on core", "the log is opened again", "ends: SIGTERM"):
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert not any("cannot open the log" in line for line in lines)


def test_a_log_that_nobody_reads_loses_lines_and_the_daemon_nothing(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { log /dev/stderr } logging { default-log-level debug }")
    reader, writer = os.pipe()
    weft.process = started_by_hand(weft, stderr=writer)
    os.close(writer)
    poll_until(weft._answers, 20, "weft answers")
    # More than a pipe holds.
    for _ in range(3):
        weft.script(["show version", "# comment"] * 1000)
    assert weft.main_thread_answers()
    os.set_blocking(reader, False)
    read = b""
    while select.select([reader], [], [], 0.2)[0]:
        read += os.read(reader, 1 << 20)
    weft.process.send_signal(signal.SIGTERM)
    while more := (select.select([reader], [], [], 20)[0] and os.read(reader, 1 << 20)):
        read += more
    assert weft.process.wait(20) == 0
    assert re.search(rb"\d+ lines of the log are missing here: nobody read them\n", read), read[-500:]


@pytest.mark.parametrize("setting", ["dataplane-config", "controller-config", "certificate"])
def test_a_fifo_among_the_files_of_vplaned_is_named_and_nobody_is_waited_for(lab, tmp_path, setting):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    rest = "authentication elliptic-curve controller-certificate /nowhere" if setting == "certificate" else ""
    weft = Weft(lab, lab.namespace("router"), [], more=f"vplaned {{ {setting} {fifo} request ipc:///tmp/nobody {rest} }}")
    process = started_by_hand(weft, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0 and f"{fifo}: it is a FIFO, not a regular file" in said, said


def test_a_fault_leaves_a_report_in_the_log(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { log weft.log }").start()
    weft.process.send_signal(signal.SIGSEGV)
    assert weft.process.wait(5) == -signal.SIGSEGV
    for text in (weft.log_text(), (weft.runtime / "weft.log").read_text()):
        assert "got SIGSEGV at address 0x" in text and "thread weft_main" in text, text


def test_idle_clients_do_not_lock_the_operator_out(weft):
    crowd = []
    for _ in range(200):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(weft.socket))
        crowd.append(client)
    assert "weft" in weft.cli("show version")
    for client in crowd:
        client.close()


def test_counters_have_a_group_of_their_own(lab):
    weft = Weft(lab, lab.namespace("router"), [], more=f"unix {{ gid 0 }} statseg {{ gid {NOBODY} }}").start()
    groups = {path.name: (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) for path in weft.runtime.iterdir() if path.is_socket()}
    assert groups["stats.sock"] == (NOBODY, 0o660)
    assert groups["weftctl.sock"] == (0, 0o660)
    weft.stop()


@pytest.mark.parametrize("text, status, said", [
    ("unix { log /nowhere/weft.log }", 0, "there is no folder /nowhere"),
    ("cpu { main-core 0 corelist-workers 1000 }", 1, "core 1000 is not there"),
    ("interfaces { af_xdp lo { workers 7 } }", 1, "there is no worker 7"),
])
def test_check_config_says_what_the_start_would(tmp_path, text, status, said):
    config = tmp_path / "startup.conf"
    config.write_text(text)
    done = subprocess.run([binary("weft"), "--check-config", config], capture_output=True, text=True, timeout=30)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def fields(text, indices):
    """`a=1 b={"c": "@pg0"}`: what a message is given; `@NAME` is the index of an interface."""
    found, decoder = {}, json.JSONDecoder(object_hook=lambda pairs: {key: named(value, indices) for key, value in pairs.items()})
    while text := text.strip():
        name, _, rest = text.partition("=")
        if rest.startswith("@"):
            value, _, text = rest.partition(" ")
        else:
            value, end = decoder.raw_decode(rest)
            text = rest[end:]
        found[name] = named(value, indices)
    return found


def named(value, indices):
    return indices()[value[1:]] if isinstance(value, str) and value.startswith("@") else value


def has(reply, expected):
    """Whether a reply has these fields, whatever types the client makes of them."""
    if isinstance(expected, dict):
        return all(has(getattr(reply, key), value) for key, value in expected.items())
    return int(reply) == expected if isinstance(expected, int) else str(reply) == expected


MESSAGES = sorted((TREE / "tests/strangers/messages").glob("*.msg"))


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_messages_are_answered_as_their_files_say(lab, path):
    bed = PgBed(lab, interfaces=0)

    def indices():
        return {each.interface_name: each.sw_if_index for each in bed.api.sw_interface_dump()}

    lines = [(number, line) for number, line in enumerate(path.read_text().splitlines(), 1) if line and not line.startswith("#")]
    reply = place = None
    for number, line in lines:
        sign, _, expected = line.partition(" ")
        if sign == "=":
            wanted = json.loads(expected)
            replies = reply if isinstance(reply, list) else [reply]
            good = replies == [] if wanted == [] else any(has(each, wanted) for each in replies)
            assert good, f"{place}: {reply}"
        elif sign == "!":
            assert reply.retval == int(expected), f"{place}: {reply}"
        elif sign == "~":
            assert expected in str(reply), f"{place}: {reply}"
        else:
            place = f"{path.name}:{number}: {line}"
            name, arguments = re.fullmatch(r"(\w+) ?(.*)", line).groups()
            reply = getattr(bed.api, name)(**fields(arguments, indices))
    assert bed.weft.main_thread_answers()
    bed.close()


BASE_SIZES = {"bool": 1, "u8": 1, "i8": 1, "u16": 2, "i16": 2, "u32": 4, "i32": 4, "f64": 8, "u64": 8, "i64": 8}


class Definitions:
    """The messages of the files that `weft --write-api-files` writes, and how long they are."""

    def __init__(self, folder):
        subprocess.run([binary("weft"), "--write-api-files", folder], check=True, timeout=30)
        self.sizes, self.types, self.messages, self.services = dict(BASE_SIZES), {}, {}, {}
        for path in sorted(folder.glob("core/*.api.json")):
            found = json.loads(path.read_text())
            for name, *fields in found["types"] + found["unions"]:
                self.types[name] = (fields, max if name in {each[0] for each in found["unions"]} else sum)
            for name, *values in found["enums"] + found["enumflags"]:
                self.sizes[name] = BASE_SIZES[values[-1]["enumtype"]]
            for name, alias in found["aliases"].items():
                self.types[name] = ([[alias["type"], "value", alias.get("length", 1)]], sum)
            for name, *fields in found["messages"]:
                self.messages[name] = [field for field in fields if isinstance(field, list)]
            self.services |= found["services"]

    def size(self, field):
        kind, _, *count = field
        kind = re.sub(r"^vl_api_(.*)_t$", r"\1", kind)
        if kind == "string":
            return count[0] or 4
        if kind not in self.sizes:
            fields, total = self.types[kind]
            self.sizes[kind] = total([self.size(each) for each in fields if isinstance(each, list)])
        return self.sizes[kind] * (count[0] if count and isinstance(count[0], int) else 1)

    def requests(self):
        """What clients send: the name, the bytes after the header, and whether a reply must come (dumps may be of nothing)."""
        for name, fields in self.messages.items():
            if [each[1] for each in fields[:3]] == ["_vl_msg_id", "client_index", "context"] and not name.endswith(("_event", "_reply", "_details")):
                yield name, sum(map(self.size, fields[3:])), f"{name}_reply" in self.messages


class RawClient:
    """A client of bytes."""

    def __init__(self, path, definitions):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.send(struct.pack(">HII64s", 15, 0, 1, b"strangers"))
        reply = self.receive()
        *_, self.index, count = struct.unpack_from(">HIIiIH", reply)
        entries = (struct.unpack_from(">H64s", reply, 20 + 66 * i) for i in range(count))
        self.table = {name.rstrip(b"\0").decode().rsplit("_", 1)[0]: number for number, name in entries}
        self.contexts = itertools.count(1)
        # Some replies have a client's index in front of their context.
        begins = {self.table[name]: [each[1] for each in fields] for name, fields in definitions.messages.items() if name in self.table}
        self.context_at = {number: 6 if "client_index" in fields[:2] else 2 for number, fields in begins.items()}

    def send(self, message):
        self.socket.sendall(struct.pack(">QII", 0, len(message), 0) + message)

    def receive(self):
        def exactly(length):
            data = b""
            while len(data) < length:
                more = self.socket.recv(length - len(data))
                if not more:
                    raise EOFError
                data += more
            return data
        _, length, _ = struct.unpack(">QII", exactly(16))
        return exactly(length)

    def answers(self, name, body):
        """The ids of all messages that answer one, up to the reply to the ping that is sent after it."""
        mine, last = next(self.contexts), next(self.contexts)
        self.send(struct.pack(">HII", self.table[name], self.index, mine) + body)
        self.send(struct.pack(">HII", self.table["control_ping"], self.index, last))
        found = []
        while True:
            message = self.receive()
            (number,) = struct.unpack_from(">H", message)
            (context,) = struct.unpack_from(">I", message, self.context_at[number])
            if (number, context) == (self.table["control_ping_reply"], last):
                return found
            if context == mine:
                found.append(number)


def strange_bodies(length, seed):
    """Zeros, ones, one byte too few, each word at its most (a count is one of them), and anything."""
    yield bytes(length)
    yield b"\xff" * length
    if length:
        yield bytes(length - 1)
        yield b"\xff" * (length - 1)
    for at in range(0, max(length - 3, 0)):
        yield bytes(at) + b"\xff" * 4 + bytes(length - at - 4)
        yield bytes(at) + b"\0\0\0\1" + bytes(length - at - 4)
    source = random.Random(seed)
    for _ in range(8):
        yield source.randbytes(length + source.randrange(64))


# These end the connection of whoever sends them.
FAREWELLS = {"sockclnt_delete"}


def test_every_message_of_every_family_is_answered_whatever_is_in_it(lab, tmp_path):
    definitions = Definitions(tmp_path)
    bed = PgBed(lab, interfaces=1)
    client = RawClient(bed.weft.runtime / "api.sock", definitions)
    requests = [each for each in definitions.requests() if each[0] not in FAREWELLS | {"sockclnt_create"}]
    assert len(requests) > 150, "all families are there"
    silent, slowest = [], (0, None)
    for name, length, must in requests:
        assert name in client.table, f"{name} is not in the message table"
        for body in strange_bodies(length, name):
            started = time.monotonic()
            try:
                found = client.answers(name, body)
            except (OSError, EOFError) as error:
                pytest.fail(f"{name} {body.hex()}: {error!r}; the log:\n{bed.weft.log_text()[-2000:]}")
            slowest = max(slowest, (time.monotonic() - started, f"{name} {body.hex()}"))
            if must and client.table[f"{name}_reply"] not in found:
                silent.append(f"{name} {body.hex()}")
    assert not silent, f"{len(silent)} not answered:\n" + "\n".join(silent[:40])
    assert slowest[0] < 20 * PATIENCE, slowest
    for name in FAREWELLS:
        RawClient(bed.weft.runtime / "api.sock", definitions).send(struct.pack(">HII", client.table[name], 0, 1))
    assert bed.weft.main_thread_answers()
    assert "panicked" not in bed.weft.log_text()
    bed.close()
