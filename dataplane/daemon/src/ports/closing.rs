// SPDX-License-Identifier: Apache-2.0
//! A Linux interface that is still being closed can be opened again in a moment: [`weft_devices::closing`].

use std::time::Duration;

use weft_devices::closing::HostKey;

use super::DeviceError;
use crate::state::Dataplane;

/// How long a new port waits for an old one on the same Linux interface: longer than a port takes to close.
const PATIENCE: Duration = Duration::from_secs(2);

impl Dataplane {
    /// Waits until `host` is no longer being closed.
    pub(super) fn wait_until_closed(&mut self, host: &HostKey) -> Result<(), DeviceError> {
        match self.settle(PATIENCE, |dataplane| !dataplane.devices.closing.has(host)) {
            true => Ok(()),
            false => Err(DeviceError::Closing(host.name().to_owned())),
        }
    }
}
