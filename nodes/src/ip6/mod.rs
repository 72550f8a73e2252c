// SPDX-License-Identifier: Apache-2.0
//! IPv6, as far as there are parts of it: what the router and the hold queues need. The nodes come with issue 14.

mod held;
mod icmp_error;
mod solicitation;

pub use icmp_error::Icmp6Error;
pub use solicitation::solicitation_frame;
