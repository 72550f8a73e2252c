// SPDX-License-Identifier: Apache-2.0
//! The forwarding table of IPv6: from a destination address to a load-balance.
//!
//! [`Fib`](crate::Fib) with more than one level of blocks: an entry for each /24, and below it, where longer prefixes need
//! them, blocks of 256 entries for 8 bits of the address each (DPDK's `rte_fib6` has the same shape). A destination that
//! a /32 covers costs two loads, a /48 four, a /64 six, of which the first can be prefetched. Prefixes up to /8 live in a
//! root of 256 entries, so a default route touches 1 KB.
//!
//! A route costs at most 256 entries where it ends, and a block of 1 KB for each 8 bits beyond 24 that it shares with no
//! other route. Which structure is the best for a full table is open: issue 14 has it measured against others.
//!
//! # Readers
//! As in [`Fib`](crate::Fib): each entry is one atomic word, a block is filled before the entry that leads to it is
//! stored, and never written again from when it is unlinked until all workers were quiescent. An entry holds the length
//! of the prefix that wrote it, also where a longer prefix has copied it into a block. So a change finds its own entries
//! by their length, and each address shows its old or its new route.

use std::collections::HashSet;
use std::io;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::Ipv6Net;
use thiserror::Error;
use weft_engine::qsbr::Domain;
use weft_interface::Ip6;

use super::blocks::Blocks;
use super::family::{Lookup, LookupWriter};
use super::table_memory::Words;
use super::{FibSettings, LoadBalanceId};

/// Entries of the table: one for each /24.
const TABLE: usize = 1 << 24;
/// Blocks for which address space is reserved (1 GiB).
const BLOCKS: usize = 1 << 20;
const BLOCK: usize = 1 << STRIDE;
/// Bits of an address that a block decides.
const STRIDE: u8 = 8;
/// Longest prefix of the root.
const ROOT_LENGTH: u8 = 8;
/// Longest prefix that needs no block.
const TABLE_LENGTH: u8 = 24;

/// A word of the table: either the index of a block, or a load-balance and the length of its prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry(u32);

impl Entry {
    /// No route here; in the table and in blocks: ask the root.
    const EMPTY: Entry = Entry(0);
    const BLOCK: u32 = 1 << 31;
    const DEPTH_SHIFT: u32 = 24;
    const ID: u32 = (1 << Self::DEPTH_SHIFT) - 1;

    fn route(depth: Depth, id: LoadBalanceId) -> Entry {
        debug_assert!(id.0 <= Self::ID && id != LoadBalanceId::NO_ROUTE);
        Entry(u32::from(depth.0) << Self::DEPTH_SHIFT | id.0)
    }

    fn load(word: &AtomicU32) -> Entry {
        // Only the writer asks, and it reads its own stores.
        Entry(word.load(Ordering::Relaxed))
    }

    fn store(self, word: &AtomicU32) {
        // Release: who sees the entry sees the block and the load-balance that it names.
        word.store(self.0, Ordering::Release);
    }

    fn depth(self) -> Depth {
        Depth((self.0 >> Self::DEPTH_SHIFT) as u8)
    }

    const fn block(self) -> Option<u32> {
        if self.0 & Self::BLOCK != 0 { Some(self.0 & !Self::BLOCK) } else { None }
    }
}

/// A prefix length in the 7 bits of an entry: itself in the root, counted from the root's elsewhere. Empty entries have
/// depth 0, less than or equal to all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Depth(u8);

impl Depth {
    fn of(length: u8) -> Depth {
        Depth(if length <= ROOT_LENGTH { length } else { length - ROOT_LENGTH })
    }
}

/// What workers read. Made and written by a [`Fib6Writer`].
pub struct Fib6 {
    root: [AtomicU32; 256],
    table: Words<TABLE>,
    blocks: Words<{ BLOCKS * BLOCK }>,
}

impl Fib6 {
    /// The route of `destination` by longest match, [`LoadBalanceId::NO_ROUTE`] if there is none.
    #[inline(always)]
    pub fn lookup(&self, destination: u128) -> LoadBalanceId {
        match self.find(destination) {
            // A batch may have moved its route between root and table in the meantime.
            LoadBalanceId::NO_ROUTE => self.find_again(destination),
            found => found,
        }
    }

    /// Starts to load the line that [`Fib6::lookup`] will read first.
    #[inline(always)]
    pub fn prefetch(&self, destination: u128) {
        self.table.prefetch((destination >> (128 - TABLE_LENGTH)) as usize);
    }

    #[inline(always)]
    fn find(&self, destination: u128) -> LoadBalanceId {
        let word = &self.table[(destination >> (128 - TABLE_LENGTH)) as usize];
        let mut entry = Entry(word.load(Ordering::Acquire));
        // Bits that no level has decided yet. The levels end with the address: no entry of the last one leads on.
        let mut rest = destination << TABLE_LENGTH;
        while let Some(block) = entry.block() {
            let place = (rest >> (128 - STRIDE)) as usize;
            let word = &self.blocks[block as usize % BLOCKS * BLOCK + place];
            entry = Entry(word.load(Ordering::Acquire));
            rest <<= STRIDE;
        }
        let root = Entry(self.root[(destination >> (128 - ROOT_LENGTH)) as usize].load(Ordering::Acquire));
        let entry = if entry == Entry::EMPTY { root } else { entry };
        LoadBalanceId(entry.0 & Entry::ID)
    }

    #[cold]
    #[inline(never)]
    fn find_again(&self, destination: u128) -> LoadBalanceId {
        self.find(destination)
    }

    fn block(&self, block: u32) -> &[AtomicU32] {
        let start = block as usize * BLOCK;
        &self.blocks[start..start + BLOCK]
    }

    /// Writes `route` over all that is not more specific, in these words and in all blocks below them.
    fn cover(&self, words: &[AtomicU32], route: Entry) {
        for word in words {
            let entry = Entry::load(word);
            match entry.block() {
                Some(block) => self.cover(self.block(block), route),
                None if entry.depth() <= route.depth() => route.store(word),
                None => {}
            }
        }
    }

    /// Writes `heir` over what a prefix of `depth` wrote, likewise.
    fn uncover(&self, words: &[AtomicU32], depth: Depth, heir: Entry) {
        for word in words {
            let entry = Entry::load(word);
            match entry.block() {
                Some(block) => self.uncover(self.block(block), depth, heir),
                None if entry != Entry::EMPTY && entry.depth() == depth => heir.store(word),
                None => {}
            }
        }
    }
}

impl Lookup<Ip6> for Fib6 {
    fn lookup(&self, address: Ipv6Addr) -> LoadBalanceId {
        Fib6::lookup(self, address.to_bits())
    }
}

/// Why a forwarding table refused a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Fib6Error {
    /// A prefix longer than /24 found no block.
    #[error("routes longer than /24 need more than {limit} blocks")]
    BlocksExhausted {
        /// [`FibSettings::blocks`].
        limit: u32,
    },
}

/// The main thread's side of a [`Fib6`].
pub struct Fib6Writer {
    fib: Arc<Fib6>,
    blocks: Blocks,
    huge_pages_from: usize,
    huge_pages: bool,
}

impl LookupWriter<Ip6> for Fib6Writer {
    type Settings = FibSettings;
    type Error = Fib6Error;
    type Reader = Fib6;

    fn new(settings: FibSettings) -> io::Result<Self> {
        Ok(Fib6Writer {
            fib: Arc::new(Fib6 {
                root: [const { AtomicU32::new(0) }; 256],
                table: Words::map()?,
                blocks: Words::map()?,
            }),
            blocks: Blocks::new(settings.blocks.min(BLOCKS as u32)),
            huge_pages_from: settings.huge_pages_from,
            huge_pages: false,
        })
    }

    fn reader(&self) -> Arc<Fib6> {
        Arc::clone(&self.fib)
    }

    fn expect_routes(&mut self, routes: usize) {
        if !self.huge_pages && routes >= self.huge_pages_from {
            // A kernel without transparent huge pages refuses; the table works all the same. Routes are dense in blocks,
            // and so far apart in the table that huge pages would only be larger there.
            let _ = self.fib.blocks.prefer_huge_pages();
            self.huge_pages = true;
        }
    }

    fn check_room(&self, additions: impl Iterator<Item = Ipv6Net>) -> Result<(), Fib6Error> {
        let mut missing = HashSet::new();
        additions.for_each(|prefix| missing.extend(self.missing(prefix)));
        if missing.len() <= self.blocks.left() { Ok(()) } else { Err(self.exhausted()) }
    }

    fn insert(&mut self, _: &mut Domain, prefix: Ipv6Net, id: LoadBalanceId) -> Result<(), Fib6Error> {
        // Nothing is changed before it is certain that all of it can be.
        if self.missing(prefix).count() > self.blocks.left() {
            return Err(self.exhausted());
        }
        let route = Entry::route(Depth::of(prefix.prefix_len()), id);
        let exhausted = self.exhausted();
        let Fib6Writer { fib, blocks, .. } = self;
        let (mut words, mut level) = top(fib, prefix);
        while prefix.prefix_len() > level {
            let slot = &words[range(prefix, level).start];
            let old = Entry::load(slot);
            let block = match old.block() {
                Some(block) => block,
                None => {
                    let block = blocks.allocate().ok_or(exhausted)?;
                    fib.block(block).iter().for_each(|word| old.store(word));
                    Entry(Entry::BLOCK | block).store(slot);
                    block
                }
            };
            (words, level) = (fib.block(block), level + STRIDE);
        }
        fib.cover(&words[range(prefix, level)], route);
        Ok(())
    }

    fn remove(&mut self, domain: &mut Domain, prefix: Ipv6Net, covering: Option<(Ipv6Net, LoadBalanceId)>) {
        let in_root = |prefix: Ipv6Net| prefix.prefix_len() <= ROOT_LENGTH;
        let heir = match covering {
            Some((covering, id)) if in_root(prefix) || !in_root(covering) => {
                Entry::route(Depth::of(covering.prefix_len()), id)
            }
            _ => Entry::EMPTY,
        };
        let fib = &self.fib;
        let (mut words, mut level) = top(fib, prefix);
        let mut way = Vec::new();
        while prefix.prefix_len() > level {
            let slot = &words[range(prefix, level).start];
            let Some(block) = Entry::load(slot).block() else {
                debug_assert!(false, "{prefix} is removed but was never added");
                return;
            };
            way.push((slot, block, Depth::of(level)));
            (words, level) = (fib.block(block), level + STRIDE);
        }
        fib.uncover(&words[range(prefix, level)], Depth::of(prefix.prefix_len()), heir);
        // Without a longer prefix, all entries of a block are those of the longest prefix that covers all of it.
        for (slot, block, above) in way.into_iter().rev() {
            let words = fib.block(block);
            let is_needed = |entry: Entry| entry.block().is_some() || entry.depth() > above;
            if words.iter().any(|word| is_needed(Entry::load(word))) {
                break;
            }
            Entry::load(&words[0]).store(slot);
            self.blocks.retire(domain, block);
        }
    }
}

impl Fib6Writer {
    fn exhausted(&self) -> Fib6Error {
        Fib6Error::BlocksExhausted { limit: self.blocks.limit() }
    }

    /// The blocks that a prefix needs and that are not there: the level above each, and the bits that lead to it.
    fn missing(&self, prefix: Ipv6Net) -> impl Iterator<Item = (u8, u128)> + use<> {
        let (mut words, mut level) = top(&self.fib, prefix);
        while prefix.prefix_len() > level
            && let Some(block) = Entry::load(&words[range(prefix, level).start]).block()
        {
            (words, level) = (self.fib.block(block), level + STRIDE);
        }
        let first = prefix.network().to_bits();
        let levels = (level..prefix.prefix_len()).step_by(STRIDE.into());
        levels.map(move |level| (level, first >> (128 - level)))
    }
}

/// Where a prefix begins to be looked for, and the length up to which it is entered there.
fn top(fib: &Fib6, prefix: Ipv6Net) -> (&[AtomicU32], u8) {
    if prefix.prefix_len() <= ROOT_LENGTH { (&fib.root, ROOT_LENGTH) } else { (&fib.table[..], TABLE_LENGTH) }
}

/// The words of a level that a prefix fills; of one that is longer, the one word that leads to it.
fn range(prefix: Ipv6Net, level: u8) -> Range<usize> {
    let bits = if level <= TABLE_LENGTH { level } else { STRIDE };
    let first = prefix.network().to_bits() >> (128 - level);
    let start = (first & ((1 << bits) - 1)) as usize;
    start..start + (1 << level.saturating_sub(prefix.prefix_len()))
}

#[cfg(test)]
mod tests;
