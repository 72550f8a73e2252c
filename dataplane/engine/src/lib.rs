// SPDX-License-Identifier: Apache-2.0
//! The engine of Weft: buffers, frames, graph, features, workers, publication and trace.
//!
//! Knows no protocol and no device. The main thread holds an [`engine::Engine`]; each worker thread runs a
//! [`worker::Worker`], which owns its share of the graph ([`node`], [`frame`]) and its packets ([`buffer`]).
//! Tables go from the one to the others through [`publish`] and [`qsbr`], other changes as messages; nobody
//! waits for anybody. There is no global state.

pub mod buffer;
pub mod clock;
pub mod context;
pub mod counters;
pub mod drop;
mod edges;
pub mod engine;
pub mod feature;
pub mod frame;
pub mod graph;
mod handoff;
pub mod ids;
pub mod lease;
pub mod node;
pub mod prefetch;
pub mod publish;
pub mod qsbr;
pub mod registry;
mod sync;
pub mod trace;
pub mod wait;
pub mod worker;

pub use context::Context;
pub use engine::{Engine, EngineConfig, EngineError};
pub use ids::{ArcId, BufferIndex, InterfaceIndex, NodeId, ReasonId, ThreadIndex};
pub use lease::Lease;
pub use worker::Worker;
