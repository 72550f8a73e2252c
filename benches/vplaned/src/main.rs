// SPDX-License-Identifier: Apache-2.0
//! A vplaned with a million routes, and a route broker beside it, that are faster than the dataplane under test.
//!
//! Every message is built before the dataplane connects, so what is measured is the dataplane and libzmq. It shares no code with
//! the dataplane: bytes are written from the kernel's headers and the protocol's tables. `bench.py` starts it, and kills
//! it when it has seen enough.

mod routes;

use std::collections::HashMap;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};

use routes::Paths;

const UUID: &[u8] = b"00000000-0000-0000-0000-000000000000";

#[derive(Parser)]
#[command(about = "A vplaned and a route broker with very many routes", version)]
struct Options {
    /// Where the dataplane asks
    #[arg(long)]
    request: String,
    /// Where this publishes
    #[arg(long)]
    publish: String,
    /// File of messages that the snapshot begins with: length and bytes of topic and data, one after the other
    #[arg(long)]
    base: PathBuf,
    /// Ports by the name of the dataplane's interface: NAME=KERNEL-NAME:INDEX
    #[arg(long = "port", required = true)]
    ports: Vec<String>,
    /// Routes in the snapshot
    #[arg(long, default_value_t = 0)]
    routes: u32,
    /// ROUTER of a route broker
    #[arg(long, requires = "data")]
    broker: Option<String>,
    /// Where the broker pushes its routes
    #[arg(long)]
    data: Option<String>,
    /// Routes of the broker
    #[arg(long, default_value_t = 0)]
    broker_routes: u32,
    /// How the broker writes them
    #[arg(long, value_enum, default_value_t = Format::Netlink)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Netlink = 0,
    Protobuf = 1,
}

struct Port {
    name: String,
    kernel_name: String,
    index: u32,
}

impl Port {
    fn parse(text: &str) -> Result<Port> {
        let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
        let (name, (kernel_name, index)) =
            parts.with_context(|| format!("{text:?} is no NAME=KERNEL-NAME:INDEX"))?;
        Ok(Port { name: name.into(), kernel_name: kernel_name.into(), index: index.parse()? })
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let ports = options.ports.iter().map(|text| Port::parse(text)).collect::<Result<Vec<_>>>()?;
    ensure!(ports.len() == 2, "routes lead over two ports: found {}", ports.len());
    let paths = Paths { interfaces: [ports[0].index, ports[1].index] };
    let mut snapshot = read_base(&options.base)?;
    snapshot.extend((0..options.routes).map(|number| paths.publication(number)));

    let context = zmq::Context::new();
    let publisher = context.socket(zmq::PUB)?;
    publisher.set_sndhwm(0)?;
    publisher.bind(&options.publish)?;
    let router = context.socket(zmq::ROUTER)?;
    router.set_sndhwm(0)?;
    router.bind(&options.request)?;
    if let (Some(control), Some(data)) = (options.broker.clone(), options.data.clone()) {
        let format = options.format;
        let routes: Vec<Vec<u8>> = (0..options.broker_routes)
            .map(|number| match format {
                Format::Netlink => paths.netlink(number),
                Format::Protobuf => paths.protobuf(number),
            })
            .collect();
        let context = context.clone();
        // Ends with the process.
        thread::spawn(move || broker(&context, &control, &data, format, &routes));
    }
    say("ready")?;
    vplaned(&router, &options.publish, &ports, &snapshot)
}

fn say(line: &str) -> Result<()> {
    println!("{line}");
    Ok(stdout().flush()?)
}

type Publication = (Vec<u8>, Vec<u8>);

fn read_base(path: &PathBuf) -> Result<Vec<Publication>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let mut rest = bytes.as_slice();
    let mut frame = || -> Option<Vec<u8>> {
        let (length, behind) = rest.split_first_chunk()?;
        let (frame, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = behind;
        Some(frame.to_vec())
    };
    Ok(std::iter::from_fn(|| Some((frame()?, frame()?))).collect())
}

/// Answers for ever. The sequence number of a message is its place in the snapshot.
fn vplaned(router: &zmq::Socket, publish: &str, ports: &[Port], snapshot: &[Publication]) -> Result<()> {
    let by_name: HashMap<&str, &Port> = ports.iter().map(|port| (port.name.as_str(), port)).collect();
    loop {
        let frames = router.recv_multipart(0)?;
        let [peer, word, ..] = &frames[..] else { continue };
        let answer = |reply: &[&[u8]]| router.send_multipart([&[peer.as_slice()], reply].concat(), 0);
        match word.as_slice() {
            b"CONNECT" => answer(&[b"ACCEPT", UUID, &[0, 0]])?,
            b"CONFQUERY" => answer(&[b"CONF", b"PUBLISH", publish.as_bytes()])?,
            b"NEWPORT" if frames.len() == 5 => {
                let description = String::from_utf8_lossy(&frames[4]);
                let port = by_name.values().find(|port| description.contains(&format!("\"{}\"", port.name)));
                match port {
                    Some(port) => {
                        answer(&[b"OK", &frames[2], &port.index.to_ne_bytes(), port.kernel_name.as_bytes()])?
                    }
                    None => answer(&[b"FAIL: newport_request"])?,
                }
            }
            b"WHATSUP?" => {
                let start = Instant::now();
                for (sequence, (topic, data)) in (1u64..).zip(snapshot) {
                    let sequence = sequence.to_ne_bytes();
                    let frames: [&[u8]; 4] = [peer, topic, &sequence, data];
                    router.send_multipart(frames, 0)?;
                }
                answer(&[b"THATSALLFOLKS!", &(snapshot.len() as u64).to_ne_bytes(), b""])?;
                say(&format!("snapshot {} {}", snapshot.len(), start.elapsed().as_millis()))?;
            }
            // LINKUP and what else needs no answer.
            _ => {}
        }
    }
}

fn broker(
    context: &zmq::Context,
    control: &str,
    data: &str,
    format: Format,
    routes: &[Vec<u8>],
) -> Result<()> {
    let router = context.socket(zmq::ROUTER)?;
    router.bind(control)?;
    let push = context.socket(zmq::PUSH)?;
    push.bind(data)?;
    loop {
        let frames = router.recv_multipart(0)?;
        let [peer, word, ..] = &frames[..] else { continue };
        if word == b"CONNECT" {
            let format = (format as u32).to_ne_bytes();
            let reply: [&[u8]; 5] = [peer, b"ACCEPT", UUID, data.as_bytes(), &format];
            router.send_multipart(reply, 0)?;
            let start = Instant::now();
            for route in routes {
                push.send(route, 0)?;
            }
            say(&format!("pushed {} {}", routes.len(), start.elapsed().as_millis()))?;
        }
    }
}
