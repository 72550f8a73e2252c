// SPDX-License-Identifier: Apache-2.0
//! flow-track: the feature of `ip4-unicast` that knows to which flow a packet belongs.
//!
//! Three stages, in blocks of a few packets, each a block behind the one before: hash the key and start to load the bucket; find
//! the slot and start to load the flow; then the packet itself. Packets of other workers' flows leave by a ring and come in again in the same node over there.
//! Packets that wait for a verdict stay here. A packet comes a second time when a rule admits its flow: from the arc of the
//! rule, to which it goes back. A timer ages flows, a bounded number each time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::context::Field;
use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::clock::Tsc;
use weft_engine::feature::{Arcs, FeatureSpec};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::trace::{Detail, Names};
use weft_engine::{ArcId, BufferIndex, Context, InterfaceIndex, Lease, NodeId, ThreadIndex};
use weft_flow_map::{Direction, FlowId, Key, State, Verdict};
use weft_nodes::context::IpContext;
use weft_nodes::interface::InterfaceTable;
use weft_nodes::punt::restore_link_header;
use weft_stats::SimpleRow;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::admission::{ADMIT_IN, ADMIT_OUT};
use crate::counts::Count;
use crate::hold::{Hold, Refusal};
use crate::parse::{Relation, owner};
use crate::shard::{Ahead, Arrival, Outcome, Shard, Why, admitted};
use crate::slots;

weft_engine::edges! {
    /// Where packets go that a verdict redirects to a next hop.
    pub enum Next { Rewrite => "ip4-rewrite", Rewrite6 => "ip6-rewrite" }
}

weft_engine::drops! {
    /// Why a packet ends here.
    pub enum Reason {
        /// flow table full, and the setting is to drop what finds no room
        Full = "table_full", Error;
        /// interface has begun as many flows as it may
        InterfaceLimit = "interface_limit", Error;
        /// too many new flows at once
        RateLimit = "rate_limit", Error;
        /// too short for its protocol
        Malformed = "malformed", Error;
        /// TCP segment of no known connection that does not begin one
        NotSyn = "not_syn", Error;
        /// TCP segment out of the window of its connection
        OutOfWindow = "out_of_window", Error;
        /// ICMP answer to no known request
        NoRequest = "no_request", Error;
        /// ICMP error about no known flow
        NoFlow = "no_flow", Error;
        /// later fragment of a datagram whose first fragment was not seen
        LoneFragment = "lone_fragment", Error;
        /// verdict on its flow
        Verdict = "verdict", Info;
        /// too many packets of its flow wait for the verdict
        FlowWaits = "flow_waits", Error;
        /// too many packets wait for verdicts
        HoldFull = "hold_full", Error;
        /// flow was cleared while the packet waited
        Cleared = "cleared", Info;
        /// worker that owns its flow does not keep up
        HandoffFull = "handoff_full", Error;
        /// interface that the verdict redirects to is down or deleted
        RedirectDown = "redirect_down", Error;
    }
}

/// Packets in a block.
const BLOCK: usize = 16;
/// Packets of which something is known ahead: three blocks, and a power of two.
pub(crate) const RING: usize = 4 * BLOCK;

/// On its way from a rule.
const ADMIT: u32 = ADMIT_IN | ADMIT_OUT;
/// How often flows are aged.
const PERIOD: Duration = Duration::from_millis(10);
/// Batches of flows that are aged at most each time: 32 flows each, hence 200,000 a second.
const BATCHES: usize = 64;

/// Descriptor of flow-track.
pub static FLOW_TRACK: NodeSpec = NodeSpec::timer("flow-track", PERIOD)
    .features(&[
        FeatureSpec::on("ip4-unicast").before(&["ip4-classify"]).set_by("flow enable"),
        FeatureSpec::on("ip6-unicast").before(&["ip6-classify"]).set_by("flow enable"),
    ])
    .next(Next::NAMES)
    .drops(Reason::ALL);

/// What a trace keeps of a packet's flow. A state of 0: it has none.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Tracked {
    slot: u32,
    generation: u32,
    state: u32,
    to_initiator: u32,
}

impl Detail for Tracked {
    fn format(&self, _: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
        let Tracked { slot, generation, state, to_initiator } = *self;
        let Some(name) = State::from_word(state.into()) else {
            return writeln!(out, "  not tracked");
        };
        let direction = if to_initiator == 0 { "from the initiator" } else { "to the initiator" };
        writeln!(out, "  flow {slot}.{generation} {name}, {direction}")
    }
}

/// One worker's instance.
pub struct FlowTrack {
    pub(crate) shard: Shard,
    pub(crate) hold: Hold,
    pub(crate) thread: ThreadIndex,
    pub(crate) workers: usize,
    pub(crate) rows: Vec<SimpleRow>,
    pub(crate) reasons: ReasonBase<Reason>,
    /// Packets of other workers' flows, by worker.
    pub(crate) leaving: Vec<Vec<BufferIndex>>,
    pub(crate) interfaces: Arc<Published<InterfaceTable>>,
    /// The `interface-output` arc.
    pub(crate) output: ArcId,
    pub(crate) next: Nexts<Next>,
    /// Of flows that have a mark, for their packets.
    pub(crate) mark: Field<u32>,
    /// By the number of a packet in its vector.
    pub(crate) ahead: Box<[Ahead; RING]>,
}

impl FlowTrack {
    /// A verdict on a flow; returns the packets that waited for it, in order, or `None` if the flow has ended.
    pub fn decide(
        &mut self,
        now: Tsc,
        flow: FlowId,
        verdict: Verdict,
        mark: Option<u32>,
    ) -> Option<Vec<BufferIndex>> {
        let mut released = Vec::new();
        let live = self.shard.decide(now, flow, verdict, mark);
        if live {
            self.hold.take_flow(&mut self.shard, flow.slot, |packets| released.extend_from_slice(packets));
        }
        live.then_some(released)
    }

    /// Ends these flows, soon; `lease` is held until then.
    pub fn clear(&mut self, flows: &[FlowId], lease: Option<Lease>) {
        self.shard.clear_later(flows, lease);
    }

    /// An interface goes: its flows part with it, soon; `lease` is held until then.
    pub fn interface_goes(&mut self, interface: InterfaceIndex, lease: Lease) {
        self.shard.interface_goes(interface, lease);
    }

    /// Ends all flows that there were when that was `asked` for, soon.
    pub fn clear_all(&mut self, asked: Tsc) {
        self.shard.clear_all(asked);
    }

    fn age(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCHES {
            let more = self.shard.age(cx.now);
            self.settle(cx);
            if !more {
                break;
            }
        }
        self.publish(cx.now);
    }

    /// Packets of flows on which time has decided go on, those of flows that have ended do not.
    fn settle(&mut self, cx: &mut Context<'_>) {
        while let Some(slot) = self.shard.overdue.pop() {
            let node = cx.node();
            self.hold.take_flow(&mut self.shard, slot, |packets| {
                for &index in packets {
                    let node = cx.arcs().resume(node, &mut cx.buffers.packet(index));
                    cx.send(node, &[index]);
                }
            });
        }
        while let Some(hand) = self.shard.orphans.pop() {
            let reasons = self.reasons;
            self.hold.take(hand, |packets| {
                for &index in packets {
                    reasons.drop(&mut cx.buffers.packet(index), Reason::Cleared);
                }
                cx.send(NodeId::DROP, packets);
            });
        }
    }

    fn publish(&mut self, now: Tsc) {
        self.shard.counts.set(Count::Parked, self.hold.parked() as u64);
        self.shard.publish(now);
        self.shard.counts.publish(&self.rows);
    }

    /// Hands packets to the workers that own their flows.
    fn hand_off(&mut self, cx: &mut Context<'_>) {
        for (worker, packets) in self.leaving.iter_mut().enumerate() {
            if packets.is_empty() {
                continue;
            }
            let sent = cx.hand_off(ThreadIndex(worker as u16 + 1), packets);
            self.shard.counts.add(Count::HandedOff, sent as u64);
            for &index in &packets[sent..] {
                self.reasons.drop(&mut cx.buffers.packet(index), Reason::HandoffFull);
            }
            cx.send(NodeId::DROP, &packets[sent..]);
            packets.clear();
        }
    }
}

impl Node for FlowTrack {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let packets = frame.len();
        if packets == 0 {
            return self.age(cx);
        }
        let mut some_taken = false;
        let mine = (usize::from(self.thread.0) - 1, self.workers);
        // Blocks that a stage is behind the one before, at most one block, and never before the first packet or after the last.
        let stage = |at: usize, behind: usize| {
            let start = (at + BLOCK).saturating_sub(behind * BLOCK);
            start.saturating_sub(BLOCK).min(packets)..start.min(packets)
        };
        for at in (0..packets + 2 * BLOCK).step_by(BLOCK) {
            look_ahead(&self.shard, &mut self.ahead, mine, cx, frame, stage(at, 0));
            find(&self.shard, &mut self.ahead, stage(at, 1));
            some_taken |= self.track(cx, frame, stage(at, 2));
        }
        cx.hand_on_decided(frame, some_taken);
        if self.workers > 1 {
            self.hand_off(cx);
        }
        // Flows that a packet has replaced.
        self.settle(cx);
        self.publish(cx.now);
    }

    fn held(&self) -> usize {
        self.hold.parked()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        self.hold.close(buffers);
    }
}

impl FlowTrack {
    /// Third stage: by loops without calls, which end at what is unusual. Says whether some packets are not to be handed on.
    #[inline(always)]
    fn track(&mut self, cx: &mut Context<'_>, frame: &Frame, packets: Range<usize>) -> bool {
        let (mut at, end) = (packets.start, packets.end);
        let mut some_taken = false;
        while at < end {
            // Traced packets keep more than a loop does.
            if !frame.traced() {
                let begin = at;
                at = usual::<false>(&self.shard, &self.ahead, cx, frame, at..end);
                if at < end && self.ahead[at % RING].relation == Relation::Part6 {
                    at = usual::<true>(&self.shard, &self.ahead, cx, frame, at..end);
                }
                self.shard.counts.add(Count::Hits, (at - begin) as u64);
            }
            if at < end {
                some_taken |= self.unusual(cx, frame, at);
                at += 1;
            }
        }
        some_taken
    }

    /// Any packet. Says whether it is not to be handed on.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, cx: &mut Context<'_>, frame: &Frame, number: usize) -> bool {
        let (arcs, now, reasons, mark) = (cx.arcs(), cx.now, self.reasons, self.mark);
        let redirect = Redirect {
            arcs,
            output: self.output,
            interfaces: self.interfaces.read(cx.guard()),
            next: self.next,
            reasons,
        };
        let trace = cx.trace(frame);
        let FlowTrack { shard, hold, ahead, leaving, workers, .. } = self;
        let known = &ahead[number % RING];
        cx.decide(frame, number, |packet| {
            let (index, direction) = (packet.index(), known.direction);
            if packet.meta.flags & ADMIT != 0 {
                // A packet that its owner has not seen before meets rules on an interface whose flows nobody tracks.
                let outcome = admit(shard, now, packet, known);
                packet.meta.flags &= !ADMIT;
                return Some(match outcome {
                    Outcome::Refused(why) => reasons.drop(packet, reason(why)),
                    _ => arcs.next(packet),
                });
            }
            if known.relation == Relation::Elsewhere {
                leaving[owner(known.key.addresses, *workers)].push(index);
                return None;
            }
            let outcome = shard.track(now, known, arrival(packet));
            trace.detail(packet, || tracked(shard, outcome, direction));
            Some(match outcome {
                Outcome::Flow { slot, word } => {
                    shard.stamp(slot, word, direction, packet, mark);
                    redirect.one(packet, Verdict::from_word(word), known.key)
                }
                Outcome::Untracked => arcs.next(packet),
                Outcome::Refused(why) => reasons.drop(packet, reason(why)),
                Outcome::Wait { slot } => match hold.park(shard, slot, index) {
                    Ok(()) => {
                        arcs.park(packet);
                        return None;
                    }
                    Err(Refusal::Flow) => reasons.drop(packet, Reason::FlowWaits),
                    Err(Refusal::Share) => reasons.drop(packet, Reason::HoldFull),
                },
            })
        })
    }
}

// Each stage is a function of its own, which has the shard and what is known ahead from different sides: so the compiler knows
// that what it writes into the one is not read from the other, and keeps seeds, masks and places of tables in registers.

/// First stage. `worker`: its number, and of how many.
#[inline(never)]
fn look_ahead(
    shard: &Shard,
    ahead: &mut [Ahead; RING],
    (worker, workers): (usize, usize),
    cx: &mut Context<'_>,
    frame: &Frame,
    packets: Range<usize>,
) {
    cx.look_until::<0>(frame, packets, |i, packet| {
        let known = &mut ahead[i % RING];
        let (table, link) = (packet.meta.table() as u16, packet.meta.rx_interface);
        shard.prefetch_index(ip_bytes(packet), table, link, known);
        if workers > 1 && owner(known.key.addresses, workers) != worker {
            known.relation = Relation::Elsewhere;
        }
        true
    });
}

/// Second stage.
#[inline(never)]
fn find(shard: &Shard, ahead: &mut [Ahead; RING], packets: Range<usize>) {
    for i in packets {
        shard.prefetch_flow(&mut ahead[i % RING]);
    }
}

/// Takes packets of known flows that change nothing but what every packet changes; returns the number of the first other one.
#[inline(never)]
fn usual<const IP6: bool>(
    shard: &Shard,
    ahead: &[Ahead; RING],
    cx: &mut Context<'_>,
    frame: &Frame,
    packets: Range<usize>,
) -> usize {
    let (arcs, now) = (cx.arcs(), cx.now);
    cx.each_until(frame, packets, |i, packet| {
        let known = &ahead[i % RING];
        if packet.meta.flags & ADMIT != 0 {
            return None;
        }
        let word = shard.track_usual::<IP6>(now, known, arrival(packet), slots::UNUSUAL)?;
        if word & slots::ADMITTED != 0 {
            packet.meta.flags |= admitted(word, known.direction);
        }
        Some(arcs.next(packet))
    })
}

/// A packet as the shard sees it.
#[inline(always)]
fn arrival<'a>(packet: &'a Packet<'_>) -> Arrival<'a> {
    Arrival {
        data: packet.data(),
        bytes: packet.meta.total_length() as u64,
        interface: packet.meta.rx_interface,
    }
}

/// Where the IP header is: in front, except in packets that leave.
#[inline(always)]
fn ip_bytes<'a>(packet: &'a Packet<'_>) -> &'a [u8] {
    if packet.meta.flags & ADMIT_OUT != 0 {
        std::hint::cold_path();
        return packet.data().get(packet.meta.scratch[0] as usize..).unwrap_or_default();
    }
    packet.data()
}

/// A rule wants the flow of this packet admitted.
#[cold]
fn admit(shard: &mut Shard, now: Tsc, packet: &Packet<'_>, known: &Ahead) -> Outcome {
    let out = packet.meta.flags & ADMIT_OUT != 0;
    let data = ip_bytes(packet);
    let link = packet.data().len() - data.len();
    let bytes = (packet.meta.total_length() - link) as u64;
    shard.admit(now, known, Arrival { data, bytes, interface: packet.meta.rx_interface }, out)
}

/// What another verdict than to go on takes.
struct Redirect<'a> {
    arcs: &'a Arcs,
    output: ArcId,
    interfaces: &'a InterfaceTable,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
}

impl Redirect<'_> {
    #[inline(always)]
    fn one(&self, packet: &mut Packet<'_>, verdict: Verdict, key: Key) -> NodeId {
        match verdict {
            Verdict::Forward => self.arcs.next(packet),
            verdict => self.elsewhere(packet, verdict, key),
        }
    }

    #[inline(never)]
    fn elsewhere(&self, packet: &mut Packet<'_>, verdict: Verdict, key: Key) -> NodeId {
        match verdict {
            Verdict::Forward => self.arcs.next(packet),
            Verdict::Drop => self.reasons.drop(packet, Reason::Verdict),
            Verdict::Table(table) => {
                packet.meta.set_table(table.into());
                self.arcs.next(packet)
            }
            Verdict::NextHop(next_hop) => {
                packet.meta.set_next_hop(next_hop);
                self.next.to(if key.is_ip6() { Next::Rewrite6 } else { Next::Rewrite })
            }
            Verdict::Interface(index) => {
                let index = InterfaceIndex(index);
                let Some(interface) = self.interfaces.get(index).filter(|interface| interface.up) else {
                    return self.reasons.drop(packet, Reason::RedirectDown);
                };
                packet.meta.tx_interface = index;
                restore_link_header(packet);
                self.arcs.start(self.output, index, packet).unwrap_or(interface.tx)
            }
        }
    }
}

#[cold]
#[inline(never)]
fn tracked(shard: &Shard, outcome: Outcome, direction: Direction) -> Tracked {
    match outcome {
        Outcome::Flow { slot, .. } | Outcome::Wait { slot } => {
            let word = shard.entry(slot).state.load(std::sync::atomic::Ordering::Relaxed);
            let to_initiator = u32::from(direction != slots::initiator(word));
            let state = slots::state_of(word) as u32;
            Tracked { slot, generation: shard.id(slot).generation, state, to_initiator }
        }
        Outcome::Untracked | Outcome::Refused(_) => Tracked::new_zeroed(),
    }
}

fn reason(why: Why) -> Reason {
    match why {
        Why::Full => Reason::Full,
        Why::InterfaceLimit => Reason::InterfaceLimit,
        Why::RateLimit => Reason::RateLimit,
        Why::Malformed => Reason::Malformed,
        Why::NotSyn => Reason::NotSyn,
        Why::OutOfWindow => Reason::OutOfWindow,
        Why::NoRequest => Reason::NoRequest,
        Why::NoFlow => Reason::NoFlow,
        Why::LoneFragment => Reason::LoneFragment,
    }
}

/// Room for the packets of one vector to each worker.
pub(crate) fn leaving(workers: usize) -> Vec<Vec<BufferIndex>> {
    (0..workers).map(|_| Vec::with_capacity(FRAME_SIZE)).collect()
}
