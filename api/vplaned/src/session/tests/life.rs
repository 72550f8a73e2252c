// SPDX-License-Identifier: Apache-2.0
//! From attempt to attempt: order, timeouts, back-off, ports that come and go.

use std::time::Duration;

use crate::netlink::IfIndex;
use crate::session::{Event, LostReason, Output};
use crate::types::{Channel, PortNumber};

use super::bench::{Bench, FIRST, PUBLISHER, accept, conf, end, fail, item, port, port_added, text};

const SECOND: Duration = Duration::from_secs(1);

fn lost(events: &[Event]) -> (LostReason, Duration) {
    match events.last() {
        Some(Event::Lost { reason, retry_in }) => (reason.clone(), *retry_in),
        other => panic!("expected a lost session, found {other:?}"),
    }
}

#[test]
fn nothing_is_sent_before_the_start_and_connect_after_it() {
    let mut bench = Bench::with_ports(&[0]);
    assert_eq!(bench.outputs(), []);
    assert_eq!(bench.session.deadline(), None);
    bench.session.start();
    let outputs = bench.outputs();
    assert_eq!(outputs.first(), Some(&Output::Dial));
    assert_eq!(outputs.len(), 2);
    // While nobody is there, nothing is late.
    assert_eq!(bench.session.deadline(), None);
    bench.pass(3600 * SECOND);
    assert_eq!(bench.outputs(), []);
}

#[test]
fn the_snapshot_is_asked_for_no_sooner_than_the_subscription_has_settled() {
    let mut bench = Bench::new();
    bench.subscribed();
    bench.outputs();
    bench.pass(Duration::from_millis(99));
    assert_eq!(bench.words(), [""; 0]);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.words(), ["WHATSUP?"]);
}

#[test]
fn silence_is_noticed_in_each_state() {
    type Reach = (&'static str, fn(&mut Bench), u32);
    let reach: [Reach; 5] = [
        ("CONNECT", |bench| bench.up(Channel::Request), 5),
        (
            "CONFQUERY",
            |bench| {
                bench.up(Channel::Request);
                bench.receive(accept());
            },
            5,
        ),
        (
            "the subscription",
            |bench| {
                bench.receive(accept());
                bench.receive(conf());
            },
            5,
        ),
        ("a port request", |bench| bench.subscribed(), 60),
        (
            "snapshot",
            |bench| {
                bench.subscribed();
                bench.receive(port_added(FIRST, 2, "dp0p0s4"));
                bench.pass(SECOND);
            },
            300,
        ),
    ];
    for (what, reach, seconds) in reach {
        let mut bench = Bench::with_ports(&[0]);
        bench.session.start();
        reach(&mut bench);
        bench.outputs();
        bench.pass(seconds * SECOND - Duration::from_millis(1));
        let early = bench.events();
        assert!(!early.iter().any(|event| matches!(event, Event::Lost { .. })), "{what}: {early:?}");
        bench.pass(Duration::from_millis(1));
        let (reason, _) = lost(&bench.events());
        let expected = if what == "snapshot" { LostReason::Snapshot } else { LostReason::Silent(what) };
        assert_eq!(reason, expected);
    }
}

#[test]
fn attempts_back_off_and_a_success_ends_that() {
    let mut bench = Bench::new();
    bench.session.start();
    let mut waits = Vec::new();
    for _ in 0..9 {
        bench.up(Channel::Request);
        bench.session.channel_down(bench.now, Channel::Request);
        let (reason, wait) = lost(&bench.events());
        assert_eq!(reason, LostReason::Disconnected(Channel::Request));
        assert_eq!(bench.session.deadline(), Some(bench.now + wait));
        waits.push(wait.as_millis());
        bench.pass(wait);
        assert_eq!(bench.words(), ["CONNECT"]);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    bench.ready(1);
    bench.session.channel_down(bench.now, Channel::Publication);
    assert_eq!(lost(&bench.events()).1.as_millis(), 100);
}

#[test]
fn a_rejection_is_retried_slowly() {
    let mut bench = Bench::new();
    bench.session.start();
    bench.up(Channel::Request);
    bench.receive(text(&["REJECT", "00000000-0000-0000-0000-000000000000"]));
    assert_eq!(lost(&bench.events()), (LostReason::Rejected, 60 * SECOND));
}

#[test]
fn another_uuid_or_no_publisher_end_the_attempt() {
    let mut bench = Bench::new();
    bench.session.start();
    bench.up(Channel::Request);
    let other = "11111111-2222-3333-4444-555555555555";
    bench.receive(vec![b"ACCEPT".into(), other.into(), vec![0, 0]]);
    assert_eq!(lost(&bench.events()).0, LostReason::WrongUuid { found: other.to_owned() });

    let mut bench = Bench::new();
    bench.session.start();
    bench.receive(accept());
    bench.receive(text(&["CONF", "OTHER", PUBLISHER]));
    assert_eq!(lost(&bench.events()).0, LostReason::NoPublisher);
}

#[test]
fn unknown_pairs_of_conf_are_skipped() {
    let mut bench = Bench::new();
    bench.session.start();
    bench.receive(accept());
    bench.outputs();
    bench.receive(text(&["CONF", "FUTURE", "x", "PUBLISH", PUBLISHER, "MORE", "y"]));
    assert_eq!(bench.outputs(), [Output::Subscribe(PUBLISHER.to_owned())]);
}

#[test]
fn ports_are_registered_one_after_the_other() {
    let mut bench = Bench::with_ports(&[0, 1]);
    bench.subscribed();
    assert_eq!(bench.words(), ["CONNECT", "CONFQUERY", "NEWPORT"]);
    bench.receive(port_added(FIRST, 2, "dp0p0s4"));
    assert_eq!(bench.words(), ["NEWPORT"]);
    bench.pass(SECOND);
    assert_eq!(bench.words(), [""; 0]);
    bench.receive(port_added(FIRST + 1, 3, "dp0p0s5"));
    assert_eq!(bench.words(), ["WHATSUP?"]);
}

#[test]
fn a_refused_port_does_not_stop_the_others() {
    let mut bench = Bench::with_ports(&[0, 1]);
    bench.subscribed();
    bench.outputs();
    bench.receive(fail("FAIL: newport_request"));
    let refused = Event::PortRefused { port: PortNumber(0), reply: "FAIL: newport_request".to_owned() };
    assert_eq!(bench.events(), [refused]);
    bench.receive(port_added(FIRST + 1, 3, "dp0p0s5"));
    bench.pass(SECOND);
    assert_eq!(bench.words(), ["WHATSUP?"]);
}

#[test]
fn a_port_added_to_a_ready_session_is_registered_before_publications_are_read() {
    let mut bench = Bench::new();
    bench.ready(5);
    bench.session.add_port(bench.now, port(3));
    assert_eq!(bench.words(), ["NEWPORT"]);
    assert!(!bench.session.wants_publications());
    bench.receive(port_added(FIRST, 9, "dp0p0s7"));
    let ready = Event::PortReady {
        port: PortNumber(3),
        ifindex: IfIndex::new(9).expect("not 0"),
        name: "dp0p0s7".to_owned(),
    };
    assert_eq!(bench.events(), [ready]);
    assert!(bench.session.wants_publications());
    // Told again without change: nothing to do.
    bench.session.add_port(bench.now, port(3));
    assert_eq!(bench.outputs(), []);
}

#[test]
fn a_port_that_leaves_while_it_is_being_registered_is_deleted() {
    let mut bench = Bench::new();
    bench.ready(5);
    bench.session.add_port(bench.now, port(3));
    bench.session.remove_port(bench.now, PortNumber(3));
    assert_eq!(bench.words(), ["NEWPORT"]);
    bench.receive(port_added(FIRST, 9, "dp0p0s7"));
    assert_eq!(bench.words(), ["DELPORT"]);
    let gone = vec![b"OK".to_vec(), (FIRST + 1).to_ne_bytes().into(), 0_u32.to_ne_bytes().into()];
    bench.receive(gone);
    assert_eq!(bench.events(), [Event::PortDeleted { port: PortNumber(3), deleted: true }]);
}

#[test]
fn a_changed_port_is_deleted_and_registered_again() {
    let mut bench = Bench::with_ports(&[3]);
    bench.ready(5);
    let mut changed = port(3);
    changed.mtu = Some(9000);
    bench.session.add_port(bench.now, changed);
    assert_eq!(bench.words(), ["DELPORT"]);
    let gone = vec![b"OK".to_vec(), (FIRST + 1).to_ne_bytes().into(), 0_u32.to_ne_bytes().into()];
    bench.receive(gone);
    assert_eq!(bench.words(), ["NEWPORT"]);
}

#[test]
fn all_ports_are_registered_again_in_the_next_session() {
    let mut bench = Bench::with_ports(&[0, 1]);
    bench.ready(5);
    bench.session.remove_port(bench.now, PortNumber(1));
    bench.session.channel_down(bench.now, Channel::Request);
    let (_, wait) = lost(&bench.events());
    bench.pass(wait);
    bench.up(Channel::Request);
    bench.receive(accept());
    bench.receive(conf());
    bench.up(Channel::Publication);
    // The removed one is not: vplaned deletes what is not registered.
    assert_eq!(bench.words(), ["CONNECT", "CONFQUERY", "NEWPORT"]);
}

#[test]
fn a_resync_waits_for_a_port_request_and_holds_publications() {
    let mut bench = Bench::new();
    bench.ready(5);
    bench.session.add_port(bench.now, port(0));
    bench.session.resync(bench.now);
    assert_eq!(bench.words(), ["NEWPORT"]);
    bench.receive(port_added(FIRST, 2, "dp0p0s4"));
    assert_eq!(bench.words(), ["WHATSUP?"]);
    assert!(!bench.session.wants_publications());
    bench.receive(item("link 2 0 ", 1, b"x"));
    bench.receive(end(9));
    assert!(bench.session.wants_publications());
    bench.session.published(item("link 2 0 ", 9, b"x"));
    bench.session.published(item("link 2 0 ", 10, b"y"));
    let updates = bench.events();
    let updates: Vec<&[u8]> = updates
        .iter()
        .filter_map(|event| match event {
            Event::Update(item) => Some(&item.data[..]),
            _ => None,
        })
        .collect();
    assert_eq!(updates, [b"x", b"y"]);
}

#[test]
fn a_failed_transport_is_tried_again() {
    let mut bench = Bench::new();
    bench.session.start();
    bench.session.transport_failed(bench.now, "no such folder".to_owned());
    let (reason, wait) = lost(&bench.events());
    assert_eq!(reason, LostReason::Transport("no such folder".to_owned()));
    // A second complaint about the same attempt changes nothing.
    bench.session.transport_failed(bench.now, "again".to_owned());
    assert_eq!(bench.events(), []);
    bench.pass(wait);
    assert_eq!(bench.words(), ["CONNECT"]);
}
