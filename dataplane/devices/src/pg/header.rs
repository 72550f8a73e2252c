// SPDX-License-Identifier: Apache-2.0
//! The headers that a stream description can name, as data: which bits a word sets, and what is filled in.
//!
//! Positions are bits from the start of the header, in the order of the wire.

/// How a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notation {
    Number,
    Mac,
    Ip4,
    Ip6,
}

/// Some bits of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub bit: usize,
    pub bits: usize,
    pub notation: Notation,
    /// One in the header stands for this many in the description.
    pub unit: u64,
}

const fn number(name: &'static str, bit: usize, bits: usize) -> Field {
    Field { name, bit, bits, notation: Notation::Number, unit: 1 }
}

const fn address(name: &'static str, bit: usize, notation: Notation) -> Field {
    let bits = match notation {
        Notation::Mac => 48,
        Notation::Ip4 => 32,
        Notation::Ip6 => 128,
        Notation::Number => 16,
    };
    Field { name, bit, bits, notation, unit: 1 }
}

/// Which bytes a checksum covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cover {
    /// The header alone (RFC 791).
    Header,
    /// From the header to the end of the packet (RFC 792).
    Rest,
    /// That, and the pseudo header of the IP header before it (RFC 768, RFC 9293 section 3.1, RFC 8200
    /// section 8.1).
    RestAndPseudo,
}

/// A header.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub name: &'static str,
    /// What it holds unless the description says otherwise.
    pub initial: &'static [u8],
    /// Source and destination, written `A -> B`.
    pub ends: Option<(Field, Field)>,
    /// Fields written as a name and a value.
    pub options: &'static [Field],
    /// Words that set one bit.
    pub flags: &'static [(&'static str, usize)],
    /// A word that means nothing by itself.
    pub noise: Option<&'static str>,
    /// The option that counts bytes to the end of the packet, and the byte that it counts from.
    pub length: Option<(&'static str, usize)>,
    /// The option that is a checksum.
    pub checksum: Option<(&'static str, Cover)>,
}

impl Header {
    /// The option of that name.
    pub fn option(&self, name: &str) -> Option<&'static Field> {
        self.options.iter().find(|field| field.name == name)
    }

    /// Whether `word` is an option or a flag of the header.
    pub fn knows(&self, word: &str) -> bool {
        self.option(word).is_some()
            || self.flags.iter().any(|(name, _)| *name == word)
            || self.noise == Some(word)
    }
}

pub(super) static MAC: Header = Header {
    name: "Ethernet",
    initial: &[0; 12],
    ends: Some((address("source", 48, Notation::Mac), address("destination", 0, Notation::Mac))),
    options: &[],
    flags: &[],
    noise: None,
    length: None,
    checksum: None,
};

/// Behind the two bytes that announce it (IEEE 802.1Q section 9.6).
pub(super) static TAG: Header = Header {
    name: "VLAN tag",
    initial: &[0; 2],
    ends: None,
    options: &[number("priority", 0, 3), number("cfi", 3, 1)],
    flags: &[],
    noise: None,
    length: None,
    checksum: None,
};

/// The identifier of a VLAN, in its tag.
pub(super) const VLAN_ID: Field = number("vlan", 4, 12);

/// IPv4 over Ethernet (RFC 826).
pub(super) static ARP: Header = Header {
    name: "ARP",
    initial: &[0, 1, 8, 0, 6, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ends: None,
    options: &[],
    flags: &[],
    noise: None,
    length: None,
    checksum: None,
};

pub(super) const ARP_OPCODE: Field = number("opcode", 48, 16);
/// Sender and target, each MAC and IPv4 address.
pub(super) const ARP_ENDS: [(Field, Field); 2] = [
    (address("sender MAC", 64, Notation::Mac), address("sender", 112, Notation::Ip4)),
    (address("target MAC", 144, Notation::Mac), address("target", 192, Notation::Ip4)),
];

pub(super) static IP4: Header = Header {
    name: "IPv4",
    initial: &[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ends: Some((address("source", 96, Notation::Ip4), address("destination", 128, Notation::Ip4))),
    options: &[
        number("version", 0, 4),
        number("header-length", 4, 4),
        number("tos", 8, 8),
        number("length", 16, 16),
        number("id", 32, 16),
        // In bytes, as people think of it; the header counts 8 of them (RFC 791).
        Field { name: "offset", bit: 51, bits: 13, notation: Notation::Number, unit: 8 },
        number("ttl", 64, 8),
        number("checksum", 80, 16),
    ],
    // `ce` is what VPP calls the reserved bit.
    flags: &[("ce", 48), ("df", 49), ("mf", 50), ("CE", 48), ("DF", 49), ("MF", 50)],
    // As in `fragment id 1 offset 8`.
    noise: Some("fragment"),
    length: Some(("length", 0)),
    checksum: Some(("checksum", Cover::Header)),
};

/// Where IPv4 names the next header.
pub(super) const IP4_PROTOCOL: Field = number("protocol", 72, 8);

pub(super) static IP6: Header = Header {
    name: "IPv6",
    initial: &[
        0x60, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
    ],
    ends: Some((address("source", 64, Notation::Ip6), address("destination", 192, Notation::Ip6))),
    options: &[
        number("version", 0, 4),
        number("traffic-class", 4, 8),
        number("flow-label", 12, 20),
        number("length", 32, 16),
        number("hop-limit", 56, 8),
    ],
    flags: &[],
    noise: None,
    length: Some(("length", 40)),
    checksum: None,
};

/// Where IPv6 names the next header.
pub(super) const IP6_PROTOCOL: Field = number("next header", 48, 8);

pub(super) static UDP: Header = Header {
    name: "UDP",
    initial: &[0; 8],
    ends: Some((number("source port", 0, 16), number("destination port", 16, 16))),
    options: &[number("length", 32, 16), number("checksum", 48, 16)],
    flags: &[],
    noise: None,
    length: Some(("length", 0)),
    checksum: Some(("checksum", Cover::RestAndPseudo)),
};

pub(super) static TCP: Header = Header {
    name: "TCP",
    initial: &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0x10, 0, 0, 0, 0, 0],
    ends: Some((number("source port", 0, 16), number("destination port", 16, 16))),
    options: &[
        number("seqnum", 32, 32),
        number("acknum", 64, 32),
        number("window", 112, 16),
        number("checksum", 128, 16),
        number("urgent", 144, 16),
    ],
    flags: &[
        ("CWR", 104),
        ("ECE", 105),
        ("URG", 106),
        ("ACK", 107),
        ("PSH", 108),
        ("RST", 109),
        ("SYN", 110),
        ("FIN", 111),
    ],
    noise: None,
    length: None,
    checksum: Some(("checksum", Cover::RestAndPseudo)),
};

/// The four bytes that all messages share (RFC 792).
pub(super) static ICMP: Header = Header {
    name: "ICMP",
    initial: &[0; 4],
    ends: None,
    options: &[number("checksum", 16, 16)],
    flags: &[],
    noise: None,
    length: None,
    checksum: Some(("checksum", Cover::Rest)),
};

pub(super) const ICMP_TYPE: Field = number("type", 0, 8);
pub(super) const ICMP_CODE: Field = number("code", 8, 8);

/// Types of ICMP messages (RFC 792), by VPP's names.
pub(super) const ICMP_TYPES: &[(&str, u64)] = &[
    ("echo_reply", 0),
    ("destination_unreachable", 3),
    ("source_quench", 4),
    ("redirect", 5),
    ("echo_request", 8),
    ("time_exceeded", 11),
    ("parameter_problem", 12),
    ("timestamp_request", 13),
    ("timestamp_reply", 14),
];

/// Codes of ICMP messages (RFC 792), by type.
pub(super) const ICMP_CODES: &[(u64, &str, u64)] = &[
    (3, "destination_unreachable_net", 0),
    (3, "destination_unreachable_host", 1),
    (3, "protocol_unreachable", 2),
    (3, "port_unreachable", 3),
    (3, "fragmentation_needed_and_dont_fragment_set", 4),
    (11, "ttl_exceeded_in_transit", 0),
    (11, "fragment_reassembly_time_exceeded", 1),
];

/// What stands after a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layer {
    Ethernet,
    Arp,
    Ip4,
    Ip6,
    Udp,
    Tcp,
    Icmp,
    Payload,
}

/// Names, numbers and what follows.
pub(super) type Protocols = &'static [(&'static str, u64, Layer)];

pub(super) const ETHER_TYPES: Protocols =
    &[("IP4", 0x0800, Layer::Ip4), ("ARP", 0x0806, Layer::Arp), ("IP6", 0x86dd, Layer::Ip6)];

pub(super) const IP_PROTOCOLS: Protocols = &[
    ("ICMP", 1, Layer::Icmp),
    ("IP_IN_IP", 4, Layer::Ip4),
    ("TCP", 6, Layer::Tcp),
    ("UDP", 17, Layer::Udp),
    ("IPV6", 41, Layer::Ip6),
];
