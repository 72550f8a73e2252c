// SPDX-License-Identifier: Apache-2.0
//! The same frames through the graph and through a naive switch: any mix of ports, groups, domains, moves, entries, flushes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weft_l2::{Role, Settings, Target};
use weft_nodes::headers::MacAddr;

use crate::lab::{Lab, frame, mac};

const PORTS: usize = 5;
const DOMAINS: [u32; 2] = [1, 2];
const STATIONS: u8 = 6;

#[derive(Clone, Copy, Debug)]
enum Step {
    Frame { port: usize, from: u8, to: u8 },
    Join { port: usize, domain: usize, group: u8, uplink: bool },
    Leave(usize),
    Down(usize, bool),
    Static { domain: usize, station: u8, port: usize },
    Filter { domain: usize, station: u8 },
    Unset { domain: usize, station: u8 },
    FlushPort(usize),
    FlushDomain(usize),
    Switches { domain: usize, learn: bool, unknown_flood: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let (port, domain, station) = (0..PORTS, 0..DOMAINS.len(), 0..STATIONS);
    prop_oneof![
        20 => (port.clone(), station.clone(), 0..=STATIONS).prop_map(|(port, from, to)| Step::Frame { port, from, to }),
        4 => (port.clone(), domain.clone(), 0u8..3, prop::bool::weighted(0.2))
            .prop_map(|(port, domain, group, uplink)| Step::Join { port, domain, group, uplink }),
        1 => port.clone().prop_map(Step::Leave),
        1 => (port.clone(), any::<bool>()).prop_map(|(port, up)| Step::Down(port, up)),
        1 => (domain.clone(), station.clone(), port.clone())
            .prop_map(|(domain, station, port)| Step::Static { domain, station, port }),
        1 => (domain.clone(), station.clone()).prop_map(|(domain, station)| Step::Filter { domain, station }),
        1 => (domain.clone(), station).prop_map(|(domain, station)| Step::Unset { domain, station }),
        1 => port.prop_map(Step::FlushPort),
        1 => domain.clone().prop_map(Step::FlushDomain),
        1 => (domain, any::<bool>(), any::<bool>())
            .prop_map(|(domain, learn, unknown_flood)| Step::Switches { domain, learn, unknown_flood }),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Known {
    Heard(usize),
    Said(usize),
    Filter,
}

/// A switch as one would write it on a page.
struct Naive {
    /// Domain, group, whether it is the uplink.
    ports: [Option<(usize, u8, bool)>; PORTS],
    up: [bool; PORTS],
    known: BTreeMap<(usize, MacAddr), Known>,
    learn: [bool; 2],
    unknown_flood: [bool; 2],
}

impl Naive {
    fn meets(&self, from: usize, to: usize) -> bool {
        match (self.ports[from], self.ports[to]) {
            (Some((a, one, _)), Some((b, other, _))) => {
                a == b && from != to && (one == 0 || one != other) && self.up[to]
            }
            _ => false,
        }
    }

    fn all(&self, from: usize) -> Vec<usize> {
        (0..PORTS).filter(|to| self.meets(from, *to)).collect()
    }

    fn frame(&mut self, port: usize, from: MacAddr, to: MacAddr) -> Vec<usize> {
        let Some((domain, ..)) = self.ports[port].filter(|_| self.up[port]) else { return vec![] };
        // What is learned by a frame is known to the next one.
        let exit = self.known.get(&(domain, to)).copied();
        match self.known.get(&(domain, from)).copied() {
            Some(Known::Filter) => return vec![],
            Some(Known::Said(at)) if at != port => return vec![],
            Some(Known::Said(_)) => {}
            _ if self.learn[domain] => drop(self.known.insert((domain, from), Known::Heard(port))),
            _ => {}
        }
        if to.is_multicast() {
            return self.all(port);
        }
        match exit {
            Some(Known::Filter) => return vec![],
            Some(Known::Said(at) | Known::Heard(at))
                if self.ports[at].is_some_and(|(its, ..)| its == domain) =>
            {
                return if self.meets(port, at) { vec![at] } else { vec![] };
            }
            _ => {}
        }
        let uplink = (0..PORTS).find(|at| matches!(self.ports[*at], Some((its, _, true)) if its == domain));
        match uplink {
            Some(uplink) if self.meets(port, uplink) => vec![uplink],
            Some(_) => vec![],
            None if self.unknown_flood[domain] => self.all(port),
            None => vec![],
        }
    }

    fn forget(&mut self, gone: impl Fn(usize, usize) -> bool) {
        self.known.retain(|(domain, _), known| !matches!(known, Known::Heard(port) if gone(*domain, *port)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn frames_go_where_a_naive_switch_sends_them(steps in prop::collection::vec(step(), 1..80)) {
        let mut lab = Lab::new(PORTS, Settings::default());
        let mut naive = Naive {
            ports: [None; PORTS],
            up: [true; PORTS],
            known: BTreeMap::new(),
            learn: [true; 2],
            unknown_flood: [true; 2],
        };
        for id in DOMAINS {
            lab.domain(id, |_| {});
        }
        for step in steps {
            match step {
                Step::Frame { port, from, to } => {
                    let to = if to == STATIONS { MacAddr::BROADCAST } else { mac(to) };
                    let expected = naive.frame(port, mac(from), to);
                    // A routed port would answer some of them; none is for it here.
                    lab.arrives(port, &frame(mac(from), to));
                    let left: Vec<usize> = lab.left().into_iter().map(|(port, _)| port).collect();
                    prop_assert_eq!(left, expected, "{:?}", step);
                    // The memory of what was told would hide a station that is heard again at once.
                    lab.time_passes(std::time::Duration::from_secs(1));
                }
                Step::Join { port, domain, group, uplink } => {
                    let taken = (0..PORTS).any(|at| at != port && matches!(naive.ports[at], Some((its, _, true)) if its == domain));
                    let uplink = uplink && !taken;
                    if naive.ports[port].is_some_and(|(before, ..)| before != domain) {
                        naive.forget(|_, at| at == port);
                    }
                    naive.ports[port] = Some((domain, group, uplink));
                    lab.bridge(port, DOMAINS[domain], if uplink { Role::Uplink } else { Role::Normal }, group);
                }
                Step::Leave(port) => {
                    naive.forget(|_, at| at == port);
                    naive.ports[port] = None;
                    lab.route(port);
                }
                Step::Down(port, up) => {
                    naive.up[port] = up;
                    let index = lab.port(port).index;
                    lab.change(index, |interface| interface.admin_up = up);
                    lab.run();
                }
                Step::Static { domain, station, port } => {
                    naive.known.insert((domain, mac(station)), Known::Said(port));
                    let port = lab.port(port).index;
                    lab.station(DOMAINS[domain], mac(station), Some(Target::Port(port)));
                }
                Step::Filter { domain, station } => {
                    naive.known.insert((domain, mac(station)), Known::Filter);
                    lab.station(DOMAINS[domain], mac(station), Some(Target::Filter));
                }
                Step::Unset { domain, station } => {
                    let key = (domain, mac(station));
                    if !matches!(naive.known.get(&key), Some(Known::Heard(_))) {
                        naive.known.remove(&key);
                    }
                    lab.station(DOMAINS[domain], mac(station), None);
                }
                Step::FlushPort(port) => {
                    naive.forget(|_, at| at == port);
                    let port = lab.port(port).index;
                    lab.switch.flush_port(port);
                }
                Step::FlushDomain(domain) => {
                    naive.forget(|its, _| its == domain);
                    lab.switch.flush_domain(DOMAINS[domain]).expect("it is there");
                }
                Step::Switches { domain, learn, unknown_flood } => {
                    (naive.learn[domain], naive.unknown_flood[domain]) = (learn, unknown_flood);
                    lab.domain(DOMAINS[domain], |it| (it.learn, it.unknown_flood) = (learn, unknown_flood));
                }
            }
            let count = |domain: usize| naive.known.iter().filter(|((its, _), known)| *its == domain && matches!(known, Known::Heard(_))).count();
            let learned: Vec<usize> = lab.switch.domains().map(|it| it.learned).collect();
            prop_assert_eq!(learned, vec![count(0), count(1)], "{:?}", step);
        }
    }
}
