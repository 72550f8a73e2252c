// SPDX-License-Identifier: Apache-2.0
//! What this host says to a link on which it speaks IPv6, as frames that a worker injects at the transmit node of the interface.
//!
//! The main thread decides when ([`crate::router`]): it asks whether an address is free (RFC 4862), says that it has it (RFC 4861
//! section 7.2.6), which groups it listens to (RFC 3810, so that switches deliver them), and what hosts need to find their way
//! out (RFC 4861 section 6.2).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use zerocopy::IntoBytes;

use super::nd::advertisement;
use super::{ALL_NODES, HOP_LIMIT};
use crate::headers::checksum::Sum;
use crate::headers::{
    EtherType, Icmp6Header, Icmp6Type, IpProtocol, Ipv6Header, LinkAddressOption, MacAddr, NeighborMessage,
    multicast_mac, solicited_node,
};
use crate::interface::{AddressFamily, AdvertisedPrefix, Ip6, RouterAdvertisements, Tags};

/// All routers that hear membership reports (RFC 3810 section 5.2.14).
const MEMBERSHIP_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// All routers of a link (RFC 4291 section 2.7.1).
pub(crate) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A frame to a station or a group: what is after the IPv6 header, and the ICMPv6 message at its end, of which the checksum is filled
/// in.
pub(super) fn frame(
    (mac, to): (MacAddr, MacAddr),
    tags: Tags,
    mut ip: Ipv6Header,
    before: &[u8],
    mut message: Vec<u8>,
) -> Vec<u8> {
    let length = message.len() as u32;
    let sum = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, length).bytes(&message).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip.payload_length.set((before.len() + message.len()) as u16);
    let mut frame = tags.header(to, mac, EtherType::IPV6);
    for part in [ip.as_bytes(), before, &message] {
        frame.extend_from_slice(part);
    }
    frame
}

/// Likewise to the group that the IPv6 header names.
fn group_frame(mac: MacAddr, tags: Tags, ip: Ipv6Header, before: &[u8], message: Vec<u8>) -> Vec<u8> {
    frame((mac, multicast_mac(ip.destination())), tags, ip, before, message)
}

/// Asks whether another station has an address.
pub fn probe_frame(mac: MacAddr, target: Ipv6Addr, tags: Tags) -> Vec<u8> {
    let mut ip = Ipv6Header::new(Ipv6Addr::UNSPECIFIED, solicited_node(target), IpProtocol::ICMPV6, 0);
    ip.hop_limit = HOP_LIMIT;
    let message = NeighborMessage::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, target);
    group_frame(mac, tags, ip, &[], message.as_bytes().to_vec())
}

/// Asks for routers (RFC 4861 section 6.3.7).
pub fn router_solicitation_frame(mac: MacAddr, link_local: Ipv6Addr, tags: Tags) -> Vec<u8> {
    let mut ip = Ipv6Header::new(link_local, ALL_ROUTERS, IpProtocol::ICMPV6, 0);
    ip.hop_limit = HOP_LIMIT;
    let mut message = Icmp6Header::new(Icmp6Type::ROUTER_SOLICITATION, 0, 0).as_bytes().to_vec();
    message.extend_from_slice(LinkAddressOption::new(LinkAddressOption::SOURCE, mac).as_bytes());
    group_frame(mac, tags, ip, &[], message)
}

/// Tells all stations where an address of ours is.
pub fn announcement_frame(mac: MacAddr, address: Ipv6Addr, tags: Tags) -> Vec<u8> {
    let flags = NeighborMessage::ROUTER | NeighborMessage::OVERRIDE;
    let mut frame = tags.header(multicast_mac(ALL_NODES), mac, EtherType::IPV6);
    frame.extend_from_slice(&advertisement((address, mac), ALL_NODES, flags));
    frame
}

/// What is said of a group (RFC 3810 section 5.2.12): all sources, which is to exclude none, or none at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    /// It is listened to: somebody has asked.
    Listens = 2,
    /// It is not listened to any more.
    Ends = 3,
    /// It is listened to from now on.
    Begins = 4,
}

/// The header of a message about groups, and the router alert in front of it (RFC 2711), with padding.
fn membership_header(link_local: Option<Ipv6Addr>, to: Ipv6Addr) -> (Ipv6Header, [u8; 8]) {
    let source = link_local.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let mut ip = Ipv6Header::new(source, to, IpProtocol::HOP_BY_HOP, 0);
    ip.hop_limit = 1;
    (ip, [IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0])
}

/// Says what becomes of groups, as MLD version 2 has it: in as many frames as it takes.
pub fn membership_frames(
    mac: MacAddr,
    link_local: Option<Ipv6Addr>,
    groups: &[(Ipv6Addr, Membership)],
    tags: Tags,
) -> Vec<Vec<u8>> {
    let (ip, alert) = membership_header(link_local, MEMBERSHIP_ROUTERS);
    let report = |groups: &[(Ipv6Addr, Membership)]| {
        let mut message = vec![Icmp6Type::MEMBERSHIP_REPORT.0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&(groups.len() as u16).to_be_bytes());
        for (group, membership) in groups {
            message.extend_from_slice(&[*membership as u8, 0, 0, 0]);
            message.extend_from_slice(&group.octets());
        }
        group_frame(mac, tags, ip, &alert, message)
    };
    groups.chunks(MOST_GROUPS).map(report).collect()
}

/// The same as MLD version 1 has it (RFC 2710 section 4): a frame for each group, to those who listen to it, or to all routers
/// when it ends.
pub fn membership_frames_1(
    mac: MacAddr,
    link_local: Option<Ipv6Addr>,
    groups: &[(Ipv6Addr, Membership)],
    tags: Tags,
) -> Vec<Vec<u8>> {
    let report = |&(group, membership): &(Ipv6Addr, Membership)| {
        let (kind, to) = match membership {
            Membership::Ends => (Icmp6Type::MEMBERSHIP_DONE_1, ALL_ROUTERS),
            Membership::Listens | Membership::Begins => (Icmp6Type::MEMBERSHIP_REPORT_1, group),
        };
        let (ip, alert) = membership_header(link_local, to);
        let mut message = Icmp6Header::new(kind, 0, 0).as_bytes().to_vec();
        message.extend_from_slice(&group.octets());
        group_frame(mac, tags, ip, &alert, message)
    };
    groups.iter().map(report).collect()
}

/// As many records of 20 bytes fit the least MTU.
const MOST_GROUPS: usize = 56;
/// Bytes of a router advertisement that fit it.
const MOST_SAID: usize = Ip6::MIN_MTU as usize - Ipv6Header::LENGTH;

/// What a router advertises.
#[derive(Clone, Debug)]
pub struct RouterAdvertisement<'a> {
    /// What is set.
    pub settings: &'a RouterAdvertisements,
    /// Of the link.
    pub mtu: u16,
    /// Subnets of the interface's addresses. What is set of a prefix goes before what follows from them.
    pub subnets: &'a [Ipv6Net],
    /// Whether it is the last one: this router is no way out any more, and resolves nothing.
    pub last: bool,
    /// Who has asked, and is answered alone; all stations otherwise.
    pub to: Option<(Ipv6Addr, MacAddr)>,
}

const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// Tells all stations, or the one that has asked. What does not fit the least MTU is left out: prefixes at the end of their order.
pub fn router_advertisement_frame(
    mac: MacAddr,
    link_local: Ipv6Addr,
    RouterAdvertisement { settings, mtu, subnets, last, to }: RouterAdvertisement<'_>,
    tags: Tags,
) -> Vec<u8> {
    let mut ip = Ipv6Header::new(link_local, to.map_or(ALL_NODES, |(host, _)| host), IpProtocol::ICMPV6, 0);
    ip.hop_limit = HOP_LIMIT;
    let lifetime = if last { 0 } else { settings.lifetime };
    let flag = |on, flag| if on { flag } else { 0 };
    let flags = flag(settings.managed, MANAGED) | flag(settings.other, OTHER);
    // Hop limit that hosts are to use; times as hosts have them.
    let mut message = vec![Icmp6Type::ROUTER_ADVERTISEMENT.0, 0, 0, 0, 64, flags];
    message.extend_from_slice(&lifetime.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    if settings.link_address {
        message.extend_from_slice(LinkAddressOption::new(LinkAddressOption::SOURCE, mac).as_bytes());
    }
    message.extend_from_slice(&[5, 1, 0, 0]);
    message.extend_from_slice(&u32::from(mtu).to_be_bytes());
    // Good until three could have been lost (RFC 8106 section 5.1).
    let resolves = if last { 0 } else { 3 * u32::from(settings.interval) };
    if !settings.resolvers.is_empty() {
        let addresses = settings.resolvers.iter().flat_map(Ipv6Addr::octets).collect();
        option(&mut message, 25, resolves, addresses);
    }
    if !settings.domains.is_empty() {
        let mut names = Vec::new();
        settings.domains.iter().for_each(|domain| domain.write(&mut names));
        option(&mut message, 31, resolves, names);
    }
    let of_subnets = subnets.iter().map(|subnet| (*subnet, AdvertisedPrefix::of_subnet(subnet.prefix_len())));
    let mut prefixes: BTreeMap<Ipv6Net, AdvertisedPrefix> = of_subnets.collect();
    prefixes.extend(&settings.prefixes);
    for (prefix, says) in prefixes.into_iter().filter(|(_, says)| says.advertised) {
        if message.len() + 32 > MOST_SAID {
            break;
        }
        let flags = flag(says.on_link, ON_LINK) | flag(says.autonomous, AUTONOMOUS);
        message.extend_from_slice(&[3, 4, prefix.prefix_len(), flags]);
        message.extend_from_slice(&says.valid.to_be_bytes());
        message.extend_from_slice(&says.preferred.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&prefix.network().octets());
    }
    let station = to.map_or_else(|| multicast_mac(ip.destination()), |(_, station)| station);
    frame((mac, station), tags, ip, &[], message)
}

/// An option about names: padded to units of 8 bytes, which its second byte counts.
fn option(message: &mut Vec<u8>, kind: u8, lifetime: u32, mut content: Vec<u8>) {
    content.resize(content.len().next_multiple_of(8), 0);
    message.extend_from_slice(&[kind, (1 + content.len() / 8) as u8, 0, 0]);
    message.extend_from_slice(&lifetime.to_be_bytes());
    message.append(&mut content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::walk_ip6;
    use zerocopy::FromBytes;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// The frame's station, its IPv6 header, and its message, whose checksum is right.
    fn take(frame: &[u8]) -> (MacAddr, Ipv6Header, Vec<u8>) {
        let (header, rest) = Ipv6Header::ref_from_prefix(&frame[14..]).unwrap();
        assert_eq!(usize::from(header.payload_length.get()), rest.len());
        let chain = walk_ip6(header.next_header, rest, 1).unwrap();
        let message = &rest[chain.length..];
        let sum = Sum::pseudo_header6(header, IpProtocol::ICMPV6, message.len() as u32).bytes(message);
        assert!(sum.is_valid());
        assert_eq!(frame[6..12], MAC.0);
        (MacAddr(frame[..6].try_into().unwrap()), *header, message.to_vec())
    }

    #[test]
    fn a_probe_is_from_nobody_to_who_may_have_the_address() {
        let (station, header, message) = take(&probe_frame(MAC, ip("2001:db8::a:b0c"), Tags::default()));
        assert_eq!(station, MacAddr([0x33, 0x33, 0xff, 0xa, 0xb, 0xc]));
        assert_eq!((header.source(), header.destination()), (ip("::"), ip("ff02::1:ff0a:b0c")));
        assert_eq!((header.hop_limit, message.len(), message[0]), (255, 24, 135));
    }

    #[test]
    fn an_announcement_overrides_what_all_stations_know() {
        let (station, header, message) = take(&announcement_frame(MAC, ip("2001:db8::1"), Tags::default()));
        assert_eq!((station, header.destination()), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ip("ff02::1")));
        // Type, code, checksum, router and override.
        assert_eq!((message[0], message[4]), (136, 0xa0));
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn a_report_says_what_becomes_of_each_group() {
        let groups = [
            (ip("ff02::2"), Membership::Begins),
            (ip("ff02::1:ff00:1"), Membership::Ends),
            (ip("ff02::1:ff00:2"), Membership::Listens),
        ];
        let frames = membership_frames(MAC, Some(ip("fe80::1")), &groups, Tags::default());
        let (station, header, message) = take(&frames[0]);
        assert_eq!((frames.len(), station), (1, MacAddr([0x33, 0x33, 0, 0, 0, 0x16])));
        assert_eq!((header.source(), header.hop_limit), (ip("fe80::1"), 1));
        // RFC 2711: router alert, the message is MLD.
        assert_eq!(frames[0][54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!((message[0], &message[4..8]), (143, &[0, 0, 0, 3][..]));
        let said: Vec<_> = message[8..].chunks(20).map(|record| (record[0], record[4..].to_vec())).collect();
        let expected = [(4, groups[0].0), (3, groups[1].0), (2, groups[2].0)];
        assert_eq!(said, expected.map(|(record, group)| (record, group.octets().to_vec())));
        // What one frame of the least MTU does not hold is in the next.
        let many: Vec<_> = (0..57)
            .map(|last| (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 9, last), Membership::Listens))
            .collect();
        let frames = membership_frames(MAC, None, &many, Tags::default());
        assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), [54 + 8 + 8 + 56 * 20, 54 + 8 + 8 + 20]);
    }

    #[test]
    fn version_1_says_one_group_to_those_who_listen_to_it() {
        let group = ip("ff02::1:ff00:1");
        for (membership, kind, to) in [
            (Membership::Listens, 131, group),
            (Membership::Begins, 131, group),
            (Membership::Ends, 132, ip("ff02::2")),
        ] {
            let frames =
                membership_frames_1(MAC, Some(ip("fe80::1")), &[(group, membership)], Tags::default());
            let (station, header, message) = take(&frames[0]);
            assert_eq!((header.destination(), station), (to, multicast_mac(to)));
            assert_eq!((header.hop_limit, &frames[0][54..62]), (1, &[58, 0, 5, 2, 0, 0, 1, 0][..]));
            assert_eq!((message.len(), message[0], &message[4..8]), (24, kind, &[0; 4][..]));
            assert_eq!(message[8..], group.octets());
        }
    }

    fn advertised(settings: &RouterAdvertisements, subnets: &[Ipv6Net], last: bool) -> Vec<u8> {
        let say = RouterAdvertisement { settings, mtu: 1500, subnets, last, to: None };
        let frame = router_advertisement_frame(MAC, ip("fe80::1"), say, Tags::default());
        let (station, header, message) = take(&frame);
        assert_eq!((header.source(), header.hop_limit, message[0]), (ip("fe80::1"), 255, 134));
        assert_eq!((header.destination(), station), (ip("ff02::1"), MacAddr([0x33, 0x33, 0, 0, 0, 1])));
        message
    }

    /// The options after the fixed part: each a kind and its bytes.
    fn options(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let (mut rest, mut found) = (&message[16..], Vec::new());
        while let [kind, units, ..] = *rest {
            let (option, after) = rest.split_at(usize::from(units) * 8);
            found.push((kind, option.to_vec()));
            rest = after;
        }
        found
    }

    #[test]
    fn an_advertisement_says_how_hosts_find_out() {
        let subnets = ["2001:db8::/64".parse().unwrap(), "2001:db8:7::/120".parse().unwrap()];
        let message = advertised(&RouterAdvertisements::default(), &subnets, false);
        // RFC 4861 section 4.2: hop limit, flags, lifetime, times; then MAC address, MTU and prefixes.
        assert_eq!(message[4..16], [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[16..32], [1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 220]);
        let prefixes: Vec<_> = message[32..].chunks(32).map(|option| option[..4].to_vec()).collect();
        assert_eq!(prefixes, [[3, 4, 64, 0xc0], [3, 4, 120, 0x80]]);
        assert_eq!(message[32 + 16..64], ip("2001:db8::").octets());
    }

    #[test]
    fn what_is_set_is_what_is_said() {
        let subnets = ["2001:db8::/64".parse().unwrap(), "2001:db8:7::/64".parse().unwrap()];
        let silent = AdvertisedPrefix { advertised: false, ..AdvertisedPrefix::of_subnet(64) };
        let brief = AdvertisedPrefix {
            on_link: false,
            valid: 600,
            preferred: 300,
            ..AdvertisedPrefix::of_subnet(64)
        };
        let mut settings = RouterAdvertisements {
            managed: true,
            other: true,
            link_address: false,
            prefixes: BTreeMap::from([(subnets[1], silent), ("2001:db8:9::/64".parse().unwrap(), brief)]),
            resolvers: vec![ip("2001:db8::53"), ip("fe80::53")],
            domains: vec!["example.org".parse().unwrap(), "corp.example".parse().unwrap()],
            ..RouterAdvertisements::default()
        };
        let message = advertised(&settings, &subnets, false);
        assert_eq!(message[5], 0xc0);
        let said = options(&message);
        assert_eq!(said.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [5, 25, 31, 3, 3]);
        // RFC 8106 section 5.1: five units, three intervals.
        assert_eq!(said[1].1[..8], [25, 5, 0, 0, 0, 0, 7, 8]);
        assert_eq!(said[1].1[8..], [ip("2001:db8::53").octets(), ip("fe80::53").octets()].concat());
        // Section 5.2: names one after the other, zeros up to the next unit.
        assert_eq!(said[2].1[..8], [31, 5, 0, 0, 0, 0, 7, 8]);
        assert_eq!(&said[2].1[8..], b"\x07example\x03org\0\x04corp\x07example\0\0\0\0\0\0");
        assert_eq!((&said[3].1[2..4], &said[3].1[16..]), (&[64, 0xc0][..], &ip("2001:db8::").octets()[..]));
        assert_eq!(said[4].1[2..12], [64, 0x40, 0, 0, 2, 88, 0, 0, 1, 44]);
        // The last one: no way out, and nobody resolves names.
        let message = advertised(&settings, &subnets, true);
        let said = options(&message);
        assert_eq!(
            (&message[6..8], &said[1].1[4..8], &said[2].1[4..8]),
            (&[0, 0][..], &[0; 4][..], &[0; 4][..])
        );
        // What does not fit the least MTU is left out.
        let more = (0..60)
            .map(|n| (Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb9, n, 0, 0, 0, 0, 0), 64).unwrap(), brief));
        settings.prefixes.extend(more);
        let message = advertised(&settings, &subnets, false);
        assert!((1208..=1240).contains(&message.len()), "{}", message.len());
    }

    #[test]
    fn who_asks_may_be_answered_alone() {
        let host = (ip("fe80::7"), MacAddr([2, 0, 0, 0, 0, 7]));
        let settings = RouterAdvertisements::default();
        let say =
            RouterAdvertisement { settings: &settings, mtu: 1500, subnets: &[], last: false, to: Some(host) };
        let frame = router_advertisement_frame(MAC, ip("fe80::1"), say, Tags::default());
        let (station, header, _) = take(&frame);
        assert_eq!((header.destination(), station), host);
    }

    #[test]
    fn routers_are_asked_for_with_an_answer_at_hand() {
        let (station, header, message) =
            take(&router_solicitation_frame(MAC, ip("fe80::1"), Tags::default()));
        assert_eq!((header.destination(), station), (ip("ff02::2"), MacAddr([0x33, 0x33, 0, 0, 0, 2])));
        assert_eq!((header.hop_limit, &message[..2]), (255, &[133, 0][..]));
        assert_eq!(message[8..], [1, 1, 2, 0, 0, 0, 0, 1]);
    }
}
