// SPDX-License-Identifier: Apache-2.0
//! What this host says to a link on which it speaks IPv6, as frames that a worker injects at the transmit node of the interface.
//!
//! The main thread decides when ([`crate::router`]): it asks whether an address is free (RFC 4862), says that it has it (RFC 4861
//! section 7.2.6), which groups it listens to (RFC 3810, so that switches deliver them), and what hosts need to find their way
//! out (RFC 4861 section 6.2).

use std::net::Ipv6Addr;
use std::time::Duration;

use zerocopy::IntoBytes;

use super::nd::advertisement;
use super::{ALL_NODES, HOP_LIMIT};
use crate::headers::checksum::Sum;
use crate::headers::{
    EtherType, Icmp6Type, IpProtocol, Ipv6Header, LinkAddressOption, MacAddr, NeighborMessage, multicast_mac,
    solicited_node,
};
use crate::interface::Tags;

/// All routers that hear membership reports (RFC 3810 section 5.2.14).
const MEMBERSHIP_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// All routers of a link (RFC 4291 section 2.7.1).
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

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

/// Tells all stations where an address of ours is.
pub fn announcement_frame(mac: MacAddr, address: Ipv6Addr, tags: Tags) -> Vec<u8> {
    let flags = NeighborMessage::ROUTER | NeighborMessage::OVERRIDE;
    let mut frame = tags.header(multicast_mac(ALL_NODES), mac, EtherType::IPV6);
    frame.extend_from_slice(&advertisement((address, mac), ALL_NODES, flags));
    frame
}

/// Why a report of groups is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Somebody has asked.
    Asked,
    /// They are new.
    Changed,
}

/// Says which groups are listened to because of these addresses: all routers, and where each address is asked for. That of all
/// nodes is never reported (RFC 3810 section 6).
pub fn membership_frame(
    mac: MacAddr,
    link_local: Option<Ipv6Addr>,
    addresses: &[Ipv6Addr],
    report: Report,
    tags: Tags,
) -> Vec<u8> {
    let source = link_local.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let mut ip = Ipv6Header::new(source, MEMBERSHIP_ROUTERS, IpProtocol::HOP_BY_HOP, 0);
    ip.hop_limit = 1;
    // Router alert (RFC 2711), and padding.
    let options = [IpProtocol::ICMPV6.0, 0, 5, 2, 0, 0, 1, 0];
    let mut groups: Vec<Ipv6Addr> = addresses.iter().copied().map(solicited_node).collect();
    groups.push(ALL_ROUTERS);
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(MOST_GROUPS);
    let mut message = vec![Icmp6Type::MEMBERSHIP_REPORT.0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&(groups.len() as u16).to_be_bytes());
    // All sources, which is to exclude none (RFC 3810 section 5.2.12).
    let record = if report == Report::Asked { 2 } else { 4 };
    for group in groups {
        message.extend_from_slice(&[record, 0, 0, 0]);
        message.extend_from_slice(&group.octets());
    }
    group_frame(mac, tags, ip, &options, message)
}

/// As many records of 20 bytes fit the least MTU.
const MOST_GROUPS: usize = 56;
/// As many prefixes of 32 bytes do.
const MOST_PREFIXES: usize = 32;

/// What a router advertises.
#[derive(Clone, Debug)]
pub struct RouterAdvertisement<'a> {
    /// How long it is a way out; zero: it is none.
    pub lifetime: Duration,
    /// Of the link.
    pub mtu: u16,
    /// Subnets that are on the link. Hosts form addresses in those of 64 bits (RFC 4862 section 5.5.3).
    pub subnets: &'a [ipnet::Ipv6Net],
}

/// How long what hosts have learned of a subnet is good, and preferred (RFC 4861 section 6.2.1).
const VALID: u32 = 30 * 24 * 3600;
const PREFERRED: u32 = 7 * 24 * 3600;
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

/// Tells all stations.
pub fn router_advertisement_frame(
    mac: MacAddr,
    link_local: Ipv6Addr,
    RouterAdvertisement { lifetime, mtu, subnets }: RouterAdvertisement<'_>,
    tags: Tags,
) -> Vec<u8> {
    let mut ip = Ipv6Header::new(link_local, ALL_NODES, IpProtocol::ICMPV6, 0);
    ip.hop_limit = HOP_LIMIT;
    let lifetime = u16::try_from(lifetime.as_secs()).unwrap_or(u16::MAX);
    // Hop limit that hosts are to use; no other way of configuration; times as hosts have them.
    let mut message = vec![Icmp6Type::ROUTER_ADVERTISEMENT.0, 0, 0, 0, 64, 0];
    message.extend_from_slice(&lifetime.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(LinkAddressOption::new(LinkAddressOption::SOURCE, mac).as_bytes());
    message.extend_from_slice(&[5, 1, 0, 0]);
    message.extend_from_slice(&u32::from(mtu).to_be_bytes());
    for subnet in subnets.iter().take(MOST_PREFIXES) {
        let flags = if subnet.prefix_len() == 64 { ON_LINK | AUTONOMOUS } else { ON_LINK };
        message.extend_from_slice(&[3, 4, subnet.prefix_len(), flags]);
        message.extend_from_slice(&VALID.to_be_bytes());
        message.extend_from_slice(&PREFERRED.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&subnet.network().octets());
    }
    group_frame(mac, tags, ip, &[], message)
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
    fn a_report_names_each_group_once() {
        let addresses = [ip("2001:db8::1"), ip("fe80::1"), ip("2001:db8::2")];
        let frame = membership_frame(MAC, Some(ip("fe80::1")), &addresses, Report::Changed, Tags::default());
        let (station, header, message) = take(&frame);
        assert_eq!(station, MacAddr([0x33, 0x33, 0, 0, 0, 0x16]));
        assert_eq!((header.source(), header.hop_limit), (ip("fe80::1"), 1));
        // RFC 2711: router alert, the message is MLD.
        assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!((message[0], &message[4..8]), (143, &[0, 0, 0, 3][..]));
        let groups: Vec<_> =
            message[8..].chunks(20).map(|record| (record[0], record[4..].to_vec())).collect();
        let group = |text| (4, ip(text).octets().to_vec());
        assert_eq!(groups, [group("ff02::2"), group("ff02::1:ff00:1"), group("ff02::1:ff00:2")]);
    }

    #[test]
    fn an_advertisement_says_how_hosts_find_out() {
        let subnets = ["2001:db8::/64".parse().unwrap(), "2001:db8:7::/120".parse().unwrap()];
        let say = RouterAdvertisement { lifetime: Duration::from_secs(1800), mtu: 1500, subnets: &subnets };
        let frame = router_advertisement_frame(MAC, ip("fe80::1"), say, Tags::default());
        let (_, header, message) = take(&frame);
        assert_eq!((header.source(), header.hop_limit, message[0]), (ip("fe80::1"), 255, 134));
        // RFC 4861 section 4.2: hop limit, flags, lifetime, times; then MAC address, MTU and prefixes.
        assert_eq!(message[4..16], [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[16..32], [1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 220]);
        let prefixes: Vec<_> = message[32..].chunks(32).map(|option| option[..4].to_vec()).collect();
        assert_eq!(prefixes, [[3, 4, 64, 0xc0], [3, 4, 120, 0x80]]);
        assert_eq!(message[32 + 16..64], ip("2001:db8::").octets());
    }
}
