// SPDX-License-Identifier: Apache-2.0
//! An agent should say what it wants changed, and leave to a library how messages are numbered, which answer belongs
//! to which question, and what happens when the daemon restarts.
//!
//! [`Client`] is for async programs, [`blocking::Client`] for all others. Both are typed: a request has its reply, a
//! dump its details. All clones of a client share one connection, and any number of questions may be under way.
//!
//! When the connection is lost, what was under way fails with [`Error::Lost`]: whether it was carried out is not
//! known, so nothing is sent twice. Then the client tries to connect again, at growing intervals ([`Backoff`]), and
//! subscribes again to what it was subscribed to ([`Notice::Gap`] tells the subscriber).
#![deny(unsafe_code)]

mod batch;
pub mod blocking;
mod client;
mod connection;
mod driver;
mod error;

pub use batch::{Applied, Batch, Refused};
pub use client::{Client, Events, Notice, Options};
pub use error::Error;
pub use weft_sockets::Backoff;
