// SPDX-License-Identifier: Apache-2.0
//! `show urpf`, `show ip forwarding`: what interfaces let in.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_nodes::interface::Interface;

use super::super::{left, row};
use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    interface: String,
    mode: String,
}

#[derive(Serialize)]
struct Views {
    interfaces: Vec<View>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show urpf", |dataplane, args| {
            show(dataplane, args, |interface| interface.source_check.to_string())
        })
        .help("Which sources the interfaces believe"),
        Command::new("show ip forwarding", |dataplane, args| {
            let word = |interface: &Interface| if interface.forwarding { "enabled" } else { "disabled" };
            show(dataplane, args, |interface| word(interface).to_owned())
        })
        .help("Which interfaces route"),
    ]
}

fn show(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    mode: impl Fn(&Interface) -> String,
) -> Result<Reply, CliError> {
    args.finish()?;
    let view = |interface: &Interface| View { interface: interface.name.clone(), mode: mode(interface) };
    let interfaces = dataplane.interfaces().iter().map(|(_, interface)| view(interface)).collect();
    Ok(Reply::new(Views { interfaces }, render))
}

fn render(views: &Views) -> String {
    let line = |interface: &str, mode: &str| row([left(interface, 24), mode.to_owned()]);
    let lines = views.interfaces.iter().map(|view| line(&view.interface, &view.mode));
    std::iter::once(line("Interface", "Mode")).chain(lines).collect()
}
