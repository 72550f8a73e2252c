// SPDX-License-Identifier: Apache-2.0
//! `ip table [add]|del`, `show ip table`, and the same of `ip6`.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::{change, refused};

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

#[derive(Serialize)]
struct Views {
    tables: Vec<View>,
}

pub fn commands<F: Configured>() -> Vec<Command<Dataplane>> {
    let (ip, family) = (F::COMMAND, F::NAME);
    vec![
        change(format!("{ip} table"), add::<F>)
            .synopsis("<table> [name <name>]")
            .help(format!("Add an {family} table (VRF)")),
        change(format!("{ip} table add"), add::<F>)
            .synopsis("<table> [name <name>]")
            .help(format!("Add an {family} table (VRF)")),
        change(format!("{ip} table del"), del::<F>)
            .synopsis("<table>")
            .help(format!("Delete an {family} table with its routes")),
        Command::new(format!("show {ip} table"), show::<F>).help(format!("List {family} tables")),
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

fn show<F: Configured>(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    args.finish()?;
    let tables = dataplane
        .router()
        .tables::<F>()
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
