// SPDX-License-Identifier: Apache-2.0
//! `show interface ...` and `clear interfaces`.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{Ip4, Ip6};
use weft_nodes::interface::Interface;
use weft_nodes::router::Routed;
use weft_stats::Combined;

use super::{asked_for, center, complete_interface, left, of_interfaces, right, row, showing};
use crate::baseline::Baselines;
use crate::baseline::{InterfaceCounts, SIMPLE};
use crate::ports::placement::thread;
use crate::state::Dataplane;

/// A line of `show interface`.
#[derive(Serialize)]
struct View {
    name: String,
    index: u32,
    admin_up: bool,
    link_up: bool,
    mac: String,
    mtu: u16,
    #[serde(flatten)]
    counts: InterfaceCounts,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        of_interfaces("show interface", |dataplane, only| {
            // What the kernel has counted of this very moment, not of the last update.
            dataplane.collect_device_counters();
            let interfaces = asked_for(dataplane, only).into_iter();
            let views = interfaces.map(|(index, interface)| view(dataplane, index, interface));
            Ok(Reply::list("interfaces", views, render))
        })
        .help("State and counters of interfaces"),
        of_interfaces("show interface address", |dataplane, only| {
            let interfaces = asked_for(dataplane, only).into_iter();
            let addresses = interfaces.map(|(_, interface)| addresses(dataplane, interface));
            Ok(Reply::each("interfaces", addresses, Addresses::render))
        })
        .help("Addresses of interfaces"),
        showing("show interface rx-placement", |dataplane| {
            Ok(Reply::new(placement(dataplane), render_placement))
        })
        .help("Which worker polls which receive queue"),
        complete_interface(
            Command::new("show interface features", |dataplane: &mut Dataplane, args| {
                let index = super::present_interface(args, dataplane)?;
                args.finish()?;
                let name = dataplane.interface_name(index);
                let arcs = dataplane.engine().features().list().map(|arc| Path {
                    arc: arc.name.to_owned(),
                    features: arc.enabled(index).map(str::to_owned).collect(),
                });
                Ok(Reply::new(Features { interface: name, arcs: arcs.collect() }, render_features))
            }),
            &[],
        )
        .synopsis("<interface>")
        .help("Features that packets of an interface pass"),
        clear("clear interfaces"),
        clear("clear hardware-interfaces"),
    ]
}

fn clear(path: &str) -> Command<Dataplane> {
    showing(path, |dataplane| {
        dataplane.collect_device_counters();
        let (baselines, control) = dataplane.part_and_control::<Baselines>();
        let all = control.interfaces().iter().map(|(index, _)| index);
        baselines.clear_interfaces(&control.engine().counters, all);
        Ok(Reply::empty())
    })
    .help("Count interface counters from zero again")
}

fn view(dataplane: &Dataplane, index: InterfaceIndex, interface: &Interface) -> View {
    View {
        name: interface.name.clone(),
        index: index.0,
        admin_up: interface.admin_up,
        link_up: interface.link_up,
        mac: interface.mac.to_string(),
        mtu: interface.mtu,
        counts: dataplane.part::<Baselines>().interface(&dataplane.engine().counters, index),
    }
}

/// Columns before the counters.
const BEFORE_COUNTERS: usize = 32 + 5 + 10 + 21;

fn render(views: &[View]) -> String {
    let mut text = row([
        center("Name", 32),
        center("Idx", 5),
        center("State", 10),
        center("MTU (L3/IP4/IP6/MPLS)", 21),
        center("Counter", 16),
        center("Count", 16),
    ]);
    for view in views {
        let state = if view.admin_up { "up" } else { "down" };
        let mut start = [
            left(&view.name, 32),
            center(view.index, 5),
            center(state, 10),
            center(format!("{}/0/0/0", view.mtu), 21),
        ]
        .concat();
        let counters = counters(&view.counts);
        if counters.is_empty() {
            text += &row([start.clone()]);
        }
        for (name, value) in counters {
            text += &row([start, left(name, 16), right(value, 16)]);
            start = " ".repeat(BEFORE_COUNTERS);
        }
    }
    text
}

/// Counters that are not zero.
fn counters(counts: &InterfaceCounts) -> Vec<(String, u64)> {
    let combined = [("rx", counts.rx), ("tx", counts.tx)];
    let combined =
        combined.into_iter().filter(|(_, count)| *count != Combined::default()).flat_map(|(name, count)| {
            [(format!("{name} packets"), count.packets), (format!("{name} bytes"), count.bytes)]
        });
    let simple = SIMPLE.into_iter().zip(counts.simple).filter(|(_, count)| *count > 0);
    combined.chain(simple.map(|(name, count)| (name.to_owned(), count))).collect()
}

#[derive(Serialize)]
struct Addresses {
    name: String,
    up: bool,
    table: u32,
    /// Of the table: its place in `show ip fib`.
    fib_index: u32,
    /// IPv4 addresses.
    addresses: Vec<String>,
    ip6_table: u32,
    ip6_fib_index: u32,
    ip6_addresses: Vec<String>,
    unnumbered: Option<String>,
}

fn addresses(dataplane: &Dataplane, interface: &Interface) -> Addresses {
    Addresses {
        name: interface.name.clone(),
        up: interface.admin_up,
        table: table_of::<Ip4>(dataplane, interface),
        fib_index: interface.ip4.table.0,
        addresses: interface.ip4.addresses.iter().map(ToString::to_string).collect(),
        ip6_table: table_of::<Ip6>(dataplane, interface),
        ip6_fib_index: interface.ip6.table.0,
        ip6_addresses: interface.ip6.addresses.iter().map(ToString::to_string).collect(),
        unnumbered: interface.unnumbered.map(|lender| dataplane.interface_name(lender)),
    }
}

fn table_of<F: Routed>(dataplane: &Dataplane, interface: &Interface) -> u32 {
    dataplane.router().table::<F>(F::of(interface).table).map_or(0, |table| table.id)
}

impl Addresses {
    fn render(&self) -> String {
        let mut text = format!("{} ({}):\n", self.name, if self.up { "up" } else { "dn" });
        for (addresses, family, table, fib_index) in [
            (&self.addresses, "ip4", self.table, self.fib_index),
            (&self.ip6_addresses, "ip6", self.ip6_table, self.ip6_fib_index),
        ] {
            for address in addresses {
                text += &match table {
                    0 => format!("  L3 {address}\n"),
                    table => format!("  L3 {address} {family} table-id {table} fib-idx {fib_index}\n"),
                };
            }
        }
        if let Some(lender) = &self.unnumbered {
            text += &format!("  unnumbered, use {lender}\n");
        }
        text
    }
}

#[derive(Serialize)]
struct Queue {
    interface: String,
    queue: u32,
    thread: String,
    #[serde(skip)]
    thread_index: u16,
    node: String,
    mode: &'static str,
}

#[derive(Serialize)]
struct Placement {
    queues: Vec<Queue>,
    /// Threads that poll no queue.
    idle: Vec<String>,
}

fn placement(dataplane: &Dataplane) -> Placement {
    let node = |index| {
        let input = dataplane.devices().get(index).and_then(|device| device.input());
        let info = input.and_then(|id| dataplane.engine().graph().node(id));
        info.map_or_else(String::new, |node| node.name.clone())
    };
    let mut queues: Vec<Queue> = dataplane
        .devices()
        .placement
        .iter()
        .map(|placed| Queue {
            interface: dataplane.interface_name(placed.interface),
            queue: placed.queue.0,
            thread: dataplane.plan().name(thread(placed.worker)).to_owned(),
            thread_index: thread(placed.worker).0,
            node: node(placed.interface),
            mode: if placed.polling { "polling" } else { "adaptive" },
        })
        .collect();
    queues.sort_by(|a, b| {
        (a.thread_index, &a.node, &a.interface, a.queue).cmp(&(
            b.thread_index,
            &b.node,
            &b.interface,
            b.queue,
        ))
    });
    let name = |thread| dataplane.plan().name(thread).to_owned();
    Placement { queues, idle: dataplane.idle_workers().into_iter().map(name).collect() }
}

fn render_placement(placement: &Placement) -> String {
    let mut text = String::new();
    let (mut thread, mut node) = (None, None);
    for idle in &placement.idle {
        text += &format!("No queue: {idle}\n");
    }
    for queue in &placement.queues {
        if thread != Some(queue.thread_index) {
            text += &format!("Thread {} ({}):\n", queue.thread_index, queue.thread);
            (thread, node) = (Some(queue.thread_index), None);
        }
        if node != Some(&queue.node) {
            text += &format!(" node {}:\n", queue.node);
            node = Some(&queue.node);
        }
        text += &format!("    {} queue {} ({})\n", queue.interface, queue.queue, queue.mode);
    }
    text
}

#[derive(Serialize)]
struct Path {
    arc: String,
    features: Vec<String>,
}

#[derive(Serialize)]
struct Features {
    interface: String,
    arcs: Vec<Path>,
}

fn render_features(features: &Features) -> String {
    let mut text = format!("Feature paths configured on {}...\n", features.interface);
    for Path { arc, features } in &features.arcs {
        text += &format!("\n{arc}:\n");
        if features.is_empty() {
            text += "  none configured\n";
        }
        features.iter().for_each(|feature| text += &format!("  {feature}\n"));
    }
    text
}
