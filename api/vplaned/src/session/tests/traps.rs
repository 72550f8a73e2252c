// SPDX-License-Identifier: Apache-2.0
//! Section 17 of the protocol page: what a new implementation gets wrong. The lines that concern the conversation; those
//! about netlink, commands, console and ZeroMQ stand with their modules. Each test bears its line's number.

use std::time::Duration;

use crate::netlink::IfIndex;
use crate::session::{Event, LostReason, Output};
use crate::types::{Channel, Counters, Link, PortNumber, Sequence};

use super::bench::{Bench, FIRST, conf, end, fail, item, port_added};

const REPORT: Duration = Duration::from_secs(5);

fn updates(events: &[Event]) -> Vec<u64> {
    let number = |event: &Event| match event {
        Event::Update(item) => Some(item.sequence.0),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

#[test]
fn line_1_what_gets_no_answer_is_not_waited_for() {
    let mut bench = Bench::with_ports(&[0]);
    bench.ready(1);
    bench.session.report_link(PortNumber(0), &Link::Down);
    bench.session.report_counters("dp0p0s4", &Counters::default());
    bench.session.report_failed_command("npf-cfg bogus", -1);
    assert_eq!(bench.words(), ["LINKDOWN", "STATS", "DPEVENT"]);
    // Nothing but the next report is awaited.
    assert!(bench.session.wants_publications());
    bench.pass(Duration::from_secs(3600));
    assert!(bench.session.is_ready());
}

#[test]
fn line_1_a_failure_is_one_bare_frame() {
    let mut bench = Bench::with_ports(&[0]);
    bench.ready(1);
    for reply in ["BADLINKPORT", "BADSPEED", "FAIL: linkup_request"] {
        bench.receive(fail(reply));
        assert_eq!(bench.events(), [Event::Refused(reply.to_owned())]);
    }
    assert!(bench.session.is_ready());
}

#[test]
fn line_2_the_subscription_stands_before_ports_and_is_read_after_the_end_marker() {
    let mut bench = Bench::with_ports(&[0]);
    bench.session.start();
    bench.up(Channel::Request);
    bench.receive(super::bench::accept());
    bench.receive(conf());
    let outputs = bench.outputs();
    assert!(matches!(outputs.last(), Some(Output::Subscribe(_))), "{outputs:?}");
    // No port before the publisher's connection stands.
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.outputs(), []);
    bench.up(Channel::Publication);
    assert_eq!(bench.words(), ["NEWPORT"]);
    assert!(!bench.session.wants_publications());
    bench.receive(port_added(FIRST, 2, "dp0p0s4"));
    bench.pass(Duration::from_millis(100));
    assert!(!bench.session.wants_publications());
    bench.receive(item("link 2 0 ", 3, b"x"));
    assert!(!bench.session.wants_publications());
    bench.receive(end(4));
    assert!(bench.session.wants_publications());
}

#[test]
fn line_3_sequence_numbers_jump_and_run_backwards_in_a_snapshot() {
    let mut bench = Bench::new();
    bench.asked_for_snapshot();
    for sequence in [20, 1, 31, 13] {
        bench.receive(item("link 3 0 ", sequence, b"x"));
    }
    // A stored command may be younger than the marker.
    bench.receive(end(10));
    let events = bench.events();
    assert_eq!(updates(&events), [20, 1, 31, 13]);
    assert_eq!(bench.session.last_sequence(), Sequence(10));
    for sequence in [10, 11, 500, 501] {
        bench.session.published(item("link 3 0 ", sequence, b"x"));
    }
    assert_eq!(updates(&bench.events()), [11, 500, 501]);
}

#[test]
fn line_3_a_restarted_vplaned_is_noticed_by_its_low_numbers() {
    let mut bench = Bench::new();
    bench.ready(24);
    // What queued during the snapshot is no sign of anything.
    for sequence in 12..=24 {
        bench.session.published(item("link 3 0 ", sequence, b"x"));
    }
    assert_eq!(bench.outputs(), []);
    bench.session.published(item("link 3 0 ", 25, b"x"));
    bench.outputs();
    // Now it is: the session asks whether it is still known, once.
    bench.session.published(item("link 1 0 ", 2, b"x"));
    bench.session.published(item("link 1 0 ", 3, b"x"));
    assert_eq!(bench.words(), ["CONFQUERY"]);
    bench.receive(fail("FAIL: process_msg"));
    assert!(matches!(&bench.events()[..], [Event::Lost { reason: LostReason::Unknown, .. }]));
}

#[test]
fn line_3_a_number_that_jumped_ahead_silences_nothing_for_good() {
    let mut bench = Bench::new();
    bench.ready(24);
    bench.session.published(item("link 3 0 ", u64::MAX, b"x"));
    bench.session.published(item("link 1 0 ", 25, b"x"));
    bench.session.published(item("link 1 0 ", 26, b"x"));
    assert_eq!(bench.words(), ["CONFQUERY"]);
    // vplaned knows this session: it is synchronised anew, and what follows the snapshot is news.
    bench.receive(conf());
    assert_eq!(bench.words(), ["WHATSUP?"]);
    bench.receive(item("link 1 0 ", 26, b"x"));
    bench.receive(end(26));
    bench.outputs();
    for sequence in [25, 26, 27, 28] {
        bench.session.published(item("link 1 0 ", sequence, b"x"));
    }
    assert_eq!(updates(&bench.events()), [27, 28]);
    assert!(bench.session.is_ready());
}

#[test]
fn line_4_replies_are_told_by_their_first_word() {
    let mut bench = Bench::new();
    bench.ready(5);
    bench.session.resync(bench.now);
    bench.outputs();
    // A snapshot message whose number equals that of the next port request.
    bench.receive(item("link 3 0 ", FIRST, b"x"));
    bench.receive(end(6));
    assert_eq!(updates(&bench.events()), [FIRST]);
    bench.session.add_port(bench.now, super::bench::port(0));
    bench.receive(item("link 3 0 ", FIRST, b"x"));
    bench.outputs();
    assert!(!bench.session.wants_publications());
    bench.receive(port_added(FIRST, 2, "dp0p0s4"));
    assert!(bench.session.wants_publications());
}

#[test]
fn line_5_links_are_reported_every_few_seconds() {
    let mut bench = Bench::with_ports(&[0]);
    bench.asked_for_snapshot();
    let events = bench.events();
    assert!(events.contains(&Event::ReportDue), "{events:?}");
    bench.receive(end(1));
    bench.outputs();
    for _ in 0..3 {
        bench.pass(REPORT - Duration::from_millis(1));
        assert_eq!(bench.outputs(), []);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.outputs(), [Output::Event(Event::ReportDue)]);
    }
}

#[test]
fn line_5_a_dataplane_without_ports_keeps_its_session_too() {
    let mut bench = Bench::new();
    bench.ready(1);
    bench.pass(REPORT);
    assert_eq!(bench.words(), ["CONFQUERY"]);
    bench.receive(conf());
    bench.pass(REPORT);
    assert_eq!(bench.words(), ["CONFQUERY"]);
}

#[test]
fn line_6_the_name_of_a_port_is_the_replys() {
    let mut bench = Bench::with_ports(&[0]);
    bench.subscribed();
    bench.outputs();
    bench.receive(port_added(FIRST, 77, "whatever vplaned likes"));
    let ready = Event::PortReady {
        port: PortNumber(0),
        ifindex: IfIndex::new(77).expect("not 0"),
        name: "whatever vplaned likes".to_owned(),
    };
    assert_eq!(bench.events(), [ready]);
}

#[test]
fn line_14_what_cannot_be_read_does_not_end_a_resync() {
    let mut bench = Bench::new();
    bench.asked_for_snapshot();
    bench.outputs();
    bench.receive(vec![b"link 1 0 ".into(), b"short".into(), b"x".into()]);
    bench.receive(vec![b"a".into(), b"b".into()]);
    bench.receive(Vec::new());
    bench.receive(item("no such topic", 3, b"\xff\x00"));
    bench.receive(end(4));
    let events = bench.events();
    let malformed = events.iter().filter(|event| matches!(event, Event::Malformed { .. })).count();
    assert_eq!(malformed, 3, "{events:?}");
    assert_eq!(updates(&events), [3]);
    assert!(bench.session.is_ready());
}

#[test]
fn line_18_integers_are_of_the_hosts_byte_order() {
    let mut bench = Bench::with_ports(&[1]);
    bench.subscribed();
    let sent = bench.outputs();
    let Some(Output::Send(newport)) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(newport[1], FIRST.to_ne_bytes());
    // AF_INET in the host's order, the address in the network's.
    assert_eq!(newport[2][..8], [2_u32.to_ne_bytes(), [127, 0, 0, 1]].concat());
    assert_eq!(newport[2].len(), 20);
}
