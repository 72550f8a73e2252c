// SPDX-License-Identifier: Apache-2.0
//! Hands out shared memory, the stats segment and the tables of flows, from threads of their own: whoever wants to know why
//! the main thread hangs must get at them while it does.
//!
//! The main thread starts each and ends it. The thread holds the listener and descriptors of the memory, touches neither
//! tables nor counters, and sleeps while nobody connects. It runs where it was started, on the main thread's core.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe;
use weft_stats::StatsListener;

/// Pause after a client could not be served: out of descriptors, perhaps. It waits, or tries again.
const PAUSE: Duration = Duration::from_millis(500);

/// The running thread. Dropping it ends the thread, and with it the socket.
pub struct MemoryServer {
    /// Closing it is the word to end.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryServer {
    /// Serves `memory` to all who connect to `listener`, from a thread called `name`.
    pub fn start<'a>(
        listener: StatsListener,
        memory: impl IntoIterator<Item = BorrowedFd<'a>>,
        name: String,
    ) -> Result<MemoryServer> {
        let at_socket = || format!("socket {}", listener.path().display());
        let memory: Result<Vec<OwnedFd>, _> =
            memory.into_iter().map(|memory| memory.try_clone_to_owned()).collect();
        let memory = memory.with_context(at_socket)?;
        let (stopped, stop) = pipe().with_context(at_socket)?;
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let memory: Vec<_> = memory.iter().map(AsFd::as_fd).collect();
                if let Err(error) = serve(&listener, &memory, stopped.as_fd()) {
                    tracing::error!("socket {}: {error}", listener.path().display());
                }
            })
            .with_context(|| format!("start the thread {name}"))?;
        Ok(MemoryServer { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MemoryServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &StatsListener, memory: &[BorrowedFd<'_>], stopped: BorrowedFd<'_>) -> nix::Result<()> {
    loop {
        let mut fds = [readable(stopped), readable(listener.as_fd())];
        wait(&mut fds, PollTimeout::NONE)?;
        let [stopped, clients] = &mut fds;
        if stopped.any() != Some(false) {
            return Ok(());
        }
        if clients.any() == Some(false) {
            continue;
        }
        match listener.hand_out(memory) {
            Ok(Some(client)) => {
                tracing::debug!(
                    pid = client.pid,
                    uid = client.uid,
                    "client of {}",
                    listener.path().display()
                );
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("{error}");
                let patience = PollTimeout::try_from(PAUSE).unwrap_or(PollTimeout::ZERO);
                wait(std::slice::from_mut(stopped), patience)?;
            }
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

fn wait(fds: &mut [PollFd<'_>], patience: PollTimeout) -> nix::Result<()> {
    match poll(fds, patience) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_stats::{Reader, Segment};

    #[test]
    fn clients_are_served_while_the_starter_does_nothing_and_the_socket_goes_with_the_server() {
        let path = std::env::temp_dir().join(format!("weft-stats-server-{}.sock", std::process::id()));
        let segment = Segment::new(64 << 10, 1).unwrap();
        let listener = StatsListener::bind(&path, None).unwrap();
        let server = MemoryServer::start(listener, [segment.fd()], "weft_stats".into()).unwrap();
        for heartbeat in 1..4 {
            segment.heartbeat().set(heartbeat);
            let reader = Reader::connect(&path).unwrap();
            let names = reader.ls(&["^/sys/heartbeat$"]).unwrap();
            assert_eq!(names, ["/sys/heartbeat"]);
        }
        drop(server);
        assert!(!path.exists());
    }
}
