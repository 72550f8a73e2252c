// SPDX-License-Identifier: Apache-2.0
//! What `vppctl`, telnet and netcat send, and what they must get: byte by byte, in any pieces, and over real sockets.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    rc::Rc,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use proptest::prelude::*;
use weft_cli::{
    Candidate, Command, CommandTree, Completion, Part, Reply,
    server::{Service, Shared},
    vppctl::{
        Options, PREAMBLE, Session, Shell,
        server::{Endpoint, Server, Settings},
    },
};

/// Parts that were made, of all daemons.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A part of the answer to `show parts N`: 64 KiB.
struct Dots;

impl Part for Dots {
    fn text(&self) -> String {
        format!("{}\n", ".".repeat((64 << 10) - 2))
    }

    fn json(&self) -> serde_json::Result<String> {
        Ok(String::new())
    }

    fn size(&self) -> usize {
        64 << 10
    }
}

fn tree() -> CommandTree<u64> {
    let mut tree = CommandTree::new();
    let parts = Command::new("show parts", |_: &mut u64, args| {
        let mut left: usize = args.parse("number")?;
        args.finish()?;
        Ok(Reply::in_parts(move |_: &mut u64| {
            let Some(less) = left.checked_sub(1) else { return Ok(None) };
            left = less;
            MADE.fetch_add(1, Relaxed);
            Ok(Some(Box::new(Dots) as Box<dyn Part>))
        }))
    });
    tree.add(parts).unwrap();
    let show = |text: &'static str| {
        move |_: &mut u64, args: &mut weft_cli::Args<'_>| {
            args.finish()?;
            Ok(Reply::new(text, |text| (*text).to_owned()))
        }
    };
    let lines = Command::new("show lines", |_, args| {
        let count: usize = args.parse("number")?;
        args.finish()?;
        Ok(Reply::new(count, |count| (1..=*count).map(|line| format!("line {line}\n")).collect()))
    });
    let add = Command::new("add", |sum: &mut u64, args| {
        *sum += args.parse::<u64>("number")?;
        args.finish().map(|()| Reply::empty())
    });
    for command in [
        Command::new("show version", show("weft 1")).help("The version"),
        Command::new("show errors", show("none")).help("Errors"),
        lines,
        add.completer(|_, _| vec![Candidate::new("17", "a number"), Candidate::new("170", "another")]),
    ] {
        tree.add(command).unwrap();
    }
    tree
}

struct Toy {
    tree: CommandTree<u64>,
    sum: u64,
}

impl Shell for Toy {
    fn run(&mut self, command: &str) -> Option<String> {
        match command.trim() {
            "later" => None,
            command => Some(match self.tree.execute(&mut self.sum, command) {
                Ok(reply) => reply.to_text(),
                Err(error) => self.tree.vpp_error(command, &error),
            }),
        }
    }

    fn complete(&mut self, line: &str, cursor: usize) -> Completion {
        self.tree.complete(&self.sum, line, cursor)
    }
}

/// Everything that a session says to the pieces, and whether it has ended.
fn talk(options: Options, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut toy = Toy { tree: tree(), sum: 0 };
    let mut session = Session::new(options);
    for piece in pieces {
        session.feed(piece);
        while session.step(&mut toy) {}
    }
    (std::mem::take(session.output()), session.is_closed())
}

const VPPCTL: &[u8] = b"\xff\xfa\x18\x00vppctl\xff\xf0";
const XTERM: &[u8] = b"\xff\xfa\x18\x00xterm-256color\xff\xf0\xff\xfa\x1f\x00\x50\x00\x05\xff\xf0";

fn quiet() -> Options {
    Options { banner: false, ..Options::default() }
}

/// What comes after the preamble, readable.
fn said(output: &[u8]) -> String {
    let text = output.strip_prefix(&PREAMBLE).expect("the preamble comes first");
    String::from_utf8(text.to_vec()).unwrap().replace('\0', "<NUL>").replace('\x1b', "<ESC>")
}

fn dialogue(pieces: &[&[u8]]) -> String {
    said(&talk(quiet(), pieces).0)
}

#[test]
fn one_command() {
    let (output, closed) = talk(Options::default(), &[VPPCTL, b"show version\n\0", b"quit\n"]);
    assert_eq!((said(&output).as_str(), closed), ("weft 1\r\n<NUL>", true));
    assert_eq!(dialogue(&[VPPCTL, b"add 3\n\0"]), "<NUL>", "a command without an answer is answered too");
}

#[test]
fn commands_from_a_pipe() {
    let (output, closed) =
        talk(quiet(), &[VPPCTL, b"show version\r\n\nshow err", b"ors\nexit\nshow version\n"]);
    assert_eq!((said(&output).as_str(), closed), ("weft 1\r\n<NUL><NUL>none\r\n<NUL>", true));
    assert_eq!(
        dialogue(&[VPPCTL, b"show verion\n"]),
        "show: unknown input `verion'\r\nunknown word \"verion\", expected errors, lines, parts or version (did you mean \
         \"version\"?)\r\n<NUL>"
    );
    let (output, closed) = talk(quiet(), &[VPPCTL, b"show errors\nshow version", b"quit\n"]);
    assert_eq!((said(&output).as_str(), closed), ("none\r\n<NUL>weft 1\r\n", true));
    let long = [VPPCTL, &[b'x'; 70_000], b"\nshow errors\n"].concat();
    assert_eq!(dialogue(&[&long]), "a command has 65536 bytes at most\r\n<NUL>none\r\n<NUL>");
}

#[test]
fn a_pipe_that_ends_late_or_without_an_end_of_line() {
    let mut toy = Toy { tree: tree(), sum: 0 };
    let mut session = Session::new(quiet());
    assert_eq!(session.patience(), Some(Duration::from_secs(1)));
    session.feed(VPPCTL);
    session.feed(b"show errors\nshow version");
    while session.step(&mut toy) {}
    assert_eq!(session.patience(), Some(Duration::from_millis(400)));
    session.expire(&mut toy);
    session.expire(&mut toy);
    assert_eq!(said(session.output()), "none\r\n<NUL>weft 1\r\n<NUL><NUL>");
    session.output().clear();
    session.feed(b"\n");
    session.step(&mut toy);
    session.expire(&mut toy);
    assert_eq!(*session.output(), [0, 0]);
    session.output().clear();
    session.feed(b"show version");
    session.step(&mut toy);
    session.end(&mut toy);
    assert_eq!(session.output(), b"weft 1\r\n\0");
    assert!(session.is_closed());
}

#[test]
fn an_answer_that_comes_later() {
    let mut toy = Toy { tree: tree(), sum: 0 };
    let mut waiting = |pieces: [&[u8]; 2]| {
        let mut session = Session::new(quiet());
        for piece in pieces {
            session.feed(piece);
            while session.step(&mut toy) {}
        }
        assert!(session.is_waiting());
        session
    };
    // What follows has to wait, also its end.
    let mut session = waiting([VPPCTL, b"later\nshow errors\n"]);
    assert_eq!(said(session.output()), "");
    session.answered("pong\n");
    while session.step(&mut Toy { tree: tree(), sum: 0 }) {}
    assert_eq!(said(session.output()), "pong\r\n<NUL>none\r\n<NUL>");

    let mut session = waiting([VPPCTL, b"later quit\n"]);
    assert!(!session.take_interrupt() && !session.is_closed());
    session.answered("pong\n");
    assert!(session.is_closed(), "its last one");

    let mut session = waiting([XTERM, b"later\r"]);
    session.feed(b"nobody sees this");
    assert!(!session.take_interrupt());
    session.feed(b"\x03");
    assert!(session.take_interrupt());
    session.answered("");
    assert_eq!(said(session.output()), "vpp# later\r\n^C\r\nvpp# ");
    while session.step(&mut Toy { tree: tree(), sum: 0 }) {}
    assert!(!session.is_waiting());
}

#[test]
fn a_terminal() {
    let (output, _) = talk(Options::default(), &[XTERM]);
    let text = said(&output);
    assert_eq!(text.lines().count(), 6);
    assert!(text.ends_with("|_|  \\__|\r\n\r\nvpp# "), "{text}");

    assert_eq!(dialogue(&[XTERM, b"sh verx\x7f\r"]), "vpp# sh verx\x08 \x08\r\nweft 1\r\nvpp# ");
    assert_eq!(dialogue(&[XTERM, b"version\x01show \r\n"]), {
        let insert = |left: &str, right: &str| format!("{left}{right}{}", "\x08".repeat(right.len()));
        let typed: String = ["s", "h", "o", "w", " "].map(|c| insert(c, "version")).concat();
        format!("vpp# version{}{typed}version\r\nweft 1\r\nvpp# ", "\x08".repeat(7))
    });
    assert_eq!(dialogue(&[XTERM, b"abc\x03\xff\xf6"]), "vpp# abc^C\r\nvpp# fd.io VPP\r\n");
    assert!(talk(quiet(), &[XTERM, b"q\r"]).1);
}

#[test]
fn completion_help_and_history() {
    assert_eq!(dialogue(&[XTERM, b"sh ve\t\r"]), "vpp# sh version \r\nweft 1\r\nvpp# ");
    assert_eq!(dialogue(&[XTERM, b"add \t"]), "vpp# add 17");
    assert_eq!(
        dialogue(&[XTERM, b"add 17\t"]),
        "vpp# add 17\r\nadd\r\n  17   a number\r\n  170  another\r\nvpp# add 17"
    );
    assert_eq!(
        dialogue(&[XTERM, b"show version ?"]),
        "vpp# show version \r\nshow version\r\nvpp# show version "
    );
    let shown = dialogue(&[XTERM, b"show errors\rhistory\r\x1b[A\x1bOA\r"]);
    assert!(
        shown.ends_with("vpp# history\x08\x08\x08\x08\x08\x08\x08show errors\r\nnone\r\nvpp# "),
        "{shown}"
    );
    assert!(shown.contains("    1  show errors\r\n    2  history\r\n"), "{shown}");
}

#[test]
fn the_pager() {
    let page =
        "vpp# show lines 7\r\nline 1\r\nline 2\r\nline 3\r\nline 4\r\n\r<ESC>[1m-- more -- (1-4/7)<ESC>[0m";
    assert_eq!(dialogue(&[XTERM, b"show lines 7\r"]), page);
    assert_eq!(dialogue(&[XTERM, b"show lines 7\rq"]), format!("{page}\r<ESC>[2Kvpp# "));
    assert_eq!(dialogue(&[XTERM, b"set term pag off\rshow lines 6\r"]).matches("more").count(), 0);
    let size = b"\xff\xfa\x1f\x00\x50\x00\x20\xff\xf0";
    assert_eq!(dialogue(&[XTERM, size, b"show lines 7\r"]).matches("more").count(), 0, "a taller window");
}

#[test]
fn a_client_that_is_no_terminal() {
    assert_eq!(dialogue(&[b"show version\n"]), "vpp# show version\r\nweft 1\r\nvpp# ");
    let (output, _) = talk(Options { line_mode: true, ..quiet() }, &[b"show version\nadd 1\n"]);
    assert_eq!(output, b"vpp# weft 1\nvpp# vpp# ");
}

fn scripts() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        VPPCTL,
        XTERM,
        b"show version\n",
        b"show lines 9\r",
        b"add 1",
        b"\r\0",
        b"\r\n",
        b"\x1b[A",
        b"\x1b[1;5D",
        b"\t",
        b"?",
        b"q",
        b" ",
        b"\x12ver",
        b"\x17",
        b"\x19",
        b"\0",
        b"\xff",
        b"\xff\xfa",
        b"\xff\xf0",
        b"quit",
        b"\xff\xfa\x1f\x00\x01\x00\x01\xff\xf0",
    ]);
    let bytes = prop::collection::vec(any::<u8>(), 0..6);
    let piece = prop_oneof![4 => words.prop_map(<[u8]>::to_vec), 1 => bytes];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_pieces_give_the_same_bytes(script in scripts(), sizes in prop::collection::vec(1..9usize, 1..50)) {
        let mut rest = script.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(talk(quiet(), &pieces), talk(quiet(), &[&script]));
    }

    #[test]
    fn garbage_neither_panics_nor_stalls(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        // Enough to end any half of a command, the pager and the line.
        let end = [[b'x'; 70].as_slice(), b"\xff\xf0q\x03\x03", VPPCTL, b"\nshow version\n"].concat();
        let (output, closed) = talk(quiet(), &[&garbage, &end]);
        prop_assert!(closed || output.ends_with(b"weft 1\r\n\0"));
    }
}

// --- Sockets ---

struct Daemon {
    path: PathBuf,
    tcp: std::net::SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(name: &str, max_clients: usize) -> Self {
        let path = std::env::temp_dir().join(format!("weft-vppctl-{}-{name}.sock", std::process::id()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let listen_at = path.clone();
        let thread = thread::spawn(move || {
            let settings = Settings {
                session: quiet(),
                group: None,
                max_clients,
                write_timeout: Duration::from_millis(500),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let unix = Server::bind(&Endpoint::Path(listen_at), settings.clone()).unwrap();
                let loopback = "127.0.0.1:0".parse().unwrap();
                let tcp = Server::bind(&Endpoint::Address(loopback), settings).unwrap();
                ready.send(tcp.address().unwrap()).unwrap();
                let shared = Shared { tree: Rc::new(tree()), state: Rc::new(RefCell::new(0)) };
                let service: Rc<dyn Service> = Rc::new(shared);
                tokio::select! {
                    () = unix.serve(Rc::clone(&service)) => {}
                    () = tcp.serve(service) => {}
                    _ = stopped => {}
                }
            });
        });
        let tcp = is_ready.recv().expect("the server must come up");
        Self { path, tcp, stop: Some(stop), thread: Some(thread) }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.take().expect("set until dropped").send(());
        let joined = self.thread.take().expect("set until dropped").join();
        assert!(joined.is_ok() || thread::panicking(), "the server thread panicked");
        assert!(!self.path.exists() || thread::panicking(), "the socket file goes with the server");
    }
}

/// The preamble in one read, then one command as `vppctl` does it.
fn one_shot(mut stream: impl Read + Write, command: &str) -> String {
    let mut first = [0; 100];
    assert_eq!(stream.read(&mut first).unwrap(), PREAMBLE.len());
    stream.write_all(VPPCTL).unwrap();
    stream.write_all(format!("{command}\n\0").as_bytes()).unwrap();
    let mut output = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
        output.push(byte[0]);
    }
    stream.write_all(b"quit\n").unwrap();
    assert_eq!(stream.read(&mut byte).unwrap(), 0, "quit closes");
    String::from_utf8(output).unwrap()
}

#[test]
fn many_clients_at_a_time() {
    let daemon = Daemon::start("many", 200);
    let waiting: Vec<_> = (0..150).map(|_| daemon.connect()).collect();
    assert_eq!(one_shot(daemon.connect(), "show version"), "weft 1\r\n");
    assert_eq!(one_shot(TcpStream::connect(daemon.tcp).unwrap(), "show errors"), "none\r\n");
    for stream in waiting {
        assert_eq!(one_shot(stream, "show version"), "weft 1\r\n");
    }
}

#[test]
fn idle_clients_make_room_for_one_more() {
    let daemon = Daemon::start("crowd", 2);
    let mut idle = [daemon.connect(), daemon.connect()];
    idle.iter_mut().for_each(|stream| stream.read_exact(&mut [0; 36]).unwrap());
    assert_eq!(one_shot(daemon.connect(), "show version"), "weft 1\r\n");
    let mut told = String::new();
    idle[0].read_to_string(&mut told).unwrap();
    assert!(told.ends_with("this one was idle for the longest time\r\n"), "{told}");
    // The other one is still served.
    idle[1].write_all(&[VPPCTL, b"show version\nquit\n"].concat()).unwrap();
    told.clear();
    idle[1].read_to_string(&mut told).unwrap();
    assert!(told.ends_with("weft 1\r\n\0"), "{told:?}");
}

#[test]
fn a_long_pipe_is_read_while_its_answers_wait() {
    let daemon = Daemon::start("pipe", 2);
    let mut stream = daemon.connect();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let commands = 50_000;
    // More than the buffers of the socket hold of either, and none of it is read before all of it is sent.
    stream.write_all(VPPCTL).unwrap();
    stream.write_all(&b"show version\n".repeat(commands)).unwrap();
    stream.write_all(b"quit\n").unwrap();
    let mut output = Vec::new();
    stream.read_to_end(&mut output).unwrap();
    let answers = output.split(|byte| *byte == 0).filter(|answer| answer.ends_with(b"weft 1\r\n")).count();
    assert_eq!(answers, commands);
}

#[test]
fn all_answers_are_there_before_the_end() {
    let daemon = Daemon::start("tail", 2);
    // More bytes of answers than are kept for a client that does not read, and than the socket holds.
    let (commands, answer) = (20_000, 200);
    let text: String = (1..=answer).map(|line| format!("line {line}\r\n")).collect();
    for last in ["quit\n", ""] {
        let mut stream = daemon.connect();
        let mut writer = stream.try_clone().unwrap();
        let sending = thread::spawn(move || {
            writer.write_all(VPPCTL).unwrap();
            writer.write_all(format!("show lines {answer}\n").repeat(commands).as_bytes()).unwrap();
            writer.write_all(last.as_bytes()).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut output = Vec::new();
        stream.read_to_end(&mut output).unwrap();
        sending.join().unwrap();
        let answers = output[PREAMBLE.len()..].split(|byte| *byte == 0);
        assert_eq!(answers.filter(|each| *each == text.as_bytes()).count(), commands, "{last:?}");
    }
}

#[test]
fn an_answer_in_parts_is_made_as_it_is_read() {
    let daemon = Daemon::start("parts", 20);
    assert_eq!(one_shot(daemon.connect(), "show parts 3").len(), 3 * (64 << 10));
    let before = MADE.load(Relaxed);
    let idle: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = daemon.connect();
            stream.write_all(&[VPPCTL, b"show parts 100000\n"].concat()).unwrap();
            stream
        })
        .collect();
    // Until they are let go, for which half a second is set.
    for mut stream in idle {
        assert_eq!(one_shot(daemon.connect(), "show version"), "weft 1\r\n");
        stream.set_nonblocking(true).unwrap();
        let gone = |_: &usize| {
            thread::sleep(Duration::from_millis(10));
            stream.write(b" ").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
        };
        assert!((0..2000).find(gone).is_some(), "a client that reads nothing is let go");
    }
    // The 4 MiB that are kept for a client, what its socket holds, and a part.
    let made = MADE.load(Relaxed) - before;
    assert!((8..8 * (64 + 16)).contains(&made), "{made} parts were made for nobody");
    // All of a longer answer, for who reads it.
    assert_eq!(one_shot(daemon.connect(), "show parts 200").len(), 200 * (64 << 10));
    // A person's pager needs all of it.
    let mut person = daemon.connect();
    person.write_all(&[XTERM, b"show parts 200\r"].concat()).unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("longer than 8 MiB") {
        let mut bytes = [0; 4096];
        let count = person.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended");
        said.extend_from_slice(&bytes[..count]);
    }
}

#[test]
fn a_reader_that_stops_delays_nobody() {
    let daemon = Daemon::start("slow", 10);
    let mut slow = daemon.connect();
    slow.write_all(VPPCTL).unwrap();
    slow.write_all(&b"show lines 100000\n".repeat(20)).unwrap();
    for _ in 0..20 {
        assert_eq!(one_shot(daemon.connect(), "show version"), "weft 1\r\n");
    }
    // It is let go in the end, with what had been sent.
    slow.set_nonblocking(true).unwrap();
    let gone = |_: &usize| {
        thread::sleep(Duration::from_millis(10));
        slow.write(b" ").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
    };
    assert!((0..2000).find(gone).is_some(), "a client that reads nothing is let go");
    let mut left = Vec::new();
    match slow.read_to_end(&mut left) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(left.len() < 100_000 * 20 * 7, "{} bytes", left.len());
}
