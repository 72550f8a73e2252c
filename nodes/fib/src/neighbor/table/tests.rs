// SPDX-License-Identifier: Apache-2.0
//! The life of an entry by the clock, and the table against a model that looks at all entries each time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::NeighborAction::{Failed, Removed, Resolved, SendRequest};
use super::*;

const PORT: InterfaceIndex = InterfaceIndex(1);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn request(to: Option<MacAddr>) -> NeighborAction {
    SendRequest { interface: PORT, address: HOST, to }
}

fn resolved(mac: MacAddr) -> NeighborAction {
    Resolved { interface: PORT, address: HOST, mac }
}

const FAILED: NeighborAction = Failed { interface: PORT, address: HOST };
const REMOVED: NeighborAction = Removed { interface: PORT, address: HOST };

/// Ticks each second from `from` to before `to` and notes when something happened.
fn run(table: &mut Neighbors, from: u64, to: u64) -> Vec<(u64, NeighborAction)> {
    let mut log = Vec::new();
    for second in from..to {
        let mut actions = Vec::new();
        table.tick(at(second), usize::MAX, &mut actions);
        log.extend(actions.into_iter().map(|action| (second, action)));
    }
    log
}

#[test]
fn silence_is_three_requests_a_failure_and_a_quiet_time() {
    let mut table = Neighbors::new(NeighborSettings::default());
    assert_eq!(table.resolve(at(0), PORT, HOST), Ok(Some(request(None))));
    assert_eq!(table.resolve(at(0), PORT, HOST), Ok(None), "further packets do not ask again");
    assert_eq!(table.next_deadline(), Some(at(1)));
    assert_eq!(run(&mut table, 0, 12), [(1, request(None)), (2, request(None)), (3, FAILED)]);
    assert_eq!(table.resolve(at(12), PORT, HOST), Ok(None), "quiet");
    assert_eq!(run(&mut table, 12, 100), [(13, REMOVED)]);
    assert!(table.is_empty());
    assert_eq!(table.resolve(at(100), PORT, HOST), Ok(Some(request(None))));
}

#[test]
fn an_answer_is_good_for_its_age_and_then_asked_for_by_unicast() {
    let mut table = Neighbors::new(NeighborSettings::default());
    table.resolve(at(0), PORT, HOST).unwrap();
    assert_eq!(table.heard(at(1), PORT, HOST, MAC, Evidence::ToUs), Ok(Some(resolved(MAC))));
    assert_eq!(table.heard(at(2), PORT, HOST, MAC, Evidence::ToUs), Ok(None), "nothing new");
    assert_eq!(table.resolve(at(3), PORT, HOST), Ok(Some(resolved(MAC))));
    assert_eq!(run(&mut table, 3, 903), [(902, request(Some(MAC)))]);
    assert_eq!(table.get(PORT, HOST).unwrap().state.mac(), Some(MAC), "still forwarded to");
    table.heard(at(902), PORT, HOST, MAC, Evidence::ToUs).unwrap();
    let end = [1802, 1803, 1804].map(|second| (second, request(Some(MAC))));
    assert_eq!(run(&mut table, 903, 1805), end);
    assert_eq!(run(&mut table, 1805, 3000), [(1805, REMOVED)]);
}

#[test]
fn only_who_speaks_to_us_is_learned() {
    let mut table = Neighbors::new(NeighborSettings::default());
    assert_eq!(table.heard(at(0), PORT, HOST, MAC, Evidence::Overheard), Ok(None));
    assert!(table.is_empty());
    assert_eq!(table.heard(at(0), PORT, HOST, MAC, Evidence::ToUs), Ok(Some(resolved(MAC))));
    assert_eq!(table.heard(at(0), PORT, HOST, OTHER, Evidence::Overheard), Ok(Some(resolved(OTHER))));
    for mac in [MacAddr::BROADCAST, MacAddr::ZERO, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
        let refused = table.heard(at(0), PORT, HOST, mac, Evidence::ToUs);
        assert_eq!(refused, Err(NeighborError::NotAStation(mac)));
    }
    assert_eq!(table.refusals().not_a_station, 3);
    assert_eq!(table.get(PORT, HOST).unwrap().state, NeighborState::Reachable(OTHER));
}

#[test]
fn a_failed_host_that_speaks_is_back() {
    let mut table = Neighbors::new(NeighborSettings::default());
    table.resolve(at(0), PORT, HOST).unwrap();
    run(&mut table, 0, 5);
    assert_eq!((table.get(PORT, HOST).unwrap().state, table.unresolved()), (NeighborState::Failed, 1));
    assert_eq!(table.heard(at(5), PORT, HOST, MAC, Evidence::Overheard), Ok(Some(resolved(MAC))));
    assert_eq!(table.unresolved(), 0);
}

#[test]
fn a_static_entry_is_changed_by_nobody_and_does_not_age() {
    let mut table = Neighbors::new(NeighborSettings::default());
    table.resolve(at(0), PORT, HOST).unwrap();
    assert_eq!(table.set_static(at(0), PORT, HOST, MAC), Ok(resolved(MAC)));
    assert_eq!(table.heard(at(1), PORT, HOST, OTHER, Evidence::ToUs), Ok(None));
    assert_eq!(table.next_deadline(), None);
    assert_eq!(table.set_static(at(2), PORT, HOST, OTHER), Ok(resolved(OTHER)));
    let group = table.set_static(at(2), PORT, HOST, MacAddr::BROADCAST);
    assert_eq!(group, Err(NeighborError::NotAStation(MacAddr::BROADCAST)));
    assert_eq!(table.flush(PORT, false), []);
    assert_eq!(table.flush(PORT, true), [REMOVED]);
}

#[test]
fn a_scan_leaves_room_for_the_living() {
    let settings = NeighborSettings { limit: 4, unresolved_limit: 2, ..NeighborSettings::default() };
    let mut table = Neighbors::new(settings);
    let host = |i| IpAddr::V4(Ipv4Addr::new(10, 0, 1, i));
    table.resolve(at(0), PORT, host(1)).unwrap();
    table.resolve(at(0), PORT, host(2)).unwrap();
    let refused = table.resolve(at(0), PORT, host(3));
    assert_eq!(refused, Err(NeighborError::TooManyUnresolved { limit: 2 }));
    table.heard(at(0), PORT, host(4), MAC, Evidence::ToUs).unwrap();
    table.set_static(at(0), PORT, host(5), MAC).unwrap();
    let full = NeighborError::Full { limit: 4 };
    assert_eq!(table.heard(at(0), PORT, host(6), MAC, Evidence::ToUs), Err(full));
    assert_eq!(table.resolve(at(0), PORT, host(6)), Err(full));
    assert_eq!(table.set_static(at(0), PORT, host(6), MAC), Err(full));
    assert_eq!(table.refusals(), Refusals { full: 3, unresolved: 1, not_a_station: 0 });
    table.heard(at(0), PORT, host(1), MAC, Evidence::ToUs).unwrap();
}

#[test]
fn many_that_were_learned_at_once_are_asked_in_portions() {
    let mut table = Neighbors::new(NeighborSettings::default());
    for i in 0..20_000u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i));
        table.heard(at(0), PORT, address, MAC, Evidence::ToUs).unwrap();
    }
    let mut actions = Vec::new();
    table.tick(at(899), usize::MAX, &mut actions);
    assert_eq!(actions, []);
    for portion in 1..=4 {
        table.tick(at(900), 5000, &mut actions);
        assert_eq!(actions.len(), portion * 5000);
    }
    assert_eq!(table.next_deadline(), Some(at(901)));
}

/// A list of entries without order, each with a countdown.
struct Model {
    settings: NeighborSettings,
    entries: Vec<(Key, NeighborState, Option<Duration>)>,
}

impl Model {
    fn find(&self, key: Key) -> Option<NeighborState> {
        self.entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1)
    }

    fn put(&mut self, key: Key, state: NeighborState, left: Option<Duration>) {
        self.entries.retain(|entry| entry.0 != key);
        self.entries.push((key, state, left));
    }

    fn full(&self) -> bool {
        self.entries.len() >= self.settings.limit
    }

    fn unresolved(&self) -> usize {
        self.entries.iter().filter(|entry| entry.1.mac().is_none()).count()
    }

    /// One second passes.
    fn second(&mut self) -> Vec<NeighborAction> {
        let one = at(1);
        let settings = self.settings;
        let mut actions = Vec::new();
        self.entries.retain_mut(|((interface, address), state, left)| {
            let (interface, address) = (*interface, *address);
            let Some(left) = left else { return true };
            *left -= one;
            if !left.is_zero() {
                return true;
            }
            *left = settings.interval;
            let (action, keep) = match state {
                NeighborState::Incomplete { requests } | NeighborState::Stale { requests, .. }
                    if *requests < settings.requests =>
                {
                    *requests += 1;
                    (SendRequest { interface, address, to: state.mac() }, true)
                }
                NeighborState::Incomplete { .. } => {
                    *state = NeighborState::Failed;
                    *left = settings.quiet;
                    (Failed { interface, address }, true)
                }
                NeighborState::Reachable(mac) => {
                    let mac = *mac;
                    *state = NeighborState::Stale { mac, requests: 1 };
                    (SendRequest { interface, address, to: Some(mac) }, true)
                }
                _ => (Removed { interface, address }, false),
            };
            actions.push(action);
            keep
        });
        actions
    }
}

#[derive(Clone, Debug)]
enum Step {
    Resolve(Key),
    Heard(Key, MacAddr, Evidence),
    Static(Key, MacAddr),
    Remove(Key),
    Flush(InterfaceIndex, bool),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || {
        (1u32..3, 1u8..5)
            .prop_map(|(interface, host)| (InterfaceIndex(interface), Ipv4Addr::new(10, 0, 0, host).into()))
    };
    let mac = || prop::sample::select(vec![MAC, OTHER, MacAddr::BROADCAST]);
    let evidence = prop::sample::select(vec![Evidence::ToUs, Evidence::Overheard]);
    prop_oneof![
        4 => key().prop_map(Step::Resolve),
        4 => (key(), mac(), evidence).prop_map(|(key, mac, evidence)| Step::Heard(key, mac, evidence)),
        1 => (key(), mac()).prop_map(|(key, mac)| Step::Static(key, mac)),
        1 => key().prop_map(Step::Remove),
        1 => ((1u32..3).prop_map(InterfaceIndex), any::<bool>())
            .prop_map(|(interface, all)| Step::Flush(interface, all)),
        6 => (1u8..20).prop_map(Step::Pass),
    ]
}

fn sorted(mut actions: Vec<NeighborAction>) -> Vec<String> {
    let mut texts: Vec<_> = actions.drain(..).map(|action| format!("{action:?}")).collect();
    texts.sort();
    texts
}

proptest! {
    #[test]
    fn equals_a_model_that_looks_at_all(steps in prop::collection::vec(step(), 1..100)) {
        let settings = NeighborSettings {
            limit: 6, unresolved_limit: 3, age: at(30), ..NeighborSettings::default()
        };
        let mut table = Neighbors::new(settings);
        let mut model = Model { settings, entries: Vec::new() };
        let mut now = at(0);
        // Per address: whether an entry was announced and not yet removed.
        let mut open: BTreeMap<Key, bool> = BTreeMap::new();
        for step in steps {
            let mut log = Vec::new();
            match step {
                Step::Resolve(key) => {
                    let result = table.resolve(now, key.0, key.1);
                    let expected = match model.find(key) {
                        Some(state) => {
                            Ok(state.mac().map(|mac| Resolved { interface: key.0, address: key.1, mac }))
                        }
                        None if model.full() => Err(NeighborError::Full { limit: 6 }),
                        None if model.unresolved() == 3 => Err(NeighborError::TooManyUnresolved { limit: 3 }),
                        None => {
                            let state = NeighborState::Incomplete { requests: 1 };
                            model.put(key, state, Some(settings.interval));
                            Ok(Some(SendRequest { interface: key.0, address: key.1, to: None }))
                        }
                    };
                    prop_assert_eq!(result, expected);
                    log.extend(result.ok().flatten());
                }
                Step::Heard(key, mac, evidence) => {
                    let result = table.heard(now, key.0, key.1, mac, evidence);
                    let known = model.find(key);
                    let expected = match known {
                        Some(NeighborState::Static(_)) => Ok(None),
                        None if evidence == Evidence::Overheard => Ok(None),
                        _ if mac == MacAddr::BROADCAST => Err(NeighborError::NotAStation(mac)),
                        None if model.full() => Err(NeighborError::Full { limit: 6 }),
                        _ => {
                            model.put(key, NeighborState::Reachable(mac), Some(settings.age));
                            let news = known.is_none_or(|known| known.mac() != Some(mac));
                            Ok(news.then_some(Resolved { interface: key.0, address: key.1, mac }))
                        }
                    };
                    prop_assert_eq!(result, expected);
                    log.extend(result.ok().flatten());
                }
                Step::Static(key, mac) => {
                    let result = table.set_static(now, key.0, key.1, mac);
                    if mac == MacAddr::BROADCAST {
                        prop_assert_eq!(result, Err(NeighborError::NotAStation(mac)));
                    } else if model.find(key).is_none() && model.full() {
                        prop_assert_eq!(result, Err(NeighborError::Full { limit: 6 }));
                    } else {
                        model.put(key, NeighborState::Static(mac), None);
                        prop_assert_eq!(result, Ok(Resolved { interface: key.0, address: key.1, mac }));
                        log.extend(result.ok());
                    }
                }
                Step::Remove(key) => {
                    let known = model.find(key).is_some();
                    model.entries.retain(|entry| entry.0 != key);
                    let result = table.remove(key.0, key.1);
                    prop_assert_eq!(result, known.then_some(Removed { interface: key.0, address: key.1 }));
                    log.extend(result);
                }
                Step::Flush(interface, also_static) => {
                    let goes = |entry: &(Key, NeighborState, Option<Duration>)| {
                        let is_static = matches!(entry.1, NeighborState::Static(_));
                        entry.0.0 == interface && (also_static || !is_static)
                    };
                    let expected = model.entries.iter().filter(|entry| goes(entry))
                        .map(|entry| Removed { interface, address: entry.0.1 }).collect();
                    model.entries.retain(|entry| !goes(entry));
                    log = table.flush(interface, also_static);
                    prop_assert_eq!(sorted(log.clone()), sorted(expected));
                }
                Step::Pass(seconds) => for _ in 0..seconds {
                    now += at(1);
                    let mut actions = Vec::new();
                    table.tick(now, usize::MAX, &mut actions);
                    prop_assert_eq!(sorted(actions.clone()), sorted(model.second()));
                    log.extend(actions);
                },
            }
            for action in log {
                let (key, alive) = match action {
                    SendRequest { interface, address, .. } | Resolved { interface, address, .. } => {
                        ((interface, address), true)
                    }
                    Failed { interface, address } => {
                        prop_assert_eq!(open.get(&(interface, address)), Some(&true));
                        continue;
                    }
                    Removed { interface, address } => {
                        prop_assert_eq!(open.get(&(interface, address)), Some(&true));
                        ((interface, address), false)
                    }
                };
                open.insert(key, alive);
            }
            let mut expected: Vec<_> = model.entries.iter().map(|entry| (entry.0, entry.1)).collect();
            expected.sort_by_key(|entry| entry.0);
            let shown: Vec<_> = table.iter().map(|n| ((n.interface, n.address), n.state)).collect();
            prop_assert_eq!(shown, expected);
            prop_assert_eq!(table.unresolved(), model.unresolved());
        }
    }
}
