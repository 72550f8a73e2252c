// SPDX-License-Identifier: Apache-2.0
//! The route broker: where routes come from when vplaned is told not to pass on the kernel's (protocol page, 10).
//!
//! A process of its own with two sockets: a dialogue ([`Control`]) names the second, and on that one comes a route per message
//! ([`decode`]). The broker says everything again after each ACCEPT and never says when that is over, so what it has not repeated
//! after a time is stale. [`Broker`] puts both on ZeroMQ. Start it when vplaned's snapshot is complete: then the
//! interfaces exist that the routes name.
//!
//! Belongs to one task of a current-thread runtime.

mod client;
mod control;
#[cfg(test)]
mod tests;
mod update;

pub use client::{Broker, BrokerCounts, BrokerEvent, Burst};
pub use control::{Control, ControlError, Format, Output};
pub use update::{UpdateError, decode};
