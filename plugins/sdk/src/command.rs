// SPDX-License-Identifier: Apache-2.0
//! What a command is given, and what it answers.

use std::any::TypeId;
use std::fmt::{Display, Write};
use std::num::ParseIntError;
use std::str::{FromStr, SplitWhitespace};

use crate::refusal::Result;

/// The words after a command, from left to right.
pub struct Words<'a> {
    words: SplitWhitespace<'a>,
    next: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// The words of a line.
    pub fn new(line: &'a str) -> Words<'a> {
        let mut words = line.split_whitespace();
        let next = words.next();
        Words { words, next }
    }

    /// Whether there is none left.
    pub fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// Takes the next word; `what` names it if it is missing: "interface".
    pub fn word(&mut self, what: &str) -> Result<&'a str> {
        let word = self.next.ok_or_else(|| format!("the command ends too early: expected {what}"))?;
        self.next = self.words.next();
        Ok(word)
    }

    /// Takes the next word if it is `keyword`.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let found = self.next == Some(keyword);
        if found {
            self.next = self.words.next();
        }
        found
    }

    /// Takes the next word, which must be `keyword`.
    pub fn expect(&mut self, keyword: &str) -> Result<()> {
        if self.keyword(keyword) {
            return Ok(());
        }
        match self.next {
            Some(word) => Err(format!("expected {keyword}, found {word:?}").into()),
            None => Err(format!("the command ends too early: expected {keyword}").into()),
        }
    }

    /// Takes the next word and reads it as a `T`.
    pub fn parse<T: FromStr<Err: Display + 'static>>(&mut self, what: &str) -> Result<T> {
        let word = self.word(what)?;
        word.parse().map_err(|reason: T::Err| {
            // The library's own sentence names digits and types.
            let reason = match TypeId::of::<T::Err>() == TypeId::of::<ParseIntError>() {
                true => "it is no such number".to_owned(),
                false => reason.to_string(),
            };
            format!("expected {what}, found {word:?}: {reason}").into()
        })
    }

    /// All words have been read.
    pub fn finish(&self) -> Result<()> {
        match self.next {
            None => Ok(()),
            Some(word) => Err(format!("unexpected word {word:?}: the command should end here").into()),
        }
    }
}

/// The answer of a command, in both forms.
pub struct Answer {
    pub(crate) text: String,
    pub(crate) json: String,
    /// `text` is the name of an answer that comes later.
    pub(crate) later: bool,
}

impl Answer {
    /// `json` is the same as `text`, for programs.
    pub fn new(text: impl Into<String>, json: impl Into<String>) -> Answer {
        Answer { text: text.into(), json: json.into(), later: false }
    }

    /// The answer comes later. The closure of [`crate::Command::later`] is asked for it by this name.
    pub fn later(name: impl Into<String>) -> Answer {
        Answer { text: name.into(), json: String::new(), later: true }
    }

    /// The command did what it was told and has nothing to show.
    pub fn empty() -> Answer {
        Answer::new("", "null")
    }
}

/// `text` as JSON: in quotes, escaped (RFC 8259 section 7).
pub fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c < ' ' => {
                // Writing to a string does not fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T>(result: Result<T>) -> String {
        result.err().expect("this is refused").0
    }

    #[test]
    fn words_are_read_from_left_to_right() {
        let mut words = Words::new("  p0 rate 100  now ");
        assert_eq!(words.word("interface").unwrap(), "p0");
        assert!(!words.keyword("burst"));
        words.expect("rate").unwrap();
        assert_eq!(words.parse::<u32>("rate").unwrap(), 100);
        assert_eq!(refused(words.finish()), "unexpected word \"now\": the command should end here");
        assert_eq!(refused(words.expect("then")), "expected then, found \"now\"");
        assert_eq!(refused(words.parse::<u32>("rate")), "expected rate, found \"now\": it is no such number");
        assert!(words.is_empty());
        assert_eq!(refused(words.word("rate")), "the command ends too early: expected rate");
    }

    #[test]
    fn json_is_escaped() {
        assert_eq!(json_text("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
    }
}
