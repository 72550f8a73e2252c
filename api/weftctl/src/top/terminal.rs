// SPDX-License-Identifier: Apache-2.0
//! The loop on a real terminal, which is given back as it was, whatever ends the loop: a key, a signal, an error, a panic
//! (`ratatui::try_init` sees to that one).

use std::{
    io,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal, raise},
    signalfd::{SfdFlags, SignalFd},
};
use ratatui::crossterm::event::{self, Event};
use weft_stats::tables::Snapshot;

use super::{
    app::{App, Ask},
    screen, wall,
};
use crate::{session::Failure, source::Source};

/// How long a signal may wait to be noticed.
const NOTICE: Duration = Duration::from_millis(100);
/// The signals that end a program by default and that others send. ^C arrives as a key.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// Gives the terminal back.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // The terminal may be what is gone.
        let _ = ratatui::try_restore();
    }
}

/// Shows a new look every `interval` until a key or a signal ends it.
pub fn run(source: &mut Source, interval: Duration) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Terminal(error.into());
    let ending: SigSet = ENDING.into_iter().collect();
    ending.thread_block().map_err(|errno| failed(errno.into()))?;
    let signals = SignalFd::with_flags(&ending, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|errno| failed(errno.into()))?;
    let ended = {
        let _restore = Restore;
        show(source, interval, &signals)
    };
    if let Some(signal) = ended.map_err(failed)? {
        // Whoever sent it learns that it was obeyed.
        let killed = ending.thread_unblock().and_then(|()| raise(signal));
        killed.map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

/// Says which signal ended it, if one did.
fn show(source: &mut Source, interval: Duration, signals: &SignalFd) -> io::Result<Option<Signal>> {
    let mut terminal = ratatui::try_init()?;
    let mut app = App::new();
    let mut due = Instant::now();
    loop {
        let now = Instant::now();
        if now >= due {
            if !app.paused {
                match source.look(Snapshot::read) {
                    Ok(snapshot) => app.look(snapshot, wall()),
                    Err(error) => app.wait(error.to_string()),
                }
            }
            due = now + interval;
        }
        terminal.draw(|frame| screen::draw(&mut app, frame.area(), frame.buffer_mut(), now))?;
        loop {
            if let Some(signal) = signals.read_signal()? {
                return Ok(Signal::try_from(signal.ssi_signo as i32).ok());
            }
            let left = due.saturating_duration_since(Instant::now());
            if !event::poll(left.min(NOTICE))? {
                if left <= NOTICE {
                    break;
                }
                continue;
            }
            if let Event::Key(key) = event::read()?
                && app.key(key) == Ask::Quit
            {
                return Ok(None);
            }
            break;
        }
    }
}
