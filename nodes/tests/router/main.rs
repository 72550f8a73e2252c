// SPDX-License-Identifier: Apache-2.0
//! The main thread's router, with one worker that is turned by hand: from an address to an answered packet. What is said of
//! IPv4 here is shown of IPv6 in `ip6`.

mod ip6;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use weft_engine::clock::Clock;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_nodes::arp::request_frame;
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{FlowLabels, HeaderLimit, Nodes, Settings, Tables, add_nodes};
use weft_nodes::headers::{MacAddr, build};
use weft_nodes::interface::{Interface, Interfaces, Kind, Tags};
use weft_nodes::ip4::{
    Action, ApplyError, Change, DropKind, Forward, Ip4, MAX_REWRITE, Owner, PathTarget, Preference, Rewrite,
    RouteError, RoutePath, TableIndex,
};
use weft_nodes::neighbor::NeighborNotice;
use weft_nodes::router::{KindError, Router, RouterSettings, RoutesError};

type RouterError = weft_nodes::router::RouterError<Ip4>;

static TX: NodeSpec = NodeSpec::internal("test-tx").role(Role::Output);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const MAIN: TableIndex = TableIndex(0);

/// Keeps what is transmitted.
#[derive(Default)]
struct Tx(Vec<BufferIndex>);

impl Node for Tx {
    fn process(&mut self, _: &mut Context<'_>, frame: &Frame) {
        self.0.extend_from_slice(frame.packets());
    }

    fn close(&mut self, buffers: &mut weft_engine::buffer::BufferCache) {
        buffers.free(&self.0);
        self.0.clear();
    }
}

struct Bed {
    engine: Engine,
    worker: Worker,
    interfaces: Interfaces,
    router: Router,
    nodes: Nodes,
    tx: NodeId,
    tables: Tables,
}

impl Bed {
    fn new() -> Bed {
        let (mut engine, mut workers) =
            Engine::new(&EngineConfig { clock: Some(Clock::manual()), ..EngineConfig::default() }).unwrap();
        let settings = RouterSettings { next_hops: 64, load_balances: 64, ..RouterSettings::default() };
        let mut router = Router::new(&mut engine, settings).unwrap();
        let interfaces = Interfaces::new(&engine, 8);
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", 65, 65).unwrap(),
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            settings: Settings::default(),
            main: Waker::new().unwrap(),
        };
        let nodes = add_nodes(&mut engine, &tables).unwrap();
        nodes.attach(&mut router);
        let tx = engine.add_nodes("test", vec![NodeDef::new(&TX, |_| Box::<Tx>::default())]).unwrap()[0];
        Bed { engine, worker: workers.remove(0), interfaces, router, nodes, tx, tables }
    }

    fn port(&mut self, name: &str, address: &str) -> InterfaceIndex {
        let port = self.interfaces.create(&mut self.engine, name, Kind::Port, OURS, 1500, self.tx).unwrap();
        self.interfaces
            .change(&mut self.engine, port, |port| (port.admin_up, port.link_up) = (true, true))
            .unwrap();
        self.router.interface_changed(&mut self.engine, &self.interfaces, port).unwrap();
        self.address(port, address).unwrap();
        port
    }

    fn address(&mut self, port: InterfaceIndex, address: &str) -> Result<(), RouterError> {
        self.router.add_address::<Ip4>(&mut self.engine, &mut self.interfaces, port, address.parse().unwrap())
    }

    fn route(&mut self, prefix: &str, target: PathTarget) {
        let action = Action::Set(Preference::default(), vec![RoutePath::new(target)]);
        let change = Change { prefix: net(prefix), owner: Owner::CLI, action };
        self.router.apply(&mut self.engine, &self.interfaces, MAIN, &[change]).unwrap();
    }

    fn forward(&self, address: &str) -> Option<Forward> {
        let rib = &self.router.table::<Ip4>(MAIN)?.rib;
        let id = rib.fib().lookup(address.parse::<Ipv4Addr>().unwrap().into());
        Some(self.router.objects().load_balances.get(id)?.pick(0))
    }

    /// Hands the router what workers have told, turns the worker, and gives what was transmitted since.
    fn settle(&mut self) -> Vec<Vec<u8>> {
        for _ in 0..4 {
            self.worker.turn();
            let news: Vec<_> = self
                .nodes
                .notices
                .iter_mut()
                .flat_map(|ring| std::iter::from_fn(|| ring.pop().ok()))
                .collect();
            for notice in news {
                self.router.notice(&mut self.engine, &self.interfaces, notice);
            }
        }
        self.engine.reclaim();
        let (node, buffers) = self.worker.node_and_buffers::<Tx>(self.tx).unwrap();
        let packets = std::mem::take(&mut node.0);
        packets
            .into_iter()
            .map(|index| {
                let frame = buffers.packet(index).data().to_vec();
                buffers.free_one(index);
                frame
            })
            .collect()
    }

    fn receive(&mut self, port: InterfaceIndex, frame: &[u8]) {
        let ethernet = self.nodes.ethernet_input;
        assert!(self.worker.inject(ethernet, frame, |meta| meta.rx_interface = port));
    }
}

fn net(prefix: &str) -> Ipv4Net {
    prefix.parse().unwrap()
}

fn ip(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

#[test]
fn an_address_makes_routes_and_takes_them_along() {
    let mut bed = Bed::new();
    let port = bed.port("p0", "10.0.0.1/24");
    assert_eq!(bed.forward("10.0.0.9"), Some(Forward::glean(port)));
    assert_eq!(bed.forward("10.0.0.1"), Some(Forward::LOCAL));
    assert_eq!(bed.forward("10.0.0.255"), Some(Forward::LOCAL));
    bed.address(port, "10.0.0.2/24").unwrap();
    assert!(matches!(bed.address(port, "10.0.0.2/24"), Err(RouterError::AddressInUse { .. })));
    assert!(matches!(bed.address(port, "10.0.1.255/24"), Err(RouterError::NotUnicast(_))));
    let remove = |bed: &mut Bed, address: &str| {
        bed.router.remove_address::<Ip4>(&mut bed.engine, &mut bed.interfaces, port, net(address))
    };
    remove(&mut bed, "10.0.0.1/24").unwrap();
    assert_eq!(bed.forward("10.0.0.9"), Some(Forward::glean(port)), "the other address keeps the subnet");
    assert_eq!(bed.forward("10.0.0.1"), Some(Forward::glean(port)));
    remove(&mut bed, "10.0.0.2/24").unwrap();
    assert!(bed.forward("10.0.0.9").is_some_and(|forward| forward.kind().dropped().is_some()));
    assert!(matches!(remove(&mut bed, "10.0.0.2/24"), Err(RouterError::NoSuchAddress { .. })));
}

#[test]
fn a_subnet_that_goes_takes_the_routes_of_its_neighbours_along() {
    let mut bed = Bed::new();
    let port = bed.port("p0", "10.0.0.1/24");
    let host = Ipv4Addr::new(10, 0, 0, 9);
    bed.router.set_static_neighbor::<Ip4>(&mut bed.engine, &bed.interfaces, port, host, THEIRS).unwrap();
    assert!(bed.forward("10.0.0.9").and_then(Forward::as_adjacency).is_some());
    bed.router.remove_address::<Ip4>(&mut bed.engine, &mut bed.interfaces, port, net("10.0.0.1/24")).unwrap();
    assert!(bed.forward("10.0.0.9").is_some_and(|forward| forward.kind().dropped().is_some()));
}

#[test]
fn another_mac_address_is_announced_and_who_has_not_answered_is_asked_by_it() {
    let mut bed = Bed::new();
    let port = bed.port("p0", "10.0.0.1/24");
    bed.address(port, "10.0.0.3/24").unwrap();
    let asks = |mac, sender, target| request_frame((mac, ip(sender)), ip(target), None, Tags::default());
    let wanted = NeighborNotice::Wanted { interface: port, address: ip("10.0.0.9").into() };
    bed.router.notice(&mut bed.engine, &bed.interfaces, wanted);
    assert_eq!(bed.settle(), [asks(OURS, "10.0.0.1", "10.0.0.9")]);
    let fresh = MacAddr([2, 0, 0, 0, 0, 7]);
    bed.interfaces.change(&mut bed.engine, port, |port| port.mac = fresh).unwrap();
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, port, true);
    let told = [
        asks(fresh, "10.0.0.1", "10.0.0.1"),
        asks(fresh, "10.0.0.3", "10.0.0.3"),
        asks(fresh, "10.0.0.1", "10.0.0.9"),
    ];
    assert_eq!(bed.settle(), told);
    // Another address alone is not announced.
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, port, false);
    assert_eq!(bed.settle(), told[2..]);
}

#[test]
fn interfaces_change_together_or_not_at_all() {
    let mut bed = Bed::new();
    let (p0, p1) = (bed.port("p0", "10.0.0.1/24"), bed.port("p1", "10.0.1.1/24"));
    for keep in [false, true] {
        // What is published replaces what waits to be freed then.
        let published = bed.engine.domain.waiting();
        bed.interfaces.begin();
        for port in [p0, p1] {
            bed.interfaces.change(&mut bed.engine, port, |port| port.mtu = 1400).unwrap();
        }
        assert_eq!(bed.engine.domain.waiting(), published);
        match keep {
            true => bed.interfaces.commit(&mut bed.engine),
            false => bed.interfaces.roll_back(&mut bed.engine),
        }
        assert_eq!(bed.engine.domain.waiting() - published, usize::from(keep));
        let mtu = if keep { 1400 } else { 1500 };
        assert!([p0, p1].iter().all(|port| bed.interfaces.get(*port).unwrap().mtu == mtu));
    }
}

#[test]
fn a_packet_waits_for_its_neighbour_and_leaves() {
    let mut bed = Bed::new();
    let (p0, p1) = (bed.port("p0", "10.0.0.1/24"), bed.port("p1", "10.0.1.1/24"));
    let packet = build::ethernet()
        .macs(THEIRS, OURS)
        .ipv4([10, 0, 0, 2], [10, 0, 1, 2])
        .udp(1, 2)
        .payload(&[7; 20])
        .build();
    bed.receive(p0, &packet);
    let host = Ipv4Addr::new(10, 0, 1, 2);
    let asked = request_frame((OURS, Ipv4Addr::new(10, 0, 1, 1)), host, None, Tags::default());
    assert_eq!(bed.settle(), [asked]);
    let answer = NeighborNotice::Learned {
        interface: p1,
        address: IpAddr::V4(host),
        mac: THEIRS,
        evidence: weft_nodes::neighbor::Evidence::ToUs,
    };
    bed.router.notice(&mut bed.engine, &bed.interfaces, answer);
    let sent = bed.settle();
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0][..6], &sent[0][6..12], sent[0][22]), (&THEIRS.0[..], &OURS.0[..], 63));
    assert!(bed.forward("10.0.1.2").and_then(Forward::as_adjacency).is_some());
    // What is known is used at once by a new route.
    bed.route("192.0.2.0/24", PathTarget::Via { address: host, interface: Some(p1) });
    bed.receive(p0, &packet);
    assert_eq!(bed.settle().len(), 1);
}

#[test]
fn an_interface_that_goes_takes_its_routes_and_neighbours_along() {
    let mut bed = Bed::new();
    let (p0, p1) = (bed.port("p0", "10.0.0.1/24"), bed.port("p1", "10.0.1.1/24"));
    let host = Ipv4Addr::new(10, 0, 1, 2);
    bed.router.set_static_neighbor::<Ip4>(&mut bed.engine, &bed.interfaces, p1, host, THEIRS).unwrap();
    bed.route("192.0.2.0/24", PathTarget::Via { address: host, interface: Some(p1) });
    assert!(bed.forward("192.0.2.1").and_then(Forward::as_adjacency).is_some());
    bed.interfaces.change(&mut bed.engine, p1, |port| port.link_up = false).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p1).unwrap();
    assert!(
        bed.forward("192.0.2.1").is_some_and(|forward| forward.kind().dropped().is_some()),
        "down: the path is not used"
    );
    bed.interfaces.change(&mut bed.engine, p1, |port| port.link_up = true).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p1).unwrap();
    assert!(
        bed.forward("192.0.2.1").and_then(Forward::as_adjacency).is_some(),
        "up again: a static neighbour stays"
    );
    bed.router.delete_interface(&mut bed.engine, &mut bed.interfaces, p1).unwrap();
    for address in ["192.0.2.1", "10.0.1.1", "10.0.1.2"] {
        assert!(bed.forward(address).is_some_and(|forward| forward.kind().dropped().is_some()), "{address}");
    }
    assert!(bed.router.neighbors().is_empty());
    assert!(bed.router.objects().adjacencies.is_empty());
    assert_eq!(bed.forward("10.0.0.9"), Some(Forward::glean(p0)));
}

#[test]
fn an_interface_that_cannot_go_stays_as_it_was() {
    let mut bed = Bed::new();
    let (p0, p1) = (bed.port("p0", "10.0.0.1/24"), bed.port("p1", "10.0.1.1/24"));
    let via = |host: [u8; 4], interface| {
        RoutePath::new(PathTarget::Via { address: Ipv4Addr::from(host), interface: Some(interface) })
    };
    let set = |prefix: &str, paths| {
        let action = Action::Set(Preference::default(), paths);
        Change { prefix: net(prefix), owner: Owner::CLI, action }
    };
    let both = set("192.0.2.0/24", vec![via([10, 0, 0, 2], p0), via([10, 0, 1, 2], p1)]);
    bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &[both]).unwrap();
    // Without its path over p1 that route has paths like no other, and there is no room for them.
    let full = (3..).find_map(|host| {
        let change = set(&format!("198.51.100.{host}/32"), vec![via([10, 0, 0, host], p0)]);
        bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &[change]).err()
    });
    assert!(matches!(full, Some(RouterError::Apply(_))));
    let seen = |bed: &Bed| {
        let addresses = bed.interfaces.get(p1).map(|interface| interface.ip4.addresses.clone());
        (addresses, ["10.0.1.1", "10.0.1.9", "192.0.2.1"].map(|address| bed.forward(address)))
    };
    let before = seen(&bed);
    assert_eq!(before.1[1], Some(Forward::glean(p1)));
    let refused = bed.router.delete_interface(&mut bed.engine, &mut bed.interfaces, p1);
    assert!(matches!(refused, Err(RoutesError::Ip4(RouterError::Apply(_)))), "{refused:?}");
    assert_eq!(seen(&bed), before);
}

#[test]
fn tables_are_apart() {
    let mut bed = Bed::new();
    let red = bed.router.add_table::<Ip4>(&mut bed.engine, 7, "red").unwrap();
    assert!(matches!(
        bed.router.add_table::<Ip4>(&mut bed.engine, 7, "again"),
        Err(RouterError::TableExists(7))
    ));
    let p0 = bed.port("p0", "10.0.0.1/24");
    let moved = bed.router.set_table::<Ip4>(&mut bed.engine, &mut bed.interfaces, p0, 7);
    assert!(matches!(moved, Err(RouterError::HasAddresses(_))));
    let p1 = bed.interfaces.create(&mut bed.engine, "p1", Kind::Port, OURS, 1500, bed.tx).unwrap();
    bed.router.set_table::<Ip4>(&mut bed.engine, &mut bed.interfaces, p1, 7).unwrap();
    bed.address(p1, "10.0.0.1/24").unwrap();
    assert_eq!(bed.router.table::<Ip4>(red).unwrap().rib.len(), 6);
    let deleted = bed.router.delete_table::<Ip4>(&mut bed.engine, &bed.interfaces, 7);
    assert!(matches!(deleted, Err(RouterError::TableInUse(7, _))));
    bed.router.delete_interface(&mut bed.engine, &mut bed.interfaces, p1).unwrap();
    bed.router.delete_table::<Ip4>(&mut bed.engine, &bed.interfaces, 7).unwrap();
    assert!(bed.router.table::<Ip4>(red).is_none());
    assert!(matches!(
        bed.router.delete_table::<Ip4>(&mut bed.engine, &bed.interfaces, 0),
        Err(RouterError::DefaultTable)
    ));
}

#[test]
fn a_table_that_a_route_leads_to_stays_and_its_users_are_named() {
    let mut bed = Bed::new();
    let red = bed.router.add_table::<Ip4>(&mut bed.engine, 7, "red").unwrap();
    bed.route("10.9.0.0/16", PathTarget::Table(red));
    for number in 0..5 {
        bed.route(&format!("10.8.{number}.0/24"), PathTarget::Table(red));
    }
    let refused = bed.router.delete_table::<Ip4>(&mut bed.engine, &bed.interfaces, 7).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "IPv4 table 7 is in use by the route to 10.8.0.0/24 in table 0, the route to 10.8.1.0/24 in table 0, \
         the route to 10.8.2.0/24 in table 0, the route to 10.8.3.0/24 in table 0 and 2 more"
    );
    let mut delete = |prefix: &str| {
        let change = Change { prefix: net(prefix), owner: Owner::CLI, action: Action::Delete };
        bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &[change]).unwrap();
    };
    (0..5).for_each(|number| delete(&format!("10.8.{number}.0/24")));
    delete("10.9.0.0/16");
    // Its own routes keep no table, and none of them can lead back into it.
    let own = |target| {
        let action = Action::Set(Preference::default(), vec![RoutePath::new(target)]);
        [Change { prefix: net("10.0.0.0/8"), owner: Owner::CLI, action }]
    };
    let circle = own(PathTarget::Table(red));
    let refused = bed.router.apply(&mut bed.engine, &bed.interfaces, red, &circle);
    let expected = vec![(0, RouteError::OwnTable(net("10.0.0.0/8")))];
    assert!(matches!(refused, Err(RouterError::Apply(ApplyError::Refused(errors))) if errors == expected));
    bed.router.apply(&mut bed.engine, &bed.interfaces, red, &own(PathTarget::Local)).unwrap();
    bed.router.delete_table::<Ip4>(&mut bed.engine, &bed.interfaces, 7).unwrap();

    let action = Action::Set(Preference::default(), vec![RoutePath::new(PathTarget::Table(red))]);
    let dangling = Change { prefix: net("10.9.0.0/16"), owner: Owner::CLI, action };
    let expected = vec![(1, RouteError::NoSuchTable(net("10.9.0.0/16")))];
    let good = Change {
        prefix: net("10.7.0.0/16"),
        owner: Owner::CLI,
        action: Action::Set(Preference::default(), vec![RoutePath::new(PathTarget::Local)]),
    };
    let both = [good, dangling];
    let refused = bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &both);
    assert!(matches!(refused, Err(RouterError::Apply(ApplyError::Refused(errors))) if errors == expected));
    let refused =
        bed.router.prepare(&mut bed.engine, &[(MAIN, both.iter().collect())], &BTreeSet::new()).err();
    let Some([(0, RouterError::Apply(ApplyError::Refused(errors)))]) = refused.as_deref() else {
        panic!("accepted a route to a table that is gone");
    };
    assert_eq!(*errors, expected);
}

#[test]
fn what_follows_from_addresses_is_used_only_while_the_interface_is_up() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    let p1 = bed.port("p1", "10.0.1.1/24");
    bed.route("10.0.0.0/24", PathTarget::Via { address: ip("10.0.1.9"), interface: Some(p1) });
    let local = Some(Forward::LOCAL);
    let state = |bed: &mut Bed, admin_up, link_up| {
        let change = |port: &mut Interface| (port.admin_up, port.link_up) = (admin_up, link_up);
        bed.interfaces.change(&mut bed.engine, p0, change).unwrap();
        bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
    };
    let own = ["10.0.0.0", "10.0.0.1", "10.0.0.255"];
    let up = own.map(|address| bed.forward(address));
    assert_eq!(up, [Some(Forward::drop(DropKind::Blackhole)), local, local]);
    assert_eq!(bed.forward("10.0.0.9"), Some(Forward::glean(p0)));

    // Without a link nobody is reached there, but the addresses are still ours.
    state(&mut bed, true, false);
    assert_eq!(own.map(|address| bed.forward(address)), up);
    assert!(bed.forward("10.0.0.9").and_then(Forward::as_adjacency).is_some(), "the peer's route is used");

    state(&mut bed, false, false);
    for address in own.iter().chain(&["10.0.0.9"]) {
        assert!(bed.forward(address).and_then(Forward::as_adjacency).is_some(), "{address}");
    }
    assert_eq!(bed.interfaces.get(p0).unwrap().ip4.addresses, [net("10.0.0.1/24")]);
    // An address that comes while the interface is down waits for it, as do those of a new interface.
    bed.address(p0, "10.0.2.1/24").unwrap();
    let p2 = bed.interfaces.create(&mut bed.engine, "p2", Kind::Port, OURS, 1500, bed.tx).unwrap();
    bed.address(p2, "10.0.3.1/24").unwrap();
    for address in ["10.0.2.1", "10.0.2.9", "10.0.3.1", "10.0.3.9"] {
        assert_eq!(bed.forward(address), Some(Forward::drop(DropKind::NoRoute)), "{address}");
    }

    state(&mut bed, true, true);
    assert_eq!(own.map(|address| bed.forward(address)), up);
    assert_eq!(bed.forward("10.0.2.1"), local);
    assert_eq!(bed.forward("10.0.2.9"), Some(Forward::glean(p0)));
}

#[test]
fn interfaces_of_one_subnet_share_its_broadcast() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    bed.port("p1", "10.0.0.2/24");
    let remove = |bed: &mut Bed, port, address: &str| {
        bed.router.remove_address::<Ip4>(&mut bed.engine, &mut bed.interfaces, port, net(address)).unwrap();
    };
    remove(&mut bed, p0, "10.0.0.1/24");
    assert_eq!(bed.forward("10.0.0.255"), Some(Forward::LOCAL));
    assert_eq!(bed.forward("10.0.0.0"), Some(Forward::drop(DropKind::Blackhole)));
}

#[test]
fn a_static_neighbor_is_another_station() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    bed.port("p1", "10.0.1.1/30");
    let mut set = |address: &str| {
        bed.router.set_static_neighbor::<Ip4>(&mut bed.engine, &bed.interfaces, p0, ip(address), THEIRS)
    };
    let wrong = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.5",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.0.1",
        "10.0.0.0",
        "10.0.0.255",
        "10.0.1.1",
        "10.0.1.3",
    ];
    for address in wrong {
        assert!(matches!(set(address), Err(RouterError::NotANeighbor(_))), "{address}");
    }
    set("10.0.0.2").unwrap();
    set("192.0.2.1").unwrap();
    assert_eq!(bed.router.neighbors().len(), 2);
}

#[test]
fn routes_lead_to_kinds_that_are_registered_and_keep_them() {
    let mut bed = Bed::new();
    let kind = bed.router.register_kind("pool", NodeId(77)).unwrap();
    assert!(matches!(bed.router.register_kind("pool", NodeId(78)), Err(KindError::Exists(_))));
    assert!(matches!(bed.router.register_kind("other", NodeId(77)), Err(KindError::Exists(_))));
    let [used, unused] = [5, 6].map(|object| Forward::new(kind, object));
    bed.route("192.0.2.0/24", PathTarget::Object(used));
    assert_eq!(bed.forward("192.0.2.1"), Some(used));
    assert_eq!(bed.router.users_of_object(used).to_string(), "the route to 192.0.2.0/24 in table 0");
    assert!(bed.router.users_of_object(unused).is_empty());
    let refused = bed.router.forget_kind(kind).unwrap_err();
    assert_eq!(refused.to_string(), "pool is in use by the route to 192.0.2.0/24 in table 0");
    let change = Change { prefix: net("192.0.2.0/24"), owner: Owner::CLI, action: Action::Delete };
    bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &[change]).unwrap();
    bed.router.forget_kind(kind).unwrap();
    let action = Action::Set(Preference::default(), vec![RoutePath::new(PathTarget::Object(used))]);
    let change = Change { prefix: net("192.0.2.0/24"), owner: Owner::CLI, action };
    let refused = bed.router.apply(&mut bed.engine, &bed.interfaces, MAIN, &[change]);
    let expected = vec![(0, RouteError::NoSuchKind(net("192.0.2.0/24"), used))];
    assert!(matches!(refused, Err(RouterError::Apply(ApplyError::Refused(errors))) if errors == expected));
}

#[test]
fn a_tunnel_puts_its_own_bytes_before_packets_and_asks_nobody() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    let rewrite = Rewrite::of(&[9; MAX_REWRITE]).unwrap();
    bed.router.set_encapsulation(&mut bed.engine, &bed.interfaces, p0, rewrite.clone());
    bed.route("192.0.2.0/24", PathTarget::Via { address: ip("10.0.0.2"), interface: Some(p0) });
    let packet = build::ethernet().macs(THEIRS, OURS).ipv4(ip("10.0.0.9"), ip("192.0.2.1")).ttl(9).udp(1, 2);
    bed.receive(p0, &packet.build());
    let sent = bed.settle();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][..MAX_REWRITE], [9; MAX_REWRITE]);
    assert_eq!(sent[0].len(), MAX_REWRITE + packet.build().len() - 14);
    assert!(bed.router.neighbors().is_empty());
}
