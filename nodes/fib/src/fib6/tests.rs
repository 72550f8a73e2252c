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
    let border = prop::sample::select(vec![0u8, 8, 9, 24, 25, 32, 33, 48, 64, 112, 113, 127, 128]);
    let length = prop_oneof![0u8..=128, border];
    (any::<u128>(), length).prop_map(|(bits, length)| {
        let few = 0x0101_8181_0180_0180_8000_0000_0001_8181;
        let address = 0x2001_0db8 << 96 | bits & few;
        Ipv6Net::new(address.into(), length).unwrap().trunc()
    })
}

/// Prefixes that crowd one region, and some below it.
fn crowded() -> impl Strategy<Value = Ipv6Net> {
    (any::<u16>(), any::<u16>(), prop_oneof![5 => 33u8..=48, 1 => 49u8..=64]).prop_map(
        |(site, subnet, length)| {
            let address = 0x2001_0db8 << 96 | u128::from(site) << 80 | u128::from(subnet & 3) << 78;
            Ipv6Net::new(address.into(), length).unwrap().trunc()
        },
    )
}

/// Addresses at and around the ends of a prefix.
fn probes(prefix: Ipv6Net) -> [u128; 4] {
    let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
    [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
}

/// One by one, and many at once.
fn check(fib: &Fib6, naive: &Naive, around: impl Iterator<Item = Ipv6Net>) {
    let destinations: Vec<_> = around.flat_map(probes).collect();
    for destinations in destinations.chunks(Fib6::AT_ONCE) {
        let mut found = [LoadBalanceId(u32::MAX); Fib6::AT_ONCE];
        fib.lookup_all(destinations, &mut found);
        for (destination, found) in destinations.iter().zip(found) {
            let expected = naive.lookup(*destination);
            let what = || format!("{} among {:?}", Ipv6Addr::from(*destination), naive.0);
            assert_eq!(fib.lookup(*destination), expected, "{}", what());
            assert_eq!(found, expected, "{}, at once", what());
        }
    }
}

/// A table, its oracle, and no worker: memory is free again at once.
struct Bed {
    domain: Domain,
    writer: Fib6Writer,
    naive: Naive,
}

impl Bed {
    fn new() -> Bed {
        let writer = Fib6Writer::new(Fib6Settings::default()).unwrap();
        Bed { domain: Domain::new(0), writer, naive: Naive::default() }
    }

    /// As a batch is published: what is to be removed is out of the RIB already.
    fn apply(&mut self, steps: &[(Ipv6Net, u32)]) {
        let steps: BTreeMap<_, _> = steps.iter().copied().collect();
        let (removals, additions): (Vec<_>, Vec<_>) = steps.into_iter().partition(|(_, id)| *id == 0);
        let removals: Vec<_> =
            removals.into_iter().filter(|(prefix, _)| self.naive.0.remove(prefix).is_some()).collect();
        for (prefix, id) in additions {
            self.writer.insert(prefix, LoadBalanceId(id)).unwrap();
            self.naive.0.insert(prefix, LoadBalanceId(id));
        }
        self.writer.show(&mut self.domain);
        for (prefix, _) in removals {
            self.writer.remove(&mut self.domain, prefix, self.naive.covering(prefix));
        }
        self.writer.show(&mut self.domain);
        self.domain.reclaim();
        let [shown, used] = self.writer.regions.lines();
        assert_eq!(shown, used, "each line is one of a region, or free");
    }

    /// Back to nothing, in the order of addresses: the lines come back and the table is as new.
    fn clear(&mut self) {
        let all: Vec<_> = self.naive.0.keys().copied().collect();
        for prefix in &all {
            self.apply(&[(*prefix, 0)]);
            check(&self.writer.reader(), &self.naive, std::iter::once(*prefix));
        }
        assert_eq!(self.writer.regions.lines(), [0, 0]);
        for prefix in all {
            let word = &self.writer.fib.table[slot(prefix.network().to_bits())];
            assert_eq!(word.load(Ordering::Relaxed), 0, "{prefix}");
        }
    }
}

proptest! {
    #[test]
    fn equals_a_naive_longest_match(
        batches in prop::collection::vec(prop::collection::vec((prefix(), 0u32..4), 1..4), 1..40)
    ) {
        let mut bed = Bed::new();
        let fib = bed.writer.reader();
        for batch in &batches {
            bed.apply(batch);
            check(&fib, &bed.naive, bed.naive.0.keys().chain(batch.iter().map(|(prefix, _)| prefix)).copied());
        }
        bed.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// A region of several levels of lines, that grows and shrinks by batches and one by one.
    #[test]
    fn a_crowded_region_equals_a_naive_longest_match(
        batches in prop::collection::vec(prop::collection::vec((crowded(), 0u32..4), 1..200), 1..5),
        single in prop::collection::vec((crowded(), 0u32..4), 1..100),
    ) {
        let mut bed = Bed::new();
        let fib = bed.writer.reader();
        for batch in batches.iter().map(|batch| &batch[..]).chain(single.chunks(1)) {
            bed.apply(batch);
            check(&fib, &bed.naive, batch.iter().map(|(prefix, _)| *prefix));
        }
        check(&fib, &bed.naive, bed.naive.0.keys().copied());
        bed.clear();
    }
}

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

#[test]
fn a_full_region_is_found_and_its_lines_come_back() {
    let mut bed = Bed::new();
    let (fib, id) = (bed.writer.reader(), |number: u32| LoadBalanceId(1 + number % 5));
    let site = |number: u32| Ipv6Net::new_assert((0x2001_0db8 << 96 | u128::from(number) << 80).into(), 48);
    for number in 0..1 << 16 {
        bed.writer.insert(site(number), id(number)).unwrap();
    }
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    let first = |number: u32| site(number).network().to_bits();
    assert!((0..1 << 16).all(|number| fib.lookup(first(number)) == id(number)));
    // What changes in one place builds one line there.
    let before = bed.writer.regions.lines()[0];
    for (site, lines) in [(site(5), 1), (site(0x8000), 2)] {
        bed.writer.insert(site, LoadBalanceId(9)).unwrap();
        bed.writer.show(&mut bed.domain);
        assert!(bed.writer.regions.lines()[1] - before <= lines, "{site}");
    }
    bed.domain.reclaim();
    for number in [5, 0x8000] {
        assert_eq!(
            [number - 1, number, number + 1].map(|number| fib.lookup(first(number))),
            [id(number - 1), LoadBalanceId(9), id(number + 1)]
        );
        bed.writer.insert(site(number), id(number)).unwrap();
    }
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    assert!((0..1 << 16).all(|number| fib.lookup(first(number)) == id(number)));
    // Of a region below, only where it begins is stored.
    let lines = bed.writer.regions.lines()[0];
    bed.writer.insert(net("2001:db8:8000:1::/64"), LoadBalanceId(9)).unwrap();
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    assert_eq!(bed.writer.regions.lines(), [lines + 1, lines + 1]);
    bed.writer.insert(net("2001:db8:8000:2::/64"), LoadBalanceId(9)).unwrap();
    bed.writer.show(&mut bed.domain);
    assert_eq!(bed.writer.regions.lines(), [lines + 1, lines + 2], "one line is new, and one old");
    bed.domain.reclaim();
    assert_eq!(fib.lookup(net("2001:db8:8000:2::/64").network().to_bits()), LoadBalanceId(9));
    assert_eq!(fib.lookup(first(0x8000)), id(0x8000));
    // Both here and there.
    bed.writer.insert(net("2001:db8:8000:3::/64"), LoadBalanceId(9)).unwrap();
    bed.writer.insert(site(5), LoadBalanceId(9)).unwrap();
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    assert_eq!(bed.writer.regions.lines(), [lines + 1, lines + 1]);
    assert_eq!(fib.lookup(net("2001:db8:8000:3::/64").network().to_bits()), LoadBalanceId(9));
    assert_eq!(fib.lookup(first(5)), LoadBalanceId(9));
    for subnet in ["2001:db8:8000:1::/64", "2001:db8:8000:2::/64", "2001:db8:8000:3::/64"] {
        bed.writer.remove(&mut bed.domain, net(subnet), Some((site(0x8000), id(0x8000))));
    }
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    assert_eq!(bed.writer.regions.lines(), [lines, lines]);
    for number in 0..1 << 16 {
        bed.writer.remove(&mut bed.domain, site(number), None);
    }
    bed.writer.show(&mut bed.domain);
    bed.domain.reclaim();
    assert_eq!(bed.writer.regions.lines(), [0, 0]);
}

#[test]
fn what_could_find_no_line_changes_nothing() {
    let mut domain = Domain::new(1);
    let mut worker = domain.register().unwrap();
    worker.online();
    let settings = Fib6Settings { lines: 16, ..Fib6Settings::default() };
    let mut writer = Fib6Writer::new(settings).unwrap();
    let full = Err(Fib6Error::LinesExhausted { limit: 16 });
    let sites: Vec<_> = (1..=3).map(|site| net(&format!("2001:db8:{site}::/48"))).collect();
    assert_eq!(writer.check_room(sites[..2].iter().copied()), Ok(()), "each may need 4, twice");
    assert_eq!(writer.check_room(sites.iter().copied()), full);
    for (site, id) in sites.iter().zip(1..=2) {
        writer.insert(*site, LoadBalanceId(id)).unwrap();
    }
    assert_eq!(writer.insert(sites[2], LoadBalanceId(3)), full);
    writer.show(&mut domain);
    let fib = writer.reader();
    let of = |text: &str| fib.lookup(text.parse::<Ipv6Addr>().unwrap().to_bits());
    assert_eq!([1, 2, 3].map(|site| of(&format!("2001:db8:{site}::1")).0), [1, 2, 0]);
    assert_eq!(writer.regions.lines(), [2, 2]);
    // The table takes what needs no line.
    assert_eq!(writer.insert(net("2001:d00::/24"), LoadBalanceId(4)), Ok(()));
    assert_eq!(of("2001:db8:3::1"), LoadBalanceId::NO_ROUTE, "not shown yet");
    writer.show(&mut domain);
    assert_eq!(of("2001:db8:3::1"), LoadBalanceId(4));
    // A line is used again only when no worker can see it.
    let again = writer.regions.lines();
    assert_eq!(again, [2, 4]);
    domain.reclaim();
    assert_eq!(writer.regions.lines(), again);
    worker.quiescent();
    domain.reclaim();
    assert_eq!(writer.regions.lines(), [2, 2]);
    // What is removed finds room whatever workers hold on to.
    let covering = Some((net("2001:d00::/24"), LoadBalanceId(4)));
    for (site, lines) in sites.iter().zip([[2, 3], [0, 3]]) {
        writer.remove(&mut domain, *site, covering);
        writer.show(&mut domain);
        assert_eq!(of(&site.network().to_string()), LoadBalanceId(4));
        assert_eq!(writer.regions.lines(), lines);
    }
    domain.reclaim();
    assert_eq!(writer.regions.lines(), [0, 3], "the worker may still see them");
}

/// A worker looks addresses up, one by one and many at once, while more and less specific routes around them come and go.
#[test]
fn an_address_never_shows_a_route_that_it_does_not_have() {
    let mut domain = Domain::new(1);
    let mut reader = domain.register().unwrap();
    let settings = Fib6Settings { lines: 4096, ..Fib6Settings::default() };
    let mut writer = Fib6Writer::new(settings).unwrap();
    let (root, still, moving) = (net("2000::/8"), net("2001:db8::/48"), net("2001:db8:1::/48"));
    let hosts = [(net("2001:db8::1/128"), still, 1), (net("2001:db8:1::1/128"), moving, 3)];
    let others: Vec<_> = (2..40).map(|site| net(&format!("2001:db8:{site}::/48"))).collect();
    writer.insert(still, LoadBalanceId(1)).unwrap();
    writer.insert(root, LoadBalanceId(2)).unwrap();
    writer.show(&mut domain);
    let fib = writer.reader();
    let ends = [still, moving].map(|prefix| prefix.broadcast().to_bits());
    let end = Instant::now() + Duration::from_millis(500);
    let worker = std::thread::spawn(move || {
        while Instant::now() < end {
            reader.online();
            for _ in 0..1000 {
                assert_eq!(fib.lookup(ends[0]), LoadBalanceId(1));
                assert!(matches!(fib.lookup(ends[1]).0, 2..=3), "always has a route");
                let mut found = [LoadBalanceId::NO_ROUTE; 2];
                fib.lookup_all(&ends, &mut found);
                assert_eq!(found[0], LoadBalanceId(1));
                assert!(matches!(found[1].0, 2..=3), "always has a route");
            }
            reader.quiescent();
        }
    });
    while !worker.is_finished() {
        domain.reclaim();
        if writer.check_room(others.iter().chain(&others).copied()).is_err() {
            std::thread::yield_now();
            continue;
        }
        writer.insert(moving, LoadBalanceId(3)).unwrap();
        writer.show(&mut domain);
        writer.remove(&mut domain, root, None);
        for (host, _, _) in hosts {
            writer.insert(host, LoadBalanceId(4)).unwrap();
        }
        writer.show(&mut domain);
        for other in &others {
            writer.insert(*other, LoadBalanceId(5)).unwrap();
        }
        writer.show(&mut domain);
        for (host, covering, id) in hosts {
            writer.remove(&mut domain, host, Some((covering, LoadBalanceId(id))));
        }
        for other in &others {
            writer.remove(&mut domain, *other, None);
        }
        writer.show(&mut domain);
        writer.insert(root, LoadBalanceId(2)).unwrap();
        writer.show(&mut domain);
        writer.remove(&mut domain, moving, Some((root, LoadBalanceId(2))));
        writer.show(&mut domain);
    }
    worker.join().unwrap();
}

/// Many VRFs of a few routes each.
#[test]
fn an_empty_table_costs_next_to_nothing() {
    let before = resident_pages();
    let mut domain = Domain::new(0);
    let tables: Vec<_> = (0..100)
        .map(|_| {
            let mut writer = Fib6Writer::new(Fib6Settings::default()).unwrap();
            for prefix in ["::/0", "2000::/8", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128"] {
                writer.insert(net(prefix), LoadBalanceId(1)).unwrap();
            }
            writer.show(&mut domain);
            writer
        })
        .collect();
    let each = (resident_pages() - before) / tables.len();
    assert!(each < 16, "{each} pages for a table of five routes");
}

/// In pages that this thread touched first.
fn resident_pages() -> usize {
    // proc(5): minflt is the 10th field; the 2nd, in brackets, may hold anything.
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(10 - 3).unwrap().parse().unwrap()
}
