// SPDX-License-Identifier: Apache-2.0
//! Three colours from two buckets.
//!
//! | | committed bucket | excess bucket |
//! |---|---|---|
//! | RFC 2697 | CIR, CBS | CIR, CBS + EBS: both buckets of the RFC in one |
//! | RFC 2698 | CIR, CBS | PIR, PBS |
//! | RFC 4115 | CIR, CBS | EIR, EBS |
//!
//! In RFC 2697 tokens that the first bucket cannot hold run over into the second, which ties the two together. Their
//! sum is simple: it gains CIR until it is CBS + EBS, and every packet that is not red takes from it. So what is in
//! the second bucket is that sum less what is in the first, and no bucket here depends on another one.
//!
//! One worker alone, or several one after the other, get the colours of the RFC, but for the rounding of a
//! [`SharedTokenBucket`]. Several at the same moment never get more green than that; which of their packets is the green one is
//! open. In RFC 2697, yellow and green together can run ahead by one packet for each other worker that is between its
//! two buckets at this moment, and that is paid back.

use weft_token_bucket::{Moment, SharedTokenBucket};

/// The algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// RFC 2697.
    SingleRate,
    /// RFC 2698.
    TwoRate,
    /// RFC 4115.
    Differentiated,
}

/// What a packet is, or is taken for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Colour {
    Green,
    Yellow,
    Red,
}

impl Colour {
    /// In the order of the operator's words conform, exceed, violate.
    pub const ALL: [Colour; 3] = [Colour::Green, Colour::Yellow, Colour::Red];

    /// Of a packet that was metered before: the drop precedence of Assured Forwarding (RFC 2597 section 6). All other
    /// code points are green.
    #[inline(always)]
    pub fn of_dscp(dscp: u8) -> Colour {
        match (dscp >> 3, dscp & 7) {
            (1..=4, 4) => Colour::Yellow,
            (1..=4, 6) => Colour::Red,
            _ => Colour::Green,
        }
    }
}

/// A rate in bytes per second, and a burst in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    pub rate: u64,
    pub burst: u64,
}

/// A meter that all workers share.
#[derive(Debug)]
pub struct Meter {
    kind: Kind,
    committed: SharedTokenBucket,
    excess: SharedTokenBucket,
}

impl Meter {
    /// Full buckets. The rate of `excess` means nothing to RFC 2697.
    pub fn new(clocks_per_second: f64, kind: Kind, committed: Profile, excess: Profile) -> Meter {
        let bucket = |rate, burst| SharedTokenBucket::new(clocks_per_second, rate, burst);
        Meter {
            kind,
            committed: bucket(committed.rate, committed.burst),
            excess: match kind {
                Kind::SingleRate => bucket(committed.rate, committed.burst + excess.burst),
                _ => bucket(excess.rate, excess.burst),
            },
        }
    }

    /// The colour of a packet of so many bytes that came as `before`; a meter that is blind to colours is given green.
    #[inline]
    pub fn colour(&self, now: Moment, bytes: usize, before: Colour) -> Colour {
        let (committed, excess, bytes) = (&self.committed, &self.excess, bytes as u64);
        if before == Colour::Red {
            return Colour::Red;
        }
        let conforms = || before == Colour::Green && committed.take(now, bytes);
        match self.kind {
            Kind::SingleRate if conforms() => {
                excess.charge(now, bytes);
                Colour::Green
            }
            Kind::SingleRate if excess.take_beside(now, bytes, committed.level(now)) => Colour::Yellow,
            Kind::TwoRate if excess.take(now, bytes) => match conforms() {
                true => Colour::Green,
                false => Colour::Yellow,
            },
            Kind::Differentiated if conforms() => Colour::Green,
            Kind::Differentiated if excess.take(now, bytes) => Colour::Yellow,
            _ => Colour::Red,
        }
    }

    /// The two buckets, for the next incarnation.
    pub fn export(&self) -> [u64; 2] {
        [self.committed.export(), self.excess.export()]
    }

    /// Goes on with them.
    pub fn import(&self, [committed, excess]: [u64; 2]) {
        self.committed.import(committed);
        self.excess.import(excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    const HZ: u64 = 1_000_000_000;

    /// The meters as the RFCs write them, in exact arithmetic: tokens in 1/HZ bytes.
    struct Textbook {
        kind: Kind,
        profiles: [Profile; 2],
        tokens: [u128; 2],
        at: u64,
    }

    impl Textbook {
        fn new(kind: Kind, committed: Profile, excess: Profile) -> Textbook {
            let profiles = [committed, excess];
            let tokens = profiles.map(|profile| u128::from(profile.burst) * u128::from(HZ));
            Textbook { kind, profiles, tokens, at: 0 }
        }

        fn colour(&mut self, now: u64, bytes: usize, before: Colour) -> Colour {
            let full = self.profiles.map(|profile| u128::from(profile.burst) * u128::from(HZ));
            let gain = self.profiles.map(|profile| u128::from(profile.rate) * u128::from(now - self.at));
            self.at = now;
            let committed = self.tokens[0] + gain[0];
            let over = committed.saturating_sub(full[0]);
            let gains = if self.kind == Kind::SingleRate { over } else { gain[1] };
            self.tokens = [committed.min(full[0]), (self.tokens[1] + gains).min(full[1])];
            let price = bytes as u128 * u128::from(HZ);
            let has = self.tokens.map(|tokens| tokens >= price);
            let (green, yellow) = (before == Colour::Green, before <= Colour::Yellow);
            match self.kind {
                Kind::TwoRate if !yellow || !has[1] => Colour::Red,
                Kind::TwoRate => {
                    self.tokens[1] -= price;
                    if !green || !has[0] {
                        return Colour::Yellow;
                    }
                    self.tokens[0] -= price;
                    Colour::Green
                }
                _ if green && has[0] => {
                    self.tokens[0] -= price;
                    Colour::Green
                }
                _ if yellow && has[1] => {
                    self.tokens[1] -= price;
                    Colour::Yellow
                }
                _ => Colour::Red,
            }
        }
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::SingleRate), Just(Kind::TwoRate), Just(Kind::Differentiated)]
    }

    fn burst() -> impl Strategy<Value = u64> {
        prop_oneof![0..3_000u64, 3_000..200_000u64]
    }

    /// Gap before the packet in clocks, bytes, colour.
    fn arrival() -> impl Strategy<Value = (u64, usize, Colour)> {
        let gap = prop_oneof![8 => Just(0), 16 => 0..40_000u64, 1 => 0..20_000_000u64];
        (gap, 20..1_600usize, prop::sample::select(Colour::ALL.as_slice()))
    }

    proptest! {
        /// With rates whose price of a byte is a whole number of parts, every packet gets the colour of the textbook.
        #[test]
        fn colours_are_those_of_the_textbook(
            kind in kind(), price in (1..200u64, 1..200u64), bursts in (burst(), burst()), aware: bool,
            arrivals in prop::collection::vec(arrival(), 1..400),
        ) {
            // 1 clock is 64 parts; take only those prices that divide the clock rate.
            let whole = |rate: &u64| (HZ * 64).is_multiple_of(*rate);
            let rate = |price: u64| (1..=price).rev().map(|price| HZ * 64 / price).find(whole);
            let profile = |price, burst| Profile { rate: rate(price).unwrap(), burst };
            let (committed, excess) = (profile(price.0, bursts.0), profile(price.1, bursts.1));
            let meter = Meter::new(HZ as f64, kind, committed, excess);
            let mut textbook = Textbook::new(kind, committed, excess);
            let mut now = 0;
            for (i, (gap, bytes, before)) in arrivals.into_iter().enumerate() {
                now += gap;
                let before = if aware { before } else { Colour::Green };
                prop_assert_eq!(
                    meter.colour(Moment::new(now), bytes, before), textbook.colour(now, bytes, before), "packet {}", i
                );
            }
        }

        /// With any rate, what passes is within the profile, but for the rounding that the module promises.
        #[test]
        fn what_passes_is_within_the_profile(
            kind in kind(), rates in (125..50_000_000_000u64, 125..50_000_000_000u64), bursts in (burst(), burst()),
            arrivals in prop::collection::vec(arrival(), 1..400),
        ) {
            let committed = Profile { rate: rates.0, burst: bursts.0 };
            let excess = Profile { rate: rates.1, burst: bursts.1 };
            let meter = Meter::new(HZ as f64, kind, committed, excess);
            let (mut now, mut packets, mut bytes_of) = (0u64, 0u128, [0u128; 3]);
            for (gap, bytes, _) in arrivals {
                now += gap;
                packets += 1;
                bytes_of[meter.colour(Moment::new(now), bytes, Colour::Green) as usize] += bytes as u128;
                let within = |passed: u128, rate: u64, burst: u64| {
                    // Bytes in 1/(64 HZ); a packet is let off less than 2 parts: one, and one for the price of a byte.
                    let (rate, unit) = (u128::from(rate), u128::from(64 * HZ));
                    passed * unit <= u128::from(burst) * unit + rate * (u128::from(now) * 64 + 2 * packets)
                };
                prop_assert!(within(bytes_of[0], committed.rate, committed.burst));
                let more_than_green = match kind {
                    Kind::SingleRate => {
                        within(bytes_of[0] + bytes_of[1], committed.rate, committed.burst + excess.burst)
                    }
                    Kind::TwoRate => within(bytes_of[0] + bytes_of[1], excess.rate, excess.burst),
                    Kind::Differentiated => within(bytes_of[1], excess.rate, excess.burst),
                };
                prop_assert!(more_than_green);
            }
        }
    }

    /// Threads at the same moment share what there is.
    #[test]
    fn workers_together_get_no_more_than_one_would() {
        for kind in [Kind::SingleRate, Kind::TwoRate, Kind::Differentiated] {
            let (committed, excess) =
                (Profile { rate: 1_000, burst: 300_000 }, Profile { rate: 1_000, burst: 500_000 });
            let meter = Meter::new(HZ as f64, kind, committed, excess);
            let passed = [const { AtomicU64::new(0) }; 3];
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..5_000 {
                            let colour = meter.colour(Moment::new(7), 100, Colour::Green);
                            passed[colour as usize].fetch_add(100, Ordering::Relaxed);
                        }
                    });
                }
            });
            let [green, yellow, red] = passed.map(AtomicU64::into_inner);
            assert_eq!(green, 300_000, "{kind:?}");
            match kind {
                // Up to a packet for each other worker.
                Kind::SingleRate => assert!((500_000..=500_300).contains(&yellow), "{yellow}"),
                Kind::TwoRate => assert_eq!(yellow, 200_000),
                Kind::Differentiated => assert_eq!(yellow, 500_000),
            }
            assert_eq!(green + yellow + red, 4 * 5_000 * 100);
        }
    }

    #[test]
    fn assured_forwarding_says_the_colour() {
        let colours = |dscps: [u8; 3]| dscps.map(Colour::of_dscp);
        for class in [8, 16, 24, 32] {
            assert_eq!(colours([class + 2, class + 4, class + 6]), Colour::ALL);
        }
        assert_eq!(colours([0, 46, 8 + 3]), [Colour::Green; 3]);
        assert_eq!(
            colours([4, 40 + 4, 40 + 6]),
            [Colour::Green; 3],
            "classes 0 and 5 are not Assured Forwarding"
        );
    }

    #[test]
    fn a_bucket_that_was_idle_for_years_is_full() {
        let profile = Profile { rate: 1_000_000, burst: 1_500 };
        let meter = Meter::new(HZ as f64, Kind::Differentiated, profile, profile);
        for clocks in [0, 1 << 40, (1 << 57) - 1, (1 << 58) - 1] {
            let colours = [(); 3].map(|()| meter.colour(Moment::new(clocks), 1_500, Colour::Green));
            assert_eq!(colours, Colour::ALL, "at {clocks}");
        }
    }
}
