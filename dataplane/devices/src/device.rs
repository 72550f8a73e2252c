// SPDX-License-Identifier: Apache-2.0
//! A device: what is below an interface, whatever it is.
//!
//! Whoever makes a device gives it its nodes and queues; from then on the main thread knows it by this trait alone.
//! A method that a kind has nothing to say to, it leaves out. Main thread only.

use std::any::Any;
use std::fmt::Write;

use serde_json::{Map, Value};
use weft_engine::counters::Counters;
use weft_engine::{Engine, InterfaceIndex, NodeId, ThreadIndex};

use crate::closing::Closing;
use crate::netdev::Netdev;

/// What a kind of device is called.
#[derive(PartialEq, Eq, Debug)]
pub struct DeviceKind {
    /// In `show hardware-interfaces`.
    pub word: &'static str,
    /// In sentences, with its article.
    pub sentence: &'static str,
    /// VPP's name of the device class, by which clients of the binary API tell interfaces apart.
    pub class: &'static str,
}

/// What is below an interface.
pub trait Device: Any {
    /// Of what kind it is.
    fn kind(&self) -> &'static DeviceKind;

    /// The Linux interfaces that it stands for. They must carry what the interface carries.
    fn netdevs(&self) -> Vec<&Netdev> {
        Vec::new()
    }

    /// Of these, the one by which the host's stack sends and receives.
    fn host_side(&self) -> Option<&Netdev> {
        None
    }

    /// Whether these have the MAC address of the interface.
    fn shares_mac(&self) -> bool {
        false
    }

    /// The largest IP packet, and where the limit comes from, as the end of a sentence.
    fn mtu_limit(&self) -> (u32, &'static str) {
        (u16::MAX.into(), "")
    }

    /// There are sub-interfaces on it, or none any more: frames are to arrive with their VLAN tags, whichever they are.
    ///
    /// # Errors
    /// Why they do not.
    fn set_tagged(&mut self, _tagged: bool) -> Result<(), String> {
        Ok(())
    }

    /// Frames are switched on it, or no longer: all are to arrive, whichever station they are for.
    ///
    /// # Errors
    /// Why they do not.
    fn set_promiscuous(&mut self, _promiscuous: bool) -> Result<(), String> {
        Ok(())
    }

    /// Whether its link is up, and if not, why. `None`: it has no link that could be asked.
    fn link(&self) -> Option<Result<(), String>> {
        None
    }

    /// Brings the counters up to date that the device, and not a worker, counts.
    fn collect(&self, _interface: InterfaceIndex, _main: &Counters) {}

    /// The node that reads its receive queues.
    fn input(&self) -> Option<NodeId> {
        None
    }

    /// Whether workers never sleep for its sake. Says whether it can be told.
    fn set_polling(&self, _engine: &mut Engine, _interface: InterfaceIndex, _polling: bool) -> bool {
        false
    }

    /// Moves a receive queue to another worker; `arrived` is called when it is there. Says whether queues can be moved.
    fn move_queue(
        &self,
        _engine: &mut Engine,
        _interface: InterfaceIndex,
        _queue: u32,
        _to: ThreadIndex,
        _arrived: Box<dyn FnOnce()>,
    ) -> bool {
        false
    }

    /// What `show hardware-interfaces` says of it.
    fn details(&self) -> Details {
        Details::default()
    }

    /// The interface is about to be deleted: takes back what workers have, and its nodes, and closes the device.
    fn close(self: Box<Self>, leaving: &mut Leaving<'_>);
}

impl dyn Device {
    /// The device, if it is of that type.
    pub fn downcast_ref<D: Device>(&self) -> Option<&D> {
        (self as &dyn Any).downcast_ref()
    }

    /// The same, to be changed.
    pub fn downcast_mut<D: Device>(&mut self) -> Option<&mut D> {
        (self as &mut dyn Any).downcast_mut()
    }
}

/// The interface of a device that is closed, and what that takes.
pub struct Leaving<'a> {
    /// Nodes and workers.
    pub engine: &'a mut Engine,
    /// What takes long is left to a helper thread.
    pub closing: &'a mut Closing,
    /// The interface.
    pub interface: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// Its node that transmits.
    pub tx: NodeId,
}

/// What a device says of itself, for people and for programs.
#[derive(Default)]
pub struct Details {
    /// Lines, two blanks deep.
    pub text: String,
    /// Fields, beside those that every device has.
    pub json: Map<String, Value>,
}

impl Details {
    /// One more line.
    pub fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "  {line}");
    }

    /// One more field.
    pub fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.json.insert(name.to_owned(), value.into());
    }
}
