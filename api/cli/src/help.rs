// SPDX-License-Identifier: Apache-2.0
//! `help`, `?` and `COMMAND ?`: the tree explains itself, so the explanation is never out of date.

use serde::Serialize;

use crate::{
    complete::Candidate,
    error::CliError,
    reply::Reply,
    token::Token,
    tree::{Command, CommandTree, Node},
};

/// The command that explains others.
pub(crate) const WORD: &str = "help";

/// What is known about a line that ends in `?`.
#[derive(Debug, Serialize)]
struct Help {
    /// How the command is called, if the words so far are one.
    usage: Option<String>,
    /// What it does.
    help: Option<String>,
    /// The words that may come next.
    words: Vec<Candidate>,
}

impl<C> CommandTree<C> {
    /// Explains the command that `tokens` name, and lists what may follow.
    pub(crate) fn help(&self, line: &str, tokens: &[Token]) -> Result<Reply, CliError> {
        let walk = self.walk(tokens);
        let rest = &tokens[walk.path.len()..];
        if walk.node.command.is_none() && !rest.is_empty() {
            return Err(self.no_command(line, &walk, rest));
        }
        let command = walk.node.command.as_ref();
        let help = Help {
            usage: command.map(Command::usage),
            help: command.map(|command| command.help.clone()),
            words: walk.node.words.iter().map(|(word, node)| candidate(word, node)).collect(),
        };
        Ok(Reply::new(help, Help::render))
    }
}

/// `word` with its help; a word that only leads on shows where it leads to.
pub(crate) fn candidate<C>(word: &str, node: &Node<C>) -> Candidate {
    const MOST_WORDS: usize = 6;
    match &node.command {
        Some(command) => Candidate::new(word, &command.help),
        None => {
            let mut next: Vec<&str> = node.words.keys().map(String::as_str).collect();
            if next.len() > MOST_WORDS {
                next.truncate(MOST_WORDS - 1);
                next.push("...");
            }
            Candidate::new(word, format!("{{ {} }}", next.join(" | ")))
        }
    }
}

impl Help {
    fn render(&self) -> String {
        let mut text = String::new();
        if let (Some(usage), Some(help)) = (&self.usage, &self.help) {
            text = format!("{usage}\n  {help}\n");
        }
        text.push_str(&Candidate::table(&self.words));
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::tree::tests::{toy, toy_tree};

    fn help(line: &str) -> String {
        toy_tree().execute(&mut toy(), line).unwrap().to_text()
    }

    #[test]
    fn the_first_words() {
        let expected = "  \
  exec  Run the commands of a file; the first that fails stops it. --atomic: all of them in one step, or none; --dry-run: only find out whether they could be
  help  Explain a command, or list all words that may come first
  set   { interface }
  show  { interface | interfaces-all | version }
";
        assert_eq!(help("?"), expected);
        assert!(help("help").ends_with(expected), "help explains itself before the list");
    }

    #[test]
    fn a_command_with_arguments_and_sub_commands() {
        let expected = "show interface [<interface>]
  State and counters of interfaces
  address  Addresses
";
        assert_eq!(help("sh interface ?"), expected);
        assert_eq!(help("help sh interface"), expected);
        assert_eq!(help("show interface eth0 ?"), expected);
    }

    #[test]
    fn words_that_lead_on() {
        assert_eq!(help("set ?"), "  interface  { state }\n");
    }

    #[test]
    fn nothing_known() {
        let error = toy_tree().execute(&mut toy(), "show verion ?").err().unwrap();
        assert_eq!(error.word.as_deref(), Some("verion"));
    }

    #[test]
    fn as_json() {
        let json = toy_tree().execute(&mut toy(), "show version ?").unwrap().to_json().unwrap();
        assert_eq!(json.get(), r#"{"usage":"show version","help":"The version","words":[]}"#);
    }
}
