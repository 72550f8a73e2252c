// SPDX-License-Identifier: Apache-2.0
//! Flows in the order in which they began, so that one that nobody has confirmed can make room for the next.
//!
//! A flood of packets that begin flows and are never answered, of SYNs say, fills any table. As long as it holds flows without an
//! answer the oldest of these goes, and a new one that is meant has as long for its answer as the flood needs to fill the
//! table once. Flows that end, or that are answered, stay in the ring until they come to its front: it is looked at there,
//! by whoever knows flows. A worker calls all of it.

use std::io;

use weft_table::Array;

/// Places of the ring, at least: a small table keeps the order too.
const FEWEST: usize = 1024;
/// Flows at the front that are looked at for a place at the end.
const LOOKS: usize = 4;
/// The slot of a flow is fetched when the flow is this many places from the front of a full ring: the slot is anywhere.
const AHEAD: usize = 8;

/// A slot, and which of its flows.
pub(crate) type Beginner = (u32, u32);

/// A ring of flows, the oldest first.
pub(crate) struct Beginners {
    /// A power of two of places: a division would cost each new flow more than all the rest of this.
    ring: Array<u64>,
    front: usize,
    count: usize,
}

impl Beginners {
    /// Twice the places that there are flows: at least one in two has ended or was answered when it is full.
    pub fn new(flows: usize) -> io::Result<Beginners> {
        let places = (2 * flows).max(FEWEST).next_power_of_two();
        Ok(Beginners { ring: Array::new(places)?, front: 0, count: 0 })
    }

    /// A flow has begun. If the ring is full, flows at its front that are `unconfirmed` go to its end; one that finds no
    /// place is left to its timeout. `fetch` starts to load a slot that `unconfirmed` will look at soon.
    #[inline(always)]
    pub fn push(&mut self, flow: Beginner, unconfirmed: impl Fn(Beginner) -> bool, fetch: impl Fn(u32)) {
        if self.count == self.ring.len() {
            fetch(self.ring[self.place(AHEAD)] as u32);
            self.make_place(unconfirmed);
        }
        self.append(flow);
    }

    /// The place in the ring that is `after` places after the front.
    #[inline(always)]
    fn place(&self, after: usize) -> usize {
        (self.front + after) & (self.ring.len() - 1)
    }

    #[inline(never)]
    fn make_place(&mut self, unconfirmed: impl Fn(Beginner) -> bool) {
        for _ in 0..LOOKS {
            match self.pop() {
                Some(front) if unconfirmed(front) => self.append(front),
                _ => return,
            }
        }
        self.pop();
    }

    #[inline(always)]
    fn append(&mut self, (slot, generation): Beginner) {
        let end = self.place(self.count);
        self.ring[end] = u64::from(generation) << 32 | u64::from(slot);
        self.count += 1;
    }

    /// Takes the oldest one out.
    pub fn pop(&mut self) -> Option<Beginner> {
        self.count = self.count.checked_sub(1)?;
        let word = self.ring[self.front];
        self.front = self.place(1);
        Some((word as u32, (word >> 32) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_and_a_full_ring_keeps_the_unconfirmed() {
        let mut ring = Beginners::new(1).expect("memory");
        let all = FEWEST as u32;
        (0..all).for_each(|slot| ring.push((slot, 7), |_| false, |_| ()));
        // The first one is confirmed and gives its place up; the second one is not, and moves to the end.
        ring.push((all, 7), |_| false, |_| ());
        ring.push((all + 1, 7), |(slot, _)| slot == 1, |_| ());
        assert_eq!(ring.pop(), Some((3, 7)));
        let rest: Vec<Beginner> = std::iter::from_fn(|| ring.pop()).collect();
        assert_eq!(rest.len(), FEWEST - 1);
        assert_eq!(rest[rest.len() - 3..], [(all, 7), (1, 7), (all + 1, 7)]);
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn a_ring_of_unconfirmed_flows_gives_one_up() {
        let mut ring = Beginners::new(1).expect("memory");
        (0..=FEWEST as u32).for_each(|slot| ring.push((slot, 0), |_| true, |_| ()));
        assert_eq!(std::iter::from_fn(|| ring.pop()).count(), FEWEST);
    }
}
