// SPDX-License-Identifier: Apache-2.0
//! Complaints about a configuration: each with the line and a caret under the word.
//!
//! A person gets as many as a person reads; the rest are counted. The text may be hostile, and each complaint costs a
//! walk over it.

use std::{cell::RefCell, fmt};

use weft_words::Excerpt;

use super::source::{Source, Span};

/// Complaints that are kept.
const MOST: usize = 100;
/// Bytes of a line that is shown whole.
const LONGEST_LINE: usize = 400;

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
pub(super) struct Sink(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    /// Complaints beyond [`MOST`].
    more: usize,
}

impl Sink {
    pub fn push(&self, diagnostic: Diagnostic) {
        let mut kept = self.0.borrow_mut();
        let is_error = diagnostic.severity == Severity::Error;
        kept.errors += usize::from(is_error);
        // An error is never left out for the sake of warnings.
        let replaced = match kept.diagnostics.len() < MOST {
            true => None,
            false if is_error => kept.diagnostics.iter().rposition(|kept| kept.severity == Severity::Warning),
            false => return kept.more += 1,
        };
        match replaced {
            Some(warning) => kept.diagnostics[warning] = diagnostic,
            None if kept.diagnostics.len() < MOST => return kept.diagnostics.push(diagnostic),
            None => {}
        }
        kept.more += 1;
    }

    pub fn has_errors(&self) -> bool {
        self.0.borrow().errors > 0
    }

    pub fn into_report(self, source: &Source) -> Report {
        let Kept { mut diagnostics, more, .. } = self.0.into_inner();
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        Report { source: source.clone(), diagnostics, more }
    }
}

/// The complaints about one source, in the order of the text. Displays as lines for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    source: Source,
    pub diagnostics: Vec<Diagnostic>,
    /// How many there are beside these.
    pub more: usize,
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
        if self.more > 0 {
            write!(f, "\n{}: and {} more", self.source.name(), self.more)?;
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
    // A terminal shows no more of a line than this, and the rest helps nobody.
    let Some(excerpt) =
        Excerpt::new(source.text(), *span).filter(|excerpt| excerpt.line.len() <= LONGEST_LINE)
    else {
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
    fn hostile_text_gets_as_many_complaints_as_a_person_reads_and_the_rest_are_counted() {
        let source = Source::from_text("f", "}".repeat(250_000));
        let sink = Sink::default();
        sink.push(Diagnostic::warning(Span::default(), "first"));
        (0..250_000).for_each(|start| sink.push(Diagnostic::error(Span { start, end: start + 1 }, "no")));
        let report = sink.into_report(&source);
        assert_eq!((report.diagnostics.len(), report.more), (MOST, 250_001 - MOST));
        assert!(report.diagnostics.iter().all(|kept| kept.severity == Severity::Error));
        let text = report.to_string();
        assert!(text.ends_with("f: and 249901 more"), "{}", &text[text.len() - 100..]);
        assert!(text.len() < MOST * (LONGEST_LINE + 100), "{} bytes", text.len());
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
