// SPDX-License-Identifier: Apache-2.0
//! loopback-tx: an interface with nobody else on it.

use weft_engine::buffer::HEADROOM;
use weft_nodes::arp::request_frame;
use weft_nodes::headers::build::ethernet;
use weft_nodes::headers::{Icmp4Header, Icmp4Type, MacAddr};
use weft_nodes::interface::Tags;

use weft_testing::{Bed, ip, wanted};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 7, 1]);

#[test]
fn its_address_answers_and_its_subnet_is_empty() {
    let mut bed = Bed::new();
    let [p0, _] = bed.ports;
    let loopback = bed.loopback("loop0", MAC);
    bed.address(loopback, "10.7.0.1/24");
    bed.pass(0, &p0.incoming().ipv4(p0.peer, ip("10.7.0.1")).ping(1, 1));
    let reply = Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [1, 1]);
    assert_eq!(bed.only(0), p0.outgoing().ipv4(ip("10.7.0.1"), p0.peer).icmp4(reply).build());
    bed.moved();
    // Nobody will ever answer for a neighbour there: our question comes back to ourselves.
    bed.pass(0, &p0.incoming().ipv4(p0.peer, ip("10.7.0.9")).udp(1, 2));
    bed.counted(&[("ip4-arp/requests", 1)]);
    assert_eq!(bed.notices(), [wanted(loopback, ip("10.7.0.9"))]);
    let question = request_frame((MAC, ip("10.7.0.1")), ip("10.7.0.9"), None, Tags::default());
    bed.place("loopback-tx", &question, HEADROOM, |meta| meta.tx_interface = loopback);
    bed.run();
    bed.counted(&[("arp-reply/own_packet", 1)]);
    let counts = bed.interface(loopback);
    assert_eq!((counts.tx, counts.rx, counts.drops), (1, 1, 1));
}

#[test]
fn what_it_sends_to_itself_it_receives() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let loopback = bed.loopback("loop0", MAC);
    bed.address(loopback, "10.7.0.1/24");
    let frame = ethernet().macs(MAC, MAC).ipv4(p0.peer, p1.peer).udp(1, 2).build();
    bed.place("loopback-tx", &frame, HEADROOM, |meta| meta.tx_interface = loopback);
    bed.run();
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
    bed.counted(&[]);
}

#[test]
fn what_it_sends_to_others_is_lost() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let loopback = bed.loopback("loop0", MAC);
    let other = ethernet().macs(MAC, p0.peer_mac).ipv4(p0.peer, p1.peer).build();
    bed.place("loopback-tx", &other, HEADROOM, |meta| meta.tx_interface = loopback);
    bed.run();
    bed.counted(&[("loopback-tx/no_such_station", 1)]);
    bed.place("loopback-tx", &other, HEADROOM, |_| {});
    bed.run();
    bed.counted(&[("loopback-tx/no_interface", 1)]);
}
