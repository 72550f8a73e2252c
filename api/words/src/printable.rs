// SPDX-License-Identifier: Apache-2.0
//! Text of others, as it may be shown: on a terminal and in a log it says what it is, and does nothing.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a terminal, or whoever reads a log, takes it for something else than a letter: control characters but the end of a line
/// and the tab, and what changes the direction of text or is not seen.
fn is_strange(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || (c.is_control() && c != '\n' && c != '\t')
}

/// The text, with such characters written as Rust writes them: `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_strange) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_strange(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Hands text on as a log may have it: as [`printable`], and a line that goes on is indented, so that no text looks like another line.
pub struct LogText<'a>(pub &'a mut dyn Write);

impl Write for LogText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = printable(text);
        let mut lines = text.split('\n');
        self.0.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| {
            self.0.write_str("\n    ")?;
            self.0.write_str(line)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_does_nothing_to_a_terminal() {
        assert!(matches!(printable("plain\ttext, naïve, 日本\n"), Cow::Borrowed(_)));
        assert_eq!(printable("\u{1b}[2J\r\0\u{9b}1m\u{7f}"), "\\u{1b}[2J\\r\\u{0}\\u{9b}1m\\u{7f}");
        assert_eq!(printable("a\u{202e}b\u{200b}"), "a\\u{202e}b\\u{200b}");
    }

    #[test]
    fn no_text_is_a_line_of_a_log() {
        let mut out = String::new();
        let forged = "name\n2026-12-01T00:00:00Z  INFO all is well\u{1b}[0m";
        write!(LogText(&mut out), "client {forged}").unwrap();
        assert_eq!(out, "client name\n    2026-12-01T00:00:00Z  INFO all is well\\u{1b}[0m");
    }
}
