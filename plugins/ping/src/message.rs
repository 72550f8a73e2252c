// SPDX-License-Identifier: Apache-2.0
//! Echo requests as bytes, and what answers them (RFC 792).

use std::net::Ipv4Addr;

const IP: usize = 20;
const ICMP: usize = 8;
/// Bytes in front of the data of an echo request.
pub const HEADERS: usize = IP + ICMP;
/// Most bytes of data that a datagram carries.
pub const MOST_DATA: usize = u16::MAX as usize - IP - ICMP;

const MORE_FRAGMENTS: u16 = 0x2000;
const PROTOCOL_ICMP: u8 = 1;
const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

/// Which of our requests a message is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub identifier: u16,
    pub sequence: u16,
}

/// An ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    pub from: Ipv4Addr,
    pub kind: u8,
    pub code: u8,
}

impl Error {
    /// In the words of RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1.
    pub fn sentence(self) -> String {
        let known = match (self.kind, self.code) {
            (UNREACHABLE, 0) => "destination net unreachable",
            (UNREACHABLE, 1) => "destination host unreachable",
            (UNREACHABLE, 2) => "destination protocol unreachable",
            (UNREACHABLE, 4) => "fragmentation needed",
            (UNREACHABLE, 9 | 10 | 13) => "administratively prohibited",
            (TIME_EXCEEDED, 0) => "time to live exceeded",
            (TIME_EXCEEDED, 1) => "fragment reassembly time exceeded",
            (kind, code) => return format!("ICMP type {kind} code {code}"),
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

/// Of RFC 1071: 0 if the bytes end with, or hold, their right checksum.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    // 64 KiB are 32,768 words at most: no overflow.
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Most bytes of a request in one packet, behind its IPv4 header: what fits the MTU of Ethernet, and a buffer.
const PIECE: usize = 1480;

/// The parts of a request with so many bytes of data, each of which is a packet of its own: where they begin and how long they
/// are, without IPv4 headers.
pub fn pieces(size: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = ICMP + size;
    (0..whole).step_by(PIECE).map(move |start| (start, PIECE.min(whole - start)))
}

/// How long the packet of a part is.
pub fn packet_length((_, length): (usize, usize)) -> usize {
    IP + length
}

/// The checksum of the ICMP message of a request.
fn request_checksum(request: Request, size: usize) -> u16 {
    // The data begins anew every 256 bytes.
    let data = |count: usize| (0..count).map(|at| sum_of(pattern(request.sequence, at), at)).sum::<u64>();
    let header = u64::from(ECHO_REQUEST) << 8;
    let words = header + u64::from(request.identifier) + u64::from(request.sequence);
    let mut sum = words + (size / 256) as u64 * data(256) + data(size % 256);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What a byte adds to a sum of words.
fn sum_of(byte: u8, at: usize) -> u64 {
    if at.is_multiple_of(2) { u64::from(byte) << 8 } else { u64::from(byte) }
}

/// Writes a part of a request with `size` bytes of data over the whole of `packet`, which is as long as that takes.
pub fn write(packet: &mut [u8], request: Request, ttl: u8, size: usize, (start, length): (usize, usize)) {
    let (ip, part) = packet.split_at_mut(IP);
    ip.fill(0);
    ip[0] = 0x45;
    put(ip, 2, &((IP + length) as u16).to_be_bytes());
    // Requests of one ping that are fragments, or become such on the way, are different datagrams (RFC 6864).
    put(ip, 4, &request.sequence.to_be_bytes());
    let more = if start + length < ICMP + size { MORE_FRAGMENTS } else { 0 };
    put(ip, 6, &((start / 8) as u16 | more).to_be_bytes());
    ip[8] = ttl;
    ip[9] = PROTOCOL_ICMP;
    put(ip, 12, &request.source.octets());
    put(ip, 16, &request.destination.octets());
    let sum = checksum(ip);
    put(ip, 10, &sum.to_be_bytes());
    let data = match start {
        0 => {
            let (icmp, data) = part.split_at_mut(ICMP);
            put(icmp, 0, &[ECHO_REQUEST, 0]);
            put(icmp, 2, &request_checksum(request, size).to_be_bytes());
            put(icmp, 4, &request.identifier.to_be_bytes());
            put(icmp, 6, &request.sequence.to_be_bytes());
            data
        }
        _ => part,
    };
    let first = start.saturating_sub(ICMP);
    data.iter_mut().zip(first..).for_each(|(byte, at)| *byte = pattern(request.sequence, at));
}

/// An IPv4 header and what follows it, as far as it is there.
struct Datagram<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: u8,
    total_length: usize,
    payload: &'a [u8],
}

/// Reads an ICMP message, or its first fragment, whose header is what errors quote.
fn datagram(bytes: &[u8]) -> Option<Datagram<'_>> {
    let header: &[u8; IP] = bytes.first_chunk()?;
    let length = usize::from(header[0] & 15) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    if header[0] >> 4 != 4 || length < IP || fragment || header[9] != PROTOCOL_ICMP {
        return None;
    }
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some(Datagram {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        total_length: usize::from(u16::from_be_bytes([header[2], header[3]])).checked_sub(length)?,
        payload: bytes.get(length..)?,
    })
}

fn identifiers(icmp: &[u8]) -> Option<(u16, u16)> {
    let word = |at| Some(u16::from_be_bytes([*icmp.get(at)?, *icmp.get(at + 1)?]));
    Some((word(4)?, word(6)?))
}

/// What `packet`, from its IPv4 header on, says about which request; `None` if it is none of that, or damaged. A packet of `there`
/// bytes that goes on in other buffers has its first ones here: those are what is compared.
pub fn read(packet: &[u8], there: usize) -> Option<(Request, Answer)> {
    let outer = datagram(packet)?;
    if there < packet.len() - outer.payload.len() + outer.total_length {
        return None;
    }
    let is_whole = outer.payload.len() >= outer.total_length;
    let icmp = if is_whole { &outer.payload[..outer.total_length] } else { outer.payload };
    if icmp.len() < ICMP || (is_whole && checksum(icmp) != 0) {
        return None;
    }
    match (icmp[0], icmp[1]) {
        (ECHO_REPLY, 0) => {
            let (identifier, sequence) = identifiers(icmp)?;
            let data = &icmp[ICMP..];
            let intact = data.iter().enumerate().all(|(at, byte)| *byte == pattern(sequence, at));
            let request =
                Request { source: outer.destination, destination: outer.source, identifier, sequence };
            Some((request, Answer::Reply { ttl: outer.ttl, size: outer.total_length - ICMP, intact }))
        }
        (kind @ (UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM), code) => {
            // At least eight bytes of what it is about are quoted (RFC 792).
            let inner = datagram(&icmp[ICMP..])?;
            if inner.payload.first() != Some(&ECHO_REQUEST) {
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

    /// A packet in one buffer.
    fn whole(packet: &[u8]) -> Option<(Request, Answer)> {
        read(packet, packet.len())
    }

    fn request() -> impl Strategy<Value = Request> {
        any::<(u32, u32, u16, u16)>().prop_map(|(source, destination, identifier, sequence)| Request {
            source: source.into(),
            destination: destination.into(),
            identifier,
            sequence,
        })
    }

    /// What a host makes of a request (RFC 792): addresses exchanged, another type, the same data.
    fn replied(sent: &[u8]) -> Vec<u8> {
        let mut reply = sent.to_vec();
        reply[12..20].rotate_left(4);
        reply[IP] = ECHO_REPLY;
        fix(&mut reply);
        reply
    }

    fn error_about(sent: &[u8], from: Ipv4Addr, kind: u8, code: u8, quoted: usize) -> Vec<u8> {
        let mut error = vec![0; HEADERS];
        error.extend(&sent[..quoted.min(sent.len())]);
        error[0] = 0x45;
        let length = error.len() as u16;
        put(&mut error, 2, &length.to_be_bytes());
        error[8..10].copy_from_slice(&[64, PROTOCOL_ICMP]);
        put(&mut error, 12, &from.octets());
        put(&mut error, IP, &[kind, code]);
        fix(&mut error);
        error
    }

    fn fix(packet: &mut [u8]) {
        put(packet, IP + 2, &[0, 0]);
        let sum = !textbook_sum(&packet[IP..]);
        put(packet, IP + 2, &sum.to_be_bytes());
    }

    proptest! {
        #[test]
        fn requests_have_right_checksums_and_find_their_answer(
            request in request(), size in 0..1700usize, ttl: u8, from: u32, code: u8, quoted in 28..60usize,
        ) {
            let mut sent = vec![0xaa; HEADERS + size];
            write(&mut sent, request, ttl, size, (0, ICMP + size));
            prop_assert_eq!(textbook_sum(&sent[..IP]), 0xffff);
            prop_assert_eq!(textbook_sum(&sent[IP..]), 0xffff);
            prop_assert_eq!(usize::from(u16::from_be_bytes([sent[2], sent[3]])), sent.len());
            prop_assert_eq!(whole(&sent), None, "a request is no answer");
            let reply = Answer::Reply { ttl, size, intact: true };
            prop_assert_eq!(whole(&replied(&sent)), Some((request, reply)));
            let from = Ipv4Addr::from(from);
            for kind in [UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM] {
                let error = Answer::Error(Error { from, kind, code });
                prop_assert_eq!(whole(&error_about(&sent, from, kind, code, quoted)), Some((request, error)));
            }
        }

        #[test]
        fn a_request_in_parts_is_one_datagram(request in request(), size in 0..=MOST_DATA) {
            let mut message = Vec::new();
            let parts: Vec<_> = pieces(size).collect();
            for (number, &part) in parts.iter().enumerate() {
                let mut sent = vec![0xaa; packet_length(part)];
                write(&mut sent, request, 64, size, part);
                prop_assert_eq!(textbook_sum(&sent[..IP]), 0xffff);
                let field = u16::from_be_bytes([sent[6], sent[7]]);
                prop_assert_eq!(usize::from(field & 0x1fff) * 8, message.len());
                prop_assert_eq!(field & MORE_FRAGMENTS != 0, number + 1 < parts.len());
                message.extend_from_slice(&sent[IP..]);
            }
            prop_assert_eq!((message.len(), textbook_sum(&message)), (ICMP + size, 0xffff));
            // An answer that is put together again begins with the whole header.
            let mut answer = vec![0; IP];
            answer.extend_from_slice(&message);
            write(&mut answer[..IP + ICMP], request, 64, 0, (0, ICMP));
            let length = answer.len() as u16;
            put(&mut answer, 2, &length.to_be_bytes());
            let answer = replied(&answer);
            let reply = Answer::Reply { ttl: 64, size, intact: true };
            let first = &answer[..answer.len().min(1500)];
            prop_assert_eq!(read(first, answer.len()), Some((request, reply)));
            prop_assert_eq!(read(first, answer.len() - 1), None, "a part is missing");
        }

        #[test]
        fn damage_shows(request in request(), size in 1..1700usize, at: prop::sample::Index, flip in 1..=255u8) {
            let mut sent = vec![0; HEADERS + size];
            write(&mut sent, request, 64, size, (0, ICMP + size));
            let mut reply = replied(&sent);
            let at = IP + at.index(reply.len() - IP);
            reply[at] ^= flip;
            prop_assert_eq!(whole(&reply), None, "the checksum is wrong");
            if at >= HEADERS {
                fix(&mut reply);
                let damaged = Answer::Reply { ttl: 64, size, intact: false };
                prop_assert_eq!(whole(&reply), Some((request, damaged)), "somebody else's data");
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0..100usize) {
            whole(&bytes);
            let mut sent = vec![0; 64];
            let host = Ipv4Addr::LOCALHOST;
            let request = Request { source: host, destination: host, identifier: 1, sequence: 2 };
            write(&mut sent, request, 64, 36, (0, 44));
            let error = error_about(&sent, host, UNREACHABLE, 0, 64);
            let cut = &error[..cut.min(error.len() - 1)];
            prop_assert_eq!(whole(cut), None);
        }
    }
}
