// SPDX-License-Identifier: Apache-2.0
//! `exec --atomic FILE`: the commands of a file as one change, made as a whole or not at all.
//!
//! Only the state knows what a change is. It is told to collect what commands would change, and then to make all of it; a
//! command that does anything else ([`Command::change`] tells) is refused with its line.
//!
//! [`Command::change`]: crate::Command::change

use std::path::Path;

use weft_background::Rights;

use crate::{
    error::CliError,
    script::{NumberedLine, ScriptError, logical_lines},
    token::tokenize,
    tree::CommandTree,
};

/// What becomes of the changes that were collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// They are made.
    Make,
    /// It is found out whether they could be made.
    Try,
    /// They are forgotten.
    Abandon,
}

/// Steps that are refused, counted from 0 in the order in which they were collected; `None`: no step in particular.
pub type RefusedSteps = Vec<(Option<usize>, CliError)>;

/// How a state collects changes.
pub struct Atomic<C> {
    /// From now on commands collect what they would change.
    pub begin: fn(&mut C),
    /// How many steps there are so far.
    pub steps: fn(&C) -> usize,
    /// Commands change the state again. On an error nothing was changed.
    pub end: fn(&mut C, End) -> Result<(), RefusedSteps>,
}

impl<C> Clone for Atomic<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Atomic<C> {}

impl<C: 'static> CommandTree<C> {
    /// Carries out the commands of a file, `text`, as one change. All of it is one turn: between two of them others would collect
    /// too, and see a part of it.
    pub(crate) fn run_as_one(
        &self,
        state: &mut C,
        path: &Path,
        text: String,
        rights: &Rights,
        end: End,
    ) -> Result<(), ScriptError> {
        let Some(atomic) = &self.atomic else {
            return Err(ScriptError::NotAtomic(path.to_owned()));
        };
        let lines: Vec<NumberedLine> = logical_lines(text).collect();
        let mut refused: Vec<(NumberedLine, CliError)> = Vec::new();
        // Of each line, how many steps there are with it.
        let mut steps = Vec::new();
        (atomic.begin)(state);
        for line in &lines {
            if let Err(error) = self.collect(state, &line.text, rights) {
                refused.push((line.clone(), error));
            }
            steps.push((atomic.steps)(state));
        }
        let end = if refused.is_empty() { end } else { End::Abandon };
        let mut general = None;
        for (step, error) in (atomic.end)(state, end).err().unwrap_or_default() {
            let line = step.and_then(|step| lines.get(steps.partition_point(|steps| *steps <= step)));
            match line {
                // One line may be many steps.
                Some(line) if refused.last().is_some_and(|(last, _)| last == line) => {}
                Some(line) => refused.push((line.clone(), error)),
                None => general = Some(error),
            }
        }
        match (refused.is_empty(), general) {
            (true, None) => Ok(()),
            (true, Some(error)) => Err(ScriptError::Whole { path: path.to_owned(), error }),
            (false, _) => Err(ScriptError::Refused { path: path.to_owned(), refused }),
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
    use crate::{Args, Command, Reply};

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
            begin: |words| words.collected = Some(Vec::new()),
            steps: |words| words.collected.as_ref().map_or(0, Vec::len),
            end: |words, end| {
                let collected = words.collected.take().unwrap_or_default();
                let bad: RefusedSteps = (0..)
                    .zip(&collected)
                    .filter(|(_, word)| *word == "bad")
                    .map(|(step, _)| (Some(step), CliError::new("a bad word")))
                    .collect();
                match end {
                    End::Abandon => Ok(()),
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
            Err("FILE:2: a bad word\nFILE:3: a bad word".into())
        );
        assert_eq!(exec("dry-bad", "--atomic --dry-run", "add bad"), Err("FILE:1: a bad word".into()));
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
    fn a_command_that_changes_nothing_is_refused_with_its_line() {
        assert_eq!(
            exec("show", "--atomic", "add a\nshow\nad b\nnonsense"),
            Err("FILE:2: 'show' cannot be part of one change\nshow\n^^^^\n\
                 FILE:4: unknown word \"nonsense\", expected add, exec, help or show\nnonsense\n^^^^^^^^"
                .into())
        );
    }
}
