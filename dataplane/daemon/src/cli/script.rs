// SPDX-License-Identifier: Apache-2.0
//! What command files of VPP have beside commands: `echo`, `comment`; and what its tests ask of every dataplane.

use serde::Serialize;
use weft_cli::{Command, Reply};

use crate::state::Dataplane;

#[derive(Serialize)]
struct Said {
    text: String,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("echo", |_: &mut Dataplane, args| {
            Ok(Reply::new(Said { text: args.rest().trim().to_owned() }, |said| format!("{}\n", said.text)))
        })
        .synopsis("<text>")
        .help("Say the text: marks the parts of what a command file says"),
        Command::new("comment", |_: &mut Dataplane, args| {
            args.rest();
            Ok(Reply::empty())
        })
        .synopsis("{ <text> }")
        .help("Nothing: a comment of VPP's command files"),
        Command::new("show bihash", |_: &mut Dataplane, args| {
            args.keyword("detail");
            args.finish()?;
            let text =
                "There are no bihash tables: routes and neighbours are in tables of their own.".to_owned();
            Ok(Reply::new(Said { text }, |said| format!("{}\n", said.text)))
        })
        .synopsis("[detail]")
        .help("Says that there are none; scripts for VPP ask"),
    ]
}
