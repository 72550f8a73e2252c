// SPDX-License-Identifier: Apache-2.0
//! How a flow's packets are hashed, so that they keep to one of several paths.
//!
//! A round of multiply and fold for each word, and one in the end, spread any change of the input over all 32 bits; it is no
//! defence against an attacker who chooses addresses, which ECMP does not need. What is hashed is the family's matter.

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd1b5_4a32_d192_ed03;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

/// The hash of these words; never 0.
#[inline(always)]
pub(crate) fn of(words: &[u64]) -> u32 {
    let mut hash = K0;
    for (number, word) in words.iter().enumerate() {
        hash = fold(hash ^ word, if number % 2 == 0 { K1 } else { K0 });
    }
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}
