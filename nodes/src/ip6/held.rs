// SPDX-License-Identifier: Apache-2.0
//! What is IPv6's own of packets that wait for a neighbour ([`crate::hold`]).

use std::net::Ipv6Addr;

use weft_engine::buffer::Packet;
use weft_fib::{Family, Ip6};

use super::icmp_error::Icmp6Error;
use crate::headers::Ipv6Header;
use crate::hold::Held;
use crate::interface::{InterfaceTable, TableIndex};

impl Held for Ip6 {
    fn station(packet: &Packet<'_>, _: &InterfaceTable, _: TableIndex) -> Option<Ipv6Addr> {
        let destination = packet.header::<Ipv6Header>()?.destination();
        Ip6::can_be_neighbor(destination).then_some(destination)
    }

    fn mark_unreachable(packet: &mut Packet<'_>) {
        Icmp6Error::ADDRESS_UNREACHABLE.mark(packet);
    }
}
