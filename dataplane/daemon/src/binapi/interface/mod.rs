// SPDX-License-Identifier: Apache-2.0
//! `interface`: state, addresses, queues, sub-interfaces, loopbacks, events.
//!
//! There is no `local0`: index 0 is an interface like any other, as in the stats segment. A dump that asks for
//! index 0 lists all, as in VPP.

mod address;
mod capture;
mod create;
mod details;
mod queues;
mod state;

pub use details::flags;
use weft_binapi::server::Registry;

use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    details::register(registry);
    state::register(registry);
    address::register(registry);
    create::register(registry);
    queues::register(registry);
    capture::register(registry);
}
