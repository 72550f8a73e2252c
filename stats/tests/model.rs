// SPDX-License-Identifier: Apache-2.0
//! The segment against an oracle: whatever sequence of changes is made, a reader sees what a plain map
//! of the entries says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_stats::{
    Combined, CombinedVector, EntryIndex, NameVector, Reader, Scalar, Segment, SimpleVector, StatsError,
    ThreadIndex, Update, Value,
};

const THREADS: usize = 3;
const NAMES: usize = 10;

#[derive(Clone, Debug)]
enum Change {
    Simple { name: usize, len: usize, capacity: usize },
    Combined { name: usize, len: usize, capacity: usize },
    Names { name: usize, capacity: usize },
    Scalar { name: usize },
    Symlink { name: usize, target: usize, column: u32 },
    Remove { name: usize },
    SetLen { name: usize, len: usize },
    SetName { name: usize, index: usize, text: String },
    Count { name: usize, thread: usize, index: usize, amount: u64 },
    Zero { name: usize, index: usize },
}

fn change() -> impl Strategy<Value = Change> {
    let name = || 0..NAMES;
    prop_oneof![
        (name(), 0..9usize, 0..9usize).prop_map(|(name, len, capacity)| Change::Simple {
            name,
            len,
            capacity
        }),
        (name(), 0..9usize, 0..9usize).prop_map(|(name, len, capacity)| Change::Combined {
            name,
            len,
            capacity
        }),
        (name(), 0..9usize).prop_map(|(name, capacity)| Change::Names { name, capacity }),
        name().prop_map(|name| Change::Scalar { name }),
        (name(), name(), 0..9u32).prop_map(|(name, target, column)| Change::Symlink { name, target, column }),
        name().prop_map(|name| Change::Remove { name }),
        (name(), 0..9usize).prop_map(|(name, len)| Change::SetLen { name, len }),
        (name(), 0..9usize, "[ -~]{0,80}").prop_map(|(name, index, text)| Change::SetName {
            name,
            index,
            text
        }),
        (name(), 0..THREADS, 0..10usize, any::<u64>())
            .prop_map(|(name, thread, index, amount)| Change::Count { name, thread, index, amount }),
        (name(), 0..9usize).prop_map(|(name, index)| Change::Zero { name, index }),
    ]
}

/// What the oracle knows of an entry, and the handle that the segment gave for it.
enum Known {
    Simple { handle: SimpleVector, len: usize, rows: Vec<Vec<u64>> },
    Combined { handle: CombinedVector, len: usize, rows: Vec<Vec<Combined>> },
    Names { handle: NameVector, len: usize, texts: Vec<String> },
    Scalar { handle: Scalar, value: u64 },
    Symlink { entry: EntryIndex, target: usize, column: usize },
}

#[derive(Default)]
struct Oracle(BTreeMap<usize, Known>);

fn path(name: usize) -> String {
    format!("/model/{name}")
}

impl Oracle {
    /// Applies a change to segment and oracle, and checks that both accept or both refuse it.
    fn apply(&mut self, update: &mut Update<'_>, change: Change) {
        match change {
            Change::Simple { name, len, capacity } => match update.simple(&path(name), len, capacity) {
                Ok(handle) => {
                    let rows = vec![vec![0; capacity]; THREADS];
                    assert!(len <= capacity);
                    assert!(self.0.insert(name, Known::Simple { handle, len, rows }).is_none());
                }
                Err(error) => self.refused_new(name, len > capacity, &error),
            },
            Change::Combined { name, len, capacity } => match update.combined(&path(name), len, capacity) {
                Ok(handle) => {
                    let rows = vec![vec![Combined::default(); capacity]; THREADS];
                    assert!(len <= capacity);
                    assert!(self.0.insert(name, Known::Combined { handle, len, rows }).is_none());
                }
                Err(error) => self.refused_new(name, len > capacity, &error),
            },
            Change::Names { name, capacity } => match update.names(&path(name), capacity) {
                Ok(handle) => {
                    let texts = vec![String::new(); capacity];
                    assert!(self.0.insert(name, Known::Names { handle, len: 0, texts }).is_none());
                }
                Err(error) => self.refused_new(name, false, &error),
            },
            Change::Scalar { name } => match update.scalar(&path(name)) {
                Ok(handle) => assert!(self.0.insert(name, Known::Scalar { handle, value: 0 }).is_none()),
                Err(error) => self.refused_new(name, false, &error),
            },
            Change::Symlink { name, target, column } => self.symlink(update, name, target, column),
            Change::Remove { name } => {
                if let Some(known) = self.0.remove(&name) {
                    let entry = known.entry();
                    update.remove(entry);
                    update.remove(entry); // has no effect, whoever has the slot by then
                    self.0.retain(
                        |_, other| !matches!(other, Known::Symlink { target, .. } if *target == name),
                    );
                }
            }
            Change::SetLen { name, len } => self.set_len(update, name, len),
            Change::SetName { name, index, text } => {
                if let Some(Known::Names { handle, texts, .. }) = self.0.get_mut(&name) {
                    let result = update.set_name(handle, index, &text);
                    assert_eq!(result.is_ok(), index < texts.len());
                    if let Some(slot) = texts.get_mut(index) {
                        *slot = text;
                    }
                }
            }
            Change::Count { name, thread, index, amount } => self.count(name, thread, index, amount),
            Change::Zero { name, index } => match self.0.get_mut(&name) {
                Some(Known::Simple { handle, rows, .. }) => {
                    handle.zero(index);
                    rows.iter_mut().filter_map(|row| row.get_mut(index)).for_each(|value| *value = 0);
                }
                Some(Known::Combined { handle, rows, .. }) => {
                    handle.zero(index);
                    let values = rows.iter_mut().filter_map(|row| row.get_mut(index));
                    values.for_each(|value| *value = Combined::default());
                }
                _ => {}
            },
        }
    }

    fn refused_new(&self, name: usize, too_long: bool, error: &StatsError) {
        match error {
            StatsError::Taken { .. } => assert!(self.0.contains_key(&name)),
            StatsError::Capacity { .. } => assert!(too_long),
            other => panic!("unexpected: {other}"),
        }
    }

    fn symlink(&mut self, update: &mut Update<'_>, name: usize, target: usize, column: u32) {
        let Some(known) = self.0.get(&target) else { return };
        let len = match known {
            Known::Simple { len, .. } | Known::Combined { len, .. } => Some(*len),
            _ => None,
        };
        match update.symlink(&path(name), known.entry(), column) {
            Ok(entry) => {
                let column = column as usize;
                assert!(len.is_some_and(|len| column < len));
                assert!(self.0.insert(name, Known::Symlink { entry, target, column }).is_none());
            }
            Err(StatsError::Taken { .. }) => assert!(self.0.contains_key(&name)),
            Err(StatsError::Target { .. }) => assert!(len.is_none()),
            Err(StatsError::Column { .. }) => assert!(len.is_some_and(|len| column as usize >= len)),
            Err(other) => panic!("unexpected: {other}"),
        }
    }

    fn set_len(&mut self, update: &mut Update<'_>, name: usize, new: usize) {
        let shown = |known: &Known| match known {
            Known::Symlink { target, column, .. } => *target == name && *column >= new,
            _ => false,
        };
        let shown = self.0.values().any(shown);
        let (result, len, capacity) = match self.0.get_mut(&name) {
            Some(Known::Simple { handle, len, rows }) => (update.set_len(handle, new), len, rows[0].len()),
            Some(Known::Combined { handle, len, rows }) => (update.set_len(handle, new), len, rows[0].len()),
            Some(Known::Names { handle, len, texts }) => (update.set_len(handle, new), len, texts.len()),
            _ => return,
        };
        match result {
            Ok(()) => {
                assert!(new <= capacity && !shown);
                *len = new;
            }
            Err(StatsError::Capacity { .. }) => assert!(new > capacity),
            Err(StatsError::Shown { .. }) => assert!(shown),
            Err(other) => panic!("unexpected: {other}"),
        }
    }

    fn count(&mut self, name: usize, thread: usize, index: usize, amount: u64) {
        let place = ThreadIndex(thread as u16);
        match self.0.get_mut(&name) {
            Some(Known::Simple { handle, rows, .. }) => {
                handle.row(place).add(index, amount);
                if let Some(value) = rows[thread].get_mut(index) {
                    *value = value.wrapping_add(amount);
                }
                let sum = rows
                    .iter()
                    .filter_map(|row| row.get(index))
                    .fold(0u64, |sum, &value| sum.wrapping_add(value));
                assert_eq!(handle.sum(index), sum);
            }
            Some(Known::Combined { handle, rows, .. }) => {
                handle.row(place).add(index, 1, amount);
                if let Some(value) = rows[thread].get_mut(index) {
                    *value = *value + Combined { packets: 1, bytes: amount };
                    assert_eq!(handle.get(place, index), *value);
                }
            }
            Some(Known::Scalar { handle, value }) => {
                handle.set(amount);
                *value = amount;
            }
            _ => {}
        }
    }

    fn value(&self, known: &Known) -> Value {
        match known {
            Known::Simple { len, rows, .. } => {
                Value::Simple(rows.iter().map(|row| row[..*len].to_vec()).collect())
            }
            Known::Combined { len, rows, .. } => {
                Value::Combined(rows.iter().map(|row| row[..*len].to_vec()).collect())
            }
            Known::Names { len, texts, .. } => Value::Names(texts[..*len].to_vec()),
            Known::Scalar { value, .. } => Value::Scalar(*value),
            Known::Symlink { target, column, .. } => match &self.0[target] {
                Known::Simple { rows, .. } => {
                    Value::SimpleColumn(rows.iter().map(|row| row[*column]).collect())
                }
                Known::Combined { rows, .. } => {
                    Value::CombinedColumn(rows.iter().map(|row| row[*column]).collect())
                }
                _ => panic!("a symlink to something else was refused before"),
            },
        }
    }
}

impl Known {
    fn entry(&self) -> EntryIndex {
        match self {
            Known::Simple { handle, .. } => handle.entry(),
            Known::Combined { handle, .. } => handle.entry(),
            Known::Names { handle, .. } => handle.entry(),
            Known::Scalar { handle, .. } => handle.entry(),
            Known::Symlink { entry, .. } => *entry,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_reader_sees_what_the_oracle_says(
        steps in prop::collection::vec(prop::collection::vec(change(), 1..5), 1..40),
    ) {
        let mut segment = Segment::new(256 << 10, THREADS).expect("256 KiB can be mapped");
        let fd = segment.fd().try_clone_to_owned().expect("a descriptor is free");
        let reader = Reader::from_fd(fd).expect("sound");
        let empty = segment.used();
        let mut oracle = Oracle::default();
        for step in steps {
            segment.update(|update| step.into_iter().for_each(|change| oracle.apply(update, change)));
            let seen: BTreeMap<String, Value> = reader.dump("^/model/").expect("sound").into_iter().collect();
            let expected = oracle.0.iter().map(|(&name, known)| (path(name), oracle.value(known))).collect();
            prop_assert_eq!(seen, expected);
        }
        // What is removed and let go of is memory again.
        let entries: Vec<EntryIndex> = oracle.0.values().map(Known::entry).collect();
        drop(oracle);
        segment.update(|update| entries.into_iter().for_each(|entry| update.remove(entry)));
        prop_assert_eq!(segment.used(), empty);
        let fixed = ["/sys/heartbeat", "/sys/last_stats_clear", "/sys/boottime"];
        prop_assert_eq!(reader.ls(&[]).expect("sound"), fixed);
    }
}
