// SPDX-License-Identifier: Apache-2.0
//! `show urpf`, `show ip forwarding`: what interfaces let in.

use serde::Serialize;
use weft_cli::Command;
use weft_nodes::interface::Interface;

use super::super::{Column, showing, tabled};
use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    interface: String,
    mode: String,
}

const COLUMNS: &[Column<View>] = &[
    Column::left("Interface", 24, |view| view.interface.clone()),
    Column::rest("Mode", |view| view.mode.clone()),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        show("show urpf", |interface| interface.source_check.to_string())
            .help("Which sources the interfaces believe"),
        show("show ip forwarding", |it| if it.forwarding { "enabled" } else { "disabled" }.to_owned())
            .help("Which interfaces route"),
    ]
}

fn show(path: &str, mode: fn(&Interface) -> String) -> Command<Dataplane> {
    showing(path, move |dataplane| {
        let interfaces = dataplane.interfaces().iter();
        let views = interfaces.map(|(_, it)| View { interface: it.name.clone(), mode: mode(it) });
        Ok(tabled("interfaces", views, COLUMNS))
    })
}
