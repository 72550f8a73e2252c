// SPDX-License-Identifier: Apache-2.0
//! One worker and two: whoever receives a packet, the flows are the same, and no packet is lost.

use proptest::prelude::*;
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::feature::{ArcEnd, ArcSpec};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{ArcId, BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_flow::FlowTracker;
use weft_flow::counts::Count;
use weft_flow::settings::{Mode, Settings};
use weft_flow_map::{Endpoint, Side, State};
use weft_nodes::arcs::{IP4_UNICAST_ARC, IP6_UNICAST_ARC};
use weft_nodes::headers::build::{ipv4, ipv6};
use weft_nodes::headers::{Icmp4Header, Icmp4Type, Icmp6Header, Icmp6Type, TcpFlags};
use weft_nodes::interface::Interfaces;

static SOURCE: NodeSpec = NodeSpec::input("source");
static REWRITE: NodeSpec = NodeSpec::internal("ip4-rewrite").role(Role::Output);
static REWRITE6: NodeSpec = NodeSpec::internal("ip6-rewrite").role(Role::Output);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);
const PORT: InterfaceIndex = InterfaceIndex(0);
const BUFFERS: usize = 1024;

/// Brings in packets that begin with their IP header.
struct Source {
    packets: Vec<Vec<u8>>,
    /// Of IPv4, and of IPv6.
    arcs: [ArcId; 2],
    sink: NodeId,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let count = self.packets.len().min(FRAME_SIZE);
        let packets: Vec<BufferIndex> = self
            .packets
            .drain(..count)
            .map(|bytes| {
                let index = cx.buffers.allocate_one().expect("the pool is larger than the test");
                cx.buffers.receive(index, HEADROOM, bytes.len(), PORT);
                cx.buffers.packet(index).data_mut().copy_from_slice(&bytes);
                index
            })
            .collect();
        let is_ip6 = |index: &BufferIndex| cx.buffers.packet(*index).data()[0] >> 4 == 6;
        let families: Vec<bool> = packets.iter().map(is_ip6).collect();
        for (index, ip6) in packets.iter().zip(families) {
            cx.send_from_device(self.arcs[usize::from(ip6)], PORT, self.sink, &[*index]);
        }
    }
}

/// Keeps the bytes of what arrives.
#[derive(Default)]
struct Sink(Vec<Vec<u8>>);

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        for &index in frame.packets() {
            self.0.push(cx.buffers.packet(index).data().to_vec());
            cx.buffers.free_one(index);
        }
    }
}

struct Bed {
    engine: Engine,
    workers: Vec<Worker>,
    tracker: FlowTracker,
    source: NodeId,
    sink: NodeId,
}

fn bed(workers: usize, handoff: usize) -> Bed {
    let config = EngineConfig {
        workers: vec![0; workers],
        buffers: BufferConfig { pools: vec![(0, BUFFERS)], ..BufferConfig::default() },
        stats_size: 1 << 20,
        handoff,
        ..EngineConfig::default()
    };
    let (mut engine, mut workers) = Engine::new(&config).expect("an engine");
    let arcs = [IP4_UNICAST_ARC, IP6_UNICAST_ARC].map(|spec| {
        let spec = ArcSpec { end: ArcEnd::Node(SINK.name), ..spec };
        engine.add_arc("test", &spec).expect("an arc")
    });
    let sink =
        engine.add_nodes("test", vec![NodeDef::new(&SINK, |_| Box::<Sink>::default())]).expect("a sink")[0];
    let def = NodeDef::new(&SOURCE, |_| Box::new(Source { packets: Vec::new(), arcs, sink }));
    let source = engine.add_nodes("test", vec![def]).expect("a source")[0];
    let rewrite = [&REWRITE, &REWRITE6].map(|spec| NodeDef::new(spec, |_| Box::<Sink>::default()));
    engine.add_nodes("test", rewrite.into()).expect("where verdicts may lead");
    let main = Waker::new().expect("an eventfd");
    let table = Interfaces::new(&engine, 4).published();
    let settings = Settings { flows: 512, ..Settings::default() };
    let mut tracker = FlowTracker::new(&mut engine, settings, &table, 4, &main).expect("tables");
    tracker.enable(&mut engine, PORT, Mode::Track).expect("the port");
    for worker in &mut workers {
        worker.turn();
    }
    Bed { engine, workers, tracker, source, sink }
}

/// From, to, protocol, state, packets and bytes.
type Essence = (Endpoint, Endpoint, u8, State, [Side; 2]);

impl Bed {
    fn receive(&mut self, worker: usize, packet: Vec<u8>) {
        let source = self.workers[worker].node_mut::<Source>(self.source).expect("the source");
        source.packets.push(packet);
    }

    fn run(&mut self) {
        while self.workers.iter_mut().map(Worker::turn).sum::<usize>() > 0 {}
    }

    fn arrived(&mut self) -> Vec<Vec<u8>> {
        let sink = self.sink;
        let mut arrived: Vec<Vec<u8>> = self
            .workers
            .iter_mut()
            .flat_map(|worker| std::mem::take(&mut worker.node_mut::<Sink>(sink).expect("the sink").0))
            .collect();
        arrived.sort();
        arrived
    }

    fn flows(&self) -> Vec<Essence> {
        let mut flows: Vec<Essence> = self
            .tracker
            .flows()
            .map(|flow| (flow.from(), flow.to(), flow.key.protocol(), flow.state, flow.sides))
            .collect();
        flows.sort_by_key(|(from, to, protocol, ..)| (*from, *to, *protocol));
        flows
    }

    fn end(mut self) {
        self.workers.iter_mut().for_each(Worker::close);
        assert_eq!(self.engine.buffers.levels()[0].available, BUFFERS, "all buffers are back in the pool");
    }
}

/// A packet between a few hosts: plain, a fragment, an ICMP error.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    (0u8..6, 1u8..6, 1u16..4, 0u8..14).prop_map(|(from, distance, port, what)| {
        if what >= 7 {
            return ip6_packet(from % 6, (from + distance) % 6, port, what - 7);
        }
        let address = |host: u8| [10, 0, 0, host % 6];
        let (from, to) = (address(from), address(from + distance));
        let ip = ipv4(from, to);
        match what {
            0 => ip.udp(port, 53).build(),
            1 => ip.udp(53, port).build(),
            2 => ip.tcp(port, 80, TcpFlags::SYN).build(),
            3 => ip.ping(port, 1).build(),
            4 => ip
                .ipv4_with(|ip| {
                    ip.identification.set(port);
                    ip.flags_offset.set(0x2000);
                })
                .udp(port, 53)
                .payload(&[0; 8])
                .build(),
            5 => ip
                .ipv4_with(|ip| {
                    ip.identification.set(port);
                    ip.flags_offset.set(2);
                    ip.protocol = weft_nodes::headers::IpProtocol::UDP;
                })
                .payload(&[0; 16])
                .build(),
            _ => {
                let about = ipv4(to, from).udp(port, 53).build();
                let error = Icmp4Header::new(Icmp4Type::TIME_EXCEEDED, 0, [0, 0]);
                ipv4([192, 0, 2, 1], to).icmp4(error).payload(&about).build()
            }
        }
    })
}

fn ip6_packet(from: u8, to: u8, port: u16, what: u8) -> Vec<u8> {
    let address = |host: u8| [0x2001, 0xdb8, 0, u16::from(host % 2), 0, 0, 0, u16::from(host)];
    let (from, to) = (address(from), address(to));
    let ip = ipv6(from, to);
    match what {
        0 => ip.udp(port, 53).build(),
        1 => ip.udp(53, port).build(),
        2 => ip.tcp(port, 80, TcpFlags::SYN).build(),
        3 => ip.ping6(port, 1).build(),
        4 | 5 => {
            let mut bytes = ip.udp(port, 53).payload(&[0; 16]).build();
            let fragment = [17, 0, 0, if what == 4 { 1 } else { 8 }, 0, 0, 0, port as u8];
            (bytes[5], bytes[6]) = (bytes[5] + 8, 44);
            bytes.splice(40..40, fragment);
            bytes
        }
        _ => {
            let about = ipv6(to, from).udp(port, 53).build();
            let error = Icmp6Header::new(Icmp6Type::TIME_EXCEEDED, 0, 0);
            ipv6([0x2001, 0xdb8, 9, 0, 0, 0, 0, 1], to).icmp6(error).payload(&about).build()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn two_workers_are_as_good_as_one(packets in prop::collection::vec((packets(), 0usize..2), 1..200)) {
        let (mut one, mut two) = (bed(1, 1), bed(2, BUFFERS));
        for (packet, worker) in packets {
            one.receive(0, packet.clone());
            one.run();
            two.receive(worker, packet);
            two.run();
        }
        prop_assert_eq!(one.arrived(), two.arrived());
        prop_assert_eq!(one.flows(), two.flows());
        for count in [Count::Hits, Count::Misses, Count::Created, Count::Fragments, Count::Errors, Count::Invalid] {
            prop_assert_eq!(one.tracker.counts.sum(count), two.tracker.counts.sum(count), "{:?}", count);
        }
        one.end();
        two.end();
    }
}

#[test]
fn what_finds_no_room_on_the_way_to_its_owner_is_dropped_and_counted() {
    const ROOM: usize = 16;
    let mut bed = bed(2, ROOM);
    let packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2]).udp(1, 2).build();
    // All at once, so that the ring fills; to both, since only one of them hands over.
    for _ in 0..100 {
        bed.receive(0, packet.clone());
        bed.receive(1, packet.clone());
    }
    bed.run();
    assert_eq!(bed.arrived().len(), 100 + ROOM);
    assert_eq!(bed.flows()[0].4[0].packets, 100 + ROOM as u64);
    assert_eq!(bed.tracker.counts.sum(Count::HandedOff), ROOM as u64);
    assert_eq!(bed.engine.counters.vectors.sum(NodeId::DROP.index()), 100 - ROOM as u64);
    bed.end();
}
