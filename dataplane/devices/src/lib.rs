// SPDX-License-Identifier: Apache-2.0
//! Packet devices: where frames enter and leave the dataplane.
//!
//! - [`af_xdp`]: ports on Linux interfaces, from a veth to a zero-copy NIC;
//! - [`tap`]: interfaces of the host, for what its stack sees;
//! - [`netdev`], [`netns`]: the Linux interfaces below both;
//! - [`device`]: what the main thread knows of a device of any kind; [`closing`]: devices on their way out;
//! - [`pg`]: made and replayed packets, a node on either side; [`pcap`]: packets in files.
//!
//! The modules but the last two are leaves: they face the kernel and know neither buffers nor graph.
//! All set-up is the main thread's; a worker gets the halves of a socket and drives them without locks.

pub mod af_xdp;
#[deny(unsafe_code)]
pub mod closing;
#[deny(unsafe_code)]
pub mod device;
#[deny(unsafe_code)]
pub mod loopback;
pub mod netdev;
pub mod netns;
#[deny(unsafe_code)]
pub mod pcap;
#[deny(unsafe_code)]
pub mod pg;
mod sync;
pub mod tap;
#[deny(unsafe_code)]
pub mod undo;

use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec};

/// Bytes of link header in front of a received frame: an Ethernet header without tags, which nearly all have.
/// ethernet-input corrects it for the others.
pub const LINK_HEADER: u16 = 14;

/// The `device-input` arc: what a device has received, before anything else has looked at it.
pub static DEVICE_INPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "device-input", key: ArcKey::RxInterface, end: ArcEnd::Node("ethernet-input") };

// The test bed is written against the public names and serves unit and integration tests alike.
#[cfg(all(test, not(loom)))]
extern crate self as weft_devices;
#[cfg(all(test, not(loom)))]
#[path = "../tests/common/mod.rs"]
mod testing;
