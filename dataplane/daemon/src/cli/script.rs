// SPDX-License-Identifier: Apache-2.0
//! What command files of VPP have beside commands: `echo`, `comment`; and what its tests ask of every dataplane.

use std::time::{Duration, Instant};

use serde::Serialize;
use weft_cli::{CliError, Command, Reply, Turn};

use super::doing;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Said {
    text: String,
}

fn said(text: &str) -> Reply {
    Reply::new(Said { text: text.to_owned() }, |said| format!("{}\n", said.text))
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("echo", |_, args| Ok(said(args.rest().trim())))
            .synopsis("<text>")
            .help("Say the text: marks the parts of what a command file says"),
        doing("comment", |_, args| {
            args.rest();
            Ok(())
        })
        .synopsis("{ <text> }")
        .help("Nothing: a comment of VPP's command files"),
        Command::new("show bihash", |_: &mut Dataplane, args| {
            args.keyword("detail");
            args.finish()?;
            Ok(said("There are no bihash tables: routes and neighbours are in tables of their own."))
        })
        .synopsis("[detail]")
        .help("Says that there are none; scripts for VPP ask"),
        Command::new("wait", |_: &mut Dataplane, args| {
            let time = args.parse_with("seconds", |word| match word.parse() {
                Ok(seconds) if (0.0..=LONGEST_WAIT).contains(&seconds) => {
                    Ok(Duration::from_secs_f64(seconds))
                }
                _ => Err(format!("it is no time from 0 to {LONGEST_WAIT}")),
            })?;
            args.finish()?;
            let end = Instant::now() + time;
            Ok(Reply::in_turns(move |_: &mut Dataplane| match Instant::now() < end {
                true => Turn::Waits,
                false => Turn::Done(Ok(Reply::empty())),
            }))
        })
        .synopsis("<seconds>")
        .help("Answer after this time: a pause in a command file, in which everything else goes on"),
        explained("set clock adjust", "<seconds>", CLOCK),
        explained("adjacency counters enable", "", ADJACENCIES),
        explained("adjacency counters disable", "", ADJACENCIES),
        doing("set arp proxy", |_, args| {
            args.rest();
            Err(CliError::new(PROXY))
        })
        .synopsis("[table-id <n>] start <address> end <address>")
        .help("Says by which command Weft answers for others"),
    ]
}

/// Seconds of a `wait`.
const LONGEST_WAIT: f64 = 3600.0;
const CLOCK: &str = "Weft's clock is the kernel's: there is nothing to adjust.";
const ADJACENCIES: &str = "Packets are counted by route, always: show ip fib <prefix>.";
const PROXY: &str = "there are no ranges of addresses: an interface with 'set interface proxy-arp <interface> enable' answers for all \
                     that is reached by other interfaces";

/// A command of VPP that has nothing to do here, and says why.
fn explained(path: &str, synopsis: &str, why: &'static str) -> Command<Dataplane> {
    Command::new(path, move |_: &mut Dataplane, args| {
        args.rest();
        Ok(said(why))
    })
    .synopsis(synopsis)
    .help("Changes nothing; scripts for VPP say it")
}
