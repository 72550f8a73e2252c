// SPDX-License-Identifier: Apache-2.0
//! The flow tracker: connections by state, at the cost of a table lookup.
//!
//! ```text
//! [ip4-unicast arc] -> flow-track -> rest of the arc
//!                        ^    \-> ring to the worker that owns the flow, flow-track there
//!                        \- packets that waited for a verdict
//! ```
//!
//! | who | thread | what |
//! |---|---|---|
//! | [`FlowTracker`] | main | makes the tables, enables interfaces, sends verdicts, hears news |
//! | [`FlowTrack`] | worker | the node |
//! | [`shard::Shard`] | worker | its flows: pure logic over memory that was there at the start |
//! | `weft-flow-map` | any process | reads the same memory |
//!
//! A flow belongs to one worker for all its life, so there is no lock; how its packets get there stands in [`parse::owner`].
//! Everything else that concerns a flow (a verdict, clearing it) is a message to that worker.
#![deny(unsafe_code)]

pub mod admission;
mod beginners;
pub mod counts;
mod fragments;
mod hold;
pub mod news;
mod node;
pub mod parse;
pub mod settings;
pub mod shard;
mod slots;
pub mod tcp;
mod tracker;
mod wheel;

pub use hold::PER_FLOW;
pub use node::{FLOW_TRACK, FlowTrack};
pub use tracker::{FlowError, FlowTracker, registration};
