// SPDX-License-Identifier: Apache-2.0
//! What the host's stack leaves to a NIC, done here: checksums, and TCP cut into segments.
//!
//! A TAP that announces both gets up to 64 KiB of a TCP stream by one system call, where it would take one for each segment, and the
//! host passes its stack once. With each frame comes a header (`struct virtio_net_hdr`, linux/virtio_net.h) that says what is
//! left to do. What is announced is TCP over IPv4 and IPv6; other segmentation (UDP) the host does itself.
//!
//! Pure functions, for workers.

use weft_headers::checksum::Sum;

/// Bytes of the header in front of each frame.
pub(super) const HEADER: usize = 10;
/// The most that comes at once: a segment of 64 KiB, with its headers.
pub(super) const MOST: usize = (1 << 16) + 256;
/// Headers of a TCP segment at most: Ethernet with two tags, IP with options or extension headers, TCP with options.
const MOST_HEADERS: usize = 256;

// `struct virtio_net_hdr`: flags, kind of segmentation.
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
/// Beside the kind: the first segment alone has CWR (RFC 3168 section 6.1.2).
const GSO_ECN: u8 = 0x80;

const ETHERNET: usize = 14;
const TAG: usize = 4;
const FIN: u8 = 0x01;
const PUSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// What is left to do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// A checksum: from which byte of the frame on it is summed, and where it lies. The sum of the pseudo-header is there.
    checksum: Option<(usize, usize)>,
    /// Payload of each segment in bytes.
    segment: Option<usize>,
}

/// A frame that does not look as its header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Unfinished {
    /// From the header in front of a frame, whose numbers are in the order of this machine (drivers/net/tun_vnet.h).
    pub(super) fn parse(header: [u8; HEADER]) -> Result<Self, Malformed> {
        let [flags, kind, _, _, size @ ..] = header;
        let number = |at: usize| usize::from(u16::from_ne_bytes([size[at], size[at + 1]]));
        let checksum = (flags & NEEDS_CHECKSUM != 0).then(|| (number(2), number(2) + number(4)));
        let segment = match kind & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCP4 | GSO_TCP6 if number(0) > 0 => Some(number(0)),
            _ => return Err(Malformed),
        };
        Ok(Self { checksum, segment })
    }

    /// Whether the frame is several.
    pub fn is_many(&self) -> bool {
        self.segment.is_some()
    }

    /// Fills in the checksum of a frame that is one.
    ///
    /// # Errors
    /// If it lies outside of the frame.
    pub fn finish(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        let Some((start, field)) = self.checksum else { return Ok(()) };
        let summed = frame.get(start..).ok_or(Malformed)?;
        let checksum = match Sum::default().bytes(summed).checksum() {
            // Which of UDP would mean that there is none (RFC 768); of anything else it is the same number.
            0 => 0xffff,
            checksum => checksum,
        };
        frame.get_mut(field..field + 2).ok_or(Malformed)?.copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }

    /// Gives the segments of a frame that is several, each as headers and payload.
    ///
    /// # Errors
    /// If there is no TCP where it should be; nothing was given then.
    pub fn cut(&self, frame: &[u8], mut give: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
        let (Some(size), Some((transport, field))) = (self.segment, self.checksum) else {
            return Err(Malformed);
        };
        let u16_at = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let (mut network, mut kind) = (ETHERNET, u16_at(ETHERNET - 2).ok_or(Malformed)?);
        while matches!(kind, 0x8100 | 0x88a8) && network < ETHERNET + 2 * TAG {
            kind = u16_at(network + 2).ok_or(Malformed)?;
            network += TAG;
        }
        let least = match kind {
            0x0800 => 20,
            0x86dd => 40,
            _ => return Err(Malformed),
        };
        let words = frame.get(transport + 12).ok_or(Malformed)? >> 4;
        let end = transport + usize::from(words) * 4;
        if transport < network + least || field != transport + 16 || words < 5 || end > MOST_HEADERS {
            return Err(Malformed);
        }
        let (headers, payload) = frame.split_at_checked(end).ok_or(Malformed)?;
        let mut own = [0; MOST_HEADERS];
        let own = &mut own[..end];
        let number =
            |at: usize| u32::from_be_bytes([headers[at], headers[at + 1], headers[at + 2], headers[at + 3]]);
        let (sequence, identification) = (number(transport + 4), number(network + 4) >> 16);
        let flags = headers[transport + 13];
        // The sum of the pseudo-header without the length of the whole.
        let pseudo =
            Sum::default().word(u16_at(field).ok_or(Malformed)?).word(!((frame.len() - transport) as u16));
        let segments = payload.len().div_ceil(size).max(1);
        for (count, part) in (0..segments).zip(payload.chunks(size).chain([&[][..]])) {
            own.copy_from_slice(headers);
            let length = end - network + part.len();
            match kind {
                0x0800 => {
                    put(own, network + 2, length as u16);
                    put(own, network + 4, (identification as u16).wrapping_add(count as u16));
                    put(own, network + 10, 0);
                    let checksum = Sum::default().bytes(&own[network..transport]).checksum();
                    put(own, network + 10, checksum);
                }
                _ => put(own, network + 4, (length - 40) as u16),
            }
            let at = sequence.wrapping_add((count * size) as u32);
            own[transport + 4..transport + 8].copy_from_slice(&at.to_be_bytes());
            let last = if count + 1 == segments { 0 } else { FIN | PUSH };
            let first = if count == 0 { 0 } else { CWR };
            own[transport + 13] = flags & !(last | first);
            put(own, field, 0);
            let sum = pseudo.word((end - transport + part.len()) as u16);
            // A TCP header has an even length.
            let checksum = sum.bytes(&own[transport..]).bytes(part).checksum();
            put(own, field, checksum);
            give(own, part);
        }
        Ok(())
    }
}

fn put(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    /// A TCP segment as it would be in one piece.
    fn whole(v6: bool, tags: usize, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
        macro_rules! write {
            ($builder:expr) => {{
                let ip = if v6 {
                    $builder.ipv6([7; 16], [9; 16], 64)
                } else {
                    $builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                };
                let mut tcp = ip.tcp(1000, 80, sequence, 1024).ack(7);
                if flags & FIN != 0 {
                    tcp = tcp.fin();
                }
                if flags & PUSH != 0 {
                    tcp = tcp.psh();
                }
                if flags & CWR != 0 {
                    tcp = tcp.cwr();
                }
                tcp.write(&mut frame, payload).expect("a vector takes it");
            }};
        }
        match tags {
            0 => write!(ethernet),
            1 => write!(ethernet.single_vlan(7.try_into().expect("a VLAN"))),
            _ => write!(ethernet.double_vlan(7.try_into().expect("a VLAN"), 8.try_into().expect("a VLAN"))),
        }
        frame
    }

    fn header(flags: u8, kind: u8, numbers: [u16; 4]) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        (header[0], header[1]) = (flags, kind);
        for (at, number) in numbers.into_iter().enumerate() {
            header[2 + 2 * at..4 + 2 * at].copy_from_slice(&number.to_ne_bytes());
        }
        header
    }

    /// The sum of the pseudo-header, as a kernel leaves it in the field.
    fn open(frame: &mut [u8], v6: bool, transport: usize, protocol: u8, field: usize) {
        let addresses = if v6 { transport - 32..transport } else { transport - 8..transport };
        let length = (frame.len() - transport) as u16;
        let sum = Sum::default().bytes(&frame[addresses]).word(protocol.into()).word(length);
        put(frame, field, !sum.checksum());
    }

    proptest! {
        #[test]
        fn segments_are_those_that_a_host_would_send(
            v6: bool, tags in 0..3usize, flags: u8, sequence: u32, size in 1..1500usize,
            payload in proptest::collection::vec(any::<u8>(), 0..9000),
        ) {
            let mut frame = whole(v6, tags, flags, sequence, &payload);
            let network = ETHERNET + TAG * tags;
            let transport = network + if v6 { 40 } else { 20 };
            open(&mut frame, v6, transport, 6, transport + 16);
            let kind = if v6 { GSO_TCP6 } else { GSO_TCP4 } | if flags & CWR != 0 { GSO_ECN } else { 0 };
            let header = header(NEEDS_CHECKSUM, kind, [54, size as u16, transport as u16, 16]);
            let unfinished = Unfinished::parse(header).expect("a header");
            prop_assert!(unfinished.is_many());
            let mut made = Vec::new();
            unfinished.cut(&frame, |headers, part| made.push([headers, part].concat())).expect("a segment of TCP");
            prop_assert_eq!(made.len(), payload.len().div_ceil(size).max(1));
            let last = made.len() - 1;
            for (count, (segment, part)) in made.iter().zip(payload.chunks(size).chain([&[][..]])).enumerate() {
                let mut own = flags;
                if count < last {
                    own &= !(FIN | PUSH);
                }
                if count > 0 {
                    own &= !CWR;
                }
                let mut expected = whole(v6, tags, own, sequence.wrapping_add((count * size) as u32), part);
                if !v6 {
                    // Identifications count up.
                    put(&mut expected, network + 4, count as u16);
                    put(&mut expected, network + 10, 0);
                    let checksum = Sum::default().bytes(&expected[network..transport]).checksum();
                    put(&mut expected, network + 10, checksum);
                }
                prop_assert_eq!(segment, &expected, "segment {} of {}", count, made.len());
                let sliced = SlicedPacket::from_ethernet(segment).expect("a packet");
                prop_assert!(matches!(sliced.transport, Some(TransportSlice::Tcp(_))));
            }
        }

        #[test]
        fn a_checksum_is_filled_in(v6: bool, payload in proptest::collection::vec(any::<u8>(), 0..1400)) {
            let frame = whole(v6, 0, 0, 7, &payload);
            let transport = ETHERNET + if v6 { 40 } else { 20 };
            let mut left = frame.clone();
            open(&mut left, v6, transport, 6, transport + 16);
            let header = header(NEEDS_CHECKSUM, GSO_NONE, [0, 0, transport as u16, 16]);
            Unfinished::parse(header).expect("a header").finish(&mut left).expect("it fits");
            // 0 and its complement are the same number.
            let same = |field: &[u8]| if field == [0xff, 0xff] { [0, 0] } else { [field[0], field[1]] };
            let field = transport + 16..transport + 18;
            prop_assert_eq!(same(&left[field.clone()]), same(&frame[field.clone()]));
            left[field.clone()].copy_from_slice(&frame[field]);
            prop_assert_eq!(left, frame);
        }

        #[test]
        fn any_bytes_are_taken(header: [u8; HEADER], mut frame in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(unfinished) = Unfinished::parse(header) {
                let _ = unfinished.finish(&mut frame);
                let mut bytes = 0;
                let _ = unfinished.cut(&frame, |_, part| bytes += part.len());
                prop_assert!(bytes <= frame.len());
            }
        }
    }

    #[test]
    fn a_frame_that_has_nothing_left_stays_as_it_is() {
        let unfinished = Unfinished::parse([0; HEADER]).expect("zeros");
        assert_eq!(unfinished, Unfinished::default());
        let mut frame = [7; 60];
        unfinished.finish(&mut frame).expect("nothing to do");
        assert_eq!(frame, [7; 60]);
    }
}
