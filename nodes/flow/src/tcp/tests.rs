// SPDX-License-Identifier: Apache-2.0
//! Connections as they are in RFCs and attacks.

use super::*;
use Direction::{FromHigh as R, FromLow as I};
use Judgement::{Fits, LeftToReceiver, OutOfWindow};
use flags::{ACK, FIN, RST, SYN};

/// Initial sequence numbers of the initiator and the responder; the first wraps soon.
const X: u32 = u32::MAX - 5;
const Y: u32 = 7000;

fn segment(flags: u8, sequence: u32, acknowledgment: u32) -> Segment {
    Segment { flags, sequence, acknowledgment, window: 1000, payload: 0, scale: None }
}

fn data(sequence: u32, acknowledgment: u32, payload: u32) -> Segment {
    Segment { payload, ..segment(ACK, sequence, acknowledgment) }
}

/// A connection after these segments, all of which fit.
#[track_caller]
fn after_all(segments: &[(Direction, Segment)]) -> Connection {
    let mut connection = Connection::default();
    assert!(connection.begin(&segments[0].1, true));
    for (from, segment) in segments {
        assert_eq!(connection.step(*from, segment), Fits, "{from:?} {segment:?} {connection:?}");
    }
    connection
}

fn x(offset: u32) -> u32 {
    X.wrapping_add(offset)
}

const fn handshake() -> [(Direction, Segment); 3] {
    let bare = Segment { flags: 0, sequence: 0, acknowledgment: 0, window: 1000, payload: 0, scale: None };
    [
        (I, Segment { flags: SYN, sequence: X, ..bare }),
        (R, Segment { flags: SYN | ACK, sequence: Y, acknowledgment: X + 1, ..bare }),
        (I, Segment { flags: ACK, sequence: X + 1, acknowledgment: Y + 1, ..bare }),
    ]
}

fn established() -> Connection {
    after_all(&handshake())
}

#[test]
fn handshake_makes_a_connection() {
    let steps = handshake();
    assert_eq!(after_all(&steps[..1]).state(), State::New);
    assert_eq!(after_all(&steps[..2]).state(), State::New);
    assert_eq!(after_all(&steps).state(), State::Established);
    // With retransmissions of each.
    let [syn, syn_ack, ack] = steps;
    let again = after_all(&[syn, syn, syn_ack, syn_ack, ack, ack]);
    assert_eq!(again.state(), State::Established);
}

#[test]
fn both_may_open_at_once() {
    let connection = after_all(&[
        (I, segment(SYN, X, 0)),
        (R, segment(SYN, Y, 0)),
        (I, segment(SYN | ACK, X, Y + 1)),
        (R, segment(SYN | ACK, Y, x(1))),
    ]);
    assert_eq!(connection.state(), State::Established);
    // Or an ACK where the SYN is known to have arrived.
    let crossed = after_all(&[
        (I, segment(SYN, X, 0)),
        (R, segment(SYN, Y, 0)),
        (I, segment(ACK, x(1), Y + 1)),
        (R, segment(ACK, Y + 1, x(1))),
    ]);
    assert_eq!(crossed.state(), State::Established);
}

#[test]
fn closing_one_after_the_other() {
    let mut connection = established();
    let steps = [
        (I, data(x(1), Y + 1, 10), State::Established),
        (I, segment(FIN | ACK, x(11), Y + 1), State::FinWait),
        (R, segment(ACK, Y + 1, x(12)), State::FinWait),
        (R, data(Y + 1, x(12), 500), State::FinWait),
        (R, segment(FIN | ACK, Y + 501, x(12)), State::FinWait),
        (I, segment(ACK, x(12), Y + 502), State::Closed),
    ];
    for (from, segment, state) in steps {
        assert_eq!((connection.step(from, &segment), connection.state()), (Fits, state), "{segment:?}");
    }
}

#[test]
fn closing_at_once() {
    let mut connection = established();
    for (from, segment, state) in [
        (I, segment(FIN | ACK, x(1), Y + 1), State::FinWait),
        (R, segment(FIN | ACK, Y + 1, x(1)), State::FinWait),
        (I, segment(ACK, x(2), Y + 2), State::FinWait),
        (R, segment(ACK, Y + 2, x(2)), State::Closed),
    ] {
        assert_eq!((connection.step(from, &segment), connection.state()), (Fits, state), "{segment:?}");
    }
}

#[test]
fn nothing_is_sent_after_a_fin() {
    let mut connection = established();
    connection.step(I, &segment(FIN | ACK, x(1), Y + 1));
    assert_eq!(connection.step(I, &data(x(2), Y + 1, 5)), OutOfWindow);
    // The FIN again is the same FIN.
    assert_eq!(connection.step(I, &segment(FIN | ACK, x(1), Y + 1)), Fits);
    connection.step(R, &segment(ACK, Y + 1, x(2)));
    assert!(connection.sides[0].is(fact::FIN_ACKED));
}

#[test]
fn only_an_exact_reset_ends_a_connection() {
    let mut connection = established();
    connection.step(I, &data(x(1), Y + 1, 100));
    for forged in [x(102), x(2), x(1000), x(0), 0] {
        assert_eq!(connection.step(I, &segment(RST, forged, 0)), LeftToReceiver, "{forged}");
        assert_eq!(connection.state(), State::Established);
    }
    // The receiver waits for the data or for what follows it; which, only it knows.
    for exact in [x(1), x(101)] {
        let mut connection = connection;
        connection.step(R, &segment(ACK, Y + 1, x(1)));
        assert_eq!((connection.step(I, &segment(RST, exact, 0)), connection.state()), (Fits, State::Closed));
    }
}

#[test]
fn a_refused_connection_is_closed() {
    let refusal = |acknowledgment| segment(RST | ACK, 0, acknowledgment);
    let mut connection = after_all(&handshake()[..1]);
    assert_eq!(connection.step(R, &refusal(x(0))), LeftToReceiver);
    assert_eq!(connection.state(), State::New);
    assert_eq!((connection.step(R, &refusal(x(1))), connection.state()), (Fits, State::Closed));
    // The initiator may give up too.
    let mut connection = after_all(&handshake()[..1]);
    connection.step(I, &segment(RST, x(1), 0));
    assert_eq!(connection.state(), State::Closed);
}

#[test]
fn a_syn_within_a_connection_is_left_to_the_receiver() {
    let mut connection = established();
    for from in [I, R] {
        assert_eq!(connection.step(from, &segment(SYN, 123, 0)), LeftToReceiver);
        assert_eq!(connection.step(from, &segment(SYN | ACK, 123, 456)), LeftToReceiver);
    }
    assert_eq!(connection.state(), State::Established);
    assert_eq!(connection.step(R, &data(Y + 1, x(1), 10)), Fits);
}

#[test]
fn a_challenge_of_an_old_connection_does_not_answer_a_syn() {
    let mut connection = after_all(&handshake()[..1]);
    assert_eq!(connection.step(R, &segment(ACK, 99, 77)), OutOfWindow);
    assert_eq!(connection.state(), State::New);
    // The initiator resets the old one (RFC 9293 section 3.10.7.3), which is not this one, and tries again.
    assert_eq!(connection.step(I, &segment(RST, 77, 0)), LeftToReceiver);
    for (from, segment) in handshake() {
        assert_eq!(connection.step(from, &segment), Fits);
    }
    assert_eq!(connection.state(), State::Established);
}

#[test]
fn an_answer_to_another_syn_is_none() {
    let mut connection = after_all(&handshake()[..1]);
    for wrong in [x(0), x(0x2_0000), 1_000_000] {
        assert_eq!(connection.step(R, &segment(SYN | ACK, Y, wrong)), OutOfWindow);
    }
    // Data in the SYN (RFC 7413) may be acknowledged with it.
    assert_eq!(connection.step(R, &segment(SYN | ACK, Y, x(1 + 1400))), Fits);
    assert_eq!(connection.step(I, &segment(ACK, x(1401), Y + 1)), Fits);
    assert_eq!(connection.state(), State::Established);
}

#[test]
fn a_connection_is_picked_up_in_the_middle() {
    let mut connection = Connection::default();
    assert!(!connection.begin(&data(5000, 9000, 10), false));
    assert!(connection.begin(&data(5000, 9000, 10), true));
    connection.step(I, &data(5000, 9000, 10));
    assert_eq!(connection.state(), State::New);
    // A large window with its scale unknown, and as much in flight.
    assert_eq!(connection.step(R, &data(9000 + 1_000_000, 5010, 1400)), Fits);
    assert_eq!(connection.state(), State::Established);
    assert_eq!(connection.step(I, &segment(RST, 12, 0)), LeftToReceiver);
    assert_eq!(connection.step(I, &segment(RST, 5010, 0)), Fits);
    assert_eq!(connection.state(), State::Closed);
    for no_begin in [RST, RST | ACK, FIN | ACK, SYN | FIN, 0, SYN | RST] {
        assert!(!Connection::default().begin(&segment(no_begin, 1, 1), true), "{no_begin:#x}");
    }
}

#[test]
fn windows_are_kept_and_scaled() {
    let syn = |flags, sequence, ack, scale| Segment { scale, ..segment(flags, sequence, ack) };
    for (scales, edge) in [([Some(3), Some(2)], 4000), ([Some(3), None], 1000), ([None, None], 1000)] {
        let mut connection = after_all(&[
            (I, syn(SYN, X, 0, scales[0])),
            (R, syn(SYN | ACK, Y, x(1), scales[1])),
            (I, segment(ACK, x(1), Y + 1)),
            (R, segment(ACK, Y + 1, x(1))),
        ]);
        // The responder allows the initiator this much from x(1) on.
        assert_eq!(connection.sides[0].limit, x(1 + edge), "{scales:?}");
        assert_eq!(connection.step(I, &data(x(1 + edge + 1), Y + 1, 1)), OutOfWindow);
        assert_eq!(connection.step(I, &data(x(1), Y + 1, 800)), Fits);
        // An acknowledgment of what was never sent, and one that is too old.
        assert_eq!(connection.step(R, &segment(ACK, Y + 1, x(802))), OutOfWindow);
        assert_eq!(connection.step(R, &segment(ACK, Y + 1, x(801).wrapping_sub(70_000))), OutOfWindow);
        // Data that is too old.
        assert_eq!(connection.step(I, &data(x(1).wrapping_sub(70_000), Y + 1, 10)), OutOfWindow);
        // A keep-alive probe (RFC 9293 section 3.8.4) is not.
        assert_eq!(connection.step(I, &data(x(800), Y + 1, 0)), Fits);
    }
}
