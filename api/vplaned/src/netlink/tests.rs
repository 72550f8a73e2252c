// SPDX-License-Identifier: Apache-2.0
//! Recorded messages against what another parser said of them; every kind of damage; the values of 7.5 to 7.9.

use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;
use proptest::prelude::*;

use super::messages::*;
use super::*;

/// The recorded messages under topics that are parsed here (`tc_qdisc` is not).
fn understood() -> Vec<(Topic, Vec<u8>, String)> {
    let topic = |text: &str| Topic::new(text.split(' ').next().unwrap_or_default());
    recorded()
        .into_iter()
        .filter_map(|(name, bytes, description)| Some((topic(&name)?, bytes, description)))
        .collect()
}

fn index(number: u32) -> IfIndex {
    IfIndex::new(number).expect("not 0")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix in a test")
}

fn path(interface: u32, via: Via, weight: u16) -> Path {
    Path {
        interface: IfIndex::new(interface),
        via,
        weight: NonZeroU16::new(weight).expect("not 0"),
        onlink: false,
    }
}

/// The value of `'KEY': value` in a recorded description.
fn field<'a>(description: &'a str, key: &str) -> Option<&'a str> {
    let rest = description.split_once(&format!("'{key}': "))?.1;
    Some(match rest.strip_prefix('\'') {
        Some(text) => text.split('\'').next()?,
        None => rest.split([',', '}']).next()?,
    })
}

#[test]
fn every_recorded_message_is_understood_as_the_recorder_did() {
    let recorded = understood();
    assert!(recorded.len() > 200, "{} messages", recorded.len());
    let mut seen = std::collections::BTreeMap::new();
    for (topic, bytes, description) in &recorded {
        let event = parse(*topic, bytes).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let get = |key| field(description, key);
        let what = match &event {
            Event::Link(link) => {
                assert_eq!(get("IFNAME"), Some(&*link.name), "{description}");
                assert_eq!(get("MTU"), Some(link.mtu.to_string().as_str()), "{description}");
                assert_eq!(get("ADDRESS"), link.mac.map(|mac| mac.to_string()).as_deref(), "{description}");
                assert_eq!(get("MASTER"), link.master.map(|master| master.to_string()).as_deref());
                let kind = match &link.kind {
                    LinkKind::Loopback => None,
                    LinkKind::Tun => Some("tun"),
                    LinkKind::Bridge => Some("bridge"),
                    LinkKind::Vxlan(_) => Some("vxlan"),
                    LinkKind::Macvlan { .. } => Some("macvlan"),
                    LinkKind::Unsupported(name) => Some(&**name),
                    other => panic!("not in the recording: {other:?}"),
                };
                assert_eq!(get("KIND"), kind);
                "link"
            }
            Event::LinkGone(gone) => {
                assert_eq!(get("ifindex"), Some(gone.to_string().as_str()));
                "link gone"
            }
            Event::BridgePort(port) => {
                assert_eq!(get("MASTER"), Some(port.bridge.to_string().as_str()));
                assert!(port.state.is_some());
                "bridge port"
            }
            Event::BridgePortGone(_) => "bridge port gone",
            Event::Address(address) | Event::AddressGone(address) => {
                assert_eq!(get("ADDRESS"), Some(address.address.addr().to_string().as_str()));
                assert_eq!(get("plen"), Some(address.address.prefix_len().to_string().as_str()));
                "address"
            }
            Event::Route(route, _) | Event::RouteGone(route) => {
                let destination = route.prefix.addr().to_string();
                assert_eq!(get("DST").unwrap_or(&destination), destination);
                assert_eq!(get("dst_len"), Some(route.prefix.prefix_len().to_string().as_str()));
                assert_eq!(get("TABLE"), Some(route.table.to_string().as_str()));
                assert_eq!(get("PRIORITY").unwrap_or("0"), route.metric.0.to_string());
                match &route.target {
                    RouteTarget::Forward(paths) if get("MULTIPATH").is_none() => {
                        assert_eq!(get("OIF"), paths[0].interface.map(|index| index.to_string()).as_deref());
                        let gateway = match paths[0].via {
                            Via::Gateway(gateway) => Some(gateway.to_string()),
                            _ => None,
                        };
                        assert_eq!(get("GATEWAY"), gateway.as_deref(), "{description}");
                    }
                    _ => {}
                }
                "route"
            }
            Event::Neighbor(neighbor) | Event::NeighborGone(neighbor) => {
                assert_eq!(get("DST"), Some(neighbor.address.to_string().as_str()));
                assert_eq!(get("LLADDR"), neighbor.mac.map(|mac| mac.to_string()).as_deref());
                "neighbor"
            }
            Event::Fdb(entry) | Event::FdbGone(entry) => {
                assert_eq!(get("LLADDR"), Some(entry.mac.to_string().as_str()));
                "fdb"
            }
            Event::Netconf(netconf) => {
                let forwarding = netconf.forwarding.map(|on| u8::from(on).to_string());
                assert_eq!(get("FORWARDING"), forwarding.as_deref());
                "netconf"
            }
            Event::Proxy(_) | Event::ProxyGone(_) => "proxy",
            Event::Ignored(_) => "ignored",
        };
        *seen.entry(what).or_insert(0) += 1;
    }
    for what in [
        "link",
        "link gone",
        "bridge port",
        "bridge port gone",
        "address",
        "route",
        "neighbor",
        "fdb",
        "netconf",
    ] {
        assert!(seen.contains_key(what), "{what} is not in the recording: {seen:?}");
    }
}

#[test]
fn the_recorded_multipath_route_has_its_weights() {
    let recorded = recorded();
    let (_, bytes, _) =
        recorded.iter().find(|(name, ..)| name == "route 10.0.0.0/8 0 254").expect("recorded");
    let Ok(Event::Route(route, placement)) = parse(Topic::Route, bytes) else { panic!("a route") };
    assert_eq!(placement, Placement::Replace);
    let paths =
        vec![path(2, Via::Gateway(ip4(192, 0, 2, 2)), 1), path(3, Via::Gateway(ip4(198, 51, 100, 2)), 3)];
    assert_eq!(route.target, RouteTarget::Forward(paths));
}

#[test]
fn the_synthetic_deletion_of_a_purged_port_is_understood_with_its_odd_length() {
    // 62 bytes, IFLA_IFNAME without padding, hardware type 0 (protocol page, 7.2).
    let mut bytes = Message::link_flags(DELLINK, 0, 0, 3, 0).text(3, "dp0p3s0f1").bytes();
    let mut padded = vec![0; 16];
    bytes.append(&mut padded);
    bytes.truncate(32 + 4 + 10);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    assert_ne!(bytes.len() % 4, 0);
    assert_eq!(parse(Topic::Link, &bytes), Ok(Event::LinkGone(index(3))));
}

#[test]
fn link_kinds_follow_hardware_type_and_kind() {
    let kind = |hardware: u16, kind: Option<&str>, data: &[(u16, &[u8])]| {
        let message = Message::link(NEWLINK, 0, hardware, 9).text(3, "x0").u32(4, 1500).u32(5, 2);
        let message = match kind {
            Some(kind) => message.link_info(kind, data),
            None => message,
        };
        match parse(Topic::Link, &message.bytes()) {
            Ok(Event::Link(link)) => link.kind,
            other => panic!("{other:?}"),
        }
    };
    let unsupported = |name: &str| LinkKind::Unsupported(name.into());
    assert_eq!(kind(772, None, &[]), LinkKind::Loopback);
    assert_eq!(kind(1, Some("tun"), &[]), LinkKind::Tun);
    assert_eq!(kind(0xfffe, Some("tun"), &[]), LinkKind::Tun);
    let vlan = |id: u16, protocol| LinkKind::Vlan {
        parent: index(2),
        id: VlanId::new(id).expect("valid"),
        protocol,
    };
    let id = 100u16.to_ne_bytes();
    assert_eq!(kind(1, Some("vlan"), &[(1, &id)]), vlan(100, TagProtocol::Dot1Q));
    assert_eq!(kind(1, Some("vlan"), &[(1, &id), (5, &[0x88, 0xa8])]), vlan(100, TagProtocol::Dot1Ad));
    assert_eq!(kind(1, Some("macvlan"), &[]), LinkKind::Macvlan { parent: index(2) });
    assert_eq!(kind(1, Some("bridge"), &[]), LinkKind::Bridge);
    assert_eq!(kind(1, Some("vrf"), &[(1, &1000u32.to_ne_bytes())]), LinkKind::Vrf { table: TableId(1000) });
    let vxlan = kind(
        1,
        Some("vxlan"),
        &[(1, &7u32.to_ne_bytes()), (2, &[192, 0, 2, 9]), (15, &4789u16.to_be_bytes()), (7, &[0])],
    );
    let expected = Vxlan {
        vni: 7,
        remote: Some(ip4(192, 0, 2, 9)),
        local: None,
        port: 4789,
        parent: None,
        learning: false,
    };
    assert_eq!(vxlan, LinkKind::Vxlan(expected));
    for name in ["gretap", "ip6gretap", "team", "dummy", "ifb"] {
        assert_eq!(kind(1, Some(name), &[]), unsupported(name));
    }
    assert_eq!(kind(1, None, &[]), unsupported("ethernet"));
    assert_eq!(kind(512, None, &[]), unsupported("ppp"));
    assert_eq!(kind(778, Some("gre"), &[]), unsupported("gre"));
    assert_eq!(kind(823, None, &[]), unsupported("ip6gre"));
    assert_eq!(kind(768, Some("vti"), &[]), unsupported("vti"));
    assert_eq!(kind(769, None, &[]), unsupported("ip6tnl"));
    assert_eq!(kind(776, None, &[]), unsupported("sit"));
    assert_eq!(kind(24, None, &[]), unsupported("hardware type 24"));
}

#[test]
fn ipv6_link_state_is_no_link() {
    let message = Message::link(NEWLINK, AF_INET6, 1, 2).text(3, "dp0p0s4").bytes();
    assert_eq!(parse(Topic::Link, &message), Ok(Event::Ignored(Ignored::Ip6LinkState)));
}

#[test]
fn leaving_a_bridge_is_not_leaving_the_system() {
    let message = Message::link(DELLINK, AF_BRIDGE, 1, 4).u32(10, 5).bytes();
    assert_eq!(parse(Topic::BridgeLink, &message), Ok(Event::BridgePortGone(index(4))));
    assert_eq!(parse(Topic::Link, &message), Ok(Event::BridgePortGone(index(4))));
}

#[test]
fn a_peer_address_is_a_host_prefix_and_the_peer() {
    let message =
        Message::address(NEWADDR, AF_INET, 30, 0, 2).ip(1, ip4(10, 0, 0, 2)).ip(2, ip4(10, 0, 0, 1)).bytes();
    let Ok(Event::Address(address)) = parse(Topic::Address, &message) else { panic!("an address") };
    assert_eq!((address.address, address.peer), (net("10.0.0.1/32"), Some(net("10.0.0.2/30"))));
}

#[test]
fn route_types_and_what_only_the_host_can_send() {
    let prefix = (ip4(10, 1, 0, 0), 16);
    let of = |rtn| {
        let message = Message::route_of(NEWROUTE, CREATE, prefix, 254, 0, rtn).u32(4, 2);
        match parse(Topic::Route, &message.bytes()) {
            Ok(Event::Route(route, _)) => Ok(route.target),
            Ok(Event::Ignored(reason)) => Err(reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(1), Ok(RouteTarget::Forward(vec![path(2, Via::Link, 1)])));
    assert_eq!(of(2), Ok(RouteTarget::Local));
    assert_eq!(of(6), Ok(RouteTarget::Blackhole));
    assert_eq!(of(7), Ok(RouteTarget::Unreachable));
    assert_eq!(of(8), Ok(RouteTarget::Prohibit));
    for rtn in [3, 4, 5, 9, 10, 11] {
        assert_eq!(of(rtn), Err(Ignored::RouteType));
    }

    let first = |message: Message| match parse(Topic::Route, &message.bytes()) {
        Ok(Event::Route(Route { target: RouteTarget::Forward(paths), .. }, _)) => paths[0],
        other => panic!("{other:?}"),
    };
    let route = || Message::route(NEWROUTE, CREATE, prefix, 254);
    let host = |reason| Via::Host(reason);
    assert_eq!(first(route()), path(0, host(HostOnly::NoInterface), 1));
    let gateway = route().u32(4, 2).ip(5, ip4(192, 0, 2, 1));
    assert_eq!(first(gateway.clone()), path(2, Via::Gateway(ip4(192, 0, 2, 1)), 1));
    assert_eq!(first(gateway.attribute(22, &[8, 0, 1, 0, 0, 0, 0, 0])).via, host(HostOnly::Encapsulation));
    let mut via6 = 10u16.to_ne_bytes().to_vec();
    via6.extend([0xfe; 16]);
    assert_eq!(first(route().u32(4, 2).attribute(18, &via6)).via, host(HostOnly::GatewayFamily));
    let via4 = [&2u16.to_ne_bytes()[..], &[192, 0, 2, 7]].concat();
    assert_eq!(first(route().u32(4, 2).attribute(18, &via4)).via, Via::Gateway(ip4(192, 0, 2, 7)));
}

#[test]
fn on_link_gateways_keep_their_flag_in_both_forms() {
    let mut single = Message::route(NEWROUTE, CREATE, (ip4(10, 1, 0, 0), 16), 254).u32(4, 2).bytes();
    single[16 + 8] = 4;
    let multipath = Message::route(NEWROUTE, CREATE, (ip4(10, 1, 0, 0), 16), 254)
        .multipath(&[(2, Some(ip4(192, 0, 2, 1)), 255)])
        .bytes();
    let mut flagged = multipath.clone();
    let flags = multipath.len() - 8 - 8 + 2;
    flagged[flags] = 4;
    for (bytes, onlink) in [(single, true), (multipath, false), (flagged, true)] {
        match parse(Topic::Route, &bytes) {
            Ok(Event::Route(Route { target: RouteTarget::Forward(paths), .. }, _)) => {
                assert_eq!(paths[0].onlink, onlink);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_concerns_no_table_is_ignored_with_a_reason() {
    let route = |prefix| Message::route(NEWROUTE, CREATE, prefix, 254).u32(4, 2).bytes();
    let reason = |bytes: &[u8]| match parse(Topic::Route, bytes) {
        Ok(Event::Ignored(reason)) => Some(reason),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    };
    for host in [
        (ip4(127, 0, 0, 0), 8),
        (ip4(127, 0, 0, 1), 32),
        (ip6("::1"), 128),
        (ip6("fe80::"), 64),
        (ip6("ff00::"), 8),
    ] {
        assert_eq!(reason(&route(host)), Some(Ignored::HostPrefix), "{host:?}");
    }
    for table in [(ip4(126, 0, 0, 0), 8), (ip4(0, 0, 0, 0), 0), (ip6("::"), 0), (ip6("2001:db8::"), 32)] {
        assert_eq!(reason(&route(table)), None, "{table:?}");
    }
    let with = |at: usize, value: u8| {
        let mut bytes = route((ip4(10, 0, 0, 0), 8));
        bytes[16 + at] = value;
        bytes
    };
    assert_eq!(reason(&with(2, 64)), Some(Ignored::SourceRoute));
    assert_eq!(reason(&with(3, 8)), Some(Ignored::TypeOfService));
    assert_eq!(reason(&with(9, 2)), Some(Ignored::Cloned));
    assert_eq!(reason(&with(0, 28)), Some(Ignored::Mpls));
    assert_eq!(reason(&with(0, 128)), Some(Ignored::MulticastRoute));
}

#[test]
fn proxies_and_bridge_entries_are_no_neighbors() {
    let mac = [2, 0, 0, 0, 0, 9];
    let proxy = Message::neighbor(NEWNEIGH, AF_INET, 2, 0x80, 8).ip(1, ip4(192, 0, 2, 77)).bytes();
    let expected = ProxyNeighbor { index: index(2), address: ip4(192, 0, 2, 77) };
    assert_eq!(parse(Topic::Neighbor, &proxy), Ok(Event::Proxy(expected)));
    let fdb = Message::neighbor(DELNEIGH, AF_BRIDGE, 4, 0x80, 2)
        .attribute(2, &mac)
        .attribute(5, &100u16.to_ne_bytes())
        .ip(1, ip4(203, 0, 113, 1))
        .bytes();
    let expected = FdbEntry {
        index: index(4),
        mac: MacAddr(mac),
        vlan: VlanId::new(100),
        remote: Some(ip4(203, 0, 113, 1)),
    };
    assert_eq!(parse(Topic::Neighbor, &fdb), Ok(Event::FdbGone(expected)));
}

#[test]
fn netconf_says_only_what_it_contains() {
    let message = Message::netconf(NEWNETCONF, AF_INET, 2).u32(3, 2).bytes();
    let expected = Netconf {
        index: index(2),
        family: NetconfFamily::Ip4,
        forwarding: None,
        rp_filter: Some(RpFilter::Loose),
        multicast_forwarding: None,
        proxy: None,
    };
    assert_eq!(parse(Topic::Netconf, &message), Ok(Event::Netconf(expected)));
    for all in [-1, -2] {
        let message = Message::netconf(NEWNETCONF, AF_INET, all).u32(2, 1).bytes();
        assert_eq!(parse(Topic::Netconf, &message), Ok(Event::Ignored(Ignored::NetconfScope)));
    }
}

#[test]
fn errors_say_what_where_and_what_was_expected() {
    let error = |topic, bytes: &[u8]| parse(topic, bytes).expect_err("malformed").to_string();
    let route = || Message::route(NEWROUTE, CREATE, (ip4(10, 0, 0, 0), 8), 254);
    let bytes = route().bytes();
    assert_eq!(error(Topic::Route, &[]), "nlmsghdr at offset 0: found 0 bytes, expected at least 16");
    assert_eq!(
        error(Topic::Route, &bytes[..40]),
        "nlmsg_len is 44: expected 16 to 40, the size of the frame"
    );
    assert_eq!(
        error(Topic::Link, &bytes),
        "topic 'link' carries netlink type 24: expected 16 or 17 (RTM_NEWLINK, RTM_DELLINK)"
    );
    let short = route().attribute(4, &[1, 2]).bytes();
    assert_eq!(error(Topic::Route, &short), "RTA_OIF at offset 48: found 2 bytes, expected 4");
    let mut overlong = route().u32(4, 2).bytes();
    overlong[44] = 200;
    assert_eq!(
        error(Topic::Route, &overlong),
        "attribute 4 at offset 44 has the length 200: expected 4 to 8"
    );
    let mut length = bytes.clone();
    length[17] = 33;
    assert_eq!(error(Topic::Route, &length), "rtm_dst_len at offset 17: found 33, expected 0 to 32");
    let hop = route().attribute(9, &[7, 0, 0, 0, 1, 0, 0, 0]).bytes();
    assert_eq!(
        error(Topic::Route, &hop),
        "rtnh_len at offset 48: found 7, expected 8 to what is left of RTA_MULTIPATH"
    );
    let nameless = Message::link(NEWLINK, 0, 1, 3).u32(4, 1500).bytes();
    assert_eq!(error(Topic::Link, &nameless), "link without IFLA_IFNAME");
    let none = Message::link(DELLINK, 0, 1, 0).bytes();
    assert_eq!(
        error(Topic::Link, &none),
        "ifi_index at offset 20: found 0, expected the index of an interface"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), topic in 0..Topic::ALL.len()) {
        let _ = parse(Topic::ALL[topic], &bytes);
    }

    /// Damage that gets past the headers: recorded messages with bytes changed and the end cut off, their length set right again.
    #[test]
    fn damaged_messages_never_panic(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0..40u8]), 1..6),
        cut in 0..64usize,
        keep_length in any::<bool>(),
        any_topic in prop::option::of(0..Topic::ALL.len()),
    ) {
        thread_local!(static RECORDED: Vec<(Topic, Vec<u8>, String)> = understood());
        RECORDED.with(|recorded| {
            let (topic, bytes, _) = &recorded[which.index(recorded.len())];
            let mut bytes = bytes.clone();
            for (at, value) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut).max(16));
            if keep_length {
                let length = bytes.len() as u32;
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
            }
            let topic = any_topic.map_or(*topic, |at| Topic::ALL[at]);
            let _ = parse(topic, &bytes);
        });
    }

    /// What is understood at all is understood fully: no accepted prefix has host bits, and no path set is empty.
    #[test]
    fn accepted_routes_are_well_formed(header in any::<[u8; 12]>(), attributes in prop::collection::vec((0..32u16, prop::collection::vec(any::<u8>(), 0..20)), 0..6)) {
        let mut header = header;
        header[0] = if header[0] & 1 == 0 { 2 } else { 10 };
        let mut message = Message::new(NEWROUTE, 0, &header);
        for (kind, value) in attributes {
            message = message.attribute(kind, &value);
        }
        if let Ok(Event::Route(route, _)) = parse(Topic::Route, &message.bytes()) {
            prop_assert_eq!(route.prefix, route.prefix.trunc());
            if let RouteTarget::Forward(paths) = &route.target {
                prop_assert!(!paths.is_empty());
                for path in paths {
                    let family_fits = match path.via {
                        Via::Gateway(IpAddr::V4(_)) => route.prefix.addr().is_ipv4(),
                        Via::Gateway(IpAddr::V6(_)) => route.prefix.addr().is_ipv6(),
                        _ => true,
                    };
                    prop_assert!(family_fits);
                }
            }
        }
    }
}
