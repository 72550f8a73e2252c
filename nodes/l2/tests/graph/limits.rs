// SPDX-License-Identifier: Apache-2.0
//! What a flood of new addresses can do: fill what it may, and no more; and the main thread's work stays bounded.

use weft_l2::{Role, Settings, Target};
use weft_nodes::headers::MacAddr;

use crate::lab::{ALL, DOMAIN, Lab, frame, mac};

/// One of many.
fn stranger(number: u32) -> MacAddr {
    let [_, b, c, d] = number.to_be_bytes();
    MacAddr([6, 0, 0, b, c, d])
}

fn flood(lab: &mut Lab, port: usize, numbers: std::ops::Range<u32>) {
    for number in numbers {
        lab.receive(port, &frame(stranger(number), ALL));
    }
    lab.run();
    lab.left();
}

#[test]
fn a_port_and_a_domain_learn_as_many_as_they_may() {
    let mut lab = Lab::bridged(2);
    let p0 = lab.port(0).index;
    lab.set(p0, |port| port.limit = Some(3));
    lab.domain(DOMAIN, |domain| domain.limit = Some(5));
    for number in 0..10 {
        lab.goes(0, &frame(stranger(number), ALL), &[1]);
    }
    assert_eq!(lab.switch.learned_on(p0), 3);
    lab.counted(&[("l2-input/port_full", 7), ("l2-input/stations_noticed", 3)]);
    for number in 10..20 {
        lab.goes(1, &frame(stranger(number), ALL), &[0]);
    }
    assert_eq!(lab.known().len(), 5);
    lab.counted(&[("l2-input/domain_full", 8), ("l2-input/stations_noticed", 2)]);
    // Who is known may move in a full domain, but not to a full port.
    lab.goes(1, &frame(stranger(0), ALL), &[0]);
    lab.goes(0, &frame(stranger(10), ALL), &[1]);
    assert_eq!((lab.switch.learned_on(p0), lab.known().len()), (3, 5));
    lab.counted(&[("l2-input/stations_noticed", 2)]);
    // Who goes makes room.
    lab.switch.flush_port(p0);
    lab.goes(0, &frame(stranger(30), ALL), &[1]);
    assert_eq!(lab.switch.learned_on(p0), 1);
}

#[test]
fn a_full_table_has_room_for_operators() {
    let mut lab = Lab::new(2, Settings { macs: 8, ..Settings::default() });
    lab.bridge_all();
    for number in 0..20 {
        lab.goes(0, &frame(stranger(number), ALL), &[1]);
    }
    assert_eq!(lab.switch.size(), (8, 8));
    lab.counted(&[("l2-input/stations_noticed", 8), ("l2-input/table_full", 12)]);
    let p1 = lab.port(1).index;
    lab.station(DOMAIN, mac(1), Some(Target::Port(p1)));
    assert_eq!(lab.switch.size(), (8, 8));
    assert!(lab.switch.find(DOMAIN, mac(1)).is_some_and(|it| !it.learned && it.port == Some(p1)));
    let (config, more) =
        (lab.switch.config().clone(), (2..20).map(|number| ((DOMAIN, mac(number)), Some(Target::Filter))));
    let refused = lab.switch.prepare(&config, &more.collect()).expect_err("8 are not 19");
    assert_eq!(refused.to_string(), "no room for 19 configured MAC addresses: limits { l2-macs 8 }");
}

#[test]
fn a_flood_of_addresses_costs_the_main_thread_what_its_ring_holds() {
    let mut lab = Lab::new(2, Settings { macs: 1000, notices: 64 });
    lab.bridge_all();
    flood(&mut lab, 0, 0..500);
    lab.counted(&[("l2-input/notices_lost", 500 - 64), ("l2-input/stations_noticed", 64)]);
    assert_eq!((lab.switch.hear(10), lab.switch.hear(1000), lab.switch.hear(1000)), (10, 54, 0));
    assert_eq!(lab.known().len(), 64);
    // Nothing is lost for good: they are told of when they are heard again.
    for _ in 0..20 {
        flood(&mut lab, 0, 0..500);
        lab.switch.hear(1000);
    }
    assert_eq!(lab.known().len(), 500);
}

#[test]
fn one_station_is_told_of_once() {
    let mut lab = Lab::bridged(2);
    for _ in 0..300 {
        lab.receive(0, &frame(mac(1), ALL));
    }
    lab.run();
    assert_eq!(lab.left().len(), 300);
    lab.counted(&[("l2-input/stations_noticed", 1)]);
    assert_eq!(lab.switch.hear(1000), 1);
}

#[test]
fn a_notice_of_what_is_no_more_changes_nothing() {
    let mut lab = Lab::bridged(3);
    lab.pass(0, &frame(mac(1), ALL));
    lab.route(0);
    lab.switch.hear(1000);
    assert_eq!(lab.known(), []);
    lab.pass(1, &frame(mac(2), ALL));
    lab.domain(20, |_| {});
    lab.bridge(1, 20, Role::Normal, 0);
    lab.switch.hear(1000);
    assert_eq!(lab.known(), []);
    lab.left();
}

#[test]
fn every_port_of_many_gets_a_copy_of_every_frame() {
    // More copies than a vector holds frames.
    use weft_l2::Mode;
    use weft_nodes::headers::{EtherType, VlanId};
    use weft_nodes::interface::Tags;
    let mut lab = Lab::new(2, Settings::default());
    lab.domain(DOMAIN, |_| {});
    let p1 = lab.port(1).index;
    let mut subs = Vec::new();
    for vlan in 1..=50 {
        let tags = Tags { outer: Some((EtherType::VLAN, VlanId::new(vlan).expect("an id"))), inner: None };
        let bed = &mut lab.bed;
        subs.push(
            bed.interfaces.create_sub(&mut bed.engine, p1, vlan.into(), tags).expect("a sub-interface"),
        );
    }
    lab.bridge(0, DOMAIN, Role::Normal, 0);
    for sub in subs {
        lab.change(sub, |interface| interface.admin_up = true);
        lab.mode(sub, Mode::Bridged { domain: DOMAIN, role: Role::Normal, group: 0 });
    }
    for _ in 0..10 {
        lab.receive(0, &frame(mac(1), ALL));
    }
    lab.run();
    assert_eq!(lab.left().len(), 500);
}
