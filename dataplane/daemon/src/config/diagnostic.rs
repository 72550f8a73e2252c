// SPDX-License-Identifier: Apache-2.0
//! Complaints about a configuration: all of them, each with the line and a caret under the word.

use std::{cell::RefCell, fmt};

use weft_words::Excerpt;

use super::source::{Source, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One complaint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub span: Span,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(super) fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), help: None }
    }

    pub(super) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Collects complaints while sections are read; the reader goes on after each.
#[derive(Debug, Default)]
pub(super) struct Sink(RefCell<Vec<Diagnostic>>);

impl Sink {
    pub fn push(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub fn into_report(self, source: &Source) -> Report {
        let mut diagnostics = self.0.into_inner();
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Report { source: source.clone(), diagnostics }
    }
}

/// All complaints about one source, in the order of the text. Displays as lines for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    source: Source,
    pub diagnostics: Vec<Diagnostic>,
}

impl std::error::Error for Report {}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            render(&self.source, diagnostic, f)?;
        }
        Ok(())
    }
}

fn render(source: &Source, diagnostic: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Diagnostic { severity, span, message, help } = diagnostic;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    write!(f, "{}:{}: {severity}: {message}", source.name(), source.position(span.start))?;
    let Some(excerpt) = Excerpt::new(source.text(), *span) else {
        return Ok(());
    };
    write!(f, "\n{excerpt}")?;
    match help {
        Some(help) => write!(f, "\n  {} = {help}", excerpt.gutter()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word() {
        let source = Source::from_text("startup.conf", "cpu {\n\tmian-core 1\n}\n");
        let sink = Sink::default();
        sink.push(Diagnostic::warning(Span { start: 18, end: 19 }, "late"));
        sink.push(
            Diagnostic::error(Span { start: 7, end: 16 }, "unknown word").help("did you mean main-core?"),
        );
        assert!(sink.has_errors());
        let expected = "\
startup.conf:2:2: error: unknown word
  2 | \tmian-core 1
    | \t^^^^^^^^^
    = did you mean main-core?
startup.conf:2:13: warning: late
  2 | \tmian-core 1
    | \t           ^";
        assert_eq!(sink.into_report(&source).to_string(), expected);
    }

    #[test]
    fn the_end_of_the_text_has_a_caret_too() {
        let source = Source::from_text("f", "unix");
        let sink = Sink::default();
        sink.push(Diagnostic::error(Span { start: 4, end: 4 }, "expected {"));
        assert_eq!(
            sink.into_report(&source).to_string(),
            "f:1:5: error: expected {\n  1 | unix\n    |     ^"
        );
    }
}
