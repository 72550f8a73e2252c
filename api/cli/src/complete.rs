// SPDX-License-Identifier: Apache-2.0
//! Completion is answered by the daemon, which alone knows today's interfaces, tables and plugins.

use serde::{Deserialize, Serialize};

use crate::{
    help,
    token::{Kind, Token, scan},
    tree::{Command, CommandTree},
};

/// A word that fits at the cursor, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub text: String,
    pub help: String,
}

impl Candidate {
    pub fn new(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { text: text.into(), help: help.into() }
    }

    /// One line per candidate, the explanations one below the other.
    pub fn table(candidates: &[Candidate]) -> String {
        let width = candidates.iter().map(|c| c.text.chars().count()).max().unwrap_or(0);
        let row = |c: &Candidate| {
            let line = format!("  {:width$}  {}", c.text, c.help);
            format!("{}\n", line.trim_end())
        };
        candidates.iter().map(row).collect()
    }
}

/// What may stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Byte offset in the line where the candidates begin; they replace the text up to the cursor.
    pub start: usize,
    /// How the command so far is called, if the words are one: `show interface [<interface>]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    pub candidates: Vec<Candidate>,
}

impl<C> CommandTree<C> {
    /// The words that fit at byte `cursor` of `line`. A cursor outside the line means its end.
    pub fn complete(&self, state: &C, line: &str, cursor: usize) -> Completion {
        let line = &line[..line.floor_char_boundary(cursor)];
        let tokens = scan(line);
        let (words, typed, start) = match tokens.split_last() {
            Some((Token { kind: Kind::Word { text, .. }, span }, words)) if span.end == line.len() => {
                (words, text.as_str(), span.start)
            }
            _ => (tokens.as_slice(), "", line.len()),
        };
        let mut walk = self.walk(words);
        let mut words = words;
        if let [word] = walk.path.as_slice()
            && *word == help::WORD
        {
            // What can be run can be explained.
            words = &words[1..];
            walk = self.walk(words);
        }
        let rest = &words[walk.path.len()..];

        let mut candidates = Vec::new();
        if rest.is_empty() {
            candidates.extend(walk.node.matching(typed).map(|(word, n)| help::candidate(word, n)));
        }
        if let Some(command) = &walk.node.command {
            let finished: Vec<&str> = rest.iter().map(|t| &line[t.span.start..t.span.end]).collect();
            let offered = match &command.completer {
                Some(completer) => completer(state, &finished),
                None => synopsis_keywords(&command.synopsis, &finished),
            };
            candidates.extend(offered.into_iter().filter(|c| c.text.starts_with(typed)));
        }
        let usage = walk.node.command.as_ref().map(Command::usage);
        Completion { start, usage, candidates }
    }
}

/// The keywords of a synopsis that have not been typed yet.
fn synopsis_keywords(synopsis: &str, typed: &[&str]) -> Vec<Candidate> {
    synopsis
        .split([' ', '[', ']', '|', '(', ')'])
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .filter(|word| !typed.contains(word))
        .map(|word| Candidate::new(word, ""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{toy, toy_tree};

    fn complete(line: &str) -> (usize, Vec<String>) {
        let completion = toy_tree().complete(&toy(), line, line.len());
        (completion.start, completion.candidates.into_iter().map(|c| c.text).collect())
    }

    fn found(start: usize, words: &[&str]) -> (usize, Vec<String>) {
        (start, words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn command_words() {
        assert_eq!(complete(""), found(0, &["exec", "help", "set", "show"]));
        assert_eq!(complete("s"), found(0, &["set", "show"]));
        assert_eq!(complete("sh v"), found(3, &["version"]));
        assert_eq!(complete("show interface"), found(5, &["interface", "interfaces-all"]));
        assert_eq!(complete("nonsense "), found(9, &[]));
    }

    #[test]
    fn words_to_be_explained() {
        assert_eq!(complete("help show v"), found(10, &["version"]));
        assert_eq!(complete("help "), complete_at("", 5));
    }

    fn complete_at(line: &str, start: usize) -> (usize, Vec<String>) {
        (start, complete(line).1)
    }

    #[test]
    fn names_of_the_state_beside_sub_commands() {
        assert_eq!(complete("show interface "), found(15, &["address", "eth0", "eth1", "tap0"]));
        assert_eq!(complete("show interface e"), found(15, &["eth0", "eth1"]));
        assert_eq!(complete("show interface eth0 "), found(20, &[]));
    }

    #[test]
    fn keywords_of_the_synopsis() {
        assert_eq!(complete("set interface state eth0 "), found(25, &["up", "down"]));
        assert_eq!(complete("set interface state eth0 d"), found(25, &["down"]));
        let words: Vec<String> = synopsis_keywords("<p> [table <id>] (via|to) <n>", &["via"])
            .into_iter()
            .map(|c| c.text)
            .collect();
        assert_eq!(words, ["table", "to"]);
    }

    #[test]
    fn usage_of_the_finished_words() {
        let usage = |line: &str| toy_tree().complete(&toy(), line, line.len()).usage;
        assert_eq!(usage("show interface eth0 ").as_deref(), Some("show interface [<interface>]"));
        assert_eq!(usage("show version "), Some("show version".into()));
        assert_eq!(usage("show "), None);
        assert_eq!(usage("show version"), None, "the word under the cursor is not finished");
    }

    #[test]
    fn inside_a_line() {
        let completion = toy_tree().complete(&toy(), "sh interface", 2);
        assert_eq!(completion.start, 0);
        assert_eq!(completion.candidates[0].text, "show");
        assert_eq!(toy_tree().complete(&toy(), "ü", 1).start, 0);
        assert_eq!(toy_tree().complete(&toy(), "s", 99).start, 0);
    }
}
