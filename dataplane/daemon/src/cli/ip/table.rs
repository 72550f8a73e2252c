// SPDX-License-Identifier: Apache-2.0
//! `ip table add|del`, `show ip table`, `set interface ip table`.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::{complete_interface, refused};
use crate::state::Dataplane;

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
        Command::new("ip table add", add).synopsis("<table> [name <name>]").help("Add an IPv4 table (VRF)"),
        Command::new("ip table del", del).synopsis("<table>").help("Delete an IPv4 table with its routes"),
        Command::new("show ip table", show).help("List IPv4 tables"),
        complete_interface(Command::new("set interface ip table", set), &[])
            .synopsis("<interface> <table>")
            .help("Move an interface without addresses to another IPv4 table"),
    ]
}

fn add(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let id = args.parse("table")?;
    let name = match args.keyword("name") {
        true => args.word("name")?.to_owned(),
        false => format!("ipv4-VRF:{id}"),
    };
    args.finish()?;
    dataplane.router.add_table(&mut dataplane.engine, id, &name).map_err(refused)?;
    Ok(Reply::empty())
}

fn del(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let id = args.parse("table")?;
    args.finish()?;
    dataplane.delete_table(id).map_err(refused)?;
    Ok(Reply::empty())
}

fn set(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::super::interface(args, dataplane)?;
    let table = args.parse("table")?;
    args.finish()?;
    let Dataplane { router, engine, interfaces, .. } = dataplane;
    router.set_table(engine, interfaces, index, table).map_err(refused)?;
    Ok(Reply::empty())
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    args.finish()?;
    let tables = dataplane
        .router
        .tables()
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
