// SPDX-License-Identifier: Apache-2.0
//! ip4-frag and ip6-frag: a datagram too long for its way out, as several that fit.
//!
//! Works on datagrams in one buffer or in many. Each fragment is a new packet in a buffer of its own and takes the way of the
//! original, through the rewrite with the same next hop; the original is used up. It is not dropped, so that counts as an
//! event: packets in = fragmented + reasons. All fragments are made or none.

use std::sync::Arc;

use weft_engine::buffer::{BufferCache, HEADROOM, SLOT_SIZE};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::{Published, SlabReader};
use weft_engine::{BufferIndex, Context, NodeId};
use weft_fib::{Adjacency, Ip4, Ip6};

use super::Forwarded;
use crate::context::IpContext;
use crate::interface::InterfaceTable;
use crate::setup::{Added, Setup, built_in};

weft_engine::drops! {
    /// Why a packet cannot be fragmented.
    pub enum Reason {
        /// the next hop of the route, or its interface, has been deleted
        NoNextHop = "no_next_hop", Error;
        /// MTU leaves no room for 8 bytes of data behind the header
        MtuTooSmall = "mtu_too_small", Error;
        /// fragment that ends beyond the longest possible datagram
        BadOffset = "bad_fragment_offset", Error;
        /// not enough buffers for all fragments
        NoBuffer = "no_buffer", Error;
    }
}

weft_engine::events! {
    /// What became of the others.
    pub enum Event {
        /// packet replaced by fragments
        Fragmented = "fragmented", Info;
        /// fragments made
        Fragments = "fragments", Info;
    }
}

/// Most bytes of a fragment: what a buffer holds. Longer ones would have to be chains, and gain nothing.
pub(crate) const MAX_FRAGMENT: usize = SLOT_SIZE - HEADROOM;

/// How a family makes fragments.
pub(crate) trait Fragmenting: Forwarded {
    /// What one worker remembers of it.
    type Fragmenter: Fragmenter + Default;
}

/// Makes fragments, on one worker.
pub(crate) trait Fragmenter: Send + 'static {
    /// Appends the fragments of a packet, of at most `mtu` bytes each, to `fragments`; the packet itself stays as it is. On an error
    /// there may be some of them.
    fn some(
        &mut self,
        buffers: &mut BufferCache,
        packet: BufferIndex,
        mtu: usize,
        fragments: &mut Vec<BufferIndex>,
    ) -> Result<(), Reason>;

    /// Appends all of them, or none.
    fn all(
        &mut self,
        buffers: &mut BufferCache,
        packet: BufferIndex,
        mtu: usize,
        fragments: &mut Vec<BufferIndex>,
    ) -> Result<(), Reason> {
        let before = fragments.len();
        let result = self.some(buffers, packet, mtu, fragments);
        if result.is_err() {
            buffers.free(&fragments[before..]);
            fragments.truncate(before);
        }
        result
    }
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Fragmenting>(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    Ok(NodeDef::new(IpFrag::<F>::SPEC, move |w| {
        let [rewrite] = w.first_edges();
        Box::new(IpFrag::<F> {
            adjacencies: tables.adjacencies.clone(),
            interfaces: Arc::clone(&tables.interfaces),
            fragmenter: F::Fragmenter::default(),
            fragments: Vec::new(),
            rewrite,
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
struct IpFrag<F: Fragmenting> {
    adjacencies: SlabReader<Adjacency>,
    interfaces: Arc<Published<InterfaceTable>>,
    fragmenter: F::Fragmenter,
    /// Fragments of the vector; here so that it is allocated once.
    fragments: Vec<BufferIndex>,
    rewrite: NodeId,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl<F: Fragmenting> IpFrag<F> {
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.frag)
        .next(&[F::NODES.rewrite])
        .drops(Reason::ALL)
        .events(Event::ALL)
        .trace(F::format);
}

impl<F: Fragmenting> Node for IpFrag<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (adjacencies, interfaces) = (self.adjacencies.read(cx.guard()), self.interfaces.read(cx.guard()));
        let (reasons, events, counters, rewrite) = (self.reasons, self.events, cx.counters, self.rewrite);
        let (fragmenter, fragments) = (&mut self.fragmenter, &mut self.fragments);
        cx.each_or_keep(frame, |buffers, index| {
            let packet = buffers.packet(index);
            let interface = adjacencies
                .get(packet.meta.next_hop())
                .and_then(|adjacency| interfaces.get(adjacency.interface));
            let before = fragments.len();
            let result = match interface {
                // The MTU has grown in between.
                Some(interface) if packet.meta.total_length() <= usize::from(interface.mtu) => {
                    return Some(rewrite);
                }
                Some(interface) => fragmenter.all(buffers, index, interface.mtu.into(), fragments),
                None => Err(Reason::NoNextHop),
            };
            match result {
                Ok(()) => {
                    events.count(counters, Event::Fragmented, 1);
                    events.count(counters, Event::Fragments, (fragments.len() - before) as u64);
                    buffers.free_one(index);
                    None
                }
                Err(reason) => Some(reasons.drop(&mut buffers.packet(index), reason)),
            }
        });
        cx.send(rewrite, fragments);
        fragments.clear();
    }
}

/// A fragment of these bytes, from the IP header on, that goes the way of `original`.
pub(crate) fn make(
    buffers: &mut BufferCache,
    original: BufferIndex,
    bytes: &[u8],
) -> Result<BufferIndex, Reason> {
    let index = buffers.allocate_one().ok_or(Reason::NoBuffer)?;
    let rx = buffers.packet(original).meta.rx_interface;
    buffers.receive(index, HEADROOM, 0, rx);
    let mut fragment = buffers.packet(index);
    let filled = fragment.fill(HEADROOM, bytes);
    debug_assert!(filled, "a fragment is no longer than what fits a buffer");
    fragment.meta.set_network_here(0);
    buffers.continue_as(index, original);
    Ok(index)
}
