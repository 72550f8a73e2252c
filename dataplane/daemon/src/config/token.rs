// SPDX-License-Identifier: Apache-2.0
//! The lexical rules of VPP's startup.conf: words and nested groups in braces.
//!
//! `\` takes away the meaning of the next character. In a file, `#` starts a comment anywhere, also
//! inside a word. Quotes have no meaning.

use super::{
    diagnostic::{Diagnostic, Sink},
    source::{Source, Span},
};

/// Real files need four levels; the bound keeps recursion over the tree shallow.
const DEEPEST_NESTING: usize = 16;

/// A word or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(Word),
    Group(Group),
}

/// Text without blanks, escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub span: Span,
}

/// What stands between `{` and `}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub tokens: Vec<Token>,
    /// The `{`.
    pub open: Span,
    /// The `}`.
    pub close: Span,
}

impl Token {
    /// What an error points at: the word, or the brace that opens the group.
    pub fn span(&self) -> Span {
        match self {
            Self::Word(word) => word.span,
            Self::Group(group) => group.open,
        }
    }
}

/// The tokens of a source. Errors go to the sink; what is returned is then of no use.
pub(super) fn tokenize(source: &Source, sink: &Sink) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, open: Vec::new(), tokens: Vec::new() };
    if let Err(error) = lexer.run(sink) {
        sink.push(error);
    }
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a Source,
    at: usize,
    /// Groups that wait for their `}`: the `{`, and the tokens before it.
    open: Vec<(Span, Vec<Token>)>,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn run(&mut self, sink: &Sink) -> Result<(), Diagnostic> {
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '#' if self.source.has_comments() => self.skip_comment(),
                '{' => {
                    let span = self.bump(start);
                    if self.open.len() == DEEPEST_NESTING {
                        let message = format!("braces are nested more than {DEEPEST_NESTING} deep");
                        return Err(Diagnostic::error(span, message));
                    }
                    self.open.push((span, std::mem::take(&mut self.tokens)));
                }
                '}' => {
                    let close = self.bump(start);
                    match self.open.pop() {
                        Some((open, before)) => {
                            let tokens = std::mem::replace(&mut self.tokens, before);
                            self.tokens.push(Token::Group(Group { tokens, open, close }));
                        }
                        None => sink.push(Diagnostic::error(close, "this brace closes nothing")),
                    }
                }
                c if c.is_whitespace() => {
                    self.bump(start);
                }
                _ => {
                    let word = self.word()?;
                    self.tokens.push(Token::Word(word));
                }
            }
        }
        match self.open.last() {
            Some((open, _)) => Err(Diagnostic::error(*open, "this brace is never closed: expected }")),
            None => Ok(()),
        }
    }

    fn word(&mut self) -> Result<Word, Diagnostic> {
        let start = self.at;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            let escaped = match c {
                '\\' => {
                    let backslash = self.bump(self.at);
                    self.peek().ok_or_else(|| {
                        Diagnostic::error(backslash, "nothing follows this backslash: expected a character")
                    })?
                }
                '{' | '}' => break,
                '#' if self.source.has_comments() => break,
                c if c.is_whitespace() => break,
                c => c,
            };
            text.push(escaped);
            self.bump(start);
        }
        Ok(Word { text, span: Span { start, end: self.at } })
    }

    fn peek(&self) -> Option<char> {
        self.source.text()[self.at..].chars().next()
    }

    /// Steps over one character; the span from `start` to here.
    fn bump(&mut self, start: usize) -> Span {
        self.at += self.peek().map_or(0, char::len_utf8);
        Span { start, end: self.at }
    }

    fn skip_comment(&mut self) {
        let rest = &self.source.text()[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree without positions.
    #[derive(Debug, Clone, PartialEq)]
    enum Shape {
        Word(String),
        Group(Vec<Shape>),
    }

    fn shape(tokens: &[Token]) -> Vec<Shape> {
        let shape_of = |token: &Token| match token {
            Token::Word(word) => Shape::Word(word.text.clone()),
            Token::Group(group) => Shape::Group(shape(&group.tokens)),
        };
        tokens.iter().map(shape_of).collect()
    }

    /// A compact way to write shapes down.
    fn lisp(shapes: &[Shape]) -> String {
        let one = |shape: &Shape| match shape {
            Shape::Word(text) => text.clone(),
            Shape::Group(inside) => format!("({})", lisp(inside)),
        };
        shapes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn parse(source: &Source) -> Result<String, String> {
        let sink = Sink::default();
        let tokens = tokenize(source, &sink);
        if sink.has_errors() { Err(sink.into_report(source).to_string()) } else { Ok(lisp(&shape(&tokens))) }
    }

    #[test]
    fn words_and_groups() {
        for (text, tree) in [
            ("", ""),
            ("unix { nodaemon }", "unix (nodaemon)"),
            ("unix{nodaemon}cpu{}", "unix (nodaemon) cpu ()"),
            ("a # b {\nc#d\r\n e", "a c e"),
            ("a\\ b \\{ \\# \\\\", "a b { # \\"),
            ("numa 0 { buffers 5 }", "numa 0 (buffers 5)"),
            ("a {b {c} d} e", "a (b (c) d) e"),
            ("\"a b\"", "\"a b\""),
        ] {
            assert_eq!(parse(&Source::from_text("f", text)).as_deref(), Ok(tree), "{text:?}");
        }
    }

    #[test]
    fn a_command_line_has_no_comments() {
        let words = ["unix".to_owned(), "{".into(), "log".into(), "#1".into(), "}".into()];
        assert_eq!(parse(&Source::from_arguments(&words)).unwrap(), "unix (log #1)");
    }

    #[test]
    fn errors() {
        for (text, message) in [
            ("unix {\n nodaemon", "f:1:6: error: this brace is never closed"),
            ("a }\n b }", "f:1:3: error: this brace closes nothing"),
            ("a \\", "f:1:3: error: nothing follows this backslash"),
            (&"{".repeat(100_000), "f:1:17: error: braces are nested more than 16 deep"),
        ] {
            let error = parse(&Source::from_text("f", text)).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        let both = parse(&Source::from_text("f", "a }\n b }")).unwrap_err();
        assert!(both.contains("f:2:4: error"), "all are reported: {both}");
    }

    fn shapes() -> impl Strategy<Value = Vec<Shape>> {
        let word = "[a-z0-9{}#\\\\ü /-]{1,8}".prop_map(Shape::Word);
        let tree = word
            .prop_recursive(4, 40, 6, |inside| prop::collection::vec(inside, 0..6).prop_map(Shape::Group));
        prop::collection::vec(tree, 0..6)
    }

    fn print(shapes: &[Shape], gaps: &mut impl Iterator<Item = &'static str>, text: &mut String) {
        for shape in shapes {
            match shape {
                Shape::Word(word) => {
                    for c in word.chars() {
                        if matches!(c, '{' | '}' | '#' | '\\' | ' ') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                }
                Shape::Group(inside) => {
                    text.push('{');
                    print(inside, gaps, text);
                    text.push('}');
                }
            }
            text.push_str(gaps.next().expect("gaps repeat for ever"));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(shapes in shapes(), shift in 0usize..4) {
            let gaps = [" ", "\n", "\t# {comment\\\n", " \r\n "];
            let mut text = String::new();
            print(&shapes, &mut gaps.into_iter().cycle().skip(shift), &mut text);
            prop_assert_eq!(parse(&Source::from_text("f", text)), Ok(lisp(&shapes)));
        }

        #[test]
        fn any_text_is_survived(text in "(?s)[a-b{}#\\\\\n ü]{0,60}|(?s).{0,40}") {
            let _ = parse(&Source::from_text("f", text.as_str()));
            let _ = parse(&Source::from_arguments(&[text]));
        }
    }
}
