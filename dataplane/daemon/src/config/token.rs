// SPDX-License-Identifier: Apache-2.0
//! The lexical rules of VPP's startup.conf: words ([`weft_words::scan`], without quotes) and nested groups in braces.

use weft_words::{Kind, Rules};

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

/// The tokens of a source; none if there are errors, which go to the sink.
pub(super) fn tokenize(source: &Source, sink: &Sink) -> Vec<Token> {
    let rules = Rules { comments: source.has_comments(), quotes: false, deepest: DEEPEST_NESTING };
    let (tokens, faults) = weft_words::scan(source.text(), rules);
    if faults.is_empty() {
        return tree(&tokens);
    }
    for fault in faults {
        sink.push(Diagnostic::error(fault.span, fault.message));
    }
    Vec::new()
}

/// Recurses as deep as braces are nested.
fn tree(mut tokens: &[weft_words::Token]) -> Vec<Token> {
    let mut tree = Vec::new();
    while let [token, rest @ ..] = tokens {
        tokens = rest;
        match &token.kind {
            Kind::Word { text, .. } => tree.push(Token::Word(Word { text: text.clone(), span: token.span })),
            Kind::Open { skip } => {
                let (inside, after) = rest.split_at(*skip);
                if let [inside @ .., close] = inside {
                    let (open, close) = (token.span, close.span);
                    tree.push(Token::Group(Group { tokens: self::tree(inside), open, close }));
                }
                tokens = after;
            }
            // Taken with its `{`.
            Kind::Close => {}
        }
    }
    tree
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
