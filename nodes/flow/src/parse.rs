// SPDX-License-Identifier: Apache-2.0
//! From a packet to the key of its flow: here of IPv4, and what both families share.
//!
//! Relies on ip4-input: the bytes begin with a sound IPv4 header. All after it is a stranger's and is checked.

pub mod ip6;

use weft_flow_map::{Direction, Key};
use weft_nodes::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header, TcpHeader};
use zerocopy::FromBytes;

use crate::tcp::{Segment, flags};

/// How a packet is related to the flow of its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Relation {
    /// It may begin the flow.
    #[default]
    Part,
    /// As `Part`, of IPv6: apart, so that the loop over IPv4 takes no look at families.
    Part6,
    /// As `Part`, and other fragments of the same datagram follow.
    FirstFragment,
    /// It has no ports: the key is that of [`fragment_key`].
    LaterFragment,
    /// It answers an ICMP query: of the flow if there is one.
    Answer,
    /// An ICMP error about a packet of the flow (RFC 792, RFC 4443); the direction is the error's.
    Error,
    /// It says who neighbours are (neighbour discovery, listener reports): of no flow, and a link is dead without it.
    OfLink,
    /// Nothing can be said about it: too short for what it claims to be.
    Malformed,
    /// Whatever it is, another worker owns its flow ([`owner`]).
    Elsewhere,
}

/// What is known of a packet before any table is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parsed {
    /// The key.
    pub key: Key,
    /// Who sent it.
    pub direction: Direction,
    /// What it is to the flow.
    pub relation: Relation,
}

/// Which of `workers` owns the flow of a packet: all that know its two addresses agree, so fragments without ports and ICMP
/// errors find it too (docs/decisions/0005-flow-owner.md).
#[inline(always)]
pub fn owner(addresses: u64, workers: usize) -> usize {
    let (a, b) = (addresses >> 32, addresses & 0xffff_ffff);
    // The key of a later fragment has its addresses as they were sent. Of IPv6 this is a digest that has no direction.
    let pair = a.min(b) << 32 | a.max(b);
    let mixed = (pair ^ pair >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((u128::from(mixed) * workers as u128) >> 64) as usize
}

/// Reads a packet, which begins with its IPv4 header, in forwarding table `table`.
pub fn parse(data: &[u8], table: u16) -> Parsed {
    plain(data, table).unwrap_or_else(|| rare(data, table))
}

/// As [`parse`], for whole packets of TCP and UDP without options of IP: nearly all. Apart from the others, since a value that
/// either of two ways may return is written to memory in pieces and read again at once, for which the processor must wait.
#[inline(always)]
pub(crate) fn plain(data: &[u8], table: u16) -> Option<Parsed> {
    let bytes = data.first_chunk::<{ Ipv4Header::LENGTH + 4 }>()?;
    // In words: the header by its fields took twice as many instructions.
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
    let (second, addresses, last) = (word(4), word(12), word(16));
    // Without a branch between the two: which of them it is cannot be predicted.
    let (tcp, udp) = (second & WHOLE == whole(IpProtocol::TCP), second & WHOLE == whole(IpProtocol::UDP));
    if bytes[0] != Ipv4Header::PLAIN || !(tcp | udp) {
        return None;
    }
    let (key, direction) = Key::of_words(addresses, last as u32, table, (second >> 16) as u8, 0);
    Some(Parsed { key, direction, relation: Relation::Part })
}

/// Of the second 8 bytes of an IPv4 header: the fragment's place, and the protocol.
const WHOLE: u64 = ((Ipv4Header::MORE_FRAGMENTS | Ipv4Header::OFFSET_MASK) as u64) << 32 | 0xff << 16;

/// These of a whole datagram.
const fn whole(protocol: IpProtocol) -> u64 {
    (protocol.0 as u64) << 16
}

/// The two ports, which UDP and TCP have in the same place.
#[inline(always)]
fn ports(transport: &[u8]) -> Option<(u16, u16)> {
    let word = u32::from_be_bytes(*transport.first_chunk()?);
    Some(((word >> 16) as u16, word as u16))
}

#[inline(always)]
fn with_ports(ip: &Ipv4Header, from: u16, to: u16, table: u16, relation: Relation) -> Parsed {
    let (from, to) = ((ip.source.get(), from), (ip.destination.get(), to));
    let (key, direction) = Key::new(from, to, table, ip.protocol.0, 0);
    Parsed { key, direction, relation }
}

/// Options, fragments, short packets, and protocols other than TCP and UDP.
#[cold]
#[inline(never)]
pub(crate) fn rare(data: &[u8], table: u16) -> Parsed {
    let Ok((ip, _)) = Ipv4Header::ref_from_prefix(data) else {
        return Parsed { relation: Relation::Malformed, ..Parsed::default() };
    };
    let transport = data.get(ip.header_length()..).unwrap_or_default();
    if ip.fragment_offset() > 0 {
        let direction = Direction::from_bit(u64::from(ip.source.get() > ip.destination.get()));
        return Parsed { key: fragment_key(ip, table), direction, relation: Relation::LaterFragment };
    }
    let relation = if ip.more_fragments() { Relation::FirstFragment } else { Relation::Part };
    match ip.protocol {
        IpProtocol::TCP | IpProtocol::UDP => match ports(transport) {
            Some((from, to)) => with_ports(ip, from, to, table, relation),
            None => with_ports(ip, 0, 0, table, Relation::Malformed),
        },
        IpProtocol::ICMP => icmp(ip, transport, table, relation),
        _ => with_ports(ip, 0, 0, table, relation),
    }
}

/// What the fragments of one datagram have in common (RFC 791): the one key that is not the same in both directions.
pub fn fragment_key(ip: &Ipv4Header, table: u16) -> Key {
    Key {
        addresses: u64::from(ip.source.get()) << 32 | u64::from(ip.destination.get()),
        rest: u64::from(ip.identification.get()) << 48
            | u64::from(table) << 16
            | u64::from(ip.protocol.0) << 8,
    }
}

fn icmp(ip: &Ipv4Header, transport: &[u8], table: u16, relation: Relation) -> Parsed {
    let malformed = with_ports(ip, 0, 0, table, Relation::Malformed);
    let Ok((icmp, quoted)) = Icmp4Header::ref_from_prefix(transport) else {
        return malformed;
    };
    if icmp.icmp_type.is_error() {
        return embedded(quoted, table).unwrap_or(malformed);
    }
    let (parsed, answers) = message(ip, icmp, table);
    Parsed { relation: if answers { Relation::Answer } else { relation }, ..parsed }
}

/// Set in the place of the ICMP type if the endpoint with the higher address asks.
const HIGH_ASKS: u8 = 0x80;

/// ICMP types below this one can be told apart ([`Key::IP6`] has the next bit); the last one stands for all others.
const KINDS: u8 = Key::IP6;

/// A message of ICMP that is no error, and whether it is an answer. Its type says who asks, and who asks is a part of the key: so
/// what admits the answers to A's requests does not admit requests of B, whatever identifier they bear. What is no query has no
/// answer (router discovery, and types unknown): each side's is a flow of its own.
fn message(ip: &Ipv4Header, icmp: &Icmp4Header, table: u16) -> (Parsed, bool) {
    let (kind, id, answers) = match query(icmp.icmp_type) {
        Some((request, answers)) => (request, icmp.rest[0].get(), answers),
        None => (icmp.icmp_type.0.min(KINDS - 1), 0, false),
    };
    let (from, to) = ((ip.source.get(), id), (ip.destination.get(), id));
    let (_, direction) = Key::new(from, to, table, ip.protocol.0, kind);
    let high_asks = (direction == Direction::FromHigh) != answers;
    let kind = if high_asks { kind | HIGH_ASKS } else { kind };
    let (key, direction) = Key::new(from, to, table, ip.protocol.0, kind);
    (Parsed { key, direction, relation: Relation::Part }, answers)
}

/// The type of the request, and whether this is the answer to it: echo, timestamp (RFC 792), information (RFC 792), address
/// mask (RFC 950).
fn query(icmp_type: Icmp4Type) -> Option<(u8, bool)> {
    match icmp_type.0 {
        0 => Some((8, true)),
        request @ (8 | 13 | 15 | 17) => Some((request, false)),
        answer @ (14 | 16 | 18) => Some((answer - 1, true)),
        _ => None,
    }
}

/// The packet that an ICMP error is about: its header and at least 8 bytes after it (RFC 792).
fn embedded(quoted: &[u8], table: u16) -> Option<Parsed> {
    let (ip, _) = Ipv4Header::ref_from_prefix(quoted).ok()?;
    if ip.version() != 4 || ip.header_length() < Ipv4Header::LENGTH || ip.fragment_offset() > 0 {
        return None;
    }
    let transport = quoted.get(ip.header_length()..)?;
    let parsed = match ip.protocol {
        IpProtocol::TCP | IpProtocol::UDP => {
            let (from, to) = ports(transport)?;
            with_ports(ip, from, to, table, Relation::Error)
        }
        IpProtocol::ICMP => {
            let (icmp, _) = Icmp4Header::ref_from_prefix(transport).ok()?;
            query(icmp.icmp_type)?;
            Parsed { relation: Relation::Error, ..message(ip, icmp, table).0 }
        }
        _ => with_ports(ip, 0, 0, table, Relation::Error),
    };
    // The error goes the other way than the packet that it is about.
    Some(Parsed { direction: parsed.direction.reverse(), ..parsed })
}

/// What TCP says in a packet whose IP header is sound; `None` if it is cut off or claims a header that it does not hold. Of
/// IPv6 it may stand behind as many extension `headers`.
pub fn segment(data: &[u8], headers: usize) -> Option<Segment> {
    if data.first()? >> 4 == 6 {
        return ip6::segment(data, headers);
    }
    let (ip, _) = Ipv4Header::ref_from_prefix(data).ok()?;
    segment_of(data, ip.total_length.get().into(), ip.header_length())
}

/// The segment that begins at `at` in a packet of `total` bytes.
fn segment_of(data: &[u8], total: usize, at: usize) -> Option<Segment> {
    let (tcp, options) = TcpHeader::ref_from_prefix(data.get(at..)?).ok()?;
    let scale = match tcp.flags.0 & flags::SYN {
        0 => None,
        _ => window_scale(options.get(..tcp.header_length().checked_sub(TcpHeader::LENGTH)?)?),
    };
    Some(Segment { scale, ..read(total, at, tcp)? })
}

/// As [`segment`], if there are no options of IP, and none of SYN, RST and FIN is set: all that nearly all segments need.
#[inline(always)]
pub(crate) fn plain_segment<const IP6: bool>(data: &[u8]) -> Option<Segment> {
    if IP6 {
        return ip6::plain_segment(data);
    }
    let bytes = data.first_chunk::<{ Ipv4Header::LENGTH + TcpHeader::LENGTH }>()?;
    let (ip, transport) = Ipv4Header::ref_from_prefix(bytes).ok()?;
    let (tcp, _) = TcpHeader::ref_from_prefix(transport).ok()?;
    let plain =
        ip.version_ihl == Ipv4Header::PLAIN && tcp.flags.0 & (flags::SYN | flags::RST | flags::FIN) == 0;
    if plain { read(ip.total_length.get().into(), Ipv4Header::LENGTH, tcp) } else { None }
}

#[inline(always)]
fn read(total: usize, at: usize, tcp: &TcpHeader) -> Option<Segment> {
    // As the IP header says, not as the buffer holds: long packets have more segments.
    let payload = total.checked_sub(at + tcp.header_length())?;
    if tcp.header_length() < TcpHeader::LENGTH {
        return None;
    }
    Some(Segment {
        flags: tcp.flags.0,
        sequence: tcp.sequence.get(),
        acknowledgment: tcp.acknowledgment.get(),
        window: tcp.window.get(),
        payload: payload as u32,
        scale: None,
    })
}

/// The shift of the window scale option (RFC 7323 section 2.2), if it is there.
#[cold]
fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        match *options {
            // End of the list, or nothing left.
            [0, ..] | [] => return None,
            [1, ref rest @ ..] => options = rest,
            [3, 3, shift, ..] => return Some(shift),
            [_, length, ..] if length >= 2 => options = options.get(length.into()..)?,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weft_flow_map::Endpoint;
    use weft_nodes::headers::TcpFlags;
    use weft_nodes::headers::build::{Packet, ipv4};

    const A: [u8; 4] = [10, 0, 0, 1];
    const B: [u8; 4] = [10, 0, 0, 2];

    fn unreachable(about: &[u8]) -> Packet {
        ipv4([192, 0, 2, 1], A).icmp4(Icmp4Header::new(Icmp4Type::UNREACHABLE, 1, [0, 0])).payload(about)
    }

    #[test]
    fn a_packet_and_its_answer_meet() {
        let pong = Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [7, 1]);
        let (syn, ack) = (TcpFlags::SYN, TcpFlags::ACK);
        for (request, answer, relation) in [
            (ipv4(A, B).udp(1000, 53), ipv4(B, A).udp(53, 1000), Relation::Part),
            (ipv4(A, B).tcp(1000, 80, syn), ipv4(B, A).tcp(80, 1000, ack), Relation::Part),
            (ipv4(A, B).ping(7, 1), ipv4(B, A).icmp4(pong), Relation::Answer),
        ] {
            let (request, answer) = (parse(&request.build(), 3), parse(&answer.build(), 3));
            assert_eq!((request.key, request.direction), (answer.key, answer.direction.reverse()));
            assert_eq!((request.key.table(), request.relation), (3, Relation::Part));
            assert_eq!(answer.relation, relation);
        }
        let other_table = parse(&ipv4(A, B).udp(1000, 53).build(), 4);
        assert_ne!(other_table.key, parse(&ipv4(A, B).udp(1000, 53).build(), 3).key);
    }

    #[test]
    fn the_type_of_an_icmp_message_says_who_asks() {
        // Requests, their answers (RFC 792, RFC 950), and what is neither.
        for (request, answer) in [(8, 0), (13, 14), (15, 16), (17, 18)] {
            let message = |from, to, kind, id| {
                parse(&ipv4(from, to).icmp4(Icmp4Header::new(Icmp4Type(kind), 0, [id, 1])).build(), 0)
            };
            for id in [0, 7, u16::MAX] {
                let asked = message(A, B, request, id);
                let answered = message(B, A, answer, id);
                assert_eq!((asked.key, asked.direction), (answered.key, answered.direction.reverse()));
                assert_eq!((asked.relation, answered.relation), (Relation::Part, Relation::Answer));
                // The other side's request of the same identifier, and the answer to that.
                assert_ne!(message(B, A, request, id).key, asked.key, "type {request}, id {id}");
                assert_ne!(message(A, B, answer, id).key, asked.key, "type {answer}, id {id}");
                assert_eq!(message(B, A, request, id).key, message(A, B, answer, id).key);
            }
        }
        let solicitation =
            |from, to| parse(&ipv4(from, to).icmp4(Icmp4Header::new(Icmp4Type(10), 0, [0, 0])).build(), 0);
        assert_ne!(solicitation(A, B).key, solicitation(B, A).key);
    }

    #[test]
    fn an_icmp_error_meets_the_packet_that_it_is_about() {
        let syn = TcpFlags::SYN;
        for packet in [ipv4(A, B).udp(1000, 53), ipv4(A, B).tcp(1000, 80, syn), ipv4(A, B).ping(7, 1)] {
            let packet = packet.build();
            let error = unreachable(&packet[..28]).build();
            let (about, error) = (parse(&packet, 0), parse(&error, 0));
            assert_eq!((error.key, error.relation), (about.key, Relation::Error));
            assert_eq!(error.direction, about.direction.reverse());
        }
        let quoted = &ipv4(A, B).udp(1000, 53).build()[..23];
        assert_eq!(parse(&unreachable(quoted).build(), 0).relation, Relation::Malformed);
    }

    #[test]
    fn window_scale_is_found_among_options() {
        assert_eq!(window_scale(&[2, 4, 5, 180, 1, 3, 3, 7]), Some(7));
        assert_eq!(window_scale(&[2, 4, 5, 180, 0, 3, 3, 7]), None);
        for bad in [&[2u8, 0, 3, 3, 7][..], &[2], &[3, 3], &[8, 200, 1]] {
            assert_eq!(window_scale(bad), None);
        }
    }

    #[test]
    fn endpoints_are_as_sent() {
        let parsed = parse(&ipv4(B, A).udp(5, 6).build(), 0);
        let from = Endpoint { address: B.into(), port: 5 };
        assert_eq!(
            (parsed.direction, parsed.key.endpoint(&weft_flow_map::Pair6::default(), parsed.direction)),
            (Direction::FromHigh, from)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(mut bytes in prop::collection::vec(any::<u8>(), 0..120), table: u16) {
            parse(&bytes, table);
            segment(&bytes, 8);
            if let Some(first) = bytes.first_mut() {
                *first = 0x45;
            }
            parse(&bytes, table);
            segment(&bytes, 8);
        }
    }
}
