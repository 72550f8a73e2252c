// SPDX-License-Identifier: Apache-2.0
//! Why a command is not carried out.

use crate::wire::excerpt;

/// A command that is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `word` counts from 1.
    #[error("word {word} of {command:?}: expected {expected}, found {found}")]
    Word { command: String, word: usize, expected: String, found: String },
    #[error("{name}: expected {expected}, found {found}")]
    Field { name: String, expected: &'static str, found: String },
    #[error("neither text nor an envelope: {found}")]
    Neither { found: String },
    #[error("{what} cannot be decoded: {source}")]
    Decode { what: String, source: prost::DecodeError },
    #[error("unknown command {name:?}")]
    Unknown { name: String },
    #[error("{name} has no {encoding} form")]
    Encoding { name: String, encoding: &'static str },
    /// Understood, and not to be had.
    #[error("not supported: {0}")]
    Unsupported(String),
    #[error("{0}")]
    Refused(String),
}

impl CommandError {
    /// A field of a protobuf message with a value that means nothing.
    pub(super) fn field(
        name: impl Into<String>,
        expected: &'static str,
        found: impl ToString,
    ) -> CommandError {
        CommandError::Field { name: name.into(), expected, found: found.to_string() }
    }

    pub(super) fn neither(data: &[u8]) -> CommandError {
        CommandError::Neither { found: excerpt(data) }
    }
}
