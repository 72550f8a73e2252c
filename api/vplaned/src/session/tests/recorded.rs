// SPDX-License-Identifier: Apache-2.0
//! Dialogues recorded with the real vplaned, replayed frame by frame.

use std::time::Duration;

use crate::netlink::IfIndex;
use crate::session::{Event, LostReason, Output};
use crate::testing::transcript::{Line, Party, Transcript};
use crate::types::Counters;
use crate::types::{Channel, Duplex, Link, PortNumber, RequestNumber, Sequence};
use crate::wire::Message;

use super::bench::{Bench, port};

/// What the recording says that the dataplane sends, as far as an output sends it.
fn sent(outputs: &[Output]) -> Vec<Message> {
    let message = |output: &Output| match output {
        Output::Send(message) => Some(message.clone()),
        _ => None,
    };
    outputs.iter().filter_map(message).collect()
}

/// Equal but for the JSON's spacing and order.
fn assert_same(ours: &Message, recorded: &Message) {
    assert_eq!(ours.len(), recorded.len(), "{ours:?}\n{recorded:?}");
    for (ours, recorded) in ours.iter().zip(recorded) {
        if recorded.starts_with(b"{") {
            let json = |frame: &[u8]| serde_json::from_slice::<serde_json::Value>(frame).expect("JSON");
            assert_eq!(json(ours), json(recorded));
        } else {
            assert_eq!(ours, recorded);
        }
    }
}

/// Plays a part of the recording: what the dataplane sent there has to be what the session sends.
fn play(bench: &mut Bench, lines: &[Line]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut waiting: Vec<Message> = Vec::new();
    for line in lines {
        for output in bench.outputs() {
            match output {
                Output::Event(event) => events.push(event),
                Output::Send(message) => waiting.push(message),
                Output::Subscribe(_) | Output::Dial | Output::HangUp => {}
            }
        }
        match line.party {
            Party::Dataplane => {
                assert!(!waiting.is_empty(), "the recording sends {:?}, the session nothing", line.frames);
                assert_same(&waiting.remove(0), &line.frames);
            }
            Party::Vplaned => {
                assert!(waiting.is_empty(), "sent without counterpart: {waiting:?}");
                bench.receive(line.frames.clone());
                // The connections stand at once.
                bench.up(Channel::Publication);
                if bench.session.state_name() == "settling" {
                    bench.pass(Duration::from_millis(100));
                }
            }
            Party::Publisher => {
                assert!(bench.session.wants_publications());
                bench.session.published(line.frames.clone());
            }
        }
    }
    events.extend(bench.events());
    events
}

#[test]
fn connect_register_and_synchronise_as_recorded() {
    let recording = Transcript::read();
    let connect = recording.section("main", "2.");
    // Of the ports, those that were registered in one step.
    let ports = recording.section("main", "3.");
    let newport = ports.iter().position(|line| line.frames.iter().any(|frame| frame.len() == 171));
    let newport = newport.expect("the recording registers eth0 by NEWPORT");
    let snapshot = recording.section("main", "4.");
    let lines = [connect, &ports[newport..newport + 2], snapshot].concat();

    let mut bench = Bench::with_ports(&[0]);
    bench.session.start();
    bench.up(Channel::Request);
    let events = play(&mut bench, &lines);

    assert!(bench.session.is_ready());
    let ready = Event::PortReady {
        port: PortNumber(0),
        ifindex: IfIndex::new(2).expect("not 0"),
        name: "dp0p0s4".to_owned(),
    };
    assert!(events.contains(&ready), "{events:?}");
    let recorded_items = snapshot.iter().filter(|line| line.party == Party::Vplaned).count() - 1;
    let items = events.iter().filter(|event| matches!(event, Event::Update(_))).count();
    assert_eq!(items, recorded_items);
    assert!(items > 10, "{items}");
    let end = events.iter().find_map(|event| match event {
        Event::SnapshotEnd { messages, .. } => Some(*messages),
        _ => None,
    });
    assert_eq!(end, Some(items as u64));
    // The marker carries 24 here, and the 13 publications that queued meanwhile are not applied twice.
    assert_eq!(bench.session.last_sequence(), Sequence(24));
}

#[test]
fn live_changes_are_taken_in_order_and_none_is_malformed() {
    let recording = Transcript::read();
    let mut bench = Bench::new();
    bench.ready(24);
    let live: Vec<Line> = recording
        .section("main", "6.")
        .iter()
        .chain(recording.section("main", "7."))
        .chain(recording.section("main", "8."))
        .filter(|line| line.party == Party::Publisher)
        .cloned()
        .collect();
    let events = play(&mut bench, &live);
    assert_eq!(events.len(), live.len());
    assert!(events.iter().all(|event| matches!(event, Event::Update(_))), "{events:?}");
    assert_eq!(bench.session.last_sequence(), Sequence(121));
}

#[test]
fn links_statistics_and_errors_are_reported_as_recorded() {
    let recording = Transcript::read();
    let mut bench = Bench::new();
    bench.ready(24);
    let counters = Counters {
        rx_packets: 11,
        tx_packets: 22,
        rx_bytes: 1100,
        tx_bytes: 2200,
        multicast: 3,
        ..Counters::default()
    };
    bench
        .session
        .report_link(PortNumber(0), &Link::Up { speed: Some(10_000), duplex: Duplex::Full, counters });
    let ours = sent(&bench.outputs());
    let recorded = recording.section("main", "5.");
    let mut linkup =
        recorded.iter().find(|line| line.frames[0] == b"LINKUP").expect("recorded").frames.clone();
    // The recording adds the optional set of advertised link modes.
    linkup.truncate(6);
    assert_eq!(ours, [linkup]);

    let counters = Counters {
        rx_packets: 1,
        tx_packets: 2,
        rx_bytes: 3,
        tx_bytes: 4,
        rx_errors: 5,
        tx_errors: 6,
        rx_dropped: 7,
        tx_dropped: 8,
        multicast: 9,
    };
    bench.session.report_counters("dp0p0s4", &counters);
    bench.session.report_failed_command("npf-cfg bogus", -1);
    bench.session.report_link(PortNumber(1), &Link::Down);
    let ours = sent(&bench.outputs());
    let recorded: Vec<Message> = recording
        .section("main", "9.")
        .iter()
        .filter(|line| line.party == Party::Dataplane)
        .map(|line| line.frames.clone())
        .collect();
    assert_eq!(ours, recorded);
}

#[test]
fn a_resync_repeats_the_snapshot() {
    let recording = Transcript::read();
    let mut bench = Bench::new();
    bench.ready(24);
    bench.session.resync(bench.now);
    let events = play(&mut bench, recording.section("main", "11."));
    assert_eq!(events.first(), Some(&Event::SnapshotBegin));
    assert!(matches!(events.last(), Some(Event::SnapshotEnd { .. })), "{:?}", events.last());
    assert_eq!(bench.session.last_sequence(), Sequence(122));
}

#[test]
fn a_port_is_deleted_as_recorded() {
    let recording = Transcript::read();
    let mut bench = Bench::with_ports(&[0]);
    bench.ready(0x8d);
    bench.session.remove_port(bench.now, PortNumber(0));
    let lines = recording.section("main", "14.");
    let ours = sent(&bench.outputs());
    assert_eq!(ours.len(), 1);
    // All but the request's number, which is the session's own.
    let (ours, recorded) = (&ours[0], &lines[0].frames);
    assert_eq!((&ours[0], &ours[2..]), (&recorded[0], &recorded[2..]));
    let mut answer = lines[1].frames.clone();
    answer[1] = ours[1].clone();
    bench.receive(answer);
    assert_eq!(bench.events(), [Event::PortDeleted { port: PortNumber(0), deleted: true }]);
    // The kernel's teardown follows.
    let teardown: Vec<Line> = lines[2..].to_vec();
    let events = play(&mut bench, &teardown);
    assert!(events.iter().all(|event| matches!(event, Event::Update(_))), "{events:?}");
}

#[test]
fn a_snapshot_message_with_a_routing_id_before_it_is_read() {
    let recording = Transcript::read();
    let mut bench = Bench::new();
    bench.asked_for_snapshot();
    bench.outputs();
    let lines = recording.section("badpb", "BADPB");
    let snapshot = lines.iter().rposition(|line| line.frames[0] == b"WHATSUP?").expect("recorded");
    let events = play(&mut bench, &lines[snapshot + 1..]);
    let commands: Vec<&[u8]> = events
        .iter()
        .filter_map(|event| match event {
            Event::Update(item) if item.word() == b"ecmp" => Some(&item.data[..]),
            _ => None,
        })
        .collect();
    assert_eq!(commands, [b"ecmp mode disable"]);
    assert_eq!(bench.session.counts().malformed, 0);
}

#[test]
fn a_restarted_vplaned_is_met_by_a_new_session() {
    let recording = Transcript::read();
    let lines = recording.section("restart", "RESTART");
    let refused = lines.iter().position(|line| line.frames[0] == b"FAIL: process_msg").expect("recorded");
    let mut bench = Bench::with_ports(&[0]);
    bench.ready(24);
    bench.receive(lines[refused].frames.clone());
    let events = bench.events();
    let [Event::Lost { reason: LostReason::Unknown, retry_in }] = &events[..] else { panic!("{events:?}") };
    bench.pass(*retry_in);
    bench.up(Channel::Request);
    // From CONNECT to WHATSUP?; the recording gives only the snapshot's topics.
    let again: Vec<Line> = lines[refused + 1..]
        .iter()
        .filter(|line| line.party != Party::Publisher)
        .cloned()
        .map(|mut line| {
            // The session goes on counting its requests.
            if matches!(&line.frames[0][..], b"NEWPORT" | b"OK") {
                line.frames[1] = RequestNumber(super::bench::FIRST + 1).0.to_ne_bytes().to_vec();
            }
            line
        })
        .collect();
    assert_eq!(again.last().expect("recorded").frames, [b"WHATSUP?".to_vec()]);
    let events = play(&mut bench, &again);
    assert!(events.contains(&Event::SnapshotBegin), "{events:?}");
    assert_eq!(port(0).port, PortNumber(0));
}
