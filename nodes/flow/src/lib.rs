// SPDX-License-Identifier: Apache-2.0
//! The flow tracker: connections by state, at the cost of a table lookup.
//!
//! ```text
//! [ip4-unicast arc] -> flow-track -> rest of the arc
//!                        |    ^- flow-handoff: packets of this worker's flows that others have received
//!                        \-> ring to the worker that owns the flow
//! ```
//!
//! | who | thread | what |
//! |---|---|---|
//! | [`shard::Shard`] | its worker | flows: pure logic over memory that was there at the start |
//! | `weft-flow-map` | any process | reads the same memory |
//!
//! A flow belongs to one worker for all its life, so there is no lock; how its packets get there stands in [`parse`] and
//! docs/decisions. Everything else that concerns a flow (a verdict, clearing it) is a message to that worker.
#![deny(unsafe_code)]

mod array;
pub mod counts;
mod fragments;
mod index;
pub mod news;
pub mod parse;
pub mod settings;
pub mod shard;
mod slots;
pub mod tcp;
mod wheel;
