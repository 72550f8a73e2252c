// SPDX-License-Identifier: Apache-2.0
//! What of a rule's rate is used up: a token bucket that all workers share.
//!
//! Time is that of the worker's vector (some microseconds old at most). What all workers together let pass in any time t
//! is at most `burst + rate * t`, plus one packet where the burst is smaller than a packet.

use weft_engine::clock::{Clock, Tsc};
use weft_token_bucket::{Moment, SharedTokenBucket};

use crate::rule::{Police, PoliceUnit};

/// A rate, and what of it is used up.
#[derive(Debug)]
pub struct Policer {
    police: Police,
    bucket: SharedTokenBucket,
}

impl Policer {
    /// A full bucket.
    pub fn new(police: Police, clock: &Clock) -> Policer {
        let bucket = SharedTokenBucket::new(clock.per_second(), police.rate.get(), police.burst.get());
        Policer { police, bucket }
    }

    /// What was asked for.
    pub fn police(&self) -> Police {
        self.police
    }

    /// Whether a packet of `bytes` bytes may pass now. Any thread.
    #[inline]
    pub fn allows(&self, now: Tsc, bytes: usize) -> bool {
        let tokens = match self.police.unit {
            PoliceUnit::Packets => 1,
            PoliceUnit::Bytes => bytes as u64,
        };
        self.bucket.take_or_empty(Moment::new(now.0), tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU64;

    #[test]
    fn packets_count_one_and_bytes_what_packets_weigh() {
        let clock = Clock::calibrate();
        let now = Tsc::now();
        let policer = |rate, burst, unit| {
            let [rate, burst] = [rate, burst].map(|number| NonZeroU64::new(number).unwrap());
            Policer::new(Police { rate, burst, unit }, &clock)
        };
        let packets = policer(1000, 10, PoliceUnit::Packets);
        assert_eq!((0..100).filter(|_| packets.allows(now, 1500)).count(), 10);
        let bytes = policer(1_000_000, 3_000, PoliceUnit::Bytes);
        assert!(bytes.allows(now, 1_500) && bytes.allows(now, 1_400));
        assert!(!bytes.allows(now, 200) && bytes.allows(now, 100) && !bytes.allows(now, 1));
        // A burst below a packet's length lets one packet through a bucket that is full.
        let tiny = policer(1_000, 10, PoliceUnit::Bytes);
        assert!(tiny.allows(now, 1_500) && !tiny.allows(now, 1));
    }
}
