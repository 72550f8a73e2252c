# SPDX-License-Identifier: Apache-2.0
"""The host side of a port: TCP to the router's own address is served by the kernel, through a TAP, as SSH would be."""

import socket
import threading

import pytest
from scapy.layers.l2 import Ether

from lab import Wire, poll_until
from lab import weft as words


@pytest.fixture
def punted(network):
    """A router whose first port has a host side `host0` with the port's address."""
    net = network(ports={"p0": {"host_tap": "host0"}})
    site = net.sites[0]
    net.router.ip("addr", "add", site.router_address, "dev", "host0")
    net.router.ip("link", "set", "host0", "up")
    return net


def _echo_server(namespace, address):
    """Answers one connection with what it hears, in capitals."""
    listener = namespace.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen()
    listener.settimeout(5)

    def serve():
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data.upper())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener


def test_tcp_to_the_router_reaches_its_kernel(punted):
    a = punted.sites[0]
    with _echo_server(punted.router, (a.router_ip, 2222)), a.host.socket() as client:
        client.settimeout(5)
        client.connect((a.router_ip, 2222))
        sent = b"hello through the punt path " * 2000
        reader = threading.Thread(target=client.sendall, args=(sent,))
        reader.start()
        heard = b""
        while len(heard) < len(sent):
            heard += client.recv(65536)
        reader.join()
    assert heard == sent.upper()


def test_the_kernel_opens_connections_outwards(punted):
    a = punted.sites[0]
    with _echo_server(a.host, (a.host_ip, 2223)), punted.router.socket() as client:
        client.settimeout(5)
        client.connect((a.host_ip, 2223))
        client.sendall(b"out")
        assert client.recv(16) == b"OUT"


def test_a_long_stream_of_the_kernel_arrives_whole(punted):
    """Its stack leaves checksums and the cutting of TCP to the TAP."""
    a = punted.sites[0]
    assert "tcp-segmentation-offload: on" in punted.router.output("ethtool", "-k", "host0")
    sent = bytes(number * 7 % 251 for number in range(100_000)) * 50
    with a.host.socket() as listener, punted.router.socket() as client:
        listener.bind((a.host_ip, 2224))
        listener.listen()
        listener.settimeout(5)
        client.settimeout(20)
        client.connect((a.host_ip, 2224))
        connection, _ = listener.accept()
        writer = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        writer.start()
        heard = bytearray()
        with connection:
            connection.settimeout(20)
            while data := connection.recv(1 << 20):
                heard += data
        writer.join()
    assert heard == sent
    errors = punted.weft.errors()
    assert not any(("tap-input", reason) in errors for reason in ("too_long", "malformed")), errors
    assert "InCsumErrors" not in a.host.output("nstat", "-a", "TcpInCsumErrors")


def test_weft_itself_answers_echo(punted):
    """Echo is answered on the fast path: the kernel must not answer a second time."""
    a = punted.sites[0]
    text = a.host.output("ping", "-c", 5, "-i", 0.05, "-W", 2, a.router_ip)
    assert "5 received" in text and "DUP" not in text


def test_forwarding_goes_on_beside(punted):
    a, b = punted.sites
    assert "3 received" in a.host.output("ping", "-c", 3, "-i", 0.05, "-W", 2, b.host_ip)


def test_broadcast_and_multicast_reach_the_kernel(punted):
    a = punted.sites[0]
    with Wire(punted.router, "host0") as kernel, Wire(a.host, "eth0") as wire:
        for destination in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05"):
            frame = bytes(Ether(src=a.host_mac, dst=destination, type=0x0800)
                          / _ospf_like("255.255.255.255" if destination.startswith("ff") else "224.0.0.5", a.host_ip))
            wire.send(frame)
            kernel.expect(lambda f, frame=frame: f[:len(frame)] == frame, what=f"the frame to {destination}")


def _ospf_like(destination, source):
    from scapy.layers.inet import IP
    return IP(src=source, dst=destination, proto=89, ttl=1) / bytes(32)


def test_a_deleted_port_takes_its_tap_along(punted):
    punted.weft.cli(words.delete_port("p0"))
    poll_until(lambda: "host0" not in punted.router.links(), 3, "the TAP is gone")
