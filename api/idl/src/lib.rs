// SPDX-License-Identifier: Apache-2.0
//! Clients of the binary API know a message by its name and a CRC over its definition, so the definitions are the
//! contract. This crate turns `.api` files into all that follows from them: the CRCs, the `.api.json` files that
//! clients load, and the Rust types of the daemon. Nothing of it is written by hand a second time.
//!
//! Runs in build scripts, on the developer's machine: it reads files and returns text.
//!
//! ```text
//! source  -> token -> parse -> ast     one file
//!                       compile        all files: imports, names, shapes  -> Api
//!                       crc, json, rust                                   what is made of it
//! ```
#![deny(unsafe_code)]

pub mod ast;
pub mod compile;
pub mod crc;
pub mod error;
pub mod json;
mod parse;
pub mod rust;
mod token;

pub use compile::{Api, Module, compile, read};
pub use error::{Error, Fault, Source};
