// SPDX-License-Identifier: Apache-2.0
//! `show hardware-interfaces`: what is behind an interface, and why it is not better.

use serde::Serialize;
use serde_json::{Map, Value};
use weft_cli::{Command, Reply};
use weft_devices::device::Device;
use weft_engine::InterfaceIndex;

use super::table::{centered, line, titles};
use super::{Column, complete_interface, present_interface, table};
use crate::ports::placement::thread;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Hardware {
    name: String,
    index: u32,
    link_up: bool,
    mac: String,
    device: &'static str,
    #[serde(flatten)]
    detail: Map<String, Value>,
    #[serde(skip)]
    text: String,
    rx_queues: Vec<RxQueue>,
}

#[derive(Serialize)]
struct RxQueue {
    queue: u32,
    thread: String,
    mode: &'static str,
}

const COLUMNS: &[Column<Hardware>] = &[
    centered(Column::left("Name", 32, |it| it.name.clone())),
    Column::center("Idx", 6, |it| it.index.to_string()),
    Column::center("Link", 8, |it| if it.link_up { "up" } else { "down" }.to_owned()),
    Column::rest("Hardware", |it| it.device.to_owned()),
];

const QUEUES: &[Column<RxQueue>] = &[
    Column::gap(4),
    Column::left("queue", 6, |queue| queue.queue.to_string()),
    Column::left("thread", 15, |queue| queue.thread.clone()),
    Column::left("mode", 10, |queue| queue.mode.to_owned()),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(
            Command::new("show hardware-interfaces", |dataplane: &mut Dataplane, args| {
                let brief = args.keyword("brief");
                // VPP shows more with these; here all is shown.
                let _ = brief || args.keyword("verbose") || args.keyword("detail");
                let only = if !args.is_empty() { Some(present_interface(args, dataplane)?) } else { None };
                let _ = args.keyword("verbose") || args.keyword("detail");
                args.finish()?;
                let wanted = |index: &InterfaceIndex| only.is_none_or(|only| only == *index);
                let devices = dataplane.devices().iter().filter(|(index, _)| wanted(index));
                let mut interfaces: Vec<Hardware> =
                    devices.filter_map(|(index, device)| view(dataplane, index, device)).collect();
                interfaces.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(Reply::list("interfaces", interfaces, move |all| render(all, brief)))
            }),
            &[],
        )
        .synopsis("[brief|verbose|detail] [<interface>]")
        .help("Devices: driver, mode and why it was chosen, rings, queues, advice"),
    ]
}

fn view(dataplane: &Dataplane, index: InterfaceIndex, device: &dyn Device) -> Option<Hardware> {
    let interface = dataplane.interfaces().get(index)?;
    let placed = dataplane.devices().placement.iter().filter(|placed| placed.interface == index);
    let mut rx_queues: Vec<RxQueue> = placed
        .map(|placed| RxQueue {
            queue: placed.queue.0,
            thread: dataplane.plan().name(thread(placed.worker)).to_owned(),
            mode: if placed.polling { "polling" } else { "adaptive" },
        })
        .collect();
    rx_queues.sort_by_key(|queue| queue.queue);
    let details = device.details();
    Some(Hardware {
        name: interface.name.clone(),
        index: index.0,
        link_up: interface.link_up,
        mac: interface.mac.to_string(),
        device: device.kind().word,
        detail: details.json,
        text: details.text,
        rx_queues,
    })
}

fn render(all: &[Hardware], brief: bool) -> String {
    let mut text = titles(COLUMNS);
    for hardware in all {
        text += &line(COLUMNS, hardware);
        if brief {
            continue;
        }
        text += &format!("  Ethernet address {}\n", hardware.mac);
        text += &hardware.text;
        if !hardware.rx_queues.is_empty() {
            text += "  RX Queues:\n";
            text += &table(QUEUES, &hardware.rx_queues);
        }
    }
    text
}
