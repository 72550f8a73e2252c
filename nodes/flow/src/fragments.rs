// SPDX-License-Identifier: Apache-2.0
//! Which flow the later fragments of a datagram belong to: only the first has ports.
//!
//! The first fragment leaves a note here, those that follow within the reassembly time find it. A fixed number of notes; a
//! new one takes the place of the older of two. Later fragments that overtake the first find nothing.

use std::io;

use weft_engine::clock::Tsc;
use weft_flow_map::Key;
use weft_table::{Array, Hash};
use zerocopy::FromZeros;

/// Notes of a worker: at 30 s each, 273 fragmented datagrams a second find their flow for certain.
const NOTES: usize = 8192;

#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
struct Note {
    key: [u64; 2],
    slot: u32,
    generation: u32,
    /// When the first fragment came; 0 is no note.
    at: u64,
}

/// A worker's notes.
pub(crate) struct Fragments {
    notes: Array<[Note; 2]>,
    /// Clocks that a note is good for.
    good_for: u64,
}

impl Fragments {
    pub fn new(good_for: u64) -> io::Result<Fragments> {
        Ok(Fragments { notes: Array::new(NOTES / 2)?, good_for })
    }

    fn place(hash: Hash) -> usize {
        hash.0 as usize % (NOTES / 2)
    }

    /// The first fragment of `key` belongs to this flow.
    pub fn remember(&mut self, key: Key, hash: Hash, slot: u32, generation: u32, now: Tsc) {
        let pair = &mut self.notes[Self::place(hash)];
        let words = [key.addresses, key.rest];
        let same = pair.iter().position(|note| note.key == words);
        let place = same.unwrap_or(usize::from(pair[1].at < pair[0].at));
        pair[place] = Note { key: words, slot, generation, at: now.0.max(1) };
    }

    /// Slot and generation of the flow that the fragments of `key` belong to.
    pub fn find(&self, key: Key, hash: Hash, now: Tsc) -> Option<(u32, u32)> {
        let words = [key.addresses, key.rest];
        let fresh =
            |note: &&Note| note.key == words && note.at != 0 && now.since(Tsc(note.at)) < self.good_for;
        self.notes[Self::place(hash)].iter().find(fresh).map(|note| (note.slot, note.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_until_it_is_too_old_or_displaced() {
        let mut fragments = Fragments::new(100).unwrap();
        let key = |n| Key { addresses: n, rest: 0 };
        fragments.remember(key(1), Hash(5), 10, 1, Tsc(1000));
        fragments.remember(key(2), Hash(5), 20, 1, Tsc(1010));
        assert_eq!(fragments.find(key(1), Hash(5), Tsc(1099)), Some((10, 1)));
        assert_eq!(fragments.find(key(1), Hash(5), Tsc(1100)), None);
        // The oldest goes.
        fragments.remember(key(3), Hash(5), 30, 1, Tsc(1020));
        assert_eq!(fragments.find(key(1), Hash(5), Tsc(1020)), None);
        assert_eq!(fragments.find(key(2), Hash(5), Tsc(1020)), Some((20, 1)));
        // The same datagram again, of another flow.
        fragments.remember(key(2), Hash(5), 21, 2, Tsc(1030));
        assert_eq!(fragments.find(key(2), Hash(5), Tsc(1030)), Some((21, 2)));
        assert_eq!(fragments.find(key(3), Hash(5), Tsc(1030)), Some((30, 1)));
        assert_eq!(fragments.find(key(9), Hash(6), Tsc(1030)), None);
    }
}
