// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a definition: the file, the line, what was found, what was expected.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of a source text.
pub type Span = Range<usize>;

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
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        let text = self.source.text.lines().nth(line - 1).unwrap_or("");
        let gutter = " ".repeat(line.to_string().len());
        let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let marks = "^".repeat(self.span.len().clamp(1, text.len().max(column) - column + 1));
        writeln!(f, "{}:{line}:{column}: {}", self.source.name, self.message)?;
        writeln!(f, "  {line} | {text}")?;
        write!(f, "  {gutter} | {indent}{marks}")
    }
}
