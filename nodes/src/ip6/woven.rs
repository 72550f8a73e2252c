// SPDX-License-Identifier: Apache-2.0
//! ip6-woven: what IPv6 has of its own of the way of plain packets ([`crate::forward::woven`]).
//!
//! Extension headers are no matter of a router's, so packets with them are plain too. Addresses of a link, groups and those that no
//! host has are not.

use weft_engine::Context;
use weft_engine::frame::Frame;
use weft_fib::{Fib6, Ip6, LoadBalanceId};
use weft_interface::AddressFamily;

use super::input::is_plain;
use crate::ethernet::{Plain, PlainOf};
use crate::forward::woven::{Way, Woven, in_blocks};
use crate::headers::{EtherType, EthernetHeader, Ipv6Header, PlainFrame6};

impl Woven for Ip6 {
    type Frame = PlainFrame6;
    type View<'a> = &'a Fib6;

    #[inline(always)]
    fn is_other(ether_type: EtherType) -> bool {
        ether_type != EtherType::IPV6
    }

    fn plain(plain: &Plain) -> PlainOf {
        plain.ip6
    }

    #[inline(always)]
    fn ethernet(frame: &mut PlainFrame6) -> &mut EthernetHeader {
        &mut frame.ethernet
    }

    #[inline(always)]
    fn to(frame: &PlainFrame6) -> u128 {
        frame.ip.destination().to_bits()
    }

    #[inline(always)]
    fn measure(PlainFrame6 { ethernet, ip }: &PlainFrame6, length: usize, plain: PlainOf) -> Option<u16> {
        let total = Ipv6Header::LENGTH + usize::from(ip.payload_length.get());
        let is_plain = plain.takes(ethernet, Self::ETHER_TYPE) && is_plain(ip) && ip.hop_limit > 1;
        // As many bytes as are there fit into 16 bits.
        (is_plain && total <= length).then_some(total as u16)
    }

    #[inline(always)]
    fn take_hop(frame: &mut PlainFrame6) {
        frame.ip.hop_limit -= 1;
    }

    #[inline(always)]
    fn view(fib: &Fib6) -> &Fib6 {
        fib
    }

    #[inline(always)]
    fn route(fib: &Fib6, to: u128) -> LoadBalanceId {
        fib.find(to)
    }

    #[inline(always)]
    fn is_large(fib: &Fib6) -> bool {
        fib.is_large()
    }

    #[inline(never)]
    fn large(way: Way<'_, Ip6>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
        let prefetch = |fib: &Fib6, to| fib.prefetch(to);
        let find_all = |fib: &Fib6, to: &[u128], routes: &mut [LoadBalanceId; Fib6::AT_ONCE]| {
            fib.lookup_all(to, routes);
        };
        in_blocks::<Ip6, { Fib6::AT_ONCE }>(way, cx, frame, at, prefetch, find_all, |_, _, route| route)
    }
}
