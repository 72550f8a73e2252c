// SPDX-License-Identifier: Apache-2.0
//! `pcap trace`: packets into a file under /tmp.

use std::path::Path;

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_engine::InterfaceIndex;
use weft_engine::trace::{CAPTURE_BYTES, CaptureFilter};

use super::{doing, refused, showing};
use crate::capture::Capture;
use crate::state::Dataplane;

/// Where files are made: the name that the operator gives must not lead elsewhere.
pub(crate) const DIRECTORY: &str = "/tmp";
/// VPP's defaults.
const PACKETS: u64 = 1000;
const BYTES: usize = 512;

#[derive(Serialize)]
struct Status {
    running: bool,
    file: String,
    packets: u64,
    max: u64,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        doing("pcap trace", begin)
            .synopsis("rx|tx|drop ... [max <packets>] [max-bytes-per-pkt <bytes>] [intfc <interface>|any] [file <name>]")
            .help("Capture packets into /tmp/<name>; a name that ends in .pcapng keeps interfaces and drop reasons"),
        showing("pcap trace off", |dataplane| match dataplane.stop_capture() {
            None => Err(CliError::new("no packet capture is running")),
            Some(Err(error)) => Err(refused(error)),
            Some(Ok((_, 0))) => Ok(Reply::new("No packets captured...", |text| (*text).to_owned())),
            Some(Ok((path, packets))) => {
                let status = Status { running: false, file: path.display().to_string(), packets, max: packets };
                Ok(Reply::new(status, |status| {
                    format!("Write {} packets to {}, and stop capture...", status.packets, status.file)
                }))
            }
        })
        .help("End the capture"),
        showing("pcap trace status", |dataplane| {
            let status = dataplane.find_part::<Capture>().map(|capture| Status {
                running: capture.running,
                file: capture.path().display().to_string(),
                packets: capture.written(),
                max: capture.max,
            });
            Ok(Reply::new(status, |status| match status {
                None => "No packet capture is running".to_owned(),
                Some(status) => format!(
                    "{}: {} of {} packets{}",
                    status.file,
                    status.packets,
                    status.max,
                    if status.running { "" } else { ", complete" }
                ),
            }))
        })
        .help("Whether a capture is running"),
    ]
}

fn begin(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let mut filter = CaptureFilter {
        rx: false,
        tx: false,
        drop: false,
        interface: InterfaceIndex::NONE,
        max_bytes: BYTES,
    };
    let (mut max, mut file) = (PACKETS, None);
    while !args.is_empty() {
        if args.keyword("rx") {
            filter.rx = true;
        } else if args.keyword("tx") {
            filter.tx = true;
        } else if args.keyword("drop") {
            filter.drop = true;
        } else if args.keyword("max") {
            max = args.parse("number of packets")?;
        } else if args.keyword("max-bytes-per-pkt") {
            filter.max_bytes = args.parse::<usize>("number of bytes")?.min(CAPTURE_BYTES);
        } else if args.keyword("intfc") || args.keyword("interface") {
            if !args.keyword("any") {
                filter.interface = super::present_interface(args, dataplane)?;
            }
        } else if args.keyword("file") {
            let name =
                args.parse_with("file name", |name| match name.contains('/') || name.starts_with('.') {
                    true => Err("the file is made in /tmp: give its name only"),
                    false => Ok(name.to_owned()),
                })?;
            file = Some(name);
        } else {
            return Err(args.unexpected());
        }
    }
    let directions = [(filter.rx, "rx"), (filter.tx, "tx"), (filter.drop, "drop")];
    let words: String = directions.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if words.is_empty() {
        return Err(CliError::new("nothing to capture: expected rx, tx or drop"));
    }
    if dataplane.find_part::<Capture>().is_some() {
        return Err(CliError::new("a packet capture is running already: 'pcap trace off' ends it"));
    }
    let path = Path::new(DIRECTORY).join(file.unwrap_or_else(|| format!("{words}.pcap")));
    dataplane.start_capture(&path, args.rights(), filter, max).map_err(refused)
}
