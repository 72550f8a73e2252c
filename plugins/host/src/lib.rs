// SPDX-License-Identifier: Apache-2.0
//! The host's side of plugins: opens their files, speaks their ABI, runs their nodes in the graph.
//!
//! Plugins are loaded, replaced and unloaded while packets flow, and nothing may be left pointing into a library that is
//! gone. The rule that ensures it: whatever can call into a library holds an instance of the
//! plugin, and the library is closed by the last holder. Workers send what they held to the main thread when a node leaves
//! the graph; so the code of a plugin runs on a worker in `process` alone.
//!
//! | part | what |
//! |---|---|
//! | [`image`], [`elf`], [`library`] | the file: whether it may be loaded, and a private copy of it that is |
//! | `instance` | a started plugin, shared by all that call it |
//! | `table`, `registration` | the functions that a plugin is given, and what it registers by them |
//! | [`settings`] | what it lets be set |
//! | `tables` | the tables that it makes |
//! | `counter` | what it counts, in the stats segment |
//! | `node`, [`health`] | its nodes, and what becomes of them when they fail |
//! | [`plugin`] | a plugin in the graph, as the main thread has it |
#![deny(unsafe_code)]

mod counter;
pub mod elf;
pub mod error;
#[allow(unsafe_code)]
mod foreign;
pub mod health;
#[allow(unsafe_code)]
pub mod image;
#[allow(unsafe_code)]
mod instance;
#[allow(unsafe_code)]
pub mod library;
#[allow(unsafe_code)]
mod node;
#[allow(unsafe_code)]
pub mod plugin;
#[allow(unsafe_code)]
pub mod registration;
#[allow(unsafe_code)]
pub mod rules;
#[allow(unsafe_code)]
pub mod settings;
mod specs;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod tables;
pub mod world;

pub use error::PluginError;
pub use library::Library;
pub use plugin::{Host, Plugin};
pub use weft_plugin_sdk::{Changes, Event, InterfaceIndex, Value};
pub use world::{Route, World};
