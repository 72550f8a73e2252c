// SPDX-License-Identifier: Apache-2.0
//! All interleavings of a producer and a consumer on a small ring, by loom: `RUSTFLAGS="--cfg loom"
//! cargo test -p weft-devices --release loom`.
//!
//! What loom sees: both sides written by us, each access to a slot, and the acquire/release pairs
//! between them. What it doesn't see: the kernel's side of the ring (its barriers are in
//! net/xdp/xsk_queue.h), stores that the CPU delays past a later load of another location (the
//! wake-up flag), and anything that a device writes by DMA.

use loom::thread;

use super::testing::ring_from;

fn hand_over(size: u32, start: u32, batch: u32, count: u64) {
    loom::model(move || {
        let (mut producer, mut consumer, _flags) = ring_from::<u64>(size, start);
        let writer = thread::spawn(move || {
            let mut next = 0;
            while next < count {
                let mut reservation = producer.reserve(batch);
                if reservation.remaining() == 0 {
                    drop(reservation);
                    thread::yield_now();
                    continue;
                }
                while reservation.remaining() > 0 && next < count {
                    reservation.push(next);
                    next += 1;
                }
            }
        });
        let mut expected = 0;
        while expected < count {
            let taken = consumer.take(batch);
            if taken.len() == 0 {
                drop(taken);
                thread::yield_now();
                continue;
            }
            for value in taken {
                assert_eq!(value, expected);
                expected += 1;
            }
        }
        writer.join().expect("the writer's assertions hold");
    });
}

#[test]
fn loom_one_by_one() {
    hand_over(1, 0, 1, 3);
}

#[test]
fn loom_batches_over_the_wrap_of_the_index() {
    hand_over(2, u32::MAX, 2, 4);
}
