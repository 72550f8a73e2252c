// SPDX-License-Identifier: Apache-2.0
//! The device nodes in a graph of their own, on a worker that the test turns by hand: what comes in on one device goes
//! out on the other, every packet is counted once, and every buffer comes home.

#![cfg(not(loom))]

mod common;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use common::{Namespace, RawSocket, eventually, serial, udp, veth};
use weft_devices::DEVICE_INPUT_ARC;
use weft_devices::af_xdp::input::{AF_XDP_INPUT, AfXdpInput, RxQueue};
use weft_devices::af_xdp::memory::BufferMemory;
use weft_devices::af_xdp::output::{AF_XDP_OUTPUT, AfXdpOutput, TxQueue};
use weft_devices::af_xdp::port::{AfXdpConfig, AfXdpPort, Queue};
use weft_devices::af_xdp::socket::{QueueId, RingSizes};
use weft_devices::af_xdp::umem::Umem;
use weft_devices::tap::input::{Side, TAP_INPUT, TapInput};
use weft_devices::tap::output::{TAP_OUTPUT, TapOutput};
use weft_devices::tap::{Tap, TapConfig};
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec};
use weft_engine::{BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, ThreadIndex, Worker};

const LEFT: InterfaceIndex = InterfaceIndex(0);
const RIGHT: InterfaceIndex = InterfaceIndex(1);
const WORKER: ThreadIndex = ThreadIndex(1);
const BUFFERS: usize = 1024;
const RING: u32 = 64;
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

static CROSS: NodeSpec = NodeSpec::internal("ethernet-input");

/// In the place of everything between two devices: from the left to the right, and back.
struct Cross {
    out: Arc<Mutex<[NodeId; 2]>>,
}

impl Node for Cross {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let out = *self.out.lock().unwrap_or_else(PoisonError::into_inner);
        cx.each(frame, |packet| {
            let left = packet.meta.rx_interface == LEFT;
            packet.meta.tx_interface = if left { RIGHT } else { LEFT };
            out[usize::from(left)]
        });
    }
}

/// A graph of the input nodes, [`Cross`], and an output node on either side.
struct Bed {
    engine: Engine,
    worker: Worker,
    af_xdp_input: NodeId,
    tap_input: NodeId,
    out: Arc<Mutex<[NodeId; 2]>>,
}

impl Bed {
    fn new() -> Bed {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, BUFFERS)], ..BufferConfig::default() },
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config).expect("an engine");
        let arc = engine.add_arc("test", &DEVICE_INPUT_ARC).expect("an arc");
        let (out, clock) = (Arc::new(Mutex::new([NodeId::DROP; 2])), engine.clock);
        let nodes = vec![
            NodeDef::new(&CROSS, |_| Box::new(Cross { out: Arc::clone(&out) })),
            NodeDef::new(&AF_XDP_INPUT, |w| Box::new(AfXdpInput::new(arc, w.nexts()))),
            NodeDef::new(&TAP_INPUT, |w| Box::new(TapInput::new(&clock, arc, w.nexts(), w.events()))),
        ];
        let ids = engine.add_nodes("test", nodes).expect("nodes");
        let (worker, out) = (workers.remove(0), Arc::clone(&out));
        engine.stats.update(|update| engine.counters.interfaces.set_len(update, 2)).expect("room");
        Bed { engine, worker, af_xdp_input: ids[1], tap_input: ids[2], out }
    }

    fn lead(&mut self, interface: InterfaceIndex, node: NodeId) {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)[interface.index()] = node;
    }

    /// Packets received, transmitted, dropped, on one interface.
    fn counts(&self, interface: InterfaceIndex) -> (u64, u64, u64) {
        let (counters, i) = (&self.engine.counters.interfaces, interface.index());
        (
            counters.rx.get(WORKER, i).packets,
            counters.tx.get(WORKER, i).packets,
            counters.drops.get(WORKER, i),
        )
    }

    fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Bed) -> bool) {
        eventually(what, || {
            self.worker.turn();
            done(self).then_some(())
        });
    }

    /// Ends the worker; no buffer is missing but those that are with a kernel.
    fn end(mut self, with_kernel: usize) {
        self.worker.close();
        drop(self.worker);
        let level = &self.engine.buffers.levels()[0];
        assert_eq!(level.available, BUFFERS - with_kernel);
    }
}

struct Port {
    port: AfXdpPort,
    tx: TxQueue,
    index: InterfaceIndex,
}

impl Bed {
    fn umem(&self) -> Umem {
        Umem::new(Arc::new(BufferMemory(Arc::clone(&self.engine.buffers))), 0).expect("buffers are aligned")
    }

    fn open(&mut self, umem: &Umem, namespace: &Namespace, name: &str, index: InterfaceIndex) -> Port {
        let config = AfXdpConfig {
            namespace: Some(namespace.path()),
            rings: Some(RingSizes::all(RING)),
            ..AfXdpConfig::new(name.parse().expect("a valid name"))
        };
        let (port, mut queues) = AfXdpPort::open(&config, umem).expect("the port opens");
        let Queue { id, rx, tx } = queues.remove(0);
        let tx = Arc::new(Mutex::new(tx));
        let node = NodeDef::named(&AF_XDP_OUTPUT, format!("{name}-tx"), |w| {
            Box::new(AfXdpOutput::new(index, Arc::clone(&tx), w.reasons(), w.events()))
        });
        let node = self.engine.add_nodes("test", vec![node]).expect("a node")[0];
        self.lead(index, node);
        let mut queue = RxQueue::new(index, id, rx);
        let mut cache = self.engine.buffers.cache(0);
        assert_eq!(queue.refill(&mut cache), 0);
        drop(cache);
        let input = self.af_xdp_input;
        self.engine.post(WORKER, move |worker| {
            worker.node_mut::<AfXdpInput>(input).expect("the node is there").add(queue);
        });
        port.start().expect("the port starts");
        self.worker.turn();
        Port { port, tx, index }
    }

    /// Takes a port away as the daemon does: both halves back from the worker, then close.
    fn close(&mut self, Port { port, tx, index }: Port) -> usize {
        let output = self.out.lock().unwrap_or_else(PoisonError::into_inner)[index.index()];
        self.engine.remove_node(output);
        let input = self.af_xdp_input;
        let queues = self.engine.ask(WORKER, move |worker| {
            worker.node_mut::<AfXdpInput>(input).map(|node| node.take(index, None))
        });
        self.worker.turn();
        let mut queues = queues.try_recv().expect("the worker has turned").expect("the node is there");
        let RxQueue { id, rx, .. } = queues.remove(0);
        let tx = Arc::into_inner(tx).expect("the node was the only other").into_inner();
        let reclaimed = port.close(vec![Queue { id, rx, tx: tx.unwrap_or_else(PoisonError::into_inner) }]);
        assert_eq!((id, reclaimed.lost), (QueueId(0), 0));
        let mut cache = self.engine.buffers.cache(0);
        reclaimed.chunks.iter().for_each(|chunk| cache.give_back(BufferIndex(chunk.0)));
        reclaimed.chunks.len()
    }
}

#[test]
fn frames_cross_two_ports_and_every_buffer_comes_home() {
    const FRAMES: u32 = 600;
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    veth(&near, "left", &far, "left-far", 1);
    veth(&near, "right", &far, "right-far", 1);
    let mut bed = Bed::new();
    let umem = bed.umem();
    let left = bed.open(&umem, &near, "left", LEFT);
    let right = bed.open(&umem, &near, "right", RIGHT);
    let (source, sink) = (RawSocket::open(&far, "left-far"), RawSocket::open(&far, "right-far"));

    // The kernel may lose frames behind the port, where a queue is shared with all other work of the machine; here
    // counts what Weft does.
    let (mut sent, mut last, mut arrived) = (0, None, 0);
    bed.turn_until("every frame is sent on, in order", |bed| {
        while sent < FRAMES && u64::from(sent) < bed.counts(RIGHT).1 + u64::from(RING / 2) {
            source.send(&udp(HOST, 53, sent));
            sent += 1;
        }
        while let Some(frame) = sink.receive(|frame| serial(frame).is_some()) {
            assert!(serial(&frame) > last, "{:?} after {last:?}", serial(&frame));
            last = serial(&frame);
            arrived += 1;
        }
        bed.counts(RIGHT).1 >= FRAMES.into() && arrived >= FRAMES / 2
    });
    let (received, _, dropped) = bed.counts(LEFT);
    let (_, transmitted, _) = bed.counts(RIGHT);
    assert!(received >= FRAMES.into(), "the hosts' chatter comes on top");
    assert_eq!((transmitted, dropped), (received, 0));
    assert_eq!(bed.engine.counters.interfaces.rx_no_buf.sum(LEFT.index()), 0);

    // A ring holds 64: more in one turn than the ring has slots is told to the kernel in between.
    let output = bed.out.lock().unwrap_or_else(PoisonError::into_inner)[RIGHT.index()];
    for number in 0..200 {
        assert!(bed.worker.inject(output, &udp(HOST, 54, number), |meta| meta.tx_interface = RIGHT));
    }
    let before = bed.counts(RIGHT).1;
    bed.worker.turn();
    assert_eq!(bed.counts(RIGHT).1, before + 200);
    bed.turn_until("the kernel is done with them", |bed| bed.worker.in_flight() == 0);

    assert_eq!(bed.close(left), RING as usize, "a full ring of empty chunks");
    assert_eq!(bed.close(right), RING as usize);
    bed.end(0);
}

#[test]
fn what_finds_no_room_waits_by_flow() {
    /// Packets that wait at most.
    const MOST: u32 = 512;
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    veth(&near, "left", &far, "left-far", 1);
    let mut bed = Bed::new();
    let umem = bed.umem();
    let left = bed.open(&umem, &near, "left", LEFT);
    let output = bed.out.lock().unwrap_or_else(PoisonError::into_inner)[LEFT.index()];
    let sink = RawSocket::open(&far, "left-far");
    let send = |bed: &mut Bed, port: u16, number: u32| {
        assert!(bed.worker.inject(output, &udp(HOST, port, number), |meta| meta.tx_interface = LEFT));
    };

    // A link that is down takes nothing.
    near.ip("link set left down");
    for number in 0..RING + MOST {
        send(&mut bed, 53, number);
    }
    bed.worker.turn();
    let dropped = bed.engine.counters.reasons.clone();
    let ring_full = bed.engine.graph().node(output).expect("it was added").reasons.index();
    let outcome = |bed: &Bed| (bed.counts(LEFT).1, dropped.sum(ring_full));
    assert_eq!(outcome(&bed), (RING.into(), 0), "the ring is full, the rest waits");
    // A flow of a few packets, and more of the one that has taken all room.
    for number in 0..8 {
        send(&mut bed, 54, 1000 + number);
        send(&mut bed, 53, 2000 + number);
    }
    bed.worker.turn();
    assert_eq!(outcome(&bed), (RING.into(), 16), "as many as there is no room for");
    assert_eq!(bed.worker.in_flight(), (RING + MOST) as usize);

    near.ip("link set left up");
    let mut small = Vec::new();
    bed.turn_until("all leave, those of the small flow first", |bed| {
        while let Some(frame) = sink.receive(|frame| serial(frame).is_some_and(|number| number >= 1000)) {
            small.extend(serial(&frame));
        }
        u64::from(RING + MOST) == bed.counts(LEFT).1 && bed.worker.in_flight() == 0 && small.len() == 8
    });
    assert_eq!(
        small,
        (1000..1008).collect::<Vec<_>>(),
        "the large flow alone has lost, and this one kept its order"
    );
    assert_eq!(bed.close(left), RING as usize);
    bed.end(0);
}

#[test]
fn a_dry_pool_is_counted_and_recovers() {
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    veth(&near, "left", &far, "left-far", 1);
    let mut bed = Bed::new();
    let umem = bed.umem();
    let left = bed.open(&umem, &near, "left", LEFT);
    bed.lead(LEFT, NodeId::DROP);
    let source = RawSocket::open(&far, "left-far");

    let mut hoard = Vec::new();
    bed.worker.buffers.allocate(BUFFERS, |index| hoard.push(index));
    assert_eq!(hoard.len(), BUFFERS - RING as usize);
    for number in 0..RING / 2 {
        source.send(&udp(HOST, 53, number));
    }
    bed.turn_until("frames arrive as long as the ring lasts", |bed| bed.counts(LEFT).2 >= 32);
    let (received, _, dropped) = bed.counts(LEFT);
    assert_eq!(received, dropped, "they have nowhere to go, and end with a reason");
    let missing = bed.engine.counters.interfaces.rx_no_buf.sum(LEFT.index());
    assert!(missing > 0 && missing <= received, "{missing} of {received} had no successor at first");

    hoard.iter().for_each(|index| bed.worker.buffers.receive(*index, HEADROOM, 0, LEFT));
    bed.worker.buffers.free(&hoard);
    bed.worker.turn();
    for number in 0..RING {
        source.send(&udp(HOST, 53, number));
    }
    bed.turn_until("a full ring arrives", |bed| bed.counts(LEFT).0 >= received + u64::from(RING));
    bed.lead(LEFT, bed.engine.graph().id("left-tx").expect("it was added"));
    assert_eq!(bed.close(left), RING as usize);
    bed.end(0);
}

#[test]
fn a_tap_is_an_interface_or_the_host_s_side_of_one() {
    let namespace = Namespace::new("tap");
    let mut bed = Bed::new();
    let mut taps = Vec::new();
    for (name, index) in [("left", LEFT), ("right", RIGHT)] {
        let config = TapConfig {
            namespace: Some(namespace.path()),
            ..TapConfig::new(name.parse().expect("a valid name"))
        };
        let tap = Arc::new(Tap::create(&config).expect("the TAP is made"));
        let node = NodeDef::named(&TAP_OUTPUT, format!("{name}-tx"), |w| {
            Box::new(TapOutput::new(Some(index), Arc::clone(&tap), w.reasons()))
        });
        let node = bed.engine.add_nodes("test", vec![node]).expect("a node")[0];
        bed.lead(index, node);
        let (input, side, own) = (bed.tap_input, Side::Interface(index), Arc::clone(&tap));
        bed.engine.post(WORKER, move |worker| {
            worker.node_mut::<TapInput>(input).expect("the node is there").add(side, own);
        });
        taps.push((tap, node));
    }
    bed.worker.turn();
    let (source, sink) = (RawSocket::open(&namespace, "left"), RawSocket::open(&namespace, "right"));
    for number in 0..100 {
        source.send(&udp(HOST, 53, number));
    }
    let mut next = 0;
    bed.turn_until("every frame arrives, in order", |_| {
        while let Some(frame) = sink.receive(|frame| serial(frame).is_some()) {
            assert_eq!(serial(&frame), Some(next));
            next += 1;
        }
        next == 100
    });
    assert!(bed.counts(LEFT).0 >= 100);
    assert_eq!(bed.counts(RIGHT).1, bed.counts(LEFT).0);

    // As the host's side of the other one: what the host sends leaves there, and nothing is received on an interface.
    let (input, right_tx) = (bed.tap_input, taps[1].1);
    let side = Side::HostOf(RIGHT, right_tx);
    let tap = Arc::clone(&taps[0].0);
    bed.engine.post(WORKER, move |worker| {
        let node = worker.node_mut::<TapInput>(input).expect("the node is there");
        node.remove(Side::Interface(LEFT));
        node.add(side, tap);
    });
    bed.worker.turn();
    let (received, _, _) = bed.counts(LEFT);
    source.send(&udp(HOST, 53, 7));
    bed.turn_until("it arrives", |_| sink.receive(|frame| serial(frame) == Some(7)).is_some());
    assert_eq!(bed.counts(LEFT).0, received);

    // The host sets its side down: what is sent there ends with a reason.
    // The host's own frames (IPv6 reports its groups) must not be counted with it: its side is taken away first.
    bed.engine.post(WORKER, move |worker| {
        worker.node_mut::<TapInput>(input).expect("the node is there").remove(side);
    });
    bed.worker.turn();
    namespace.ip("link set right down");
    let dropped = bed.engine.counters.reasons.clone();
    let down = bed.engine.graph().node(right_tx).expect("it was added").reasons.index() + 1;
    assert!(bed.worker.inject(right_tx, &udp(HOST, 53, 8), |_| {}));
    bed.worker.turn();
    assert_eq!(dropped.sum(down), 1, "host_down");
    bed.end(0);
}
