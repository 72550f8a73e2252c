// SPDX-License-Identifier: Apache-2.0
//! ip4-classify and ip4-classify-output, ip6-classify and ip6-classify-output: packets meet the rules of their interface.
//!
//! The first is a feature of `ip4-unicast`, for packets that came in by an interface; the second of `interface-output`, for
//! those about to leave by it, which begin with their link header there; those of IPv6 are features of `ip6-unicast` and `ip6-output`.
//! All look the packets of a vector up first and act then: a lookup wants many packets at once, and an action wants the packet alone.
//!
//! A packet without rule goes on. Rules that let the next one decide are rare, so their packets are looked up again one
//! by one.

use std::fmt;
use std::hint::select_unpredictable;
use std::sync::Arc;

use weft_engine::buffer::context::Field;
use weft_engine::buffer::{BufferCache, Metadata, Packet};
use weft_engine::clock::Tsc;
use weft_engine::feature::{Arcs, FeatureSpec};
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::prefetch;
use weft_engine::publish::Published;
use weft_engine::trace::{Detail, Names};
use weft_engine::{ArcId, BufferIndex, Context, InterfaceIndex, NodeId};
use weft_flow::admission::{ADMIT_IN, ADMIT_OUT};
use weft_nodes::context::IpContext;
use weft_nodes::headers::{EtherType, Ipv4Header, Ipv6Header, carried, checksum};
use weft_nodes::interface::InterfaceTable;
use weft_nodes::punt::restore_link_header;
use weft_stats::CombinedRow;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::action::{Kind, Outcome, Slot};
use crate::attachment::{Attachments, Direction, Side};
use crate::classifier::{Batch, Classifier, Header};
use crate::forest::BATCH;
use crate::group::Rank;
use crate::rule::{Dscp, Redirect, Verdict};

weft_engine::edges! {
    /// Where packets go that a rule sends another way.
    pub enum Next { Punt => "punt", Rewrite => "ip4-rewrite" }
}

weft_engine::drops! {
    /// Why a rule ends a packet.
    pub enum Reason {
        /// a classifier rule says drop
        Denied = "denied", Info;
        /// beyond the rate that a classifier rule lets pass
        Policed = "policed", Info;
        /// interface that a classifier rule redirects to is down or deleted
        RedirectDown = "redirect_down", Error;
    }
}

weft_engine::events! {
    /// Of the packets that have met rules, by whether one has matched.
    pub enum Event {
        /// packets that a classifier rule has matched
        Hit = "hits", Info;
        /// packets that no classifier rule has matched
        Miss = "misses", Info;
    }
}

/// Descriptor of ip4-classify.
pub static IP4_CLASSIFY: NodeSpec = NodeSpec::internal("ip4-classify")
    .features(&[FeatureSpec::on("ip4-unicast").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Descriptor of ip4-classify-output.
pub static IP4_CLASSIFY_OUTPUT: NodeSpec = NodeSpec::internal("ip4-classify-output")
    .features(&[FeatureSpec::on("interface-output").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Descriptor of ip6-classify.
pub static IP6_CLASSIFY: NodeSpec = NodeSpec::internal("ip6-classify")
    .features(&[FeatureSpec::on("ip6-unicast").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Descriptor of ip6-classify-output.
pub static IP6_CLASSIFY_OUTPUT: NodeSpec = NodeSpec::internal("ip6-classify-output")
    .features(&[FeatureSpec::on("ip6-output").set_by("classify attach")])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

/// Packets ahead of which the counter of a rule is fetched.
const AHEAD: usize = 8;

/// What a trace says became of a packet, by [`Acted`].
const NOTES: [&str; 6] = ["no rule matches", "pass", "drop", "punt", "redirect", "drop (beyond the rate)"];
pub(crate) const NO_RULE: u32 = 0;
/// In the place of a set's number: the packet meets none.
const NO_SET: u32 = u32::MAX;
pub(crate) const PASS: u32 = 1;
const DROP: u32 = 2;
const PUNT: u32 = 3;
const REDIRECT: u32 = 4;
const POLICED: u32 = 5;

/// What a trace keeps of a packet that has met rules.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Classified {
    set: u32,
    rule: u32,
    note: u32,
    mark: u32,
}

impl Detail for Classified {
    fn format(&self, _: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
        let Classified { set, rule, note, mark } = *self;
        let text = NOTES.get(note as usize).unwrap_or(&"");
        match note {
            _ if set == NO_SET => write!(out, "  no rule set is attached")?,
            NO_RULE => write!(out, "  set {set}: {text}")?,
            _ => write!(out, "  set {set} rule {rule}: {text}")?,
        }
        match mark {
            0 => writeln!(out),
            mark => writeln!(out, ", mark {mark}"),
        }
    }
}

/// One worker's instance, for packets of one family.
pub(crate) struct Classify<H: Header> {
    /// Which packets it sees.
    pub direction: Direction,
    /// Rule sets by interface.
    pub attachments: Arc<Published<Attachments>>,
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Packets and bytes by slot.
    pub rules: CombinedRow,
    /// The `interface-output` arc.
    pub output: ArcId,
    /// Memory for lookups.
    pub batch: Box<Batch<H>>,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
    /// Events.
    pub events: ReasonBase<Event>,
    /// What a rule has marked a packet with.
    pub mark: Field<u32>,
}

impl<H: Header> Node for Classify<H> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        match self.direction {
            Direction::Input => self.run::<false>(cx, frame),
            Direction::Output => self.run::<true>(cx, frame),
        }
    }
}

impl<H: Header> Classify<H> {
    #[inline(always)]
    fn run<const OUTPUT: bool>(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let guard = cx.guard();
        let attachments = self.attachments.read(guard);
        let attached = attachments.side(self.direction);
        let batch = &mut *self.batch;
        let met = look_up::<OUTPUT, H>(cx.buffers, frame.packets(), attached, batch);
        if met == 0 && !frame.traced() {
            return pass_on(cx, frame);
        }
        let act = Act {
            arcs: cx.arcs(),
            attached,
            tracker: attachments.tracker,
            rules: &self.rules,
            next: self.next,
            reasons: self.reasons,
            interfaces: self.interfaces.read(guard),
            output: self.output,
            mark: self.mark,
            now: cx.now,
        };
        let trace = cx.trace(frame);
        let (mut place, mut hits) = (0, 0);
        cx.each(frame, |packet| {
            let (outcome, key) = (batch.outcomes[place % BATCH], &batch.keys[place % BATCH]);
            // Of a special this is another rule's counter, which does no harm.
            let ahead = batch.outcomes[(place + AHEAD) % BATCH].slot();
            prefetch::read(self.rules.address(ahead.index()));
            place += 1;
            let (next, slot, note) = act.one::<OUTPUT>(packet, outcome, |set, rank| set.next::<H>(key, rank));
            hits += u64::from(note != NO_RULE);
            trace.detail(packet, || act.classified::<OUTPUT>(packet, slot, note));
            next
        });
        self.events.count(cx.counters, Event::Hit, hits);
        self.events.count(cx.counters, Event::Miss, met as u64 - hits);
    }
}

/// No packet meets rules: behind reflexive rules, that is most vectors.
#[inline(never)]
fn pass_on(cx: &mut Context<'_>, frame: &Frame) {
    let arcs = cx.arcs();
    cx.each(frame, |packet| arcs.next(packet));
}

/// Finds the rules of all packets: those of one rule set at once, and most vectors are of one. Says how many packets meet
/// rules.
#[inline(always)]
fn look_up<const OUTPUT: bool, H: Header>(
    buffers: &mut BufferCache,
    packets: &[BufferIndex],
    attached: &Side,
    batch: &mut Batch<H>,
) -> usize {
    let (mut mine, mut others) = (Places::new(), Places::new());
    let mut first: Option<&Classifier> = None;
    batch.outcomes[..packets.len()].fill(Outcome::NONE);
    let mut start = 0;
    while start < packets.len() {
        let interface = interface::<OUTPUT>(buffers.packet(packets[start]).meta);
        let Some(its) = attached.get(interface) else {
            start += 1;
            continue;
        };
        let set: &Classifier = &its.classifier;
        let same = std::ptr::eq(*first.get_or_insert(set), set);
        let run = Run { packets, start, interface, exempt: its.exempt };
        let places = if same { &mut mine } else { &mut others };
        start = match H::table(set) {
            Some(sessions) => run.take::<OUTPUT, H>(buffers, places, |place, ip, rx| {
                batch.take(sessions, place, H::session(ip, rx)?);
                Some(())
            }),
            None => run.take::<OUTPUT, H>(buffers, places, |place, ip, rx| {
                H::fill(&mut batch.keys[place % BATCH], ip, rx)
            }),
        };
    }
    let met = mine.count + others.count;
    if met == 0 {
        return 0;
    }
    while let Some(set) = first.take() {
        set.lookup(batch, mine.as_slice(), |place, key| {
            let packet = buffers.packet(packets[place]);
            // A packet that has been taken in is of the family.
            let _ = header::<OUTPUT, H>(&packet).and_then(|ip| H::fill(key, ip, packet.meta.rx_interface));
        });
        mine.count = 0;
        for &place in std::mem::replace(&mut others, Places::new()).as_slice() {
            let index = packets[usize::from(place)];
            let Some(its) = attached.get(interface::<OUTPUT>(buffers.packet(index).meta)) else {
                continue;
            };
            let set: &Classifier = &its.classifier;
            let same = std::ptr::eq(*first.get_or_insert(set), set);
            if same { &mut mine } else { &mut others }.push(place);
        }
    }
    met
}

/// Places in a vector.
struct Places {
    places: [u8; BATCH],
    count: usize,
}

impl Places {
    fn new() -> Places {
        Places { places: [0; BATCH], count: 0 }
    }

    #[inline(always)]
    fn push(&mut self, place: u8) {
        self.places[self.count % BATCH] = place;
        self.count += 1;
    }

    fn as_slice(&self) -> &[u8] {
        &self.places[..self.count]
    }
}

/// Packets of one interface in a row: what is the same for all of them is looked up once.
struct Run<'a> {
    packets: &'a [BufferIndex],
    start: usize,
    interface: InterfaceIndex,
    exempt: u32,
}

impl Run<'_> {
    /// Hands each of the run to `take`, notes the places of those for which it returns something, and says where the run ends.
    #[inline(always)]
    fn take<const OUTPUT: bool, H: Header>(
        self,
        buffers: &mut BufferCache,
        places: &mut Places,
        mut take: impl FnMut(usize, &[u8], InterfaceIndex) -> Option<()>,
    ) -> usize {
        // Locals, which stay in registers.
        let (mut count, mut place) = (places.count, self.start);
        for &index in &self.packets[self.start..] {
            let packet = buffers.packet(index);
            if interface::<OUTPUT>(packet.meta) != self.interface {
                break;
            }
            if packet.meta.flags & self.exempt == 0
                && let Some(ip) = header::<OUTPUT, H>(&packet)
                && take(place, ip, packet.meta.rx_interface).is_some()
            {
                places.places[count % BATCH] = place as u8;
                count += 1;
            }
            place += 1;
        }
        places.count = count;
        place
    }
}

/// The interface whose rules a packet meets.
#[inline(always)]
fn interface<const OUTPUT: bool>(meta: &Metadata) -> InterfaceIndex {
    if OUTPUT { meta.tx_interface } else { meta.rx_interface }
}

/// Bytes of link header in front of an IP packet; `None`: it is none.
#[inline(always)]
fn link_length<const OUTPUT: bool>(packet: &Packet<'_>) -> Option<usize> {
    if !OUTPUT {
        return Some(0);
    }
    let (ether_type, length) = carried(packet.data())?;
    matches!(ether_type, EtherType::IPV4 | EtherType::IPV6).then_some(length)
}

/// A packet from its IP header on; `None`: it is of another family.
#[inline(always)]
fn header<'a, const OUTPUT: bool, H: Header>(packet: &'a Packet<'_>) -> Option<&'a [u8]> {
    let link = if OUTPUT { H::offset(packet.data())? } else { 0 };
    packet.data().get(link..)
}

/// What acting on a packet takes.
pub(crate) struct Act<'a> {
    pub arcs: &'a Arcs,
    pub attached: &'a Side,
    pub tracker: Option<NodeId>,
    pub rules: &'a CombinedRow,
    pub next: Nexts<Next>,
    pub reasons: ReasonBase<Reason>,
    pub interfaces: &'a InterfaceTable,
    pub output: ArcId,
    pub mark: Field<u32>,
    pub now: Tsc,
}

/// What became of a packet: where it goes, and for a trace the rule that decided and one of [`NOTES`].
pub(crate) type Acted = (NodeId, Slot, u32);

impl Act<'_> {
    #[inline(always)]
    pub(crate) fn one<const OUTPUT: bool>(
        &self,
        packet: &mut Packet<'_>,
        outcome: Outcome,
        next: impl Fn(&Classifier, Rank) -> Outcome,
    ) -> Acted {
        match outcome.kind() {
            Kind::Special => self.special::<OUTPUT>(packet, outcome, next),
            _ => self.plain::<OUTPUT>(packet, outcome),
        }
    }

    /// Everything but [`Kind::Special`].
    #[inline(always)]
    fn plain<const OUTPUT: bool>(&self, packet: &mut Packet<'_>, outcome: Outcome) -> Acted {
        let slot = outcome.slot();
        if let Some(drops) = outcome.drops() {
            self.count::<OUTPUT>(packet, slot);
            let next = self.arcs.next(packet);
            let reason = &mut packet.meta.reason;
            *reason = select_unpredictable(drops, self.reasons.id(Reason::Denied), *reason);
            (select_unpredictable(drops, NodeId::DROP, next), slot, PASS + u32::from(drops))
        } else if outcome.kind() == Kind::Punt {
            self.count::<OUTPUT>(packet, slot);
            (self.next.to(Next::Punt), slot, PUNT)
        } else {
            (self.arcs.next(packet), slot, NO_RULE)
        }
    }

    /// Counts bytes of the IP packet, whichever side it is on.
    #[inline(always)]
    fn count<const OUTPUT: bool>(&self, packet: &Packet<'_>, slot: Slot) {
        self.rules.add(slot.index(), 1, ip_bytes::<OUTPUT>(packet) as u64);
    }

    /// Rules that do more than one thing, and those after which the next one decides.
    #[inline(never)]
    fn special<const OUTPUT: bool>(
        &self,
        packet: &mut Packet<'_>,
        outcome: Outcome,
        next: impl Fn(&Classifier, Rank) -> Outcome,
    ) -> Acted {
        let attached = self.attached.get(interface::<OUTPUT>(packet.meta));
        let Some(set) = attached.map(|attached| &attached.classifier) else {
            return (self.arcs.next(packet), outcome.slot(), NO_RULE);
        };
        let mut outcome = outcome;
        while outcome.kind() == Kind::Special
            && let Some(special) = set.special(outcome)
        {
            let slot = special.slot;
            self.count::<OUTPUT>(packet, slot);
            if let Some(policer) = &special.policer
                && !policer.allows(self.now, ip_bytes::<OUTPUT>(packet))
            {
                return (self.reasons.drop(packet, Reason::Policed), slot, POLICED);
            }
            if let Some(mark) = special.mark {
                packet.set_field(self.mark, mark);
            }
            if let Some(dscp) = special.dscp {
                set_dscp::<OUTPUT>(packet, dscp);
            }
            match special.verdict {
                Verdict::Pass if special.admit => return (self.admit::<OUTPUT>(packet), slot, PASS),
                Verdict::Pass => return (self.arcs.next(packet), slot, PASS),
                Verdict::Drop => return (self.reasons.drop(packet, Reason::Denied), slot, DROP),
                Verdict::Punt => return (self.next.to(Next::Punt), slot, PUNT),
                Verdict::Redirect(to) => return (self.redirect::<OUTPUT>(packet, to), slot, REDIRECT),
                Verdict::Continue => outcome = next(set, special.rank),
            }
        }
        self.plain::<OUTPUT>(packet, outcome)
    }

    /// On by way of the flow tracker, which comes back to this place of the arc.
    fn admit<const OUTPUT: bool>(&self, packet: &mut Packet<'_>) -> NodeId {
        let (Some(tracker), Some(link)) = (self.tracker, link_length::<OUTPUT>(packet)) else {
            return self.arcs.next(packet);
        };
        packet.meta.flags |= if OUTPUT { ADMIT_OUT } else { ADMIT_IN };
        packet.meta.scratch[0] = link as u32;
        tracker
    }

    fn redirect<const OUTPUT: bool>(&self, packet: &mut Packet<'_>, to: Redirect) -> NodeId {
        match to {
            Redirect::NextHop(next_hop) => {
                packet.meta.set_next_hop(next_hop.0);
                self.next.to(Next::Rewrite)
            }
            Redirect::Interface(index) => {
                let Some(interface) = self.interfaces.get(index).filter(|interface| interface.up) else {
                    return self.reasons.drop(packet, Reason::RedirectDown);
                };
                packet.meta.tx_interface = index;
                if OUTPUT {
                    // Past the features of that interface: two that redirect to each other would never let go.
                    return interface.tx;
                }
                restore_link_header(packet);
                self.arcs.start(self.output, index, packet).unwrap_or(interface.tx)
            }
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn classified<const OUTPUT: bool>(
        &self,
        packet: &Packet<'_>,
        slot: Slot,
        note: u32,
    ) -> Classified {
        // A redirect has changed the interface by now, but not that of a packet that came in.
        let attached = self.attached.get(interface::<OUTPUT>(packet.meta));
        let set = attached.map_or(NO_SET, |attached| attached.set.0);
        let rule = attached.and_then(|attached| attached.classifier.rule(slot)).map_or(0, |rule| rule.0);
        Classified { set, rule, note, mark: packet.field(self.mark) }
    }
}

#[inline(always)]
fn ip_bytes<const OUTPUT: bool>(packet: &Packet<'_>) -> usize {
    packet.meta.total_length() - link_length::<OUTPUT>(packet).unwrap_or(0)
}

/// Writes the code point, leaves ECN, and adjusts the checksum (RFC 1624).
fn set_dscp<const OUTPUT: bool>(packet: &mut Packet<'_>, dscp: Dscp) {
    let Some(start) = link_length::<OUTPUT>(packet) else {
        return;
    };
    let Some(packet) = packet.data_mut().get_mut(start..) else {
        return;
    };
    if packet.first().is_some_and(|version| version >> 4 == 6) {
        return set_traffic_class(packet, dscp);
    }
    let Ok((ip, _)) = Ipv4Header::mut_from_prefix(packet) else {
        return;
    };
    let word = |tos| u16::from_be_bytes([ip.version_ihl, tos]);
    let tos = dscp.get() << 2 | ip.tos & 3;
    let sum = checksum::update(ip.checksum.get(), word(ip.tos), word(tos));
    ip.checksum.set(sum);
    ip.tos = tos;
}

/// Likewise for IPv6 (RFC 8200 section 7), which has no checksum.
#[cold]
fn set_traffic_class(packet: &mut [u8], dscp: Dscp) {
    if let Ok((ip, _)) = Ipv6Header::mut_from_prefix(packet) {
        let rest = ip.version_class_flow.get() & !(0x3f << 22);
        ip.version_class_flow.set(rest | u32::from(dscp.get()) << 22);
    }
}
