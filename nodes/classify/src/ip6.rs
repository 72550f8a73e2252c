// SPDX-License-Identifier: Apache-2.0
//! ip6-classify and ip6-classify-output: IPv6 packets that are routed here meet the rules of their interface.
//!
//! The one is a feature of `ip6-unicast`, the other of `ip6-output`, where packets have their new link header. They are of the
//! same rule sets as IPv4's; an IPv6 packet meets the rules of IPv6 and those that name no family. As in ethernet-classify, which
//! asks about what is for the host alone, a packet meets them one after the other: addresses of 128 bits fit neither the
//! hash table nor the forest of a [`Classifier`](crate::Classifier). Flows are admitted as IPv4's are.

use weft_engine::Context;
use weft_engine::buffer::Packet;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Node, NodeSpec, Reasons};

use crate::attachment::Direction;
use crate::classifier::OtherFrame;
use crate::key::Key;
use crate::node::{Act, Acted, Classify, Next, Reason, interface, link_length};

/// Descriptor of ip6-classify.
pub static IP6_CLASSIFY: NodeSpec = NodeSpec::internal("ip6-classify")
    .features(&[FeatureSpec::on("ip6-unicast").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL);

/// Descriptor of ip6-classify-output.
pub static IP6_CLASSIFY_OUTPUT: NodeSpec = NodeSpec::internal("ip6-classify-output")
    .features(&[FeatureSpec::on("ip6-output").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL);

/// One worker's instance: has what ip4-classify has, and meets rules in another way.
pub(crate) struct Ip6Classify(pub Classify);

impl Node for Ip6Classify {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        match self.0.direction {
            Direction::Input => self.run::<false>(cx, frame),
            Direction::Output => self.run::<true>(cx, frame),
        }
    }
}

impl Ip6Classify {
    fn run<const OUTPUT: bool>(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let Classify { direction, attachments, interfaces, rules, output, next, reasons, mark, .. } = &self.0;
        let guard = cx.guard();
        let attachments = attachments.read(guard);
        let act = Act {
            arcs: cx.arcs(),
            attached: attachments.side(*direction),
            tracker: attachments.tracker,
            rules,
            next: *next,
            reasons: *reasons,
            interfaces: interfaces.read(guard),
            output: *output,
            mark: *mark,
            now: cx.now,
        };
        let trace = cx.trace(frame);
        cx.each(frame, |packet| match decide::<OUTPUT>(&act, packet) {
            Some((next, slot, note)) => {
                trace.detail(packet, || act.classified::<OUTPUT>(packet, slot, note));
                next
            }
            None => act.arcs.next(packet),
        });
    }
}

/// What becomes of a packet; `None`: it meets no rules.
fn decide<const OUTPUT: bool>(act: &Act<'_>, packet: &mut Packet<'_>) -> Option<Acted> {
    let attached = act.attached.get(interface::<OUTPUT>(packet.meta))?;
    if packet.meta.flags & attached.exempt != 0 {
        return None;
    }
    let mut key = Key::default();
    let bytes = packet.data().get(link_length::<OUTPUT>(packet)?..)?;
    let ip6 = key.fill_ip6(bytes, packet.meta.rx_interface);
    let frame = OtherFrame { key, ip6 };
    let outcome = attached.classifier.find_other(&frame, None);
    Some(act.one::<OUTPUT>(packet, outcome, |set, after| set.find_other(&frame, Some(after))))
}
