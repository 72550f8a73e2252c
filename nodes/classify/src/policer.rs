// SPDX-License-Identifier: Apache-2.0
//! A token bucket that all workers share, without a lock.
//!
//! One word: the time until which what has passed so far is paid for (the "virtual scheduling" form of the leaky bucket,
//! ITU-T I.371 annex A). A packet moves that time on by its price and passes if it is no further ahead of now than the burst.
//! Workers compete with compare-and-swap; one that loses saw another one succeed, so the bucket as a whole always
//! advances.
//!
//! Exact: what all workers together let pass in any time t is at most `burst + rate * t`, plus one packet where the burst is smaller
//! than a packet. Time is that of the worker's vector (some microseconds old at most) and counts in 1/64 clocks of the time stamp counter,
//! so a price is off by less than 1/64 clock: at 2.6 GHz and 10,000,000 packets a second by 0.006 %.

use std::sync::atomic::{AtomicU64, Ordering};

use weft_engine::clock::{Clock, Tsc};

use crate::rule::{Police, PoliceUnit};

/// Parts of a clock, as a power of two.
const PARTS: u32 = 6;

/// A rate, and what of it is used up.
#[derive(Debug)]
pub struct Policer {
    police: Police,
    /// Price of a packet or a byte: parts of a clock with 32 more bits behind the point.
    price: u128,
    /// How far what is paid for may be ahead of now, in parts.
    burst: u64,
    paid_until: AtomicU64,
}

impl Policer {
    /// A full bucket.
    pub fn new(police: Police, clock: &Clock) -> Policer {
        let parts = clock.per_second() * f64::from(1u32 << PARTS);
        let price = parts / police.rate.get() as f64;
        Policer {
            police,
            price: (price * 2f64.powi(32)) as u128,
            burst: ((price * police.burst.get() as f64) as u64).min(u64::MAX >> 2),
            paid_until: AtomicU64::new(Self::time(Tsc::now()).wrapping_sub(u64::MAX >> 2)),
        }
    }

    /// What was asked for.
    pub fn police(&self) -> Police {
        self.police
    }

    fn time(now: Tsc) -> u64 {
        now.0 << PARTS
    }

    /// Whether a packet of so many bytes may pass now. Any thread.
    #[inline]
    pub fn allows(&self, now: Tsc, bytes: usize) -> bool {
        let amount = match self.police.unit {
            PoliceUnit::Packets => 1,
            PoliceUnit::Bytes => bytes as u64,
        };
        let price = ((u128::from(amount) * self.price) >> 32) as u64;
        let now = Self::time(now);
        let mut paid_until = self.paid_until.load(Ordering::Relaxed);
        loop {
            // Time wraps around (after two years at 4 GHz), so only differences mean something. Negative: idle.
            let ahead = (paid_until.wrapping_sub(now) as i64).max(0) as u64;
            let then = ahead.saturating_add(price);
            if then > self.burst.max(price) {
                return false;
            }
            let paid = now.wrapping_add(then);
            match self.paid_until.compare_exchange_weak(
                paid_until,
                paid,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(other) => paid_until = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    fn police(rate: u64, burst: u64, unit: PoliceUnit) -> Police {
        Police { rate: NonZeroU64::new(rate).unwrap(), burst: NonZeroU64::new(burst).unwrap(), unit }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let clock = Clock::calibrate();
        let policer = Policer::new(police(1000, 10, PoliceUnit::Packets), &clock);
        let start = Tsc::now();
        let at = |time: Duration| Tsc(start.0 + clock.clocks(time));
        let passed = |time| (0..100).filter(|_| policer.allows(at(time), 1500)).count();
        assert_eq!(passed(Duration::ZERO), 10);
        assert_eq!(passed(Duration::from_micros(900)), 0);
        assert_eq!(passed(Duration::from_micros(5_100)), 5);
        assert_eq!(passed(Duration::from_secs(60)), 10);
    }

    #[test]
    fn bytes_are_what_packets_weigh() {
        let clock = Clock::calibrate();
        let policer = Policer::new(police(1_000_000, 3_000, PoliceUnit::Bytes), &clock);
        let start = Tsc::now();
        assert!(policer.allows(start, 1_500) && policer.allows(start, 1_400));
        assert!(!policer.allows(start, 200) && policer.allows(start, 100) && !policer.allows(start, 1));
        // A burst below a packet's length lets one packet through a bucket that is full.
        let tiny = Policer::new(police(1_000, 10, PoliceUnit::Bytes), &clock);
        assert!(tiny.allows(start, 1_500) && !tiny.allows(start, 1));
    }

    /// Threads at the same instant share what there is, to the packet.
    #[test]
    fn workers_together_get_no_more_than_one_would() {
        let clock = Clock::calibrate();
        let policer = Policer::new(police(1, 10_000, PoliceUnit::Packets), &clock);
        let (now, passed) = (Tsc::now(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = (0..5_000).filter(|_| policer.allows(now, 64)).count();
                    passed.fetch_add(mine, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(passed.into_inner(), 10_000);
    }
}
