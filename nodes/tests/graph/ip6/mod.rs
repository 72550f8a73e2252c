// SPDX-License-Identifier: Apache-2.0
//! The nodes of IPv6.

pub mod anything;
mod forward;
mod icmp_error;
mod input;
mod limits;
mod local;
mod nd;
mod reassembly;

use weft_testing::Bed;

/// A router on both of whose ports IPv6 is enabled.
fn bed() -> Bed {
    let mut bed = Bed::new();
    bed.enable_ip6();
    bed
}
