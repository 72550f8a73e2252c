// SPDX-License-Identifier: Apache-2.0
//! ip6-min-hop-limit: packets for this host come from senders that are near enough (RFC 5082), as its like for IPv4 has it.

use weft_engine::Context;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};

use super::input::format_header;
use crate::headers::Ipv6Header;
use crate::setup::{Added, Setup, built_in};
use crate::values::{InterfaceValue, ValueReader};

weft_engine::drops! {
    /// Why packets end here.
    pub enum Reason {
        /// hop limit below the interface's minimum: the sender is farther away than is allowed
        TooFar = "hop_limit_below_minimum", Info;
    }
}

/// Descriptor of ip6-min-hop-limit.
pub static IP6_MIN_HOP_LIMIT: NodeSpec = NodeSpec::internal("ip6-min-hop-limit")
    .features(&[FeatureSpec::on("ip6-local").set_by("set interface ip6 min-hop-limit")])
    .drops(Reason::ALL)
    .trace(format_header);

/// The least hop limit of packets for this host that arrive on an interface.
pub static MIN_HOP_LIMIT: InterfaceValue =
    InterfaceValue { name: "min-hop-limit", readers: &[&IP6_MIN_HOP_LIMIT] };

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let minima = setup.value(&MIN_HOP_LIMIT);
    Ok(NodeDef::new(&IP6_MIN_HOP_LIMIT, move |w| {
        Box::new(Ip6MinHopLimit { minima: minima.clone(), reasons: w.reasons() })
    }))
}

/// One worker's instance.
struct Ip6MinHopLimit {
    minima: ValueReader,
    reasons: ReasonBase<Reason>,
}

impl Node for Ip6MinHopLimit {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, minima, reasons) = (cx.arcs(), self.minima.read(cx.guard()), self.reasons);
        cx.each(frame, |packet| {
            let hops = packet.header::<Ipv6Header>().map_or(0, |ip| ip.hop_limit);
            match u32::from(hops) < minima.get(packet.meta.rx_interface) {
                true => reasons.drop(packet, Reason::TooFar),
                false => arcs.next(packet),
            }
        });
    }
}
