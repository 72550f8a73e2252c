// SPDX-License-Identifier: Apache-2.0
//! `ip table [add]|del`, `show ip table`, and the same of `ip6`.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::{change, refused, showing};

use crate::state::Dataplane;
use weft_control::{ChangeSet, Configured};

#[derive(Serialize)]
struct View {
    table: u32,
    index: u32,
    name: String,
    prefixes: usize,
    installed: usize,
    path_lists: usize,
}

pub fn commands<F: Configured>() -> Vec<Command<Dataplane>> {
    let (ip, family) = (F::COMMAND, F::NAME);
    let add = |path: String| {
        change(path, add::<F>).synopsis("<table> [name <name>]").help(format!("Add an {family} table (VRF)"))
    };
    vec![
        add(format!("{ip} table")),
        add(format!("{ip} table add")),
        change(format!("{ip} table del"), del::<F>)
            .synopsis("<table>")
            .help(format!("Delete an {family} table with its routes")),
        showing(format!("show {ip} table"), show::<F>).help(format!("List {family} tables")),
    ]
}

fn add<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<(), CliError> {
    let id = args.parse("table")?;
    let name = if args.keyword("name") { Some(args.word("name")?) } else { None };
    args.finish()?;
    changes.add_table::<F>(dataplane, id, name).map_err(refused)
}

fn del<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<(), CliError> {
    let id = args.parse("table")?;
    args.finish()?;
    // To delete what is not there is no error in VPP; of changes that are made together each has to be one.
    if dataplane.collected().is_none() && changes.table::<F>(dataplane, id).is_err() {
        return Ok(());
    }
    changes.delete_table::<F>(dataplane, id).map_err(refused)
}

fn show<F: Configured>(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    let tables = dataplane.router().tables::<F>().map(|(index, table)| View {
        table: table.id,
        index: index.0,
        name: table.name.clone(),
        prefixes: table.rib.len(),
        installed: table.rib.installed(),
        path_lists: table.rib.path_lists(),
    });
    Ok(Reply::each("tables", tables, |View { table, index, name, prefixes, installed, path_lists }| {
        format!(
            "[{index}] table_id:{table} {name}: {prefixes} prefixes, {installed} installed, {path_lists} path lists\n"
        )
    }))
}
