// SPDX-License-Identifier: Apache-2.0
//! `packet-generator ...`: streams of made packets.

use std::path::{Path, PathBuf};

use serde::Serialize;
use weft_background::Background;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_control::{ChangeSet, Foundation};
use weft_devices::pcap::PacketList;
use weft_devices::pg::Pg;
use weft_devices::pg::device::PG;
use weft_devices::pg::{Mode, Parameters, PgId, StreamSpec, StreamStatus};

use weft_engine::InterfaceIndex;

use super::create::{create, delete};
use super::{center, doing, left, refused};
use crate::state::Dataplane;

#[derive(Serialize)]
struct Stream {
    name: String,
    enabled: bool,
    /// Packets made since it was enabled.
    count: u64,
    limit: u64,
    rate: f64,
    size: [usize; 2],
    buffer_size: usize,
    worker: usize,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let offer_streams = |dataplane: &Dataplane, words: &[&str]| match words {
        [] => dataplane.part::<Pg>().streams().map(|stream| Candidate::new(stream.name, "stream")).collect(),
        _ => Vec::new(),
    };
    vec![
        Command::new("packet-generator new", new)
            .synopsis("[{] name <name> [limit <n>] [rate <pps>] [size <a>-<b>] source <pgN>|interface <if>|node <node> data { ... }|pcap <file> [}]")
            .help("Describe a stream of packets, which enable-stream starts"),
        doing("packet-generator enable-stream", |dataplane, args| {
            let name: Option<String> = args.optional("stream")?;
            args.finish()?;
            let (pg, control) = dataplane.part_and_control::<Pg>();
            pg.enable(control.engine_mut(), name.as_deref()).map_err(refused)
        })
        .synopsis("[<stream>]")
        .help("Start a stream, or all")
        .completer(offer_streams),
        doing("packet-generator disable-stream", |dataplane, args| {
            let name: Option<String> = args.optional("stream")?;
            args.finish()?;
            let (pg, control) = dataplane.part_and_control::<Pg>();
            pg.disable(control.engine_mut(), name.as_deref()).map_err(refused)
        })
        .synopsis("[<stream>]")
        .help("Stop a stream, or all")
        .completer(offer_streams),
        doing("packet-generator delete", |dataplane, args| {
            let name = args.word("stream")?.to_owned();
            args.finish()?;
            let (pg, control) = dataplane.part_and_control::<Pg>();
            pg.delete_stream(control.engine_mut(), &name).map_err(refused)
        })
        .synopsis("<stream>")
        .help("Stop and forget a stream")
        .completer(offer_streams),
        doing("packet-generator configure", configure)
            .synopsis("<stream> [limit <n>] [rate <pps>] [size <a>-<b>] [buffer-size <bytes>]")
            .help("Change a stream; one that runs begins anew")
            .completer(offer_streams),
        doing("packet-generator capture", capture)
            .synopsis("<pgN> pcap <file> [count <packets>] [disable] | <pgN> disable")
            .help("Write what is sent to an interface of the packet generator into a file"),
        create("create packet-generator interface", create_interface)
            .synopsis("<pgN> [hw-addr <mac>] [mode ethernet|ip4|ip6]")
            .help("Make an interface that streams come from and captures are made on"),
        delete("delete packet-generator interface", &PG, "packet-generator interface")
            .synopsis("<pgN>")
            .help("Delete an interface of the packet generator with its streams"),
        Command::new("show packet-generator", |dataplane: &mut Dataplane, args| {
            // Every word that VPP allows here shows more of the same.
            let _ = args.keyword("verbose");
            args.finish()?;
            let (pg, control) = dataplane.part_and_control::<Pg>();
            pg.poll(control.engine_mut());
            Ok(Reply::list("streams", pg.streams().map(view), render))
        })
        .help("Streams, and how far they are"),
    ]
}

fn new(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let text = if args.at_block() { args.block()?.rest() } else { args.rest() };
    args.finish()?;
    let spec: StreamSpec = text.parse().map_err(refused)?;
    let Some(path) = spec.pcap().map(Path::to_owned) else {
        add(dataplane, spec, None)?;
        return Ok(Reply::empty());
    };
    let reading = Background::start(args.rights(), move || PacketList::read(&path)).map_err(refused)?;
    Ok(Reply::after(reading, move |dataplane: &mut Dataplane, packets| {
        add(dataplane, spec, Some(packets?)).map(|()| Reply::empty())
    }))
}

fn add(dataplane: &mut Dataplane, spec: StreamSpec, recorded: Option<PacketList>) -> Result<(), CliError> {
    if let Some(source) = spec.source {
        dataplane.create_pg_interface(source, Mode::default(), None).map_err(refused)?;
    }
    let (pg, control) = dataplane.part_and_control::<Pg>();
    let Foundation { engine, interfaces } = control.foundation();
    pg.new_stream(engine, spec, recorded, |name| interfaces.find(name)).map_err(refused)?;
    Ok(())
}

fn configure(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let name = args.word("stream")?.to_owned();
    let text = if args.at_block() { args.block()?.rest() } else { args.rest() };
    args.finish()?;
    let changes: Parameters = text.parse().map_err(refused)?;
    let (pg, control) = dataplane.part_and_control::<Pg>();
    pg.configure(control.engine_mut(), &name, changes).map_err(refused)
}

fn capture(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let id: PgId = args.parse("packet-generator interface")?;
    let mut target = None;
    if !args.keyword("disable") {
        args.expect("pcap")?;
        let path = PathBuf::from(args.word("file")?);
        let count = if args.keyword("count") { Some(args.parse("number of packets")?) } else { None };
        target = (!args.keyword("disable")).then_some((path, count));
    }
    args.finish()?;
    let (pg, control) = dataplane.part_and_control::<Pg>();
    let engine = control.engine_mut();
    match target {
        Some((path, count)) => pg.capture_as(engine, id, (&path, args.rights()), count),
        None => pg.end_capture(engine, id),
    }
    .map_err(refused)
}

fn create_interface(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<InterfaceIndex, CliError> {
    let id: PgId = args.parse("packet-generator interface")?;
    let (mut mac, mut mode) = (None, Mode::default());
    while !args.is_empty() {
        if args.keyword("hw-addr") {
            mac = Some(args.parse("MAC address")?);
        } else if args.keyword("mode") {
            mode = args.one_of(&[("ethernet", Mode::Ethernet), ("ip4", Mode::Ip4), ("ip6", Mode::Ip6)])?;
        } else {
            return Err(args.unexpected());
        }
    }
    dataplane.note_pg_interface(changes, id, mode, mac).map_err(refused)
}

fn view(stream: StreamStatus) -> Stream {
    Stream {
        name: stream.name,
        enabled: stream.enabled,
        count: stream.generated,
        limit: stream.limit,
        rate: stream.rate,
        size: [stream.size.min, stream.size.max],
        buffer_size: stream.buffer_size,
        worker: stream.worker,
    }
}

fn render(streams: &[Stream]) -> String {
    if streams.is_empty() {
        return "no streams currently defined\n".into();
    }
    let header = [left("Name", 16), center("Enabled", 12), center("Count", 16)].concat();
    let mut text = format!("{header}Parameters\n");
    for stream in streams {
        let enabled = if stream.enabled { "Yes" } else { "No" };
        let start = [left(&stream.name, 16), center(enabled, 12), center(stream.count, 16)].concat();
        text += &format!(
            "{start}limit {}, rate {:.2e} pps, size {}-{}, buffer-size {}, worker {}\n",
            stream.limit, stream.rate, stream.size[0], stream.size[1], stream.buffer_size, stream.worker
        );
    }
    text
}
