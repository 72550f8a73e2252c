// SPDX-License-Identifier: Apache-2.0
//! `show drops`: a sample of the packets that were dropped last, for "where did my packet go".

use serde::Serialize;
use weft_cli::{CliError, Command, Reply};
use weft_engine::NodeId;
use weft_engine::drop::DropNode;
use weft_engine::trace::Names;

use super::{refused, showing};
use crate::state::Dataplane;

#[derive(Serialize)]
struct Drop {
    /// Seconds since the start.
    time: f64,
    thread: String,
    interface: String,
    /// The node that gave the reason.
    node: String,
    reason: String,
    length: usize,
    /// The first bytes from where the packet had come to, in hexadecimal.
    data: String,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show drops", show)
            .help("A sample of the last dropped packets: why, where from, first bytes"),
    ]
}

fn show(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    let samples = dataplane
        .ask_all(|worker| {
            let node = worker.node_mut::<DropNode>(NodeId::DROP);
            node.map(|node| node.samples().cloned().collect::<Vec<_>>()).unwrap_or_default()
        })
        .map_err(refused)?;
    let mut drops: Vec<Drop> = samples
        .into_iter()
        .flat_map(|(thread, records)| records.into_iter().map(move |record| (thread, record)))
        .map(|(thread, record)| Drop {
            time: dataplane.engine().clock.since_start(record.at).as_secs_f64(),
            thread: dataplane.plan().name(thread).to_owned(),
            interface: Names::interface(dataplane, record.meta.rx_interface),
            node: dataplane
                .engine()
                .graph()
                .reason(record.meta.reason)
                .map_or_else(String::new, |reason| Names::node(dataplane, reason.node)),
            reason: Names::reason(dataplane, record.meta.reason),
            length: record.meta.total_length(),
            data: record.data().iter().take(64).map(|byte| format!("{byte:02x}")).collect(),
        })
        .collect();
    drops.sort_by(|a, b| a.time.total_cmp(&b.time));
    Ok(Reply::each("drops", drops, |drop| {
        let Drop { time, thread, interface, node, reason, length, data } = drop;
        format!("{time:12.6} {thread} rx:{interface} {node}: {reason} ({length} bytes)\n    {data}\n")
    }))
}
