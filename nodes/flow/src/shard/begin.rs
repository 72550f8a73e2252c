// SPDX-License-Identifier: Apache-2.0
//! A packet of an unknown flow: whether a flow may begin with it, and how one does.

use std::sync::atomic::Ordering::Relaxed;

use weft_engine::InterfaceIndex;
use weft_engine::clock::Tsc;
use weft_flow_map::State;
use weft_flow_map::layout::state;

use super::{Ahead, Arrival, Fate, Shard, Why};
use crate::counts::Count;
use crate::news::{HEAD, What};
use crate::parse::Parsed;
use crate::settings::Mode;
use crate::slots;
use crate::tcp::{Connection, Segment};

impl Shard {
    /// A packet of an unknown flow.
    #[inline(never)]
    pub(super) fn begin(
        &mut self,
        now: Tsc,
        ahead: &Ahead,
        segment: Option<&Segment>,
        arrival: Arrival<'_>,
    ) -> Fate {
        self.counts.one(Count::Misses);
        let mut connection = Connection::default();
        if let Some(segment) = segment
            && !connection.begin(segment, self.settings.pickup)
        {
            return self.invalid(Why::NotSyn, arrival.interface);
        }
        let slot = match self.admit(now, arrival.interface) {
            Ok(slot) => slot,
            Err((count, why)) => {
                self.counts.one(count);
                return self.untracked(self.settings.excess, why, arrival.interface);
            }
        };
        let Parsed { key, direction, .. } = ahead.parsed;
        let waits = self.mode(arrival.interface) == Mode::Agent;
        let mut flags = if connection.picked_up { state::PICKED_UP } else { 0 };
        flags |= if waits { state::WAITING } else { 0 };
        slots::begin(self.slots.at(slot), key, direction, arrival.interface, flags, now);
        self.index.insert(ahead.hash, slot);
        let patience = if waits { self.clocks.agent() } else { self.idle(key, State::New as u64) };
        if let Some(soon) = self.slots.soon() {
            self.wheel.prefetch(soon);
        }
        self.wheel.schedule(slot, Tsc(now.0 + patience));
        self.counts.one(Count::Created);
        self.tell(now, slot, What::Began);
        if waits {
            self.tell(now, slot, waiting(&arrival));
            return Fate::Wait { slot };
        }
        match segment {
            Some(segment) => self.tcp(now, ahead, slot, segment, arrival),
            None => self.datagram(now, slot, direction, arrival),
        }
    }

    /// A slot for a new flow, if one may begin.
    #[inline(always)]
    fn admit(&mut self, now: Tsc, interface: InterfaceIndex) -> Result<u32, (Count, Why)> {
        let flows = self.shared.flows.get(interface.index());
        if let (Some(limit), Some(flows)) = (self.settings.interface_flows, flows)
            && flows.load(Relaxed) >= limit
        {
            return Err((Count::InterfaceLimit, Why::InterfaceLimit));
        }
        if let Some(bucket) = self.buckets.get_mut(interface.index())
            && !bucket.take(now)
        {
            return Err((Count::RateLimit, Why::RateLimit));
        }
        let slot = self.slots.allocate().ok_or((Count::Full, Why::Full))?;
        if let Some(flows) = flows {
            flows.fetch_add(1, Relaxed);
        }
        Ok(slot)
    }
}

/// The packet as the agent is shown it.
fn waiting(arrival: &Arrival<'_>) -> What {
    let mut head = [0; HEAD];
    let kept = arrival.data.len().min(HEAD);
    head[..kept].copy_from_slice(&arrival.data[..kept]);
    What::Waits { length: arrival.bytes as u32, head }
}
