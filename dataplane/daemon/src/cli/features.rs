// SPDX-License-Identifier: Apache-2.0
//! `show features` and `set interface feature`.

use std::collections::BTreeMap;

use serde::Serialize;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_control::{ChangeSet, Object};
use weft_engine::feature::{ArcEnd, ArcKey};

use super::change;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Path {
    arc: String,
    /// The interface that decides: `rx` or `tx`.
    by: &'static str,
    /// What follows.
    then: String,
    features: Vec<String>,
    /// By feature, the command that enables and disables it, if it is not set by itself.
    set_by: BTreeMap<String, String>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show features", |dataplane: &mut Dataplane, args| {
            let verbose = args.keyword("verbose");
            args.finish()?;
            let arcs = dataplane.engine().features().list().map(|arc| Path {
                arc: arc.name.to_owned(),
                by: match arc.key {
                    ArcKey::RxInterface => "rx",
                    ArcKey::TxInterface => "tx",
                },
                then: match arc.end {
                    ArcEnd::Node(name) | ArcEnd::Arc(name) => name.to_owned(),
                    ArcEnd::Transmit => "<interface>-tx".to_owned(),
                },
                features: arc.features().map(|feature| feature.node.to_owned()).collect(),
                set_by: arc
                    .features()
                    .filter_map(|feature| Some((feature.node.to_owned(), feature.set_by?.to_owned())))
                    .collect(),
            });
            Ok(Reply::list("arcs", arcs, move |arcs| render(arcs, verbose)))
        })
        .synopsis("[verbose]")
        .help("Feature arcs, and the features of each in their order"),
        change("set interface feature", set)
            .synopsis("<interface> <feature> arc <arc> [disable]")
            .help("Let packets of an interface pass a feature, or no longer")
            .completer(|dataplane, words| match words {
                [] => super::interface_names(dataplane),
                [_] => {
                    offer(dataplane, |_, features| features.iter().map(|name| (*name).to_owned()).collect())
                }
                [_, _] => vec![Candidate::new("arc", "")],
                [_, _, _] => offer(dataplane, |arc, _| vec![arc.to_owned()]),
                _ => vec![Candidate::new("disable", "")],
            }),
    ]
}

fn offer(dataplane: &Dataplane, names: impl Fn(&str, &[&str]) -> Vec<String>) -> Vec<Candidate> {
    let all = dataplane.engine().features().list().flat_map(|arc| {
        let free = arc.features().filter(|feature| feature.set_by.is_none());
        let features: Vec<&str> = free.map(|feature| feature.node).collect();
        names(arc.name, &features)
    });
    all.map(|name| Candidate::new(name, "")).collect()
}

fn set(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let interface = super::interface(args, dataplane, changes)?;
    let feature = args.word("feature")?.to_owned();
    args.expect("arc")?;
    let arc = args.word("feature arc")?.to_owned();
    match args.keyword("disable") {
        true => changes.delete(Object::Feature { interface, arc, feature }),
        false => changes.enable_feature(interface, &arc, &feature),
    }
    args.finish()
}

fn render(arcs: &[Path], verbose: bool) -> String {
    let mut text = "Available feature paths\n".to_owned();
    for Path { arc, by, then, features, set_by } in arcs {
        text += &format!("{arc}:\n");
        if verbose {
            text += &format!("  [by {by} interface, then {then}]\n");
        }
        for node in features {
            match set_by.get(node).filter(|_| verbose) {
                Some(command) => text += &format!("  {node} (set by '{command}')\n"),
                None => text += &format!("  {node}\n"),
            }
        }
    }
    text
}
