// SPDX-License-Identifier: Apache-2.0
//! `show ip multipath`: which flows take which path of a route.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};

use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    mode: String,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![Command::new("show ip multipath", show).help("How flows are given to the paths of a route")]
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    args.finish()?;
    let mode = dataplane.router().objects().load_balances.multipath().to_string();
    Ok(Reply::new(View { mode }, |view| format!("{}\n", view.mode)))
}
