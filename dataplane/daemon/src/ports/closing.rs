// SPDX-License-Identifier: Apache-2.0
//! A Linux interface that is still being closed can be opened again in a moment: [`weft_devices::closing`].

use std::thread;
use std::time::{Duration, Instant};

use weft_devices::closing::HostKey;
use weft_engine::Engine;

use super::{DeviceError, Devices};

/// How long a new port waits for an old one on the same Linux interface: longer than a port takes to close.
const PATIENCE: Duration = Duration::from_secs(2);

impl Devices {
    /// Waits until `host` is no longer being closed. Meanwhile the engine does what is due.
    pub(super) fn wait_until_closed(
        &mut self,
        engine: &mut Engine,
        host: &HostKey,
    ) -> Result<(), DeviceError> {
        let deadline = Instant::now() + PATIENCE;
        while self.closing.has(host) {
            if Instant::now() >= deadline {
                return Err(DeviceError::Closing(host.name().to_owned()));
            }
            engine.reclaim();
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}
