// SPDX-License-Identifier: Apache-2.0
//! ARP for IPv4 over Ethernet (RFC 826), the only pair of spaces that a router meets.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{EtherType, MacAddr};

/// What an ARP packet wants (RFC 826 "ares_op$").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOperation {
    /// "Who has the target address?"
    Request,
    /// "The sender address is at the sender hardware address."
    Reply,
}

/// The 28 bytes after the Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ArpPacket {
    hardware_type: U16,
    protocol_type: U16,
    hardware_length: u8,
    protocol_length: u8,
    operation: U16,
    /// Hardware address of who sends.
    pub sender_mac: MacAddr,
    sender: [u8; 4],
    /// Hardware address of whom it is for; unknown in a request.
    pub target_mac: MacAddr,
    target: [u8; 4],
}

impl ArpPacket {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();
    /// Hardware type 1 (IANA "ARP Parameters").
    const ETHERNET: u16 = 1;

    /// A packet for Ethernet and IPv4.
    pub const fn new(
        operation: ArpOperation,
        (sender_mac, sender): (MacAddr, Ipv4Addr),
        (target_mac, target): (MacAddr, Ipv4Addr),
    ) -> Self {
        ArpPacket {
            hardware_type: U16::new(Self::ETHERNET),
            protocol_type: U16::new(EtherType::IPV4.0),
            hardware_length: 6,
            protocol_length: 4,
            operation: U16::new(match operation {
                ArpOperation::Request => 1,
                ArpOperation::Reply => 2,
            }),
            sender_mac,
            sender: sender.octets(),
            target_mac,
            target: target.octets(),
        }
    }

    /// Whether the four fields that describe the address spaces say Ethernet and IPv4.
    pub fn is_ethernet_ipv4(&self) -> bool {
        self.hardware_type.get() == Self::ETHERNET
            && self.protocol_type.get() == EtherType::IPV4.0
            && self.hardware_length == 6
            && self.protocol_length == 4
    }

    /// `None` for the operations of RARP, InARP and the like.
    pub fn operation(&self) -> Option<ArpOperation> {
        match self.operation.get() {
            1 => Some(ArpOperation::Request),
            2 => Some(ArpOperation::Reply),
            _ => None,
        }
    }

    /// Protocol address of who sends; unspecified in a probe (RFC 5227 section 1.1).
    pub fn sender(&self) -> Ipv4Addr {
        self.sender.into()
    }

    /// Protocol address that is asked for or answered.
    pub fn target(&self) -> Ipv4Addr {
        self.target.into()
    }
}
