// SPDX-License-Identifier: Apache-2.0
//! A packet of an unknown flow: whether a flow may begin with it, and how one does; what rules say of flows.

use std::sync::atomic::Ordering::Relaxed;

use weft_engine::InterfaceIndex;
use weft_engine::buffer::Packet;
use weft_engine::buffer::context::Field;
use weft_engine::clock::Tsc;
use weft_flow_map::layout::state;
use weft_flow_map::{Direction, State};
use weft_token_bucket::Moment;

use super::{Ahead, Arrival, Outcome, Shard, Why};
use crate::admission::{ADMITTED_IN, ADMITTED_OUT};
use crate::counts::Count;
use crate::news::{Ending, HEAD, What};
use crate::parse::{Relation, segment};
use crate::settings::Mode;
use crate::slots::{self, Slots};
use crate::tcp::{Connection, Segment};

/// Places of the ring of new flows that are looked at for one packet. Those of flows that have ended or were confirmed are met
/// once each, so this bounds what one packet costs (some 20 us if all are far), not what all cost: with few, a table that has
/// been quiet for long refused flows until it had gone through them.
const MOST_LOOKS: usize = 256;

impl Shard {
    /// A packet of an unknown flow.
    #[inline(never)]
    pub(super) fn begin(
        &mut self,
        now: Tsc,
        ahead: &Ahead,
        segment: Option<&Segment>,
        arrival: Arrival<'_>,
    ) -> Outcome {
        self.counts.one(Count::Misses);
        if self.mode(arrival.interface) == Mode::Admit {
            return Outcome::Untracked;
        }
        self.start(now, ahead, segment, arrival)
    }

    /// A flow begins, if it may.
    fn start(&mut self, now: Tsc, ahead: &Ahead, segment: Option<&Segment>, arrival: Arrival<'_>) -> Outcome {
        let mut connection = Connection::default();
        if let Some(segment) = segment
            && !connection.begin(segment, self.settings.pickup)
        {
            return self.invalid(Why::NotSyn, arrival.interface);
        }
        let slot = match self.room(now, arrival.interface) {
            Ok(slot) => slot,
            Err((count, why)) => {
                self.counts.one(count);
                return self.untracked(self.settings.excess, why, arrival.interface);
            }
        };
        let Ahead { key, direction, .. } = *ahead;
        let waits = self.mode(arrival.interface) == Mode::Agent;
        let mut flags = if connection.picked_up { state::PICKED_UP } else { 0 };
        flags |= if waits { state::WAITING } else { 0 };
        if key.is_ip6() {
            self.slots.set_pair(slot, &self.pair(ahead, arrival));
        }
        slots::begin(self.slots.at(slot), key, direction, arrival.interface, flags, now);
        self.index.insert(ahead.hash, slot);
        let slots = &self.slots;
        let generation = slots.at(slot).generation();
        self.beginners.push(
            (slot, generation),
            |(slot, generation)| unconfirmed(slots, slot, generation),
            |slot| slots.prefetch(slot),
        );
        let patience = if waits { self.clocks.agent() } else { self.idle(key, State::New as u64) };
        if let Some(soon) = self.slots.soon() {
            self.wheel.prefetch(soon);
        }
        self.wheel.schedule(slot, Tsc(now.0 + patience));
        self.counts.one(Count::Created);
        self.tell(now, slot, What::Began);
        if waits {
            self.tell(now, slot, waiting(&arrival));
            return Outcome::Wait { slot };
        }
        match segment {
            Some(segment) => self.tcp(now, ahead, slot, segment, arrival),
            None => self.datagram(now, slot, direction, arrival),
        }
    }

    /// A rule has let a packet pass that it wants to be answered: its flow is admitted from now on, where the packet came in
    /// or, with `out`, where it leaves. The flow begins here if there is none. Fragments without ports, and ICMP errors,
    /// begin nothing.
    #[inline(never)]
    pub(crate) fn admit(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>, out: bool) -> Outcome {
        let Ahead { key, direction, relation, .. } = *ahead;
        use Relation::{Elsewhere, Error, LaterFragment, Malformed, OfLink};
        if matches!(relation, LaterFragment | Malformed | Error | OfLink | Elsewhere) {
            return Outcome::Untracked;
        }
        let may_begin = matches!(relation, Relation::Part | Relation::Part6 | Relation::FirstFragment)
            && self.mode(arrival.interface) != Mode::Agent;
        let slot = match self.index.find(ahead.hash, |slot| self.is(slot, ahead, arrival)) {
            Some(slot) => slot,
            None if !may_begin => return Outcome::Untracked,
            None => {
                let segment = segment(arrival.data, self.reading.headers).filter(|_| key.protocol() == 6);
                if segment.is_none() && key.protocol() == 6 {
                    return self.invalid(Why::Malformed, arrival.interface);
                }
                match self.start(now, ahead, segment.as_ref(), arrival) {
                    Outcome::Flow { slot, .. } => slot,
                    other => return other,
                }
            }
        };
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        let admitted = slots::admitted(if out { direction.reverse() } else { direction });
        if word & admitted == 0 {
            slots::change(entry, word | admitted);
        }
        if relation == Relation::FirstFragment {
            self.remember(now, slot, arrival);
        }
        Outcome::Flow { slot, word }
    }

    /// Writes into a packet's context what its flow says of it: where it was admitted, and the mark.
    pub(crate) fn stamp(
        &self,
        slot: u32,
        word: u64,
        direction: Direction,
        packet: &mut Packet<'_>,
        mark: Field<u32>,
    ) {
        packet.meta.flags |= admitted(word, direction);
        if word & state::MARKED != 0 {
            // In the second line, which packets of UDP do not touch otherwise.
            packet.set_field(mark, self.slots.at(slot).mark.load(Relaxed) as u32);
        }
    }

    /// Ends the oldest flow that nobody has confirmed; false if there is none among the oldest of all.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, now: Tsc) -> bool {
        for _ in 0..MOST_LOOKS {
            let Some((slot, generation)) = self.beginners.pop() else { return false };
            if unconfirmed(&self.slots, slot, generation) {
                let hash = self.seed.hash(self.slots.at(slot).key().words());
                self.end(slot, hash, now, Ending::Displaced);
                return true;
            }
        }
        false
    }

    /// A slot for a new flow, if one may begin.
    #[inline(always)]
    fn room(&mut self, now: Tsc, interface: InterfaceIndex) -> Result<u32, (Count, Why)> {
        let flows = self.shared.flows.get(interface.index());
        if let (Some(limit), Some(flows)) = (self.settings.interface_flows, flows)
            && flows.load(Relaxed) >= limit
        {
            return Err((Count::InterfaceLimit, Why::InterfaceLimit));
        }
        if let Some(bucket) = self.buckets.get_mut(interface.index())
            && !bucket.take(Moment::new(now.0), 1)
        {
            return Err((Count::RateLimit, Why::RateLimit));
        }
        if self.slots.active() >= self.most && !self.make_room(now) {
            return Err((Count::Full, Why::Full));
        }
        let slot = self.slots.allocate().ok_or((Count::Full, Why::Full))?;
        if let Some(flows) = self.shared.flows.get(interface.index()) {
            flows.fetch_add(1, Relaxed);
        }
        Ok(slot)
    }
}

/// The flags of a packet by where its flow was admitted.
#[inline(always)]
pub(crate) fn admitted(word: u64, direction: Direction) -> u32 {
    let flag = |side, flag| if word & slots::admitted(side) != 0 { flag } else { 0 };
    flag(direction, ADMITTED_IN) | flag(direction.reverse(), ADMITTED_OUT)
}

/// Whether this flow is there, and nobody has confirmed it: no answer, of TCP no complete handshake.
fn unconfirmed(slots: &Slots, slot: u32, generation: u32) -> bool {
    let entry = slots.at(slot);
    let word = entry.state.load(Relaxed);
    entry.generation() == generation && word & state::STATE != 0 && slots::state_of(word) == State::New
}

/// The packet as the agent is shown it.
fn waiting(arrival: &Arrival<'_>) -> What {
    let mut head = [0; HEAD];
    let kept = arrival.data.len().min(HEAD);
    head[..kept].copy_from_slice(&arrival.data[..kept]);
    What::Waits { length: arrival.bytes as u32, head }
}
