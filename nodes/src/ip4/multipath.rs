// SPDX-License-Identifier: Apache-2.0
//! Which path gets which buckets of a load-balance.
//!
//! Weft's own way keeps flows where they are ([`distribute`]), and so depends on what was before. Who needs several routers, or a router
//! before and after a restart, to choose alike takes one of the others, which look at the paths only and have the properties of
//! the algorithm whose name they bear (RFC 2991, RFC 2992). Workers see no difference: all of them fill buckets.
//!
//! Main thread only.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::load_balance::{distribute, quotas};
use super::{Forward, MAX_BUCKETS, Share};

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Multipath {
    /// As few flows as possible move when paths change.
    #[default]
    Resilient,
    /// Each path has a region of the hashes (RFC 2992): of `n` equal paths one more or less moves a quarter to a half of the
    /// flows.
    HashThreshold,
    /// Each bucket takes the path that it ranks highest (RFC 2991 section 3): only flows of a path that goes move, and only to
    /// one that comes. Shares are exact only on average.
    HighestRandomWeight,
    /// The hash modulo the number of paths (RFC 2991 section 3): nearly all flows move when paths change.
    ModuloN,
    /// The first path takes all.
    First,
}

impl Multipath {
    /// All of them, by the names of vplaned's `ecmp mode` where it has one.
    pub const NAMES: [(&str, Multipath); 5] = [
        ("resilient", Multipath::Resilient),
        ("hash-threshold", Multipath::HashThreshold),
        ("hrw", Multipath::HighestRandomWeight),
        ("modulo-n", Multipath::ModuloN),
        ("disable", Multipath::First),
    ];

    /// Buckets, a power of two in number, for `shares` where there was `previous`.
    ///
    /// # Panics
    /// If there are no shares or more than [`super::MAX_FORWARDS`].
    pub(super) fn buckets(self, shares: &[Share], previous: &[Forward]) -> Vec<Forward> {
        match (self, shares) {
            (Multipath::Resilient, _) => distribute(shares, previous),
            (_, [only]) | (Multipath::First, [only, ..]) => vec![only.forward],
            (Multipath::HashThreshold, _) => regions(shares),
            (Multipath::HighestRandomWeight, _) => highest(shares),
            (Multipath::ModuloN, _) => in_turn(shares),
            (Multipath::First, []) => panic!("a load-balance has a share"),
        }
    }
}

impl fmt::Display for Multipath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Multipath::NAMES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

fn regions(shares: &[Share]) -> Vec<Forward> {
    let mut buckets = Vec::with_capacity(MAX_BUCKETS);
    let mut end = 0.0;
    for (share, quota) in shares.iter().zip(quotas(shares, MAX_BUCKETS)) {
        end += quota;
        buckets.resize(f64::round(end) as usize, share.forward);
    }
    buckets
}

fn highest(shares: &[Share]) -> Vec<Forward> {
    let hasher = FixedState::default();
    // The logarithm makes each share win in proportion to its weight.
    let rank = |share: &Share, bucket: usize| {
        let uniform = ((hasher.hash_one((share.forward, bucket)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -uniform.ln() / share.weight as f64
    };
    let winner = |bucket| {
        let best = shares.iter().min_by(|a, b| rank(a, bucket).total_cmp(&rank(b, bucket)));
        best.expect("a load-balance has a share").forward
    };
    (0..MAX_BUCKETS).map(winner).collect()
}

/// Each share in its turn, as often as its weight says; for equal ones this is the number of the bucket modulo theirs.
fn in_turn(shares: &[Share]) -> Vec<Forward> {
    let total: i128 = shares.iter().map(|share| i128::from(share.weight)).sum();
    let mut credit = vec![0i128; shares.len()];
    let next = |_| {
        let mut turn = 0;
        for (share, weight) in shares.iter().map(|share| i128::from(share.weight)).enumerate() {
            credit[share] += weight;
            if credit[share] > credit[turn] {
                turn = share;
            }
        }
        credit[turn] -= total;
        shares[turn].forward
    };
    (0..MAX_BUCKETS).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::super::NextHopId;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn share(id: u32, weight: u64) -> Share {
        Share { forward: Forward::NextHop(NextHopId(id)), weight }
    }

    fn equal(ids: impl IntoIterator<Item = u32>) -> Vec<Share> {
        ids.into_iter().map(|id| share(id, 1)).collect()
    }

    fn count(buckets: &[Forward], share: &Share) -> usize {
        buckets.iter().filter(|forward| **forward == share.forward).count()
    }

    fn moved(before: &[Forward], after: &[Forward]) -> Vec<(Forward, Forward)> {
        before.iter().copied().zip(after.iter().copied()).filter(|(before, after)| before != after).collect()
    }

    #[test]
    fn disabled_means_the_first_path() {
        assert_eq!(Multipath::First.buckets(&equal(3..6), &[]), [Forward::NextHop(NextHopId(3))]);
    }

    #[test]
    fn modulo_is_the_number_of_the_bucket_modulo_the_paths() {
        let buckets = Multipath::ModuloN.buckets(&equal(0..3), &[]);
        assert!(
            (0u32..)
                .zip(&buckets)
                .all(|(bucket, forward)| *forward == Forward::NextHop(NextHopId(bucket % 3)))
        );
        let weighted = Multipath::ModuloN.buckets(&[share(1, 3), share(2, 1)], &[]);
        assert_eq!(count(&weighted, &share(2, 1)), MAX_BUCKETS / 4);
    }

    proptest! {
        /// A power of two, nothing foreign, and no share far from what its weight says.
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(1u64..5, 2..9)) {
            let shares: Vec<_> = weights.iter().zip(0..).map(|(weight, id)| share(id, *weight)).collect();
            let total: u64 = weights.iter().sum();
            for (name, mode) in &Multipath::NAMES[1..4] {
                let buckets = mode.buckets(&shares, &[]);
                prop_assert!(buckets.len().is_power_of_two() && buckets.len() <= MAX_BUCKETS);
                for share in &shares {
                    let exact = share.weight as f64 * buckets.len() as f64 / total as f64;
                    let error = (count(&buckets, share) as f64 - exact).abs();
                    // Six standard deviations of what chance gives.
                    let bound = if *name == "hrw" { 6.0 * exact.sqrt() } else { 1.5 };
                    prop_assert!(error <= bound, "{name}: {error} off {exact}");
                }
            }
        }

        /// RFC 2992 section 3: at most half of the flows move when a path goes.
        #[test]
        fn a_threshold_moves_half_of_the_flows_at_most(count in 2u32..=16, gone in 0u32..16) {
            let gone = gone % count;
            let before = Multipath::HashThreshold.buckets(&equal(0..count), &[]);
            let after = Multipath::HashThreshold.buckets(&equal((0..count).filter(|id| *id != gone)), &before);
            let moved = moved(&before, &after).len();
            prop_assert!(moved <= MAX_BUCKETS / 2 + count as usize, "{moved} of {MAX_BUCKETS}");
        }

        /// Flows move only from paths that go and to paths that come, and come back.
        #[test]
        fn highest_random_weight_moves_no_other_flow(
            before in prop::collection::btree_set(0u32..64, 1..20),
            after in prop::collection::btree_set(0u32..64, 1..20),
        ) {
            let mode = Multipath::HighestRandomWeight;
            let full = |ids: &BTreeSet<u32>| {
                let buckets = mode.buckets(&equal(ids.iter().copied()), &[]);
                buckets.iter().copied().cycle().take(MAX_BUCKETS).collect::<Vec<_>>()
            };
            let has = |ids: &BTreeSet<u32>, forward| matches!(forward, Forward::NextHop(id) if ids.contains(&id.0));
            for (from, to) in moved(&full(&before), &full(&after)) {
                prop_assert!(!has(&after, from) || !has(&before, to));
            }
            prop_assert_eq!(full(&before), full(&before));
        }
    }
}
