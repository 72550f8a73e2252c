// SPDX-License-Identifier: Apache-2.0
//! Agents and scripts that drive a dataplane over the binary API keep working with this one: same socket protocol,
//! same message names, same CRCs.
//!
//! The definitions are the `.api` files beside this crate; [`api`] is generated from them. [`codec`] and [`message`]
//! are what the generated types are made of, for servers and clients alike. [`server`] answers clients on the main
//! thread of a daemon; what a message does is told by handlers ([`server::Registry`]), so nothing here knows of nodes,
//! tables or the engine. `plugin` has plugins of the dataplane answer messages.
//!
//! The server is behind the feature `server`, so that a plugin or a client has nothing of it.
#![deny(unsafe_code)]

pub mod address;
pub mod codec;
pub mod frame;
pub mod message;
#[cfg(feature = "plugin")]
pub mod plugin;
pub mod retval;
#[cfg(feature = "server")]
pub mod server;
mod text;

/// Messages and types, a module per `.api` file. Generated.
#[allow(clippy::all)]
#[rustfmt::skip]
pub mod api {
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}

pub use codec::{DecodeError, EncodeError, Wire};
pub use message::{Message, MessageInfo, ModuleInfo};
pub use retval::Retval;
pub use text::Text;
