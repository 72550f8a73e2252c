// SPDX-License-Identifier: Apache-2.0
//! What interfaces stand on: Linux interfaces, which have an MTU and a MAC address of their own.
//!
//! A change of these is seen outside of the process at once, so a transaction makes it last, and takes it back if a later
//! one fails.
//!
//! A value that an owner has heard from a Linux interface is never written back to that interface: by then it may have
//! another, and the two would chase each other, one message of netlink for each.

use thiserror::Error;
use weft_devices::netdev::NetdevError;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Owner;

/// Makes a change as if it had not been.
pub type Undo<'a> = Box<dyn FnOnce() + 'a>;

/// Why a link cannot be so.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The Linux interface refuses.
    #[error(transparent)]
    Netdev(#[from] NetdevError),
}

/// The devices below interfaces, as far as a change set concerns them.
pub trait Links {
    /// The largest IP packet that an interface can carry, and where the limit comes from, as the end of a sentence.
    fn largest_mtu(&self, index: InterfaceIndex) -> (u32, &'static str);

    /// Has what is below an interface carry packets of that size. What carries more by itself is left alone, so that it goes on
    /// receiving what others send; what was told to carry more for the interface is told to carry less again.
    fn carry(&self, index: InterfaceIndex, mtu: u32, said_by: Owner) -> Result<Undo<'_>, LinkError>;

    /// Gives what is below an interface a MAC address.
    fn set_mac(&self, index: InterfaceIndex, mac: MacAddr, said_by: Owner) -> Result<Undo<'_>, LinkError>;
}

/// Nothing is below any interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLinks;

impl Links for NoLinks {
    fn largest_mtu(&self, _: InterfaceIndex) -> (u32, &'static str) {
        (u16::MAX.into(), "")
    }

    fn carry(&self, _: InterfaceIndex, _: u32, _: Owner) -> Result<Undo<'_>, LinkError> {
        Ok(Box::new(|| {}))
    }

    fn set_mac(&self, _: InterfaceIndex, _: MacAddr, _: Owner) -> Result<Undo<'_>, LinkError> {
        Ok(Box::new(|| {}))
    }
}
