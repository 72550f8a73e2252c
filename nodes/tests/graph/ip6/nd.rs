// SPDX-License-Identifier: Apache-2.0
//! ip6-nd-input: solicitations answered, neighbours learned, and what is not believed.

use std::net::{IpAddr, Ipv6Addr};

use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{
    Icmp6Header, Icmp6Type, LinkAddressOption, MacAddr, NeighborMessage, multicast_mac, solicited_node,
};
use weft_nodes::neighbor::{Evidence, GroupQuery, NeighborNotice, PrefixSays, RouterSays};
use weft_testing::{Bed, Port, ip6};
use zerocopy::IntoBytes;

use super::bed;

/// A message about `target`, with an option if there is a MAC address to put into one.
fn message(packet: Packet, kind: Icmp6Type, flags: u32, target: Ipv6Addr, mac: Option<MacAddr>) -> Packet {
    let option_kind = match kind {
        Icmp6Type::NEIGHBOR_SOLICITATION => LinkAddressOption::SOURCE,
        _ => LinkAddressOption::TARGET,
    };
    let option = mac.map(|mac| LinkAddressOption::new(option_kind, mac).as_bytes().to_vec());
    let body = [&target.octets()[..], &option.unwrap_or_default()].concat();
    packet.hop_limit(255).icmp6(Icmp6Header::new(kind, 0, flags)).payload(&body)
}

fn solicitation(packet: Packet, target: Ipv6Addr, mac: Option<MacAddr>) -> Packet {
    message(packet, Icmp6Type::NEIGHBOR_SOLICITATION, 0, target, mac)
}

fn asked(port: Port, from: Ipv6Addr, target: Ipv6Addr, mac: Option<MacAddr>) -> Packet {
    let group = solicited_node(target);
    let frame = port.incoming().macs(port.peer_mac, multicast_mac(group)).ipv6(from, group);
    solicitation(frame, target, mac)
}

const OURS: u32 = NeighborMessage::ROUTER | NeighborMessage::OVERRIDE;

fn answer(port: Port, to: Ipv6Addr, target: Ipv6Addr, flags: u32) -> Vec<u8> {
    let frame = port.outgoing().ipv6(target, to);
    message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, flags, target, Some(port.mac)).build()
}

fn learned(port: Port, address: Ipv6Addr, evidence: Evidence) -> NeighborNotice {
    let address = IpAddr::V6(address);
    NeighborNotice::Learned { interface: port.index, address, mac: port.peer_mac, evidence }
}

#[test]
fn who_asks_for_our_address_is_answered_and_learned() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let solicited = NeighborMessage::SOLICITED;
    let peer = ip6("2001:db8::7");
    for (from, target) in
        [(peer, p0.address6), (ip6("fe80::7"), p0.link_local), (ip6("fe80::8"), p0.address6)]
    {
        bed.pass(0, &asked(p0, from, target, Some(p0.peer_mac)));
        assert_eq!(bed.only(0), answer(p0, from, target, OURS | solicited));
        bed.counted(&[("ip6-nd-input/advertisements_sent", 1)]);
        assert_eq!(bed.notices(), [learned(p0, from, Evidence::ToUs)]);
    }
    // Asked as a single station, without its MAC address: the frame says it.
    bed.pass(0, &solicitation(p0.incoming().ipv6(peer, p0.address6), p0.address6, None));
    assert_eq!(bed.only(0), answer(p0, peer, p0.address6, OURS | solicited));
    assert_eq!(bed.notices(), []);
    // The address of all routers of the subnet: another one may have answered.
    bed.pass(0, &asked(p0, peer, ip6("2001:db8::"), Some(p0.peer_mac)));
    assert_eq!(bed.only(0), answer(p0, peer, ip6("2001:db8::"), NeighborMessage::ROUTER | solicited));
}

#[test]
fn tags_of_a_solicitation_are_those_of_the_answer() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let tags = weft_nodes::interface::Tags {
        outer: weft_nodes::headers::VlanId::new(10).map(|id| (weft_nodes::headers::EtherType::VLAN, id)),
        inner: None,
    };
    let sub = bed.interfaces.create_sub(&mut bed.engine, p0.index, 10, tags).unwrap();
    bed.change(sub, |sub| sub.admin_up = true);
    bed.address6(sub, "2001:db8:10::1/64");
    let (us, them) = (ip6("2001:db8:10::1"), ip6("2001:db8:10::2"));
    let group = solicited_node(us);
    let frame = ethernet().macs(p0.peer_mac, multicast_mac(group)).vlan(10).ipv6(them, group);
    bed.pass(0, &solicitation(frame, us, Some(p0.peer_mac)));
    let flags = OURS | NeighborMessage::SOLICITED;
    let reply = p0.outgoing().vlan(10).ipv6(us, them);
    let reply = message(reply, Icmp6Type::NEIGHBOR_ADVERTISEMENT, flags, us, Some(p0.mac));
    assert_eq!(bed.only(0), reply.build());
    assert_eq!(bed.interface(sub).tx, 1);
}

/// RFC 4862 section 5.4.3.
#[test]
fn who_tries_our_address_is_told_that_it_is_taken() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let group = solicited_node(p0.address6);
    let probe = p0.incoming().macs(p0.peer_mac, multicast_mac(group)).ipv6(Ipv6Addr::UNSPECIFIED, group);
    bed.pass(0, &solicitation(probe, p0.address6, None));
    let all = ip6("ff02::1");
    let frame = ethernet().macs(p0.mac, multicast_mac(all)).ipv6(p0.address6, all);
    let told = message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, OURS, p0.address6, Some(p0.mac));
    assert_eq!(bed.only(0), told.build());
    assert_eq!(bed.notices(), [], "it has no address to learn");
}

#[test]
fn an_advertisement_changes_what_is_known() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let (host, other) = (ip6("2001:db8::7"), MacAddr([2, 0, 0, 0, 0, 9]));
    let told = |bed: &mut Bed, flags, mac| {
        let frame = p0.incoming().ipv6(host, p0.address6);
        bed.pass(0, &message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, flags, host, Some(mac)));
        bed.hear();
        bed.counted(&[("ip6-nd-input/noted", 1)]);
        bed.router.neighbors().get(p0.index, host.into()).and_then(|neighbor| neighbor.state.mac())
    };
    let (solicited, replaces) = (NeighborMessage::SOLICITED, NeighborMessage::OVERRIDE);
    assert_eq!(told(&mut bed, solicited | replaces, p0.peer_mac), None, "nobody has asked");
    let wanted = NeighborNotice::Wanted { interface: p0.index, address: host.into() };
    bed.router.notice(&mut bed.engine, &bed.interfaces, wanted);
    bed.run();
    bed.sent(0);
    assert_eq!(told(&mut bed, solicited, p0.peer_mac), Some(p0.peer_mac), "asked for");
    assert_eq!(told(&mut bed, solicited, other), Some(p0.peer_mac), "it does not override");
    assert_eq!(told(&mut bed, replaces, other), Some(other), "it does");
}

#[test]
fn another_station_with_our_address_is_a_conflict() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    for target in [p0.address6, p0.link_local] {
        let frame = p0.incoming().ipv6(target, p0.address6);
        let claim = message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, 0, target, Some(p0.peer_mac));
        bed.dies(0, &claim.build(), "ip6-nd-input/address_conflict");
        let (interface, address) = (p0.index, IpAddr::V6(target));
        assert_eq!(bed.notices(), [NeighborNotice::Conflict { interface, address, mac: p0.peer_mac }]);
    }
    bed.dies(
        0,
        &asked(p0, p0.address6, p0.peer6, Some(p0.peer_mac)).build(),
        "ip6-nd-input/address_conflict",
    );
    // What comes back to us is no station of its own.
    let looped = p0.incoming().macs(p0.mac, multicast_mac(solicited_node(p0.peer6)));
    let looped = looped.ipv6(p0.address6, solicited_node(p0.peer6));
    bed.dies(0, &solicitation(looped, p0.peer6, Some(p0.mac)).build(), "ip6-nd-input/own_packet");
}

/// RFC 4861 section 7.1.
#[test]
fn messages_that_are_not_valid_end_here() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let good = asked(p0, ip6("2001:db8::7"), p0.address6, Some(p0.peer_mac)).build();
    // Bytes that are changed, and whether the checksum is to be right after that.
    let mut dies = |reason: &str, changes: &[(usize, u8)], length: usize| {
        let mut frame = good.clone();
        frame.truncate(14 + 40 + length);
        frame[14 + 5] = length as u8;
        for (at, byte) in changes {
            frame[14 + at] = *byte;
        }
        if reason != "bad_checksum" {
            frame[14 + 42..14 + 44].fill(0);
            let (ip, body) = frame[14..].split_at(40);
            let pseudo = [&ip[8..40], &[0, 0, 0, length as u8, 0, 0, 0, 58], body].concat();
            let sum = weft_nodes::headers::checksum::of(&pseudo).to_be_bytes();
            frame[14 + 42..14 + 44].copy_from_slice(&sum);
        }
        bed.dies(0, &frame, &format!("ip6-nd-input/{reason}"));
    };
    dies("bad_hop_limit", &[(7, 254)], 32);
    dies("bad_checksum", &[(43, 1)], 32);
    dies("bad_code", &[(41, 1)], 32);
    dies("too_short", &[], 20);
    dies("bad_option", &[(65, 0)], 32);
    dies("bad_option", &[(65, 2)], 32);
    dies("bad_option", &[], 31);
    dies("bad_message", &[(48, 0xff)], 32);
    // A probe with a MAC address, and a group as somebody's MAC address.
    let unspecified: Vec<_> = (8..24).map(|at| (at, 0)).collect();
    dies("bad_message", &unspecified, 32);
    dies("bad_message", &[(66, 1)], 32);
    let to_all =
        p0.incoming().macs(p0.peer_mac, multicast_mac(ip6("ff02::1"))).ipv6(p0.peer6, ip6("ff02::1"));
    let solicited = message(
        to_all,
        Icmp6Type::NEIGHBOR_ADVERTISEMENT,
        NeighborMessage::SOLICITED,
        p0.peer6,
        Some(p0.peer_mac),
    );
    bed.dies(0, &solicited.build(), "ip6-nd-input/bad_message");
}

#[test]
fn strangers_teach_nothing() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let far = ip6("2001:db8:5::7");
    bed.dies(0, &asked(p0, far, p0.address6, Some(p0.peer_mac)).build(), "ip6-nd-input/sender_not_local");
    bed.dies(
        0,
        &asked(p0, p0.peer6, ip6("2001:db8::99"), Some(p0.peer_mac)).build(),
        "ip6-nd-input/not_for_us",
    );
    let frame = p0.incoming().ipv6(p0.peer6, p0.address6);
    let silent = message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, OURS, p0.peer6, None);
    bed.dies(0, &silent.build(), "ip6-nd-input/no_link_address");
    assert_eq!(bed.notices(), [learned(p0, p0.peer6, Evidence::Overheard)]);
}

#[test]
fn a_host_hears_what_may_be_meant_for_it() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let for_host = asked(p0, p0.peer6, ip6("fe80::99"), Some(p0.peer_mac));
    let frame = p0.incoming().ipv6(p0.peer6, p0.address6);
    let told = message(frame, Icmp6Type::NEIGHBOR_ADVERTISEMENT, OURS, p0.peer6, Some(p0.peer_mac));
    for frame in [for_host, told] {
        bed.pass(0, &frame);
        assert_eq!(bed.punted(0), [frame.build()]);
    }
    bed.pass(0, &asked(p0, p0.peer6, p0.address6, Some(p0.peer_mac)));
    assert!(bed.punted(0).is_empty(), "answered here");
    assert_eq!(bed.sent(0).len(), 1);
}

/// RFC 4389: for a station that is reached by another interface, and for nobody else.
#[test]
fn a_proxy_answers_for_who_is_elsewhere() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let ask = |target| asked(p0, p0.peer6, target, Some(p0.peer_mac));
    bed.dies(0, &ask(p1.peer6).build(), "ip6-nd-input/not_for_us");
    bed.change(p0.index, |interface| interface.proxy_nd = true);
    bed.pass(0, &ask(p1.peer6));
    assert_eq!(bed.only(0), answer(p0, p0.peer6, p1.peer6, NeighborMessage::SOLICITED));
    bed.counted(&[("ip6-nd-input/proxy_advertisements_sent", 1)]);
    for here in ["2001:db8::99", "fe80::99", "2001:db8:5::1"] {
        bed.dies(0, &ask(ip6(here)).build(), "ip6-nd-input/not_for_us");
    }
}

#[test]
fn questions_for_routers_and_groups_are_told_to_the_main_thread() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let interface = p0.index;
    let all = |group: &str| p0.incoming().macs(p0.peer_mac, multicast_mac(ip6(group)));
    let routers = |from, hops| {
        let frame = all("ff02::2").ipv6(ip6(from), ip6("ff02::2")).hop_limit(hops);
        frame.icmp6(Icmp6Header::new(Icmp6Type::ROUTER_SOLICITATION, 0, 0)).build()
    };
    for (text, from) in [("fe80::7", Some((ip6("fe80::7"), p0.peer_mac))), ("::", None)] {
        bed.dies(0, &routers(text, 255), "ip6-nd-input/noted");
        bed.time_passes(std::time::Duration::from_secs(1));
        assert_eq!(bed.notices(), [NeighborNotice::RouterAsked { interface, from }]);
    }
    bed.dies(0, &routers("fe80::7", 254), "ip6-nd-input/bad_hop_limit");
    // MLD, behind a router alert as it comes: the group that is asked for, and what version 2 has behind it.
    let ask = |from: &str, hops, code: u32, (group, rest): (&str, &[u8])| {
        let message = ethernet()
            .ipv6(ip6(from), ip6("ff02::1"))
            .icmp6(Icmp6Header::new(Icmp6Type::MEMBERSHIP_QUERY, 0, code << 16))
            .payload(&[&ip6(group).octets(), rest].concat())
            .build();
        let bytes = [&[58, 0, 5, 2, 0, 0, 1, 0][..], &message[54..]].concat();
        let frame = all("ff02::1").ipv6(ip6(from), ip6("ff02::1")).hop_limit(hops);
        frame
            .ipv6_with(|ip| ip.next_header = weft_nodes::headers::IpProtocol::HOP_BY_HOP)
            .payload(&bytes)
            .build()
    };
    let query = |from: &str, hops| ask(from, hops, 1000, ("::", &[0; 4]));
    // RFC 3810 section 8.1: 24 bytes are of version 1, 28 and more of version 2. Section 5.1.3: times with an exponent.
    let solicited = "ff02::1:ff00:1";
    for (code, group, rest, within, version1) in [
        (1000, "::", &[0; 4][..], 1000, false),
        (1000, "::", &[][..], 1000, true),
        (0x8000, solicited, &[0; 4][..], 0x1000 << 3, false),
        (0xffff, "::", &[0; 8][..], 0x1fff << 10, false),
        (0xffff, solicited, &[][..], 0xffff, true),
    ] {
        bed.dies(0, &ask("fe80::7", 1, code, (group, rest)), "ip6-nd-input/noted");
        let query = GroupQuery { group: ip6(group), version1, within };
        assert_eq!(bed.notices(), [NeighborNotice::GroupsAsked { interface, query }]);
    }
    bed.dies(0, &ask("fe80::7", 1, 0, ("::", &[0; 3])), "ip6-nd-input/bad_message");
    bed.dies(0, &ask("fe80::7", 1, 0, ("2001:db8::1", &[])), "ip6-nd-input/bad_message");
    bed.dies(0, &query("fe80::7", 2), "ip6-nd-input/bad_hop_limit");
    bed.dies(0, &query("2001:db8::7", 1), "ip6-nd-input/bad_message");
    assert_eq!(bed.notices(), []);
    bed.with_host(0);
    bed.receive_bytes(0, routers("fe80::7", 255));
    bed.run();
    assert_eq!(bed.punted(0).len(), 1, "the host may be a router too");
}

#[test]
fn what_other_routers_say_is_told_to_the_main_thread() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let interface = p0.index;
    // Hop limit, flags, lifetime, times; MAC address, MTU, an option that nobody knows, and two prefixes.
    let prefix = |length: u8, flags: u8, address: &str| {
        let times = [0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0];
        [&[3, 4, length, flags][..], &times, &ip6(address).octets()].concat()
    };
    let options = [
        vec![1, 1, 2, 0, 0, 0, 0, 9, 5, 1, 0, 0, 0, 0, 5, 220, 99, 1, 0, 0, 0, 0, 0, 0],
        prefix(64, 0xc0, "2001:db8:7::"),
        prefix(48, 0x80, "2001:db8:8:1::"),
    ]
    .concat();
    let advertisement = |from: &str, hops, code, options: &[u8]| {
        let all = p0.incoming().macs(p0.peer_mac, multicast_mac(ip6("ff02::1")));
        let header = Icmp6Header::new(Icmp6Type::ROUTER_ADVERTISEMENT, code, 64 << 24 | 0xc0 << 16 | 1800);
        let fixed = [[0, 0, 0, 5], [0, 0, 0, 6]].concat();
        let message = all.ipv6(ip6(from), ip6("ff02::1")).hop_limit(hops).icmp6(header);
        message.payload(&[&fixed, options].concat()).build()
    };
    bed.dies(0, &advertisement("fe80::9", 255, 0, &options), "ip6-nd-input/noted");
    let router = ip6("fe80::9");
    let says = RouterSays {
        hop_limit: 64,
        flags: 0xc0,
        lifetime: 1800,
        reachable: 5,
        retransmission: 6,
        prefixes: 2,
    };
    let heard = |prefix: &str, flags| {
        let says = PrefixSays { prefix: prefix.parse().unwrap(), flags, valid: 9, preferred: 8 };
        NeighborNotice::PrefixHeard { interface, router, says }
    };
    assert_eq!(
        bed.notices(),
        [
            NeighborNotice::RouterHeard { interface, router, says },
            heard("2001:db8:7::/64", 0xc0),
            heard("2001:db8:8::/48", 0x80),
        ]
    );
    // RFC 4861 section 6.1.2.
    for (frame, why) in [
        (advertisement("fe80::9", 254, 0, &options), "ip6-local-end-of-arc/multicast_no_host"),
        (advertisement("2001:db8::9", 255, 0, &options), "ip6-local-end-of-arc/multicast_no_host"),
        (advertisement("fe80::9", 255, 1, &options), "ip6-nd-input/bad_code"),
        (advertisement("fe80::9", 255, 0, &[1, 0, 0, 0, 0, 0, 0, 0]), "ip6-nd-input/bad_option"),
        (advertisement("fe80::9", 255, 0, &[1, 2, 0, 0, 0, 0, 0, 0]), "ip6-nd-input/bad_option"),
        (advertisement("fe80::9", 255, 0, &[1]), "ip6-nd-input/bad_option"),
    ] {
        bed.dies(0, &frame, why);
    }
    assert_eq!(bed.notices(), []);
    // The host may look for routers itself.
    bed.with_host(0);
    bed.receive_bytes(0, advertisement("fe80::9", 255, 0, &options));
    bed.run();
    assert_eq!(bed.punted(0).len(), 1);
}

#[test]
fn a_station_of_another_link_is_answered_for_where_its_subnet_is() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let station = ip6("2001:db8::99");
    let ask = |from: &Port, target| asked(*from, from.peer6, target, Some(from.peer_mac));
    bed.dies(0, &ask(&p0, station).build(), "ip6-nd-input/not_for_us");
    bed.change(p1.index, |interface| {
        interface.proxied.insert(station);
    });
    bed.pass(0, &ask(&p0, station));
    assert_eq!(bed.only(0), answer(p0, p0.peer6, station, NeighborMessage::SOLICITED));
    bed.counted(&[("ip6-nd-input/proxy_advertisements_sent", 1)]);
    // Not on its own link, and nobody else is answered for.
    bed.dies(1, &ask(&p1, station).build(), "ip6-nd-input/not_for_us");
    bed.dies(0, &ask(&p0, ip6("2001:db8::98")).build(), "ip6-nd-input/not_for_us");
    bed.change(p1.index, |interface| interface.proxied.clear());
    bed.dies(0, &ask(&p0, station).build(), "ip6-nd-input/not_for_us");
}
