// SPDX-License-Identifier: Apache-2.0
//! The engine as a node author meets it: a graph built and driven on the test's own thread.

use std::time::Duration;

use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::clock::Clock;
use weft_engine::context::{Context, Version};
use weft_engine::counters::WorkerColumn;
use weft_engine::engine::{Engine, EngineConfig};
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec, FeatureError, FeatureSpec};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::{GraphError, NodeDef, Registration};
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId, ThreadIndex};
use weft_engine::node::{Nexts, Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::publish::Slab;
use weft_engine::trace::{CaptureFilter, Direction};
use weft_engine::worker::Worker;
use weft_stats::{Counter, Reader, Value};

weft_engine::edges! { enum ToSwitch { Switch => "switch" } }
weft_engine::edges! { enum ToSink { Sink => "sink" } }
weft_engine::drops! {
    enum Refused {
        /// the first byte is odd
        Odd = "odd", Error;
    }
}

static SOURCE: NodeSpec = NodeSpec::input("source").next(&["switch"]);
static SWITCH: NodeSpec = NodeSpec::internal("switch").next(&["sink"]).drops(Refused::ALL);
static MIDDLE: ArcSpec<'static> =
    ArcSpec { name: "middle", key: ArcKey::RxInterface, end: ArcEnd::Node("sink") };
static EXTRA: NodeSpec =
    NodeSpec::internal("extra").features(&[FeatureSpec::on("middle"), FeatureSpec::on("error-drop")]);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

const PORT: InterfaceIndex = InterfaceIndex(0);

/// Brings in `wanted` packets whose first byte counts up.
struct Source {
    wanted: usize,
    sent: usize,
    next: Nexts<ToSwitch>,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = Vec::new();
        let wanted = self.wanted.min(FRAME_SIZE);
        let given = cx.buffers.allocate(wanted, |index| packets.push(index));
        self.wanted -= given;
        for &index in &packets {
            cx.buffers.receive(index, HEADROOM, 60, PORT);
            cx.buffers.packet(index).data_mut()[0] = self.sent as u8;
            self.sent += 1;
        }
        cx.counters.interfaces.rx.add(PORT.index(), given as u64, 60 * given as u64);
        cx.counters.interfaces.rx_no_buf.add(PORT.index(), (wanted - given) as u64);
        cx.send(self.next.to(ToSwitch::Switch), &packets);
    }
}

/// Drops odd packets, sends the rest down an arc.
struct Switch {
    arc: ArcId,
    next: Nexts<ToSink>,
    reasons: ReasonBase<Refused>,
}

impl Node for Switch {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, next, reasons) = (cx.arcs(), self.arc, self.next, self.reasons);
        cx.each(frame, |packet| {
            if packet.data()[0] & 1 == 1 {
                return reasons.drop(packet, Refused::Odd);
            }
            arcs.start(arc, PORT, packet).unwrap_or_else(|| next.to(ToSink::Sink))
        });
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

/// Keeps what arrives.
#[derive(Default)]
struct Sink {
    packets: Vec<BufferIndex>,
}

impl Node for Sink {
    fn process(&mut self, _: &mut Context<'_>, frame: &Frame) {
        self.packets.extend_from_slice(frame.packets());
    }

    fn held(&self) -> usize {
        self.packets.len()
    }

    fn close(&mut self, buffers: &mut weft_engine::buffer::BufferCache) {
        buffers.free(&self.packets);
        self.packets.clear();
    }
}

fn build(buffers: usize) -> (Engine, Worker, [NodeId; 4]) {
    let config = EngineConfig {
        buffers: BufferConfig { pools: vec![(0, buffers)], ..BufferConfig::default() },
        ..EngineConfig::default()
    };
    let (mut engine, mut workers) = Engine::new(&config).unwrap();
    let ids = engine
        .register(
            "test",
            Registration {
                arcs: vec![MIDDLE],
                nodes: vec![
                    NodeDef::new(&SOURCE, |w| Box::new(Source { wanted: 0, sent: 0, next: w.nexts() })),
                    NodeDef::new(&SWITCH, |w| {
                        Box::new(Switch { arc: w.arc(&MIDDLE), next: w.nexts(), reasons: w.reasons() })
                    }),
                    NodeDef::new(&SINK, |_| Box::<Sink>::default()),
                    NodeDef::new(&EXTRA, |_| Box::new(Extra)),
                ],
                ..Registration::default()
            },
        )
        .unwrap();
    engine.stats.update(|update| engine.counters.interfaces.set_len(update, 1)).unwrap();
    let ids = [ids[0], ids[1], ids[2], ids[3]];
    (engine, workers.remove(0), ids)
}

fn offer(worker: &mut Worker, source: NodeId, count: usize) {
    worker.node_mut::<Source>(source).unwrap().wanted = count;
}

#[test]
fn every_packet_ends_in_exactly_one_counter() {
    let (mut engine, mut worker, [source, switch, sink, _]) = build(4096);
    worker.turn();
    offer(&mut worker, source, 1000);
    while worker.turn() > 0 {}
    let worker_thread = ThreadIndex(1);
    let rx = engine.counters.interfaces.rx.get(worker_thread, 0).packets;
    let drops = engine.counters.interfaces.drops.get(worker_thread, 0);
    assert_eq!((rx, drops, worker.in_flight()), (1000, 500, 500));
    let odd = engine.graph().node(switch).unwrap().reasons;
    assert_eq!(engine.counters.reasons.sum(odd.index()), 500);
    assert_eq!(engine.counters.vectors.sum(switch.index()), 1000);
    assert_eq!(engine.counters.calls.sum(switch.index()), 4);
    assert!(engine.counters.clocks.sum(switch.index()) > 0);
    assert_eq!(engine.edges(switch), [(sink, 500)], "no descriptor names the way to drop");
    engine.learn_edges();
    worker.turn();
    assert_eq!(engine.edges(switch), [(NodeId::DROP, 500), (sink, 500)]);
    worker.close();
    assert_eq!(engine.buffers.levels()[0].available, 4096);
}

/// Works for 7 clocks and calls the kernel for 100 in each turn, and for 1000 at its end.
struct Caller(Clock);

impl Node for Caller {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        self.0.turn(Duration::from_nanos(7));
        cx.kernel.call(|| self.0.turn(Duration::from_nanos(100)));
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        cx.kernel.call(|| self.0.turn(Duration::from_nanos(1000)));
    }

    fn flushes(&self) -> bool {
        true
    }
}

#[test]
fn system_calls_are_counted_beside_the_node_that_makes_them() {
    static CALLER: NodeSpec = NodeSpec::input("caller");
    let clock = Clock::manual();
    let (mut engine, mut workers) =
        Engine::new(&EngineConfig { clock: Some(clock), ..EngineConfig::default() }).unwrap();
    let node = NodeDef::new(&CALLER, |_| Box::new(Caller(clock)));
    let caller = engine.add_nodes("test", vec![node]).unwrap()[0];
    let worker = &mut workers[0];
    for turn in 1..=3 {
        worker.turn();
        let counters = &engine.counters;
        let counts = [&counters.clocks, &counters.system_calls, &counters.system_clocks];
        assert_eq!(counts.map(|vector| vector.sum(caller.index())), [7 * turn, 2 * turn, 1100 * turn]);
    }
}

#[test]
fn a_dry_pool_is_counted_and_harmless() {
    let (engine, mut worker, [source, _, sink, _]) = build(300);
    worker.turn();
    offer(&mut worker, source, 10_000);
    for _ in 0..100 {
        worker.turn();
    }
    assert_eq!(worker.in_flight(), 300);
    assert!(engine.counters.interfaces.rx_no_buf.sum(0) > 0);
    assert_eq!(worker.node_mut::<Sink>(sink).unwrap().packets.len(), 300);
    worker.close();
    assert_eq!(engine.buffers.levels()[0].available, 300);
}

#[test]
fn a_feature_joins_and_leaves_between_two_turns() {
    let (mut engine, mut worker, [source, _, sink, _]) = build(4096);
    let arc = engine.features().arc("middle").unwrap();
    worker.turn();
    for on in [true, false] {
        assert!(engine.set_feature(arc, PORT, "extra", on).unwrap());
        offer(&mut worker, source, 2);
        worker.turn();
        worker.turn();
        let (node, buffers) = worker.node_and_buffers::<Sink>(sink).unwrap();
        let packets = std::mem::take(&mut node.packets);
        assert_eq!(packets.len(), 1);
        assert_eq!(buffers.packet(packets[0]).data()[1] == 1, on);
        buffers.packet(packets[0]).data_mut()[1] = 0;
        buffers.free(&packets);
    }
}

#[test]
fn packets_for_a_removed_node_are_dropped_with_a_reason() {
    let (mut engine, mut worker, [source, _, sink, _]) = build(1024);
    worker.turn();
    engine.remove_node(sink);
    assert!(engine.reclaim());
    offer(&mut worker, source, 10);
    worker.turn();
    assert_eq!(worker.in_flight(), 0);
    let removed = engine.graph().node(NodeId::DROP).unwrap().reasons.index() + 1;
    assert_eq!(engine.counters.reasons.sum(removed), 5);
    assert!(!engine.reclaim());
    // The id is free again, and the graph complete.
    let ids = engine.add_nodes("test", vec![NodeDef::new(&SINK, |_| Box::<Sink>::default())]).unwrap();
    assert_eq!(ids, [sink]);
}

fn names(reader: &Reader, entry: &str) -> Vec<String> {
    match reader.read(&mut Counter::new(entry)) {
        Ok(Value::Names(names)) => names,
        other => panic!("{entry}: {other:?}"),
    }
}

#[test]
fn the_segment_tells_what_is_counted_and_forgets_a_removed_node() {
    let (mut engine, mut worker, [source, switch, sink, _]) = build(1024);
    let reader = Reader::from_fd(engine.stats.fd().try_clone_to_owned().unwrap()).unwrap();
    worker.turn();
    offer(&mut worker, source, 10);
    while worker.turn() > 0 {}
    engine.reclaim();
    worker.turn();
    let odd = engine.graph().node(switch).unwrap().reasons.index();
    let reason = |what: &str| names(&reader, &format!("/sys/reason/{what}"))[odd].clone();
    assert_eq!(reason("names"), "switch/odd");
    assert_eq!((reason("sentences"), reason("severities")), ("the first byte is odd".into(), "error".into()));
    let edge = |name: &str| names(&reader, "/sys/edge/names").iter().position(|edge| edge == name);
    let packets = |edge: usize| match reader.read(&mut Counter::new("/sys/edge/packets")) {
        Ok(Value::Simple(rows)) => rows.iter().map(|row| row[edge]).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let to_switch = edge("source switch").unwrap();
    assert_eq!(packets(to_switch), [0, 10]);
    assert_eq!(packets(edge("switch sink").unwrap()), [0, 5]);
    assert_eq!(packets(edge("switch drop").unwrap()), [0, 5]);

    engine.remove_node(switch);
    assert_eq!((reason("names"), edge("source switch")), ("deleted".into(), None));
    assert_eq!(names(&reader, "/sys/node/names")[switch.index()], "deleted");
    assert!(reader.dump("/err/switch/").unwrap().is_empty());
    worker.turn();
    engine.reclaim();
    let again = NodeDef::new(&SWITCH, |w| {
        Box::new(Switch { arc: w.arc(&MIDDLE), next: w.nexts(), reasons: w.reasons() })
    });
    assert_eq!(engine.add_nodes("test", vec![again]).unwrap(), [switch]);
    worker.turn();
    let counted = |name: &str| reader.read(&mut Counter::new(name)).unwrap();
    for name in ["/nodes/switch/calls", "/nodes/switch/vectors", "/nodes/switch/clocks", "/err/switch/odd"] {
        assert_eq!(counted(name), Value::SimpleColumn(vec![0, 0]), "{name}");
    }
    assert_eq!(reason("names"), "switch/odd");
    let to_sink = edge("switch sink").unwrap();
    assert_eq!(packets(to_sink), [0, 0]);
    offer(&mut worker, source, 4);
    while worker.turn() > 0 {}
    engine.reclaim();
    worker.turn();
    assert_eq!(packets(to_sink), [0, 2]);
    assert_eq!(packets(edge("source switch").unwrap()), [0, 4]);
    assert_eq!(engine.edges(switch), [(NodeId::DROP, 2), (sink, 2)]);
}

#[test]
fn features_of_error_drop_see_what_is_dropped_once() {
    let (mut engine, mut worker, [source, _, _, extra]) = build(1024);
    let arc = engine.features().arc("error-drop").unwrap();
    let (ring, mut captured) = rtrb::RingBuffer::new(64);
    let filter =
        CaptureFilter { rx: false, tx: false, drop: true, interface: InterfaceIndex::NONE, max_bytes: 2 };
    engine.post(ThreadIndex(1), move |worker| worker.capture(Some((filter, ring))));
    worker.turn();
    for (seen, on) in [(5, true), (5, false)] {
        assert!(engine.set_feature(arc, PORT, "extra", on).unwrap());
        offer(&mut worker, source, 10);
        while worker.turn() > 0 {}
        assert_eq!(engine.counters.vectors.sum(extra.index()), seen);
    }
    let thread = ThreadIndex(1);
    assert_eq!(engine.counters.interfaces.drops.get(thread, PORT.index()), 10);
    assert_eq!(std::iter::from_fn(|| captured.pop().ok()).count(), 10);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let (mut engine, _worker, _) = build(1024);
    static NODE: NodeSpec =
        NodeSpec::internal("node").features(&[FeatureSpec::on("new"), FeatureSpec::on("middle")]);
    static CONTRARY: NodeSpec =
        NodeSpec::internal("contrary").features(&[FeatureSpec::on("new").after(&["node"]).before(&["node"])]);
    static LOST: NodeSpec = NodeSpec::internal("lost").features(&[FeatureSpec::on("new")]).next(&["nowhere"]);
    let arc = ArcSpec { name: "new", key: ArcKey::RxInterface, end: ArcEnd::Node("node") };
    for spec in [&CONTRARY, &LOST] {
        let def = |spec| NodeDef::new(spec, |_| Box::new(Extra));
        let nodes = vec![def(&NODE), def(spec)];
        let refused =
            engine.register("x", Registration { arcs: vec![arc], nodes, ..Registration::default() });
        assert!(refused.is_err());
        assert!(engine.graph().id("node").is_none());
        assert!(engine.features().arc("new").is_err());
        let middle = engine.features().list().find(|arc| arc.name == "middle").unwrap();
        assert_eq!(middle.features().map(|feature| feature.node).collect::<Vec<_>>(), ["extra"]);
    }
}

#[test]
fn a_feature_is_announced_before_its_node_is_made() {
    let (mut engine, _worker, _) = build(1024);
    static LATER: NodeSpec =
        NodeSpec::internal("later").features(&[FeatureSpec::on("middle").before(&["extra"])]);
    engine.register("test", Registration { later: vec![&LATER], ..Registration::default() }).unwrap();
    let arc = engine.features().arc("middle").unwrap();
    let refused = engine.set_feature(arc, PORT, "later", true).unwrap_err();
    assert_eq!(refused, FeatureError::NotRunning("later".into(), "middle".into()));
    engine.add_nodes("test", vec![NodeDef::new(&LATER, |_| Box::new(Extra))]).unwrap();
    assert!(engine.set_feature(arc, PORT, "later", true).unwrap());
    let error = engine.add_nodes("x", vec![NodeDef::new(&LATER, |_| Box::new(Extra))]).unwrap_err();
    assert!(error.to_string().contains("test brought it"), "{error}");
}

#[test]
fn wrong_graphs_are_refused_with_both_names() {
    let (mut engine, _worker, _) = build(1024);
    let again = engine.add_nodes("plugin x", vec![NodeDef::new(&EXTRA, |_| Box::new(Extra))]).unwrap_err();
    assert_eq!(again.to_string(), "node 'extra' of plugin x exists already: test brought it");
    static LOST: NodeSpec = NodeSpec::internal("lost").next(&["nowhere"]);
    let lost = engine.add_nodes("plugin x", vec![NodeDef::new(&LOST, |_| Box::new(Extra))]).unwrap_err();
    assert!(matches!(lost, GraphError::UnknownNext { .. }));
    assert!(engine.graph().id("lost").is_none());
}

#[test]
fn a_trace_shows_the_way_and_a_capture_the_bytes() {
    let (mut engine, mut worker, [source, switch, sink, _]) = build(1024);
    let (ring, mut captured) = rtrb::RingBuffer::new(64);
    let filter =
        CaptureFilter { rx: true, tx: false, drop: true, interface: InterfaceIndex::NONE, max_bytes: 20 };
    engine.post(ThreadIndex(1), move |worker| {
        worker.trace(source, 2);
        worker.capture(Some((filter, ring)));
    });
    worker.turn();
    offer(&mut worker, source, 10);
    worker.turn();
    let way: Vec<_> = worker.trace_records().iter().map(|r| (r.packet, r.node, r.next)).collect();
    assert_eq!(
        way,
        [
            (0, source, Some(switch)),
            (1, source, Some(switch)),
            (0, switch, Some(sink)),
            (1, switch, Some(NodeId::DROP)),
            (0, sink, None),
            (1, NodeId::DROP, None),
        ]
    );
    let mut seen = [0; 2];
    while let Ok(packet) = captured.pop() {
        assert_eq!((packet.length, packet.data().len()), (60, 20));
        seen[usize::from(packet.direction != Direction::Rx)] += 1;
    }
    assert_eq!(seen, [10, 5]);
    assert_eq!(engine.counters.workers.get(ThreadIndex(1), WorkerColumn::CaptureLost as usize), 0);
    offer(&mut worker, source, 100);
    while worker.turn() > 0 {}
    let kept = std::iter::from_fn(|| captured.pop().ok()).count() as u64;
    let lost = engine.counters.workers.get(ThreadIndex(1), WorkerColumn::CaptureLost as usize);
    assert_eq!((kept, lost), (64, 100 + 50 - 64), "the ring holds 64");
    worker.clear_trace();
    assert!(worker.trace_records().is_empty());
}

#[test]
fn a_thread_sleeps_when_idle_and_wakes_for_a_message() {
    let (mut engine, mut worker, _) = build(1024);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = stop.clone();
    let thread = std::thread::spawn(move || worker.run(&flag));
    let answer = engine.ask(ThreadIndex(1), |worker| worker.in_flight());
    assert_eq!(answer.recv_timeout(std::time::Duration::from_secs(5)), Ok(0));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let sleeps = || engine.counters.workers.get(ThreadIndex(1), WorkerColumn::Sleeps as usize);
    let before = sleeps();
    while sleeps() == before {
        assert!(std::time::Instant::now() < deadline, "the worker spins");
        std::thread::yield_now();
    }
    let answer = engine.ask(ThreadIndex(1), |worker| worker.in_flight());
    assert_eq!(answer.recv_timeout(std::time::Duration::from_secs(5)), Ok(0));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    engine.wake_all();
    thread.join().unwrap();
}

#[test]
fn changes_at_once_are_run_together() {
    let (mut engine, mut workers) = Engine::new(&EngineConfig::default()).unwrap();
    let (sender, seen) = std::sync::mpsc::channel();
    engine.at_once(|engine| {
        for number in 0..3 {
            let sender = sender.clone();
            engine.post_all(move |_| sender.send(number).unwrap());
        }
        // Waits for what is posted before it, and so for all of them.
        engine.after_workers(move |_| sender.send(100).unwrap());
    });
    engine.reclaim();
    assert!(seen.try_recv().is_err(), "the worker has not had a turn");
    workers[0].turn();
    engine.reclaim();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [0, 1, 2, 100]);
}

#[test]
fn the_id_of_a_node_that_has_gone_is_used_for_another_with_as_many_reasons() {
    let (mut engine, mut workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut add = |engine: &mut Engine, spec: &'static NodeSpec| {
        let made = engine
            .add_nodes("test", vec![NodeDef::new(spec, |_| Box::<weft_engine::drop::DropNode>::default())]);
        workers[0].turn();
        engine.reclaim();
        made.unwrap()[0]
    };
    let sink = add(&mut engine, &SINK);
    let switch = add(&mut engine, &SWITCH);
    engine.remove_node(switch);
    static PLAIN: NodeSpec = NodeSpec::internal("plain");
    assert_ne!(
        add(&mut engine, &PLAIN),
        switch,
        "it has no reasons, and the worker had not forgotten the other"
    );
    static OTHER: NodeSpec = NodeSpec::internal("other").drops(Refused::ALL);
    assert_eq!(add(&mut engine, &OTHER), switch);
    let name = |id| engine.graph().node(id).map(|info| info.name.clone());
    assert_eq!((name(sink).as_deref(), name(switch).as_deref()), (Some("sink"), Some("other")));
    let of = engine.graph().reasons().find(|(_, info, _)| info.node == switch);
    assert_eq!(of.and_then(|(_, _, node)| node), Some("other"));
}

static FRONT: NodeSpec = NodeSpec::internal("front").next(&["sink"]).in_front_of("switch");

/// Takes packets whose first byte is a multiple of 4 out of the vectors of `switch`.
struct Front(NodeId);

impl Node for Front {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (packets, sink) = (frame.packets(), self.0);
        let mut at = 0;
        while at < packets.len() {
            at = cx.take_until::<0>(frame, at..packets.len(), |_, packet| {
                let taken = packet.data()[0] % 4 == 0;
                packet.data_mut()[1] = 9;
                taken.then_some(sink)
            });
            if let Some(&index) = packets.get(at) {
                cx.leave(&[index]);
                at += 1;
            }
        }
        cx.leave_vectors(1);
        cx.hand_on_taken();
    }
}

#[test]
fn a_node_in_front_takes_packets_out_of_the_vectors_of_another() {
    let (mut engine, mut worker, [source, switch, sink, _]) = build(1024);
    let add = |engine: &mut Engine| {
        engine.add_nodes("test", vec![NodeDef::new(&FRONT, |w| Box::new(Front(w.id("sink").unwrap())))])
    };
    let front = add(&mut engine).unwrap()[0];
    let pass = |worker: &mut Worker, wanted: usize| -> Vec<u8> {
        worker.turn();
        let source = worker.node_mut::<Source>(source).unwrap();
        (source.wanted, source.sent) = (wanted, 0);
        worker.turn();
        let (sink, buffers) = worker.node_and_buffers::<Sink>(sink).unwrap();
        let first = sink.packets.iter().map(|index| buffers.packet(*index).data()[0]).collect();
        buffers.free(&sink.packets);
        sink.packets.clear();
        first
    };
    let given = |engine: &Engine, node: NodeId| engine.counters.vectors.sum(node.index());
    // What is taken overtakes what is left; each in its own order.
    assert_eq!(pass(&mut worker, 9), [0, 4, 8, 2, 6]);
    assert_eq!((given(&engine, front), given(&engine, switch)), (3, 6));
    // It has left the next vector alone.
    assert_eq!(pass(&mut worker, 9), [0, 2, 4, 6, 8]);
    assert_eq!((given(&engine, front), given(&engine, switch)), (3, 15));
    // Nor does it take anything of a trace.
    worker.trace(source, 1);
    assert_eq!(pass(&mut worker, 9), [0, 2, 4, 6, 8]);
    let way: Vec<NodeId> = worker.trace_records().iter().map(|record| record.node).collect();
    assert_eq!(way, [source, switch, sink]);
    worker.clear_trace();
    assert_eq!(pass(&mut worker, 9), [0, 4, 8, 2, 6]);
    engine.learn_edges();
    pass(&mut worker, 0);
    assert_eq!(engine.edges(front), [(sink, 6)]);
    assert!(engine.edges(switch).contains(&(front, 6)), "they came by way of it");
    engine.remove_node(front);
    assert_eq!(pass(&mut worker, 9), [0, 2, 4, 6, 8]);
    engine.remove_node(switch);
    assert!(add(&mut engine).unwrap_err().to_string().contains("names 'switch', and there is no such node"));
}

type Change<'a> = Box<dyn FnMut(&mut Engine) + 'a>;

#[test]
fn a_version_is_another_one_after_each_change() {
    static WATCH: NodeSpec = NodeSpec::input("watch");
    #[derive(Default)]
    struct Watch(Version);
    impl Node for Watch {
        fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
            self.0 = cx.version();
        }
    }
    let (mut engine, mut worker, [source, ..]) = build(256);
    let watch = engine.add_nodes("test", vec![NodeDef::new(&WATCH, |_| Box::<Watch>::default())]).unwrap()[0];
    let mut slab = Slab::new(&engine.domain, 4);
    let id = slab.insert(&mut engine.domain, 1).unwrap();
    let arc = engine.features().arc("middle").unwrap();
    let seen = |worker: &mut Worker| {
        worker.turn();
        worker.node_mut::<Watch>(watch).unwrap().0
    };
    let mut last = seen(&mut worker);
    assert_eq!(seen(&mut worker), last);
    let mut changes: Vec<(&str, Change<'_>)> = vec![
        ("an object is replaced", Box::new(|engine| slab.replace(&mut engine.domain, id, 2))),
        (
            "a feature is enabled",
            Box::new(|engine| {
                engine.set_feature(arc, PORT, "extra", true).unwrap();
            }),
        ),
        ("a node goes", Box::new(|engine| engine.remove_node(source))),
    ];
    for (what, change) in &mut changes {
        change(&mut engine);
        let now = seen(&mut worker);
        assert_ne!(now, last, "{what}");
        last = now;
    }
}
