// SPDX-License-Identifier: Apache-2.0
//! What the kernel and vplaned are known to do (protocol page, 7.4, 7.10, 10.3, 15.3, 17), from the bytes of messages to the dataplane.

use super::*;
use crate::netlink::messages::*;
use crate::netlink::{TableId, Topic, parse};

fn event(message: &Message) -> Event {
    let bytes = message.bytes();
    let topic = match u16::from_ne_bytes([bytes[4], bytes[5]]) {
        NEWLINK | DELLINK => Topic::Link,
        NEWADDR | DELADDR => Topic::Address,
        NEWROUTE | DELROUTE => Topic::Route,
        NEWNEIGH | DELNEIGH => Topic::Neighbor,
        _ => Topic::Netconf,
    };
    parse(topic, &bytes).expect("a well-formed message")
}

fn index(number: u32) -> IfIndex {
    IfIndex::new(number).expect("not 0")
}

impl Bed {
    fn hear_bytes(&mut self, message: &Message) {
        self.say(event(message));
    }

    fn port(&mut self, number: u32) {
        self.with(|store, changes| store.bind_port(index(number), changes));
        self.hear_bytes(&new_link(number, &format!("dp0p{number}"), "tun", &[]));
    }

    fn routes(&self) -> Vec<String> {
        let path = |path: &RoutePath| match path.target {
            PathTarget::Gateway { interface, address, .. } => {
                format!("{address}@{interface}*{}", path.weight)
            }
            PathTarget::Link(interface) => format!("link@{interface}*{}", path.weight),
            other => format!("{other:?}"),
        };
        let line = |((_, prefix), paths): (&(FibTable, IpNet), &Vec<RoutePath>)| {
            format!("{prefix} {}", paths.iter().map(path).collect::<Vec<_>>().join(" "))
        };
        self.view.routes.iter().map(line).collect()
    }
}

fn gateway(prefix: (u8, u8), via: u8, oif: u32) -> Message {
    Message::route(NEWROUTE, CREATE, (ip4(10, prefix.0, 0, 0), prefix.1), 254)
        .u32(4, oif)
        .ip(5, ip4(192, 0, 2, via))
}

fn connected(oif: u32, flags: u16) -> Message {
    Message::route_of(NEWROUTE, flags, (ip4(192, 0, 2, 0), 24), 254, 253, 1).u32(4, oif)
}

#[test]
fn a_deleted_link_takes_its_routes_and_neighbors_along_unasked() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.port(3);
    bed.hear_bytes(&connected(2, CREATE));
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.hear_bytes(
        &Message::route(NEWROUTE, CREATE, (ip4(10, 2, 0, 0), 16), 254)
            .multipath(&[(2, Some(ip4(192, 0, 2, 1)), 1), (3, Some(ip4(198, 51, 100, 1)), 3)]),
    );
    bed.hear_bytes(
        &Message::neighbor(NEWNEIGH, AF_INET, 2, 0x80, 0).ip(1, ip4(192, 0, 2, 1)).attribute(2, &[2; 6]),
    );
    let (one, other) = (ip6("2001:db8::1"), ip6("2001:db8:1::1"));
    bed.hear_bytes(
        &Message::route(NEWROUTE, CREATE, (ip6("2001:db8:5::"), 48), 254)
            .multipath(&[(2, Some(one), 1), (3, Some(other), 1)]),
    );
    bed.broker(event(
        &Message::route(NEWROUTE, CREATE, (ip4(10, 3, 0, 0), 16), 254)
            .multipath(&[(2, Some(ip4(192, 0, 2, 1)), 1), (3, Some(ip4(198, 51, 100, 1)), 3)]),
    ));
    assert_eq!(
        bed.routes(),
        [
            "10.1.0.0/16 192.0.2.1@2*1",
            "10.2.0.0/16 192.0.2.1@2*1 198.51.100.1@3*3",
            "10.3.0.0/16 192.0.2.1@2*1 198.51.100.1@3*3",
            "192.0.2.0/24 link@2*1",
            "2001:db8:5::/48 2001:db8::1@2*1 2001:db8:1::1@3*1",
        ]
    );
    bed.hear_bytes(&Message::link(DELLINK, 0, 1, 2));
    let rest = ["10.3.0.0/16 198.51.100.1@3*3", "2001:db8:5::/48 2001:db8:1::1@3*1"];
    assert_eq!(bed.routes(), rest);
    assert!(bed.view.neighbors.is_empty());
    // The kernel's own messages follow, about things that are gone.
    bed.hear_bytes(&gateway((1, 16), 1, 2).clone());
    bed.hear_bytes(
        &Message::route(DELROUTE, 0, (ip4(10, 1, 0, 0), 16), 254).u32(4, 2).ip(5, ip4(192, 0, 2, 1)),
    );
    bed.hear_bytes(&Message::neighbor(DELNEIGH, AF_INET, 2, 0x20, 0).ip(1, ip4(192, 0, 2, 1)));
    bed.hear_bytes(&Message::link(DELLINK, 0, 1, 2));
    assert_eq!(bed.routes(), rest);
    assert_eq!(bed.store.counts().routes_waiting, 0);
}

#[test]
fn a_purged_port_rises_once_more_and_goes_again() {
    let mut bed = Bed::default();
    bed.port(3);
    bed.hear_bytes(&gateway((1, 16), 1, 3));
    // vplaned's synthetic message, then the kernel's in its order.
    bed.hear_bytes(&Message::link_flags(DELLINK, 0, 0, 3, 0).text(3, "dp0p3"));
    assert!(bed.view.interfaces.is_empty() && bed.routes().is_empty());
    bed.hear_bytes(
        &Message::link_flags(NEWLINK, 0, 1, 3, 0x1002).text(3, "dp0p3").u32(4, 1500).link_info("tun", &[]),
    );
    assert!(bed.view.interfaces.is_empty(), "the port is not registered any more");
    bed.hear_bytes(&Message::address(DELADDR, AF_INET, 24, 0, 3).ip(2, ip4(192, 0, 2, 9)));
    bed.hear_bytes(&Message::link(DELLINK, 0, 1, 3));
    assert_eq!(bed.view, View::default());
    assert_eq!(bed.store.counts(), Counts { ..Counts::default() });
}

#[test]
fn leaving_a_bridge_keeps_the_interface() {
    let mut bed = Bed::default();
    bed.port(4);
    bed.hear_bytes(&new_link(5, "br0", "bridge", &[]));
    bed.hear_bytes(&new_link(4, "dp0p4", "tun", &[]).u32(10, 5));
    let port = parse(Topic::BridgeLink, &Message::link(NEWLINK, AF_BRIDGE, 1, 4).u32(10, 5).bytes());
    bed.say(port.expect("a bridge port"));
    assert_eq!(bed.view.interfaces[&index(4)].member_of, Some(index(5)));
    assert_eq!(bed.store.bridge_ports().count(), 1);
    let gone = parse(Topic::BridgeLink, &Message::link(DELLINK, AF_BRIDGE, 1, 4).u32(10, 5).bytes());
    bed.say(gone.expect("a bridge port"));
    bed.hear_bytes(&new_link(4, "dp0p4", "tun", &[]));
    assert_eq!(bed.view.interfaces[&index(4)].member_of, None);
    assert_eq!(bed.store.bridge_ports().count(), 0);
}

#[test]
fn a_failed_neighbor_is_gone_and_its_deletion_says_nothing_new() {
    let mut bed = Bed::default();
    bed.port(2);
    let neighbor = |kind, state| Message::neighbor(kind, AF_INET, 2, state, 0).ip(1, ip4(192, 0, 2, 254));
    bed.hear_bytes(&neighbor(NEWNEIGH, 0x80).attribute(2, &[2; 6]));
    assert!(bed.view.neighbors.values().all(|neighbor| neighbor.permanent));
    // Asked again: what is known still holds.
    bed.hear_bytes(&neighbor(NEWNEIGH, 0x10).attribute(2, &[4; 6]));
    assert_eq!(bed.view.neighbors.len(), 1);
    bed.hear_bytes(&neighbor(NEWNEIGH, 0x20));
    assert!(bed.view.neighbors.is_empty());
    let told = bed.told;
    bed.hear_bytes(&neighbor(DELNEIGH, 0x20));
    assert_eq!(bed.told, told);
}

#[test]
fn multicast_entries_of_the_kernel_are_no_neighbors() {
    let mut bed = Bed::default();
    bed.port(2);
    for address in [ip4(224, 0, 0, 1), ip4(255, 255, 255, 255), ip6("ff02::1")] {
        let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
        bed.hear_bytes(&Message::neighbor(NEWNEIGH, family, 2, 0x40, 0).ip(1, address).attribute(2, &[1; 6]));
    }
    assert!(bed.view.neighbors.is_empty());
}

#[test]
fn routes_wait_for_interface_vrf_and_mapping() {
    let mut bed = Bed::default();
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    let in_table = |table| Message::route(NEWROUTE, CREATE, (ip4(10, 9, 0, 0), 16), table).u32(4, 2);
    bed.hear_bytes(&in_table(1000));
    bed.hear_bytes(&in_table(2000));
    assert_eq!(bed.store.counts().routes_waiting, 3);
    bed.port(2);
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.1@2*1"]);
    bed.hear_bytes(&new_link(7, "blue", "vrf", &[(1, &1000u32.to_ne_bytes())]));
    assert_eq!(bed.view.routes.len(), 2);
    let map = |table| TableMap { vrf: "blue".into(), policy: PolicyTable(5), table };
    bed.with(|store, changes| store.map_table(map(Some(TableId(2000))), changes));
    let vrf = Some(VrfId(index(7)));
    let tables: Vec<FibTable> = bed.view.routes.keys().map(|(table, _)| *table).collect();
    assert_eq!(
        tables,
        [FibTable::MAIN, FibTable { vrf, policy: None }, FibTable { vrf, policy: Some(PolicyTable(5)) },]
    );
    assert_eq!(bed.store.counts().routes_waiting, 0);
    bed.with(|store, changes| store.map_table(map(None), changes));
    bed.hear_bytes(&Message::link(DELLINK, 0, 1, 7));
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.1@2*1"]);
    assert_eq!(bed.store.counts().routes_waiting, 2);
}

#[test]
fn a_deleted_route_waits_no_more() {
    let mut bed = Bed::default();
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.hear_bytes(
        &Message::route(DELROUTE, 0, (ip4(10, 1, 0, 0), 16), 254).u32(4, 2).ip(5, ip4(192, 0, 2, 1)),
    );
    bed.port(2);
    assert!(bed.routes().is_empty());
    assert_eq!((bed.store.counts().routes4, bed.store.counts().path_sets), (0, 0));
}

#[test]
fn a_member_of_a_vrf_waits_for_the_master_and_takes_its_addresses_along() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.hear_bytes(&Message::address(NEWADDR, AF_INET, 24, 0, 2).ip(2, ip4(192, 0, 2, 1)));
    bed.hear_bytes(&new_link(2, "dp0p2", "tun", &[]).u32(10, 7));
    assert!(bed.view.interfaces.is_empty(), "not in the default VRF in the meantime");
    bed.hear_bytes(&new_link(7, "blue", "vrf", &[(1, &1000u32.to_ne_bytes())]));
    assert_eq!(bed.view.interfaces[&index(2)].vrf, Some(VrfId(index(7))));
    assert_eq!(bed.view.addresses.len(), 1);
    bed.hear_bytes(&new_link(2, "dp0p2", "tun", &[]));
    assert_eq!(bed.view.interfaces[&index(2)].vrf, None);
}

#[test]
fn vlans_may_come_before_what_they_stand_on() {
    let mut bed = Bed::default();
    let vlan = |number: u32, parent: u32, id: u16| {
        new_link(number, "vlan", "vlan", &[(1, &id.to_ne_bytes())]).u32(5, parent)
    };
    bed.hear_bytes(&vlan(12, 11, 200));
    bed.hear_bytes(&vlan(11, 2, 100));
    bed.hear_bytes(&connected(12, CREATE));
    assert_eq!(bed.store.counts().links_waiting, 2);
    bed.port(2);
    assert_eq!(bed.view.interfaces.len(), 3);
    assert_eq!(bed.routes(), ["192.0.2.0/24 link@12*1"]);
    bed.hear_bytes(&Message::link(DELLINK, 0, 1, 2));
    assert!(bed.view.interfaces.is_empty());
}

#[test]
fn what_the_kernel_alone_can_send_goes_to_the_host() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.hear_bytes(&new_link(6, "gre1", "gretap", &[]));
    bed.hear_bytes(&gateway((1, 16), 1, 6));
    bed.hear_bytes(&gateway((2, 16), 1, 2).attribute(22, &[0; 8]));
    assert_eq!(bed.routes(), ["10.1.0.0/16 Host", "10.2.0.0/16 Host"]);
    let counts = bed.store.counts();
    assert_eq!(counts.links_unsupported, BTreeMap::from([("gretap".into(), 1)]));
    assert_eq!(counts.routes_host_only, BTreeMap::from([(HostOnly::Encapsulation, 1)]));
}

#[test]
fn the_local_table_comes_first_and_the_lowest_metric_next() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.port(3);
    let host = (ip4(192, 0, 2, 1), 32);
    bed.hear_bytes(&Message::route(NEWROUTE, CREATE, host, 254).u32(4, 2).u32(6, 20));
    assert_eq!(bed.routes(), ["192.0.2.1/32 link@2*1"]);
    bed.hear_bytes(&Message::route(NEWROUTE, CREATE, host, 254).u32(4, 3).u32(6, 10));
    assert_eq!(bed.routes(), ["192.0.2.1/32 link@3*1"]);
    bed.hear_bytes(&Message::route_of(NEWROUTE, CREATE, host, 255, 254, 2).u32(4, 2).u32(6, 99));
    assert_eq!(bed.routes(), ["192.0.2.1/32 Local"]);
    bed.hear_bytes(&Message::route_of(DELROUTE, 0, host, 255, 254, 2).u32(4, 2).u32(6, 99));
    bed.hear_bytes(&Message::route(DELROUTE, 0, host, 254).u32(4, 3).u32(6, 10));
    assert_eq!(bed.routes(), ["192.0.2.1/32 link@2*1"]);
}

#[test]
fn two_interfaces_of_one_subnet_stand_one_behind_the_other() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.port(3);
    bed.hear_bytes(&connected(2, CREATE));
    bed.hear_bytes(&connected(3, APPEND));
    bed.hear_bytes(&connected(3, APPEND));
    assert_eq!(bed.store.counts().routes4, 2, "said twice, there once");
    assert_eq!(bed.routes(), ["192.0.2.0/24 link@2*1"]);
    bed.hear_bytes(&Message::route_of(DELROUTE, 0, (ip4(192, 0, 2, 0), 24), 254, 253, 1).u32(4, 2));
    assert_eq!(bed.routes(), ["192.0.2.0/24 link@3*1"]);
}

#[test]
fn replacing_keeps_one_route_with_or_without_the_flag() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.hear_bytes(
        &Message::route(NEWROUTE, REPLACE, (ip4(10, 1, 0, 0), 16), 254).u32(4, 2).ip(5, ip4(192, 0, 2, 2)),
    );
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.2@2*1"]);
    // A snapshot has lost the flag.
    bed.hear_bytes(
        &Message::route(NEWROUTE, 2, (ip4(10, 1, 0, 0), 16), 254).u32(4, 2).ip(5, ip4(192, 0, 2, 3)),
    );
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.3@2*1"]);
    assert_eq!(bed.store.counts().routes4, 1);
}

#[test]
fn ipv6_paths_come_together_and_go_one_by_one() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.port(3);
    let prefix = (ip6("2001:db8:5::"), 48);
    let (one, other) = (ip6("2001:db8::1"), ip6("2001:db8:1::1"));
    let route = |kind, flags| Message::route(kind, flags, prefix, 254).u32(6, 1024);
    bed.hear_bytes(&route(NEWROUTE, CREATE).u32(4, 2).ip(5, one));
    bed.hear_bytes(&route(NEWROUTE, APPEND).multipath(&[(2, Some(one), 1), (3, Some(other), 1)]));
    assert_eq!(bed.routes(), ["2001:db8:5::/48 2001:db8::1@2*1 2001:db8:1::1@3*1"]);
    bed.hear_bytes(&route(DELROUTE, 0).u32(4, 2).ip(5, one));
    assert_eq!(bed.routes(), ["2001:db8:5::/48 2001:db8:1::1@3*1"]);
    bed.hear_bytes(&route(DELROUTE, 0).u32(4, 3).ip(5, other));
    assert!(bed.routes().is_empty());
    // Connected routes of one prefix are different routes on different links.
    let on_link =
        |kind, oif| Message::route(kind, 0x400, (ip6("2001:db8::"), 64), 254).u32(6, 256).u32(4, oif);
    bed.hear_bytes(&on_link(NEWROUTE, 2));
    bed.hear_bytes(&on_link(NEWROUTE, 3));
    bed.hear_bytes(&on_link(DELROUTE, 2));
    assert_eq!(bed.routes(), ["2001:db8::/64 link@3*1"]);
}

#[test]
fn setting_an_interface_down_takes_the_kernels_routes_but_not_the_brokers() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.port(3);
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.hear_bytes(
        &Message::route(NEWROUTE, CREATE, (ip4(10, 2, 0, 0), 16), 254)
            .multipath(&[(2, Some(ip4(192, 0, 2, 1)), 1), (3, Some(ip4(198, 51, 100, 1)), 1)]),
    );
    bed.broker(event(&gateway((3, 16), 1, 2)));
    bed.hear_bytes(
        &Message::link_flags(NEWLINK, 0, 1, 2, 0).text(3, "dp0p2").u32(4, 1500).link_info("tun", &[]),
    );
    assert!(!bed.view.interfaces[&index(2)].admin_up);
    assert_eq!(bed.routes(), ["10.2.0.0/16 192.0.2.1@2*1 198.51.100.1@3*1", "10.3.0.0/16 192.0.2.1@2*1",]);
    bed.hear_bytes(
        &Message::link_flags(NEWLINK, 0, 1, 3, 0).text(3, "dp0p3").u32(4, 1500).link_info("tun", &[]),
    );
    assert_eq!(bed.routes(), ["10.3.0.0/16 192.0.2.1@2*1"]);
}

#[test]
fn settings_are_merged_and_survive_a_snapshot_without_them() {
    let mut bed = Bed::default();
    bed.hear_bytes(&Message::netconf(NEWNETCONF, AF_INET, 2).u32(2, 1).u32(3, 0));
    bed.port(2);
    bed.hear_bytes(&Message::netconf(NEWNETCONF, AF_INET, 2).u32(3, 1));
    let expected = IpSettings {
        forwarding: Some(true),
        rp_filter: Some(crate::netlink::RpFilter::Strict),
        ..IpSettings::default()
    };
    assert_eq!(bed.view.interfaces[&index(2)].ip4, expected);
    let told = bed.told;
    bed.with(|store, _| store.begin_resync(Owner::Vplaned));
    bed.port(2);
    bed.with(|store, changes| store.end_resync(Owner::Vplaned, changes));
    assert_eq!((bed.told, bed.view.interfaces[&index(2)].ip4), (told, expected));
}

#[test]
fn a_broken_off_resync_mentions_nothing() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.hear_bytes(&gateway((2, 16), 1, 2));
    bed.with(|store, _| store.begin_resync(Owner::Vplaned));
    bed.port(2);
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    bed.with(|store, _| store.begin_resync(Owner::Vplaned));
    bed.port(2);
    bed.hear_bytes(&gateway((2, 16), 1, 2));
    bed.with(|store, changes| store.end_resync(Owner::Vplaned, changes));
    assert_eq!(bed.routes(), ["10.2.0.0/16 192.0.2.1@2*1"]);
}

#[test]
fn each_owner_is_swept_alone_and_the_kernel_comes_first_among_equals() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.broker(event(&gateway((1, 16), 1, 2)));
    bed.hear_bytes(&gateway((1, 16), 9, 2));
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.9@2*1"]);
    bed.with(|store, _| store.begin_resync(Owner::Vplaned));
    bed.port(2);
    bed.with(|store, changes| store.end_resync(Owner::Vplaned, changes));
    assert_eq!(bed.routes(), ["10.1.0.0/16 192.0.2.1@2*1"]);
    bed.with(|store, _| store.begin_resync(Owner::Broker));
    bed.with(|store, changes| store.end_resync(Owner::Broker, changes));
    assert!(bed.routes().is_empty());
}

#[test]
fn a_rename_is_one_change_of_one_interface() {
    let mut bed = Bed::default();
    bed.port(2);
    bed.hear_bytes(&gateway((1, 16), 1, 2));
    let told = bed.told;
    bed.hear_bytes(&new_link(2, "uplink", "tun", &[]));
    assert_eq!(bed.told, told + 1);
    assert_eq!(&*bed.view.interfaces[&index(2)].name, "uplink");
}

#[test]
fn the_recorded_session_ends_in_the_recorded_state() {
    let mut bed = Bed::default();
    for port in [2, 3, 4] {
        bed.with(|store, changes| store.bind_port(index(port), changes));
    }
    // Section 6 of the recording: live changes up to the second address.
    for (topic, bytes, description) in recorded() {
        if let Some(topic) = Topic::new(topic.split(' ').next().unwrap_or_default()) {
            bed.say(parse(topic, &bytes).expect("understood"));
        }
        if description.starts_with(" seq=101 ") {
            break;
        }
    }
    assert_eq!(
        bed.routes(),
        [
            "10.0.0.0/8 192.0.2.2@2*1 198.51.100.2@3*3",
            "10.66.0.0/16 Blackhole",
            "10.67.0.0/16 Unreachable",
            "192.0.2.0/24 link@2*1",
            "192.0.2.1/32 Local",
            "198.51.100.0/24 link@3*1",
            "198.51.100.1/32 Local",
            "2001:db8::/64 link@2*1",
            "2001:db8::1/128 Local",
            "2001:db8:5::/48 2001:db8::2@2*1",
            "10.68.0.0/16 192.0.2.2@2*1",
        ]
    );
    let port = &bed.view.interfaces[&index(2)];
    assert_eq!((&*port.name, port.mtu, port.ip4.forwarding), ("dp0p0s4", 1400, Some(true)));
    assert_eq!(port.ip4.rp_filter, Some(crate::netlink::RpFilter::Strict));
}
