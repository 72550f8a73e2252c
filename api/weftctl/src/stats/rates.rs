// SPDX-License-Identifier: Apache-2.0
//! How fast values change from one look to the next, whatever happened to the daemon meanwhile.

use std::{collections::HashMap, time::Duration};

use weft_stats::{Combined, Value};

use super::Values;

/// The look before, by name.
pub struct Rates<'a> {
    before: HashMap<&'a str, &'a Value>,
    seconds: f64,
}

impl<'a> Rates<'a> {
    /// `before` was read `elapsed` ago.
    pub fn new(before: &'a Values, elapsed: Duration) -> Self {
        let before = before.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Self { before, seconds: elapsed.as_secs_f64().max(f64::MIN_POSITIVE) }
    }

    /// What to compare the entry called `name` with.
    pub fn of(&self, name: &str) -> Rate<'a> {
        Rate { before: self.before.get(name).copied(), seconds: self.seconds }
    }
}

/// One entry of the look before; what was not there had counted nothing.
#[derive(Clone, Copy)]
pub struct Rate<'a> {
    before: Option<&'a Value>,
    seconds: f64,
}

impl Rate<'_> {
    /// A scalar may be a level, so it may go down.
    pub fn scalar(self, now: u64) -> f64 {
        let before = match self.before {
            Some(Value::Scalar(before)) => *before,
            _ => 0,
        };
        (now as f64 - before as f64) / self.seconds
    }

    /// `index` of `thread`, of a vector or of a symlink into one.
    pub fn simple(self, thread: usize, index: usize, now: u64) -> f64 {
        let before = match self.before {
            Some(Value::Simple(rows)) => rows.get(thread).and_then(|row| row.get(index)),
            Some(Value::SimpleColumn(column)) => column.get(thread),
            _ => None,
        };
        self.grown(before.copied().unwrap_or_default(), now)
    }

    /// Packets and bytes.
    pub fn combined(self, thread: usize, index: usize, now: Combined) -> [f64; 2] {
        let before = match self.before {
            Some(Value::Combined(rows)) => rows.get(thread).and_then(|row| row.get(index)),
            Some(Value::CombinedColumn(column)) => column.get(thread),
            _ => None,
        };
        let before = before.copied().unwrap_or_default();
        [self.grown(before.packets, now.packets), self.grown(before.bytes, now.bytes)]
    }

    /// A counter that went back was set to zero meanwhile, so it has counted at least what it shows now.
    fn grown(self, before: u64, now: u64) -> f64 {
        now.checked_sub(before).unwrap_or(now) as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_per_second_survives_clearing_and_new_entries() {
        let before = vec![
            ("/level".to_owned(), Value::Scalar(10)),
            ("/count".to_owned(), Value::Simple(vec![vec![1, 100]])),
            ("/pairs".to_owned(), Value::CombinedColumn(vec![Combined { packets: 1, bytes: 60 }])),
        ];
        let rates = Rates::new(&before, Duration::from_secs(2));
        assert_eq!(rates.of("/level").scalar(4), -3.0);
        assert_eq!(rates.of("/count").simple(0, 0, 11), 5.0);
        assert_eq!(rates.of("/count").simple(0, 1, 20), 10.0, "cleared meanwhile");
        assert_eq!(rates.of("/count").simple(1, 7, 4), 2.0, "a new place");
        assert_eq!(rates.of("/new").simple(0, 0, 4), 2.0);
        assert_eq!(rates.of("/pairs").combined(0, 0, Combined { packets: 3, bytes: 180 }), [1.0, 60.0]);
    }
}
