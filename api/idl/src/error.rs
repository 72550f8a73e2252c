// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a definition: the file, the line, what was found, what was expected.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use weft_words::{Excerpt, Span, position};

/// A text and what it is called in messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path that other files import it by.
    pub name: String,
    pub text: String,
}

/// Why definitions cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A fault in a text. Displays with the line and a mark under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    source: Arc<Source>,
    span: Span,
    message: String,
}

impl std::error::Error for Fault {}

impl Fault {
    pub(crate) fn new(source: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self { source: Arc::clone(source), span, message: message.into() }
    }

    /// Line and column, from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        let at = position(&self.source.text, self.span.start);
        (at.line, at.column)
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = position(&self.source.text, self.span.start);
        write!(f, "{}:{at}: {}", self.source.name, self.message)?;
        match Excerpt::new(&self.source.text, self.span) {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}
