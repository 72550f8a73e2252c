// SPDX-License-Identifier: Apache-2.0
//! All rule sets, as the main thread holds them: made, changed, attached to interfaces, counted.
//!
//! Every change works on a copy: it is made, compiled and checked as a whole, and only then published. What is refused has
//! changed nothing. A rule keeps its counter and its policer as long as its id stays in the set, whatever else changes;
//! the counter of a rule that goes is used again only after all workers have left the old set behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hashbrown::{HashMap, HashSet};
use thiserror::Error;
use weft_engine::buffer::context::Field;
use weft_engine::feature::{ArcSpec, FeatureError};
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Wiring};
use weft_engine::publish::Published;
use weft_engine::{ArcId, Engine, InterfaceIndex, NodeId};
use weft_flow::admission::{self, ADMITTED_IN, ADMITTED_OUT};
use weft_nodes::arcs::{
    ETHERNET_PUNT_ARC, INTERFACE_OUTPUT_ARC, IP4_UNICAST_ARC, IP6_OUTPUT_ARC, IP6_UNICAST_ARC,
};
use weft_nodes::context::{LOCALLY_ORIGINATED, MARK};
use weft_nodes::interface::{InterfaceTable, Interfaces};
use weft_stats::{Combined, CombinedVector, NameVector, StatsError};

use crate::action::{MOST_SLOTS, Slot};
use crate::attachment::{Attached, Attachments, Direction, SetIndex};
use crate::classifier::{Batch, Classifier, Header, Ip4, Ip6, Placement};
use crate::link::{ETHERNET_CLASSIFY, EthernetClassify, L2_CLASSIFY, L2_CLASSIFY_OUTPUT};
use crate::node::{Classify, IP4_CLASSIFY, IP4_CLASSIFY_OUTPUT, IP6_CLASSIFY, IP6_CLASSIFY_OUTPUT};
use crate::policer::Policer;
use crate::rule::{Exempt, Redirect, RuleId, Verdict};
use crate::set::{RuleError, RuleSet};

/// Why the classifier cannot do what was asked.
#[derive(Debug, Error)]
pub enum ClassifyError {
    /// No such set.
    #[error("there is no rule set '{0}'")]
    UnknownSet(String),
    /// A name that would not fit in counters and traces.
    #[error("'{0}' cannot name a rule set: expected 1 to 63 letters, digits, '-', '_' or '.'")]
    Name(String),
    /// See there.
    #[error("rule set '{0}': {1}")]
    Rule(String, RuleError),
    /// A limit of startup.conf.
    #[error("no room for {wanted} more rules: limits {{ classify-rules {limit} }}")]
    Full {
        /// More than there are.
        wanted: usize,
        /// The setting.
        limit: usize,
    },
    /// The set is in use.
    #[error("rule set '{0}' is attached to '{1}'; detach it first")]
    SetAttached(String, String),
    /// Nothing to detach.
    #[error("no rule set is attached to '{0}' in this direction")]
    NotAttached(String),
    /// What only works on the way in.
    #[error("rule {1} of set '{0}' says {2}, which packets that leave an interface cannot do any more")]
    Direction(String, RuleId, &'static str),
    /// Tags would be needed.
    #[error(
        "rule {1} of set '{0}' redirects to sub-interface '{2}': expected a port, or a next hop after it"
    )]
    SubInterface(String, RuleId, String),
    /// Somebody else's rules.
    #[error("'{interface}' has rules in this direction already: set '{set}'")]
    Taken {
        /// The interface.
        interface: String,
        /// Its set.
        set: String,
    },
    /// An interface that is gone.
    #[error("no interface has index {0}")]
    Interface(InterfaceIndex),
    /// See there.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// No room for names of rules.
    #[error("stats segment: expected more in statseg {{ size }}: {0}")]
    Stats(#[from] StatsError),
}

struct Set {
    index: SetIndex,
    rules: RuleSet,
    slots: HashMap<RuleId, Slot>,
    policers: HashMap<RuleId, Arc<Policer>>,
    classifier: Arc<Classifier>,
}

/// Gives slots back when the grace period of the set that used them is over.
struct FreeSlots {
    slots: Vec<Slot>,
    free: Arc<Mutex<Vec<Slot>>>,
}

impl Drop for FreeSlots {
    fn drop(&mut self) {
        if let Ok(mut free) = self.free.lock() {
            free.append(&mut self.slots);
        }
    }
}

/// All rule sets.
pub struct RuleSets {
    sets: BTreeMap<String, Set>,
    attached: BTreeMap<(InterfaceIndex, Direction), String>,
    published: Arc<Published<Attachments>>,
    counters: CombinedVector,
    names: NameVector,
    used: usize,
    free: Arc<Mutex<Vec<Slot>>>,
    arcs: Arcs,
    tracker: Option<NodeId>,
    transaction: Option<Transaction>,
}

/// Where rules are met.
#[derive(Clone, Copy)]
struct Arcs {
    input: ArcId,
    input6: ArcId,
    punt: ArcId,
    output: ArcId,
    output6: ArcId,
    /// Where frames are switched, on the way in and on the way out.
    switched: [Option<ArcId>; 2],
}

/// What a transaction has changed.
#[derive(Default)]
struct Transaction {
    /// Sets as they were before it.
    sets: BTreeMap<String, Option<Set>>,
    attached: BTreeMap<(InterfaceIndex, Direction), Option<String>>,
    /// What is to be set when workers can find the rules.
    features: Vec<(ArcId, InterfaceIndex, &'static str, bool)>,
    /// Slots of rules that have gone in it, and may have come in it.
    gone: Vec<Slot>,
}

/// A set, for whoever shows it.
pub struct SetView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number in traces.
    pub index: SetIndex,
    /// Its rules.
    pub rules: &'a RuleSet,
    /// Its compiled form.
    pub classifier: &'a Classifier,
    counters: &'a CombinedVector,
    slots: &'a HashMap<RuleId, Slot>,
}

impl SetView<'_> {
    /// Packets that matched a rule, and their bytes.
    pub fn hits(&self, rule: RuleId) -> Combined {
        self.slots.get(&rule).map_or_else(Combined::default, |slot| self.counters.sum(slot.index()))
    }
}

/// Where clients of VPP look for what the nodes of its classifier count, and the event here that is the same.
const VPP_COUNTERS: [(&str, &str); 8] = [
    ("/err/ip4-inacl/input ACL hits", "ip4-classify/hits"),
    ("/err/ip4-inacl/input ACL misses", "ip4-classify/misses"),
    ("/err/ip4-outacl/output ACL hits", "ip4-classify-output/hits"),
    ("/err/ip4-outacl/output ACL misses", "ip4-classify-output/misses"),
    ("/err/ip6-inacl/input ACL hits", "ip6-classify/hits"),
    ("/err/ip6-inacl/input ACL misses", "ip6-classify/misses"),
    ("/err/ip6-outacl/output ACL hits", "ip6-classify-output/hits"),
    ("/err/ip6-outacl/output ACL misses", "ip6-classify-output/misses"),
];

/// What all nodes that apply rules have.
struct Common {
    attachments: Arc<Published<Attachments>>,
    interfaces: Arc<Published<InterfaceTable>>,
    rules: CombinedVector,
    mark: Field<u32>,
}

impl Common {
    fn node<H: Header>(&self, w: &Wiring<'_>, direction: Direction) -> Classify<H> {
        Classify {
            direction,
            attachments: Arc::clone(&self.attachments),
            interfaces: Arc::clone(&self.interfaces),
            rules: self.rules.row(w.thread()),
            output: w.arc(&INTERFACE_OUTPUT_ARC),
            batch: Batch::new(),
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
            mark: self.mark,
        }
    }
}

impl RuleSets {
    /// No sets, room for `limit` rules of all sets together, and the nodes that apply them.
    pub fn new(
        engine: &mut Engine,
        interfaces: &Arc<Published<InterfaceTable>>,
        limit: usize,
    ) -> Result<RuleSets, NewError> {
        let limit = limit.min(MOST_SLOTS);
        let counters = engine.stats.combined("/classify/rules", 0, limit)?;
        let names = engine.stats.names("/classify/names", limit)?;
        let published = Arc::new(Published::new(&engine.domain, Attachments::default()));
        admission::claim(engine).map_err(GraphError::from)?;
        let mark = engine.field(MARK).map_err(GraphError::from)?;
        let common = Common {
            attachments: Arc::clone(&published),
            interfaces: Arc::clone(interfaces),
            rules: counters.clone(),
            mark,
        };
        use Direction::{Input, Output};
        // The arcs of who switches frames, if somebody does.
        let switched = ["l2-input", "l2-output"].map(|arc| engine.features().arc(arc).ok());
        let mut nodes = vec![
            NodeDef::new(&IP4_CLASSIFY, |w| Box::new(common.node::<Ip4>(w, Input))),
            NodeDef::new(&ETHERNET_CLASSIFY, |w| {
                Box::new(EthernetClassify::<false> { classify: common.node(w, Input), batch6: Batch::new() })
            }),
            NodeDef::new(&IP4_CLASSIFY_OUTPUT, |w| Box::new(common.node::<Ip4>(w, Output))),
            NodeDef::new(&IP6_CLASSIFY, |w| Box::new(common.node::<Ip6>(w, Input))),
            NodeDef::new(&IP6_CLASSIFY_OUTPUT, |w| Box::new(common.node::<Ip6>(w, Output))),
        ];
        if switched[0].is_some() {
            nodes.push(NodeDef::new(&L2_CLASSIFY, |w| {
                Box::new(EthernetClassify::<true> { classify: common.node(w, Input), batch6: Batch::new() })
            }));
        }
        if switched[1].is_some() {
            nodes.push(NodeDef::new(&L2_CLASSIFY_OUTPUT, |w| Box::new(common.node::<Ip6>(w, Output))));
        }
        engine.add_nodes(BUILT_IN, nodes)?;
        for (name, event) in VPP_COUNTERS {
            let reason = engine.graph().find_reason(event).expect("its node has been added");
            engine.stats.symlink(name, engine.counters.reasons.entry(), reason.0.into())?;
        }
        let arc = |spec: &ArcSpec<'_>| engine.features().arc(spec.name);
        let arcs = Arcs {
            input: arc(&IP4_UNICAST_ARC)?,
            input6: arc(&IP6_UNICAST_ARC)?,
            punt: arc(&ETHERNET_PUNT_ARC)?,
            output: arc(&INTERFACE_OUTPUT_ARC)?,
            output6: arc(&IP6_OUTPUT_ARC)?,
            switched,
        };
        Ok(RuleSets {
            sets: BTreeMap::new(),
            attached: BTreeMap::new(),
            published,
            counters,
            names,
            used: 0,
            free: Arc::default(),
            arcs,
            tracker: None,
            transaction: None,
        })
    }

    /// Changes a set, or makes one: `change` is given the rules as they are, and says what they are to be. One of no
    /// rules is a set all the same, and lets everything pass.
    pub fn change<R>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        name: &str,
        change: impl FnOnce(&mut RuleSet) -> Result<R, RuleError>,
    ) -> Result<R, ClassifyError> {
        check_name(name)?;
        let old = self.sets.get(name);
        let mut rules = old.map(|set| set.rules.clone()).unwrap_or_default();
        let answer = change(&mut rules).map_err(|error| ClassifyError::Rule(name.to_owned(), error))?;
        check_targets(name, &rules, interfaces)?;
        if self.directions(name).any(|direction| direction == Direction::Output) {
            check_output(name, &rules)?;
        }
        let slots = self.place(engine, name, &rules)?;
        let old = self.sets.get(name);
        let policers: HashMap<_, _> = rules
            .iter()
            .filter_map(|rule| {
                let police = rule.action.police?;
                let kept = old.and_then(|set| set.policers.get(&rule.id)).filter(|it| it.police() == police);
                let policer = kept.map_or_else(|| Arc::new(Policer::new(police, &engine.clock)), Arc::clone);
                Some((rule.id, policer))
            })
            .collect();
        let classifier = Classifier::new(&rules, |id| Placement {
            slot: slots[&id],
            policer: policers.get(&id).map(Arc::clone),
        });
        let index = old.map_or_else(|| self.free_index(), |set| set.index);
        let set = Set { index, rules, slots, policers, classifier: Arc::new(classifier) };
        let old = self.sets.insert(name.to_owned(), set);
        self.publish(engine);
        let kept = &self.sets[name].slots;
        let gone = old.iter().flat_map(|old| &old.slots).filter(|(id, _)| !kept.contains_key(*id));
        let gone = gone.map(|(_, slot)| *slot).collect();
        self.keep_before(name, old);
        self.release(engine, gone);
        Ok(answer)
    }

    /// Deletes a set that is attached nowhere.
    pub fn delete(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        name: &str,
    ) -> Result<(), ClassifyError> {
        if let Some(((interface, _), _)) = self.attached.iter().find(|(_, set)| *set == name) {
            let interface = interfaces.get(*interface).map_or("?", |interface| &interface.name);
            return Err(ClassifyError::SetAttached(name.to_owned(), interface.to_owned()));
        }
        let set = self.sets.remove(name).ok_or_else(|| ClassifyError::UnknownSet(name.to_owned()))?;
        let slots = set.slots.values().copied().collect();
        self.keep_before(name, Some(set));
        self.release(engine, slots);
        Ok(())
    }

    /// Lets the packets of an interface meet the rules of a set, in place of those of another one.
    pub fn attach(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        name: &str,
        interface: InterfaceIndex,
        direction: Direction,
    ) -> Result<(), ClassifyError> {
        let set = self.sets.get(name).ok_or_else(|| ClassifyError::UnknownSet(name.to_owned()))?;
        if direction == Direction::Output {
            check_output(name, &set.rules)?;
        }
        interfaces.get(interface).ok_or(ClassifyError::Interface(interface))?;
        let features = self.features(direction);
        let before = self.attached.insert((interface, direction), name.to_owned());
        if let Some(transaction) = &mut self.transaction {
            transaction.attached.entry((interface, direction)).or_insert(before);
        }
        // The rules first: a packet that finds the feature finds them too.
        self.publish(engine);
        self.set_features(engine, &features, interface, true)?;
        Ok(())
    }

    /// Lets the packets of an interface pass without rules.
    pub fn detach(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        direction: Direction,
    ) -> Result<(), ClassifyError> {
        let Some(set) = self.attached.remove(&(interface, direction)) else {
            let interface = interfaces.get(interface).ok_or(ClassifyError::Interface(interface))?;
            return Err(ClassifyError::NotAttached(interface.name.clone()));
        };
        let features = self.features(direction);
        if let Some(transaction) = &mut self.transaction {
            transaction.attached.entry((interface, direction)).or_insert(Some(set));
        }
        self.set_features(engine, &features, interface, false)?;
        self.publish(engine);
        Ok(())
    }

    /// All sets by name.
    pub fn iter(&self) -> impl Iterator<Item = SetView<'_>> {
        self.sets.iter().map(|(name, set)| self.view(name, set))
    }

    /// One set.
    pub fn get(&self, name: &str) -> Option<SetView<'_>> {
        self.sets.get_key_value(name).map(|(name, set)| self.view(name, set))
    }

    /// What is attached where.
    pub fn attached(&self) -> impl Iterator<Item = (InterfaceIndex, Direction, &str)> {
        self.attached.iter().map(|(&(interface, direction), set)| (interface, direction, set.as_str()))
    }

    fn view<'a>(&'a self, name: &'a str, set: &'a Set) -> SetView<'a> {
        let Set { index, rules, slots, classifier, .. } = set;
        SetView { name, index: *index, rules, classifier, counters: &self.counters, slots }
    }

    fn directions(&self, name: &str) -> impl Iterator<Item = Direction> {
        self.attached.iter().filter(move |(_, set)| *set == name).map(|((_, direction), _)| *direction)
    }

    /// The features of a direction: their arcs and nodes.
    fn features(&self, direction: Direction) -> Vec<(ArcId, &'static str)> {
        let Arcs { input, input6, punt, output, output6, switched: [arriving, leaving] } = self.arcs;
        let (mut features, switched) = match direction {
            Direction::Input => (
                vec![(input, IP4_CLASSIFY.name), (input6, IP6_CLASSIFY.name), (punt, ETHERNET_CLASSIFY.name)],
                arriving.map(|arc| (arc, L2_CLASSIFY.name)),
            ),
            Direction::Output => (
                vec![(output, IP4_CLASSIFY_OUTPUT.name), (output6, IP6_CLASSIFY_OUTPUT.name)],
                leaving.map(|arc| (arc, L2_CLASSIFY_OUTPUT.name)),
            ),
        };
        features.extend(switched);
        features
    }

    fn free_index(&self) -> SetIndex {
        let taken: Vec<_> = self.sets.values().map(|set| set.index.0).collect();
        SetIndex((0..).find(|index| !taken.contains(index)).unwrap_or_default())
    }

    /// A counter for each rule: those that stay keep theirs, new ones get one that is at 0 and has their name.
    fn place(
        &mut self,
        engine: &mut Engine,
        name: &str,
        rules: &RuleSet,
    ) -> Result<HashMap<RuleId, Slot>, ClassifyError> {
        let old = self.sets.get(name).map(|set| &set.slots);
        let mut slots = HashMap::with_capacity(rules.len());
        let mut fresh = Vec::new();
        for rule in rules.iter() {
            match old.and_then(|slots| slots.get(&rule.id)) {
                Some(&slot) => {
                    slots.insert(rule.id, slot);
                }
                None => fresh.push(rule.id),
            }
        }
        let mut free = self.free.lock().map(|mut free| std::mem::take(&mut *free)).unwrap_or_default();
        let (wanted, limit) = (fresh.len(), self.counters.capacity());
        let reused = free.len().min(wanted);
        let more = wanted - reused;
        let result = if self.used + more > limit {
            Err(ClassifyError::Full { wanted, limit })
        } else {
            let taken: Vec<Slot> = free[free.len() - reused..]
                .iter()
                .copied()
                .chain((self.used..self.used + more).map(|slot| Slot(slot as u32)))
                .collect();
            let (counters, names, used) = (&self.counters, &self.names, self.used + more);
            let named = engine.stats.update(|update| {
                for (id, slot) in fresh.iter().zip(&taken) {
                    counters.zero(slot.index());
                    update.set_name(names, slot.index(), &format!("{name}/{id}"))?;
                }
                update.set_len(names, used)?;
                update.set_len(counters, used)
            });
            named.map(|()| taken).map_err(ClassifyError::from)
        };
        if let Ok(taken) = &result {
            self.used += more;
            free.truncate(free.len() - reused);
            slots.extend(fresh.into_iter().zip(taken.iter().copied()));
        }
        if let Ok(mut shared) = self.free.lock() {
            shared.append(&mut free);
        }
        result.map(|_| slots)
    }

    /// Slots whose rules are gone: to be used again when no worker can count in them any more.
    fn release(&mut self, engine: &mut Engine, mut slots: Vec<Slot>) {
        if let Some(transaction) = &mut self.transaction {
            transaction.gone.append(&mut slots);
        }
        if slots.is_empty() {
            return;
        }
        let names = &self.names;
        // In a full segment the old names stay until the slots are used again.
        let _ = engine.stats.update(|update| {
            slots.iter().try_for_each(|slot| update.set_name(names, slot.index(), "deleted"))
        });
        engine.domain.retire(FreeSlots { slots, free: Arc::clone(&self.free) });
    }

    /// Rules that admit flows send their packets to this node, the flow tracker's, if there is one.
    pub fn admit_by(&mut self, engine: &mut Engine, tracker: impl Into<Option<NodeId>>) {
        self.tracker = tracker.into();
        self.publish(engine);
    }

    /// Begins a transaction: until it ends, what is changed is seen here, and not by workers. [`RuleSets::commit`] or
    /// [`RuleSets::roll_back`] must follow.
    pub fn begin(&mut self) {
        self.transaction = Some(Transaction::default());
    }

    /// Lets workers see all changes of the transaction, in one step.
    pub fn commit(&mut self, engine: &mut Engine) {
        let Some(Transaction { features, gone, .. }) = self.transaction.take() else { return };
        self.publish(engine);
        for (arc, interface, node, on) in features {
            // The names were found when the change was made.
            let _ = engine.set_feature(arc, interface, node, on);
        }
        self.release_unused(engine, gone);
    }

    /// Makes everything as it was before the transaction.
    pub fn roll_back(&mut self, engine: &mut Engine) {
        let Some(Transaction { sets, attached, mut gone, .. }) = self.transaction.take() else { return };
        for (at, set) in attached {
            match set {
                Some(set) => drop(self.attached.insert(at, set)),
                None => drop(self.attached.remove(&at)),
            }
        }
        for (name, before) in sets {
            let now = match before {
                Some(before) => self.sets.insert(name, before),
                None => self.sets.remove(&name),
            };
            gone.extend(now.iter().flat_map(|now| now.slots.values()));
        }
        self.release_unused(engine, gone);
    }

    /// A rule that has gone and come again in a transaction that was rolled back has its slot as before.
    fn release_unused(&mut self, engine: &mut Engine, mut slots: Vec<Slot>) {
        if slots.is_empty() {
            return;
        }
        let used: HashSet<u32> =
            self.sets.values().flat_map(|set| set.slots.values()).map(|slot| slot.0).collect();
        slots.retain(|slot| !used.contains(&slot.0));
        self.release(engine, slots);
    }

    /// In a transaction: a set is another than `before` from now on.
    fn keep_before(&mut self, name: &str, before: Option<Set>) {
        if let Some(transaction) = &mut self.transaction
            && !transaction.sets.contains_key(name)
        {
            transaction.sets.insert(name.to_owned(), before);
        }
    }

    fn set_features(
        &mut self,
        engine: &mut Engine,
        features: &[(ArcId, &'static str)],
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), FeatureError> {
        for &(arc, node) in features {
            match &mut self.transaction {
                Some(transaction) => transaction.features.push((arc, interface, node, on)),
                None => drop(engine.set_feature(arc, interface, node, on)?),
            }
        }
        Ok(())
    }

    /// Rules of all sets that there is still room for.
    pub fn room(&self) -> usize {
        let freed = self.free.lock().map_or(0, |free| free.len());
        self.counters.capacity() - self.used + freed
    }

    fn publish(&self, engine: &mut Engine) {
        if self.transaction.is_some() {
            return;
        }
        let mut attachments = Attachments::default();
        attachments.tracker = self.tracker;
        for (&(interface, direction), name) in &self.attached {
            if let Some(set) = self.sets.get(name) {
                let exempt = flags(set.rules.exempt, direction);
                let attached = Attached { set: set.index, classifier: Arc::clone(&set.classifier), exempt };
                attachments.set(interface, direction, attached);
            }
        }
        self.published.replace(&mut engine.domain, attachments);
    }
}

/// Why there is no classifier.
#[derive(Debug, Error)]
pub enum NewError {
    /// No room for its counters.
    #[error("stats segment: expected more in statseg {{ size }}: {0}")]
    Stats(#[from] StatsError),
    /// Its nodes do not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Its arcs do not exist.
    #[error(transparent)]
    Feature(#[from] FeatureError),
}

/// Flags of packets that are exempt.
fn flags(exempt: Exempt, direction: Direction) -> u32 {
    let admitted = match direction {
        Direction::Input => ADMITTED_IN,
        Direction::Output => ADMITTED_OUT,
    };
    (if exempt.admitted { admitted } else { 0 }) | if exempt.own { LOCALLY_ORIGINATED } else { 0 }
}

fn check_name(name: &str) -> Result<(), ClassifyError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(ClassifyError::Name(name.to_owned()))
}

/// Frames go out as they are, so they need a port of their own kind.
fn check_targets(name: &str, rules: &RuleSet, interfaces: &Interfaces) -> Result<(), ClassifyError> {
    for rule in rules.iter() {
        if let Verdict::Redirect(Redirect::Interface(to)) = rule.action.verdict {
            let target = interfaces.get(to).ok_or(ClassifyError::Interface(to))?;
            if target.parent().is_some() {
                return Err(ClassifyError::SubInterface(name.to_owned(), rule.id, target.name.clone()));
            }
        }
    }
    Ok(())
}

/// A packet that has its new link header cannot be punted as it came, nor routed again.
fn check_output(name: &str, rules: &RuleSet) -> Result<(), ClassifyError> {
    for rule in rules.iter() {
        let what = match rule.action.verdict {
            Verdict::Punt => "punt",
            Verdict::Redirect(Redirect::NextHop(_)) => "redirect to a next hop",
            _ => continue,
        };
        return Err(ClassifyError::Direction(name.to_owned(), rule.id, what));
    }
    Ok(())
}
