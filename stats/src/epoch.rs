// SPDX-License-Identifier: Apache-2.0
//! How a reader that holds no lock gets a consistent view of the directory: both sides of the epoch
//! protocol.
//!
//! The writer brackets every *structural* change (an entry, a length, a name) by [`begin`] and [`end`];
//! counting is a plain store outside the protocol. A reader calls [`enter`], copies what it wants, and
//! believes the copy only if [`unchanged`] agrees. This is a sequence lock whose counter and busy flag
//! are two words, as the clients expect.
//!
//! # Why this is enough
//!
//! All words are atomics, so nothing is a data race; to be shown is that no mixed copy is believed. Let
//! U be a change that turns epoch e into e+1.
//!
//! 1. *Who saw any word stored by U notices.* `begin` stores `in_progress = 1`, then comes a release
//!    fence, then the stores of U. `unchanged` begins with an acquire fence behind the reader's loads.
//!    If one of them saw a store of U, the two fences synchronise, and the load of `in_progress` that
//!    follows sees that 1 or something later. A 1 refuses the copy. A 0 was stored with release at the
//!    end of U or of a later change, and is loaded with acquire, so the load of `epoch` behind it sees
//!    at least e+1.
//! 2. *Who enters with e+1 sees all of U.* `epoch = e+1` is stored with release and loaded with
//!    acquire, so the load of `in_progress` behind it cannot see the 0 from before U. It sees 1 and
//!    does not enter, or a 0 stored with release at the end of U or later: all of U happened before.
//! 3. Hence a copy that is believed and was entered with e holds all changes up to e (by 2) and nothing
//!    of U or later (by 1, as the epoch would differ).
//!
//! The fence in `begin` is necessary: a release *store* of `in_progress` keeps earlier stores before
//! it, but would let the stores of U overtake it.
//!
//! # What workers store
//!
//! Counting is outside the protocol, and matters to it only when memory of a removed vector is used
//! again: who still copies the old vector may see words of the new one. The writer's stores into reused
//! memory are part of a change, so 1 applies. A worker's stores come after `begin` in happens-before
//! order, because the worker was given its row afterwards; where a store becomes visible to all other
//! cores at once (x86, ARMv8, RISC-V) a reader that sees them also sees the change. The language's
//! model alone demands one release fence by the worker between taking over a row and counting in it.
//!
//! # How it is tested
//!
//! `tests/concurrent.rs` runs the writer against readers with mappings of their own. Loom is not
//! applicable: it models its own atomics within one process, not words in memory that other processes
//! map.

use std::mem::offset_of;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use crate::layout::Header;
use crate::memory::ReadMemory;

/// Writer: from here until [`end`] the structure may be inconsistent.
pub(crate) fn begin(header: &Header) {
    header.in_progress.store(1, Relaxed);
    fence(Release);
}

/// Writer: the structure is consistent again, and another one than before [`begin`].
pub(crate) fn end(header: &Header) {
    header.epoch.store(header.epoch.load(Relaxed) + 1, Release);
    header.in_progress.store(0, Release);
}

/// Reader: the epoch of the structure that may be read now, or `None` while the writer changes it.
pub(crate) fn enter(memory: &ReadMemory) -> Option<u64> {
    let epoch = load_acquire(memory, offset_of!(Header, epoch));
    let in_progress = load_acquire(memory, offset_of!(Header, in_progress));
    (in_progress == 0).then_some(epoch)
}

/// Reader: whether all that was loaded since [`enter`] returned `epoch` belongs to one structure.
pub(crate) fn unchanged(memory: &ReadMemory, epoch: u64) -> bool {
    fence(Acquire);
    let in_progress = load_acquire(memory, offset_of!(Header, in_progress));
    in_progress == 0 && load_acquire(memory, offset_of!(Header, epoch)) == epoch
}

/// A relaxed load and a fence, because an acquire load is not guaranteed to work on memory that is
/// mapped read-only (`std::sync::atomic`, "Atomic accesses to read-only memory").
fn load_acquire(memory: &ReadMemory, field: usize) -> u64 {
    let value = memory.field(field);
    fence(Acquire);
    value
}
