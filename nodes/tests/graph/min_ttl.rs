// SPDX-License-Identifier: Apache-2.0
//! Packets for this host from senders that are too far away end; all else is left alone.

use weft_nodes::ip4::min_ttl::MIN_TTL;

use weft_testing::Bed;

fn with_minimum(ttl: u32) -> Bed {
    let mut bed = Bed::new();
    let index = bed.ports[0].index;
    bed.nodes.values.set(&mut bed.engine, &MIN_TTL, index, ttl).expect("the node is there");
    bed
}

#[test]
fn only_neighbours_reach_this_host() {
    let mut bed = with_minimum(255);
    let [p0, p1] = bed.ports;
    let ping = |ttl| p0.incoming().ipv4(p0.peer, p0.address).ttl(ttl).ping(1, 1);
    bed.pass(0, &ping(255));
    assert_eq!(bed.only(0).len(), 42, "answered");
    bed.counted(&[("ip4-local-end-of-arc/echo_replies", 1)]);
    for ttl in [1, 64, 254] {
        bed.dies(0, &ping(ttl).build(), "ip4-min-ttl/ttl_below_minimum");
    }
    // What is for others passes, and so does what arrives elsewhere.
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).ttl(2).udp(1, 2));
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2).build());
    bed.pass(1, &p1.incoming().ipv4(p1.peer, p1.address).ttl(1).ping(1, 1));
    assert_eq!(bed.only(1).len(), 42, "answered");
}

#[test]
fn an_interface_without_a_minimum_does_not_pass_the_node() {
    let mut bed = with_minimum(255);
    let [p0, p1] = bed.ports;
    let (engine, values) = (&mut bed.engine, &mut bed.nodes.values);
    values.set(engine, &MIN_TTL, p1.index, 7).expect("the node is there");
    values.set(engine, &MIN_TTL, p0.index, 0).expect("the node is there");
    values.interface_leaves(engine, p1.index).expect("it is a feature there");
    assert_eq!([p0, p1].map(|port| values.get(&MIN_TTL, port.index)), [0, 0]);
    for port in [0, 1] {
        let it = bed.ports[port];
        bed.pass(port, &it.incoming().ipv4(it.peer, it.address).ttl(1).ping(1, 1));
        assert_eq!(bed.only(port).len(), 42, "answered");
    }
    let node = bed.engine.graph().id("ip4-min-ttl").expect("it is in the graph");
    assert_eq!(bed.engine.counters.vectors.sum(node.index()), 0);
}
