// SPDX-License-Identifier: Apache-2.0
//! Command files: `exec FILE`, the daemon's `startup-config`, and what is piped into `weftctl`.
//!
//! One command per line; `#` starts a comment; a backslash at the end of a line joins the next one.
//! The first command that fails stops the file, so that nothing is built on a missing piece.

use std::{fs, io, path::Path};

use crate::{args::Args, atomic::End, error::CliError, reply::Reply, tree::CommandTree};

/// `exec` inside `exec` inside ...: deep enough for people, and it ends for a file that runs itself.
const DEEPEST_NESTING: usize = 8;

/// Joins physical lines into commands.
#[derive(Debug, Default)]
pub struct LineJoiner {
    pending: String,
    first: usize,
    read: usize,
}

/// A command and the number (from 1) of the line on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedLine {
    pub number: usize,
    pub text: String,
}

impl LineJoiner {
    /// Takes the next physical line; gives the command if it is complete.
    pub fn push(&mut self, line: &str) -> Option<NumberedLine> {
        let line = line.trim_end_matches(['\n', '\r']);
        self.read += 1;
        if self.pending.is_empty() {
            self.first = self.read;
        }
        match continued(line) {
            Some(line) => {
                self.pending.push_str(line);
                self.pending.push(' ');
                None
            }
            None => {
                self.pending.push_str(line);
                self.finish()
            }
        }
    }

    /// The input has ended: gives what a last backslash left open.
    pub fn finish(&mut self) -> Option<NumberedLine> {
        let text = std::mem::take(&mut self.pending);
        (!text.is_empty()).then_some(NumberedLine { number: self.first, text })
    }
}

/// `line` without its last character, if that is a backslash which neither another backslash nor
/// a comment makes ordinary.
fn continued(line: &str) -> Option<&str> {
    let joined = line.strip_suffix('\\')?;
    let (mut quote, mut escaped) = (None, false);
    for c in joined.chars() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', None | Some('"')) => escaped = true,
            ('#', None) => return None,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            _ => {}
        }
    }
    (!escaped).then_some(joined)
}

/// All commands of `text`.
pub fn logical_lines(text: &str) -> impl Iterator<Item = NumberedLine> {
    let mut joiner = LineJoiner::default();
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        for line in lines.by_ref() {
            if let Some(line) = joiner.push(line) {
                return Some(line);
            }
        }
        joiner.finish()
    })
}

/// Why a command file stopped.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("cannot read {path}: it is not a regular file")]
    NotAFile { path: String },
    #[error("{}", describe(path, line, error))]
    Command { path: String, line: NumberedLine, error: CliError },
    #[error("{path} is not run: {DEEPEST_NESTING} command files are already running each other")]
    TooDeep { path: String },
    #[error("{path} is not run: there are no commands here that can be made as one change")]
    NotAtomic { path: String },
    #[error("{}", describe_all(path, refused))]
    Refused { path: String, refused: Vec<(NumberedLine, CliError)> },
    #[error("{path}: {error}")]
    Whole { path: String, error: CliError },
}

fn describe_all(path: &str, refused: &[(NumberedLine, CliError)]) -> String {
    let lines: Vec<String> = refused.iter().map(|(line, error)| describe(path, line, error)).collect();
    lines.join("\n")
}

/// An error with its place, and an excerpt of the line if one word is to blame.
fn describe(path: &str, line: &NumberedLine, error: &CliError) -> String {
    let place = format!("{path}:{}: {error}", line.number);
    match error.excerpt(&line.text) {
        Some(excerpt) => format!("{place}\n{excerpt}"),
        None => place,
    }
}

/// The text of a command file.
pub(crate) fn read(path: &Path) -> Result<String, ScriptError> {
    let name = path.display().to_string();
    let failed = |source| ScriptError::Read { path: name.clone(), source };
    // Opening a FIFO would block the main thread, so the type is looked at first.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ScriptError::NotAFile { path: name });
    }
    fs::read_to_string(path).map_err(failed)
}

impl<C> CommandTree<C> {
    /// Runs the commands of the file `path`.
    pub fn run_file(&self, state: &mut C, path: &Path) -> Result<Reply, ScriptError> {
        self.run_file_nested(state, path, 0)
    }

    fn run_file_nested(&self, state: &mut C, path: &Path, depth: usize) -> Result<Reply, ScriptError> {
        let name = path.display().to_string();
        if depth >= DEEPEST_NESTING {
            return Err(ScriptError::TooDeep { path: name });
        }
        let text = read(path)?;
        let mut replies = Vec::new();
        for line in logical_lines(&text) {
            match self.execute_nested(state, &line.text, depth + 1) {
                Ok(reply) if reply.is_empty() => {}
                Ok(reply) => replies.push(reply),
                Err(error) => return Err(ScriptError::Command { path: name, line, error }),
            }
        }
        Ok(Reply::sequence(replies))
    }

    /// The command `exec <file>`.
    pub(crate) fn exec(&self, state: &mut C, args: &mut Args<'_>, depth: usize) -> Result<Reply, CliError> {
        let (mut atomic, mut dry) = (false, false);
        while !(args.is_empty() || atomic && dry) {
            if args.keyword("--atomic") {
                atomic = true;
            } else if args.keyword("--dry-run") {
                dry = true;
            } else {
                break;
            }
        }
        let path = Path::new(args.word("file name")?);
        args.finish()?;
        let done = match (atomic, dry) {
            (false, false) => self.run_file_nested(state, path, depth),
            (_, false) => self.run_file_atomically(state, path, End::Make),
            (_, true) => self.run_file_atomically(state, path, End::Try),
        };
        done.map_err(|error| match error {
            ScriptError::Command { .. } | ScriptError::Refused { .. } | ScriptError::Whole { .. } => {
                CliError::new(error)
            }
            _ => args.reject(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::tree::tests::{toy, toy_tree};

    fn lines(text: &str) -> Vec<(usize, String)> {
        logical_lines(text).map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn lines_are_joined() {
        assert_eq!(
            lines("a \\\n  b\r\n\nc # d \\\ne \\\\\n'#' \\\nf \\"),
            [
                (1, "a    b".to_owned()),
                (4, "c # d \\".to_owned()),
                (5, "e \\\\".to_owned()),
                (6, "'#'  f  ".to_owned()),
            ]
        );
        assert_eq!(lines(""), []);
    }

    /// A file of its own for each test, gone with it.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("weft-cli-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_file_runs_to_its_end() {
        let file = File::new("good", "# set-up\nset interface state \\\n eth0 up\nshow version\n");
        let (tree, mut toy) = (toy_tree(), toy());
        let reply = tree.run_file(&mut toy, &file.0).unwrap();
        assert_eq!(toy.log, ["eth0 up"]);
        assert_eq!(reply.to_text(), "weft 0.1\n");
        assert_eq!(reply.to_json().unwrap().get(), r#"["0.1"]"#);
    }

    #[test]
    fn the_first_failure_stops_it() {
        let file = File::new(
            "bad",
            "set interface state eth0 up\n\nset interface stat eth1 upp\nset interface state tap0 up",
        );
        let (tree, mut toy) = (toy_tree(), toy());
        let error = tree.execute(&mut toy, &format!("exec {}", file.0.display())).err().unwrap();
        assert_eq!(
            error.message,
            format!(
                "{}:3: expected up or down, found \"upp\" (did you mean \"up\"?)\n\
                 set interface stat eth1 upp\n                        ^^^",
                file.0.display()
            )
        );
        assert_eq!(error.position, None, "the word is in the file, not in the command");
        assert_eq!(toy.log, ["eth0 up"]);
    }

    #[test]
    fn only_readable_regular_files() {
        let (tree, mut toy) = (toy_tree(), toy());
        let error = tree.execute(&mut toy, "exec /nonexistent/file").err().unwrap();
        assert_eq!(error.message, "cannot read /nonexistent/file: No such file or directory (os error 2)");
        assert_eq!(error.position, Some(5));
        let error = tree.execute(&mut toy, "exec /tmp").err().unwrap();
        assert_eq!(error.message, "cannot read /tmp: it is not a regular file");
    }

    #[test]
    fn a_file_that_runs_itself_ends() {
        let file = File::new("self", "");
        fs::write(&file.0, format!("exec {}", file.0.display())).unwrap();
        let error = toy_tree().run_file(&mut toy(), &file.0).err().unwrap();
        assert!(error.to_string().contains("already running each other"), "{error}");
    }
}
