// SPDX-License-Identifier: Apache-2.0
//! A loopback: no device at all. Its interface holds addresses, and its node that transmits is everybody's.

use crate::device::{Device, DeviceKind, Leaving};

/// What it is.
pub static LOOPBACK: DeviceKind =
    DeviceKind { word: "loopback", sentence: "a loopback interface", class: "Loopback" };

/// A loopback.
pub struct Loopback {
    /// The number in its name.
    pub instance: u32,
}

impl Device for Loopback {
    fn kind(&self) -> &'static DeviceKind {
        &LOOPBACK
    }

    fn close(self: Box<Self>, _: &mut Leaving<'_>) {}
}
