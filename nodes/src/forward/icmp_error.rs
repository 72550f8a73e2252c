// SPDX-License-Identifier: Apache-2.0
//! ip4-icmp-error and ip6-icmp-error: tell the sender why its packet ends here.
//!
//! The packet that died and the error about it are two packets. The first goes to drop with the reason that it died
//! of, whether or not an error about it is sent: the operator sees why packets were lost, not what became of the news.
//! The second is new, in a buffer of its own, and is counted by what it says; why there is none is counted as well.
//! So, for these nodes, packets in = sum of the reasons = sum of the events.
//!
//! The source of an error is the primary address of the interface that the packet came in by, as traceroute users expect; if that
//! has none any more, any address in the same forwarding table. Who has an address of his link only is answered from such a one.

use std::marker::PhantomData;
use std::sync::Arc;

use weft_engine::buffer::{BufferCache, HEADROOM, Packet, SLOT_SIZE, TRACED};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Drops, Events, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::{ArcId, BufferIndex, Context, InterfaceIndex, NodeId};
use weft_fib::{Ip4, Ip6};
use zerocopy::FromZeros;

use super::Forwarded;
use crate::arcs::drop_by;
use crate::context::{IpContext, LOCALLY_ORIGINATED};
use crate::icmp_limits::{ErrorKind, IcmpLimits};
use crate::interface::{InterfaceTable, TableIndex};
use crate::segments;
use crate::setup::{Added, Setup, built_in};
use crate::tables::HeaderLimit;

/// An error that a packet is to become, and thereby what it dies of.
#[derive(Clone, Copy, Debug)]
pub struct IcmpError<F> {
    /// What it says.
    pub icmp_type: u8,
    /// In more detail.
    pub code: u8,
    /// An MTU, or a place in the packet.
    pub rest: u16,
    family: PhantomData<F>,
}

impl<F> IcmpError<F> {
    /// One that says this.
    pub const fn new(icmp_type: u8, code: u8, rest: u16) -> Self {
        IcmpError { icmp_type, code, rest, family: PhantomData }
    }

    /// Notes on the packet what it is to become; the caller sends it to the node here.
    #[inline]
    pub fn mark(self, packet: &mut Packet<'_>) {
        packet.meta.scratch[0] =
            u32::from(self.icmp_type) << 24 | u32::from(self.code) << 16 | u32::from(self.rest);
    }

    /// What was noted.
    fn of(packet: &Packet<'_>) -> Self {
        let mark = packet.meta.scratch[0];
        Self::new((mark >> 24) as u8, (mark >> 16) as u8, mark as u16)
    }
}

/// Events of packets about which nothing is said.
#[derive(Clone, Copy, Debug)]
pub struct Unsaid<E> {
    /// None is allowed about such a packet.
    pub not_allowed: E,
    /// More are due than the limit permits.
    pub rate_limited: E,
    /// No interface in the forwarding table has an address.
    pub no_source: E,
    /// There is no buffer for it.
    pub no_buffer: E,
}

/// How a family tells senders.
pub trait IcmpErrors: Forwarded {
    /// What packets died of.
    type Cause: Drops + Send;
    /// What was said about it.
    type Said: Events + Send;
    /// As many bytes as an error has at most, from its IP header on.
    type Message: FromZeros + AsMut<[u8]>;

    /// Bytes before the packet that the error is about.
    const HEADERS: usize;
    /// The node before did not say what the packet is to become.
    const UNMARKED: Self::Cause;
    /// Nothing was said, and why.
    const UNSAID: Unsaid<Self::Said>;

    /// What a packet died of that is to become an error, the event of having said so, and what limits it; `None`: there is no such
    /// error.
    fn cause(error: IcmpError<Self>) -> Option<(Self::Cause, Self::Said, ErrorKind)>;
    /// Whether an error of this kind may be sent about the packet.
    fn may_answer(
        packet: &Packet<'_>,
        kind: ErrorKind,
        interfaces: &InterfaceTable,
        extension_headers: usize,
    ) -> bool;
    /// Fills in the headers of a message. Fragments of different ones must not be taken for one datagram's, so each has another
    /// `identification`.
    fn fill_headers(
        error: IcmpError<Self>,
        from: Self::Addr,
        to: Self::Addr,
        identification: u16,
        message: &mut [u8],
    );
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: IcmpErrors>(setup: &mut Setup<'_>) -> Added {
    let (interfaces, clock, icmp) = (setup.interfaces(), setup.engine.clock, setup.tables.settings.icmp);
    let extension_headers = setup.tables.extension_headers.clone();
    Ok(NodeDef::new(IpIcmpError::<F>::SPEC, move |w| {
        let [lookup] = w.first_edges();
        Box::new(IpIcmpError::<F> {
            interfaces: Arc::clone(&interfaces),
            limits: IcmpLimits::new(&clock, icmp),
            extension_headers: extension_headers.clone(),
            identification: 0,
            drops: w.arc(F::DROP_ARC),
            lookup,
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
pub struct IpIcmpError<F: IcmpErrors> {
    interfaces: Arc<Published<InterfaceTable>>,
    /// Limits the errors.
    pub limits: IcmpLimits,
    /// Most extension headers behind which an error is looked for.
    extension_headers: HeaderLimit,
    /// Of the last error.
    identification: u16,
    drops: ArcId,
    lookup: NodeId,
    reasons: ReasonBase<F::Cause>,
    events: ReasonBase<F::Said>,
}

impl<F: IcmpErrors> IpIcmpError<F> {
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.icmp_error)
        .next(&[F::NODES.lookup])
        .drops(F::Cause::ALL)
        .events(F::Said::ALL)
        .trace(F::format);
}

impl<F: IcmpErrors> Node for IpIcmpError<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let interfaces = self.interfaces.read(cx.guard());
        let (limits, identification) = (&mut self.limits, &mut self.identification);
        let (reasons, events, counters, now) = (self.reasons, self.events, cx.counters, cx.now);
        let (drops, headers) = (cx.arcs().arc(self.drops), self.extension_headers.get());
        let (mut errors, mut count) = ([BufferIndex::default(); FRAME_SIZE], 0);
        cx.each_or_keep(frame, |buffers, index| {
            let mut packet = buffers.packet(index);
            let error = IcmpError::of(&packet);
            let Some((cause, sent, kind)) = F::cause(error) else {
                reasons.drop(&mut packet, F::UNMARKED);
                return Some(drop_by(drops, &mut packet));
            };
            reasons.drop(&mut packet, cause);
            let event = if !F::may_answer(&packet, kind, interfaces, headers) {
                F::UNSAID.not_allowed
            } else if !limits.take(kind, now) {
                F::UNSAID.rate_limited
            } else if let Some(source) = source::<F>(&packet, interfaces) {
                *identification = identification.wrapping_add(1);
                match about(error, buffers, index, source, *identification) {
                    Some(error) => {
                        errors[count] = error;
                        count += 1;
                        sent
                    }
                    None => F::UNSAID.no_buffer,
                }
            } else {
                F::UNSAID.no_source
            };
            events.count(counters, event, 1);
            Some(drop_by(drops, &mut buffers.packet(index)))
        });
        cx.send(self.lookup, &errors[..count]);
    }
}

/// Where an error comes from and goes to, and how it is routed.
struct Way<F: Forwarded> {
    from: F::Addr,
    to: F::Addr,
    table: TableIndex,
    /// The link on which addresses say something that are of a link only.
    link: InterfaceIndex,
}

fn source<F: Forwarded>(packet: &Packet<'_>, interfaces: &InterfaceTable) -> Option<Way<F>> {
    let link = packet.meta.rx_interface;
    let own = F::of_entry(interfaces.get(link)?);
    let (table, to) = (own.table, F::addr(F::source(packet)?));
    let any =
        || interfaces.iter().map(F::of_entry).filter(|it| it.table == table).find_map(|it| it.primary());
    let from = match F::is_link_scoped(to) {
        true => own.link_local,
        false => own.primary().or_else(any),
    };
    Some(Way { from: from?, to, table, link })
}

/// The error about a packet, in a new buffer, if there is one.
fn about<F: IcmpErrors>(
    error: IcmpError<F>,
    buffers: &mut BufferCache,
    original: BufferIndex,
    way: Way<F>,
    identification: u16,
) -> Option<BufferIndex> {
    const { assert!(HEADROOM + size_of::<F::Message>() <= SLOT_SIZE, "an error fits a buffer") }
    let packet = buffers.packet(original);
    let (trace, traced) = (packet.meta.trace, packet.meta.flags & TRACED);
    let index = buffers.allocate_one()?;

    let mut message = F::Message::new_zeroed();
    let message = message.as_mut();
    let length = F::HEADERS + segments::read(buffers, original, 0, &mut message[F::HEADERS..]);
    F::fill_headers(error, way.from, way.to, identification, &mut message[..length]);

    buffers.receive(index, HEADROOM, 0, InterfaceIndex::NONE);
    let mut packet = buffers.packet(index);
    let filled = packet.fill(HEADROOM, &message[..length]);
    debug_assert!(filled, "an error fits a buffer");
    packet.meta.flags = LOCALLY_ORIGINATED | traced;
    packet.meta.trace = trace;
    packet.meta.set_table(way.table.0);
    packet.meta.tx_interface = way.link;
    Some(index)
}
