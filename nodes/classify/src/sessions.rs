// SPDX-License-Identifier: Apache-2.0
//! Rules about exactly one 5-tuple: a hash table, one cache line per lookup.
//!
//! Built once, then only read. A bucket is one line with three sessions; if more fall into it, the last ones stand in the
//! next bucket that has room, and all buckets on the way say so. At most two of five places are taken, so 1 of 30 buckets
//! has an overflow. The hash has no secret: the rules are an operator's, not a stranger's, and a packet cannot change them.

use std::hint::select_unpredictable;

use weft_engine::prefetch;

use crate::group::NO_RANK;
use crate::key::Session;

const PLACES: usize = 3;

/// In a bucket's note: sessions that belong here may stand in the next one.
const OVERFLOW: u32 = 1;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    sessions: [Session; PLACES],
    values: [u32; PLACES],
    note: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is one cache line");

const VACANT: Bucket = Bucket { sessions: [Session::NONE; PLACES], values: [0; PLACES], note: 0 };

/// A value for each session.
pub(crate) struct Sessions {
    buckets: Box<[Bucket]>,
    count: usize,
}

impl Sessions {
    /// Of distinct sessions; no value is [`NO_RANK`].
    pub fn new(sessions: &[(Session, u32)]) -> Sessions {
        let count = (sessions.len() * 5).div_ceil(PLACES * 2).max(1);
        let mut buckets = vec![VACANT; count].into_boxed_slice();
        for &(session, value) in sessions {
            let mut at = place(hash(session), buckets.len());
            loop {
                let bucket = &mut buckets[at];
                if let Some(place) = bucket.sessions.iter().position(|taken| *taken == Session::NONE) {
                    (bucket.sessions[place], bucket.values[place]) = (session, value);
                    break;
                }
                bucket.note |= OVERFLOW;
                at = (at + 1) % buckets.len();
            }
        }
        Sessions { buckets, count: sessions.len() }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.buckets[..])
    }

    /// Where a session is looked for.
    #[inline(always)]
    pub fn place(&self, session: Session) -> u32 {
        place(hash(session), self.buckets.len()) as u32
    }

    /// Starts the cache miss of a lookup at a place.
    #[inline(always)]
    pub fn prefetch(&self, place: u32) {
        prefetch::read(self.buckets.as_ptr().wrapping_add(place as usize));
    }

    /// The value of a session, [`NO_RANK`] if it is not there; `place` is that of [`Sessions::place`].
    #[inline(always)]
    pub fn get(&self, session: Session, place: u32) -> u32 {
        match self.buckets.get(place as usize) {
            Some(bucket) => match bucket.value(session) {
                NO_RANK if bucket.note & OVERFLOW != 0 => self.further(session, place as usize),
                value => value,
            },
            None => NO_RANK,
        }
    }

    /// In the buckets behind one that overflows.
    #[inline(never)]
    fn further(&self, session: Session, place: usize) -> u32 {
        let mut at = place;
        loop {
            at = (at + 1) % self.buckets.len();
            let bucket = &self.buckets[at];
            let value = bucket.value(session);
            if value != NO_RANK || bucket.note & OVERFLOW == 0 {
                return value;
            }
        }
    }
}

impl Bucket {
    /// The value of a session, [`NO_RANK`] if it does not stand here. Which of the places it is cannot be predicted, so all are compared.
    #[inline(always)]
    fn value(&self, session: Session) -> u32 {
        let mut found = NO_RANK;
        for (known, &value) in self.sessions.iter().zip(&self.values) {
            found = select_unpredictable(known.equals(session), value, found);
        }
        found
    }
}

/// Spreads a hash over any number of buckets: a power of two of them could be twice what the cache holds.
#[inline(always)]
fn place(hash: u32, buckets: usize) -> usize {
    ((u64::from(hash) * buckets as u64) >> 32) as usize
}

/// Two rounds of multiply and fold: any bit of the input reaches all that choose a bucket.
#[inline(always)]
fn hash(session: Session) -> u32 {
    let [a, b] = session.halves();
    const K0: u64 = 0x9e37_79b9_7f4a_7c15;
    const K1: u64 = 0xd1b5_4a32_d192_ed03;
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        wide as u64 ^ (wide >> 64) as u64
    };
    fold(a ^ K0, b ^ K1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn equals_a_map(sessions in prop::collection::hash_map(any::<[u8; 4]>(), 0..NO_RANK, 0..300),
                        strangers in prop::collection::vec(any::<[u8; 4]>(), 0..100)) {
            // Few distinct words: what overflows must be found too.
            let of = |words: [u8; 4]| Session::new(words.map(|word| u32::from(word) << 24));
            let list: Vec<_> = sessions.iter().map(|(words, value)| (of(*words), *value)).collect();
            let table = Sessions::new(&list);
            let oracle: HashMap<_, _> = list.iter().copied().collect();
            let asked = list.iter().map(|(session, _)| *session).chain(strangers.into_iter().map(of));
            for session in asked {
                prop_assert_eq!(table.get(session, table.place(session)), oracle.get(&session).copied().unwrap_or(NO_RANK));
            }
        }
    }

    #[test]
    fn few_buckets_overflow() {
        let sessions: Vec<_> = (0..10_000)
            .map(|i| (Session::new([0x0a00_0000 + i, 0x0a01_0000 + i % 7, i << 16 | 80, 6 << 24 | 1]), i))
            .collect();
        let table = Sessions::new(&sessions);
        let overflows = table.buckets.iter().filter(|bucket| bucket.note != 0).count();
        assert!(overflows * 10 < table.buckets.len(), "{overflows} of {} overflow", table.buckets.len());
    }
}
