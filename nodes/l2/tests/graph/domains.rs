// SPDX-License-Identifier: Apache-2.0
//! What a domain does with frames: learning, flooding, forgetting.

use std::time::Duration;

use weft_l2::{LinkGroups, Role, Settings, Target};
use weft_nodes::headers::MacAddr;

use crate::lab::{ALL, DOMAIN, Lab, frame, mac};

#[test]
fn an_unknown_station_is_flooded_and_a_known_one_is_not() {
    let mut lab = Lab::bridged(4);
    lab.goes(0, &frame(mac(1), mac(2)), &[1, 2, 3]);
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
    lab.goes(0, &frame(mac(1), mac(2)), &[1]);
    lab.goes(2, &frame(mac(3), mac(1)), &[0]);
    let [p0, p1, p2] = [0, 1, 2].map(|port| Some(lab.port(port).index));
    assert_eq!(lab.known(), [(mac(1), p0, true), (mac(2), p1, true), (mac(3), p2, true)]);
    assert_eq!(lab.switch.domains().map(|it| (it.learned, it.moves)).collect::<Vec<_>>(), [(3, 0)]);
}

#[test]
fn frames_to_groups_and_to_all_go_everywhere_but_back() {
    let mut lab = Lab::bridged(3);
    for to in [ALL, MacAddr([1, 0, 0x5e, 0, 0, 9]), MacAddr([0x33, 0x33, 0, 0, 0, 1])] {
        lab.goes(1, &frame(mac(1), to), &[0, 2]);
    }
    lab.domain(DOMAIN, |domain| domain.flood = false);
    lab.ends(1, &frame(mac(1), ALL), "flood_off");
}

#[test]
fn a_frame_does_not_go_back_to_where_its_station_is() {
    let mut lab = Lab::bridged(3);
    lab.goes(0, &frame(mac(1), ALL), &[1, 2]);
    lab.ends(0, &frame(mac(2), mac(1)), "same_port");
}

#[test]
fn a_group_is_no_source_and_nobody_has_the_address_of_zeros() {
    let mut lab = Lab::bridged(3);
    lab.ends(0, &frame(MacAddr([3, 0, 0, 0, 0, 1]), mac(2)), "ethernet-input/multicast_source");
    lab.goes(0, &frame(MacAddr::ZERO, mac(2)), &[1, 2]);
    assert_eq!(lab.known(), []);
}

#[test]
fn a_frame_that_is_cut_short_ends() {
    let mut lab = Lab::bridged(2);
    lab.receive_bytes(0, vec![2; 13]);
    lab.run();
    lab.drops(&[("ethernet-input/truncated", 1)]);
}

#[test]
fn groups_of_the_link_are_for_the_host() {
    let mut lab = Lab::bridged(2);
    let lldp = frame(mac(1), MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]));
    lab.ends(0, &lldp, "link_group");
    lab.with_host(0);
    lab.arrives(0, &lldp);
    assert_eq!(lab.punted(0), [lldp.build()]);
    assert_eq!(lab.left(), []);
    lab.domain(DOMAIN, |domain| domain.link_groups = LinkGroups::Drop);
    lab.ends(0, &lldp, "link_group");
    lab.domain(DOMAIN, |domain| domain.link_groups = LinkGroups::Forward);
    lab.goes(0, &lldp, &[1]);
    // The next group is an ordinary one.
    lab.domain(DOMAIN, |domain| domain.link_groups = LinkGroups::Punt);
    lab.goes(0, &frame(mac(1), MacAddr([1, 0x80, 0xc2, 0, 0, 0x10])), &[1]);
}

#[test]
fn a_station_that_moves_is_found_where_it_is() {
    let mut lab = Lab::bridged(3);
    lab.goes(0, &frame(mac(1), ALL), &[1, 2]);
    lab.goes(2, &frame(mac(2), mac(1)), &[0]);
    lab.goes(1, &frame(mac(1), ALL), &[0, 2]);
    lab.goes(2, &frame(mac(2), mac(1)), &[1]);
    assert_eq!(lab.switch.domains().map(|it| (it.learned, it.moves)).collect::<Vec<_>>(), [(2, 1)]);
}

#[test]
fn domains_know_nothing_of_each_other() {
    let mut lab = Lab::new(4, Settings::default());
    for (port, domain) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        lab.domain(domain, |_| {});
        lab.bridge(port, domain, Role::Normal, 0);
    }
    // One station in both.
    lab.goes(0, &frame(mac(1), ALL), &[1]);
    lab.goes(2, &frame(mac(1), ALL), &[3]);
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
    lab.goes(3, &frame(mac(2), mac(1)), &[2]);
    assert_eq!(lab.switch.domains().map(|it| (it.learned, it.moves)).collect::<Vec<_>>(), [(2, 0), (2, 0)]);
}

#[test]
fn entries_of_operators_stay_and_filters_drop() {
    let mut lab = Lab::bridged(3);
    let p1 = lab.port(1).index;
    lab.station(DOMAIN, mac(1), Some(Target::Port(p1)));
    lab.goes(0, &frame(mac(2), mac(1)), &[1]);
    // Somebody else says that he is it.
    lab.ends(2, &frame(mac(1), ALL), "static_mac_moved");
    lab.goes(1, &frame(mac(1), ALL), &[0, 2]);
    lab.station(DOMAIN, mac(9), Some(Target::Filter));
    lab.ends(0, &frame(mac(2), mac(9)), "mac_filter");
    lab.ends(0, &frame(mac(9), mac(2)), "mac_filter");
    lab.switch.flush_all();
    assert_eq!(lab.known(), [(mac(1), Some(p1), false), (mac(9), None, false)]);
    lab.station(DOMAIN, mac(1), None);
    lab.station(DOMAIN, mac(9), None);
    assert_eq!(lab.known(), []);
    lab.goes(2, &frame(mac(1), ALL), &[0, 1]);
}

#[test]
fn flushing_forgets_what_was_heard_in_its_scope() {
    let heard = || {
        let mut lab = Lab::new(4, Settings::default());
        for (port, domain) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
            lab.domain(domain, |_| {});
            lab.bridge(port, domain, Role::Normal, 0);
            lab.arrives(port, &frame(mac(port as u8), ALL));
        }
        lab.left();
        lab
    };
    let stations = |lab: &Lab| lab.known().into_iter().map(|(mac, ..)| mac.0[5]).collect::<Vec<_>>();
    let mut lab = heard();
    assert_eq!(stations(&lab), [0, 1, 2, 3]);
    lab.switch.flush_domain(2).expect("the domain is there");
    assert_eq!(stations(&lab), [0, 1]);
    assert!(lab.switch.flush_domain(3).is_err());
    let mut lab = heard();
    let index = lab.port(1).index;
    lab.switch.flush_port(index);
    assert_eq!(stations(&lab), [0, 2, 3]);
    lab.switch.flush_all();
    assert!(stations(&lab).is_empty());
    assert_eq!(lab.switch.domains().map(|it| it.learned).sum::<usize>(), 0);
    lab.goes(0, &frame(mac(9), mac(1)), &[1]);
}

#[test]
fn stations_that_are_silent_are_forgotten() {
    let mut lab = Lab::bridged(3);
    lab.domain(DOMAIN, |domain| domain.age = 2);
    lab.goes(0, &frame(mac(1), ALL), &[1, 2]);
    lab.goes(1, &frame(mac(2), ALL), &[0, 2]);
    lab.waits(Duration::from_secs(100));
    // One of them is heard again.
    lab.goes(0, &frame(mac(1), ALL), &[1, 2]);
    lab.waits(Duration::from_secs(30));
    let p0 = Some(lab.port(0).index);
    assert_eq!(lab.known(), [(mac(1), p0, true)]);
    lab.domain(DOMAIN, |domain| domain.age = 0);
    lab.waits(Duration::from_secs(100_000));
    assert_eq!(lab.known(), [(mac(1), p0, true)]);
}

#[test]
fn what_a_domain_does_can_be_switched_off() {
    let mut lab = Lab::bridged(3);
    lab.domain(DOMAIN, |domain| domain.learn = false);
    lab.goes(0, &frame(mac(1), ALL), &[1, 2]);
    assert_eq!(lab.known(), []);
    lab.domain(DOMAIN, |domain| (domain.learn, domain.unknown_flood) = (true, false));
    lab.ends(0, &frame(mac(1), mac(2)), "unknown_unicast");
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
    lab.domain(DOMAIN, |domain| domain.forward = false);
    lab.ends(1, &frame(mac(2), mac(1)), "forward_off");
    let p2 = lab.port(2).index;
    lab.set(p2, |port| port.learn = false);
    lab.goes(2, &frame(mac(3), ALL), &[0, 1]);
    assert_eq!(lab.known().len(), 2);
}

#[test]
fn a_domain_that_comes_again_knows_nothing() {
    let mut lab = Lab::bridged(2);
    lab.goes(0, &frame(mac(1), ALL), &[1]);
    for port in 0..2 {
        lab.route(port);
    }
    lab.configure(|config, _| config.remove_domain(DOMAIN).expect("it has no ports"));
    assert_eq!((lab.known(), lab.switch.domains().count()), (vec![], 0));
    lab.bridge_all();
    assert_eq!(lab.known(), []);
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
    assert_eq!(lab.switch.domains().map(|it| (it.learned, it.moves)).collect::<Vec<_>>(), [(1, 0)]);
}
