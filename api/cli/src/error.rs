// SPDX-License-Identifier: Apache-2.0
//! The one error of the command language: what is wrong, with which word, and where it stands.
//!
//! It is a sentence for a person, made where the most is known, and it crosses the socket as it is.
//! Programs test the exit status or `ok`, not the wording.

use serde::{Deserialize, Serialize};

use weft_words::{Excerpt, Span, printable};

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// The whole sentence: what was found, what was expected, what was perhaps meant.
    pub message: String,
    /// The offending word exactly as typed; absent when the command ends too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// Byte offset in the command where `word` begins, or where a word is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

impl CliError {
    /// An error that no single word is to blame for.
    pub fn new(message: impl ToString) -> Self {
        Self { message: printable(&message.to_string()).into_owned(), word: None, position: None }
    }

    pub(crate) fn at(message: impl ToString, line: &str, span: Span) -> Self {
        let word = &line[span.start..span.end];
        Self {
            message: printable(&message.to_string()).into_owned(),
            word: (!word.is_empty()).then(|| word.to_owned()),
            position: Some(span.start),
        }
    }

    /// Adds `(did you mean "...")` to the sentence.
    pub(crate) fn did_you_mean(mut self, suggestion: Option<&str>) -> Self {
        if let Some(suggestion) = suggestion {
            self.message.push_str(&format!(" (did you mean {suggestion:?}?)"));
        }
        self
    }

    /// The line of `command` that holds the offending word, and carets under the word.
    ///
    /// `None` if no word is to blame, or if the position does not fit `command`.
    pub fn excerpt(&self, command: &str) -> Option<String> {
        let start = self.position?;
        let end = start + self.word.as_ref().map_or(0, String::len);
        let excerpt = Excerpt::new(command, Span { start, end })?;
        Some(format!("{}\n{}", excerpt.line, excerpt.marks()))
    }
}

/// A word as messages show it: quoted, control characters made visible, long text cut.
pub(crate) fn quote(word: &str) -> String {
    const LONGEST: usize = 60;
    match word.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}...", &word[..cut]),
        None => format!("{word:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(word: Option<&str>, position: usize) -> CliError {
        CliError { message: "m".into(), word: word.map(Into::into), position: Some(position) }
    }

    #[test]
    fn the_caret_stands_under_the_word() {
        assert_eq!(error(Some("rout"), 3).excerpt("ip rout add").unwrap(), "ip rout add\n   ^^^^");
        assert_eq!(error(None, 2).excerpt("ip").unwrap(), "ip\n  ^");
        assert_eq!(error(Some("é"), 4).excerpt("\tü é").unwrap(), "\tü é\n\t  ^");
        assert_eq!(error(Some("b"), 2).excerpt("a\nb\nc").unwrap(), "b\n^");
    }

    #[test]
    fn a_position_that_does_not_fit_gives_no_excerpt() {
        assert_eq!(error(None, 9).excerpt("ip"), None);
        assert_eq!(error(None, 1).excerpt("ü"), None);
        assert_eq!(CliError::new("m").excerpt("ip"), None);
    }

    #[test]
    fn quoting_tames_control_characters_and_length() {
        assert_eq!(quote("a\x1b[1m"), "\"a\\u{1b}[1m\"");
        assert_eq!(quote(&"é".repeat(100)), format!("\"{}\"...", "é".repeat(60)));
    }
}
