// SPDX-License-Identifier: Apache-2.0
//! `flow`, `show flow`, `clear flow`.
//!
//! Flows are looked at in their tables, which costs the workers nothing; what changes one is a message to its worker.

use std::net::IpAddr;

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::settings::{FLOW_TRACKING, flow_tracking};
use weft_control::{ChangeSet, Decision, StepError, version_of};
use weft_engine::InterfaceIndex;
use weft_engine::buffer::Pages;
use weft_flow::FlowTracker;
use weft_flow::counts::{Count, NAMES};
use weft_flow::news::{News, What};
use weft_flow::settings::Mode;
use weft_flow_map::{Flow, FlowId, State};
use weft_nodes::headers::IpProtocol;
use weft_nodes::interface::by_family;

use super::{
    Column, change, complete_interface, doing, interface, left, present_interface, refused, right, row,
    showing, table,
};
use crate::state::Dataplane;

/// Flows that `show flow` lists unless told otherwise.
const LISTED: usize = 100;

pub fn commands() -> Vec<Command<Dataplane>> {
    const MATCH: &str = "[address <ip>] [port <port>] [protocol <protocol>] [state <state>] [interface <interface>] [waiting]";
    vec![
        complete_interface(change("flow enable", enable), &["mode", "agent", "track"])
            .synopsis("<interface> [mode track|agent]")
            .help("Track the flows of an interface; in mode agent each new one waits for a verdict"),
        change("flow verdict", verdict)
            .synopsis("<flow> forward|drop|redirect (table <id>|next-hop <address> <interface>|interface <port>) [mark <mark>]")
            .help("Decide about a flow, and release its packets that wait"),
        doing("flow events", events)
            .synopsis("on|off")
            .help("Have workers tell of every flow that begins or ends"),
        Command::new("show flow", show).synopsis(format!("[match {MATCH}] [limit <number>]")).help("Flows"),
        showing("show flow summary", summary).help("Counters of the flow tracker, and its interfaces"),
        showing("show flow events", show_events).help("The last flows that began, ended or wait"),
        doing("clear flow", clear)
            .synopsis(format!("[match {MATCH}]"))
            .help("End flows, all of them or those that match"),
    ]
}

fn tracker(dataplane: &Dataplane) -> Result<&FlowTracker, CliError> {
    dataplane.flows().tracker().ok_or_else(|| refused(StepError::NoFlows))
}

fn enable(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    let mode = match args.keyword("mode") {
        true => args.one_of(&[("track", Mode::Track), ("agent", Mode::Agent)])?,
        false => Mode::Track,
    };
    args.finish()?;
    changes.set(&FLOW_TRACKING, index, flow_tracking(Some(mode)));
    Ok(())
}

#[derive(Clone, Copy)]
enum To {
    Table,
    NextHop,
    Interface,
}

/// Tables are those of the flow's family.
fn redirect(
    flow: FlowId,
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<Decision, CliError> {
    let to = [("table", To::Table), ("next-hop", To::NextHop), ("interface", To::Interface)];
    Ok(match args.one_of(&to)? {
        To::Table => {
            let flow = tracker(dataplane)?.get(flow).ok_or_else(|| refused(StepError::FlowEnded(flow)))?;
            let version = version_of(&flow);
            Decision::Table(
                version,
                args.parse_with("table", |word| {
                    let id = word.parse().map_err(|_| "a table is a number".to_owned())?;
                    by_family!(version, F => changes.table::<F>(dataplane, id))
                        .map_err(|error| error.to_string())
                })?,
            )
        }
        To::NextHop => {
            let address: IpAddr = args.parse("address")?;
            Decision::NextHop(interface(args, dataplane, changes)?, address)
        }
        To::Interface => Decision::Interface(interface(args, dataplane, changes)?),
    })
}

fn verdict(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let id: FlowId = args.parse("flow")?;
    let decision = if args.keyword("redirect") {
        redirect(id, dataplane, changes, args)?
    } else {
        args.one_of(&[("forward", Decision::Forward), ("drop", Decision::Drop)])?
    };
    let mark = if args.keyword("mark") { Some(args.parse("mark")?) } else { None };
    args.finish()?;
    changes.decide(id, decision, mark);
    Ok(())
}

fn events(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let on = args.one_of(&[("on", true), ("off", false)])?;
    args.finish()?;
    tracker(dataplane)?.set_events(on);
    Ok(())
}

/// Which flows.
#[derive(Default)]
struct Filter {
    address: Option<IpAddr>,
    port: Option<u16>,
    protocol: Option<u8>,
    state: Option<State>,
    interface: Option<u32>,
    waiting: bool,
}

impl Filter {
    /// Reads what stands behind `match`, if that is there.
    fn read(args: &mut Args<'_>, dataplane: &Dataplane) -> Result<Filter, CliError> {
        let mut filter = Filter::default();
        if !args.keyword("match") {
            return Ok(filter);
        }
        loop {
            if args.keyword("address") {
                filter.address = Some(args.parse("address")?);
            } else if args.keyword("port") {
                filter.port = Some(args.parse("port")?);
            } else if args.keyword("protocol") {
                filter.protocol = Some(args.parse_with("protocol", |word| match word {
                    "tcp" => Ok(6),
                    "udp" => Ok(17),
                    "icmp" => Ok(1),
                    "icmp6" => Ok(58),
                    number => number.parse().map_err(|_| "tcp, udp, icmp, icmp6 or a number from 0 to 255"),
                })?);
            } else if args.keyword("state") {
                filter.state = Some(args.one_of(&State::ALL.map(|state| (state.name(), state)))?);
            } else if args.keyword("interface") {
                filter.interface = Some(present_interface(args, dataplane)?.0);
            } else if args.keyword("waiting") {
                filter.waiting = true;
            } else {
                return Ok(filter);
            }
        }
    }

    fn takes(&self, flow: &Flow) -> bool {
        let ends = [flow.from(), flow.to()];
        self.address.is_none_or(|address| ends.iter().any(|end| end.address == address))
            && self.port.is_none_or(|port| ends.iter().any(|end| end.port == port))
            && self.protocol.is_none_or(|protocol| flow.key.protocol() == protocol)
            && self.state.is_none_or(|state| flow.state == state)
            && self.interface.is_none_or(|interface| flow.interface == Some(interface))
            && (!self.waiting || flow.waiting)
    }
}

#[derive(Serialize)]
struct View {
    id: String,
    protocol: String,
    from: String,
    to: String,
    table: u16,
    state: &'static str,
    waiting: bool,
    verdict: String,
    mark: u32,
    interface: String,
    /// Sent by who began, and by the other side.
    packets: [u64; 2],
    bytes: [u64; 2],
    /// Seconds.
    age: f64,
    idle: f64,
}

#[derive(Serialize)]
struct Views {
    flows: Vec<View>,
    /// How many match.
    count: usize,
}

fn view(dataplane: &Dataplane, flow: &Flow) -> View {
    View {
        id: flow.id.to_string(),
        protocol: IpProtocol(flow.key.protocol()).to_string(),
        from: flow.from().to_string(),
        to: flow.to().to_string(),
        table: flow.key.table(),
        state: flow.state.name(),
        waiting: flow.waiting,
        verdict: flow.verdict.to_string(),
        mark: flow.mark,
        interface: flow
            .interface
            .map_or_else(|| "none".to_owned(), |it| dataplane.interface_name(InterfaceIndex(it))),
        packets: flow.sides.map(|side| side.packets),
        bytes: flow.sides.map(|side| side.bytes),
        age: flow.age.as_secs_f64(),
        idle: flow.idle.as_secs_f64(),
    }
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let filter = Filter::read(args, dataplane)?;
    let limit = if args.keyword("limit") { args.parse("number")? } else { LISTED };
    args.finish()?;
    let (mut flows, mut count) = (Vec::new(), 0);
    for flow in tracker(dataplane)?.flows().filter(|flow| filter.takes(flow)) {
        count += 1;
        if flows.len() < limit {
            flows.push(view(dataplane, &flow));
        }
    }
    Ok(Reply::new(Views { flows, count }, |Views { flows, count }| {
        table(COLUMNS, flows) + &format!("{} of {count} flows\n", flows.len())
    }))
}

const COLUMNS: &[Column<View>] = &[
    Column::left("Flow", 16, |flow| flow.id.clone()),
    Column::left("Protocol", 9, |flow| flow.protocol.clone()),
    Column::left("From", 22, |flow| flow.from.clone()),
    Column::left("To", 22, |flow| flow.to.clone()),
    Column::left("State", 12, |flow| if flow.waiting { "waiting" } else { flow.state }.to_owned()),
    Column::right("Packets", 18, |flow| format!("{}/{}", flow.packets[0], flow.packets[1])),
    Column::right("Bytes", 24, |flow| format!("{}/{}", flow.bytes[0], flow.bytes[1])),
    Column::right("Idle", 10, |flow| format!("{:.1}", flow.idle)),
    Column::gap(2),
    Column::rest("Verdict", |flow| if flow.waiting { "-" } else { &flow.verdict }.to_owned()),
];

#[derive(Serialize)]
struct Summary {
    counters: Vec<Counter>,
    interfaces: Vec<Tracked>,
    /// Slots of all workers.
    capacity: usize,
    /// What the flows lie on, and their index.
    memory: [String; 2],
}

#[derive(Serialize)]
struct Counter {
    name: &'static str,
    value: u64,
}

#[derive(Serialize)]
struct Tracked {
    interface: String,
    mode: &'static str,
}

fn summary(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    let tracker = tracker(dataplane)?;
    let counters = Count::ALL
        .iter()
        .map(|count| Counter { name: NAMES[*count as usize], value: tracker.counts.sum(*count) });
    let (huge, index) = tracker.pages();
    let is_tracked = |index| tracker.is_enabled(dataplane.engine(), index);
    let interfaces = dataplane.interfaces().iter().filter(|(index, _)| is_tracked(*index));
    let summary = Summary {
        counters: counters.collect(),
        interfaces: interfaces
            .map(|(index, interface)| Tracked {
                interface: interface.name.clone(),
                mode: if tracker.mode(index) == Mode::Agent { "agent" } else { "track" },
            })
            .collect(),
        capacity: tracker.settings().flows,
        memory: [
            if huge { "huge pages (2 MiB)".to_owned() } else { Pages::Small.to_string() },
            index.to_string(),
        ],
    };
    Ok(Reply::new(summary, |summary| {
        let [flows, index] = &summary.memory;
        let mut out = row([left("capacity", 20), right(summary.capacity, 12)]);
        out += &format!("flows on {flows}, their index on {index}\n");
        for counter in &summary.counters {
            out += &row([left(counter.name, 20), right(counter.value, 12)]);
        }
        for tracked in &summary.interfaces {
            out += &format!("{} mode {}\n", tracked.interface, tracked.mode);
        }
        out
    }))
}

#[derive(Serialize)]
struct Event {
    /// Seconds since the start.
    time: f64,
    flow: String,
    protocol: String,
    from: String,
    to: String,
    event: &'static str,
    /// Of the end.
    why: Option<&'static str>,
    packets: Option<[u64; 2]>,
    bytes: Option<[u64; 2]>,
    /// Of the packet that waits.
    length: Option<u32>,
}

fn show_events(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    tracker(dataplane)?;
    let event = |news: &News| {
        let (event, why, sides, length) = match news.what {
            What::Began => ("began", None, None, None),
            What::Ended { why, sides, .. } => ("ended", Some(why.name()), Some(sides), None),
            What::Waits { length, .. } => ("waits", None, None, Some(length)),
        };
        let [from, to] = news.ends();
        Event {
            time: dataplane.engine().clock.since_start(news.at).as_secs_f64(),
            flow: news.id.to_string(),
            protocol: IpProtocol(news.key.protocol()).to_string(),
            from: from.to_string(),
            to: to.to_string(),
            event,
            why,
            packets: sides.map(|sides| sides.map(|side| side.packets)),
            bytes: sides.map(|sides| sides.map(|side| side.bytes)),
            length,
        }
    };
    Ok(Reply::each("events", dataplane.flows().events().map(event), |event| {
        let Event { time, flow, protocol, from, to, event, why, .. } = event;
        format!("{time:12.6} {flow} {protocol} {from} -> {to} {event} {}\n", why.unwrap_or_default())
    }))
}

fn clear(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let all = args.is_empty();
    let filter = Filter::read(args, dataplane)?;
    args.finish()?;
    let tracker = tracker(dataplane)?;
    let some: Vec<FlowId> = match all {
        true => Vec::new(),
        false => tracker.flows().filter(|flow| filter.takes(flow)).map(|flow| flow.id).collect(),
    };
    dataplane.clear_flows((!all).then_some(&some));
    Ok(())
}
