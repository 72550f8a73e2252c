// SPDX-License-Identifier: Apache-2.0
//! The protobuf messages, so that field numbers stand in one place (`proto/*.proto`) and not in code.
//!
//! Generated at build time; nothing here checks a value. What the messages mean is the matter of
//! [`crate::broker`] and of the command parsers.

/// What an envelope holds, by its type.
pub mod commands {
    include!(concat!(env!("OUT_DIR"), "/weft.vplaned.commands.rs"));
}

/// The envelope around every protobuf command.
pub mod envelope {
    include!(concat!(env!("OUT_DIR"), "/weft.vplaned.envelope.rs"));
}

/// What the route broker sends.
// prost makes a module of each message that has types of its own.
#[allow(clippy::module_inception)]
pub mod route {
    include!(concat!(env!("OUT_DIR"), "/weft.vplaned.route.rs"));
}
