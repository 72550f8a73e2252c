// SPDX-License-Identifier: Apache-2.0
//! What happened per second between two snapshots, whatever happened to the daemon meanwhile.

use super::figures::PerThread;
use super::rows::{Total, Worker};
use super::{Snapshot, Tables};

/// The differences per second from `before` to `after`: a row for each row of `after`.
///
/// What was not there before, and all of a daemon that was started meanwhile, has counted from zero. A
/// counter that went back was set to zero meanwhile, so it has counted at least what it shows now. All
/// rates are zero if `after` was not taken later than `before`.
pub fn rates(before: &Snapshot, after: &Snapshot) -> Tables<f64> {
    let seconds = after.taken.saturating_duration_since(before.taken).as_secs_f64();
    let restarted = before.system.boot_time != after.system.boot_time;
    let (old, new) = (&before.counters, &after.counters);
    Tables {
        interfaces: table(restarted, &old.interfaces, &new.interfaces, seconds),
        nodes: table(restarted, &old.nodes, &new.nodes, seconds),
        reasons: table(restarted, &old.reasons, &new.reasons, seconds),
        edges: table(restarted, &old.edges, &new.edges, seconds),
        workers: workers(restarted, &old.workers, &new.workers, seconds),
    }
}

/// Both tables are sorted.
fn table<R: Total>(restarted: bool, before: &[R], after: &[R], seconds: f64) -> Vec<R::Rate> {
    let before = if restarted { &[] } else { before };
    let rate = |row: &R| {
        let found = before.binary_search_by(|old| old.key().cmp(&row.key()));
        row.rate(found.ok().map(|index| &before[index]), seconds)
    };
    after.iter().map(rate).collect()
}

fn workers(restarted: bool, before: &[Worker], after: &[Worker], seconds: f64) -> Vec<Worker<f64>> {
    let rate = |now: &Worker| {
        let then = before.iter().find(|then| !restarted && then.thread == now.thread);
        let rate = |figure: fn(&Worker) -> u64| grown(then.map_or(0, figure), figure(now), seconds);
        Worker {
            thread: now.thread,
            turns: rate(|worker| worker.turns),
            idle_turns: rate(|worker| worker.idle_turns),
            sleeps: rate(|worker| worker.sleeps),
            busy_clocks: rate(|worker| worker.busy_clocks),
        }
    };
    after.iter().map(rate).collect()
}

pub(super) fn per_second(before: Option<&PerThread>, after: &PerThread, seconds: f64) -> PerThread<f64> {
    let then = |thread| before.map_or(0, |before| before.get(thread));
    after.iter().map(|(thread, now)| grown(then(thread), now, seconds)).collect()
}

fn grown(before: u64, after: u64, seconds: f64) -> f64 {
    let grown = after.checked_sub(before).unwrap_or(after);
    if seconds > 0.0 { grown as f64 / seconds } else { 0.0 }
}
