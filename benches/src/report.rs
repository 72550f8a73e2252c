// SPDX-License-Identifier: Apache-2.0
//! Minimum, median and maximum of rounds.

/// The rounds of one figure.
#[derive(Default, Clone)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    /// Adds a round.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        }
    }

    /// Minimum, median and maximum.
    pub fn three(&self) -> [f64; 3] {
        let min = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [min, self.median(), max]
    }

    /// `min / median / max`, each in 6 columns.
    pub fn spread(&self) -> String {
        let [min, median, max] = self.three();
        format!("{min:6.1} / {median:6.1} / {max:6.1}")
    }
}
