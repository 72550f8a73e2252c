// SPDX-License-Identifier: Apache-2.0
//! Echo requests as bytes, and what answers them (RFC 792, RFC 4443).
//!
//! A request is of the family of its addresses, which are both of one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IP4: usize = 20;
const IP6: usize = 40;
const FRAGMENT_HEADER: usize = 8;
/// Bytes of an ICMP header.
pub const ICMP: usize = 8;
/// Most bytes of data that a datagram of either family carries.
pub const MOST_DATA: usize = u16::MAX as usize - IP4 - ICMP;

const MORE_FRAGMENTS: u16 = 0x2000;
const MORE_FRAGMENTS6: u16 = 1;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMP6: u8 = 58;
const PROTOCOL_FRAGMENT: u8 = 44;

/// Types of ICMP messages of a family.
struct Types {
    request: u8,
    reply: u8,
    unreachable: u8,
    time_exceeded: u8,
    /// All that are about a request of ours.
    errors: &'static [u8],
}

const TYPES4: Types = Types { request: 8, reply: 0, unreachable: 3, time_exceeded: 11, errors: &[3, 11, 12] };
const TYPES6: Types =
    Types { request: 128, reply: 129, unreachable: 1, time_exceeded: 3, errors: &[1, 2, 3, 4] };
/// Packet too big, which IPv4 says as a code.
const TOO_BIG6: u8 = 2;

fn types(address: IpAddr) -> &'static Types {
    if address.is_ipv4() { &TYPES4 } else { &TYPES6 }
}

/// Which of our requests a message is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub identifier: u16,
    pub sequence: u16,
}

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    pub from: IpAddr,
    pub kind: u8,
    pub code: u8,
}

impl Error {
    /// In the words of RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1; of IPv6, in those of RFC 4443.
    pub fn sentence(self) -> String {
        let types = types(self.from);
        let known = match (self.kind == types.unreachable, self.kind == types.time_exceeded, self.code) {
            (_, true, 0) if self.from.is_ipv4() => "time to live exceeded",
            (_, true, 0) => "hop limit exceeded",
            (_, true, 1) => "fragment reassembly time exceeded",
            (true, _, code) => match (self.from.is_ipv4(), code) {
                (true, 0) => "destination net unreachable",
                (true, 1) => "destination host unreachable",
                (true, 2) => "destination protocol unreachable",
                (true, 4) => "fragmentation needed",
                (true, 9 | 10 | 13) | (false, 1 | 5) => "administratively prohibited",
                (false, 0) => "no route to destination",
                (false, 2) => "beyond scope of source address",
                (false, 3) => "address unreachable",
                (false, 6) => "reject route to destination",
                (_, code) => return format!("ICMP type {} code {code}", self.kind),
            },
            _ if self.from.is_ipv6() && self.kind == TOO_BIG6 => "packet too big",
            (_, _, code) => return format!("ICMP type {} code {code}", self.kind),
        };
        known.to_owned()
    }
}

/// What a packet says about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// `intact`: it carries the data that was sent.
    Reply {
        ttl: u8,
        size: usize,
        intact: bool,
    },
    Error(Error),
}

/// Byte `at` of the data of a request. Different from packet to packet, so that old data in a buffer shows.
fn pattern(sequence: u16, at: usize) -> u8 {
    (usize::from(sequence) + at) as u8
}

/// The sum of RFC 1071, not folded.
fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low))).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What ICMPv6 adds to the sum of a message of so many bytes (RFC 8200 section 8.1).
fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> u64 {
    match (source, destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            sum(&source.octets()) + sum(&destination.octets()) + length as u64 + u64::from(PROTOCOL_ICMP6)
        }
        _ => 0,
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Most bytes of a request of IPv4 in one packet, behind its header: what fits the MTU of Ethernet, and a buffer.
const PIECE4: usize = 1480;
/// Of IPv6, if it is one packet. On a link that carries less it is cut up as whatever this router sends.
const WHOLE6: usize = 1460;
/// Of IPv6, if it is several, each of which fits every link.
const PIECE6: usize = 1232;

/// A part of a request, which is a packet of its own.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    start: usize,
    length: usize,
    /// IP header, and that of a fragment of IPv6.
    headers: usize,
}

impl Piece {
    /// How long its packet is.
    pub fn packet_length(self) -> usize {
        self.headers + self.length
    }
}

/// The parts of a request with so many bytes of data to such an address.
pub fn pieces(destination: IpAddr, size: usize) -> impl Iterator<Item = Piece> {
    let whole = ICMP + size;
    let (most, headers) = match destination {
        IpAddr::V4(_) => (PIECE4, IP4),
        IpAddr::V6(_) if whole <= WHOLE6 => (WHOLE6, IP6),
        IpAddr::V6(_) => (PIECE6, IP6 + FRAGMENT_HEADER),
    };
    (0..whole).step_by(most).map(move |start| Piece { start, length: most.min(whole - start), headers })
}

/// The checksum of the ICMP message of a request.
fn request_checksum(request: Request, size: usize) -> u16 {
    // The data begins anew every 256 bytes.
    let data = |count: usize| (0..count).map(|at| sum_of(pattern(request.sequence, at), at)).sum::<u64>();
    let Request { source, destination, identifier, sequence } = request;
    let header = u64::from(types(destination).request) << 8;
    let words = header + u64::from(identifier) + u64::from(sequence);
    let pseudo = pseudo_header(source, destination, ICMP + size);
    fold(pseudo + words + (size / 256) as u64 * data(256) + data(size % 256))
}

/// What a byte adds to a sum of words.
fn sum_of(byte: u8, at: usize) -> u64 {
    if at.is_multiple_of(2) { u64::from(byte) << 8 } else { u64::from(byte) }
}

/// Writes a part of a request with `size` bytes of data over the whole of `packet`, which is as long as that takes.
pub fn write(packet: &mut [u8], request: Request, ttl: u8, size: usize, piece: Piece) {
    let (headers, part) = packet.split_at_mut(piece.headers);
    let is_last = piece.start + piece.length == ICMP + size;
    match (request.source, request.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header4(headers, (source, destination), ttl, request.sequence, piece, is_last);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let datagram = u32::from(request.identifier) << 16 | u32::from(request.sequence);
            header6(headers, (source, destination), ttl, datagram, piece, is_last);
        }
        // Nobody makes such a request; its packet has no version, and is dropped.
        _ => headers.fill(0),
    }
    let data = match piece.start {
        0 => {
            let (icmp, data) = part.split_at_mut(ICMP);
            put(icmp, 0, &[types(request.destination).request, 0]);
            put(icmp, 2, &request_checksum(request, size).to_be_bytes());
            put(icmp, 4, &request.identifier.to_be_bytes());
            put(icmp, 6, &request.sequence.to_be_bytes());
            data
        }
        _ => part,
    };
    let first = piece.start.saturating_sub(ICMP);
    data.iter_mut().zip(first..).for_each(|(byte, at)| *byte = pattern(request.sequence, at));
}

fn header4(
    ip: &mut [u8],
    (source, destination): (Ipv4Addr, Ipv4Addr),
    ttl: u8,
    datagram: u16,
    Piece { start, length, .. }: Piece,
    is_last: bool,
) {
    ip.fill(0);
    ip[0] = 0x45;
    put(ip, 2, &((IP4 + length) as u16).to_be_bytes());
    // Requests of one ping that are fragments, or become such on the way, are different datagrams (RFC 6864).
    put(ip, 4, &datagram.to_be_bytes());
    let more = if is_last { 0 } else { MORE_FRAGMENTS };
    put(ip, 6, &((start / 8) as u16 | more).to_be_bytes());
    ip[8] = ttl;
    ip[9] = PROTOCOL_ICMP;
    put(ip, 12, &source.octets());
    put(ip, 16, &destination.octets());
    let checksum = fold(sum(ip));
    put(ip, 10, &checksum.to_be_bytes());
}

fn header6(
    headers: &mut [u8],
    (source, destination): (Ipv6Addr, Ipv6Addr),
    hop_limit: u8,
    datagram: u32,
    Piece { start, length, .. }: Piece,
    is_last: bool,
) {
    let (ip, fragment) = headers.split_at_mut(IP6);
    ip.fill(0);
    ip[0] = 0x60;
    put(ip, 4, &((fragment.len() + length) as u16).to_be_bytes());
    ip[6] = if fragment.is_empty() { PROTOCOL_ICMP6 } else { PROTOCOL_FRAGMENT };
    ip[7] = hop_limit;
    put(ip, 8, &source.octets());
    put(ip, 24, &destination.octets());
    if !fragment.is_empty() {
        fragment.fill(0);
        fragment[0] = PROTOCOL_ICMP6;
        let more = if is_last { 0 } else { MORE_FRAGMENTS6 };
        // In units of 8 bytes, above three other bits.
        put(fragment, 2, &(start as u16 | more).to_be_bytes());
        put(fragment, 4, &datagram.to_be_bytes());
    }
}

/// An IP header and what follows it, as far as it is there.
struct Datagram<'a> {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    /// Bytes of the ICMP message, or of its first fragment.
    length: usize,
    payload: &'a [u8],
}

/// Reads an ICMP message, or its first fragment, whose header is what errors quote.
fn datagram(bytes: &[u8]) -> Option<Datagram<'_>> {
    match bytes.first()? >> 4 {
        4 => datagram4(bytes),
        6 => datagram6(bytes),
        _ => None,
    }
}

fn datagram4(bytes: &[u8]) -> Option<Datagram<'_>> {
    let header: &[u8; IP4] = bytes.first_chunk()?;
    let length = usize::from(header[0] & 15) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if length < IP4 || fragment || header[9] != PROTOCOL_ICMP {
        return None;
    }
    let address = |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Some(Datagram {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        length: usize::from(u16::from_be_bytes([header[2], header[3]])).checked_sub(length)?,
        payload: bytes.get(length..)?,
    })
}

fn datagram6(bytes: &[u8]) -> Option<Datagram<'_>> {
    let (header, mut payload) = bytes.split_first_chunk::<IP6>()?;
    let mut length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut protocol = header[6];
    if protocol == PROTOCOL_FRAGMENT {
        let (fragment, rest) = payload.split_first_chunk::<FRAGMENT_HEADER>()?;
        if u16::from_be_bytes([fragment[2], fragment[3]]) & !7 != 0 {
            return None;
        }
        (protocol, payload, length) = (fragment[0], rest, length.checked_sub(FRAGMENT_HEADER)?);
    }
    let address = |at: usize| Some(IpAddr::from(*header.get(at..)?.first_chunk::<16>()?));
    let (source, destination) = (address(8)?, address(24)?);
    let of_icmp = protocol == PROTOCOL_ICMP6;
    of_icmp.then_some(Datagram { source, destination, ttl: header[7], length, payload })
}

fn identifiers(icmp: &[u8]) -> Option<(u16, u16)> {
    let word = |at| Some(u16::from_be_bytes([*icmp.get(at)?, *icmp.get(at + 1)?]));
    Some((word(4)?, word(6)?))
}

/// What `packet`, from its IP header on, says about which request; `None` if it is none of that, or damaged. A packet of `there`
/// bytes that goes on in other buffers has its first ones here: those are what is compared.
pub fn read(packet: &[u8], there: usize) -> Option<(Request, Answer)> {
    let outer = datagram(packet)?;
    if there < packet.len() - outer.payload.len() + outer.length {
        return None;
    }
    let types = types(outer.source);
    let is_whole = outer.payload.len() >= outer.length;
    let icmp = if is_whole { &outer.payload[..outer.length] } else { outer.payload };
    let pseudo = pseudo_header(outer.source, outer.destination, outer.length);
    if icmp.len() < ICMP || (is_whole && fold(pseudo + sum(icmp)) != 0) {
        return None;
    }
    match (icmp[0], icmp[1]) {
        (kind, 0) if kind == types.reply => {
            let (identifier, sequence) = identifiers(icmp)?;
            let data = &icmp[ICMP..];
            let intact = data.iter().enumerate().all(|(at, byte)| *byte == pattern(sequence, at));
            let request =
                Request { source: outer.destination, destination: outer.source, identifier, sequence };
            Some((request, Answer::Reply { ttl: outer.ttl, size: outer.length - ICMP, intact }))
        }
        (kind, code) if types.errors.contains(&kind) => {
            // At least eight bytes of what it is about are quoted (RFC 792).
            let inner = datagram(&icmp[ICMP..])?;
            if inner.payload.first() != Some(&types.request)
                || inner.source.is_ipv4() != outer.source.is_ipv4()
            {
                return None;
            }
            let (identifier, sequence) = identifiers(inner.payload)?;
            let request =
                Request { source: inner.source, destination: inner.destination, identifier, sequence };
            Some((request, Answer::Error(Error { from: outer.source, kind, code })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One word after the other, with the carry added at once (RFC 1071 section 1).
    fn textbook_sum(bytes: &[u8]) -> u16 {
        let mut sum = 0u16;
        for word in bytes.chunks(2) {
            let word = u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]);
            let (added, carry) = sum.overflowing_add(word);
            sum = added + u16::from(carry);
        }
        sum
    }

    /// The pseudo-header as it is drawn, and the message.
    fn textbook_icmp_sum(request: Request, message: &[u8]) -> u16 {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (request.source, request.destination) else {
            return textbook_sum(message);
        };
        let mut bytes = [source.octets(), destination.octets()].concat();
        bytes.extend((message.len() as u32).to_be_bytes());
        bytes.extend([0, 0, 0, PROTOCOL_ICMP6]);
        bytes.extend(message);
        textbook_sum(&bytes)
    }

    /// A packet in one buffer.
    fn whole(packet: &[u8]) -> Option<(Request, Answer)> {
        read(packet, packet.len())
    }

    fn request() -> impl Strategy<Value = Request> {
        let addresses = prop_oneof![
            any::<(u32, u32)>()
                .prop_map(|(a, b)| (IpAddr::from(a.to_be_bytes()), IpAddr::from(b.to_be_bytes()))),
            any::<(u128, u128)>()
                .prop_map(|(a, b)| (IpAddr::from(a.to_be_bytes()), IpAddr::from(b.to_be_bytes()))),
        ];
        (addresses, any::<(u16, u16)>()).prop_map(|((source, destination), (identifier, sequence))| Request {
            source,
            destination,
            identifier,
            sequence,
        })
    }

    fn ip(request: Request) -> usize {
        if request.source.is_ipv4() { IP4 } else { IP6 }
    }

    /// The request as one packet, however long.
    fn sent(request: Request, ttl: u8, size: usize) -> Vec<u8> {
        let piece = Piece { start: 0, length: ICMP + size, headers: ip(request) };
        let mut sent = vec![0xaa; piece.packet_length()];
        write(&mut sent, request, ttl, size, piece);
        sent
    }

    /// What a host makes of a request (RFC 792): addresses exchanged, another type, the same data.
    fn replied(request: Request, sent: &[u8]) -> Vec<u8> {
        let mut reply = sent.to_vec();
        match request.source.is_ipv4() {
            true => reply[12..20].rotate_left(4),
            false => reply[8..40].rotate_left(16),
        }
        reply[ip(request)] = types(request.source).reply;
        fix(request, &mut reply);
        reply
    }

    fn error_about(
        request: Request,
        sent: &[u8],
        from: IpAddr,
        kind: u8,
        code: u8,
        quoted: usize,
    ) -> Vec<u8> {
        let header = Request { source: from, destination: request.source, ..request };
        let quoted = quoted.min(sent.len());
        let mut error = self::sent(header, 64, quoted);
        error.truncate(ip(request) + ICMP);
        error.extend(&sent[..quoted]);
        error[ip(request)..ip(request) + ICMP].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
        fix(header, &mut error);
        error
    }

    fn fix(request: Request, packet: &mut [u8]) {
        let ip = ip(request);
        put(packet, ip + 2, &[0, 0]);
        let sum = !textbook_icmp_sum(request, &packet[ip..]);
        put(packet, ip + 2, &sum.to_be_bytes());
    }

    proptest! {
        #[test]
        fn requests_have_right_checksums_and_find_their_answer(
            request in request(), size in 0..1700usize, ttl: u8, from: u128, code: u8, quoted in 0..32usize,
        ) {
            let ip = ip(request);
            let sent = sent(request, ttl, size);
            if request.source.is_ipv4() {
                prop_assert_eq!(textbook_sum(&sent[..ip]), 0xffff);
            }
            prop_assert_eq!(textbook_icmp_sum(request, &sent[ip..]), 0xffff);
            prop_assert_eq!(whole(&sent), None, "a request is no answer");
            let reply = Answer::Reply { ttl, size, intact: true };
            prop_assert_eq!(whole(&replied(request, &sent)), Some((request, reply)));
            let from = match request.source {
                IpAddr::V4(_) => IpAddr::from((from as u32).to_be_bytes()),
                IpAddr::V6(_) => IpAddr::from(from.to_be_bytes()),
            };
            for &kind in types(from).errors {
                let error = Answer::Error(Error { from, kind, code });
                let about = error_about(request, &sent, from, kind, code, ip + ICMP + quoted);
                prop_assert_eq!(whole(&about), Some((request, error)));
            }
        }

        #[test]
        fn a_request_in_parts_is_one_datagram(request in request(), size in 0..=MOST_DATA) {
            let (ip, mut message) = (ip(request), Vec::new());
            let parts: Vec<_> = pieces(request.destination, size).collect();
            for (number, &part) in parts.iter().enumerate() {
                let mut sent = vec![0xaa; part.packet_length()];
                write(&mut sent, request, 64, size, part);
                prop_assert!(sent.len() <= 1500, "{} bytes", sent.len());
                let (offset, more) = match request.source {
                    IpAddr::V4(_) => {
                        prop_assert_eq!(textbook_sum(&sent[..ip]), 0xffff);
                        let field = u16::from_be_bytes([sent[6], sent[7]]);
                        (usize::from(field & 0x1fff) * 8, field & MORE_FRAGMENTS != 0)
                    }
                    IpAddr::V6(_) if parts.len() == 1 => (0, false),
                    IpAddr::V6(_) => {
                        prop_assert!(sent.len() <= 1280, "{} bytes", sent.len());
                        prop_assert_eq!((sent[6], sent[ip]), (PROTOCOL_FRAGMENT, PROTOCOL_ICMP6));
                        let field = u16::from_be_bytes([sent[ip + 2], sent[ip + 3]]);
                        (usize::from(field & !7), field & 1 != 0)
                    }
                };
                if request.source.is_ipv6() {
                    prop_assert_eq!(usize::from(u16::from_be_bytes([sent[4], sent[5]])), sent.len() - IP6);
                }
                prop_assert_eq!(offset, message.len());
                prop_assert_eq!(more, number + 1 < parts.len());
                message.extend_from_slice(&sent[part.headers..]);
            }
            prop_assert_eq!((message.len(), textbook_icmp_sum(request, &message)), (ICMP + size, 0xffff));
            // An answer that is put together again begins with the whole header.
            let mut answer = sent(request, 64, 0);
            answer.truncate(ip);
            answer.extend_from_slice(&message);
            let (at, length) = if request.source.is_ipv4() { (2, answer.len()) } else { (4, message.len()) };
            put(&mut answer, at, &(length as u16).to_be_bytes());
            let answer = replied(request, &answer);
            let reply = Answer::Reply { ttl: 64, size, intact: true };
            let first = &answer[..answer.len().min(1500)];
            prop_assert_eq!(read(first, answer.len()), Some((request, reply)));
            prop_assert_eq!(read(first, answer.len() - 1), None, "a part is missing");
        }

        #[test]
        fn damage_shows(request in request(), size in 1..1700usize, at: prop::sample::Index, flip in 1..=255u8) {
            let ip = ip(request);
            let mut reply = replied(request, &sent(request, 64, size));
            let at = ip + at.index(reply.len() - ip);
            reply[at] ^= flip;
            prop_assert_eq!(whole(&reply), None, "the checksum is wrong");
            if at >= ip + ICMP {
                fix(request, &mut reply);
                let damaged = Answer::Reply { ttl: 64, size, intact: false };
                prop_assert_eq!(whole(&reply), Some((request, damaged)), "somebody else's data");
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0..200usize) {
            whole(&bytes);
            for host in [IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)] {
                let request = Request { source: host, destination: host, identifier: 1, sequence: 2 };
                let sent = sent(request, 64, 36);
                let error = error_about(request, &sent, host, types(host).unreachable, 0, 64);
                let cut = &error[..cut.min(error.len() - 1)];
                prop_assert_eq!(whole(cut), None);
            }
        }
    }
}
