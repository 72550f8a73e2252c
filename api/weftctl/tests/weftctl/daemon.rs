// SPDX-License-Identifier: Apache-2.0
//! A toy daemon in a thread, and the real `weftctl` against it.

use std::{
    cell::RefCell,
    io::Write,
    path::{Path, PathBuf},
    process::{Command as Process, Output, Stdio},
    rc::Rc,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;
use weft_cli::{
    Candidate, Command, CommandTree, Reply,
    server::{Options, Server, Shared},
};

/// Names and states of interfaces.
type Interfaces = Vec<(String, bool)>;

fn tree() -> CommandTree<Interfaces> {
    let names = |interfaces: &Interfaces| {
        interfaces.iter().map(|(name, _)| Candidate::new(name, "interface")).collect::<Vec<_>>()
    };
    let mut tree = CommandTree::new();
    let commands = [
        Command::new("show interface", |interfaces: &mut Interfaces, args| {
            args.finish()?;
            Ok(Reply::new(interfaces.clone(), |interfaces| {
                let word = |up: &bool| if *up { "up" } else { "down" };
                interfaces.iter().map(|(name, up)| format!("{name} {}\n", word(up))).collect()
            }))
        })
        .help("State of all interfaces"),
        Command::new("set interface state", |interfaces: &mut Interfaces, args| {
            let index = args.parse_with("interface", |word| {
                interfaces.iter().position(|(name, _)| name == word).ok_or("no such interface")
            })?;
            let up = args.one_of(&[("up", true), ("down", false)])?;
            args.finish()?;
            interfaces[index].1 = up;
            Ok(Reply::empty())
        })
        .synopsis("<interface> up|down")
        .help("Bring an interface up or down")
        .completer(move |interfaces, words| match words {
            [] => names(interfaces),
            [_] => vec![Candidate::new("up", ""), Candidate::new("down", "")],
            _ => Vec::new(),
        }),
        Command::new("sleep", |_, args| {
            let milliseconds = args.parse("milliseconds")?;
            args.finish()?;
            thread::sleep(Duration::from_millis(milliseconds));
            Ok(Reply::empty())
        })
        .help("Keep the main thread busy"),
    ];
    for command in commands {
        tree.add(command).unwrap();
    }
    tree
}

pub struct Daemon {
    pub socket: PathBuf,
    directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("weftctl-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("cli.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let path = socket.clone();
        let options = Options { prompt: Some("toy# ".into()), ..Options::new("toy 1") };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let server = Server::bind(&path, options).unwrap();
                ready.send(()).unwrap();
                let interfaces = vec![("eth0".to_owned(), false), ("tap0".to_owned(), true)];
                let service = Shared { tree: Rc::new(tree()), state: Rc::new(RefCell::new(interfaces)) };
                tokio::select! {
                    () = server.serve(Rc::new(service)) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("the daemon must come up");
        Self { socket, directory, stop: Some(stop), thread: Some(thread) }
    }

    /// `weftctl` for this daemon, with a state directory of its own.
    pub fn weftctl(&self) -> Process {
        let mut process = Process::new(env!("CARGO_BIN_EXE_weftctl"));
        process.env("WEFT_CLI_SOCKET", &self.socket);
        process.env("XDG_STATE_HOME", &self.directory).env("TERM", "xterm");
        process
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.take().expect("set until dropped").send(());
        let joined = self.thread.take().expect("set until dropped").join();
        let _ = std::fs::remove_dir_all(&self.directory);
        assert!(joined.is_ok() || thread::panicking(), "the daemon panicked");
    }
}

/// What a run printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs it with words and an empty input.
pub fn run(mut process: Process, words: &[&str]) -> Ran {
    process.args(words).stdin(Stdio::null()).output().unwrap().into()
}

/// Runs it with words and a piped input.
pub fn pipe(mut process: Process, words: &[&str], input: &str) -> Ran {
    let mut child = process
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // It may stop before it has read all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap().into()
}
