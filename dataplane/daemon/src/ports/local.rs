// SPDX-License-Identifier: Apache-2.0
//! `local0`: the interface with index 0, which VPP's clients take for granted.
//!
//! Messages say 0 for "no interface in particular", and agents skip index 0 when they go through interfaces. So no port has this index:
//! `local0` is made with the [`Dataplane`], before any other, and no front end has a word to delete it. It has no device and no
//! link, so it stays down whatever is set, and no packet arrives or leaves there.

use weft_devices::device::{Device, DeviceKind, Leaving};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;

use super::{DeviceError, DeviceWords, kind};
use crate::state::Dataplane;

kind!(DeviceWords { kind: &LOCAL, keys: &[], commands: Vec::new });

/// Its index.
pub const LOCAL0: InterfaceIndex = InterfaceIndex(0);

/// What it is called.
static LOCAL: DeviceKind = DeviceKind { word: "local", sentence: "the local interface", class: "local" };

/// Its name.
const LOCAL_NAME: &str = "local0";

/// No device at all.
struct Local;

impl Device for Local {
    fn kind(&self) -> &'static DeviceKind {
        &LOCAL
    }

    fn close(self: Box<Self>, _: &mut Leaving<'_>) {}
}

impl Dataplane {
    /// Makes `local0`. There is no other interface yet.
    pub(crate) fn create_local(&mut self) -> Result<(), DeviceError> {
        let made = self.create_bare(LOCAL_NAME, MacAddr::ZERO, 0)?;
        debug_assert_eq!(made, LOCAL0, "it is the first");
        self.devices_mut().add(made, Local);
        Ok(())
    }
}
