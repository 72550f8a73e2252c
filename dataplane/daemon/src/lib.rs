// SPDX-License-Identifier: Apache-2.0
//! The parts of the daemon `weft`, as a library so that tests and tools can use them.
#![deny(unsafe_code)]

pub mod args;
pub mod config;
