// SPDX-License-Identifier: Apache-2.0
//! Routes and destinations for benchmarks, the same in each run.

use std::collections::HashSet;

use ipnet::Ipv4Net;

/// Prefixes of the default-free zone in a thousand, by length: rounded from what BGP table reports of recent
/// years have in common, which is that six of ten are a /24.
const INTERNET: [(u8, u64); 14] = [
    (24, 615),
    (23, 100),
    (22, 115),
    (21, 50),
    (20, 45),
    (19, 25),
    (18, 13),
    (17, 8),
    (16, 13),
    (15, 4),
    (14, 4),
    (13, 3),
    (12, 3),
    (11, 2),
];

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Different prefixes in order of address: each length from /8 to /24 as often, as far as there are so many.
pub fn uniform(random: &mut Random, count: usize) -> Vec<Ipv4Net> {
    prefixes(random, count, |bits| 8 + (bits % 17) as u8)
}

/// Different prefixes in order of address, with the lengths of Internet routes.
pub fn internet(random: &mut Random, count: usize) -> Vec<Ipv4Net> {
    prefixes(random, count, |bits| {
        let mut left = bits % 1000;
        let class = INTERNET.iter().find(|(_, share)| match left.checked_sub(*share) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        class.expect("the shares sum up to 1000").0
    })
}

fn prefixes(random: &mut Random, count: usize, length: impl Fn(u64) -> u8) -> Vec<Ipv4Net> {
    let mut seen = HashSet::with_capacity(count);
    while seen.len() < count {
        let bits = random.next();
        let prefix = Ipv4Net::new((bits as u32).into(), length(bits >> 32)).expect("a length up to 32");
        seen.insert(prefix.trunc());
    }
    let mut prefixes: Vec<_> = seen.into_iter().collect();
    prefixes.sort();
    prefixes
}

/// In no order.
pub fn shuffle(random: &mut Random, prefixes: &mut [Ipv4Net]) {
    for i in (1..prefixes.len()).rev() {
        prefixes.swap(i, (random.next() % (i as u64 + 1)) as usize);
    }
}
