// SPDX-License-Identifier: Apache-2.0
//! Shows the statistics segment to those who speak HTTP: metrics for Prometheus, a live picture of the
//! node graph for people.
//!
//! A process of its own, so that neither a slow client nor a mistake in here can cost the daemon
//! anything. It knows the daemon by its segment only, and goes on answering while there is none.
//!
//! | module | what |
//! |---|---|
//! | [`source`] | follows the segment of whatever daemon is running |
//! | [`metrics`] | which metrics there are, and their values in a snapshot |
//! | [`text`] | the two text formats of metrics, and which of them a client wants |
//! | [`graph`] | what of the node graph is drawn |
//! | [`layout`] | where nodes and edges are drawn |
//! | [`page`] | the page around the drawing |
//! | [`server`] | HTTP |

#![deny(unsafe_code)]

pub mod graph;
pub mod layout;
pub mod metrics;
pub mod page;
pub mod server;
pub mod source;
mod svg;
pub mod text;
mod words;
