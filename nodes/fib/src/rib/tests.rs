// SPDX-License-Identifier: Apache-2.0
//! The RIB and what workers see of it: one promise per test, and all of them against a model.

mod model;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use weft_engine::InterfaceIndex;
use weft_engine::qsbr::Domain;
use weft_interface::{LinkState, Owner};

use super::super::path_list::{Objects, ObjectsFull};
use super::super::route::{Outcome, Preference, RouteError};
use super::super::{
    Adjacencies, AdjacenciesFull, DropKind, Family, Fib6Settings, FibError, FibSettings, Forward, Ip4, Ip6,
    LoadBalanceId, LoadBalances, Lookup,
};
use super::{ApplyError, Rib, RibSettings, SettingsOf};

type Change = super::super::Change<Ip4>;
type Action = super::super::Action<Ip4>;
type PathTarget = super::super::PathTarget<Ip4>;
type RoutePath = super::super::RoutePath<Ip4>;

struct Bed<F: Family = Ip4> {
    domain: Domain,
    objects: Objects,
    rib: Rib<F>,
}

/// What a packet meets, in words that do not depend on ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Destination {
    Neighbor(InterfaceIndex, IpAddr),
    Forward(Forward),
}

impl Bed {
    fn new(objects: usize, blocks: u32) -> Bed {
        Bed::sized(objects, FibSettings { blocks, ..FibSettings::default() })
    }

    fn roomy() -> Bed {
        Bed::new(1000, 1000)
    }
}

impl<F: Family> Bed<F> {
    fn sized(objects: usize, fib: SettingsOf<F>) -> Bed<F> {
        let mut domain = Domain::new(0);
        let settings = RibSettings { fib, ..RibSettings::default() };
        Bed {
            objects: Objects {
                adjacencies: Adjacencies::new(&domain, objects),
                load_balances: LoadBalances::new(&mut domain, objects),
            },
            rib: Rib::new(settings).unwrap(),
            domain,
        }
    }

    fn apply(&mut self, changes: &[super::super::Change<F>]) -> Result<Vec<Outcome>, ApplyError<F>> {
        let result = self.rib.apply(&mut self.objects, &mut self.domain, changes);
        self.domain.reclaim();
        result
    }

    fn link(&mut self, interface: InterfaceIndex, state: LinkState) -> Result<(), ApplyError<F>> {
        self.rib.set_interface(&mut self.objects, &mut self.domain, interface, state)
    }

    fn end_resync(&mut self, owner: Owner) -> usize {
        self.rib.end_resync(&mut self.objects, &mut self.domain, owner).unwrap()
    }

    /// All that packets to `address` can meet, as a worker finds it.
    fn destinations(&self, address: F::Addr) -> BTreeSet<Destination> {
        self.buckets(address).into_iter().collect()
    }

    fn buckets(&self, address: F::Addr) -> Vec<Destination> {
        let id = self.rib.fib().lookup(address);
        let matched = self.rib.longest_match(address).map(|route| route.load_balance());
        assert_eq!(matched.unwrap_or(LoadBalanceId::NO_ROUTE), id, "RIB and FIB agree on {address}");
        let load_balance = self.objects.load_balances.get(id).expect("the FIB names a live load-balance");
        let destination = |forward: &Forward| match forward.as_adjacency() {
            Some(id) => {
                let next_hop = self.objects.adjacencies.get(id).expect("a bucket names a live next hop");
                Destination::Neighbor(next_hop.interface, next_hop.address)
            }
            None => Destination::Forward(*forward),
        };
        load_balance.buckets().iter().map(destination).collect()
    }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn set(owner: Owner, prefix: &str, targets: &[PathTarget]) -> Change {
    let paths = targets.iter().copied().map(RoutePath::new).collect();
    Change { prefix: net(prefix), owner, action: Action::Set(Preference(0), paths) }
}

fn delete(owner: Owner, prefix: &str) -> Change {
    Change { prefix: net(prefix), owner, action: Action::Delete }
}

fn via(address: &str, interface: impl Into<Option<u32>>) -> PathTarget {
    PathTarget::Via { address: ip(address), interface: interface.into().map(InterfaceIndex) }
}

fn connected(interface: u32) -> PathTarget {
    PathTarget::Connected(InterfaceIndex(interface))
}

fn neighbor(interface: u32, address: &str) -> Destination {
    Destination::Neighbor(InterfaceIndex(interface), ip(address).into())
}

const NO_ROUTE: Destination = Destination::Forward(Forward::drop(DropKind::NoRoute));
const EVERYWHERE: &str = "0.0.0.0/0";

#[test]
fn the_preferred_owner_is_installed_and_the_next_one_takes_over() {
    let mut bed = Bed::roomy();
    let route = |owner, preference, hop| Change {
        prefix: net("10.0.0.0/8"),
        owner,
        action: Action::Add(Preference(preference), vec![RoutePath::new(via(hop, 1))]),
    };
    bed.apply(&[
        route(Owner::API, 20, "1.0.0.3"),
        route(Owner::CLI, 20, "1.0.0.2"),
        route(Owner::VPLANED, 10, "1.0.0.4"),
    ])
    .unwrap();
    let mut expect = |change: Change, hop| {
        assert_eq!(bed.destinations(ip("10.1.1.1")), [neighbor(1, hop)].into());
        bed.apply(&[change]).unwrap();
    };
    expect(delete(Owner::VPLANED, "10.0.0.0/8"), "1.0.0.4");
    expect(delete(Owner::CLI, "10.0.0.0/8"), "1.0.0.2");
    expect(delete(Owner::API, "10.0.0.0/8"), "1.0.0.3");
    assert_eq!(bed.destinations(ip("10.1.1.1")), [NO_ROUTE].into());
    assert!(bed.rib.is_empty());
}

#[test]
fn wrong_changes_are_named_and_nothing_happens() {
    let mut bed = Bed::roomy();
    let owner = Owner::CLI;
    bed.apply(&[set(owner, "10.0.0.0/8", &[via("1.0.0.1", 1)])]).unwrap();
    let change = |prefix: &str, action| Change { prefix: net(prefix), owner, action };
    let path = |target| RoutePath::new(target);
    let ten = net("10.0.0.0/8");
    let many = (0..65u8).map(|i| path(via(&format!("1.0.0.{}", i + 1), 1))).collect();
    let wrong = [
        (
            change("10.0.0.1/8", Action::Delete),
            RouteError::HostBits { found: net("10.0.0.1/8"), expected: ten },
        ),
        (set(owner, "11.0.0.0/8", &[]), RouteError::NoPath(net("11.0.0.0/8"))),
        (
            change("11.0.0.0/8", Action::Set(Preference(0), many)),
            RouteError::TooManyPaths { prefix: net("11.0.0.0/8"), found: 65, limit: 64 },
        ),
        (set(owner, "10.0.0.0/8", &[via("1.0.0.1", 1); 2]), RouteError::PathExists(ten, via("1.0.0.1", 1))),
        (
            set(owner, "10.0.0.0/8", &[via("224.0.0.1", 1)]),
            RouteError::NextHopNotUnicast(ten, ip("224.0.0.1")),
        ),
        (
            change("10.0.0.0/8", Action::Add(Preference(0), vec![path(connected(1))])),
            RouteError::Exists(ten, owner),
        ),
        (
            change("10.0.0.0/8", Action::AddPath(Preference(0), path(via("1.0.0.1", 1)))),
            RouteError::PathExists(ten, via("1.0.0.1", 1)),
        ),
        (
            change("10.0.0.0/8", Action::DeletePath(via("1.0.0.1", 2))),
            RouteError::NoSuchPath(ten, via("1.0.0.1", 2)),
        ),
        (delete(Owner::API, "10.0.0.0/8"), RouteError::NoSuchRoute(ten, Owner::API)),
        (delete(owner, "12.0.0.0/8"), RouteError::NoSuchRoute(net("12.0.0.0/8"), owner)),
    ];
    let (changes, errors): (Vec<_>, Vec<_>) = wrong.into_iter().unzip();
    let good = [
        set(owner, "10.0.0.0/8", &[connected(2)]),
        delete(owner, "10.0.0.0/8"),
        set(owner, "12.0.0.0/9", &[connected(2)]),
    ];
    for (change, error) in changes.iter().zip(&errors) {
        assert_eq!(
            bed.apply(std::slice::from_ref(change)),
            Err(ApplyError::Refused(vec![(0, error.clone())]))
        );
        assert!(!error.to_string().is_empty());
    }
    let mixed = [&good[2..], &changes, &good[..2]].concat();
    let Err(ApplyError::Refused(refused)) = bed.apply(&mixed) else { panic!("accepted {mixed:?}") };
    assert_eq!(refused, errors.into_iter().enumerate().map(|(i, error)| (i + 1, error)).collect::<Vec<_>>());
    assert_eq!((bed.rib.len(), bed.rib.installed(), bed.rib.path_lists()), (1, 1, 1));
    assert_eq!(bed.destinations(ip("10.0.0.1")), [neighbor(1, "1.0.0.1")].into());
    assert_eq!(bed.destinations(ip("12.0.0.1")), [NO_ROUTE].into());
}

#[test]
fn without_room_nothing_happens() {
    let owner = Owner::CLI;
    let mut bed = Bed::new(2, 1);
    bed.rib.settings.prefixes = 3;
    bed.apply(&[set(owner, "10.0.0.0/8", &[via("1.0.0.1", 1)])]).unwrap();
    let next_hops = [set(owner, "11.0.0.0/8", &[via("1.0.0.1", 1), via("1.0.0.2", 1), via("1.0.0.3", 1)])];
    let full = AdjacenciesFull { limit: 2 };
    assert_eq!(bed.apply(&next_hops), Err(ApplyError::Objects(ObjectsFull::Adjacencies(full))));
    let lists = [set(owner, "11.0.0.0/8", &[connected(1)]), set(owner, "12.0.0.0/8", &[connected(2)])];
    assert!(matches!(bed.apply(&lists), Err(ApplyError::Objects(ObjectsFull::LoadBalances(_)))));
    let blocks = [set(owner, "11.0.0.1/32", &[connected(1)]), set(owner, "11.0.1.1/32", &[connected(1)])];
    assert_eq!(bed.apply(&blocks), Err(ApplyError::Fib(FibError::BlocksExhausted { limit: 1 })));
    let prefixes: Vec<_> = (0..3).map(|i| set(owner, &format!("11.{i}.0.0/16"), &[connected(1)])).collect();
    let Err(ApplyError::Refused(refused)) = bed.apply(&prefixes) else { panic!("accepted") };
    assert_eq!(refused, [(2, RouteError::TableFull { prefix: net("11.2.0.0/16"), limit: 3 })]);

    assert_eq!((bed.rib.len(), bed.rib.installed(), bed.rib.path_lists()), (1, 1, 1));
    assert_eq!((bed.objects.adjacencies.len(), bed.objects.load_balances.len()), (1, 1));
    assert_eq!(bed.destinations(ip("11.0.0.1")), [NO_ROUTE].into());
    bed.apply(&blocks[..1]).unwrap();
    bed.apply(&prefixes[..1]).unwrap();
}

#[test]
fn recursive_routes_follow_the_route_to_their_next_hop() {
    let (bgp, igp) = (Owner::VPLANED, Owner::CLI);
    let mut bed = Bed::roomy();
    bed.apply(&[
        set(bgp, "20.0.0.0/8", &[via("192.0.2.1", None)]),
        set(bgp, "21.0.0.0/8", &[via("192.0.2.1", None)]),
    ])
    .unwrap();
    assert_eq!((bed.rib.len(), bed.rib.installed()), (2, 0), "unresolved routes are kept");
    let check = |bed: &Bed, destinations: &[Destination]| {
        for address in ["20.1.1.1", "21.1.1.1"] {
            assert_eq!(bed.destinations(ip(address)), destinations.iter().copied().collect());
        }
    };
    let steps = [
        (set(igp, "192.0.0.0/16", &[via("10.0.0.1", 1)]), vec![neighbor(1, "10.0.0.1")]),
        // A more specific route, and over a link: the next hop itself is the neighbour.
        (set(igp, "192.0.2.0/24", &[connected(2)]), vec![neighbor(2, "192.0.2.1")]),
        (
            set(igp, "192.0.2.0/24", &[via("10.0.0.1", 1), via("10.0.0.2", 2)]),
            vec![neighbor(1, "10.0.0.1"), neighbor(2, "10.0.0.2")],
        ),
        // Recursion over recursion.
        (set(bgp, "192.0.2.1/32", &[via("192.0.99.1", None)]), vec![neighbor(1, "10.0.0.1")]),
        (
            set(bgp, "192.0.2.1/32", &[PathTarget::Drop(DropKind::Blackhole)]),
            vec![Destination::Forward(Forward::drop(DropKind::Blackhole))],
        ),
        (set(bgp, "192.0.2.1/32", &[PathTarget::Local]), vec![NO_ROUTE]),
        (delete(bgp, "192.0.2.1/32"), vec![neighbor(1, "10.0.0.1"), neighbor(2, "10.0.0.2")]),
        // A loop: the next hop is covered by what needs it.
        (set(igp, "192.0.2.0/24", &[via("20.0.0.1", None)]), vec![NO_ROUTE]),
        (delete(igp, "192.0.2.0/24"), vec![neighbor(1, "10.0.0.1")]),
        (delete(igp, "192.0.0.0/16"), vec![NO_ROUTE]),
    ];
    for (change, destinations) in steps {
        bed.apply(std::slice::from_ref(&change)).unwrap();
        check(&bed, &destinations);
    }
}

#[test]
fn a_path_that_goes_moves_only_its_own_flows_and_touches_no_route() {
    let mut bed = Bed::roomy();
    let (a, b, c) = (via("1.0.0.1", 1), via("1.0.0.2", 2), via("1.0.0.3", 3));
    bed.apply(&[
        set(Owner::CLI, "10.0.0.0/8", &[a, b, c]),
        set(Owner::CLI, EVERYWHERE, &[via("1.0.0.9", 9)]),
    ])
    .unwrap();
    let address = ip("10.0.0.1");
    let (id, before) = (bed.rib.fib().lookup(address.to_bits()), bed.buckets(address));
    bed.link(InterfaceIndex(3), LinkState::NoCarrier).unwrap();
    assert_eq!(bed.rib.fib().lookup(address.to_bits()), id);
    let after = bed.buckets(address);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == neighbor(3, "1.0.0.3"), "{before:?} became {after:?}");
        assert_ne!(*after, neighbor(3, "1.0.0.3"));
    }
    bed.link(InterfaceIndex(1), LinkState::Down).unwrap();
    bed.link(InterfaceIndex(2), LinkState::NoCarrier).unwrap();
    assert_eq!(
        bed.destinations(address),
        [neighbor(9, "1.0.0.9")].into(),
        "the less specific route takes over"
    );
    bed.link(InterfaceIndex(2), LinkState::Up).unwrap();
    assert_eq!(bed.destinations(address), [neighbor(2, "1.0.0.2")].into());
}

#[test]
fn a_route_with_fewer_paths_keeps_the_flows_of_the_others() {
    let mut bed = Bed::roomy();
    let (a, b, c) = (via("1.0.0.1", 1), via("1.0.0.2", 1), via("1.0.0.3", 1));
    bed.apply(&[set(Owner::CLI, EVERYWHERE, &[a, b, c])]).unwrap();
    let before = bed.buckets(ip("10.0.0.1"));
    bed.apply(&[Change { prefix: net(EVERYWHERE), owner: Owner::CLI, action: Action::DeletePath(b) }])
        .unwrap();
    for (before, after) in before.iter().zip(bed.buckets(ip("10.0.0.1"))) {
        assert!(*before == after || *before == neighbor(1, "1.0.0.2"));
    }
}

#[test]
fn a_resync_deletes_what_was_not_mentioned() {
    let (agent, other) = (Owner::VPLANED, Owner::CLI);
    let mut bed = Bed::roomy();
    let route = |owner, i: u32| set(owner, &format!("10.{i}.0.0/16"), &[connected(1)]);
    bed.apply(&(0..10).map(|i| route(agent, i)).collect::<Vec<_>>()).unwrap();
    bed.apply(&[route(other, 3), route(other, 4)]).unwrap();
    // An agent that dies during its replay and begins anew.
    bed.rib.begin_resync(agent);
    bed.apply(&[route(agent, 9)]).unwrap();
    bed.rib.begin_resync(agent);
    let replay: Vec<_> = [0, 4, 20].map(|i| route(agent, i)).into();
    assert_eq!(bed.apply(&replay), Ok(vec![Outcome::Unchanged, Outcome::Unchanged, Outcome::Added]));
    assert_eq!(bed.rib.len(), 11, "nothing goes before the end");
    assert_eq!(bed.end_resync(agent), 8);
    let left: Vec<_> = bed.rib.routes(None).map(|route| route.prefix().to_string()).collect();
    assert_eq!(left, ["10.0.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.20.0.0/16"]);
    let rest: Vec<_> =
        bed.rib.routes(Some(net("10.3.0.0/16"))).map(|route| route.prefix().to_string()).collect();
    assert_eq!(rest, ["10.4.0.0/16", "10.20.0.0/16"]);
    assert_eq!(bed.end_resync(agent), 0);
}

#[test]
fn what_is_prepared_is_invisible_until_it_is_published_and_can_be_withdrawn() {
    let mut bed = Bed::roomy();
    let (old, new) = (connected(1), via("1.0.0.1", 1));
    bed.apply(&[set(Owner::CLI, "10.0.0.0/8", &[old])]).unwrap();
    let changes = [
        set(Owner::CLI, "10.0.0.0/8", &[new]),
        set(Owner::API, "11.0.0.0/8", &[new]),
        set(Owner::API, "10.0.0.0/8", &[new]),
    ];
    let old = Destination::Forward(Forward::glean(InterfaceIndex(1)));
    for publish in [false, true] {
        let pending = bed.rib.prepare(&mut bed.objects, &mut bed.domain, &changes, &BTreeSet::new()).unwrap();
        let seen = bed.rib.fib().lookup(ip("10.0.0.1").to_bits());
        let load_balance = bed.objects.load_balances.get(seen).expect("the FIB names a live load-balance");
        assert_eq!(load_balance.buckets()[0], Forward::glean(InterfaceIndex(1)));
        assert_eq!(bed.rib.fib().lookup(ip("11.0.0.1").to_bits()), LoadBalanceId::NO_ROUTE);
        let Bed { domain, objects, rib } = &mut bed;
        match publish {
            true => assert_eq!(rib.publish(objects, domain, pending).len(), 3),
            false => rib.withdraw(objects, domain, pending),
        }
        domain.reclaim();
        let expected = if publish { neighbor(1, "1.0.0.1") } else { old };
        assert_eq!(bed.destinations(ip("10.0.0.1")), [expected].into());
        assert_eq!((bed.rib.len(), bed.rib.path_lists()), if publish { (2, 1) } else { (1, 1) });
    }
}

#[test]
fn clients_of_the_api_share_a_route_and_each_says_again_what_is_its_own() {
    let mut bed = Bed::roomy();
    let (a, b) = (Owner::agent(0), Owner::agent(1));
    let paths = |bed: &Bed, prefix| {
        let route = bed.rib.get(net(prefix)).expect("the route is there");
        route.sources().map(|source| (source.owner, source.paths.to_vec())).collect::<Vec<_>>()
    };
    let (one, two) = (RoutePath::new(via("1.0.0.1", 1)), RoutePath::new(via("1.0.0.2", 1)));
    bed.apply(&[set(a, "10.0.0.0/8", &[one.target]), set(a, "11.0.0.0/8", &[one.target])]).unwrap();
    let path = |owner, path| Change {
        prefix: net("10.0.0.0/8"),
        owner,
        action: Action::SetPath(Preference(0), path),
    };
    bed.apply(&[path(b, two), path(b, two)]).unwrap();
    assert_eq!(paths(&bed, "10.0.0.0/8"), [(b, vec![one, two])]);
    let heavy = RoutePath { weight: 5.try_into().unwrap(), ..two };
    bed.apply(&[path(b, heavy)]).unwrap();
    assert_eq!(paths(&bed, "10.0.0.0/8"), [(b, vec![one, heavy])]);
    assert_eq!(format!("{a} {b}"), "api api");

    bed.rib.begin_resync(a);
    assert_eq!(bed.end_resync(a), 1);
    assert_eq!(bed.rib.len(), 1, "what b has changed is b's");
    bed.apply(&[delete(a, "10.0.0.0/8")]).unwrap();
    assert!(bed.rib.is_empty());
}
