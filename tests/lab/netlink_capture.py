# SPDX-License-Identifier: Apache-2.0
"""Netlink messages of a namespace's kernel, under the topics that vplaned publishes them with (protocol page, 7.3)."""

import ipaddress
import select
import socket
import struct

# include/uapi/linux/rtnetlink.h: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF.
GROUPS = sum(1 << group - 1 for group in (1, 3, 5, 7, 9, 11, 24, 25))
AF_BRIDGE = 7
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NEWLINK, DELLINK = 16, 17
GETLINK, GETADDR, GETROUTE, GETNEIGH, GETNETCONF = 18, 22, 26, 30, 82
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}


class NetlinkCapture:
    """Yields `(topic, message)` for what the kernel of a namespace says. For use in a `with` block."""

    def __init__(self, namespace):
        # A netlink socket stays in the namespace that it was made in.
        self._socket = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind((0, GROUPS))
        self._namespace = namespace

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def fileno(self):
        return self._socket.fileno()

    def live(self, seconds=0.0):
        """What was said since the last call; waits up to `seconds` for the first message."""
        while select.select([self._socket], [], [], seconds)[0]:
            for message in _messages(self._socket.recv(1 << 20)):
                yield from _with_topic(message)
            seconds = 0.0

    def dump(self):
        """The present state in the order of a snapshot: links, addresses, routes, neighbours, settings."""
        requests = ((GETLINK, 0, 16), (GETLINK, AF_BRIDGE, 16), (GETADDR, 0, 8), (GETROUTE, socket.AF_INET, 12),
                    (GETROUTE, socket.AF_INET6, 12), (GETNEIGH, 0, 12), (GETNEIGH, AF_BRIDGE, 12),
                    (GETNETCONF, socket.AF_INET, 4), (GETNETCONF, socket.AF_INET6, 4))
        asking = self._namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        with asking:
            asking.settimeout(10)
            for kind, family, size in requests:
                header = bytes([family]).ljust(size, b"\0")
                length = 16 + size
                asking.send(struct.pack("=IHHII", length, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + header)
                yield from self._answers(asking)

    @staticmethod
    def _answers(asking):
        while True:
            for message in _messages(asking.recv(1 << 20)):
                kind = struct.unpack_from("=H", message, 4)[0]
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    error = struct.unpack_from("=i", message, 16)[0]
                    raise OSError(-error, "netlink dump")
                yield from _with_topic(message)


def _messages(datagram):
    while len(datagram) >= 16:
        length = struct.unpack_from("=I", datagram)[0]
        yield datagram[:length]
        datagram = datagram[(length + 3) & ~3:]


def attributes(message, offset):
    """The attributes of a message behind its family header, as {kind: value}."""
    found = {}
    while offset + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, offset)
        if length < 4:
            break
        found[kind & 0x3fff] = message[offset + 4:offset + length]
        offset += (length + 3) & ~3
    return found


def _with_topic(message):
    topic = topic_of(message)
    if topic is not None:
        yield topic, message


def topic_of(message):
    """The topic of one message, or `None` for what vplaned does not publish."""
    kind = struct.unpack_from("=H", message, 4)[0]
    family = message[16]
    if kind in (NEWLINK, DELLINK):
        return _link_topic(message, family)
    if kind in (20, 21):
        _, length, _, scope, index = struct.unpack_from("=BBBBI", message, 16)
        found = attributes(message, 24)
        if family == 0:
            return f"address {index} ether {_mac(found[1])} scope {_scope(scope)}"
        return f"address {index} inet {_ip(found.get(2, found.get(1)))}/{length} scope {_scope(scope)}"
    if kind in (24, 25):
        return _route_topic(message, family)
    if kind in (28, 29):
        index = struct.unpack_from("=I", message, 20)[0]
        found = attributes(message, 28)
        if family == AF_BRIDGE:
            return f"neigh {index} ether {_mac(found[2])}"
        return f"neigh {index} {_ip(found[1])}" if family in (2, 10) else None
    if kind in (80, 81):
        index = struct.unpack("=i", attributes(message, 20)[1])[0]
        return f"netconf {index} {family}" if index > 0 else None
    return None


def _link_topic(message, family):
    index = struct.unpack_from("=I", message, 20)[0]
    found = attributes(message, 32)
    name = found.get(3, b"").rstrip(b"\0").decode()
    if family == AF_BRIDGE:
        return f"bridge_link {index} " if 10 in found else None
    if name.startswith("vxl"):
        return f"vxlan {index} {family} "
    if name.startswith("tun"):
        return f"tunnel {index} {family} "
    parent = struct.unpack("=I", found[5])[0] if 5 in found else 0
    return f"link {parent} ifindex {index} {family} " if parent else f"link {index} {family} "


def _route_topic(message, family):
    _, length, _, _, table, _, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", message, 16)
    if family not in (2, 10) or kind == 3 or flags & 0x200:
        return None
    found = attributes(message, 28)
    table = struct.unpack("=I", found[15])[0] if 15 in found else table
    address = _ip(found[1]) if 1 in found else ("0.0.0.0" if family == 2 else "::")
    return f"route {address}/{length} {scope} {table}"


def _ip(value):
    return str(ipaddress.ip_address(bytes(value)))


def _mac(value):
    return ":".join(f"{byte:x}" for byte in value)


def _scope(scope):
    return SCOPES.get(scope, str(scope))
