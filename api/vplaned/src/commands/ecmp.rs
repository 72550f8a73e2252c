// SPDX-License-Identifier: Apache-2.0
//! How packets are spread over equal paths: `ecmp mode MODE`.

use super::{CommandError, Feature, Words};

/// The feature.
#[derive(Debug)]
pub struct Ecmp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcmpMode {
    /// One path only.
    Disable,
    HashThreshold,
    /// Highest random weight.
    Hrw,
    ModuloN,
}

impl Feature for Ecmp {
    const WORDS: &'static [&'static str] = &["ecmp"];
    type Value = EcmpMode;

    fn text(mut words: Words<'_>) -> Result<EcmpMode, CommandError> {
        words.one_of(&[("mode", ())])?;
        let mode = words.one_of(&[
            ("disable", EcmpMode::Disable),
            ("hash-threshold", EcmpMode::HashThreshold),
            ("hrw", EcmpMode::Hrw),
            ("modulo-n", EcmpMode::ModuloN),
        ])?;
        words.end()?;
        Ok(mode)
    }
}
