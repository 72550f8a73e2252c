// SPDX-License-Identifier: Apache-2.0
//! Packets in order of arrival, per neighbour, within bounds.
//!
//! A queue is a list through the metadata of its packets (`scratch[0]`: the next one, the others: since when), so
//! holding a packet allocates nothing, and there are never more queues than packets. One per worker; the packets belong
//! to whoever owns the queues until they are taken out.

use std::net::IpAddr;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::clock::Tsc;
use weft_engine::{BufferIndex, InterfaceIndex};

/// On which interface, and who.
pub type Waiting = (InterfaceIndex, IpAddr);

/// Never empty.
struct Queue {
    oldest: BufferIndex,
    newest: BufferIndex,
    count: usize,
    asked: Asked,
}

/// How a neighbour was asked for on behalf of the packets that wait for it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Asked {
    /// When last. A time stamp cannot stand for never: it is small after a boot.
    last: Option<Tsc>,
    /// Clocks after that until it is asked for again.
    pause: u64,
}

impl Asked {
    /// Whether it is time to ask.
    pub fn is_due(&self, now: Tsc) -> bool {
        self.last.is_none_or(|last| now.since(last) >= self.pause)
    }

    /// It is asked for now, and again after `shortest`, and then after twice as long each time, up to `longest`.
    pub fn ask(&mut self, now: Tsc, shortest: u64, longest: u64) {
        let next = if self.last.is_none() { shortest } else { self.pause.saturating_mul(2) };
        *self = Asked { last: Some(now), pause: next.min(longest) };
    }
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits.
    Kept,
    /// It waits, in place of this one, the oldest for the same neighbour.
    Displaced(BufferIndex),
    /// Too many others wait.
    Refused,
}

/// All queues of a worker.
pub struct Queues {
    queues: HashMap<Waiting, Queue>,
    count: usize,
    per_neighbor: usize,
    limit: usize,
}

impl Queues {
    /// Room for `limit` packets, of which `per_neighbor` for one neighbour, but always for one.
    pub fn new(per_neighbor: usize, limit: usize) -> Self {
        // Twice the room, so that the places of removed queues are cleaned up without allocation.
        Queues { queues: HashMap::with_capacity(2 * limit), count: 0, per_neighbor, limit }
    }

    /// Packets in all queues.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether packets wait for a neighbour.
    pub fn waits_for(&self, neighbor: Waiting) -> bool {
        self.queues.contains_key(&neighbor)
    }

    /// How the neighbour was asked for; `None` if no packet waits for it.
    pub fn asked(&mut self, neighbor: Waiting) -> Option<&mut Asked> {
        self.queues.get_mut(&neighbor).map(|queue| &mut queue.asked)
    }

    /// Appends a packet.
    pub fn push(
        &mut self,
        buffers: &mut BufferCache,
        neighbor: Waiting,
        index: BufferIndex,
        now: Tsc,
    ) -> Pushed {
        let full = self.count >= self.limit;
        let [_, low, high] = &mut buffers.packet(index).meta.scratch;
        (*low, *high) = (now.0 as u32, (now.0 >> 32) as u32);
        match self.queues.entry(neighbor) {
            Entry::Vacant(_) if full => Pushed::Refused,
            Entry::Vacant(place) => {
                self.count += 1;
                place.insert(Queue { oldest: index, newest: index, count: 1, asked: Asked::default() });
                Pushed::Kept
            }
            Entry::Occupied(mut queue) => {
                let queue = queue.get_mut();
                buffers.packet(queue.newest).meta.scratch[0] = index.0;
                queue.newest = index;
                queue.count += 1;
                if queue.count > self.per_neighbor || full {
                    return Pushed::Displaced(queue.pop(buffers));
                }
                self.count += 1;
                Pushed::Kept
            }
        }
    }

    /// Takes out the packets for one neighbour, in order.
    pub fn take(&mut self, buffers: &mut BufferCache, neighbor: Waiting) -> Vec<BufferIndex> {
        let Some(mut queue) = self.queues.remove(&neighbor) else {
            return Vec::new();
        };
        self.count -= queue.count;
        (0..queue.count).map(|_| queue.pop(buffers)).collect()
    }

    /// Takes out the packets for all neighbours of which `which` is true.
    pub fn take_all(
        &mut self,
        buffers: &mut BufferCache,
        which: impl Fn(&Waiting) -> bool,
    ) -> Vec<BufferIndex> {
        let neighbors: Vec<_> = self.queues.keys().filter(|neighbor| which(neighbor)).copied().collect();
        neighbors.into_iter().flat_map(|neighbor| self.take(buffers, neighbor)).collect()
    }

    /// Looks at every packet.
    pub fn for_each(&self, buffers: &mut BufferCache, mut f: impl FnMut(&mut Packet<'_>)) {
        for queue in self.queues.values() {
            let mut index = queue.oldest;
            for _ in 0..queue.count {
                let mut packet = buffers.packet(index);
                f(&mut packet);
                index = BufferIndex(packet.meta.scratch[0]);
            }
        }
    }

    /// Takes out what has waited for `longest` clocks.
    pub fn take_expired(&mut self, buffers: &mut BufferCache, now: Tsc, longest: u64) -> Vec<BufferIndex> {
        let mut expired = Vec::new();
        self.queues.retain(|_, queue| {
            while queue.count > 0 {
                let [_, low, high] = buffers.packet(queue.oldest).meta.scratch;
                let since = Tsc(u64::from(high) << 32 | u64::from(low));
                if now.since(since) < longest {
                    return true;
                }
                expired.push(queue.pop(buffers));
            }
            false
        });
        self.count -= expired.len();
        expired
    }
}

impl Queue {
    /// Takes out the oldest packet. After the last one the queue must go.
    fn pop(&mut self, buffers: &mut BufferCache) -> BufferIndex {
        let oldest = self.oldest;
        self.count -= 1;
        self.oldest = BufferIndex(buffers.packet(oldest).meta.scratch[0]);
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap as Model, VecDeque};
    use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Take(u8),
        TakeInterface(u8),
        Expire,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            10 => (0u8..6).prop_map(Step::Push),
            2 => (0u8..6).prop_map(Step::Take),
            1 => (0u8..2).prop_map(Step::TakeInterface),
            1 => Just(Step::Expire),
        ]
    }

    fn neighbor(id: u8) -> Waiting {
        (InterfaceIndex(u32::from(id % 2)), IpAddr::from([10, 0, 0, id]))
    }

    const PER_NEIGHBOR: usize = 4;
    const LIMIT: usize = 12;
    /// Steps that a packet may wait.
    const LONGEST: u64 = 20;

    proptest! {
        #[test]
        fn behaves_as_plain_queues(steps in prop::collection::vec(step(), 1..200)) {
            let config = BufferConfig { pools: vec![(0, 256)], ..BufferConfig::default() };
            let mut buffers = Buffers::new(&config).unwrap().cache(0);
            let mut queues = Queues::new(PER_NEIGHBOR, LIMIT);
            let mut model: Model<Waiting, VecDeque<(BufferIndex, u64)>> = Model::new();
            for (now, step) in steps.into_iter().enumerate() {
                let now = now as u64 + 1000;
                let mut gone = Vec::new();
                match step {
                    Step::Push(id) => {
                        let index = buffers.allocate_one().unwrap();
                        buffers.receive(index, HEADROOM, 0, InterfaceIndex(0));
                        let total: usize = model.values().map(VecDeque::len).sum();
                        let queue = model.entry(neighbor(id)).or_default();
                        let expected = if total == LIMIT && queue.is_empty() {
                            Pushed::Refused
                        } else {
                            queue.push_back((index, now));
                            match queue.len() > PER_NEIGHBOR || total == LIMIT {
                                true => Pushed::Displaced(queue.pop_front().unwrap().0),
                                false => Pushed::Kept,
                            }
                        };
                        let pushed = queues.push(&mut buffers, neighbor(id), index, Tsc(now));
                        prop_assert_eq!(pushed, expected);
                        match pushed {
                            Pushed::Kept => {}
                            Pushed::Displaced(old) => gone.push(old),
                            Pushed::Refused => gone.push(index),
                        }
                    }
                    Step::Take(id) => {
                        gone = queues.take(&mut buffers, neighbor(id));
                        let queue = model.remove(&neighbor(id)).unwrap_or_default();
                        prop_assert_eq!(&gone, &queue.iter().map(|it| it.0).collect::<Vec<_>>());
                    }
                    Step::TakeInterface(id) => {
                        gone = queues.take_all(&mut buffers, |(on, _)| on.0 == u32::from(id));
                        let mut expected = Vec::new();
                        model.retain(|(on, _), queue| {
                            let goes = on.0 == u32::from(id);
                            expected.extend(queue.iter().filter(|_| goes).map(|it| it.0));
                            !goes
                        });
                        prop_assert_eq!(gone.len(), expected.len());
                        prop_assert!(expected.iter().all(|index| gone.contains(index)));
                    }
                    Step::Expire => {
                        gone = queues.take_expired(&mut buffers, Tsc(now), LONGEST);
                        let mut expected = 0;
                        for queue in model.values_mut() {
                            while queue.front().is_some_and(|(_, since)| now - since >= LONGEST) {
                                let (index, _) = queue.pop_front().unwrap();
                                prop_assert!(gone.contains(&index));
                                expected += 1;
                            }
                        }
                        prop_assert_eq!(gone.len(), expected);
                    }
                }
                buffers.free(&gone);
                model.retain(|_, queue| !queue.is_empty());
                prop_assert_eq!(queues.count(), model.values().map(VecDeque::len).sum::<usize>());
                for id in 0..6 {
                    prop_assert_eq!(queues.waits_for(neighbor(id)), model.contains_key(&neighbor(id)));
                }
            }
            let rest = queues.take_all(&mut buffers, |_| true);
            prop_assert_eq!((rest.len(), queues.count()), (model.values().map(VecDeque::len).sum(), 0));
            buffers.free(&rest);
        }
    }
}
