// SPDX-License-Identifier: Apache-2.0
//! `ip`: tables, routes, addresses. There is no IPv6 yet: what asks for it is refused with -126, and dumps are empty.

mod address;
mod path;
mod route;
mod show;
mod table;

use weft_binapi::server::Registry;

use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    table::register(registry);
    route::register(registry);
    show::register(registry);
    address::register(registry);
}
