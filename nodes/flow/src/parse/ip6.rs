// SPDX-License-Identifier: Apache-2.0
//! From an IPv6 packet to the key of its flow: as for IPv4, but that the addresses stand beside the key (`pair`), and that a
//! chain of extension headers may come before what the flow is known by.
//!
//! Relies on ip6-input: the bytes begin with a sound IPv6 header. All after it is a stranger's and is checked.

use weft_flow_map::{Direction, Key, Pair6};
use weft_nodes::headers::{Icmp6Header, Icmp6Type, Ip6Chain, IpProtocol, Ipv6Header, TcpHeader, walk_ip6};
use weft_table::Seed;
use zerocopy::FromBytes;

use super::{HIGH_ASKS, KINDS, Parsed, Relation, read, segment_of};
use crate::tcp::{Segment, flags};

/// What reading IPv6 takes.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Of the digests of addresses: a secret that all workers share, as they agree by it on who owns a flow.
    pub seed: Seed,
    /// Most extension headers that are skipped.
    pub headers: usize,
}

/// A packet, or what an ICMP error quotes of one.
struct Packet<'a> {
    data: &'a [u8],
    ip: &'a Ipv6Header,
    chain: Ip6Chain,
    ends: Ends,
    table: u16,
}

/// Between whom it goes.
struct Ends {
    pair: Pair6,
    digest: u64,
    direction: Direction,
}

impl Ends {
    #[inline(always)]
    fn of(ip: &Ipv6Header, link: u32, seed: Seed) -> Option<Ends> {
        let (pair, direction) = addresses(ip, link)?;
        Some(Ends { pair, digest: seed.hash(pair.0).0, direction })
    }

    #[inline(always)]
    fn key(&self, ports: (u16, u16), table: u16, protocol: IpProtocol, kind: u8) -> (Key, Direction) {
        Key::new6(self.digest, (&self.pair, self.direction), ports, table, protocol.0, kind)
    }

    #[inline(always)]
    fn parsed(&self, ports: (u16, u16), table: u16, protocol: IpProtocol, relation: Relation) -> Parsed {
        let (key, direction) = self.key(ports, table, protocol, 0);
        Parsed { key, direction, relation }
    }
}

/// Reads a packet, which begins with its IPv6 header, of forwarding table `table`; it came in on interface `link`.
pub fn parse(data: &[u8], table: u16, link: u32, reading: &Reading) -> Parsed {
    match plain(data, table, link, reading.seed) {
        Some(parsed) => parsed,
        None => rare(data, table, link, reading),
    }
}

/// The addresses of the flow of a packet that [`parse`] has read: its own, or those of the one that an error is about.
#[inline(always)]
pub(crate) fn pair(data: &[u8], relation: Relation, link: u32, reading: &Reading) -> Pair6 {
    match relation {
        Relation::Error => quoted_pair(data, link, reading),
        _ => own_pair(data, link),
    }
    .unwrap_or_default()
}

#[inline(always)]
fn own_pair(data: &[u8], link: u32) -> Option<Pair6> {
    let (ip, _) = Ipv6Header::ref_from_prefix(data).ok()?;
    Some(addresses(ip, link)?.0)
}

#[cold]
fn quoted_pair(data: &[u8], link: u32, reading: &Reading) -> Option<Pair6> {
    let packet = Packet::read(data, 0, link, reading)?;
    let (_, quoted) = Icmp6Header::ref_from_prefix(packet.transport()).ok()?;
    own_pair(quoted, link)
}

/// `None`: no station has such an address.
#[inline(always)]
fn addresses(ip: &Ipv6Header, link: u32) -> Option<(Pair6, Direction)> {
    let halves = |address: std::net::Ipv6Addr| {
        let bits = address.to_bits();
        [(bits >> 64) as u64, bits as u64]
    };
    Pair6::new(halves(ip.source()), halves(ip.destination()), link)
}

/// As [`parse`], for TCP and UDP without extension headers.
#[inline(always)]
fn plain(data: &[u8], table: u16, link: u32, seed: Seed) -> Option<Parsed> {
    let bytes = data.first_chunk::<{ Ipv6Header::LENGTH + 4 }>()?;
    let (ip, transport) = Ipv6Header::ref_from_prefix(bytes).ok()?;
    if ip.version() != 6 || !((ip.next_header == IpProtocol::TCP) | (ip.next_header == IpProtocol::UDP)) {
        return None;
    }
    let ends = Ends::of(ip, link, seed)?;
    Some(ends.parsed(super::ports(transport)?, table, ip.next_header, Relation::Part6))
}

/// Everything else.
#[cold]
#[inline(never)]
fn rare(data: &[u8], table: u16, link: u32, reading: &Reading) -> Parsed {
    let Some(packet) = Packet::read(data, table, link, reading) else {
        // The key is of IPv6 all the same: it is compared with those alone.
        let key = Key { addresses: 0, rest: Key::IP6.into() };
        return Parsed { key, relation: Relation::Malformed, ..Parsed::default() };
    };
    packet.parse(link, reading).unwrap_or_else(|| packet.parsed((0, 0), Relation::Malformed))
}

impl<'a> Packet<'a> {
    fn read(data: &'a [u8], table: u16, link: u32, reading: &Reading) -> Option<Packet<'a>> {
        let (ip, rest) = Ipv6Header::ref_from_prefix(data).ok()?;
        if ip.version() != 6 {
            return None;
        }
        let chain = walk_ip6(ip.next_header, rest, reading.headers).ok()?;
        Some(Packet { data, ip, chain, ends: Ends::of(ip, link, reading.seed)?, table })
    }

    fn transport(&self) -> &'a [u8] {
        self.data.get(self.chain.upper()..).unwrap_or_default()
    }

    fn parsed(&self, ports: (u16, u16), relation: Relation) -> Parsed {
        self.ends.parsed(ports, self.table, self.chain.protocol, relation)
    }

    /// What it is to its flow.
    fn parse(&self, link: u32, reading: &Reading) -> Option<Parsed> {
        if let Some(fragment) = self.chain.fragment
            && fragment.offset() > 0
        {
            let direction = self.ends.direction;
            let key = fragment_key(self.ends.digest, fragment.identification.get(), self.table, direction);
            return Some(Parsed { key, direction, relation: Relation::LaterFragment });
        }
        let more = self.chain.fragment.is_some_and(|fragment| fragment.more());
        let relation = if more { Relation::FirstFragment } else { Relation::Part6 };
        match self.chain.protocol {
            IpProtocol::TCP | IpProtocol::UDP => Some(self.parsed(super::ports(self.transport())?, relation)),
            IpProtocol::ICMPV6 => {
                let (icmp, quoted) = Icmp6Header::ref_from_prefix(self.transport()).ok()?;
                if icmp.icmp_type.is_error() {
                    return Packet::read(quoted, self.table, link, reading)?.embedded();
                }
                if self.is_of_link(icmp.icmp_type) {
                    return Some(self.parsed((0, 0), Relation::OfLink));
                }
                let (parsed, answers) = self.message(icmp);
                Some(Parsed { relation: if answers { Relation::Answer } else { relation }, ..parsed })
            }
            _ => Some(self.parsed((0, 0), relation)),
        }
    }

    /// Who neighbours are and to which groups they listen, with the hop limits by which such messages are told from forged ones:
    /// RFC 4861 section 7.1, RFC 3122, RFC 3971, RFC 2710 section 3, RFC 3810 section 5, RFC 4286 section 3.
    fn is_of_link(&self, icmp_type: Icmp6Type) -> bool {
        match icmp_type.0 {
            133..=137 | 141 | 142 | 148 | 149 => self.ip.hop_limit == 255,
            130..=132 | 143 | 151..=153 => self.ip.hop_limit == 1,
            _ => false,
        }
    }

    /// A message that is no error, and whether it is an answer; its key says who asks, as in IPv4.
    fn message(&self, icmp: &Icmp6Header) -> (Parsed, bool) {
        let (request, id, answers) = match icmp.icmp_type.0 {
            // Echo, and node information (RFC 4620).
            request @ (128 | 139) => (request, (icmp.rest.get() >> 16) as u16, false),
            answer @ (129 | 140) => (answer - 1, (icmp.rest.get() >> 16) as u16, true),
            other => (other, 0, false),
        };
        let kind = (request & 0x7f).min(KINDS - 1);
        let key = |kind| self.ends.key((id, id), self.table, IpProtocol::ICMPV6, kind);
        let (_, direction) = key(kind);
        let high_asks = (direction == Direction::FromHigh) != answers;
        let (key, direction) = key(if high_asks { kind | HIGH_ASKS } else { kind });
        (Parsed { key, direction, relation: Relation::Part6 }, answers)
    }

    /// What an ICMP error about this packet is to its flow. It goes the other way.
    fn embedded(&self) -> Option<Parsed> {
        if self.chain.is_later_fragment() {
            return None;
        }
        let parsed = match self.chain.protocol {
            IpProtocol::TCP | IpProtocol::UDP => {
                self.parsed(super::ports(self.transport())?, Relation::Error)
            }
            IpProtocol::ICMPV6 => {
                let (icmp, _) = Icmp6Header::ref_from_prefix(self.transport()).ok()?;
                matches!(icmp.icmp_type.0, 128 | 129 | 139 | 140).then_some(())?;
                Parsed { relation: Relation::Error, ..self.message(icmp).0 }
            }
            _ => self.parsed((0, 0), Relation::Error),
        };
        Some(Parsed { direction: parsed.direction.reverse(), ..parsed })
    }
}

/// What the fragments of one datagram have in common (RFC 8200 section 4.5), beside the addresses themselves: who finds a flow
/// by it compares those too.
fn fragment_key(digest: u64, identification: u32, table: u16, direction: Direction) -> Key {
    Key {
        addresses: digest,
        rest: u64::from(identification) << 32
            | u64::from(table) << 16
            | (direction as u64) << 8
            | u64::from(Key::IP6),
    }
}

/// The key under which the later fragments of this packet come; `None`: there are none.
pub(crate) fn fragment_key_of(data: &[u8], table: u16, link: u32, reading: &Reading) -> Option<Key> {
    let Packet { chain, ends, .. } = Packet::read(data, table, link, reading)?;
    let fragment = chain.fragment.filter(|fragment| fragment.offset() == 0 && fragment.more())?;
    Some(fragment_key(ends.digest, fragment.identification.get(), table, ends.direction))
}

/// As [`super::segment`].
pub(super) fn segment(data: &[u8], headers: usize) -> Option<Segment> {
    let (ip, rest) = Ipv6Header::ref_from_prefix(data).ok()?;
    let chain = walk_ip6(ip.next_header, rest, headers).ok()?;
    segment_of(data, total_length(ip), chain.upper())
}

/// As [`super::plain_segment`].
#[inline(always)]
pub(super) fn plain_segment(data: &[u8]) -> Option<Segment> {
    let bytes = data.first_chunk::<{ Ipv6Header::LENGTH + TcpHeader::LENGTH }>()?;
    let (ip, transport) = Ipv6Header::ref_from_prefix(bytes).ok()?;
    let (tcp, _) = TcpHeader::ref_from_prefix(transport).ok()?;
    let plain =
        ip.next_header == IpProtocol::TCP && tcp.flags.0 & (flags::SYN | flags::RST | flags::FIN) == 0;
    if plain { read(total_length(ip), Ipv6Header::LENGTH, tcp) } else { None }
}

#[inline(always)]
fn total_length(ip: &Ipv6Header) -> usize {
    Ipv6Header::LENGTH + usize::from(ip.payload_length.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;
    use weft_nodes::headers::TcpFlags;
    use weft_nodes::headers::build::{self, ipv6};

    const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
    const R: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 0, 0, 0, 9);
    const READING: Reading = Reading { seed: Seed::FIXED, headers: 8 };

    fn parse(data: &[u8], table: u16, link: u32, reading: &Reading) -> (Parsed, Pair6) {
        let parsed = super::parse(data, table, link, reading);
        (parsed, pair(data, parsed.relation, link, reading))
    }

    fn read(packet: &build::Packet) -> (Parsed, Pair6) {
        parse(&packet.build(), 3, 5, &READING)
    }

    fn echo(kind: u8, id: u16) -> Icmp6Header {
        Icmp6Header::new(Icmp6Type(kind), 0, u32::from(id) << 16 | 1)
    }

    /// A packet with these extension headers: types, and bytes but for the first one of each.
    fn with_chain(packet: &build::Packet, headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let packet = packet.build();
        let (ip, rest) = packet.split_at(Ipv6Header::LENGTH);
        let (mut ip, mut bytes, last) = (ip.to_vec(), Vec::new(), ip[6]);
        ip[6] = headers.first().map_or(last, |(first, _)| *first);
        for (number, (_, header)) in headers.iter().enumerate() {
            bytes.push(headers.get(number + 1).map_or(last, |(next, _)| *next));
            bytes.extend(header);
        }
        let length = (bytes.len() + rest.len()) as u16;
        ip[4..6].copy_from_slice(&length.to_be_bytes());
        [ip, bytes, rest.to_vec()].concat()
    }

    fn fragment(offset: u16, more: bool, id: u8) -> (u8, Vec<u8>) {
        let [a, b] = (offset | u16::from(more)).to_be_bytes();
        (44, vec![0, a, b, 0, 0, 0, id])
    }

    #[test]
    fn a_packet_and_its_answer_meet_whatever_stands_before_the_ports() {
        let options = (60u8, vec![0u8; 7]);
        for (request, answer, relation) in [
            (ipv6(A, B).udp(1000, 53), ipv6(B, A).udp(53, 1000), Relation::Part6),
            (
                ipv6(A, B).tcp(1000, 80, TcpFlags::SYN),
                ipv6(B, A).tcp(80, 1000, TcpFlags::ACK),
                Relation::Part6,
            ),
            (ipv6(A, B).ping6(7, 1), ipv6(B, A).icmp6(echo(129, 7)), Relation::Answer),
        ] {
            let ((there, pair), (back, same)) = (read(&request), read(&answer));
            assert_eq!((there.key, pair, there.direction), (back.key, same, back.direction.reverse()));
            assert_eq!((there.key.table(), there.relation, back.relation), (3, Relation::Part6, relation));
            // Options, and a fragment that is the whole datagram (RFC 6946).
            for headers in [vec![options.clone()], vec![options.clone(), fragment(0, false, 9)]] {
                assert_eq!(parse(&with_chain(&request, &headers), 3, 5, &READING), (there, pair));
            }
            let first = parse(&with_chain(&request, &[fragment(0, true, 9)]), 3, 5, &READING);
            assert_eq!(first, (Parsed { relation: Relation::FirstFragment, ..there }, pair));
            let many = vec![options.clone(); 9];
            assert_eq!(parse(&with_chain(&request, &many), 3, 5, &READING).0.relation, Relation::Malformed);
        }
        assert_ne!(
            parse(&ipv6(A, B).udp(1, 2).build(), 4, 5, &READING).0.key,
            read(&ipv6(A, B).udp(1, 2)).0.key
        );
    }

    #[test]
    fn the_type_of_an_icmp_message_says_who_asks() {
        for (request, answer) in [(128, 129), (139, 140)] {
            let message = |from, to, kind, id| read(&ipv6(from, to).icmp6(echo(kind, id))).0;
            for id in [0, 7, u16::MAX] {
                let (asked, answered) = (message(A, B, request, id), message(B, A, answer, id));
                assert_eq!((asked.key, asked.direction), (answered.key, answered.direction.reverse()));
                assert_eq!((asked.relation, answered.relation), (Relation::Part6, Relation::Answer));
                assert_ne!(message(B, A, request, id).key, asked.key, "type {request}, id {id}");
                assert_ne!(message(A, B, answer, id).key, asked.key, "type {answer}, id {id}");
                assert_eq!(message(B, A, request, id).key, message(A, B, answer, id).key);
            }
            assert_ne!(message(A, B, request, 7).key, message(A, B, 128 + (139 - request), 7).key);
        }
        // What is neither is a flow of each side, whatever bytes stand where an identifier would.
        for kind in 144..=254 {
            let message = |from, to, id| read(&ipv6(from, to).icmp6(echo(kind, id))).0;
            let asks = read(&ipv6(A, B).icmp6(echo(128, 0))).0;
            if !(148..=153).contains(&kind) {
                assert_eq!(message(A, B, 1).key, message(A, B, 2).key, "{kind}");
                assert_ne!(message(A, B, 1).key, message(B, A, 1).key, "{kind}");
                assert_ne!(message(A, B, 0).key, asks.key, "{kind}");
            }
        }
    }

    #[test]
    fn what_is_of_the_link_alone_is_no_flow() {
        for (kind, hops) in [(133, 255), (134, 255), (135, 255), (136, 255), (137, 255), (143, 1), (130, 1)] {
            let relation = |hops| read(&ipv6(A, B).hop_limit(hops).icmp6(echo(kind, 0))).0.relation;
            assert_eq!((relation(hops), relation(64)), (Relation::OfLink, Relation::Part6), "{kind}");
        }
    }

    #[test]
    fn errors_lead_to_the_flow_that_they_are_about() {
        let about = [
            ipv6(A, B).udp(1000, 53).payload(&[0; 100]),
            ipv6(B, A).tcp(80, 1000, TcpFlags::ACK),
            ipv6(A, B).ping6(7, 1),
            ipv6(B, A).icmp6(echo(129, 7)),
        ];
        for packet in about {
            let (its, pair) = read(&packet);
            let quoted = &packet.build()[..48];
            let (error, same) = read(&ipv6(R, A).icmp6(echo(1, 0)).payload(quoted));
            assert_eq!((error.key, same, error.relation), (its.key, pair, Relation::Error));
            assert_eq!(error.direction, its.direction.reverse());
            let short = read(&ipv6(R, A).icmp6(echo(1, 0)).payload(&quoted[..43])).0;
            assert_eq!(short.relation, Relation::Malformed);
        }
        // About a message that is neither a request nor its answer.
        let quoted = ipv6(A, B).icmp6(echo(200, 0)).build();
        assert_eq!(read(&ipv6(R, A).icmp6(echo(1, 0)).payload(&quoted)).0.relation, Relation::Malformed);
    }

    #[test]
    fn later_fragments_have_the_key_that_the_first_one_leaves() {
        let first = with_chain(&ipv6(A, B).udp(5, 6), &[fragment(0, true, 9)]);
        let key = |id, from, to| {
            parse(&with_chain(&ipv6(from, to).udp(0, 0), &[fragment(64, false, id)]), 3, 5, &READING).0
        };
        let left = fragment_key_of(&first, 3, 5, &READING);
        let later = key(9, A, B);
        assert_eq!((Some(later.key), later.relation), (left, Relation::LaterFragment));
        assert_eq!(later.direction, parse(&first, 3, 5, &READING).0.direction);
        for other in [key(8, A, B), key(9, B, A), key(9, A, R)] {
            assert_ne!(Some(other.key), left);
        }
        for whole in
            [ipv6(A, B).udp(5, 6).build(), with_chain(&ipv6(A, B).udp(5, 6), &[fragment(0, false, 9)])]
        {
            assert_eq!(fragment_key_of(&whole, 3, 5, &READING), None);
        }
    }

    #[test]
    fn segments_are_read_behind_extension_headers() {
        let packet = ipv6(A, B).tcp(1, 2, TcpFlags::ACK).payload(&[0; 30]);
        let (plain, chained) = (packet.build(), with_chain(&packet, &[(60, vec![0; 7]), (60, vec![0; 7])]));
        let expected = Segment { flags: flags::ACK, window: 0xffff, payload: 30, ..Segment::default() };
        assert_eq!(plain_segment(&plain), Some(expected));
        assert_eq!((segment(&plain, 8), segment(&chained, 8)), (Some(expected), Some(expected)));
        assert_eq!((plain_segment(&chained), segment(&chained, 1)), (None, None));
        assert_eq!(plain_segment(&ipv6(A, B).tcp(1, 2, TcpFlags::SYN).build()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in prop::collection::vec(any::<u8>(), 0..160), next: u8, table: u16) {
            for change in 0..2 {
                parse(&bytes, table, 1, &READING);
                segment(&bytes, 8);
                fragment_key_of(&bytes, table, 1, &READING);
                if change == 0 && bytes.len() > 6 {
                    (bytes[0], bytes[6]) = (0x60, [6, 17, 58, 44, 60, 0, 43, next][usize::from(next % 8)]);
                }
            }
        }
    }
}
