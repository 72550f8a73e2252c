// SPDX-License-Identifier: Apache-2.0
//! ip4-frag: how IPv4 makes fragments (RFC 791 section 3.2), of datagrams and of fragments. The node:
//! [`crate::forward::fragment`].

use weft_engine::BufferIndex;
use weft_engine::buffer::BufferCache;
use weft_fib::Ip4;
use zerocopy::FromBytes;

use crate::forward::fragment::{Fragmenter, Fragmenting, MAX_FRAGMENT, Reason, make};
use crate::headers::{Ipv4Header, checksum};
use crate::segments;

impl Fragmenting for Ip4 {
    type Fragmenter = Ip4Fragments;
}

#[derive(Default)]
pub(crate) struct Ip4Fragments;

impl Fragmenter for Ip4Fragments {
    fn some(
        &mut self,
        buffers: &mut BufferCache,
        packet: BufferIndex,
        mtu: usize,
        fragments: &mut Vec<BufferIndex>,
    ) -> Result<(), Reason> {
        let room = mtu.min(MAX_FRAGMENT);
        let mut bytes = [0; MAX_FRAGMENT];
        segments::read(buffers, packet, 0, &mut bytes[..MAX_HEADER]);
        let Ok((&original, _)) = Ipv4Header::ref_from_prefix(&bytes) else {
            return Err(Reason::BadOffset);
        };
        let header_length = original.header_length();
        let data = buffers.packet(packet).meta.total_length().saturating_sub(header_length);
        if original.fragment_offset() + data > usize::from(u16::MAX) {
            return Err(Reason::BadOffset);
        }

        let (mut done, mut header) = (0, header_length);
        while done < data {
            let most = room.saturating_sub(header);
            let count = if data - done <= most { data - done } else { most & !7 };
            if count == 0 {
                return Err(Reason::MtuTooSmall);
            }
            segments::read(buffers, packet, header_length + done, &mut bytes[header..header + count]);
            let last = done + count == data;
            finish_header(&mut bytes, header, count, &original, done, last);

            fragments.push(make(buffers, packet, &bytes[..header + count])?);
            if done == 0 {
                header = keep_copied_options(&mut bytes, header_length);
            }
            done += count;
        }
        Ok(())
    }
}

/// Longest IPv4 header: 15 words.
const MAX_HEADER: usize = 60;

/// Sets what differs from fragment to fragment in the `header` bytes of header, which carry `count` bytes of data from
/// byte `done` of the original's.
fn finish_header(
    bytes: &mut [u8],
    header: usize,
    count: usize,
    original: &Ipv4Header,
    done: usize,
    last: bool,
) {
    let Ok((ip, _)) = Ipv4Header::mut_from_prefix(bytes) else {
        unreachable!("a fragment is longer than its header");
    };
    ip.version_ihl = 0x40 | (header / 4) as u8;
    ip.total_length.set((header + count) as u16);
    let more = !last || original.more_fragments();
    let offset = ((original.fragment_offset() + done) / 8) as u16;
    ip.flags_offset.set(offset | if more { Ipv4Header::MORE_FRAGMENTS } else { 0 });
    ip.checksum.set(0);
    let sum = checksum::of(&bytes[..header]);
    if let Ok((ip, _)) = Ipv4Header::mut_from_prefix(bytes) {
        ip.checksum.set(sum);
    }
}

/// RFC 791 section 3.1: end of option list, and no operation, are one byte; in others a length follows.
const END: u8 = 0;
const NOP: u8 = 1;
/// Of an option's type: it stands in all fragments, not only in the first.
const COPIED: u8 = 0x80;

/// Removes the options that belong to the first fragment only; returns the new length of the header. What follows a
/// malformed option is removed too.
fn keep_copied_options(bytes: &mut [u8], header: usize) -> usize {
    let (mut from, mut to) = (Ipv4Header::LENGTH, Ipv4Header::LENGTH);
    while from < header {
        let length = match bytes[from] {
            END => break,
            NOP => 1,
            _ if from + 1 < header => usize::from(bytes[from + 1]),
            _ => break,
        };
        if length == 0 || from + length > header {
            break;
        }
        // Padding between options that go is not needed.
        if bytes[from] & COPIED != 0 {
            bytes.copy_within(from..from + length, to);
            to += length;
        }
        from += length;
    }
    let end = to.next_multiple_of(4);
    bytes[to..end].fill(END);
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::build::ipv4;
    use crate::headers::checksum::Sum;
    use proptest::prelude::*;
    use weft_engine::InterfaceIndex;
    use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};

    fn buffers() -> BufferCache {
        let config = BufferConfig { pools: vec![(0, 2048)], ..BufferConfig::default() };
        Buffers::new(&config).unwrap().cache(0)
    }

    /// A packet of these bytes, in as many buffers as it needs.
    fn packet(buffers: &mut BufferCache, bytes: &[u8]) -> BufferIndex {
        let mut first = None;
        for part in bytes.chunks(1500) {
            let index = buffers.allocate_one().unwrap();
            buffers.receive(index, HEADROOM, 0, InterfaceIndex(0));
            assert!(buffers.packet(index).fill(HEADROOM, part));
            match first {
                None => first = Some(index),
                Some(first) => buffers.chain(first, index),
            }
        }
        first.unwrap()
    }

    fn fragments_of(bytes: &[u8], mtu: usize) -> Result<Vec<Vec<u8>>, Reason> {
        let mut buffers = buffers();
        let (index, mut made) = (packet(&mut buffers, bytes), Vec::new());
        Ip4Fragments.all(&mut buffers, index, mtu, &mut made)?;
        Ok(made.iter().map(|index| buffers.packet(*index).data().to_vec()).collect())
    }

    /// Puts fragments together as their receiver does: (header of the first, data, offset, whether more follow).
    fn reassemble(fragments: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>, usize, bool) {
        let (mut data, mut first, mut start, mut more) = (Vec::new(), Vec::new(), 0, true);
        for (i, bytes) in fragments.iter().enumerate() {
            let (ip, _) = Ipv4Header::ref_from_prefix(bytes).unwrap();
            let header = ip.header_length();
            assert!(Sum::default().bytes(&bytes[..header]).is_valid());
            assert_eq!(usize::from(ip.total_length.get()), bytes.len());
            if i == 0 {
                (first, start) = (bytes[..header].to_vec(), ip.fragment_offset());
            }
            assert_eq!(ip.fragment_offset(), start + data.len());
            assert!(more, "a fragment follows the last one");
            more = ip.more_fragments();
            assert!(i + 1 == fragments.len() || more);
            data.extend_from_slice(&bytes[header..]);
        }
        (first, data, start, more)
    }

    const OPTIONS: [&[u8]; 3] = [&[], &[7, 7, 4, 1, 2, 3, 4], &[1, 1, 148, 4, 0, 0, 68, 4, 5, 0]];

    proptest! {
        #[test]
        fn a_receiver_gets_back_what_was_fragmented(
            length in 1usize..9000, mtu in 128usize..9000, offset in 0u16..100, more: bool,
            options in prop::sample::select(&OPTIONS),
        ) {
            let data: Vec<u8> = (0..length).map(|i| (i * 7 + i / 256) as u8).collect();
            let flags = offset | if more { Ipv4Header::MORE_FRAGMENTS } else { 0 };
            let bytes = ipv4([10, 0, 0, 1], [10, 0, 0, 2])
                .ipv4_with(|ip| ip.flags_offset.set(flags))
                .options(options)
                .payload(&data)
                .build();
            let fragments = fragments_of(&bytes, mtu).unwrap();
            let (header, joined, start, follow) = reassemble(&fragments);
            prop_assert_eq!(joined, data);
            prop_assert_eq!((start, follow), (usize::from(offset) * 8, more));
            prop_assert_eq!(&header[20..], &bytes[20..bytes.len() - length]);
            let longest = mtu.min(MAX_FRAGMENT);
            for (i, fragment) in fragments.iter().enumerate() {
                prop_assert!(fragment.len() <= longest);
                prop_assert!(i + 1 == fragments.len() || fragment.len() > longest - 8);
                // Only the router alert (148) has the copy bit.
                let alert: &[u8] = if options.contains(&148) { &[148, 4, 0, 0] } else { &[] };
                let kept = usize::from(fragment[0] & 15) * 4;
                prop_assert!(i == 0 || &fragment[20..kept] == alert);
            }
        }
    }

    #[test]
    fn what_cannot_be_fragmented_takes_no_buffer() {
        let bytes = ipv4([10, 0, 0, 1], [10, 0, 0, 2]).payload(&[0; 1000]).build();
        let late = ipv4([10, 0, 0, 1], [10, 0, 0, 2])
            .ipv4_with(|ip| ip.flags_offset.set(8191))
            .payload(&[0; 1000])
            .build();
        let mut buffers = buffers();
        let all = buffers.buffers().total();
        for (bytes, mtu, reason) in [
            (&bytes, 27, Reason::MtuTooSmall),
            (&bytes, 10, Reason::MtuTooSmall),
            (&late, 576, Reason::BadOffset),
        ] {
            let (index, mut made) = (packet(&mut buffers, bytes), Vec::new());
            assert_eq!(Ip4Fragments.all(&mut buffers, index, mtu, &mut made), Err(reason));
            assert!(made.is_empty());
            buffers.free_one(index);
        }
        let index = packet(&mut buffers, &bytes);
        let mut rest = Vec::new();
        buffers.allocate(all, |index| rest.push(index));
        buffers.give_back(rest.pop().unwrap());
        assert_eq!(Ip4Fragments.all(&mut buffers, index, 576, &mut Vec::new()), Err(Reason::NoBuffer));
        assert!(buffers.allocate_one().is_some() && buffers.allocate_one().is_none());
    }

    #[test]
    fn a_malformed_option_ends_the_options() {
        for options in
            [[148, 4, 0, 0, 131, 0, 0, 0], [148, 4, 0, 0, 131, 9, 0, 0], [148, 4, 0, 0, 1, 1, 1, 131]]
        {
            let bytes = ipv4([1, 1, 1, 1], [2, 2, 2, 2]).options(&options).payload(&[0; 100]).build();
            let fragments = fragments_of(&bytes, 68).unwrap();
            assert_eq!(&fragments[0][20..28], &options);
            assert_eq!((fragments[1][0], &fragments[1][20..24]), (0x46, &options[..4]));
        }
    }
}
