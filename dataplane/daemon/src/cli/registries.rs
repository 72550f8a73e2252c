// SPDX-License-Identifier: Apache-2.0
//! `show registrations` and `show punt reasons`.

use serde::Serialize;
use weft_cli::{Candidate, Command, Reply};
use weft_nodes::registries::PUNT_REASONS;

use super::{Column, left, row, showing, tabled};
use crate::state::Dataplane;

#[derive(Serialize)]
struct Entry {
    registry: String,
    key: String,
    node: String,
    owner: String,
}

const COLUMNS: &[Column<Entry>] = &[
    Column::left("Registry", 14, |entry| entry.registry.clone()),
    Column::left("Entry", 40, |entry| entry.key.clone()),
    Column::left("Node", 24, |entry| entry.node.clone()),
    Column::left("Owner", 16, |entry| entry.owner.clone()),
];

#[derive(Serialize)]
struct PuntReason {
    reason: String,
    text: String,
    /// Who gets such packets.
    to: String,
}

/// Who gets punted packets that no node wants.
const HOST: &str = "host";

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show registrations", |dataplane: &mut Dataplane, args| {
            let registry: Option<String> = args.optional("registry")?;
            args.finish()?;
            let registries = dataplane.engine().registries();
            if let Some(name) = &registry {
                registries.find(name).map_err(super::refused)?;
            }
            let wanted =
                registries.list().filter(|it| registry.as_ref().is_none_or(|name| name == it.registry));
            let registrations = wanted.map(|entry| Entry {
                registry: entry.registry.to_owned(),
                key: entry.key,
                node: entry.node.to_owned(),
                owner: entry.owner.to_owned(),
            });
            Ok(tabled("registrations", registrations, COLUMNS))
        })
        .synopsis("[<registry>]")
        .help("Which node handles which EtherType, IP protocol, UDP port or reason to punt")
        .completer(|dataplane, _| {
            let names = dataplane.engine().registries().names();
            names.map(|name| Candidate::new(name, "")).collect()
        }),
        showing("show punt reasons", |dataplane| {
            let taken = dataplane.engine().registries().list().filter(|it| it.registry == PUNT_REASONS.name);
            let taken: Vec<_> = taken.map(|entry| (entry.key, entry.node)).collect();
            let nodes = dataplane.engine().graph().nodes();
            let reasons = nodes.flat_map(|(_, info)| {
                let spec = |name: &str| info.spec.drops.iter().find(|reason| reason.name == name);
                info.spec.punts.iter().map(move |name| {
                    (format!("{}/{name}", info.name), spec(name).map_or("", |reason| reason.text.trim()))
                })
            });
            let reasons = reasons.map(|(reason, text)| {
                let to = taken.iter().find(|(key, _)| *key == reason).map_or(HOST, |(_, node)| *node);
                PuntReason { to: to.to_owned(), text: text.to_owned(), reason }
            });
            Ok(Reply::list("reasons", reasons, |reasons| {
                let width = |cell: fn(&PuntReason) -> &str, title: &str| {
                    let cells = reasons.iter().map(|reason| cell(reason).len());
                    cells.chain([title.len()]).max().unwrap_or_default() + 2
                };
                let (first, second) = (width(|it| &it.reason, "Reason"), width(|it| &it.to, "To"));
                let mut out = row([left("Reason", first), left("To", second), "Text".to_owned()]);
                for PuntReason { reason, text, to } in reasons {
                    out += &row([left(reason, first), left(to, second), text.clone()]);
                }
                out
            }))
        })
        .help("Why packets go to the host, and which node has some of them in its place"),
    ]
}
