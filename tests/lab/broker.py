# SPDX-License-Identifier: Apache-2.0
"""A route broker for tests (protocol page, section 10): it accepts whoever connects and tells its routes from the start."""

import struct
import threading

import zmq

UUID = b"00000000-0000-0000-0000-000000000000"
NETLINK, PROTOBUF = 0, 1


class Broker:
    """Runs on a thread until `kill`. `routes` is what it tells a dataplane that connects."""

    def __init__(self, lab, folder, form=NETLINK, routes=()):
        self.control, self.data = f"ipc://{folder}/broker", f"ipc://{folder}/broker.data"
        self.form, self.routes = form, list(routes)
        self.keepalives = 0
        self._orders, self._lock, self._stop, self._thread = [], threading.Lock(), threading.Event(), None
        lab.on_close(self.kill)

    def start(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def kill(self):
        self._stop.set()
        if self._thread:
            self._thread.join(10)
            self._thread = None

    def push(self, *frames):
        """Tells more: one message for each frame."""
        self._order(lambda: [self._push.send(frame) for frame in frames])

    def say(self, *frames):
        """Sends on the control channel whatever it is."""
        self._order(lambda: self._router.send_multipart([self._peer, *frames]))

    def _order(self, order):
        with self._lock:
            self._orders.append(order)

    def _run(self):
        context = zmq.Context()
        self._router, self._push = context.socket(zmq.ROUTER), context.socket(zmq.PUSH)
        self._router.linger = self._push.linger = 0
        self._router.bind(self.control)
        self._push.bind(self.data)
        try:
            while not self._stop.is_set():
                if self._router.poll(20):
                    self._hear(*self._router.recv_multipart())
                with self._lock:
                    orders, self._orders = self._orders, []
                for order in orders:
                    order()
        finally:
            self._router.close()
            self._push.close()
            context.term()

    def _hear(self, peer, word, *_):
        if word == b"CONNECT":
            self._peer = peer
            self._router.send_multipart([peer, b"ACCEPT", UUID, self.data.encode(), struct.pack("=I", self.form)])
            for route in self.routes:
                self._push.send(route)
        elif word == b"KEEPALIVE":
            self.keepalives += 1
