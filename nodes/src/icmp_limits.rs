// SPDX-License-Identifier: Apache-2.0
//! How many ICMP errors a worker may send. IPv4 and IPv6 have the same limits, and each a budget of its own: so a flood of
//! one family leaves the other's senders their answers.

use weft_engine::clock::{Clock, Tsc};
use weft_token_bucket::{Moment, TokenBucket};

use crate::tables::IcmpSettings;

/// Kinds of errors that can have a limit of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// No hop was left.
    TimeExceeded,
    /// Nobody is there.
    Unreachable,
    /// Longer than a link carries.
    TooBig,
    /// Any other.
    Other,
}

/// Limits of single kinds of errors, in a second; the others share the limit of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IcmpRates {
    /// Of all that have no limit of their own; `None`: as it was set at the start.
    pub others: Option<u32>,
    /// Time exceeded.
    pub time_exceeded: Option<u32>,
    /// Destination unreachable.
    pub unreachable: Option<u32>,
    /// Fragmentation needed, or packet too big.
    pub too_big: Option<u32>,
}

/// The limits of one worker.
pub struct IcmpLimits {
    settings: IcmpSettings,
    others: TokenBucket,
    time_exceeded: Option<TokenBucket>,
    unreachable: Option<TokenBucket>,
    too_big: Option<TokenBucket>,
}

impl IcmpLimits {
    /// One limit for all.
    pub fn new(clock: &Clock, settings: IcmpSettings) -> IcmpLimits {
        IcmpLimits {
            settings,
            others: bucket(clock, settings.per_second, settings.burst),
            time_exceeded: None,
            unreachable: None,
            too_big: None,
        }
    }

    /// Other limits from now on.
    pub fn configure(&mut self, clock: &Clock, rates: IcmpRates) {
        let IcmpSettings { per_second, burst } = self.settings;
        let own = |rate: u32| bucket(clock, rate, burst.clamp(1, rate.max(1)));
        *self = IcmpLimits {
            settings: self.settings,
            others: rates.others.map_or_else(|| bucket(clock, per_second, burst), own),
            time_exceeded: rates.time_exceeded.map(own),
            unreachable: rates.unreachable.map(own),
            too_big: rates.too_big.map(own),
        };
    }

    /// Whether an error of this kind may be sent.
    pub(crate) fn take(&mut self, kind: ErrorKind, now: Tsc) -> bool {
        let own = match kind {
            ErrorKind::TimeExceeded => &mut self.time_exceeded,
            ErrorKind::TooBig => &mut self.too_big,
            ErrorKind::Unreachable => &mut self.unreachable,
            ErrorKind::Other => &mut None,
        };
        own.as_mut().unwrap_or(&mut self.others).take(Moment::new(now.0), 1)
    }
}

fn bucket(clock: &Clock, per_second: u32, burst: u32) -> TokenBucket {
    TokenBucket::new(clock.per_second(), per_second.into(), burst.into())
}
