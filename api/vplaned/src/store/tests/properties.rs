// SPDX-License-Identifier: Apache-2.0
//! Any sequence of events, well-behaved or not, leaves the dataplane with what the model works out.

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::model::{Model, Said};
use super::*;
use crate::netlink::{
    MacAddr, Metric, Netconf, NetconfFamily, Path, Protocol, RpFilter, Scope, TableId, TagProtocol, VlanId,
};

fn index() -> impl Strategy<Value = IfIndex> {
    (1..=7u32).prop_map(|index| IfIndex::new(index).expect("not 0"))
}

fn table() -> impl Strategy<Value = TableId> {
    prop_oneof![4 => Just(254), 2 => Just(255), 1 => Just(100), 2 => Just(1001), 2 => Just(1002), 1 => Just(2000)]
        .prop_map(TableId)
}

fn link() -> impl Strategy<Value = Link> {
    let kind = prop_oneof![
        4 => Just(LinkKind::Tun),
        3 => index().prop_map(|parent| LinkKind::Vlan {
            parent,
            id: VlanId::new(100).expect("valid"),
            protocol: TagProtocol::Dot1Q,
        }),
        2 => (1001..=1002u32).prop_map(|table| LinkKind::Vrf { table: TableId(table) }),
        1 => Just(LinkKind::Bridge),
        1 => Just(LinkKind::Unsupported("gre".into())),
    ];
    (index(), kind, any::<bool>(), prop::option::weighted(0.3, index()), 0..3u32).prop_map(
        |(index, kind, admin_up, master, mtu)| Link {
            index,
            name: format!("if{index}").into(),
            kind,
            admin_up,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            mtu: 1500 + mtu,
            master,
        },
    )
}

fn ip4(low: u8) -> IpAddr {
    std::net::Ipv4Addr::new(10, 0, 0, low).into()
}

fn target() -> impl Strategy<Value = RouteTarget> {
    let via = prop_oneof![
        2 => (1..4u8).prop_map(|low| Via::Gateway(ip4(low))),
        1 => Just(Via::Link),
        1 => Just(Via::Host(HostOnly::Encapsulation)),
    ];
    let path = (index(), via, 1..3u16).prop_map(|(interface, via, weight)| Path {
        interface: Some(interface),
        via,
        weight: NonZeroU16::new(weight).expect("not 0"),
        onlink: false,
    });
    prop_oneof![
        5 => prop::collection::vec(path, 1..4).prop_map(RouteTarget::Forward),
        1 => Just(RouteTarget::Local),
        1 => Just(RouteTarget::Blackhole),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let prefix = prop_oneof!["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32"];
    let prefix = prop_oneof![
        prefix.prop_map(|text| text.parse::<IpNet>().unwrap_or(IpNet::V4(Ipv4Net::default()))),
        (0..3u8).prop_map(|low| IpNet::from(ip4(low))),
    ];
    (prefix, table(), 0..2u32, prop_oneof![Just(0u8), Just(253)], target()).prop_map(
        |(prefix, table, metric, scope, target)| Route {
            prefix,
            table,
            metric: Metric(metric),
            scope: Scope(scope),
            protocol: Protocol(3),
            target,
        },
    )
}

fn netconf() -> impl Strategy<Value = Netconf> {
    (index(), any::<bool>(), prop::option::of(any::<bool>()), any::<bool>()).prop_map(
        |(index, ip4, forwarding, filter)| Netconf {
            index,
            family: if ip4 { NetconfFamily::Ip4 } else { NetconfFamily::Ip6 },
            forwarding,
            rp_filter: filter.then_some(RpFilter::Strict),
            multicast_forwarding: None,
            proxy: None,
        },
    )
}

fn address() -> impl Strategy<Value = InterfaceAddress> {
    (index(), 0..3u8).prop_map(|(index, low)| InterfaceAddress {
        index,
        address: IpNet::new(ip4(low), 24).expect("valid"),
        peer: None,
        broadcast: None,
        scope: Scope::UNIVERSE,
    })
}

fn neighbor() -> impl Strategy<Value = Neighbor> {
    let state = prop_oneof![
        Just(NeighborState::Reachable),
        Just(NeighborState::Permanent),
        Just(NeighborState::Failed),
        Just(NeighborState::Probe),
    ];
    (index(), 0..3u8, state, 0..2u8).prop_map(|(index, low, state, mac)| Neighbor {
        index,
        address: ip4(low),
        state,
        mac: Some(MacAddr([2, 0, 0, 0, 1, mac])),
    })
}

fn event() -> impl Strategy<Value = Event> {
    let placement = prop_oneof![4 => Just(Placement::Replace), 1 => Just(Placement::Append)];
    // The model leaves the two rules of IPv6 that are tested by cases to them.
    let append = |(route, placement): (Route, Placement)| match route.prefix {
        IpNet::V4(_) => Event::Route(route, placement),
        IpNet::V6(_) => Event::Route(route, Placement::Replace),
    };
    prop_oneof![
        6 => link().prop_map(Event::Link),
        2 => index().prop_map(Event::LinkGone),
        8 => (route(), placement).prop_map(append),
        3 => route().prop_filter("see the cases", |route| route.prefix.addr().is_ipv4()).prop_map(Event::RouteGone),
        2 => address().prop_map(Event::Address),
        1 => address().prop_map(Event::AddressGone),
        3 => neighbor().prop_map(Event::Neighbor),
        1 => neighbor().prop_map(Event::NeighborGone),
        1 => (index(), 0..3u8).prop_map(|(index, low)| Event::Proxy(ProxyNeighbor { index, address: ip4(low) })),
        1 => (index(), 0..3u8).prop_map(|(index, low)| Event::ProxyGone(ProxyNeighbor { index, address: ip4(low) })),
        2 => netconf().prop_map(Event::Netconf),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let map = (prop_oneof![Just("if1"), Just("if2"), Just("if3")], any::<bool>()).prop_map(|(vrf, on)| {
        Said::Map(TableMap { vrf: vrf.into(), policy: PolicyTable(7), table: on.then_some(TableId(2000)) })
    });
    let broker = |event: Event| match event {
        Event::Route(route, _) => Said::Event(Owner::Broker, Event::Route(route, Placement::Replace)),
        Event::RouteGone(route) => Said::Event(Owner::Broker, Event::RouteGone(route)),
        other => Said::Event(Owner::Vplaned, other),
    };
    prop_oneof![
        12 => event().prop_map(|event| Said::Event(Owner::Vplaned, event)),
        3 => event().prop_map(broker),
        2 => index().prop_map(Said::Port),
        1 => map,
    ]
}

impl Bed {
    fn hear(&mut self, said: Said) {
        match said {
            Said::Event(Owner::Vplaned, event) => self.say(event),
            Said::Event(Owner::Broker, event) => self.broker(event),
            Said::Port(index) => self.with(|store, changes| store.bind_port(index, changes)),
            Said::Map(map) => self.with(|store, changes| store.map_table(map, changes)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn after_every_event_the_dataplane_has_what_it_should(history in prop::collection::vec(said(), 1..80)) {
        let (mut bed, mut model) = (Bed::default(), Model::default());
        for said in history {
            model.hear(said.clone());
            bed.hear(said);
            prop_assert_eq!(&bed.view, &model.view());
        }
    }

    /// A resync in any order, with messages doubled, brings a store of any history to the state that is described, and
    /// doing it again makes no change.
    #[test]
    fn a_resync_leads_to_the_described_state(
        past in prop::collection::vec(said(), 0..60),
        present in prop::collection::vec(said(), 0..60),
        order in any::<u64>(),
    ) {
        let mut model = Model::default();
        present.into_iter().for_each(|said| model.hear(alone(said)));
        let mut bed = Bed::default();
        past.into_iter().for_each(|said| bed.hear(said));
        // Settings outlive a resync, and so does what is below an interface that lives on, so both histories get the same ones.
        for number in 1..=7 {
            let index = IfIndex::new(number).expect("not 0");
            bed.say(Event::LinkGone(index));
        }

        let mut told = Vec::new();
        for round in 0..2u64 {
            let mut snapshot: Vec<Said> = model.snapshot();
            let doubled: Vec<Said> = snapshot.iter().step_by(3).cloned().collect();
            snapshot.extend(doubled);
            let mut keyed: Vec<(u64, Said)> =
                snapshot.into_iter().enumerate().map(|(at, said)| (key(order ^ round, at as u64), said)).collect();
            keyed.sort_by_key(|(key, _)| *key);
            let before = bed.told;
            bed.with(|store, _| store.begin_resync(Owner::Vplaned));
            bed.with(|store, _| store.begin_resync(Owner::Broker));
            keyed.into_iter().for_each(|(_, said)| bed.hear(said));
            bed.with(|store, changes| store.end_resync(Owner::Broker, changes));
            bed.with(|store, changes| store.end_resync(Owner::Vplaned, changes));
            prop_assert_eq!(&bed.view, &model.view());
            told.push(bed.told - before);
        }
        prop_assert_eq!(told[1], 0, "the second resync says nothing new");
    }
}

/// A snapshot has one route for a prefix, table and scope (protocol page, 7.3): none stands beside another.
fn alone(said: Said) -> Said {
    match said {
        Said::Event(owner, Event::Route(route, _)) => {
            Said::Event(owner, Event::Route(route, Placement::Replace))
        }
        other => other,
    }
}

/// A place in a permutation.
fn key(seed: u64, at: u64) -> u64 {
    (seed ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
