# SPDX-License-Identifier: Apache-2.0
"""Netlink messages and route updates made by hand, for what the kernel of the tests cannot say: VLANs, VRFs, a broker's routes."""

import socket
import struct

NEWLINK, NEWADDR, NEWROUTE, DELROUTE = 16, 20, 24, 25
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
IFF_UP = 1
MAIN = 254


def attribute(kind, value):
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust((4 + len(value) + 3) & ~3, b"\0")


def message(kind, header, *attributes):
    body = header + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def with_attribute(original, kind, value):
    """A message with one more attribute."""
    longer = original.ljust((len(original) + 3) & ~3, b"\0") + attribute(kind, value)
    return struct.pack("=I", len(longer)) + longer[4:]


def _link(index, name, mac, info, *more):
    header = struct.pack("=BxHiII", 0, 1, index, IFF_UP, 0)
    return message(NEWLINK, header, attribute(IFLA_IFNAME, name), attribute(IFLA_MTU, 1500), attribute(IFLA_ADDRESS, mac),
                   attribute(IFLA_LINKINFO, info), *more)


def vlan(index, name, mac, parent, identifier, protocol=0x8100):
    """A VLAN's topic and message: IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL (linux/if_link.h)."""
    data = attribute(1, struct.pack("=H", identifier)) + attribute(5, struct.pack("!H", protocol))
    info = attribute(1, "vlan") + attribute(2, data)
    return f"link {parent} ifindex {index} 0 ", _link(index, name, mac, info, attribute(IFLA_LINK, parent))


def vrf(index, name, table):
    """A VRF's master: IFLA_VRF_TABLE."""
    info = attribute(1, "vrf") + attribute(2, attribute(1, table))
    return f"link {index} 0 ", _link(index, name, bytes(6), info)


def address(index, text, length):
    header = struct.pack("=BBBBI", socket.AF_INET, length, 0x80, 0, index)
    packed = socket.inet_aton(text)
    return (f"address {index} inet {text}/{length} scope global",
            message(NEWADDR, header, attribute(1, packed), attribute(2, packed)))


def route(prefix, gateway, interface, table=MAIN, delete=False):
    """`prefix` as "10.0.0.0/8"."""
    text, length = prefix.split("/")
    header = struct.pack("=BBBBBBBBI", socket.AF_INET, int(length), 0, 0, min(table, 255), 11, 0, 1, 0)
    made = message(DELROUTE if delete else NEWROUTE, header, attribute(15, table), attribute(1, socket.inet_aton(text)),
                   attribute(5, socket.inet_aton(gateway)), attribute(4, interface))
    return f"route {prefix} 0 {table}", made


def rib_update(prefix, gateway, interface, delete=False):
    """The same as a `RibUpdate` (protocol page, appendix A)."""
    text, length = prefix.split("/")

    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value

    def varint(value):
        out = b""
        while value > 0x7f:
            out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
        return out + bytes([value])

    to = field(1, b"\x0d" + socket.inet_aton(text)) + b"\x10" + bytes([int(length)])
    hop = b"\x08" + varint(struct.unpack("=I", socket.inet_aton(gateway))[0])
    path = field(2, hop) + b"\x18" + varint(interface)
    action = b"\x08\x01" if delete else b""
    return action + field(2, to + field(4, path))
