# SPDX-License-Identifier: Apache-2.0
"""What strangers' commands and files must not do to a running daemon: keep its main thread, lend them its rights, end it silently."""

import json
import os
import re
import signal
import stat
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


def test_a_fault_leaves_a_report_in_the_log(lab):
    weft = Weft(lab, lab.namespace("router"), [], more="unix { log weft.log }").start()
    weft.process.send_signal(signal.SIGSEGV)
    assert weft.process.wait(5) == -signal.SIGSEGV
    for text in (weft.log_text(), (weft.runtime / "weft.log").read_text()):
        assert "got SIGSEGV at address 0x" in text and "thread weft_main" in text, text


def test_idle_clients_do_not_lock_the_operator_out(weft):
    import socket
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
