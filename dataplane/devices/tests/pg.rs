// SPDX-License-Identifier: Apache-2.0
//! The packet generator in a graph: what goes in comes out, is counted, is captured, and ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weft_devices::pcap::{CaptureWriter, Existing, LinkType, PacketList, PcapWriter};
use weft_devices::pg::{Mode, Pg, PgError, PgId, StreamSpec, StreamStatus};
use weft_engine::buffer::{BufferCache, BufferConfig};
use weft_engine::clock::Clock;
use weft_engine::context::Context;
use weft_engine::counters::WorkerColumn;
use weft_engine::engine::{Engine, EngineConfig};
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::{NodeDef, Registration};
use weft_engine::ids::{BufferIndex, InterfaceIndex, NodeId, ReasonId, ThreadIndex};
use weft_engine::node::{Nexts, Node, NodeSpec, Role};
use weft_engine::trace::{CaptureFilter, Names};
use weft_engine::worker::Worker;

const PG0: InterfaceIndex = InterfaceIndex(0);
const PG1: InterfaceIndex = InterfaceIndex(1);
const UDP: &str = "data { IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1-60000 -> 9 }";

weft_engine::edges! { enum ToDrop { Drop => "drop" } }

static ETHERNET_INPUT: NodeSpec = NodeSpec::internal("ethernet-input").next(&["drop"]);
static IP4_INPUT: NodeSpec = NodeSpec::internal("ip4-input").next(&["drop"]);
static FEATURE: NodeSpec = NodeSpec::internal("feature").features(&[FeatureSpec::on("device-input")]);
static HOLD: NodeSpec = NodeSpec::internal("hold").role(Role::Hold);

/// Stands in for ethernet-input and ip4-input: drops.
struct Input {
    next: Nexts<ToDrop>,
}

impl Node for Input {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let drop = self.next.to(ToDrop::Drop);
        cx.each(frame, |_| drop);
    }
}

/// A feature of received packets.
struct Feature;

impl Node for Feature {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let arcs = cx.arcs();
        cx.each(frame, |packet| arcs.next(packet));
    }
}

/// Keeps what arrives.
#[derive(Default)]
struct Hold {
    packets: Vec<BufferIndex>,
}

impl Node for Hold {
    fn process(&mut self, _: &mut Context<'_>, frame: &Frame) {
        self.packets.extend_from_slice(frame.packets());
    }

    fn held(&self) -> usize {
        self.packets.len()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        buffers.free(&self.packets);
        self.packets.clear();
    }
}

/// A graph with pg0 and pg1, driven by hand.
struct Bed {
    engine: Engine,
    workers: Vec<Worker>,
    pg: Pg,
    hold: NodeId,
    buffers: usize,
    folder: PathBuf,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Bed {
    fn new(test: &str, workers: usize, buffers: usize) -> Bed {
        Self::with(test, workers, buffers, None)
    }

    fn with(test: &str, workers: usize, buffers: usize, clock: Option<Clock>) -> Bed {
        let config = EngineConfig {
            clock,
            workers: vec![0; workers],
            buffers: BufferConfig { pools: vec![(0, buffers)], ..BufferConfig::default() },
            ..EngineConfig::default()
        };
        let (mut engine, workers) = Engine::new(&config).unwrap();
        let nodes = vec![
            NodeDef::new(&HOLD, |_| Box::<Hold>::default()),
            NodeDef::new(&FEATURE, |_| Box::new(Feature)),
            NodeDef::new(&ETHERNET_INPUT, |w| Box::new(Input { next: w.nexts() })),
            NodeDef::new(&IP4_INPUT, |w| Box::new(Input { next: w.nexts() })),
        ];
        let arcs = vec![weft_devices::DEVICE_INPUT_ARC];
        let registration = Registration { arcs, nodes, ..Registration::default() };
        let hold = engine.register("test", registration).unwrap()[0];
        engine.stats.update(|update| engine.counters.interfaces.set_len(update, 3)).unwrap();
        let mut pg = Pg::new(&mut engine).unwrap();
        pg.create_interface(&mut engine, PgId(0), PG0, Mode::Ethernet).unwrap();
        pg.create_interface(&mut engine, PgId(1), PG1, Mode::Ethernet).unwrap();
        let folder = std::env::temp_dir().join(format!("weft-pg-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Bed { engine, workers, pg, hold, buffers, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn add(&mut self, text: &str) -> Result<String, PgError> {
        let spec: StreamSpec = text.parse()?;
        let recorded = spec.pcap().map(PacketList::read).transpose()?;
        self.pg.new_stream(&mut self.engine, spec, recorded, |name| match name {
            "pg0" => Some(PG0),
            "pg1" => Some(PG1),
            "pg2" => Some(InterfaceIndex(2)),
            _ => None,
        })
    }

    fn turn(&mut self) {
        self.workers.iter_mut().for_each(|worker| {
            worker.turn();
        });
        self.engine.reclaim();
    }

    fn stream(&self) -> StreamStatus {
        self.pg.streams().next().unwrap()
    }

    /// Turns until all streams are shown as stopped.
    fn run(&mut self) {
        for _ in 0..10_000 {
            self.turn();
            self.pg.poll(&mut self.engine);
            if self.pg.streams().all(|stream| !stream.enabled) {
                return;
            }
        }
        panic!("no end: {:?}", self.pg.streams().collect::<Vec<_>>());
    }

    fn rx(&self, interface: InterfaceIndex) -> (u64, u64) {
        let count = self.engine.counters.interfaces.rx.sum(interface.index());
        (count.packets, count.bytes)
    }

    fn tx(&self, interface: InterfaceIndex) -> (u64, u64) {
        let count = self.engine.counters.interfaces.tx.sum(interface.index());
        (count.packets, count.bytes)
    }

    /// Every buffer is back, once the workers are closed.
    fn end(mut self) {
        assert_eq!(self.workers.iter().map(Worker::in_flight).sum::<usize>(), 0);
        self.workers.clear();
        assert_eq!(self.engine.buffers.levels()[0].available, self.buffers);
    }
}

#[test]
fn a_stream_makes_as_many_packets_as_its_limit_and_stops() {
    let mut bed = Bed::new("limit", 1, 4096);
    bed.add(&format!("name a limit 1000 source pg0 {UDP}")).unwrap();
    assert!(!bed.stream().enabled);
    for round in 1..=3 {
        bed.pg.enable(&mut bed.engine, Some("a")).unwrap();
        assert!(bed.stream().enabled);
        if round == 1 {
            // Nobody looks, and it can be enabled again all the same.
            (0..10).for_each(|_| bed.turn());
            continue;
        }
        bed.run();
        // Received, and dropped by what stands in for ethernet-input.
        assert_eq!(bed.rx(PG0), (1000 * round, 64_000 * round));
        assert_eq!(bed.engine.counters.interfaces.drops.sum(0), 1000 * round);
        let StreamStatus { generated, limit, .. } = bed.stream();
        assert_eq!((generated, limit), (1000, 1000));
    }
    bed.end();
}

#[test]
fn when_a_stream_has_stopped_its_packets_are_in_the_file() {
    let mut bed = Bed::new("capture", 1, 4096);
    let file = bed.file("out.pcap");
    bed.pg.capture(&mut bed.engine, PgId(1), &file, None).unwrap();
    bed.add(&format!("name a limit 3000 size 60-600 source pg0 node pg1 {UDP}")).unwrap();
    bed.turn();
    assert!(!file.exists(), "the file is made with its first packet");
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    let list = PacketList::read(&file).unwrap();
    assert_eq!(list.len(), 3000);
    for (i, packet) in list.iter().enumerate() {
        assert_eq!(packet.len(), 60 + i % 541);
        assert_eq!(usize::from(u16::from_be_bytes([packet[34], packet[35]])), 1 + i);
    }
    let status = bed.pg.capture_status(PgId(1)).unwrap();
    assert_eq!((status.written, status.lost), (3000, 0));
    assert_eq!(bed.tx(PG1).0, 3000);

    // A file that is there stays as it is.
    bed.pg.end_capture(&mut bed.engine, PgId(1)).unwrap();
    let error = bed.pg.capture(&mut bed.engine, PgId(1), &file, None).unwrap_err();
    assert_eq!(error.to_string(), format!("pcap file '{}' already exists.", file.display()));

    // A counted capture ends by itself.
    std::fs::remove_file(&file).unwrap();
    bed.pg.capture(&mut bed.engine, PgId(1), &file, Some(7)).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    assert_eq!(PacketList::read(&file).unwrap().len(), 7);
    assert!(bed.pg.capture_status(PgId(1)).is_none());
    bed.end();
}

#[test]
fn the_captured_file_is_what_other_programs_expect() {
    let mut bed = Bed::new("format", 1, 1024);
    let file = bed.file("out.pcap");
    bed.pg.capture(&mut bed.engine, PgId(1), &file, None).unwrap();
    bed.add(&format!("limit 1 size 64-64 source pg0 node pg1 {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    let bytes = std::fs::read(&file).unwrap();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(16), word(20)), (0xa1b2_c3d4, 65536, 1));
    assert_eq!(bytes[4..8], [2u16.to_ne_bytes(), 4u16.to_ne_bytes()].concat());
    assert_eq!((word(32), word(36), bytes.len()), (64, 64, 24 + 16 + 64));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(u64::from(word(24)).abs_diff(now) < 60);
    bed.end();
}

#[test]
fn a_replay_is_the_recording() {
    let mut bed = Bed::new("replay", 2, 4096);
    let (first, second) = (bed.file("first.pcap"), bed.file("second.pcap"));
    bed.pg.capture(&mut bed.engine, PgId(1), &first, None).unwrap();
    bed.add(&format!("name a limit 700 size 60+3000 source pg0 node pg1 {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    bed.pg.delete_stream(&mut bed.engine, "a").unwrap();

    bed.pg.capture(&mut bed.engine, PgId(0), &second, None).unwrap();
    bed.add(&format!("name b worker 1 node pg0 source pg1 pcap {}", first.display())).unwrap();
    assert_eq!((bed.stream().limit, bed.stream().worker), (700, 1));
    bed.pg.enable(&mut bed.engine, Some("b")).unwrap();
    bed.run();
    let (first, second) = (PacketList::read(&first).unwrap(), PacketList::read(&second).unwrap());
    assert_eq!((first.len(), &first), (700, &second));
    assert!(first.iter().any(|packet| packet.len() > 2048), "long packets are among them");
    assert_eq!(bed.engine.counters.interfaces.rx.get(ThreadIndex(2), PG1.index()).packets, 700);
    bed.end();
}

#[test]
fn a_small_buffer_size_makes_chains() {
    let mut bed = Bed::new("chains", 1, 1024);
    bed.add(&format!("limit 3 size 500-500 buffer-size 100 source pg0 node hold {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    let (hold, buffers) = bed.workers[0].node_and_buffers::<Hold>(bed.hold).unwrap();
    for index in std::mem::take(&mut hold.packets) {
        let meta = *buffers.packet(index).meta;
        assert_eq!((meta.length(), meta.total_length()), (100, 500));
        buffers.free_one(index);
    }
    bed.end();
}

#[test]
fn a_dry_pool_is_counted_and_the_limit_reached_later() {
    for size in ["60-60", "3000-3000"] {
        let mut bed = Bed::new("dry", 1, 512);
        bed.add(&format!("limit 2000 size {size} source pg0 node hold {UDP}")).unwrap();
        bed.pg.enable(&mut bed.engine, None).unwrap();
        for _ in 0..20 {
            bed.turn();
        }
        let held = bed.workers[0].in_flight() as u64;
        assert_eq!(held, if size == "60-60" { 512 } else { 256 });
        assert_eq!((bed.rx(PG0).0, bed.stream().generated), (held, held));
        let dry = bed.engine.counters.interfaces.rx_no_buf.sum(0);
        assert!(dry > 0);
        assert!(bed.stream().enabled);
        for _ in 0..100 {
            let (hold, buffers) = bed.workers[0].node_and_buffers::<Hold>(bed.hold).unwrap();
            hold.close(buffers);
            bed.turn();
            bed.pg.poll(&mut bed.engine);
        }
        assert_eq!((bed.rx(PG0).0, bed.stream().enabled), (2000, false));
        let (hold, buffers) = bed.workers[0].node_and_buffers::<Hold>(bed.hold).unwrap();
        hold.close(buffers);
        bed.end();
    }
}

#[test]
fn a_rate_is_kept() {
    let clock = Clock::manual();
    let mut bed = Bed::with("rate", 1, 1024, Some(clock));
    bed.add(&format!("rate 1e5 source pg0 {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.turn();
    let (start, before) = (clock.now(), bed.stream().generated);
    for _ in 0..2000 {
        clock.turn(Duration::from_micros(100));
        bed.turn();
    }
    let due = clock.duration(clock.now().since(start)).as_secs_f64() * 1e5;
    let made = (bed.stream().generated - before) as f64;
    assert!((due * 0.99..=due * 1.01 + 2.0).contains(&made), "{made} of {due}");
    // A stall is not made up for with a flood.
    clock.turn(Duration::from_millis(100));
    let before = bed.stream().generated;
    for _ in 0..10 {
        bed.turn();
    }
    let burst = bed.stream().generated - before;
    assert!(burst < 3000, "{burst} after a stall");
    bed.pg.disable(&mut bed.engine, None).unwrap();
    bed.run();
    bed.end();
}

#[test]
fn streams_can_be_changed_and_taken_away_while_they_run() {
    let mut bed = Bed::new("change", 1, 1024);
    bed.add(&format!("name a source pg0 node pg1 size 64-64 {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.turn();
    assert_eq!(bed.tx(PG1), (256, 64 * 256));
    // Enabling what runs does nothing.
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.turn();
    assert_eq!(bed.stream().generated, 512);
    // The last word counts, also when the worker has not heard the one before.
    bed.pg.disable(&mut bed.engine, None).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.turn();
    assert_eq!(bed.stream().generated, 256);
    bed.pg.configure(&mut bed.engine, "a", "size 100 limit 10".parse().unwrap()).unwrap();
    bed.run();
    let (packets, bytes) = bed.tx(PG1);
    assert_eq!((packets, bytes), (778, 768 * 64 + 1000));
    let error = bed.pg.configure(&mut bed.engine, "a", "size 10-10".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "min-size < total header size 42: found 'size 10-...'");

    bed.pg.configure(&mut bed.engine, "a", "limit 0".parse().unwrap()).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.turn();
    bed.pg.interface_leaves(&mut bed.engine, InterfaceIndex(1));
    assert_eq!(bed.pg.streams().count(), 0, "the stream had nowhere to go");
    let before = bed.rx(PG0).0;
    bed.turn();
    bed.turn();
    assert_eq!(bed.rx(PG0).0, before);
    assert!(bed.engine.graph().id("pg1-tx").is_none());
    assert!(!bed.pg.poll(&mut bed.engine));
    bed.end();
}

#[test]
fn features_of_the_interface_see_what_it_receives() {
    let mut bed = Bed::new("features", 1, 1024);
    let arc = bed.engine.features().arc("device-input").unwrap();
    let feature = bed.engine.graph().id("feature").unwrap();
    bed.engine.set_feature(arc, PG0, "feature", true).unwrap();
    for (text, seen) in
        [("source pg0", 5), ("interface pg0", 10), ("source pg1", 10), ("source pg0 node hold", 10)]
    {
        bed.add(&format!("name a limit 5 {text} {UDP}")).unwrap();
        bed.pg.enable(&mut bed.engine, None).unwrap();
        bed.run();
        assert_eq!(bed.engine.counters.vectors.sum(feature.index()), seen, "{text}");
        bed.pg.delete_stream(&mut bed.engine, "a").unwrap();
    }
    let (hold, buffers) = bed.workers[0].node_and_buffers::<Hold>(bed.hold).unwrap();
    hold.close(buffers);
    bed.end();
}

#[test]
fn an_interface_without_a_link_layer_receives_ip_packets() {
    let mut bed = Bed::new("mode", 1, 1024);
    let ip = InterfaceIndex(2);
    bed.pg.create_interface(&mut bed.engine, PgId(2), ip, Mode::Ip4).unwrap();
    let data = "size 64-64 data { UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 9 }";
    bed.add(&format!("name in limit 1 source pg2 {data}")).unwrap();
    let ip4_input = bed.engine.graph().id("ip4-input").unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    assert_eq!(bed.engine.counters.vectors.sum(ip4_input.index()), 1);
    bed.pg.delete_stream(&mut bed.engine, "in").unwrap();

    // What is sent there goes into a file of raw IP packets.
    let file = bed.file("out.pcap");
    bed.pg.capture(&mut bed.engine, PgId(2), &file, None).unwrap();
    bed.add(&format!("name out limit 1 source pg0 node pg2 {data}")).unwrap();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!((&bytes[20..24], &bytes[40..44]), (&12u32.to_ne_bytes()[..], &[0x45, 0, 0, 64][..]));

    // Where the network header is, and that there is no other, is known to the node that gets the packet.
    let hold = "interface pg2 node ip4-lookup";
    static IP4_LOOKUP: NodeSpec = NodeSpec::internal("ip4-lookup").role(Role::Hold);
    let node = NodeDef::new(&IP4_LOOKUP, |_| Box::<Hold>::default());
    let lookup = bed.engine.add_nodes("test", vec![node]).unwrap()[0];
    bed.add(&format!("name lookup limit 1 {hold} {data}")).unwrap();
    bed.pg.enable(&mut bed.engine, Some("lookup")).unwrap();
    bed.run();
    let (hold, buffers) = bed.workers[0].node_and_buffers::<Hold>(lookup).unwrap();
    let meta = *buffers.packet(hold.packets[0]).meta;
    assert_eq!((meta.rx_interface, meta.link_length()), (ip, 0));
    assert_eq!(usize::from(meta.network_offset), meta.data_offset());
    hold.close(buffers);
    bed.end();
}

#[test]
fn a_stream_takes_the_place_of_one_of_the_same_name() {
    let mut bed = Bed::new("again", 1, 1024);
    bed.add(&format!("name a limit 0 source pg0 {UDP}")).unwrap();
    bed.pg.enable(&mut bed.engine, Some("a")).unwrap();
    bed.turn();
    // A wrong one changes nothing.
    bed.add(&format!("name a limit 3 source pg9 {UDP}")).unwrap_err();
    assert!(bed.pg.streams().next().is_some_and(|stream| stream.enabled));
    bed.add(&format!("name a limit 3 source pg0 {UDP}")).unwrap();
    let streams: Vec<_> =
        bed.pg.streams().map(|stream| (stream.name, stream.limit, stream.enabled)).collect();
    assert_eq!(streams, [("a".to_owned(), 3, false)]);
    bed.end();
}

#[test]
fn wrong_commands_are_refused_with_a_sentence() {
    let mut bed = Bed::new("wrong", 1, 1024);
    bed.add(&format!("name a source pg0 {UDP}")).unwrap();
    let file = bed.file("none.pcap");
    let empty = bed.file("empty.pcap");
    drop(PcapWriter::create(&empty, LinkType::Ethernet, Existing::Refuse).unwrap());
    for (text, message) in [
        (format!("source pg9 {UDP}"), "there is no packet-generator interface pg9"),
        (format!("interface eth9 {UDP}"), "found 'eth9', expected an interface"),
        (format!("node nowhere {UDP}"), "found 'nowhere', expected a graph node or an interface"),
        (UDP.to_owned(), "output interface or node not given"),
        (format!("worker 1 source pg0 {UDP}"), "there is no worker 1: there are 1, counted from 0"),
        ("source pg0 data { IP4: x }".to_owned(), "failed to parse packet data from 'x': line 1, column 24"),
        ("source pg0 size 20-20 data { hex 0x00 }".replace("0x00", &"00".repeat(21)), "total header size 21"),
        (format!("source pg0 pcap {}", file.display()), "cannot read"),
        (format!("source pg0 pcap {}", empty.display()), "holds no packet"),
    ] {
        let error = bed.add(&text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let error = bed.pg.enable(&mut bed.engine, Some("b")).unwrap_err();
    assert_eq!(error.to_string(), "found 'b', expected a packet-generator stream: one of a");
    let again = bed.pg.create_interface(&mut bed.engine, PgId(0), PG0, Mode::Ethernet).unwrap();
    assert_eq!(bed.pg.interface(PgId(0)), Some((PG0, again)));
    let error = bed.pg.create_interface(&mut bed.engine, PgId(0), PG1, Mode::Ethernet).unwrap_err();
    assert!(matches!(error, PgError::InterfaceExists(PgId(0))));
    assert_eq!("pg7".parse(), Ok(PgId(7)));
    assert!("gp7".parse::<PgId>().is_err());
    bed.end();
}

#[test]
fn threads_work_at_full_speed_and_sleep_again() {
    let mut bed = Bed::new("threads", 2, 8192);
    let file = bed.file("out.pcap");
    bed.pg.capture(&mut bed.engine, PgId(1), &file, None).unwrap();
    bed.add(&format!("name fast worker 0 source pg0 {UDP}")).unwrap();
    bed.add(&format!("name slow worker 1 limit 20 rate 1000 source pg0 node pg1 {UDP}")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = std::mem::take(&mut bed.workers)
        .into_iter()
        .map(|mut worker| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || worker.run(&stop))
        })
        .collect();
    bed.pg.enable(&mut bed.engine, None).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let wait = |bed: &mut Bed, until: &dyn Fn(&Bed) -> bool| {
        while !until(bed) {
            assert!(Instant::now() < deadline, "{:?}", bed.pg.streams().collect::<Vec<_>>());
            bed.engine.reclaim();
            bed.pg.poll(&mut bed.engine);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(&mut bed, &|bed| bed.pg.streams().any(|stream| stream.name == "slow" && !stream.enabled));
    assert_eq!(PacketList::read(&file).unwrap().len(), 20);
    bed.pg.disable(&mut bed.engine, None).unwrap();
    wait(&mut bed, &|bed| bed.pg.streams().all(|stream| !stream.enabled));
    let made: u64 = bed.pg.streams().map(|stream| stream.generated).sum();
    assert_eq!(bed.rx(PG0).0, made);
    assert!(made > 1000);
    // Nothing runs any more: the workers sleep.
    let sleeps = |bed: &Bed| {
        let of = |worker| bed.engine.counters.workers.get(ThreadIndex(worker), WorkerColumn::Sleeps as usize);
        [of(1), of(2)]
    };
    let before = sleeps(&bed);
    wait(&mut bed, &|bed| sleeps(bed).iter().zip(&before).all(|(now, before)| now > before));
    stop.store(true, Ordering::Relaxed);
    bed.engine.wake_all();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    bed.end();
}

struct TestNames;

impl Names for TestNames {
    fn interface(&self, interface: InterfaceIndex) -> String {
        format!("pg{interface}")
    }

    fn reason(&self, reason: ReasonId) -> String {
        format!("reason {reason}")
    }

    fn node(&self, node: NodeId) -> String {
        format!("node {node}")
    }
}

/// Captures rx and drop of ten packets that are dropped.
fn trace_to(path: &Path, bed: &mut Bed, count: u64) -> CaptureWriter {
    let filter =
        CaptureFilter { rx: true, tx: true, drop: true, interface: InterfaceIndex::NONE, max_bytes: 50 };
    let mut rings = Vec::new();
    for thread in bed.engine.threads() {
        let (producer, consumer) = rtrb::RingBuffer::new(100);
        rings.push(consumer);
        bed.engine.post(thread, move |worker| worker.capture(Some((filter, producer))));
    }
    let writer = PcapWriter::create(path, LinkType::Ethernet, Existing::Replace).unwrap();
    let mut writer = CaptureWriter::new(writer, rings, bed.engine.clock, count);
    bed.pg.enable(&mut bed.engine, None).unwrap();
    bed.run();
    writer.drain(&TestNames).unwrap();
    writer
}

#[test]
fn a_trace_of_the_engine_goes_to_pcap_and_pcapng() {
    let mut bed = Bed::new("trace", 2, 1024);
    bed.add(&format!("name a worker 0 limit 5 source pg0 {UDP}")).unwrap();
    bed.add(&format!("name b worker 1 limit 5 source pg1 {UDP}")).unwrap();
    let classic = bed.file("trace.pcap");
    std::fs::write(&classic, "was here before").unwrap();
    let writer = trace_to(&classic, &mut bed, 1000);
    assert!(!writer.is_complete());
    // Each packet is seen when it comes in and when it is dropped.
    let list = PacketList::read(&classic).unwrap();
    assert_eq!((list.len(), writer.writer().written()), (20, 20));
    assert!(list.iter().all(|packet| packet.len() == 50));

    let few = trace_to(&classic, &mut bed, 3);
    assert!(few.is_complete());
    assert_eq!(PacketList::read(&classic).unwrap().len(), 3);

    let ng = bed.file("trace.pcapng");
    trace_to(&ng, &mut bed, 1000);
    let mut reader = pcap_file::pcapng::PcapNgReader::new(std::fs::File::open(&ng).unwrap()).unwrap();
    let (mut interfaces, mut packets, mut comments) = (0, 0, 0);
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            pcap_file::pcapng::Block::InterfaceDescription(_) => interfaces += 1,
            pcap_file::pcapng::Block::EnhancedPacket(packet) => {
                packets += 1;
                assert_eq!((packet.original_len, packet.data.len()), (64, 50));
                comments += packet
                    .options
                    .iter()
                    .filter(|option| {
                        matches!(option,
                        pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption::Comment(text)
                            if text.starts_with("dropped: reason"))
                    })
                    .count();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((interfaces, packets, comments), (2, 20, 10));
    bed.end();
}
