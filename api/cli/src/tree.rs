// SPDX-License-Identifier: Apache-2.0
//! Finds the command that a line names, by any unique prefix of each word.
//!
//! Commands are registered by their path (`"ip route add"`), each in its own place; no central
//! list of words exists. An exact word wins over a longer one, and a word that no sub-command
//! matches is the first argument if the words so far are a command themselves (`show interface
//! eth0` beside `show interface address`).
//!
//! The tree belongs to the thread that owns the state `C`; handlers run on it one at a time and
//! must not block.

use std::{collections::BTreeMap, rc::Rc};

use weft_background::Rights;
use weft_words::suggest::{nearest, one_of};

use crate::{
    args::Args,
    atomic::Atomic,
    complete::Candidate,
    error::{CliError, quote},
    help,
    reply::Reply,
    script,
    token::{Span, Token, tokenize},
};

/// Words that are listed beside the one that was probably meant.
const MOST_BESIDE_THE_LIKELY: usize = 8;

type Handler<C> = Box<dyn Fn(&mut C, &mut Args<'_>) -> Result<Reply, CliError>>;
pub(crate) type Completer<C> = Box<dyn Fn(&C, &[&str]) -> Vec<Candidate>>;

/// One command: how it is called, what it says about itself, what it does.
pub struct Command<C> {
    pub(crate) path: String,
    pub(crate) synopsis: String,
    pub(crate) help: String,
    pub(crate) completer: Option<Completer<C>>,
    /// Whether it can be part of a file that is carried out as one change.
    pub(crate) is_change: bool,
    action: Action<C>,
}

enum Action<C> {
    Run(Handler<C>),
    Help,
    /// Runs a file of commands.
    Exec,
}

impl<C> Command<C> {
    /// `path`: the words of the command, separated by single blanks.
    pub fn new<F>(path: impl Into<String>, handler: F) -> Self
    where
        F: Fn(&mut C, &mut Args<'_>) -> Result<Reply, CliError> + 'static,
    {
        Self::with_action(path.into(), Action::Run(Box::new(handler)))
    }

    fn with_action(path: String, action: Action<C>) -> Self {
        Self { path, synopsis: String::new(), help: String::new(), completer: None, is_change: false, action }
    }

    /// The arguments: `<value>`, `[optional]`, `this|that`, keywords as they are.
    ///
    /// Its keywords are offered by completion unless the command has a completer of its own.
    pub fn synopsis(mut self, synopsis: impl Into<String>) -> Self {
        self.synopsis = synopsis.into();
        self
    }

    /// One sentence about what the command does.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Offers words for the next argument, given the finished arguments before it. It may offer
    /// all; the tree keeps those that begin with what has been typed.
    pub fn completer<F>(mut self, completer: F) -> Self
    where
        F: Fn(&C, &[&str]) -> Vec<Candidate> + 'static,
    {
        self.completer = Some(Box::new(completer));
        self
    }

    /// Says that the command can be part of a file that is carried out as one change: see [`CommandTree::atomic`].
    pub fn change(mut self) -> Self {
        self.is_change = true;
        self
    }

    /// Path and synopsis.
    pub(crate) fn usage(&self) -> String {
        [self.path.as_str(), &self.synopsis].join(" ").trim_end().to_owned()
    }
}

/// Why a command cannot join the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("the command {0:?} is already registered")]
    Duplicate(String),
    #[error("{0:?} is no command path: expected words of a-z, 0-9, '-' or '_' between single blanks")]
    BadPath(String),
    #[error("commands are being run: {0:?} comes too late")]
    InUse(String),
}

/// All commands. A clone is the same tree: whoever runs a long command holds one.
pub struct CommandTree<C> {
    pub(crate) root: Rc<Node<C>>,
    pub(crate) atomic: Option<Atomic<C>>,
}

impl<C> Clone for CommandTree<C> {
    fn clone(&self) -> Self {
        Self { root: Rc::clone(&self.root), atomic: self.atomic }
    }
}

/// A word, and what may follow it.
pub(crate) struct Node<C> {
    pub command: Option<Command<C>>,
    pub words: BTreeMap<String, Node<C>>,
}

impl<C> Node<C> {
    fn new() -> Self {
        Self { command: None, words: BTreeMap::new() }
    }

    /// The sub-commands whose word begins with `prefix`.
    pub fn matching(&self, prefix: &str) -> impl Iterator<Item = (&str, &Node<C>)> {
        self.words
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .map(|(word, node)| (word.as_str(), node))
            .take_while(move |(word, _)| word.starts_with(prefix))
    }

    fn find(&self, word: &str) -> Found<'_, C> {
        if let Some((word, node)) = self.words.get_key_value(word) {
            return Found::One(word, node);
        }
        let mut matching = self.matching(word);
        match (matching.next(), matching.next()) {
            (None, _) => Found::None,
            (Some((word, node)), None) => Found::One(word, node),
            (Some(_), Some(_)) => Found::Several,
        }
    }
}

enum Found<'t, C> {
    None,
    One(&'t str, &'t Node<C>),
    Several,
}

/// How far the words of a line lead.
pub(crate) struct Walk<'t, C> {
    pub node: &'t Node<C>,
    /// The matched words in full.
    pub path: Vec<&'t str>,
}

impl<C> Default for CommandTree<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> CommandTree<C> {
    /// A tree that knows `help` and `exec`.
    pub fn new() -> Self {
        let mut root = Node::new();
        let built_in = [
            Command::with_action(help::WORD.into(), Action::Help)
                .synopsis("[<command>]")
                .help("Explain a command, or list all words that may come first"),
            Command::with_action("exec".into(), Action::Exec)
                .synopsis("[--atomic] [--dry-run] <file>")
                .help(
                    "Run the commands of a file; the first that fails stops it. --atomic: all of them in one step, or \
                     none; --dry-run: only find out whether they could be",
                ),
        ];
        for command in built_in {
            let word = command.path.clone();
            root.words.insert(word, Node { command: Some(command), words: BTreeMap::new() });
        }
        Self { root: Rc::new(root), atomic: None }
    }

    /// Says how the commands of a file are carried out as one change.
    pub fn atomic(&mut self, atomic: Atomic<C>) {
        self.atomic = Some(atomic);
    }

    /// Adds a command; its path must be free.
    pub fn add(&mut self, command: Command<C>) -> Result<(), RegisterError> {
        let word_is_good = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        if !command.path.split(' ').all(word_is_good) {
            return Err(RegisterError::BadPath(command.path));
        }
        let Some(mut node) = Rc::get_mut(&mut self.root) else {
            return Err(RegisterError::InUse(command.path));
        };
        for word in command.path.split(' ') {
            node = node.words.entry(word.to_owned()).or_insert_with(Node::new);
        }
        if node.command.is_some() {
            return Err(RegisterError::Duplicate(command.path));
        }
        node.command = Some(command);
        Ok(())
    }

    /// Follows the words of `tokens` as far as they name sub-commands.
    pub(crate) fn walk(&self, tokens: &[Token]) -> Walk<'_, C> {
        let mut walk = Walk { node: &self.root, path: Vec::new() };
        for token in tokens {
            let Some(Found::One(word, node)) = token.keyword().map(|word| walk.node.find(word)) else {
                break;
            };
            walk.path.push(word);
            walk.node = node;
        }
        walk
    }

    /// Why the words up to `rest` and the first of `rest` are no command.
    pub(crate) fn no_command(&self, line: &str, walk: &Walk<'_, C>, rest: &[Token]) -> CliError {
        let expected: Vec<&str> = walk.node.words.keys().map(String::as_str).collect();
        let Some(token) = rest.first() else {
            let end = line.trim_end().len();
            let message = format!("the command ends too early: expected {}", one_of(&expected));
            return CliError::at(message, line, Span { start: end, end });
        };
        let quoted = quote(&line[token.span.start..token.span.end]);
        if let Some(word) = token.keyword()
            && let Found::Several = walk.node.find(word)
        {
            let candidates: Vec<&str> = walk.node.matching(word).map(|(word, _)| word).collect();
            let message = format!("ambiguous word {quoted}: {}", one_of(&candidates));
            return CliError::at(message, line, token.span);
        }
        let meant = token.keyword().and_then(|word| nearest(word, expected.iter().copied()));
        // Whoever has made a slip looks for the word that was meant, not for a list of all.
        let message = match meant {
            Some(_) if expected.len() > MOST_BESIDE_THE_LIKELY => format!("unknown word {quoted}"),
            _ => format!("unknown word {quoted}, expected {}", one_of(&expected)),
        };
        CliError::at(message, line, token.span).did_you_mean(meant)
    }
}

/// A line that is being run.
struct Line<'a> {
    text: &'a str,
    rights: &'a Rights,
    depth: usize,
}

impl<C: 'static> CommandTree<C> {
    /// Runs one command to its end, with the daemon's rights to files. An empty line, or one with nothing but a comment, does
    /// nothing.
    pub fn execute(&self, state: &mut C, line: &str) -> Result<Reply, CliError> {
        self.start(state, line, &Rights::Daemon)?.finish(state)
    }

    /// Begins a command; what is left to do of it is in the answer ([`Reply::turn`]). Files that it names are opened with `rights`.
    pub fn start(&self, state: &mut C, line: &str, rights: &Rights) -> Result<Reply, CliError> {
        self.start_nested(state, line, rights, 0)
    }

    /// `depth`: how many command files are being run around this line.
    pub(crate) fn start_nested(
        &self,
        state: &mut C,
        line: &str,
        rights: &Rights,
        depth: usize,
    ) -> Result<Reply, CliError> {
        let tokens = tokenize(line)?;
        match tokens.as_slice() {
            [] => Ok(Reply::empty()),
            [words @ .., last] if last.keyword() == Some("?") => self.help(line, words),
            words => self.dispatch(state, Line { text: line, rights, depth }, words),
        }
    }

    fn dispatch(&self, state: &mut C, line: Line<'_>, tokens: &[Token]) -> Result<Reply, CliError> {
        let Line { text: line, rights, depth } = line;
        let walk = self.walk(tokens);
        let rest = &tokens[walk.path.len()..];
        let Some(command) = &walk.node.command else {
            return Err(self.no_command(line, &walk, rest));
        };
        let mut args = Args::new(line, rest, rights);
        match &command.action {
            Action::Run(handler) => handler(state, &mut args).map_err(|error| {
                // `show interface adress`: taken for a name, and meant as a sub-command.
                match rest.first() {
                    Some(first) if error.position == Some(first.span.start) => {
                        let words = walk.node.words.keys().map(String::as_str);
                        let meant = first.keyword().and_then(|word| nearest(word, words));
                        error.did_you_mean(meant)
                    }
                    _ => error,
                }
            }),
            Action::Help => self.help(line, rest),
            Action::Exec => script::exec(self, &mut args, depth),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A toy engine: an interface table and a log of what was done.
    #[derive(Default)]
    pub(crate) struct Toy {
        pub interfaces: Vec<String>,
        pub log: Vec<String>,
    }

    pub(crate) fn toy_tree() -> CommandTree<Toy> {
        let mut tree = CommandTree::new();
        let log = |what: &'static str| {
            move |toy: &mut Toy, args: &mut Args<'_>| {
                args.finish()?;
                toy.log.push(what.to_owned());
                Ok(Reply::empty())
            }
        };
        let commands = [
            Command::new("show version", |_, args: &mut Args<'_>| {
                args.finish()?;
                Ok(Reply::new("0.1", |version| format!("weft {version}")))
            })
            .help("The version"),
            Command::new("show interface", |toy: &mut Toy, args: &mut Args<'_>| {
                let known = toy.interfaces.clone();
                if args.is_empty() {
                    return Ok(Reply::new(known, |names| names.join("\n")));
                }
                let name = args.parse_with("interface", |word| {
                    known.iter().find(|name| *name == word).cloned().ok_or("no such interface")
                })?;
                args.finish()?;
                Ok(Reply::new(name, |name| format!("{name} up")))
            })
            .synopsis("[<interface>]")
            .help("State and counters of interfaces")
            .completer(|toy, words| match words {
                [] => toy.interfaces.iter().map(|n| Candidate::new(n, "interface")).collect(),
                _ => Vec::new(),
            }),
            Command::new("show interface address", log("addresses")).help("Addresses"),
            Command::new("show interfaces-all", log("all")).help("All of them"),
            Command::new("set interface state", |toy: &mut Toy, args: &mut Args<'_>| {
                let name = args.word("interface")?.to_owned();
                let state = args.one_of(&[("up", "up"), ("down", "down")])?;
                args.finish()?;
                toy.log.push(format!("{name} {state}"));
                Ok(Reply::empty())
            })
            .synopsis("<interface> up|down")
            .help("Bring an interface up or down"),
        ];
        for command in commands {
            tree.add(command).unwrap();
        }
        tree
    }

    pub(crate) fn toy() -> Toy {
        Toy { interfaces: vec!["eth0".into(), "eth1".into(), "tap0".into()], log: Vec::new() }
    }

    fn run(line: &str) -> String {
        toy_tree().execute(&mut toy(), line).unwrap().to_text()
    }

    fn fails(line: &str) -> (String, Option<String>, Option<usize>) {
        let error = toy_tree().execute(&mut toy(), line).err().expect("the line must fail");
        (error.message, error.word, error.position)
    }

    #[test]
    fn any_unique_prefix_will_do() {
        assert_eq!(run("show version"), "weft 0.1\n");
        assert_eq!(run("sh v"), "weft 0.1\n");
        assert_eq!(run("show interface eth0"), "eth0 up\n");
        assert_eq!(run(""), "");
        assert_eq!(run("  # nothing"), "");
    }

    #[test]
    fn an_exact_word_wins() {
        assert_eq!(run("show interface"), "eth0\neth1\ntap0\n");
        assert_eq!(fails("sh int").0, "ambiguous word \"int\": interface or interfaces-all");
    }

    #[test]
    fn sub_commands_come_before_arguments() {
        let (tree, mut toy) = (toy_tree(), toy());
        tree.execute(&mut toy, "sh interface addr").unwrap();
        tree.execute(&mut toy, "set int st eth0 up").unwrap();
        assert_eq!(toy.log, ["addresses", "eth0 up"]);
    }

    #[test]
    fn unknown_words_are_quoted_and_placed() {
        assert_eq!(
            fails(" show verion"),
            (
                "unknown word \"verion\", expected interface, interfaces-all or version \
                 (did you mean \"version\"?)"
                    .into(),
                Some("verion".into()),
                Some(6)
            )
        );
        assert_eq!(
            fails("xyzzy"),
            (
                "unknown word \"xyzzy\", expected exec, help, set or show".into(),
                Some("xyzzy".into()),
                Some(0)
            )
        );
        assert_eq!(
            fails("set interface "),
            ("the command ends too early: expected state".into(), None, Some(13))
        );
        assert_eq!(fails("\"show\" version").1.as_deref(), Some("\"show\""));
    }

    #[test]
    fn an_argument_that_was_meant_as_a_sub_command() {
        let (message, word, _) = fails("show interface adress");
        assert_eq!(
            message,
            "expected interface, found \"adress\": no such interface (did you mean \"address\"?)"
        );
        assert_eq!(word.as_deref(), Some("adress"));
    }

    #[test]
    fn arguments_fail_before_anything_is_done() {
        let (tree, mut toy) = (toy_tree(), toy());
        assert!(tree.execute(&mut toy, "set interface state eth0 up now").is_err());
        assert_eq!(toy.log, [""; 0]);
    }

    #[test]
    fn paths_are_checked() {
        let command = |path: &str| Command::new(path, |_: &mut Toy, _| Ok(Reply::empty()));
        let mut tree = toy_tree();
        for bad in ["", "show  version", " show", "show Version", "show \"x\""] {
            assert_eq!(tree.add(command(bad)), Err(RegisterError::BadPath(bad.into())));
        }
        assert_eq!(tree.add(command("show version")), Err(RegisterError::Duplicate("show version".into())));
    }
}
