// SPDX-License-Identifier: Apache-2.0
//! Words of a text command, taken one after the other.
//!
//! There is no quoting: words are what stands between blanks. Whatever is wrong is told with its place.

use std::str::FromStr;

use super::CommandError;

/// More words than any command has; the C dataplane stops at the same number.
const MOST_WORDS: usize = 128;

/// What is left of a command.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    text: &'a str,
    words: Vec<&'a str>,
    next: usize,
}

impl<'a> Words<'a> {
    /// Splits a command.
    pub fn of(text: &'a str) -> Result<Words<'a>, CommandError> {
        let words: Vec<&str> = text.split_ascii_whitespace().take(MOST_WORDS + 1).collect();
        let words = Words { text, words, next: 0 };
        if words.words.len() > MOST_WORDS {
            return Err(words.wrong(MOST_WORDS, "the end of the command"));
        }
        Ok(words)
    }

    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The words not yet taken.
    pub fn rest(&self) -> &[&'a str] {
        &self.words[self.next..]
    }

    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes a word; `expected` is for the error.
    pub fn word(&mut self, expected: &str) -> Result<&'a str, CommandError> {
        let word = self.words.get(self.next).copied();
        let word = word.ok_or_else(|| self.wrong(self.next, expected))?;
        self.next += 1;
        Ok(word)
    }

    /// Takes a word that reads as a `T`.
    pub fn value<T: FromStr>(&mut self, expected: &str) -> Result<T, CommandError> {
        let parsed = self.word(expected)?.parse();
        parsed.map_err(|_| self.wrong_last(expected))
    }

    /// Takes one of these words; gives what stands beside it.
    pub fn one_of<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, CommandError> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = names.join(" or ");
        let word = self.word(&expected)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        found.map(|(_, value)| *value).ok_or_else(|| self.wrong_last(&expected))
    }

    /// Nothing may follow.
    pub fn end(&self) -> Result<(), CommandError> {
        if self.is_empty() { Ok(()) } else { Err(self.wrong(self.next, "the end of the command")) }
    }

    /// An error about the word taken last.
    pub fn wrong_last(&self, expected: &str) -> CommandError {
        self.wrong(self.next.saturating_sub(1), expected)
    }

    fn wrong(&self, at: usize, expected: &str) -> CommandError {
        let found = match self.words.get(at) {
            Some(word) => format!("{word:?}"),
            None => "the end of the command".to_owned(),
        };
        CommandError::Word {
            command: self.text.to_owned(),
            word: at + 1,
            expected: expected.to_owned(),
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_was_expected_and_what_was_found() {
        let mut words = Words::of("ip4  redirects maybe").expect("few words");
        assert_eq!(words.word("a command"), Ok("ip4"));
        assert_eq!(words.word("redirects"), Ok("redirects"));
        let error =
            words.clone().one_of(&[("enable", true), ("disable", false)]).expect_err("not one of them");
        assert_eq!(
            error.to_string(),
            "word 3 of \"ip4  redirects maybe\": expected enable or disable, found \"maybe\""
        );
        assert_eq!(
            words.end().expect_err("one is left").to_string(),
            "word 3 of \"ip4  redirects maybe\": expected the end of the command, found \"maybe\""
        );
        words.word("a word").expect("the third");
        let error = words.value::<u32>("a number").expect_err("none is left").to_string();
        assert!(error.ends_with(
            "word 4 of \"ip4  redirects maybe\": expected a number, found the end of the command"
        ));
    }

    #[test]
    fn a_command_of_too_many_words_is_refused() {
        assert!(Words::of(&"a ".repeat(128)).is_ok());
        assert!(Words::of(&"a ".repeat(129)).is_err());
    }
}
