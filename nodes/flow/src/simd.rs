// SPDX-License-Identifier: Apache-2.0
//! Eight comparisons at once, which the compiler does not find by itself: its own code for the loop below takes 45 instructions
//! where three do.
#![allow(unsafe_code)]

/// A bit for each of `values` that is `wanted`, the first one lowest.
#[inline(always)]
pub(crate) fn equal(values: &[u16; 8], wanted: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of every x86-64, and the load reads the 16 bytes of `values`, aligned or not.
    unsafe {
        use core::arch::x86_64::{
            _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
            _mm_setzero_si128,
        };
        let same = _mm_cmpeq_epi16(_mm_loadu_si128(values.as_ptr().cast()), _mm_set1_epi16(wanted as i16));
        _mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    one_by_one(values, wanted)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(values: &[u16; 8], wanted: u16) -> u32 {
    (0..).zip(values).fold(0, |bits, (place, value)| bits | u32::from(*value == wanted) << place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_at_once_is_one_by_one(values in prop::array::uniform8(prop_oneof![0u16..3, Just(0x8000), any::<u16>()])) {
            for wanted in [0, 1, 2, 0x8000, values[7]] {
                prop_assert_eq!(equal(&values, wanted), one_by_one(&values, wanted));
            }
        }
    }
}
