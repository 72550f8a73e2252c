// SPDX-License-Identifier: Apache-2.0
//! The server against the client and against clients that misbehave, over real sockets.

use std::{
    cell::{Cell, RefCell},
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use weft_cli::{
    Candidate, CliError, Command, CommandTree, Completion, Later, Part, Reply, Rights, Turn,
    client::{Client, ClientError, Output},
    protocol::LONGEST_REQUEST,
    server::{BindError, Options, Peer, Server, Service, Shared},
};

/// A daemon in a thread: a counter, and an answer of any size.
struct Daemon {
    path: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Bytes of all parts that were made, of all daemons.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A part of the answer to `show parts N`: 64 KiB of a string, or what begins and ends it.
struct Dots(&'static str, usize);

impl Part for Dots {
    fn text(&self) -> String {
        format!("\"{}\"\n", ".".repeat(self.1))
    }

    fn json(&self) -> serde_json::Result<String> {
        Ok(format!("{}{}", self.0, ".".repeat(self.1)))
    }

    fn size(&self) -> usize {
        self.1
    }
}

fn tree() -> CommandTree<u64> {
    let mut tree = CommandTree::new();
    tree.add(Command::new("show parts", |_, args| {
        let number: usize = args.parse("number")?;
        args.finish()?;
        let quotes = || vec![("\"", 0)];
        let mut parts = [quotes(), vec![("", 64 << 10); number], quotes()].concat().into_iter();
        Ok(Reply::in_parts(move |_: &mut u64| {
            let part = parts.next().map(|(quote, size)| Box::new(Dots(quote, size)) as Box<dyn Part>);
            MADE.fetch_add(part.as_ref().map_or(0, |part| part.size()), Relaxed);
            Ok(part)
        }))
    }))
    .unwrap();
    let add = Command::new("add", |sum: &mut u64, args| {
        let number: u64 = args.parse("number")?;
        args.finish()?;
        *sum += number;
        Ok(Reply::new(*sum, |sum| format!("sum {sum}")))
    });
    let show = Command::new("show bytes", |_, args| {
        let size: usize = args.parse("number")?;
        args.finish()?;
        Ok(Reply::new(size, |size| "x".repeat(*size)))
    });
    tree.add(add.completer(|sum, _| vec![Candidate::new(sum.to_string(), "the sum")])).unwrap();
    tree.add(show).unwrap();
    tree.add(Command::new("pause", |_, args| {
        args.finish()?;
        let end = std::time::Instant::now() + Duration::from_millis(5);
        Ok(Reply::in_turns(move |_: &mut u64| match std::time::Instant::now() < end {
            true => Turn::Waits,
            false => Turn::Done(Ok(Reply::empty())),
        }))
    }))
    .unwrap();
    tree
}

/// Also knows `count N`, whose answer is there when it was asked for N times. Who does not wait for it adds 1000 to the sum.
struct Slow {
    shared: Shared<u64>,
    asked: Cell<u64>,
}

impl Service for Slow {
    fn execute(&self, peer: Peer, rights: &Rights, command: &str) -> Result<Reply, CliError> {
        match command.strip_prefix("count ") {
            Some(name) => {
                let (of, command) = ("test".to_owned(), "count".to_owned());
                Ok(Reply::later(Later { of, command, name: name.to_owned() }))
            }
            None => self.shared.execute(peer, rights, command),
        }
    }

    fn turn(&self, work: &mut Reply) -> Turn {
        self.shared.turn(work)
    }

    fn vpp_error(&self, command: &str, error: &CliError) -> String {
        self.shared.vpp_error(command, error)
    }

    fn later(&self, later: &Later) -> Result<Reply, CliError> {
        let asked = self.asked.get() + 1;
        self.asked.set(asked);
        let enough: u64 = later.name.parse().map_err(|_| CliError::new("expected a number"))?;
        match asked < enough {
            true => Ok(Reply::later(later.clone())),
            false => Ok(Reply::new(asked, |asked| format!("asked {asked} times"))),
        }
    }

    fn cancel(&self, _: &Later) {
        *self.shared.state.borrow_mut() += 1000;
    }

    fn complete(&self, line: &str, cursor: usize) -> Completion {
        self.shared.complete(line, cursor)
    }
}

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("weft-cli-{}-{name}.sock", std::process::id()))
}

impl Daemon {
    fn start(name: &str, options: Options) -> Self {
        let path = socket_path(name);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let listen_at = path.clone();
        let thread = thread::spawn(move || {
            on_runtime(async move {
                let server = Server::bind(&listen_at, options).unwrap();
                ready.send(()).unwrap();
                let shared = Shared { tree: Rc::new(tree()), state: Rc::new(RefCell::new(0)) };
                let service = Slow { shared, asked: Cell::new(0) };
                tokio::select! {
                    () = server.serve(Rc::new(service)) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().expect("the server must come up");
        Self { path, stop: Some(stop), thread: Some(thread) }
    }

    fn client(&self) -> Client {
        Client::connect(&self.path, "test 1", Some(Duration::from_secs(5))).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.take().expect("set until dropped").send(());
        let joined = self.thread.take().expect("set until dropped").join();
        assert!(joined.is_ok() || thread::panicking(), "the server thread panicked");
    }
}

fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn options() -> Options {
    Options::new("test-daemon 1")
}

#[test]
fn commands_completion_and_errors() {
    let daemon = Daemon::start("basic", options());
    let mut client = daemon.client();
    assert_eq!(client.server().program, "test-daemon 1");
    assert!(matches!(client.run("add 3", false).unwrap(), Output::Text(text) if text == "sum 3\n"));
    assert!(matches!(client.run("add 4", true).unwrap(), Output::Json(json) if json == "7"));
    assert_eq!(client.complete("add ", 4).unwrap().candidates[0].text, "7");
    match client.run("add x", false).unwrap_err() {
        ClientError::Command(error) => {
            assert_eq!((error.word.as_deref(), error.position), (Some("x"), Some(4)));
        }
        other => panic!("{other}"),
    }
    assert!(matches!(daemon.client().run("add 1", false).unwrap(), Output::Text(t) if t == "sum 8\n"));
}

#[test]
fn the_socket_file() {
    let daemon = Daemon::start("file", Options { group: Some(nix::unistd::getgid().as_raw()), ..options() });
    let path = daemon.path.clone();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
    assert_eq!(metadata.gid(), nix::unistd::getgid().as_raw());

    let second = on_runtime(async { Server::bind(&path, options()) });
    assert!(matches!(second, Err(BindError::InUse(_))), "a live socket must not be taken");
    assert!(matches!(daemon.client().run("add 1", false), Ok(Output::Text(_))));

    drop(daemon);
    assert!(!path.exists(), "the file goes with the server");
}

#[test]
fn a_stale_file_is_replaced_and_other_files_are_not() {
    let path = socket_path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let daemon = Daemon::start("stale", options());
    assert!(matches!(daemon.client().run("add 1", false), Ok(Output::Text(_))));
    drop(daemon);

    fs::write(&path, "data").unwrap();
    let refused = on_runtime(async { Server::bind(&path, options()) });
    assert!(matches!(refused, Err(BindError::NotASocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"data");
    fs::remove_file(&path).unwrap();

    let nowhere = Path::new("/nonexistent/directory/cli.sock");
    let error = on_runtime(async { Server::bind(nowhere, options()) }).err().unwrap();
    assert!(error.to_string().starts_with("cannot listen at /nonexistent/"), "{error}");
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let daemon = Daemon::start("theirs", options());
    let path = daemon.path.clone();
    fs::remove_file(&path).unwrap();
    let theirs = UnixListener::bind(&path).unwrap();
    drop(daemon);
    assert!(path.exists(), "only the own file may be removed");
    drop(theirs);
    fs::remove_file(&path).unwrap();
}

#[test]
fn idle_clients_make_room_for_one_more() {
    let daemon = Daemon::start("crowd", Options { max_clients: 2, ..options() });
    let mut first = daemon.client();
    let mut second = daemon.client();
    assert!(first.run("add 1", false).is_ok());
    let mut third = daemon.client();
    // The second has been idle for longer than the first.
    assert!(third.run("add 1", false).is_ok());
    assert!(first.run("add 1", false).is_ok());
    assert!(second.run("add 1", false).is_err(), "it made room");
    // However often somebody comes, everybody is served.
    for _ in 0..20 {
        assert!(daemon.client().run("add 1", false).is_ok());
    }
}

#[test]
fn a_client_that_does_not_read_hinders_nobody() {
    let patience = Duration::from_millis(300);
    let daemon = Daemon::start("slow", Options { write_timeout: patience, ..options() });
    let mut slow = UnixStream::connect(&daemon.path).unwrap();
    slow.write_all(b"{\"protocol\":1,\"program\":\"slow 1\"}\n").unwrap();
    // Far more than a socket buffer holds, asked for as often as the socket takes requests.
    slow.set_nonblocking(true).unwrap();
    loop {
        match slow.write(b"{\"id\":1,\"command\":\"show bytes 4000000\"}\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let mut quick = daemon.client();
    for _ in 0..100 {
        assert!(quick.run("add 1", false).is_ok());
    }
    // And in the end the slow one is cut off, in the middle of its first answer.
    slow.set_nonblocking(false).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    thread::sleep(2 * patience);
    let mut answer = Vec::new();
    let end = slow.read_to_end(&mut answer);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(answer.len() < 4_000_000, "got {} bytes", answer.len());
}

#[test]
fn large_answers_arrive_whole() {
    let daemon = Daemon::start("large", options());
    match daemon.client().run("show bytes 20000000", false).unwrap() {
        Output::Text(text) => assert_eq!(text.len(), 20_000_001),
        Output::Json(_) => panic!("text was asked for"),
    }
}

#[test]
fn an_answer_in_parts_arrives_whole_and_is_made_as_it_is_read() {
    let patience = Duration::from_secs(2);
    let daemon = Daemon::start("parts", Options { write_timeout: patience, ..options() });
    let mut quick = daemon.client();
    for number in [0, 1, 100] {
        let command = format!("show parts {number}");
        match (quick.run(&command, false).unwrap(), quick.run(&command, true).unwrap()) {
            (Output::Text(text), Output::Json(json)) => {
                assert_eq!(text.len(), number * ((64 << 10) + 3) + 6);
                assert_eq!(json, format!("\"{}\"", ".".repeat(number * (64 << 10))));
            }
            other => panic!("{other:?}"),
        }
    }
    // 6 GB for each of eight who do not read.
    let before = MADE.load(Relaxed);
    let idle: Vec<UnixStream> = (0..8)
        .map(|i| {
            let mut stream = UnixStream::connect(&daemon.path).unwrap();
            let ask = format!("{{\"id\":1,\"command\":\"show parts 100000\",\"json\":{}}}\n", i % 2 == 0);
            write!(stream, "{{\"protocol\":1,\"program\":\"idle 1\"}}\n{ask}").unwrap();
            stream
        })
        .collect();
    let end = std::time::Instant::now() + Duration::from_millis(500);
    let mut longest = Duration::ZERO;
    while std::time::Instant::now() < end {
        let asked = std::time::Instant::now();
        assert!(quick.run("add 1", false).is_ok());
        longest = longest.max(asked.elapsed());
    }
    assert!(longest < Duration::from_millis(50), "somebody waited for {longest:?}");
    // What the sockets hold, and a part each.
    let made = MADE.load(Relaxed) - before;
    assert!((8 * (64 << 10)..8 << 20).contains(&made), "{made} bytes were made for nobody");
    // They are cut off within their answer.
    thread::sleep(2 * patience);
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        assert!(answer.len() < 1 << 20, "got {} bytes", answer.len());
    }
}

/// The lines that the server answers to raw bytes.
fn raw(daemon: &Daemon, bytes: &[u8]) -> Vec<String> {
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    BufReader::new(stream).lines().map_while(Result::ok).collect()
}

#[test]
fn bad_input_is_answered() {
    let daemon = Daemon::start("bad", options());
    let hello = "{\"protocol\":1,\"program\":\"test 1\"}\n";

    let answers = raw(&daemon, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(answers.len(), 1);
    assert!(answers[0].contains("bad greeting"), "{answers:?}");

    let answers = raw(&daemon, b"{\"protocol\":7,\"program\":\"test 7\"}\n");
    assert!(answers[0].contains("test 7 speaks version 7"), "{answers:?}");
    assert!(answers[0].contains("test-daemon 1 speaks version 1"), "{answers:?}");

    let answers = raw(&daemon, format!("{hello}nonsense\n{{\"id\":2,\"command\":\"add 1\"}}\n").as_bytes());
    assert!(answers[1].contains("bad request"), "{answers:?}");
    assert_eq!(answers[2], r#"{"id":2,"ok":true,"text":"sum 1\n"}"#);

    let mut long = hello.as_bytes().to_vec();
    long.resize(long.len() + LONGEST_REQUEST + 1, b'x');
    let answers = raw(&daemon, &long);
    assert!(answers[1].contains("1048576 bytes at most"), "{answers:?}");

    for junk in [&b""[..], b"\n", b"\xff\xfe\n", b"{\"id\":1"] {
        raw(&daemon, junk);
    }
    assert!(daemon.client().run("add 1", false).is_ok(), "the server is still there");
}

#[test]
fn an_answer_that_comes_later() {
    let daemon = Daemon::start("later", options());
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let says = |client: &mut Client, command: &str| match client.run(command, false) {
        Ok(Output::Text(text)) => text,
        Ok(Output::Json(json)) => panic!("{command}: {json}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(says(&mut client, "count sheep"), "expected a number");
    assert_eq!(says(&mut client, "count 4"), "asked 4 times\n");
    // One that goes away while it waits, and another one that is served meanwhile.
    let mut leaving = UnixStream::connect(&daemon.path).unwrap();
    let asks = b"{\"protocol\":1,\"program\":\"test 1\"}\n{\"id\":1,\"command\":\"count 100000\"}\n";
    leaving.write_all(asks).unwrap();
    BufReader::new(&leaving).read_line(&mut String::new()).unwrap();
    assert_eq!(says(&mut other, "add 1"), "sum 1\n");
    drop(leaving);
    for _ in 0..500 {
        if says(&mut other, "add 0") == "sum 1001\n" {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the command was not told that its client has gone");
}

#[test]
fn a_command_file_ends_with_the_client_that_runs_it() {
    let daemon = Daemon::start("leaves", options());
    let mut other = daemon.client();
    let mut sum = || match other.run("add 0", false) {
        Ok(Output::Text(text)) => text,
        other => panic!("{other:?}"),
    };
    let file = socket_path("leaves-file").with_extension("cmd");
    fs::write(&file, "pause\nadd 1\n".repeat(2000)).unwrap();
    let mut leaving = UnixStream::connect(&daemon.path).unwrap();
    let asks = format!(
        "{{\"protocol\":1,\"program\":\"test 1\"}}\n{{\"id\":1,\"command\":\"exec {}\"}}\n",
        file.display()
    );
    leaving.write_all(asks.as_bytes()).unwrap();
    let began = std::time::Instant::now();
    while sum() == "sum 0\n" {
        assert!(began.elapsed() < Duration::from_secs(10), "the file is being run");
        thread::sleep(Duration::from_millis(1));
    }
    drop(leaving);
    // The commands take 10 s in all.
    thread::sleep(Duration::from_millis(100));
    let after = sum();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(sum(), after, "nothing more is run");
    fs::remove_file(&file).unwrap();
}
