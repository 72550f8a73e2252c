// SPDX-License-Identifier: Apache-2.0
//! The forwarding table of IPv6: from a destination address to a load-balance.
//!
//! An entry for each /24, as in [`Fib`](crate::Fib), and below it trees of cache lines. A *region* is what 16 bits of the
//! address decide where all bits before them are given: bits 32 to 48 of 2001:db8::/32, say. Routes cut it into *runs* of
//! addresses that go the same way. A [`Line`] holds the bounds of up to nine runs and where each leads: to a load-balance, to
//! another line of the same region, or to the region of the next 16 bits. So each step of a search is one cache line and one
//! comparison of eight bounds at once, whatever the region looks like. (The first region has but 8 bits, 24 to 32.)
//!
//! Of 200,000 routes in the shape of a full table nearly all destinations are found within 5 lines, of 64 bytes and 7 MB
//! altogether, which the second and third cache hold; a search waits for each of them, but many searches do not wait for each
//! other ([`Fib6::lookup_all`]). What else was measured: docs/decisions/0011-ipv6-lookup.md.
//!
//! Prefixes up to /8 live in a root of 256 entries, and an empty entry means "ask the root": a default route touches 1 KB.
//!
//! # Readers
//! Workers read while the main thread writes. Lines are never changed once a reader can see them, but for single entries: a
//! region, or a line of a large one, is built again from its runs ([`regions`]), and one store shows all of it. Old lines are used again when all
//! workers were quiescent. So each address shows its old or its new route. A batch may move the route of an address between
//! root and table, and a reader between its two loads could see neither; a lookup that found nothing therefore looks again.

mod line;
mod regions;

use std::io;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ipnet::Ipv6Net;
use thiserror::Error;
use weft_engine::prefetch;
use weft_engine::qsbr::Domain;
use weft_interface::Ip6;

use super::LoadBalanceId;
use super::family::{Lookup, LookupWriter};
use super::table_memory::{Mapped, Words};
use line::{Line, Place};
use regions::Regions;

/// Entries of the table: one for each /24.
const TABLE: usize = 1 << TABLE_LENGTH;
/// Lines for which address space is reserved (1 GiB).
const LINES: usize = 1 << 24;
/// Most lines that additions may use; the others are for removals, which are never refused.
const MOST_LINES: usize = LINES / 4 * 3;
/// Longest prefix of the root.
const ROOT_LENGTH: u8 = 8;
/// Longest prefix that needs no line.
const TABLE_LENGTH: u8 = 24;
/// From how many routes on many searches at once are faster. Lines of fewer are in the first cache, and where a search ends is
/// often the same.
const LARGE: usize = 100;

/// A word of the table or of a line: a load-balance and the length of its prefix, or the way to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry(u32);

impl Entry {
    /// No route here; in table and lines: ask the root.
    const EMPTY: Entry = Entry(0);
    const LINE: u32 = 1 << 31;
    const PLACE_SHIFT: u32 = 28;
    const DEPTH_SHIFT: u32 = 24;
    const ID: u32 = (1 << Self::DEPTH_SHIFT) - 1;

    fn route(depth: Depth, id: LoadBalanceId) -> Entry {
        debug_assert!(id.0 <= Self::ID && id != LoadBalanceId::NO_ROUTE);
        Entry(u32::from(depth.0) << Self::DEPTH_SHIFT | id.0)
    }

    /// To a line that compares the bits of an address at `place`.
    fn to_line(line: u32, place: Place) -> Entry {
        debug_assert!((line as usize) < LINES);
        Entry(Self::LINE | u32::from(place.0) << Self::PLACE_SHIFT | line)
    }

    fn load(word: &AtomicU32) -> Entry {
        // Only the writer asks, and it reads its own stores.
        Entry(word.load(Ordering::Relaxed))
    }

    fn store(self, word: &AtomicU32) {
        // Release: who sees the entry sees the lines and the load-balance that it names.
        word.store(self.0, Ordering::Release);
    }

    #[inline(always)]
    fn acquire(word: &AtomicU32) -> Entry {
        Entry(word.load(Ordering::Acquire))
    }

    fn depth(self) -> Depth {
        Depth((self.0 >> Self::DEPTH_SHIFT) as u8)
    }

    #[inline(always)]
    const fn leads_on(self) -> bool {
        self.0 & Self::LINE != 0
    }

    /// The line of an entry that leads to one.
    #[inline(always)]
    const fn line(self) -> usize {
        self.0 as usize % LINES
    }

    /// What the line of an entry compares.
    #[inline(always)]
    const fn place(self) -> Place {
        Place((self.0 >> Self::PLACE_SHIFT) as u8 % Place::COUNT)
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
    lines: Mapped<Line, LINES>,
    large: AtomicBool,
}

impl Fib6 {
    /// Most addresses of a [`Fib6::lookup_all`].
    pub const AT_ONCE: usize = 64;

    /// The route of `destination` by longest match, [`LoadBalanceId::NO_ROUTE`] if there is none.
    #[inline(always)]
    pub fn lookup(&self, destination: u128) -> LoadBalanceId {
        match self.find(destination) {
            LoadBalanceId::NO_ROUTE => self.find_again(destination),
            found => found,
        }
    }

    /// Looks up to [`Fib6::AT_ONCE`] addresses up, line by line of all of them: while one waits for its line, the others go on.
    /// Their entries of the table should be on the way ([`Fib6::prefetch`]). Further addresses are left alone.
    #[inline(always)]
    pub fn lookup_all(&self, destinations: &[u128], found: &mut [LoadBalanceId]) {
        const AT_ONCE: usize = Fib6::AT_ONCE;
        let (table, lines) = (&*self.table, &*self.lines);
        let mut bits = [[0; Place::COUNT as usize]; AT_ONCE];
        let mut entries = [Entry::EMPTY; AT_ONCE];
        // Those that are not found yet, one after the other: no branch depends on what an address finds.
        let mut open = [0u8; AT_ONCE];
        let mut count = 0;
        for (i, destination) in destinations.iter().take(AT_ONCE).enumerate() {
            let entry = Entry::acquire(&table[slot(*destination)]);
            prefetch::read(&raw const lines[entry.line()]);
            bits[i] = Place::all(*destination);
            entries[i] = entry;
            open[count % AT_ONCE] = i as u8;
            count += usize::from(entry.leads_on());
        }
        while count > 0 {
            let mut left = 0;
            for at in 0..count {
                let i = open[at % AT_ONCE];
                let (bits, entry) = (&bits[i as usize % AT_ONCE], &mut entries[i as usize % AT_ONCE]);
                *entry = lines[entry.line()].find(entry.place().of(bits));
                prefetch::read(&raw const lines[entry.line()]);
                open[left % AT_ONCE] = i;
                left += usize::from(entry.leads_on());
            }
            count = left;
        }
        for ((destination, entry), found) in destinations.iter().zip(entries).zip(found) {
            *found = match self.or_root(entry, *destination) {
                LoadBalanceId::NO_ROUTE => self.find_again(*destination),
                id => id,
            };
        }
    }

    /// Whether it is so large that [`Fib6::lookup_all`] is faster than one address after the other.
    #[inline(always)]
    pub fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Starts to load the entry of the table.
    #[inline(always)]
    pub fn prefetch(&self, destination: u128) {
        prefetch::read(&raw const self.table[slot(destination)]);
    }

    /// As [`Fib6::lookup`], but it may find no route while a batch moves the one that there is between root and table.
    #[inline(always)]
    pub fn find(&self, destination: u128) -> LoadBalanceId {
        let mut entry = Entry::acquire(&self.table[slot(destination)]);
        if entry.leads_on() {
            // What the table leads to compares the first place, and a /32 is found there.
            entry = self.lines[entry.line()].find(Place::FIRST.in_address(destination));
            if entry.leads_on() {
                let bits = Place::all(destination);
                while entry.leads_on() {
                    entry = self.lines[entry.line()].find(entry.place().of(&bits));
                }
            }
        }
        self.or_root(entry, destination)
    }

    #[inline(always)]
    fn or_root(&self, entry: Entry, destination: u128) -> LoadBalanceId {
        let root = Entry::acquire(&self.root[(destination >> (128 - ROOT_LENGTH)) as usize]);
        let entry = if entry == Entry::EMPTY { root } else { entry };
        LoadBalanceId(entry.0 & Entry::ID)
    }

    #[cold]
    #[inline(never)]
    fn find_again(&self, destination: u128) -> LoadBalanceId {
        self.find(destination)
    }
}

/// The entry of the table that speaks for an address.
#[inline(always)]
const fn slot(address: u128) -> usize {
    (address >> (128 - TABLE_LENGTH)) as usize
}

impl Lookup<Ip6> for Fib6 {
    fn lookup(&self, address: Ipv6Addr) -> LoadBalanceId {
        Fib6::lookup(self, address.to_bits())
    }
}

/// Sizes of one forwarding table.
#[derive(Clone, Copy, Debug)]
pub struct Fib6Settings {
    /// Lines of 64 bytes for routes longer than /24, old and new ones together: until workers have let go of the old ones, a
    /// batch may need several times what the table has. At most 12,582,912 (768 MB, when used), enough for 2,000,000 routes.
    pub lines: u32,
    /// From how many routes on lines ask for huge pages.
    pub huge_pages_from: usize,
}

impl Default for Fib6Settings {
    fn default() -> Self {
        Fib6Settings { lines: MOST_LINES as u32, huge_pages_from: 4096 }
    }
}

/// Why a forwarding table refused a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Fib6Error {
    /// Prefixes longer than /24 could find no line.
    #[error("routes longer than /24 could need more than {limit} lines of 64 bytes, old and new together")]
    LinesExhausted {
        /// [`Fib6Settings::lines`].
        limit: u32,
    },
}

/// The main thread's side of a [`Fib6`].
pub struct Fib6Writer {
    fib: Arc<Fib6>,
    regions: Regions,
    huge_pages_from: usize,
    huge_pages: bool,
}

impl LookupWriter<Ip6> for Fib6Writer {
    type Settings = Fib6Settings;
    type Error = Fib6Error;
    type Reader = Fib6;

    fn new(settings: Fib6Settings) -> io::Result<Self> {
        Ok(Fib6Writer {
            fib: Arc::new(Fib6 {
                root: [const { AtomicU32::new(0) }; 256],
                table: Words::map()?,
                lines: Mapped::map()?,
                large: AtomicBool::new(false),
            }),
            regions: Regions::new(settings.lines.min(MOST_LINES as u32)),
            huge_pages_from: settings.huge_pages_from,
            huge_pages: false,
        })
    }

    fn reader(&self) -> Arc<Fib6> {
        Arc::clone(&self.fib)
    }

    fn expect_routes(&mut self, routes: usize) {
        self.fib.large.store(routes >= LARGE, Ordering::Relaxed);
        if !self.huge_pages && routes >= self.huge_pages_from {
            // A kernel without transparent huge pages refuses; the table works all the same. Lines are dense, and entries
            // that are used so far apart in the table that huge pages would only be larger there.
            let _ = self.fib.lines.prefer_huge_pages();
            self.huge_pages = true;
        }
    }

    fn check_room(&self, additions: impl Iterator<Item = Ipv6Net>) -> Result<(), Fib6Error> {
        self.regions.check_room(additions)
    }

    fn insert(&mut self, prefix: Ipv6Net, id: LoadBalanceId) -> Result<(), Fib6Error> {
        let route = Entry::route(Depth::of(prefix.prefix_len()), id);
        let covered = |entry: Entry| entry.depth() <= route.depth();
        if prefix.prefix_len() > TABLE_LENGTH {
            let above = Entry::load(&self.fib.table[slot(prefix.network().to_bits())]);
            return self.regions.insert(prefix, above, route);
        }
        self.change(prefix, |entry| if covered(entry) { route } else { entry });
        Ok(())
    }

    fn remove(&mut self, _: &mut Domain, prefix: Ipv6Net, covering: Option<(Ipv6Net, LoadBalanceId)>) {
        let in_root = |prefix: Ipv6Net| prefix.prefix_len() <= ROOT_LENGTH;
        let heir = match covering {
            Some((covering, id)) if in_root(prefix) || !in_root(covering) => {
                Entry::route(Depth::of(covering.prefix_len()), id)
            }
            _ => Entry::EMPTY,
        };
        let depth = Depth::of(prefix.prefix_len());
        let inherit = |entry: Entry| match entry != Entry::EMPTY && entry.depth() == depth {
            true => heir,
            false => entry,
        };
        match prefix.prefix_len() > TABLE_LENGTH {
            true => self.regions.remove(prefix, inherit),
            false => self.change(prefix, inherit),
        }
    }

    fn show(&mut self, domain: &mut Domain) {
        self.regions.show(&self.fib, domain);
    }
}

impl Fib6Writer {
    /// Changes all that speaks for addresses of a prefix up to /24.
    fn change(&mut self, prefix: Ipv6Net, change: impl Fn(Entry) -> Entry + Copy) {
        let store = |word: &AtomicU32| change(Entry::load(word)).store(word);
        let first = prefix.network().to_bits();
        if prefix.prefix_len() <= ROOT_LENGTH {
            let words = range(first >> (128 - ROOT_LENGTH), ROOT_LENGTH - prefix.prefix_len());
            return self.fib.root[words].iter().for_each(store);
        }
        let slots = range(first >> (128 - TABLE_LENGTH), TABLE_LENGTH - prefix.prefix_len());
        for (slot, word) in slots.clone().zip(&self.fib.table[slots]) {
            if !self.regions.change_all(slot as u32, change) {
                store(word);
            }
        }
    }
}

fn range(first: u128, free_bits: u8) -> Range<usize> {
    first as usize..first as usize + (1 << free_bits)
}

#[cfg(test)]
mod tests;
