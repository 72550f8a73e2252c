// SPDX-License-Identifier: Apache-2.0
//! ip4-reassembly and ip6-reassembly: where fragments for this host wait until their datagram is whole.
//!
//! The node at which packets for this host begin sends fragments here before anything else sees them, and gets the whole datagram
//! back, so that features, handlers and the host know of no fragments. The sender of a datagram that does not become
//! whole in time is told, if its first fragment has come. Fragments that are part of a whole datagram are not dropped, and
//! count as an event.

use std::time::Duration;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::{BufferIndex, Context, InterfaceIndex, NodeId};
use weft_fib::{Ip4, Ip6};

use super::{Added, BUFFERS, Key, Piece, Reason, Reassembly};
use crate::forward::Forwarded;
use crate::setup::{self, Setup, built_in};
use crate::tables::HeaderLimit;

weft_engine::events! {
    /// What became of fragments that are not dropped.
    pub enum Event {
        /// datagrams that have become whole
        Reassembled = "reassembled", Info;
        /// fragments that are part of them, beside the first of each
        Joined = "joined", Info;
    }
}

/// How often the node looks for what has waited too long.
const PERIOD: Duration = Duration::from_secs(1);

/// What a packet is that came to the node.
pub(crate) enum Fragment<A> {
    /// A part of a datagram.
    Part(Key<A>, Piece),
    /// A datagram in one piece, with a header that says so: has so many bytes of data after it.
    Atomic(usize),
    /// It ends.
    Refused(Reason),
    /// Its sender is to be told; what is noted on the packet.
    Told,
}

/// A family whose datagrams come in fragments.
pub(crate) trait Fragmented: Forwarded {
    /// How long fragments wait for the others.
    const PATIENCE: Duration;

    /// What a fragment carries. The node before has found the headers sound.
    fn read(packet: &mut Packet<'_>, index: BufferIndex, extension_headers: usize) -> Fragment<Self::Addr>;
    /// Makes the header of the first fragment that of the datagram, which carries so many bytes.
    fn finish(packet: &mut Packet<'_>, length: usize, extension_headers: usize);
    /// Notes on the first fragment that the others did not come in time.
    fn late(packet: &mut Packet<'_>);
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Fragmented>(setup: &mut Setup<'_>) -> setup::Added {
    let (clock, extension_headers) = (setup.engine.clock, setup.tables.extension_headers.clone());
    Ok(NodeDef::new(Reassemble::<F>::SPEC, move |w| {
        let [local, icmp_error] = w.first_edges();
        Box::new(Reassemble::<F> {
            reassembly: Reassembly::new(clock.clocks(F::PATIENCE)),
            packets: Vec::with_capacity(BUFFERS + FRAME_SIZE),
            extension_headers: extension_headers.clone(),
            local,
            icmp_error,
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
pub(crate) struct Reassemble<F: Fragmented> {
    reassembly: Reassembly<F::Addr>,
    /// Memory for the packets that leave; here so that it is allocated once.
    packets: Vec<BufferIndex>,
    extension_headers: HeaderLimit,
    local: NodeId,
    icmp_error: NodeId,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl<F: Fragmented> Reassemble<F> {
    const SPEC: &'static NodeSpec = &NodeSpec::timer(F::NODES.reassembly, PERIOD)
        .role(Role::Hold)
        .next(&[F::NODES.local, F::NODES.icmp_error])
        .drops(Reason::ALL)
        .events(Event::ALL)
        .trace(F::format);

    /// An interface is deleted: another one may have its number soon.
    pub(crate) fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
        self.reassembly.disown(buffers, interface);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        let packets = &mut self.packets;
        self.reassembly.expire(cx.now, |first| packets.push(first));
        for &first in &*packets {
            F::late(&mut cx.buffers.packet(first));
        }
        cx.send(self.icmp_error, packets);
        packets.clear();
    }

    fn take(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (now, reasons, events, counters) = (cx.now, self.reasons, self.events, cx.counters);
        let (headers, icmp_error) = (self.extension_headers.get(), self.icmp_error);
        let (reassembly, whole) = (&mut self.reassembly, &mut self.packets);
        cx.each_or_keep(frame, |buffers, index| {
            let added = match F::read(&mut buffers.packet(index), index, headers) {
                Fragment::Part(key, piece) => reassembly.add(buffers, now, key, piece),
                Fragment::Atomic(length) => Added::Whole(index, length, 1),
                Fragment::Refused(why) => Added::Refused(why),
                Fragment::Told => return Some(icmp_error),
            };
            match added {
                Added::Kept => None,
                Added::Refused(why) => Some(reasons.drop(&mut buffers.packet(index), why)),
                Added::Whole(first, length, pieces) => {
                    F::finish(&mut buffers.packet(first), length, headers);
                    events.count(counters, Event::Reassembled, 1);
                    events.count(counters, Event::Joined, pieces as u64 - 1);
                    whole.push(first);
                    None
                }
            }
        });
        cx.send(self.local, whole);
        whole.clear();
    }
}

impl<F: Fragmented> Node for Reassemble<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        match frame.is_empty() {
            true => self.expire(cx),
            false => self.take(cx, frame),
        }
        for (packet, why) in self.reassembly.given_up() {
            self.reasons.drop(&mut cx.buffers.packet(packet), why);
            self.packets.push(packet);
        }
        cx.send(NodeId::DROP, &self.packets);
        self.packets.clear();
    }

    fn held(&self) -> usize {
        self.reassembly.waiting()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        self.reassembly.close(buffers);
    }
}
