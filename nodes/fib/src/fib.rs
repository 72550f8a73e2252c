// SPDX-License-Identifier: Apache-2.0
//! The forwarding table: from a destination address to a load-balance, in one memory access.
//!
//! DIR-24-8 (Gupta, Lin, McKeown, "Routing lookups in hardware at memory access speeds", 1998): one entry for
//! each /24, and blocks of 256 entries for those that hold longer prefixes. In a full table a lookup is one
//! cache and TLB miss, which a pipeline can prefetch. Prototypes of DXR and Poptrie, smaller but with loads
//! that depend on each other, took about twice the clocks for a million Internet routes, prefetched too. Two
//! things differ from the paper:
//!
//! * Prefixes up to /8 live in a root of 256 entries, and an empty entry means "ask the root". So a VRF
//!   with a default route touches 1 KB, not 64 MB.
//! * An entry holds the length of the prefix that wrote it. A change can then tell its own entries from those
//!   of more specific prefixes, with no second array and no look at the RIB.
//!
//! # Readers
//! Workers read while the main thread writes. Each entry is one atomic word, and a block is filled before the
//! entry that points to it is stored, and never written again from when it is unlinked until all workers were
//! quiescent. So one change shows each address its old or its new route, and an address whose route does not
//! change never shows another. An address that a batch moves between root and table could show neither to a
//! reader between its two loads; a lookup that found nothing therefore looks again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ipnet::Ipv4Net;
use thiserror::Error;
use weft_engine::qsbr::Domain;

use super::LoadBalanceId;
use super::blocks::Blocks;
use super::table_memory::Words;

/// Entries of the table: one for each /24.
const TABLE: usize = 1 << 24;
/// Blocks for which address space is reserved (1 GiB).
const BLOCKS: usize = 1 << 20;
const BLOCK: usize = 256;
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
    const DEPTH_SHIFT: u32 = 26;
    const ID: u32 = (1 << Self::DEPTH_SHIFT) - 1;

    fn route(depth: Depth, id: LoadBalanceId) -> Entry {
        debug_assert!(id.0 <= Self::ID && id != LoadBalanceId::NO_ROUTE);
        Entry((depth.0 as u32) << Self::DEPTH_SHIFT | id.0)
    }

    const fn to_block(block: u32) -> Entry {
        Entry(Self::BLOCK | block)
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

/// A prefix length in the 5 bits of an entry: itself in the root, counted from the root's in the table.
/// Empty entries have depth 0, less than or equal to all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Depth(u8);

impl Depth {
    fn of(length: u8) -> Depth {
        Depth(if length <= ROOT_LENGTH { length } else { length - ROOT_LENGTH })
    }
}

/// What workers read. Made and written by a [`FibWriter`].
pub struct Fib {
    root: [AtomicU32; 256],
    table: Words<TABLE>,
    blocks: Words<{ BLOCKS * BLOCK }>,
    large: AtomicBool,
}

impl Fib {
    /// The route of `destination` by longest match, [`LoadBalanceId::NO_ROUTE`] if there is none.
    #[inline(always)]
    pub fn lookup(&self, destination: u32) -> LoadBalanceId {
        match self.find(destination) {
            LoadBalanceId::NO_ROUTE => self.find_again(destination),
            found => found,
        }
    }

    /// For a loop without calls.
    #[inline(always)]
    pub fn view(&self) -> FibView<'_> {
        FibView { root: &self.root, table: &self.table, blocks: &self.blocks }
    }

    /// Whether it is so large that most lookups of random addresses miss the caches.
    #[inline(always)]
    pub fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Starts to load the line that [`Fib::lookup`] will read.
    #[inline(always)]
    pub fn prefetch(&self, destination: u32) {
        self.view().prefetch(destination);
    }

    #[inline(always)]
    fn find(&self, destination: u32) -> LoadBalanceId {
        self.view().find(destination)
    }

    #[cold]
    #[inline(never)]
    fn find_again(&self, destination: u32) -> LoadBalanceId {
        self.find(destination)
    }

    fn block(&self, block: u32) -> &[AtomicU32] {
        let start = block as usize * BLOCK;
        &self.blocks[start..start + BLOCK]
    }
}

/// The parts of a table: reached through the [`Fib`], their places would be loaded again for every packet.
#[derive(Clone, Copy)]
pub struct FibView<'a> {
    root: &'a [AtomicU32; 256],
    table: &'a [AtomicU32; TABLE],
    blocks: &'a [AtomicU32; BLOCKS * BLOCK],
}

impl FibView<'_> {
    /// Starts to load the line that [`FibView::find`] will read.
    #[inline(always)]
    pub fn prefetch(self, destination: u32) {
        weft_engine::prefetch::read(&raw const self.table[(destination >> 8) as usize]);
    }

    /// As [`Fib::lookup`], but a route that moves at this moment may not be found.
    #[inline(always)]
    pub fn find(self, destination: u32) -> LoadBalanceId {
        let mut entry = Entry(self.table[(destination >> 8) as usize].load(Ordering::Acquire));
        if let Some(block) = entry.block() {
            entry = self.find_in_block(block, destination);
        }
        // Loaded in any case and then selected: whether a destination has a specific route or only the
        // default is what no branch predictor knows, and these 1 KB stay in the L1 cache.
        let root = Entry(self.root[(destination >> 24) as usize].load(Ordering::Acquire));
        let entry = if entry == Entry::EMPTY { root } else { entry };
        LoadBalanceId(entry.0 & Entry::ID)
    }

    #[inline(always)]
    fn find_in_block(self, block: u32, destination: u32) -> Entry {
        let block = block as usize % BLOCKS;
        let word = &self.blocks[block * BLOCK + (destination & 0xff) as usize];
        Entry(word.load(Ordering::Acquire))
    }
}

/// Sizes of one forwarding table.
#[derive(Clone, Copy, Debug)]
pub struct FibSettings {
    /// How many different /24 may hold prefixes longer than /24; 1 KB each, when used. At most 2^20.
    pub blocks: u32,
    /// From how many routes on the table asks for huge pages. Below, it grows by small pages, so that many
    /// small VRFs stay small.
    pub huge_pages_from: usize,
}

impl Default for FibSettings {
    fn default() -> Self {
        FibSettings { blocks: BLOCKS as u32, huge_pages_from: 4096 }
    }
}

/// Why a forwarding table refused a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FibError {
    /// A prefix longer than /24 found no block.
    #[error("more than {limit} different /24 hold routes longer than /24")]
    BlocksExhausted {
        /// [`FibSettings::blocks`].
        limit: u32,
    },
}

/// The main thread's side of a [`Fib`].
pub struct FibWriter {
    fib: Arc<Fib>,
    blocks: Blocks,
    huge_pages_from: usize,
}

impl FibWriter {
    /// An empty table. Fails if the process may have no more address space (about 1.1 GiB).
    pub fn new(settings: FibSettings) -> io::Result<Self> {
        Ok(FibWriter {
            fib: Arc::new(Fib {
                root: [const { AtomicU32::new(0) }; 256],
                table: Words::map()?,
                blocks: Words::map()?,
                large: AtomicBool::new(false),
            }),
            blocks: Blocks::new(settings.blocks.min(BLOCKS as u32)),
            huge_pages_from: settings.huge_pages_from,
        })
    }

    /// For the workers.
    pub fn reader(&self) -> Arc<Fib> {
        Arc::clone(&self.fib)
    }

    /// Says how many routes the table is going to hold, so that it can choose its pages before it touches
    /// them.
    pub fn expect_routes(&mut self, routes: usize) {
        if routes >= self.huge_pages_from && !self.fib.large.swap(true, Ordering::Relaxed) {
            // A kernel without transparent huge pages refuses; the table works all the same.
            let _ = self.fib.table.prefer_huge_pages();
        }
    }

    /// Whether prefixes longer than /24 in `slots` more /24s can be added now.
    pub fn check_room(&self, slots: usize) -> Result<(), FibError> {
        if slots <= self.blocks.left() { Ok(()) } else { Err(self.exhausted()) }
    }

    /// Whether a prefix longer than /24 in the /24 of `prefix` needs a new block.
    pub fn needs_block(&self, prefix: Ipv4Net) -> bool {
        prefix.prefix_len() > TABLE_LENGTH && Entry::load(self.slot(prefix)).block().is_none()
    }

    /// Adds the route of `prefix`, or replaces it.
    pub fn insert(&mut self, prefix: Ipv4Net, id: LoadBalanceId) -> Result<(), FibError> {
        let route = Entry::route(Depth::of(prefix.prefix_len()), id);
        if prefix.prefix_len() <= TABLE_LENGTH {
            self.for_each_run(prefix, |words| cover(words, route));
            return Ok(());
        }
        let old = Entry::load(self.slot(prefix));
        if let Some(block) = old.block() {
            cover(&self.fib.block(block)[block_range(prefix)], route);
        } else {
            let block = self.blocks.allocate().ok_or(self.exhausted())?;
            let words = self.fib.block(block);
            words.iter().for_each(|word| old.store(word));
            cover(&words[block_range(prefix)], route);
            Entry::to_block(block).store(self.slot(prefix));
        }
        Ok(())
    }

    /// Removes the route of `prefix`. `covering` is the longest other prefix of this table that contains it.
    pub fn remove(
        &mut self,
        domain: &mut Domain,
        prefix: Ipv4Net,
        covering: Option<(Ipv4Net, LoadBalanceId)>,
    ) {
        let depth = Depth::of(prefix.prefix_len());
        let in_root = |prefix: Ipv4Net| prefix.prefix_len() <= ROOT_LENGTH;
        let heir = match covering {
            Some((covering, id)) if in_root(prefix) || !in_root(covering) => {
                Entry::route(Depth::of(covering.prefix_len()), id)
            }
            _ => Entry::EMPTY,
        };
        if prefix.prefix_len() <= TABLE_LENGTH {
            self.for_each_run(prefix, |words| uncover(words, depth, heir));
            return;
        }
        let slot = self.slot(prefix);
        let Some(block) = Entry::load(slot).block() else {
            debug_assert!(false, "{prefix} is removed but was never added");
            return;
        };
        let words = self.fib.block(block);
        uncover(&words[block_range(prefix)], depth, heir);
        // Without a longer prefix, all entries are those of the longest prefix that covers the /24.
        let in_table = Depth::of(TABLE_LENGTH);
        if words.iter().all(|word| Entry::load(word).depth() <= in_table) {
            Entry::load(&words[0]).store(slot);
            self.blocks.retire(domain, block);
        }
    }

    /// All words that speak for addresses of a prefix up to /24.
    fn for_each_run(&self, prefix: Ipv4Net, action: impl Fn(&[AtomicU32])) {
        if prefix.prefix_len() <= ROOT_LENGTH {
            return action(&self.fib.root[root_range(prefix)]);
        }
        for slot in &self.fib.table[table_range(prefix)] {
            match Entry::load(slot).block() {
                Some(block) => action(self.fib.block(block)),
                None => action(std::slice::from_ref(slot)),
            }
        }
    }

    fn slot(&self, prefix: Ipv4Net) -> &AtomicU32 {
        &self.fib.table[table_range(prefix).start]
    }

    fn exhausted(&self) -> FibError {
        FibError::BlocksExhausted { limit: self.blocks.limit() }
    }
}

/// Writes `route` over all that is not more specific.
fn cover(words: &[AtomicU32], route: Entry) {
    for word in words {
        if Entry::load(word).depth() <= route.depth() {
            route.store(word);
        }
    }
}

/// Writes `heir` over what a prefix of `depth` wrote.
fn uncover(words: &[AtomicU32], depth: Depth, heir: Entry) {
    for word in words {
        let entry = Entry::load(word);
        if entry != Entry::EMPTY && entry.depth() == depth {
            heir.store(word);
        }
    }
}

fn root_range(prefix: Ipv4Net) -> std::ops::Range<usize> {
    let start = (prefix.network().to_bits() >> 24) as usize;
    start..start + (1 << (ROOT_LENGTH - prefix.prefix_len()))
}

/// For a prefix longer than /24: the one slot that contains it.
fn table_range(prefix: Ipv4Net) -> std::ops::Range<usize> {
    let start = (prefix.network().to_bits() >> 8) as usize;
    start..start + (1 << TABLE_LENGTH.saturating_sub(prefix.prefix_len()))
}

fn block_range(prefix: Ipv4Net) -> std::ops::Range<usize> {
    let start = (prefix.network().to_bits() & 0xff) as usize;
    start..start + (1 << (32 - prefix.prefix_len()))
}

#[cfg(test)]
mod tests;
