// SPDX-License-Identifier: Apache-2.0
//! The main thread's side: what is configured is published, what workers have heard is learned, what is old is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rtrb::{Consumer, RingBuffer};
use weft_engine::clock::Clock;
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Registration};
use weft_engine::node::NodeSpec;
use weft_engine::publish::Published;
use weft_engine::wait::Waker;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::arcs::INTERFACE_OUTPUT_ARC;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceTable, Interfaces, Layer2};
use weft_table::{View as Slot, Writer};

use crate::config::{Config, Domain, L2Error, Mode, Port, Role, StaticChanges, Target};
use crate::flood::{L2_FLOOD, L2Flood};
use crate::input::{Common, Event, Forwarding, L2_FORWARD, L2_INPUT, L2_INPUT_ARC, Places};
use crate::learn::{Notice, Teller};
use crate::macs::{DomainIndex, Entry, Key};
use crate::output::{L2_OUTPUT, L2_OUTPUT_ARC, L2Output};
use crate::view::{DomainsView, Full, Member, PortView, View, Way};

/// What an operator can set once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most MAC addresses of all domains together.
    pub macs: usize,
    /// Room for what a node of a worker tells.
    pub notices: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { macs: 1 << 17, notices: 1024 }
    }
}

/// Slots that a flush looks at before it returns: a table of so many entries is flushed at once, a larger one a little later.
const AT_ONCE: usize = 1 << 16;
/// A whole round of the table takes so long.
const ROUND: Duration = Duration::from_secs(10);
/// Slots that one tick looks at, at most and at least.
const PER_TICK: (usize, usize) = (1 << 10, 1 << 15);
/// Moves of stations that the log tells of, per second.
const MOVES_TOLD: u32 = 5;
/// Domains that can be told apart.
const MOST_DOMAINS: usize = 1 << 16;

/// Which entries that were learned are to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    All,
    Domain(DomainIndex),
    Port(InterfaceIndex),
}

impl Scope {
    fn has(self, key: Key, entry: Entry) -> bool {
        entry.is_learned()
            && match self {
                Scope::All => true,
                Scope::Domain(domain) => key.domain() == domain,
                Scope::Port(port) => entry.port() == port,
            }
    }
}

/// A flush that is under way.
#[derive(Debug)]
struct Flush {
    scope: Scope,
    /// Slots that are still to be looked at.
    left: usize,
}

/// A domain, or one that has gone and of which entries may be left.
struct DomainState {
    id: u32,
    gone: bool,
    /// Stations that were learned.
    learned: usize,
    limit: usize,
    /// Seconds; 0: for ever.
    age: u32,
    full: Full,
    moves: u64,
}

/// What is counted of an interface.
#[derive(Default)]
struct PortState {
    learned: usize,
    full: Full,
}

/// A domain with what is counted of it.
#[derive(Clone, Debug)]
pub struct DomainView<'a> {
    /// Its id.
    pub id: u32,
    /// Its number in keys.
    pub index: u16,
    /// What is configured.
    pub domain: &'a Domain,
    /// Stations that were learned.
    pub learned: usize,
    /// Stations that were heard on another port than before, so far.
    pub moves: u64,
}

/// What is known of a station.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacView {
    /// The domain's id.
    pub domain: u32,
    /// Its address.
    pub mac: MacAddr,
    /// Its port; `None`: frames from and to it are dropped.
    pub port: Option<InterfaceIndex>,
    /// Whether it was heard. Otherwise it is configured.
    pub learned: bool,
    /// Whether it is this host.
    pub bvi: bool,
    /// Since it was heard.
    pub age: Duration,
}

/// All domains, ports and stations.
pub struct Switch {
    settings: Settings,
    clock: Clock,
    input: NodeId,
    published: Arc<Published<View>>,
    notices: Vec<Consumer<Notice>>,
    config: Config,
    /// Entries of operators.
    fixed: BTreeMap<(u32, MacAddr), Target>,
    /// Entries of routed ports: the address and the domain that were written.
    bvis: BTreeMap<InterfaceIndex, Key>,
    indices: BTreeMap<u32, DomainIndex>,
    domains: Vec<Option<DomainState>>,
    ports: Vec<PortState>,
    macs: Option<Writer<1>>,
    full: Full,
    flushes: Vec<Flush>,
    /// When [`Switch::tick`] was called last.
    ticked: Duration,
    /// Of this second: its number, and the moves that were told in it, or would have been.
    moves: (u64, u32),
}

impl Switch {
    /// No domains. Adds the nodes and arcs of this crate; `main` is woken by workers that have heard a station.
    pub fn new(
        engine: &mut Engine,
        interfaces: &Arc<Published<InterfaceTable>>,
        settings: Settings,
        main: &Waker,
    ) -> Result<Switch, GraphError> {
        let published = Arc::new(Published::new(&engine.domain, View::default()));
        let clock = engine.clock;
        let common =
            Arc::new(Common { view: Arc::clone(&published), interfaces: Arc::clone(interfaces), clock });
        let threads = engine.threads().count();
        let mut notices = Vec::new();
        let tellers = |notices: &mut Vec<Consumer<Notice>>| {
            let rings: Vec<_> = (0..threads).map(|_| RingBuffer::new(settings.notices)).collect();
            let (tellers, heard): (Vec<_>, Vec<_>) = rings.into_iter().unzip();
            notices.extend(heard);
            tellers
                .into_iter()
                .map(|ring| Teller::new(ring, main.clone(), &clock))
                .collect::<Vec<_>>()
                .into_iter()
        };
        let (mut arriving, mut passing) = (tellers(&mut notices), tellers(&mut notices));
        let places = |w: &weft_engine::graph::Wiring<'_>| Places {
            arcs: [&L2_INPUT_ARC, &L2_OUTPUT_ARC, &INTERFACE_OUTPUT_ARC].map(|arc| w.arc(arc)),
            next: w.nexts(),
            reasons: w.reasons(),
        };
        const ONE_EACH: &str = "there is a ring for each worker";
        let nodes = vec![
            NodeDef::new(&L2_INPUT, |w| {
                let teller = arriving.next().expect(ONE_EACH);
                let (common, places, events) = (Arc::clone(&common), places(w), w.events::<Event>());
                Box::new(Forwarding::<true> { common, places, events, teller })
            }),
            NodeDef::new(&L2_FORWARD, |w| {
                let teller = passing.next().expect(ONE_EACH);
                let (common, places, events) = (Arc::clone(&common), places(w), w.events::<Event>());
                Box::new(Forwarding::<false> { common, places, events, teller })
            }),
            NodeDef::new(&L2_FLOOD, |w| Box::new(L2Flood::new(Arc::clone(&common), places(w)))),
            NodeDef::new(&L2_OUTPUT, |w| Box::new(L2Output(Arc::clone(&common), places(w)))),
        ];
        let arcs = vec![L2_INPUT_ARC, L2_OUTPUT_ARC];
        engine.register(BUILT_IN, Registration { arcs, nodes, ..Registration::default() })?;
        let id = |node: &NodeSpec| engine.graph().id(node.name).expect("the node was added just now");
        Ok(Switch {
            settings,
            clock,
            input: id(&L2_INPUT),
            published,
            notices,
            config: Config::default(),
            fixed: BTreeMap::new(),
            bvis: BTreeMap::new(),
            indices: BTreeMap::new(),
            domains: Vec::new(),
            ports: Vec::new(),
            macs: None,
            full: Full::default(),
            flushes: Vec::new(),
            ticked: Duration::ZERO,
            moves: (0, 0),
        })
    }

    /// What is configured.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// An entry of an operator.
    pub fn fixed(&self, domain: u32, mac: MacAddr) -> Option<Target> {
        self.fixed.get(&(domain, mac)).copied()
    }

    /// The entries of operators.
    pub fn all_fixed(&self) -> impl Iterator<Item = (u32, MacAddr, Target)> {
        self.fixed.iter().map(|((domain, mac), target)| (*domain, *mac, *target))
    }

    /// What [`weft_nodes::interface::Interface::layer2`] is of an interface that is such a port, or none.
    pub fn layer2(&self, port: Option<&Port>) -> Layer2 {
        match port.map(|port| port.mode) {
            None => Layer2::Routed,
            Some(Mode::Bridged { role: Role::Bvi, .. }) => Layer2::RoutedPort(self.input),
            Some(_) => Layer2::Switched(self.input),
        }
    }

    /// Finds out whether all of it can be, and takes the memory for it: what [`Switch::apply`] is given after that it can do.
    pub fn prepare(&mut self, config: &Config, changes: &StaticChanges) -> Result<(), L2Error> {
        let held = self.domains.iter().flatten().count();
        let coming = config.domains.keys().filter(|id| !self.indices.contains_key(id)).count();
        if held + coming > MOST_DOMAINS {
            let id = config.domains.keys().find(|id| !self.indices.contains_key(id));
            return Err(L2Error::TooMany(id.copied().unwrap_or_default(), held));
        }
        let after = |of: &BTreeMap<(u32, MacAddr), Target>| {
            let kept = of.keys().filter(|key| !changes.contains_key(key)).count();
            kept + changes.values().flatten().count()
        };
        let bvis =
            config.ports.values().filter(|port| matches!(port.mode, Mode::Bridged { role: Role::Bvi, .. }));
        let found = if changes.is_empty() { self.fixed.len() } else { after(&self.fixed) } + bvis.count();
        if found > self.settings.macs {
            return Err(L2Error::Full { found, limit: self.settings.macs });
        }
        if self.macs.is_none() && !config.domains.is_empty() {
            let table = Writer::new(self.settings.macs, 1);
            self.macs = Some(table.map_err(|error| L2Error::Memory(error.to_string()))?);
        }
        Ok(())
    }

    /// Makes it so. Workers see all of it with their next vector.
    pub fn apply(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        config: Config,
        changes: StaticChanges,
    ) {
        let gone: Vec<u32> =
            self.indices.keys().filter(|id| !config.domains.contains_key(id)).copied().collect();
        for id in gone {
            let Some(index) = self.indices.remove(&id) else { continue };
            let of_it: Vec<_> = self
                .fixed
                .range((id, MacAddr([0; 6]))..=(id, MacAddr([0xff; 6])))
                .map(|(key, _)| *key)
                .collect();
            of_it.into_iter().for_each(|(_, mac)| self.remove_fixed(id, Some(index), mac));
            if let Some(state) = &mut self.domains[usize::from(index.0)] {
                state.gone = true;
            }
            self.begin_flush(Scope::Domain(index));
        }
        for (id, domain) in &config.domains {
            let index = *self.indices.entry(*id).or_insert_with(|| free_index(&mut self.domains, *id));
            let limit = domain.limit.map_or(usize::MAX, |limit| limit as usize);
            if let Some(state) = &mut self.domains[usize::from(index.0)] {
                (state.limit, state.age) = (limit, u32::from(domain.age) * 60);
                state.full.set(state.learned >= limit);
            }
        }
        let moved = |(index, port): &(&InterfaceIndex, &Port)| {
            config.ports.get(index).and_then(Port::domain) != port.domain() && port.domain().is_some()
        };
        let left: Vec<_> = self.config.ports.iter().filter(moved).map(|(index, _)| *index).collect();
        left.into_iter().for_each(|index| self.begin_flush(Scope::Port(index)));
        if let Some((last, _)) = config.ports.last_key_value()
            && self.ports.len() <= last.index()
        {
            self.ports.resize_with(last.index() + 1, PortState::default);
        }
        self.config = config;
        for ((id, mac), target) in changes {
            match (target, self.indices.get(&id).copied()) {
                (Some(target), Some(index)) => self.put_fixed(id, index, mac, target),
                (None, index) => self.remove_fixed(id, index, mac),
                (Some(_), None) => {}
            }
        }
        self.sync_bvis(interfaces);
        for (index, state) in (0..).zip(&self.ports) {
            let limit = self.config.ports.get(&InterfaceIndex(index)).and_then(|port| port.limit);
            state.full.set(limit.is_some_and(|limit| state.learned >= limit as usize));
        }
        let view = self.view();
        self.published.replace(&mut engine.domain, view);
        self.sweep(AT_ONCE);
    }

    /// The address of an interface is another one: that of a routed port is known in its domain.
    pub fn interface_changed(&mut self, interfaces: &Interfaces) {
        self.sync_bvis(interfaces);
    }

    fn sync_bvis(&mut self, interfaces: &Interfaces) {
        let mut wanted = BTreeMap::new();
        for (index, port) in &self.config.ports {
            if let Mode::Bridged { domain, role: Role::Bvi, .. } = port.mode
                && let (Some(domain), Some(interface)) = (self.indices.get(&domain), interfaces.get(*index))
            {
                wanted.insert(*index, Key::new(*domain, interface.mac));
            }
        }
        if wanted == self.bvis {
            return;
        }
        for (index, key) in std::mem::take(&mut self.bvis) {
            if wanted.get(&index) != Some(&key) {
                self.take_out(key);
            }
        }
        for (index, key) in &wanted {
            self.put(*key, Entry::bvi(*index));
        }
        self.bvis = wanted;
    }

    fn put_fixed(&mut self, id: u32, index: DomainIndex, mac: MacAddr, target: Target) {
        self.fixed.insert((id, mac), target);
        let entry = match target {
            Target::Port(port) => Entry::fixed(port),
            Target::Filter => Entry::FILTERED,
        };
        self.put(Key::new(index, mac), entry);
    }

    fn remove_fixed(&mut self, id: u32, index: Option<DomainIndex>, mac: MacAddr) {
        if self.fixed.remove(&(id, mac)).is_some()
            && let Some(index) = index
        {
            self.take_out(Key::new(index, mac));
        }
    }

    /// What workers are to see.
    fn view(&self) -> View {
        let way = |mode| match mode {
            Mode::Bridged { domain, .. } => self.indices.get(&domain).map(|index| Way::Domain(*index)),
            Mode::Crossed(to) => Some(Way::Cross(to)),
        };
        let mut ports: Vec<Option<PortView>> = vec![None; self.ports.len()];
        for (index, port) in &self.config.ports {
            let Some(way) = way(port.mode) else { continue };
            let group = match port.mode {
                Mode::Bridged { group, .. } => group,
                Mode::Crossed(_) => 0,
            };
            let full = self.ports[index.index()].full.clone();
            ports[index.index()] =
                Some(PortView { way, group, learn: port.learn, full, rewrite: port.rewrite });
        }
        let mut domains: Vec<Option<DomainsView>> = vec![None; self.domains.len()];
        for (id, domain) in &self.config.domains {
            let index = usize::from(self.indices[id].0);
            let Some(state) = &self.domains[index] else { continue };
            let members = self.config.members(*id);
            let members: Box<[Member]> =
                members.map(|(interface, role, group)| Member { interface, role, group }).collect();
            let uplink = members.iter().find(|member| member.role == Role::Uplink);
            domains[index] = Some(DomainsView {
                learn: domain.learn,
                forward: domain.forward,
                flood: domain.flood,
                unknown_flood: domain.unknown_flood,
                link_groups: domain.link_groups,
                full: state.full.clone(),
                uplink: uplink.map(|member| member.interface),
                members,
            });
        }
        View {
            ports: ports.into(),
            domains: domains.into(),
            macs: self.macs.as_ref().map(Writer::reader),
            full: self.full.clone(),
        }
    }

    /// By the clock of entries.
    fn seconds(&self) -> u32 {
        self.now().as_secs() as u32
    }

    fn now(&self) -> Duration {
        self.clock.since_start(self.clock.now())
    }

    fn entry(&self, key: Key) -> Option<Entry> {
        let reader = self.macs.as_ref()?.reader();
        let mut value = [0];
        reader.read(reader.get(&[key.0]), &mut value).then_some(Entry(value[0]))
    }

    /// Writes an entry, and counts it. One of an operator makes room for itself.
    fn put(&mut self, key: Key, entry: Entry) -> bool {
        let (old, seconds) = (self.entry(key), self.seconds());
        let Some(macs) = &mut self.macs else { return false };
        let mut written = macs.put([key.0], &[entry.0], seconds).is_ok();
        if !written && !entry.is_learned() && self.make_room() {
            let macs = self.macs.as_mut().expect("it was there just now");
            written = macs.put([key.0], &[entry.0], seconds).is_ok();
        }
        if written {
            if let Some(old) = old {
                self.count(key, old, false);
            }
            self.count(key, entry, true);
        }
        written
    }

    fn take_out(&mut self, key: Key) {
        let old = self.entry(key);
        if let (Some(macs), Some(old)) = (&mut self.macs, old)
            && macs.remove(&[key.0])
        {
            self.count(key, old, false);
        }
    }

    /// Takes out some entry that was learned.
    fn make_room(&mut self) -> bool {
        let Some(macs) = &mut self.macs else { return false };
        let (mut victim, slots) = (None, macs.high_water());
        macs.sweep(slots, |slot| {
            let (key, entry) = of(&slot);
            let goes = victim.is_none() && entry.is_learned();
            if goes {
                victim = Some((key, entry));
            }
            goes
        });
        victim.inspect(|(key, entry)| self.count(*key, *entry, false)).is_some()
    }

    /// An entry has come or gone: what its domain, its port and the table have by then, and whether they are full.
    fn count(&mut self, key: Key, entry: Entry, comes: bool) {
        if entry.is_learned() {
            let step = |count: &mut usize| *count = if comes { *count + 1 } else { count.saturating_sub(1) };
            if let Some(Some(domain)) = self.domains.get_mut(usize::from(key.domain().0)) {
                step(&mut domain.learned);
                domain.full.set(domain.learned >= domain.limit);
            }
            let limit = self.config.ports.get(&entry.port()).and_then(|port| port.limit);
            if let Some(port) = self.ports.get_mut(entry.port().index()) {
                step(&mut port.learned);
                port.full.set(limit.is_some_and(|limit| port.learned >= limit as usize));
            }
        }
        let macs = self.macs.as_ref().map_or(0, Writer::len);
        self.full.set(macs >= self.settings.macs);
    }

    /// Learns what workers have heard, `most` notices at most; returns how many there were.
    pub fn hear(&mut self, most: usize) -> usize {
        let mut heard = 0;
        let mut rings = std::mem::take(&mut self.notices);
        for ring in &mut rings {
            while heard < most
                && let Ok(notice) = ring.pop()
            {
                self.learn(notice);
                heard += 1;
            }
        }
        self.notices = rings;
        heard
    }

    fn learn(&mut self, Notice { key, port }: Notice) {
        // It may be another by now.
        let Some(configured) = self.config.ports.get(&port).filter(|port| port.learn) else { return };
        let Some(id) = configured.domain() else { return };
        let learns = self.config.domains.get(&id).is_some_and(|domain| domain.learn);
        if self.indices.get(&id) != Some(&key.domain()) || !learns {
            return;
        }
        let old = self.entry(key);
        match old {
            Some(entry) if !entry.is_learned() || entry.port() == port => return,
            _ => {}
        }
        let Some(Some(domain)) = self.domains.get_mut(usize::from(key.domain().0)) else { return };
        if old.is_none() && domain.learned >= domain.limit || self.ports[port.index()].full.is_set() {
            return;
        }
        if let Some(old) = old {
            domain.moves += 1;
            self.tell_of_move(id, key.mac(), old.port(), port);
        }
        self.put(key, Entry::learned(port));
    }

    /// In the log, a few per second: two ports that are connected outside have stations move for ever.
    fn tell_of_move(&mut self, domain: u32, mac: MacAddr, from: InterfaceIndex, to: InterfaceIndex) {
        let second = self.now().as_secs();
        if self.moves.0 != second {
            if let Some(more) = self.moves.1.checked_sub(MOVES_TOLD).filter(|more| *more > 0) {
                tracing::info!("bridge domains: {more} more moves of stations in that second");
            }
            self.moves = (second, 0);
        }
        self.moves.1 += 1;
        if self.moves.1 <= MOVES_TOLD {
            tracing::info!(
                "bridge domain {domain}: {mac} was on interface {from}, and is on interface {to} now"
            );
        }
    }

    /// Forgets all stations that were learned.
    pub fn flush_all(&mut self) {
        self.flush(Scope::All);
    }

    /// Forgets those of a domain.
    pub fn flush_domain(&mut self, id: u32) -> Result<(), L2Error> {
        let index = *self.indices.get(&id).ok_or(L2Error::Unknown(id))?;
        self.flush(Scope::Domain(index));
        Ok(())
    }

    /// Forgets those of a port.
    pub fn flush_port(&mut self, port: InterfaceIndex) {
        self.flush(Scope::Port(port));
    }

    fn flush(&mut self, scope: Scope) {
        self.begin_flush(scope);
        self.sweep(AT_ONCE);
    }

    fn begin_flush(&mut self, scope: Scope) {
        let left = self.macs.as_ref().map_or(0, Writer::high_water);
        self.flushes.retain(|flush| flush.scope != scope);
        self.flushes.push(Flush { scope, left });
    }

    /// Whether [`Switch::tick`] has something to do.
    pub fn is_due(&self) -> bool {
        self.macs.as_ref().is_some_and(|macs| !macs.is_empty()) || !self.flushes.is_empty()
    }

    /// Looks at some entries, as many as the time since the last call asks for.
    pub fn tick(&mut self) {
        let now = self.now();
        let passed = now.saturating_sub(std::mem::replace(&mut self.ticked, now)).min(ROUND);
        let all = self.macs.as_ref().map_or(0, Writer::high_water);
        let share = (all as f64 * passed.as_secs_f64() / ROUND.as_secs_f64()) as usize;
        let (least, most) = PER_TICK;
        self.sweep(if self.flushes.is_empty() { share.clamp(least, most) } else { most });
    }

    /// Takes out, of the next so many slots, what is old or to be flushed.
    fn sweep(&mut self, slots: usize) {
        let seconds = self.seconds();
        let Switch { macs, domains, flushes, .. } = self;
        let Some(macs) = macs else {
            return self.end_flushes(slots);
        };
        let mut gone = Vec::new();
        macs.sweep(slots, |slot| {
            let (key, entry) = of(&slot);
            let age =
                domains.get(usize::from(key.domain().0)).and_then(Option::as_ref).map_or(0, |it| it.age);
            let is_old = age != 0 && entry.is_learned() && seconds.saturating_sub(slot.seen) >= age;
            let goes = is_old || flushes.iter().any(|flush| flush.scope.has(key, entry));
            if goes {
                gone.push((key, entry));
            }
            goes
        });
        gone.into_iter().for_each(|(key, entry)| self.count(key, entry, false));
        self.end_flushes(slots);
    }

    /// So many slots were looked at. Whose last entry has gone gives its number to others.
    fn end_flushes(&mut self, slots: usize) {
        let domains = &mut self.domains;
        self.flushes.retain_mut(|flush| {
            flush.left = flush.left.saturating_sub(slots);
            if flush.left == 0
                && let Scope::Domain(index) = flush.scope
                && let Some(place) = domains.get_mut(usize::from(index.0))
                && place.as_ref().is_some_and(|domain| domain.gone)
            {
                *place = None;
            }
            flush.left > 0
        });
    }

    /// The domains, by id.
    pub fn domains(&self) -> impl Iterator<Item = DomainView<'_>> {
        self.config.domains.iter().filter_map(|(id, domain)| {
            let index = self.indices.get(id)?.0;
            let state = self.domains[usize::from(index)].as_ref()?;
            Some(DomainView { id: *id, index, domain, learned: state.learned, moves: state.moves })
        })
    }

    /// Stations that were learned on a port.
    pub fn learned_on(&self, port: InterfaceIndex) -> usize {
        self.ports.get(port.index()).map_or(0, |port| port.learned)
    }

    /// How many entries there are, and how many there may be.
    pub fn size(&self) -> (usize, usize) {
        (self.macs.as_ref().map_or(0, Writer::len), self.settings.macs)
    }

    /// What is known of a station.
    pub fn find(&self, domain: u32, mac: MacAddr) -> Option<MacView> {
        let key = Key::new(*self.indices.get(&domain)?, mac);
        let macs = self.macs.as_ref()?.reader();
        let found = macs.get(&[key.0]);
        let slot = macs.next(found.slot).filter(|_| found.is_some())?;
        self.shown(&slot)
    }

    /// The first station whose place is `from` or later, and the place after it. What is to be flushed has gone already, as far
    /// as anybody is told.
    pub fn next(&self, mut from: u32) -> Option<(MacView, u32)> {
        let macs = self.macs.as_ref()?.reader();
        loop {
            let slot = macs.next(from)?;
            from = slot.found.slot + 1;
            if let Some(shown) = self.shown(&slot) {
                return Some((shown, from));
            }
        }
    }

    /// All stations.
    pub fn stations(&self) -> impl Iterator<Item = MacView> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let (station, next) = self.next(place)?;
            place = next;
            Some(station)
        })
    }

    fn shown(&self, slot: &Slot<'_, 1>) -> Option<MacView> {
        let (key, entry) = of(slot);
        let domain = self.domains.get(usize::from(key.domain().0))?.as_ref().filter(|domain| !domain.gone)?;
        if self.flushes.iter().any(|flush| flush.scope.has(key, entry)) {
            return None;
        }
        Some(MacView {
            domain: domain.id,
            mac: key.mac(),
            port: (!entry.is_filter()).then_some(entry.port()),
            learned: entry.is_learned(),
            bvi: entry.is_bvi(),
            age: Duration::from_secs(self.seconds().saturating_sub(slot.seen).into()),
        })
    }
}

/// The entry in a slot.
fn of(slot: &Slot<'_, 1>) -> (Key, Entry) {
    let value = slot.value.first().map_or(0, |word| word.load(std::sync::atomic::Ordering::Relaxed));
    (Key(slot.key[0]), Entry(value))
}

/// The lowest number that no domain has.
fn free_index(domains: &mut Vec<Option<DomainState>>, id: u32) -> DomainIndex {
    let place = domains.iter().position(Option::is_none).unwrap_or_else(|| {
        domains.push(None);
        domains.len() - 1
    });
    domains[place] =
        Some(DomainState { id, gone: false, learned: 0, limit: 0, age: 0, full: Full::default(), moves: 0 });
    DomainIndex(place as u16)
}
