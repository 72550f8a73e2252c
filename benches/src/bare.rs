// SPDX-License-Identifier: Apache-2.0
//! The rival of the graph: the same work in one hand-written loop, packet by packet, with no graph at all.
//!
//! It checks and rewrites what the nodes check and rewrite, looks up in the same forwarding table, and counts one
//! total. It has no vectors, no features, no reasons, no per-interface counters: what it saves is the price of those, what
//! it loses is what staged vectors gain.

use std::hint::black_box;

use weft_engine::clock::Tsc;
use weft_nodes::headers::{EtherType, EthernetHeader, Ipv4Header, MacAddr, checksum};
use weft_nodes::ip4::{Fib, LoadBalanceId};
use zerocopy::{FromBytes, IntoBytes};

use crate::chain::{FRAME_BYTES, write};

const SLOT: usize = 2048;
const VECTOR: usize = 256;

/// Forwards `packets` of `template` to `destinations` in turn; returns clocks per packet, the making of packets not
/// counted.
pub fn round(fib: &Fib, template: &[u8], destinations: &[u32], position: &mut usize, packets: usize) -> f64 {
    let mut memory = vec![0u8; SLOT * VECTOR];
    let (mut clocks, mut sent) = (0, 0u64);
    let ours = EthernetHeader::ref_from_prefix(template).map(|(header, _)| header.destination);
    let ours = ours.unwrap_or(MacAddr::ZERO);
    let out = EthernetHeader::new(MacAddr([2, 0, 0, 0, 0, 3]), ours, EtherType::IPV4);
    for _ in 0..packets / VECTOR {
        for slot in memory.chunks_exact_mut(SLOT) {
            write(&mut slot[..FRAME_BYTES], template, destinations[*position]);
            *position = (*position + 1) % destinations.len();
        }
        let start = Tsc::now();
        for slot in memory.chunks_exact_mut(SLOT) {
            sent += u64::from(forward(fib, &mut slot[..FRAME_BYTES], ours, &out));
        }
        clocks += Tsc::now().since(start);
        black_box(&mut memory);
    }
    assert_eq!(black_box(sent) as usize, packets / VECTOR * VECTOR, "the bare loop forwards every packet");
    clocks as f64 / sent as f64
}

#[inline(always)]
fn forward(fib: &Fib, frame: &mut [u8], ours: MacAddr, out: &EthernetHeader) -> bool {
    let length = frame.len() - EthernetHeader::LENGTH;
    let Ok((ethernet, rest)) = EthernetHeader::mut_from_prefix(frame) else {
        return false;
    };
    let Ok((ip, _)) = Ipv4Header::mut_from_prefix(rest) else {
        return false;
    };
    if ethernet.destination != ours
        || ethernet.ether_type() != EtherType::IPV4
        || ip.version_ihl != Ipv4Header::PLAIN
        || usize::from(ip.total_length.get()) != length
        || ip.ttl <= 1
        || !checksum::is_valid_ip4(ip)
    {
        return false;
    }
    if fib.lookup(ip.destination.get()) == LoadBalanceId::NO_ROUTE {
        return false;
    }
    checksum::decrement_ttl(ip);
    ethernet.as_mut_bytes().copy_from_slice(out.as_bytes());
    true
}
