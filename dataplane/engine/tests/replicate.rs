// SPDX-License-Identifier: Apache-2.0
//! Copies of packets in a graph: a node floods what it gets, the pool is too small at times, and no packet is lost from
//! the books: received + copies = arrived + in flight, and copies + lost = asked for.

use proptest::prelude::*;
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::context::{Context, MAX_COPIES};
use weft_engine::counters::WorkerColumn;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::{BufferIndex, Engine, EngineConfig, InterfaceIndex, NodeId, ThreadIndex, Worker};

weft_engine::edges! { enum ToFlood { Flood => "flood" } }
weft_engine::edges! { enum ToSink { Sink => "sink" } }

static SOURCE: NodeSpec = NodeSpec::input("source").next(ToFlood::NAMES);
static FLOOD: NodeSpec = NodeSpec::internal("flood").next(ToSink::NAMES);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

/// Brings in packets of so many segments each.
struct Source {
    packets: Vec<usize>,
    received: usize,
    next: Nexts<ToFlood>,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        for segments in self.packets.drain(..) {
            let mut buffers = Vec::new();
            if cx.buffers.allocate(segments, |index| buffers.push(index)) < segments {
                buffers.into_iter().for_each(|index| cx.buffers.give_back(index));
                continue;
            }
            for (i, &index) in buffers.iter().enumerate() {
                cx.buffers.receive(index, HEADROOM, 100, InterfaceIndex::NONE);
                cx.buffers.packet(index).data_mut().fill(self.received as u8 ^ i as u8);
            }
            buffers[1..].iter().for_each(|segment| cx.buffers.chain(buffers[0], *segment));
            self.received += 1;
            cx.send(self.next.to(ToFlood::Flood), &buffers[..1]);
        }
    }
}

/// Sends each packet on, and so many copies of it.
struct Flood {
    wanted: usize,
    asked: usize,
    copies: Vec<BufferIndex>,
    next: Nexts<ToSink>,
}

impl Node for Flood {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let sink = self.next.to(ToSink::Sink);
        for &index in frame.packets() {
            cx.replicate(index, self.wanted, &mut self.copies);
            self.asked += self.wanted;
        }
        cx.send(sink, &self.copies);
        self.copies.clear();
        cx.each(frame, |_| sink);
    }
}

/// Frees what arrives, after a look at it.
#[derive(Default)]
struct Sink {
    arrived: usize,
}

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.arrived += frame.len();
        for &index in frame.packets() {
            let (mut next, mut place) = (Some(index), 0);
            let first = cx.buffers.packet(index).data()[0];
            while let Some(segment) = next {
                let packet = cx.buffers.packet(segment);
                assert!(packet.data().iter().all(|byte| *byte == first ^ place), "bytes of another packet");
                (next, place) = (packet.meta.next_segment(), place + 1);
            }
        }
        cx.buffers.free(frame.packets());
    }
}

fn build(buffers: usize) -> (Engine, Worker, [NodeId; 3]) {
    let config = EngineConfig {
        buffers: BufferConfig { pools: vec![(0, buffers)], ..BufferConfig::default() },
        stats_size: 4 << 20,
        ..EngineConfig::default()
    };
    let (mut engine, mut workers) = Engine::new(&config).unwrap();
    let nodes = vec![
        NodeDef::new(&SOURCE, |w| Box::new(Source { packets: Vec::new(), received: 0, next: w.nexts() })),
        NodeDef::new(&FLOOD, |w| {
            Box::new(Flood { wanted: 0, asked: 0, copies: Vec::new(), next: w.nexts() })
        }),
        NodeDef::new(&SINK, |_| Box::<Sink>::default()),
    ];
    let ids = engine.add_nodes("test", nodes).unwrap();
    let mut worker = workers.remove(0);
    worker.turn();
    (engine, worker, [ids[0], ids[1], ids[2]])
}

fn column(engine: &Engine, column: WorkerColumn) -> usize {
    engine.counters.workers.get(ThreadIndex(1), column as usize) as usize
}

#[test]
fn copies_beyond_the_bound_are_counted_and_not_made() {
    let (engine, mut worker, [source, flood, sink]) = build(1024);
    worker.node_mut::<Flood>(flood).unwrap().wanted = MAX_COPIES + 7;
    worker.node_mut::<Source>(source).unwrap().packets = vec![1];
    while worker.turn() > 0 {}
    assert_eq!(worker.node_mut::<Sink>(sink).unwrap().arrived, MAX_COPIES + 1);
    let counted = [WorkerColumn::Copies, WorkerColumn::CopiesLost].map(|name| column(&engine, name));
    assert_eq!(counted, [MAX_COPIES, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_copy_is_lost_from_the_books(
        turns in prop::collection::vec((prop::collection::vec(1usize..4, 0..20), 0usize..30), 1..12),
    ) {
        let (engine, mut worker, [source, flood, sink]) = build(300);
        for (packets, wanted) in turns {
            worker.node_mut::<Flood>(flood).unwrap().wanted = wanted;
            worker.node_mut::<Source>(source).unwrap().packets = packets;
            while worker.turn() > 0 {}
        }
        let received = worker.node_mut::<Source>(source).unwrap().received;
        let asked = worker.node_mut::<Flood>(flood).unwrap().asked;
        let arrived = worker.node_mut::<Sink>(sink).unwrap().arrived;
        let (copies, lost) = (column(&engine, WorkerColumn::Copies), column(&engine, WorkerColumn::CopiesLost));
        prop_assert_eq!(received + copies, arrived + worker.in_flight());
        prop_assert_eq!(copies + lost, asked);
        worker.close();
        prop_assert_eq!(engine.buffers.levels()[0].available, 300);
    }
}
