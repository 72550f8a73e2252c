// SPDX-License-Identifier: Apache-2.0
//! What interfaces stand on: devices, and Linux interfaces, which have an MTU and a MAC address of their own.
//!
//! A change of these is seen outside of the process at once, so a transaction makes it last, and takes it back if a later
//! one fails. What a device is, this crate does not know: a step that creates an interface has a description, which means
//! something to those who open it.
//!
//! A value that an owner has heard from a Linux interface is never written back to that interface: by then it may have
//! another, and the two would chase each other, one message of netlink for each.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Debug;

use thiserror::Error;
use weft_devices::netdev::NetdevError;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Interfaces, Kind, Owner};

/// Makes a change as if it had not been.
pub type Undo<'a> = Box<dyn FnOnce() + 'a>;

/// Why a link cannot be so.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The Linux interface refuses.
    #[error(transparent)]
    Netdev(#[from] NetdevError),
    /// A device cannot be opened, or not be given up.
    #[error(transparent)]
    Device(Box<dyn StdError + Send + Sync>),
}

/// A device that is to be below a new interface, as [`Links::open`] knows it.
pub trait NewDevice: Any + Debug {}

/// What an interface on a device will be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Described {
    /// What it is.
    pub kind: Kind,
    /// Its address.
    pub mac: MacAddr,
    /// Its largest IP packet.
    pub mtu: u16,
    /// The largest that it can have: see [`Links::largest_mtu`].
    pub largest_mtu: (u32, &'static str),
    /// Whether there is a link at once.
    pub link_up: bool,
    /// Whether it is up at once.
    pub admin_up: bool,
}

impl Described {
    /// An interface of which nothing else is known.
    pub fn new(kind: Kind, mac: MacAddr, mtu: u16) -> Described {
        Described {
            kind,
            mac,
            mtu,
            largest_mtu: (u16::MAX.into(), ""),
            link_up: kind.is_always_up(),
            admin_up: false,
        }
    }
}

/// The nodes of a device that has been opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The one that transmits.
    pub tx: NodeId,
    /// That of the host's side, [`NodeId::DROP`] if there is none.
    pub host: NodeId,
}

impl From<NodeId> for Opened {
    fn from(tx: NodeId) -> Opened {
        Opened { tx, host: NodeId::DROP }
    }
}

/// What those may use who keep something of interfaces: devices, and whoever else hears that one comes or goes.
pub struct Foundation<'a> {
    /// Graph, features, workers.
    pub engine: &'a mut Engine,
    /// All interfaces.
    pub interfaces: &'a Interfaces,
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

    /// What an interface on a device will be like. Nobody sees that it was asked.
    fn describe(&self, device: &dyn NewDevice, index: InterfaceIndex) -> Result<Described, LinkError>;

    /// Opens the device below a new interface, which workers do not see yet.
    fn open(
        &mut self,
        cx: &mut Foundation<'_>,
        device: &dyn NewDevice,
        index: InterfaceIndex,
    ) -> Result<Opened, LinkError>;

    /// Closes a device that was opened for a change set that is refused.
    fn close(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex);

    /// Whether those who keep something of an interface can give it up.
    fn may_go(&mut self, interfaces: &Interfaces, index: InterfaceIndex) -> Result<(), LinkError>;
}
