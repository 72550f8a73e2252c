// SPDX-License-Identifier: Apache-2.0
//! A router of two ports on the test's own thread: frames in, exact frames and exact counters out.
//!
//! When a bed is dropped it checks the conservation law, after whatever the test has done:
//!
//! ```text
//!   received          frames from the sources of ports, and from loopbacks (/if/rx)
//! + made              ICMP errors (ip4-icmp-error sent_*), fragments (ip4-frag fragments), injected frames
//! = transmitted       to the wire, to the host, and to loopbacks
//! + dropped           packets that came to the drop node
//! + used up           packets replaced by fragments (ip4-frag fragmented)
//! + in flight         in frames and hold queues
//! ```
//!
//! and that each dropped packet was counted with exactly one reason: the sum of all drop reasons of nodes, as their
//! descriptors declare them, is the number of packets that came to the drop node. At the end all buffers are back in the pool.

mod devices;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rtrb::Consumer;
use weft_engine::buffer::{BufferConfig, Metadata};
use weft_engine::clock::Clock;
use weft_engine::node::ReasonKind;
use weft_engine::publish::Slab;
use weft_engine::wait::Waker;
use weft_engine::{Engine, EngineConfig, InterfaceIndex, NodeId, ReasonId, ThreadIndex, Worker};
use weft_nodes::arp::NeighborNotice;
use weft_nodes::graph::{Nodes, Settings, Tables, add_nodes};
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{EtherType, MacAddr};
use weft_nodes::interface::{Interface, Interfaces, Kind, Tags};
use weft_nodes::ip4::{
    Action, Change, Egress, Fib, LoadBalances, NextHopId, NextHops, Objects, Owner, PathTarget, Preference,
    Resolution, Rewrite, Rib, RibSettings, RoutePath, TableIndex, VlanTags,
};

use devices::{Sink, Source};

/// Events by which packets came to be.
const MADE: [&str; 4] = [
    "ip4-frag/fragments",
    "ip4-icmp-error/sent_fragmentation_needed",
    "ip4-icmp-error/sent_time_exceeded",
    "ip4-icmp-error/sent_unreachable",
];

const WORKER: ThreadIndex = ThreadIndex(1);
const BUFFERS: usize = 2048;

/// A port with a host on its link.
#[derive(Clone, Copy)]
pub struct Port {
    pub index: InterfaceIndex,
    pub mac: MacAddr,
    pub address: Ipv4Addr,
    /// The neighbour that is known at the start.
    pub peer: Ipv4Addr,
    pub peer_mac: MacAddr,
    tx: NodeId,
    host: NodeId,
}

impl Port {
    /// The beginning of a frame from the peer to this port.
    pub fn incoming(self) -> Packet {
        ethernet().macs(self.peer_mac, self.mac)
    }

    /// The beginning of a frame from this port to the peer.
    pub fn outgoing(self) -> Packet {
        ethernet().macs(self.mac, self.peer_mac)
    }
}

pub struct Bed {
    pub engine: Engine,
    pub worker: Worker,
    pub nodes: Nodes,
    pub interfaces: Interfaces,
    pub objects: Objects,
    pub ribs: Vec<Rib>,
    /// `p0`, 10.0.0.1/24, with 10.0.0.2 on its link, and `p1`, 10.0.1.1/24, with 10.0.1.2.
    pub ports: [Port; 2],
    pub main: Waker,
    pub tables: Tables,
    fibs: Slab<Arc<Fib>>,
    source: NodeId,
    injected: u64,
    loopbacks: Vec<InterfaceIndex>,
    /// Counters when the test last looked.
    seen: BTreeMap<String, u64>,
}

pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

pub const MTU: u16 = 1500;
/// The forwarding table of both ports.
pub const DEFAULT: TableIndex = TableIndex(0);

impl Bed {
    pub fn new() -> Bed {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Bed {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, BUFFERS)], ..BufferConfig::default() },
            stats_size: 4 << 20,
            clock: Some(Clock::manual()),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config).expect("an engine");
        let mut interfaces = Interfaces::new(&engine, 64);
        let objects = Objects {
            next_hops: NextHops::new(&engine.domain, 256),
            load_balances: LoadBalances::new(&mut engine.domain, 256),
        };
        let fibs = Slab::new(&engine.domain, 8);
        let main = Waker::new().expect("an eventfd");
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: fibs.reader(),
            load_balances: objects.load_balances.reader(),
            next_hops: objects.next_hops.reader(),
            routes: engine.stats.combined("/net/route/to", 257, 257).expect("room in the segment"),
            settings,
            main: main.clone(),
        };
        let nodes = add_nodes(&mut engine, &tables).expect("the nodes of the crate");
        nodes.held.forget_deleted(&mut interfaces);
        let source = engine.add_nodes("test", vec![Source::def()]).expect("a source")[0];
        let ports = [0u8, 1].map(|i| port(&mut engine, &mut interfaces, i));
        let mut bed = Bed {
            worker: workers.remove(0),
            engine,
            nodes,
            interfaces,
            objects,
            ribs: Vec::new(),
            ports,
            main,
            tables,
            fibs,
            source,
            injected: 0,
            loopbacks: Vec::new(),
            seen: BTreeMap::new(),
        };
        let table = bed.add_table();
        for port in bed.ports {
            bed.address(port.index, table, &format!("{}/24", port.address));
            bed.resolve(table, port.index, port.peer, port.peer_mac);
        }
        for all in ["255.255.255.255/32", "224.0.0.0/4"] {
            bed.route(table, all, &[PathTarget::Local]);
        }
        bed.run();
        bed
    }

    /// Another forwarding table.
    pub fn add_table(&mut self) -> TableIndex {
        let rib = Rib::new(RibSettings::default()).expect("address space for a table");
        let index = self.fibs.insert(&mut self.engine.domain, rib.fib()).ok().expect("room for a table");
        self.ribs.push(rib);
        TableIndex(index)
    }

    /// Sets a route.
    pub fn route(&mut self, table: TableIndex, prefix: &str, targets: &[PathTarget]) {
        self.route_of(Owner::CLI, table, prefix, targets);
    }

    fn route_of(&mut self, owner: Owner, table: TableIndex, prefix: &str, targets: &[PathTarget]) {
        let paths = targets.iter().map(|target| RoutePath::new(*target)).collect();
        let change = Change {
            prefix: prefix.parse().expect("a prefix"),
            owner,
            action: Action::Set(Preference::default(), paths),
        };
        let domain = &mut self.engine.domain;
        self.ribs[table.0 as usize].apply(&mut self.objects, domain, &[change]).expect("a route");
    }

    /// Gives an interface an address and sets it up, with the routes that follow.
    pub fn address(&mut self, interface: InterfaceIndex, table: TableIndex, address: &str) {
        let net: ipnet::Ipv4Net = address.parse().expect("an address with its prefix length");
        self.change(interface, |interface| {
            interface.addresses4.push(net);
            interface.table4 = table;
            (interface.admin_up, interface.link_up) = (true, true);
        });
        let connected = |bed: &mut Bed, prefix: String, target| {
            bed.route_of(Owner::CONNECTED, table, &prefix, &[target]);
        };
        connected(self, net.trunc().to_string(), PathTarget::Connected(interface));
        connected(self, format!("{}/32", net.addr()), PathTarget::Local);
        if net.prefix_len() < 31 {
            connected(self, format!("{}/32", net.broadcast()), PathTarget::Local);
        }
    }

    pub fn change(&mut self, interface: InterfaceIndex, change: impl FnOnce(&mut Interface)) {
        self.interfaces.change(&mut self.engine, interface, change).expect("the interface exists");
        let hops = &mut self.objects.next_hops;
        let known: Vec<_> =
            hops.iter().map(|(id, hop)| (id, hop.interface, hop.resolution.clone())).collect();
        for (id, interface, resolution) in known {
            let egress = Egress::of(&self.interfaces, interface);
            hops.resolve(&mut self.engine.domain, id, resolution, egress);
        }
    }

    /// What the main thread does when a neighbour has answered: next hop, route, release.
    pub fn resolve(
        &mut self,
        table: TableIndex,
        interface: InterfaceIndex,
        address: Ipv4Addr,
        mac: MacAddr,
    ) -> NextHopId {
        let target = PathTarget::Via { address, interface: Some(interface) };
        self.route_of(Owner::NEIGHBOR, table, &format!("{address}/32"), &[target]);
        let id = self.objects.next_hops.find(interface, address.into()).expect("the route made it");
        let own = self.interfaces.get(interface).expect("the interface exists");
        let tags = match own.kind {
            Kind::Sub { tags: Tags { outer: Some((_, id)), inner: None }, .. } => VlanTags::single(id),
            Kind::Sub { tags: Tags { outer: Some((_, outer)), inner: Some(inner) }, .. } => {
                VlanTags::double(outer, inner)
            }
            _ => VlanTags::NONE,
        };
        let rewrite = Rewrite::new(mac, own.mac, tags, EtherType::IPV4);
        let (egress, resolution) = (Egress::of(&self.interfaces, interface), Resolution::Complete(rewrite));
        self.objects.next_hops.resolve(&mut self.engine.domain, id, resolution, egress);
        let held = self.nodes.held;
        self.engine.post_all(move |worker| held.release(worker, interface, address.into(), id));
        id
    }

    /// Gives a port a host's side.
    pub fn with_host(&mut self, port: usize) {
        let Port { index, host, .. } = self.ports[port];
        self.change(index, |interface| interface.host = host);
    }

    pub fn loopback(&mut self, name: &str, mac: MacAddr) -> InterfaceIndex {
        let tx = self.nodes.loopback_tx;
        let loopback = self.interfaces.create(&mut self.engine, name, Kind::Loopback, mac, MTU, tx);
        let loopback = loopback.expect("a loopback");
        self.loopbacks.push(loopback);
        loopback
    }

    /// A frame on the wire of a port.
    pub fn receive(&mut self, port: usize, frame: &Packet) {
        self.receive_bytes(port, frame.build());
    }

    pub fn receive_bytes(&mut self, port: usize, bytes: Vec<u8>) {
        let index = self.ports[port].index;
        self.worker.node_mut::<Source>(self.source).expect("the source").frames.push((index, bytes));
    }

    /// A packet of these bytes out of nowhere in front of a node: for what no port can bring about.
    pub fn place(&mut self, node: &str, bytes: &[u8], headroom: usize, prepare: impl FnOnce(&mut Metadata)) {
        let node = self.engine.graph().id(node).expect("a node");
        let buffers = &mut self.worker.buffers;
        let index = buffers.allocate_one().expect("the pool is larger than any test needs");
        buffers.receive(index, headroom, 0, InterfaceIndex::NONE);
        let mut packet = buffers.packet(index);
        assert!(packet.fill(headroom, bytes));
        prepare(packet.meta);
        self.worker.release(node, &[index]);
        self.injected += 1;
    }

    /// Lets time pass; nobody notices before the next turn.
    pub fn time_passes(&self, time: Duration) {
        self.engine.clock.turn(time);
    }

    /// Turns the worker until nothing moves.
    pub fn run(&mut self) {
        for _ in 0..1000 {
            if self.worker.turn() == 0 {
                return;
            }
        }
        panic!("packets go round in circles");
    }

    /// Receives one frame, and lets it go its way.
    pub fn pass(&mut self, port: usize, frame: &Packet) {
        self.receive(port, frame);
        self.run();
    }

    fn sink(&mut self, node: NodeId) -> &mut Sink {
        self.worker.node_mut::<Sink>(node).expect("a sink")
    }

    /// What a port has transmitted since the last call.
    pub fn sent(&mut self, port: usize) -> Vec<Vec<u8>> {
        let tx = self.ports[port].tx;
        std::mem::take(&mut self.sink(tx).frames)
    }

    /// What the graph knew of what a port has transmitted since the last call.
    pub fn contexts(&mut self, port: usize) -> Vec<Metadata> {
        let tx = self.ports[port].tx;
        std::mem::take(&mut self.sink(tx).contexts)
    }

    /// What the host's side of a port was handed since the last call.
    pub fn punted(&mut self, port: usize) -> Vec<Vec<u8>> {
        let host = self.ports[port].host;
        std::mem::take(&mut self.sink(host).frames)
    }

    /// The one frame that has left the router, by this port.
    #[track_caller]
    pub fn only(&mut self, port: usize) -> Vec<u8> {
        let (mut sent, other) = (self.sent(port), self.sent(1 - port));
        assert_eq!((sent.len(), other.len()), (1, 0), "frames sent by the port and by the other one");
        sent.remove(0)
    }

    /// Nothing has left the router.
    #[track_caller]
    pub fn nothing_sent(&mut self) {
        for port in 0..2 {
            assert_eq!(self.sent(port), Vec::<Vec<u8>>::new(), "sent by port {port}");
            assert_eq!(self.punted(port), Vec::<Vec<u8>>::new(), "to the host of port {port}");
        }
    }

    fn totals(&self) -> BTreeMap<String, u64> {
        let counters = &self.engine.counters.reasons;
        let value = |id: ReasonId| counters.sum(id.index());
        self.engine
            .graph()
            .reasons()
            .map(|(id, reason, node)| (format!("{}/{}", node.unwrap_or("?"), reason.spec.name), value(id)))
            .collect()
    }

    /// All counters of nodes that have moved since the last call, and by how much.
    pub fn moved(&mut self) -> Vec<(String, u64)> {
        let totals = self.totals();
        let seen = std::mem::replace(&mut self.seen, totals.clone());
        totals
            .into_iter()
            .map(|(name, total)| {
                let before = seen.get(&name).copied().unwrap_or(0);
                (name, total - before)
            })
            .filter(|(_, delta)| *delta > 0)
            .collect()
    }

    /// Exactly these counters have moved since the last look.
    #[track_caller]
    pub fn counted(&mut self, expected: &[(&str, u64)]) {
        let moved = self.moved();
        let moved: Vec<(&str, u64)> = moved.iter().map(|(name, delta)| (name.as_str(), *delta)).collect();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(moved, expected);
    }

    /// One frame ends here, for exactly this reason, and nothing is said about it.
    #[track_caller]
    pub fn dies(&mut self, port: usize, frame: &[u8], reason: &str) {
        self.receive_bytes(port, frame.to_vec());
        self.run();
        self.nothing_sent();
        self.counted(&[(reason, 1)]);
    }

    /// What the workers have told the main thread, all rings together.
    pub fn notices(&mut self) -> Vec<NeighborNotice> {
        let pop =
            |ring: &mut Consumer<NeighborNotice>| std::iter::from_fn(|| ring.pop().ok()).collect::<Vec<_>>();
        self.nodes.notices.iter_mut().flat_map(pop).collect()
    }

    /// Counter of an interface, on the worker.
    pub fn interface(&self, interface: InterfaceIndex) -> InterfaceCounts {
        let (counters, i) = (&self.engine.counters.interfaces, interface.index());
        InterfaceCounts {
            rx: counters.rx.get(WORKER, i).packets,
            tx: counters.tx.get(WORKER, i).packets,
            drops: counters.drops.get(WORKER, i),
            punt: counters.punt.get(WORKER, i),
            ip4: counters.named("/if/ip4").unwrap().get(WORKER, i),
        }
    }

    fn check_law(&mut self) {
        let totals = self.totals();
        let total = |names: &[&str]| names.iter().map(|name| totals[*name]).sum::<u64>();
        let of = |interfaces: &[InterfaceIndex], get: fn(&InterfaceCounts) -> u64| {
            interfaces.iter().map(|interface| get(&self.interface(*interface))).sum::<u64>()
        };
        let ports = self.ports.map(|port| port.index);
        let received = of(&ports, |it| it.rx) + of(&self.loopbacks, |it| it.rx);
        let looped = of(&self.loopbacks, |it| it.tx);
        let dropped = self.engine.counters.vectors.sum(NodeId::DROP.index());
        let (injected, in_flight) = (self.injected, self.worker.in_flight() as u64);
        let transmitted = looped
            + self
                .ports
                .map(|port| self.sink(port.tx).count + self.sink(port.host).count)
                .iter()
                .sum::<u64>();
        let made = total(&MADE) + injected;
        let used_up = total(&["ip4-frag/fragmented"]);
        assert_eq!(
            received + made,
            transmitted + dropped + used_up + in_flight,
            "received {received} + made {made} = transmitted {transmitted} + dropped {dropped} + used up {used_up} + \
             in flight {in_flight}"
        );
        let counters = &self.engine.counters.reasons;
        let drops = self.engine.graph().reasons().filter(|(_, info, _)| info.spec.kind == ReasonKind::Drop);
        let reasons = drops.map(|(id, ..)| counters.sum(id.index())).sum::<u64>();
        assert_eq!(reasons, dropped, "each dropped packet has one reason: {totals:?}");
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterfaceCounts {
    pub rx: u64,
    pub tx: u64,
    pub drops: u64,
    pub punt: u64,
    pub ip4: u64,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.run();
        self.check_law();
        self.worker.close();
        let level = &self.engine.buffers.levels()[0];
        assert_eq!(level.available, BUFFERS, "all buffers are back in the pool");
    }
}

fn port(engine: &mut Engine, interfaces: &mut Interfaces, i: u8) -> Port {
    let index = interfaces.next_index();
    let defs = vec![Sink::def(format!("p{i}-tx"), Some(index)), Sink::def(format!("p{i}-host-tx"), None)];
    let ids = engine.add_nodes("test", defs).expect("sinks");
    let mac = MacAddr([2, 0, 0, 0, i, 1]);
    let created = interfaces.create(engine, &format!("p{i}"), Kind::Port, mac, MTU, ids[0]);
    assert_eq!(created, Ok(index));
    Port {
        index,
        mac,
        address: Ipv4Addr::new(10, 0, i, 1),
        peer: Ipv4Addr::new(10, 0, i, 2),
        peer_mac: MacAddr([2, 0, 0, 0, i, 2]),
        tx: ids[0],
        host: ids[1],
    }
}

/// Of a neighbour that nobody has told of.
pub fn wanted(interface: InterfaceIndex, address: Ipv4Addr) -> NeighborNotice {
    NeighborNotice::Wanted { interface, address: IpAddr::V4(address) }
}
