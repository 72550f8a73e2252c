// SPDX-License-Identifier: Apache-2.0
//! ip4-woven: what IPv4 has of its own of the way of plain packets ([`crate::forward::woven`]).

use weft_engine::Context;
use weft_engine::frame::Frame;
use weft_fib::{Fib, FibView, Ip4, LoadBalanceId};
use weft_interface::AddressFamily;

use super::input::is_plain;
use crate::ethernet::{Plain, PlainOf};
use crate::forward::woven::{Way, Woven, in_blocks};
use crate::headers::{EtherType, EthernetHeader, PlainFrame, checksum};

/// Packets that the loop of two stages checks before it finishes as many others. Among 600,000 routes a packet took 4 clocks
/// more with 8, and 16 more where each block was finished before the next one was checked.
const BLOCK: usize = 16;

impl Woven for Ip4 {
    type Frame = PlainFrame;
    type View<'a> = FibView<'a>;

    #[inline(always)]
    fn is_other(ether_type: EtherType) -> bool {
        ether_type == EtherType::IPV6
    }

    fn plain(plain: &Plain) -> PlainOf {
        plain.ip4
    }

    #[inline(always)]
    fn ethernet(frame: &mut PlainFrame) -> &mut EthernetHeader {
        &mut frame.ethernet
    }

    #[inline(always)]
    fn to(frame: &PlainFrame) -> u32 {
        frame.ip.destination.get()
    }

    #[inline(always)]
    fn measure(PlainFrame { ethernet, ip }: &PlainFrame, length: usize, plain: PlainOf) -> Option<u16> {
        let is_plain = plain.takes(ethernet, Self::ETHER_TYPE) && is_plain(ip, length) && ip.ttl > 1;
        is_plain.then(|| ip.total_length.get())
    }

    #[inline(always)]
    fn take_hop(frame: &mut PlainFrame) {
        checksum::decrement_ttl(&mut frame.ip);
    }

    #[inline(always)]
    fn view(fib: &Fib) -> FibView<'_> {
        fib.view()
    }

    #[inline(always)]
    fn route(view: FibView<'_>, to: u32) -> LoadBalanceId {
        view.find(to)
    }

    #[inline(always)]
    fn is_large(fib: &Fib) -> bool {
        fib.is_large()
    }

    #[inline(never)]
    fn large(way: Way<'_, Ip4>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
        let prefetch = |fib: FibView<'_>, to| fib.prefetch(to);
        in_blocks::<Ip4, BLOCK>(way, cx, frame, at, prefetch, |_, _, _| (), |fib, to, _| fib.find(to))
    }
}
