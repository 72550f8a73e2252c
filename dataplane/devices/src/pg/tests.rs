// SPDX-License-Identifier: Apache-2.0
//! From text to bytes: every packet that a description makes is checked by etherparse, which reads packets
//! and knows nothing of how these were made.

use std::net::Ipv4Addr;

use etherparse::{Icmpv4Type, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::header::Layer;
use super::lex::Cursor;
use super::template::{Description, Sizes, Template};
use super::{Parameters, StreamError, StreamSpec, packet, parse};

fn described(text: &str) -> Description {
    packet::parse(Cursor::new(text), Layer::Ethernet).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The first `count` packets.
fn make(text: &str, sizes: Option<Sizes>, count: usize) -> Vec<Vec<u8>> {
    let description = described(text);
    let sizes = Parameters { size: sizes, ..Parameters::default() }.sizes(description.bytes.len()).unwrap();
    let mut template = Template::new(&description, sizes);
    let next = |_| {
        let mut packet = vec![0xaa; template.next_size()];
        template.fill(&mut packet);
        packet
    };
    (0..count).map(next).collect()
}

/// Lengths agree with each other and every checksum is right.
fn check(packet: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(packet).unwrap();
    let link = 14 + 4 * sliced.link_exts.len();
    match (sliced.net.unwrap(), sliced.transport) {
        (NetSlice::Ipv4(ip), transport) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.total_len), packet.len() - link);
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            match transport {
                Some(TransportSlice::Udp(udp)) => {
                    assert_eq!(usize::from(udp.length()), packet.len() - link - 20);
                    let expected = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                    assert_eq!(udp.checksum(), expected);
                }
                Some(TransportSlice::Tcp(tcp)) => {
                    let expected = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
                    assert_eq!(tcp.checksum(), expected);
                }
                Some(TransportSlice::Icmpv4(icmp)) => {
                    let header = icmp.header();
                    assert_eq!(header.checksum, header.icmp_type.calc_checksum(icmp.payload()));
                }
                other => panic!("no transport: {other:?}"),
            }
        }
        (NetSlice::Ipv6(ip), transport) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length), packet.len() - link - 40);
            match transport {
                Some(TransportSlice::Udp(udp)) => {
                    let expected = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
                    assert_eq!(udp.checksum(), expected);
                }
                Some(TransportSlice::Tcp(tcp)) => {
                    let expected = tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap();
                    assert_eq!(tcp.checksum(), expected);
                }
                other => panic!("no transport: {other:?}"),
            }
        }
        (NetSlice::Arp(_), _) => panic!("no IP"),
    }
}

/// A value, or a range of either kind.
fn range<T: Copy + std::fmt::Display>(lo: T, hi: T, kind: u8) -> String {
    match kind {
        0 => lo.to_string(),
        1 => format!("{lo}-{hi}"),
        _ => format!("{lo} + {hi}"),
    }
}

prop_compose! {
    fn number(bits: u32)(a in 0..1u64 << bits, b in 0..1u64 << bits, kind in 0u8..3) -> String {
        range(a.min(b), a.max(b), kind)
    }
}

prop_compose! {
    fn ip4()(a: u32, b: u32, kind in 0u8..3) -> String {
        range(Ipv4Addr::from(a.min(b)), Ipv4Addr::from(a.max(b)), kind)
    }
}

prop_compose! {
    fn ip6()(a: u128, span: u64, kind in 0u8..3) -> String {
        range(std::net::Ipv6Addr::from(a), a.saturating_add(span.into()).into(), kind)
    }
}

prop_compose! {
    fn mac()(a: u32, b: u32, kind in 0u8..3) -> String {
        let spell = |low: u32| format!("02:fe:{:02x}:{:02x}:{:02x}:{:02x}", low >> 24, low >> 16 & 255, low >> 8 & 255, low & 255);
        range(spell(a.min(b)).as_str(), &spell(a.max(b)), kind)
    }
}

fn transport() -> impl Strategy<Value = String> {
    prop_oneof![
        (number(16), number(16)).prop_map(|(a, b)| format!("UDP: {a} -> {b}")),
        (number(16), number(16), number(32), number(16))
            .prop_map(|(a, b, seq, window)| format!("TCP: {a} -> {b} seqnum {seq} SYN window {window} ECE")),
    ]
}

fn stream() -> impl Strategy<Value = String> {
    let ethernet =
        (mac(), mac(), prop::collection::vec((number(12), number(3)), 0..3)).prop_map(|(a, b, tags)| {
            let tags: String =
                tags.iter().map(|(id, priority)| format!(" vlan {id} priority {priority}")).collect();
            format!("{a} -> {b}{tags}")
        });
    let v4 = (ip4(), ip4(), number(8), number(8), number(16), transport()).prop_map(
        |(a, b, ttl, tos, id, transport)| {
            let name = &transport[..3];
            format!("{name}: {a} -> {b} ttl {ttl} tos {tos} df fragment id {id} offset 0 {transport}")
        },
    );
    let icmp = (ip4(), ip4()).prop_map(|(a, b)| format!("ICMP: {a} -> {b} ICMP echo_request hex 0x12340001"));
    let v6 =
        (ip6(), ip6(), number(8), number(20), transport()).prop_map(|(a, b, limit, label, transport)| {
            let name = &transport[..3];
            format!("{name}: {a} -> {b} flow-label {label} hop-limit {limit} {transport}")
        });
    let ip = prop_oneof![
        v4.prop_map(|text| ("IP4", text)),
        icmp.prop_map(|text| ("IP4", text)),
        v6.prop_map(|text| ("IP6", text)),
    ];
    (ethernet, ip, 0usize..100)
        .prop_map(|(ethernet, (name, ip), payload)| format!("{name}: {ethernet} {ip} incrementing {payload}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_packet_is_whole(text in stream(), extra in 0usize..60, span in 0usize..200, random: bool) {
        let min = described(&text).bytes.len() + extra;
        for packet in make(&text, Some(Sizes { min, max: min + span, random }), 12) {
            prop_assert!((min..=min + span).contains(&packet.len()));
            check(&packet);
        }
    }

    #[test]
    fn any_text_is_refused_or_taken_in_peace(text in ".{0,60}") {
        let _ = text.parse::<StreamSpec>();
        let _ = packet::parse(Cursor::new(&text), Layer::Ethernet);
        let _ = packet::parse(Cursor::new(&text), Layer::Ip4);
    }

    #[test]
    fn words_in_any_order_are_refused_or_taken_in_peace(
        words in prop::collection::vec(prop::sample::select(&[
            "IP4:", "IP6:", "UDP:", "TCP:", "ICMP:", "ICMP", "0x800:", "1.2.3", "->", "10.0.0.1", "10.0.0.1-10.0.0.9",
            "fe80::1", "1", "-", "+", "hex", "0x01", "incrementing", "vlan", "ttl", "length", "echo_request_0", "df",
            "request:", "{", "}", "size", "data", "name", "limit", "1e3", "pcap", "source", "pg1",
        ][..]), 0..12),
    ) {
        let text = words.join(" ");
        if let Ok(description) = packet::parse(Cursor::new(&text), Layer::Ethernet)
            && let Ok(sizes) = Parameters::default().sizes(description.bytes.len())
        {
            let mut template = Template::new(&description, sizes);
            template.fill(&mut vec![0; sizes.max]);
        }
        let _ = text.parse::<StreamSpec>();
    }
}

#[test]
fn a_packet_as_it_is_written_in_manuals() {
    let text = "IP4: 1.2.3 -> 4.5.6 UDP: 192.168.1.1 -> 192.168.2.1 ttl 63 UDP: 1234 -> 2345 incrementing 22";
    let packet = make(text, None, 1).remove(0);
    assert_eq!(packet.len(), 64);
    assert_eq!(packet[..14], [0, 4, 0, 5, 0, 6, 0, 1, 0, 2, 0, 3, 8, 0]);
    assert_eq!(packet[14..24], [0x45, 0, 0, 50, 0, 0, 0, 0, 63, 17]);
    assert_eq!(packet[26..34], [192, 168, 1, 1, 192, 168, 2, 1]);
    assert_eq!(packet[34..40], [4, 210, 9, 41, 0, 30]);
    assert_eq!(packet[42..45], [0, 1, 2]);
    assert_eq!(packet[63], 21);
    check(&packet);
}

#[test]
fn ranges_count_up_and_wrap() {
    let text = "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.254-10.0.1.0 -> 10.1.0.1 UDP: 7 -> 1-2";
    let fields: Vec<_> = make(text, None, 5).iter().map(|p| (p[28], p[29], p[37])).collect();
    assert_eq!(fields, [(0, 254, 1), (0, 255, 2), (1, 0, 1), (0, 254, 2), (0, 255, 1)]);
}

#[test]
fn random_fields_are_the_same_in_every_run() {
    let text = "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.0+10.255.255.255 -> 10.1.0.1 UDP: 7 -> 1+9";
    let (first, second) = (make(text, None, 50), make(text, None, 50));
    assert_eq!(first, second);
    let addresses: std::collections::HashSet<_> =
        first.iter().map(|packet| packet[26..30].to_vec()).collect();
    assert!(addresses.len() > 45);
}

#[test]
fn explicit_lengths_and_checksums_stay() {
    let text = "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 length 99 checksum 0xabcd UDP: 1-9 -> 2 length 7 checksum 0";
    for packet in make(text, Some(Sizes { min: 60, max: 70, random: false }), 3) {
        assert_eq!((packet[16], packet[17], packet[24], packet[25]), (0, 99, 0xab, 0xcd));
        assert_eq!(packet[38..42], [0, 7, 0, 0]);
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // The payload makes the sum 0xffff: RFC 768 has 0 mean that there is none.
    let zero = make(
        "IP4: 1.2.3 -> 4.5.6 UDP: 0.0.0.0 -> 0.0.0.0 UDP: 0 -> 0 hex 0x0000",
        Some(Sizes { min: 44, max: 44, random: false }),
        1,
    );
    let sum = u16::from_be_bytes([zero[0][40], zero[0][41]]);
    let text = format!("IP4: 1.2.3 -> 4.5.6 UDP: 0.0.0.0 -> 0.0.0.0 UDP: 0 -> 0 hex 0x{sum:04x}");
    let packet = make(&text, Some(Sizes { min: 44, max: 44, random: false }), 1).remove(0);
    assert_eq!(packet[40..42], [0xff, 0xff]);
    check(&packet);
}

#[test]
fn tags_arp_icmp_and_tunnels() {
    let packet =
        make("0x88cc: 1.2.3 -> 4.5.6 dot1ad 7 vlan 100 priority 5 cfi 1 hex 0x0102", None, 1).remove(0);
    assert_eq!(packet[12..24], [0x88, 0xa8, 0, 7, 0x81, 0, 0xb0, 100, 0x88, 0xcc, 1, 2]);

    let text = "ARP: 1.2.3 -> ff:ff:ff:ff:ff:ff request: 1.2.3/10.0.0.1 -> 0.0.0/10.0.0.2-10.0.0.9";
    let packet = make(text, None, 2).remove(1);
    assert_eq!(packet[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!(packet[22..42], [0, 1, 0, 2, 0, 3, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 3]);

    let text = "IP4: 1.2.3 -> 4.5.6 ICMP: 10.0.0.1 -> 10.0.0.2 ICMP time_exceeded_ttl_exceeded_in_transit hex 0x00000000 incrementing 36";
    let packet = make(text, None, 1).remove(0);
    let sliced = SlicedPacket::from_ethernet(&packet).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("{sliced:?}") };
    assert!(matches!(icmp.header().icmp_type, Icmpv4Type::TimeExceeded(_)));
    check(&packet);

    let text =
        "IP4: 1.2.3 -> 4.5.6 IP_IN_IP: 10.0.0.1 -> 10.0.0.2 UDP: 10.1.0.1+10.1.0.9 -> 10.1.0.2 UDP: 1 -> 2";
    for packet in make(text, None, 5) {
        let inner = SlicedPacket::from_ip(&packet[34..]).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (inner.net, inner.transport) else {
            panic!("no UDP inside")
        };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert_eq!(udp.checksum(), udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap());
    }
}

#[test]
fn errors_name_the_word_the_place_and_what_was_expected() {
    for (text, message) in [
        ("", "line 1, column 1: found the end, expected a packet"),
        (
            "IP5: 1.2.3 -> 4.5.6",
            "line 1, column 1: found 'IP5:', expected IP4, ARP, IP6 or a number, then ':'",
        ),
        ("IP4: 1.2.3 > 4.5.6", "line 1, column 12: found '>', expected '->' and the Ethernet destination"),
        (
            "IP4: 1.2 -> 4.5.6",
            "line 1, column 6: found '1.2', expected a MAC address (00:11:22:33:44:55 or 0011.2233.4455)",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6\n  UDP: 10.0.0.256 -> 10.0.0.1",
            "line 2, column 8: found '10.0.0.256', expected an IPv4 address",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.1 ttl 256",
            "line 1, column 51: found '256', expected ttl, a number up to 255",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.1 fragment id 1 offset 12",
            "line 1, column 68: found '12', expected offset, a multiple of 8 up to 65528",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.9-10.0.0.1 -> 10.0.0.1",
            "line 1, column 35: found '10.0.0.1', expected the upper end of a range, not below its lower end",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.1 colour 3",
            "line 1, column 47: found 'colour', expected 'UDP:'",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 hex 0x123",
            "line 1, column 25: found '0x123', expected 0x and an even number of hexadecimal digits",
        ),
        (
            "IP4: 1.2.3 -> 4.5.6 incrementing 70000",
            "line 1, column 34: found '70000', expected at most 65535 bytes",
        ),
    ] {
        let error = packet::parse(Cursor::new(text), Layer::Ethernet).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn a_stream_with_all_parameters() {
    let text = "name x limit 1e3 rate 2.5e6 size 64-128 buffer-size 256 interface eth0 tx-interface eth1\n\
        node ip4-input source pg7 worker 1 maxframe 32 data { UDP: 10.0.0.1 -> 10.0.0.2 }";
    let spec: StreamSpec = text.parse().unwrap();
    assert_eq!(spec.name.as_deref(), Some("x"));
    assert_eq!(spec.parameters.limit.flatten().map(u64::from), Some(1000));
    assert_eq!(spec.parameters.rate, Some(Some(parse::PacketsPerSecond(2.5e6))));
    assert_eq!(spec.parameters.size, Some(Sizes { min: 64, max: 128, random: false }));
    assert_eq!(spec.parameters.buffer_size, Some(256));
    assert_eq!((spec.interface.as_deref(), spec.tx_interface.as_deref()), (Some("eth0"), Some("eth1")));
    assert_eq!((spec.node.as_deref(), spec.source), (Some("ip4-input"), Some(super::PgId(7))));
    assert_eq!((spec.worker, spec.max_frame), (1, 32));

    // The order is free, and names may stand in braces.
    let spec: StreamSpec = "pcap /tmp/a.pcap name { a b } limit 0".parse().unwrap();
    assert_eq!(spec.packets, super::Packets::Pcap("/tmp/a.pcap".into()));
    assert_eq!((spec.name.as_deref(), spec.parameters.limit), (Some("a b"), Some(None)));
}

#[test]
fn wrong_streams_are_refused() {
    for (text, message) in [
        ("name x", "no packet data given"),
        ("pcap a data { }", "found both 'data' and 'pcap'"),
        ("colour x", "line 1, column 1: found 'colour', expected name, limit, rate"),
        ("limit x", "line 1, column 7: found 'x', expected a number"),
        ("limit", "line 1, column 6: found the end, expected a number"),
        ("rate -1 data { }", "negative rate"),
        ("source eth0", "found 'eth0', expected a packet-generator interface"),
        ("maxframe 300", "found '300', expected a number of packets from 1 to 256"),
        ("name x\ndata { IP4: 1.2.3", "line 2, column 6: found '{', expected a '}' that closes this '{'"),
        ("name", "found the end, expected a name"),
    ] {
        let error = text.parse::<StreamSpec>().unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let size = |text: &str, described| text.parse::<Parameters>().unwrap().sizes(described);
    assert_eq!(size("size 100-64", 20), Err(StreamError::SizeOrder { min: 100, max: 64 }));
    assert_eq!(size("size 64-64", 80), Err(StreamError::SizeBelowHeaders { min: 64, headers: 80 }));
    assert_eq!(size("size 64-70000", 20), Err(StreamError::SizeAboveLimit(70000)));
    assert_eq!(size("", 80), Ok(Sizes { min: 80, max: 80, random: false }));
    assert!("colour 1".parse::<Parameters>().is_err());
}
