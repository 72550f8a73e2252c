// SPDX-License-Identifier: Apache-2.0
//! ethernet-classify: what an interface receives for its host meets the rules of the interface too.
//!
//! What is not routed here goes to the host, which may forward it: IP of a family that is not enabled on its interface, VLANs
//! that the host alone knows, other protocols. A filter that did not see these would be open to them. So this is a feature of the
//! arc that frames pass which no node handles, and it asks the rules of the interface's input:
//!
//! | frame | rules that it can meet |
//! |---|---|
//! | IPv6, with or without tags | those of IPv6, and those that name no family |
//! | IPv4, with or without tags | as elsewhere; no flow is admitted, as none is looked up here |
//! | a part of the link itself: ARP, LLC (STP, IS-IS), and what goes to a link-local group of 802.1 (LLDP, LACP, 802.1X) | none |
//! | all others, such as MPLS and PPPoE | those that ask for nothing but an interface |
//!
//! A packet at a time, in the order of the rules: the host's speed bounds that of these packets.
//!
//! Frames that are switched meet the rules of the port that they arrive on in the same way (l2-classify), on the arc `l2-input`, if
//! somebody switches frames.

use weft_engine::Context;
use weft_engine::buffer::Packet;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Node, NodeSpec, Reasons};
use weft_nodes::headers::{EtherType, EthernetHeader, MacAddr, VlanTag};
use weft_nodes::punt::restore_link_header;
use zerocopy::FromBytes;

use crate::attachment::Direction;
use crate::classifier::{Batch, Classifier, Header, Ip4, Ip6};
use crate::node::{Act, Acted, Classify, Event, NO_RULE, Next, PASS, Reason};

/// Descriptor of ethernet-classify.
pub static ETHERNET_CLASSIFY: NodeSpec = NodeSpec::internal("ethernet-classify")
    .features(&[FeatureSpec::on("ethernet-punt").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Descriptor of l2-classify: the same for frames that are switched, before they are.
pub static L2_CLASSIFY: NodeSpec = NodeSpec::internal("l2-classify")
    .features(&[FeatureSpec::on("l2-input").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Descriptor of l2-classify-output: rules for switched IPv6 that leaves. (Those for IPv4 meet it on `interface-output`, with
/// what is routed.)
pub static L2_CLASSIFY_OUTPUT: NodeSpec = NodeSpec::internal("l2-classify-output")
    .features(&[FeatureSpec::on("l2-output").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// One worker's instance: has what ip4-classify has, and meets rules in another way. What is switched (`SWITCHED`) goes on with its
/// link header.
pub(crate) struct EthernetClassify<const SWITCHED: bool> {
    pub classify: Classify<Ip4>,
    /// Memory for lookups of IPv6.
    pub batch6: Box<Batch<Ip6>>,
}

impl<const SWITCHED: bool> Node for EthernetClassify<SWITCHED> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let Classify { attachments, interfaces, rules, output, batch, next, reasons, events, mark, .. } =
            &mut self.classify;
        let guard = cx.guard();
        let act = Act {
            arcs: cx.arcs(),
            attached: attachments.read(guard).side(Direction::Input),
            tracker: None,
            rules,
            next: *next,
            reasons: *reasons,
            interfaces: interfaces.read(guard),
            output: *output,
            mark: *mark,
            now: cx.now,
        };
        let trace = cx.trace(frame);
        let (events, counters) = (*events, cx.counters);
        cx.each(frame, |packet| {
            let Some(attached) = act.attached.get(packet.meta.rx_interface) else {
                return act.arcs.next(packet);
            };
            let batches = (&mut **batch, &mut *self.batch6);
            let Some((next, slot, note)) = decide(&act, &attached.classifier, batches, packet) else {
                return act.arcs.next(packet);
            };
            events.count(counters, if note == NO_RULE { Event::Miss } else { Event::Hit }, 1);
            trace.detail(packet, || act.classified::<false>(packet, slot, note));
            if SWITCHED && (note == NO_RULE || note == PASS) {
                restore_link_header(packet);
            }
            next
        });
    }
}

/// What becomes of a packet; `None`: it meets no rules.
fn decide(
    act: &Act<'_>,
    rules: &Classifier,
    (batch, batch6): (&mut Batch<Ip4>, &mut Batch<Ip6>),
    packet: &mut Packet<'_>,
) -> Option<Acted> {
    restore_link_header(packet);
    let (carried, link) = carried(packet.data())?;
    // From the network header on, which is what rules look at, count and change; punt finds the frame again.
    packet.advance(link);
    let acted = match carried {
        EtherType::IPV4 => decide_ip(act, rules, batch, packet),
        EtherType::IPV6 => decide_ip(act, rules, batch6, packet),
        _ => None,
    };
    Some(acted.unwrap_or_else(|| {
        let interface = packet.meta.rx_interface;
        let outcome = rules.find_other(interface, None);
        act.one::<false>(packet, outcome, |set, after| set.find_other(interface, Some(after)))
    }))
}

/// `None`: it is no packet of this family.
fn decide_ip<H: Header>(
    act: &Act<'_>,
    rules: &Classifier,
    batch: &mut Batch<H>,
    packet: &mut Packet<'_>,
) -> Option<Acted> {
    let outcome = rules.find_one(batch, packet.data(), packet.meta.rx_interface)?;
    let key = &batch.keys[0];
    Some(act.one::<false>(packet, outcome, |set, after| set.next::<H>(key, after)))
}

/// What a frame carries, and the bytes before it; `None`: it is a part of the link itself, or cut short, of which the host
/// makes nothing.
fn carried(frame: &[u8]) -> Option<(EtherType, usize)> {
    let (ethernet, mut rest) = EthernetHeader::ref_from_prefix(frame).ok()?;
    let (mut ether_type, mut link) = (ethernet.ether_type(), EthernetHeader::LENGTH);
    for _ in 0..2 {
        if !ether_type.is_vlan() {
            break;
        }
        let (tag, after) = VlanTag::ref_from_prefix(rest).ok()?;
        (ether_type, rest) = (tag.ether_type(), after);
        link += VlanTag::LENGTH;
    }
    let of_link = ether_type == EtherType::ARP
        || ether_type.0 < FIRST_TYPE
        || ethernet.destination.0[..5] == LINK_LOCAL_GROUPS.0[..5] && ethernet.destination.0[5] < 16;
    (!of_link).then_some((ether_type, link))
}

/// What is below is the length of an LLC frame (IEEE 802.3 clause 3.2.6).
const FIRST_TYPE: u16 = 0x600;

/// The first of 16 groups that no bridge forwards (IEEE 802.1Q table 8-1).
const LINK_LOCAL_GROUPS: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0, 0, 0]);
