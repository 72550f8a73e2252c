// SPDX-License-Identifier: Apache-2.0
//! `ip table add|del`, `show ip table`.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::{change, refused};

use crate::state::Dataplane;
use weft_control::ChangeSet;
use weft_nodes::ip4::Ip4;

#[derive(Serialize)]
struct View {
    table: u32,
    index: u32,
    name: String,
    prefixes: usize,
    installed: usize,
    path_lists: usize,
}

#[derive(Serialize)]
struct Views {
    tables: Vec<View>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        change("ip table add", add).synopsis("<table> [name <name>]").help("Add an IPv4 table (VRF)"),
        change("ip table del", del).synopsis("<table>").help("Delete an IPv4 table with its routes"),
        Command::new("show ip table", show).help("List IPv4 tables"),
    ]
}

fn add(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let id = args.parse("table")?;
    let name = if args.keyword("name") { Some(args.word("name")?) } else { None };
    args.finish()?;
    changes.add_table::<Ip4>(dataplane, id, name).map_err(refused)
}

fn del(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let id = args.parse("table")?;
    args.finish()?;
    changes.delete_table::<Ip4>(dataplane, id).map_err(refused)
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    args.finish()?;
    let tables = dataplane
        .router
        .tables::<Ip4>()
        .map(|(index, table)| View {
            table: table.id,
            index: index.0,
            name: table.name.clone(),
            prefixes: table.rib.len(),
            installed: table.rib.installed(),
            path_lists: table.rib.path_lists(),
        })
        .collect();
    Ok(Reply::new(Views { tables }, |views| {
        views
            .tables
            .iter()
            .map(|view| {
                format!(
                    "[{}] table_id:{} {}: {} prefixes, {} installed, {} path lists\n",
                    view.index, view.table, view.name, view.prefixes, view.installed, view.path_lists
                )
            })
            .collect()
    }))
}
