// SPDX-License-Identifier: Apache-2.0
//! How an idle worker sleeps without missing a packet.
//!
//! A worker that has found nothing for a while asks its input nodes what may wake it, and waits in poll(2)
//! for those descriptors, for control messages (an eventfd) or for the next timer. A trickle of packets then
//! costs a wake-up each; under load the worker never gets here.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The descriptors that wake a worker.
#[derive(Default)]
pub struct WaitSet {
    fds: Vec<libc::pollfd>,
    busy: bool,
    limit: Option<Duration>,
}

impl WaitSet {
    pub(crate) fn clear(&mut self) {
        self.fds.clear();
        self.busy = false;
        self.limit = None;
    }

    /// Sleep no longer than this: something will be ready then that no descriptor announces.
    pub fn within(&mut self, time: Duration) {
        self.limit = Some(self.limit.map_or(time, |limit| limit.min(time)));
    }

    pub(crate) fn limit(&self, timeout: Duration) -> Duration {
        self.limit.map_or(timeout, |limit| limit.min(timeout))
    }

    /// Wakes when `fd` can be read.
    pub fn readable(&mut self, fd: RawFd) {
        self.fds.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    }

    /// There is work that no descriptor announces: do not sleep.
    pub fn busy(&mut self) {
        self.busy = true;
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Sleeps until a descriptor is ready or `timeout` is over.
    pub(crate) fn sleep(&mut self, timeout: Duration) {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: `fds` and `timeout` are valid for the call. An interrupted or failed call is a short sleep.
        unsafe {
            libc::ppoll(
                self.fds.as_mut_ptr(),
                self.fds.len() as libc::nfds_t,
                &raw const timeout,
                std::ptr::null(),
            );
        }
    }
}

/// Wakes a thread that sleeps in poll(2) or epoll: an eventfd that is written at most once per nap.
#[derive(Clone)]
pub struct Waker {
    inner: Arc<WakerInner>,
}

struct WakerInner {
    fd: OwnedFd,
    pending: AtomicBool,
}

impl Waker {
    /// A new waker.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: creates a descriptor that nobody else has.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Waker {
            inner: Arc::new(WakerInner {
                // SAFETY: just created, owned by nobody else.
                fd: unsafe { OwnedFd::from_raw_fd(fd) },
                pending: AtomicBool::new(false),
            }),
        })
    }

    /// Readable when [`Waker::wake`] was called since the last [`Waker::drain`].
    pub fn fd(&self) -> RawFd {
        self.inner.fd.as_raw_fd()
    }

    /// Wakes the sleeper. From any thread; one system call per nap of the sleeper, whoever calls how often.
    pub fn wake(&self) {
        if !self.inner.pending.swap(true, Ordering::AcqRel) {
            let one = 1u64;
            // SAFETY: writes 8 bytes from a valid place. It cannot block: the counter is far from full.
            unsafe { libc::write(self.fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Called by the sleeper before it looks at what it was woken for.
    pub fn drain(&self) {
        if self.inner.pending.load(Ordering::Acquire) {
            let mut count = 0u64;
            // SAFETY: reads 8 bytes into a valid place; EAGAIN is as good as an answer.
            unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
            // A swap, not a store: it takes over what a concurrent waker published before its own swap.
            self.inner.pending.swap(false, Ordering::AcqRel);
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_wake_ends_a_sleep_and_is_not_lost() {
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.wake();
        let mut set = WaitSet::default();
        set.readable(waker.fd());
        let start = Instant::now();
        set.sleep(Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(5));
        waker.drain();
        set.clear();
        set.readable(waker.fd());
        let start = Instant::now();
        set.sleep(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(19));
    }
}
