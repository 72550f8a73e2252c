// SPDX-License-Identifier: Apache-2.0
//! Cuts a text into words and braces, because everything after it needs to know where each word stood.
//!
//! Words end at blanks and braces. `\` takes away the meaning of the next character. Where there are quotes, `"..."` and
//! `'...'` keep blanks, braces and `#` inside a word (`\` has no meaning between single quotes). Where there are comments,
//! an unquoted `#` starts one, also inside a word, and it ends with the line.

use crate::Span;

/// What has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `#` starts a comment.
    pub comments: bool,
    /// `"` and `'` quote.
    pub quotes: bool,
    /// How deep braces may be nested, for a reader that recurses.
    pub deepest: usize,
}

/// A token without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text without blanks, quotes and escapes resolved. Quoted or escaped words are never keywords, so that a name may look
    /// like one.
    Word {
        /// The word.
        text: String,
        /// Whether a part of it was quoted or escaped.
        quoted: bool,
    },
    /// `{`; its `}` stands `skip` tokens further.
    Open {
        /// 0 if there is none, which is a [`Fault`].
        skip: usize,
    },
    /// `}`.
    Close,
}

/// A token and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
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

/// What keeps a text from being tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The character that is to blame.
    pub span: Span,
    /// The whole sentence: what is wrong, what was expected.
    pub message: String,
}

/// As many tokens as there are, and what is wrong, in the order in which it was found: completion works on unfinished
/// lines.
pub fn scan(text: &str, rules: Rules) -> (Vec<Token>, Vec<Fault>) {
    let mut lexer = Lexer { text, rules, at: 0, tokens: Vec::new(), open: Vec::new(), faults: Vec::new() };
    lexer.run();
    (lexer.tokens, lexer.faults)
}

struct Lexer<'a> {
    text: &'a str,
    rules: Rules,
    at: usize,
    tokens: Vec<Token>,
    /// Indices of the `{` tokens that wait for their `}`.
    open: Vec<usize>,
    faults: Vec<Fault>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.peek() {
            let start = self.at;
            match c {
                '#' if self.rules.comments => self.skip_comment(),
                '{' => {
                    self.bump();
                    if self.open.len() == self.rules.deepest {
                        let message = format!("braces are nested more than {} deep", self.rules.deepest);
                        return self.fail(message, start);
                    }
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
            self.faults.push(Fault { span, message: "this brace is never closed: expected }".into() });
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
    }

    fn close(&mut self, start: usize) {
        let Some(opened) = self.open.pop() else {
            return self.fail("this brace closes nothing".into(), start);
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
                '"' | '\'' if self.rules.quotes => {
                    quoted = true;
                    self.quoted_text(c, &mut text);
                }
                '\\' => {
                    quoted = true;
                    self.escape(&mut text);
                }
                '{' | '}' => break,
                '#' if self.rules.comments => break,
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
        let span = Span { start, end: start + 1 };
        self.faults.push(Fault { span, message: format!("this quote is never closed: expected {quote}") });
    }

    fn escape(&mut self, text: &mut String) {
        let start = self.at;
        self.bump();
        match self.peek() {
            Some(c) => {
                text.push(c);
                self.bump();
            }
            None => self.fail("nothing follows this backslash: expected a character".into(), start),
        }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.tokens.push(Token { kind, span: Span { start, end: self.at } });
    }

    fn fail(&mut self, message: String, start: usize) {
        self.faults.push(Fault { span: Span { start, end: self.at }, message });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMAND: Rules = Rules { comments: true, quotes: true, deepest: usize::MAX };
    const PLAIN: Rules = Rules { comments: false, quotes: false, deepest: 2 };

    fn words(text: &str, rules: Rules) -> Vec<String> {
        let (tokens, faults) = scan(text, rules);
        assert_eq!(faults, []);
        let word = |token: Token| match token.kind {
            Kind::Word { text, .. } => text,
            Kind::Open { skip } => format!("<{skip}"),
            Kind::Close => ">".into(),
        };
        tokens.into_iter().map(word).collect()
    }

    #[test]
    fn cuts_words() {
        let command = |line| words(line, COMMAND);
        assert_eq!(command(""), [""; 0]);
        assert_eq!(command("  show\tinterface\r\n"), ["show", "interface"]);
        assert_eq!(command("show # version"), ["show"]);
        assert_eq!(command("show# version\nip"), ["show", "ip"]);
        assert_eq!(command(r#"a"b c"d '#x\' \# "\"""#), ["ab cd", r"#x\", "#", "\""]);
        assert_eq!(command("new {name{x}}"), ["new", "<5", "name", "<2", "x", ">", ">"]);
        assert_eq!(command(r#"new "{" \}"#), ["new", "{", "}"]);
        assert_eq!(words(r#""a b" #c\ \{"#, PLAIN), ["\"a", "b\"", "#c {"], "no quotes, no comments");
    }

    #[test]
    fn quoted_words_are_no_keywords() {
        let (tokens, _) = scan(r#"via "via" \via"#, COMMAND);
        let keywords: Vec<_> = tokens.iter().map(Token::keyword).collect();
        assert_eq!(keywords, [Some("via"), None, None]);
    }

    #[test]
    fn faults_point_at_the_opening_character() {
        for (text, rules, faults) in [
            ("new { a { b }", COMMAND, vec![(4, "this brace is never closed: expected }")]),
            ("a } b }", COMMAND, vec![(2, "this brace closes nothing"), (6, "this brace closes nothing")]),
            ("a b\"c d", COMMAND, vec![(3, "this quote is never closed: expected \"")]),
            ("a \\", COMMAND, vec![(2, "nothing follows this backslash: expected a character")]),
            ("{{{{", PLAIN, vec![(2, "braces are nested more than 2 deep")]),
        ] {
            let (_, found) = scan(text, rules);
            let found: Vec<_> = found.iter().map(|it| (it.span.start, it.message.as_str())).collect();
            assert_eq!(found, faults, "{text}");
        }
    }

    fn rules() -> impl Strategy<Value = Rules> {
        (any::<bool>(), any::<bool>(), 1usize..20).prop_map(|(comments, quotes, deepest)| Rules {
            comments,
            quotes,
            deepest,
        })
    }

    proptest! {
        #[test]
        fn any_text_gives_ordered_spans(text in "(?s).{0,60}|(?s)[ab{}#\"'\\\\\n ü]{0,60}", rules in rules()) {
            let (tokens, faults) = scan(&text, rules);
            let mut end = 0;
            for (index, token) in tokens.iter().enumerate() {
                prop_assert!(token.span.start >= end && token.span.end > token.span.start);
                end = token.span.end;
                prop_assert!(text.get(token.span.start..token.span.end).is_some());
                if let (true, Kind::Open { skip }) = (faults.is_empty(), &token.kind) {
                    prop_assert_eq!(&tokens[index + skip].kind, &Kind::Close);
                }
            }
            for fault in &faults {
                prop_assert!(text.get(fault.span.start..fault.span.end).is_some_and(|text| !text.is_empty()));
            }
        }

        #[test]
        fn quoted_words_come_back(word in "(?s).{1,20}") {
            let line = format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(words(&line, COMMAND), [word]);
        }
    }
}
