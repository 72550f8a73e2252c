// SPDX-License-Identifier: Apache-2.0
//! The console: what `vplsh` and other tools ask the dataplane directly.
//!
//! A client of a REP socket hangs for good if it is not answered, so whatever comes in, garbage included, gets
//! exactly one reply of two frames: `OK` or `ERROR`, and a text. Answers are made at once on the main thread from
//! state that is at hand; sending never waits, so a client that does not read delays nobody.

mod commands;
pub mod json;
mod server;
#[cfg(test)]
mod tests;

pub use self::commands::{Console, Failure};
pub use self::server::{ConsoleServer, Listening};
