// SPDX-License-Identifier: Apache-2.0
//! What the classifier sees of a packet, and a rule in the same terms.
//!
//! All header fields that a rule can name are gathered once per packet into a [`Key`] of words, of which IPv6 has more than IPv4;
//! everything after it (trees, comparison) works on words and knows no protocol. The hash table works on a [`Session`], for which
//! most packets of IPv4 need no key. A rule becomes a [`Pattern`]: masked values for everything but the ports, which are ranges.
//!
//! Packets without ports (later fragments, ICMP, packets cut short) have 0 in their place and lack [`PORTS`], which a rule
//! about ports asks for: such a rule never matches them. So do ICMP type and code, which stand in the places of source and
//! destination port with [`ICMP`] instead, and TCP flags with [`FLAGS`].

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use ipnet::Ipv6Net;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{IpProtocol, Ipv4Header, Ipv6Header};
use weft_table::{Hash, LineKey, Lines, Seed};
use zerocopy::FromBytes;

use crate::group::NO_RANK;
use crate::rule::{FlagsMatch, Fragment, Match, has_ports};

/// Words that are compared under a mask: they come first. The next one has the ports, source in the upper, destination in the
/// lower half, and the one after it the interface, 16 bits.
pub(crate) const MASKED4: usize = 3;
/// Likewise, of IPv6.
pub(crate) const MASKED6: usize = 10;

/// Word of the source address.
const SOURCE: usize = 0;
/// Word of the destination address.
const DESTINATION: usize = 1;
/// Word of protocol, TCP flags, DSCP and the bits below, from the highest byte down.
const REST: usize = 2;
const TRANSPORT: usize = MASKED4;
const INTERFACE: usize = MASKED4 + 1;

/// Of IPv6: four words of the source address, four of the destination address, the word of [`REST`], and this one with the flow
/// label and [`DISCOVERY`].
const LABEL: usize = 9;
const REST6: usize = 8;

/// In [`LABEL`]: neighbour discovery that comes from the link.
const DISCOVERY: u32 = 1 << 31;

/// In [`LABEL`]: the flow label.
const FLOW_LABEL: u32 = 0xf_ffff;

/// In [`REST`]: the ports are there.
const PORTS: u32 = 1 << 0;
/// In [`REST`]: ICMP type and code are there.
const ICMP: u32 = 1 << 1;
/// In [`REST`]: TCP flags are there.
const FLAGS: u32 = 1 << 2;
/// In [`REST`]: this is a fragment.
const FRAGMENT: u32 = 1 << 3;
/// In [`REST`]: and not the first one.
const LATER: u32 = 1 << 4;
/// In [`REST`]: no packet has this bit.
const NEVER: u32 = 1 << 7;

/// Of flags and fragment offset in a header: what a fragment has.
const FRAGMENT_BITS: u16 = Ipv4Header::MORE_FRAGMENTS | Ipv4Header::OFFSET_MASK;

/// Of [`REST`], what belongs to a session: protocol, and that ports (or ICMP type and code) are there.
const SESSION: u32 = 0xff << 24 | PORTS | ICMP;

/// One packet, in so many words: a power of two, so that a shift instead of a multiplication finds a key in a vector of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(32))]
pub struct Key<const N: usize> {
    words: [u32; N],
}

/// A packet of IPv4.
pub(crate) type Key4 = Key<8>;
/// A packet of IPv6.
pub(crate) type Key6 = Key<16>;

impl<const N: usize> Default for Key<N> {
    fn default() -> Self {
        Key { words: [0; N] }
    }
}

impl<const N: usize> Key<N> {
    /// A word by its number; the number is taken modulo the number of words.
    #[inline(always)]
    pub(crate) fn word(&self, word: usize) -> u32 {
        self.words[word % N]
    }
}

impl Key4 {
    /// Becomes the key of an IPv4 packet that ip4-input has found sound; `None`: it is none.
    ///
    /// In place, word by word: a key that was returned was copied by wide loads right after the narrow stores, which no
    /// store buffer forwards, and cost 10 clocks.
    #[inline(always)]
    pub fn fill(&mut self, packet: &[u8], interface: InterfaceIndex) -> Option<()> {
        let (ip, _) = Ipv4Header::ref_from_prefix(packet).ok()?;
        let common = ip.version_ihl == Ipv4Header::PLAIN
            && ip.flags_offset.get() & FRAGMENT_BITS == 0
            && is_tcp_or_udp(ip.protocol.0);
        match packet.first_chunk::<34>() {
            Some(bytes) if common => {
                let ports = u32::from_be_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
                let tcp = u32::from(ip.protocol == IpProtocol::TCP);
                let flags = u32::from(bytes[33]) * tcp;
                self.set(ip, interface, ports, flags << 16 | PORTS | (tcp * FLAGS));
            }
            _ => self.fill_rare(ip, packet, interface),
        }
        Some(())
    }

    /// Options, fragments, short packets, and protocols other than TCP and UDP.
    #[inline(never)]
    fn fill_rare(&mut self, ip: &Ipv4Header, packet: &[u8], interface: InterfaceIndex) {
        let later = ip.fragment_offset() > 0;
        let transport = packet.get(ip.header_length()..).filter(|_| !later).unwrap_or_default();
        let (mut ports, mut bits) = (0, 0);
        match *transport {
            [a, b, c, d, ..] if has_ports(ip.protocol) => {
                (ports, bits) = (u32::from_be_bytes([a, b, c, d]), PORTS);
            }
            [icmp_type, code, ..] if ip.protocol == IpProtocol::ICMP => {
                (ports, bits) = (icmp_words(icmp_type, code), ICMP);
            }
            _ => {}
        }
        if ip.protocol == IpProtocol::TCP
            && let Some(&flags) = transport.get(13)
        {
            bits |= u32::from(flags) << 16 | FLAGS;
        }
        bits |= (u32::from(ip.is_fragment()) * FRAGMENT) | (u32::from(later) * LATER);
        self.set(ip, interface, ports, bits);
    }

    #[inline(always)]
    fn set(&mut self, ip: &Ipv4Header, interface: InterfaceIndex, ports: u32, bits: u32) {
        self.words[SOURCE] = ip.source.get();
        self.words[DESTINATION] = ip.destination.get();
        self.words[TRANSPORT] = ports;
        self.words[REST] = u32::from(ip.protocol.0) << 24 | u32::from(ip.tos >> 2) << 8 | bits;
        self.words[INTERFACE] = interface.0.min(u16::MAX.into());
    }

    /// What sessions are found by.
    #[inline(always)]
    pub(crate) fn session(&self) -> Session {
        let [source, destination, rest, ports, ..] = self.words;
        Session::new([source, destination, ports, rest])
    }
}

impl Key6 {
    /// Becomes the key of an IPv6 packet; `None`: it is none. In place, as of IPv4.
    #[inline(always)]
    pub fn fill(&mut self, packet: &[u8], interface: InterfaceIndex) -> Option<()> {
        let (ip, _) = Ipv6Header::ref_from_prefix(packet).ok().filter(|(ip, _)| ip.version() == 6)?;
        match packet.first_chunk::<54>() {
            Some(bytes) if is_tcp_or_udp(ip.next_header.0) => {
                let ports = u32::from_be_bytes([bytes[40], bytes[41], bytes[42], bytes[43]]);
                let tcp = u32::from(ip.next_header == IpProtocol::TCP);
                let flags = u32::from(bytes[53]) * tcp;
                let label = ip.flow_label();
                self.set(ip, interface, ip.next_header, [flags << 16 | PORTS | (tcp * FLAGS), label, ports]);
            }
            _ => self.fill_rare(ip, packet, interface),
        }
        Some(())
    }

    /// Extension headers, short packets, and protocols other than TCP and UDP.
    #[inline(never)]
    fn fill_rare(&mut self, ip: &Ipv6Header, packet: &[u8], interface: InterfaceIndex) {
        let Upper { protocol, transport, fragment, later } = Upper::of(ip, packet);
        let transport = if later { &[] } else { transport };
        let (mut ports, mut bits, mut label) = (0, 0, ip.flow_label());
        match *transport {
            [a, b, c, d, ..] if has_ports(protocol) => {
                (ports, bits) = (u32::from_be_bytes([a, b, c, d]), PORTS);
            }
            [icmp_type, code, ..] if protocol == IpProtocol::ICMPV6 => {
                let discovery = DISCOVERY_TYPES.contains(&icmp_type);
                let is_discovery = discovery && ip.hop_limit == u8::MAX;
                // From further away it is forged (RFC 4861 section 6.1), and no rule about its type is meant.
                if is_discovery || !discovery {
                    (ports, bits) = (icmp_words(icmp_type, code), ICMP);
                }
                label |= u32::from(is_discovery) * DISCOVERY;
            }
            _ => {}
        }
        if protocol == IpProtocol::TCP
            && let Some(&flags) = transport.get(13)
        {
            bits |= u32::from(flags) << 16 | FLAGS;
        }
        bits |= (u32::from(fragment) * FRAGMENT) | (u32::from(later) * LATER);
        self.set(ip, interface, protocol, [bits, label, ports]);
    }

    #[inline(always)]
    fn set(
        &mut self,
        ip: &Ipv6Header,
        interface: InterfaceIndex,
        protocol: IpProtocol,
        [bits, label, ports]: [u32; 3],
    ) {
        let dscp = u32::from(ip.traffic_class() >> 2);
        self.words[..4].copy_from_slice(&words6(ip.source()));
        self.words[4..8].copy_from_slice(&words6(ip.destination()));
        self.words[REST6] = u32::from(protocol.0) << 24 | dscp << 8 | bits;
        self.words[LABEL] = label;
        self.words[MASKED6] = ports;
        self.words[MASKED6 + 1] = interface.0.min(u16::MAX.into());
    }
}

#[inline(always)]
fn words6(address: Ipv6Addr) -> [u32; 4] {
    let bits = address.to_bits();
    [(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32]
}

/// Router solicitation to redirect (RFC 4861 section 4).
const DISCOVERY_TYPES: RangeInclusive<u8> = 133..=137;

/// What follows the extension headers of an IPv6 packet.
struct Upper<'a> {
    protocol: IpProtocol,
    transport: &'a [u8],
    fragment: bool,
    later: bool,
}

impl<'a> Upper<'a> {
    /// Extension headers that are looked through; what has more is matched by its next one.
    const MOST: usize = 8;

    /// RFC 8200 section 4, and 4302 for the authentication header.
    fn of(ip: &Ipv6Header, packet: &'a [u8]) -> Upper<'a> {
        let transport = packet.get(Ipv6Header::LENGTH..).unwrap_or_default();
        let mut upper = Upper { protocol: ip.next_header, transport, fragment: false, later: false };
        for _ in 0..Self::MOST {
            let [next, length, offset_high, offset_low, ..] = *upper.transport else { break };
            let length = match upper.protocol.0 {
                // Hop-by-hop options, routing, destination options, mobility, HIP, shim6.
                0 | 43 | 60 | 135 | 139 | 140 => 8 + 8 * usize::from(length),
                51 => 8 + 4 * usize::from(length),
                44 => {
                    upper.fragment = true;
                    upper.later = u16::from_be_bytes([offset_high, offset_low]) >> 3 != 0;
                    8
                }
                _ => break,
            };
            upper.protocol = IpProtocol(next);
            upper.transport = upper.transport.get(length..).unwrap_or_default();
            if upper.later {
                break;
            }
        }
        upper
    }
}

/// The exact 5-tuple of a packet or a rule, as bytes 8 to 24 of a packet without options hold it: the low bits of [`REST`] in
/// the place of the TTL, protocol, 0 in that of the checksum, addresses, ports. So that of nearly every packet is two
/// loads and a mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Session([u64; 2]);

impl Session {
    /// Of the words of a key.
    pub const fn new([source, destination, ports, rest]: [u32; 4]) -> Session {
        let low = rest & (PORTS | ICMP) | rest >> 24 << 8;
        Session([
            low as u64 | (source.swap_bytes() as u64) << 32,
            destination.swap_bytes() as u64 | (ports.swap_bytes() as u64) << 32,
        ])
    }

    /// Source, destination, ports, and of [`REST`] what belongs to it.
    pub const fn words(self) -> [u32; 4] {
        let Session([a, b]) = self;
        let rest = a as u32 & (PORTS | ICMP) | (a as u32 >> 8) << 24;
        [((a >> 32) as u32).swap_bytes(), (b as u32).swap_bytes(), ((b >> 32) as u32).swap_bytes(), rest]
    }

    /// Of an IPv4 packet that ip4-input has found sound; `None`: it is none.
    #[inline(always)]
    pub fn of(packet: &[u8], interface: InterfaceIndex) -> Option<Session> {
        const FRAGMENT: [u8; 2] = FRAGMENT_BITS.to_be_bytes();
        const LOOKED_AT: u64 = u64::from_le_bytes([0xff, 0, 0, 0, 0, 0, FRAGMENT[0], FRAGMENT[1]]);
        const KEPT: u64 = u64::from_le_bytes([0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        if let Some((bytes, _)) = packet.as_chunks::<8>().0.split_first_chunk::<3>() {
            let [head, a, b] = bytes.map(u64::from_le_bytes);
            if head & LOOKED_AT == u64::from(Ipv4Header::PLAIN) && is_tcp_or_udp((a >> 8) as u8) {
                return Some(Session([a & KEPT | u64::from(PORTS), b]));
            }
        }
        Session::of_rare(packet, interface)
    }

    #[inline(never)]
    fn of_rare(packet: &[u8], interface: InterfaceIndex) -> Option<Session> {
        let mut key = Key4::default();
        key.fill(packet, interface)?;
        Some(key.session())
    }
}

impl LineKey for Session {
    const NONE: Session = Session([NEVER as u64, 0]);
    const NO_VALUE: u32 = NO_RANK;

    /// The hash has no secret: the rules are an operator's, not a stranger's, and a packet cannot change them.
    #[inline(always)]
    fn hash(self) -> Hash {
        Seed::FIXED.hash(self.0)
    }

    #[inline(always)]
    fn equals(self, other: Session) -> bool {
        let (Session([a, b]), Session([c, d])) = (self, other);
        (a ^ c) | (b ^ d) == 0
    }
}

/// Rules about exactly one 5-tuple, and what they say.
pub(crate) type Sessions = Lines<Session, 3>;

/// By a bit set: of two comparisons, joined by `|`, the compiler makes two branches, and which of them is taken cannot be
/// predicted.
#[inline(always)]
fn is_tcp_or_udp(protocol: u8) -> bool {
    const SET: u32 = 1 << IpProtocol::TCP.0 | 1 << IpProtocol::UDP.0;
    protocol < 32 && SET >> (protocol % 32) & 1 != 0
}

const fn icmp_words(icmp_type: u8, code: u8) -> u32 {
    (icmp_type as u32) << 16 | code as u32
}

/// Bits of a word that are looked at, and their values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Masked {
    /// Their values; 0 outside the mask.
    pub value: u32,
    /// The bits.
    pub mask: u32,
}

impl Masked {
    /// Whether `word` has these bits.
    #[inline(always)]
    pub fn matches(self, word: u32) -> bool {
        (word ^ self.value) & self.mask == 0
    }

    const fn prefix(address: u32, length: u8) -> Masked {
        let mask = if length == 0 { 0 } else { u32::MAX << (32 - length as u32) };
        Masked { value: address & mask, mask }
    }

    fn add(&mut self, value: u32, mask: u32) {
        self.value |= value;
        self.mask |= mask;
    }
}

/// From the lowest to the highest, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub first: u16,
    pub last: u16,
}

impl Span {
    fn of(range: RangeInclusive<u8>) -> Span {
        Span { first: (*range.start()).into(), last: (*range.end()).into() }
    }
}

/// A rule in words, of which so many are compared under a mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pattern<const M: usize> {
    pub masked: [Masked; M],
    /// Source ports, or ICMP type.
    pub upper: Span,
    /// Destination ports, or ICMP code.
    pub lower: Span,
    pub interface: Masked,
}

/// A rule about IPv4.
pub(crate) type Pattern4 = Pattern<MASKED4>;
/// A rule about IPv6.
pub(crate) type Pattern6 = Pattern<MASKED6>;

/// What is the same in rules of both families.
struct Common {
    upper: Span,
    lower: Span,
    rest: Masked,
    interface: Masked,
}

impl Common {
    fn new(matches: &Match) -> Common {
        let mut rest = Masked::default();
        let mut protocol = matches.protocol;
        let span = |ports: crate::PortRange| Span { first: ports.first(), last: ports.last() };
        let (mut upper, mut lower) = (span(matches.source_ports), span(matches.destination_ports));
        if !matches.source_ports.is_any() || !matches.destination_ports.is_any() {
            rest.add(PORTS, PORTS);
        }
        if let Some(FlagsMatch { mask, value }) = matches.tcp_flags {
            protocol = Some(IpProtocol::TCP);
            rest.add(u32::from(value.0) << 16 | FLAGS, u32::from(mask.0) << 16 | FLAGS);
        }
        if let Some(icmp) = matches.icmp {
            protocol = Some(matches.icmp_protocol());
            rest.add(ICMP, ICMP);
            (upper, lower) = (Span::of(icmp.types()), Span::of(icmp.codes()));
        }
        if let Some(protocol) = protocol {
            rest.add(u32::from(protocol.0) << 24, 0xff << 24);
        }
        if let Some(dscp) = matches.dscp {
            rest.add(u32::from(dscp.get()) << 8, 0xff << 8);
        }
        match matches.fragment {
            None => {}
            Some(Fragment::Whole) => rest.add(0, FRAGMENT),
            Some(Fragment::Any) => rest.add(FRAGMENT, FRAGMENT),
            Some(Fragment::First) => rest.add(FRAGMENT, FRAGMENT | LATER),
            Some(Fragment::Later) => rest.add(LATER, LATER),
        }
        let interface = match matches.interface {
            Some(interface) => Masked { value: interface.0, mask: u16::MAX.into() },
            None => Masked::default(),
        };
        Common { upper, lower, rest, interface }
    }
}

impl<const M: usize> Pattern<M> {
    /// Matches nothing.
    pub const fn none() -> Pattern<M> {
        const {
            let mut none = Pattern {
                masked: [Masked { value: 0, mask: 0 }; M],
                upper: Span { first: 0, last: u16::MAX },
                lower: Span { first: 0, last: u16::MAX },
                interface: Masked { value: 0, mask: 0 },
            };
            let rest = if M == MASKED6 { REST6 } else { REST };
            none.masked[rest] = Masked { value: NEVER, mask: NEVER };
            none
        }
    }
}

impl Pattern6 {
    /// Of a match that [`Match::check`] has found possible, if it is for packets of IPv6.
    pub fn new(matches: &Match) -> Option<Pattern6> {
        let (source, destination) = matches.ip6()?;
        let Common { upper, lower, rest, interface } = Common::new(matches);
        let mut label = Masked::default();
        if let Some(wanted) = matches.flow_label {
            label.add(wanted, FLOW_LABEL);
        }
        if matches.not_discovery {
            label.add(0, DISCOVERY);
        }
        let prefix = |net: Ipv6Net| {
            let (words, length) = (words6(net.addr()), net.prefix_len());
            [0, 32, 64, 96].map(|before| {
                Masked::prefix(words[before as usize / 32], length.saturating_sub(before).min(32))
            })
        };
        let ([a, b, c, d], [e, f, g, h]) = (prefix(source), prefix(destination));
        Some(Pattern { masked: [a, b, c, d, e, f, g, h, rest, label], upper, lower, interface })
    }
}

impl Pattern4 {
    /// Of a match that [`Match::check`] has found possible.
    pub fn new(matches: &Match) -> Pattern4 {
        let Common { upper, lower, rest, interface } = Common::new(matches);
        let net = |net: ipnet::Ipv4Net| Masked::prefix(net.addr().to_bits(), net.prefix_len());
        Pattern { masked: [net(matches.source), net(matches.destination), rest], upper, lower, interface }
    }

    /// The session, if the rule is about exactly one 5-tuple and nothing else.
    pub fn session(&self) -> Option<Session> {
        let [source, destination, rest] = self.masked;
        let exact = source.mask == u32::MAX
            && destination.mask == u32::MAX
            && self.upper.first == self.upper.last
            && self.lower.first == self.lower.last
            && (rest.mask == 0xff << 24 | PORTS || rest.mask == 0xff << 24 | ICMP)
            && self.interface.mask == 0;
        let ports = u32::from(self.upper.first) << 16 | u32::from(self.lower.first);
        exact.then_some(Session::new([source.value, destination.value, ports, rest.value]))
    }

    /// Whether a packet of `session` may match, whatever its flags, code point and interface are.
    pub fn may_match(&self, session: Session) -> bool {
        let [source, destination, ports, rest] = session.words();
        let within = |span: Span, port: u32| (u32::from(span.first)..=span.last.into()).contains(&port);
        let [its_source, its_destination, its_rest] = self.masked;
        let known = Masked { value: its_rest.value & SESSION, mask: its_rest.mask & SESSION };
        its_source.matches(source)
            && its_destination.matches(destination)
            && within(self.upper, ports >> 16)
            && within(self.lower, ports & 0xffff)
            && known.matches(rest)
    }
}

/// Of the words of a session, the bits that it leaves open, by word: flags, code point, fragment and interface.
pub(crate) const SESSION_OPEN: [u32; 8] = [0, 0, !SESSION, 0, u32::MAX, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use weft_nodes::headers::{TcpFlags, build};

    fn of(bytes: &[u8]) -> Key4 {
        let mut key = Key4::default();
        key.fill(bytes, InterfaceIndex(3)).unwrap();
        assert_eq!(Session::of(bytes, InterfaceIndex(3)), Some(key.session()));
        key
    }

    fn key(packet: build::Packet) -> Key4 {
        let bytes = packet.build();
        of(&bytes)
    }

    fn ip() -> build::Packet {
        build::ipv4([10, 0, 0, 1], [10, 0, 0, 2])
    }

    #[test]
    fn the_common_and_the_rare_way_agree() {
        for packet in [ip().udp(7, 9).payload(&[0; 40]), ip().tcp(7, 9, TcpFlags::SYN)] {
            let bytes = packet.build();
            let header = Ipv4Header::ref_from_prefix(&bytes).unwrap().0;
            let mut rare = Key4::default();
            rare.fill_rare(header, &bytes, InterfaceIndex(3));
            assert_eq!(of(&bytes), rare);
            assert_eq!(rare.word(TRANSPORT), 7 << 16 | 9);
        }
        let flags = key(ip().tcp(7, 9, TcpFlags::SYN)).word(REST);
        assert_eq!(flags, 6 << 24 | 2 << 16 | PORTS | FLAGS);
    }

    #[test]
    fn what_a_packet_lacks_its_key_lacks() {
        let short = |bytes: usize| {
            let packet = ip().tcp(7, 9, TcpFlags::SYN).build();
            of(&packet[..20 + bytes]).word(REST) & 0xff
        };
        assert_eq!([short(3), short(4), short(13), short(14)], [0, PORTS, PORTS, PORTS | FLAGS]);
        assert_eq!(key(ip().ping(1, 1)).word(REST), 1 << 24 | ICMP);
        assert_eq!(key(ip().ping(1, 1)).word(TRANSPORT), 8 << 16);
    }

    #[test]
    fn the_session_is_that_of_the_key() {
        for protocol in 0..=u8::MAX {
            for (tos, flags_offset) in [(0, 0), (0xff, 1 << 14), (0, 1 << 13), (0, 1), (0, 0x1fff)] {
                let packet = ip().ipv4_with(|ip| {
                    (ip.protocol, ip.tos) = (IpProtocol(protocol), tos);
                    ip.flags_offset.set(flags_offset);
                });
                let key = key(packet.payload(&[0x12; 20]));
                let [source, destination, rest, ports, ..] = key.words;
                assert_eq!(key.session().words(), [source, destination, ports, rest & SESSION]);
            }
        }
    }
}
