// SPDX-License-Identifier: Apache-2.0
//! `set ip multipath`, `show ip multipath`: which flows take which path of a route.

use serde::Serialize;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_nodes::ip4::Multipath;

use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    mode: String,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("set ip multipath", set)
            .synopsis("resilient|hash-threshold|hrw|modulo-n|disable")
            .help("How flows are given to the paths of a route")
            .completer(|_, words| match words {
                [] => Multipath::NAMES.iter().map(|(name, _)| Candidate::new(*name, "")).collect(),
                _ => Vec::new(),
            }),
        Command::new("show ip multipath", show).help("How flows are given to the paths of a route"),
    ]
}

fn set(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let mode = args.one_of(&Multipath::NAMES)?;
    args.finish()?;
    dataplane.router.set_multipath(&mut dataplane.engine, mode);
    Ok(Reply::empty())
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    args.finish()?;
    let mode = dataplane.router.objects().load_balances.multipath().to_string();
    Ok(Reply::new(View { mode }, |view| format!("{}\n", view.mode)))
}
