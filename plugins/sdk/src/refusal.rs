// SPDX-License-Identifier: Apache-2.0
//! Why a plugin does not do what it was asked: a sentence for the operator.

use std::fmt::Display;

/// A sentence. Made by `?` from any error, or from a text.
#[derive(Debug)]
pub struct Refusal(pub(crate) String);

impl Refusal {
    /// What the operator is told.
    pub fn sentence(&self) -> &str {
        &self.0
    }
}

impl<T: Display> From<T> for Refusal {
    fn from(reason: T) -> Refusal {
        Refusal(reason.to_string())
    }
}

/// What may be refused.
pub type Result<T> = std::result::Result<T, Refusal>;
