// SPDX-License-Identifier: Apache-2.0
//! The synchronisation primitives of publication code, swapped for loom's under `cfg(loom)`.
//!
//! Publication ([`crate::qsbr`], [`crate::publish`]) is the one place where a wrong memory order loses
//! packets on other people's hosts once a month, so its tests run under a model checker. Code that is
//! modelled imports from here; code whose peer is the kernel or another process cannot be modelled and
//! uses `std` directly.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU64, Ordering, fence},
};
