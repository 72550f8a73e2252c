// SPDX-License-Identifier: Apache-2.0
//! l2-flood: a frame goes to every port of its domain but those that it must not go to. The last port gets the frame itself, the
//! others get copies.
//!
//! The routed port gets frames to groups and to all, and no others: its own address is always known, so what is not known
//! is not for it.

use std::sync::Arc;

use weft_engine::buffer::BufferCache;
use weft_engine::context::MAX_COPIES;
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Node, NodeSpec, Reasons};
use weft_engine::{BufferIndex, Context, InterfaceIndex, NodeId};

use crate::config::Role;
use crate::egress::{Egress, Next, Reason, format};
use crate::input::{Common, Places};
use crate::view::{Way, may_meet};

/// Descriptor of l2-flood.
pub static L2_FLOOD: NodeSpec =
    NodeSpec::internal("l2-flood").next(Next::NAMES).drops(Reason::ALL).trace(format);

/// One worker's instance.
pub(crate) struct L2Flood {
    common: Arc<Common>,
    places: Places,
    /// The ports that a frame goes to; then its copies; then all frames of a vector with where they go, and their numbers. Kept for
    /// their memory.
    ports: Vec<InterfaceIndex>,
    copies: Vec<BufferIndex>,
    sent: Vec<(NodeId, u32, BufferIndex)>,
    run: Vec<BufferIndex>,
}

impl L2Flood {
    pub fn new(common: Arc<Common>, places: Places) -> L2Flood {
        let (ports, copies, sent, run) = Default::default();
        L2Flood { common, places, ports, copies, sent, run }
    }
}

impl Node for L2Flood {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let L2Flood { common, places, ports, copies, sent, run } = self;
        let egress = places.egress(common, cx);
        let mut send = |next, index| sent.push((next, sent.len() as u32, index));
        for &index in frame.packets() {
            if let Err(reason) = ports_for(&egress, cx.buffers, index, ports) {
                send(egress.reasons.drop(&mut cx.buffers.packet(index), reason), index);
                continue;
            }
            let Some((last, others)) = ports.split_last() else { continue };
            // One call makes as many copies as a vector holds.
            for others in others.chunks(MAX_COPIES) {
                cx.replicate(index, others.len(), copies);
                for (copy, port) in copies.drain(..).zip(others) {
                    send(egress.leave(&mut cx.buffers.packet(copy), *port), copy);
                }
            }
            send(egress.leave(&mut cx.buffers.packet(index), *last), index);
        }
        // By number after that, so frames to one port stay in order; and no memory is taken.
        sent.sort_unstable_by_key(|(next, number, _)| (*next, *number));
        for of_node in sent.chunk_by(|a, b| a.0 == b.0) {
            run.extend(of_node.iter().map(|(.., index)| *index));
            cx.send(of_node[0].0, run);
            run.clear();
        }
        sent.clear();
    }
}

/// Finds the ports that a frame goes to, at least one; or why it goes nowhere.
fn ports_for(
    egress: &Egress<'_>,
    buffers: &mut BufferCache,
    index: BufferIndex,
    ports: &mut Vec<InterfaceIndex>,
) -> Result<(), Reason> {
    ports.clear();
    let packet = buffers.packet(index);
    let rx = packet.meta.rx_interface;
    let is_group = packet.data().first().is_some_and(|first| first & 1 != 0);
    let from = egress.view.port(rx).ok_or(Reason::NotSwitched)?;
    let Way::Domain(domain) = from.way else { return Err(Reason::NotSwitched) };
    let domain = egress.view.domain(domain).ok_or(Reason::NotSwitched)?;
    let may_go = |interface| egress.interfaces.get(interface).is_some_and(|interface| interface.up);
    let members = domain.members.iter().filter(|member| {
        member.interface != rx
            && may_meet(member.group, from.group)
            && (is_group || member.role != Role::Bvi)
            && may_go(member.interface)
    });
    ports.extend(members.map(|member| member.interface));
    if ports.is_empty() { Err(Reason::NoOtherPort) } else { Ok(()) }
}
