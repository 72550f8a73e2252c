// SPDX-License-Identifier: Apache-2.0
//! The order of the features of an arc: what their constraints demand, and the same whatever came first.
//!
//! A feature comes as late as those after it allow. Among equals a built-in one comes first, then the name decides.

use super::Feature;
use crate::graph::BUILT_IN;

/// An order that satisfies all constraints, or the features of a cycle, each of which must come before the next one, and
/// the last before the first.
pub(super) fn sort(features: &[Feature]) -> Result<Vec<usize>, Vec<usize>> {
    let mut left: Vec<usize> = (0..features.len()).collect();
    // What comes last among equals is taken first: the order is found from its end.
    left.sort_by_key(|&i| (features[i].owner == BUILT_IN, std::cmp::Reverse(&features[i].node)));
    let mut order = Vec::with_capacity(features.len());
    while !left.is_empty() {
        match left.iter().position(|&i| later(features, &left, i).is_none()) {
            Some(place) => order.push(left.remove(place)),
            None => return Err(cycle(features, &left)),
        }
    }
    order.reverse();
    Ok(order)
}

fn comes_before(a: &Feature, b: &Feature) -> bool {
    a.before.contains(&b.node) || b.after.contains(&a.node)
}

/// One of `left` that must come after `feature`.
fn later(features: &[Feature], left: &[usize], feature: usize) -> Option<usize> {
    left.iter().copied().find(|&other| comes_before(&features[feature], &features[other]))
}

/// Each of `left` has one of them after it: who follows that far enough walks in a circle.
fn cycle(features: &[Feature], left: &[usize]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = left.first().copied();
    while let Some(feature) = next {
        if let Some(first) = path.iter().position(|&known| known == feature) {
            return path.split_off(first);
        }
        path.push(feature);
        next = later(features, left, feature);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feature(node: &str, owner: &str, after: &[&str], before: &[&str]) -> Feature {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (node, owner) = (node.to_owned(), owner.to_owned());
        Feature { node, owner, after: names(after), before: names(before), set_by: None }
    }

    fn names(features: &[Feature]) -> Vec<&str> {
        let order = sort(features).expect("no cycle");
        order.into_iter().map(|i| features[i].node.as_str()).collect()
    }

    #[test]
    fn a_feature_comes_as_late_as_the_others_allow() {
        let features = [
            feature("zebra", BUILT_IN, &[], &[]),
            feature("anything", "p", &[], &[]),
            feature("rules", BUILT_IN, &["flow"], &["zebra"]),
            feature("flow", BUILT_IN, &[], &[]),
            feature("early", "p", &[], &["flow"]),
            feature("just before rules", "q", &[], &["rules"]),
        ];
        let order = ["early", "flow", "just before rules", "rules", "zebra", "anything"];
        assert_eq!(names(&features), order);
    }

    #[test]
    fn a_feature_that_comes_before_itself_is_a_cycle() {
        assert_eq!(sort(&[feature("a", "p", &["a"], &[])]), Err(vec![0]));
    }

    proptest! {
        /// Constraints taken from a hidden total order can always be met, and are, in an order that does not depend on
        /// which feature was registered first.
        #[test]
        fn consistent_constraints_are_met(hidden in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
                                          registered in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
                                          pairs in prop::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let rank = |i: usize| hidden.iter().position(|h| *h == i).unwrap();
            let mut features: Vec<Feature> =
                (0..8).map(|i| feature(&format!("f{i}"), ["weft", "p"][i % 2], &[], &[])).collect();
            for (a, b) in pairs {
                let name = features[b].node.clone();
                if rank(a) < rank(b) {
                    features[a].before.push(name);
                } else if rank(b) < rank(a) {
                    features[a].after.push(name);
                }
            }
            let order = names(&features);
            let place = |name: &str| order.iter().position(|other| *other == name).unwrap();
            for feature in &features {
                for later in &feature.before {
                    prop_assert!(place(&feature.node) < place(later));
                }
                for earlier in &feature.after {
                    prop_assert!(place(earlier) < place(&feature.node));
                }
            }
            let shuffled: Vec<Feature> = registered.into_iter().map(|i| features[i].clone()).collect();
            prop_assert_eq!(order, names(&shuffled));
        }

        /// Features that name nobody but those of a total order never contradict each other, unless one contradicts
        /// that order by itself.
        #[test]
        fn strangers_do_not_contradict(places in prop::collection::vec((0usize..6, 0usize..6), 0..6)) {
            let anchor = |i: usize| format!("anchor{i}");
            let mut features: Vec<Feature> = (0..6)
                .map(|i| feature(&anchor(i), BUILT_IN, &i.checked_sub(1).map(anchor).iter().map(String::as_str)
                    .collect::<Vec<_>>(), &[]))
                .collect();
            for (n, (a, b)) in places.into_iter().enumerate() {
                let (after, before) = (anchor(a), anchor(b));
                features.push(feature(&format!("p{n}"), "p", &[&after], &[&before]));
                if a >= b {
                    prop_assert!(sort(&features).is_err());
                    features.pop();
                }
                prop_assert!(sort(&features).is_ok());
            }
        }
    }
}
