// SPDX-License-Identifier: Apache-2.0
//! Words, numbers and marks of an `.api` file, each with its place in the text.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use winnow::ascii::{digit1, hex_digit1, multispace1, till_line_ending};
use winnow::combinator::{alt, preceded, repeat, terminated};
use winnow::error::{EmptyError, ModalResult};
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{one_of, take_until, take_while};
use winnow::{Parser, stream::Stream};

use weft_words::Span;

use crate::error::{Fault, Source};

/// A token without its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind<'s> {
    Word(&'s str),
    Integer(u64),
    Float(f64),
    Text(&'s str),
    Mark(char),
    /// After the last token, so that a parser always has one to complain about.
    End,
}

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Integer(number) => write!(f, "`{number}`"),
            Self::Float(number) => write!(f, "`{number}`"),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Mark(mark) => write!(f, "`{mark}`"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Token<'s> {
    pub kind: Kind<'s>,
    pub span: Span,
}

impl Location for Token<'_> {
    fn previous_token_end(&self) -> usize {
        self.span.end
    }

    fn current_token_start(&self) -> usize {
        self.span.start
    }
}

type Input<'s> = LocatingSlice<&'s str>;
type Result<T> = ModalResult<T, EmptyError>;

/// Cuts a text into tokens; the last is [`Kind::End`].
pub fn tokens(source: &Arc<Source>) -> std::result::Result<Vec<Token<'_>>, Fault> {
    let mut input = LocatingSlice::new(source.text.as_str());
    let mut tokens = Vec::new();
    loop {
        if blank(&mut input).is_err() {
            // It stopped after the mark that opens the comment.
            let end = input.current_token_start();
            return Err(Fault::new(
                source,
                Span { start: end - 2, end },
                "this comment has no end: expected `*/`",
            ));
        }
        let start = input.current_token_start();
        if input.eof_offset() == 0 {
            tokens.push(Token { kind: Kind::End, span: Span { start, end: start } });
            return Ok(tokens);
        }
        match kind.with_span().parse_next(&mut input) {
            Ok((kind, Range { start, end })) => tokens.push(Token { kind, span: Span { start, end } }),
            Err(_) => {
                let found = source.text[start..].chars().next().unwrap_or(' ');
                let message = match found {
                    '"' => "this text has no end: expected `\"` on the same line".to_owned(),
                    '0'..='9' => "this number is too large: expected 64 bits".to_owned(),
                    _ => format!("found `{found}`: expected a word, a number, a text or punctuation"),
                };
                return Err(Fault::new(source, Span { start, end: start + found.len_utf8() }, message));
            }
        }
    }
}

fn blank(input: &mut Input<'_>) -> Result<()> {
    let line = preceded("//", till_line_ending).void();
    let block = ("/*", winnow::combinator::cut_err((take_until(0.., "*/"), "*/"))).void();
    repeat(0.., alt((multispace1.void(), line, block))).parse_next(input)
}

fn kind<'s>(input: &mut Input<'s>) -> Result<Kind<'s>> {
    let word = (one_of(|c: char| c.is_ascii_alphabetic() || c == '_'), take_while(0.., is_word_char));
    let text = terminated(preceded('"', take_while(0.., |c| c != '"' && c != '\n')), '"');
    let float = (digit1, '.', digit1).take().try_map(str::parse).map(Kind::Float);
    let hexadecimal = preceded(alt(("0x", "0X")), hex_digit1);
    alt((
        word.take().map(Kind::Word),
        text.map(Kind::Text),
        hexadecimal.try_map(|digits| u64::from_str_radix(digits, 16)).map(Kind::Integer),
        float,
        digit1.try_map(str::parse).map(Kind::Integer),
        one_of([':', '{', '}', '[', ']', ';', '=', ',', '-']).map(Kind::Mark),
    ))
    .parse_next(input)
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> std::result::Result<Vec<String>, String> {
        let source = Arc::new(Source { name: "t.api".into(), text: text.into() });
        let tokens = tokens(&source).map_err(|fault| fault.to_string())?;
        Ok(tokens.iter().map(|token| token.kind.to_string()).collect())
    }

    #[test]
    fn all_kinds_and_comments() {
        let found = kinds("/* a\n * b */ u8 x_1[0x10]; // end\n\"t t\" 1.5 64").unwrap();
        let expected =
            ["`u8`", "`x_1`", "`[`", "`16`", "`]`", "`;`", "\"t t\"", "`1.5`", "`64`", "the end of the file"];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_token_is_marked() {
        assert_eq!(
            kinds("u8 ä;").unwrap_err(),
            "t.api:1:4: found `ä`: expected a word, a number, a text or punctuation\n  1 | u8 ä;\n    |    ^"
        );
        assert!(kinds("u8 /* x").unwrap_err().starts_with("t.api:1:4: this comment has no end"));
        assert!(kinds("import \"x\n\";").unwrap_err().starts_with("t.api:1:8: this text has no end"));
        assert!(
            kinds("99999999999999999999").unwrap_err().starts_with("t.api:1:1: this number is too large")
        );
    }
}
