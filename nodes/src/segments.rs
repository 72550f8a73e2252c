// SPDX-License-Identifier: Apache-2.0
//! Packets of several buffers, for the slow-path nodes that must see all bytes.
//!
//! Bytes are read by their position in the packet, wherever one buffer ends and the next begins.

use weft_engine::BufferIndex;
use weft_engine::buffer::BufferCache;

use crate::headers::checksum::{Pieces, Sum};

/// Copies the bytes of a packet from `offset` on to `out`; returns how many there were.
pub(crate) fn read(buffers: &mut BufferCache, packet: BufferIndex, offset: usize, out: &mut [u8]) -> usize {
    let mut copied = 0;
    visit(buffers, packet, offset, |bytes| {
        let count = bytes.len().min(out.len() - copied);
        out[copied..copied + count].copy_from_slice(&bytes[..count]);
        copied += count;
        copied < out.len()
    });
    copied
}

/// The one's complement sum of the bytes of a packet from `offset` on, and of what is summed up already.
pub(crate) fn sum(buffers: &mut BufferCache, packet: BufferIndex, offset: usize, before: Sum) -> Sum {
    let mut pieces = Pieces::after(before);
    visit(buffers, packet, offset, |bytes| {
        pieces = pieces.piece(bytes);
        true
    });
    pieces.sum()
}

/// Calls `each` on the bytes of every buffer of a packet from `offset` on, until it says that it has enough.
fn visit(
    buffers: &mut BufferCache,
    packet: BufferIndex,
    mut offset: usize,
    mut each: impl FnMut(&[u8]) -> bool,
) {
    let mut next = Some(packet);
    while let Some(index) = next {
        let segment = buffers.packet(index);
        next = segment.meta.next_segment();
        let skipped = offset.min(segment.length());
        offset -= skipped;
        if !each(&segment.data()[skipped..]) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::checksum;
    use proptest::prelude::*;
    use weft_engine::InterfaceIndex;
    use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};

    /// A packet of the given segments.
    fn packet(buffers: &mut BufferCache, segments: &[Vec<u8>]) -> BufferIndex {
        let indices: Vec<_> = segments
            .iter()
            .map(|bytes| {
                let index = buffers.allocate_one().unwrap();
                buffers.receive(index, HEADROOM, 0, InterfaceIndex(0));
                assert!(buffers.packet(index).fill(HEADROOM, bytes));
                index
            })
            .collect();
        for &segment in &indices[1..] {
            buffers.chain(indices[0], segment);
        }
        indices[0]
    }

    proptest! {
        #[test]
        fn where_buffers_end_makes_no_difference(
            segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5),
            offset in 0usize..200, wanted in 0usize..200,
        ) {
            let config = BufferConfig { pools: vec![(0, 256)], ..BufferConfig::default() };
            let mut buffers = Buffers::new(&config).unwrap().cache(0);
            let index = packet(&mut buffers, &segments);
            let whole = segments.concat();
            let rest = &whole[offset.min(whole.len())..];

            let mut out = vec![0; wanted];
            let count = read(&mut buffers, index, offset, &mut out);
            prop_assert_eq!(&out[..count], &rest[..wanted.min(rest.len())]);
            prop_assert_eq!(sum(&mut buffers, index, offset, Sum::default()).checksum(), checksum::of(rest));
            buffers.free_one(index);
        }
    }
}
