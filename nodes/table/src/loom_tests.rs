// SPDX-License-Identifier: Apache-2.0
//! All orders in which a writer and a reader of a table can meet, as far as loom can tell: see `scripts/test`.

use loom::thread;

use crate::hash::Seed;
use crate::table::{Found, Table};

/// Three switches between the two threads where both could go on: more take minutes.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(run);
}

/// The value says of which key it is, so that a reader notices what does not belong together.
fn value(key: u64, round: u64) -> [u64; 2] {
    [key * 100 + round, key * 100 + round]
}

#[test]
fn loom_a_replaced_value_is_never_missed_nor_mixed() {
    model(|| {
        let mut writer = Table::<1>::with_seed(1, 2, Seed::FIXED).expect("small");
        writer.put([1], &value(1, 0), 0).expect("room");
        let reader = writer.reader();
        let other = thread::spawn(move || {
            let found = reader.get(&[1]);
            assert!(found.is_some(), "the key was there all the time");
            let mut copy = [0; 2];
            if reader.read(found, &mut copy) {
                assert!([value(1, 0), value(1, 1), value(1, 2)].contains(&copy), "{copy:?}");
            }
        });
        // The second one fills the slot that the first one has left.
        writer.put([1], &value(1, 1), 0).expect("replaced");
        writer.put([1], &value(1, 2), 0).expect("replaced");
        other.join().expect("the reader ends");
    });
}

#[test]
fn loom_a_slot_that_was_given_away_is_not_taken_for_the_old_entry() {
    model(|| {
        let mut writer = Table::<1>::with_seed(1, 2, Seed::FIXED).expect("small");
        writer.put([1], &value(1, 0), 0).expect("room");
        let reader = writer.reader();
        let other = thread::spawn(move || {
            let found = reader.get(&[1]);
            let mut copy = [0; 2];
            if reader.read(found, &mut copy) {
                assert_eq!(copy, value(1, 0));
            }
            assert_eq!(reader.get(&[3]), Found::NONE);
        });
        assert!(writer.remove(&[1]));
        writer.put([2], &value(2, 0), 0).expect("room");
        other.join().expect("the reader ends");
    });
}
