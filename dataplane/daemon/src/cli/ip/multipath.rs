// SPDX-License-Identifier: Apache-2.0
//! `show ip multipath`: which flows take which path of a route.

use serde::Serialize;
use weft_cli::{Command, Reply};

use super::super::showing;
use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    mode: String,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let show = showing("show ip multipath", |dataplane| {
        let mode = dataplane.router().objects().load_balances.multipath().to_string();
        Ok(Reply::new(View { mode }, |view| format!("{}\n", view.mode)))
    });
    vec![show.help("How flows are given to the paths of a route")]
}
