// SPDX-License-Identifier: Apache-2.0
//! `show registrations` and `show punt reasons`.

use serde::Serialize;
use weft_cli::{Candidate, Command, Reply};
use weft_nodes::registries::PUNT_REASONS;

use super::{left, row};
use crate::state::Dataplane;

#[derive(Serialize)]
struct Entry {
    registry: String,
    key: String,
    node: String,
    owner: String,
}

#[derive(Serialize)]
struct Registrations {
    registrations: Vec<Entry>,
}

#[derive(Serialize)]
struct PuntReason {
    reason: String,
    text: String,
    /// Who gets such packets.
    to: String,
}

#[derive(Serialize)]
struct PuntReasons {
    reasons: Vec<PuntReason>,
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
            Ok(Reply::new(Registrations { registrations: registrations.collect() }, |shown| {
                let mut out =
                    row([left("Registry", 14), left("Entry", 40), left("Node", 24), left("Owner", 16)]);
                for Entry { registry, key, node, owner } in &shown.registrations {
                    out += &row([left(registry, 14), left(key, 40), left(node, 24), left(owner, 16)]);
                }
                out
            }))
        })
        .synopsis("[<registry>]")
        .help("Which node handles which EtherType, IP protocol, UDP port or reason to punt")
        .completer(|dataplane, _| {
            let names = dataplane.engine().registries().names();
            names.map(|name| Candidate::new(name, "")).collect()
        }),
        Command::new("show punt reasons", |dataplane: &mut Dataplane, args| {
            args.finish()?;
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
            Ok(Reply::new(PuntReasons { reasons: reasons.collect() }, |shown| {
                let width = |cell: fn(&PuntReason) -> &str, title: &str| {
                    let cells = shown.reasons.iter().map(|reason| cell(reason).len());
                    cells.chain([title.len()]).max().unwrap_or_default() + 2
                };
                let (first, second) = (width(|it| &it.reason, "Reason"), width(|it| &it.to, "To"));
                let mut out = row([left("Reason", first), left("To", second), "Text".to_owned()]);
                for PuntReason { reason, text, to } in &shown.reasons {
                    out += &row([left(reason, first), left(to, second), text.clone()]);
                }
                out
            }))
        })
        .help("Why packets go to the host, and which node has some of them in its place"),
    ]
}
