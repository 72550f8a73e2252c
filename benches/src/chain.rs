// SPDX-License-Identifier: Apache-2.0
//! The in-memory router that is measured: a source, the built-in nodes of a family with real tables, and a sink.
//!
//! IPv6's many routes have the shape of a full table ([`crate::shape`]), and a default route besides.

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use ipnet::{Ipv4Net, Ipv6Net};
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_nodes::fib::{Action, Change, Ip6, Preference};
use weft_nodes::fib::{PathTarget, RoutePath};
use weft_nodes::graph::{FlowLabels, HeaderLimit, Settings, Tables, add_nodes};
use weft_nodes::headers::{MacAddr, build, checksum};
use weft_nodes::interface::{Interfaces, Kind};
use weft_nodes::ip4::{Ip4, Owner, TableIndex};
use weft_nodes::router::{Routed, Router, RouterSettings};

use crate::random::Random;
use crate::shape::{self, Spread};

weft_engine::edges! { enum Next { Ethernet => "ethernet-input" } }
static SOURCE: NodeSpec = NodeSpec::input("source").next(Next::NAMES);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

const RX: InterfaceIndex = InterfaceIndex(0);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Load-balances of the largest case.
const LOAD_BALANCES: usize = 4096;

/// A 64-byte frame on the wire: 60 bytes without its check sequence.
pub const FRAME_BYTES: usize = 60;

/// What is forwarded of a family.
pub trait Traffic: Routed {
    /// The nodes whose clocks are the cost of forwarding.
    const CHAIN: [&'static str; 4] =
        ["ethernet-input", Self::NODES.input, Self::NODES.lookup, Self::NODES.rewrite];
    /// An address as it is written into packets.
    type Destination: Copy + 'static;

    /// A packet, the shortest of UDP.
    fn template() -> Vec<u8>;
    /// A packet of a mix, and how many of a hundred are like it.
    fn other(_: Mix) -> (Vec<u8>, u64) {
        (Vec::new(), 0)
    }
    /// The template with another destination, its checksums right.
    fn write(data: &mut [u8], template: &[u8], destination: Self::Destination);
    /// The address of one of two ports.
    fn port(number: u8) -> Self::Net;
    /// One of 16 neighbours of the second port.
    fn neighbor(number: u64) -> Self::Addr;
    /// The routes of a case, and where packets go.
    fn routes(case: &Case, random: &mut Random) -> (BTreeSet<Self::Net>, Vec<Self::Destination>);
}

impl Traffic for Ip4 {
    type Destination = u32;

    fn template() -> Vec<u8> {
        let udp = build::ethernet().macs(PEER, OURS).ipv4([10, 0, 0, 2], [10, 1, 1, 1]).udp(1024, 5678);
        udp.payload(&[0; FRAME_BYTES - 42]).build()
    }

    fn other(mix: Mix) -> (Vec<u8>, u64) {
        let ip = build::ethernet().macs(PEER, OURS).ipv4([10, 0, 0, 2], [10, 1, 1, 1]);
        match mix {
            Mix::Pure => (Vec::new(), 0),
            Mix::Odd(share) => {
                let udp = ip.options(&[1, 1, 1, 0]).udp(1024, 5678);
                (udp.payload(&[0; FRAME_BYTES - 46]).build(), share)
            }
            Mix::Padded(share) => {
                let mut frame = ip.udp(1024, 5678).payload(&[0; 12]).build();
                frame.resize(FRAME_BYTES, 0);
                (frame, share)
            }
        }
    }

    fn write(data: &mut [u8], template: &[u8], destination: u32) {
        write(data, template, destination);
    }

    fn port(number: u8) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 0, number, 1), 24)
    }

    fn neighbor(number: u64) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0102 + (number % 16) as u32)
    }

    fn routes(case: &Case, random: &mut Random) -> (BTreeSet<Ipv4Net>, Vec<u32>) {
        if case.routes == 1 {
            let prefix = Ipv4Net::new_assert(Ipv4Addr::new(10, 1, 0, 0), 16);
            return (BTreeSet::from([prefix]), vec![u32::from(Ipv4Addr::new(10, 1, 1, 1))]);
        }
        let destinations = (0..1 << 20).map(|_| random.unicast()).collect();
        // The default route catches what the random ones leave out.
        let mut prefixes = BTreeSet::from([Ipv4Net::default()]);
        while prefixes.len() < case.routes {
            let length = 8 + (random.next() % 17) as u8;
            prefixes.insert(Ipv4Net::new_assert(random.unicast().into(), length).trunc());
        }
        (prefixes, destinations)
    }
}

impl Traffic for Ip6 {
    type Destination = u128;

    fn template() -> Vec<u8> {
        let (from, to) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2), Ipv6Addr::LOCALHOST);
        build::ethernet().macs(PEER, OURS).ipv6(from, to).udp(1024, 5678).build()
    }

    fn write(data: &mut [u8], template: &[u8], destination: u128) {
        const DESTINATION: usize = 14 + 24;
        data.copy_from_slice(template);
        data[DESTINATION..DESTINATION + 16].copy_from_slice(&destination.to_be_bytes());
    }

    fn port(number: u8) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, number.into(), 0, 0, 0, 1), 64)
    }

    fn neighbor(number: u64) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x100 + (number % 16) as u16)
    }

    fn routes(case: &Case, random: &mut Random) -> (BTreeSet<Ipv6Net>, Vec<u128>) {
        if case.routes == 1 {
            let prefix = Ipv6Net::new_assert(Ipv6Addr::new(0x2a01, 0xb8, 0, 0, 0, 0, 0, 0), 32);
            return (BTreeSet::from([prefix]), vec![prefix.network().to_bits() + 1]);
        }
        let mut prefixes = shape::routes(case.routes, random);
        let destinations = shape::destinations(&prefixes, case.spread, 1 << 20, random);
        // The default route catches what the others leave out.
        prefixes.insert(Ipv6Net::default());
        (prefixes, destinations)
    }
}

/// What is routed.
#[derive(Clone, Copy)]
pub struct Case {
    /// For the report.
    pub name: &'static str,
    /// Routes; 1, or many over 16 next hops: of IPv4 random ones from /8 to /24, of IPv6 those of [`shape::routes`].
    pub routes: usize,
    /// Packets per vector.
    pub vector: usize,
    /// Buffers in circulation: a vector's worth stays in the cache, a large ring does not.
    pub buffers: usize,
    /// What is sent besides the packets of the template; of IPv4.
    pub mix: Mix,
    /// Where packets go; of IPv6.
    pub spread: Spread,
}

/// Packets among those of the template, in no order, of a hundred.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// None.
    Pure,
    /// With options, so that ip4-woven leaves them to the graph.
    Odd(u64),
    /// With padding, as a bare acknowledgement.
    Padded(u64),
}

impl Case {
    /// One route, all packets alike.
    pub const fn simple(name: &'static str, vector: usize) -> Case {
        Case { name, routes: 1, vector, buffers: 256, mix: Mix::Pure, spread: Spread::Even }
    }
}

/// Makes packets: one template, destinations in turn.
struct Source<F: Traffic> {
    next: Nexts<Next>,
    template: Vec<u8>,
    /// See [`Traffic::other`].
    other: (Vec<u8>, u64),
    random: Random,
    destinations: Vec<F::Destination>,
    position: usize,
    left: usize,
    vector: usize,
}

impl<F: Traffic<Destination: Send>> Node for Source<F> {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(self.vector.min(self.left), |index| {
            packets[count] = index;
            count += 1;
        });
        if self.other.1 > 0 {
            // Where packets go different ways, buffers do not come back in the order in which they lie.
            for i in (1..count).rev() {
                packets.swap(i, self.random.below(i as u32 + 1) as usize);
            }
        }
        for &index in &packets[..count] {
            cx.buffers.receive_frame(index, HEADROOM, self.template.len(), RX, 14);
            let mut packet = cx.buffers.packet(index);
            let destination = self.destinations[self.position];
            self.position = (self.position + 1) % self.destinations.len();
            let (other, share) = &self.other;
            let template = match *share > 0 && self.random.next() % 100 < *share {
                true => other,
                false => &self.template,
            };
            F::write(packet.data_mut(), template, destination);
        }
        self.left -= count;
        cx.send(self.next.to(Next::Ethernet), &packets[..count]);
        crate::settle();
    }
}

/// The template with another destination, its header checksum right.
pub fn write(data: &mut [u8], template: &[u8], destination: u32) {
    data.copy_from_slice(template);
    let Ok((ip, _)) =
        <weft_nodes::headers::Ipv4Header as zerocopy::FromBytes>::mut_from_prefix(&mut data[14..])
    else {
        return;
    };
    ip.destination.set(destination);
    ip.checksum.set(0);
    let header = 14..14 + ip.header_length().min(data.len() - 14);
    let checksum = checksum::of(&data[header]);
    data[24..26].copy_from_slice(&checksum.to_be_bytes());
}

/// Takes packets as a transmit ring of some length does: frees them in order, later.
struct Sink {
    ring: VecDeque<BufferIndex>,
    length: usize,
}

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.ring.extend(frame.packets());
        let sent = self.ring.len().saturating_sub(self.length);
        let (front, back) = self.ring.as_slices();
        let first = sent.min(front.len());
        cx.buffers.free(&front[..first]);
        cx.buffers.free(&back[..sent - first]);
        self.ring.drain(..sent);
    }

    fn close(&mut self, buffers: &mut weft_engine::buffer::BufferCache) {
        buffers.free(self.ring.make_contiguous());
        self.ring.clear();
    }
}

/// A router that is driven by hand.
pub struct Chain<F: Traffic = Ip4> {
    pub engine: Engine,
    pub worker: Worker,
    pub router: Router,
    pub interfaces: Interfaces,
    pub destinations: Vec<F::Destination>,
    pub template: Vec<u8>,
    pub source: NodeId,
}

impl<F: Traffic<Destination: Send>> Chain<F> {
    /// Builds the router of a case, with or without the nodes in front of it.
    pub fn new(case: &Case, woven: bool) -> Result<Self> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 32_768)], ..BufferConfig::default() },
            clock: crate::clock(),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let settings = RouterSettings { load_balances: LOAD_BALANCES, ..RouterSettings::default() };
        let mut router = Router::new(&mut engine, settings)?;
        let mut interfaces = Interfaces::new(&engine, 16);
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", LOAD_BALANCES + 1, LOAD_BALANCES + 1)?,
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            settings: Settings { woven, ..Settings::default() },
            main: Waker::new()?,
        };
        let nodes = add_nodes(&mut engine, &tables)?;
        nodes.attach(&mut router);

        let mut random = Random::new(1);
        let (prefixes, destinations) = F::routes(case, &mut random);
        let template = F::template();
        let ids = engine.add_nodes(
            "bench",
            vec![
                NodeDef::new(&SOURCE, |w| {
                    Box::new(Source::<F> {
                        next: w.nexts(),
                        template: template.clone(),
                        other: F::other(case.mix),
                        random: Random::new(2),
                        destinations: destinations.clone(),
                        position: 0,
                        left: 0,
                        vector: case.vector,
                    })
                }),
                NodeDef::new(&SINK, |_| {
                    Box::new(Sink { ring: VecDeque::new(), length: case.buffers.saturating_sub(FRAME_SIZE) })
                }),
            ],
        )?;
        let mut port = RX;
        for (number, name) in (0..).zip(["rx", "tx"]) {
            port = interfaces.create(&mut engine, name, Kind::Port, OURS, 1500, ids[1])?;
            interfaces.change(&mut engine, port, |port| (port.admin_up, port.link_up) = (true, true))?;
            router.add_address::<F>(&mut engine, &mut interfaces, port, F::port(number))?;
        }
        for number in 0..16 {
            router.set_static_neighbor::<F>(&mut engine, &interfaces, port, F::neighbor(number), PEER)?;
        }
        let changes: Vec<Change<F>> = prefixes
            .into_iter()
            .map(|prefix| {
                let target = PathTarget::Via { address: F::neighbor(random.next()), interface: Some(port) };
                Change {
                    prefix,
                    owner: Owner::CLI,
                    action: Action::Set(Preference::default(), vec![RoutePath::new(target)]),
                }
            })
            .collect();
        router.apply(&mut engine, &interfaces, TableIndex(0), &changes)?;
        let mut worker = workers.pop().context("an engine has a worker")?;
        worker.turn();
        Ok(Chain { engine, worker, router, interfaces, destinations, template, source: ids[0] })
    }

    /// Forwards `packets`; returns clocks per packet of each of [`Traffic::CHAIN`], then of the sink, of ip4-woven and of ip6-woven.
    pub fn round(&mut self, packets: usize) -> Vec<f64> {
        let ids: Vec<NodeId> = F::CHAIN
            .iter()
            .chain(&["sink", "ip4-woven", "ip6-woven"])
            .filter_map(|name| self.engine.graph().id(name))
            .collect();
        let clocks = |engine: &Engine| -> Vec<u64> {
            ids.iter().map(|id| engine.counters.clocks.sum(id.index())).collect()
        };
        let before = clocks(&self.engine);
        Self::forward(&mut self.worker, self.source, packets);
        let after = clocks(&self.engine);
        after.iter().zip(before).map(|(after, before)| (after - before) as f64 / packets as f64).collect()
    }

    /// Has a worker forward `packets`.
    pub fn forward(worker: &mut Worker, source: NodeId, packets: usize) {
        if let Some(source) = worker.node_mut::<Source<F>>(source) {
            source.left = packets;
        }
        while worker.turn() > 0 {}
    }

    /// Packets that were dropped, which would make the figures worthless.
    pub fn drops(&self) -> u64 {
        self.engine.counters.interfaces.drops.sum(RX.index())
    }
}
