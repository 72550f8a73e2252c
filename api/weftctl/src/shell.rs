// SPDX-License-Identifier: Apache-2.0
//! The interactive prompt: history over sessions, Tab and `?` answered by the daemon.
//!
//! `?` works at once, without Enter, as on the routers that operators know; the line stays as it
//! was. Within quotes it is an ordinary character.

use std::{
    cell::RefCell,
    env, fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler,
    Helper, KeyEvent, RepeatCount,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::Validator,
};
use weft_cli::Candidate;

use crate::session::{Failure, Session};

const DEFAULT_PROMPT: &str = "weft# ";
const HISTORY_LINES: usize = 1000;

/// Reads and runs commands until `quit` or ^D.
pub fn run(mut session: Session) -> Result<(), Failure> {
    let server = session.connect()?.server().clone();
    let prompt = server.prompt.unwrap_or_else(|| DEFAULT_PROMPT.to_owned());
    writeln!(io::stdout(), "{}. Tab completes, ? helps, quit leaves.", server.program)
        .map_err(Failure::Output)?;
    let session = Rc::new(RefCell::new(session));
    let mut shell = Shell::new(session.clone()).map_err(Failure::Terminal)?;
    let mut initial = (String::new(), String::new());
    loop {
        let line = shell.editor.readline_with_initial(&prompt, (&initial.0, &initial.1));
        let cursor = shell.question.take();
        initial = (String::new(), String::new());
        match (line, cursor) {
            (Ok(line), Some(cursor)) => {
                explain(&mut session.borrow_mut(), &line, cursor);
                // A history search may have put another line in the place of the one with the `?`.
                let (before, after) = line.split_at_checked(cursor).unwrap_or((&line, ""));
                initial = (before.to_owned(), after.to_owned());
            }
            (Ok(line), None) => {
                shell.remember(&line);
                match line.trim() {
                    "" => {}
                    "quit" | "exit" | "q" => return Ok(()),
                    command => {
                        if let Err(failure) = session.borrow_mut().run(command) {
                            failure.report();
                        }
                    }
                }
            }
            (Err(ReadlineError::Interrupted), _) => {}
            (Err(ReadlineError::Eof), _) => return Ok(()),
            (Err(error), _) => return Err(Failure::Terminal(error)),
        }
    }
}

/// Prints what may stand at the cursor.
fn explain(session: &mut Session, line: &str, cursor: usize) {
    match session.complete(line, cursor) {
        Ok(completion) => {
            let usage = completion.usage.map_or_else(String::new, |usage| usage + "\n");
            // If the terminal is gone, the next read says so.
            let _ = write!(io::stdout(), "{usage}{}", Candidate::table(&completion.candidates));
        }
        Err(failure) => failure.report(),
    }
}

struct Shell {
    editor: Editor<DaemonCompleter, FileHistory>,
    history: Option<PathBuf>,
    question: Question,
}

impl Shell {
    fn new(session: Rc<RefCell<Session>>) -> rustyline::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(DaemonCompleter { session }));
        let question = Question::default();
        let handler = EventHandler::Conditional(Box::new(question.clone()));
        editor.bind_sequence(KeyEvent::from('?'), handler);
        let history = history_file();
        if let Some(path) = &history {
            // There is none before the first session.
            let _ = editor.load_history(path);
        }
        Ok(Self { editor, history, question })
    }

    /// Keeps a line at once, so that neither ^C nor a second session loses it.
    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let added = self.editor.add_history_entry(line);
        if let (Ok(true), Some(path)) = (added, &self.history)
            && let Err(error) = self.editor.append_history(path)
        {
            let _ = writeln!(io::stderr(), "weftctl: no history in {}: {error}", path.display());
            self.history = None;
        }
    }
}

/// `$XDG_STATE_HOME/weftctl/history`, by default below `~/.local/state`; its directory is made.
fn history_file() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let directory = state.join("weftctl");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    Some(directory.join("history"))
}

/// Where the cursor was when `?` was typed. Shared with the editor, which wants it thread-safe.
#[derive(Clone, Default)]
struct Question(Arc<Mutex<Option<usize>>>);

impl Question {
    fn take(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ConditionalEventHandler for Question {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let before = &context.line()[..context.pos()];
        if before.matches('"').count() % 2 == 1 {
            return None;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.pos());
        Some(Cmd::AcceptLine)
    }
}

/// Asks the daemon for words.
struct DaemonCompleter {
    session: Rc<RefCell<Session>>,
}

impl Completer for DaemonCompleter {
    type Candidate = Pair;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        // A daemon that is gone shows when the command is run.
        let Ok(completion) = self.session.borrow_mut().complete(line, cursor) else {
            return Ok((cursor, Vec::new()));
        };
        let only = completion.candidates.len() == 1;
        let pair = |Candidate { text, .. }: Candidate| Pair {
            replacement: if only { format!("{text} ") } else { text.clone() },
            display: text,
        };
        Ok((completion.start, completion.candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for DaemonCompleter {
    type Hint = String;
}
impl Highlighter for DaemonCompleter {}
impl Validator for DaemonCompleter {}
impl Helper for DaemonCompleter {}
