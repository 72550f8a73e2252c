// SPDX-License-Identifier: Apache-2.0
//! Token buckets: what bounds a rate, in packets or in bytes.
//!
//! A bucket is one word, the time until which what has passed so far is paid for (the "virtual scheduling" form of the
//! leaky bucket, ITU-T I.371 annex A): a packet moves it on by its price, and how far it is ahead of now is what is
//! missing in the bucket. Nothing runs between two packets. [`TokenBucket`] belongs to one thread;
//! [`SharedTokenBucket`] serves all workers without a lock: they compete by compare-and-swap, and one that loses has
//! seen another one succeed.
//!
//! Time is an argument, in clocks of the time stamp counter, so a test can turn it. Inside, it counts in 1/64 clocks,
//! and a price is rounded down to that: n tokens are let off at most rate / (64 * clocks per second). At 10 Gbit/s and
//! 2.6 GHz that is 0.0075 bytes of every packet. In any time t at most `burst + rate * t` tokens are taken, but for
//! this rounding.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of a clock, as a power of two.
const PARTS: u32 = 6;
/// Binary places of a price after the point.
const FRACTION: u32 = 32;
/// The word of a bucket that nothing was taken from yet: it is full at any time.
const FULL: u64 = 0;
/// Tokens by which [`SharedTokenBucket::charge`] may overdraw: the longest IPv4 packet for each of 256 workers.
const MOST_OWED: u64 = 256 * 65_535;

/// A moment, in parts of a clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment(u64);

impl Moment {
    /// Of a time stamp.
    #[inline(always)]
    pub const fn new(clocks: u64) -> Moment {
        Moment(clocks << PARTS)
    }
}

/// Tokens as the time in which they flow in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Level(u64);

/// What a bucket gains and holds.
#[derive(Debug)]
struct Rate {
    /// Of a token: parts of a clock with [`FRACTION`] more bits.
    price: u128,
    /// How far what is paid for may be ahead of now.
    burst: u64,
    /// How far it can get ahead of now.
    reach: u64,
}

impl Rate {
    fn new(clocks_per_second: f64, per_second: u64, burst: u64) -> Rate {
        // Without a rate nothing ever flows in, so a bucket that holds nothing is the same.
        let burst = if per_second == 0 { 0 } else { burst };
        let parts = clocks_per_second * f64::from(1u32 << PARTS) / per_second.max(1) as f64;
        let mut rate = Rate { price: (parts * f64::from(FRACTION).exp2()) as u128, burst: 0, reach: 0 };
        // A quarter of the circle that a word can tell apart; the rest is the past.
        rate.burst = rate.price(burst).min(u64::MAX >> 2);
        rate.reach = rate.burst.saturating_add(rate.price(MOST_OWED)).min(u64::MAX >> 1);
        rate
    }

    #[inline(always)]
    fn price(&self, tokens: u64) -> u64 {
        u64::try_from(u128::from(tokens).saturating_mul(self.price) >> FRACTION).unwrap_or(u64::MAX)
    }

    /// How far `paid_until` is ahead of now. What is further away than it can get is the past: time wraps around
    /// after two years at 4 GHz, and a bucket that was idle for so long is full.
    #[inline(always)]
    fn ahead(&self, paid_until: u64, now: Moment) -> u64 {
        match paid_until.wrapping_sub(now.0) {
            ahead if ahead <= self.reach && paid_until != FULL => ahead,
            _ => 0,
        }
    }

    /// What is paid for after a packet of this price, if that is no further ahead of now than `limit`.
    #[inline(always)]
    fn pay(&self, paid_until: u64, now: Moment, price: u64, limit: u64) -> Option<u64> {
        let ahead = self.ahead(paid_until, now).saturating_add(price);
        (ahead <= limit).then(|| now.0.wrapping_add(ahead))
    }
}

/// A bucket of one thread.
#[derive(Debug)]
pub struct TokenBucket {
    rate: Rate,
    paid_until: u64,
}

impl TokenBucket {
    /// A full bucket that holds `burst` tokens and gains `per_second`. With a rate or a burst of 0 it never has a token.
    pub fn new(clocks_per_second: f64, per_second: u64, burst: u64) -> TokenBucket {
        TokenBucket { rate: Rate::new(clocks_per_second, per_second, burst), paid_until: FULL }
    }

    /// Takes `tokens` if they are there.
    #[inline]
    pub fn take(&mut self, now: Moment, tokens: u64) -> bool {
        let paid = self.rate.pay(self.paid_until, now, self.rate.price(tokens), self.rate.burst);
        self.paid_until = paid.unwrap_or(self.paid_until);
        paid.is_some()
    }
}

/// A bucket that workers share. Any thread.
#[derive(Debug)]
pub struct SharedTokenBucket {
    rate: Rate,
    paid_until: AtomicU64,
}

impl SharedTokenBucket {
    /// As [`TokenBucket::new`].
    pub fn new(clocks_per_second: f64, per_second: u64, burst: u64) -> SharedTokenBucket {
        let rate = Rate::new(clocks_per_second, per_second, burst);
        SharedTokenBucket { rate, paid_until: AtomicU64::new(FULL) }
    }

    #[inline(always)]
    fn pay(&self, now: Moment, price: u64, limit: u64) -> bool {
        let mut paid_until = self.paid_until.load(Ordering::Relaxed);
        while let Some(paid) = self.rate.pay(paid_until, now, price, limit) {
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
        false
    }

    /// Takes `tokens` if they are there.
    #[inline]
    pub fn take(&self, now: Moment, tokens: u64) -> bool {
        self.pay(now, self.rate.price(tokens), self.rate.burst)
    }

    /// Takes `tokens` if they are there, or if the bucket is full: a packet that is longer than the burst passes, and is
    /// paid for before the next.
    #[inline]
    pub fn take_or_empty(&self, now: Moment, tokens: u64) -> bool {
        let price = self.rate.price(tokens);
        self.pay(now, price, self.rate.burst.max(price))
    }

    /// Takes `tokens` if they are there beside `reserve`.
    #[inline]
    pub fn take_beside(&self, now: Moment, tokens: u64, reserve: Level) -> bool {
        self.pay(now, self.rate.price(tokens), self.rate.burst.saturating_sub(reserve.0))
    }

    /// Takes `tokens`, there or not.
    #[inline]
    pub fn charge(&self, now: Moment, tokens: u64) {
        self.pay(now, self.rate.price(tokens), u64::MAX);
    }

    /// What is in it.
    #[inline]
    pub fn level(&self, now: Moment) -> Level {
        let paid_until = self.paid_until.load(Ordering::Relaxed);
        Level(self.rate.burst.saturating_sub(self.rate.ahead(paid_until, now)))
    }

    /// The word that a successor in the same process goes on with, as a plugin that is reloaded does.
    pub fn export(&self) -> u64 {
        self.paid_until.load(Ordering::Relaxed)
    }

    /// Goes on with what [`SharedTokenBucket::export`] has given.
    pub fn import(&self, word: u64) {
        self.paid_until.store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    const HZ: u64 = 1_000_000_000;
    const START: u64 = 123_456_789;

    fn at(nanoseconds: u64) -> Moment {
        Moment::new(START + nanoseconds)
    }

    fn both(per_second: u64, burst: u64) -> (TokenBucket, SharedTokenBucket) {
        let hz = HZ as f64;
        (TokenBucket::new(hz, per_second, burst), SharedTokenBucket::new(hz, per_second, burst))
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (mut own, shared) = both(1000, 10);
        for (microseconds, expected) in [(0, 10), (900, 0), (5_100, 5), (60_000_000, 10)] {
            let now = at(microseconds * 1000);
            assert_eq!((0..100).filter(|_| own.take(now, 1)).count(), expected, "at {microseconds} us");
            assert_eq!((0..100).filter(|_| shared.take(now, 1)).count(), expected, "at {microseconds} us");
        }
    }

    #[test]
    fn zero_is_never() {
        for (rate, burst) in [(0, 100), (100, 0), (0, 0)] {
            let (mut own, shared) = both(rate, burst);
            let now = at(3600 * HZ);
            assert!(!own.take(now, 1) && !shared.take(now, 1), "{rate} per second, burst {burst}");
        }
    }

    #[test]
    fn a_packet_longer_than_the_burst_passes_a_full_bucket_only_where_asked() {
        let (_, bucket) = both(1_000, 10);
        assert!(!bucket.take(at(0), 1_500));
        assert!(bucket.take_or_empty(at(0), 1_500) && !bucket.take_or_empty(at(HZ), 1));
        assert!(bucket.take_or_empty(at(3 * HZ / 2), 1), "it is paid for after 1.5 s");
    }

    #[test]
    fn a_reserve_stays_and_a_debt_is_paid_back() {
        let (_, bucket) = both(1_000, 100);
        let (_, other) = both(1_000, 40);
        assert!(bucket.take_beside(at(0), 60, other.level(at(0))));
        assert!(!bucket.take_beside(at(0), 1, other.level(at(0))));
        bucket.charge(at(0), 1_040);
        assert!(!bucket.take(at(HZ - 1_000_000), 1) && bucket.take(at(HZ + 1_000_000), 1));
    }

    /// Time wraps around, and a bucket that nobody asked for years is full.
    #[test]
    fn new_and_idle_for_any_time_is_full() {
        for clocks in [0, 1, 1 << 40, 1 << 56, (1 << 57) - 1, 1 << 57, (1 << 58) - 1] {
            let (mut own, shared) = both(1_000_000, 1_500);
            let now = Moment::new(clocks);
            assert!(own.take(now, 1_500) && shared.take(now, 1_500), "new at {clocks} clocks");
            // As far ahead of now as no debt can be: the past, from before time came round.
            let before = Moment::new(clocks.wrapping_sub(1 << 36));
            assert!(own.take(before, 1_500) && shared.take(before, 1_500), "{clocks} clocks, idle");
        }
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        let (mut own, shared) = both(1, u64::MAX);
        assert!(own.take(at(0), 1_000_000) && shared.take(at(0), 1_000_000));
        shared.charge(at(0), u64::MAX);
        let (mut own, shared) = both(u64::MAX, u64::MAX);
        assert!(own.take(at(0), u64::from(u32::MAX)) && shared.take(at(0), u64::from(u32::MAX)));
    }

    /// Threads at the same moment share what there is, to the token.
    #[test]
    fn workers_together_get_no_more_than_one_would() {
        let (_, bucket) = both(1, 10_000);
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = (0..5_000).filter(|_| bucket.take(at(0), 1)).count();
                    taken.fetch_add(mine, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 10_000);
    }

    proptest! {
        /// Where the price of a token is a whole number of parts, both are the bucket of the textbook in exact arithmetic.
        #[test]
        fn both_are_the_bucket_of_the_textbook(
            (twos, fives) in (0..10u32, 0..10u32), burst in 0..100_000u64,
            arrivals in prop::collection::vec((0..40_000_000u64, 1..1_600u64), 1..200),
        ) {
            // Divisors of HZ, so that the rate is a whole number too.
            let clocks_per_token = 2u64.pow(twos) * 5u64.pow(fives);
            let (mut own, shared) = both(HZ / clocks_per_token, burst);
            let full = u128::from(burst) * u128::from(clocks_per_token);
            let (mut credit, mut now) = (full, 0);
            for (gap, tokens) in arrivals {
                now += gap;
                credit = (credit + u128::from(gap)).min(full);
                let price = u128::from(tokens) * u128::from(clocks_per_token);
                let expected = price <= credit;
                credit -= if expected { price } else { 0 };
                prop_assert_eq!(own.take(at(now), tokens), expected);
                prop_assert_eq!(shared.take(at(now), tokens), expected);
            }
        }
    }
}
