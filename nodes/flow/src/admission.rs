// SPDX-License-Identifier: Apache-2.0
//! The packet flags by which rules and the tracker speak of admitted flows.
//!
//! A rule that admits a packet's flow sends the packet to the tracker with [`ADMIT_IN`] or [`ADMIT_OUT`] set; the tracker sets
//! [`ADMITTED_IN`] and [`ADMITTED_OUT`] on the packets of such flows, which meet no stateful rules there. Constants of the
//! packet context, claimed by whoever uses them.

use weft_engine::Engine;
use weft_engine::buffer::context::ContextError;

/// Its flow was admitted by a rule of the interface that it came in by, and meets no stateful rules there.
pub const ADMITTED_IN: u32 = 1 << 10;
/// Its flow was admitted by a rule of the interface that it leaves by, likewise.
pub const ADMITTED_OUT: u32 = 1 << 11;
/// On its way from a rule to the flow tracker: its flow is to be admitted where it came in.
pub const ADMIT_IN: u32 = 1 << 12;
/// Likewise: where it leaves. It has its new link header, `scratch[0]` bytes long.
pub const ADMIT_OUT: u32 = 1 << 13;

/// Claims the flags; each user does.
pub fn claim(engine: &mut Engine) -> Result<(), ContextError> {
    let flags = [
        ("flow-admitted-in", ADMITTED_IN),
        ("flow-admitted-out", ADMITTED_OUT),
        ("flow-admit-in", ADMIT_IN),
        ("flow-admit-out", ADMIT_OUT),
    ];
    flags.into_iter().try_for_each(|(name, mask)| engine.claim_flag(name, mask))
}
