// SPDX-License-Identifier: Apache-2.0
//! `show hardware-interfaces`: what is behind an interface, and why it is not better.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_devices::af_xdp::socket::{Effect, SocketReport, XskStatistics};
use weft_engine::InterfaceIndex;

use super::{center, complete_interface, left, optional_interface, row};
use crate::ports::placement::thread;
use crate::ports::{Device, XdpDevice};
use crate::state::Dataplane;

#[derive(Serialize)]
struct Hardware {
    name: String,
    index: u32,
    link_up: bool,
    mac: String,
    device: &'static str,
    #[serde(flatten)]
    detail: Detail,
    rx_queues: Vec<RxQueue>,
}

#[derive(Serialize)]
struct RxQueue {
    queue: u32,
    thread: String,
    mode: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    AfXdp(Box<AfXdp>),
    Tap { host_interface: String },
    None {},
}

#[derive(Serialize)]
struct AfXdp {
    host_interface: String,
    driver: String,
    bus: String,
    numa: Option<u32>,
    mode: String,
    refused: Vec<String>,
    advice: Vec<String>,
    queues: usize,
    rings: [u32; 4],
    zero_copy: bool,
    tx_budget: String,
    busy_poll: String,
    host_side: Option<String>,
    sockets: Vec<Socket>,
}

#[derive(Serialize)]
struct Socket {
    rx_dropped: u64,
    rx_ring_full: u64,
    rx_fill_ring_empty: u64,
    rx_invalid_descs: u64,
    tx_invalid_descs: u64,
    tx_ring_empty: u64,
}

#[derive(Serialize)]
struct All {
    interfaces: Vec<Hardware>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(
            Command::new("show hardware-interfaces", |dataplane: &mut Dataplane, args| {
                let brief = args.keyword("brief");
                // VPP shows more with these; here all is shown.
                let _ = brief || args.keyword("verbose") || args.keyword("detail");
                let only = optional_interface(args, dataplane)?;
                let wanted = |index: &InterfaceIndex| only.is_none_or(|only| only == *index);
                let devices = dataplane.devices.iter().filter(|(index, _)| wanted(index));
                let mut interfaces: Vec<Hardware> =
                    devices.filter_map(|(index, device)| view(dataplane, index, device)).collect();
                interfaces.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(Reply::new(All { interfaces }, move |all| render(all, brief)))
            }),
            &[],
        )
        .synopsis("[brief|verbose|detail] [<interface>]")
        .help("Devices: driver, mode and why it was chosen, rings, queues, advice"),
    ]
}

fn view(dataplane: &Dataplane, index: InterfaceIndex, device: &Device) -> Option<Hardware> {
    let interface = dataplane.interfaces.get(index)?;
    let placed = dataplane.devices.placement.iter().filter(|placed| placed.interface == index);
    let mut rx_queues: Vec<RxQueue> = placed
        .map(|placed| RxQueue {
            queue: placed.queue.0,
            thread: dataplane.plan.name(thread(placed.worker)).to_owned(),
            mode: if placed.polling { "polling" } else { "adaptive" },
        })
        .collect();
    rx_queues.sort_by_key(|queue| queue.queue);
    Some(Hardware {
        name: interface.name.clone(),
        index: index.0,
        link_up: interface.link_up,
        mac: interface.mac.to_string(),
        device: match device {
            Device::AfXdp(_) => "af_xdp",
            Device::Tap(_) => "tap",
            Device::Loopback(_) => "loopback",
            Device::Pg(_) => "packet-generator",
        },
        detail: match device {
            Device::AfXdp(device) => Detail::AfXdp(Box::new(af_xdp(device))),
            Device::Tap(device) => Detail::Tap { host_interface: device.tap.netdev().name().to_string() },
            Device::Loopback(_) | Device::Pg(_) => Detail::None {},
        },
        rx_queues,
    })
}

fn af_xdp(device: &XdpDevice) -> AfXdp {
    let port = device.port();
    let (facts, rings) = (port.facts(), port.rings());
    // All sockets of a port are opened with the same settings.
    let report = port.reports().next();
    let effect = |pick: fn(&SocketReport) -> String| report.map_or_else(String::new, pick);
    AfXdp {
        host_interface: facts.name.to_string(),
        driver: facts.driver.name.clone(),
        bus: facts.driver.bus.clone(),
        numa: facts.numa_node.map(|node| node.0),
        mode: port.rung().to_string(),
        refused: port.refusals().iter().map(ToString::to_string).collect(),
        advice: port.advice().iter().map(ToString::to_string).collect(),
        queues: device.queues(),
        rings: [rings.rx, rings.fill, rings.tx, rings.completion],
        zero_copy: report.is_some_and(|report| report.zero_copy),
        tx_budget: effect(|report| describe(&report.tx_budget, u32::to_string, "the kernel's, 32")),
        busy_poll: effect(|report| {
            let say = |poll: &weft_devices::af_xdp::socket::BusyPoll| {
                format!("{} us, budget {}", poll.microseconds, poll.budget)
            };
            describe(&report.busy_poll, say, "off")
        }),
        host_side: device.host_tap().map(|host| host.tap.netdev().name().to_string()),
        sockets: port.statistics().unwrap_or_default().iter().map(socket).collect(),
    }
}

fn describe<T>(effect: &Effect<T>, say: impl Fn(&T) -> String, otherwise: &str) -> String {
    match effect {
        Effect::NotAsked => otherwise.to_owned(),
        Effect::InEffect(value) => say(value),
        Effect::Refused(errno) => {
            format!("{otherwise}; refused: {}", std::io::Error::from_raw_os_error(*errno))
        }
    }
}

fn socket(statistics: &XskStatistics) -> Socket {
    Socket {
        rx_dropped: statistics.rx_dropped,
        rx_ring_full: statistics.rx_ring_full,
        rx_fill_ring_empty: statistics.rx_fill_ring_empty,
        rx_invalid_descs: statistics.rx_invalid_descs,
        tx_invalid_descs: statistics.tx_invalid_descs,
        tx_ring_empty: statistics.tx_ring_empty,
    }
}

fn render(all: &All, brief: bool) -> String {
    let mut text = row([center("Name", 32), center("Idx", 6), center("Link", 8), "Hardware".into()]);
    for hardware in &all.interfaces {
        let link = if hardware.link_up { "up" } else { "down" };
        text += &row([
            left(&hardware.name, 32),
            center(hardware.index, 6),
            center(link, 8),
            hardware.device.to_owned(),
        ]);
        if brief {
            continue;
        }
        text += &format!("  Ethernet address {}\n", hardware.mac);
        match &hardware.detail {
            Detail::AfXdp(port) => text += &render_af_xdp(port),
            Detail::Tap { host_interface } => text += &format!("  host interface {host_interface}\n"),
            Detail::None {} => {}
        }
        if !hardware.rx_queues.is_empty() {
            text += "  RX Queues:\n";
            text += &row(["    ".into(), left("queue", 6), left("thread", 15), left("mode", 10)]);
        }
        for queue in &hardware.rx_queues {
            text +=
                &row(["    ".into(), left(queue.queue, 6), left(&queue.thread, 15), left(queue.mode, 10)]);
        }
    }
    text
}

fn render_af_xdp(port: &AfXdp) -> String {
    let numa = port.numa.map_or_else(|| "no NUMA node".to_owned(), |node| format!("NUMA node {node}"));
    let bus = if port.bus.is_empty() { String::new() } else { format!(" at {}", port.bus) };
    let [rx, fill, tx, completion] = port.rings;
    let mut text = format!("  host interface {}, driver {}{bus}, {numa}\n", port.host_interface, port.driver);
    text += &format!("  mode: {}\n", port.mode);
    port.refused.iter().for_each(|refusal| text += &format!("    not {refusal}\n"));
    text +=
        &format!("  {} queues; rings: rx {rx}, fill {fill}, tx {tx}, completion {completion}\n", port.queues);
    text += &format!("  tx budget: {}; busy poll: {}\n", port.tx_budget, port.busy_poll);
    if let Some(host) = &port.host_side {
        text += &format!("  host's side: {host}\n");
    }
    port.advice.iter().for_each(|advice| text += &format!("  advice: {advice}\n"));
    for (queue, socket) in port.sockets.iter().enumerate() {
        let counters = [
            ("rx dropped", socket.rx_dropped),
            ("rx ring full", socket.rx_ring_full),
            ("fill ring empty", socket.rx_fill_ring_empty),
            ("rx invalid", socket.rx_invalid_descs),
            ("tx invalid", socket.tx_invalid_descs),
        ];
        let seen: Vec<String> = counters
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !seen.is_empty() {
            text += &format!("  kernel, queue {queue}: {}\n", seen.join(", "));
        }
    }
    text
}
