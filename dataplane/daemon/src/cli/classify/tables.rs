// SPDX-License-Identifier: Apache-2.0
//! `show classify tables`, `show inacl`, `show outacl`: what clients of the binary API have made.

use serde::Serialize;
use weft_classify::Direction;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::right;
use crate::binapi::classify::{self, NONE, Table};
use crate::state::Dataplane;

#[derive(Serialize)]
struct SessionView {
    next: u32,
    opaque: u32,
    /// What is compared, as hexadecimal digits.
    key: String,
    hits: u64,
}

#[derive(Serialize)]
struct TableView {
    index: u32,
    next_table: u32,
    next_node: u32,
    buckets: u32,
    skip: u32,
    vectors: usize,
    /// Where the mask begins in the IPv4 header; `None`: with the Ethernet header.
    offset: Option<i16>,
    mask: String,
    sessions: Vec<SessionView>,
}

#[derive(Serialize)]
struct Applied {
    interface: String,
    index: u32,
    table: u32,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show classify tables", show)
            .synopsis("[verbose] [index <n>]")
            .help("Tables of the binary API; verbose: and their sessions"),
        Command::new("show inacl", |dataplane, args| applied(dataplane, args, Direction::Input))
            .synopsis("type ip4")
            .help("Tables that incoming packets are asked about"),
        Command::new("show outacl", |dataplane, args| applied(dataplane, args, Direction::Output))
            .synopsis("type ip4")
            .help("Tables that outgoing packets are asked about"),
    ]
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let verbose = args.keyword("verbose");
    let only: Option<u32> = if args.keyword("index") { Some(args.parse("index")?) } else { None };
    let verbose = verbose || args.keyword("verbose");
    args.finish()?;
    let wanted = dataplane
        .part::<classify::Tables>()
        .iter()
        .filter(|(index, _)| only.is_none_or(|only| only == *index));
    let tables = wanted.map(|(index, table)| view(dataplane, index, table));
    Ok(Reply::list("tables", tables, move |tables| render(tables, verbose)))
}

fn view(dataplane: &Dataplane, index: u32, table: &Table) -> TableView {
    let sessions = table.sessions.iter().map(|session| SessionView {
        next: session.hit,
        opaque: session.opaque,
        key: hex(&session.bytes),
        hits: dataplane.session_hits(session),
    });
    TableView {
        index,
        next_table: table.next.unwrap_or(NONE),
        next_node: table.miss,
        buckets: table.buckets,
        skip: table.skip,
        vectors: table.mask.len() / 16,
        offset: table.offset,
        mask: hex(&table.mask),
        sessions: sessions.collect(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All ones are "none", which VPP prints as -1.
fn number(number: u32) -> i32 {
    number as i32
}

fn render(tables: &[TableView], verbose: bool) -> String {
    if tables.is_empty() {
        return "No classifier tables configured\n".into();
    }
    let header = ["TableIdx", "Sessions", "NextTbl", "NextNode"].map(|name| right(name, 10)).concat();
    let mut text = format!("\n{header}\n");
    for table in tables {
        text += &[
            right(table.index, 10),
            right(table.sessions.len(), 10),
            right(number(table.next_table), 10),
            right(number(table.next_node), 10),
        ]
        .concat();
        text += &format!(
            "\n  nbuckets {}, skip {} match {} flag {} offset {}\n  mask {}\n",
            table.buckets,
            table.skip,
            table.vectors,
            u8::from(table.offset.is_some()),
            table.offset.unwrap_or(0),
            table.mask
        );
        for session in table.sessions.iter().filter(|_| verbose) {
            let (next, opaque) = (number(session.next), number(session.opaque));
            text += &format!("    next_index {next} advance 0 opaque {opaque}\n");
            text += &format!("        k: {}\n        hits {}\n", session.key, session.hits);
        }
    }
    text
}

fn applied(dataplane: &mut Dataplane, args: &mut Args<'_>, direction: Direction) -> Result<Reply, CliError> {
    args.expect("type")?;
    args.expect("ip4")?;
    args.finish()?;
    let all = dataplane.interfaces().iter().filter_map(|(index, interface)| {
        let table = dataplane.applied_table(index, direction)?;
        Some(Applied { interface: interface.name.clone(), index: index.0, table })
    });
    let way = if direction == Direction::Input { "input" } else { "output" };
    Ok(Reply::list("interfaces", all, move |all| {
        if all.is_empty() {
            return format!("No {way} ACL tables configured\n");
        }
        let row = |index: String, table: String, name: &str| {
            format!("{}{}\t\t{name}\n", right(index, 10), right(table, 20))
        };
        let rows = all.iter().map(|it| row(it.index.to_string(), it.table.to_string(), &it.interface));
        row("Intfc idx".into(), "Classify table".into(), "Interface name") + &rows.collect::<String>()
    }))
}
