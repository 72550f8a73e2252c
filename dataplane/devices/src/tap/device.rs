// SPDX-License-Identifier: Apache-2.0
//! TAPs as devices: interfaces of their own, and the host's side of a port.

use std::sync::Arc;

use weft_engine::{Engine, InterfaceIndex, NodeId, ThreadIndex};

use super::Tap;
use super::input::{FrameSource, Side, TapInput};
use crate::closing::{Closing, HostKey};
use crate::device::{Details, Device, DeviceKind, Leaving};
use crate::netdev::Netdev;

/// What it is.
pub static TAP: DeviceKind = DeviceKind { word: "tap", sentence: "a TAP", class: "tap" };

/// Has a worker read a TAP, or another source of frames, by its tap-input.
pub fn place(engine: &mut Engine, input: NodeId, thread: ThreadIndex, side: Side, tap: Arc<dyn FrameSource>) {
    engine.post(thread, move |worker| {
        if let Some(input) = worker.node_mut::<TapInput>(input) {
            input.add(side, tap);
        }
    });
}

/// Has the workers forget what they read for that side.
pub(crate) fn take(engine: &mut Engine, input: NodeId, side: Side) {
    engine.post_all(move |worker| {
        if let Some(input) = worker.node_mut::<TapInput>(input) {
            input.remove(side);
        }
    });
}

/// A TAP that is an interface.
pub struct TapDevice {
    /// The open TAP.
    pub tap: Arc<Tap>,
    /// Its other side.
    pub host: HostKey,
    /// The node tap-input.
    pub input: NodeId,
}

impl Device for TapDevice {
    fn kind(&self) -> &'static DeviceKind {
        &TAP
    }

    fn netdevs(&self) -> Vec<&Netdev> {
        vec![self.tap.netdev()]
    }

    fn input(&self) -> Option<NodeId> {
        Some(self.input)
    }

    fn link(&self) -> Option<Result<(), String>> {
        Some(self.tap.netdev().is_up())
    }

    fn details(&self) -> Details {
        let mut details = Details::default();
        let name = self.tap.netdev().name();
        details.line(format_args!("host interface {name}"));
        details.field("host_interface", name.as_str());
        details
    }

    fn close(self: Box<Self>, leaving: &mut Leaving<'_>) {
        let TapDevice { tap, host, input } = *self;
        take(leaving.engine, input, Side::Interface(leaving.interface));
        leaving.engine.remove_node(leaving.tx);
        leaving.closing.begin(leaving.engine, host, move || drop(tap));
    }
}

/// The host's side of a port.
pub struct HostTap {
    /// The open TAP.
    pub tap: Arc<Tap>,
    /// The Linux interface.
    pub host: HostKey,
    /// The node that hands packets to it.
    pub tx: NodeId,
    /// The node tap-input.
    pub input: NodeId,
}

impl HostTap {
    /// Closes it. Its port, which transmits by `port_tx`, no longer hands packets to it.
    pub fn close(self, engine: &mut Engine, closing: &mut Closing, port: InterfaceIndex, port_tx: NodeId) {
        let HostTap { tap, host, tx, input } = self;
        take(engine, input, Side::HostOf(port, port_tx));
        engine.remove_node(tx);
        closing.begin(engine, host, move || drop(tap));
    }
}
