// SPDX-License-Identifier: Apache-2.0
//! Neighbour solicitations, which the main thread makes and a worker injects at the transmit node of the interface.

use std::net::Ipv6Addr;

use zerocopy::IntoBytes;

use super::HOP_LIMIT;
use super::announce::frame;
use crate::headers::{
    Icmp6Type, IpProtocol, Ipv6Header, LinkAddressOption, MacAddr, NeighborMessage, multicast_mac,
    solicited_node,
};
use crate::interface::Tags;

/// The frame that asks for `target` on behalf of `sender`, which is our address: of all stations that may have it, or of
/// the one (`to`) that had it before (RFC 4861 section 7.2.2).
pub fn solicitation_frame(
    (mac, sender): (MacAddr, Ipv6Addr),
    target: Ipv6Addr,
    to: Option<MacAddr>,
    tags: Tags,
) -> Vec<u8> {
    let (to, destination) = match to {
        Some(station) => (station, target),
        None => (multicast_mac(solicited_node(target)), solicited_node(target)),
    };
    let mut ip = Ipv6Header::new(sender, destination, IpProtocol::ICMPV6, 0);
    ip.hop_limit = HOP_LIMIT;
    let message = NeighborMessage::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, target);
    let option = LinkAddressOption::new(LinkAddressOption::SOURCE, mac);
    frame((mac, to), tags, ip, &[], [message.as_bytes(), option.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::build::ethernet;
    use crate::headers::checksum::Sum;
    use crate::headers::{EtherType, VlanId};

    #[test]
    fn asks_the_group_or_the_station() {
        let (mac, peer) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let ours: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let theirs: Ipv6Addr = "2001:db8::a:b0c".parse().unwrap();
        let tags = Tags { outer: Some((EtherType::VLAN, VlanId::new(10).unwrap())), inner: None };
        let group: Ipv6Addr = "ff02::1:ff0a:b0c".parse().unwrap();
        for (to, destination, station) in
            [(None, group, MacAddr([0x33, 0x33, 0xff, 0xa, 0xb, 0xc])), (Some(peer), theirs, peer)]
        {
            let frame = solicitation_frame((mac, ours), theirs, to, tags);
            // RFC 4861 section 4.3: type, code, checksum, reserved, target, source link-layer address.
            let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
            message.extend_from_slice(&theirs.octets());
            message.extend_from_slice(&[1, 1, 2, 0, 0, 0, 0, 1]);
            let link = ethernet().macs(mac, station).vlan(10).ipv6(ours, destination).build();
            let (link, ip) = link.split_at(link.len() - Ipv6Header::LENGTH);
            let mut expected = [link, ip, &message].concat();
            let ip = &mut expected[link.len()..];
            (ip[5], ip[6], ip[7]) = (32, 58, 255);
            let checksum = frame[frame.len() - 30..frame.len() - 28].to_vec();
            let at = expected.len() - 30;
            expected[at..at + 2].copy_from_slice(&checksum);
            assert_eq!(frame, expected);
            let ip = Ipv6Header::new(ours, destination, IpProtocol::ICMPV6, 32);
            let sum = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, 32);
            assert!(sum.bytes(&frame[frame.len() - 32..]).is_valid());
        }
    }
}
