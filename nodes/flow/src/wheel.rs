// SPDX-License-Identifier: Apache-2.0
//! A timer wheel: when to look at which slot again, at a cost that does not depend on how many wait.
//!
//! One ring of lists, one list per tick. A deadline beyond the end of the ring waits in its last list and is put off from
//! there, so a flow that may idle for five days is looked at every seven minutes. Packets do not touch the wheel: a deadline
//! that has come is checked against when the flow was last seen. Ticks are whole: nothing is due early.

use std::io;

use weft_engine::clock::Tsc;
use weft_table::Array;
use zerocopy::FromZeros;

/// Lists.
const TICKS: u64 = 4096;
const NIL: u32 = u32::MAX;
/// Marks, in [`Link::previous`], the number of a list instead of a slot.
const LIST: u32 = 1 << 31;

/// A slot's neighbours in its list.
#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
struct Link {
    next: u32,
    previous: u32,
}

/// Slots by deadline.
pub(crate) struct Wheel {
    links: Array<Link>,
    lists: Box<[u32]>,
    /// Clocks of a tick.
    tick: u64,
    /// The first tick that is not over for us.
    current: u64,
}

impl Wheel {
    /// An empty wheel for `slots` slots, of ticks of `tick` clocks.
    pub fn new(slots: usize, tick: u64, now: Tsc) -> io::Result<Wheel> {
        let tick = tick.max(1);
        Ok(Wheel {
            links: Array::new(slots)?,
            lists: vec![NIL; TICKS as usize].into(),
            tick,
            current: now.0 / tick,
        })
    }

    /// Has `slot`, which is in no list, come up when `at` has passed.
    pub fn schedule(&mut self, slot: u32, at: Tsc) {
        let tick = (at.0 / self.tick).clamp(self.current, self.current + TICKS - 1);
        let list = (tick % TICKS) as usize;
        let next = std::mem::replace(&mut self.lists[list], slot);
        self.links[slot as usize] = Link { next, previous: LIST | list as u32 };
        if next != NIL {
            self.links[next as usize].previous = slot;
        }
    }

    /// Takes `slot`, which is in a list, out.
    pub fn cancel(&mut self, slot: u32) {
        let Link { next, previous } = self.links[slot as usize];
        match previous & LIST {
            0 => self.links[previous as usize].next = next,
            _ => self.lists[(previous & !LIST) as usize] = next,
        }
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
    }

    /// Takes out slots whose tick is over, as many as `due` has room for; returns how many.
    pub fn take(&mut self, now: Tsc, due: &mut [u32]) -> usize {
        let mut count = 0;
        let over = now.0 / self.tick;
        // A wheel that was not turned for longer than a turn has everything in its lists due.
        self.current = self.current.max(over.saturating_sub(TICKS));
        while self.current < over {
            let list = (self.current % TICKS) as usize;
            while self.lists[list] != NIL {
                if count == due.len() {
                    return count;
                }
                let slot = self.lists[list];
                self.cancel(slot);
                due[count] = slot;
                count += 1;
            }
            self.current += 1;
        }
        count
    }

    /// Starts to load what [`Wheel::schedule`] and [`Wheel::cancel`] need of a slot.
    #[inline(always)]
    pub fn prefetch(&self, slot: u32) {
        self.links.prefetch(slot as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: u64 = 10;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(
            steps in prop::collection::vec((0u32..20, 0u64..3, 0u64..2_000, 1usize..4), 1..300),
            far in prop::collection::vec(0u64..200_000, 20),
        ) {
            let mut wheel = Wheel::new(20, TICK, Tsc(77)).unwrap();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 77;
            for (slot, what, time, room) in steps {
                match what {
                    0 => {
                        if model.remove(&slot).is_some() {
                            wheel.cancel(slot);
                        }
                        let at = now + time + if time % 7 == 0 { far[slot as usize] } else { 0 };
                        wheel.schedule(slot, Tsc(at));
                        model.insert(slot, at);
                    }
                    1 => {
                        if model.remove(&slot).is_some() {
                            wheel.cancel(slot);
                        }
                    }
                    _ => {
                        now += time * 20;
                        let mut due = vec![0; room];
                        loop {
                            let count = wheel.take(Tsc(now), &mut due);
                            for slot in &due[..count] {
                                let at = model.remove(slot);
                                // Due, or at the end of the ring, from where it is put off.
                                let at = at.expect("what comes up was scheduled, and comes up once");
                                if at >= now {
                                    prop_assert!(at >= 77 + (TICKS - 1) * TICK);
                                    wheel.schedule(*slot, Tsc(at));
                                    model.insert(*slot, at);
                                }
                            }
                            if count < room {
                                break;
                            }
                        }
                        let late: Vec<_> = model.values().filter(|at| **at + TICK <= now).collect();
                        prop_assert!(late.is_empty(), "{late:?} at {now}");
                    }
                }
            }
        }
    }
}
