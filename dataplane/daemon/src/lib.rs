// SPDX-License-Identifier: Apache-2.0
//! The daemon `weft`, as a library so that tests and tools can use its parts.
//!
//! | module | what |
//! |---|---|
//! | [`args`], [`config`] | what the operator wants before the start |
//! | [`topology`], [`threads`], [`process`], [`log`], [`crash`] | the process: cores, threads, files, messages, its last words |
//! | [`state`] | the one state of the main thread |
//! | [`ports`], [`forwarding`], [`news`] | devices, interfaces, tables, neighbours |
//! | [`subsystem`], `assembly` | what the parts of the daemon keep, and how they are put together |
//! | [`lifecycle`] | who hears when an interface or a table comes, changes and goes |
//! | [`plugins`] | code that comes and goes while packets flow |
//! | [`baseline`], [`gauges`], [`capture`] | counters, levels, packets for those who look |
//! | [`cli`], [`interactive`], [`binapi`] | commands, messages |
//! | [`startup`], [`main_loop`] | start, serve, stop |
#![deny(unsafe_code)]

pub mod args;
mod assembly;
pub mod baseline;
pub mod binapi;
pub mod capture;
mod changes;
pub mod cli;
mod cli_sockets;
pub mod config;
pub mod crash;
pub mod error;
pub mod forwarding;
pub mod gauges;
pub mod interactive;
pub mod lifecycle;
pub mod log;
pub mod main_loop;
pub mod memory_server;
pub mod news;
pub mod os;
pub mod plugins;
pub mod ports;
mod pressure;
pub mod process;
pub mod startup;
pub mod state;
#[cfg(test)]
mod strangers;
pub mod subsystem;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod topology;
pub mod trial;
pub mod vplaned;

/// Of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
