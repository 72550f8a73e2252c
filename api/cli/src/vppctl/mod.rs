// SPDX-License-Identifier: Apache-2.0
//! The dialect of `vppctl`, so that VPP's client, telnet and the scripts around them work unchanged.
//!
//! The server owns the terminal here: it negotiates by telnet, edits the line, keeps the history and the pager. A
//! client that calls itself `vppctl` (one command, or commands from a pipe) gets none of these; it counts NUL bytes, one
//! for each line that has been answered, and would wait for ever without them.
//!
//! [`Session`] is the whole protocol without a socket or a clock: bytes in, bytes out, and [`Shell`] runs what was typed.
//! How its input is cut into pieces makes no difference. `server` (feature `server`) gives it sockets.

mod keys;
mod line;
mod pager;
#[cfg(feature = "server")]
pub mod server;
mod session;
mod telnet;
mod words;

pub use session::{Options, Session, Shell};
pub use telnet::PREAMBLE;
