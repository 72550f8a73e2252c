// SPDX-License-Identifier: Apache-2.0
//! Cuts a command into words, because everything after it needs to know where each word stood.
//!
//! Words end at blanks and braces. `"..."` and `'...'` keep blanks, braces and `#` inside a word;
//! `\` does so for one character (not between single quotes). An unquoted `#` starts a comment that
//! ends with the line. These are the rules of a command file and of a typed line alike.

use crate::error::CliError;

/// Byte range in the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Quoted or escaped words are never keywords, so that a name may look like one.
    Word {
        text: String,
        quoted: bool,
    },
    /// `{`; its `}` stands `skip` tokens further.
    Open {
        skip: usize,
    },
    Close,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Span,
}

impl Token {
    /// The word, if it may be a keyword.
    pub fn keyword(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word { text, quoted: false } => Some(text),
            _ => None,
        }
    }
}

/// The tokens of `line`, or why it has none.
pub(crate) fn tokenize(line: &str) -> Result<Vec<Token>, CliError> {
    match scan(line) {
        (tokens, None) => Ok(tokens),
        (_, Some(error)) => Err(error),
    }
}

/// As many tokens as there are, and the first error: completion works on unfinished lines.
pub(crate) fn scan(line: &str) -> (Vec<Token>, Option<CliError>) {
    let mut lexer = Lexer { line, at: 0, tokens: Vec::new(), open: Vec::new(), error: None };
    lexer.run();
    (lexer.tokens, lexer.error)
}

struct Lexer<'a> {
    line: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// Indices of the `{` tokens that wait for their `}`.
    open: Vec<usize>,
    error: Option<CliError>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '#' => self.skip_comment(),
                '{' => {
                    self.bump();
                    self.open.push(self.tokens.len());
                    self.push(Kind::Open { skip: 0 }, start);
                }
                '}' => {
                    self.bump();
                    self.close(start);
                }
                c if c.is_whitespace() => self.bump(),
                _ => self.word(),
            }
        }
        if let Some(index) = self.open.pop() {
            let span = self.tokens[index].span;
            self.fail("this brace is never closed: expected }", span);
        }
    }

    fn peek(&self) -> Option<char> {
        self.line[self.at..].chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_comment(&mut self) {
        let rest = &self.line[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn close(&mut self, start: usize) {
        let Some(opened) = self.open.pop() else {
            self.fail("this brace closes nothing", Span { start, end: self.at });
            return;
        };
        let skip = self.tokens.len() - opened;
        self.tokens[opened].kind = Kind::Open { skip };
        self.push(Kind::Close, start);
    }

    fn word(&mut self) {
        let start = self.at;
        let mut text = String::new();
        let mut quoted = false;
        while let Some(c) = self.peek() {
            match c {
                '"' | '\'' => {
                    quoted = true;
                    self.quoted_text(c, &mut text);
                }
                '\\' => {
                    quoted = true;
                    self.escape(&mut text);
                }
                '{' | '}' | '#' => break,
                c if c.is_whitespace() => break,
                c => {
                    text.push(c);
                    self.bump();
                }
            }
        }
        self.push(Kind::Word { text, quoted }, start);
    }

    fn quoted_text(&mut self, quote: char, text: &mut String) {
        let start = self.at;
        self.bump();
        while let Some(c) = self.peek() {
            match c {
                '\\' if quote == '"' => self.escape(text),
                c => {
                    self.bump();
                    if c == quote {
                        return;
                    }
                    text.push(c);
                }
            }
        }
        self.fail(format!("this quote is never closed: expected {quote}"), Span { start, end: start + 1 });
    }

    fn escape(&mut self, text: &mut String) {
        let start = self.at;
        self.bump();
        match self.peek() {
            Some(c) => {
                text.push(c);
                self.bump();
            }
            None => {
                let span = Span { start, end: self.at };
                self.fail("nothing follows this backslash: expected a character", span);
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, span: Span { start, end: self.at } });
    }

    fn fail(&mut self, message: impl ToString, span: Span) {
        if self.error.is_none() {
            self.error = Some(CliError::at(message, self.line, span));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        tokenize(line)
            .unwrap()
            .into_iter()
            .map(|token| match token.kind {
                Kind::Word { text, .. } => text,
                Kind::Open { skip } => format!("<{skip}"),
                Kind::Close => ">".into(),
            })
            .collect()
    }

    #[test]
    fn cuts_words() {
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("  show\tinterface\r\n"), ["show", "interface"]);
        assert_eq!(words("show # version"), ["show"]);
        assert_eq!(words("show# version\nip"), ["show", "ip"]);
        assert_eq!(words(r#"a"b c"d '#x\' \# "\"""#), ["ab cd", r"#x\", "#", "\""]);
        assert_eq!(words("new {name{x}}"), ["new", "<5", "name", "<2", "x", ">", ">"]);
        assert_eq!(words(r#"new "{" \}"#), ["new", "{", "}"]);
    }

    #[test]
    fn quoted_words_are_no_keywords() {
        let tokens = tokenize(r#"via "via" \via"#).unwrap();
        let keywords: Vec<_> = tokens.iter().map(Token::keyword).collect();
        assert_eq!(keywords, [Some("via"), None, None]);
    }

    #[test]
    fn errors_point_at_the_opening_character() {
        for (line, position, message) in [
            ("new { a { b }", 4, "this brace is never closed: expected }"),
            ("a } b", 2, "this brace closes nothing"),
            ("a b\"c d", 3, "this quote is never closed: expected \""),
            ("a \\", 2, "nothing follows this backslash: expected a character"),
        ] {
            let error = tokenize(line).unwrap_err();
            assert_eq!((error.position, error.message.as_str()), (Some(position), message));
        }
    }

    proptest! {
        #[test]
        fn any_line_gives_ordered_spans(line in "(?s).{0,60}") {
            let (tokens, error) = scan(&line);
            let mut end = 0;
            for (index, token) in tokens.iter().enumerate() {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                end = token.span.end;
                prop_assert!(line.get(token.span.start..token.span.end).is_some());
                if let (None, Kind::Open { skip }) = (&error, &token.kind) {
                    prop_assert_eq!(&tokens[index + skip].kind, &Kind::Close);
                }
            }
        }

        #[test]
        fn quoted_words_come_back(word in "(?s).{1,20}") {
            let line = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(words(&line), [word]);
        }
    }
}
