// SPDX-License-Identifier: Apache-2.0
//! A person at a pseudo-terminal.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command as Process, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::Winsize,
    sys::signal::{SigHandler, Signal, signal},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A program on a terminal.
pub struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    weftctl: Child,
}

impl Terminal {
    /// Starts `weftctl` on a terminal of `columns` and `rows`, or of no size.
    pub fn open(mut weftctl: Process, size: Option<(u16, u16)>) -> Self {
        let size = size.map(|(ws_col, ws_row)| Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 });
        let pty = nix::pty::openpty(size.as_ref(), None).unwrap();
        let screen = File::from(pty.master.try_clone().unwrap());
        weftctl.stdin(pty.slave.try_clone().unwrap());
        weftctl.stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
        let at_prompt = || {
            for ending in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
                // SAFETY: the default action runs no code of ours.
                unsafe { signal(ending, SigHandler::SigDfl) }?;
            }
            Ok(())
        };
        // Tests that run in the background, or under nohup, ignore signals, and what is ignored is inherited; a shell at a
        // terminal starts its commands without.
        // SAFETY: sigaction(2) may be called between fork and exec (signal-safety(7)), and nothing else is.
        unsafe { weftctl.pre_exec(at_prompt) };
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

    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for `text`, and forgets everything up to it.
    pub fn wait_for(&mut self, text: &str) {
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

    pub fn pid(&self) -> i32 {
        self.weftctl.id() as i32
    }

    /// Waits for the end and gives the exit status.
    pub fn end(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.weftctl.try_wait().unwrap() {
                return status;
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
