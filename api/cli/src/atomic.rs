// SPDX-License-Identifier: Apache-2.0
//! `exec --atomic FILE`: the commands of a file as one change, made as a whole or not at all.
//!
//! Only the state knows what a change is. It is told to collect what commands would change, and then to make all of it; a
//! command that does anything else ([`Command::change`] tells) is refused with its line.
//!
//! The lines are read a turn at a time. Between two turns the state collects nothing, so that others go on as ever, and what
//! was collected lies here. All of it is judged and made in a single turn, so that nobody sees a part of it. What a file with many
//! faults costs and answers is bounded by [`MOST_REFUSED`].
//!
//! [`Command::change`]: crate::Command::change

use std::any::Any;
use std::path::{Path, PathBuf};

use weft_background::Rights;

use crate::{
    error::CliError,
    reply::{Audience, Slice},
    script::{NumberedLine, ScriptError, logical_lines},
    token::tokenize,
    tree::CommandTree,
};

/// Refused lines that an answer tells of.
const MOST_REFUSED: usize = 100;

/// What becomes of the changes that were collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// They are made.
    Make,
    /// It is found out whether they could be made.
    Try,
}

/// Steps that are refused, counted from 0 in the order in which they were collected; `None`: no step in particular.
pub type RefusedSteps = Vec<(Option<usize>, CliError)>;

/// What a state has collected, as it is kept between two turns.
pub type Collected = Box<dyn Any>;

/// How a state collects changes.
pub struct Atomic<C> {
    /// From now on commands collect what they would change, beside what was collected before. Refused if that may mean
    /// something else by now.
    pub collect: fn(&mut C, Option<Collected>) -> Result<(), CliError>,
    /// How many steps there are so far.
    pub steps: fn(&C) -> usize,
    /// Commands change the state again. What was collected.
    pub pause: fn(&mut C) -> Collected,
    /// As `pause`, and what was collected is made or tried. On an error nothing was changed.
    pub end: fn(&mut C, End) -> Result<(), RefusedSteps>,
}

impl<C> Clone for Atomic<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Atomic<C> {}

/// A file that is being collected.
pub(crate) struct Gathering {
    path: PathBuf,
    end: End,
    lines: Box<dyn Iterator<Item = NumberedLine>>,
    collected: Option<Collected>,
    /// The lines that are steps, and how many steps there are with each.
    noted: Vec<(usize, NumberedLine)>,
    refused: Vec<(NumberedLine, CliError)>,
}

impl Gathering {
    /// Of the file at `path`, which has this text.
    pub fn new(path: &Path, text: String, end: End) -> Gathering {
        let lines = Box::new(logical_lines(text));
        let path = path.to_owned();
        Gathering { path, end, lines, collected: None, noted: Vec::new(), refused: Vec::new() }
    }

    fn refuse(&mut self, rest: Option<String>) -> ScriptError {
        self.refused.sort_by_key(|(line, _)| line.number);
        ScriptError::Refused { path: self.path.clone(), refused: std::mem::take(&mut self.refused), rest }
    }
}

impl<C: 'static> CommandTree<C> {
    /// Does a turn of a file that is carried out as one change. Says whether that was all.
    pub(crate) fn run_as_one(
        &self,
        state: &mut C,
        gathering: &mut Gathering,
        rights: &Rights,
        slice: &Slice,
        audience: &Audience,
    ) -> Result<bool, ScriptError> {
        let Some(atomic) = &self.atomic else {
            return Err(ScriptError::NotAtomic(gathering.path.clone()));
        };
        let whole = |path: &Path, error| ScriptError::Whole { path: path.to_owned(), error };
        if audience.has_left() {
            let error = CliError::new("the client has left: nothing is changed");
            return Err(whole(&gathering.path, error));
        }
        (atomic.collect)(state, gathering.collected.take()).map_err(|error| whole(&gathering.path, error))?;
        let mut steps = (atomic.steps)(state);
        while let Some(line) = gathering.lines.next() {
            match self.collect(state, &line.text, rights) {
                Ok(()) => {
                    let before = std::mem::replace(&mut steps, (atomic.steps)(state));
                    if steps > before {
                        gathering.noted.push((steps, line));
                    }
                }
                Err(error) => gathering.refused.push((line, error)),
            }
            if gathering.refused.len() >= MOST_REFUSED {
                drop((atomic.pause)(state));
                let rest =
                    format!("{MOST_REFUSED} lines are refused, and those after them were not looked at");
                return Err(gathering.refuse(Some(rest)));
            }
            if slice.is_over() {
                gathering.collected = Some((atomic.pause)(state));
                return Ok(false);
            }
        }
        // Lines that cannot be read do not keep the others from being judged.
        let end = if gathering.refused.is_empty() { gathering.end } else { End::Try };
        let (mut general, mut more, mut last) = (None, 0, None);
        for (step, error) in (atomic.end)(state, end).err().unwrap_or_default() {
            let noted = &gathering.noted;
            let line = step.and_then(|step| noted.get(noted.partition_point(|(steps, _)| *steps <= step)));
            match line {
                // One line may be many steps.
                Some((_, line)) if last == Some(line.number) => {}
                Some((_, line)) => {
                    last = Some(line.number);
                    match gathering.refused.len() {
                        ..MOST_REFUSED => gathering.refused.push((line.clone(), error)),
                        _ => more += 1,
                    }
                }
                None => general = Some(error),
            }
        }
        match (gathering.refused.is_empty(), general) {
            (true, None) => Ok(true),
            (true, Some(error)) => Err(whole(&gathering.path, error)),
            (false, general) => {
                let more = (more > 0).then(|| format!("{more} more lines are refused"));
                Err(gathering.refuse(more.or_else(|| general.map(|error| error.to_string()))))
            }
        }
    }

    /// Runs a command while the state collects changes; one that does anything else is refused.
    pub fn collect(&self, state: &mut C, line: &str, rights: &Rights) -> Result<(), CliError> {
        let tokens = tokenize(line)?;
        let Some(first) = tokens.first() else {
            return Ok(());
        };
        let walk = self.walk(&tokens);
        let refused = || {
            let message = format!("'{}' cannot be part of one change", walk.path.join(" "));
            Err(CliError::at(message, line, first.span))
        };
        if walk.node.command.as_ref().is_some_and(|command| !command.is_change) {
            return refused();
        }
        // Turns would come after the end of the change.
        match self.start_nested(state, line, rights, 0)?.is_work() {
            true => refused(),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Args, Command, Reply, Turn};

    /// Adds words to a list; `bad` is refused when all is made.
    #[derive(Default)]
    struct Words {
        list: Vec<String>,
        collected: Option<Vec<String>>,
    }

    fn tree() -> CommandTree<Words> {
        let mut tree = CommandTree::new();
        let add = |words: &mut Words, args: &mut Args<'_>| {
            while !args.is_empty() {
                let word = args.word("word")?.to_owned();
                words.collected.as_mut().unwrap_or(&mut words.list).push(word);
            }
            Ok(Reply::empty())
        };
        tree.add(Command::new("add", add).change()).unwrap();
        tree.add(Command::new("show", |_: &mut Words, _: &mut Args<'_>| Ok(Reply::empty()))).unwrap();
        tree.atomic(Atomic {
            collect: |words, before| {
                words.collected = Some(before.map_or_else(Vec::new, |before| *before.downcast().unwrap()));
                Ok(())
            },
            pause: |words| Box::new(words.collected.take().unwrap_or_default()),
            steps: |words| words.collected.as_ref().map_or(0, Vec::len),
            end: |words, end| {
                let collected = words.collected.take().unwrap_or_default();
                let bad: RefusedSteps = (0..)
                    .zip(&collected)
                    .filter(|(_, word)| *word == "bad")
                    .map(|(step, _)| (Some(step), CliError::new("a bad word")))
                    .collect();
                match end {
                    _ if !bad.is_empty() => Err(bad),
                    End::Try => Ok(()),
                    End::Make => {
                        words.list.extend(collected);
                        Ok(())
                    }
                }
            },
        });
        tree
    }

    /// What a file with this text does: the words that are there afterwards, or why it was refused.
    fn exec(name: &str, options: &str, text: &str) -> Result<Vec<String>, String> {
        let path = std::env::temp_dir().join(format!("weft-cli-atomic-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        let mut words = Words::default();
        let done = tree().execute(&mut words, &format!("exec {options} {}", path.display()));
        fs::remove_file(&path).unwrap();
        assert!(words.collected.is_none());
        match done {
            Ok(_) => Ok(words.list),
            Err(error) => {
                assert_eq!(words.list, [""; 0], "nothing is left");
                Err(error.message.replace(&path.display().to_string(), "FILE"))
            }
        }
    }

    #[test]
    fn all_of_a_file_or_nothing() {
        assert_eq!(
            exec("good", "--atomic", "add a b\n# note\n\nadd c"),
            Ok(["a", "b", "c"].map(Into::into).to_vec())
        );
        assert_eq!(exec("dry", "--dry-run", "add a b\nadd c"), Ok(Vec::new()));
        assert_eq!(
            exec("bad", "--atomic", "add a b\nadd x bad bad\nadd bad"),
            Err("FILE:2: a bad word\nadd x bad bad\nFILE:3: a bad word\nadd bad".into())
        );
        assert_eq!(
            exec("dry-bad", "--atomic --dry-run", "add bad"),
            Err("FILE:1: a bad word\nadd bad".into())
        );
    }

    #[test]
    fn only_regular_files_and_with_the_rights_of_the_client() {
        let path = std::env::temp_dir().join(format!("weft-cli-atomic-{}-rights", std::process::id()));
        fs::write(&path, "add a").unwrap();
        let (tree, mut words) = (tree(), Words::default());
        for options in ["--atomic", "--dry-run"] {
            let mut fails = |path: &Path, rights: &Rights| {
                let work =
                    tree.start(&mut words, &format!("exec {options} {}", path.display()), rights).unwrap();
                work.finish(&mut words).err().expect("it is not read").message
            };
            assert!(fails(&path, &Rights::Stranger).contains("a client of TCP has none"));
            let device = fails(Path::new("/dev/zero"), &Rights::Daemon);
            assert_eq!(device, "cannot read /dev/zero: it is a device, not a regular file");
        }
        fs::remove_file(&path).unwrap();
        assert!(words.list.is_empty() && words.collected.is_none());
    }

    #[test]
    fn lines_that_cannot_be_read_do_not_keep_others_from_being_judged() {
        assert_eq!(
            exec("both", "--atomic", "add a\nadd bad\nad( b\nadd bad"),
            Err("FILE:2: a bad word\nadd bad\n\
                 FILE:3: unknown word \"ad(\" (did you mean \"add\"?)\nad( b\n^^^\n\
                 FILE:4: a bad word\nadd bad"
                .replace("(did", ", expected add, exec, help or show (did")
                .replace(" ,", ",")),
        );
    }

    #[test]
    fn a_file_of_junk_gives_way_and_its_answer_is_short() {
        for (name, text) in [
            ("junk", "jumble of words\n".repeat(300_000)),
            ("judged", "add bad\n".repeat(300_000)),
            ("wide", format!("add {}", "bad ".repeat(1_000_000))),
        ] {
            let error = exec(name, "--atomic", &text).unwrap_err();
            assert!(error.len() < 20_000, "{name}: {}", error.len());
        }
        let path = std::env::temp_dir().join(format!("weft-cli-atomic-{}-turns", std::process::id()));
        fs::write(&path, "add a\n".repeat(300_000)).unwrap();
        let (tree, mut words, mut turns) = (tree(), Words::default(), 0);
        let line = format!("exec --atomic {}", path.display());
        let mut work = tree.start(&mut words, &line, &Rights::Daemon).unwrap();
        loop {
            match work.turn(&mut words) {
                Turn::Done(end) => break drop(end.unwrap()),
                Turn::More => turns += 1,
                Turn::Waits => std::thread::yield_now(),
            }
            assert!(words.collected.is_none() && words.list.is_empty(), "between two turns nothing is begun");
        }
        fs::remove_file(&path).unwrap();
        assert!(turns > 1 && words.list.len() == 300_000, "{turns} turns");
    }

    #[test]
    fn a_command_that_changes_nothing_is_refused_with_its_line() {
        assert_eq!(
            exec("show", "--atomic", "add a\nshow\nad b\nnonsense"),
            Err("FILE:2: 'show' cannot be part of one change\nshow\n^^^^\n\
                 FILE:4: unknown word \"nonsense\", expected add, exec, help or show\nnonsense\n^^^^^^^^"
                .into())
        );
    }
}
