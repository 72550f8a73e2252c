// SPDX-License-Identifier: Apache-2.0
//! Command files: `exec FILE`, the daemon's `startup-config`, and what is piped into `weftctl`.
//!
//! One command per line; `#` starts a comment; a backslash at the end of a line joins the next one.
//! The first command that fails stops the file, so that nothing is built on a missing piece.
//!
//! A file is read on a thread of its own, with the rights of whoever names it, and run a turn at a time. When nobody waits for its
//! answer any more, the command that has begun is finished, and no other is begun.

use std::path::{Path, PathBuf};

use weft_background::{Background, Rights, file, file::FileError};
use weft_words::WIDEST;

use crate::{
    args::Args,
    atomic::{End, Gathering},
    error::CliError,
    reply::{Audience, Reply, Slice, Turn},
    tree::CommandTree,
};

/// Bytes of a command file: some 300,000 routes.
const LONGEST: u64 = 16 << 20;

/// `exec` inside `exec` inside ...: deep enough for people, and it ends for a file that runs itself.
const DEEPEST_NESTING: usize = 8;

/// What some editors put before a text in UTF-8 to mark it as such; it is no part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

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
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.read == 0).unwrap_or(line);
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

/// All commands of a text.
pub fn logical_lines(text: impl Into<String>) -> impl Iterator<Item = NumberedLine> {
    let (mut text, mut at, mut joiner) = (text.into(), 0, LineJoiner::default());
    std::iter::from_fn(move || {
        while at < text.len() {
            let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1);
            let line = joiner.push(&text[at..end]);
            at = end;
            if line.is_some() {
                return line;
            }
        }
        text = String::new();
        at = 0;
        joiner.finish()
    })
}

/// Why a command file stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScriptError {
    #[error(transparent)]
    Read(#[from] FileError),
    #[error("{}", describe(path, line, error))]
    Command { path: PathBuf, line: NumberedLine, error: CliError },
    #[error("{} is not run: {DEEPEST_NESTING} command files are already running each other", .0.display())]
    TooDeep(PathBuf),
    #[error("{} is not run: there are no commands here that can be made as one change", .0.display())]
    NotAtomic(PathBuf),
    #[error("{}", describe_all(path, refused, rest))]
    Refused { path: PathBuf, refused: Vec<(NumberedLine, CliError)>, rest: Option<String> },
    #[error("{}:{line}: the client has left: this line and those after it are not run", .path.display())]
    Left { path: PathBuf, line: usize },
    #[error("{}: {error}", path.display())]
    Whole { path: PathBuf, error: CliError },
}

/// All of them, and what is to be said of the rest of the file.
fn describe_all(path: &Path, refused: &[(NumberedLine, CliError)], rest: &Option<String>) -> String {
    let lines = refused.iter().map(|(line, error)| describe(path, line, error));
    let rest = rest.iter().map(|rest| format!("{}: {rest}", path.display()));
    lines.chain(rest).collect::<Vec<_>>().join("\n")
}

/// An error with its place and the line; with carets if one word is to blame.
fn describe(path: &Path, line: &NumberedLine, error: &CliError) -> String {
    let place = format!("{}:{}: {error}", path.display(), line.number);
    match error.excerpt(&line.text) {
        Some(excerpt) => format!("{place}\n{excerpt}"),
        None => format!("{place}\n{}", &line.text[..line.text.floor_char_boundary(WIDEST)]),
    }
}

/// How the commands of a file are carried out.
#[derive(Clone, Copy)]
enum How {
    /// A turn at a time.
    OneByOne,
    /// As one change, in a single turn: nobody sees a part of it.
    AsOne(End),
}

/// The command `exec <file>`.
pub(crate) fn exec<C: 'static>(
    tree: &CommandTree<C>,
    args: &mut Args<'_>,
    depth: usize,
) -> Result<Reply, CliError> {
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
    let how = match (atomic, dry) {
        (false, false) => How::OneByOne,
        (true, false) => How::AsOne(End::Make),
        (_, true) => How::AsOne(End::Try),
    };
    let path = PathBuf::from(args.word("file name")?);
    args.finish()?;
    let place = args.place();
    Ok(run(tree, (path, how), args.rights(), depth, move |error| match error {
        // The word is in the file, not in the command.
        ScriptError::Command { .. }
        | ScriptError::Refused { .. }
        | ScriptError::Left { .. }
        | ScriptError::Whole { .. } => CliError::new(error),
        _ => CliError { message: error.to_string(), ..place.clone() },
    }))
}

impl<C: 'static> CommandTree<C> {
    /// Runs the commands of a file. The answer is work, a turn at a time.
    pub fn run_file(&self, path: &Path, rights: &Rights) -> Reply {
        run(self, (path.to_owned(), How::OneByOne), rights, 0, CliError::new)
    }
}

fn run<C: 'static>(
    tree: &CommandTree<C>,
    (path, how): (PathBuf, How),
    rights: &Rights,
    depth: usize,
    put: impl Fn(ScriptError) -> CliError + 'static,
) -> Reply {
    let audience = Audience::default();
    let mut script = Script {
        stage: Stage::Named,
        path,
        how,
        rights: rights.clone(),
        depth,
        replies: Vec::new(),
        audience: audience.clone(),
    };
    let tree = tree.clone();
    Reply::in_turns_for(&audience, move |state: &mut C| match script.turn(&tree, state) {
        Ok(Progress::More) => Turn::More,
        Ok(Progress::Waits) => Turn::Waits,
        Ok(Progress::Done) => Turn::Done(Ok(script.answer())),
        Err(error) => Turn::Done(Err(put(error))),
    })
}

/// A file that is being run.
struct Script {
    path: PathBuf,
    how: How,
    rights: Rights,
    /// How many are being run around it.
    depth: usize,
    stage: Stage,
    replies: Vec<Reply>,
    audience: Audience,
}

enum Stage {
    Named,
    Reading(Background<Result<String, FileError>>),
    Running { lines: Box<dyn Iterator<Item = NumberedLine>>, current: Option<(NumberedLine, Reply)> },
    Gathering(Gathering),
}

enum Progress {
    More,
    Waits,
    Done,
}

impl Script {
    fn turn<C: 'static>(&mut self, tree: &CommandTree<C>, state: &mut C) -> Result<Progress, ScriptError> {
        let slice = Slice::begin();
        match &mut self.stage {
            Stage::Named if self.depth >= DEEPEST_NESTING => Err(ScriptError::TooDeep(self.path.clone())),
            Stage::Named if matches!(self.how, How::AsOne(_)) && tree.atomic.is_none() => {
                Err(ScriptError::NotAtomic(self.path.clone()))
            }
            Stage::Named => {
                let path = self.path.clone();
                let read = Background::start(&self.rights, move || file::read_text(&path, LONGEST));
                self.stage = Stage::Reading(read.map_err(FileError::from)?);
                Ok(Progress::Waits)
            }
            Stage::Reading(read) => match read.poll().map_err(|error| FileError::Thread(error.into()))? {
                None => Ok(Progress::Waits),
                Some(text) if let How::AsOne(end) = self.how => {
                    self.stage = Stage::Gathering(Gathering::new(&self.path, text?, end));
                    Ok(Progress::More)
                }
                Some(text) => {
                    self.stage = Stage::Running { lines: Box::new(logical_lines(text?)), current: None };
                    Ok(Progress::More)
                }
            },
            Stage::Gathering(gathering) => {
                match tree.run_as_one(state, gathering, &self.rights, &slice, &self.audience)? {
                    true => Ok(Progress::Done),
                    false => Ok(Progress::More),
                }
            }
            Stage::Running { lines, current } => {
                while !slice.is_over() {
                    let (line, mut reply) = match current.take() {
                        Some(current) => current,
                        None => {
                            let Some(line) = lines.next() else {
                                return Ok(Progress::Done);
                            };
                            if self.audience.has_left() {
                                return Err(ScriptError::Left { path: self.path.clone(), line: line.number });
                            }
                            let depth = self.depth + 1;
                            match tree.start_nested(state, &line.text, &self.rights, depth) {
                                Ok(reply) => (line, reply),
                                Err(error) => return Err(self.failed(line, error)),
                            }
                        }
                    };
                    if self.audience.has_left() {
                        reply.leave();
                    }
                    match reply.turn(state) {
                        Turn::Done(Ok(reply)) if reply.is_work() => *current = Some((line, reply)),
                        Turn::Done(Ok(reply)) if reply.is_empty() => {}
                        Turn::Done(Ok(reply)) => self.replies.push(reply),
                        Turn::Done(Err(error)) => return Err(self.failed(line, error)),
                        Turn::More => *current = Some((line, reply)),
                        Turn::Waits => {
                            *current = Some((line, reply));
                            return Ok(Progress::Waits);
                        }
                    }
                }
                Ok(Progress::More)
            }
        }
    }

    fn answer(&mut self) -> Reply {
        match self.how {
            How::OneByOne => Reply::sequence(std::mem::take(&mut self.replies)),
            How::AsOne(_) => Reply::empty(),
        }
    }

    fn failed(&self, line: NumberedLine, error: CliError) -> ScriptError {
        ScriptError::Command { path: self.path.clone(), line, error }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert_eq!(lines("\u{feff}a\nb"), [(1, "a".to_owned()), (2, "b".to_owned())], "a byte order mark");
        assert_eq!(lines("a\n\u{feff}b")[1].1, "\u{feff}b", "only at the beginning");
        assert_eq!(lines("\u{feff}"), []);
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
        let mut run = || tree.execute(&mut toy, &format!("exec {}", file.0.display())).unwrap();
        assert_eq!(run().to_text(), "weft 0.1\n");
        assert_eq!(run().to_json().unwrap().get(), r#"["0.1"]"#);
        assert_eq!(toy.log, ["eth0 up", "eth0 up"]);
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
    fn no_command_is_begun_when_nobody_waits_any_more() {
        let inner = File::new("left-inner", &"set interface state eth0 up\n".repeat(100_000));
        let outer =
            File::new("left-outer", &format!("exec {}\nset interface state tap0 up\n", inner.0.display()));
        let (mut reply, mut toy) = (toy_tree().run_file(&outer.0, &Rights::Daemon), toy());
        let error = loop {
            if !toy.log.is_empty() {
                reply.leave();
            }
            match reply.turn(&mut toy) {
                Turn::Done(end) => break end.err().expect("it is not run to its end"),
                Turn::More => {}
                Turn::Waits => std::thread::yield_now(),
            }
        };
        assert!(error.message.contains("the client has left"), "{error}");
        assert!(toy.log.len() < 100_000 && !toy.log.contains(&"tap0 up".to_owned()), "{}", toy.log.len());
    }

    #[test]
    fn only_readable_regular_files() {
        let (tree, mut toy) = (toy_tree(), toy());
        let error = tree.execute(&mut toy, "exec /nonexistent/file").err().unwrap();
        assert_eq!(error.message, "cannot read /nonexistent/file: No such file or directory (os error 2)");
        assert_eq!(error.position, Some(5));
        let error = tree.execute(&mut toy, "exec /tmp").err().unwrap();
        assert_eq!(error.message, "cannot read /tmp: it is a directory, not a regular file");
    }

    #[test]
    fn a_file_that_runs_itself_ends() {
        let file = File::new("self", "");
        fs::write(&file.0, format!("exec {}", file.0.display())).unwrap();
        let error = toy_tree().run_file(&file.0, &Rights::Daemon).finish(&mut toy()).err().unwrap();
        assert!(error.to_string().contains("already running each other"), "{error}");
    }

    #[test]
    fn a_long_file_gives_way_and_a_file_without_an_end_is_not_read() {
        let file = File::new("long", &"show version\n".repeat(200_000));
        let (mut reply, mut toy, mut turns) = (toy_tree().run_file(&file.0, &Rights::Daemon), toy(), 0);
        let end = loop {
            match reply.turn(&mut toy) {
                Turn::Done(end) => break end,
                Turn::More => turns += 1,
                Turn::Waits => std::thread::yield_now(),
            }
        };
        assert!(turns > 1, "{turns} turns");
        assert_eq!(end.unwrap().to_text().lines().count(), 200_000);

        let error =
            toy_tree().run_file(Path::new("/dev/zero"), &Rights::Daemon).finish(&mut toy).err().unwrap();
        assert_eq!(error.message, "cannot read /dev/zero: it is a device, not a regular file");
        let refused = toy_tree().run_file(&file.0, &Rights::Stranger).finish(&mut toy).err().unwrap();
        assert!(refused.message.contains("a client of TCP has none"), "{refused}");
    }
}
