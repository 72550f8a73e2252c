// SPDX-License-Identifier: Apache-2.0
//! Devices on their way out.
//!
//! The last frames of a port may take half a second to leave, and the kernel waits for grace periods when a socket or a
//! TAP is closed. A helper thread does that, once all workers have given up their part, while the main thread goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use weft_engine::Engine;

use super::{DeviceError, HostKey};
use crate::state::Dataplane;

/// How long a new port waits for an old one on the same Linux interface: longer than a port takes to close.
const PATIENCE: Duration = Duration::from_secs(2);

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

    fn has(&mut self, host: &HostKey) -> bool {
        self.count() > 0 && self.list.iter().any(|(other, _)| other == host)
    }
}

impl Dataplane {
    /// Waits until `host` is no longer being closed.
    pub(super) fn wait_until_closed(&mut self, host: &HostKey) -> Result<(), DeviceError> {
        match self.settle(PATIENCE, |dataplane| !dataplane.devices.closing.has(host)) {
            true => Ok(()),
            false => Err(DeviceError::Closing(host.name.clone())),
        }
    }
}
