// SPDX-License-Identifier: Apache-2.0
//! Bounded hash tables for the packet path. Knows no protocol: a key is some words.
//!
//! Memory is taken when a table is made, on huge pages, and never again: running out is an answer, not an allocation. A
//! lookup costs one or two cache lines, and each of its steps can be started ahead, so that the misses of a vector overlap.
//!
//! | part | for | writers | readers |
//! |---|---|---|---|
//! | [`Writer`], [`Reader`] | keys of 8, 16, 24, 40 or 48 bytes with values | one, while packets flow | any thread, never waiting |
//! | [`Index`] | slot numbers by hash, for who keeps entries elsewhere (the flow tracker) | its owner | its owner |
//! | [`Lines`] | keys and values in one line, built at once (the classifier's sessions) | none | any thread |
//! | [`FreeSlots`], [`Array`], [`Seed`] | what the three share, and their users | | |
//!
//! Why there are three and what they have in common: docs/decisions/0010-tables.md.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod array;
mod bucket;
mod free;
mod hash;
mod index;
mod lines;
#[cfg(all(test, loom))]
mod loom_tests;
#[allow(unsafe_code)]
mod simd;
mod sync;
mod table;

pub use array::{Array, Zeroed};
pub use free::FreeSlots;
pub use hash::{Hash, Seed, fold};
pub use index::Index;
pub use lines::{LineKey, Lines};
pub use table::{Found, Full, KEY_WORDS, Reader, TableError, View, Writer};
