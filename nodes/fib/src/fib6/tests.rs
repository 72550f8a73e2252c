// SPDX-License-Identifier: Apache-2.0
//! The forwarding table of IPv6 against a naive longest match, and under a reader.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The oracle: all routes, searched one by one.
#[derive(Default)]
struct Naive(BTreeMap<Ipv6Net, LoadBalanceId>);

impl Naive {
    fn lookup(&self, destination: u128) -> LoadBalanceId {
        let host = Ipv6Net::from(Ipv6Addr::from(destination));
        let matching = self.0.iter().filter(|(prefix, _)| prefix.contains(&host));
        matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map_or(LoadBalanceId::NO_ROUTE, |(_, id)| *id)
    }

    fn covering(&self, prefix: Ipv6Net) -> Option<(Ipv6Net, LoadBalanceId)> {
        let others = self.0.iter().filter(|(other, _)| **other != prefix && other.contains(&prefix));
        others.max_by_key(|(other, _)| other.prefix_len()).map(|(other, id)| (*other, *id))
    }
}

/// Prefixes that overlap often: few different bits, at the borders of the levels.
fn prefix() -> impl Strategy<Value = Ipv6Net> {
    let border = prop::sample::select(vec![0u8, 8, 9, 24, 25, 32, 33, 48, 64, 120, 121, 127, 128]);
    let length = prop_oneof![0u8..=128, border];
    (any::<u128>(), length).prop_map(|(bits, length)| {
        let few = 0x0101_8181_0180_0180_8000_0000_0001_8181;
        let address = 0x2001_0db8 << 96 | bits & few;
        Ipv6Net::new(address.into(), length).unwrap().trunc()
    })
}

/// Addresses at and around the ends of a prefix.
fn probes(prefix: Ipv6Net) -> [u128; 4] {
    let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
    [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
}

fn check(fib: &Fib6, naive: &Naive, extra: &[Ipv6Net]) {
    for destination in naive.0.keys().chain(extra).flat_map(|prefix| probes(*prefix)) {
        assert_eq!(
            fib.lookup(destination),
            naive.lookup(destination),
            "{} among {:?}",
            Ipv6Addr::from(destination),
            naive.0
        );
    }
}

proptest! {
    #[test]
    fn equals_a_naive_longest_match(steps in prop::collection::vec((prefix(), 0u32..4), 1..60)) {
        let mut domain = Domain::new(0);
        let mut writer = Fib6Writer::new(FibSettings::default()).unwrap();
        let fib = writer.reader();
        let mut naive = Naive::default();
        for (prefix, id) in &steps {
            match id {
                0 => if naive.0.remove(prefix).is_some() {
                    writer.remove(&mut domain, *prefix, naive.covering(*prefix));
                },
                _ => {
                    let needed = writer.missing(*prefix).count();
                    let before = writer.blocks.left();
                    writer.insert(&mut domain, *prefix, LoadBalanceId(*id)).unwrap();
                    prop_assert_eq!(writer.blocks.left(), before - needed);
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
            let first = (prefix.network().to_bits() >> (128 - TABLE_LENGTH)) as usize;
            prop_assert_eq!(fib.table[first].load(Ordering::Relaxed), 0);
        }
    }
}

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

#[test]
fn what_finds_no_block_changes_nothing() {
    let mut domain = Domain::new(1);
    let mut worker = domain.register().unwrap();
    worker.online();
    let mut writer = Fib6Writer::new(FibSettings { blocks: 3, ..FibSettings::default() }).unwrap();
    let full = Err(Fib6Error::BlocksExhausted { limit: 3 });
    let (site, other) = (net("2001:db8:1::/48"), net("2001:db8:2::/48"));
    assert_eq!(writer.check_room([site, other].into_iter()), Ok(()), "they share all three");
    writer.insert(&mut domain, site, LoadBalanceId(1)).unwrap();
    assert_eq!(writer.blocks.left(), 0);
    writer.insert(&mut domain, other, LoadBalanceId(2)).unwrap();
    for far in [net("2001:db9::/32"), net("2001:db8:1::/49")] {
        let expected = if far.prefix_len() == 32 { Ok(()) } else { full };
        assert_eq!(writer.check_room([far].into_iter()), expected, "{far}");
        assert_eq!(writer.insert(&mut domain, far, LoadBalanceId(3)), expected, "{far}");
    }
    let fib = writer.reader();
    let of = |text: &str| fib.lookup(text.parse::<Ipv6Addr>().unwrap().to_bits());
    assert_eq!([of("2001:db8:1::1"), of("2001:db8:2::1")], [LoadBalanceId(1), LoadBalanceId(2)]);
    assert_eq!([of("2001:db9::1"), of("2001:db8:3::1")], [LoadBalanceId(3), LoadBalanceId::NO_ROUTE]);
    // A block is used again only when no worker can see it.
    for site in [site, other] {
        writer.remove(&mut domain, site, None);
    }
    domain.reclaim();
    assert_eq!(writer.check_room([net("2001:db8:1::/40")].into_iter()), full);
    worker.quiescent();
    domain.reclaim();
    assert_eq!(writer.blocks.in_use(), 1, "that of 2001:db9::/32");
}

/// A worker looks addresses up while more and less specific routes around them come and go.
#[test]
fn an_address_never_shows_a_route_that_it_does_not_have() {
    let mut domain = Domain::new(1);
    let mut reader = domain.register().unwrap();
    let mut writer = Fib6Writer::new(FibSettings { blocks: 64, ..FibSettings::default() }).unwrap();
    let (root, still, moving) = (net("2000::/8"), net("2001:db8::/48"), net("2001:db8:1::/48"));
    let hosts = [(net("2001:db8::1/128"), still, 1), (net("2001:db8:1::1/128"), moving, 3)];
    writer.insert(&mut domain, still, LoadBalanceId(1)).unwrap();
    writer.insert(&mut domain, root, LoadBalanceId(2)).unwrap();
    let fib = writer.reader();
    let ends = [still, moving].map(|prefix| prefix.broadcast().to_bits());
    let end = Instant::now() + Duration::from_millis(500);
    let worker = std::thread::spawn(move || {
        while Instant::now() < end {
            reader.online();
            for _ in 0..1000 {
                // The last address of a prefix is the last that a new block gets.
                assert_eq!(fib.lookup(ends[0]), LoadBalanceId(1));
                assert!(matches!(fib.lookup(ends[1]).0, 2..=3), "always has a route");
            }
            reader.quiescent();
        }
    });
    while !worker.is_finished() {
        domain.reclaim();
        if writer.blocks.left() < 32 {
            std::thread::yield_now();
            continue;
        }
        writer.insert(&mut domain, moving, LoadBalanceId(3)).unwrap();
        writer.remove(&mut domain, root, None);
        for (host, _, _) in hosts {
            writer.insert(&mut domain, host, LoadBalanceId(4)).unwrap();
        }
        for (host, covering, id) in hosts {
            writer.remove(&mut domain, host, Some((covering, LoadBalanceId(id))));
        }
        writer.insert(&mut domain, root, LoadBalanceId(2)).unwrap();
        writer.remove(&mut domain, moving, Some((root, LoadBalanceId(2))));
    }
    worker.join().unwrap();
}
