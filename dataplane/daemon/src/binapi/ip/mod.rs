// SPDX-License-Identifier: Apache-2.0
//! `ip`: tables, routes, addresses of both families. A message says of which it is, by a flag or by an address.

mod address;
mod path;
mod route;
mod show;
mod table;

use weft_binapi::server::Registry;

use crate::state::Dataplane;
pub use route::prefix;

pub fn register(registry: &mut Registry<Dataplane>) {
    table::register(registry);
    route::register(registry);
    show::register(registry);
    address::register(registry);
}
