// SPDX-License-Identifier: Apache-2.0
//! Links, and what the dataplane gets to see of them.
//!
//! A link is shown once everything it refers to is known: a VLAN waits for its parent, a member of a VRF for the master. Otherwise a
//! port would forward in the default VRF until the master's message comes. The order of a snapshot is that of a hash
//! table, so any of them may come first (protocol page, 6.2).

use std::collections::{BTreeMap, BTreeSet};

use super::{Generation, Interface, InterfaceKind, Vrf, VrfId};
use crate::netlink::{IfIndex, Link, LinkKind, Netconf, NetconfFamily};

/// Who sends packets over a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sender {
    /// The dataplane.
    Dataplane,
    /// Only the kernel.
    Host,
}

/// What the dataplane sees of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    Interface(Interface),
    Vrf(Vrf),
}

struct Entry {
    link: Link,
    generation: Generation,
    /// `None` while it waits.
    sender: Option<Sender>,
    shown: Option<Shown>,
}

/// What a change of one link did to it and to those that refer to it.
#[derive(Debug)]
pub(super) struct Difference {
    pub index: IfIndex,
    pub before: Option<Shown>,
    pub after: Option<Shown>,
    /// Whether routes over it lead elsewhere now, or nowhere.
    pub sender_changed: bool,
}

#[derive(Default)]
pub(super) struct Links {
    entries: BTreeMap<IfIndex, Entry>,
    /// Who names an index as parent or master; also of an index that does not exist.
    referrers: BTreeMap<IfIndex, BTreeSet<IfIndex>>,
    ports: BTreeSet<IfIndex>,
    /// May be known before the link is.
    settings: BTreeMap<(IfIndex, NetconfFamily), Netconf>,
}

impl Links {
    pub fn get(&self, index: IfIndex) -> Option<&Link> {
        self.entries.get(&index).map(|entry| &entry.link)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.entries.values().map(|entry| &entry.link)
    }

    pub fn sender(&self, index: IfIndex) -> Option<Sender> {
        self.entries.get(&index)?.sender
    }

    pub fn is_shown(&self, index: IfIndex) -> bool {
        let shown = self.entries.get(&index).and_then(|entry| entry.shown.as_ref());
        matches!(shown, Some(Shown::Interface(_)))
    }

    /// The VRFs, by name.
    pub fn vrf(&self, name: &str) -> Option<VrfId> {
        let is_it = |entry: &&Entry| matches!(&entry.shown, Some(Shown::Vrf(vrf)) if &*vrf.name == name);
        self.entries.values().find(is_it).map(|entry| VrfId(entry.link.index))
    }

    /// The VRF whose routes the kernel keeps in `table`.
    pub fn vrf_of(&self, table: crate::netlink::TableId) -> Option<VrfId> {
        let is_it = |entry: &&Entry| matches!(&entry.shown, Some(Shown::Vrf(vrf)) if vrf.table == table);
        self.entries.values().find(is_it).map(|entry| VrfId(entry.link.index))
    }

    /// Those that a resync has not mentioned.
    pub fn unmentioned(&self, generation: Generation) -> Vec<IfIndex> {
        let stale = self.entries.iter().filter(|(_, entry)| entry.generation != generation);
        stale.map(|(index, _)| *index).collect()
    }

    pub fn set(&mut self, link: Link, generation: Generation) -> Vec<Difference> {
        let index = link.index;
        if let Some(entry) = self.entries.get_mut(&index)
            && entry.link == link
        {
            entry.generation = generation;
            return Vec::new();
        }
        let (sender, shown) = match self.take(index) {
            Some(old) => (old.sender, old.shown),
            None => (None, None),
        };
        for reference in references(&link) {
            self.referrers.entry(reference).or_default().insert(index);
        }
        self.entries.insert(index, Entry { link, generation, sender, shown });
        self.refresh(index, None)
    }

    pub fn remove(&mut self, index: IfIndex) -> Vec<Difference> {
        self.ports.remove(&index);
        self.settings.retain(|(owner, _), _| *owner != index);
        let old = self.take(index);
        self.refresh(index, old)
    }

    /// Takes the link and what it refers to out of the maps.
    fn take(&mut self, index: IfIndex) -> Option<Entry> {
        let entry = self.entries.remove(&index)?;
        for reference in references(&entry.link) {
            if let Some(referrers) = self.referrers.get_mut(&reference) {
                referrers.remove(&index);
                if referrers.is_empty() {
                    self.referrers.remove(&reference);
                }
            }
        }
        Some(entry)
    }

    /// Says that vplaned made this link for a port.
    pub fn bind_port(&mut self, index: IfIndex) -> Vec<Difference> {
        if self.ports.insert(index) { self.refresh(index, None) } else { Vec::new() }
    }

    /// Takes over what the message says, and keeps the rest: live messages are partial (protocol page, 7.4).
    pub fn merge_settings(&mut self, news: Netconf) -> Vec<Difference> {
        let known = self.settings.entry((news.index, news.family)).or_insert(news);
        known.forwarding = news.forwarding.or(known.forwarding);
        known.rp_filter = news.rp_filter.or(known.rp_filter);
        known.multicast_forwarding = news.multicast_forwarding.or(known.multicast_forwarding);
        known.proxy = news.proxy.or(known.proxy);
        self.refresh(news.index, None)
    }

    /// Works out anew what follows from a changed link. The result has parents before children. `gone` is what the
    /// link was if it exists no more.
    fn refresh(&mut self, root: IfIndex, gone: Option<Entry>) -> Vec<Difference> {
        let mut affected = vec![root];
        let mut seen = BTreeSet::from([root]);
        let mut next = 0;
        while let Some(&index) = affected.get(next) {
            let referrers = self.referrers.get(&index).into_iter().flatten();
            affected.extend(referrers.copied().filter(|referrer| seen.insert(*referrer)));
            next += 1;
        }

        let mut before = BTreeMap::new();
        if let Some(gone) = gone {
            before.insert(root, (gone.sender, gone.shown));
        }
        for index in &affected {
            if let Some(entry) = self.entries.get_mut(index) {
                before.insert(*index, (entry.sender.take(), entry.shown.take()));
            }
        }
        // A link is decided once its parent is; passes until nothing more is decided leave out what waits, and circles.
        let mut decided = Vec::new();
        loop {
            let count = decided.len();
            for index in &affected {
                if self.entries.get(index).is_some_and(|entry| entry.sender.is_none())
                    && let Some((sender, shown)) = self.decide(*index)
                    && let Some(entry) = self.entries.get_mut(index)
                {
                    (entry.sender, entry.shown) = (Some(sender), shown);
                    decided.push(*index);
                }
            }
            if decided.len() == count {
                break;
            }
        }
        let undecided = affected.iter().filter(|index| self.sender(**index).is_none());
        let order: Vec<IfIndex> = decided.iter().chain(undecided).copied().collect();
        order
            .into_iter()
            .filter_map(|index| {
                let (sender, before) = before.remove(&index)?;
                let entry = self.entries.get(&index);
                let after = entry.and_then(|entry| entry.shown.clone());
                let sender_changed = sender != entry.and_then(|entry| entry.sender);
                let differs = sender_changed || before != after;
                differs.then_some(Difference { index, before, after, sender_changed })
            })
            .collect()
    }

    /// Who sends over a link and what is seen of it; `None` while something it refers to is unknown.
    fn decide(&self, index: IfIndex) -> Option<(Sender, Option<Shown>)> {
        let link = &self.entries.get(&index)?.link;
        let kind = match link.kind {
            LinkKind::Tun if self.ports.contains(&index) => InterfaceKind::Port,
            LinkKind::Vlan { parent, id, protocol } => match self.sender(parent)? {
                Sender::Dataplane => InterfaceKind::Vlan { parent, id, protocol },
                Sender::Host => return Some((Sender::Host, None)),
            },
            LinkKind::Vrf { table } => {
                let vrf = Vrf { id: VrfId(index), name: link.name.clone(), table };
                return Some((Sender::Host, Some(Shown::Vrf(vrf))));
            }
            _ => return Some((Sender::Host, None)),
        };
        let (mut vrf, mut member_of) = (None, None);
        if let Some(master) = link.master {
            match self.get(master)?.kind {
                LinkKind::Vrf { .. } => vrf = Some(VrfId(master)),
                _ => member_of = Some(master),
            }
        }
        let mut interface = Interface {
            index,
            name: link.name.clone(),
            kind,
            admin_up: link.admin_up,
            mac: link.mac,
            mtu: link.mtu,
            vrf,
            member_of,
            ip4: Default::default(),
            ip6: Default::default(),
        };
        for family in [NetconfFamily::Ip4, NetconfFamily::Ip6] {
            if let Some(known) = self.settings.get(&(index, family)) {
                let settings = interface.settings(family);
                settings.forwarding = known.forwarding;
                settings.rp_filter = known.rp_filter;
                settings.multicast_forwarding = known.multicast_forwarding;
                settings.proxy = known.proxy;
            }
        }
        Some((Sender::Dataplane, Some(Shown::Interface(interface))))
    }

    /// Links that the dataplane leaves to the kernel though they concern it, by the name of their kind: other kinds of tunnels,
    /// a second address on a link of the dataplane, a bridge that has one.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        let ours = |index| matches!(self.sender(index), Some(Sender::Dataplane));
        let bridges = move |bridge: IfIndex| {
            self.entries.values().any(|entry| entry.link.master == Some(bridge) && ours(entry.link.index))
        };
        self.entries.values().filter_map(move |entry| match &entry.link.kind {
            LinkKind::Unsupported(name) => Some(&**name),
            LinkKind::Macvlan { parent } if ours(*parent) => Some("macvlan"),
            LinkKind::Bridge if bridges(entry.link.index) => Some("bridge"),
            _ => None,
        })
    }

    /// Links that wait for another one.
    pub fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.sender.is_none()).count()
    }
}

/// What a link cannot be shown without.
fn references(link: &Link) -> impl Iterator<Item = IfIndex> {
    let parent = match link.kind {
        LinkKind::Vlan { parent, .. } => Some(parent),
        _ => None,
    };
    parent.into_iter().chain(link.master)
}
