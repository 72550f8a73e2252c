// SPDX-License-Identifier: Apache-2.0
//! An interface of the packet generator, as the device below it. [`super::Pg`] has its node, its streams and its capture, and
//! deletes them itself.

use super::PgId;
use crate::device::{Device, DeviceKind, Leaving};

/// What it is.
pub static PG: DeviceKind =
    DeviceKind { word: "packet-generator", sentence: "a packet-generator interface", class: "pg" };

/// An interface of the packet generator.
pub struct PgDevice(pub PgId);

impl Device for PgDevice {
    fn kind(&self) -> &'static DeviceKind {
        &PG
    }

    fn close(self: Box<Self>, _: &mut Leaving<'_>) {}
}
