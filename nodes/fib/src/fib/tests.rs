// SPDX-License-Identifier: Apache-2.0
//! The forwarding table against a naive longest match, and under a reader.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The oracle: all routes, searched one by one.
#[derive(Default)]
struct Naive(BTreeMap<Ipv4Net, LoadBalanceId>);

impl Naive {
    fn lookup(&self, destination: u32) -> LoadBalanceId {
        let matching = self
            .0
            .iter()
            .filter(|(prefix, _)| prefix.contains(&Ipv4Net::from(std::net::Ipv4Addr::from(destination))));
        matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map_or(LoadBalanceId::NO_ROUTE, |(_, id)| *id)
    }

    fn covering(&self, prefix: Ipv4Net) -> Option<(Ipv4Net, LoadBalanceId)> {
        let others = self.0.iter().filter(|(other, _)| **other != prefix && other.contains(&prefix));
        others.max_by_key(|(other, _)| other.prefix_len()).map(|(other, id)| (*other, *id))
    }
}

/// Prefixes that overlap often: few different bits, at the borders of the levels.
fn prefix() -> impl Strategy<Value = Ipv4Net> {
    let length = prop_oneof![0u8..=32, Just(0), Just(8), Just(9), Just(24), Just(25), Just(32)];
    (any::<u32>(), length).prop_map(|(bits, length)| {
        let address = 0x0a00_0000 | bits & 0x0101_8181;
        Ipv4Net::new(address.into(), length).unwrap().trunc()
    })
}

/// Addresses at and around the ends of a prefix.
fn probes(prefix: Ipv4Net) -> [u32; 4] {
    let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
    [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
}

fn check(fib: &Fib, naive: &Naive, extra: &[Ipv4Net]) {
    for destination in naive.0.keys().chain(extra).flat_map(|prefix| probes(*prefix)) {
        assert_eq!(
            fib.lookup(destination),
            naive.lookup(destination),
            "{} among {:?}",
            std::net::Ipv4Addr::from(destination),
            naive.0
        );
    }
}

proptest! {
    #[test]
    fn equals_a_naive_longest_match(steps in prop::collection::vec((prefix(), 0u32..4), 1..60)) {
        let mut domain = Domain::new(0);
        let mut writer = FibWriter::new(FibSettings::default()).unwrap();
        let fib = writer.reader();
        let mut naive = Naive::default();
        for (prefix, id) in &steps {
            match id {
                0 => if naive.0.remove(prefix).is_some() {
                    writer.remove(&mut domain, *prefix, naive.covering(*prefix));
                },
                _ => {
                    writer.insert(*prefix, LoadBalanceId(*id)).unwrap();
                    naive.0.insert(*prefix, LoadBalanceId(*id));
                }
            }
            check(&fib, &naive, &[*prefix]);
            domain.reclaim();
        }
        // Back to nothing, in the order of addresses: the blocks come back and the table is as new.
        while let Some((prefix, _)) = naive.0.pop_first() {
            writer.remove(&mut domain, prefix, naive.covering(prefix));
            check(&fib, &naive, &[prefix]);
        }
        domain.reclaim();
        prop_assert_eq!(writer.blocks.in_use(), 0);
        for (prefix, _) in steps {
            let words = fib.table[table_range(prefix).start].load(Ordering::Relaxed);
            prop_assert_eq!(words, 0);
        }
    }
}

#[test]
fn a_block_is_reused_only_when_no_worker_can_see_it() {
    let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
    let mut domain = Domain::new(1);
    let mut worker = domain.register().unwrap();
    worker.online();
    let mut writer = FibWriter::new(FibSettings { blocks: 1, ..FibSettings::default() }).unwrap();
    let (one, other) = (net("10.0.0.1/32"), net("10.0.1.1/32"));
    let full = Err(FibError::BlocksExhausted { limit: 1 });
    writer.insert(one, LoadBalanceId(1)).unwrap();
    assert!(!writer.needs_block(one) && writer.needs_block(other));
    assert_eq!(writer.check_room(1), full);
    assert_eq!(writer.insert(other, LoadBalanceId(2)), full);
    writer.insert(net("10.0.0.2/32"), LoadBalanceId(3)).unwrap();
    writer.remove(&mut domain, net("10.0.0.2/32"), None);
    writer.remove(&mut domain, one, None);
    domain.reclaim();
    assert_eq!(writer.insert(other, LoadBalanceId(2)), full);
    worker.quiescent();
    domain.reclaim();
    assert_eq!(writer.check_room(1), Ok(()));
    writer.insert(other, LoadBalanceId(2)).unwrap();
    let fib = writer.reader();
    assert_eq!(fib.lookup(0x0a00_0101), LoadBalanceId(2));
    assert_eq!(fib.lookup(0x0a00_0001), LoadBalanceId::NO_ROUTE);
}

/// A worker looks addresses up while more and less specific routes around them come and go.
#[test]
fn an_address_never_shows_a_route_that_it_does_not_have() {
    let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
    let mut domain = Domain::new(1);
    let mut reader = domain.register().unwrap();
    let mut writer = FibWriter::new(FibSettings { blocks: 16, ..FibSettings::default() }).unwrap();
    let (root, still, moving) = (net("10.0.0.0/8"), net("10.1.1.0/24"), net("10.1.2.0/24"));
    let hosts = [(net("10.1.1.1/32"), still, 1), (net("10.1.2.1/32"), moving, 3)];
    writer.insert(still, LoadBalanceId(1)).unwrap();
    writer.insert(root, LoadBalanceId(2)).unwrap();
    let fib = writer.reader();
    let end = Instant::now() + Duration::from_millis(500);
    let worker = std::thread::spawn(move || {
        while Instant::now() < end {
            reader.online();
            for _ in 0..1000 {
                // The last address of a /24 is the last that a new block gets.
                assert_eq!(fib.lookup(0x0a01_01ff), LoadBalanceId(1));
                assert!(matches!(fib.lookup(0x0a01_02ff).0, 2..=3), "always has a route");
            }
            reader.quiescent();
        }
    });
    while !worker.is_finished() {
        domain.reclaim();
        if writer.check_room(2).is_err() {
            std::thread::yield_now();
            continue;
        }
        writer.insert(moving, LoadBalanceId(3)).unwrap();
        writer.remove(&mut domain, root, None);
        for (host, _, _) in hosts {
            writer.insert(host, LoadBalanceId(4)).unwrap();
        }
        for (host, covering, id) in hosts {
            writer.remove(&mut domain, host, Some((covering, LoadBalanceId(id))));
        }
        writer.insert(root, LoadBalanceId(2)).unwrap();
        writer.remove(&mut domain, moving, Some((root, LoadBalanceId(2))));
    }
    worker.join().unwrap();
}

/// In pages that this thread touched first.
#[test]
fn an_empty_table_costs_next_to_nothing() {
    let faults = || {
        // proc(5): minflt is the 10th field; the 2nd, in brackets, may hold anything.
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(10 - 3).unwrap().parse::<usize>().unwrap()
    };
    let before = faults();
    let tables: Vec<_> = (0..100)
        .map(|_| {
            let mut writer = FibWriter::new(FibSettings::default()).unwrap();
            for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.1.0/24", "10.1.1.1/32"] {
                writer.insert(prefix.parse().unwrap(), LoadBalanceId(1)).unwrap();
            }
            writer
        })
        .collect();
    let each = (faults() - before) / tables.len();
    assert!(each < 16, "{each} pages for a table of four routes");
}
