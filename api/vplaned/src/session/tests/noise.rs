// SPDX-License-Identifier: Apache-2.0
//! Whatever arrives in whatever order: no panic, no growth, one event for each message that cannot be read.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use crate::session::{Event, Output};
use crate::testing::transcript::Transcript;
use crate::types::{Channel, PortNumber};
use crate::wire::{Item, Message, Reply};

use super::bench::{Bench, accept, conf, end, fail, item, port, port_added, text};

#[derive(Debug, Clone)]
enum Input {
    Received(Message),
    Published(Message),
    Up(Channel),
    Down(Channel),
    Pass(u64),
    Add(u8),
    Remove(u8),
    Resync,
    Failed,
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        prop::sample::select(vec!["OK", "ACCEPT", "CONF", "PUBLISH", "THATSALLFOLKS!", "REJECT", "FAIL: x"])
            .prop_map(|word| word.as_bytes().to_vec()),
        any::<u64>().prop_map(|number| number.to_ne_bytes().to_vec()),
        any::<u32>().prop_map(|number| number.to_ne_bytes().to_vec()),
        Just(b"\x00\x82\x78\x16\x60".to_vec()),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        3 => prop::collection::vec(frame(), 0..6),
        1 => Just(accept()),
        1 => Just(conf()),
        1 => (0_u64..4).prop_map(|offset| port_added(super::bench::FIRST + offset, 2, "dp0p0s4")),
        1 => Just(fail("FAIL: process_msg")),
        1 => Just(fail("FAIL: newport_request")),
        1 => Just(text(&["REJECT", "x"])),
        2 => (0_u64..40).prop_map(|sequence| item("link 2 0 ", sequence, b"data")),
        1 => (0_u64..40).prop_map(end),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let channel = || prop::sample::select(vec![Channel::Request, Channel::Publication]);
    prop_oneof![
        6 => message().prop_map(Input::Received),
        3 => message().prop_map(Input::Published),
        3 => channel().prop_map(Input::Up),
        1 => channel().prop_map(Input::Down),
        3 => (0_u64..70_000).prop_map(Input::Pass),
        1 => any::<u8>().prop_map(Input::Add),
        1 => any::<u8>().prop_map(Input::Remove),
        1 => Just(Input::Resync),
        1 => Just(Input::Failed),
    ]
}

/// Gives the session an input; returns how many messages in it could not be read.
fn give(bench: &mut Bench, input: Input) -> usize {
    match input {
        Input::Received(message) => {
            let bad = Reply::parse(message.clone()).is_err();
            bench.receive(message);
            bad.into()
        }
        Input::Published(message) => {
            let bad = Item::parse(message.clone()).is_err();
            bench.session.published(message);
            bad.into()
        }
        Input::Up(channel) => {
            bench.up(channel);
            0
        }
        Input::Down(channel) => {
            bench.session.channel_down(bench.now, channel);
            0
        }
        Input::Pass(milliseconds) => {
            bench.pass(Duration::from_millis(milliseconds));
            0
        }
        Input::Add(number) => {
            bench.session.add_port(bench.now, port(number));
            0
        }
        Input::Remove(number) => {
            bench.session.remove_port(bench.now, PortNumber(number));
            0
        }
        Input::Resync => {
            bench.session.resync(bench.now);
            0
        }
        Input::Failed => {
            bench.session.transport_failed(bench.now, "failed".to_owned());
            0
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_input_in_any_order(inputs in prop::collection::vec(input(), 0..200)) {
        let mut bench = Bench::new();
        bench.session.start();
        bench.outputs();
        let mut synchronising = false;
        for input in inputs {
            let bad = give(&mut bench, input);
            let outputs = bench.outputs();
            // One input never makes a flood: a handful of answers, whatever it was.
            prop_assert!(outputs.len() <= 8, "{outputs:?}");
            let malformed = |output: &&Output| matches!(output, Output::Event(Event::Malformed { .. }));
            prop_assert_eq!(outputs.iter().filter(malformed).count(), bad);
            for output in outputs {
                match output {
                    Output::Event(Event::SnapshotBegin) => synchronising = true,
                    Output::Event(Event::SnapshotEnd { .. }) => {
                        prop_assert!(synchronising);
                        synchronising = false;
                    }
                    Output::Event(Event::Lost { .. }) => synchronising = false,
                    Output::Event(Event::Update(_)) => {
                        prop_assert!(synchronising || bench.session.is_ready());
                    }
                    _ => {}
                }
            }
            // A session without a deadline waits for a peer, or for messages only.
            let state = bench.session.state_name();
            let waits = bench.session.deadline().is_none();
            prop_assert!(!waits || state == "connecting", "{state} waits for ever");
        }
    }

    #[test]
    fn recorded_messages_with_changed_bytes(at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1_u8..) {
        static RECORDING: LazyLock<Transcript> = LazyLock::new(Transcript::read);
        let lines: Vec<_> = RECORDING.sections().flatten().collect();
        let mut message = lines[at.index(lines.len())].frames.clone();
        let frame = byte.index(message.len());
        if !message[frame].is_empty() {
            let position = byte.index(message[frame].len());
            message[frame][position] ^= flip;
        }
        let mut bench = Bench::new();
        bench.ready(1);
        let bad = give(&mut bench, Input::Received(message.clone()));
        let bad = bad + give(&mut bench, Input::Published(message));
        let events = bench.events();
        let malformed = events.iter().filter(|event| matches!(event, Event::Malformed { .. })).count();
        // A session that got lost reads no more publications, but still says what it cannot read.
        prop_assert_eq!(malformed, bad);
    }
}
