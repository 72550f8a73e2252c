// SPDX-License-Identifier: Apache-2.0
//! Reads the arguments of a command from left to right.
//!
//! The cursor remembers which keywords a handler has asked for at the current word. When nothing
//! fits, that list *is* the "expected ..." part of the error, so it can never differ from what the
//! handler really accepts.
//!
//! A handler reads all its arguments, calls [`Args::finish`], and only then changes anything:
//!
//! ```
//! # use weft_cli::{Args, CliError};
//! # use std::net::Ipv4Addr;
//! fn read(args: &mut Args<'_>) -> Result<(Ipv4Addr, Option<u8>), CliError> {
//!     args.expect("via")?;
//!     let next_hop = args.parse("IPv4 address")?;
//!     let weight = match args.keyword("weight") {
//!         true => Some(args.parse("weight (0..255)")?),
//!         false => None,
//!     };
//!     args.finish()?;
//!     Ok((next_hop, weight))
//! }
//! # weft_cli::args::read_line("via 10.0.0.1 weight 2", |args| read(args).map(|_| ())).unwrap();
//! # weft_cli::args::read_line("via 10.0.0.1 wait 2", |args| read(args).map(|_| ())).unwrap_err();
//! ```

use std::{fmt::Display, str::FromStr};

use weft_background::Rights;
use weft_words::no_number;
use weft_words::suggest::{nearest, one_of};

use crate::{
    error::{CliError, quote},
    token::{Kind, Span, Token, tokenize},
};

/// An option of a command: its keyword, and what reads the words after it into a `T`.
pub type CommandOption<T> = (&'static str, fn(&mut T, &mut Args<'_>) -> Result<(), CliError>);

/// A cursor over the arguments of one command.
#[derive(Debug)]
pub struct Args<'a> {
    line: &'a str,
    tokens: &'a [Token],
    next: usize,
    /// Where an error points when a word is missing: after the last word, or at the `}`.
    end: usize,
    /// Keywords that were asked for at the current word and were not there.
    tried: Vec<&'static str>,
    rights: &'a Rights,
}

impl<'a> Args<'a> {
    pub(crate) fn new(line: &'a str, tokens: &'a [Token], rights: &'a Rights) -> Self {
        Self { line, tokens, next: 0, end: line.trim_end().len(), tried: Vec::new(), rights }
    }

    /// Whose rights decide about the files that the command names.
    pub fn rights(&self) -> &'a Rights {
        self.rights
    }

    /// Whether all words have been read.
    pub fn is_empty(&self) -> bool {
        self.next == self.tokens.len()
    }

    /// Takes the next word if it is `keyword`.
    pub fn keyword(&mut self, keyword: &'static str) -> bool {
        let found = self.peek().and_then(Token::keyword) == Some(keyword);
        if found {
            self.advance();
        } else {
            self.tried.push(keyword);
        }
        found
    }

    /// Takes the next word, which must be `keyword`.
    pub fn expect(&mut self, keyword: &'static str) -> Result<(), CliError> {
        if self.keyword(keyword) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes the next word, which must be one of the keywords, and gives the value beside it.
    pub fn one_of<T: Copy>(&mut self, choices: &[(&'static str, T)]) -> Result<T, CliError> {
        for &(keyword, value) in choices {
            if self.keyword(keyword) {
                return Ok(value);
            }
        }
        Err(self.unexpected())
    }

    /// Reads options, in any order, until there is no word left. Each is a keyword, and knows how to read what follows it.
    pub fn options<T>(&mut self, target: &mut T, options: &[CommandOption<T>]) -> Result<(), CliError> {
        while !self.is_empty() {
            let found = options.iter().find(|(keyword, _)| self.keyword(keyword));
            let (_, read) = found.ok_or_else(|| self.unexpected())?;
            read(target, self)?;
        }
        Ok(())
    }

    /// Takes the next word as it is. `what` names it in the error: "interface name".
    pub fn word(&mut self, what: &'static str) -> Result<&'a str, CliError> {
        match self.peek().map(|token| &token.kind) {
            Some(Kind::Word { text, .. }) => {
                self.advance();
                Ok(text)
            }
            _ => Err(self.mismatch(what, None)),
        }
    }

    /// Takes the next word and reads it as a `T`.
    pub fn parse<T>(&mut self, what: &'static str) -> Result<T, CliError>
    where
        T: FromStr<Err: Display> + 'static,
    {
        self.parse_with(what, |word| {
            T::from_str(word).map_err(|error| no_number::<T>().unwrap_or_else(|| error.to_string()))
        })
    }

    /// Takes the next word and reads it with `read`: for names that only the state can resolve.
    pub fn parse_with<T, E: Display>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, CliError> {
        let Some(Kind::Word { text, .. }) = self.peek().map(|token| &token.kind) else {
            return Err(self.mismatch(what, None));
        };
        match read(text) {
            Ok(value) => {
                self.advance();
                Ok(value)
            }
            Err(reason) => Err(self.mismatch(what, Some(reason.to_string()))),
        }
    }

    /// Like [`Args::parse`], but no word at all is fine too: for an argument at the end.
    pub fn optional<T>(&mut self, what: &'static str) -> Result<Option<T>, CliError>
    where
        T: FromStr<Err: Display> + 'static,
    {
        if self.is_empty() { Ok(None) } else { self.parse(what).map(Some) }
    }

    /// Takes the next word only if `read` makes something of it: for an argument in the middle.
    pub fn take_if<T>(&mut self, what: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = match self.peek().map(|token| &token.kind) {
            Some(Kind::Word { text, .. }) => read(text),
            _ => None,
        };
        match value {
            Some(_) => self.advance(),
            None => self.tried.push(what),
        }
        value
    }

    /// Takes a `{ ... }` group and gives a cursor over what is inside.
    pub fn block(&mut self) -> Result<Args<'a>, CliError> {
        let Some(&Token { kind: Kind::Open { skip }, .. }) = self.peek() else {
            return Err(self.mismatch("{", None));
        };
        let close = self.next + skip;
        let inside = Args {
            line: self.line,
            tokens: &self.tokens[self.next + 1..close],
            next: 0,
            end: self.tokens[close].span.start,
            tried: Vec::new(),
            rights: self.rights,
        };
        self.next = close + 1;
        self.tried.clear();
        Ok(inside)
    }

    /// Whether a `{ ... }` group comes next.
    pub fn at_block(&self) -> bool {
        matches!(self.peek(), Some(Token { kind: Kind::Open { .. }, .. }))
    }

    /// Takes everything that is left, as typed.
    pub fn rest(&mut self) -> &'a str {
        let rest = match (self.tokens.get(self.next), self.tokens.last()) {
            (Some(first), Some(last)) => &self.line[first.span.start..last.span.end],
            _ => "",
        };
        self.next = self.tokens.len();
        rest
    }

    /// All arguments have been read: a word that is left over is an error.
    pub fn finish(&self) -> Result<(), CliError> {
        if self.is_empty() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// An error about the word that was read last: it is well-formed, but does not do.
    pub fn reject(&self, message: impl Display) -> CliError {
        CliError { message: message.to_string(), ..self.place() }
    }

    /// Where [`Args::reject`] points, for an error that is found later: its message is empty.
    pub fn place(&self) -> CliError {
        match self.next.checked_sub(1).and_then(|last| self.tokens.get(last)) {
            Some(token) => CliError::at("", self.line, token.span),
            None => CliError::new(""),
        }
    }

    /// The error for a next word that is none of the keywords asked for.
    pub fn unexpected(&self) -> CliError {
        self.complain(&self.tried, None)
    }

    fn mismatch(&self, what: &'static str, reason: Option<String>) -> CliError {
        let mut expected = self.tried.clone();
        expected.push(what);
        self.complain(&expected, reason)
    }

    fn complain(&self, expected: &[&'static str], reason: Option<String>) -> CliError {
        let Some(token) = self.peek() else {
            let span = Span { start: self.end, end: self.end };
            let message = format!("the command ends too early: expected {}", one_of(expected));
            return CliError::at(message, self.line, span);
        };
        let word = quote(&self.line[token.span.start..token.span.end]);
        let mut message = match expected {
            [] => format!("unexpected word {word}: the command should end here"),
            _ => format!("expected {}, found {word}", one_of(expected)),
        };
        if let Some(reason) = reason {
            message = format!("{message}: {reason}");
        }
        CliError::at(message, self.line, token.span)
            .did_you_mean(token.keyword().and_then(|w| nearest(w, self.tried.iter().copied())))
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn advance(&mut self) {
        self.next += 1;
        self.tried.clear();
    }
}

/// Runs a reader of arguments on `line`: for files whose lines are read as commands are, and for tests.
pub fn read_line<T>(
    line: &str,
    read: impl FnOnce(&mut Args<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let tokens = tokenize(line)?;
    read(&mut Args::new(line, &tokens, &Rights::Daemon))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn fails<T>(
        line: &str,
        read: impl FnOnce(&mut Args<'_>) -> Result<T, CliError>,
    ) -> (String, Option<String>, Option<usize>) {
        let error = read_line(line, read).err().expect("the reader must refuse this line");
        (error.message, error.word, error.position)
    }

    #[test]
    fn reads_in_any_order() {
        let read = |args: &mut Args<'_>| {
            let (mut table, mut weight) = (None, None);
            while !args.is_empty() {
                if args.keyword("table") {
                    table = Some(args.parse::<u32>("table id")?);
                } else if args.keyword("weight") {
                    weight = Some(args.parse::<u8>("weight")?);
                } else {
                    return Err(args.unexpected());
                }
            }
            Ok((table, weight))
        };
        assert_eq!(read_line("weight 3 table 7", read), Ok((Some(7), Some(3))));
        assert_eq!(read_line("", read), Ok((None, None)));
        assert_eq!(
            fails("weight 3 tabel 7", read),
            (
                "expected table or weight, found \"tabel\" (did you mean \"table\"?)".into(),
                Some("tabel".into()),
                Some(9)
            )
        );
        assert_eq!(
            fails("table", read),
            ("the command ends too early: expected table id".into(), None, Some(5))
        );
        assert_eq!(
            fails("weight 256", read).0,
            "expected weight, found \"256\": it is no number from 0 to 255"
        );
    }

    #[test]
    fn optional_arguments() {
        let end = |args: &mut Args<'_>| args.optional::<u32>("count");
        assert_eq!(read_line("", end), Ok(None));
        assert_eq!(read_line("4", end), Ok(Some(4)));
        assert!(read_line("x", end).is_err());

        let middle = |args: &mut Args<'_>| {
            let address = args.take_if("IPv4 address", |word| word.parse::<Ipv4Addr>().ok());
            args.expect("up").map(|()| address)
        };
        assert_eq!(read_line("10.0.0.1 up", middle), Ok(Some(Ipv4Addr::new(10, 0, 0, 1))));
        assert_eq!(read_line("up", middle), Ok(None));
        assert_eq!(fails("x", middle).0, "expected IPv4 address or up, found \"x\"");
    }

    #[test]
    fn names_are_resolved_by_the_state() {
        let known = ["eth0"];
        let resolve =
            |word: &str| known.iter().position(|name| *name == word).ok_or("there is no such interface");
        let read = |args: &mut Args<'_>| args.parse_with("interface", resolve);
        assert_eq!(read_line("eth0", read), Ok(0));
        assert_eq!(fails("eth1", read).0, "expected interface, found \"eth1\": there is no such interface");
    }

    #[test]
    fn blocks() {
        let read = |args: &mut Args<'_>| {
            args.expect("new")?;
            let mut block = args.block()?;
            args.finish()?;
            block.expect("name")?;
            let name = block.word("stream name")?.to_owned();
            block.expect("data")?;
            let text = block.block()?.rest().to_owned();
            block.finish().map(|()| (name, text))
        };
        assert_eq!(
            read_line("new { name s1 data { IP4: 1 -> 2 } }", read),
            Ok(("s1".into(), "IP4: 1 -> 2".into()))
        );
        assert_eq!(
            fails("new { name }", read),
            ("the command ends too early: expected stream name".into(), None, Some(11))
        );
        assert_eq!(fails("new name", read).0, "expected {, found \"name\"");
        assert_eq!(
            fails("new { name s data { } more }", read).0,
            "unexpected word \"more\": the command should end here"
        );
    }

    #[test]
    fn left_over_words_are_named() {
        let read = |args: &mut Args<'_>| args.word("name").and_then(|_| args.finish());
        assert_eq!(
            fails("a b c", read),
            ("unexpected word \"b\": the command should end here".into(), Some("b".into()), Some(2))
        );
    }

    #[test]
    fn quoted_words_are_values() {
        let read = |args: &mut Args<'_>| Ok((args.keyword("via"), args.word("name")?.to_owned()));
        assert_eq!(read_line("\"via\"", read), Ok((false, "via".into())));
    }

    #[test]
    fn a_well_formed_word_can_be_rejected() {
        let read = |args: &mut Args<'_>| -> Result<(), CliError> {
            let id: u32 = args.parse("table id")?;
            Err(args.reject(format!("there is no table {id}")))
        };
        assert_eq!(fails(" 7", read), ("there is no table 7".into(), Some("7".into()), Some(1)));
    }
}
