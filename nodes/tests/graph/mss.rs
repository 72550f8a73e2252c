// SPDX-License-Identifier: Apache-2.0
//! SYNs through an interface with a limit: the option is lowered, the checksum follows, all else is left.

use weft_nodes::headers::checksum::{self, Sum};
use weft_nodes::headers::{IpProtocol, Ipv4Header, TcpFlags, TcpHeader};
use weft_nodes::ip4::TCP_MSS;
use zerocopy::FromBytes;

use weft_testing::Bed;

const ETHERNET: usize = 14;
const TCP: usize = ETHERNET + Ipv4Header::LENGTH;

struct Lab {
    bed: Bed,
}

impl Lab {
    fn new(port: usize, limit: u32) -> Lab {
        let mut bed = Bed::new();
        let index = bed.ports[port].index;
        bed.nodes.values.set(&mut bed.engine, &TCP_MSS, index, limit).expect("the arcs exist");
        bed.run();
        Lab { bed }
    }

    /// A segment with options from the host of port 0 to that of port 1, as it comes out there.
    fn send(&mut self, flags: TcpFlags, options: &[u8]) -> Vec<u8> {
        let [p0, p1] = self.bed.ports;
        let mut frame = p0.incoming().ipv4(p0.peer, p1.peer).tcp(1000, 80, flags).payload(options).build();
        // The builder's segments have no options: what follows the header becomes some.
        let length = (TcpHeader::LENGTH + options.len()) / 4;
        let word = u16::from_be_bytes([frame[TCP + 12], frame[TCP + 13]]);
        frame[TCP + 12] = (length as u8) << 4;
        let new = u16::from_be_bytes([frame[TCP + 12], frame[TCP + 13]]);
        let sum = u16::from_be_bytes([frame[TCP + 16], frame[TCP + 17]]);
        frame[TCP + 16..TCP + 18].copy_from_slice(&checksum::update(sum, word, new).to_be_bytes());
        assert!(is_valid(&frame), "a good segment goes in");
        self.bed.receive_bytes(0, frame);
        self.bed.run();
        let out = self.bed.only(1);
        assert!(is_valid(&out), "and a good one comes out");
        out[TCP + TcpHeader::LENGTH..].to_vec()
    }
}

fn is_valid(frame: &[u8]) -> bool {
    let (ip, segment) = Ipv4Header::ref_from_prefix(&frame[ETHERNET..]).expect("an IPv4 header");
    let sum = Sum::pseudo_header(ip, IpProtocol::TCP, segment.len() as u16).bytes(segment);
    sum.checksum() == 0
}

const SYN: TcpFlags = TcpFlags::SYN;

#[test]
fn the_option_is_lowered_on_the_way_in_and_on_the_way_out() {
    for port in [0, 1] {
        let mut lab = Lab::new(port, 1300);
        assert_eq!(lab.send(SYN, &[2, 4, 5, 180, 1, 3, 3, 7]), [2, 4, 5, 20, 1, 3, 3, 7]);
        // At an odd place.
        assert_eq!(lab.send(SYN, &[1, 2, 4, 5, 180, 3, 3, 7]), [1, 2, 4, 5, 20, 3, 3, 7]);
        let answer = TcpFlags(SYN.0 | TcpFlags::ACK.0);
        assert_eq!(lab.send(answer, &[2, 4, 5, 180]), [2, 4, 5, 20]);
    }
}

#[test]
fn what_fits_and_what_begins_nothing_is_left_alone() {
    let mut lab = Lab::new(0, 1300);
    for (flags, options) in [
        (SYN, &[2, 4, 5, 20][..]),
        (SYN, &[2, 4, 2, 24]),
        (SYN, &[]),
        (SYN, &[0, 0, 2, 4, 5, 180, 0, 0]),
        (SYN, &[3, 0, 2, 4, 5, 180, 0, 0]),
        (TcpFlags::ACK, &[2, 4, 5, 180]),
    ] {
        assert_eq!(lab.send(flags, options), options, "{flags:?}");
    }
    let index = lab.bed.ports[0].index;
    let Lab { bed } = &mut lab;
    bed.nodes.values.set(&mut bed.engine, &TCP_MSS, index, 0).expect("the arcs exist");
    bed.run();
    assert_eq!(lab.send(SYN, &[2, 4, 5, 180]), [2, 4, 5, 180]);
}

#[test]
fn later_fragments_and_cut_headers_are_left_alone() {
    let mut lab = Lab::new(0, 1300);
    let [p0, p1] = lab.bed.ports;
    // What would be a SYN with the option is data of a later fragment.
    let mut bytes = p0.incoming().ipv4(p0.peer, p1.peer).tcp(1000, 80, SYN).payload(&[2, 4, 5, 180]).build();
    bytes.drain(..TCP);
    let later = p0
        .incoming()
        .ipv4(p0.peer, p1.peer)
        .ipv4_with(|ip| {
            ip.flags_offset.set(3);
            ip.protocol = IpProtocol::TCP;
        })
        .payload(&bytes);
    lab.bed.pass(0, &later);
    assert_eq!(lab.bed.only(1)[TCP..], bytes);
    for cut in [0, 4, 19] {
        let short = p0
            .incoming()
            .ipv4(p0.peer, p1.peer)
            .ipv4_with(|ip| ip.protocol = IpProtocol::TCP)
            .payload(&bytes[..cut]);
        lab.bed.pass(0, &short);
        assert_eq!(lab.bed.only(1)[TCP..TCP + cut], bytes[..cut]);
    }
}
