// SPDX-License-Identifier: Apache-2.0
//! Whether the nodes of a plugin are called, and what is known of their failures.
//!
//! Shared by the main thread and the plugin's nodes on all workers. A node reads one byte per vector; all else happens when
//! a node has failed, which it does once.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weft_engine::ThreadIndex;
use weft_engine::wait::Waker;

/// What a plugin does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Its nodes are called.
    Running = 0,
    /// Packets go on without its nodes, because the operator wants it so.
    Disabled = 1,
    /// Likewise, because it has failed.
    Failed = 2,
}

/// A failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The node, or the command, or whatever it was.
    pub place: String,
    /// Where.
    pub thread: ThreadIndex,
    /// What the panic said.
    pub said: String,
}

/// A running call of a node: since when, in clocks; 0 means that there is none.
#[derive(Default)]
pub(crate) struct Since(pub(crate) AtomicU64);

/// The health of one plugin.
pub struct Health {
    mode: AtomicU8,
    failures: AtomicU64,
    news: Mutex<Vec<Failure>>,
    main: Waker,
}

impl Health {
    pub(crate) fn new(main: Waker) -> Arc<Health> {
        Arc::new(Health { mode: AtomicU8::new(0), failures: AtomicU64::new(0), news: Mutex::default(), main })
    }

    /// Whether nodes are called. The one test per vector.
    #[inline(always)]
    pub fn runs(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == Mode::Running as u8
    }

    /// What the plugin does.
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Running,
            1 => Mode::Disabled,
            _ => Mode::Failed,
        }
    }

    /// Has the nodes called, or not, from the next vector on.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Failures so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Cuts the plugin out and tells the main thread.
    #[cold]
    pub fn fail(&self, failure: Failure) {
        self.set(Mode::Failed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        self.main.wake();
    }

    /// Failures that the main thread has not heard of.
    pub fn news(&self) -> Vec<Failure> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
