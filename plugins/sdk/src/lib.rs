// SPDX-License-Identifier: Apache-2.0
//! What a plugin of Weft may use.
//!
//! A plugin is built outside of Weft and loaded, replaced and unloaded while packets flow. This crate is all that it
//! needs: the C ABI ([`abi`], `include/weft_plugin.h`) and a face for Rust that needs no `unsafe`. It depends on nothing, so
//! that a plugin does not depend on a version of Weft.
//!
//! ```
//! use weft_plugin_sdk::{Answer, Feature, Main, Node, Plugin, PluginNode, Result, Setup, Vector, Done, Words};
//!
//! weft_plugin_sdk::drops! {
//!     enum Reason {
//!         /// shorter than 28 bytes
//!         Short = "short", Error;
//!     }
//! }
//!
//! struct Minimum;
//!
//! impl Plugin for Minimum {
//!     fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
//!         setup.node(Node::new("minimum", |_| MinimumNode).drops::<Reason>())?;
//!         setup.feature(Feature::new("ip4-unicast", "minimum"))?;
//!         Ok(Minimum)
//!     }
//! }
//!
//! struct MinimumNode;
//!
//! impl PluginNode for MinimumNode {
//!     fn process(&mut self, vector: Vector<'_>) -> Done {
//!         vector.each(|packet| match packet.length() {
//!             0..28 => packet.drop(Reason::Short),
//!             _ => packet.pass(),
//!         })
//!     }
//! }
//!
//! weft_plugin_sdk::weft_plugin! { plugin: Minimum, name: "minimum", summary: "Drops short packets" }
//! # fn main() {}
//! ```
//!
//! | part | thread |
//! |---|---|
//! | [`Plugin`], [`Setup`], [`Main`], [`Command`], [`Timer`], [`Setting`], [`Message`], [`ApiMessage`] | main |
//! | [`PluginNode`], [`Vector`], [`Packet`] | a worker, one instance each |
//! | [`RuleSet`] | main; workers apply its rules without a call into the plugin |
//! | [`Published`] | replaced on main, read by workers |
//! | [`TableWriter`], [`TableReader`] | one thread writes, any thread searches |
//!
//! A panic, wherever it happens, ends in this crate: the plugin is cut out of the graph, and packets go on without it.
#![deny(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!(
    "a plugin must be built with panic = \"unwind\", so that a panic ends the plugin and not Weft"
);

#[allow(unsafe_code)]
pub mod abi;
#[allow(unsafe_code)]
mod api;
mod command;
mod event;
#[allow(unsafe_code)]
mod main_thread;
#[allow(unsafe_code)]
mod node;
#[allow(unsafe_code)]
mod packet;
mod panic;
#[allow(unsafe_code)]
#[doc(hidden)]
pub mod plugin;
#[allow(unsafe_code)]
mod published;
mod refusal;
#[allow(unsafe_code)]
mod rules;
#[allow(unsafe_code)]
mod setting;
#[allow(unsafe_code)]
mod setup;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod vector;

pub use api::{ApiError, ApiMessage, Client, Record, SessionId};
pub use command::{Answer, Words, json_text};
pub use event::{Changes, Event};
pub use main_thread::{InterfaceIndex, Level, Main, Route};
pub use node::{
    Drops, Edges, Events, Node, PluginNode, ReasonSpec, Reasons, Severity, Thread, TraceRecord, Wait,
};
pub use packet::{Field, FieldValue, Next, Packet};
pub use plugin::{Plugin, State};
pub use published::{Published, PublishedReader};
pub use refusal::{Refusal, Result};
pub use rules::{Direction, Exempt, Hits, RuleId, RuleSet};
pub use setting::{Setting, Value, Values};
pub use setup::{ArcEnd, Command, Counter, Feature, Handler, Message, OwnArc, Setup, Timer};
pub use table::{Entry, Found, Full, TableReader, TableWriter};
pub use vector::{Done, Guard, Row, Vector};
