// SPDX-License-Identifier: Apache-2.0
//! The few calls of the C library that have no safe face in `nix`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, pipe, setsid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::cpu::{Priority, Scheduler};

/// Gives the calling thread a scheduling policy (sched(7)).
pub fn schedule(scheduler: Scheduler) -> io::Result<()> {
    let (policy, priority) = match scheduler {
        Scheduler::Other => (libc::SCHED_OTHER, 0),
        Scheduler::Batch => (libc::SCHED_BATCH, 0),
        Scheduler::Idle => (libc::SCHED_IDLE, 0),
        Scheduler::Fifo(Priority(priority)) => (libc::SCHED_FIFO, priority),
        Scheduler::RoundRobin(Priority(priority)) => (libc::SCHED_RR, priority),
    };
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: `parameters` is valid for the call; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the C library's allocator, which is Rust's too, has from the kernel (mallinfo(3)). In bytes, but for `chunks`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heap {
    pub total: u64,
    pub used: u64,
    pub free: u64,
    /// Of `used`, what has a mapping of its own.
    pub mapped: u64,
    /// Pieces that are free.
    pub chunks: u64,
    /// Of `free`, what can go back to the kernel.
    pub releasable: u64,
}

/// The heap as it is now. Walks the free pieces of all arenas: not for the packet path.
#[cfg(target_env = "gnu")]
pub fn heap() -> Heap {
    // SAFETY: no preconditions (MT-Unsafe only in that figures of arenas that others use may not fit together).
    let info = unsafe { libc::mallinfo2() };
    Heap {
        total: (info.arena + info.hblkhd) as u64,
        used: (info.uordblks + info.hblkhd) as u64,
        free: info.fordblks as u64,
        mapped: info.hblkhd as u64,
        chunks: info.ordblks as u64,
        releasable: info.keepcost as u64,
    }
}

/// Other C libraries do not tell.
#[cfg(not(target_env = "gnu"))]
pub fn heap() -> Heap {
    Heap::default()
}

/// Has the main loop watch a descriptor for reading. Must be called within a tokio runtime.
pub fn watch(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let own = fd.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` is open, and the same descriptor, for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) }?)
}

/// Which of the processes that [`daemonise`] made this is.
pub enum Role {
    /// The one that was started. The daemon runs (`true`), or has said why it does not.
    Starter(bool),
    /// The daemon.
    Daemon(Starting),
}

/// The daemon's way to tell that it runs; dropping it without saying so means that it does not.
pub struct Starting(File);

impl Starting {
    /// The daemon runs: the process that was started may end. From here on there is no terminal.
    pub fn done(mut self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        self.0.write_all(&[1])
    }
}

/// Goes into the background, in a session of its own. The process that was started waits until the daemon is
/// [`Starting::done`], so that whoever started it learns how that went.
///
/// To be called while there is one thread: a fork takes along only the caller's.
pub fn daemonise() -> io::Result<Role> {
    let (reader, writer): (OwnedFd, OwnedFd) = pipe()?;
    if fork()? {
        drop(writer);
        let mut word = [0];
        return Ok(Role::Starter(File::from(reader).read_exact(&mut word).is_ok()));
    }
    drop(reader);
    setsid()?;
    // Once more, so that the daemon leads no session and can never get a terminal (credentials(7)).
    if fork()? {
        std::process::exit(0);
    }
    Ok(Role::Daemon(Starting(writer.into())))
}

/// Whether this is the parent.
fn fork() -> Result<bool, Errno> {
    // SAFETY: the process has one thread (condition of `daemonise`), so the child is a whole copy and may do anything.
    Ok(matches!(unsafe { nix::unistd::fork() }?, ForkResult::Parent { .. }))
}
