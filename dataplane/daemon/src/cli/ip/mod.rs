// SPDX-License-Identifier: Apache-2.0
//! Commands about IPv4: tables, addresses, routes, neighbours.

mod address;
mod admission;
mod fib;
mod multipath;
mod neighbor;
mod route;
mod table;

use weft_cli::{Args, CliError, Command};
use weft_control::ChangeSet;
use weft_nodes::ip4::{Ip4, TableIndex};

use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    [
        table::commands(),
        address::commands(),
        admission::commands(),
        route::commands(),
        multipath::commands(),
        fib::commands(),
        neighbor::commands(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Takes the number of a table, which may be one that the changes add.
fn table(
    args: &mut Args<'_>,
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
) -> Result<TableIndex, CliError> {
    args.parse_with("table", |word| {
        let id = word.parse().map_err(|_| "a table is a number".to_owned())?;
        changes.table::<Ip4>(dataplane, id).map_err(|error| error.to_string())
    })
}
