// SPDX-License-Identifier: Apache-2.0
//! Time on the packet path: the time stamp counter, read without a system call.
//!
//! Assumes an invariant TSC (`constant_tsc nonstop_tsc` in /proc/cpuinfo), which every x86-64 server of the
//! last fifteen years has; elsewhere the monotonic clock in nanoseconds stands in.
//!
//! Time is a value: whoever asks what time it is has been given a [`Clock`], by the engine or with the vector
//! ([`crate::Context::now`]), and a test gives the engine one that it turns itself ([`Clock::manual`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A time stamp in clocks of the [`Clock`] that read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tsc(pub u64);

impl Tsc {
    /// Now.
    #[inline(always)]
    pub fn now() -> Tsc {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: RDTSC is part of every x86-64; the kernel does not trap it (prctl PR_SET_TSC is the default).
            Tsc(unsafe { core::arch::x86_64::_rdtsc() })
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is a valid place for the result.
            unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
            Tsc(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
        }
    }

    /// Clocks from `earlier` to `self`; 0 if it is later.
    #[inline(always)]
    pub const fn since(self, earlier: Tsc) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Says what time it is, and converts clocks to time. Copied to every thread.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Tsc,
    per_second: f64,
    /// The hand of a clock that does not go by itself.
    hand: Option<&'static AtomicU64>,
}

/// Clocks per second of a manual clock: one is a nanosecond.
const MANUAL_RATE: f64 = 1e9;
/// Where a manual clock begins: what happened "long ago" (at 0) is a minute ago.
const MANUAL_START: u64 = 60_000_000_000;

impl Clock {
    /// The counter, with its rate, measured against the monotonic clock for 20 ms.
    pub fn calibrate() -> Clock {
        let (instant, start) = (Instant::now(), Tsc::now());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, end) = (instant.elapsed(), Tsc::now());
        Clock { start, per_second: end.since(start) as f64 / elapsed.as_secs_f64(), hand: None }
    }

    /// A clock that stands still but for [`Clock::turn`], for tests that drive workers by hand; all copies show the same time.
    /// (Its eight bytes live as long as the process, so that a clock stays a plain value.) A worker on a thread of its own never sleeps by
    /// it.
    pub fn manual() -> Clock {
        let hand = Box::leak(Box::new(AtomicU64::new(MANUAL_START)));
        Clock { start: Tsc(MANUAL_START), per_second: MANUAL_RATE, hand: Some(hand) }
    }

    /// Lets `time` pass on a manual clock.
    ///
    /// # Panics
    /// If the clock goes by itself.
    pub fn turn(&self, time: Duration) {
        let Some(hand) = self.hand else {
            panic!("only a manual clock can be turned");
        };
        hand.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Now.
    #[inline(always)]
    pub fn now(&self) -> Tsc {
        match self.hand {
            None => Tsc::now(),
            Some(hand) => Tsc(hand.load(Ordering::Relaxed)),
        }
    }

    /// Clocks per second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Clocks in `time`.
    pub fn clocks(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.per_second) as u64
    }

    /// Time that `clocks` take.
    pub fn duration(&self, clocks: u64) -> Duration {
        Duration::from_secs_f64(clocks as f64 / self.per_second)
    }

    /// Time from start to `at`.
    pub fn since_start(&self, at: Tsc) -> Duration {
        self.duration(at.since(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_goes_when_it_is_turned() {
        let clock = Clock::manual();
        let (copy, before) = (clock, clock.now());
        assert_eq!(copy.now(), before);
        copy.turn(Duration::from_millis(1050));
        assert_eq!(clock.duration(clock.now().since(before)), Duration::from_millis(1050));
        assert_eq!(clock.since_start(clock.now()), Duration::from_millis(1050));
    }
}
