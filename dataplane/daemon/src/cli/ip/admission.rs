// SPDX-License-Identifier: Apache-2.0
//! `set urpf`, `show urpf`, `set interface ip forwarding`, `show ip forwarding`: what interfaces let in.

use serde::Serialize;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_nodes::interface::Interface;
use weft_nodes::ip4::SourceCheck;

use super::super::{complete_interface, left, refused, row};
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
        Command::new("set urpf ip4 rx", set_urpf)
            .synopsis("off|loose|strict <interface>")
            .help("Believe only sources that a route leads back to (RFC 3704)")
            .completer(|dataplane, words| match words {
                [] => SourceCheck::NAMES.iter().map(|(name, _)| Candidate::new(*name, "")).collect(),
                [_] => super::super::interface_names(dataplane),
                _ => Vec::new(),
            }),
        Command::new("show urpf", |dataplane, args| {
            show(dataplane, args, |interface| interface.source_check.to_string())
        })
        .help("Which sources the interfaces believe"),
        complete_interface(
            Command::new("set interface ip forwarding", set_forwarding),
            &["enable", "disable"],
        )
        .synopsis("<interface> enable|disable")
        .help("Route what arrives on an interface for others, or take only what is for this host"),
        Command::new("show ip forwarding", |dataplane, args| {
            let word = |interface: &Interface| if interface.forwarding { "enabled" } else { "disabled" };
            show(dataplane, args, |interface| word(interface).to_owned())
        })
        .help("Which interfaces route"),
    ]
}

fn set_urpf(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let check = args.one_of(&SourceCheck::NAMES)?;
    let index = super::super::interface(args, dataplane)?;
    args.finish()?;
    dataplane.set_source_check(index, check).map_err(refused)?;
    Ok(Reply::empty())
}

fn set_forwarding(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::super::interface(args, dataplane)?;
    let on = args.one_of(&[("enable", true), ("disable", false)])?;
    args.finish()?;
    dataplane.set_forwarding(index, on).map_err(refused)?;
    Ok(Reply::empty())
}

fn show(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    mode: impl Fn(&Interface) -> String,
) -> Result<Reply, CliError> {
    args.finish()?;
    let view = |interface: &Interface| View { interface: interface.name.clone(), mode: mode(interface) };
    let interfaces = dataplane.interfaces.iter().map(|(_, interface)| view(interface)).collect();
    Ok(Reply::new(Views { interfaces }, render))
}

fn render(views: &Views) -> String {
    let line = |interface: &str, mode: &str| row([left(interface, 24), mode.to_owned()]);
    let lines = views.interfaces.iter().map(|view| line(&view.interface, &view.mode));
    std::iter::once(line("Interface", "Mode")).chain(lines).collect()
}
