// SPDX-License-Identifier: Apache-2.0
//! Ports without hardware: a source of frames, and sinks that keep the bytes.

use weft_engine::buffer::{BufferCache, HEADROOM, Metadata};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::{BufferIndex, Context, InterfaceIndex};
use weft_nodes::headers::EtherType;

/// Longest segment that the source makes, as if the device's buffers were small.
const SEGMENT: usize = 1700;

weft_engine::edges! { enum Next { Ethernet => "ethernet-input" } }

static SOURCE: NodeSpec = NodeSpec::input("test-source").next(Next::NAMES);
static SINK: NodeSpec = NodeSpec::internal("test-sink").role(Role::Output);

/// Brings in the frames that the test has left here.
pub struct Source {
    pub frames: Vec<(InterfaceIndex, Vec<u8>)>,
    next: Nexts<Next>,
}

impl Source {
    pub fn def() -> NodeDef<'static> {
        NodeDef::new(&SOURCE, |wiring| Box::new(Source { frames: Vec::new(), next: wiring.nexts() }))
    }
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let count = self.frames.len().min(FRAME_SIZE);
        let packets: Vec<_> = self
            .frames
            .drain(..count)
            .map(|(port, bytes)| {
                cx.counters.interfaces.rx.add(port.index(), 1, bytes.len() as u64);
                receive(cx.buffers, port, &bytes)
            })
            .collect();
        cx.send(self.next.to(Next::Ethernet), &packets);
    }
}

fn receive(buffers: &mut BufferCache, port: InterfaceIndex, bytes: &[u8]) -> BufferIndex {
    let mut first = None;
    for part in bytes.chunks(SEGMENT) {
        let index = buffers.allocate_one().expect("the pool is larger than any test needs");
        buffers.receive_frame(index, HEADROOM, part.len(), port, 14);
        buffers.packet(index).data_mut().copy_from_slice(part);
        match first {
            None => first = Some(index),
            Some(first) => buffers.chain(first, index),
        }
    }
    first.expect("a frame has bytes")
}

/// Keeps the bytes of what arrives. Counts what it transmits, unless it is the host's side.
pub struct Sink {
    port: Option<InterfaceIndex>,
    pub frames: Vec<Vec<u8>>,
    /// What the graph knew of each.
    pub contexts: Vec<Metadata>,
    pub count: u64,
    /// Of these, those that the main thread has made: what the router says to the link.
    pub said: u64,
}

impl Sink {
    pub fn def(name: String, port: Option<InterfaceIndex>) -> NodeDef<'static> {
        NodeDef::named(&SINK, name, move |_| {
            Box::new(Sink { port, frames: Vec::new(), contexts: Vec::new(), count: 0, said: 0 })
        })
    }
}

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        for &index in frame.packets() {
            let mut bytes = Vec::new();
            let mut next = Some(index);
            while let Some(segment) = next {
                let packet = cx.buffers.packet(segment);
                bytes.extend_from_slice(packet.data());
                next = packet.meta.next_segment();
            }
            if let Some(port) = self.port {
                cx.counters.interfaces.tx.add(port.index(), 1, bytes.len() as u64);
            }
            let meta = *cx.buffers.packet(index).meta;
            self.said += u64::from(meta.rx_interface == InterfaceIndex::NONE && is_link_talk(&bytes));
            self.frames.push(bytes);
            self.contexts.push(meta);
            self.count += 1;
            cx.buffers.free_one(index);
        }
    }
}

/// Whether a frame is ARP, or IPv6's messages to a link in its place: what no node makes for a packet that died.
fn is_link_talk(frame: &[u8]) -> bool {
    let ether_type = frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    match ether_type.map(EtherType) {
        Some(EtherType::ARP) => true,
        Some(EtherType::IPV6) => {
            matches!(frame.get(20), Some(0))
                || matches!((frame.get(20), frame.get(54)), (Some(58), Some(128..)))
        }
        _ => false,
    }
}
