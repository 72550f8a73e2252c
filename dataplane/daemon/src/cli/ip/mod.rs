// SPDX-License-Identifier: Apache-2.0
//! Commands about IP: tables, addresses, routes, neighbours. Those whose words name a family are made for each family by the
//! same code; others take addresses of both.

mod address;
mod admission;
mod fib;
mod interface;
mod multipath;
mod nd;
mod neighbor;
mod route;
mod table;

use weft_cli::{Args, CliError, Command};
use weft_control::{ChangeSet, Configured};
use weft_nodes::fib::{Ip4, Ip6};
use weft_nodes::interface::{IpVersion, TableIndex};

use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    [
        table::commands::<Ip4>(),
        table::commands::<Ip6>(),
        address::commands(),
        admission::commands(),
        route::commands(),
        multipath::commands(),
        fib::commands::<Ip4>(),
        fib::commands::<Ip6>(),
        fib::adjacencies(),
        neighbor::commands(),
        nd::commands(),
        interface::commands(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Takes the number of a table, which may be one that the changes add.
fn table<F: Configured>(
    args: &mut Args<'_>,
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
) -> Result<TableIndex, CliError> {
    args.parse_with("table", |word| {
        let id = word.parse().map_err(|_| "a table is a number".to_owned())?;
        changes.table::<F>(dataplane, id).map_err(|error| error.to_string())
    })
}

/// What commands and their answers call a family.
struct Words {
    /// In the names of nodes.
    node: &'static str,
    /// In front of what a bucket of a load-balance leads to.
    link: &'static str,
    lookup: &'static str,
    address: &'static str,
    prefix: &'static str,
}

/// As VPP has them.
fn words<F: Configured>() -> &'static Words {
    match F::VERSION {
        IpVersion::V4 => &Words {
            node: "ip4",
            link: "ipv4",
            lookup: "ip4-lookup-in-table",
            address: "IPv4 address",
            prefix: "IPv4 prefix",
        },
        IpVersion::V6 => &Words {
            node: "ip6",
            link: "ipv6",
            lookup: "ip6-lookup-in-table",
            address: "IPv6 address",
            prefix: "IPv6 prefix",
        },
    }
}
