// SPDX-License-Identifier: Apache-2.0
//! Routes in the shape of IPv6's full table, and destinations among them; the same in each run.
//!
//! What BGP table reports of recent years have in common, rounded: nearly half of all prefixes are a /48, one in nine a /32,
//! and most others a /44, a /40 or something between. Beside these, one in twenty is a /64 and one in a hundred a /128, as
//! a router has them from its own network. Registries hand out blocks of 29 or 32 bits, close together in a few ranges: half
//! of the routes are below 2a00::/12. Few holders announce many parts: the number of more specific routes of a block follows a power law.
//! Half of these stand at the beginning of their block, the others anywhere in it.

use std::collections::BTreeSet;

use ipnet::Ipv6Net;

use crate::random::Random;

/// Prefixes in a thousand, by length.
const LENGTHS: [(u8, u32); 16] = [
    (48, 450),
    (32, 115),
    (44, 80),
    (40, 80),
    (64, 50),
    (36, 45),
    (46, 40),
    (29, 30),
    (47, 30),
    (33, 20),
    (42, 18),
    (34, 12),
    (38, 10),
    (45, 5),
    (128, 10),
    (56, 5),
];

/// Where blocks are handed out (IANA "IPv6 Global Unicast Address Assignments").
struct Range {
    /// Its first 32 bits.
    first: u32,
    /// Blocks that it has room for, and the length of each.
    blocks: u32,
    length: u8,
    /// Of a hundred.
    share: u32,
}

const RANGES: [Range; 6] = [
    Range { first: 0x2a00_0000, blocks: 0x2_a000, length: 29, share: 45 },
    Range { first: 0x2400_0000, blocks: 0x10_0000, length: 32, share: 20 },
    Range { first: 0x2804_0000, blocks: 0x1_0000, length: 32, share: 13 },
    Range { first: 0x2600_0000, blocks: 0x8_0000, length: 32, share: 12 },
    Range { first: 0x2001_0200, blocks: 0x5000, length: 32, share: 8 },
    Range { first: 0x2c0f_0000, blocks: 0x1_0000, length: 32, share: 2 },
];

const BLOCKS: usize = 30_000;

/// Which addresses packets go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Below each route as often.
    Even,
    /// Below few of the routes most of the time: below the nth one with a probability of 1/n (Zipf).
    Skewed,
}

/// One of these, by its share of all.
fn pick<'a, T>(random: &mut Random, all: &'a [T], share: impl Fn(&T) -> u32) -> &'a T {
    let mut left = random.below(all.iter().map(&share).sum());
    let chosen = all.iter().position(|one| match left.checked_sub(share(one)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    &all[chosen.unwrap_or(0)]
}

/// Between 0, which it never is, and 1.
fn unit(random: &mut Random) -> f64 {
    ((random.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

fn wide(random: &mut Random) -> u128 {
    u128::from(random.next()) << 64 | u128::from(random.next())
}

/// An address below a prefix.
fn below(random: &mut Random, prefix: Ipv6Net) -> u128 {
    prefix.network().to_bits() | wide(random).checked_shr(prefix.prefix_len().into()).unwrap_or(0)
}

/// Different prefixes.
pub fn routes(count: usize, random: &mut Random) -> BTreeSet<Ipv6Net> {
    let mut blocks = BTreeSet::new();
    while blocks.len() < BLOCKS {
        let range = pick(random, &RANGES, |range| range.share);
        let first = range.first + (random.below(range.blocks) << (32 - range.length));
        blocks.insert(Ipv6Net::new_assert((u128::from(first) << 96).into(), range.length));
    }
    let blocks: Vec<_> = blocks.into_iter().collect();
    let mut sum = 0.0;
    let sums: Vec<f64> = blocks
        .iter()
        .map(|_| {
            sum += unit(random).powf(-0.8).min(2000.0);
            sum
        })
        .collect();
    let mut prefixes = BTreeSet::new();
    while prefixes.len() < count {
        let (length, _) = *pick(random, &LENGTHS, |(_, share)| *share);
        let at = match length <= 32 {
            true => random.below(BLOCKS as u32) as usize,
            false => {
                let point = unit(random) * sum;
                sums.partition_point(|sum| *sum < point).min(BLOCKS - 1)
            }
        };
        let block = blocks[at];
        let free = length.saturating_sub(block.prefix_len());
        let zeros = match random.below(2) {
            0 if free > 4 => free / 2 - 2,
            _ => 0,
        };
        let address = block.network().to_bits() | wide(random) >> (block.prefix_len() + zeros);
        prefixes.insert(Ipv6Net::new_assert(address.into(), block.prefix_len() + free).trunc());
    }
    prefixes
}

/// Addresses below these routes, and one in twenty anywhere in 2000::/3.
pub fn destinations(
    routes: &BTreeSet<Ipv6Net>,
    spread: Spread,
    count: usize,
    random: &mut Random,
) -> Vec<u128> {
    let mut routes: Vec<_> = routes.iter().copied().collect();
    for i in (1..routes.len()).rev() {
        routes.swap(i, random.below(i as u32 + 1) as usize);
    }
    let many = routes.len() as f64;
    let one = |random: &mut Random| match random.below(20) {
        0 => 1 << 125 | wide(random) >> 3,
        _ => {
            let rank = match spread {
                Spread::Even => unit(random) * many,
                Spread::Skewed => many.powf(unit(random)),
            };
            below(random, routes[(rank as usize).clamp(1, routes.len()) - 1])
        }
    };
    (0..count).map(|_| one(random)).collect()
}
