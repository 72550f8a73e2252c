// SPDX-License-Identifier: Apache-2.0
//! Facts and settings of real interfaces, compared with what `ip` and `ethtool` say.

#![cfg(not(loom))]

mod common;

use common::{Namespace, veth};
use weft_devices::af_xdp::preflight::{Advice, Facts, advise};
use weft_devices::netdev::{MacAddr, Netdev, QueueCounts};

fn open(namespace: &Namespace, name: &str) -> Netdev {
    Netdev::open(&namespace.open(), &name.parse().expect("a valid name")).expect("the interface exists")
}

#[test]
fn facts_of_a_veth() {
    let (near, far) = (Namespace::new("near"), Namespace::new("far"));
    veth(&near, "port", &far, "port-far", 4);
    near.exec("ethtool -L port rx 3 tx 2");
    near.ip("link set port mtu 1600 address 02:00:00:00:00:09");
    let netdev = open(&near, "port");
    let facts = Facts::read(&netdev).expect("the interface can be read");
    assert_eq!(facts.link.name, "port");
    assert_eq!((facts.link.mtu, facts.link.mac), (1600, Some(MacAddr([2, 0, 0, 0, 0, 9]))));
    assert_eq!((facts.link.up, facts.link.carrier), (true, true));
    assert_eq!((facts.link.kind.as_str(), facts.driver.name.as_str()), ("veth", "veth"));
    assert_eq!((facts.link.rx_queues, facts.link.tx_queues), (4, 4));
    assert_eq!(facts.queues, QueueCounts { rx: 3, tx: 2 });
    assert_eq!(facts.queue_pairs(), 2);
    assert_eq!(facts.numa_node, None);
    let peer = facts.link.peer.expect("a veth has a peer");
    assert!(peer.in_other_namespace);
    assert_eq!(facts.peer, None);

    far.ip("link set port-far down");
    let link = netdev.link().expect("the interface can be read");
    assert_eq!((link.up, link.carrier), (true, false));
}

#[test]
fn advice_about_merged_segments_ends_when_the_peer_cuts_them() {
    let host = Namespace::new("host");
    veth(&host, "port", &host, "peer", 1);
    let netdev = open(&host, "port");
    let advice = || advise(&Facts::read(&netdev).expect("the interface can be read"), 1, true);
    assert!(matches!(&advice()[..], [Advice::PeerSegments { peer, .. }] if peer == "peer"), "{:?}", advice());
    host.exec("ethtool -K peer tso off");
    assert_eq!(advice(), []);
}

#[test]
fn settings_reach_the_interface() {
    let host = Namespace::new("host");
    veth(&host, "port", &host, "peer", 1);
    let netdev = open(&host, "port");
    netdev.set_mtu(1450).expect("an MTU that a veth takes");
    netdev.set_mac(MacAddr([2, 0, 0, 0, 0, 0x42])).expect("a unicast address");
    netdev.set_ipv4("192.0.2.9/27".parse().expect("an address")).expect("an address is taken");
    let shown = host.ip("-d address show dev port");
    for word in ["mtu 1450", "02:00:00:00:00:42", "inet 192.0.2.9/27"] {
        assert!(shown.contains(word), "\"{word}\" is missing in: {shown}");
    }
    netdev.set_up(false).expect("down");
    assert!(!netdev.link().expect("the interface can be read").up);
    netdev.set_up(true).expect("up");
    assert!(netdev.link().expect("the interface can be read").up);
    let error = netdev.set_mtu(10).expect_err("below what IPv4 and the device allow").to_string();
    assert!(error.contains("port: set the MTU"), "{error}");
    host.ip("link del port");
    let error = netdev.set_up(true).expect_err("the interface is gone").to_string();
    assert!(error.contains("no interface port"), "{error}");
}
