// SPDX-License-Identifier: Apache-2.0
//! Changes of a million routes, from the batch to the forwarding table: `cargo bench -p weft-fib --bench
//! rib`.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

mod routes;

use ipnet::Ipv4Net;
use weft_engine::InterfaceIndex;
use weft_engine::qsbr::Domain;
use weft_fib::{
    Action, Adjacencies, Change, Ip4, LoadBalances, Objects, PathTarget, Preference, Rib, RibSettings,
    RoutePath,
};
use weft_interface::{LinkState, Owner};

use routes::Random;

const ROUTES: usize = 1_000_000;
const NEXT_HOPS: u64 = 16;

struct Bed {
    domain: Domain,
    objects: Objects,
    rib: Rib<Ip4>,
}

impl Bed {
    fn new() -> Bed {
        let mut domain = Domain::new(0);
        let objects = Objects {
            adjacencies: Adjacencies::new(&domain, 1 << 16),
            load_balances: LoadBalances::new(&mut domain, 1 << 16),
        };
        Bed { objects, rib: Rib::new(RibSettings::default()).expect("address space for a table"), domain }
    }

    fn apply(&mut self, changes: &[Change<Ip4>]) {
        self.rib.apply(&mut self.objects, &mut self.domain, changes).expect("the changes are right");
        self.domain.reclaim();
    }
}

fn timed(what: &str, action: impl FnOnce()) -> Duration {
    let start = Instant::now();
    action();
    let elapsed = start.elapsed();
    println!("{what:<70} {elapsed:>10.1?}");
    elapsed
}

fn router(bits: u64) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + (bits % NEXT_HOPS) as u8)
}

fn set(prefix: Ipv4Net, target: PathTarget<Ip4>) -> Change<Ip4> {
    Change { prefix, owner: Owner::API, action: Action::Set(Preference(0), vec![RoutePath::new(target)]) }
}

fn resident_megabytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0_usize);
    pages / 256
}

fn main() {
    let mut random = Random(1);
    let uniform: Vec<_> = routes::uniform(&mut random, ROUTES)
        .into_iter()
        .map(|prefix| set(prefix, PathTarget::Connected(InterfaceIndex((random.next() % NEXT_HOPS) as u32))))
        .collect();
    timed(&format!("{ROUTES} routes, lengths uniform /8../24, in one batch, sorted"), || {
        Bed::new().apply(&uniform);
    });
    let mut prefixes = routes::internet(&mut random, ROUTES);
    for order in ["sorted", "random"] {
        if order == "random" {
            routes::shuffle(&mut random, &mut prefixes);
        }
        let via = |bits| PathTarget::Via { address: router(bits), interface: Some(InterfaceIndex(1)) };
        let direct: Vec<_> = prefixes.iter().map(|prefix| set(*prefix, via(random.next()))).collect();
        let before = resident_megabytes();
        let mut bed = Bed::new();
        timed(&format!("{ROUTES} routes in one batch, {order}"), || bed.apply(&direct));
        println!("{:<70} {:>8} MB", "  memory", resident_megabytes() - before);
        timed("  the same again, nothing changes", || bed.apply(&direct));
        let other: Vec<_> =
            prefixes[..100_000].iter().map(|prefix| set(*prefix, via(random.next()))).collect();
        timed("  100000 of them to other next hops, one by one", || {
            other.chunks(1).for_each(|change| bed.apply(change));
        });
        let deletions: Vec<_> = prefixes
            .iter()
            .map(|&prefix| Change { prefix, owner: Owner::API, action: Action::Delete })
            .collect();
        timed("  all deleted in one batch", || bed.apply(&deletions));
        let mut bed = Bed::new();
        timed(&format!("{ROUTES} routes in batches of 1000, {order}"), || {
            direct.chunks(1000).for_each(|batch| bed.apply(batch));
        });
        timed("  their interface goes down", || {
            let down = InterfaceIndex(1);
            bed.rib
                .set_interface(&mut bed.objects, &mut bed.domain, down, LinkState::NoCarrier)
                .expect("there is room");
        });
    }

    let recursive: Vec<_> = prefixes
        .iter()
        .map(|prefix| set(*prefix, PathTarget::Via { address: router(random.next()), interface: None }))
        .collect();
    let igp = |interface| {
        let prefix: Ipv4Net = "192.0.2.0/24".parse().expect("a prefix");
        let path = RoutePath::new(PathTarget::Connected(InterfaceIndex(interface)));
        Change { prefix, owner: Owner::CLI, action: Action::Set(Preference(0), vec![path]) }
    };
    let mut bed = Bed::new();
    bed.apply(&[igp(1)]);
    timed(&format!("{ROUTES} recursive routes in one batch"), || bed.apply(&recursive));
    timed("  the way to all of their next hops changes", || bed.apply(&[igp(2)]));
}
