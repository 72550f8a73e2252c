# SPDX-License-Identifier: Apache-2.0
"""One end of a link as seen by a packet socket: crafted frames out, every frame in.

This kernel has no 802.1Q device, so tagged frames are written and read whole. The receive path of the kernel takes the
outermost tag out of the frame before a packet socket sees it; it is put back from the auxiliary data.
"""

import socket
import struct
import threading
import time

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata, linux/if_packet.h


class Wire:
    """Sends and records frames on one interface until closed. A context manager."""

    def __init__(self, namespace, interface):
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.settimeout(0.1)
        self._frames = []
        self._arrived = threading.Condition()
        self._closing = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._closing = True
        self._reader.join()
        self._socket.close()

    def send(self, frame):
        """Sends one frame: bytes, or anything that `bytes()` takes, such as a scapy packet."""
        self._socket.send(bytes(frame))

    def frames(self):
        """All frames received so far."""
        with self._arrived:
            return list(self._frames)

    def clear(self):
        with self._arrived:
            self._frames.clear()

    def expect(self, matches, count=1, seconds=3, what="a matching frame"):
        """The first `count` frames for which `matches(frame)` is true, in order of arrival."""
        deadline = time.monotonic() + seconds
        found, seen = [], 0
        while True:
            with self._arrived:
                if len(self._frames) == seen:
                    self._arrived.wait(deadline - time.monotonic())
                fresh = self._frames[seen:]
            # Each frame is looked at once, and without the lock: `matches` may cost more than a frame's arrival.
            seen += len(fresh)
            found += [frame for frame in fresh if matches(frame)]
            if len(found) >= count:
                return found[:count]
            if time.monotonic() >= deadline:
                raise AssertionError(f"{len(found)} of {count} within {seconds} s: {what}; {seen} frames seen")

    def expect_none(self, matches, seconds=0.5, what="a matching frame"):
        """Fails if a frame matches now or within `seconds`."""
        time.sleep(seconds)
        found = [frame for frame in self.frames() if matches(frame)]
        assert not found, f"{len(found)} times seen, expected none: {what}"

    def _read(self):
        while not self._closing:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
            except TimeoutError:
                continue
            except OSError:
                return  # the interface went away
            for level, kind, value in ancillary:
                if level == SOL_PACKET and kind == PACKET_AUXDATA:
                    status, _, _, _, _, tci, tpid = AUXDATA.unpack(value[:AUXDATA.size])
                    if status & TP_STATUS_VLAN_VALID:
                        data = data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]
            with self._arrived:
                self._frames.append(data)
                self._arrived.notify_all()
