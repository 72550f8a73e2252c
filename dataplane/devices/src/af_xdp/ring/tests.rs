// SPDX-License-Identifier: Apache-2.0
//! Ring cursors against a `VecDeque`, and the promises of their batches one by one.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::testing::ring_from;
use super::{Consumer, Producer};

fn ring<T: Copy + Default + Send + 'static>(size: u32) -> (Producer<T>, Consumer<T>) {
    let (producer, consumer, _) = ring_from(size, 0);
    (producer, consumer)
}

#[derive(Clone, Debug)]
enum Step {
    Produce { reserve: u32, push: u32 },
    Consume { take: u32, pop: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..80u32, 0..80u32).prop_map(|(reserve, push)| Step::Produce { reserve, push }),
        (0..80u32, 0..80u32).prop_map(|(take, pop)| Step::Consume { take, pop }),
    ]
}

proptest! {
    #[test]
    fn behaves_as_a_bounded_queue(
        bits in 0..7u32,
        start in prop_oneof![Just(0), any::<u32>(), (u32::MAX - 100)..=u32::MAX],
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let size = 1 << bits;
        let (mut producer, mut consumer, _) = ring_from::<u64>(size, start);
        let mut oracle = VecDeque::new();
        let mut serial = 0u64;
        for step in steps {
            match step {
                Step::Produce { reserve, push } => {
                    let mut reservation = producer.reserve(reserve);
                    prop_assert_eq!(reservation.remaining(), reserve.min(size - oracle.len() as u32));
                    for _ in 0..push.min(reservation.remaining()) {
                        reservation.push(serial);
                        oracle.push_back(serial);
                        serial += 1;
                    }
                }
                Step::Consume { take, pop } => {
                    let mut taken = consumer.take(take);
                    prop_assert_eq!(taken.len(), oracle.len().min(take as usize));
                    for _ in 0..pop.min(taken.len() as u32) {
                        prop_assert_eq!(taken.next(), oracle.pop_front());
                    }
                }
            }
            prop_assert_eq!(producer.pending() as usize, oracle.len());
        }
    }
}

#[test]
fn an_unused_reservation_leaves_the_ring_as_it_was() {
    let (mut producer, mut consumer) = ring::<u64>(8);
    for round in 0..100 {
        let mut reservation = producer.reserve(8);
        assert_eq!(reservation.remaining(), 8, "round {round}");
        reservation.push(round);
        drop(reservation);
        assert_eq!(consumer.take(8).collect::<Vec<_>>(), [round]);
    }
}

#[test]
fn nothing_is_visible_before_the_reservation_ends() {
    let (mut producer, mut consumer) = ring::<u64>(4);
    let mut reservation = producer.reserve(2);
    reservation.push(7);
    assert_eq!(consumer.take(4).len(), 0);
    drop(reservation);
    assert_eq!(consumer.take(4).collect::<Vec<_>>(), [7]);
}

#[test]
#[should_panic(expected = "no more pushes than slots reserved")]
fn a_push_beyond_the_reservation_is_refused() {
    let (mut producer, _consumer) = ring::<u64>(2);
    let mut reservation = producer.reserve(3);
    for value in 0..3 {
        reservation.push(value);
    }
}

#[test]
fn what_nobody_took_can_be_taken_back() {
    let (mut producer, mut consumer, _) = ring_from::<u64>(4, u32::MAX - 1);
    let mut reservation = producer.reserve(4);
    (0..4).for_each(|value| reservation.push(value));
    drop(reservation);
    assert_eq!(consumer.take(1).next(), Some(0));
    drop(consumer);
    assert_eq!(producer.take_back(), [1, 2, 3]);
}

#[test]
fn wakeup_follows_the_flag_of_the_other_side() {
    let (producer, _consumer, flags) = ring_from::<u64>(2, 0);
    assert!(!producer.needs_wakeup());
    flags.set(libc::XDP_RING_NEED_WAKEUP);
    assert!(producer.needs_wakeup());
    flags.set(0);
    assert!(!producer.needs_wakeup());
}

#[test]
fn threads_hand_over_every_element_in_order() {
    const COUNT: u64 = 200_000;
    let (mut producer, mut consumer) = ring::<u64>(64);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut next = 0;
            while next < COUNT {
                let mut reservation = producer.reserve(17);
                if reservation.remaining() == 0 {
                    std::thread::yield_now();
                }
                while reservation.remaining() > 0 && next < COUNT {
                    reservation.push(next);
                    next += 1;
                }
            }
        });
        let mut expected = 0;
        while expected < COUNT {
            let taken = consumer.take(23);
            if taken.len() == 0 {
                std::thread::yield_now();
            }
            for value in taken {
                assert_eq!(value, expected);
                expected += 1;
            }
        }
    });
}
