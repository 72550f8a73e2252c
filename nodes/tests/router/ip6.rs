// SPDX-License-Identifier: Apache-2.0
//! The same router for IPv6: addresses, routes, neighbours, and packets that wait for one.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use rtrb::{Consumer, RingBuffer};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, NodeSpec, Reasons, Role};
use weft_engine::{InterfaceIndex, NodeId};
use weft_nodes::context::{GLEAN, IpContext};
use weft_nodes::fib::{
    Action, AddressRole, Change, DropKind, Forward, Ip4, Ip6, IpPrefix, NextHop, PathTarget, Preference,
    Resolution, RouteError, RoutePath,
};
use weft_nodes::headers::{EtherType, build};
use weft_nodes::hold::{Event, HeldPackets, Hold, Reason};
use weft_nodes::interface::{Owner, TableIndex, Tags};
use weft_nodes::ip6::solicitation_frame;
use weft_nodes::neighbor::{Evidence, GroupQuery, NeighborNotice, NoticeSender, PrefixSays, RouterSays};
use weft_nodes::router::{RouterError, RouterNews, RouterSearch};

use super::{Bed, MAIN, OURS, THEIRS};

type Net = <Ip6 as weft_nodes::fib::AddressFamily>::Net;

weft_engine::edges! {
    /// Where packets go that need not wait.
    enum Next { Tx => "test-tx" }
}

static HOLD: NodeSpec = NodeSpec::timer("test-ip6-hold", Duration::from_secs(1))
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL);

fn net(prefix: &str) -> Net {
    prefix.parse().unwrap()
}

fn ip(address: &str) -> Ipv6Addr {
    address.parse().unwrap()
}

impl Bed {
    fn port6(&mut self, name: &str, address: &str) -> InterfaceIndex {
        let port = self.port(name, &format!("10.0.{}.1/24", self.interfaces.iter().count()));
        self.address6(port, address).unwrap();
        port
    }

    fn address6(&mut self, port: InterfaceIndex, address: &str) -> Result<(), RouterError<Ip6>> {
        self.router.add_address(&mut self.engine, &mut self.interfaces, port, net(address))
    }

    fn forget6(&mut self, port: InterfaceIndex, address: &str) -> Result<(), RouterError<Ip6>> {
        self.router.remove_address(&mut self.engine, &mut self.interfaces, port, net(address))
    }

    fn route6(&mut self, prefix: &str, target: PathTarget<Ip6>) -> Result<(), RouterError<Ip6>> {
        let action = Action::Set(Preference::default(), vec![RoutePath::new(target)]);
        let change = Change { prefix: net(prefix), owner: Owner::CLI, action };
        self.router.apply(&mut self.engine, &self.interfaces, MAIN, &[change]).map(drop)
    }

    fn forward6(&self, address: &str) -> Forward {
        let fib = self.router.table::<Ip6>(MAIN).unwrap().rib.fib();
        let id = fib.lookup(ip(address).to_bits());
        self.router.objects().load_balances.get(id).unwrap().pick(0)
    }

    /// What the adjacency of a route puts before packets.
    fn header6(&self, address: &str) -> Option<Vec<u8>> {
        let id = self.forward6(address).as_adjacency()?;
        match &self.router.objects().adjacencies.get(id)?.resolution {
            Resolution::Complete(rewrite) => Some(rewrite.header().to_vec()),
            Resolution::Incomplete => None,
        }
    }

    /// The node in which IPv6 packets wait, after which they are transmitted.
    fn hold6(&mut self) -> (NodeId, Consumer<NeighborNotice>) {
        let (ring, notices) = RingBuffer::new(8);
        let mut sender = Some(NoticeSender::new(ring, self.tables.main.clone()));
        let (tables, clock) = (&self.tables, self.engine.clock);
        let hold = NodeDef::new(&HOLD, |w| {
            let (sender, tx) = (sender.take().unwrap(), w.nexts::<Next>().to(Next::Tx));
            let read = (Arc::clone(&tables.interfaces), tables.adjacencies.clone());
            let reasons = (w.reasons(), w.events());
            Box::new(Hold::<Ip6>::new(tables.settings.hold, &clock, read, sender, tx, reasons))
        });
        let hold = self.engine.add_nodes("test", vec![hold]).unwrap()[0];
        self.router.attach(HeldPackets::<Ip6>::new(hold, self.tx, NodeId::DROP));
        (hold, notices)
    }

    fn learn6(&mut self, port: InterfaceIndex, address: &str) {
        let (address, evidence) = (IpAddr::V6(ip(address)), Evidence::ToUs);
        let learned = NeighborNotice::Learned { interface: port, address, mac: THEIRS, evidence };
        self.router.notice(&mut self.engine, &self.interfaces, learned);
    }
}

const NO_ROUTE: Forward = Forward::drop(DropKind::NoRoute);

#[test]
fn an_address_makes_routes_and_takes_them_along() {
    let mut bed = Bed::new();
    let port = bed.port6("p0", "2001:db8::1/64");
    assert_eq!(bed.forward6("2001:db8::9"), Forward::glean(port));
    assert_eq!(bed.forward6("2001:db8::1"), Forward::LOCAL);
    assert_eq!(bed.forward6("2001:db8::"), Forward::LOCAL, "the routers of the subnet");
    assert_eq!(bed.forward6("2001:db8::ffff:ffff:ffff:ffff"), Forward::glean(port), "no broadcast");
    assert_eq!(bed.forward6("2001:db8:0:1::1"), NO_ROUTE);
    for own in ["ff02::1", "fe80::1"] {
        assert_eq!(bed.forward6(own), Forward::LOCAL, "{own}");
    }
    bed.address6(port, "2001:db8::2/64").unwrap();
    assert!(matches!(bed.address6(port, "2001:db8::2/64"), Err(RouterError::AddressInUse { .. })));
    for wrong in ["::/0", "::1/128", "ff02::1/64", "2001:db8:1::/64", "::ffff:10.0.0.1/128"] {
        assert!(matches!(bed.address6(port, wrong), Err(RouterError::NotUnicast(_))), "{wrong}");
    }
    bed.forget6(port, "2001:db8::1/64").unwrap();
    assert_eq!(bed.forward6("2001:db8::9"), Forward::glean(port), "the other address keeps the subnet");
    assert_eq!(bed.forward6("2001:db8::"), Forward::LOCAL);
    bed.forget6(port, "2001:db8::2/64").unwrap();
    assert_eq!(bed.forward6("2001:db8::9"), NO_ROUTE);
    // A link between two routers has no anycast address (RFC 6164).
    bed.address6(port, "2001:db8::/127").unwrap();
    assert_eq!(bed.forward6("2001:db8::"), Forward::LOCAL);
    assert_eq!(bed.forward6("2001:db8::1"), Forward::glean(port));
    assert_eq!(bed.router.table::<Ip6>(MAIN).unwrap().rib.len(), 4);
    // IPv4 is as it was.
    assert_eq!(bed.forward("10.0.0.1"), Some(Forward::LOCAL));
}

#[test]
fn a_link_local_address_is_that_of_its_link() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "fe80::1/64");
    let p1 = bed.port6("p1", "fe80::1/64");
    assert!(matches!(bed.address6(p1, "fe80::1/64"), Err(RouterError::AddressInUse { .. })));
    assert_eq!(bed.forward6("fe80::9"), Forward::LOCAL, "no route leads to one link or the other");
    let mut set = |port, address: &str| {
        bed.router.set_static_neighbor::<Ip6>(&mut bed.engine, &bed.interfaces, port, ip(address), THEIRS)
    };
    assert!(matches!(set(p0, "fe80::1"), Err(RouterError::NotANeighbor(_))));
    set(p0, "fe80::2").unwrap();
    assert_eq!(bed.forward6("fe80::2"), Forward::LOCAL, "it has no host route either");
    let via = |port| PathTarget::Via { address: ip("fe80::2"), interface: Some(port) };
    bed.route6("2001:db8:1::/48", via(p0)).unwrap();
    bed.route6("2001:db8:2::/48", via(p1)).unwrap();
    assert!(bed.header6("2001:db8:1::1").is_some(), "the neighbour of this link");
    assert!(bed.header6("2001:db8:2::1").is_none(), "and not that of the other one");
}

#[test]
fn what_follows_from_addresses_is_used_only_while_the_interface_is_up() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let p1 = bed.port6("p1", "2001:db8:1::1/64");
    let peer = PathTarget::Via { address: ip("2001:db8:1::9"), interface: Some(p1) };
    bed.route6("2001:db8::/64", peer).unwrap();
    bed.interfaces.change(&mut bed.engine, p0, |port| port.admin_up = false).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
    for address in ["2001:db8::1", "2001:db8::", "2001:db8::9"] {
        assert!(bed.forward6(address).as_adjacency().is_some(), "{address}: the peer's route is used");
    }
    bed.interfaces.change(&mut bed.engine, p0, |port| port.admin_up = true).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
    assert_eq!(bed.forward6("2001:db8::1"), Forward::LOCAL);
    assert_eq!(bed.forward6("2001:db8::9"), Forward::glean(p0));
    bed.router.delete_interface(&mut bed.engine, &mut bed.interfaces, p1).unwrap();
    bed.router.delete_interface(&mut bed.engine, &mut bed.interfaces, p0).unwrap();
    assert_eq!(bed.forward6("2001:db8::1"), NO_ROUTE);
    assert_eq!(bed.router.table::<Ip6>(MAIN).unwrap().rib.len(), 2, "what every table has");
    assert!(bed.router.objects().adjacencies.is_empty());
}

#[test]
fn a_neighbour_is_solicited_and_reached() {
    let mut bed = Bed::new();
    let (p0, host) = (bed.port6("p0", "2001:db8::1/64"), "2001:db8::9");
    let wanted = NeighborNotice::Wanted { interface: p0, address: IpAddr::V6(ip(host)) };
    bed.router.notice(&mut bed.engine, &bed.interfaces, wanted);
    let asked = solicitation_frame((OURS, ip("2001:db8::1")), ip(host), None, Tags::default());
    assert_eq!(bed.settle(), [asked]);
    // Who says that it has our own address is not believed.
    bed.learn6(p0, "2001:db8::1");
    assert!(bed.header6(host).is_none());
    bed.learn6(p0, host);
    let header = [&THEIRS.0[..], &OURS.0, &EtherType::IPV6.0.to_be_bytes()].concat();
    assert_eq!(bed.header6(host), Some(header.clone()));
    // What is known is used at once by a new route.
    let via = PathTarget::Via { address: ip(host), interface: Some(p0) };
    bed.route6("2001:db8:1::/48", via).unwrap();
    assert_eq!(bed.header6("2001:db8:1::1"), Some(header));
    bed.forget6(p0, "2001:db8::1/64").unwrap();
    assert!(bed.router.neighbors().is_empty(), "the neighbours of a subnet go with it");
    assert_eq!(bed.forward6(host), NO_ROUTE);
    assert!(bed.header6("2001:db8:1::1").is_none());
}

#[test]
fn packets_wait_for_a_neighbour_and_leave_in_order() {
    let mut bed = Bed::new();
    let (p0, host) = (bed.port6("p0", "2001:db8::1/64"), "2001:db8::9");
    let (hold, mut notices) = bed.hold6();
    bed.settle();
    let packets: Vec<_> = (1..=3)
        .map(|n| build::ethernet().ipv6(ip("2001:db8:5::5"), ip(host)).udp(n, n).build()[14..].to_vec())
        .collect();
    let wait = |bed: &mut Bed, packet: &[u8], to: u32| {
        let waits = bed.worker.inject(hold, packet, |meta| {
            meta.tx_interface = p0;
            meta.set_next_hop(to);
        });
        assert!(waits);
        assert_eq!(bed.settle(), Vec::<Vec<u8>>::new());
    };
    wait(&mut bed, &packets[0], GLEAN);
    // A route by the same neighbour, which is not resolved.
    let via = PathTarget::Via { address: ip(host), interface: Some(p0) };
    bed.route6("2001:db8:1::/48", via).unwrap();
    let adjacency = bed.forward6("2001:db8:1::1").as_adjacency().unwrap();
    wait(&mut bed, &packets[1], adjacency.0);
    // To no single station.
    let group = build::ethernet().ipv6(ip("2001:db8:5::5"), ip("ff02::1")).udp(1, 1).build();
    wait(&mut bed, &group[14..], GLEAN);
    let address = IpAddr::V6(ip(host));
    assert_eq!(notices.pop(), Ok(NeighborNotice::Wanted { interface: p0, address }));
    assert!(notices.pop().is_err(), "asked for once");
    let of_ip4 = NextHop { interface: p0, address, payload: EtherType::IPV4 };
    assert_eq!(bed.router.objects().adjacencies.find(of_ip4), None);
    bed.learn6(p0, host);
    assert_eq!(bed.settle(), packets[..2]);
    // Known by now.
    assert!(bed.worker.inject(hold, &packets[2], |meta| meta.set_next_hop(adjacency.0)));
    assert_eq!(bed.settle(), packets[2..]);
}

#[test]
fn a_release_that_another_next_hop_has_the_number_of_releases_nothing() {
    let mut bed = Bed::new();
    let (p0, host) = (bed.port6("p0", "2001:db8::1/64"), "2001:db8::9");
    let (hold, _notices) = bed.hold6();
    bed.settle();
    let packet = build::ethernet().ipv6(ip("2001:db8:5::5"), ip(host)).udp(1, 1).build();
    assert!(
        bed.worker
            .inject(hold, &packet[14..], |meta| (meta.tx_interface, _) = (p0, meta.set_next_hop(GLEAN)))
    );
    assert!(bed.settle().is_empty());
    let held = HeldPackets::<Ip6>::new(hold, bed.tx, NodeId::DROP);
    let other =
        bed.router.hold_adjacency::<Ip6>(&mut bed.engine, &bed.interfaces, p0, ip("2001:db8::8")).unwrap();
    bed.settle();
    held.release(&mut bed.worker, p0, IpAddr::V6(ip(host)), other);
    assert!(bed.settle().is_empty(), "the adjacency is that of 2001:db8::8");
    bed.learn6(p0, host);
    assert_eq!(bed.settle(), [packet[14..].to_vec()]);
}

#[test]
fn tables_of_families_are_apart() {
    let mut bed = Bed::new();
    let red = bed.router.add_table::<Ip6>(&mut bed.engine, 7, "red").unwrap();
    assert!(bed.router.table_index::<Ip4>(7).is_err());
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let moved = bed.router.set_table::<Ip6>(&mut bed.engine, &mut bed.interfaces, p0, 7);
    assert!(matches!(moved, Err(RouterError::HasAddresses(_))));
    bed.route6("2001:db8:9::/48", PathTarget::Table(red)).unwrap();
    let refused = bed.router.delete_table::<Ip6>(&mut bed.engine, &bed.interfaces, 7).unwrap_err();
    let users = "IPv6 table 7 is in use by the route to 2001:db8:9::/48 in table 0";
    assert_eq!(refused.to_string(), users);
    let unknown = bed.router.table_index::<Ip6>(8).unwrap_err();
    assert_eq!(unknown.to_string(), "no IPv6 table 8; `ip6 table add 8` makes it");
    let away = Change { prefix: net("2001:db8:9::/48"), owner: Owner::CLI, action: Action::Delete };
    bed.router.apply::<Ip6>(&mut bed.engine, &bed.interfaces, MAIN, &[away]).unwrap();
    bed.router.delete_table::<Ip6>(&mut bed.engine, &bed.interfaces, 7).unwrap();
    let dangling = bed.route6("2001:db8:9::/48", PathTarget::Table(TableIndex(red.0))).unwrap_err();
    assert!(
        dangling.to_string().contains(&RouteError::<Ip6>::NoSuchTable(net("2001:db8:9::/48")).to_string())
    );
    // An address of a subnet has the same roles in every table.
    let roles = <Ip6 as weft_nodes::fib::Family>::roles(net("2001:db8::/64"));
    assert_eq!(roles, [(ip("2001:db8::"), AddressRole::Host)]);
    assert_eq!(net("2001:db8::/64").first(), ip("2001:db8::"));
}

/// RFC 8950: what a router is told by a neighbour that has no IPv4 address.
#[test]
fn ip4_packets_wait_for_an_ip6_next_hop_and_leave_by_it() {
    let mut bed = Bed::new();
    let (p0, host) = (bed.port6("p0", "2001:db8::1/64"), "2001:db8::9");
    let (engine, interfaces) = (&mut bed.engine, &bed.interfaces);
    let adjacency = bed.router.hold_adjacency::<Ip4>(engine, interfaces, p0, ip(host)).unwrap();
    let packet =
        |ttl| build::ethernet().macs(OURS, THEIRS).ipv4([10, 9, 0, 1], [10, 9, 0, 2]).ttl(ttl).udp(1, 2);
    let arp = bed.engine.graph().id("ip4-arp").unwrap();
    let bytes = packet(9).build();
    assert!(bed.worker.inject(arp, &bytes[14..], |meta| meta.set_next_hop(adjacency.0)));
    let asked = solicitation_frame((OURS, ip("2001:db8::1")), ip(host), None, Tags::default());
    assert_eq!(bed.settle(), [asked]);
    bed.learn6(p0, host);
    assert_eq!(bed.settle(), [packet(8).build()]);
    let (engine, interfaces) = (&mut bed.engine, &mut bed.interfaces);
    bed.router.delete_interface(engine, interfaces, p0).unwrap();
    bed.router.release_adjacency(engine, adjacency);
    assert!(bed.router.objects().adjacencies.is_empty());
}

#[test]
fn an_interface_with_ipv6_has_a_link_local_address() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    let enable = |bed: &mut Bed, on| bed.router.enable::<Ip6>(&mut bed.engine, &mut bed.interfaces, p0, on);
    let choose = |bed: &mut Bed, address: Option<&str>| {
        bed.router.set_link_local::<Ip6>(&mut bed.engine, &mut bed.interfaces, p0, address.map(ip))
    };
    let own = |bed: &Bed| bed.interfaces.get(p0).unwrap().ip6.link_local;
    enable(&mut bed, true).unwrap();
    assert_eq!(own(&bed), Some(weft_nodes::headers::link_local(OURS)));
    choose(&mut bed, Some("fe80::7")).unwrap();
    assert_eq!(own(&bed), Some(ip("fe80::7")));
    let refused = choose(&mut bed, Some("2001:db8::7")).unwrap_err().to_string();
    assert_eq!(refused, "2001:db8::7 is not a link-local address: expected one of fe80::/10");
    // Nobody else has it there, and it is not learned from others.
    bed.learn6(p0, "fe80::7");
    bed.learn6(p0, "fe80::8");
    let known: Vec<_> = bed.router.neighbors().iter().map(|neighbor| neighbor.address).collect();
    assert_eq!(known, [IpAddr::V6(ip("fe80::8"))]);
    // Who is asked for by a packet of the link is asked by an address of the link.
    bed.settle();
    let wanted = NeighborNotice::Wanted { interface: p0, address: IpAddr::V6(ip("fe80::9")) };
    bed.router.notice(&mut bed.engine, &bed.interfaces, wanted);
    let asked = solicitation_frame((OURS, ip("fe80::7")), ip("fe80::9"), None, Tags::default());
    assert_eq!(bed.settle(), [asked]);
    enable(&mut bed, false).unwrap();
    assert_eq!((own(&bed), bed.router.neighbors().len()), (None, 0));
}

#[test]
fn a_link_of_ipv6_carries_1280_bytes() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    bed.interfaces.change(&mut bed.engine, p0, |port| port.mtu = 1279).unwrap();
    let small = "interface 'p0' has an MTU of 1279 bytes; IPv6 needs at least 1280";
    assert_eq!(bed.address6(p0, "2001:db8::1/64").unwrap_err().to_string(), small);
    let enabled = bed.router.enable::<Ip6>(&mut bed.engine, &mut bed.interfaces, p0, true);
    assert_eq!(enabled.unwrap_err().to_string(), small);
    bed.interfaces.change(&mut bed.engine, p0, |port| port.mtu = 1280).unwrap();
    bed.address6(p0, "2001:db8::1/64").unwrap();
}

/// The ICMPv6 types of what the router has said, by their order.
fn said(bed: &mut Bed) -> Vec<u8> {
    let frames = bed.settle();
    frames.iter().map(|frame| if frame[20] == 0 { frame[62] } else { frame[54] }).collect()
}

const PROBE: u8 = 135;
const HERE: u8 = 136;
const GROUPS: u8 = 143;
const ROUTER: u8 = 134;

#[test]
fn a_link_is_told_of_what_is_new_there() {
    let mut bed = Bed::new();
    let p0 = bed.port("p0", "10.0.0.1/24");
    bed.settle();
    let tell = |bed: &mut Bed| {
        bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
        said(bed)
    };
    assert_eq!(tell(&mut bed), [0u8; 0], "IPv6 is not spoken there");
    bed.router.enable::<Ip6>(&mut bed.engine, &mut bed.interfaces, p0, true).unwrap();
    assert_eq!(tell(&mut bed), [GROUPS, PROBE, HERE]);
    assert_eq!(tell(&mut bed), [0u8; 0]);
    bed.address6(p0, "2001:db8::1/64").unwrap();
    bed.address6(p0, "2001:db8::2/64").unwrap();
    assert_eq!(tell(&mut bed), [GROUPS, PROBE, HERE, PROBE, HERE], "of the new ones");
    // Once more, a second later.
    assert!(bed.router.next_deadline().is_some_and(|at| at <= bed.router.now() + Duration::from_secs(1)));
    bed.engine.clock.turn(Duration::from_millis(1010));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    assert_eq!(said(&mut bed), [GROUPS, HERE, HERE]);
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    assert_eq!((said(&mut bed), bed.router.next_deadline()), (vec![], None));
    bed.interfaces.change(&mut bed.engine, p0, |port| port.mac = THEIRS).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
    assert_eq!(said(&mut bed).len(), 1 + 2 * 3, "all of them, from another station");
    bed.interfaces.change(&mut bed.engine, p0, |port| port.admin_up = false).unwrap();
    bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
    assert_eq!((said(&mut bed), bed.router.next_deadline()), (vec![], None));
}

#[test]
fn an_address_that_another_station_has_is_known_as_a_duplicate() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let address = IpAddr::V6(ip("2001:db8::1"));
    let conflict = NeighborNotice::Conflict { interface: p0, address, mac: THEIRS };
    bed.router.notice(&mut bed.engine, &bed.interfaces, conflict);
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    assert_eq!(bed.router.duplicates().collect::<Vec<_>>(), [(p0, address, THEIRS)]);
    bed.forget6(p0, "2001:db8::1/64").unwrap();
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    assert_eq!(bed.router.duplicates().count(), 0, "it is not ours any more");
}

#[test]
fn hosts_that_look_for_a_router_hear_of_it_where_that_is_on() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let tell = |bed: &mut Bed| {
        bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
        said(bed)
    };
    tell(&mut bed);
    let asked = NeighborNotice::RouterAsked { interface: p0, from: None };
    bed.router.notice(&mut bed.engine, &bed.interfaces, asked);
    assert_eq!(said(&mut bed), [0u8; 0], "off");
    bed.interfaces.change(&mut bed.engine, p0, |port| port.router_advertisement.on = true).unwrap();
    assert_eq!(tell(&mut bed), [ROUTER]);
    bed.router.notice(&mut bed.engine, &bed.interfaces, asked);
    assert_eq!(said(&mut bed), [0u8; 0], "no more often than every three seconds");
    let due = bed.router.next_deadline().unwrap() - bed.router.now();
    assert!(due <= Duration::from_secs(3), "{due:?}");
    bed.interfaces.change(&mut bed.engine, p0, |port| port.router_advertisement.on = false).unwrap();
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    let last = bed.settle();
    assert_eq!(
        (last.len(), last[0][54], &last[0][60..62]),
        (1, ROUTER, &[0, 0][..]),
        "it is no way out any more"
    );
}

/// Asks for a group, or with zeros for all, and what is said about half a second later: ICMPv6 type and groups.
fn groups_asked(bed: &mut Bed, interface: InterfaceIndex, group: &str, version1: bool) -> Vec<(u8, Vec<u8>)> {
    let query = GroupQuery { group: ip(group), version1, within: 10_000 };
    let asked = NeighborNotice::GroupsAsked { interface, query };
    bed.router.notice(&mut bed.engine, &bed.interfaces, asked);
    bed.engine.clock.turn(Duration::from_millis(510));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    let reports = bed.settle().into_iter();
    // Behind Ethernet, IPv6 and the router alert.
    reports.map(|frame| (frame[62], frame[62 + 8..].to_vec())).collect()
}

/// What a record says of a group.
fn record(kind: u8, group: &str) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &ip(group).octets()].concat()
}

#[test]
fn who_asks_for_groups_is_answered_soon() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    bed.engine.clock.turn(Duration::from_secs(2));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    bed.settle();
    // All routers; the one of all routers of the subnet, the address, and the link-local one that follows from 02:00:..:01.
    let all = ["ff02::2", "ff02::1:ff00:0", "ff02::1:ff00:1"];
    let records = all.map(|group| record(2, group)).concat();
    assert_eq!(groups_asked(&mut bed, p0, "::", false), [(GROUPS, records.clone())]);
    assert_eq!(groups_asked(&mut bed, p0, all[2], false), [(GROUPS, record(2, all[2]))]);
    assert_eq!(groups_asked(&mut bed, p0, "ff02::1:ff00:99", false), [], "nobody here listens to it");
    // Where version 1 is asked, it is spoken (RFC 3810 section 8.2.1): a report for each group, to the group.
    let each = all.map(|group| (GROUPS_1, ip(group).octets().to_vec()));
    assert_eq!(groups_asked(&mut bed, p0, "::", true), each);
    assert_eq!(
        groups_asked(&mut bed, p0, all[2], false),
        [each[2].clone()],
        "until it is not asked any more"
    );
    bed.address6(p0, "2001:db8::77/64").unwrap();
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    assert_eq!(said(&mut bed), [GROUPS_1, PROBE, HERE]);
    bed.forget6(p0, "2001:db8::77/64").unwrap();
    bed.router.own_addresses_changed(&mut bed.engine, &bed.interfaces, p0, false);
    assert_eq!(said(&mut bed), [GROUPS_DONE_1]);
    bed.engine.clock.turn(Duration::from_secs(261));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    bed.settle();
    assert_eq!(groups_asked(&mut bed, p0, "::", false), [(GROUPS, records)]);
}

const GROUPS_1: u8 = 131;
const GROUPS_DONE_1: u8 = 132;

#[test]
fn a_group_that_is_not_listened_to_any_more_is_said_to_end() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let p1 = bed.port6("p1", "2001:db8:1::1/64");
    let tell = |bed: &mut Bed| {
        bed.router.tell_all_links(&mut bed.engine, &bed.interfaces);
        bed.settle()
            .into_iter()
            .filter(|frame| frame[62] == GROUPS)
            .map(|frame| frame[70..].to_vec())
            .collect::<Vec<_>>()
    };
    tell(&mut bed);
    bed.engine.clock.turn(Duration::from_millis(1010));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    bed.settle();
    bed.address6(p0, "2001:db8::77/64").unwrap();
    assert_eq!(tell(&mut bed), [record(4, "ff02::1:ff00:77")]);
    // It was not said twice yet, and is not so any more.
    bed.forget6(p0, "2001:db8::77/64").unwrap();
    assert_eq!(tell(&mut bed), [record(3, "ff02::1:ff00:77")]);
    bed.engine.clock.turn(Duration::from_millis(1010));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    let again = bed.settle();
    assert!(again.iter().any(|frame| frame[70..] == record(3, "ff02::1:ff00:77")), "twice");
    // A station of another link is listened for where its subnet is.
    let station = ip("2001:db8::88");
    bed.interfaces
        .change(&mut bed.engine, p1, |port| {
            port.proxied.insert(station);
        })
        .unwrap();
    assert_eq!(tell(&mut bed), [record(4, "ff02::1:ff00:88")]);
    // Who borrows addresses listens to where they are asked for.
    let p2 = bed.port("p2", "10.0.9.1/24");
    bed.interfaces
        .change(&mut bed.engine, p2, |port| (port.unnumbered, port.ip6.always) = (Some(p1), true))
        .unwrap();
    let own = [record(4, "ff02::2"), record(4, "ff02::1:ff00:0"), record(4, "ff02::1:ff00:1")].concat();
    assert_eq!(tell(&mut bed), [own]);
}

#[test]
fn without_1280_bytes_ipv6_is_off_and_comes_back_with_them() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    bed.route6("2001:db8:9::/48", PathTarget::Via { address: ip("2001:db8::7"), interface: Some(p0) })
        .unwrap();
    bed.learn6(p0, "2001:db8::7");
    bed.router.tell_link(&mut bed.engine, &bed.interfaces, p0);
    bed.settle();
    let on = |bed: &Bed| {
        let interface = bed.interfaces.get(p0).unwrap();
        let routed = bed.forward6("2001:db8:9::1").as_adjacency().is_some();
        let ours = bed.forward6("2001:db8::1") == Forward::LOCAL;
        [interface.ip6.is_enabled(), interface.ip6.link_local.is_some(), routed, ours]
    };
    assert_eq!(on(&bed), [true; 4]);
    let becomes = |bed: &mut Bed, mtu| {
        bed.interfaces.change(&mut bed.engine, p0, |port| port.mtu = mtu).unwrap();
        bed.router.interface_changed(&mut bed.engine, &bed.interfaces, p0).unwrap();
        said(bed)
    };
    assert_eq!(becomes(&mut bed, 1279), [0u8; 0]);
    assert_eq!((on(&bed), bed.router.neighbors().len()), ([false; 4], 0));
    assert_eq!(bed.interfaces.get(p0).unwrap().ip6.addresses.len(), 1, "it is configured all the same");
    assert_eq!(bed.forward("10.0.0.1"), Some(Forward::LOCAL), "IPv4 goes on");
    assert_eq!(becomes(&mut bed, 1280), [GROUPS, PROBE, HERE, PROBE, HERE], "as if it came up");
    bed.learn6(p0, "2001:db8::7");
    assert_eq!(on(&bed), [true; 4]);
}

#[test]
fn who_asks_for_a_router_may_be_answered_alone() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let advertise = |settings: &mut weft_nodes::interface::RouterAdvertisements| {
        (settings.on, settings.unicast) = (true, true);
    };
    bed.interfaces.change(&mut bed.engine, p0, |port| advertise(&mut port.router_advertisement)).unwrap();
    bed.router.tell_link(&mut bed.engine, &bed.interfaces, p0);
    bed.settle();
    let ask = |bed: &mut Bed, from| {
        let asked = NeighborNotice::RouterAsked { interface: p0, from };
        bed.router.notice(&mut bed.engine, &bed.interfaces, asked);
        bed.settle().into_iter().map(|frame| frame[..6].to_vec()).collect::<Vec<_>>()
    };
    let host = Some((ip("fe80::7"), THEIRS));
    assert_eq!(ask(&mut bed, host), [THEIRS.0.to_vec()]);
    assert_eq!(ask(&mut bed, None), [[0u8; 0]; 0], "it has no address: all hear it, in a while");
    for _ in 1..64 {
        assert_eq!(ask(&mut bed, host).len(), 1);
    }
    assert_eq!(ask(&mut bed, host), [[0u8; 0]; 0], "64 of them in three seconds, then all hear it");
    let done = bed.router.advertising(p0).unwrap();
    assert_eq!((done.sent, done.asked, done.alone_refused), (65, 66, 1));
    bed.engine.clock.turn(Duration::from_secs(3));
    assert_eq!(ask(&mut bed, host), [THEIRS.0.to_vec()]);
}

#[test]
fn hosts_hear_soon_that_an_advertisement_says_something_else() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    let tell = |bed: &mut Bed, change: fn(&mut weft_nodes::interface::RouterAdvertisements)| {
        bed.interfaces.change(&mut bed.engine, p0, |port| change(&mut port.router_advertisement)).unwrap();
        bed.router.tell_link(&mut bed.engine, &bed.interfaces, p0);
        said(bed).into_iter().filter(|kind| *kind == ROUTER).count()
    };
    assert_eq!(tell(&mut bed, |settings| settings.on = true), 1);
    bed.engine.clock.turn(Duration::from_secs(4));
    assert_eq!(tell(&mut bed, |_| {}), 0);
    assert_eq!(tell(&mut bed, |settings| settings.other = true), 1);
    assert_eq!(tell(&mut bed, |settings| settings.managed = true), 0, "three seconds later");
    bed.engine.clock.turn(Duration::from_millis(3010));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    assert!(said(&mut bed).contains(&ROUTER));
}

#[test]
fn routers_are_searched_until_one_is_heard_and_said_to_who_wants_to_know() {
    let mut bed = Bed::new();
    let p0 = bed.port6("p0", "2001:db8::1/64");
    bed.router.tell_link(&mut bed.engine, &bed.interfaces, p0);
    bed.engine.clock.turn(Duration::from_secs(2));
    bed.router.tick(&mut bed.engine, &bed.interfaces);
    bed.settle();
    let asks = |bed: &mut Bed, passes: u64| {
        bed.engine.clock.turn(Duration::from_millis(passes));
        bed.router.tick(&mut bed.engine, &bed.interfaces);
        said(bed).into_iter().filter(|kind| *kind == 133).count()
    };
    let how = RouterSearch {
        first: Duration::from_secs(1),
        longest: Some(Duration::from_secs(2)),
        count: Some(4),
        within: None,
    };
    bed.router.search_routers(&mut bed.engine, &bed.interfaces, p0, Some(how));
    assert_eq!(said(&mut bed), [133]);
    // After 1 s, 2 s and 2 s, a tenth more or less.
    assert_eq!(
        [890, 220, 1690, 420, 1690, 420, 9000].map(|passes| asks(&mut bed, passes)),
        [0, 1, 0, 1, 0, 1, 0]
    );
    assert_eq!(bed.router.next_deadline(), None, "four times");
    bed.router.search_routers(
        &mut bed.engine,
        &bed.interfaces,
        p0,
        Some(RouterSearch { count: None, ..how }),
    );
    assert_eq!(said(&mut bed), [133]);
    let router = ip("fe80::99");
    let says =
        RouterSays { hop_limit: 64, flags: 0, lifetime: 9, reachable: 0, retransmission: 0, prefixes: 1 };
    let heard = NeighborNotice::RouterHeard { interface: p0, router, says };
    let prefix = PrefixSays { prefix: net("2001:db8:7::/64"), flags: 0xc0, valid: 9, preferred: 8 };
    let of = |router| NeighborNotice::PrefixHeard { interface: p0, router, says: prefix };
    let hear = |bed: &mut Bed, notices: &[NeighborNotice]| {
        notices.iter().for_each(|it| bed.router.notice(&mut bed.engine, &bed.interfaces, *it));
        bed.router.take_router_news()
    };
    assert_eq!(hear(&mut bed, &[heard, of(router)]), [], "nobody wants to know");
    assert_eq!(asks(&mut bed, 9000), 0, "it was heard");
    bed.router.watch_routers(true);
    assert_eq!(hear(&mut bed, &[of(router), heard]), [], "a prefix is to come yet");
    let news = RouterNews { interface: p0, router, says, prefixes: vec![prefix] };
    assert_eq!(hear(&mut bed, &[of(ip("fe80::98")), of(router)]), [news]);
    let none = RouterSays { prefixes: 0, ..says };
    let heard = NeighborNotice::RouterHeard { interface: p0, router, says: none };
    assert_eq!(
        hear(&mut bed, &[heard, of(router)]),
        [RouterNews { interface: p0, router, says: none, prefixes: vec![] }]
    );
}
