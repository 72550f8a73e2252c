// SPDX-License-Identifier: Apache-2.0
//! Packets that change the worker in the middle of a feature arc.

use weft_engine::buffer::{BufferCache, BufferConfig, HEADROOM};
use weft_engine::context::Context;
use weft_engine::engine::{Engine, EngineConfig};
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec, FeatureSpec};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId, ThreadIndex};
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::worker::Worker;

static SOURCE: NodeSpec = NodeSpec::input("source");
static ARC: ArcSpec<'static> = ArcSpec { name: "test", key: ArcKey::RxInterface, end: ArcEnd::Node("sink") };
static SWITCH: NodeSpec = NodeSpec::internal("switch").features(&[FeatureSpec::on("test")]);
static EXTRA: NodeSpec = NodeSpec::internal("extra").features(&[FeatureSpec::on("test").before(&["switch"])]);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

const PORT: InterfaceIndex = InterfaceIndex(3);
const FIRST: ThreadIndex = ThreadIndex(1);
const RING: usize = 8;
const BUFFERS: usize = 1024;

/// Brings in `wanted` packets with a serial number, on the first worker.
struct Source {
    wanted: u8,
    arc: ArcId,
    sink: NodeId,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        for serial in 0..std::mem::take(&mut self.wanted) {
            let index = cx.buffers.allocate_one().expect("the pool is larger than the test");
            cx.buffers.receive(index, HEADROOM, 60, PORT);
            cx.buffers.packet(index).data_mut()[0] = serial;
            let first = cx.arcs().start(self.arc, PORT, &mut cx.buffers.packet(index));
            cx.send(first.unwrap_or(self.sink), &[index]);
        }
    }
}

/// On the first worker, hands all packets to the second, and drops what finds no room; there, passes them on.
struct Switch;

impl Node for Switch {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if cx.thread == FIRST {
            let sent = cx.hand_off(ThreadIndex(2), frame.packets());
            cx.send(NodeId::DROP, &frame.packets()[sent..]);
            return;
        }
        let arcs = cx.arcs();
        cx.each(frame, |packet| arcs.next(packet));
    }
}

/// Marks packets and passes them on along the arc.
struct Extra;

impl Node for Extra {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let arcs = cx.arcs();
        cx.each(frame, |packet| {
            packet.data_mut()[1] = 1;
            arcs.next(packet)
        });
    }
}

/// Keeps serial number and mark of what arrives.
#[derive(Default)]
struct Sink {
    seen: Vec<[u8; 2]>,
    packets: Vec<BufferIndex>,
}

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        for &index in frame.packets() {
            let packet = cx.buffers.packet(index);
            self.seen.push([packet.data()[0], packet.data()[1]]);
        }
        self.packets.extend_from_slice(frame.packets());
    }

    fn held(&self) -> usize {
        self.packets.len()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        buffers.free(&self.packets);
    }
}

struct Bed {
    engine: Engine,
    workers: Vec<Worker>,
    arc: ArcId,
    source: NodeId,
    sink: NodeId,
}

fn bed() -> Bed {
    let config = EngineConfig {
        workers: vec![0, 0],
        buffers: BufferConfig { pools: vec![(0, BUFFERS)], ..BufferConfig::default() },
        stats_size: 1 << 20,
        handoff: RING,
        ..EngineConfig::default()
    };
    let (mut engine, mut workers) = Engine::new(&config).expect("an engine");
    let arc = engine.add_arc("test", &ARC).expect("an arc");
    let sink =
        engine.add_nodes("test", vec![NodeDef::new(&SINK, |_| Box::<Sink>::default())]).expect("a sink")[0];
    let defs = vec![
        NodeDef::new(&SOURCE, |_| Box::new(Source { wanted: 0, arc, sink })),
        NodeDef::new(&SWITCH, |_| Box::new(Switch)),
        NodeDef::new(&EXTRA, |_| Box::new(Extra)),
    ];
    let ids = engine.add_nodes("test", defs).expect("nodes");
    for worker in &mut workers {
        worker.turn();
    }
    Bed { engine, workers, arc, source: ids[0], sink }
}

impl Bed {
    fn enable(&mut self, feature: &str, on: bool) {
        self.engine.set_feature(self.arc, PORT, feature, on).expect("the feature exists");
    }

    fn bring(&mut self, wanted: u8) {
        self.workers[0].node_mut::<Source>(self.source).expect("the source").wanted = wanted;
        self.workers[0].turn();
    }

    fn seen(&mut self) -> Vec<[u8; 2]> {
        self.workers[1].turn();
        std::mem::take(&mut self.workers[1].node_mut::<Sink>(self.sink).expect("the sink").seen)
    }
}

#[test]
fn packets_arrive_in_order_and_what_finds_no_room_stays() {
    let mut bed = bed();
    bed.enable("switch", true);
    bed.bring(12);
    assert_eq!((bed.workers[0].in_flight(), bed.workers[1].in_flight()), (0, RING));
    assert_eq!(bed.engine.counters.vectors.sum(NodeId::DROP.index()), 12 - RING as u64);
    assert_eq!(bed.seen(), (0..RING as u8).map(|serial| [serial, 0]).collect::<Vec<_>>());
    // Some are on their way when the workers end.
    bed.bring(5);
    bed.workers.iter_mut().for_each(Worker::close);
    assert_eq!(bed.engine.buffers.levels()[0].available, BUFFERS);
}

#[test]
fn a_packet_finds_its_place_in_other_chains() {
    let mut bed = bed();
    bed.enable("switch", true);
    bed.bring(1);
    // The chain is longer now, but the packet is behind the feature that is new.
    bed.enable("extra", true);
    assert_eq!(bed.seen(), [[0, 0]]);
    bed.bring(1);
    // The feature that it is in is gone: on to what follows the arc.
    bed.enable("switch", false);
    assert_eq!(bed.seen(), [[0, 1]]);
    bed.enable("switch", true);
    bed.bring(1);
    bed.engine.forget_features(PORT);
    assert_eq!(bed.seen(), [[0, 1]]);
}

#[test]
fn an_action_waits_for_packets_that_are_on_their_way() {
    let mut bed = bed();
    bed.enable("switch", true);
    bed.bring(3);
    let (sender, done) = crossbeam_channel::bounded(1);
    bed.engine.after_workers(move |_| sender.send(()).expect("the test waits"));
    // The first worker may turn as often as it likes.
    for _ in 0..10 {
        bed.engine.reclaim();
        bed.workers[0].turn();
    }
    assert!(done.try_recv().is_err());
    for _ in 0..10 {
        bed.engine.reclaim();
        for worker in &mut bed.workers {
            worker.turn();
        }
        if done.try_recv().is_ok() {
            assert_eq!(bed.seen().len(), 3);
            return;
        }
    }
    panic!("the action was forgotten");
}
