// SPDX-License-Identifier: Apache-2.0
//! Devices on their way out.
//!
//! The last frames of a port may take half a second to leave, and the kernel waits for grace periods when a socket or a
//! TAP is closed. A helper thread does that, once all workers have given up their part, while the main thread goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use weft_engine::Engine;

use crate::netdev::{LinkName, NetdevError};
use crate::netns::{NetNs, NetNsError};

/// A Linux interface and its namespace: the same one is not opened twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostKey {
    name: String,
    namespace: Option<PathBuf>,
}

impl HostKey {
    /// Of that name, in the namespace at that path; `None`: in that of the process.
    pub fn new(name: &str, namespace: Option<PathBuf>) -> Self {
        HostKey { name: name.to_owned(), namespace }
    }

    /// The name of the Linux interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, as the kernel takes it.
    ///
    /// # Errors
    /// If it is no name of a Linux interface.
    pub fn link_name(&self) -> Result<LinkName, NetdevError> {
        self.name.parse()
    }

    /// Its namespace.
    ///
    /// # Errors
    /// If there is none.
    pub fn open_namespace(&self) -> Result<NetNs, NetNsError> {
        self.namespace().map_or_else(|| Ok(NetNs::current()), NetNs::open)
    }

    /// Its namespace, if it is not that of the process.
    pub fn namespace(&self) -> Option<&Path> {
        self.namespace.as_deref()
    }
}

/// What is being closed.
#[derive(Default)]
pub struct Closing {
    list: Vec<(HostKey, Arc<AtomicBool>)>,
}

/// Says that it is over, whatever way it ends.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Closing {
    /// Runs `close` on a helper thread once every worker has applied what was posted before now.
    pub fn begin(&mut self, engine: &mut Engine, host: HostKey, close: impl FnOnce() + Send + 'static) {
        let over = Arc::new(AtomicBool::new(false));
        let guard = Over(Arc::clone(&over));
        let name = host.name.clone();
        self.list.push((host, over));
        engine.after_workers(move |_| {
            let work = move || {
                close();
                drop(guard);
            };
            if let Err(error) = thread::Builder::new().name("weft_close".into()).spawn(work) {
                tracing::error!("{name} is dropped, not closed: no thread for it: {error}");
            }
        });
    }

    /// How many are not over yet.
    pub fn count(&mut self) -> usize {
        self.list.retain(|(_, over)| !over.load(Ordering::Acquire));
        self.list.len()
    }

    /// Whether a Linux interface is being closed.
    pub fn has(&mut self, host: &HostKey) -> bool {
        self.count() > 0 && self.list.iter().any(|(other, _)| other == host)
    }
}
