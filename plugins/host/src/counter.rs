// SPDX-License-Identifier: Apache-2.0
//! What a plugin counts: to itself it is a row of numbers for each thread. In the stats segment these are numbers, or pairs of
//! packets and bytes where other programs know the counter by a name of its own.

use weft_engine::{Engine, ThreadIndex};
use weft_stats::{CombinedRow, CombinedVector, EntryIndex, SimpleRow, SimpleVector, StatsError};

/// What the names of counters begin with that are pairs.
pub(crate) const PAIRS: &str = "/net/";

/// A counter of a plugin. Main thread only.
#[derive(Clone)]
pub enum Counter {
    /// `/plugins/<plugin>/<name>`.
    Numbers(SimpleVector),
    /// A whole name. The plugin sees each pair as two numbers.
    Pairs(CombinedVector),
}

impl Counter {
    pub(crate) fn new(
        engine: &mut Engine,
        plugin: &str,
        name: &str,
        columns: usize,
    ) -> Result<Counter, StatsError> {
        Ok(match name.starts_with(PAIRS) {
            true => Counter::Pairs(engine.stats.combined(name, columns / 2, columns / 2)?),
            false => Counter::Numbers(engine.stats.simple(
                &format!("/plugins/{plugin}/{name}"),
                columns,
                columns,
            )?),
        })
    }

    pub(crate) fn entry(&self) -> EntryIndex {
        match self {
            Counter::Numbers(vector) => vector.entry(),
            Counter::Pairs(vector) => vector.entry(),
        }
    }

    /// How many numbers the plugin has in a row.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Counter::Numbers(vector) => vector.capacity(),
            Counter::Pairs(vector) => 2 * vector.capacity(),
        }
    }

    /// The sum of a column over all threads.
    pub(crate) fn sum(&self, column: usize) -> u64 {
        match self {
            Counter::Numbers(vector) => vector.sum(column),
            Counter::Pairs(vector) => {
                let pair = vector.sum(column / 2);
                if column.is_multiple_of(2) { pair.packets } else { pair.bytes }
            }
        }
    }

    pub(crate) fn row(&self, thread: ThreadIndex) -> Row {
        match self {
            Counter::Numbers(vector) => Row::Numbers(vector.row(thread)),
            Counter::Pairs(vector) => Row::Pairs(vector.row(thread)),
        }
    }
}

/// One thread's row of a [`Counter`].
pub(crate) enum Row {
    Numbers(SimpleRow),
    Pairs(CombinedRow),
}

impl Row {
    /// Where its numbers begin: those of a pair are next to each other.
    pub fn cells(&self) -> *mut u64 {
        match self {
            Row::Numbers(row) => row.address(0).cast::<u64>().cast_mut(),
            Row::Pairs(row) => row.address(0).cast::<u64>().cast_mut(),
        }
    }
}
