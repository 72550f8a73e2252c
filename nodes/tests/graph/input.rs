// SPDX-License-Identifier: Apache-2.0
//! ip4-input and ip4-lookup: what may be forwarded, and whereto.

use weft_nodes::headers::build::Packet;
use weft_nodes::headers::checksum;
use weft_nodes::headers::{Ipv4Header, TcpFlags};
use weft_nodes::ip4::{DropKind, PathTarget, TableIndex};

use weft_testing::{Bed, DEFAULT, ip};

const ETHERNET: usize = 14;

/// The frame with bytes of its IP header changed and the header checksum made right again.
fn changed(frame: &Packet, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = frame.build();
    change(&mut bytes[ETHERNET..]);
    let header = &mut bytes[ETHERNET..ETHERNET + Ipv4Header::LENGTH];
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn every_malformation_has_its_reason() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let good = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).payload(b"data");
    bed.dies(0, &good.build()[..ETHERNET + 19], "ip4-input/too_short");
    bed.dies(0, &changed(&good, |ip| ip[0] = 0x65), "ip4-input/bad_version");
    bed.dies(0, &changed(&good, |ip| ip[0] = 0x44), "ip4-input/bad_header_length");
    bed.dies(0, &changed(&good, |ip| ip[0] = 0x4f), "ip4-input/bad_header_length");
    let later = |ip: &mut Ipv4Header| ip.flags_offset.set(1);
    let tiny = p0.incoming().ipv4(p0.peer, p1.peer).ipv4_with(later).tcp(1, 2, TcpFlags::SYN);
    bed.dies(0, &tiny.build(), "ip4-input/tcp_header_in_fragments");
    bed.dies(0, &changed(&good, |ip| ip[3] = 19), "ip4-input/bad_total_length");
    bed.dies(0, &changed(&good, |ip| ip[3] += 1), "ip4-input/bad_total_length");
    let mut wrong = good.build();
    wrong[ETHERNET + 10] ^= 1;
    bed.dies(0, &wrong, "ip4-input/bad_checksum");
    for source in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
        let frame = p0.incoming().ipv4(ip(source), p1.peer).udp(1, 2);
        bed.dies(0, &frame.build(), "ip4-input/martian_source");
    }
    for destination in ["0.0.0.0", "127.0.0.1", "240.0.0.1"] {
        let frame = p0.incoming().ipv4(p0.peer, ip(destination)).udp(1, 2);
        bed.dies(0, &frame.build(), "ip4-input/martian_destination");
    }
    assert_eq!((bed.interface(p0.index).ip4, bed.interface(p0.index).drops), (17, 17));
}

#[test]
fn padding_comes_off_and_options_stay() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let mut padded = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).build();
    padded.resize(60, 0xaa);
    bed.receive_bytes(0, padded);
    bed.run();
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
    // Router alert (RFC 2113).
    let options = [148, 4, 0, 0];
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).options(&options).udp(1, 2));
    let expected = p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).options(&options).udp(1, 2);
    assert_eq!(bed.only(1), expected.build());
    bed.counted(&[]);
}

#[test]
fn a_route_can_lead_nowhere() {
    let mut bed = Bed::new();
    let [p0, _] = bed.ports;
    bed.route(DEFAULT, "192.0.2.0/24", &[PathTarget::Drop(DropKind::Blackhole)]);
    let other = bed.add_table();
    bed.route(DEFAULT, "198.51.100.0/24", &[PathTarget::Table(other)]);
    bed.route(other, "198.51.100.0/24", &[PathTarget::Table(DEFAULT)]);
    let to = |destination| p0.incoming().ipv4(p0.peer, ip(destination)).udp(1, 2).build();
    bed.dies(0, &to("192.0.2.1"), "ip4-lookup/blackhole");
    bed.dies(0, &to("198.51.100.1"), "ip4-lookup/table_loop");
    bed.change(p0.index, |interface| interface.ip4.table = TableIndex(7));
    bed.dies(0, &to("192.0.2.1"), "ip4-lookup/no_table");
}

#[test]
fn a_route_can_lead_to_another_table() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let other = bed.add_table();
    bed.route(other, "0.0.0.0/0", &[PathTarget::Table(DEFAULT)]);
    bed.change(p0.index, |interface| interface.ip4.table = other);
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2));
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
}

#[test]
fn a_host_without_address_may_shout() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let discover = p0.incoming().macs(p0.peer_mac, weft_nodes::headers::MacAddr::BROADCAST);
    let discover = discover.ipv4(ip("0.0.0.0"), ip("255.255.255.255")).udp(68, 67).build();
    bed.dies(0, &discover, "ip4-local-end-of-arc/broadcast_no_host");
    bed.with_host(0);
    bed.receive_bytes(0, discover.clone());
    bed.run();
    assert_eq!(bed.punted(0), [discover]);
}
