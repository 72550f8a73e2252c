// SPDX-License-Identifier: Apache-2.0
//! What the main thread has other threads do, because it waits for nothing: everybody's commands, messages and timers run on it.
//!
//! [`Background`] is a piece of work on a thread of its own, whose result is polled for. [`mod@file`] reads and makes the files that
//! others name: only regular ones, no more than a limit, and with the rights of whoever asks ([`Rights`]), not with the daemon's.
//!
//! May be used from any thread; nothing here is global. A thread per piece of work costs some 30 us, and is the only way to open a
//! file with the rights of another user without lending them to the whole process.
#![deny(unsafe_code)]

pub mod file;
pub mod rights;

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

pub use rights::Rights;

/// Work on a thread of its own.
pub struct Background<T>(Receiver<T>);

impl<T: Send + 'static, E: From<io::Error> + Send + 'static> Background<Result<T, E>> {
    /// Begins it, with `rights` towards files.
    pub fn start(
        rights: &Rights,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> io::Result<Background<Result<T, E>>> {
        let rights = rights.clone();
        Background::spawn(move || {
            rights.assume()?;
            work()
        })
    }
}

impl<T: Send + 'static> Background<T> {
    /// Begins it with the daemon's rights, for work that opens no files.
    pub fn spawn(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Background<T>> {
        let (sender, receiver) = sync_channel(1);
        // Nobody joins it: what it has to say is in the channel, and whoever does not wait any more has dropped that.
        thread::Builder::new().name("weft_background".into()).spawn(move || {
            let _ = sender.send(work());
        })?;
        Ok(Background(receiver))
    }

    /// The result, once it is there. `None`: ask again later.
    ///
    /// # Errors
    /// The work has panicked.
    pub fn poll(&self) -> Result<Option<T>, Panicked> {
        match self.0.try_recv() {
            Ok(result) => Ok(Some(result)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Panicked),
        }
    }

    /// Waits for the result: for threads that may, and for what takes no time worth speaking of.
    ///
    /// # Errors
    /// The work has panicked.
    pub fn wait(self) -> Result<T, Panicked> {
        self.0.recv().map_err(|_| Panicked)
    }
}

/// The work ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a background thread has panicked; its report is on standard error")]
pub struct Panicked;

impl From<Panicked> for io::Error {
    fn from(error: Panicked) -> io::Error {
        io::Error::other(error)
    }
}
