#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of the CLI socket that does on the wire what VPP's `vppctl` does, byte for byte and with its weaknesses.

    vppctl.py -s PATH [WORD ...]

It reads 100 bytes at a time and understands no telnet command that is cut in two; it counts NUL bytes as
acknowledgements; after its command, or the end of its input, it says `quit` when it has got one, and reads to the end.
"""

import fcntl
import os
import select
import socket
import struct
import sys
import termios

IAC, SB, SE, TTYPE, NAWS = 255, 250, 240, 24, 31


class Client:
    def __init__(self, path, words):
        self.command = (" ".join(words) + "\n").encode() + b"\0" if words else b""
        self.interactive = not words and os.isatty(0)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.named = False
        self.acknowledged = 1
        self.quit_after = 0

    def run(self):
        poll = select.epoll()
        poll.register(self.socket, select.EPOLLIN)
        try:
            poll.register(0, select.EPOLLIN)
        except PermissionError:
            pass  # /dev/null or a file: never read, as in vppctl
        while True:
            for fd, _ in poll.poll(maxevents=1):
                if fd == 0:
                    self._typed()
                elif not self._received():
                    return

    def _typed(self):
        if not self.named:
            return
        data = os.read(0, 100)
        if data:
            self.socket.sendall(data)
        else:
            self.quit_after = 1

    def _received(self):
        data = self.socket.recv(100)
        if not data:
            return False
        text = self._negotiate(data)
        self.acknowledged += text.count(0)
        os.write(1, text.replace(b"\0", b""))
        if self.quit_after and self.quit_after < self.acknowledged:
            self.socket.sendall(b"quit\n")
            self.quit_after = 0
        if self.command and self.named:
            self.socket.sendall(self.command)
            self.command = b""
            self.quit_after = self.acknowledged
        return True

    def _negotiate(self, data):
        text = bytearray()
        at = 0
        while at < len(data):
            if data[at] != IAC:
                text.append(data[at])
                at += 1
            elif data[at + 1] != SB:
                at += 3
            else:
                option = data[at + 2]
                at = data.index(IAC, at + 3) + 2
                if option == TTYPE:
                    name = os.environ.get("TERM", "dumb") if self.interactive else "vppctl"
                    self.socket.sendall(bytes([IAC, SB, TTYPE, 0]) + name.encode() + bytes([IAC, SE]))
                    self.named = True
                elif option == NAWS and self.interactive:
                    rows, columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))[:2]
                    self.socket.sendall(bytes([IAC, SB, NAWS]) + struct.pack("!HH", columns, rows) + bytes([IAC, SE]))
        return bytes(text)


def main():
    _, option, path, *words = sys.argv
    assert option == "-s", __doc__
    client = Client(path, words)
    if not client.interactive:
        return client.run()
    before = termios.tcgetattr(0)
    raw = termios.tcgetattr(0)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    termios.tcsetattr(0, termios.TCSAFLUSH, raw)
    try:
        client.run()
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)


if __name__ == "__main__":
    main()
