// SPDX-License-Identifier: Apache-2.0
//! The command language of Weft, apart from any engine.
//!
//! The daemon and its tests, `weftctl`, start-up command files and `vppctl` must all
//! understand a command in the same way, so the language lives here once. It knows nothing of
//! interfaces or routes: a [`CommandTree`] is generic over the state `C` that its handlers change.
//!
//! | part | modules |
//! |---|---|
//! | language | [`tree`] finds the command, [`args`] reads its arguments, [`reply`] carries the answer as text and JSON, [`script`] runs files, one command after the other or as one change |
//! | socket of `weftctl` | [`protocol`] is the wire format, [`client`] the blocking client, `server` (feature `server`) the daemon's side |
//! | socket of `vppctl` | [`vppctl`]: the protocol, and (feature `server`) its sockets |
//!
//! Everything runs on the thread that owns `C` (the daemon's main thread); nothing here is shared
//! between threads and nothing is global.
#![deny(unsafe_code)]

pub mod args;
mod atomic;
pub mod client;
#[cfg(feature = "server")]
mod clients;
mod complete;
mod error;
mod help;
pub mod protocol;
pub mod reply;
pub mod script;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod socket;
mod token;
pub mod tree;
mod vpp;
pub mod vppctl;
#[cfg(feature = "server")]
mod waiting;

pub use args::Args;
pub use atomic::{Atomic, End, RefusedSteps};
pub use complete::{Candidate, Completion};
pub use error::CliError;
pub use reply::{Later, Part, Reply, Slice, Turn};
pub use tree::{Command, CommandTree};
pub use weft_background::Rights;
