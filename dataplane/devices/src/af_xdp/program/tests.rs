// SPDX-License-Identifier: Apache-2.0
//! The program itself, run by the kernel on crafted frames (`BPF_PROG_TEST_RUN`): what it takes and
//! what it passes on.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::af_xdp::socket::{self, RingSizes, SocketOptions, XskRx, XskTx};
use crate::af_xdp::umem::CopyMode;
use crate::testing::{Namespace, PacketMemory, link_index, udp};

const TAKEN: u32 = libbpf_sys::XDP_REDIRECT;
const PASSED: u32 = libbpf_sys::XDP_PASS;

struct Bed {
    program: Program,
    namespace: Namespace,
    socket: (XskRx, XskTx),
}

impl Bed {
    /// The program with a live socket on queue 0 of a loopback interface, which is what test runs
    /// are made on.
    fn new(filter: &Filter) -> Self {
        let bed = Self::without_socket(filter);
        bed.program.connect(QueueId(0), bed.socket.0.as_fd()).expect("the map takes the socket");
        bed
    }

    fn without_socket(filter: &Filter) -> Self {
        let namespace = Namespace::new("bpf");
        let link = link_index(&namespace, "lo");
        let umem = PacketMemory::new(16).umem(0);
        let options = SocketOptions {
            rings: RingSizes::all(8),
            mode: CopyMode::Copy,
            pieces: false,
            tx_budget: None,
            busy_poll: None,
            patience: Duration::ZERO,
        };
        let opened =
            namespace.open().run(|| socket::open(&umem, link, QueueId(0), &options)).expect("namespace");
        let (_, rx, tx, _) = opened.expect("a socket on lo");
        let program = Program::load(1, filter, false).expect("the program loads");
        Self { program, namespace, socket: (rx, tx) }
    }

    fn verdict(&self, frame: &[u8]) -> u32 {
        let program = self.program.program.as_fd();
        let run = || {
            let mut options = libbpf_sys::bpf_test_run_opts {
                data_in: frame.as_ptr().cast(),
                data_size_in: frame.len() as u32,
                repeat: 1,
                ..Default::default()
            };
            options.sz = size_of_val(&options) as libbpf_sys::size_t;
            // SAFETY: the descriptor is open; the frame outlives the call and its length is given.
            let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut options) };
            assert_eq!(result, 0, "BPF_PROG_TEST_RUN");
            options.retval
        };
        // A test run takes the loopback interface of the caller's namespace as the one that
        // received.
        self.namespace.open().run(run).expect("the namespace can be entered")
    }
}

fn pinhole(matches: &[Match]) -> Filter {
    Filter::Pinhole { matches: matches.to_vec(), arp: Arp::Pass }
}

const HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

/// `frame` with `ethertype`, and nothing that IPv4 could be read from.
fn typed(ethertype: u16) -> Vec<u8> {
    let mut frame = udp(HOST, 53, 0);
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
    frame
}

/// `frame` after VLAN tags of these types.
fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for tag in tags {
        out.extend(tag.to_be_bytes());
        out.extend(100u16.to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

/// `frame` with another byte at `at`.
fn with(mut frame: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    frame[at] = byte;
    frame
}

#[test]
fn without_a_filter_everything_is_taken() {
    let bed = Bed::new(&Filter::All);
    for frame in [udp(HOST, 53, 0), typed(0x0806), typed(0x86dd), vec![0; 14]] {
        assert_eq!(bed.verdict(&frame), TAKEN);
    }
}

#[test]
fn a_queue_without_a_socket_is_left_to_the_kernel() {
    let bed = Bed::without_socket(&Filter::All);
    assert_eq!(bed.verdict(&udp(HOST, 53, 0)), PASSED);
}

#[test]
fn an_empty_pinhole_takes_nothing() {
    let bed = Bed::new(&pinhole(&[]));
    for frame in [udp(HOST, 53, 0), typed(0x0806), typed(0x86dd), vec![0; 14]] {
        assert_eq!(bed.verdict(&frame), PASSED);
    }
}

#[test]
fn destinations_match_by_prefix() {
    let prefix = |text: &str| Match::Destination(text.parse().expect("a prefix"));
    let bed = Bed::new(&pinhole(&[prefix("10.1.0.0/16"), prefix("192.0.2.7/32")]));
    let verdict = |a, b, c, d| bed.verdict(&udp(Ipv4Addr::new(a, b, c, d), 53, 0));
    assert_eq!(verdict(10, 1, 0, 0), TAKEN);
    assert_eq!(verdict(10, 1, 255, 255), TAKEN);
    assert_eq!(verdict(10, 2, 0, 0), PASSED);
    assert_eq!(verdict(10, 0, 255, 255), PASSED);
    assert_eq!(verdict(192, 0, 2, 7), TAKEN);
    assert_eq!(verdict(192, 0, 2, 6), PASSED);
    assert_eq!(bed.verdict(&typed(0x86dd)), PASSED);

    let everything = Bed::new(&pinhole(&[prefix("0.0.0.0/0")]));
    assert_eq!(everything.verdict(&udp(HOST, 53, 0)), TAKEN);
    assert_eq!(everything.verdict(&typed(0x0806)), PASSED);
}

#[test]
fn services_match_by_protocol_and_port() {
    let bed = Bed::new(&pinhole(&[Match::Service { transport: Transport::Udp, port: 4789 }]));
    let vxlan = udp(HOST, 4789, 0);
    assert_eq!(bed.verdict(&vxlan), TAKEN);
    assert_eq!(bed.verdict(&udp(HOST, 4788, 0)), PASSED);
    assert_eq!(bed.verdict(&with(vxlan.clone(), 23, 6)), PASSED, "TCP to the same port");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 23, 1)), PASSED, "a protocol without ports");
    // Source port 4789, destination port 4000.
    let mut reply = vxlan.clone();
    reply[34..36].copy_from_slice(&4789u16.to_be_bytes());
    reply[36..38].copy_from_slice(&4000u16.to_be_bytes());
    assert_eq!(bed.verdict(&reply), PASSED, "the source port doesn't count");
    // Four bytes of options: the ports stand four bytes later.
    let mut options = with(vxlan.clone(), 14, 0x46);
    options.splice(34..34, [1, 1, 1, 0]);
    assert_eq!(bed.verdict(&options), TAKEN);
}

#[test]
fn fragments_and_malformed_packets_are_no_service() {
    let bed = Bed::new(&pinhole(&[Match::Service { transport: Transport::Udp, port: 4789 }]));
    let vxlan = udp(HOST, 4789, 0);
    assert_eq!(bed.verdict(&with(vxlan.clone(), 20, 0x40)), TAKEN, "don't fragment");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 20, 0x20)), PASSED, "first fragment");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 21, 0x01)), PASSED, "later fragment");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 14, 0x65)), PASSED, "version 6");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 14, 0x44)), PASSED, "header shorter than 20 bytes");
    assert_eq!(bed.verdict(&with(vxlan.clone(), 14, 0x4f)), PASSED, "header longer than the frame");
    assert_eq!(bed.verdict(&vxlan[..33]), PASSED, "cut within the IP header");
    assert_eq!(bed.verdict(&vxlan[..37]), PASSED, "cut within the ports");
}

#[test]
fn types_match_before_and_behind_tags() {
    let bed = Bed::new(&pinhole(&[Match::Type(EtherType(0x88cc))]));
    let lldp = typed(0x88cc);
    assert_eq!(bed.verdict(&lldp), TAKEN);
    assert_eq!(bed.verdict(&typed(0x88cd)), PASSED);
    assert_eq!(bed.verdict(&tagged(&lldp, &[0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&lldp, &[0x88a8, 0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&lldp, &[0x88a8, 0x8100, 0x8100])), PASSED, "three tags");
    assert_eq!(bed.verdict(&tagged(&lldp, &[0x8100])[..16]), PASSED, "cut within the tag");
}

#[test]
fn a_tag_type_takes_all_tagged_frames() {
    let bed = Bed::new(&pinhole(&[Match::Type(EtherType(0x8100))]));
    assert_eq!(bed.verdict(&tagged(&typed(0x88cc), &[0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&typed(0x88cc), &[0x88a8, 0x8100])), TAKEN);
    assert_eq!(bed.verdict(&typed(0x88cc)), PASSED);
}

#[test]
fn packets_are_found_behind_tags() {
    let service = Match::Service { transport: Transport::Udp, port: 4789 };
    let bed = Bed::new(&pinhole(&[Match::Destination("192.0.2.0/24".parse().expect("a prefix")), service]));
    let inside = udp(Ipv4Addr::new(192, 0, 2, 1), 53, 0);
    assert_eq!(bed.verdict(&tagged(&inside, &[0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&inside, &[0x88a8, 0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&udp(HOST, 4789, 0), &[0x8100])), TAKEN);
    assert_eq!(bed.verdict(&tagged(&udp(HOST, 53, 0), &[0x8100])), PASSED);
}

#[test]
fn arp_goes_where_the_filter_says() {
    let arp = typed(0x0806);
    let matches = vec![Match::Destination("10.1.0.0/16".parse().expect("a prefix"))];
    let passing = Bed::new(&Filter::Pinhole { matches: matches.clone(), arp: Arp::Pass });
    assert_eq!(passing.verdict(&arp), PASSED);
    let taking = Bed::new(&Filter::Pinhole { matches, arp: Arp::Take });
    assert_eq!(taking.verdict(&arp), TAKEN);
    assert_eq!(taking.verdict(&udp(Ipv4Addr::new(10, 2, 0, 1), 53, 0)), PASSED);
}

/// An IPv6 packet to `destination` with this next header, and a transport header that begins with `start`.
fn ipv6(destination: &str, next_header: u8, start: [u8; 4]) -> Vec<u8> {
    let mut frame = typed(0x86dd)[..14].to_vec();
    frame.extend([0x60, 0, 0, 0, 0, 8, next_header, 255]);
    frame.extend([0xfe; 16]);
    frame.extend(destination.parse::<std::net::Ipv6Addr>().expect("an address").octets());
    frame.extend(start);
    frame.extend([0; 4]);
    frame
}

#[test]
fn ipv6_matches_by_prefix_and_by_port() {
    let matches = [
        Match::Destination("2001:db8:1::/48".parse().expect("a prefix")),
        Match::Service { transport: Transport::Udp, port: 4789 },
    ];
    let bed = Bed::new(&pinhole(&matches));
    let [high, low] = 4789u16.to_be_bytes();
    assert_eq!(bed.verdict(&ipv6("2001:db8:1::7", 17, [0; 4])), TAKEN);
    assert_eq!(bed.verdict(&ipv6("2001:db8:2::7", 17, [0; 4])), PASSED);
    assert_eq!(bed.verdict(&ipv6("2001:db8:2::7", 17, [0, 0, high, low])), TAKEN);
    assert_eq!(bed.verdict(&ipv6("2001:db8:2::7", 6, [0, 0, high, low])), PASSED, "TCP to the same port");
    assert_eq!(bed.verdict(&ipv6("2001:db8:2::7", 44, [17, 0, high, low])), PASSED, "a fragment");
    assert_eq!(bed.verdict(&tagged(&ipv6("2001:db8:1::7", 17, [0; 4]), &[0x8100])), TAKEN);
    assert_eq!(bed.verdict(&with(ipv6("2001:db8:1::7", 17, [0; 4]), 14, 0x40)), PASSED, "version 4");
    assert_eq!(bed.verdict(&ipv6("2001:db8:1::7", 17, [0; 4])[..53]), PASSED, "cut within the header");
}

#[test]
fn neighbour_discovery_is_the_kernel_s_also_for_addresses_that_are_taken() {
    let bed = Bed::new(&pinhole(&[Match::Destination("2001:db8:1::/48".parse().expect("a prefix"))]));
    for (kind, verdict) in
        [(132, TAKEN), (133, PASSED), (134, PASSED), (135, PASSED), (136, PASSED), (137, TAKEN)]
    {
        assert_eq!(bed.verdict(&ipv6("2001:db8:1::7", 58, [kind, 0, 0, 0])), verdict, "type {kind}");
    }
}
