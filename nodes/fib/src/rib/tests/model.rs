// SPDX-License-Identifier: Apache-2.0
//! The RIB and what workers see of it, against a model that knows nothing of increments.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::str::FromStr;

use super::super::super::{Action, AddressRole, Change, ForwardKind, IpPrefix, PathTarget, RoutePath};
use super::{
    ApplyError, Bed, Destination, DropKind, Family, Fib6Settings, FibSettings, Forward, InterfaceIndex, Ip4,
    Ip6, NO_ROUTE, Outcome, Owner, Preference, SettingsOf,
};
use prefix_trie::Prefix as _;
use proptest::prelude::*;
use weft_engine::NodeId;
use weft_interface::{LinkState, TableIndex};

/// A family with prefixes to choose from, which cover each other in the same way in all of them.
trait Sample: Family<Addr: FromStr<Err: std::fmt::Debug>, Net: FromStr<Err: std::fmt::Debug>> {
    const PREFIXES: [&'static str; 9];
    const HOPS: [&'static str; 6];

    /// Room for `blocks`, whatever that is: 1 is too small.
    fn settings(blocks: u32) -> SettingsOf<Self>;
}

impl Sample for Ip4 {
    const PREFIXES: [&'static str; 9] = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/9",
        "10.1.0.0/16",
        "10.1.1.0/24",
        "10.1.1.0/25",
        "10.1.1.7/32",
        "10.1.2.0/30",
        "11.0.0.0/16",
    ];
    const HOPS: [&'static str; 6] = ["10.0.0.1", "10.1.0.1", "10.1.1.7", "10.1.2.1", "11.0.0.1", "12.0.0.1"];

    fn settings(blocks: u32) -> FibSettings {
        FibSettings { blocks, ..FibSettings::default() }
    }
}

impl Sample for Ip6 {
    const PREFIXES: [&'static str; 9] = [
        "::/0",
        "2001:db8::/32",
        "2001:db8::/33",
        "2001:db8:1::/48",
        "2001:db8:1:1::/64",
        "2001:db8:1:1::/65",
        "2001:db8:1:1::7/128",
        "2001:db8:1:2::/126",
        "2001:db9::/48",
    ];
    const HOPS: [&'static str; 6] =
        ["2001:db8::1", "2001:db8:1::1", "2001:db8:1:1::7", "2001:db8:1:2::1", "2001:db9::1", "2001:dba::1"];

    fn settings(blocks: u32) -> Fib6Settings {
        // A batch with a /64 can need ten, one with two /128 thirty-six.
        Fib6Settings { lines: 30 * blocks, ..Fib6Settings::default() }
    }
}

/// All routes in a list, and everything computed from scratch.
#[derive(Clone)]
struct Model<F: Family> {
    routes: BTreeMap<(F::Net, Owner), (Preference, Paths<F>)>,
    mentioned: BTreeSet<(F::Net, Owner)>,
    links: BTreeMap<InterfaceIndex, LinkState>,
}

type Paths<F> = BTreeMap<PathTarget<F>, NonZeroU16>;

impl<F: Sample> Model<F> {
    fn new() -> Self {
        Model { routes: BTreeMap::new(), mentioned: BTreeSet::new(), links: BTreeMap::new() }
    }

    fn link(&self, interface: InterfaceIndex) -> LinkState {
        self.links.get(&interface).copied().unwrap_or(LinkState::Up)
    }

    fn change(&mut self, Change { prefix, owner, action }: &Change<F>) -> Result<Outcome, ()> {
        let key = (*prefix, *owner);
        let old = self.routes.get(&key).cloned();
        let collect = |paths: &[RoutePath<F>]| -> Result<Paths<F>, ()> {
            let map: Paths<F> = paths.iter().map(|path| (path.target, path.weight)).collect();
            if map.len() == paths.len() && !map.is_empty() { Ok(map) } else { Err(()) }
        };
        let new = match action {
            Action::Add(..) if old.is_some() => return Err(()),
            Action::Add(preference, paths) | Action::Set(preference, paths) => {
                Some((*preference, collect(paths)?))
            }
            Action::Delete => {
                old.as_ref().ok_or(())?;
                None
            }
            Action::AddPath(preference, path) => {
                let mut route = old.clone().unwrap_or((*preference, Paths::<F>::new()));
                if route.1.insert(path.target, path.weight).is_some() {
                    return Err(());
                }
                Some(route)
            }
            Action::SetPath(preference, path) => {
                let mut route = old.clone().unwrap_or((*preference, Paths::<F>::new()));
                route.1.insert(path.target, path.weight);
                Some(route)
            }
            Action::DeletePath(target) => {
                let mut route = old.clone().ok_or(())?;
                route.1.remove(target).ok_or(())?;
                Some(route).filter(|route| !route.1.is_empty())
            }
        };
        self.mentioned.insert(key);
        let outcome = match (&old, &new) {
            (None, _) => Outcome::Added,
            (_, None) => Outcome::Deleted,
            (old, new) if old == new => Outcome::Unchanged,
            _ => Outcome::Replaced,
        };
        match new {
            Some(new) => self.routes.insert(key, new),
            None => self.routes.remove(&key),
        };
        Ok(outcome)
    }

    /// The routes of the longest prefix around `address` that `installed` accepts, the best one first.
    fn covering(&self, address: F::Addr, installed: impl Fn(&Paths<F>) -> bool) -> Vec<&Paths<F>> {
        let around = self
            .routes
            .iter()
            .filter(|((prefix, _), route)| prefix.contains(&F::Net::host(address)) && installed(&route.1));
        let longest = around.clone().map(|((prefix, _), _)| prefix.prefix_len()).max();
        let mut best: Vec<_> =
            around.filter(|((prefix, _), _)| Some(prefix.prefix_len()) == longest).collect();
        best.sort_by_key(|((_, owner), (preference, _))| (*preference, *owner));
        best.into_iter().map(|(_, (_, paths))| paths).collect()
    }

    /// What each path list leads to; nothing about lists that are in a loop or depend on one.
    fn resolve(&self) -> BTreeMap<&Paths<F>, BTreeSet<Destination>> {
        let mut known = BTreeMap::new();
        loop {
            let unknown =
                self.routes.values().map(|(_, paths)| paths).filter(|paths| !known.contains_key(paths));
            let step: Vec<_> =
                unknown.filter_map(|paths| Some((paths, self.fates_of(paths, &known)?))).collect();
            if step.is_empty() {
                return known;
            }
            known.extend(step);
        }
    }

    fn fates_of(
        &self,
        paths: &Paths<F>,
        known: &BTreeMap<&Paths<F>, BTreeSet<Destination>>,
    ) -> Option<BTreeSet<Destination>> {
        let mut destinations = BTreeSet::new();
        for target in paths.keys() {
            match *target {
                PathTarget::Via { interface: Some(interface), .. } | PathTarget::Connected(interface)
                    if self.link(interface) != LinkState::Up => {}
                PathTarget::OwnAddress { interface, .. } if self.link(interface) == LinkState::Down => {}
                PathTarget::OwnAddress { role: AddressRole::Host, .. } => {
                    destinations.insert(Destination::Forward(Forward::LOCAL));
                }
                PathTarget::OwnAddress { role: AddressRole::Network, .. } => {
                    destinations.insert(Destination::Forward(Forward::drop(DropKind::Blackhole)));
                }
                PathTarget::Via { address, interface: Some(interface) } => {
                    destinations.insert(Destination::Neighbor(interface, address.into()));
                }
                PathTarget::Connected(interface) => {
                    destinations.insert(Destination::Forward(Forward::glean(interface)));
                }
                PathTarget::Punt => {
                    destinations.insert(Destination::Forward(Forward::PUNT));
                }
                PathTarget::Local => {
                    destinations.insert(Destination::Forward(Forward::LOCAL));
                }
                PathTarget::Drop(kind) => {
                    destinations.insert(Destination::Forward(Forward::drop(kind)));
                }
                PathTarget::Table(table) => {
                    destinations.insert(Destination::Forward(Forward::lookup(table)));
                }
                PathTarget::Object(forward) => {
                    destinations.insert(Destination::Forward(forward));
                }
                PathTarget::Via { address, interface: None } => {
                    for through in self.covering(address, |_| true) {
                        let through = known.get(through)?;
                        destinations.extend(through.iter().filter_map(|destination| match *destination {
                            Destination::Forward(forward) => match forward.as_glean() {
                                Some(interface) => Some(Destination::Neighbor(interface, address.into())),
                                None if forward == Forward::LOCAL || forward.as_lookup().is_some() => None,
                                None => Some(*destination),
                            },
                            neighbor => Some(neighbor),
                        }));
                        if !through.is_empty() {
                            break;
                        }
                    }
                }
            }
        }
        Some(destinations)
    }

    fn check(&self, bed: &Bed<F>) {
        let resolved = self.resolve();
        let prefixes: BTreeSet<_> = self.routes.keys().map(|(prefix, _)| *prefix).collect();
        assert_eq!(bed.rib.len(), prefixes.len());
        // The same in one batch: what is installed must not depend on how it came about.
        let mut fresh = Bed::<F>::sized(1000, F::settings(1000));
        self.links.iter().for_each(|(&interface, &state)| fresh.link(interface, state).unwrap());
        let all = self.routes.iter().map(|(&(prefix, owner), (preference, paths))| {
            let paths = paths.iter().map(|(&target, &weight)| RoutePath { target, weight }).collect();
            Change { prefix, owner, action: Action::Add(*preference, paths) }
        });
        fresh.apply(&all.collect::<Vec<_>>()).unwrap();
        for address in addresses::<F>() {
            let destinations = bed.destinations(address);
            assert_eq!(destinations, fresh.destinations(address), "{address} with {:?}", self.routes);
            let around =
                self.routes.iter().filter(|((prefix, _), _)| prefix.contains(&F::Net::host(address)));
            if around.clone().all(|(_, (_, paths))| resolved.contains_key(paths)) {
                let best = self.covering(address, |paths| !resolved[paths].is_empty());
                let expected = best.first().map_or([NO_ROUTE].into(), |paths| resolved[*paths].clone());
                assert_eq!(destinations, expected, "{address} with {:?}", self.routes);
            }
        }
        let shown: BTreeMap<_, _> = bed
            .rib
            .routes(None)
            .flat_map(|route| route.sources().map(move |source| ((route.prefix(), source.owner), source)))
            .map(|(key, source)| {
                (key, (source.preference, source.paths.iter().map(|p| (p.target, p.weight)).collect()))
            })
            .collect();
        assert_eq!(shown, self.routes);
        for object in objects() {
            let target = object.as_lookup().map_or(PathTarget::Object(object), PathTarget::Table);
            let routes = self.routes.iter().filter(|(_, route)| route.1.contains_key(&target));
            let expected: BTreeSet<_> = routes.map(|((prefix, _), _)| *prefix).collect();
            assert_eq!(bed.rib.routes_to(|other| other == object).collect::<BTreeSet<_>>(), expected);
        }
    }
}

fn net<F: Sample>(text: &str) -> F::Net {
    text.parse().unwrap()
}

fn addresses<F: Sample>() -> impl Iterator<Item = F::Addr> {
    F::PREFIXES.iter().flat_map(|prefix| [net::<F>(prefix).first(), net::<F>(prefix).last()])
}

/// Objects that exist by themselves.
fn objects() -> [Forward; 4] {
    let object = |number| Forward::new(ForwardKind::to(NodeId(3)), number);
    [Forward::lookup(TableIndex(0)), Forward::lookup(TableIndex(1)), object(0), object(1)]
}

fn target<F: Sample>() -> impl Strategy<Value = PathTarget<F>> {
    let interface = || (1u32..4).prop_map(InterfaceIndex);
    let address = prop::sample::select(F::HOPS.to_vec());
    prop_oneof![
        4 => (address, prop::option::of(interface()))
            .prop_map(|(address, interface)| PathTarget::Via { address: address.parse().unwrap(), interface }),
        2 => interface().prop_map(PathTarget::Connected),
        1 => prop::sample::select(vec![DropKind::Blackhole, DropKind::Prohibit]).prop_map(PathTarget::Drop),
        1 => Just(PathTarget::Local),
        2 => prop::sample::select(objects().to_vec())
            .prop_map(|object| object.as_lookup().map_or(PathTarget::Object(object), PathTarget::Table)),
        2 => (interface(), prop::sample::select(vec![AddressRole::Host, AddressRole::Network]))
            .prop_map(|(interface, role)| PathTarget::OwnAddress { interface, role }),
        1 => Just(PathTarget::Punt),
    ]
}

fn change<F: Sample>() -> impl Strategy<Value = Change<F>> {
    let path = || {
        let weight = (1u16..4).prop_map(|weight| NonZeroU16::new(weight).unwrap());
        (target::<F>(), weight).prop_map(|(target, weight)| RoutePath { target, weight })
    };
    let preference = || (0u32..3).prop_map(Preference);
    let paths = || prop::collection::vec(path(), 0..4);
    let action = prop_oneof![
        2 => (preference(), paths()).prop_map(|(preference, paths)| Action::Add(preference, paths)),
        4 => (preference(), paths()).prop_map(|(preference, paths)| Action::Set(preference, paths)),
        2 => Just(Action::Delete),
        2 => (preference(), path()).prop_map(|(preference, path)| Action::AddPath(preference, path)),
        2 => (preference(), path()).prop_map(|(preference, path)| Action::SetPath(preference, path)),
        1 => target::<F>().prop_map(Action::DeletePath),
    ];
    let owner = (0u16..3).prop_map(Owner);
    (prop::sample::select(F::PREFIXES.to_vec()), owner, action).prop_map(|(prefix, owner, action)| Change {
        prefix: net::<F>(prefix),
        owner,
        action,
    })
}

#[derive(Clone, Debug)]
enum Step<F: Family> {
    Apply(Vec<Change<F>>),
    Link(InterfaceIndex, LinkState),
    Begin(Owner),
    End(Owner),
}

fn link_state() -> impl Strategy<Value = LinkState> {
    prop::sample::select(vec![LinkState::Down, LinkState::NoCarrier, LinkState::Up])
}

fn step<F: Sample>() -> impl Strategy<Value = Step<F>> {
    let owner = || (0u16..3).prop_map(Owner);
    prop_oneof![
        8 => prop::collection::vec(change::<F>(), 1..4).prop_map(Step::Apply),
        2 => ((1u32..4).prop_map(InterfaceIndex), link_state())
            .prop_map(|(interface, state)| Step::Link(interface, state)),
        1 => owner().prop_map(Step::Begin),
        1 => owner().prop_map(Step::End),
    ]
}

/// Takes the steps with a RIB and with the model; after each, both say the same.
fn compare<F: Sample>(steps: Vec<Step<F>>, objects: usize, blocks: u32) -> Result<(), TestCaseError> {
    let mut bed = Bed::<F>::sized(objects, F::settings(blocks));
    let mut model = Model::<F>::new();
    for step in steps {
        let before = model.clone();
        match step {
            Step::Apply(changes) => {
                let results: Vec<_> = changes.iter().map(|change| model.change(change)).collect();
                let wrong: Vec<_> = (0..results.len()).filter(|&i| results[i].is_err()).collect();
                match bed.apply(&changes) {
                    Ok(outcomes) => {
                        prop_assert_eq!(outcomes.into_iter().map(Ok).collect::<Vec<_>>(), results);
                    }
                    Err(ApplyError::Refused(errors)) => {
                        prop_assert_eq!(errors.into_iter().map(|(i, _)| i).collect::<Vec<_>>(), wrong);
                        model = before;
                    }
                    Err(_) => {
                        prop_assert!(wrong.is_empty() && (objects < 1000 || blocks < 1000));
                        model = before;
                    }
                }
            }
            Step::Link(interface, state) => match bed.link(interface, state) {
                Ok(()) => {
                    model.links.insert(interface, state);
                }
                Err(_) => prop_assert!(objects < 1000 || blocks < 1000),
            },
            Step::Begin(owner) => {
                bed.rib.begin_resync(owner);
                model.mentioned.retain(|(_, mentioned)| *mentioned != owner);
            }
            Step::End(owner) => {
                let stale: Vec<_> = model
                    .routes
                    .keys()
                    .copied()
                    .filter(|key| key.1 == owner && !model.mentioned.contains(key))
                    .collect();
                match bed.rib.end_resync(&mut bed.objects, &mut bed.domain, owner) {
                    Ok(deleted) => {
                        prop_assert_eq!(deleted, stale.len());
                        stale.iter().for_each(|key| {
                            model.routes.remove(key);
                        });
                    }
                    Err(_) => prop_assert!(objects < 1000 || blocks < 1000),
                }
                bed.domain.reclaim();
            }
        }
        model.check(&bed);
    }
    let all: Vec<_> = model
        .routes
        .keys()
        .map(|&(prefix, owner)| Change { prefix, owner, action: Action::Delete })
        .collect();
    bed.apply(&all).unwrap();
    prop_assert_eq!((bed.rib.len(), bed.rib.installed(), bed.rib.path_lists()), (0, 0, 0));
    prop_assert_eq!((bed.objects.adjacencies.len(), bed.objects.load_balances.len()), (0, 0));
    Ok(())
}

macro_rules! equals_a_model_that_starts_from_scratch {
    ($($name:ident: $family:ty),*) => {
        proptest! {
            $(#[test]
            fn $name(
                steps in prop::collection::vec(step::<$family>(), 1..40),
                objects in prop::sample::select(vec![4usize, 1000]),
                blocks in prop::sample::select(vec![1u32, 1000]),
            ) {
                compare(steps, objects, blocks)?;
            })*
        }
    };
}

equals_a_model_that_starts_from_scratch!(
    ip4_equals_a_model_that_starts_from_scratch: Ip4,
    ip6_equals_a_model_that_starts_from_scratch: Ip6
);
