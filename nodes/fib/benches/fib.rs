// SPDX-License-Identifier: Apache-2.0
//! Clocks per lookup of the IPv4 forwarding table, alone: `cargo bench -p weft-fib --bench fib`.
//!
//! Vectors of 256 destinations, as a lookup node gets them. "plain" looks each one up as it comes; "staged"
//! prefetches the table line of the destination 8 ahead. In TSC clocks: minimum, median and maximum of runs
//! that are short against a time slice and that all look up different destinations.

mod routes;

use std::hint::black_box;
use std::time::Instant;

use ipnet::Ipv4Net;
use weft_engine::clock::Tsc;
use weft_fib::{Fib, FibSettings, FibWriter, LoadBalanceId};

use routes::Random;

const VECTOR: usize = 256;
const AHEAD: usize = 8;
const DESTINATIONS: usize = 1 << 23;
const RUNS: usize = 128;
const NEXT_HOPS: u64 = 16;

/// Deals out the next hops.
fn with_next_hops(random: &mut Random, prefixes: Vec<Ipv4Net>) -> Vec<(Ipv4Net, LoadBalanceId)> {
    let mut id = || LoadBalanceId(1 + (random.next() % NEXT_HOPS) as u32);
    prefixes.into_iter().map(|prefix| (prefix, id())).collect()
}

fn table(routes: &[(Ipv4Net, LoadBalanceId)], settings: FibSettings) -> FibWriter {
    let mut writer = FibWriter::new(settings).expect("address space for a table");
    writer.expect_routes(routes.len());
    for &(prefix, id) in routes {
        writer.insert(prefix, id).expect("no prefix is longer than /24");
    }
    writer
}

fn plain(fib: &Fib, vector: &[u32], out: &mut [LoadBalanceId]) {
    for (destination, out) in vector.iter().zip(out) {
        *out = fib.lookup(*destination);
    }
}

fn staged(fib: &Fib, vector: &[u32], out: &mut [LoadBalanceId]) {
    for destination in &vector[..AHEAD] {
        fib.prefetch(*destination);
    }
    for (i, out) in out.iter_mut().enumerate() {
        if let Some(destination) = vector.get(i + AHEAD) {
            fib.prefetch(*destination);
        }
        *out = fib.lookup(vector[i]);
    }
}

fn clocks(case: &str, fib: &Fib, destinations: &[u32], lookup: fn(&Fib, &[u32], &mut [LoadBalanceId])) {
    let mut out = [LoadBalanceId::NO_ROUTE; VECTOR];
    let mut runs: Vec<f64> = destinations
        .chunks_exact(DESTINATIONS / RUNS)
        .map(|destinations| {
            let start = Tsc::now();
            for vector in destinations.chunks_exact(VECTOR) {
                lookup(fib, black_box(vector), &mut out);
                black_box(&out);
            }
            Tsc::now().since(start) as f64 / destinations.len() as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{case:<64} {:6.1} {:6.1} {:6.1}", runs[0], runs[RUNS / 2], runs[RUNS - 1]);
}

fn main() {
    let mut random = Random(1);
    let anywhere: Vec<u32> = (0..DESTINATIONS).map(|_| random.next() as u32).collect();
    let ten: Vec<u32> = anywhere.iter().map(|address| address & 0x00ff_ffff | 0x0a00_0000).collect();
    let half: Vec<u32> = anywhere.iter().map(|address| address & 0x80ff_ffff | 0x0a00_0000).collect();
    let hot: Vec<u32> = anywhere.iter().map(|address| address & 0xff | 0x0a00_0000).collect();
    let nothing_huge = FibSettings { huge_pages_from: usize::MAX, ..FibSettings::default() };

    println!("{:<64} {:>6} {:>6} {:>6}", "clocks per lookup", "min", "median", "max");
    let one = table(&[("10.0.0.0/24".parse().expect("a prefix"), LoadBalanceId(1))], FibSettings::default());
    clocks("1 route, plain", &one.reader(), &hot, plain);
    clocks("1 route, staged", &one.reader(), &hot, staged);
    let default = [("0.0.0.0/0", 1), ("10.0.0.0/16", 2), ("10.1.0.0/16", 3)]
        .map(|(prefix, id)| (prefix.parse().expect("a prefix"), LoadBalanceId(id)));
    let default = table(&default, FibSettings::default());
    let mixed: Vec<u32> =
        half.iter().map(|address| address & 0x8001_00ff).map(|address| address | 0x0a00_0000).collect();
    clocks("default and 2 routes, half to the default, plain", &default.reader(), &mixed, plain);
    clocks("default and 2 routes, half to the default, staged", &default.reader(), &mixed, staged);

    let routes = routes::uniform(&mut random, 600_000);
    let routes = with_next_hops(&mut random, routes);
    for (pages, settings) in [("huge pages", FibSettings::default()), ("small pages", nothing_huge)] {
        let many = table(&routes, settings);
        clocks(
            &format!("600,000 routes /8../24, random destinations, {pages}, plain"),
            &many.reader(),
            &anywhere,
            plain,
        );
        clocks(
            &format!("600,000 routes /8../24, random destinations, {pages}, staged"),
            &many.reader(),
            &anywhere,
            staged,
        );
        clocks(
            &format!("600,000 routes, destinations in 10/8, {pages}, staged"),
            &many.reader(),
            &ten,
            staged,
        );
    }

    for (lengths, prefixes) in [
        ("uniform /8../24", routes::uniform(&mut random, 1_000_000)),
        ("of the Internet", routes::internet(&mut random, 1_000_000)),
    ] {
        let mut routes = with_next_hops(&mut random, prefixes);
        for order in ["sorted", "random"] {
            if order == "random" {
                let mut prefixes: Vec<_> = routes.iter().map(|(prefix, _)| *prefix).collect();
                routes::shuffle(&mut random, &mut prefixes);
                routes = with_next_hops(&mut random, prefixes);
            }
            let mut runs: Vec<_> = (0..5)
                .map(|_| {
                    let start = Instant::now();
                    black_box(&table(&routes, FibSettings::default()));
                    start.elapsed()
                })
                .collect();
            runs.sort();
            println!("1,000,000 routes, lengths {lengths}, {order}: {:?} to build and drop", runs[2]);
        }
    }
}
