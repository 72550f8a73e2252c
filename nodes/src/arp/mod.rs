// SPDX-License-Identifier: Apache-2.0
//! ARP on the workers (RFC 826, RFC 5227, RFC 1027): answers at once, packets that wait, and news for the main thread.
//!
//! ```text
//!  workers                                                          main thread
//!  arp-input -> [arp arc] -> arp-reply --- Learned, Conflict --->   neighbour table:
//!  ip4-arp holds packets --------------- Wanted ---------------->   asks, learns, ages,
//!            <--- release / fail / forget (messages) ------------   publishes next hops
//! ```
//!
//! A worker knows no neighbour: it answers requests from the interface table, and tells the main thread what it
//! sees through a bounded ring. So a flood of ARP costs the flooder's own worker some cycles, and forwarding state
//! changes in one place only.

mod input;
mod reply;
mod request;

pub use request::{REQUESTS_SENT, request_frame};
