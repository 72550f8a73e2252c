// SPDX-License-Identifier: Apache-2.0
//! The neighbour table: when to ask, what to believe, when to give up.
//!
//! Pure logic on the main thread: time comes in as an argument, and what is to be done goes out as
//! [`NeighborAction`]s, so that 15 minutes of ageing are one line of a test. Times are counted from any fixed
//! moment.
//!
//! # Life of an entry
//! ```text
//!            resolve            reply                age             reply
//!   (none) ----------> incomplete -----> reachable ------> stale ---------> reachable
//!                          | no reply        ^               | no reply
//!                          v                 | heard         v
//!                        failed -------------+             (none)
//!                          | quiet time
//!                          v
//!                        (none)
//! ```
//! Beside these requests, which time sends, each packet for a neighbour that has not answered asks again, also after a
//! failure, but with a pause that grows from half a millisecond to an interval: a host that comes up is found at once, and
//! one that is gone costs a request a second, however many packets are sent to it. A stale neighbour is asked by unicast
//! (RFC 1122 section 2.3.2.1) and still forwarded to. An entry begins with a [`NeighborAction::SendRequest`] or [`NeighborAction::Resolved`]
//! and ends with a [`NeighborAction::Removed`].
//!
//! # What is believed
//! As RFC 826 has it: who speaks *to* one of our addresses is learned, anything else that is heard changes
//! only what is known already. A table that learned whatever passes by could be filled by any station on the
//! link, with addresses that no packet of ours will ever need. Believing changes of known entries is what
//! lets a standby router take over an address by gratuitous ARP; it is also why ARP is no protection against
//! a hostile station, and static entries are: they are never changed by what is heard. Of IPv6, a station can say that it does
//! not mean to change what is known.
//!
//! # Who makes room
//! Any station can fill a table, by requests with invented senders or by packets to addresses that nobody has (RFC 6583).
//! So a full table makes room for a new entry: of the interface with the most entries that may go, the first of those that
//! have failed, then of those that were learned and have never answered a question of ours, the oldest. Entries that
//! have answered go only for an interface that has fewer than theirs; static ones never go. Of neighbours that are
//! asked for the same holds by their number. So what a stranger fills is the share of its own link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_headers::MacAddr;

/// Times and sizes of the neighbour table.
#[derive(Clone, Copy, Debug)]
pub struct NeighborSettings {
    /// Most entries.
    pub limit: usize,
    /// The most that `limit` can be: there is no next hop for more.
    pub most: usize,
    /// Of these, most that are incomplete or failed, so that a scan of an empty subnet leaves room for the
    /// living.
    pub unresolved_limit: usize,
    /// How often an address is asked for before it has failed, and a stale one before it is removed.
    pub requests: u8,
    /// Time between requests, and from the last one to giving up.
    pub interval: Duration,
    /// How long an answer is good.
    pub age: Duration,
    /// How long a failure is remembered: packets are answered at once.
    pub quiet: Duration,
}

impl Default for NeighborSettings {
    fn default() -> Self {
        NeighborSettings {
            limit: 65_536,
            most: usize::MAX,
            unresolved_limit: 16_384,
            requests: 3,
            interval: Duration::from_secs(1),
            age: Duration::from_secs(15 * 60),
            quiet: Duration::from_secs(10),
        }
    }
}

/// An address on a link.
type Key = (InterfaceIndex, IpAddr);

/// What has to be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborAction {
    /// Ask who has the address: by broadcast, or `to` who had it last.
    SendRequest {
        /// On which link.
        interface: InterfaceIndex,
        /// For whom.
        address: IpAddr,
        /// `None`: broadcast.
        to: Option<MacAddr>,
    },
    /// Packets to the address go to this MAC from now on.
    Resolved {
        /// On which link.
        interface: InterfaceIndex,
        /// Whose.
        address: IpAddr,
        /// New, or another one than before.
        mac: MacAddr,
    },
    /// Nobody answered: packets that wait, and those that come, are answered with host unreachable.
    Failed {
        /// On which link.
        interface: InterfaceIndex,
        /// Who did not answer.
        address: IpAddr,
    },
    /// The entry is gone.
    Removed {
        /// On which link.
        interface: InterfaceIndex,
        /// Whose.
        address: IpAddr,
    },
}

/// Why something was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// A request or reply whose target is an address of ours.
    ToUs,
    /// Anything else: gratuitous, or meant for others.
    Overheard,
    /// The same, and it is not to change a MAC address that is known (RFC 4861 section 7.2.5).
    Confirms,
}

/// Why an entry was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NeighborError {
    /// See [`NeighborSettings::limit`].
    #[error("the neighbour table is full: it has {limit} entries, as many as its settings permit")]
    Full {
        /// The setting.
        limit: usize,
    },
    /// See [`NeighborSettings::unresolved_limit`].
    #[error("{limit} neighbours are unresolved, as many as the settings permit")]
    TooManyUnresolved {
        /// The setting.
        limit: usize,
    },
    /// Not the address of a station.
    #[error("{0} is not the MAC address of a station: expected an individual address that is not zero")]
    NotAStation(MacAddr),
}

/// How often an entry was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    /// By [`NeighborError::Full`].
    pub full: u64,
    /// By [`NeighborError::TooManyUnresolved`].
    pub unresolved: u64,
    /// By [`NeighborError::NotAStation`].
    pub not_a_station: u64,
}

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborState {
    /// Asked for.
    Incomplete {
        /// Number of requests so far.
        requests: u8,
    },
    /// Answered within the age.
    Reachable(MacAddr),
    /// Asked again, still used.
    Stale {
        /// From the last answer.
        mac: MacAddr,
        /// Number of requests so far.
        requests: u8,
    },
    /// Did not answer, is not asked for now.
    Failed,
    /// Configured.
    Static(MacAddr),
}

impl NeighborState {
    /// Where packets go.
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            NeighborState::Reachable(mac) | NeighborState::Stale { mac, .. } | NeighborState::Static(mac) => {
                Some(mac)
            }
            NeighborState::Incomplete { .. } | NeighborState::Failed => None,
        }
    }
}

/// An entry, to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// On which link.
    pub interface: InterfaceIndex,
    /// Who.
    pub address: IpAddr,
    /// What is known.
    pub state: NeighborState,
    /// When it became so, or was confirmed.
    pub since: Duration,
}

#[derive(Clone, Copy)]
struct Entry {
    state: NeighborState,
    since: Duration,
    /// When something is to be done about it.
    deadline: Option<Duration>,
    /// It has answered a question of ours.
    confirmed: bool,
    /// When it was last asked for.
    asked: Duration,
    /// How long after that no packet asks again.
    pause: Duration,
}

/// What an entry is worth when there is no room: the lowest goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Failed,
    Unconfirmed,
    Confirmed,
    Awaited,
}

impl Entry {
    /// `None`: it never goes.
    fn worth(&self) -> Option<Worth> {
        match self.state {
            NeighborState::Static(_) => None,
            NeighborState::Failed => Some(Worth::Failed),
            NeighborState::Incomplete { .. } => Some(Worth::Awaited),
            _ if self.confirmed => Some(Worth::Confirmed),
            _ => Some(Worth::Unconfirmed),
        }
    }
}

/// What one interface has in the table.
#[derive(Default)]
struct Share {
    entries: usize,
    unresolved: usize,
    /// Those that may have to make room, in the order in which they go.
    spare: BTreeSet<(Worth, Duration, IpAddr)>,
}

impl Share {
    /// The first to go among those worth `least` and more.
    fn first(&self, least: Worth) -> Option<(Worth, IpAddr)> {
        let start = (least, Duration::ZERO, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        self.spare.range(start..).next().map(|(worth, _, address)| (*worth, *address))
    }
}

/// The first pause is the interval divided by this: half a millisecond of a second.
const FIRST_PAUSE: u32 = 2048;

/// All neighbours of all interfaces. Each operation costs the logarithm of their number.
pub struct Neighbors {
    settings: NeighborSettings,
    entries: BTreeMap<Key, Entry>,
    /// One element for each entry with a deadline.
    deadlines: BTreeSet<(Duration, Key)>,
    shares: BTreeMap<InterfaceIndex, Share>,
    unresolved: usize,
    refusals: Refusals,
    /// Entries that had to make room, and whose removal nobody has taken note of.
    displaced: Vec<NeighborAction>,
    displacements: u64,
}

impl Neighbors {
    /// An empty table.
    pub fn new(settings: NeighborSettings) -> Self {
        Neighbors {
            settings,
            entries: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            shares: BTreeMap::new(),
            unresolved: 0,
            refusals: Refusals::default(),
            displaced: Vec::new(),
            displacements: 0,
        }
    }

    /// Other sizes and times. Entries beyond a smaller limit stay until they age; an age counts from the next confirmation.
    pub fn configure(&mut self, settings: NeighborSettings) {
        self.settings = settings;
    }

    /// What was set.
    pub fn settings(&self) -> &NeighborSettings {
        &self.settings
    }

    /// A packet needs the neighbour. Returns a request, or what is known already (the packet set out before its worker
    /// knew), or nothing if it was asked for a moment ago. The entries that made room are to be taken note of first
    /// ([`Neighbors::take_displaced`]).
    pub fn resolve(
        &mut self,
        now: Duration,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> Result<Option<NeighborAction>, NeighborError> {
        let key = (interface, address);
        if let Some(entry) = self.entries.get_mut(&key) {
            if let Some(mac) = entry.state.mac() {
                return Ok(Some(NeighborAction::Resolved { interface, address, mac }));
            }
            let due = now >= entry.asked + entry.pause;
            if due {
                entry.asked = now;
                entry.pause = (2 * entry.pause).min(self.settings.interval);
            }
            return Ok(due.then_some(NeighborAction::SendRequest { interface, address, to: None }));
        }
        self.make_room_to_ask(interface)?;
        self.make_room(interface)?;
        self.set(key, NeighborState::Incomplete { requests: 1 }, now, Some(now + self.settings.interval));
        Ok(Some(NeighborAction::SendRequest { interface, address, to: None }))
    }

    /// A station has said that `address` is at `mac`. The caller has checked that the address is one of the
    /// link's and not ours.
    pub fn heard(
        &mut self,
        now: Duration,
        interface: InterfaceIndex,
        address: IpAddr,
        mac: MacAddr,
        evidence: Evidence,
    ) -> Result<Option<NeighborAction>, NeighborError> {
        let key = (interface, address);
        let known = self.entries.get(&key).map(|entry| entry.state);
        match known {
            Some(NeighborState::Static(_)) => return Ok(None),
            None if evidence != Evidence::ToUs => return Ok(None),
            Some(state)
                if evidence == Evidence::Confirms && state.mac().is_some_and(|known| known != mac) =>
            {
                return Ok(None);
            }
            // RFC 1812 section 3.3.2: a group address must not be believed.
            _ => self.check_station(mac)?,
        }
        if known.is_none() {
            self.make_room(interface)?;
        }
        self.set(key, NeighborState::Reachable(mac), now, Some(now + self.settings.age));
        let changed = known.and_then(NeighborState::mac) != Some(mac);
        Ok(changed.then_some(NeighborAction::Resolved { interface, address, mac }))
    }

    /// Configures an entry, in place of one that was learned.
    pub fn set_static(
        &mut self,
        now: Duration,
        interface: InterfaceIndex,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<NeighborAction, NeighborError> {
        let key = (interface, address);
        self.check_station(mac)?;
        if !self.entries.contains_key(&key) {
            self.make_room(interface)?;
        }
        self.set(key, NeighborState::Static(mac), now, None);
        Ok(NeighborAction::Resolved { interface, address, mac })
    }

    /// Removes an entry of any kind.
    pub fn remove(&mut self, interface: InterfaceIndex, address: IpAddr) -> Option<NeighborAction> {
        let entry = self.entries.remove(&(interface, address))?;
        self.unlink((interface, address), &entry);
        Some(NeighborAction::Removed { interface, address })
    }

    /// Removes what was learned on an interface, and with `also_static` what was configured: when a link goes
    /// down the first, when the interface is deleted the second.
    pub fn flush(&mut self, interface: InterfaceIndex, also_static: bool) -> Vec<NeighborAction> {
        let of_interface = self.after(Bound::Unbounded, interface);
        let addresses: Vec<_> = of_interface
            .filter(|neighbor| also_static || !matches!(neighbor.state, NeighborState::Static(_)))
            .map(|neighbor| neighbor.address)
            .collect();
        addresses.into_iter().filter_map(|address| self.remove(interface, address)).collect()
    }

    /// We have another address on a link: asks again for all whose answers, if there were any, went to the old one.
    pub fn ask_again(&mut self, now: Duration, interface: InterfaceIndex) -> Vec<NeighborAction> {
        let range = (interface, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))..;
        let of_interface = self.entries.range_mut(range).take_while(|(key, _)| key.0 == interface);
        let mut requests = Vec::new();
        for ((_, address), entry) in of_interface.filter(|(_, entry)| entry.state.mac().is_none()) {
            entry.asked = now;
            requests.push(NeighborAction::SendRequest { interface, address: *address, to: None });
        }
        requests
    }

    /// The removals of entries that made room since the last call: to be done before what the call that made them go returned.
    pub fn take_displaced(&mut self) -> Vec<NeighborAction> {
        std::mem::take(&mut self.displaced)
    }

    /// The interface with the most entries.
    pub fn fullest(&self) -> Option<InterfaceIndex> {
        self.shares.iter().max_by_key(|(_, share)| share.entries).map(|(index, _)| *index)
    }

    /// How many entries have made room.
    pub fn displacements(&self) -> u64 {
        self.displacements
    }

    /// Does what is due, but not more than `budget` things: the rest is due at the next call. That spreads
    /// the probes of neighbours that were all learned at once.
    pub fn tick(&mut self, now: Duration, budget: usize, actions: &mut Vec<NeighborAction>) {
        for _ in 0..budget {
            match self.deadlines.first() {
                Some(&(deadline, key)) if deadline <= now => actions.push(self.expire(now, key)),
                _ => break,
            }
        }
    }

    /// When [`Neighbors::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// What is known of an address.
    pub fn get(&self, interface: InterfaceIndex, address: IpAddr) -> Option<Neighbor> {
        self.entries.get(&(interface, address)).map(|entry| show((interface, address), entry))
    }

    /// All entries by interface and address.
    pub fn iter(&self) -> impl Iterator<Item = Neighbor> {
        self.entries.iter().map(|(key, entry)| show(*key, entry))
    }

    /// The entries of one interface by address, beginning with `start`.
    pub fn after(&self, start: Bound<IpAddr>, interface: InterfaceIndex) -> impl Iterator<Item = Neighbor> {
        let lowest = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let start = match start {
            Bound::Unbounded => Bound::Included((interface, lowest)),
            start => start.map(|address| (interface, address)),
        };
        let entries = self.entries.range((start, Bound::Unbounded));
        entries.take_while(move |(key, _)| key.0 == interface).map(|(key, entry)| show(*key, entry))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of entries that are incomplete or failed.
    pub fn unresolved(&self) -> usize {
        self.unresolved
    }

    /// How often an entry was not made.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    fn expire(&mut self, now: Duration, key: Key) -> NeighborAction {
        let (interface, address) = key;
        let NeighborSettings { requests: most, interval, quiet, .. } = self.settings;
        match self.entries[&key].state {
            NeighborState::Incomplete { requests } if requests < most => {
                self.set(
                    key,
                    NeighborState::Incomplete { requests: requests + 1 },
                    now,
                    Some(now + interval),
                );
                NeighborAction::SendRequest { interface, address, to: None }
            }
            NeighborState::Incomplete { .. } => {
                self.set(key, NeighborState::Failed, now, Some(now + quiet));
                NeighborAction::Failed { interface, address }
            }
            NeighborState::Reachable(mac) => {
                self.set(key, NeighborState::Stale { mac, requests: 1 }, now, Some(now + interval));
                NeighborAction::SendRequest { interface, address, to: Some(mac) }
            }
            NeighborState::Stale { mac, requests } if requests < most => {
                let state = NeighborState::Stale { mac, requests: requests + 1 };
                self.set(key, state, now, Some(now + interval));
                NeighborAction::SendRequest { interface, address, to: Some(mac) }
            }
            NeighborState::Stale { .. } | NeighborState::Failed | NeighborState::Static(_) => {
                self.remove(interface, address).expect("a key with a deadline has an entry")
            }
        }
    }

    fn set(&mut self, key: Key, state: NeighborState, now: Duration, deadline: Option<Duration>) {
        let old = self.entries.remove(&key);
        if let Some(old) = &old {
            self.unlink(key, old);
        }
        let interval = self.settings.interval;
        let first = (now, interval / FIRST_PAUSE);
        let before = old.map_or(first, |old| (old.asked, old.pause));
        let (asked, pause) = match state {
            NeighborState::Incomplete { .. } => (now, before.1),
            NeighborState::Failed => (before.0, interval),
            // For when it is asked for anew.
            _ => first,
        };
        let confirmed = match state {
            NeighborState::Reachable(_) => old.is_some_and(|old| {
                old.confirmed || !matches!(old.state, NeighborState::Reachable(_) | NeighborState::Static(_))
            }),
            NeighborState::Stale { .. } => old.is_some_and(|old| old.confirmed),
            _ => false,
        };
        let entry = Entry { state, since: now, deadline, confirmed, asked, pause };
        self.link(key, &entry);
        self.entries.insert(key, entry);
    }

    /// Before `entry` comes into the map.
    fn link(&mut self, key: Key, entry: &Entry) {
        let unresolved = usize::from(entry.state.mac().is_none());
        let share = self.shares.entry(key.0).or_default();
        share.entries += 1;
        share.unresolved += unresolved;
        share.spare.extend(entry.worth().map(|worth| (worth, entry.since, key.1)));
        self.unresolved += unresolved;
        if let Some(deadline) = entry.deadline {
            self.deadlines.insert((deadline, key));
        }
    }

    /// After `entry` left the map.
    fn unlink(&mut self, key: Key, entry: &Entry) {
        let unresolved = usize::from(entry.state.mac().is_none());
        if let Some(share) = self.shares.get_mut(&key.0) {
            share.entries -= 1;
            share.unresolved -= unresolved;
            if let Some(worth) = entry.worth() {
                share.spare.remove(&(worth, entry.since, key.1));
            }
            if share.entries == 0 {
                self.shares.remove(&key.0);
            }
        }
        self.unresolved -= unresolved;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, key));
        }
    }

    /// Sees to it that there is room for another entry of an interface.
    fn make_room(&mut self, interface: InterfaceIndex) -> Result<(), NeighborError> {
        if self.entries.len() < self.settings.limit {
            return Ok(());
        }
        let own = self.shares.get(&interface).map_or(0, |share| share.entries);
        let first = |share: &Share| share.first(Worth::Failed);
        let cheap = |(worth, address)| (worth <= Worth::Unconfirmed).then_some(address);
        let dear = |(worth, address)| (worth == Worth::Confirmed).then_some(address);
        let of_most = self.most(interface, |share| share.entries, |share| first(share).and_then(cheap));
        let victim = of_most.or_else(|| {
            let larger = |share: &Share| share.entries > own + 1;
            self.most(
                interface,
                |share| share.entries,
                |share| first(share).filter(|_| larger(share)).and_then(dear),
            )
        });
        match victim {
            Some(key) => self.displace(key),
            None => {
                self.refusals.full += 1;
                return Err(NeighborError::Full { limit: self.settings.limit });
            }
        }
        Ok(())
    }

    /// Sees to it that another neighbour of an interface may be asked for.
    fn make_room_to_ask(&mut self, interface: InterfaceIndex) -> Result<(), NeighborError> {
        if self.unresolved < self.settings.unresolved_limit {
            return Ok(());
        }
        let own = self.shares.get(&interface).map_or(0, |share| share.unresolved);
        let failed = |share: &Share| match share.first(Worth::Failed) {
            Some((Worth::Failed, address)) => Some(address),
            _ => None,
        };
        let awaited = |share: &Share| {
            let (_, address) = share.first(Worth::Awaited)?;
            (share.unresolved > own + 1).then_some(address)
        };
        let victim = self
            .most(interface, |share| share.unresolved, failed)
            .or_else(|| self.most(interface, |share| share.unresolved, awaited));
        match victim {
            Some(key) => self.displace(key),
            None => {
                self.refusals.unresolved += 1;
                return Err(NeighborError::TooManyUnresolved { limit: self.settings.unresolved_limit });
            }
        }
        Ok(())
    }

    /// Of the interfaces for which `which` names an address, the one with the most; among equals `own`.
    fn most(
        &self,
        own: InterfaceIndex,
        count: impl Fn(&Share) -> usize,
        which: impl Fn(&Share) -> Option<IpAddr>,
    ) -> Option<Key> {
        let candidates = self.shares.iter().filter_map(|(index, share)| {
            Some(((count(share), *index == own, *index), (*index, which(share)?)))
        });
        candidates.max_by_key(|(rank, _)| *rank).map(|(_, key)| key)
    }

    fn displace(&mut self, (interface, address): Key) {
        let removed = self.remove(interface, address);
        self.displaced.extend(removed);
        self.displacements += 1;
    }

    fn check_station(&mut self, mac: MacAddr) -> Result<(), NeighborError> {
        if mac.is_station() {
            return Ok(());
        }
        self.refusals.not_a_station += 1;
        Err(NeighborError::NotAStation(mac))
    }
}

fn show((interface, address): Key, entry: &Entry) -> Neighbor {
    Neighbor { interface, address, state: entry.state, since: entry.since }
}

#[cfg(test)]
mod tests;
