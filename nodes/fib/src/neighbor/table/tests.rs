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
    assert_eq!(table.resolve(at(12), PORT, HOST), Ok(Some(request(None))), "a packet asks again");
    assert_eq!(table.resolve(at(12), PORT, HOST), Ok(None), "but not for a second");
    assert_eq!(run(&mut table, 12, 100), [(13, REMOVED)]);
    assert!(table.is_empty());
    assert_eq!(table.resolve(at(100), PORT, HOST), Ok(Some(request(None))));
}

#[test]
fn packets_ask_with_a_pause_that_grows_from_half_a_millisecond_to_a_second() {
    let mut table = Neighbors::new(NeighborSettings::default());
    let mut asked = Vec::new();
    for tenth in 0..40_000u64 {
        let now = Duration::from_micros(100 * tenth);
        let mut actions = Vec::new();
        table.tick(now, usize::MAX, &mut actions);
        actions.extend(table.resolve(now, PORT, HOST).unwrap());
        asked.extend(actions.iter().filter(|action| **action == request(None)).map(|_| now));
    }
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= Duration::from_millis(1), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= at(1)), "{pauses:?}");
    assert!((8..=16).contains(&asked.len()), "{pauses:?}");
}

#[test]
fn another_address_of_ours_asks_at_once_for_all_who_have_not_answered() {
    let mut table = Neighbors::new(NeighborSettings::default());
    let known = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    table.resolve(at(0), PORT, HOST).unwrap();
    table.resolve(at(0), InterfaceIndex(2), HOST).unwrap();
    table.heard(at(0), PORT, known, MAC, Evidence::ToUs).unwrap();
    assert_eq!(table.ask_again(at(0), PORT), [request(None)]);
}

const ELSEWHERE: InterfaceIndex = InterfaceIndex(2);

fn host(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

/// RFC 6583 section 4.4, and the same for requests with invented senders.
#[test]
fn invented_senders_take_places_from_each_other_alone() {
    let settings = NeighborSettings { limit: 100, unresolved_limit: 20, ..NeighborSettings::default() };
    let mut table = Neighbors::new(settings);
    // Neighbours that were asked for and have answered, one that only spoke, and a static one.
    for n in 0..20 {
        table.resolve(at(0), ELSEWHERE, host(n)).unwrap();
        table.heard(at(0), ELSEWHERE, host(n), MAC, Evidence::ToUs).unwrap();
    }
    table.heard(at(0), ELSEWHERE, host(20), MAC, Evidence::ToUs).unwrap();
    table.set_static(at(0), PORT, host(1), MAC).unwrap();
    for n in 1000..4000 {
        let now = Duration::from_millis(n.into());
        assert_eq!(table.heard(now, PORT, host(n), OTHER, Evidence::ToUs).map(|it| it.is_some()), Ok(true));
        let gone = table.take_displaced();
        assert!(gone.iter().all(|it| matches!(it, Removed { interface: PORT, .. })), "{gone:?}");
    }
    assert_eq!((table.len(), table.refusals().full), (100, 0));
    assert!((0..=20).all(|n| table.get(ELSEWHERE, host(n)).is_some()));
    assert!(table.get(PORT, host(1)).is_some());
    // The living find room at once, on both links.
    assert!(matches!(table.resolve(at(5), ELSEWHERE, host(50)), Ok(Some(SendRequest { .. }))));
    assert!(matches!(table.resolve(at(5), PORT, host(51)), Ok(Some(SendRequest { .. }))));
    assert_eq!(table.take_displaced().len(), 2);
    assert_eq!(table.displacements(), 3000 - 78 + 2);
}

#[test]
fn a_scan_of_one_link_keeps_no_other_from_asking() {
    let settings = NeighborSettings { limit: 100, unresolved_limit: 20, ..NeighborSettings::default() };
    let mut table = Neighbors::new(settings);
    for n in 0..20 {
        table.resolve(at(0), PORT, host(n)).unwrap();
    }
    // All of them are awaited: the link that scans asks for no more, another one does.
    assert_eq!(table.resolve(at(0), PORT, host(20)), Err(NeighborError::TooManyUnresolved { limit: 20 }));
    assert!(matches!(table.resolve(at(0), ELSEWHERE, host(1)), Ok(Some(SendRequest { .. }))));
    assert_eq!(table.take_displaced(), [Removed { interface: PORT, address: host(0) }]);
    // Once they have failed, they make room for the next.
    run(&mut table, 0, 5);
    assert!(matches!(table.resolve(at(5), PORT, host(20)), Ok(Some(SendRequest { .. }))));
    assert_eq!((table.unresolved(), table.take_displaced().len()), (20, 1));
}

#[test]
fn who_has_answered_makes_room_only_for_a_link_with_less() {
    let mut table = Neighbors::new(NeighborSettings { limit: 10, ..NeighborSettings::default() });
    for n in 0..10 {
        table.resolve(at(n.into()), PORT, host(n)).unwrap();
        table.heard(at(n.into()), PORT, host(n), MAC, Evidence::ToUs).unwrap();
    }
    let full = NeighborError::Full { limit: 10 };
    assert_eq!(table.heard(at(10), PORT, host(10), MAC, Evidence::ToUs), Err(full));
    for n in 0..5 {
        table.resolve(at(10), ELSEWHERE, host(n)).unwrap();
        table.heard(at(10), ELSEWHERE, host(n), MAC, Evidence::ToUs).unwrap();
        assert_eq!(table.take_displaced(), [Removed { interface: PORT, address: host(n) }]);
    }
    assert_eq!(table.heard(at(10), ELSEWHERE, host(9), MAC, Evidence::ToUs), Err(full), "half of it each");
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
    table.resolve(at(0), PORT, host(1)).unwrap();
    table.resolve(at(0), PORT, host(2)).unwrap();
    let refused = table.resolve(at(0), PORT, host(3));
    assert_eq!(refused, Err(NeighborError::TooManyUnresolved { limit: 2 }));
    table.set_static(at(0), PORT, host(4), MAC).unwrap();
    table.set_static(at(0), PORT, host(5), MAC).unwrap();
    let full = NeighborError::Full { limit: 4 };
    assert_eq!(table.heard(at(0), PORT, host(6), MAC, Evidence::ToUs), Err(full));
    assert_eq!(table.set_static(at(0), PORT, host(6), MAC), Err(full));
    assert_eq!(table.refusals(), Refusals { full: 2, unresolved: 1, not_a_station: 0 });
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

/// What the model knows of a neighbour.
#[derive(Clone)]
struct Known {
    key: Key,
    state: NeighborState,
    left: Option<Duration>,
    since: Duration,
    asked: Duration,
    confirmed: bool,
}

/// A list of entries without order, each with a countdown.
struct Model {
    settings: NeighborSettings,
    entries: Vec<Known>,
    now: Duration,
}

impl Model {
    fn find(&self, key: Key) -> Option<NeighborState> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.state)
    }

    fn put(&mut self, key: Key, state: NeighborState, left: Option<Duration>) {
        let old = self.entries.iter().find(|entry| entry.key == key).cloned();
        self.entries.retain(|entry| entry.key != key);
        let was_asked =
            |old: &Known| !matches!(old.state, NeighborState::Reachable(_) | NeighborState::Static(_));
        let answers = |old: &Known| old.confirmed || was_asked(old);
        let confirmed = matches!(state, NeighborState::Reachable(_)) && old.as_ref().is_some_and(answers);
        let (since, asked) = (self.now, self.now);
        self.entries.push(Known { key, state, left, since, asked, confirmed });
    }

    fn on(&self, interface: InterfaceIndex) -> usize {
        self.entries.iter().filter(|entry| entry.key.0 == interface).count()
    }

    fn unresolved_on(&self, interface: InterfaceIndex) -> usize {
        self.entries.iter().filter(|it| it.key.0 == interface && it.state.mac().is_none()).count()
    }

    /// Of those that `may_go`, one of the interface with the highest rank: the least worth, then the oldest.
    fn displace(
        &mut self,
        own: InterfaceIndex,
        rank: impl Fn(&Model, InterfaceIndex) -> usize,
        may_go: impl Fn(&Model, &Known) -> bool,
    ) -> Option<NeighborAction> {
        let candidates: Vec<&Known> = self.entries.iter().filter(|entry| may_go(self, entry)).collect();
        let from =
            candidates.iter().map(|it| it.key.0).max_by_key(|on| (rank(self, *on), *on == own, *on))?;
        let here = candidates.into_iter().filter(|it| it.key.0 == from);
        let is_failed = |it: &Known| it.state == NeighborState::Failed;
        let key = here.min_by_key(|it| (!is_failed(it), it.since, it.key.1))?.key;
        self.entries.retain(|entry| entry.key != key);
        Some(Removed { interface: key.0, address: key.1 })
    }

    /// The removal that it takes, or that there is no room.
    fn room(&mut self, own: InterfaceIndex) -> Result<Option<NeighborAction>, NeighborError> {
        if self.entries.len() < self.settings.limit {
            return Ok(None);
        }
        let learned =
            |it: &Known| matches!(it.state, NeighborState::Reachable(_) | NeighborState::Stale { .. });
        let cheap = |_: &Model, it: &Known| it.state == NeighborState::Failed || learned(it) && !it.confirmed;
        let dear =
            |model: &Model, it: &Known| learned(it) && it.confirmed && model.on(it.key.0) > model.on(own) + 1;
        let gone = self.displace(own, Model::on, cheap).or_else(|| self.displace(own, Model::on, dear));
        gone.map(Some).ok_or(NeighborError::Full { limit: self.settings.limit })
    }

    fn room_to_ask(&mut self, own: InterfaceIndex) -> Result<Option<NeighborAction>, NeighborError> {
        if self.unresolved() < self.settings.unresolved_limit {
            return Ok(None);
        }
        let failed = |_: &Model, it: &Known| it.state == NeighborState::Failed;
        let awaited = |model: &Model, it: &Known| {
            matches!(it.state, NeighborState::Incomplete { .. })
                && model.unresolved_on(it.key.0) > model.unresolved_on(own) + 1
        };
        let gone = self.displace(own, Model::unresolved_on, failed);
        let gone = gone.or_else(|| self.displace(own, Model::unresolved_on, awaited));
        gone.map(Some).ok_or(NeighborError::TooManyUnresolved { limit: self.settings.unresolved_limit })
    }

    fn unresolved(&self) -> usize {
        self.entries.iter().filter(|entry| entry.state.mac().is_none()).count()
    }

    /// One second passes.
    fn second(&mut self) -> Vec<NeighborAction> {
        let one = at(1);
        self.now += one;
        let (settings, now) = (self.settings, self.now);
        let mut actions = Vec::new();
        self.entries.retain_mut(|Known { key: (interface, address), state, left, since, asked, .. }| {
            let (interface, address) = (*interface, *address);
            let Some(left) = left else { return true };
            *left -= one;
            if !left.is_zero() {
                return true;
            }
            (*left, *since) = (settings.interval, now);
            let (action, keep) = match state {
                NeighborState::Incomplete { requests } | NeighborState::Stale { requests, .. }
                    if *requests < settings.requests =>
                {
                    *requests += 1;
                    *asked = now;
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
        let mut model = Model { settings, entries: Vec::new(), now: at(0) };
        let mut now = at(0);
        // Per address: whether an entry was announced and not yet removed.
        let mut open: BTreeMap<Key, bool> = BTreeMap::new();
        for step in steps {
            let mut log = Vec::new();
            match step {
                Step::Resolve(key) => {
                    let result = table.resolve(now, key.0, key.1);
                    let request = SendRequest { interface: key.0, address: key.1, to: None };
                    let expected = match model.entries.iter_mut().find(|entry| entry.key == key) {
                        Some(Known { state, asked, .. }) => match state.mac() {
                            Some(mac) => Ok(Some(Resolved { interface: key.0, address: key.1, mac })),
                            // All pauses are a second at most, which is how time passes here.
                            None => Ok((std::mem::replace(asked, now) < now).then_some(request)),
                        },
                        None => model.room_to_ask(key.0).and_then(|gone| {
                            log.extend(gone);
                            log.extend(model.room(key.0)?);
                            let state = NeighborState::Incomplete { requests: 1 };
                            model.put(key, state, Some(settings.interval));
                            Ok(Some(request))
                        }),
                    };
                    prop_assert_eq!(result, expected);
                    prop_assert_eq!(table.take_displaced(), log.clone());
                    log.extend(result.ok().flatten());
                }
                Step::Heard(key, mac, evidence) => {
                    let result = table.heard(now, key.0, key.1, mac, evidence);
                    let known = model.find(key);
                    let room = match known {
                        None if evidence == Evidence::ToUs && mac != MacAddr::BROADCAST => model.room(key.0),
                        _ => Ok(None),
                    };
                    log.extend(room.ok().flatten());
                    let expected = match known {
                        Some(NeighborState::Static(_)) => Ok(None),
                        None if evidence == Evidence::Overheard => Ok(None),
                        _ if mac == MacAddr::BROADCAST => Err(NeighborError::NotAStation(mac)),
                        None if room.is_err() => Err(NeighborError::Full { limit: 6 }),
                        _ => {
                            model.put(key, NeighborState::Reachable(mac), Some(settings.age));
                            let news = known.is_none_or(|known| known.mac() != Some(mac));
                            Ok(news.then_some(Resolved { interface: key.0, address: key.1, mac }))
                        }
                    };
                    prop_assert_eq!(result, expected);
                    prop_assert_eq!(table.take_displaced(), log.clone());
                    log.extend(result.ok().flatten());
                }
                Step::Static(key, mac) => {
                    let result = table.set_static(now, key.0, key.1, mac);
                    let is_new = mac != MacAddr::BROADCAST && model.find(key).is_none();
                    let room = if is_new { model.room(key.0) } else { Ok(None) };
                    log.extend(room.ok().flatten());
                    prop_assert_eq!(table.take_displaced(), log.clone());
                    if mac == MacAddr::BROADCAST {
                        prop_assert_eq!(result, Err(NeighborError::NotAStation(mac)));
                    } else if room.is_err() {
                        prop_assert_eq!(result, Err(NeighborError::Full { limit: 6 }));
                    } else {
                        model.put(key, NeighborState::Static(mac), None);
                        prop_assert_eq!(result, Ok(Resolved { interface: key.0, address: key.1, mac }));
                        log.extend(result.ok());
                    }
                }
                Step::Remove(key) => {
                    let known = model.find(key).is_some();
                    model.entries.retain(|entry| entry.key != key);
                    let result = table.remove(key.0, key.1);
                    prop_assert_eq!(result, known.then_some(Removed { interface: key.0, address: key.1 }));
                    log.extend(result);
                }
                Step::Flush(interface, also_static) => {
                    let goes = |entry: &Known| {
                        let is_static = matches!(entry.state, NeighborState::Static(_));
                        entry.key.0 == interface && (also_static || !is_static)
                    };
                    let expected = model.entries.iter().filter(|entry| goes(entry))
                        .map(|entry| Removed { interface, address: entry.key.1 }).collect();
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
            let mut expected: Vec<_> = model.entries.iter().map(|entry| (entry.key, entry.state)).collect();
            expected.sort_by_key(|entry| entry.0);
            let shown: Vec<_> = table.iter().map(|n| ((n.interface, n.address), n.state)).collect();
            prop_assert_eq!(shown, expected);
            prop_assert_eq!(table.unresolved(), model.unresolved());
        }
    }
}
