// SPDX-License-Identifier: Apache-2.0
//! The dataplane's side of the vplaned protocol, apart from any dataplane.
//!
//! vplaned (the controller daemon of DANOS and Vyatta) hands a dataplane its ports, everything the
//! kernel knows by netlink, and the commands of a configuration system. Whoever speaks to it must
//! get a dozen orders and silences right, and none of them has to do with forwarding. So the protocol
//! stands here alone: bytes and time in, typed values out. It knows no node, table or engine.
//!
//! Everything runs on the thread that owns the values (the daemon's main thread); nothing is global.
#![deny(unsafe_code)]

pub mod broker;
pub mod client;
pub mod commands;
pub mod config;
pub mod console;
pub mod netlink;
pub mod proto;
pub mod session;
pub mod store;
#[cfg(test)]
mod testing;
pub mod transport;
pub mod types;
pub mod wire;
