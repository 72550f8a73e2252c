// SPDX-License-Identifier: Apache-2.0
//! Counters under change: interfaces come and go while a worker counts for them and readers of the stats segment look.
//!
//! Each interface has a number of its own, once and for all, in its name and in its MAC address. The worker counts that
//! many bytes per packet of it. So whoever sees bytes that are no multiple of the number in the name has seen one
//! interface's count under another's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec};
use weft_engine::publish::Published;
use weft_engine::{Context, Engine, EngineConfig, InterfaceIndex, NodeId, ThreadIndex};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceTable, Interfaces, Kind};
use weft_stats::{Combined, ReadError, Reader, Value};

/// Most interfaces at a time.
const INTERFACES: usize = 6;
const CHANGES: u64 = 400;
const READERS: usize = 3;

static COUNT: NodeSpec = NodeSpec::input("count");

/// Counts a packet for every interface in every turn.
struct Count {
    interfaces: Arc<Published<InterfaceTable>>,
}

impl Node for Count {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let table = self.interfaces.read(cx.guard());
        for index in (0..INTERFACES as u32).map(InterfaceIndex) {
            if let Some(interface) = table.get(index) {
                cx.counters.interfaces.rx.add(index.index(), 1, number(interface.mac));
            }
        }
    }
}

fn mac(number: u64) -> MacAddr {
    let [.., a, b, c, d, e] = number.to_be_bytes();
    MacAddr([2, a, b, c, d, e])
}

fn number(mac: MacAddr) -> u64 {
    let [_, a, b, c, d, e] = mac.0;
    u64::from_be_bytes([0, 0, 0, a, b, c, d, e])
}

/// Looks until told to stop; returns how many counters it has checked.
fn look(reader: &Reader, stop: &AtomicBool) -> usize {
    let mut checked = 0;
    let mut selection = reader.select(&["^/if/names$", "^/if/rx$", "^/if/drops$", "^/interfaces/"]);
    while !stop.load(Ordering::Relaxed) {
        let entries = match selection.read() {
            Ok(entries) => entries,
            Err(ReadError::Busy { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let value = |name: &str| &entries.iter().find(|(found, _)| found == name).expect("always there").1;
        let (Value::Names(names), Value::Combined(rx), Value::Simple(drops)) =
            (value("/if/names"), value("/if/rx"), value("/if/drops"))
        else {
            panic!("entries are of another kind: {entries:?}");
        };
        assert!(rx.iter().all(|row| row.len() == names.len()), "{names:?} {rx:?}");
        assert!(drops.iter().all(|row| row.len() == names.len()), "{names:?} {drops:?}");
        let of_name =
            |name: &str| name.strip_prefix('i').map(|number| number.parse::<u64>().expect("a number"));
        let counted = names.iter().enumerate().flat_map(|(index, name)| {
            let counts = rx.iter().map(move |row| row[index]);
            of_name(name).into_iter().flat_map(move |number| counts.clone().map(move |count| (number, count)))
        });
        let linked = entries.iter().filter_map(|(name, value)| match value {
            Value::CombinedColumn(column) => {
                let name = name.strip_prefix("/interfaces/")?.strip_suffix("/rx")?;
                Some((of_name(name).expect("a name of ours"), column[1]))
            }
            _ => None,
        });
        for (number, count) in counted.chain(linked) {
            assert_eq!(count.bytes % number, 0, "i{number} shows {count:?}, counted for another one");
            checked += 1;
        }
    }
    checked
}

#[test]
fn no_count_under_the_name_of_another_interface() {
    let (mut engine, mut workers) = Engine::new(&EngineConfig::default()).unwrap();
    let mut interfaces = Interfaces::new(&engine, INTERFACES);
    let published = interfaces.published();
    let count = NodeDef::new(&COUNT, |_| Box::new(Count { interfaces: Arc::clone(&published) }));
    engine.add_nodes("test", vec![count]).unwrap();
    let segment = engine.stats.fd();
    let readers: Vec<Reader> =
        (0..READERS).map(|_| Reader::from_fd(segment.try_clone_to_owned().unwrap()).unwrap()).collect();
    let (stop_worker, stop_readers) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut worker = workers.remove(0);
    let (checked, live) = thread::scope(|scope| {
        let turning = scope.spawn(|| {
            while !stop_worker.load(Ordering::Relaxed) {
                worker.turn();
            }
        });
        let looking: Vec<_> =
            readers.iter().map(|reader| scope.spawn(|| look(reader, &stop_readers))).collect();
        let mut live: Vec<(u64, InterfaceIndex)> = Vec::new();
        // Odd numbers, so that a sum of two seldom is a multiple of one of them.
        for number in (1..).map(|n| 1_000_001 + 2 * n).take(CHANGES as usize) {
            engine.reclaim();
            match interfaces.create(
                &mut engine,
                &format!("i{number}"),
                Kind::Port,
                mac(number),
                1500,
                NodeId::DROP,
            ) {
                Ok(index) => live.push((number, index)),
                // Full, or all free indices still wait for the worker.
                Err(_) => thread::yield_now(),
            }
            if live.len() > INTERFACES / 2 {
                let (_, index) = live.remove((number / 2) as usize % live.len());
                interfaces.delete(&mut engine, index).unwrap();
            }
            thread::sleep(std::time::Duration::from_micros(200));
        }
        stop_worker.store(true, Ordering::Relaxed);
        turning.join().expect("the worker");
        stop_readers.store(true, Ordering::Relaxed);
        let checked: usize =
            looking.into_iter().map(|it| it.join().expect("a reader saw a foreign count")).sum();
        (checked, live)
    });
    assert!(checked > 100, "the readers hardly got a word in: {checked}");
    for (number, index) in live {
        let Combined { packets, bytes } = engine.counters.interfaces.rx.get(ThreadIndex(1), index.index());
        assert_eq!(bytes, packets * number, "i{number}");
    }
}
