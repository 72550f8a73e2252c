// SPDX-License-Identifier: Apache-2.0
//! The binary `weft` as an operator meets it: it starts, serves, tells what is wrong, and leaves nothing behind.

#[path = "../../devices/tests/common/mod.rs"]
mod common;

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use common::{Namespace, RawSocket, eventually, udp, veth};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weft_cli::client::{Client, ClientError, Output as Answer};

const WEFT: &str = env!("CARGO_BIN_EXE_weft");
/// How long a daemon may take to end.
const STOP: Duration = Duration::from_secs(2);

/// A directory that ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weft-daemon-{}-{serial}", std::process::id()));
        fs::create_dir(&path).expect("the directory is new");
        Folder(path)
    }

    fn runtime(&self) -> PathBuf {
        self.0.join("run")
    }

    /// Writes a configuration with sockets and worker of its own.
    fn config(&self, unix: &str, rest: &str) -> PathBuf {
        let path = self.0.join("startup.conf");
        let runtime = self.runtime();
        let text = format!("unix {{ runtime-dir {} {unix} }}\n{rest}\n", runtime.display());
        fs::write(&path, text).expect("the directory is ours");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A router's namespace with ports `p0` and `p1`, and the hosts behind them in another.
struct Bed {
    near: Namespace,
    far: Namespace,
    folder: Folder,
}

impl Bed {
    fn new(queues: u32) -> Bed {
        let bed = Bed { near: Namespace::new("near"), far: Namespace::new("far"), folder: Folder::new() };
        for port in ["p0", "p1"] {
            veth(&bed.near, port, &bed.far, &format!("{port}-far"), queues);
        }
        bed
    }

    fn command(&self, config: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.near.name, WEFT, "-c"]).arg(config);
        command
    }

    /// Starts a daemon and waits until it answers.
    fn start(&self, rest: &str) -> Daemon<'_> {
        let config = self.folder.config("nodaemon", rest);
        let log = fs::File::create(self.folder.0.join("log")).expect("the directory is ours");
        // `ip netns exec` becomes the program, so the child is the daemon.
        let child = self.command(&config).stderr(log).spawn().expect("ip and weft can be run");
        let mut daemon = Daemon { bed: self, child };
        eventually("the daemon answers", || {
            let ended = daemon.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", self.log());
            daemon.try_text("show version").ok()
        });
        daemon
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    /// That nothing of a daemon is left.
    fn assert_clean(&self) {
        let links = self.near.ip("-d -o link show");
        assert!(!links.contains("xdp"), "an XDP program is left: {links}");
        let names: Vec<_> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        assert_eq!(names.len(), 3, "lo and the two ports, nothing else: {names:?}");
        let files: Vec<_> = fs::read_dir(self.folder.runtime()).expect("it stays").flatten().collect();
        assert!(files.is_empty(), "files are left: {files:?}");
    }
}

/// A running daemon; killed if the test fails.
struct Daemon<'a> {
    bed: &'a Bed,
    child: Child,
}

impl Daemon<'_> {
    fn ask(&self, command: &str, json: bool) -> Result<Answer, ClientError> {
        let socket = self.bed.folder.runtime().join("weftctl.sock");
        Client::connect(&socket, "test", Some(Duration::from_secs(10)))?.run(command, json)
    }

    fn try_text(&self, command: &str) -> Result<String, ClientError> {
        match self.ask(command, false)? {
            Answer::Text(text) => Ok(text),
            Answer::Json(json) => panic!("text was asked for, not {json}"),
        }
    }

    fn text(&self, command: &str) -> String {
        self.try_text(command).unwrap_or_else(|error| panic!("{command}: {error}\n{}", self.bed.log()))
    }

    fn json(&self, command: &str) -> Value {
        match self.ask(command, true) {
            Ok(Answer::Json(json)) => serde_json::from_str(&json).expect("JSON"),
            other => panic!("{command}: {other:?}\n{}", self.bed.log()),
        }
    }

    /// A counter of an interface.
    fn counter(&self, interface: &str, counter: &str) -> u64 {
        let shown = self.json(&format!("show interface {interface}"));
        shown["interfaces"][0][counter].as_u64().expect("a counter of that name")
    }

    fn buffers_used(&self) -> u64 {
        self.json("show buffers")["pools"][0]["used"].as_u64().expect("a number")
    }

    /// Ends it as a service manager does; it must end in time, in order, and leave nothing.
    fn stop(mut self) {
        let started = Instant::now();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("it is our child");
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(started.elapsed() < STOP, "it still runs\n{}", self.bed.log());
            sleep(Duration::from_millis(2));
        };
        assert!(status.success(), "{status}\n{}", self.bed.log());
        assert!(!self.bed.log().contains("not given back"), "buffers are lost\n{}", self.bed.log());
        self.bed.assert_clean();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Main and the first worker share a core, so that two will do.
const TWO_WORKERS: &str = "cpu { main-core 0 corelist-workers 0-1 }";

const PORTS: &str = "interfaces {
    af_xdp p0 { ip address 10.1.0.1/24 rx-queue-size 128 tx-queue-size 128 }
    af_xdp p1 { name lan1 ip address 10.2.0.1/24 host-tap lan1h }
    tap t0 { host-if-name weft0 }
    loopback 3 { ip address 192.0.2.1/32 state down }
}";

#[test]
fn it_serves_what_is_configured_and_leaves_nothing() {
    let bed = Bed::new(2);
    let daemon = bed.start(PORTS);
    assert!(daemon.text("show version").starts_with("weft v0."));

    let shown = daemon.json("show interface");
    let state = |number: usize| {
        let interface = &shown["interfaces"][number];
        (
            interface["name"].as_str().expect("a name"),
            interface["admin_up"].as_bool(),
            interface["link_up"].as_bool(),
        )
    };
    let (up, down) = (Some(true), Some(false));
    assert_eq!(
        [state(0), state(1), state(2), state(3), state(4)],
        [("lan1", up, up), ("local0", down, down), ("loop3", down, up), ("p0", up, up), ("t0", up, up)]
    );

    let hardware = daemon.json("show hardware-interfaces p0")["interfaces"][0].clone();
    assert_eq!((&hardware["mode"], &hardware["driver"]), (&"native copy".into(), &"veth".into()));
    assert_eq!(hardware["rings"], serde_json::json!([128, 128, 128, 128]));
    assert!(hardware["refused"][0].as_str().expect("a reason").starts_with("native zero-copy: "));
    // Open checksums are filled in, and with a program in the driver the kernel lets nobody send larger frames.
    assert_eq!(hardware["advice"], serde_json::json!([]));
    assert_eq!(daemon.json("show interface rx-placement")["queues"].as_array().map(Vec::len), Some(5));

    let links = bed.near.ip("-o link show");
    assert!(links.contains("lan1h") && links.contains("weft0"), "{links}");
    let mac = |line: &str| {
        line.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned)
    };
    let of = |name: &str| links.lines().find(|line| line.contains(&format!(": {name}"))).and_then(mac);
    assert_eq!(of("lan1h"), of("p1"), "the host's side of a port has its address");

    // The stats socket hands out the segment that the daemon counts in.
    let reader = weft_stats::Reader::connect(bed.folder.runtime().join("stats.sock")).expect("it is served");
    let names = reader.dump("/if/names").expect("the segment is in order");
    assert!(format!("{names:?}").contains("\"p0\", \"lan1\", \"t0\", \"loop3\""), "{names:?}");

    // Somebody pulls the cable, and puts it back.
    let link = |up: bool| {
        let word = if up { "up" } else { "down" };
        bed.far.ip(&format!("link set p0-far {word}"));
        eventually("the daemon notices", || {
            let shown = daemon.json("show interface p0");
            (shown["interfaces"][0]["link_up"] == up).then_some(())
        });
    };
    link(false);
    link(true);
    assert!(daemon.text("show logging").contains("p0: link is down: p0 has no carrier"));

    daemon.text("delete tap t0");
    daemon.text("delete tap lan1h");
    eventually("both TAPs are gone", || {
        let links = bed.near.ip("-o link show");
        (!links.contains("lan1h") && !links.contains("weft0")).then_some(())
    });
    daemon.stop();
}

/// Frames for nobody: received, counted, dropped.
fn spray(socket: &RawSocket, count: u32) {
    for serial in 0..count {
        socket.send(&udp(Ipv4Addr::new(10, 9, 9, 9), 9, serial));
        // Slowly: a worker on a busy machine may have to wait for its core.
        if serial % 16 == 15 {
            sleep(Duration::from_millis(1));
        }
    }
}

/// A sender that sprays until it is told to stop, with pauses: a ring of 4,096 holds what comes in 0.3 s, so that a worker
/// may wait that long for its core on a busy machine.
struct Traffic {
    go_on: Arc<AtomicBool>,
    sender: Option<JoinHandle<u64>>,
}

impl Traffic {
    fn start(socket: RawSocket) -> Traffic {
        let go_on = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&go_on);
        let send = move || {
            let mut sent = 0;
            while flag.load(Ordering::Relaxed) {
                spray(&socket, 64);
                sent += 64;
                sleep(Duration::from_millis(5));
            }
            sent
        };
        Traffic { go_on, sender: Some(std::thread::spawn(send)) }
    }

    /// Ends it; gives the number of frames.
    fn stop(mut self) -> u64 {
        self.go_on.store(false, Ordering::Relaxed);
        self.sender.take().and_then(|sender| sender.join().ok()).expect("the sender lives")
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
    }
}

#[test]
fn ports_come_and_go_under_traffic() {
    let bed = Bed::new(1);
    let daemon = bed.start("interfaces { af_xdp p0 af_xdp p1 }");
    let at_rest = daemon.buffers_used();
    let traffic = Traffic::start(RawSocket::open(&bed.far, "p0-far"));
    for _ in 0..5 {
        daemon.text("delete interface af_xdp p0");
        assert!(!bed.near.ip("-d link show p0").contains("xdp"), "the program is gone at once");
        daemon.text("create interface af_xdp host-if p0 name p0");
        daemon.text("set interface state p0 up");
    }
    eventually("frames arrive again", || (daemon.counter("p0", "rx_packets") > 100).then_some(()));
    traffic.stop();
    eventually("all buffers are back", || (daemon.buffers_used() == at_rest).then_some(()));

    // The Linux interface goes from under the port; the other one works on.
    bed.near.ip("link del p0");
    eventually("the daemon notices", || {
        (daemon.json("show interface p0")["interfaces"][0]["link_up"] == false).then_some(())
    });
    let other = RawSocket::open(&bed.far, "p1-far");
    let before = daemon.counter("p1", "rx_packets");
    spray(&other, 64);
    eventually("the other port receives", || {
        (daemon.counter("p1", "rx_packets") >= before + 64).then_some(())
    });
    daemon.text("delete interface af_xdp p0");
    eventually("its buffers are back", || (daemon.buffers_used() < at_rest).then_some(()));
}

#[test]
fn a_queue_changes_its_worker_without_a_loss() {
    let bed = Bed::new(1);
    let daemon = bed.start(&format!("{TWO_WORKERS} interfaces {{ af_xdp p0 {{ rx-queue-size 4096 }} }}"));
    let thread = || daemon.json("show interface rx-placement")["queues"][0]["thread"].clone();
    assert_eq!(thread(), "weft_wk_0");
    let quiet = daemon.counter("p0", "rx_packets");
    let traffic = Traffic::start(RawSocket::open(&bed.far, "p0-far"));
    for worker in [1, 0, 1, 0, 1] {
        daemon.text(&format!("set interface rx-placement p0 queue 0 worker {worker}"));
        assert_eq!(thread(), format!("weft_wk_{worker}"));
        sleep(Duration::from_millis(20));
    }
    let sent = traffic.stop();
    // The hosts' own chatter may come on top.
    eventually("every frame has arrived", || {
        (daemon.counter("p0", "rx_packets") >= quiet + sent).then_some(())
    });
    assert_eq!(daemon.counter("p0", "rx_miss"), 0);
    for (command, reason) in [
        ("set interface rx-placement p0 worker 7", "there is no worker 7: expected 0 to 1"),
        ("set interface rx-placement p0 queue 3 worker 0", "'p0' has no receive queue 3: expected 0 to 0"),
    ] {
        let refused = daemon.try_text(command).expect_err(command).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
    daemon.stop();
}

fn run_to_its_end(bed: &Bed, config: &Path) -> Output {
    bed.command(config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("ip and weft can be run")
}

#[test]
fn a_start_that_fails_says_where_and_cleans_up() {
    let bed = Bed::new(1);
    let config = bed
        .folder
        .config("nodaemon", "interfaces {\n  af_xdp p0 { host-tap h0 }\n  af_xdp nowhere { name lan7 }\n}");
    let output = run_to_its_end(&bed, &config);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let place =
        format!("{}:4:25: interface lan7: no interface nowhere in this network namespace", config.display());
    assert!(message.contains(&place), "{message}");
    bed.assert_clean();

    for (text, reason) in [
        ("cpu { main-core 1000 }", "core 1000 is not there"),
        ("buffers { page-size 1g }", "page-size 1073741824: expected default, default-hugepage, 4k or 2m"),
        ("statseg { size 1m }", "stats segment"),
        ("interfaces { af_xdp p0 { workers 5 } }", "there is no worker 5"),
        ("interfaces { af_xdp p0 { mtu 30443 } }", "MTU 30443 of 'p0': expected 68 to 30442"),
        ("interfaces { af_xdp p0 { num-rx-queues 2 } }", "2 queues asked"),
    ] {
        let output = run_to_its_end(&bed, &bed.folder.config("nodaemon", text));
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {message}");
        assert!(message.contains(reason), "{text}: {message}");
        bed.assert_clean();
    }
}

#[test]
fn it_goes_into_the_background_when_it_is_ready() {
    let bed = Bed::new(1);
    let config = bed.folder.config("pidfile weft.pid log weft.log", "interfaces { af_xdp p0 }");
    let output = run_to_its_end(&bed, &config);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runtime = bed.folder.runtime();
    let pid: i32 = fs::read_to_string(runtime.join("weft.pid"))
        .expect("it was written")
        .trim()
        .parse()
        .expect("a number");
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).expect("the daemon runs");
    assert_eq!(comm.trim(), "weft_main");
    let socket = runtime.join("weftctl.sock");
    let mut client = Client::connect(&socket, "test", None).expect("it answers at once");
    client.run("show interface p0", false).expect("the port is there");

    // A second one finds the first.
    let output = run_to_its_end(&bed, &config);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("another daemon already listens at"), "{message}");
    client.run("show version", false).expect("the first one is untouched");

    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    eventually("it has ended", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    let log = fs::read_to_string(runtime.join("weft.log")).expect("it was written");
    assert!(log.contains("show interface p0") && log.contains("ends: SIGTERM"), "{log}");
    fs::remove_file(runtime.join("weft.log")).expect("it is ours");
    bed.assert_clean();
}

#[test]
fn it_takes_commands_from_its_terminal() {
    let bed = Bed::new(1);
    let config = bed.folder.config("interactive cli-prompt >>", "");
    let mut child = bed
        .command(&config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("ip and weft can be run");
    let mut input = child.stdin.take().expect("it is a pipe");
    input.write_all(b"create loopback interface\nshow verion\nquit\n").expect("it reads");
    let output = child.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "{}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with(">> loop0\n>> show verion\n     ^^^^^^\nunknown word \"verion\""), "{said}");
    bed.assert_clean();
}

#[test]
fn a_command_file_runs_up_to_the_line_that_fails() {
    let bed = Bed::new(1);
    let commands = bed.folder.0.join("commands");
    fs::write(
        &commands,
        "create loopback interface\n# a comment\nset interface state loop9 up\ncreate loopback interface\n",
    )
    .expect("the directory is ours");
    let config = bed.folder.config(&format!("nodaemon startup-config {}", commands.display()), "");
    let log = fs::File::create(bed.folder.0.join("log")).expect("the directory is ours");
    let child = bed.command(&config).stderr(log).spawn().expect("ip and weft can be run");
    let daemon = Daemon { bed: &bed, child };
    eventually("the daemon answers", || daemon.try_text("show version").ok());
    let interfaces = daemon.json("show interface");
    assert_eq!(interfaces["interfaces"].as_array().map(Vec::len), Some(2), "local0 and loop0");
    let place = format!("{}:3: expected interface, found \"loop9\"", commands.display());
    eventually("the log says where", || bed.log().contains(&place).then_some(()));
    daemon.stop();
}
