// SPDX-License-Identifier: Apache-2.0
//! Registries: which node handles packets of a number, be it an EtherType, an IP protocol, a UDP port or the reason of
//! a punt.
//!
//! The part of the graph that asks declares the registry; a node that wants packets says so in its descriptor
//! ([`crate::node::NodeSpec::handles`]), a built-in one as well as a plugin's. So a node that hands packets on by number
//! names none of those that take them. The main thread keeps the list and hands the finished table to the workers, which
//! adopt it between two turns, as they do with feature arcs. A node that leaves the graph leaves the registries before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ids::{NodeId, ReasonId};

/// What the numbers of a registry are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// Written in decimal: protocols, ports.
    Decimal,
    /// Written in hexadecimal: EtherTypes.
    Hex,
    /// Reasons of nodes, named `<node>/<reason>`.
    Reasons,
}

/// A registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegistrySpec<'a> {
    /// `ethertype` and the like.
    pub name: &'a str,
    /// What it lists.
    pub numbers: Numbers,
}

impl<'a> RegistrySpec<'a> {
    /// An entry of this registry, for the descriptor of the node that handles it.
    pub const fn number(&self, number: u16) -> Handles<'a> {
        Handles { registry: self.name, key: Key::Number(number) }
    }

    /// Likewise, by the name of a reason.
    pub const fn reason(&self, name: &'a str) -> Handles<'a> {
        Handles { registry: self.name, key: Key::Reason(name) }
    }
}

/// What a node handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handles<'a> {
    /// The registry.
    pub registry: &'a str,
    /// The entry.
    pub key: Key<'a>,
}

/// An entry of a registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key<'a> {
    /// By number.
    Number(u16),
    /// A reason, as `<node>/<reason>`.
    Reason(&'a str),
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Number(number) => write!(f, "{number}"),
            Key::Reason(name) => f.write_str(name),
        }
    }
}

/// An entry that two nodes want.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The registry.
    pub registry: String,
    /// The entry.
    pub key: String,
    /// Who wants it.
    pub node: String,
    /// Who brings that.
    pub owner: String,
    /// Who has it.
    pub by: String,
    /// Who brought that.
    pub by_owner: String,
}

/// Why a node cannot handle what it wants.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    /// No such registry.
    #[error("no registry '{0}'; there are: {1}")]
    Unknown(String, String),
    /// Somebody has it.
    #[error("'{}' of {} cannot handle {} {}: '{}' of {} does", .0.node, .0.owner, .0.registry, .0.key, .0.by, .0.by_owner)]
    Taken(Box<Taken>),
    /// A name where a number is expected, or a reason that no node has.
    #[error("registry '{registry}' has no entry '{key}': expected {expected}")]
    Key {
        /// The registry.
        registry: String,
        /// What was found.
        key: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Two registries of one name.
    #[error("there is a registry '{0}' already, of other numbers")]
    Duplicate(String),
    /// No number left.
    #[error("no room for registry '{0}': there are {MAX_REGISTRIES} already")]
    Full(String),
}

/// Registries that the workers' table has room for.
const MAX_REGISTRIES: usize = 64;

/// A registry, for the node that asks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegistryId(u8);

impl RegistryId {
    pub(crate) const NONE: RegistryId = RegistryId(u8::MAX);
}

/// One registry as workers read it: open addressing, half empty at least, so that most questions cost one load.
#[derive(Clone, Debug, Default)]
struct Table {
    /// Number and node; [`NodeId::DROP`] handles nothing, so it marks an empty slot.
    slots: Box<[(u16, NodeId)]>,
}

impl Table {
    fn new(entries: &[(u16, NodeId)]) -> Table {
        if entries.is_empty() {
            return Table::default();
        }
        let mut slots = vec![(0, NodeId::DROP); (entries.len() * 2).next_power_of_two()];
        for &entry in entries {
            let mut at = place(entry.0, slots.len());
            while slots[at].1 != NodeId::DROP {
                at = (at + 1) % slots.len();
            }
            slots[at] = entry;
        }
        Table { slots: slots.into() }
    }
}

#[inline(always)]
fn place(number: u16, slots: usize) -> usize {
    // Fibonacci hashing: the upper bits of the product depend on all of the number.
    (usize::from(number.wrapping_mul(0x9e37)) * slots) >> 16
}

/// All registries, as workers read them; immutable.
#[derive(Default)]
pub struct Registries {
    tables: Box<[Table]>,
}

impl Registries {
    /// One registry, for the packets of a vector.
    #[inline(always)]
    pub(crate) fn table(&self, id: RegistryId) -> Handlers<'_> {
        Handlers { slots: self.tables.get(usize::from(id.0)).map_or(&[][..], |table| &table.slots) }
    }
}

/// Who handles what, by one registry.
#[derive(Clone, Copy)]
pub struct Handlers<'a> {
    slots: &'a [(u16, NodeId)],
}

impl Handlers<'_> {
    /// The node that handles `number`.
    #[inline]
    pub fn get(self, number: u16) -> Option<NodeId> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = place(number, self.slots.len());
        loop {
            match *self.slots.get(at)? {
                (_, NodeId::DROP) => return None,
                (known, node) if known == number => return Some(node),
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }

    /// Whether nobody handles anything.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.slots.is_empty()
    }
}

#[derive(Clone)]
struct Entry {
    node: String,
    owner: String,
    /// For a reason, its name.
    name: Option<String>,
}

#[derive(Clone)]
struct State {
    name: String,
    numbers: Numbers,
    entries: BTreeMap<u16, Entry>,
    /// For reasons of nodes that have left the graph.
    waiting: Vec<Entry>,
}

/// An entry, for whoever shows it.
#[derive(Debug)]
pub struct EntryView<'a> {
    /// The registry.
    pub registry: &'a str,
    /// The number as people write it, or the name of the reason.
    pub key: String,
    /// The node that handles it.
    pub node: &'a str,
    /// Who brought that.
    pub owner: &'a str,
}

/// The main thread's list.
#[derive(Clone, Default)]
pub struct RegistryList {
    registries: Vec<State>,
}

impl RegistryList {
    /// Adds a registry; one that is there already is the same one.
    pub(crate) fn add(&mut self, spec: &RegistrySpec<'_>) -> Result<RegistryId, RegistryError> {
        if let Some(place) = self.registries.iter().position(|known| known.name == spec.name) {
            return match self.registries[place].numbers == spec.numbers {
                true => Ok(RegistryId(place as u8)),
                false => Err(RegistryError::Duplicate(spec.name.to_owned())),
            };
        }
        if self.registries.len() == MAX_REGISTRIES {
            return Err(RegistryError::Full(spec.name.to_owned()));
        }
        let (name, numbers) = (spec.name.to_owned(), spec.numbers);
        self.registries.push(State { name, numbers, entries: BTreeMap::new(), waiting: Vec::new() });
        Ok(RegistryId(self.registries.len() as u8 - 1))
    }

    /// The registry of that name.
    pub fn find(&self, name: &str) -> Result<RegistryId, RegistryError> {
        let place = self.registries.iter().position(|known| known.name == name);
        place.map(|place| RegistryId(place as u8)).ok_or_else(|| {
            let known: Vec<&str> = self.registries.iter().map(|known| known.name.as_str()).collect();
            RegistryError::Unknown(name.to_owned(), known.join(", "))
        })
    }

    /// Has `node` handle an entry; `reason` finds a reason by its name.
    pub(crate) fn handle(
        &mut self,
        owner: &str,
        node: &str,
        handles: &Handles<'_>,
        reason: impl Fn(&str) -> Option<ReasonId>,
    ) -> Result<(), RegistryError> {
        let id = self.find(handles.registry)?;
        let registry = &mut self.registries[usize::from(id.0)];
        let wrong = |expected| RegistryError::Key {
            registry: handles.registry.to_owned(),
            key: handles.key.to_string(),
            expected,
        };
        let (number, name) = match (registry.numbers, handles.key) {
            (Numbers::Decimal | Numbers::Hex, Key::Number(number)) => (number, None),
            (Numbers::Reasons, Key::Reason(name)) => {
                let id = reason(name).ok_or_else(|| wrong("a reason of a node, as show errors names it"))?;
                (id.0, Some(name.to_owned()))
            }
            (Numbers::Reasons, Key::Number(_)) => return Err(wrong("<node>/<reason>")),
            (_, Key::Reason(_)) => return Err(wrong("a number")),
        };
        if let Some(known) = registry.entries.get(&number) {
            return Err(RegistryError::Taken(Box::new(Taken {
                registry: handles.registry.to_owned(),
                key: shown(registry.numbers, number, known.name.as_deref()),
                node: node.to_owned(),
                owner: owner.to_owned(),
                by: known.node.clone(),
                by_owner: known.owner.clone(),
            })));
        }
        let (node, owner) = (node.to_owned(), owner.to_owned());
        registry.entries.insert(number, Entry { node, owner, name });
        Ok(())
    }

    /// A node goes, and its reasons with it: nobody handles what it handled, nor its reasons. Who handled these waits for them: a
    /// plugin that is replaced has them again. Says whether that is a change.
    pub(crate) fn forget(&mut self, node: &str) -> bool {
        let its_reason = |name: &str| name.rsplit_once('/').is_some_and(|(of, _)| of == node);
        let mut changed = false;
        for State { entries, waiting, .. } in &mut self.registries {
            let goes = |entry: &Entry| entry.node == node || entry.name.as_deref().is_some_and(its_reason);
            let gone = entries.extract_if(.., |_, entry| goes(entry)).map(|(_, entry)| entry);
            let gone: Vec<Entry> = gone.collect();
            changed |= !gone.is_empty();
            waiting.extend(gone);
            waiting.retain(|entry| entry.node != node);
        }
        changed
    }

    /// Nodes have come: who waited for their reasons handles them. Says whether that is a change.
    pub(crate) fn wake(&mut self, reason: impl Fn(&str) -> Option<ReasonId>) -> bool {
        let mut changed = false;
        for State { entries, waiting, .. } in &mut self.registries {
            for entry in std::mem::take(waiting) {
                match entry.name.as_deref().and_then(&reason) {
                    Some(id) => {
                        entries.insert(id.0, entry);
                        changed = true;
                    }
                    None => waiting.push(entry),
                }
            }
        }
        changed
    }

    /// All entries, by registry and number.
    pub fn list(&self) -> impl Iterator<Item = EntryView<'_>> {
        self.registries.iter().flat_map(|registry| {
            registry.entries.iter().map(|(number, entry)| EntryView {
                registry: &registry.name,
                key: shown(registry.numbers, *number, entry.name.as_deref()),
                node: &entry.node,
                owner: &entry.owner,
            })
        })
    }

    /// The names of all registries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.registries.iter().map(|registry| registry.name.as_str())
    }

    /// The tables for the workers.
    pub(crate) fn build(&self, node_id: impl Fn(&str) -> Option<NodeId>) -> Arc<Registries> {
        let table = |registry: &State| {
            let entries = registry.entries.iter();
            let known: Vec<_> =
                entries.filter_map(|(number, entry)| Some((*number, node_id(&entry.node)?))).collect();
            Table::new(&known)
        };
        Arc::new(Registries { tables: self.registries.iter().map(table).collect() })
    }
}

fn shown(numbers: Numbers, number: u16, name: Option<&str>) -> String {
    match numbers {
        Numbers::Hex => format!("0x{number:04x}"),
        Numbers::Decimal => number.to_string(),
        Numbers::Reasons => name.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPES: RegistrySpec<'_> = RegistrySpec { name: "ethertype", numbers: Numbers::Hex };
    const REASONS: RegistrySpec<'_> = RegistrySpec { name: "reason", numbers: Numbers::Reasons };

    fn no_reason(_: &str) -> Option<ReasonId> {
        None
    }

    #[test]
    fn who_comes_second_is_told_who_was_first() {
        let mut list = RegistryList::default();
        list.add(&TYPES).unwrap();
        list.handle("weft", "arp-input", &TYPES.number(0x806), no_reason).unwrap();
        let taken = list.handle("lldp", "lldp-input", &TYPES.number(0x806), no_reason).unwrap_err();
        assert_eq!(
            taken.to_string(),
            "'lldp-input' of lldp cannot handle ethertype 0x0806: 'arp-input' of weft does"
        );
        let unknown = Handles { registry: "port", key: Key::Number(1) };
        let unknown = list.handle("lldp", "x", &unknown, no_reason).unwrap_err();
        assert_eq!(unknown.to_string(), "no registry 'port'; there are: ethertype");
        let shown: Vec<_> = list.list().map(|entry| (entry.key, entry.node.to_owned())).collect();
        assert_eq!(shown, [("0x0806".to_owned(), "arp-input".to_owned())]);
    }

    #[test]
    fn a_reason_is_an_entry_as_long_as_its_node_is_there() {
        let mut list = RegistryList::default();
        let id = list.add(&REASONS).unwrap();
        let reason = |name: &str| (name == "local/tcp").then_some(ReasonId(7));
        let lost = list.handle("p", "taker", &REASONS.reason("local/udp"), reason).unwrap_err();
        assert!(lost.to_string().contains("no entry 'local/udp'"), "{lost}");
        assert!(list.handle("p", "taker", &REASONS.number(7), reason).is_err());
        list.handle("p", "taker", &REASONS.reason("local/tcp"), reason).unwrap();
        let table = list.build(|_| Some(NodeId(3)));
        assert_eq!((table.table(id).get(7), table.table(id).get(6)), (Some(NodeId(3)), None));
        assert!(!list.forget("loc"));
        assert!(list.forget("local"));
        assert!(list.build(|_| Some(NodeId(3))).table(id).is_empty());
        assert_eq!(list.list().count(), 0);
        // When it is back, its reason has another number.
        assert!(!list.wake(no_reason));
        assert!(list.wake(|name| (name == "local/tcp").then_some(ReasonId(9))));
        let table = list.build(|_| Some(NodeId(3)));
        assert_eq!((table.table(id).get(9), table.table(id).get(7)), (Some(NodeId(3)), None));
        // Who handles it can go meanwhile.
        assert!(list.forget("local"));
        assert!(!list.forget("taker"));
        assert!(!list.wake(reason));
    }

    #[test]
    fn a_registry_that_nobody_has_is_empty() {
        assert_eq!(Registries::default().table(RegistryId::NONE).get(0), None);
    }

    proptest! {
        #[test]
        fn a_table_finds_what_is_in_it_and_nothing_else(
            entries in prop::collection::btree_map(any::<u16>(), 1..100u16, 0..300),
            asked in prop::collection::vec(any::<u16>(), 100),
        ) {
            let known: Vec<_> = entries.iter().map(|(number, node)| (*number, NodeId(*node))).collect();
            let table = Table::new(&known);
            let handlers = Handlers { slots: &table.slots };
            for number in asked.into_iter().chain(entries.keys().copied()) {
                prop_assert_eq!(handlers.get(number), entries.get(&number).map(|node| NodeId(*node)));
            }
        }
    }
}
