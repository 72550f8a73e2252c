// SPDX-License-Identifier: Apache-2.0
//! A table does what a hash map of a fixed size would, and readers on other threads see no entry that never was.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use weft_table::{Found, Full, Reader, TableError, Writer};

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u64),
    Remove(u64),
    /// Takes out the entries that were last put before this step minus so many.
    Sweep(usize, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u64..40;
    prop_oneof![
        4 => (key.clone(), any::<u64>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key.prop_map(Step::Remove),
        1 => (0usize..40, 0u32..60).prop_map(|(slots, age)| Step::Sweep(slots, age)),
    ]
}

/// Distinct words in all places, so that none can be left out.
fn key<const N: usize>(number: u64) -> [u64; N] {
    std::array::from_fn(|word| number << word | (word as u64) << 32)
}

fn lookup<const N: usize>(reader: &Reader<N>, number: u64) -> Option<[u64; 3]> {
    let mut value = [0; 3];
    reader.read(reader.get(&key(number)), &mut value).then_some(value)
}

fn behaves_as_a_map<const N: usize>(steps: &[Step]) -> Result<(), TestCaseError> {
    const CAPACITY: usize = 24;
    let mut table: Writer<N> = Writer::new(CAPACITY, 3).expect("small");
    let reader = table.reader();
    let mut model: HashMap<u64, ([u64; 3], u32)> = HashMap::new();
    for (now, step) in (0..).zip(steps) {
        match *step {
            Step::Put(number, value) => {
                let room = model.len() < CAPACITY || model.contains_key(&number);
                // Too short: the last word is 0.
                let put = table.put(key(number), &[value, !value], now);
                prop_assert_eq!(put.is_ok(), room);
                match put {
                    Ok(found) => {
                        prop_assert_eq!(reader.get(&key(number)), found);
                        model.insert(number, ([value, !value, 0], now));
                    }
                    Err(why) => prop_assert_eq!(why, Full),
                }
            }
            Step::Remove(number) => {
                prop_assert_eq!(table.remove(&key(number)), model.remove(&number).is_some())
            }
            Step::Sweep(slots, age) => {
                let mut seen = 0;
                let taken = table.sweep(slots, |view| {
                    seen += 1;
                    now - view.seen > age
                });
                prop_assert!(seen <= slots);
                let before = model.len();
                model.retain(|number, (_, put)| {
                    let there = reader.get(&key(*number)).is_some();
                    assert!(there || now - *put > age, "an entry went that was young enough");
                    there
                });
                prop_assert_eq!(before - model.len(), taken);
                if slots > CAPACITY {
                    prop_assert!(model.values().all(|(_, put)| now - put <= age), "a whole round finds all");
                }
            }
        }
        prop_assert_eq!(table.len(), model.len());
    }
    // One by one, many at once, and all.
    let mut found = vec![Found::NONE; 40];
    let keys: Vec<[u64; N]> = (0..40).map(key).collect();
    reader.find(&keys, &mut found);
    for number in 0..40 {
        let expected = model.get(&number).map(|(value, _)| *value);
        prop_assert_eq!(lookup(&reader, number), expected);
        prop_assert_eq!(found[number as usize].is_some(), expected.is_some());
        let mut value = [0; 3];
        prop_assert_eq!(reader.read(found[number as usize], &mut value).then_some(value), expected);
    }
    let mut all: Vec<_> = reader.each().map(|view| (view.key, view.seen)).collect();
    let mut expected: Vec<_> = model.iter().map(|(number, (_, put))| (key(*number), *put)).collect();
    all.sort_unstable();
    expected.sort_unstable();
    prop_assert_eq!(all, expected);
    Ok(())
}

proptest! {
    #[test]
    fn a_map_with_a_bound_says_the_same(steps in prop::collection::vec(step(), 1..300)) {
        behaves_as_a_map::<1>(&steps)?;
        behaves_as_a_map::<2>(&steps)?;
        behaves_as_a_map::<3>(&steps)?;
        behaves_as_a_map::<5>(&steps)?;
        behaves_as_a_map::<6>(&steps)?;
    }
}

#[test]
fn what_was_found_is_noticed_to_be_gone() {
    let mut table: Writer<2> = Writer::new(4, 1).expect("small");
    let reader = table.reader();
    let found = table.put([1, 2], &[7], 0).expect("room");
    let mut value = [0];
    assert!(reader.read(found, &mut value) && value == [7]);
    reader.word(found, 0).expect("it has a word").store(8, Ordering::Relaxed);
    assert!(reader.read(found, &mut value) && value == [8]);
    reader.touch(found, 5);
    assert_eq!(reader.next(0).map(|view| view.seen), Some(5));
    let replaced = table.put([1, 2], &[9], 0).expect("there");
    assert!(!reader.read(found, &mut value) && reader.read(replaced, &mut value) && value == [9]);
    assert!(table.remove(&[1, 2]) && !table.remove(&[1, 2]));
    assert!(!reader.read(replaced, &mut value) && !reader.get(&[1, 2]).is_some());
    assert!(!reader.read(Found::NONE, &mut value) && reader.word(Found::NONE, 0).is_none());
}

#[test]
fn a_table_without_an_entry_is_refused() {
    assert!(matches!(Writer::<1>::new(0, 1), Err(TableError::Capacity(0))));
    assert!(matches!(Writer::<1>::new(usize::MAX, 1), Err(TableError::Capacity(_))));
    let mut bare: Writer<1> = Writer::new(1, 0).expect("a set");
    assert!(bare.put([1], &[], 0).is_ok() && bare.put([2], &[], 0) == Err(Full) && !bare.is_empty());
}

/// Two readers look up keys that a writer never takes out but replaces all the time, and others that come and go.
#[test]
fn readers_find_what_stays_and_nothing_that_never_was() {
    const STAY: u64 = 64;
    const ROUNDS: u64 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let mut table: Writer<3> = Writer::new(200, 2).expect("small");
    let value = |number: u64, round: u64| [number << 32 | round, !(number << 32 | round)];
    for number in 0..STAY {
        table.put(key(number), &value(number, 0), 0).expect("room");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (reader, done) = (table.reader(), &done);
            scope.spawn(move || {
                let keys: Vec<[u64; 3]> = (0..2 * STAY).map(key).collect();
                let mut found = vec![Found::NONE; keys.len()];
                let mut read = 0u64;
                while !done.load(Ordering::Relaxed) || read == 0 {
                    reader.find(&keys, &mut found);
                    for (number, found) in (0..).zip(&found) {
                        assert!(number >= STAY || found.is_some(), "key {number} was there all the time");
                        let mut value = [0; 2];
                        if reader.read(*found, &mut value) {
                            assert_eq!((value[0], value[0] >> 32), (!value[1], number));
                            read += 1;
                        }
                    }
                }
            });
        }
        for round in 1..ROUNDS {
            let number = round * 7 % (2 * STAY);
            match number < STAY || round % 3 != 0 {
                true => drop(table.put(key(number), &value(number, round), 0).expect("room")),
                false => drop(table.remove(&key(number))),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
