// SPDX-License-Identifier: Apache-2.0
//! The real `weftctl` against a toy daemon, or a segment as a daemon's.

mod daemon;
mod interactive;
mod one_shot;
mod segment;
mod stats;
mod terminal;
mod top;
