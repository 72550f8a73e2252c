// SPDX-License-Identifier: Apache-2.0
//! The real `weftctl` against a toy daemon.

mod daemon;
mod interactive;
mod one_shot;
mod segment;
mod stats;
