# SPDX-License-Identifier: Apache-2.0
"""Whether the host of one site reaches that of another."""

import socket

SECONDS = 15


def pings(source, destination):
    return source.host.run("ping", "-c", 1, "-W", 1, destination.host_ip, check=False).returncode == 0


def connects(source, destination, port):
    """Whether a TCP connection opens and carries data."""
    with destination.host.socket() as listener, source.host.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((destination.host_ip, port))
        listener.listen()
        listener.settimeout(1)
        client.settimeout(1)
        try:
            client.connect((destination.host_ip, port))
            server, _ = listener.accept()
        except TimeoutError:
            return False
        with server:
            server.settimeout(SECONDS)
            client.settimeout(SECONDS)
            server.sendall(b"hello")
            return client.recv(5) == b"hello"
