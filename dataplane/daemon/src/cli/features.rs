// SPDX-License-Identifier: Apache-2.0
//! `show features` and `set interface feature`.

use serde::Serialize;
use weft_cli::Candidate;
use weft_cli::{Args, CliError, Command, Reply};

use super::refused;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Path {
    arc: &'static str,
    features: Vec<String>,
}

#[derive(Serialize)]
struct Paths {
    arcs: Vec<Path>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show features", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            let arcs = dataplane.engine.features().list().map(|(arc, features)| Path {
                arc,
                features: features.into_iter().map(str::to_owned).collect(),
            });
            Ok(Reply::new(Paths { arcs: arcs.collect() }, render))
        })
        .help("Feature arcs, and the features of each in their order"),
        Command::new("set interface feature", set)
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
    let all = dataplane.engine.features().list().flat_map(|(arc, features)| names(arc, &features));
    all.map(|name| Candidate::new(name, "")).collect()
}

fn set(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let interface = super::interface(args, dataplane)?;
    let feature = args.word("feature")?.to_owned();
    args.expect("arc")?;
    let arc = args.parse_with("feature arc", |name| dataplane.engine.features().arc(name))?;
    let on = !args.keyword("disable");
    args.finish()?;
    let last = dataplane.after_arc(arc, interface);
    dataplane.engine.set_feature(arc, interface, &feature, on, last).map_err(refused)?;
    Ok(Reply::empty())
}

fn render(paths: &Paths) -> String {
    let mut text = "Available feature paths\n".to_owned();
    for Path { arc, features } in &paths.arcs {
        text += &format!("{arc}:\n");
        features.iter().for_each(|feature| text += &format!("  {feature}\n"));
    }
    text
}
