# SPDX-License-Identifier: Apache-2.0
"""One NIC for Weft and the host: the host keeps its connections whatever Weft does, and nobody sets neighbours by hand."""

import socket
import threading
import time

import pytest
from inside import inside_netns, log, passes, ping, row, sh, wait

SHARED = """
af_xdp w0 { ip address 10.1.0.1/24 state up filter { destination 10.2.0.0/24 } }
af_xdp w1 { ip address 10.2.0.1/24 state up }
"""


@pytest.fixture
def host():
    """The kernel has the address of the shared NIC too."""
    sh("ip addr add 10.1.0.1/24 dev w0; ip link set w0 up", check=True)
    assert wait("the host", lambda: ping(0, "10.1.0.1", count=1) == 1, 30)
    yield
    sh("ip addr flush dev w0")


class Session:
    """A TCP connection of host 0 to this host, as SSH has one: words go back and forth."""

    def __init__(self):
        self.listener = socket.create_server(("10.1.0.1", 2222))
        with inside_netns("h0"):
            self.client = socket.create_connection(("10.1.0.1", 2222), 30)
        self.server, _ = self.listener.accept()
        self.server.settimeout(60)
        self.client.settimeout(60)
        self.ends, self.count, self.longest, self.error = False, 0, 0.0, None
        self.thread = threading.Thread(target=self.talk, daemon=True)
        self.thread.start()

    def talk(self):
        try:
            while not self.ends:
                began = time.monotonic()
                self.client.sendall(b"word")
                self.server.sendall(self.server.recv(4, socket.MSG_WAITALL))
                assert self.client.recv(4, socket.MSG_WAITALL) == b"word"
                self.longest = max(self.longest, time.monotonic() - began)
                self.count += 1
                time.sleep(0.02)
        except (OSError, AssertionError) as error:
            self.error = error

    def end(self):
        self.ends = True
        self.thread.join(90)
        for each in (self.client, self.server, self.listener):
            each.close()
        log(f"the session: {self.count} words, the longest took {self.longest:.1f} s, {self.error}")
        assert self.error is None and not self.thread.is_alive()


@row(6, "a session of the host outlives start, kill -9, another start and the end")
def test_a_session_of_the_host_outlives_weft(start, host, note):
    session = Session()
    for end in ("kill", "stop"):
        weft = start(SHARED)
        assert wait("links", lambda: weft.is_up("w0") and weft.is_up("w1"), 30)
        assert passes(0, "10.2.0.2", 40), "Weft forwards, with neighbours that it has found itself"
        assert ping(1, "10.1.0.2", count=3) == 3
        before = session.count
        assert wait("words", lambda: session.count > before + 20, 20)
        getattr(weft, end)()
    before = session.count
    assert wait("words", lambda: session.count > before + 20, 30)
    session.end()
    note(f"longest gap {session.longest:.1f} s")
