// SPDX-License-Identifier: Apache-2.0
//! The prompt, on a pseudo-terminal.

use std::{
    fs::File,
    io::{Read, Write},
    process::Child,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::daemon::Daemon;

const PATIENCE: Duration = Duration::from_secs(10);

/// A person at a terminal.
struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    weftctl: Child,
}

impl Terminal {
    fn open(daemon: &Daemon) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let screen = File::from(pty.master.try_clone().unwrap());
        let mut weftctl = daemon.weftctl();
        weftctl.stdin(pty.slave.try_clone().unwrap());
        weftctl.stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
        let child = weftctl.spawn().unwrap();
        // The command still holds the terminal's other side; without it a read ends when the child does.
        drop(weftctl);
        let (send, receive) = channel();
        thread::spawn(move || {
            let (mut screen, mut bytes) = (screen, [0; 4096]);
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                if send.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard: File::from(pty.master), screen: receive, seen: String::new(), weftctl: child }
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for `text`, and forgets everything up to it.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} in {:?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended with {:?}", self.seen),
            }
        }
    }

    /// Waits for the end and gives the exit status.
    fn end(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.weftctl.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("weftctl does not end; it said {:?}", self.seen);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.weftctl.kill();
        let _ = self.weftctl.wait();
    }
}

#[test]
fn a_session() {
    let daemon = Daemon::start("session");
    let mut terminal = Terminal::open(&daemon);
    terminal.wait_for("toy 1. Tab completes");
    terminal.wait_for("toy# ");

    terminal.type_in("show interface\r");
    terminal.wait_for("eth0 down\r\ntap0 up\r\n");
    terminal.wait_for("toy# ");

    terminal.type_in("show bogus\r");
    terminal.wait_for("unknown word \"bogus\"");
    terminal.wait_for("^^^^^");
    terminal.wait_for("toy# ");

    // Tab finishes each word; the name of the interface comes from the daemon.
    terminal.type_in("set\tint\tst\tet\tu\t\r");
    terminal.wait_for("set interface state eth0 up");
    terminal.wait_for("toy# ");
    terminal.type_in("show interface\r");
    terminal.wait_for("eth0 up\r\n");
    terminal.wait_for("toy# ");

    // `?` answers at once and gives the line back.
    terminal.type_in("set interface state ?");
    terminal.wait_for("set interface state <interface> up|down");
    terminal.wait_for("eth0");
    terminal.wait_for("toy# ");
    terminal.wait_for("set interface state ");
    terminal.type_in("tap0 down\r");
    terminal.wait_for("toy# ");

    // ^C drops the line, not the session.
    terminal.type_in("nonsense\x03");
    terminal.wait_for("toy# ");
    terminal.type_in("show interface\r");
    terminal.wait_for("tap0 down\r\n");
    terminal.wait_for("toy# ");
    terminal.type_in("quit\r");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn history_outlives_the_session() {
    let daemon = Daemon::start("history");
    let mut first = Terminal::open(&daemon);
    first.wait_for("toy# ");
    first.type_in("set interface state eth0 up\r");
    first.wait_for("toy# ");
    first.type_in("\x04");
    assert_eq!(first.end(), Some(0), "^D leaves");

    let mut second = Terminal::open(&daemon);
    second.wait_for("toy# ");
    second.type_in("\x1b[A");
    second.wait_for("set interface state eth0 up");
}

#[test]
fn no_daemon() {
    let daemon = Daemon::start("gone");
    let mut weftctl = daemon.weftctl();
    weftctl.arg("--socket=/nonexistent");
    let pty = nix::pty::openpty(None, None).unwrap();
    let status = weftctl.stdin(pty.slave).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
