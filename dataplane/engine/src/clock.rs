// SPDX-License-Identifier: Apache-2.0
//! Time on the packet path: the time stamp counter, read without a system call.
//!
//! Assumes an invariant TSC (`constant_tsc nonstop_tsc` in /proc/cpuinfo), which every x86-64 server of the
//! last fifteen years has; elsewhere the monotonic clock in nanoseconds stands in.

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

/// Converts clocks to time. Measured once at start; copied to every thread.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Tsc,
    per_second: f64,
}

impl Clock {
    /// Measures the rate of the counter against the monotonic clock for 20 ms.
    pub fn calibrate() -> Clock {
        let (instant, start) = (Instant::now(), Tsc::now());
        std::thread::sleep(Duration::from_millis(20));
        let (elapsed, end) = (instant.elapsed(), Tsc::now());
        Clock { start, per_second: end.since(start) as f64 / elapsed.as_secs_f64() }
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
