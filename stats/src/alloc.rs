// SPDX-License-Identifier: Apache-2.0
//! Hands out memory of the segment: a bump pointer, and a free list per block size.
//!
//! All bookkeeping is in ordinary memory: a reader finds nothing of it in the segment, and nothing in
//! the segment can damage it. Main thread only.
//!
//! A block holds one vector: the word with its length, then the data, which starts at a cache line. A
//! block is never cut nor merged, so the length word of a block is a length word for ever: a client
//! that reads freed memory because it has not looked at the epoch yet finds a length that is at most
//! the block's, and not the counter of somebody else. This is also why equal sizes only are used again.
//!
//! Two blocks never share a cache line but for the length word of the next, which changes only with the
//! structure.

use std::collections::BTreeMap;

use crate::layout::WORD;

/// x86-64 and most ARMv8 cores; a row per thread starts at such a boundary.
const CACHE_LINE: u64 = 64;

/// Memory for one vector. Not `Copy`: whoever holds it owns the memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Offset of the first element; the length word stands before it.
    pub data: u64,
    /// Bytes, the length word included.
    size: u64,
}

impl Block {
    /// Bytes for elements.
    pub fn room(&self) -> u64 {
        self.size - WORD as u64
    }

    /// Offset of the length word.
    pub fn length(&self) -> u64 {
        self.data - WORD as u64
    }
}

pub(crate) struct Allocator {
    /// Data offset of the next fresh block.
    next: u64,
    /// Where the last block ends, but for a word: GoVPP and papi refuse a vector that touches the end
    /// of the file.
    end: u64,
    free: BTreeMap<u64, Vec<Block>>,
    used: u64,
}

impl Allocator {
    /// For a segment of `size` bytes, of which the first cache line is the header's.
    pub fn new(size: usize) -> Allocator {
        let end = size as u64 / CACHE_LINE * CACHE_LINE;
        Allocator { next: CACHE_LINE, end, free: BTreeMap::new(), used: CACHE_LINE }
    }

    /// A block with room for `bytes` of data, or `None` if there is no more memory. Its content is
    /// arbitrary.
    pub fn allocate(&mut self, bytes: u64) -> Option<Block> {
        let size = class(bytes)?;
        let block = match self.free.get_mut(&size).and_then(Vec::pop) {
            Some(block) => block,
            None => {
                let next = self.next.checked_add(size).filter(|&next| next <= self.end)?;
                let data = std::mem::replace(&mut self.next, next);
                Block { data, size }
            }
        };
        self.used += size;
        Some(block)
    }

    pub fn free(&mut self, block: Block) {
        self.used -= block.size;
        self.free.entry(block.size).or_default().push(block);
    }

    /// Bytes in live blocks and the header.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Bytes that a block of a new size may still take.
    pub fn fresh(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}

/// Size of the block for `bytes` of data: whole cache lines, and at most an eighth more than needed, so
/// that vectors of nearly equal size share a free list.
fn class(bytes: u64) -> Option<u64> {
    let needed = bytes.checked_add(WORD as u64)?;
    let granule = (needed.checked_next_power_of_two()? / 16).max(CACHE_LINE);
    needed.checked_next_multiple_of(granule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Oracle: the set of live byte ranges.
        #[test]
        fn blocks_are_disjoint_aligned_and_inside(
            steps in prop::collection::vec((any::<bool>(), 0u64..5000), 1..200),
        ) {
            const SIZE: usize = 64 << 10;
            let mut alloc = Allocator::new(SIZE);
            let mut live: Vec<Block> = Vec::new();
            for (give_back, bytes) in steps {
                if give_back && !live.is_empty() {
                    alloc.free(live.swap_remove(bytes as usize % live.len()));
                } else if let Some(block) = alloc.allocate(bytes) {
                    prop_assert!(block.room() >= bytes);
                    prop_assert_eq!(block.data % CACHE_LINE, 0);
                    prop_assert!(block.length() >= size_of::<crate::layout::Header>() as u64);
                    prop_assert!(block.data + block.room() < SIZE as u64);
                    for other in &live {
                        let behind = block.length() >= other.data + other.room();
                        prop_assert!(behind || other.length() >= block.data + block.room());
                    }
                    live.push(block);
                }
                let sum: u64 = live.iter().map(|block| block.room() + WORD as u64).sum();
                prop_assert_eq!(alloc.used(), CACHE_LINE + sum);
            }
        }
    }

    #[test]
    fn a_freed_block_is_used_again_for_its_own_size_only() {
        let mut alloc = Allocator::new(8192);
        let first = alloc.allocate(100).expect("8 KiB hold it");
        let offset = first.data;
        alloc.free(first);
        assert_ne!(alloc.allocate(500).expect("8 KiB hold it").data, offset);
        assert_eq!(alloc.allocate(100).expect("8 KiB hold it").data, offset);
    }

    #[test]
    fn at_most_an_eighth_is_wasted_on_large_blocks() {
        for bytes in [1000u64, 4096, 8192, 100_000, 1 << 20] {
            let size = class(bytes).expect("small");
            assert!(size <= (bytes + 8 + CACHE_LINE) * 9 / 8, "{bytes} -> {size}");
        }
        assert_eq!(class(u64::MAX), None);
    }
}
