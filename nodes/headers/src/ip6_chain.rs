// SPDX-License-Identifier: Apache-2.0
//! The chain of headers after that of IPv6 (RFC 8200 section 4): what the packet carries, and where that begins.
//!
//! Anybody can send a chain of any length, so a walk has a limit, and reads no byte that is not there. It judges nothing
//! but the chain itself: whether a routing header is obeyed, or options are, is up to who called.

use thiserror::Error;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IpProtocol;

impl IpProtocol {
    /// Hop-by-hop options (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: IpProtocol = IpProtocol(0);
    /// Routing header (RFC 8200 section 4.4).
    pub const ROUTING: IpProtocol = IpProtocol(43);
    /// Fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT: IpProtocol = IpProtocol(44);
    /// Encapsulating security payload (RFC 4303): what follows is encrypted.
    pub const ESP: IpProtocol = IpProtocol(50);
    /// Authentication header (RFC 4302).
    pub const AUTHENTICATION: IpProtocol = IpProtocol(51);
    /// Nothing follows (RFC 8200 section 4.7).
    pub const NO_NEXT_HEADER: IpProtocol = IpProtocol(59);
    /// Destination options (RFC 8200 section 4.6).
    pub const DESTINATION_OPTIONS: IpProtocol = IpProtocol(60);
}

/// Of a datagram that was sent in fragments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ip6FragmentHeader {
    /// What follows, in the first fragment.
    pub next_header: IpProtocol,
    reserved: u8,
    /// Offset in units of 8 bytes in the upper 13 bits; the lowest bit: more fragments follow.
    pub offset_more: U16,
    /// The same in all fragments of the datagram.
    pub identification: U32,
}

impl Ip6FragmentHeader {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// Of data that belong at `offset`, a multiple of 8 of bytes; whether others follow.
    pub const fn new(next_header: IpProtocol, offset: usize, more: bool, identification: u32) -> Self {
        Ip6FragmentHeader {
            next_header,
            reserved: 0,
            offset_more: U16::new(offset as u16 & !7 | more as u16),
            identification: U32::new(identification),
        }
    }

    /// Where in the datagram its data belong, bytes.
    pub const fn offset(&self) -> usize {
        (self.offset_more.get() & !7) as usize
    }

    /// Whether it is not the last one.
    pub const fn more(&self) -> bool {
        self.offset_more.get() & 1 != 0
    }

    /// Whether the datagram is in one piece nevertheless (an atomic fragment, RFC 6946).
    pub const fn is_atomic(&self) -> bool {
        self.offset() == 0 && !self.more()
    }
}

/// Of a routing header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip6Routing {
    /// Where it begins, from the end of the IPv6 header.
    pub at: usize,
    /// Its type. Nobody obeys type 0 (RFC 5095).
    pub kind: u8,
    /// How many nodes it wants visited yet.
    pub left: u8,
}

/// Where an extension header is, from the beginning of the IPv6 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip6Place {
    /// Its first byte.
    pub at: usize,
    /// The byte that names it.
    pub named_at: usize,
}

/// What a walk has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip6Chain {
    /// The first protocol that is no extension header. Of a fragment that is not the first one: what the fragment header
    /// says, of which there is nothing here.
    pub protocol: IpProtocol,
    /// Where the byte stands that names it, from the beginning of the IPv6 header.
    pub named_at: usize,
    /// Bytes of extension headers before it.
    pub length: usize,
    /// The last fragment header.
    pub fragment: Option<Ip6FragmentHeader>,
    /// Where the first one is.
    pub first_fragment: Option<Ip6Place>,
    /// The first routing header.
    pub routing: Option<Ip6Routing>,
    /// Whether there are hop-by-hop options: every router is to look at them.
    pub hop_by_hop: bool,
}

impl Ip6Chain {
    /// Bytes of the IPv6 header before it.
    const BEFORE: usize = super::Ipv6Header::LENGTH;

    /// Where the upper-layer header begins, from that of the IPv6 header.
    pub const fn upper(&self) -> usize {
        Self::BEFORE + self.length
    }

    /// Whether the upper-layer header is not in this packet.
    pub const fn is_later_fragment(&self) -> bool {
        match self.fragment {
            Some(fragment) => fragment.offset() > 0,
            None => false,
        }
    }
}

/// What is wrong with a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Ip6ChainError {
    /// A header is longer than what is left of the packet.
    #[error("extension header at byte {at} is cut off")]
    CutOff {
        /// Where it begins, from the end of the IPv6 header.
        at: usize,
    },
    /// More of them than the caller permits.
    #[error("more than {limit} extension headers")]
    TooMany {
        /// How many are permitted.
        limit: usize,
    },
    /// Hop-by-hop options are anywhere but in front.
    #[error("hop-by-hop options at byte {at} are not the first extension header")]
    HopByHopNotFirst {
        /// Where they begin.
        at: usize,
    },
}

/// Where an IPv6 header says what follows it.
const NEXT_HEADER_AT: usize = 6;

/// Walks over the extension headers in `bytes`, the packet from the end of its IPv6 header on, whose next header is `first`.
pub fn walk_ip6(first: IpProtocol, bytes: &[u8], limit: usize) -> Result<Ip6Chain, Ip6ChainError> {
    let mut chain = Ip6Chain {
        protocol: first,
        named_at: NEXT_HEADER_AT,
        length: 0,
        fragment: None,
        first_fragment: None,
        routing: None,
        hop_by_hop: false,
    };
    for count in 0.. {
        let at = chain.length;
        let cut_off = Ip6ChainError::CutOff { at };
        let rest = bytes.get(at..).unwrap_or_default();
        let header = || rest.first_chunk::<4>().ok_or(cut_off);
        // RFC 8200 section 4.2: length in units of 8 bytes, without the first 8. RFC 4302: in units of 4, without two.
        let length = match chain.protocol {
            IpProtocol::HOP_BY_HOP if count > 0 => return Err(Ip6ChainError::HopByHopNotFirst { at }),
            IpProtocol::HOP_BY_HOP | IpProtocol::ROUTING | IpProtocol::DESTINATION_OPTIONS => {
                (usize::from(header()?[1]) + 1) * 8
            }
            IpProtocol::AUTHENTICATION => (usize::from(header()?[1]) + 2) * 4,
            IpProtocol::FRAGMENT => Ip6FragmentHeader::LENGTH,
            _ => return Ok(chain),
        };
        if count == limit {
            return Err(Ip6ChainError::TooMany { limit });
        }
        if length > rest.len() {
            return Err(cut_off);
        }
        let [next, _, kind, left] = *header()?;
        match chain.protocol {
            IpProtocol::HOP_BY_HOP => chain.hop_by_hop = true,
            IpProtocol::ROUTING => chain.routing = chain.routing.or(Some(Ip6Routing { at, kind, left })),
            IpProtocol::FRAGMENT => {
                let place = Ip6Place { at: chain.upper(), named_at: chain.named_at };
                chain.first_fragment = chain.first_fragment.or(Some(place));
                chain.fragment = Ip6FragmentHeader::read_from_prefix(rest).ok().map(|(header, _)| header);
            }
            _ => {}
        }
        chain.protocol = IpProtocol(next);
        chain.named_at = chain.upper();
        chain.length += length;
        if chain.is_later_fragment() {
            return Ok(chain);
        }
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ipv6Header;
    use proptest::prelude::*;

    const LIMIT: usize = 8;

    /// An extension header: its protocol, and its bytes but for the first one.
    fn header() -> impl Strategy<Value = (IpProtocol, Vec<u8>)> {
        let options = prop_oneof![Just(IpProtocol::ROUTING), Just(IpProtocol::DESTINATION_OPTIONS)];
        prop_oneof![
            4 => (options, 0u8..4).prop_map(|(protocol, units)| {
                let mut bytes = vec![7; usize::from(units) * 8 + 7];
                bytes[0] = units;
                (protocol, bytes)
            }),
            1 => (1u8..6).prop_map(|words| {
                let mut bytes = vec![7; usize::from(words) * 4 + 7];
                bytes[0] = words;
                (IpProtocol::AUTHENTICATION, bytes)
            }),
            // The first fragment, or a datagram in one piece.
            1 => any::<bool>()
                .prop_map(|more| (IpProtocol::FRAGMENT, vec![0, 0, more.into(), 1, 2, 3, 4])),
        ]
    }

    fn bytes_of(headers: &[(IpProtocol, Vec<u8>)], last: IpProtocol) -> (IpProtocol, Vec<u8>) {
        let mut bytes = Vec::new();
        for (number, (_, header)) in headers.iter().enumerate() {
            bytes.push(headers.get(number + 1).map_or(last, |(next, _)| *next).0);
            bytes.extend_from_slice(header);
        }
        (headers.first().map_or(last, |(first, _)| *first), bytes)
    }

    proptest! {
        #[test]
        fn finds_what_was_put_together(
            mut headers in prop::collection::vec(header(), 0..LIMIT),
            hop_by_hop in any::<bool>(),
            last in prop::sample::select(vec![6u8, 17, 50, 58, 59, 135, 253]),
            payload in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if hop_by_hop {
                headers.insert(0, (IpProtocol::HOP_BY_HOP, vec![0; 7]));
            }
            let (first, chain) = bytes_of(&headers, IpProtocol(last));
            let packet = [&chain[..], &payload].concat();
            let source = std::net::Ipv6Addr::LOCALHOST;
            let found = walk_ip6(first, &packet, LIMIT).unwrap();
            prop_assert_eq!((found.protocol, found.length), (IpProtocol(last), chain.len()));
            prop_assert_eq!(found.upper(), Ipv6Header::LENGTH + chain.len());
            let whole = [Ipv6Header::new(source, source, first, 0).as_bytes(), &packet].concat();
            prop_assert_eq!(whole[found.named_at], last, "what names the protocol");
            prop_assert_eq!(found.hop_by_hop, hop_by_hop);
            let has = |protocol| headers.iter().any(|(header, _)| *header == protocol);
            prop_assert_eq!(found.fragment.is_some(), has(IpProtocol::FRAGMENT));
            prop_assert_eq!(found.routing.is_some(), has(IpProtocol::ROUTING));
            let at = headers.iter().position(|(header, _)| *header == IpProtocol::FRAGMENT);
            let before = |count: usize| headers[..count].iter().map(|(_, bytes)| bytes.len() + 1).sum::<usize>();
            prop_assert_eq!(
                found.first_fragment.map(|place| place.at),
                at.map(|count| Ipv6Header::LENGTH + before(count))
            );
            if let Some(place) = found.first_fragment {
                prop_assert_eq!(whole[place.named_at], IpProtocol::FRAGMENT.0, "what names the fragment header");
            }
            // Whatever is missing at the end of the last header is noticed.
            if let Some(short) = chain.len().checked_sub(1) {
                let cut = walk_ip6(first, &chain[..short], LIMIT);
                prop_assert!(matches!(cut, Err(Ip6ChainError::CutOff { .. })), "{cut:?}");
            }
            let few = headers.len().saturating_sub(1);
            if few < headers.len() {
                let refused = walk_ip6(first, &packet, few);
                prop_assert_eq!(refused, Err(Ip6ChainError::TooMany { limit: few }));
            }
        }

        #[test]
        fn reads_whatever_comes(first in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(chain) = walk_ip6(IpProtocol(first), &bytes, LIMIT) {
                prop_assert!(chain.length <= bytes.len());
            }
        }
    }

    #[test]
    fn hop_by_hop_options_come_first_or_not_at_all() {
        let options = vec![0; 7];
        let twice = [(IpProtocol::DESTINATION_OPTIONS, options.clone()), (IpProtocol::HOP_BY_HOP, options)];
        let (first, bytes) = bytes_of(&twice, IpProtocol::UDP);
        assert_eq!(walk_ip6(first, &bytes, LIMIT), Err(Ip6ChainError::HopByHopNotFirst { at: 8 }));
    }

    #[test]
    fn nothing_is_looked_for_in_a_later_fragment() {
        // Fragment header: destination options follow in the datagram, offset 8, the last one.
        let bytes = [60, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff];
        let chain = walk_ip6(IpProtocol::FRAGMENT, &bytes, LIMIT).unwrap();
        assert!(chain.is_later_fragment());
        assert_eq!((chain.protocol, chain.length), (IpProtocol::DESTINATION_OPTIONS, 8));
        let fragment = chain.fragment.unwrap();
        assert_eq!((fragment.offset(), fragment.more(), fragment.is_atomic()), (8, false, false));
    }
}
