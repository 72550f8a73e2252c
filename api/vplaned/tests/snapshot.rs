// SPDX-License-Identifier: Apache-2.0
//! A snapshot of very many routes, from bytes to changes: `cargo test --release -p weft-vplaned --test snapshot -- --nocapture`
//! prints the figures for a million, in time of one processor. A debug build takes a twentieth.

mod messages;

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use messages::{CREATE, Message, NEWROUTE, ip4, new_link};
use weft_vplaned::netlink::{IfIndex, Topic, parse};
use weft_vplaned::store::{Change, Owner, Store};

const ROUTES: u32 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
/// What a main loop takes in before it does something else.
const BATCH: usize = 1024;

/// /24s in an order without pattern, 200 sets of one or two paths.
fn route(number: u32) -> Vec<u8> {
    let place = number.wrapping_mul(2_654_435_761) % (1 << 23);
    let [_, a, b, c] = place.to_be_bytes();
    let message = Message::route(NEWROUTE, CREATE, (ip4(a | 128, b, c, 0), 24), 254);
    let hop = (number % 100) as u8 + 1;
    if number % 200 < 100 {
        message.u32(4, 2 + number % 4).ip(5, ip4(192, 0, 2, hop)).bytes()
    } else {
        let other = 2 + (number + 1) % 4;
        let hops = [(2 + number % 4, Some(ip4(192, 0, 2, hop)), 1), (other, Some(ip4(192, 0, 2, hop)), 3)];
        message.multipath(&hops).bytes()
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time of this thread on a processor: the machine has other things to do.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock").into()
}

struct Run {
    took: Duration,
    routes: usize,
    changes: usize,
}

/// A resync with these messages.
fn resync(store: &mut Store, ports: &[Vec<u8>], snapshot: &[Vec<u8>]) -> Run {
    let start = cpu_time();
    let mut changes = Vec::new();
    let mut run = Run { took: Duration::ZERO, routes: 0, changes: 0 };
    let mut take = |changes: &mut Vec<Change>| {
        run.changes += changes.len();
        run.routes += changes.iter().filter(|change| matches!(change, Change::Route(..))).count();
        changes.clear();
    };
    store.begin_resync(Owner::Vplaned);
    for link in ports {
        store.apply(Owner::Vplaned, parse(Topic::Link, link).expect("a link"), &mut changes);
    }
    for batch in snapshot.chunks(BATCH) {
        for message in batch {
            store.apply(Owner::Vplaned, parse(Topic::Route, message).expect("a route"), &mut changes);
        }
        take(&mut changes);
    }
    store.end_resync(Owner::Vplaned, &mut changes);
    take(&mut changes);
    run.took = cpu_time() - start;
    run
}

#[test]
fn a_snapshot_of_a_million_routes_is_applied_and_repeated() {
    let snapshot: Vec<Vec<u8>> = (0..ROUTES).map(route).collect();
    let ports: Vec<Vec<u8>> =
        (2..6).map(|index| new_link(index, &format!("dp0p{index}"), "tun", &[]).bytes()).collect();
    let distinct =
        snapshot.iter().map(|bytes| &bytes[36..44]).collect::<std::collections::HashSet<_>>().len();

    let before = resident();
    let mut store = Store::default();
    let mut changes = Vec::new();
    for index in 2..6 {
        store.bind_port(IfIndex::new(index).expect("not 0"), &mut changes);
    }
    let first = resync(&mut store, &ports, &snapshot);
    let memory = resident().saturating_sub(before);
    let again = resync(&mut store, &ports, &snapshot);
    let parse_start = cpu_time();
    let understood = snapshot.iter().filter(|message| parse(Topic::Route, message).is_ok()).count();
    let parsed = cpu_time() - parse_start;
    let gone = resync(&mut store, &ports, &[]);

    assert_eq!(understood, ROUTES as usize);
    assert!(first.routes >= distinct);
    assert_eq!(again.changes, 0, "the same snapshot makes no change");
    assert_eq!((gone.changes, store.counts().routes4), (distinct, 0));
    println!(
        "{ROUTES} routes ({distinct} prefixes): snapshot {:.0?}, the same again {:.0?}, parsing alone {parsed:.0?}, \
         swept {:.0?}; {} MiB, {:.0} bytes per prefix",
        first.took,
        again.took,
        gone.took,
        memory >> 20,
        memory as f64 / distinct as f64,
    );
}
