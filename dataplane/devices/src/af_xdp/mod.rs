// SPDX-License-Identifier: Apache-2.0
//! AF_XDP: frames by shared memory, beside the host's own use of the interface.
//!
//! From the hot path outwards: [`ring`] is index arithmetic, [`socket`] the halves that a worker
//! drives, [`umem`] the packet memory that all ports share, [`program`] decides in the kernel which
//! frames come here, [`neighbors`] hears those that the host needs too, [`preflight`] tells beforehand what can't work, and [`port`] puts it together.
//! Why these are our own: docs/decisions/0001-own-af-xdp-rings.md.

#[deny(unsafe_code)]
mod backlog;
#[deny(unsafe_code)]
mod checksum;
#[deny(unsafe_code)]
pub mod device;
pub mod input;
pub mod memory;
pub mod neighbors;
pub mod output;
pub mod port;
pub mod preflight;
pub mod program;
pub mod ring;
pub mod socket;
#[deny(unsafe_code)]
pub mod stall;
mod sys;
pub mod umem;
