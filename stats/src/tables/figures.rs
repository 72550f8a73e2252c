// SPDX-License-Identifier: Apache-2.0
//! A figure per thread: workers count each for themselves, and mostly the sum is wanted.

use crate::vector::ThreadIndex;

/// A total (`u64`) or a rate per second (`f64`).
pub trait Figure: Copy + Default {
    fn plus(self, other: Self) -> Self;
}

impl Figure for u64 {
    /// Wraps around, as the counters do.
    fn plus(self, other: u64) -> u64 {
        self.wrapping_add(other)
    }
}

impl Figure for f64 {
    fn plus(self, other: f64) -> f64 {
        self + other
    }
}

/// One figure for every thread, the main thread first. Empty if the segment does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerThread<N = u64>(Vec<N>);

impl<N: Figure> PerThread<N> {
    pub fn sum(&self) -> N {
        self.0.iter().fold(N::default(), |sum, figure| sum.plus(*figure))
    }

    /// Zero for a thread that there is none of.
    pub fn get(&self, thread: ThreadIndex) -> N {
        self.0.get(usize::from(thread.0)).copied().unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ThreadIndex, N)> {
        (0..).map(ThreadIndex).zip(self.0.iter().copied())
    }

    /// Whether the segment does not have this figure at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, other: &PerThread<N>) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), N::default());
        }
        for (figure, other) in self.0.iter_mut().zip(&other.0) {
            *figure = figure.plus(*other);
        }
    }
}

impl<N> FromIterator<N> for PerThread<N> {
    fn from_iter<I: IntoIterator<Item = N>>(figures: I) -> PerThread<N> {
        PerThread(figures.into_iter().collect())
    }
}
