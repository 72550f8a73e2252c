// SPDX-License-Identifier: Apache-2.0
//! The whole graph of this crate, inline: crafted packets in, exact bytes and exact counter deltas out.
//!
//! What holds after every test, whatever it did, stands in `weft_testing`.

mod anything;
mod arp;
mod checks;
mod ethernet;
mod features;
mod forward;
mod fragment;
mod hold;
mod icmp_error;
mod input;
mod ip6;
mod local;
mod loopback;
mod min_ttl;
mod mss;
mod registries;
mod woven;
