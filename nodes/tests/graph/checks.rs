// SPDX-License-Identifier: Apache-2.0
//! What interfaces let in, and what they leave to the host to send on.

use std::net::Ipv4Addr;

use weft_nodes::headers::build::Packet;
use weft_nodes::ip4::{DropKind, PathTarget, SourceCheck};

use weft_testing::{Bed, DEFAULT, ip};

fn check(bed: &mut Bed, check: SourceCheck) {
    let (admission, index) = (bed.nodes.admission, bed.ports[0].index);
    admission.check_sources(&mut bed.engine, index, check).unwrap();
    bed.run();
}

fn from(bed: &mut Bed, source: Ipv4Addr, destination: Ipv4Addr) -> Packet {
    bed.ports[0].incoming().ipv4(source, destination).udp(1, 2).payload(b"data")
}

#[test]
fn sources_are_believed_as_rfc_3704_says() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let via = |port: weft_testing::Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
    bed.route(DEFAULT, "20.0.0.0/24", &[via(p0)]);
    bed.route(DEFAULT, "20.0.1.0/24", &[via(p1)]);
    bed.route(DEFAULT, "20.0.2.0/24", &[via(p0), via(p1)]);
    bed.route(DEFAULT, "20.0.3.0/24", &[PathTarget::Drop(DropKind::Blackhole)]);
    bed.route(DEFAULT, "20.0.4.0/24", &[PathTarget::Punt]);
    let table = bed.add_table();
    bed.route(table, "20.0.5.0/24", &[via(p0)]);
    bed.route(DEFAULT, "20.0.5.0/24", &[PathTarget::Table(table)]);
    let no_route = Some("no_source_route");
    let wrong = Some("wrong_source_interface");
    // Source, and why it is not believed if the check is strict, and if it is loose.
    let cases = [
        ("10.0.0.2", None, None),
        ("10.0.0.77", None, None),
        ("10.0.1.2", wrong, None),
        ("10.0.1.77", wrong, None),
        ("20.0.0.1", None, None),
        ("20.0.1.1", wrong, None),
        ("20.0.2.1", None, None),
        ("20.0.3.1", no_route, no_route),
        ("20.0.4.1", wrong, None),
        ("20.0.5.1", None, None),
        ("30.0.0.1", no_route, no_route),
        ("10.0.0.1", Some("own_source"), Some("own_source")),
        ("10.0.1.1", Some("own_source"), Some("own_source")),
    ];
    for (mode, node) in
        [(SourceCheck::Strict, "ip4-rx-urpf-strict"), (SourceCheck::Loose, "ip4-rx-urpf-loose")]
    {
        check(&mut bed, mode);
        for (source, strict, loose) in cases {
            let frame = from(&mut bed, ip(source), p1.peer);
            bed.pass(0, &frame);
            match if mode == SourceCheck::Strict { strict } else { loose } {
                None => {
                    assert_eq!(bed.sent(1).len(), 1, "{source}, {mode}");
                    bed.counted(&[]);
                }
                Some(reason) => bed.counted(&[(&format!("{node}/{reason}"), 1)]),
            }
        }
    }
    check(&mut bed, SourceCheck::Off);
    let frame = from(&mut bed, ip("30.0.0.1"), p1.peer);
    bed.pass(0, &frame);
    assert_eq!(bed.sent(1).len(), 1);
}

#[test]
fn a_host_without_address_may_ask_for_one() {
    let mut bed = Bed::new();
    bed.with_host(0);
    check(&mut bed, SourceCheck::Strict);
    let frame = from(&mut bed, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    bed.pass(0, &frame);
    assert_eq!(bed.punted(0).len(), 1);
}

#[test]
fn without_forwarding_only_packets_for_the_host_pass() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.with_host(0);
    let admission = bed.nodes.admission;
    admission.forward(&mut bed.engine, p0.index, false).unwrap();
    bed.run();
    for destination in [p1.peer, ip("40.0.0.1")] {
        let frame = from(&mut bed, p0.peer, destination);
        bed.pass(0, &frame);
        bed.counted(&[("ip4-local-only/forwarding_off", 1)]);
    }
    for destination in [p0.address, p1.address, ip("224.0.0.5"), ip("10.0.0.255")] {
        let frame = from(&mut bed, p0.peer, destination);
        bed.pass(0, &frame);
        assert_eq!(bed.punted(0), [frame.build()], "{destination}");
    }
    admission.forward(&mut bed.engine, p0.index, true).unwrap();
    bed.run();
    let frame = from(&mut bed, p0.peer, p1.peer);
    bed.pass(0, &frame);
    assert_eq!(bed.sent(1).len(), 1);
}

#[test]
fn what_the_host_sends_on_goes_up_as_it_came() {
    let mut bed = Bed::new();
    let [p0, _] = bed.ports;
    bed.route(DEFAULT, "50.0.0.0/24", &[PathTarget::Punt]);
    let frame = p0.incoming().ipv4(p0.peer, ip("50.0.0.1")).ttl(1).udp(1, 2).payload(b"data");
    bed.pass(0, &frame);
    bed.counted(&[("punt/no_host_interface", 1)]);
    bed.with_host(0);
    // The TTL is the host's to count, and a ping is not answered in its place.
    bed.pass(0, &frame);
    assert_eq!(bed.punted(0), [frame.build()]);
    bed.counted(&[]);
}
