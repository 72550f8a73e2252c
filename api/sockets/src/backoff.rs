// SPDX-License-Identifier: Apache-2.0
//! How long a client waits before its next try to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Intervals that double, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first try.
    pub first: Duration,
    /// No longer than this.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), most: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The interval after the try of a number, counted from 0.
    pub fn interval(self, tries: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(tries)).min(self.most)
    }

    /// Between half and all of the interval, at random, so that the clients of a machine do not come back in step when
    /// their server has restarted.
    pub fn pause(self, tries: u32) -> Duration {
        let interval = self.interval(tries);
        // The standard library seeds each of these anew.
        let random = RandomState::new().hash_one(tries) as u32;
        interval / 2 + (interval / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1) };
        for (tries, interval) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000)] {
            let interval = Duration::from_millis(interval);
            assert_eq!(backoff.interval(tries), interval);
            for _ in 0..100 {
                let pause = backoff.pause(tries);
                assert!(interval / 2 <= pause && pause <= interval, "{tries}: {pause:?}");
            }
        }
    }
}
