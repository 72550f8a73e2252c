// SPDX-License-Identifier: Apache-2.0
//! Which path gets which buckets of a load-balance.
//!
//! Weft's own way keeps flows where they are ([`distribute`]), and so depends on what was before. The others look at the paths only and
//! have the properties of the algorithm whose name they bear (RFC 2991, RFC 2992). A threshold and a modulo depend on the order of
//! paths, which is that of interfaces and addresses; highest random weight on the ids of next hops, so a restart deals
//! anew. Workers see no difference: all of them fill buckets.
//!
//! Main thread only.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::{Forward, MAX_BUCKETS, MAX_FORWARDS, Share};

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

/// Fills buckets in proportion to the weights, keeping those of `previous` where they are as far as the error
/// bound allows.
pub(super) fn distribute(shares: &[Share], previous: &[Forward]) -> Vec<Forward> {
    assert!(
        (1..=MAX_FORWARDS).contains(&shares.len()),
        "between 1 and {MAX_FORWARDS} shares make a load-balance"
    );
    let size = bucket_count(shares).max(previous.len());
    let quotas = quotas(shares, size);
    let owner = |forward: Forward| shares.iter().position(|share| share.forward == forward);

    // `previous` repeated: the same low bits of a hash find the same forward in the larger array.
    let mut buckets: Vec<Option<usize>> =
        previous.iter().cycle().take(size).map(|&forward| owner(forward)).collect();
    let mut count = vec![0usize; shares.len()];
    for share in buckets.iter().flatten() {
        count[*share] += 1;
    }
    let lack = |count: &[usize], share: usize| quotas[share] - count[share] as f64;
    let neediest = |count: &[usize]| {
        (0..shares.len())
            .max_by(|&a, &b| lack(count, a).total_cmp(&lack(count, b)))
            .expect("there are shares")
    };

    for bucket in buckets.iter_mut().filter(|bucket| bucket.is_none()) {
        let share = neediest(&count);
        *bucket = Some(share);
        count[share] += 1;
    }
    loop {
        let poor = neediest(&count);
        let rich = (0..shares.len())
            .min_by(|&a, &b| lack(&count, a).total_cmp(&lack(&count, b)))
            .expect("there are shares");
        if lack(&count, poor) < 1.0 && lack(&count, rich) > -1.0 {
            break;
        }
        let bucket =
            buckets.iter().rposition(|bucket| *bucket == Some(rich)).expect("the richest share has a bucket");
        buckets[bucket] = Some(poor);
        count[rich] -= 1;
        count[poor] += 1;
    }
    buckets.into_iter().flatten().map(|share| shares[share].forward).collect()
}

/// The exact number of buckets of each share, but at least one: what the small ones get too much, the
/// others pay in proportion.
fn quotas(shares: &[Share], size: usize) -> Vec<f64> {
    let mut quotas = vec![0.0; shares.len()];
    loop {
        let small = quotas.iter().filter(|quota| **quota == 1.0).count();
        let large = || (0..shares.len()).filter(|&share| quotas[share] != 1.0);
        let weight: f64 = large().map(|share| shares[share].weight as f64).sum();
        let mut settled = true;
        for share in large().collect::<Vec<_>>() {
            let exact = shares[share].weight as f64 * (size - small) as f64 / weight;
            settled &= exact >= 1.0;
            quotas[share] = exact.max(1.0);
        }
        if settled {
            return quotas;
        }
    }
}

/// The smallest array in which no share is off by more than 1/16 of itself.
fn bucket_count(shares: &[Share]) -> usize {
    let total: f64 = shares.iter().map(|share| share.weight as f64).sum();
    let fits = |size: &usize| {
        shares.iter().all(|share| {
            let exact = share.weight as f64 * *size as f64 / total;
            let error = (exact - exact.floor()).max(exact.ceil() - exact);
            error <= exact / 16.0
        })
    };
    let smallest = shares.len().next_power_of_two();
    std::iter::successors(Some(smallest), |size| Some(size * 2))
        .take_while(|size| *size < MAX_BUCKETS)
        .find(fits)
        .unwrap_or(MAX_BUCKETS)
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
        // As three numbers of these widths: this hash mixes two short ones, as Forward has them, too little.
        let Forward { kind, object } = share.forward;
        let uniform =
            ((hasher.hash_one((kind.number(), object, bucket)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
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
    use super::super::AdjacencyId;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn share(id: u32, weight: u64) -> Share {
        Share { forward: Forward::adjacency(AdjacencyId(id)), weight }
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
        assert_eq!(Multipath::First.buckets(&equal(3..6), &[]), [Forward::adjacency(AdjacencyId(3))]);
    }

    #[test]
    fn modulo_is_the_number_of_the_bucket_modulo_the_paths() {
        let buckets = Multipath::ModuloN.buckets(&equal(0..3), &[]);
        assert!(
            (0u32..)
                .zip(&buckets)
                .all(|(bucket, forward)| *forward == Forward::adjacency(AdjacencyId(bucket % 3)))
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
            let has = |ids: &BTreeSet<u32>, forward| Forward::as_adjacency(forward).is_some_and(|id| ids.contains(&id.0));
            for (from, to) in moved(&full(&before), &full(&after)) {
                prop_assert!(!has(&after, from) || !has(&before, to));
            }
            prop_assert_eq!(full(&before), full(&before));
        }
    }
}
