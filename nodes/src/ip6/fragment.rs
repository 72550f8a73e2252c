// SPDX-License-Identifier: Apache-2.0
//! ip6-frag: how IPv6 makes fragments (RFC 8200 section 4.5), of datagrams of our own. What others send is fragmented by nobody
//! but them.
//!
//! This router does not remember how long packets may be on the way to a host. So its fragments are no longer than what every
//! link carries (RFC 8200 section 5), and arrive. The node: [`crate::forward::fragment`].

use std::hash::{BuildHasher, RandomState};

use weft_engine::BufferIndex;
use weft_engine::buffer::BufferCache;
use weft_fib::{AddressFamily, Ip6};
use zerocopy::{FromBytes, IntoBytes};

use crate::forward::fragment::{Fragmenter, Fragmenting, MAX_FRAGMENT, Reason, make};
use crate::headers::{Ip6FragmentHeader, IpProtocol, Ipv6Header};
use crate::segments;

impl Fragmenting for Ip6 {
    type Fragmenter = Ip6Fragments;
}

/// Numbers of datagrams: none comes again before all others have, and nobody can tell the next one (RFC 7739).
pub(crate) struct Ip6Fragments {
    secret: [u32; 2],
    count: u32,
}

impl Default for Ip6Fragments {
    fn default() -> Ip6Fragments {
        let secret = RandomState::new().hash_one(0u8);
        Ip6Fragments { secret: [secret as u32, (secret >> 32) as u32], count: 0 }
    }
}

impl Ip6Fragments {
    /// Steps that each lead from different numbers to different numbers.
    fn next(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        let mut number = self.count ^ self.secret[0];
        for _ in 0..2 {
            number = (number ^ number >> 16).wrapping_mul(0x7feb_352d);
            number = (number ^ number >> 15).wrapping_mul(0x846c_a68b).wrapping_add(self.secret[1]);
        }
        number ^ number >> 16
    }
}

/// Bytes before the data of a fragment.
const HEADERS: usize = Ipv6Header::LENGTH + Ip6FragmentHeader::LENGTH;
/// Bytes of a fragment at most.
const ROOM: usize = Ip6::MIN_MTU as usize;
const _: () = assert!(ROOM <= MAX_FRAGMENT, "a fragment fits a buffer");

impl Fragmenter for Ip6Fragments {
    fn some(
        &mut self,
        buffers: &mut BufferCache,
        packet: BufferIndex,
        mtu: usize,
        fragments: &mut Vec<BufferIndex>,
    ) -> Result<(), Reason> {
        let most = mtu.min(ROOM).saturating_sub(HEADERS) & !7;
        if most == 0 {
            return Err(Reason::MtuTooSmall);
        }
        let mut bytes = [0; ROOM];
        segments::read(buffers, packet, 0, &mut bytes[..Ipv6Header::LENGTH]);
        let Ok((&original, _)) = Ipv6Header::ref_from_prefix(&bytes) else {
            return Err(Reason::BadOffset);
        };
        let total = buffers.packet(packet).meta.total_length().saturating_sub(Ipv6Header::LENGTH);
        if total > usize::from(u16::MAX) {
            return Err(Reason::BadOffset);
        }
        // What this router sends begins with what it carries: no extension header that all fragments would need.
        let identification = self.next();
        let mut done = 0;
        while done < total {
            let count = most.min(total - done);
            let more = done + count < total;
            let mut ip = original;
            ip.next_header = IpProtocol::FRAGMENT;
            ip.payload_length.set((Ip6FragmentHeader::LENGTH + count) as u16);
            let header = Ip6FragmentHeader::new(original.next_header, done, more, identification);
            bytes[..Ipv6Header::LENGTH].copy_from_slice(ip.as_bytes());
            bytes[Ipv6Header::LENGTH..HEADERS].copy_from_slice(header.as_bytes());
            let from = Ipv6Header::LENGTH + done;
            segments::read(buffers, packet, from, &mut bytes[HEADERS..HEADERS + count]);
            fragments.push(make(buffers, packet, &bytes[..HEADERS + count])?);
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::build::ipv6;
    use crate::headers::walk_ip6;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use weft_engine::InterfaceIndex;
    use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};

    fn fragments_of(data: &[u8], mtu: usize) -> Result<Vec<Vec<u8>>, Reason> {
        let config = BufferConfig { pools: vec![(0, 2048)], ..BufferConfig::default() };
        let mut buffers = Buffers::new(&config).unwrap().cache(0);
        let packet = ipv6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
        let packet = packet.ipv6_with(|ip| ip.next_header = IpProtocol::UDP).payload(data).build();
        let mut first = None;
        for part in packet.chunks(1500) {
            let index = buffers.allocate_one().unwrap();
            buffers.receive(index, HEADROOM, 0, InterfaceIndex(0));
            assert!(buffers.packet(index).fill(HEADROOM, part));
            match first {
                None => first = Some(index),
                Some(first) => buffers.chain(first, index),
            }
        }
        let mut made = Vec::new();
        Ip6Fragments::default().all(&mut buffers, first.unwrap(), mtu, &mut made)?;
        Ok(made.iter().map(|index| buffers.packet(*index).data().to_vec()).collect())
    }

    proptest! {
        #[test]
        fn fragments_are_the_datagram(data in prop::collection::vec(any::<u8>(), 1300..9000), mtu in 1280usize..9000) {
            let fragments = fragments_of(&data, mtu).unwrap();
            let (mut whole, mut number): (Vec<u8>, _) = (Vec::new(), None);
            for (place, bytes) in fragments.iter().enumerate() {
                let (ip, rest) = Ipv6Header::ref_from_prefix(bytes).unwrap();
                let chain = walk_ip6(ip.next_header, rest, 8).unwrap();
                let fragment = chain.fragment.unwrap();
                prop_assert!(bytes.len() <= 1280, "it fits every link");
                prop_assert_eq!(usize::from(ip.payload_length.get()), rest.len());
                prop_assert_eq!((fragment.next_header, fragment.offset()), (IpProtocol::UDP, whole.len()));
                prop_assert_eq!(fragment.more(), place + 1 < fragments.len());
                prop_assert_eq!(*number.get_or_insert(fragment.identification.get()), fragment.identification.get());
                whole.extend(&rest[Ip6FragmentHeader::LENGTH..]);
            }
            prop_assert_eq!(whole, data);
        }
    }

    #[test]
    fn numbers_do_not_come_again_soon_and_do_not_follow_each_other() {
        let mut fragments = Ip6Fragments::default();
        let numbers: Vec<u32> = (0..100_000).map(|_| fragments.next()).collect();
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len());
        let near = numbers.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 1 << 16).count();
        assert!(near < 100, "{near}");
        assert_ne!(numbers[0], Ip6Fragments::default().next());
    }
}
