// SPDX-License-Identifier: Apache-2.0
//! Eight comparisons at once, which the compiler does not find by itself: its own code for the loop below takes 45 instructions
//! where three do.
//!
//! Eight tags of 16 bits stand in two words, the first one in the lowest bits.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x,
    _mm_set1_epi16, _mm_setzero_si128,
};

use crate::sync::{AtomicU64, Ordering};

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn equal(tags: __m128i, wanted: u16) -> u32 {
    // SAFETY: SSE2 is part of every x86-64.
    unsafe {
        let same = _mm_cmpeq_epi16(tags, _mm_set1_epi16(wanted as i16));
        _mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())) as u32
    }
}

/// A bit for each tag that is `wanted`, the first one lowest.
#[inline(always)]
pub(crate) fn matches([low, high]: [u64; 2], wanted: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of every x86-64.
    return equal(unsafe { _mm_set_epi64x(high as i64, low as i64) }, wanted);
    #[cfg(not(target_arch = "x86_64"))]
    one_by_one([low, high], wanted)
}

/// The same, for the thread that alone writes these tags: one load in place of two.
///
/// # Safety
/// No other thread writes them meanwhile.
#[inline(always)]
pub(crate) unsafe fn own_matches(tags: &[AtomicU64; 2], wanted: u16) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: the load reads the 16 bytes of `tags`, aligned or not, which nobody writes meanwhile (by the caller).
    return equal(unsafe { _mm_loadu_si128(std::ptr::from_ref(tags).cast()) }, wanted);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    matches([tags[0].load(Ordering::Relaxed), tags[1].load(Ordering::Relaxed)], wanted)
}

/// The same, for any thread. What a matching tag was stored for is visible.
#[inline(always)]
pub(crate) fn shared_matches(tags: &[AtomicU64; 2], wanted: u16) -> u32 {
    matches([tags[0].load(Ordering::Acquire), tags[1].load(Ordering::Acquire)], wanted)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(tags: [u64; 2], wanted: u16) -> u32 {
    (0..8).fold(0, |bits, place| {
        let tag = (tags[place / 4] >> (place % 4 * 16)) as u16;
        bits | u32::from(tag == wanted) << place
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_at_once_is_one_by_one(values in prop::array::uniform8(prop_oneof![0u16..3, Just(0x8000), any::<u16>()])) {
            let word = |of: &[u16]| of.iter().rev().fold(0, |word, tag| word << 16 | u64::from(*tag));
            let tags = [word(&values[..4]), word(&values[4..])];
            let atomics = tags.map(AtomicU64::new);
            for wanted in [0, 1, 2, 0x8000, values[7]] {
                let expected = (0..).zip(values).fold(0, |bits, (place, value)| bits | u32::from(value == wanted) << place);
                prop_assert_eq!(one_by_one(tags, wanted), expected);
                prop_assert_eq!(matches(tags, wanted), expected);
                prop_assert_eq!(shared_matches(&atomics, wanted), expected);
                // SAFETY: nobody else has them.
                prop_assert_eq!(unsafe { own_matches(&atomics, wanted) }, expected);
            }
        }
    }
}
