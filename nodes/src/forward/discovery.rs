// SPDX-License-Identifier: Apache-2.0
//! arp-reply and ip6-nd-input: the nodes that hear what neighbours say, whatever family they say it for.
//!
//! A worker knows no neighbour: it answers questions for our addresses from the interface table, and tells the main thread what
//! it hears through a bounded ring. An answer leaves on the interface that the question came in by, in the same buffer, after the link
//! header of the question with its tags. What the port's host may want to know goes on to punt where there is one.

use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::Packet;
use weft_engine::clock::Tsc;
use weft_engine::counters::Counters;
use weft_engine::feature::Arcs;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Drops, Events, Node, NodeSpec, ReasonBase};
use weft_engine::publish::Published;
use weft_engine::{Context, NodeId};
use weft_fib::{Ip4, Ip6};
use weft_stats::SimpleRow;

use super::Forwarded;
use super::routes::{RouteTables, Routes};
use crate::arcs::INTERFACE_OUTPUT_ARC;
use crate::context::{LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::{EthernetHeader, MacAddr};
use crate::interface::{Entry, InterfaceTable};
use crate::neighbor::{NeighborNotice, NoticeSender, Recent};
use crate::setup::{Added, ONE_EACH, Setup, built_in};
use crate::tables::HeaderLimit;

/// A family whose neighbours are heard.
pub(crate) trait Discovers: Forwarded {
    /// Why messages end here.
    type Unanswered: Drops + Send;
    /// What was answered, and news that did not arrive.
    type Answered: Events + Send;
    /// The node. Its one edge is punt.
    const NODE: &'static NodeSpec;
    /// News for the main thread was lost: there is too much of it.
    const NOTICE_LOST: Self::Answered;
    /// Counts by interface: answers, and what the main thread sends.
    const SENT: &'static [&'static str];

    /// Where a message goes that is answered, or is the host's.
    fn hear(node: &mut Hearing<'_, Self>, packet: &mut Packet<'_>) -> Result<NodeId, Self::Unanswered>;
}

/// How long the same news is not repeated. The main thread may have forgotten it since (a flush, a displaced entry), and
/// then the next question must teach its sender: so no longer than what keeps a flood from one station away.
const QUIET: Duration = Duration::from_millis(1);

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Discovers>(setup: &mut Setup<'_>) -> Added {
    let (tables, clock, mut senders) = (setup.tables.clone(), setup.engine.clock, setup.notice_senders());
    let sent = F::SENT.iter().map(|name| setup.interface_counter(name, F::NODE));
    let sent = sent.collect::<Result<Vec<_>, _>>()?;
    Ok(NodeDef::new(F::NODE, move |w| {
        let [punt] = w.first_edges();
        Box::new(Discovery::<F> {
            interfaces: Arc::clone(&tables.interfaces),
            routes: RouteTables::of(&tables),
            sender: senders.next().expect(ONE_EACH),
            recent: Recent::new(&clock, QUIET),
            extension_headers: tables.extension_headers.clone(),
            arc: w.arc(&INTERFACE_OUTPUT_ARC),
            punt,
            reasons: w.reasons(),
            events: w.events(),
            sent: sent.first().map(|answers| answers.row(w.thread())),
        })
    }))
}

/// One worker's instance.
struct Discovery<F: Discovers> {
    interfaces: Arc<Published<InterfaceTable>>,
    routes: RouteTables<F>,
    sender: NoticeSender,
    recent: Recent,
    extension_headers: HeaderLimit,
    /// `interface-output`.
    arc: ArcId,
    punt: NodeId,
    reasons: ReasonBase<F::Unanswered>,
    events: ReasonBase<F::Answered>,
    /// Answers by interface.
    sent: Option<SimpleRow>,
}

impl<F: Discovers> Node for Discovery<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let reasons = self.reasons;
        let mut hearing = Hearing::<F> {
            interfaces: self.interfaces.read(cx.guard()),
            routes: self.routes.read(cx),
            sender: &mut self.sender,
            recent: &mut self.recent,
            extension_headers: self.extension_headers.get(),
            now: cx.now,
            counters: cx.counters,
            arcs: cx.arcs(),
            arc: self.arc,
            punt: self.punt,
            events: self.events,
            sent: self.sent.as_ref(),
        };
        cx.each(frame, |packet| match F::hear(&mut hearing, packet) {
            Ok(next) => next,
            Err(reason) => reasons.drop(packet, reason),
        });
    }
}

/// What a node hears and says in one vector.
pub(crate) struct Hearing<'a, F: Discovers> {
    pub(crate) interfaces: &'a InterfaceTable,
    pub(crate) routes: Routes<'a, F>,
    /// Most extension headers behind which a message is looked for.
    pub(crate) extension_headers: usize,
    sender: &'a mut NoticeSender,
    recent: &'a mut Recent,
    now: Tsc,
    counters: &'a Counters,
    arcs: &'a Arcs,
    arc: ArcId,
    punt: NodeId,
    events: ReasonBase<F::Answered>,
    sent: Option<&'a SimpleRow>,
}

impl<F: Discovers> Hearing<'_, F> {
    /// Tells the main thread, unless the same was told a moment ago. If it is `awaited`, in any case: an entry may have been
    /// flushed since.
    pub(crate) fn tell(&mut self, notice: NeighborNotice, awaited: bool) {
        let told = match awaited {
            true => self.sender.send(notice),
            false => self.recent.tell(self.sender, notice, self.now),
        };
        if !told {
            self.events.count(self.counters, F::NOTICE_LOST, 1);
        }
    }

    /// To the port's host; without one the message ends here.
    pub(crate) fn to_host(
        &self,
        interface: &Entry,
        otherwise: F::Unanswered,
    ) -> Result<NodeId, F::Unanswered> {
        match interface.host {
            NodeId::DROP => Err(otherwise),
            _ => Ok(self.punt),
        }
    }

    /// Sends an answer, which stands where the question stood, to that station, behind the question's link header of so many
    /// bytes.
    pub(crate) fn send(
        &mut self,
        packet: &mut Packet<'_>,
        interface: &Entry,
        (link, to): (usize, MacAddr),
        event: F::Answered,
    ) -> NodeId {
        let restored = packet.prepend(link);
        debug_assert!(restored, "the link header was taken off the buffer that it was received in");
        if let Some(ethernet) = packet.header_mut::<EthernetHeader>() {
            (ethernet.destination, ethernet.source) = (to, interface.mac);
        }
        self.events.count(self.counters, event, 1);
        packet.meta.flags = packet.meta.flags & !LINK_BROADCAST | LOCALLY_ORIGINATED;
        let tx = packet.meta.rx_interface;
        packet.meta.tx_interface = tx;
        if let Some(sent) = self.sent {
            sent.add(tx.index(), 1);
        }
        if interface.is_sub() {
            self.counters.interfaces.tx.add(tx.index(), 1, packet.meta.total_length() as u64);
        }
        self.arcs.start(self.arc, tx, packet).unwrap_or(interface.tx)
    }
}
