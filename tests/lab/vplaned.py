# SPDX-License-Identifier: Apache-2.0
"""A vplaned for tests: it registers ports as TAPs, and forwards what the kernel of its namespace says.

It speaks the request and publication channels as the real one does (see api/vplaned): a snapshot by topic that the last
message wins, sequence numbers that begin at 1 with each start, silence where the real one is silent. Everything that it
is told is kept in `heard`. `kill` ends it as kill -9 would, without a word to anybody; its TAPs stay, as the real ones do.
"""

import json
import multiprocessing
import struct
import threading

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from .netlink_capture import NetlinkCapture

UUID = b"00000000-0000-0000-0000-000000000000"


class Vplaned:
    """Runs on a thread until `kill`. Endpoints are files of `folder`, or with `tcp` of the namespace's loopback.

    `curve` names a folder of admitted public certificates; then the request channel is protected. With `own_process` it is
    a process, which `kill` really kills; what it hears is then not to be had."""

    def __init__(self, lab, namespace, folder, commands=(), tcp=False, curve=None, own_process=False):
        self.namespace, self.folder, self.curve, self.own_process = namespace, folder, curve, own_process
        self.request, self.publish = f"ipc://{folder}/vplaned.req", f"ipc://{folder}/vplaned.pub"
        if tcp:
            namespace.ip("link", "set", "lo", "up")
            self.request, self.publish = "tcp://127.0.0.1:4415", "tcp://[::ffff:127.0.0.1]:4416"
        if curve:
            zmq.auth.create_certificates(folder, "controller")
        # What becomes of the frames of a snapshot's message on their way out.
        self.mangle = lambda number, frames: frames
        self.heard = []
        self.ports = {}
        self.commands = list(commands)
        self._orders = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = None
        lab.on_close(self.kill)

    def section(self, console):
        """The section of startup.conf that leads here."""
        more = ""
        if self.curve:
            more = (f"authentication elliptic-curve certificate {self.folder}/weft.cert "
                    f"controller-certificate {self.folder}/controller.key")
        return f"vplaned {{ request {self.request} console {console} vplsh-console {console}-vplsh report-interval 1 {more} }}"

    # Life ----------------------------------------------------------------------------------------------------------

    def start(self):
        if self.own_process:
            processes = multiprocessing.get_context("fork")
            ready, start = processes.Event(), processes.Process
        else:
            ready, start = threading.Event(), threading.Thread
        self._stop.clear()
        self._thread = start(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10), "the double does not start"
        return self

    def kill(self):
        self._stop.set()
        if self._thread:
            if self.own_process:
                self._thread.kill()
            self._thread.join(10)
            self._thread = None

    # What a test does ------------------------------------------------------------------------------------------------

    def words(self):
        """First words of what the dataplane has said."""
        with self._lock:
            return [frames[0].decode(errors="replace") for frames in self.heard]

    def events(self):
        """Commands that the dataplane reported as failed."""
        with self._lock:
            return [frames[3].decode() for frames in self.heard if frames[:2] == [b"DPEVENT", b"CONFERR"]]

    def command(self, text):
        """Publishes a text command; it is part of snapshots from now on."""
        self._order(lambda: self._command(text.encode()))

    def say(self, *frames):
        """Sends on the request channel whatever it is."""
        self._order(lambda: self._router.send_multipart([self._session, *frames]))

    def admit(self):
        """Reads the admitted certificates again."""
        self._order(lambda: self._guard.configure_curve(domain="*", location=str(self.curve)))

    def netlink(self, topic, message):
        """The kernel says this, although it does not; it is part of snapshots from now on."""
        self._order(lambda: self._take(topic, message, live=True))

    def kept(self, topic):
        """The message under this topic in the snapshot."""
        return self._snapshot[topic.encode()][1]

    def send_publication(self, *frames):
        """Publishes frames as they are."""
        self._order(lambda: self._publisher.send_multipart(frames))

    def _order(self, order):
        with self._lock:
            self._orders.append(order)

    # The thread ------------------------------------------------------------------------------------------------------

    def _run(self, ready):
        self.namespace.enter()
        context = zmq.Context()
        self._router, self._publisher = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
        for end in (self._router, self._publisher):
            end.linger, end.sndhwm, end.rcvhwm, end.ipv6 = 0, 0, 0, True
        if self.curve:
            self._guard = ThreadAuthenticator(context)
            self._guard.start()
            self._guard.configure_curve(domain="*", location=str(self.curve))
            self._router.curve_server = True
            self._router.curve_publickey, self._router.curve_secretkey = zmq.auth.load_certificate(
                f"{self.folder}/controller.key_secret")
        self._router.bind(self.request)
        self._publisher.bind(self.publish)
        self._session, self._sequence, self._snapshot = None, 0, {}
        try:
            with NetlinkCapture(self.namespace) as kernel:
                self._listen(kernel, ready)
        finally:
            self._router.close()
            self._publisher.close()
            if self.curve:
                self._guard.stop()
            context.term()

    def _listen(self, kernel, ready):
        for topic, message in kernel.dump():
            self._take(topic, message, live=False)
        for text in self.commands:
            self._keep(self._key(text.encode()), text.encode())
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(kernel.fileno(), zmq.POLLIN)
        ready.set()
        while not self._stop.is_set():
            poller.poll(20)
            self._hear(kernel)
            with self._lock:
                orders, self._orders = self._orders, []
            for order in orders:
                order()
            while self._router.poll(0):
                peer, *frames = self._router.recv_multipart()
                with self._lock:
                    self.heard.append(frames)
                self._serve(peer, frames, kernel)

    def _hear(self, kernel):
        for topic, message in kernel.live():
            self._take(topic, message, live=True)

    def _take(self, topic, message, live):
        name = topic.encode()
        # A deletion takes the entry out of the snapshot; its number is that of the addition and one.
        deleted = struct.unpack_from("H", message, 4)[0] & 3 == 1
        if deleted:
            self._snapshot.pop(name, None)
            self._sequence += 1
        else:
            self._keep(name, message)
        if live:
            self._publish(name, message)

    def _keep(self, name, data):
        self._sequence += 1
        self._snapshot[name] = (self._sequence, data)

    def _publish(self, name, data):
        self._publisher.send_multipart([name, struct.pack("Q", self._sequence), data])

    def _command(self, data):
        key = self._key(data)
        self._keep(key, data)
        self._publish(key.split(b"#")[0], data)

    def _key(self, command):
        """The topic of a text command, and something that tells it from others of the same topic."""
        return b"%s #%d" % (b" ".join(command.split()[:2]), len(self._snapshot))

    def _serve(self, peer, frames, kernel):
        def answer(*reply):
            self._router.send_multipart([peer, *reply])

        word = frames[0]
        if word == b"CONNECT":
            if len(frames) == 4 and frames[2] == UUID:
                self._session = peer
                answer(b"ACCEPT", UUID, bytes(2))
        elif peer != self._session:
            answer(b"FAIL: process_msg")
        elif word == b"CONFQUERY":
            answer(b"CONF", b"PUBLISH", self.publish.encode())
        elif word == b"NEWPORT":
            port = json.loads(frames[3])
            name = self.ports.setdefault(port["port"], f"dp0{port['name']}")
            self._make_tap(name, port["mac"])
            index = self.namespace.links()[name]["ifindex"]
            answer(b"OK", frames[1], struct.pack("I", index), name.encode())
        elif word == b"DELPORT":
            name = self.ports.pop(struct.unpack("I", frames[2])[0], None)
            # Somebody else may have deleted it.
            if name in self.namespace.links():
                self.namespace.ip("link", "del", name)
            answer(b"OK", frames[1], bytes(4))
        elif word == b"WHATSUP?":
            # What the kernel said before is part of the answer.
            self._hear(kernel)
            for number, (name, (sequence, data)) in enumerate(self._in_order()):
                answer(*self.mangle(number, [name.split(b"#")[0], struct.pack("Q", sequence), data]))
            answer(b"THATSALLFOLKS!", struct.pack("Q", self._sequence), b"")

    def _in_order(self):
        """By tables as the real one: links, addresses, routes, neighbours, netconf, commands."""
        ranks = [b"link", b"bridge_link", b"address", b"route", b"neigh", b"netconf"]

        def rank(entry):
            word = entry[0].split(b" ")[0]
            stacked = entry[0].split(b" ")[2:3] == [b"ifindex"]
            return (ranks.index(word) if word in ranks else len(ranks), stacked)

        return sorted(self._snapshot.items(), key=rank)

    def _make_tap(self, name, mac):
        if name not in self.namespace.links():
            self.namespace.ip("tuntap", "add", "dev", name, "mode", "tap")
            self.namespace.ip("link", "set", name, "address", mac)
