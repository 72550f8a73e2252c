// SPDX-License-Identifier: Apache-2.0
//! Packets written as intent.
//!
//! A test or a packet generator says which layers it wants and what is special about them; lengths,
//! types and checksums follow:
//!
//! ```
//! use weft_headers::build::ethernet;
//!
//! let ip = ethernet().vlan(10).ipv4([10, 0, 0, 1], [10, 0, 0, 2]).ttl(1);
//! let packet = ip.udp(1000, 53).payload(b"hello").build();
//! assert_eq!(packet.len(), 14 + 4 + 20 + 8 + 5);
//! ```
//!
//! A wrong packet is a right one of which the test then changes a byte. Setters act on the last layer and
//! panic when it is of another kind: the packet's author is the test's author.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::checksum::{self, Sum};
use super::{
    ArpPacket, EtherType, EthernetHeader, Icmp4Header, Icmp4Type, Icmp6Header, Icmp6Type, IpProtocol,
    Ipv4Header, Ipv6Header, MacAddr, TcpFlags, TcpHeader, UdpHeader, VlanId, VlanTag,
};

/// Source address of a frame that names none.
pub const SOURCE: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);
/// Destination address of a frame that names none.
pub const DESTINATION: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 2]);

#[derive(Clone, Debug)]
enum Layer {
    Ethernet { destination: MacAddr, source: MacAddr },
    Vlan { tag_type: EtherType, id: VlanId },
    Arp(ArpPacket),
    Ipv4 { header: Ipv4Header, options: Vec<u8> },
    Ipv6(Ipv6Header),
    Icmp4(Icmp4Header),
    Icmp6(Icmp6Header),
    Udp(UdpHeader),
    Tcp(TcpHeader),
    Payload(Vec<u8>),
}

/// Layers from the outside in.
#[derive(Clone, Debug)]
pub struct Packet {
    layers: Vec<Layer>,
}

/// A packet that begins with an Ethernet header from [`SOURCE`] to [`DESTINATION`].
pub fn ethernet() -> Packet {
    Packet { layers: vec![Layer::Ethernet { destination: DESTINATION, source: SOURCE }] }
}

/// A packet without link layer.
pub fn ipv4(source: impl Into<Ipv4Addr>, destination: impl Into<Ipv4Addr>) -> Packet {
    Packet { layers: Vec::new() }.ipv4(source, destination)
}

/// Likewise.
pub fn ipv6(source: impl Into<Ipv6Addr>, destination: impl Into<Ipv6Addr>) -> Packet {
    Packet { layers: Vec::new() }.ipv6(source, destination)
}

impl Packet {
    fn push(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets the addresses of the Ethernet header.
    pub fn macs(mut self, from: MacAddr, to: MacAddr) -> Self {
        let Some(Layer::Ethernet { destination, source }) = self.layers.last_mut() else {
            panic!("macs() comes right after ethernet()");
        };
        (*source, *destination) = (from, to);
        self
    }

    /// An 802.1Q tag.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(EtherType::VLAN, id)
    }

    /// An 802.1ad service tag.
    pub fn qinq(self, id: u16) -> Self {
        self.tag(EtherType::QINQ, id)
    }

    fn tag(self, tag_type: EtherType, id: u16) -> Self {
        let id = VlanId::new(id).expect("a VLAN id has 12 bits");
        self.push(Layer::Vlan { tag_type, id })
    }

    /// An ARP packet.
    pub fn arp(self, packet: ArpPacket) -> Self {
        self.push(Layer::Arp(packet))
    }

    /// An IPv4 header of TTL 64.
    pub fn ipv4(self, source: impl Into<Ipv4Addr>, destination: impl Into<Ipv4Addr>) -> Self {
        let mut header = Ipv4Header::new_zeroed();
        header.ttl = 64;
        header.protocol = IpProtocol(0xff);
        header.source.set(source.into().to_bits());
        header.destination.set(destination.into().to_bits());
        self.push(Layer::Ipv4 { header, options: Vec::new() })
    }

    /// Changes the IPv4 header. Version, lengths and checksum are computed afterwards, and so is the protocol
    /// if the next layer has one.
    pub fn ipv4_with(mut self, change: impl FnOnce(&mut Ipv4Header)) -> Self {
        let Some(Layer::Ipv4 { header, .. }) = self.layers.last_mut() else {
            panic!("IPv4 fields are set right after ipv4()");
        };
        change(header);
        self
    }

    /// Sets the TTL of the IPv4 header.
    pub fn ttl(self, ttl: u8) -> Self {
        self.ipv4_with(|header| header.ttl = ttl)
    }

    /// Forbids fragmentation.
    pub fn dont_fragment(self) -> Self {
        self.ipv4_with(|header| header.flags_offset.set(Ipv4Header::DONT_FRAGMENT))
    }

    /// Appends options to the IPv4 header; padded with zeros (RFC 791 "end of option list") to 32 bits.
    pub fn options(mut self, bytes: &[u8]) -> Self {
        let Some(Layer::Ipv4 { options, .. }) = self.layers.last_mut() else {
            panic!("options() comes right after ipv4()");
        };
        options.extend_from_slice(bytes);
        options.resize(options.len().next_multiple_of(4), 0);
        assert!(options.len() <= 40, "an IPv4 header has room for 40 bytes of options");
        self
    }

    /// An IPv6 header of hop limit 64.
    pub fn ipv6(self, source: impl Into<Ipv6Addr>, destination: impl Into<Ipv6Addr>) -> Self {
        // 59: no next header.
        let header = Ipv6Header::new(source.into(), destination.into(), IpProtocol(59), 0);
        self.push(Layer::Ipv6(header))
    }

    /// Changes the IPv6 header. The payload length is computed afterwards, and so is the next header if the next layer has
    /// one.
    pub fn ipv6_with(mut self, change: impl FnOnce(&mut Ipv6Header)) -> Self {
        let Some(Layer::Ipv6(header)) = self.layers.last_mut() else {
            panic!("IPv6 fields are set right after ipv6()");
        };
        change(header);
        self
    }

    /// Sets the hop limit of the IPv6 header.
    pub fn hop_limit(self, hops: u8) -> Self {
        self.ipv6_with(|header| header.hop_limit = hops)
    }

    /// An ICMPv6 message.
    pub fn icmp6(self, header: Icmp6Header) -> Self {
        self.push(Layer::Icmp6(header))
    }

    /// An ICMPv6 echo request.
    pub fn ping6(self, identifier: u16, sequence: u16) -> Self {
        let rest = u32::from(identifier) << 16 | u32::from(sequence);
        self.icmp6(Icmp6Header::new(Icmp6Type::ECHO_REQUEST, 0, rest))
    }

    /// A UDP header.
    pub fn udp(self, source_port: u16, destination_port: u16) -> Self {
        self.push(Layer::Udp(UdpHeader {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            length: U16::ZERO,
            checksum: U16::ZERO,
        }))
    }

    /// A TCP header.
    pub fn tcp(self, source_port: u16, destination_port: u16, flags: TcpFlags) -> Self {
        self.push(Layer::Tcp(TcpHeader {
            source_port: U16::new(source_port),
            destination_port: U16::new(destination_port),
            sequence: U32::ZERO,
            acknowledgment: U32::ZERO,
            data_offset: 5 << 4,
            flags,
            window: U16::new(0xffff),
            checksum: U16::ZERO,
            urgent: U16::ZERO,
        }))
    }

    /// An ICMP message.
    pub fn icmp4(self, header: Icmp4Header) -> Self {
        self.push(Layer::Icmp4(header))
    }

    /// An ICMP echo request.
    pub fn ping(self, identifier: u16, sequence: u16) -> Self {
        self.icmp4(Icmp4Header::new(Icmp4Type::ECHO_REQUEST, 0, [identifier, sequence]))
    }

    /// Bytes, as the innermost layer.
    pub fn payload(self, bytes: &[u8]) -> Self {
        self.push(Layer::Payload(bytes.to_vec()))
    }

    /// The bytes of the packet.
    ///
    /// # Panics
    /// If a layer is longer than its length field can say.
    pub fn build(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let inner = self.layers.get(at + 1);
            packet = layer.around(&packet, inner, self.layers[..at].last());
        }
        packet
    }
}

impl Layer {
    /// This layer's bytes and then those of `payload`, whose outermost layer is `inner`.
    fn around(&self, payload: &[u8], inner: Option<&Layer>, outer: Option<&Layer>) -> Vec<u8> {
        let length = |header: usize| -> u16 {
            (header + payload.len()).try_into().expect("a packet has at most 65535 bytes")
        };
        let ether_type = inner.map_or(EtherType(0xffff), Layer::ether_type);
        let mut bytes = match self {
            Layer::Ethernet { destination, source } => {
                EthernetHeader::new(*destination, *source, ether_type).as_bytes().to_vec()
            }
            Layer::Vlan { id, .. } => VlanTag::new(*id, ether_type).as_bytes().to_vec(),
            Layer::Arp(packet) => packet.as_bytes().to_vec(),
            Layer::Ipv4 { header, options } => {
                let mut header = *header;
                let header_length = Ipv4Header::LENGTH + options.len();
                header.version_ihl = 0x40 | (header_length / 4) as u8;
                header.total_length.set(length(header_length));
                header.protocol = inner.and_then(Layer::protocol).unwrap_or(header.protocol);
                header.checksum.set(0);
                let sum = Sum::default().bytes(header.as_bytes()).bytes(options);
                header.checksum.set(sum.checksum());
                [header.as_bytes(), options].concat()
            }
            Layer::Ipv6(header) => {
                let mut header = *header;
                header.payload_length.set(length(0));
                header.next_header = inner.and_then(Layer::protocol).unwrap_or(header.next_header);
                header.as_bytes().to_vec()
            }
            Layer::Icmp4(header) => {
                let mut header = *header;
                header.checksum.set(checksum::of(&[header.as_bytes(), payload].concat()));
                header.as_bytes().to_vec()
            }
            Layer::Icmp6(header) => {
                let mut header = *header;
                let sum = pseudo_header(outer, IpProtocol::ICMPV6, length(Icmp6Header::LENGTH))
                    .bytes(header.as_bytes())
                    .bytes(payload);
                header.checksum.set(sum.checksum());
                header.as_bytes().to_vec()
            }
            Layer::Udp(header) => {
                let mut header = *header;
                let length = length(UdpHeader::LENGTH);
                header.length.set(length);
                let sum =
                    pseudo_header(outer, IpProtocol::UDP, length).bytes(header.as_bytes()).bytes(payload);
                // RFC 768: a computed 0 is sent as all ones, since 0 means "none".
                header.checksum.set(match sum.checksum() {
                    0 => 0xffff,
                    other => other,
                });
                header.as_bytes().to_vec()
            }
            Layer::Tcp(header) => {
                let mut header = *header;
                let sum = pseudo_header(outer, IpProtocol::TCP, length(TcpHeader::LENGTH))
                    .bytes(header.as_bytes())
                    .bytes(payload);
                header.checksum.set(sum.checksum());
                header.as_bytes().to_vec()
            }
            Layer::Payload(bytes) => bytes.clone(),
        };
        bytes.extend_from_slice(payload);
        bytes
    }

    /// How an Ethernet header or tag announces this layer.
    fn ether_type(&self) -> EtherType {
        match self {
            Layer::Vlan { tag_type, .. } => *tag_type,
            Layer::Arp(_) => EtherType::ARP,
            Layer::Ipv4 { .. } => EtherType::IPV4,
            Layer::Ipv6(_) => EtherType::IPV6,
            // IEEE 802 local experimental.
            _ => EtherType(0x88b5),
        }
    }

    /// How an IP header announces this layer.
    fn protocol(&self) -> Option<IpProtocol> {
        match self {
            // RFC 2003 and RFC 2473: IPv4 and IPv6 in IP.
            Layer::Ipv4 { .. } => Some(IpProtocol(4)),
            Layer::Ipv6(_) => Some(IpProtocol(41)),
            Layer::Icmp4(_) => Some(IpProtocol::ICMP),
            Layer::Icmp6(_) => Some(IpProtocol::ICMPV6),
            Layer::Udp(_) => Some(IpProtocol::UDP),
            Layer::Tcp(_) => Some(IpProtocol::TCP),
            _ => None,
        }
    }
}

fn pseudo_header(outer: Option<&Layer>, protocol: IpProtocol, length: u16) -> Sum {
    match outer {
        Some(Layer::Ipv4 { header, .. }) => Sum::pseudo_header(header, protocol, length),
        // RFC 8200 section 8.1; the sum does not mind that both fields are 32 bits wide there.
        Some(Layer::Ipv6(header)) => Sum::default()
            .bytes(&header.source().octets())
            .bytes(&header.destination().octets())
            .word(protocol.0.into())
            .word(length),
        _ => panic!("UDP, TCP and ICMPv6 come right after an IP header"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArpOperation;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    /// A header view over the start of `bytes`.
    fn view<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
        bytes: &[u8],
    ) -> &T {
        T::ref_from_prefix(bytes).unwrap().0
    }

    #[test]
    fn arp_as_an_independent_parser_reads_it() {
        let (us, them) = (MacAddr([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(10, 0, 0, 7));
        let packet = ArpPacket::new(ArpOperation::Request, (us, [10, 0, 0, 9].into()), (MacAddr::ZERO, them));
        let bytes = ethernet().macs(us, MacAddr::BROADCAST).arp(packet).build();
        let parsed = SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(NetSlice::Arp(arp)) = parsed.net else { panic!("{parsed:?}") };
        assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(arp.sender_hw_addr(), us.0);
        assert_eq!(arp.sender_protocol_addr(), [10, 0, 0, 9]);
        assert_eq!(arp.target_hw_addr(), [0; 6]);
        assert_eq!(arp.target_protocol_addr(), them.octets());
        let own: &ArpPacket = view(&bytes[EthernetHeader::LENGTH..]);
        assert!(own.is_ethernet_ipv4());
        assert_eq!((own.operation(), own.target()), (Some(ArpOperation::Request), them));
        let mut other = packet;
        other.as_mut_bytes()[1] = 6;
        assert!(!other.is_ethernet_ipv4());
        other.as_mut_bytes()[7] = 3;
        assert_eq!(other.operation(), None);
    }

    #[derive(Clone, Debug)]
    enum Inner {
        Udp(u16, u16),
        Tcp(u16, u16, u8),
        Ping(u16, u16),
    }

    fn inner() -> impl Strategy<Value = Inner> {
        prop_oneof![
            any::<(u16, u16)>().prop_map(|(a, b)| Inner::Udp(a, b)),
            any::<(u16, u16, u8)>().prop_map(|(a, b, flags)| Inner::Tcp(a, b, flags)),
            any::<(u16, u16)>().prop_map(|(a, b)| Inner::Ping(a, b)),
        ]
    }

    fn with(packet: Packet, inner: &Inner) -> Packet {
        match *inner {
            Inner::Udp(a, b) => packet.udp(a, b),
            Inner::Tcp(a, b, flags) => packet.tcp(a, b, TcpFlags(flags)),
            Inner::Ping(a, b) => packet.ping(a, b),
        }
    }

    proptest! {
        #[test]
        fn ipv4_as_an_independent_parser_reads_it(
            tags in prop::collection::vec((any::<bool>(), 0u16..4096), 0..3),
            source: u32, destination: u32, ttl: u8, dont_fragment: bool,
            options in prop::collection::vec(any::<u8>(), 0..40),
            inner in inner(), payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut packet = ethernet();
            for (service, id) in &tags {
                packet = if *service { packet.qinq(*id) } else { packet.vlan(*id) };
            }
            let (from, to) = (Ipv4Addr::from_bits(source), Ipv4Addr::from_bits(destination));
            packet = packet.ipv4(from, to).ttl(ttl).options(&options);
            if dont_fragment {
                packet = packet.dont_fragment();
            }
            let bytes = with(packet, &inner).payload(&payload).build();

            let parsed = SlicedPacket::from_ethernet(&bytes).unwrap();
            let vlans: Vec<u16> = parsed.vlan_ids().iter().map(|id| id.value()).collect();
            prop_assert_eq!(vlans, tags.iter().map(|(_, id)| *id).collect::<Vec<_>>());
            let Some(NetSlice::Ipv4(ip)) = &parsed.net else { panic!("{parsed:?}") };
            let theirs = ip.header().to_header();
            prop_assert_eq!(theirs.header_checksum, theirs.calc_header_checksum());

            let at = EthernetHeader::LENGTH + tags.len() * VlanTag::LENGTH;
            let ours: &Ipv4Header = view(&bytes[at..]);
            prop_assert_eq!(ours.version(), 4);
            prop_assert_eq!(ours.header_length(), theirs.header_len());
            prop_assert_eq!(ours.header_length(), 20 + options.len().next_multiple_of(4));
            prop_assert_eq!(usize::from(ours.total_length.get()), bytes.len() - at);
            prop_assert_eq!(ours.total_length.get(), theirs.total_len);
            prop_assert_eq!(ours.ttl, theirs.time_to_live);
            prop_assert_eq!(ours.protocol.0, theirs.protocol.0);
            prop_assert_eq!(ours.dont_fragment(), theirs.dont_fragment);
            prop_assert!(!ours.is_fragment());
            prop_assert_eq!(ours.source().octets(), theirs.source);
            prop_assert_eq!(ours.destination().octets(), theirs.destination);

            let body = &bytes[at + ours.header_length()..];
            match (&inner, parsed.transport.unwrap()) {
                (Inner::Udp(a, b), TransportSlice::Udp(udp)) => {
                    let theirs = udp.to_header();
                    prop_assert_eq!((theirs.source_port, theirs.destination_port), (*a, *b));
                    prop_assert_eq!(udp.payload(), &payload);
                    let ip = ip.header().to_header();
                    prop_assert_eq!(theirs.checksum, theirs.calc_checksum_ipv4(&ip, &payload).unwrap());
                    prop_assert_eq!(view::<UdpHeader>(body).length.get(), udp.length());
                }
                (Inner::Tcp(a, b, flags), TransportSlice::Tcp(tcp)) => {
                    let theirs = tcp.to_header();
                    prop_assert_eq!((theirs.source_port, theirs.destination_port), (*a, *b));
                    prop_assert_eq!(theirs.syn, TcpFlags(*flags).contains(TcpFlags::SYN));
                    prop_assert_eq!(theirs.rst, TcpFlags(*flags).contains(TcpFlags::RST));
                    let ip = ip.header().to_header();
                    prop_assert_eq!(theirs.checksum, theirs.calc_checksum_ipv4(&ip, &payload).unwrap());
                    prop_assert_eq!(view::<TcpHeader>(body).header_length(), tcp.header_len());
                }
                (Inner::Ping(a, b), TransportSlice::Icmpv4(icmp)) => {
                    let expected = etherparse::IcmpEchoHeader { id: *a, seq: *b };
                    prop_assert_eq!(icmp.icmp_type(), etherparse::Icmpv4Type::EchoRequest(expected));
                    prop_assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(&payload));
                    prop_assert_eq!(view::<Icmp4Header>(body).icmp_type, Icmp4Type::ECHO_REQUEST);
                }
                (inner, other) => panic!("{inner:?} became {other:?}"),
            }
        }

        #[test]
        fn ipv6_as_an_independent_parser_reads_it(
            source: u128, destination: u128, payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let packet = ethernet().ipv6(Ipv6Addr::from_bits(source), Ipv6Addr::from_bits(destination));
            let bytes = packet.udp(1, 2).payload(&payload).build();
            let parsed = SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(NetSlice::Ipv6(ip)) = &parsed.net else { panic!("{parsed:?}") };
            let theirs = ip.header().to_header();
            let ours: &Ipv6Header = view(&bytes[EthernetHeader::LENGTH..]);
            prop_assert_eq!(ours.version(), 6);
            prop_assert_eq!(ours.payload_length.get(), theirs.payload_length);
            prop_assert_eq!(ours.next_header, IpProtocol::UDP);
            prop_assert_eq!(ours.hop_limit, theirs.hop_limit);
            prop_assert_eq!(ours.source().octets(), theirs.source);
            prop_assert_eq!(ours.destination().octets(), theirs.destination);
            let Some(TransportSlice::Udp(udp)) = parsed.transport else { panic!("{parsed:?}") };
            let checksum = udp.to_header().calc_checksum_ipv6(&theirs, &payload).unwrap();
            prop_assert_eq!(udp.checksum(), checksum);

            let ping = ethernet().ipv6(Ipv6Addr::from_bits(source), Ipv6Addr::from_bits(destination));
            let bytes = ping.hop_limit(9).ping6(7, 8).payload(&payload).build();
            let parsed = SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(TransportSlice::Icmpv6(icmp)) = parsed.transport else { panic!("{parsed:?}") };
            let expected = etherparse::Icmpv6Type::EchoRequest(etherparse::IcmpEchoHeader { id: 7, seq: 8 });
            prop_assert_eq!(icmp.icmp_type(), expected);
            let checksum = expected.calc_checksum(theirs.source, theirs.destination, &payload).unwrap();
            prop_assert_eq!(icmp.checksum(), checksum);
        }

        #[test]
        fn fragment_fields_as_an_independent_parser_reads_them(bits: u16) {
            let packet = ipv4([1, 1, 1, 1], [2, 2, 2, 2]);
            let bytes = packet.ipv4_with(|header| header.flags_offset.set(bits & 0x7fff)).build();
            let theirs = etherparse::Ipv4HeaderSlice::from_slice(&bytes).unwrap();
            let ours: &Ipv4Header = view(&bytes);
            prop_assert_eq!(ours.more_fragments(), theirs.more_fragments());
            prop_assert_eq!(ours.dont_fragment(), theirs.dont_fragment());
            prop_assert_eq!(ours.fragment_offset(), usize::from(theirs.fragments_offset().byte_offset()));
            prop_assert_eq!(ours.is_fragment(), theirs.is_fragmenting_payload());
        }
    }
}
