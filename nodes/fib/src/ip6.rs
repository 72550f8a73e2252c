// SPDX-License-Identifier: Apache-2.0
//! IPv6 as a [`Family`].

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use weft_interface::{AddressFamily, Ip6};

use crate::family::Family;
use crate::{AddressRole, Fib6Writer};

impl Family for Ip6 {
    type Fib = Fib6Writer;

    /// Multicast; and link-local addresses, which mean something on their own link only and are not forwarded (RFC 4291
    /// section 2.5.6).
    fn own_prefixes() -> Vec<Ipv6Net> {
        let multicast = Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);
        let link_local = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
        vec![multicast, link_local]
    }

    /// The anycast address of the routers of a subnet (RFC 4291 section 2.6.1), which a link between two routers does not
    /// have (RFC 6164 section 6).
    fn roles(subnet: Ipv6Net) -> Vec<(Ipv6Addr, AddressRole)> {
        match subnet.prefix_len() {
            127.. => Vec::new(),
            _ => vec![(subnet.network(), AddressRole::Host)],
        }
    }

    /// Not the anycast address of its subnet, which every router has anyway.
    fn can_be_own(address: Ipv6Net) -> bool {
        let host = address.addr();
        let is_special = Ip6::roles(address.trunc()).iter().any(|(special, _)| *special == host);
        Ip6::can_be_neighbor(host) && !is_special
    }

    /// Neither loopback, nor an IPv4 address in another form (RFC 4291 section 2.5.5): those are never on a wire.
    fn can_be_neighbor(address: Ipv6Addr) -> bool {
        Ip6::is_unicast(address) && !address.is_loopback() && address.to_ipv4().is_none()
    }
}
