// SPDX-License-Identifier: Apache-2.0
//! What befalls a flow without a packet of its own: time, a verdict, an operator.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use weft_engine::clock::Tsc;
use weft_engine::{InterfaceIndex, Lease};
use weft_flow_map::layout::state;
use weft_flow_map::{FlowId, State, Verdict};
use weft_table::Hash;

use super::Shard;
use crate::counts::Count;
use crate::news::{Ending, News, What};
use crate::settings::Policy;
use crate::slots;

/// Flows that are looked at together.
pub(super) const BATCH: usize = 32;

/// An interface that goes, and where the search for its flows has come to.
pub(crate) struct Gone {
    interface: InterfaceIndex,
    from: u32,
    /// Held until all have been found.
    _lease: Lease,
}

/// What is to be cleared.
pub(crate) enum Doomed {
    Flow(FlowId),
    /// Held for the flows before it, to be dropped.
    Lease(#[expect(dead_code, reason = "only its drop is of interest")] Lease),
}

impl Shard {
    pub(super) fn tell(&mut self, now: Tsc, slot: u32, what: What) {
        let waits = matches!(what, What::Waits { .. });
        if !waits && self.shared.events.load(Relaxed) == 0 {
            return;
        }
        let entry = self.slots.at(slot);
        let news = News {
            at: now,
            id: self.slots.id(slot),
            key: entry.key(),
            pair: self.slots.pair(slot),
            initiator: slots::initiator(entry.state.load(Relaxed)),
            what,
        };
        if !self.teller.as_mut().is_some_and(|teller| teller.tell(news)) {
            self.counts.one(Count::NewsLost);
        }
    }

    /// Ends a flow that is in the wheel.
    pub(super) fn end(&mut self, slot: u32, hash: Hash, now: Tsc, why: Ending) {
        self.wheel.cancel(slot);
        self.forget(slot, hash, now, why);
    }

    /// Ends a flow that is not in the wheel.
    fn forget(&mut self, slot: u32, hash: Hash, now: Tsc, why: Ending) {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        let initiator = slots::initiator(word);
        let what = What::Ended {
            why,
            sides: [slots::side(entry, initiator), slots::side(entry, initiator.reverse())],
            lasted: Tsc(entry.seen.load(Relaxed)).since(Tsc(entry.created.load(Relaxed))),
        };
        let interface = InterfaceIndex(entry.interfaces.load(Relaxed) as u32);
        let hand = (entry.mark.load(Relaxed) >> 32) as u32;
        if hand != 0 {
            self.orphans.push(hand - 1);
            entry.mark.store(0, Relaxed);
        }
        self.tell(now, slot, what);
        self.count_at(interface, |flows| flows.fetch_sub(1, Relaxed));
        self.counts.one(match why {
            Ending::Cleared => Count::Cleared,
            Ending::Displaced => Count::Displaced,
            Ending::Idle | Ending::Closed | Ending::Replaced => Count::Expired,
        });
        self.index.remove(hash, slot);
        self.slots.release(slot);
    }

    /// Ends flows that have idled for too long and those that are being cleared, a bounded number of each. Says whether
    /// more may be due.
    pub fn age(&mut self, now: Tsc) -> bool {
        let mut due = [0; BATCH];
        let count = self.wheel.take(now, &mut due);
        // Each of the three lines that a flow needs is started for all of them before it is needed for the first.
        due[..count].iter().for_each(|slot| self.slots.prefetch(*slot));
        let mut ended = [(0, Hash::default()); BATCH];
        let mut ends = 0;
        for &slot in &due[..count] {
            let entry = self.slots.at(slot);
            let word = entry.state.load(Relaxed);
            if word & state::WAITING != 0 {
                self.decide_by_time(now, slot, word);
                continue;
            }
            let at = Tsc(entry.seen.load(Relaxed) + self.idle(entry.key(), word));
            if at > now {
                self.wheel.schedule(slot, at);
                continue;
            }
            let hash = self.seed.hash(entry.key().words());
            self.index.prefetch(hash);
            ended[ends] = (slot, hash);
            ends += 1;
        }
        for &(slot, hash) in &ended[..ends] {
            let closed = slots::state_of(self.slots.at(slot).state.load(Relaxed)) == State::Closed;
            self.forget(slot, hash, now, if closed { Ending::Closed } else { Ending::Idle });
        }
        let parts = self.part_with_interfaces(now);
        let sweeps = self.sweep_on(now);
        count == BATCH || parts || sweeps
    }

    /// Nobody has decided about a flow in time.
    fn decide_by_time(&mut self, now: Tsc, slot: u32, word: u64) {
        let verdict = match self.settings.timeout_verdict {
            Policy::Drop => Verdict::Drop,
            Policy::Forward => Verdict::Forward,
        };
        self.counts.one(Count::Undecided);
        let entry = self.slots.at(slot);
        slots::change(entry, slots::decided(word, verdict));
        let idle = self.idle(entry.key(), word);
        self.wheel.schedule(slot, Tsc(now.0 + idle));
        self.overdue.push(slot);
    }

    /// A verdict on a flow, and its new mark; false if it has ended. The caller releases what waits.
    pub(crate) fn decide(&mut self, now: Tsc, id: FlowId, verdict: Verdict, mark: Option<u32>) -> bool {
        if !self.is_live(id) {
            return false;
        }
        let entry = self.slots.at(id.slot);
        let word = entry.state.load(Relaxed);
        entry.begin();
        let marked = if mark.is_some() { state::MARKED } else { 0 };
        entry.state.store(slots::decided(word, verdict) | marked, Relaxed);
        if let Some(mark) = mark {
            let hand = entry.mark.load(Relaxed) >> 32 << 32;
            entry.mark.store(hand | u64::from(mark), Relaxed);
        }
        entry.end();
        if word & state::WAITING != 0 {
            let idle = self.idle(entry.key(), word);
            self.wheel.cancel(id.slot);
            self.wheel.schedule(id.slot, Tsc(now.0 + idle));
        }
        true
    }

    /// Whether the flow still exists.
    pub(crate) fn is_live(&self, id: FlowId) -> bool {
        id.slot < self.slots.high_water() && self.has(id.slot, id.generation)
    }

    /// Whether the slot, which was given out once, has this flow now.
    pub(super) fn has(&self, slot: u32, generation: u32) -> bool {
        let entry = self.slots.at(slot);
        entry.generation() == generation && entry.state.load(Relaxed) & state::STATE != 0
    }

    /// Ends a flow; false if it has ended by itself.
    pub(crate) fn clear(&mut self, now: Tsc, id: FlowId) -> bool {
        let live = self.is_live(id);
        if live {
            let hash = self.seed.hash(self.slots.at(id.slot).key().words());
            self.end(id.slot, hash, now, Ending::Cleared);
        }
        live
    }

    /// Ends these flows: [`Shard::age`] does a few at a time. Then it drops `lease`.
    pub(crate) fn clear_later(&mut self, flows: &[FlowId], lease: Option<Lease>) {
        self.doomed.extend(flows.iter().copied().map(Doomed::Flow));
        self.doomed.extend(lease.map(Doomed::Lease));
    }

    /// Ends all flows that there were when that was `asked` for, likewise.
    pub(crate) fn clear_all(&mut self, asked: Tsc) {
        self.sweep = Some((0, asked));
    }

    /// An interface goes: flows that its packets have begun no longer count as its own, for the next one with its index has
    /// none of them; those of them that wait for a verdict end. [`Shard::age`] does a few at a time. Then it drops `lease`.
    pub(crate) fn interface_goes(&mut self, interface: InterfaceIndex, lease: Lease) {
        self.gone.push_back(Gone { interface, from: 0, _lease: lease });
    }

    /// Looks at a few slots for flows of interfaces that go; says whether there are more.
    fn part_with_interfaces(&mut self, now: Tsc) -> bool {
        let Some(Gone { interface, from, .. }) = self.gone.front() else { return false };
        let (interface, from) = (*interface, *from);
        let to = (from + BATCH as u32).min(self.slots.high_water());
        (from..to).for_each(|slot| self.slots.prefetch(slot));
        for slot in from..to {
            self.part_with(now, slot, interface);
        }
        match self.gone.front_mut() {
            Some(gone) if to < self.slots.high_water() => gone.from = to,
            _ => {
                if let (Some(bucket), Some(fresh)) = (
                    self.buckets.get_mut(interface.index()),
                    Shard::bucket(&self.clocks, &self.settings, self.workers),
                ) {
                    *bucket = fresh;
                }
                self.gone.pop_front();
            }
        }
        !self.gone.is_empty()
    }

    fn part_with(&mut self, now: Tsc, slot: u32, interface: InterfaceIndex) {
        let entry = self.slots.at(slot);
        let (word, interfaces) = (entry.state.load(Relaxed), entry.interfaces.load(Relaxed));
        if word & state::STATE == 0 {
            return;
        }
        let [first, answers] = [interfaces as u32, (interfaces >> 32) as u32].map(InterfaceIndex);
        if first == interface && word & state::WAITING != 0 {
            self.clear(now, self.slots.id(slot));
            return;
        }
        let unless_gone = |index| if index == interface { InterfaceIndex::NONE } else { index };
        let [low, high] = [first, answers].map(|index| u64::from(unless_gone(index).0));
        entry.interfaces.store(low | high << 32, Relaxed);
        if first == interface {
            self.count_at(interface, |flows| flows.fetch_sub(1, Relaxed));
        }
    }

    /// Counts a flow of an interface, or one less; one that has gone has none.
    fn count_at(&self, interface: InterfaceIndex, count: impl FnOnce(&AtomicU32) -> u32) {
        self.shared.flows.get(interface.index()).map(count);
    }

    /// Clears a few flows; says whether there are more.
    fn sweep_on(&mut self, now: Tsc) -> bool {
        for _ in 0..self.doomed.len().min(BATCH) {
            if let Some(Doomed::Flow(id)) = self.doomed.pop_front() {
                self.clear(now, id);
            }
        }
        let Some((from, asked)) = self.sweep else {
            return !self.doomed.is_empty();
        };
        let to = (from + BATCH as u32).min(self.slots.high_water());
        (from..to).for_each(|slot| self.slots.prefetch(slot));
        for slot in from..to {
            // Those that have begun since are no business of whoever asked.
            if self.slots.at(slot).created.load(Relaxed) <= asked.0 {
                self.clear(now, self.slots.id(slot));
            }
        }
        self.sweep = (to < self.slots.high_water()).then_some((to, asked));
        self.sweep.is_some()
    }
}
