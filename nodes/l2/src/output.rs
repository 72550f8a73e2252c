// SPDX-License-Identifier: Apache-2.0
//! l2-output: switched frames that leave by a port with more to do than to be transmitted: its tags are rewritten, or features
//! of the arc `l2-output` want them. All other frames pass it by.

use std::sync::Arc;

use weft_engine::Context;
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec};
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Node, NodeSpec, Reasons};

use crate::egress::{Next, Reason, format};
use crate::input::Common;

/// Switched frames that leave by an interface, with its tags. Then they pass `interface-output`.
pub const L2_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "l2-output", key: ArcKey::TxInterface, end: ArcEnd::Arc("interface-output") };

/// Descriptor of l2-output.
pub static L2_OUTPUT: NodeSpec =
    NodeSpec::internal("l2-output").next(Next::NAMES).drops(Reason::ALL).trace(format);

/// One worker's instance.
pub(crate) struct L2Output(pub Arc<Common>, pub crate::input::Places);

impl Node for L2Output {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let egress = self.1.egress(&self.0, cx);
        let reasons = egress.reasons;
        cx.each(frame, |packet| {
            let to = packet.meta.tx_interface;
            let Some(interface) = egress.interfaces.get(to) else {
                return reasons.drop(packet, Reason::NoInterface);
            };
            if let Some(rewrite) = egress.view.port(to).and_then(|port| port.rewrite)
                && !rewrite.back(&interface.tags).apply(packet)
            {
                return reasons.drop(packet, Reason::FewTags);
            }
            if !egress.check(packet, to, interface) {
                return reasons.drop(packet, Reason::TooLong);
            }
            let first = egress.features.start(to, packet).or_else(|| egress.output.start(to, packet));
            first.unwrap_or(interface.tx)
        });
    }
}
