// SPDX-License-Identifier: Apache-2.0
//! ARP requests, which the main thread makes and a worker injects at the transmit node of the interface.

use std::net::Ipv4Addr;

use zerocopy::IntoBytes;

use crate::headers::{ArpOperation, ArpPacket, EtherType, MacAddr};
use crate::interface::Tags;

/// By interface, requests that the main thread has sent: questions, and announcements of an address of ours. arp-reply makes the
/// counters.
pub const REQUESTS_SENT: [&str; 2] = ["/net/arp/tx/requests", "/net/arp/tx/gratuitous"];

/// The frame that asks for `target` on behalf of `sender`, which is our address: of all stations, or of the one (`to`)
/// that had the address before (RFC 1122 section 2.3.2.1, unicast poll). With `target` our own address it announces
/// that (RFC 5227 section 2.3).
pub fn request_frame(
    (mac, sender): (MacAddr, Ipv4Addr),
    target: Ipv4Addr,
    to: Option<MacAddr>,
    tags: Tags,
) -> Vec<u8> {
    let to = to.unwrap_or(MacAddr::BROADCAST);
    let mut frame = tags.header(to, mac, EtherType::ARP);
    let packet = ArpPacket::new(ArpOperation::Request, (mac, sender), (MacAddr::ZERO, target));
    frame.extend_from_slice(packet.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::VlanId;
    use crate::headers::build::ethernet;

    #[test]
    fn equals_a_built_packet() {
        let (mac, peer) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let (sender, target) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let id = |id| VlanId::new(id).unwrap();
        let packet = ArpPacket::new(ArpOperation::Request, (mac, sender), (MacAddr::ZERO, target));
        let all = || ethernet().macs(mac, MacAddr::BROADCAST);
        let none = Tags::default();
        let one = Tags { outer: Some((EtherType::VLAN, id(10))), inner: None };
        let two = Tags { outer: Some((EtherType::QINQ, id(20))), inner: Some(id(30)) };
        let from = (mac, sender);
        assert_eq!(request_frame(from, target, None, none), all().arp(packet).build());
        assert_eq!(request_frame(from, target, None, one), all().vlan(10).arp(packet).build());
        assert_eq!(request_frame(from, target, None, two), all().qinq(20).vlan(30).arp(packet).build());
        let unicast = ethernet().macs(mac, peer).arp(packet).build();
        assert_eq!(request_frame(from, target, Some(peer), none), unicast);
    }
}
