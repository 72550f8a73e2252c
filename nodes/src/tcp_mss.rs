// SPDX-License-Identifier: Apache-2.0
//! ip4-tcp-mss, ip4-tcp-mss-output, and those of IPv6: no TCP connection over an interface offers longer segments than fit.
//!
//! A tunnel or PPPoE behind the next router makes packets too long whose senders never learn of it, where ICMP is
//! filtered. So the option of both SYNs (RFC 9293 section 3.7.1, RFC 6691) is lowered as it passes, never raised; a SYN
//! without it offers 536 bytes already, and 1220 over IPv6. Only SYNs are looked into; of a datagram in fragments, the first.

use std::marker::PhantomData;

use weft_engine::Context;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec};
use weft_fib::{AddressFamily, Ip4, Ip6};
use zerocopy::FromBytes;

use crate::headers::{TcpFlags, TcpHeader, checksum, network_offset};
use crate::setup::{Added, Setup, built_in};
use crate::tables::HeaderLimit;
use crate::values::{InterfaceValue, ValueReader};

/// A family that TCP is carried in.
pub(crate) trait CarriesTcp: AddressFamily {
    /// The node on the way in.
    const INPUT: &'static NodeSpec;
    /// And out.
    const OUTPUT: &'static NodeSpec;

    /// Where in a packet, or in its first fragment, the TCP header begins.
    fn segment(packet: &[u8], extension_headers: usize) -> Option<usize>;
}

/// The longest segment that connections over an interface may offer, in both directions.
pub static TCP_MSS: InterfaceValue =
    InterfaceValue { name: "tcp-mss", readers: &[Ip4::INPUT, Ip4::OUTPUT, Ip6::INPUT, Ip6::OUTPUT] };

/// Kind and length of the option (RFC 9293 section 3.2).
const MSS: [u8; 2] = [2, 4];
const END_OF_LIST: u8 = 0;
const NO_OPERATION: u8 = 1;

built_in!(define::<Ip4, false>, define::<Ip4, true>, define::<Ip6, false>, define::<Ip6, true>);

fn define<F: CarriesTcp, const OUTPUT: bool>(setup: &mut Setup<'_>) -> Added {
    let (limits, extension_headers) = (setup.value(&TCP_MSS), setup.tables.extension_headers.clone());
    Ok(NodeDef::new(if OUTPUT { F::OUTPUT } else { F::INPUT }, move |_| {
        let (limits, extension_headers) = (limits.clone(), extension_headers.clone());
        Box::new(TcpMss::<F, OUTPUT> { limits, extension_headers, family: PhantomData })
    }))
}

struct TcpMss<F, const OUTPUT: bool> {
    limits: ValueReader,
    extension_headers: HeaderLimit,
    family: PhantomData<F>,
}

impl<F: CarriesTcp, const OUTPUT: bool> Node for TcpMss<F, OUTPUT> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (limits, headers) = (self.limits.read(cx.guard()), self.extension_headers.get());
        let arcs = cx.arcs();
        cx.each(frame, |packet| {
            let interface = if OUTPUT { packet.meta.tx_interface } else { packet.meta.rx_interface };
            if let Ok(limit @ 1..) = u16::try_from(limits.get(interface)) {
                clamp::<F, OUTPUT>(packet.data_mut(), headers, limit);
            }
            arcs.next(packet)
        });
    }
}

#[inline(always)]
fn clamp<F: CarriesTcp, const OUTPUT: bool>(bytes: &mut [u8], headers: usize, limit: u16) -> Option<()> {
    let packet = if OUTPUT { network_offset(bytes, F::ETHER_TYPE)? } else { 0 };
    let segment = packet + F::segment(bytes.get(packet..)?, headers)?;
    lower(bytes.get_mut(segment..)?, limit)
}

/// Lowers the option of a SYN, if it has one that is too high.
#[inline(always)]
fn lower(segment: &mut [u8], limit: u16) -> Option<()> {
    let (tcp, _) = TcpHeader::ref_from_prefix(segment).ok()?;
    if !tcp.flags.contains(TcpFlags::SYN) {
        return None;
    }
    let header = segment.get_mut(..tcp.header_length())?;
    let at = find(header.get(TcpHeader::LENGTH..)?)? + TcpHeader::LENGTH;
    let old = u16::from_be_bytes(header.get(at..at + 2)?.try_into().ok()?);
    if old <= limit {
        return None;
    }
    header[at..at + 2].copy_from_slice(&limit.to_be_bytes());
    let (tcp, _) = TcpHeader::mut_from_prefix(header).ok()?;
    // At an odd place the two bytes belong to two words; their sum is that of the word with its bytes swapped (RFC 1071
    // section 2 B).
    let (old, new) = if at.is_multiple_of(2) { (old, limit) } else { (old.swap_bytes(), limit.swap_bytes()) };
    let sum = checksum::update(tcp.checksum.get(), old, new);
    tcp.checksum.set(sum);
    Some(())
}

/// Where among the options the value of the MSS stands.
#[cold]
fn find(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [NO_OPERATION, ..] => at += 1,
            [kind, length, _, _, ..] if [kind, length] == MSS => return Some(at + 2),
            [END_OF_LIST, ..] => return None,
            // One shorter than its own two bytes would lead nowhere.
            [_, length, ..] if length >= 2 => at += usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_option_is_found_among_others_and_never_beyond_them() {
        assert_eq!(find(&[2, 4, 5, 180]), Some(2));
        assert_eq!(find(&[1, 3, 3, 7, 2, 4, 5, 180]), Some(6));
        assert_eq!(find(&[0, 2, 4, 5, 180]), None, "behind the end of the list");
        for bad in
            [&[][..], &[2], &[2, 4], &[2, 4, 5], &[3, 0, 2, 4, 5, 180], &[8, 200, 2, 4, 5, 180], &[2, 3, 5]]
        {
            assert_eq!(find(bad), None, "{bad:?}");
        }
    }
}
