// SPDX-License-Identifier: Apache-2.0
//! Datagrams from their fragments, for any IP family: what is for this host itself (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! A [`Reassembly`] belongs to one worker and knows no headers: the node ([`node`]), for a family, says what a fragment carries
//! ([`Piece`]) and of which datagram ([`Key`]), and makes the header of the whole. Nothing is copied: a whole datagram is the
//! buffers of its fragments, chained.
//!
//! # What is refused
//! Strangers send fragments. A fragment that overlaps another one, or contradicts where the datagram ends, ends the whole
//! datagram (RFC 5722, RFC 1858): no two readings of it are possible. One that is there already ends alone. Memory and time
//! are bounded: [`DATAGRAMS`] at a time, [`PIECES`] each, [`BUFFERS`] together, and a time for each; when there is no room the
//! datagram goes that has waited the longest. All memory of the tables is taken when a [`Reassembly`] is made.
//!
//! All fragments of a datagram must come to the same worker. NICs and veth pairs see to that: the hash that selects a queue
//! takes no ports of fragments.

pub mod node;

use weft_engine::BufferIndex;
use weft_engine::InterfaceIndex;
use weft_engine::buffer::BufferCache;
use weft_engine::clock::Tsc;

/// Datagrams that wait for fragments at a time, on one worker.
pub const DATAGRAMS: usize = 64;
/// Fragments of a datagram: more than the longest one takes on links of 576 bytes.
pub const PIECES: usize = 128;
/// Fragments that wait, on one worker.
pub const BUFFERS: usize = 1024;

/// The longest datagram, as headers can say: all of it in IPv4, what follows the first header in IPv6.
const LONGEST: usize = u16::MAX as usize;

weft_engine::drops! {
    /// Why a fragment for this host ends.
    pub enum Reason {
        /// fragment without data, or not the last one and its length is no multiple of 8
        BadLength = "bad_fragment_length", Error;
        /// fragment that ends beyond the longest possible datagram
        TooLong = "datagram_too_long", Error;
        /// fragments overlap, or disagree about the end of their datagram
        Overlap = "fragments_overlap", Error;
        /// fragment that is there already
        Duplicate = "duplicate_fragment", Info;
        /// the other fragments of the datagram did not come in time
        Expired = "reassembly_timeout", Error;
        /// too many fragments wait: its datagram has waited the longest
        NoRoom = "reassembly_full", Error;
        /// neighbour discovery in fragments, which may be forged more easily (RFC 6980)
        Discovery = "discovery_in_fragments", Warn;
    }
}

/// What fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<A> {
    /// The forwarding table, as addresses are those of a table.
    pub table: u32,
    /// Who sent it.
    pub source: A,
    /// To which address of ours.
    pub destination: A,
    /// The sender's number.
    pub identification: u32,
    /// What it carries; 0 where fragments of one number may say different things of it.
    pub protocol: u8,
}

/// What a fragment carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The fragment.
    pub packet: BufferIndex,
    /// Bytes before its data, in its first buffer.
    pub header: usize,
    /// Of these, what counts for the length of the datagram.
    pub counted: usize,
    /// Place of its data in the datagram.
    pub offset: usize,
    /// Bytes of data.
    pub length: usize,
    /// Whether others follow.
    pub more: bool,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.length
    }
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It waits for the others.
    Kept,
    /// It was the last one: the datagram, whose header is that of its first fragment, its bytes of data, and of how many
    /// fragments it is.
    Whole(BufferIndex, usize, usize),
    /// It ends.
    Refused(Reason),
}

struct Datagram<A> {
    key: Key<A>,
    since: Tsc,
    pieces: Vec<Piece>,
    /// Bytes that have come.
    have: usize,
    /// Bytes in all, once the last fragment has come.
    whole: Option<usize>,
}

/// Datagrams of one worker that are not whole yet.
pub struct Reassembly<A> {
    datagrams: Vec<Datagram<A>>,
    /// Memory of datagrams that have gone.
    spare: Vec<Vec<Piece>>,
    waiting: usize,
    /// Clocks after which a datagram is given up.
    patience: u64,
    /// Packets that were given up: for the caller to end.
    given_up: Vec<(BufferIndex, Reason)>,
}

impl<A: Copy + Eq> Reassembly<A> {
    /// Nothing waits; what does not become whole within so many clocks is given up.
    pub fn new(patience: u64) -> Self {
        Reassembly {
            datagrams: Vec::with_capacity(DATAGRAMS),
            spare: (0..DATAGRAMS).map(|_| Vec::with_capacity(PIECES)).collect(),
            waiting: 0,
            patience,
            given_up: Vec::with_capacity(2 * BUFFERS),
        }
    }

    /// Adds a fragment. What it made end must be taken out next ([`Reassembly::given_up`]).
    pub fn add(&mut self, buffers: &mut BufferCache, now: Tsc, key: Key<A>, piece: Piece) -> Added {
        if piece.length == 0 || (piece.more && !piece.length.is_multiple_of(8)) {
            return Added::Refused(Reason::BadLength);
        }
        if piece.counted + piece.end() > LONGEST {
            return Added::Refused(Reason::TooLong);
        }
        let known = self.datagrams.iter().position(|datagram| datagram.key == key);
        if let Some(place) = known {
            let datagram = &self.datagrams[place];
            let same = |other: &Piece| (other.offset, other.length) == (piece.offset, piece.length);
            if datagram.pieces.iter().any(same) {
                return Added::Refused(Reason::Duplicate);
            }
            if datagram.contradicts(&piece) {
                self.give_up(place, Reason::Overlap);
                return Added::Refused(Reason::Overlap);
            }
        }
        let Some(place) = self.place(known, now, key) else {
            return Added::Refused(Reason::NoRoom);
        };
        let datagram = &mut self.datagrams[place];
        datagram.pieces.push(piece);
        datagram.have += piece.length;
        if !piece.more {
            datagram.whole = Some(piece.end());
        }
        self.waiting += 1;
        if datagram.whole != Some(datagram.have) {
            return Added::Kept;
        }
        // No two overlap, and together they are as long as the datagram: nothing is missing.
        let Datagram { mut pieces, have, .. } = self.datagrams.swap_remove(place);
        self.waiting -= pieces.len();
        pieces.sort_unstable_by_key(|piece| piece.offset);
        let first = pieces[0].packet;
        for piece in &pieces[1..] {
            let taken = buffers.packet(piece.packet).advance(piece.header);
            debug_assert!(taken, "a fragment is longer than its header");
            buffers.chain(first, piece.packet);
        }
        let count = pieces.len();
        pieces.clear();
        self.spare.push(pieces);
        Added::Whole(first, have, count)
    }

    /// The datagram that a fragment belongs to, with room for it; the one that has waited the longest makes room. `None`: that
    /// was its own.
    fn place(&mut self, known: Option<usize>, now: Tsc, key: Key<A>) -> Option<usize> {
        if known.is_some_and(|place| self.datagrams[place].pieces.len() == PIECES) {
            self.give_up(known?, Reason::NoRoom);
            return None;
        }
        if self.waiting == BUFFERS || (known.is_none() && self.datagrams.len() == DATAGRAMS) {
            let oldest = (0..self.datagrams.len()).min_by_key(|place| self.datagrams[*place].since.0)?;
            self.give_up(oldest, Reason::NoRoom);
            if known == Some(oldest) {
                return None;
            }
        }
        // What made room may have moved it.
        let known = self.datagrams.iter().position(|datagram| datagram.key == key);
        known.or_else(|| {
            let pieces = self.spare.pop().unwrap_or_default();
            self.datagrams.push(Datagram { key, since: now, pieces, have: 0, whole: None });
            Some(self.datagrams.len() - 1)
        })
    }

    fn give_up(&mut self, place: usize, why: Reason) {
        let Datagram { mut pieces, .. } = self.datagrams.swap_remove(place);
        self.waiting -= pieces.len();
        self.given_up.extend(pieces.drain(..).map(|piece| (piece.packet, why)));
        self.spare.push(pieces);
    }

    /// Gives up what has waited for too long. `first` is called with the first fragment of each datagram of which that one has
    /// come: its sender is to be told (RFC 1122 section 3.3.2, RFC 8200 section 4.5); it is not among those that were given up.
    pub fn expire(&mut self, now: Tsc, mut first: impl FnMut(BufferIndex)) {
        for place in (0..self.datagrams.len()).rev() {
            let datagram = &mut self.datagrams[place];
            if now.since(datagram.since) < self.patience {
                continue;
            }
            if let Some(at) = datagram.pieces.iter().position(|piece| piece.offset == 0) {
                first(datagram.pieces.swap_remove(at).packet);
                self.waiting -= 1;
            }
            self.give_up(place, Reason::Expired);
        }
    }

    /// Takes out the packets that were given up, and why.
    pub fn given_up(&mut self) -> std::vec::Drain<'_, (BufferIndex, Reason)> {
        self.given_up.drain(..)
    }

    /// Fragments that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// An interface goes away: what was received there is of no interface any more.
    pub fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
        for piece in self.datagrams.iter().flat_map(|datagram| &datagram.pieces) {
            let rx = &mut buffers.packet(piece.packet).meta.rx_interface;
            if *rx == interface {
                *rx = InterfaceIndex::NONE;
            }
        }
    }

    /// Gives all buffers back.
    pub fn close(&mut self, buffers: &mut BufferCache) {
        for place in (0..self.datagrams.len()).rev() {
            self.give_up(place, Reason::Expired);
        }
        self.given_up.drain(..).for_each(|(packet, _)| buffers.free_one(packet));
    }
}

impl<A> Datagram<A> {
    /// Whether a fragment cannot be of the same datagram as the others.
    fn contradicts(&self, piece: &Piece) -> bool {
        let overlaps = |other: &Piece| piece.offset < other.end() && other.offset < piece.end();
        let farthest = self.pieces.iter().map(Piece::end).max().unwrap_or(0);
        let beyond = match (self.whole, piece.more) {
            (Some(whole), true) => piece.end() > whole,
            (Some(_), false) => true,
            (None, true) => false,
            (None, false) => piece.end() < farthest,
        };
        beyond || self.pieces.iter().any(overlaps)
    }
}

#[cfg(test)]
mod tests;
