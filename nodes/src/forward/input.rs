// SPDX-License-Identifier: Apache-2.0
//! ip4-input and ip6-input: is this a packet that may be forwarded at all?
//!
//! Every malformation has its own reason. A sound packet of the common shape passes one branch; after this node the buffer
//! holds exactly the bytes that the header announces, from the header on, and the header is sound.

use weft_engine::buffer::Packet;
use weft_engine::feature::Place;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Drops, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::registry::Handles;
use weft_engine::{Context, InterfaceIndex, NodeId};
use weft_fib::{Ip4, Ip6};
use weft_stats::SimpleRow;

use super::Forwarded;
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

/// When a packet of a family is sound.
pub(crate) trait Checked: Forwarded {
    /// Why one is not.
    type Unsound: Drops + Send;
    /// Counts by interface what is received.
    const RECEIVED: &'static str;

    /// Whether everything is right with a packet of the common shape, whose padding is taken off then.
    fn is_plain(packet: &mut Packet<'_>) -> bool;
    /// Everything else, one question after the other. Takes padding off; `None`: sound.
    fn check(packet: &mut Packet<'_>) -> Option<Self::Unsound>;
    /// Whether a sound packet goes to a group.
    fn is_to_group(packet: &Packet<'_>) -> bool;
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Checked>(setup: &mut Setup<'_>) -> Added {
    let received = setup.interface_counter(F::RECEIVED, IpInput::<F>::SPEC)?;
    Ok(NodeDef::new(IpInput::<F>::SPEC, move |w| {
        let [lookup] = w.first_edges();
        Box::new(IpInput::<F> {
            arcs: [w.arc(F::UNICAST_ARC), w.arc(F::MULTICAST_ARC)],
            received: received.row(w.thread()),
            lookup,
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
struct IpInput<F: Checked> {
    /// [`Forwarded::UNICAST_ARC`] and [`Forwarded::MULTICAST_ARC`].
    arcs: [ArcId; 2],
    /// By [`Checked::RECEIVED`].
    received: SimpleRow,
    lookup: NodeId,
    reasons: ReasonBase<F::Unsound>,
}

impl<F: Checked> IpInput<F> {
    const HANDLES: &'static [Handles<'static>] = &[ETHER_TYPES.number(F::ETHER_TYPE.0)];
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.input)
        .handles(Self::HANDLES)
        .next(&[F::NODES.lookup])
        .drops(F::Unsound::ALL)
        .trace(F::format);
}

impl<F: Checked> Node for IpInput<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let [arc, multicast] = self.arcs.map(|arc| cx.arcs().arc(arc));
        let (lookup, reasons, received) = (self.lookup, self.reasons, &self.received);
        // Packets of one interface come in runs: one count and one look at its features for each run.
        let (mut interface, mut run) = (InterfaceIndex::NONE, 0);
        let mut features = Place::none(lookup);
        cx.each(frame, |packet| {
            let rx = packet.meta.rx_interface;
            if rx != interface {
                std::hint::cold_path();
                received.add(interface.index(), run);
                (interface, run) = (rx, 0);
                features = arc.place(rx).unwrap_or(Place::none(lookup));
            }
            run += 1;
            if F::is_plain(packet) {
                return features.enter(packet);
            }
            if let Some(reason) = F::check(&mut packet.aside()) {
                return reasons.drop(packet, reason);
            }
            if F::is_to_group(packet) {
                return multicast.place(rx).unwrap_or(Place::none(lookup)).enter(packet);
            }
            features.enter(packet)
        });
        received.add(interface.index(), run);
    }
}

/// Ethernet pads to 60 bytes. A chained packet is longer than that and is never padded.
#[inline(always)]
pub(crate) fn take_padding_off(packet: &mut Packet<'_>, total: usize) {
    if packet.meta.next_segment().is_none() {
        packet.truncate(total);
    }
}
