// SPDX-License-Identifier: Apache-2.0
//! punt: packets for the host's own stack, as the port received them.
//!
//! What Weft does not speak itself (routing protocols, SSH, DHCP) is the host's business. The frame goes, with the
//! link header that it came with, tags included, to the node of the host's side of its port. Headers were only taken
//! off on the way here, not overwritten, so they are still in the buffer. This node ends nothing, hence no
//! `Role::Punt`: the one that transmits to the host does.
//!
//! A packet says why it comes here by a reason of the node that sends it, one of those that the node's descriptor lists
//! ([`NodeSpec::punts`]). A node that wants packets of a reason says so ([`crate::registries::PUNT_REASONS`]) and gets
//! them, from their network header on, in place of the host. Where there is no host interface either, they are dropped
//! for that reason.

use std::fmt;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::registry::RegistryId;
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{Context, NodeId, ReasonId};

use crate::interface::InterfaceTable;
use crate::registries::PUNT_REASONS;
use crate::setup::{Added, Setup, built_in};

weft_engine::drops! {
    /// Why the host does not get a packet.
    pub enum Reason {
        /// the port has no host interface
        NoHost = "no_host_interface", Info;
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
    }
}

/// Descriptor of punt.
pub static PUNT: NodeSpec = NodeSpec::internal("punt").drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(
        out,
        "  {} {} bytes to the host",
        names.interface(record.meta.rx_interface),
        record.meta.total_length()
    )
}

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let interfaces = setup.interfaces();
    Ok(NodeDef::new(&PUNT, move |w| {
        Box::new(Punt {
            wanted: w.registry(&PUNT_REASONS),
            interfaces: Arc::clone(&interfaces),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct Punt {
    /// Who wants packets in place of the host.
    pub wanted: RegistryId,
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for Punt {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (interfaces, reasons) = (self.interfaces.read(cx.guard()), self.reasons);
        let (counters, wanted) = (cx.counters, cx.handlers(self.wanted));
        cx.each(frame, |packet| {
            let rx = packet.meta.rx_interface;
            let Some(interface) = interfaces.get(rx) else {
                return reasons.drop(packet, Reason::NoInterface);
            };
            let why = packet.meta.reason;
            if let Some(node) = wanted.get(why.0) {
                packet.meta.reason = ReasonId::default();
                return node;
            }
            if interface.host == NodeId::DROP {
                return match why == ReasonId::default() {
                    true => reasons.drop(packet, Reason::NoHost),
                    false => NodeId::DROP,
                };
            }
            packet.meta.reason = ReasonId::default();
            restore_link_header(packet);
            counters.interfaces.punt.add(rx.index(), 1);
            interface.host
        });
    }
}

/// Goes back from the network header to the first byte of the frame, as the port received it.
pub fn restore_link_header(packet: &mut Packet<'_>) {
    let taken_off = packet.meta.data_offset().saturating_sub(packet.meta.link_offset.into());
    let restored = packet.prepend(taken_off);
    debug_assert!(restored, "headers are taken off the buffer that they were received in");
}
