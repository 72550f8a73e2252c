// SPDX-License-Identifier: Apache-2.0
//! Flow tables in shared memory, so that looking at a million flows costs the dataplane nothing.
//!
//! The worker that owns a table writes it in place; a [`Reader`] maps the same memory read-only and copies what it wants,
//! whatever the daemon's main thread does meanwhile. One file per worker, sealed against any change of size and against
//! writing by others.
//!
//! | who | thread | what |
//! |---|---|---|
//! | `weft-flow` | a worker, its own table | writes [`layout::Entry`] |
//! | [`Reader`] | any process | copies entries as [`Flow`] |
#![deny(unsafe_code)]

mod flow;
mod key;
#[allow(unsafe_code)]
pub mod layout;
mod reader;

pub use flow::{Flow, FlowId, Side, State, Verdict};
pub use key::{Direction, Endpoint, Key, Pair6};
pub use reader::{Reader, Table, TableError};
