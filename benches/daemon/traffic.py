# SPDX-License-Identifier: Apache-2.0
"""Routes, rules and recorded packets for the daemon under measurement: the same ones in every run, made once and kept."""

import random
import struct

# Ethernet frames without their check sequence: the shortest, and the mix that is called IMIX.
SHORT = 60
IMIX = [60] * 7 + [590] * 4 + [1514]

PEER = bytes.fromhex("020000000099")
MACS = [bytes.fromhex("020000000001"), bytes.fromhex("020000000002")]
UDP, TCP = 17, 6
ACK = 16

# Of a full table of IPv4, in percent: how many prefixes have which length.
BGP_MIX = {24: 60, 23: 9, 22: 11, 21: 5, 20: 4, 19: 3, 18: 2, 17: 1, 16: 4, 15: 1}


def mac_text(mac):
    return ":".join(f"{byte:02x}" for byte in mac)


def dotted(address):
    return ".".join(str(address >> shift & 0xff) for shift in (24, 16, 8, 0))


def prefixes(count):
    """`count` prefixes as (address, length): one /16, /24s side by side, or a mix like a full table's."""
    if count == 1:
        return [(0x0a010000, 16)]
    if count <= 1 << 16:
        return [(0x14000000 + (i << 8), 24) for i in range(count)]
    draw = random.Random(1)
    lengths = [length for length, share in BGP_MIX.items() for _ in range(share)]
    found = set()
    while len(found) < count:
        length = draw.choice(lengths)
        # Unicast, and none of ours.
        address = draw.randrange(11, 224) << 24 | draw.getrandbits(24)
        if address >> 24 not in (100, 127):
            found.add((address & 0xffffffff << 32 - length & 0xffffffff, length))
    return sorted(found)


class Flows:
    """Endpoints of `count` flows, distinct, to addresses that the prefixes lead to."""

    def __init__(self, count, routes, protocol=UDP):
        draw = random.Random(2)
        self.protocol = protocol
        self.ends = []
        seen = set()
        while len(self.ends) < count:
            address, length = routes[draw.randrange(len(routes))]
            there = address | draw.getrandbits(32 - length)
            # No network address and no broadcast of the prefix.
            here = 0x64400000 | draw.getrandbits(22)
            ends = (here, there, 1024 + draw.randrange(64512), draw.choice((53, 80, 443, 8080)))
            if ends not in seen and there & 0xff not in (0, 255):
                seen.add(ends)
                self.ends.append(ends)


def _checksum(total):
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


def write_pcap(path, flows, sizes=(SHORT,), answers=False, order=None):
    """A packet of each flow in an order of its own: a segment that only acknowledges, or a datagram."""
    tcp = flows.protocol == TCP
    order = list(range(len(flows.ends))) if order is None else random.Random(order).sample(range(len(flows.ends)), len(flows.ends))
    link = MACS[1 if answers else 0] + PEER + b"\x08\x00"
    ip = struct.Struct(">BBHHHBBHII").pack
    # A segment from either side acknowledges all that the other has sent: nothing but its SYN.
    segment = struct.pack(">IIBBHHH", 1000, 1000, 5 << 4, ACK, 65535, 0, 0)
    ports, record = struct.Struct(">HH").pack, struct.Struct("<IIII").pack
    draw = random.Random(3)
    # A temporary name, so that a run that was ended leaves no half of a file.
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(struct.pack("<IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number in order:
            here, there, port, service = flows.ends[number]
            size = sizes[0] if len(sizes) == 1 else draw.choice(sizes)
            total = size - 14
            if answers:
                here, there, port, service = there, here, service, port
            sum16 = 0x4500 + total + (64 << 8 | flows.protocol) + (here >> 16) + (here & 0xffff) + (there >> 16) + (there & 0xffff)
            head = ip(0x45, 0, total, 0, 0, 64, flows.protocol, _checksum(sum16), here, there)
            body = ports(port, service) + (segment if tcp else struct.pack(">HH", total - 20, 0))
            # A bare acknowledgement of TCP would be padded; here its data fills the frame, again and again the same.
            packet = link + head + body
            file.write(record(0, 0, size, size) + packet + bytes(size - len(packet)))
    part.rename(path)


def session_rules(flows):
    """A rule for each flow: exactly its addresses, ports and protocol."""
    name = "tcp" if flows.protocol == TCP else "udp"
    lines = []
    for number, (here, there, port, service) in enumerate(flows.ends, 1):
        lines.append(f"id {number} priority {number} src {dotted(here)}/32 dst {dotted(there)}/32 proto {name} "
                     f"sport {port} dport {service} action pass\n")
    return "".join(lines)


def prefix_rules(count, flows):
    """Rules about prefixes and ranges of ports around what is sent, and one behind them that lets all else pass."""
    draw = random.Random(4)
    lines = []
    for number in range(1, count):
        here, there, _, service = flows.ends[draw.randrange(len(flows.ends))]
        mine, theirs = draw.choice((24, 26, 28)), draw.choice((22, 24, 28))
        first = draw.choice((0, service, 1024))
        last = {0: 65535, service: service, 1024: 65535}[first]
        lines.append(f"id {number} priority {number} src {_net(here, mine)} dst {_net(there, theirs)} "
                     f"proto {draw.choice(('udp', 'tcp'))} dport {first}-{last} action pass\n")
    lines.append(f"id {count} priority {count} action pass\n")
    return "".join(lines)


def _net(address, length):
    return f"{dotted(address & 0xffffffff << 32 - length & 0xffffffff)}/{length}"


def rival_sessions(flows):
    """The same sessions, and a packet of each, as benches/rivals/dpdk/rules.c reads them."""
    rules = [f"{here} 32 {there} 32 {port} {port} {service} {service} {flows.protocol} 255\n"
             for here, there, port, service in flows.ends]
    order = random.Random(5).sample(range(len(flows.ends)), len(flows.ends))
    packets = ["{} {} {} {} {}\n".format(*flows.ends[number], flows.protocol) for number in order]
    return "".join([f"rules {len(rules)}\n", *rules, f"packets {len(packets)}\n", *packets])
