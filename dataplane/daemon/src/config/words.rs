// SPDX-License-Identifier: Apache-2.0
//! Reads a section by a table of its keys.
//!
//! The table is all there is: it reads values, it is what an error lists as expected, what a
//! misspelt word is compared with, and what `startup.conf.example` is tested against.

use std::{convert::Infallible, fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr};

use weft_control::settings::ALL;
use weft_control::{Scope, Setting};
use weft_engine::InterfaceIndex;
use weft_words::suggest::{nearest, one_of};

use super::{
    diagnostic::{Diagnostic, Sink},
    source::{Span, Spanned},
    token::{Group, Token, Word},
};

/// A key of a section that is kept in a `T`.
pub struct Key<T> {
    /// One word or several: `default data-size`.
    pub name: &'static str,
    action: Action<T>,
}

enum Action<T> {
    Read(fn(&mut T, &mut Words<'_>) -> Result<(), Diagnostic>),
    /// A setting, and where it is kept.
    Setting(&'static Setting, fn(&mut T) -> &mut Vec<Wanted>),
    /// Accepted for the sake of existing files.
    Ignore {
        values: usize,
        why: &'static str,
    },
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> Clone for Action<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Action<T> {}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A built-in setting.
    BuiltIn(&'static Setting),
    /// `<plugin>.<setting>`: one that a plugin may declare when it is loaded.
    OfPlugin(String),
}

/// A setting, and the value that is wanted. That of a built-in one is a value but for the names of interfaces: there are none
/// yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub setting: Named,
    pub value: Spanned<String>,
}

/// These keys, and one for each setting that they do not read themselves.
pub(super) fn with_settings<T>(
    keys: &[Key<T>],
    scope: Scope,
    of: fn(&mut T) -> &mut Vec<Wanted>,
) -> Vec<Key<T>> {
    let own = |setting: &Setting| keys.iter().any(|key| key.name == setting.conf);
    let more = ALL.iter().filter(|setting| setting.scope() == scope && !own(setting));
    let more = more.map(|setting| Key { name: setting.conf, action: Action::Setting(setting, of) });
    keys.iter().copied().chain(more).collect()
}

#[cfg(test)]
impl<T> Key<T> {
    /// Whether the key has a meaning in Weft.
    pub fn is_read(&self) -> bool {
        matches!(self.action, Action::Read(_))
    }
}

/// A key whose value is kept.
pub(crate) const fn key<T>(
    name: &'static str,
    read: fn(&mut T, &mut Words<'_>) -> Result<(), Diagnostic>,
) -> Key<T> {
    Key { name, action: Action::Read(read) }
}

/// A key of VPP with `values` words behind it, which gets a warning.
pub(crate) const fn ignored<T>(name: &'static str, values: usize, why: &'static str) -> Key<T> {
    Key { name, action: Action::Ignore { values, why } }
}

/// Keeps a value that was read, or hands on why it was not.
pub(crate) fn set<T, E>(slot: &mut T, value: Result<T, E>) -> Result<(), E> {
    *slot = value?;
    Ok(())
}

/// Like [`set`], for a setting that has no default.
pub(crate) fn set_some<T, E>(slot: &mut Option<T>, value: Result<T, E>) -> Result<(), E> {
    *slot = Some(value?);
    Ok(())
}

/// `<plugin>.<setting>`.
fn is_of_plugin(word: &str) -> bool {
    let is_name = |name: &str| {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(good)
    };
    word.split_once('.').is_some_and(|(plugin, name)| is_name(plugin) && is_name(name))
}

/// A cursor over the tokens of a group.
pub struct Words<'a> {
    tokens: &'a [Token],
    next: usize,
    /// Where a missing word is reported.
    end: Span,
    /// Path of the group for messages: `interfaces af_xdp`.
    within: String,
    pub(super) sink: &'a Sink,
}

impl<'a> Words<'a> {
    pub(super) fn new(tokens: &'a [Token], end: Span, within: impl Into<String>, sink: &'a Sink) -> Self {
        Self { tokens, next: 0, end, within: within.into(), sink }
    }

    /// Reads all keys of a section; goes on behind an error with the next word that is a key.
    /// Tells whether there was none.
    pub fn read<T>(&mut self, keys: &[Key<T>], target: &mut T) -> bool {
        let mut clean = true;
        let settings = keys.iter().find_map(|key| match key.action {
            Action::Setting(_, of) => Some(of),
            _ => None,
        });
        while let Some(token) = self.peek() {
            let result = match token {
                Token::Word(word) => match (settings.filter(|_| is_of_plugin(&word.text)), self.find(keys)) {
                    (Some(of), _) => {
                        self.next += 1;
                        self.setting_of_plugin(&word.text).map(|wanted| of(target).push(wanted))
                    }
                    (None, Ok((key, words))) => {
                        self.next += words;
                        match key.action {
                            Action::Read(read) => read(target, self),
                            Action::Setting(setting, of) => {
                                self.setting(setting).map(|wanted| of(target).push(wanted))
                            }
                            Action::Ignore { values, why } => self.ignore(key.name, word.span, values, why),
                        }
                    }
                    (None, Err(error)) => {
                        self.next += 1;
                        Err(error)
                    }
                },
                Token::Group(group) => {
                    self.next += 1;
                    Err(Diagnostic::error(
                        group.open,
                        format!("expected a word of {}, found {{", self.within),
                    ))
                }
            };
            if let Err(error) = result {
                self.sink.push(error);
                self.skip_to_key(keys);
                clean = false;
            }
        }
        clean
    }

    /// The key that the next words name, and how many words that is.
    fn find<'k, T>(&self, keys: &'k [Key<T>]) -> Result<(&'k Key<T>, usize), Diagnostic> {
        let word_at = |index: usize| match self.tokens.get(self.next + index) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        };
        let matched = |key: &Key<T>| {
            let words = key.name.split(' ');
            words
                .enumerate()
                .take_while(|(index, part)| word_at(*index).is_some_and(|w| w.text == *part))
                .count()
        };
        let mut best = 0;
        for key in keys {
            let words = matched(key);
            if words == key.name.split(' ').count() {
                return Ok((key, words));
            }
            best = best.max(words);
        }
        let part = |key: &Key<T>| key.name.split(' ').nth(best);
        let fitting = || keys.iter().filter(|key| matched(key) == best);
        let known: Vec<&str> = fitting().filter_map(part).collect();
        let expected: Vec<&str> =
            fitting().filter(|key| !matches!(key.action, Action::Ignore { .. })).filter_map(part).collect();
        let Some(wrong) = word_at(best) else {
            let span = self.tokens.get(self.next + best).map_or(self.end, Token::span);
            return Err(Diagnostic::error(span, format!("expected {}", one_of(&expected))));
        };
        let message = match nearest(&wrong.text, known) {
            Some(meant) => {
                format!("unknown word {:?} in {} (did you mean {meant:?}?)", wrong.text, self.within)
            }
            None => format!("unknown word {:?} in {}", wrong.text, self.within),
        };
        Err(Diagnostic::error(wrong.span, message).help(format!("expected {}", one_of(&expected))))
    }

    fn setting(&mut self, setting: &'static Setting) -> Result<Wanted, Diagnostic> {
        let grammar = &setting.grammar;
        let value = self.spanned(setting.name, |text| {
            // Whether there is such an interface is known when it is made.
            let value = grammar.parse(text, |_| Some(InterfaceIndex(0)));
            let checked = value.and_then(|value| grammar.check(&value));
            checked.map(|()| text.to_owned()).map_err(|error| format!("expected {}", error.expected))
        })?;
        Ok(Wanted { setting: Named::BuiltIn(setting), value })
    }

    /// What its values are is known when the plugin is loaded.
    fn setting_of_plugin(&mut self, name: &str) -> Result<Wanted, Diagnostic> {
        let value = self.spanned(name, |text| Ok::<_, Infallible>(text.to_owned()))?;
        Ok(Wanted { setting: Named::OfPlugin(name.to_owned()), value })
    }

    fn ignore(&mut self, name: &str, span: Span, values: usize, why: &str) -> Result<(), Diagnostic> {
        for _ in 0..values {
            self.skip("value")?;
        }
        let message = format!("{name:?} in {} has no effect: {why}", self.within);
        self.sink.push(Diagnostic::warning(span, message));
        Ok(())
    }

    fn skip_to_key<T>(&mut self, keys: &[Key<T>]) {
        let is_key = |token: &Token| match token {
            Token::Word(word) => keys.iter().any(|key| key.name.split(' ').next() == Some(&word.text)),
            Token::Group(_) => false,
        };
        while self.peek().is_some_and(|token| !is_key(token)) {
            self.next += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.next == self.tokens.len()
    }

    /// Where the word stands that was taken last.
    pub fn last_span(&self) -> Span {
        self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(self.end, Token::span)
    }

    /// Takes the next token, whatever it is.
    pub fn skip(&mut self, what: &str) -> Result<&'a Token, Diagnostic> {
        let token = self.peek().ok_or_else(|| self.missing(what))?;
        self.next += 1;
        Ok(token)
    }

    /// Takes the next word. `what` names it in the error: "path".
    pub fn word(&mut self, what: &str) -> Result<&'a Word, Diagnostic> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word)
            }
            Some(Token::Group(group)) => {
                Err(Diagnostic::error(group.open, format!("expected {what}, found {{")))
            }
            None => Err(self.missing(what)),
        }
    }

    /// Takes the next word if it is `keyword`.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.text == keyword);
        self.next += usize::from(found);
        found
    }

    /// Takes the next word and reads it; stays on the word if `read` refuses it.
    pub fn value<T, E: Display>(
        &mut self,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Diagnostic> {
        let word = self.word(what)?;
        read(&word.text).map_err(|reason| {
            self.next -= 1;
            Diagnostic::error(word.span, format!("expected {what}, found {:?}: {reason}", word.text))
        })
    }

    /// Like [`Words::value`], and remembers where it was written.
    pub fn spanned<T, E: Display>(
        &mut self,
        what: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Spanned<T>, Diagnostic> {
        let value = self.value(what, read)?;
        Ok(Spanned { value, span: self.last_span() })
    }

    /// Takes a number of the range.
    pub fn number<T>(&mut self, what: &str, range: RangeInclusive<T>) -> Result<T, Diagnostic>
    where
        T: FromStr + PartialOrd + Display,
    {
        let word = self.word(what)?;
        match word.text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                self.next -= 1;
                let (low, high) = (range.start(), range.end());
                let message = format!("expected {what} from {low} to {high}, found {:?}", word.text);
                Err(Diagnostic::error(word.span, message))
            }
        }
    }

    /// Takes one of the keywords and gives the value beside it.
    pub fn one_of<T: Copy>(&mut self, choices: &[(&'static str, T)]) -> Result<T, Diagnostic> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = one_of(&names);
        let word = self.word(&expected)?;
        match choices.iter().find(|(name, _)| *name == word.text) {
            Some((_, value)) => Ok(*value),
            None => {
                self.next -= 1;
                let error =
                    Diagnostic::error(word.span, format!("expected {expected}, found {:?}", word.text));
                Err(match nearest(&word.text, names) {
                    Some(meant) => error.help(format!("did you mean {meant:?}?")),
                    None => error,
                })
            }
        }
    }

    /// Takes `on` or `off`.
    pub fn switch(&mut self) -> Result<bool, Diagnostic> {
        self.one_of(&[("on", true), ("off", false)])
    }

    pub fn path(&mut self) -> Result<PathBuf, Diagnostic> {
        self.word("path").map(|word| PathBuf::from(&word.text))
    }

    /// Takes a `{ ... }` group. `name` joins the path in messages.
    pub fn group(&mut self, name: &str) -> Result<Words<'a>, Diagnostic> {
        match self.peek() {
            Some(Token::Group(group)) => {
                self.next += 1;
                Ok(self.inside(group, name))
            }
            Some(Token::Word(word)) => {
                Err(Diagnostic::error(word.span, format!("expected {{ after {name}, found {:?}", word.text)))
            }
            None => Err(self.missing("{")),
        }
    }

    /// Takes a `{ ... }` group if one comes next.
    pub fn optional_group(&mut self, name: &str) -> Option<Words<'a>> {
        match self.peek() {
            Some(Token::Group(group)) => {
                self.next += 1;
                Some(self.inside(group, name))
            }
            _ => None,
        }
    }

    fn inside(&self, group: &'a Group, name: &str) -> Words<'a> {
        Words::new(&group.tokens, group.close, format!("{} {name}", self.within), self.sink)
    }

    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn missing(&self, what: &str) -> Diagnostic {
        Diagnostic::error(self.end, format!("{} ends too early: expected {what}", self.within))
    }
}
