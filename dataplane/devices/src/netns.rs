// SPDX-License-Identifier: Apache-2.0
//! Network namespaces: an interface of another namespace is reached by doing its set-up there.
//!
//! A socket belongs to the namespace of the thread that created it, for good; so does an XDP
//! attachment. Only creation needs the namespace, afterwards the descriptors serve from any thread.
//! The calling thread never changes its own namespace: work for another one runs on a helper thread
//! that ends with it.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

/// A network namespace to open interfaces in.
#[derive(Debug)]
pub struct NetNs {
    /// `None` is the namespace that the process runs in.
    other: Option<(OwnedFd, PathBuf)>,
}

/// Why work in a namespace can't be done.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// No such file, or no permission.
    #[error("network namespace {path}: {source}", path = path.display())]
    Open { path: PathBuf, source: io::Error },
    /// Not a network namespace, or CAP_SYS_ADMIN is missing.
    #[error(
        "enter network namespace {path}: {source}; it takes CAP_SYS_ADMIN, and a file under /run/netns or \
         /proc/PID/ns/net",
        path = path.display()
    )]
    Enter { path: PathBuf, source: io::Error },
}

impl NetNs {
    /// The namespace that the process runs in.
    pub fn current() -> Self {
        Self { other: None }
    }

    /// The namespace behind a path such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn open(path: &Path) -> Result<Self, NetNsError> {
        // A FIFO in its place does not wait for its writer; it cannot be entered.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = opened.map_err(|source| NetNsError::Open { path: path.to_owned(), source })?;
        Ok(Self { other: Some((file.into(), path.to_owned())) })
    }

    /// Runs `work` in this namespace and waits for it.
    ///
    /// # Errors
    /// If the namespace can't be entered.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, NetNsError> {
        let Some((fd, path)) = &self.other else { return Ok(work()) };
        let helper = || {
            // SAFETY: no pointers are passed; only the helper thread changes its namespace.
            if unsafe { libc::setns(fd.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(NetNsError::Enter { path: path.clone(), source: io::Error::last_os_error() });
            }
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(helper).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}
