// SPDX-License-Identifier: Apache-2.0
//! `show errors` and `clear errors`: why packets were dropped, and other events that nodes count.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_engine::ThreadIndex;
use weft_engine::node::ReasonKind;

use super::{center, left, right, row, showing};
use crate::baseline::Baselines;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Counted {
    count: u64,
    node: String,
    /// The sentence.
    reason: String,
    /// The identifier, as in `/err/<node>/<counter>`.
    counter: &'static str,
    severity: &'static str,
    /// `drop`: packets that ended so; `event`: something that ended none.
    kind: &'static str,
}

/// As [`Counted::kind`] says it.
const DROP: &str = ReasonKind::Drop.word();

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        show("show errors"),
        // VPP's other words for it.
        show("show node counters"),
        clear("clear errors"),
        clear("clear node counters"),
    ]
}

fn show(path: &str) -> Command<Dataplane> {
    Command::new(path, |dataplane: &mut Dataplane, args| {
        let by_thread = args.keyword("verbose");
        args.finish()?;
        match by_thread {
            false => {
                let threads: Vec<_> = dataplane.plan().places().map(|(index, _)| index).collect();
                Ok(Reply::list("errors", errors(dataplane, &threads), render))
            }
            true => Ok(Reply::each("threads", by_threads(dataplane), |OfThread { id, name, errors }| {
                format!("Thread {id} ({name}):\n{}", render(errors))
            })),
        }
    })
    .synopsis("[verbose]")
    .help("Why packets were dropped, and what else nodes count; verbose: by thread")
}

fn clear(path: &str) -> Command<Dataplane> {
    showing(path, |dataplane| {
        let threads = dataplane.plan().places().count() as u16;
        let (baselines, control) = dataplane.part_and_control::<Baselines>();
        baselines.clear_reasons(control.engine(), threads);
        Ok(Reply::empty())
    })
    .help("Count reasons from zero again")
}

/// The same, of one thread.
#[derive(Serialize)]
struct OfThread {
    id: u16,
    name: String,
    errors: Vec<Counted>,
}

fn by_threads(dataplane: &Dataplane) -> impl Iterator<Item = OfThread> {
    dataplane.plan().places().map(|(index, place)| OfThread {
        id: index.0,
        name: place.name.clone(),
        errors: errors(dataplane, &[index]),
    })
}

fn errors(dataplane: &Dataplane, threads: &[ThreadIndex]) -> Vec<Counted> {
    let mut errors: Vec<Counted> = dataplane
        .engine()
        .graph()
        .reasons()
        .map(|(id, info, node)| {
            let count = |thread| dataplane.part::<Baselines>().reason(dataplane.engine(), thread, id);
            Counted {
                count: threads.iter().copied().map(count).sum(),
                node: node.unwrap_or("(removed)").to_owned(),
                reason: info.spec.text.trim().to_owned(),
                counter: info.spec.name,
                severity: info.spec.severity.word(),
                kind: info.spec.kind.word(),
            }
        })
        .filter(|counted| counted.count > 0)
        .collect();
    errors.sort_by(|a, b| (&a.node, a.counter).cmp(&(&b.node, b.counter)));
    errors
}

/// Packets that ended, then what ended none. Columns are as wide as what is in them.
fn render(errors: &[Counted]) -> String {
    let (drops, events): (Vec<_>, Vec<_>) = errors.iter().partition(|it| it.kind == DROP);
    let width = |cell: fn(&Counted) -> &str, least: usize| {
        errors.iter().map(|counted| cell(counted).len()).max().unwrap_or_default().max(least)
    };
    let (node, reason) = (width(|it| &it.node, 34), width(|it| &it.reason, 35));
    let table = |what: &str, list: &[&Counted]| {
        // The titles stand where VPP has them, as far as what is below them lets them.
        let title = format!("{:reason$} ", center(what, 35));
        let mut text = row([center("Count", 10), center("Node", node + 1), title, "Severity".to_owned()]);
        for counted in list {
            let (count, severity) = (right(counted.count, 10), counted.severity.to_owned());
            let sentence = format!("{:reason$} ", counted.reason);
            text += &row([count, " ".into(), left(&counted.node, node), sentence, severity]);
        }
        text
    };
    let mut text = table("Reason", &drops);
    if !events.is_empty() {
        text += "\nEvents, which ended no packet:\n";
        text += &table("Event", &events);
    }
    text
}
