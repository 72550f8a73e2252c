// SPDX-License-Identifier: Apache-2.0
//! How fast a daemon takes routes over its binary API: one by one, pipelined, and as one batch.
//!
//! A daemon of its own, without devices; the client beside it prepares what it sends before the clock runs, so that
//! what is measured is the daemon and the socket.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ipnet::Ipv6Net;
use weft_binapi::api::fib_types::{FibPath, FibPathNhProto};
use weft_binapi::api::ip::{IpRoute, IpRouteAddDel, IpRouteAddDelReply};
use weft_binapi::api::memclnt::{SockclntCreate, SockclntCreateReply};
use weft_binapi::api::weft_batch::{
    WeftBatchBegin, WeftBatchBeginReply, WeftBatchCommit, WeftBatchCommitReply, WeftBatchFlags,
};
use weft_binapi::codec::Reader;
use weft_binapi::frame::{ClientIndex, Context, Envelope, HEADER, MessageId};
use weft_binapi::message::{Message, Reply};

use crate::random::Random;
use crate::report::Rounds;
use crate::shape;

/// Options of `api`.
#[derive(Args)]
pub struct Options {
    /// The daemon
    #[arg(long)]
    weft: PathBuf,
    /// Rounds of each figure
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Core of the daemon's main thread; the client runs where the system puts it
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Core of the worker
    #[arg(long, default_value_t = 1)]
    worker_core: usize,
}

const SINGLE: u32 = 1_000;
const PIPELINED: u32 = 100_000;
const BATCH: u32 = 1_000_000;
/// IPv6's full table.
const FULL: usize = 200_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs all of it.
pub fn run(options: &Options) -> Result<()> {
    let daemon = Daemon::start(options)?;
    let mut client = Client::connect(&daemon.folder.join("api.sock"))?;
    let full: Vec<Ipv6Net> = shape::routes(FULL, &mut Random::new(1)).into_iter().collect();
    let mut figures: [(&str, Rounds); 7] = [
        ("ms, 1,000 routes one by one", Rounds::default()),
        ("thousand a second, 100,000 added", Rounds::default()),
        ("thousand a second, 100,000 deleted", Rounds::default()),
        ("ms, a batch that adds 1,000,000", Rounds::default()),
        ("ms, a batch that deletes 1,000,000", Rounds::default()),
        ("ms, a batch that adds 200,000 of IPv6", Rounds::default()),
        ("ms, a batch that deletes them", Rounds::default()),
    ];
    for _ in 0..options.rounds {
        let single = client.one_by_one()?.as_secs_f64() * 1e3;
        let pipelined = |took: Duration| f64::from(PIPELINED) / took.as_secs_f64() / 1e3;
        let added = pipelined(client.pipelined(true)?);
        let deleted = pipelined(client.pipelined(false)?);
        let mut batch = |is_add| {
            let routes = client.routes(BATCH, is_add)?;
            Ok::<_, anyhow::Error>(client.batch(routes, BATCH)?.as_secs_f64() * 1e3)
        };
        let (batch, undone) = (batch(true)?, batch(false)?);
        let mut batch6 = |is_add| {
            let mut routes = Vec::new();
            (0..)
                .zip(&full)
                .try_for_each(|(number, net)| client.frame(&route6(number, *net, is_add), &mut routes))?;
            Ok::<_, anyhow::Error>(client.batch(routes, FULL as u32)?.as_secs_f64() * 1e3)
        };
        let values = [single, added, deleted, batch, undone, batch6(true)?, batch6(false)?];
        figures.iter_mut().zip(values).for_each(|((_, rounds), value)| rounds.add(value));
    }
    println!("== routes over the binary API; min / median / max of {} rounds", options.rounds);
    for (name, rounds) in &figures {
        println!("  {name:<36} {}", rounds.spread());
    }
    Ok(())
}

struct Daemon {
    process: Child,
    folder: PathBuf,
}

impl Daemon {
    fn start(options: &Options) -> Result<Daemon> {
        let folder = std::env::temp_dir().join(format!("weft-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let words = format!(
            "unix {{ nodaemon runtime-dir {} }} cpu {{ main-core {} corelist-workers {} }} \
             interfaces {{ loopback 0 {{ ip address 192.0.2.1/24 ip address 2001:db8::1/64 state up }} }}",
            folder.display(),
            options.core,
            options.worker_core
        );
        let process = Command::new(&options.weft).args(words.split_whitespace()).spawn();
        let process = process.with_context(|| format!("start {}", options.weft.display()))?;
        let daemon = Daemon { process, folder };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(daemon.folder.join("api.sock")).is_err() {
            ensure!(Instant::now() < deadline, "the daemon does not serve its API");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Client {
    stream: UnixStream,
    index: ClientIndex,
    ids: HashMap<String, MessageId>,
}

impl Client {
    fn connect(path: &Path) -> Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let create = SockclntCreate { name: "bench".into() };
        let ids = [(create_key(), MessageId(15))].into();
        let mut client = Client { stream, index: ClientIndex(0), ids };
        let mut bytes = Vec::new();
        client.frame(&create, &mut bytes)?;
        client.stream.write_all(&bytes)?;
        let reply: SockclntCreateReply = client.receive(10)?;
        client.index = ClientIndex(reply.index);
        for entry in &reply.message_table {
            client.ids.insert(entry.name.to_string(), MessageId(entry.index));
        }
        Ok(client)
    }

    fn frame<M: Message>(&self, message: &M, out: &mut Vec<u8>) -> Result<()> {
        let key = M::INFO.key();
        let id = *self.ids.get(&key).with_context(|| format!("{key} is not offered"))?;
        let envelope = Envelope { id, client: self.index, context: Context(1) };
        Ok(envelope.frame(message, out)?)
    }

    /// The next message, whose header has so many bytes.
    fn receive<M: Message>(&mut self, header: usize) -> Result<M> {
        let mut frame = [0; HEADER];
        self.stream.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([frame[8], frame[9], frame[10], frame[11]]);
        let mut message = vec![0; length as usize];
        self.stream.read_exact(&mut message)?;
        Ok(M::take(&mut Reader::new(message.get(header..).context("a message without its header")?))?)
    }

    fn reply<M: Reply>(&mut self) -> Result<M> {
        let reply: M = self.receive(6)?;
        ensure!(reply.retval() == 0, "{}: {}", M::INFO.name, reply.retval());
        Ok(reply)
    }

    fn routes(&self, count: u32, is_add: bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (0..count).try_for_each(|number| self.frame(&route(number, is_add), &mut bytes))?;
        Ok(bytes)
    }

    fn one_by_one(&mut self) -> Result<Duration> {
        let all = self.routes(SINGLE, true)?;
        let frames: Vec<&[u8]> = all.chunks(all.len() / SINGLE as usize).collect();
        let start = Instant::now();
        for frame in frames {
            self.stream.write_all(frame)?;
            self.reply::<IpRouteAddDelReply>()?;
        }
        let took = start.elapsed();
        let mut undo = self.routes(SINGLE, false)?;
        self.through(&mut undo, SINGLE)?;
        Ok(took)
    }

    fn pipelined(&mut self, is_add: bool) -> Result<Duration> {
        let mut bytes = self.routes(PIPELINED, is_add)?;
        let start = Instant::now();
        self.through(&mut bytes, PIPELINED)?;
        Ok(start.elapsed())
    }

    /// Sends everything while it reads the answers.
    fn through(&mut self, bytes: &mut Vec<u8>, answers: u32) -> Result<()> {
        let mut writer = self.stream.try_clone()?;
        let bytes = std::mem::take(bytes);
        let sending = thread::spawn(move || writer.write_all(&bytes));
        let mut stream = std::io::BufReader::with_capacity(1 << 16, self.stream.try_clone()?);
        let mut answer = [0; HEADER + 14];
        for _ in 0..answers {
            stream.read_exact(&mut answer)?;
            let retval = i32::from_be_bytes([answer[22], answer[23], answer[24], answer[25]]);
            ensure!(retval == 0, "a route is refused: {retval}");
        }
        sending.join().map_err(|_| anyhow::anyhow!("the sender has panicked"))??;
        Ok(())
    }

    fn batch(&mut self, routes: Vec<u8>, count: u32) -> Result<Duration> {
        let mut bytes = Vec::new();
        self.frame(&WeftBatchBegin { flags: WeftBatchFlags::QUIET }, &mut bytes)?;
        bytes.extend(routes);
        self.frame(&WeftBatchCommit {}, &mut bytes)?;
        let start = Instant::now();
        self.stream.write_all(&bytes)?;
        self.reply::<WeftBatchBeginReply>()?;
        let reply: WeftBatchCommitReply = self.reply()?;
        let took = start.elapsed();
        ensure!(reply.applied == count, "{} of {count} routes were applied", reply.applied);
        Ok(took)
    }
}

fn create_key() -> String {
    SockclntCreate::INFO.key()
}

/// A /24 of its own for each number, scattered as those of a full table are.
fn route(number: u32, is_add: bool) -> IpRouteAddDel {
    // An odd factor permutes the 24 bits.
    let network = number.wrapping_mul(0x9e_3779) & 0x7f_ffff;
    let prefix = IpAddr::V4(Ipv4Addr::from(network << 8));
    let mut path = FibPath { weight: 1, ..FibPath::default() };
    path.nh.address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2 + (number % 16) as u8)).into();
    let route = IpRoute { prefix: (prefix, 24).into(), paths: vec![path], ..IpRoute::default() };
    IpRouteAddDel { is_add, is_multipath: false, route }
}

fn route6(number: u32, net: Ipv6Net, is_add: bool) -> IpRouteAddDel {
    let mut path = FibPath { weight: 1, proto: FibPathNhProto::IP6, ..FibPath::default() };
    path.nh.address =
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2 + (number % 16) as u16)).into();
    let prefix = (IpAddr::V6(net.addr()), net.prefix_len()).into();
    IpRouteAddDel {
        is_add,
        is_multipath: false,
        route: IpRoute { prefix, paths: vec![path], ..IpRoute::default() },
    }
}
