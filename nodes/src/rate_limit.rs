// SPDX-License-Identifier: Apache-2.0
//! A token bucket, for what a stranger can make a worker do: ICMP errors are the first of it.
//!
//! Counts in clocks: time that has passed is credit, a token costs a fixed amount of it. So taking one is two additions
//! and a compare, and nothing runs between two calls. One per worker, owned by its node.

use weft_engine::clock::{Clock, Tsc};

/// At most `per_second` tokens on average, and `burst` at once.
#[derive(Debug)]
pub struct TokenBucket {
    credit: u64,
    full: u64,
    cost: u64,
    last: Tsc,
}

impl TokenBucket {
    /// A full bucket; one of 0 per second or a burst of 0 never has a token.
    pub fn new(clock: &Clock, per_second: u32, burst: u32) -> Self {
        let burst = if per_second == 0 { 0 } else { burst };
        let cost = (clock.per_second() / f64::from(per_second.max(1))) as u64;
        let full = cost.saturating_mul(burst.into());
        TokenBucket { credit: full, full, cost, last: Tsc::default() }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Tsc) -> bool {
        self.credit = self.credit.saturating_add(now.since(self.last)).min(self.full);
        self.last = now;
        let has = self.credit >= self.cost && self.full > 0;
        self.credit -= if has { self.cost } else { 0 };
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_and_then_the_rate() {
        let clock = Clock::calibrate();
        let mut bucket = TokenBucket::new(&clock, 1000, 10);
        let start = Tsc::now();
        let at = |time: Duration| Tsc(start.0 + clock.clocks(time));
        let mut taken = |time| (0..100).filter(|_| bucket.take(at(time))).count();
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(Duration::from_micros(900)), 0);
        assert_eq!(taken(Duration::from_micros(5_100)), 5);
        assert_eq!(taken(Duration::from_secs(60)), 10);
    }

    #[test]
    fn zero_is_never() {
        let clock = Clock::calibrate();
        for (rate, burst) in [(0, 100), (100, 0), (0, 0)] {
            let mut bucket = TokenBucket::new(&clock, rate, burst);
            assert!(!bucket.take(Tsc::now()), "{rate} per second, burst {burst}");
        }
    }
}
