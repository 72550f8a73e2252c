// SPDX-License-Identifier: Apache-2.0
//! A router of two ports on the test's own thread: frames in, exact frames and exact counters out.
//!
//! It is the daemon's router ([`Router`]) with the nodes of `weft-nodes`, one worker that a test turns by hand, and ports
//! without hardware. For tests only, of every crate that brings nodes.
//!
//! When a bed is dropped it checks the conservation law, after whatever the test has done:
//!
//! ```text
//!   received          frames from the sources of ports, and from loopbacks (/if/rx)
//! + made              copies (/workers/copies), ICMP errors (ip4- and ip6-icmp-error sent_*), fragments (ip4- and ip6-frag
//!                     fragments), injected frames, and what the router says to links (solicitations)
//! = transmitted       to the wire, to the host, and to loopbacks
//! + dropped           packets that came to the drop node
//! + used up           packets replaced by fragments (ip4- and ip6-frag fragmented), fragments that are part of a whole datagram
//!                     (ip4- and ip6-reassembly joined)
//! + in flight         in frames and hold queues
//! ```
//!
//! and that each dropped packet was counted with exactly one reason: the sum of all drop reasons of nodes, as their
//! descriptors declare them, is the number of packets that came to the drop node. At the end all buffers are back in the pool.

mod devices;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rtrb::Consumer;
use weft_engine::buffer::{BufferConfig, Metadata};
use weft_engine::clock::Clock;
use weft_engine::counters::WorkerColumn;
use weft_engine::node::ReasonKind;
use weft_engine::wait::Waker;
use weft_engine::{Engine, EngineConfig, InterfaceIndex, NodeId, ReasonId, ThreadIndex, Worker};
use weft_nodes::fib::Ip6;
use weft_nodes::fib::{AdjacencyId, NextHop};
use weft_nodes::graph::{FlowLabels, HeaderLimit, Nodes, Settings, Tables, add_nodes};
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{EtherType, MacAddr, link_local};
use weft_nodes::interface::{Interface, Interfaces, Kind};
use weft_nodes::ip4::{Action, Change, Ip4, Objects, Owner, PathTarget, Preference, RoutePath, TableIndex};
use weft_nodes::neighbor::NeighborNotice;
use weft_nodes::router::{Router, RouterSettings, Table};

use devices::{Sink, Source};

/// Events by which packets came to be.
const MADE: [&str; 9] = [
    "ip4-frag/fragments",
    "ip6-frag/fragments",
    "ip4-icmp-error/sent_fragmentation_needed",
    "ip4-icmp-error/sent_time_exceeded",
    "ip4-icmp-error/sent_unreachable",
    "ip6-icmp-error/sent_packet_too_big",
    "ip6-icmp-error/sent_parameter_problem",
    "ip6-icmp-error/sent_time_exceeded",
    "ip6-icmp-error/sent_unreachable",
];

const WORKER: ThreadIndex = ThreadIndex(1);

const BUFFERS: usize = 2048;

/// A port with a host on its link.
#[derive(Clone, Copy)]
pub struct Port {
    /// As an interface.
    pub index: InterfaceIndex,
    /// Its own MAC address.
    pub mac: MacAddr,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The neighbour that is known at the start.
    pub peer: Ipv4Addr,
    /// Its MAC address.
    pub peer_mac: MacAddr,
    /// The port's own IPv6 address, once IPv6 is enabled ([`Bed::enable_ip6`]).
    pub address6: Ipv6Addr,
    /// That of the neighbour, which is known from then on.
    pub peer6: Ipv6Addr,
    /// The port's link-local address.
    pub link_local: Ipv6Addr,
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

/// The router and what a test needs of it.
pub struct Bed {
    /// With one worker.
    pub engine: Engine,
    /// Turned by [`Bed::run`].
    pub worker: Worker,
    /// Of `weft-nodes`.
    pub nodes: Nodes,
    /// The two ports, and what a test adds.
    pub interfaces: Interfaces,
    /// The main thread's side of forwarding.
    pub router: Router,
    /// `p0`, 10.0.0.1/24, with 10.0.0.2 on its link, and `p1`, 10.0.1.1/24, with 10.0.1.2.
    pub ports: [Port; 2],
    /// Ports beyond these two ([`Bed::add_port`]).
    more: Vec<Port>,
    /// Wakes the main thread.
    pub main: Waker,
    /// What the nodes read.
    pub tables: Tables,
    source: NodeId,
    injected: u64,
    loopbacks: Vec<InterfaceIndex>,
    /// Counters when the test last looked.
    seen: BTreeMap<String, u64>,
}

/// An address from its text.
pub fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

/// An IPv6 address from its text.
pub fn ip6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// Of every interface.
pub const MTU: u16 = 1500;
/// The forwarding table of both ports.
pub const DEFAULT: TableIndex = TableIndex(0);

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

impl Bed {
    /// A router with the settings of a daemon without configuration.
    pub fn new() -> Bed {
        Self::with(Settings::default())
    }

    /// A router with these settings.
    pub fn with(settings: Settings) -> Bed {
        let mut bed = Self::detached(settings);
        bed.nodes.attach(&mut bed.router);
        bed
    }

    /// A router that does not tell workers to send on what waits for a neighbour: the test does.
    pub fn detached(settings: Settings) -> Bed {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, BUFFERS)], ..BufferConfig::default() },
            stats_size: 4 << 20,
            clock: Some(Clock::manual()),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config).expect("an engine");
        let sizes =
            RouterSettings { tables: 8, load_balances: 256, next_hops: 256, ..RouterSettings::default() };
        let mut router = Router::new(&mut engine, sizes).expect("a router");
        let mut interfaces = Interfaces::new(&engine, 64);
        let main = Waker::new().expect("an eventfd");
        let routes = engine.stats.combined("/net/route/to", 257, 257).expect("room in the segment");
        router.count_in(routes.clone());
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes,
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            settings,
            main: main.clone(),
        };
        let nodes = add_nodes(&mut engine, &tables).expect("the nodes of the crate");
        nodes.forget_deleted(&mut interfaces);
        let source = engine.add_nodes("test", vec![Source::def()]).expect("a source")[0];
        let ports = [0u8, 1].map(|i| port(&mut engine, &mut interfaces, i));
        let mut bed = Bed {
            worker: workers.remove(0),
            engine,
            nodes,
            interfaces,
            router,
            ports,
            more: Vec::new(),
            main,
            tables,
            source,
            injected: 0,
            loopbacks: Vec::new(),
            seen: BTreeMap::new(),
        };
        for port in bed.ports {
            bed.address(port.index, &format!("{}/24", port.address));
            bed.resolve(port.index, port.peer, port.peer_mac);
        }
        bed.run();
        bed
    }

    /// One more port, which is up and has no address; returns its number. Its neighbour is not known.
    pub fn add_port(&mut self) -> usize {
        let number = self.ports.len() + self.more.len();
        let port = port(&mut self.engine, &mut self.interfaces, number as u8);
        self.more.push(port);
        self.change(port.index, |interface| (interface.admin_up, interface.link_up) = (true, true));
        number
    }

    /// A port by its number.
    pub fn port(&self, number: usize) -> Port {
        *self.ports.iter().chain(&self.more).nth(number).expect("there are so many ports")
    }

    /// All ports.
    fn all_ports(&self) -> Vec<Port> {
        self.ports.iter().chain(&self.more).copied().collect()
    }

    /// Another forwarding table.
    pub fn add_table(&mut self) -> TableIndex {
        let id = self.router.tables::<Ip4>().count() as u32;
        self.router.add_table::<Ip4>(&mut self.engine, id, "test").expect("room for a table")
    }

    /// A forwarding table.
    pub fn table(&self, table: TableIndex) -> &Table<Ip4> {
        self.router.table::<Ip4>(table).expect("the table exists")
    }

    /// Next hops and load-balances.
    pub fn objects(&self) -> &Objects {
        self.router.objects()
    }

    /// Sets a route.
    pub fn route(&mut self, table: TableIndex, prefix: &str, targets: &[PathTarget]) {
        self.routes(table, &[prefix], targets);
    }

    /// Sets routes that lead to the same.
    pub fn routes(&mut self, table: TableIndex, prefixes: &[impl AsRef<str>], targets: &[PathTarget]) {
        let paths: Vec<_> = targets.iter().map(|target| RoutePath::new(*target)).collect();
        let change = |prefix: &str| Change {
            prefix: prefix.parse().expect("a prefix"),
            owner: Owner::CLI,
            action: Action::Set(Preference::default(), paths.clone()),
        };
        let changes: Vec<_> = prefixes.iter().map(|prefix| change(prefix.as_ref())).collect();
        self.router.apply(&mut self.engine, &self.interfaces, table, &changes).expect("routes");
    }

    /// Gives an interface an address and sets it up.
    pub fn address(&mut self, interface: InterfaceIndex, address: &str) {
        self.change(interface, |interface| (interface.admin_up, interface.link_up) = (true, true));
        let net = address.parse().expect("an address with its prefix length");
        self.router
            .add_address::<Ip4>(&mut self.engine, &mut self.interfaces, interface, net)
            .expect("an address");
    }

    /// Gives both ports an IPv6 address, 2001:db8::1/64 and 2001:db8:0:1::1/64, and makes 2001:db8::2 and 2001:db8:0:1::2 known.
    pub fn enable_ip6(&mut self) {
        for port in self.ports {
            self.address6(port.index, &format!("{}/64", port.address6));
            self.resolve6(port.index, port.peer6, port.peer_mac);
        }
        self.run();
        // What the router says to the links on this occasion is not what a test is about.
        for port in self.ports {
            self.router.own_addresses_changed(&mut self.engine, &self.interfaces, port.index, false);
        }
        self.run();
        for port in 0..2 {
            self.sent(port);
            self.contexts(port);
        }
    }

    /// Gives an interface an IPv6 address.
    pub fn address6(&mut self, interface: InterfaceIndex, address: &str) {
        let net = address.parse().expect("an address with its prefix length");
        self.router
            .add_address::<Ip6>(&mut self.engine, &mut self.interfaces, interface, net)
            .expect("an address");
    }

    /// A neighbour that is known from now on.
    pub fn resolve6(&mut self, interface: InterfaceIndex, address: Ipv6Addr, mac: MacAddr) {
        self.router
            .set_static_neighbor::<Ip6>(&mut self.engine, &self.interfaces, interface, address, mac)
            .expect("a neighbour");
    }

    /// Sets a route of the first IPv6 table.
    pub fn route6(&mut self, prefix: &str, targets: &[weft_nodes::fib::PathTarget<Ip6>]) {
        let paths = targets.iter().map(|target| weft_nodes::fib::RoutePath::new(*target)).collect();
        let change = weft_nodes::fib::Change {
            prefix: prefix.parse().expect("a prefix"),
            owner: Owner::CLI,
            action: weft_nodes::fib::Action::Set(Preference::default(), paths),
        };
        self.router.apply(&mut self.engine, &self.interfaces, DEFAULT, &[change]).expect("a route");
    }

    /// Lets the main thread hear what workers have told, and the workers do what follows.
    pub fn hear(&mut self) {
        for notice in self.notices() {
            self.router.notice(&mut self.engine, &self.interfaces, notice);
        }
        self.run();
    }

    /// Moves an interface, with its addresses, to another table. Its neighbours are unknown there.
    pub fn move_to(&mut self, table: TableIndex, interface: InterfaceIndex) {
        let Bed { engine, router, interfaces, .. } = self;
        let id = router.table::<Ip4>(table).expect("the table exists").id;
        let addresses = interfaces.get(interface).expect("the interface exists").ip4.addresses.clone();
        for address in &addresses {
            router
                .remove_address::<Ip4>(engine, interfaces, interface, *address)
                .expect("it has the address");
        }
        router.set_table::<Ip4>(engine, interfaces, interface, id).expect("an interface without addresses");
        for address in addresses {
            router.add_address::<Ip4>(engine, interfaces, interface, address).expect("nobody has it there");
        }
    }

    /// Changes an interface, and what follows.
    pub fn change(&mut self, interface: InterfaceIndex, change: impl FnOnce(&mut Interface)) {
        self.interfaces.change(&mut self.engine, interface, change).expect("the interface exists");
        self.router.interface_changed(&mut self.engine, &self.interfaces, interface).expect("what follows");
    }

    /// A neighbour that is known from now on; its next hop.
    pub fn resolve(&mut self, interface: InterfaceIndex, address: Ipv4Addr, mac: MacAddr) -> AdjacencyId {
        self.router
            .set_static_neighbor::<Ip4>(&mut self.engine, &self.interfaces, interface, address, mac)
            .expect("a neighbour");
        self.next_hop(interface, address)
    }

    /// The next hop of a neighbour that is known or has a route.
    pub fn next_hop(&self, interface: InterfaceIndex, address: Ipv4Addr) -> AdjacencyId {
        let next_hop = NextHop { interface, address: address.into(), payload: EtherType::IPV4 };
        self.objects().adjacencies.find(next_hop).expect("a next hop")
    }

    /// Likewise, of IPv6.
    pub fn next_hop6(&self, interface: InterfaceIndex, address: Ipv6Addr) -> AdjacencyId {
        let next_hop = NextHop { interface, address: address.into(), payload: EtherType::IPV6 };
        self.objects().adjacencies.find(next_hop).expect("a next hop")
    }

    /// Gives a port a host's side.
    pub fn with_host(&mut self, port: usize) {
        let Port { index, host, .. } = self.port(port);
        self.change(index, |interface| interface.host = host);
    }

    /// A loopback, which is down and has no address.
    pub fn loopback(&mut self, name: &str, mac: MacAddr) -> InterfaceIndex {
        let tx = self.nodes.loopback_tx;
        let loopback = self.interfaces.create(&mut self.engine, name, Kind::Loopback, mac, MTU, tx);
        let loopback = loopback.expect("a loopback");
        self.loopbacks.push(loopback);
        loopback
    }

    /// A loopback that is a routed port of a switch: what it sends comes in there, and does not end, so it is no loopback to
    /// the conservation law.
    pub fn routed_port(&mut self, name: &str, mac: MacAddr) -> InterfaceIndex {
        let loopback = self.loopback(name, mac);
        self.loopbacks.retain(|other| *other != loopback);
        loopback
    }

    /// A frame on the wire of a port.
    pub fn receive(&mut self, port: usize, frame: &Packet) {
        self.receive_bytes(port, frame.build());
    }

    /// The same, from its bytes.
    pub fn receive_bytes(&mut self, port: usize, bytes: Vec<u8>) {
        let index = self.port(port).index;
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
        let tx = self.port(port).tx;
        std::mem::take(&mut self.sink(tx).frames)
    }

    /// What the graph knew of what a port has transmitted since the last call.
    pub fn contexts(&mut self, port: usize) -> Vec<Metadata> {
        let tx = self.port(port).tx;
        std::mem::take(&mut self.sink(tx).contexts)
    }

    /// What the host's side of a port was handed since the last call.
    pub fn punted(&mut self, port: usize) -> Vec<Vec<u8>> {
        let host = self.port(port).host;
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
        for port in 0..self.all_ports().len() {
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

    /// Those of them that count drops.
    pub fn dropped(&mut self) -> Vec<(String, u64)> {
        let mut moved = self.moved();
        let reasons =
            self.engine.graph().reasons().filter(|(_, reason, _)| reason.spec.kind == ReasonKind::Drop);
        let drops: BTreeSet<String> = reasons
            .map(|(_, reason, node)| format!("{}/{}", node.unwrap_or("?"), reason.spec.name))
            .collect();
        moved.retain(|(name, _)| drops.contains(name));
        moved
    }

    /// Exactly these counters of drops have moved since the last look, whatever else was counted.
    #[track_caller]
    pub fn drops(&mut self, expected: &[(&str, u64)]) {
        let dropped = self.dropped();
        let dropped: Vec<(&str, u64)> = dropped.iter().map(|(name, delta)| (name.as_str(), *delta)).collect();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(dropped, expected);
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
            ip6: counters.named("/if/ip6").unwrap().get(WORKER, i),
        }
    }

    fn check_law(&mut self) {
        let totals = self.totals();
        let total = |names: &[&str]| names.iter().map(|name| totals[*name]).sum::<u64>();
        let of = |interfaces: &[InterfaceIndex], get: fn(&InterfaceCounts) -> u64| {
            interfaces.iter().map(|interface| get(&self.interface(*interface))).sum::<u64>()
        };
        let all = self.all_ports();
        let ports: Vec<_> = all.iter().map(|port| port.index).collect();
        let received = of(&ports, |it| it.rx) + of(&self.loopbacks, |it| it.rx);
        let looped = of(&self.loopbacks, |it| it.tx);
        // Features of error-drop see packets on their way from drop to drop.
        self.engine.learn_edges();
        self.worker.turn();
        let again = self.engine.edges(NodeId::DROP).iter().map(|(_, packets)| packets).sum::<u64>();
        let dropped = self.engine.counters.vectors.sum(NodeId::DROP.index()) - again;
        let (injected, in_flight) = (self.injected, self.worker.in_flight() as u64);
        let sunk = all.iter().map(|port| self.sink(port.tx).count + self.sink(port.host).count);
        let transmitted = looped + sunk.sum::<u64>();
        let said: u64 = all.iter().map(|port| self.sink(port.tx).said).sum();
        let copies = self.engine.counters.workers.get(WORKER, WorkerColumn::Copies as usize);
        let made = total(&MADE) + injected + said + copies;
        let used_up = total(&[
            "ip4-frag/fragmented",
            "ip6-frag/fragmented",
            "ip4-reassembly/joined",
            "ip6-reassembly/joined",
        ]);
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

/// Packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterfaceCounts {
    /// Received.
    pub rx: u64,
    /// Transmitted.
    pub tx: u64,
    /// Dropped after they came in by it.
    pub drops: u64,
    /// Handed to the host.
    pub punt: u64,
    /// IPv4 among those received.
    pub ip4: u64,
    /// IPv6 among those received.
    pub ip6: u64,
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
    let name = format!("p{i}");
    let index = interfaces.reserve(&name).expect("there is room").index();
    let defs = vec![Sink::def(format!("p{i}-tx"), Some(index)), Sink::def(format!("p{i}-host-tx"), None)];
    let ids = engine.add_nodes("test", defs).expect("sinks");
    let mac = MacAddr([2, 0, 0, 0, i, 1]);
    let created = interfaces.create(engine, &name, Kind::Port, mac, MTU, ids[0]);
    assert_eq!(created, Ok(index));
    Port {
        index,
        mac,
        address: Ipv4Addr::new(10, 0, i, 1),
        peer: Ipv4Addr::new(10, 0, i, 2),
        peer_mac: MacAddr([2, 0, 0, 0, i, 2]),
        address6: Ipv6Addr::new(0x2001, 0xdb8, 0, i.into(), 0, 0, 0, 1),
        peer6: Ipv6Addr::new(0x2001, 0xdb8, 0, i.into(), 0, 0, 0, 2),
        link_local: link_local(mac),
        tx: ids[0],
        host: ids[1],
    }
}

/// Of a neighbour that nobody has told of.
pub fn wanted(interface: InterfaceIndex, address: Ipv4Addr) -> NeighborNotice {
    NeighborNotice::Wanted { interface, address: IpAddr::V4(address) }
}
