// SPDX-License-Identifier: Apache-2.0
//! A token bucket in one word, so that all workers can share it without a lock.
//!
//! The word is the time until which what has passed so far is paid for (the "virtual scheduling" form, ITU-T I.371 annex
//! A): a packet moves it on by its price, and how far it is ahead of now is what is missing in the bucket. Workers compete
//! by compare-and-swap; one that loses has seen another one succeed.
//!
//! Time counts in 1/64 clocks of the time stamp counter, and a price is rounded down to that: a packet of B bytes is let
//! off at most rate/(64 * clocks per second) bytes. At 10 Gbit/s and 2.6 GHz that is 0.0075 bytes of every packet.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of a clock, as a power of two.
const PARTS: u32 = 6;
/// Bytes by which [`Bucket::charge`] may overdraw: the longest IPv4 packet for each of 256 workers.
const MOST_OWED: u64 = 256 * 65_535;

/// A moment, in parts of a clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment(u64);

impl Moment {
    /// Of a time stamp.
    #[inline(always)]
    pub fn new(clocks: u64) -> Moment {
        Moment(clocks << PARTS)
    }
}

/// Tokens as the time in which they flow in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Level(u64);

/// A bucket of bytes. Any thread.
#[derive(Debug)]
pub struct Bucket {
    /// Of a byte: parts of a clock with 32 more bits behind the point.
    price: u64,
    burst: u64,
    paid_until: AtomicU64,
}

impl Bucket {
    /// A full bucket of `burst` bytes that gains `rate` bytes a second.
    pub fn new(clocks_per_second: f64, rate: u64, burst: u64) -> Bucket {
        let price = clocks_per_second * f64::from(1 << PARTS) * 2f64.powi(32) / rate as f64;
        let mut bucket = Bucket { price: price as u64, burst: 0, paid_until: AtomicU64::new(0) };
        bucket.burst = bucket.price(burst);
        bucket
    }

    fn price(&self, bytes: u64) -> u64 {
        ((u128::from(bytes) * u128::from(self.price)) >> 32) as u64
    }

    /// How far `paid_until` is ahead of now. What is further away than it can get is the past: time wraps around after two
    /// years at 4 GHz, and a bucket that was idle for so long is full.
    #[inline(always)]
    fn ahead(&self, paid_until: u64, now: Moment) -> u64 {
        match paid_until.wrapping_sub(now.0) {
            ahead if ahead <= self.burst.saturating_add(self.price(MOST_OWED)) => ahead,
            _ => 0,
        }
    }

    #[inline(always)]
    fn pay(&self, now: Moment, bytes: usize, limit: u64) -> bool {
        let price = self.price(bytes as u64);
        let mut paid_until = self.paid_until.load(Ordering::Relaxed);
        loop {
            let ahead = self.ahead(paid_until, now).saturating_add(price);
            if ahead > limit {
                return false;
            }
            let paid = now.0.wrapping_add(ahead);
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

    /// Takes the tokens of a packet, if they are there.
    #[inline]
    pub fn take(&self, now: Moment, bytes: usize) -> bool {
        self.pay(now, bytes, self.burst)
    }

    /// Takes the tokens of a packet, if they are there beside `reserve`.
    #[inline]
    pub fn take_beside(&self, now: Moment, bytes: usize, reserve: Level) -> bool {
        self.pay(now, bytes, self.burst.saturating_sub(reserve.0))
    }

    /// Takes the tokens of a packet, there or not.
    #[inline]
    pub fn charge(&self, now: Moment, bytes: usize) {
        self.pay(now, bytes, u64::MAX);
    }

    /// What is in it.
    #[inline]
    pub fn level(&self, now: Moment) -> Level {
        let paid_until = self.paid_until.load(Ordering::Relaxed);
        Level(self.burst.saturating_sub(self.ahead(paid_until, now)))
    }

    /// What the next incarnation of the plugin, in the same process, goes on with.
    pub fn export(&self) -> u64 {
        self.paid_until.load(Ordering::Relaxed)
    }

    /// Goes on with what [`Bucket::export`] has given.
    pub fn import(&self, word: u64) {
        self.paid_until.store(word, Ordering::Relaxed);
    }
}
