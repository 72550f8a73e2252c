// SPDX-License-Identifier: Apache-2.0
//! ip4-min-ttl: packets for this host come from senders that are near enough (RFC 5082, "GTSM").
//!
//! Each router on the way takes 1 from the TTL, so nobody who is farther away than a neighbour can send a packet that
//! arrives with a TTL of 255. An interface with a minimum drops others before they reach BGP or whatever else the host
//! runs. It costs interfaces without one nothing.

use weft_engine::Context;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};

use super::format_header;
use crate::headers::Ipv4Header;
use crate::setup::{Added, Setup, built_in};
use crate::values::{InterfaceValue, ValueReader};

weft_engine::drops! {
    /// Why packets end here.
    pub enum Reason {
        /// TTL below the interface's minimum: the sender is farther away than is allowed
        TooFar = "ttl_below_minimum", Info;
    }
}

/// Descriptor of ip4-min-ttl.
pub static IP4_MIN_TTL: NodeSpec = NodeSpec::internal("ip4-min-ttl")
    .features(&[FeatureSpec::on("ip4-local").set_by("set interface ip min-ttl")])
    .drops(Reason::ALL)
    .trace(format_header);

/// The least TTL of packets for this host that arrive on an interface.
pub static MIN_TTL: InterfaceValue = InterfaceValue { name: "min-ttl", readers: &[&IP4_MIN_TTL] };

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let minima = setup.value(&MIN_TTL);
    Ok(NodeDef::new(&IP4_MIN_TTL, move |w| {
        Box::new(Ip4MinTtl { minima: minima.clone(), reasons: w.reasons() })
    }))
}

/// One worker's instance.
struct Ip4MinTtl {
    minima: ValueReader,
    reasons: ReasonBase<Reason>,
}

impl Node for Ip4MinTtl {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, minima, reasons) = (cx.arcs(), self.minima.read(cx.guard()), self.reasons);
        cx.each(frame, |packet| {
            let ttl = packet.header::<Ipv4Header>().map_or(0, |ip| ip.ttl);
            match u32::from(ttl) < minima.get(packet.meta.rx_interface) {
                true => reasons.drop(packet, Reason::TooFar),
                false => arcs.next(packet),
            }
        });
    }
}
