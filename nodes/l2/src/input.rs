// SPDX-License-Identifier: Apache-2.0
//! l2-input and l2-forward: a frame from a port to the port that leads to its station.
//!
//! The first gets whole frames from ethernet-input, and from a routed port. It rewrites their tags, and starts the arc `l2-input`, at
//! whose end the second stands. Where that arc is empty, which is the rule, the first does the second's work itself: it learns
//! where the source is, and looks the destination up. Both are found at once, those of 64 frames together
//! ([`weft_table::Reader::find`]), so that cache misses overlap.

use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec, ArcStart};
use weft_engine::frame::Frame;
use weft_engine::node::{Edges, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::{ArcId, Context, InterfaceIndex, NodeId};
use weft_nodes::interface::InterfaceTable;
use weft_table::{Found, Reader};

use crate::config::LinkGroups;
use crate::egress::{Egress, Next, Reason, format};
use crate::learn::{Notice, Teller, Told};
use crate::macs::{DomainIndex, Entry, Key};
use crate::view::{DomainsView, PortView, View, Way, may_meet};

/// Frames that arrive on an interface that is switched, before they are. Their tags are rewritten by then.
pub const L2_INPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "l2-input", key: ArcKey::RxInterface, end: ArcEnd::Node("l2-forward") };

weft_engine::events! {
    /// What else is counted.
    pub enum Event {
        /// stations that the main thread was told of: new ones, and ones on another port than before
        Noticed = "stations_noticed", Info;
        /// stations that the main thread could not be told of, because it was behind
        NoticesLost = "notices_lost", Info;
        /// frames from unknown stations while the port had as many as it may
        PortFull = "port_full", Info;
        /// frames from unknown stations while the bridge domain had as many as it may
        DomainFull = "domain_full", Info;
        /// frames from unknown stations while the table had as many as it may
        TableFull = "table_full", Info;
    }
}

/// Descriptor of l2-input.
pub static L2_INPUT: NodeSpec = NodeSpec::internal("l2-input")
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .punts(&["link_group"])
    .trace(format);

/// Descriptor of l2-forward.
pub static L2_FORWARD: NodeSpec = NodeSpec::internal("l2-forward")
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .punts(&["link_group"])
    .trace(format);

/// What all nodes of this crate read.
pub(crate) struct Common {
    pub view: Arc<Published<View>>,
    pub interfaces: Arc<Published<InterfaceTable>>,
    pub clock: Clock,
}

/// Where a node of this crate stands in the graph of its worker.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// `l2-input`, `l2-output`, `interface-output`.
    pub arcs: [ArcId; 3],
    pub next: weft_engine::node::Nexts<Next>,
    pub reasons: ReasonBase<Reason>,
}

impl Places {
    /// For the frames of a vector.
    pub fn egress<'a>(&self, common: &'a Common, cx: &Context<'a>) -> Egress<'a> {
        let [_, features, output] = self.arcs.map(|arc| cx.arcs().arc(arc));
        Egress {
            view: common.view.read(cx.guard()),
            interfaces: common.interfaces.read(cx.guard()),
            features,
            output,
            counters: cx.counters,
            next: self.next,
            reasons: self.reasons,
        }
    }
}

/// One worker's instance of l2-input (`ARRIVES`) or of l2-forward.
pub(crate) struct Forwarding<const ARRIVES: bool> {
    pub common: Arc<Common>,
    pub places: Places,
    pub events: ReasonBase<Event>,
    pub teller: Teller,
}

/// Frames that are looked up together.
const BLOCK: usize = 64;

/// Keys of the source and of the destination of a frame.
type Keys = [[u64; 1]; 2];

impl<const ARRIVES: bool> Node for Forwarding<ARRIVES> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let Forwarding { common, places, events, teller } = self;
        let egress = places.egress(common, cx);
        let view = egress.view;
        let mut run = Run {
            macs: view.macs.as_ref(),
            arrivals: cx.arcs().arc(places.arcs[0]),
            events: *events,
            teller,
            now: cx.now,
            seconds: common.clock.since_start(cx.now).as_secs() as u32,
            egress,
        };
        // Frames of one interface come in runs.
        let (mut interface, mut domain) = (InterfaceIndex::NONE, None);
        cx.blocks::<BLOCK, Keys, [Found; 2]>(
            frame,
            [[Found::NONE; 2]; BLOCK],
            |packet| {
                if packet.meta.rx_interface != interface {
                    interface = packet.meta.rx_interface;
                    domain = view.domain_of(interface);
                }
                keys(domain, packet)
            },
            |keys, found| {
                if let Some(macs) = view.macs.as_ref() {
                    macs.find(keys.as_flattened(), found.as_flattened_mut());
                }
            },
            |packet, keys, found| run.one::<ARRIVES>(packet, keys.map(|[key]| Key(key)), found),
        );
    }
}

/// What a frame is looked up by. Nobody has the key of a group.
#[inline(always)]
fn keys(domain: Option<DomainIndex>, packet: &Packet<'_>) -> Keys {
    let Some((domain, start)) = domain.zip(packet.data().first_chunk()) else {
        return [[Key::NOBODY.0]; 2];
    };
    Key::of_frame(domain, start).map(|key| [key.0])
}

/// What switching the frames of a vector takes.
struct Run<'a, 'b> {
    egress: Egress<'a>,
    macs: Option<&'a Reader<1>>,
    /// The arc `l2-input`.
    arrivals: ArcStart<'a>,
    events: ReasonBase<Event>,
    teller: &'b mut Teller,
    now: Tsc,
    /// By the clock of entries.
    seconds: u32,
}

impl<'a> Run<'a, '_> {
    #[inline(always)]
    fn one<const ARRIVES: bool>(
        &mut self,
        packet: &mut Packet<'_>,
        keys: [Key; 2],
        found: [Found; 2],
    ) -> NodeId {
        let (egress, rx) = (self.egress, packet.meta.rx_interface);
        let Some(port) = egress.view.port(rx) else {
            return egress.reasons.drop(packet, Reason::NotSwitched);
        };
        if ARRIVES {
            if let Some(rewrite) = &port.rewrite
                && !rewrite.apply(&mut packet.aside())
            {
                return egress.reasons.drop(packet, Reason::FewTags);
            }
            if let Some(first) = self.arrivals.start(rx, packet) {
                return first;
            }
        }
        let done = match port.way {
            Way::Cross(to) => return egress.leave(packet, to),
            Way::Domain(domain) => self.switch(packet, port, domain, keys, found),
        };
        done.unwrap_or_else(|reason| egress.reasons.drop(packet, reason))
    }

    /// A frame on a port of a domain.
    #[inline(always)]
    fn switch(
        &mut self,
        packet: &mut Packet<'_>,
        port: &PortView,
        index: DomainIndex,
        [from, to]: [Key; 2],
        found: [Found; 2],
    ) -> Result<NodeId, Reason> {
        let (egress, rx) = (self.egress, packet.meta.rx_interface);
        let domain = egress.view.domain(index).ok_or(Reason::NotSwitched)?;
        if from == Key::NOBODY && packet.length() < 14 {
            return Err(Reason::Truncated);
        }
        match self.entry(found[0]) {
            // It is where it was.
            Some(entry) if entry.port() == rx => {
                if let Some(macs) = self.macs {
                    macs.touch(found[0], self.seconds);
                }
            }
            Some(entry) if entry.is_filter() => return Err(Reason::Filtered),
            Some(entry) if !entry.is_learned() => return Err(Reason::StaticMoved),
            entry => self.learn(port, domain, Notice { key: from, port: rx }, entry.is_some()),
        }
        if to.is_group() {
            return self.group(packet, domain, to);
        }
        if let Some(entry) = self.entry(found[1]) {
            if entry.is_filter() {
                return Err(Reason::Filtered);
            }
            let exit = entry.port();
            // What leads to an interface that is no port of the domain any more is on its way out of the table.
            if let Some(other) = egress.view.port(exit).filter(|other| other.way == port.way) {
                if exit == rx {
                    return Err(Reason::SamePort);
                }
                if !may_meet(other.group, port.group) {
                    return Err(Reason::SplitHorizon);
                }
                if !domain.forward {
                    return Err(Reason::ForwardOff);
                }
                return Ok(egress.leave(packet, exit));
            }
        }
        self.unknown(packet, port, domain)
    }

    #[inline(always)]
    fn entry(&self, found: Found) -> Option<Entry> {
        let mut value = [0];
        self.macs.filter(|macs| found.is_some() && macs.read(found, &mut value)).map(|_| Entry(value[0]))
    }

    /// To a group, or to all.
    #[inline(never)]
    fn group(&self, packet: &mut Packet<'_>, domain: &DomainsView, to: Key) -> Result<NodeId, Reason> {
        let egress = &self.egress;
        if to.is_link_group() {
            match domain.link_groups {
                LinkGroups::Drop => return Err(Reason::LinkGroup),
                LinkGroups::Punt => {
                    packet.meta.reason = egress.reasons.id(Reason::LinkGroup);
                    return Ok(egress.next.to(Next::Punt));
                }
                LinkGroups::Forward => {}
            }
        }
        if domain.flood { Ok(egress.next.to(Next::Flood)) } else { Err(Reason::FloodOff) }
    }

    /// To a station that is not known.
    #[inline(never)]
    fn unknown(
        &self,
        packet: &mut Packet<'_>,
        port: &PortView,
        domain: &DomainsView,
    ) -> Result<NodeId, Reason> {
        let (egress, rx) = (&self.egress, packet.meta.rx_interface);
        if let Some(uplink) = domain.uplink {
            let other = egress.view.port(uplink).ok_or(Reason::UnknownUnicast)?;
            // Whoever is not known behind the uplink is nowhere.
            if uplink == rx {
                return Err(Reason::UnknownUnicast);
            }
            return match may_meet(other.group, port.group) {
                true => Ok(egress.leave(packet, uplink)),
                false => Err(Reason::SplitHorizon),
            };
        }
        if domain.unknown_flood { Ok(egress.next.to(Next::Flood)) } else { Err(Reason::UnknownUnicast) }
    }

    /// A source that is not where it was, or not known.
    #[inline(never)]
    fn learn(&mut self, port: &PortView, domain: &DomainsView, notice: Notice, moved: bool) {
        if !(port.learn && domain.learn && notice.key.is_station()) {
            return;
        }
        // Also one that comes from another port takes a place of this one.
        let full = [
            (port.full.is_set(), Event::PortFull),
            (!moved && domain.full.is_set(), Event::DomainFull),
            (!moved && self.egress.view.full.is_set(), Event::TableFull),
        ];
        let event = match full.into_iter().find(|(full, _)| *full) {
            Some((_, event)) => event,
            None => match self.teller.tell(notice, self.now) {
                Told::Now => Event::Noticed,
                Told::Lost => Event::NoticesLost,
                Told::Before => return,
            },
        };
        self.events.count(self.egress.counters, event, 1);
    }
}
