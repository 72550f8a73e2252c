// SPDX-License-Identifier: Apache-2.0
//! Words, numbers and addresses of a stream description, each with its place in the text.
//!
//! A description is written by hand, often over several lines, so every error says where, what was found
//! and what was expected. Runs on the main thread.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A word that does not fit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: found {}, expected {expected}", Found(.found))]
pub struct ParseError {
    /// Line in the text, from 1.
    pub line: usize,
    /// Column in the line, from 1.
    pub column: usize,
    /// The offending word; empty at the end of the text.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

struct Found<'a>(&'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the end"),
            word => write!(f, "'{word}'"),
        }
    }
}

/// A position in a text.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Cursor { text, at: 0, end: text.len() }
    }

    /// The text from byte `start` to `end`, with places counted from the start of the whole.
    pub fn part(text: &'a str, start: usize, end: usize) -> Self {
        Cursor { text, at: start, end }
    }

    /// Bytes from the position to the end.
    pub fn range(&self) -> (usize, usize) {
        (self.at, self.end)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..self.end]
    }

    fn skip_space(&mut self) {
        self.at = self.end - self.rest().trim_start().len();
    }

    /// Whether nothing but blanks is left.
    pub fn is_end(&self) -> bool {
        self.rest().trim_start().is_empty()
    }

    /// The next word: a brace, or what stands before the next blank or brace.
    pub fn peek(&self) -> &'a str {
        let rest = self.rest().trim_start();
        if rest.starts_with(['{', '}']) {
            return &rest[..1];
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '{' || c == '}');
        &rest[..end.unwrap_or(rest.len())]
    }

    /// That the next word is not what was expected.
    pub fn error(&self, expected: impl Into<String>) -> ParseError {
        let at = self.end - self.rest().trim_start().len();
        let weft_words::Position { line, column } = weft_words::position(self.text, at);
        ParseError { line, column, found: self.peek().to_owned(), expected: expected.into() }
    }

    /// Takes the next word if it is `word`.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        if found {
            self.skip_space();
            self.at += word.len();
        }
        found
    }

    /// Takes `symbol`, whatever follows it.
    pub fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.symbol_ahead(symbol);
        if found {
            self.skip_space();
            self.at += symbol.len();
        }
        found
    }

    /// Whether `symbol` is next.
    pub fn symbol_ahead(&self, symbol: &str) -> bool {
        self.rest().trim_start().starts_with(symbol)
    }

    /// Takes the characters that `belongs` accepts.
    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let run = &rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    /// A word or the contents of a brace group.
    pub fn word(&mut self, expected: &str) -> Result<&'a str, ParseError> {
        match self.peek() {
            "{" => self.group(expected).map(|group| group.rest().trim()),
            "" | "}" => Err(self.error(expected)),
            word => {
                self.skip_space();
                self.at += word.len();
                Ok(word)
            }
        }
    }

    /// The contents of a brace group, in place.
    pub fn group(&mut self, expected: &str) -> Result<Cursor<'a>, ParseError> {
        if self.peek() != "{" {
            return Err(self.error(format!("'{{' {expected} '}}'")));
        }
        let open = *self;
        self.skip_space();
        let start = self.at + 1;
        let mut depth = 0;
        for (i, c) in self.rest().char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = self.at + i;
                self.at = end + 1;
                return Ok(Cursor { text: self.text, at: start, end });
            }
        }
        Err(ParseError { found: "{".to_owned(), ..open.error("a '}' that closes this '{'") })
    }

    /// Runs `parse`; if it refuses what it took, the error points to where that began.
    fn scan<T>(
        &mut self,
        belongs: impl Fn(char) -> bool,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ParseError> {
        let start = *self;
        parse(self.run(belongs)).ok_or_else(|| start.error(expected))
    }

    /// A whole number, decimal or 0x hexadecimal.
    pub fn number(&mut self) -> Result<u64, ParseError> {
        self.scan(|c| c.is_ascii_alphanumeric(), "a number", parse_number)
    }

    /// A number that may have a fraction or an exponent, as `1e6`.
    pub fn float(&mut self) -> Result<f64, ParseError> {
        let part_of = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        self.scan(part_of, "a number", |text| text.parse().ok().filter(|x: &f64| x.is_finite()))
    }

    /// A MAC address: `00:11:22:33:44:55`, `0011.2233.4455`, or the latter without leading zeros.
    pub fn mac(&mut self) -> Result<u64, ParseError> {
        let part_of = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        self.scan(part_of, "a MAC address (00:11:22:33:44:55 or 0011.2233.4455)", parse_mac)
    }

    /// An IPv4 address.
    pub fn ip4(&mut self) -> Result<Ipv4Addr, ParseError> {
        let part_of = |c: char| c.is_ascii_digit() || c == '.';
        self.scan(part_of, "an IPv4 address", |text| text.parse().ok())
    }

    /// An IPv6 address.
    pub fn ip6(&mut self) -> Result<Ipv6Addr, ParseError> {
        let part_of = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        self.scan(part_of, "an IPv6 address", |text| text.parse().ok())
    }

    /// The bytes of `0x...`.
    pub fn hex(&mut self) -> Result<Vec<u8>, ParseError> {
        self.scan(
            |c| c.is_ascii_alphanumeric(),
            "0x and an even number of hexadecimal digits",
            |text| {
                let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
                if digits.is_empty() || digits.len() % 2 != 0 {
                    return None;
                }
                let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
                digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
            },
        )
    }

    /// A name in front of a colon.
    pub fn label(&mut self, expected: &str) -> Result<&'a str, ParseError> {
        let start = *self;
        let name = self.run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if name.is_empty() || !self.rest().starts_with(':') {
            return Err(start.error(expected));
        }
        self.at += 1;
        Ok(name)
    }
}

pub(super) fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parse_mac(text: &str) -> Option<u64> {
    let (separator, groups, digits) = if text.contains(':') { (':', 6, 2) } else { ('.', 3, 4) };
    let mut mac = 0;
    let mut found = 0;
    for group in text.split(separator) {
        if group.is_empty() || group.len() > digits {
            return None;
        }
        mac = mac << (4 * digits) | u64::from_str_radix(group, 16).ok()?;
        found += 1;
    }
    (found == groups).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_spellings() {
        for (text, mac) in [
            ("00:11:22:33:44:55", Some(0x0011_2233_4455)),
            ("0011.2233.4455", Some(0x0011_2233_4455)),
            ("1.2.3", Some(0x0001_0002_0003)),
            ("0:1:2:3:4:5", Some(0x0001_0203_0405)),
            ("1.2", None),
            ("1.2.3.4", None),
            ("00:11:22:33:44", None),
            ("00:11:22:33:44:555", None),
            ("", None),
        ] {
            assert_eq!(Cursor::new(text).mac().ok(), mac, "{text}");
        }
    }

    #[test]
    fn groups_nest_and_keep_their_place() {
        let mut cursor = Cursor::new("data {\n a { b } c } rest");
        assert!(cursor.take("data"));
        let mut group = cursor.group("PACKET").unwrap();
        assert_eq!(cursor.peek(), "rest");
        assert_eq!(group.word("x").unwrap(), "a");
        assert_eq!(group.word("x").unwrap(), "b");
        assert_eq!(
            group.error("something else").to_string(),
            "line 2, column 10: found 'c', expected something else"
        );
        let error = Cursor::new("{ a { b }").group("PACKET").err().unwrap();
        assert_eq!((error.column, error.found.as_str()), (1, "{"));
        assert!(Cursor::new("a").group("PACKET").is_err());
    }
}
