// SPDX-License-Identifier: Apache-2.0
//! ip4-reassembly: fragments for this host wait here until their datagram is whole (RFC 1812 section 4.2.2.7).
//!
//! ip4-local sends them before anything else sees them, and gets the whole datagram back, so that features, handlers and the
//! host know of no fragments. What is refused, and the bounds: [`crate::reassembly`]. The sender of a datagram that does
//! not become whole in time is told, if its first fragment has come (RFC 1122 section 3.3.2). Fragments that are part of a whole
//! datagram are not dropped, and count as an event.

use std::net::Ipv4Addr;
use std::time::Duration;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::{BufferIndex, Context, InterfaceIndex, NodeId};

use super::icmp_error::IcmpError;
use super::input::format_header;
use crate::context::IpContext;
use crate::headers::{Ipv4Header, checksum};
use crate::reassembly::{Added, BUFFERS, Key, Piece, Reason, Reassembly};
use crate::setup::{Added as AddedNode, Setup, built_in};

weft_engine::edges! {
    /// Where packets go.
    pub enum Next { Local => "ip4-local", IcmpError => "ip4-icmp-error" }
}

weft_engine::events! {
    /// What became of fragments that are not dropped.
    pub enum Event {
        /// datagrams that have become whole
        Reassembled = "reassembled", Info;
        /// fragments that are part of them, beside the first of each
        Joined = "joined", Info;
    }
}

/// Descriptor of ip4-reassembly.
pub static IP4_REASSEMBLY: NodeSpec = NodeSpec::timer("ip4-reassembly", Duration::from_secs(1))
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

/// How long fragments wait for the others: what Linux has, and half of what RFC 1122 section 3.3.2 recommends at least, as
/// strangers can fill the table.
const PATIENCE: Duration = Duration::from_secs(30);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> AddedNode {
    let clock = setup.engine.clock;
    Ok(NodeDef::new(&IP4_REASSEMBLY, move |w| {
        Box::new(Ip4Reassembly {
            reassembly: Reassembly::new(clock.clocks(PATIENCE)),
            packets: Vec::with_capacity(BUFFERS + FRAME_SIZE),
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
pub struct Ip4Reassembly {
    reassembly: Reassembly<Ipv4Addr>,
    /// Memory for the packets that leave; here so that it is allocated once.
    packets: Vec<BufferIndex>,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl Ip4Reassembly {
    /// An interface is deleted: another one may have its number soon.
    pub fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
        self.reassembly.disown(buffers, interface);
    }

    fn expire(&mut self, cx: &mut Context<'_>) {
        let packets = &mut self.packets;
        self.reassembly.expire(cx.now, |first| packets.push(first));
        for &first in &*packets {
            IcmpError::REASSEMBLY_TIMEOUT.mark(&mut cx.buffers.packet(first));
        }
        cx.send(self.next.to(Next::IcmpError), packets);
        packets.clear();
    }

    fn take(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (now, reasons, counters) = (cx.now, self.reasons, cx.counters);
        let (reassembly, whole) = (&mut self.reassembly, &mut self.packets);
        cx.each_or_keep(frame, |buffers, index| {
            let mut packet = buffers.packet(index);
            let Some((key, piece)) = read(&packet, index) else {
                return Some(reasons.drop(&mut packet, Reason::BadLength));
            };
            match reassembly.add(buffers, now, key, piece) {
                Added::Kept => None,
                Added::Refused(why) => Some(reasons.drop(&mut buffers.packet(index), why)),
                Added::Whole(first, length, pieces) => {
                    finish(&mut buffers.packet(first), length);
                    self.events.count(counters, Event::Reassembled, 1);
                    self.events.count(counters, Event::Joined, pieces as u64 - 1);
                    whole.push(first);
                    None
                }
            }
        });
        cx.send(self.next.to(Next::Local), whole);
        whole.clear();
    }
}

impl Node for Ip4Reassembly {
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

/// What a fragment carries. ip4-input has checked the header and taken padding off.
fn read(packet: &Packet<'_>, index: BufferIndex) -> Option<(Key<Ipv4Addr>, Piece)> {
    let ip = packet.header::<Ipv4Header>()?;
    let header = ip.header_length();
    let key = Key {
        table: packet.meta.table(),
        source: ip.source(),
        destination: ip.destination(),
        identification: ip.identification.get().into(),
        protocol: ip.protocol.0,
    };
    let length = packet.meta.total_length().checked_sub(header)?;
    let (offset, more) = (ip.fragment_offset(), ip.more_fragments());
    Some((key, Piece { packet: index, header, offset, length, more }))
}

/// Makes the header of the first fragment that of the datagram, which carries so many bytes.
fn finish(packet: &mut Packet<'_>, length: usize) {
    let Some(ip) = packet.header_mut::<Ipv4Header>() else { return };
    let header = ip.header_length();
    ip.total_length.set((header + length) as u16);
    ip.flags_offset.set(0);
    ip.checksum.set(0);
    let sum = packet.data().get(..header).map_or(0, checksum::of);
    if let Some(ip) = packet.header_mut::<Ipv4Header>() {
        ip.checksum.set(sum);
    }
    packet.meta.hash = 0;
}
