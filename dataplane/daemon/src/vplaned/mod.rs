// SPDX-License-Identifier: Apache-2.0
//! vplaned drives the dataplane: what it says becomes ports, addresses, routes and neighbours here.
//!
//! The session and its sockets are a task of the main loop ([`task`]). Whatever comes out of it is worked into [`Vplaned`],
//! a part of the [`Dataplane`]: netlink goes through a store that keeps what was said and tells only differences, and the
//! differences are applied (module `changes`). So a restart of vplaned changes nothing that stays the same, and until it is
//! back everything stays. What the dataplane has to say in turn waits in a queue for the task.

mod changes;
mod commands;
mod console;
mod netstat;
mod npf;
mod ports;
mod rates;
mod sessions;
mod settings;
pub mod task;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use weft_control::ChangeSet;
use weft_nodes::ip4::Multipath;
use weft_vplaned::broker::{BrokerCounts, BrokerEvent};
use weft_vplaned::commands::{CommandError, Ignored, Outcome, Registry, named, text_of};
use weft_vplaned::config::Settings;
use weft_vplaned::netlink::{self, Topic};
use weft_vplaned::session::{Counts, Event};
use weft_vplaned::store::{Change, Owner, Store};
use weft_vplaned::types::{Counters, DataplaneId, Link, PortDescription, PortNumber, Sequence};
use weft_vplaned::wire::Item;

use self::changes::Bindings;
use self::npf::Filters;
use self::ports::Ports;
use self::rates::Rates;
use self::settings::Wanted;
use crate::plugins::Plugins;
use crate::state::Dataplane;

pub use self::console::console;
pub(crate) use self::task::check;

/// Topics that every vplaned publishes, of what stays with the kernel: no news on a healthy start.
const HARMLESS_TOPICS: [&str; 1] = ["tc_qdisc"];
/// Words of topics that are remembered; further ones are counted together.
const MOST_TOPICS: usize = 64;
/// Differences applied at once: a few milliseconds' work. The end of a snapshot may leave a million.
const SLICE: usize = 2048;
/// What a failed command is reported with.
const FAILED: i32 = -1;

/// Something for vplaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    AddPort(PortDescription),
    RemovePort(PortNumber),
    Link(PortNumber, Link),
    Counters(String, Counters),
    Failed { command: String, code: i32 },
}

/// A snapshot that was taken in.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    pub messages: u64,
    pub took: Duration,
    pub at: SystemTime,
}

/// How the session stands, as the task last saw it.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub state: &'static str,
    pub request: String,
    pub publisher: Option<String>,
    pub console: Vec<String>,
    pub dataplane: DataplaneId,
    pub sequence: Sequence,
    pub counts: Counts,
    /// Connections that did not survive the handshake.
    pub refused: u64,
    /// The route broker's endpoint, and what came from it.
    pub broker: Option<(String, BrokerCounts)>,
}

/// What netlink adds up to.
#[derive(Default)]
pub struct Learned {
    store: Store,
    /// To be applied to the dataplane.
    changes: Vec<Change>,
    /// The last `ecmp mode`, likewise.
    multipath: Option<Multipath>,
}

/// vplaned's part of the state.
pub struct Vplaned {
    pub settings: Settings,
    pub status: Status,
    pub snapshot: Option<Snapshot>,
    pub last_error: Option<String>,
    /// Messages by the leading word of their topic.
    pub topics: BTreeMap<String, u64>,
    /// Topics that mean nothing to Weft.
    pub unknown: BTreeMap<String, u64>,
    /// Netlink messages that could not be read.
    pub unreadable: u64,
    /// Differences that could not be applied.
    pub failed_changes: u64,
    learned: Learned,
    /// Packet filters.
    pub filters: Filters,
    /// What commands have set.
    wanted: Wanted,
    /// What they had set before the snapshot that is under way.
    before: Option<Wanted>,
    registry: Registry<Dataplane>,
    bindings: Bindings,
    /// Kinds of links of which the log says that they stay with the kernel.
    left_alone: BTreeSet<Box<str>>,
    rates: Rates,
    ports: Ports,
    tells: Vec<Tell>,
    /// Differences whose turn has not come.
    pending: VecDeque<Change>,
    /// A snapshot that is read but not applied to its end.
    ending: Option<Ending>,
}

/// A snapshot that is read, since when, and whether packet filters have changed by it.
struct Ending {
    snapshot: Snapshot,
    read: Instant,
    commit: bool,
}

impl Vplaned {
    /// Before the first session.
    pub fn new(settings: Settings) -> Vplaned {
        Vplaned {
            settings,
            status: Status::default(),
            snapshot: None,
            last_error: None,
            topics: BTreeMap::new(),
            unknown: BTreeMap::new(),
            unreadable: 0,
            failed_changes: 0,
            learned: Learned::default(),
            filters: Filters::default(),
            wanted: Wanted::default(),
            before: None,
            registry: commands::registry(),
            bindings: Bindings::default(),
            left_alone: BTreeSet::new(),
            rates: Rates::default(),
            ports: Ports::default(),
            tells: Vec::new(),
            pending: VecDeque::new(),
            ending: None,
        }
    }

    /// Commands without effect.
    pub fn ignored(&self) -> &BTreeMap<String, Ignored> {
        self.registry.ignored()
    }

    /// Commands that were carried out, and that failed.
    pub fn commands(&self) -> (u64, u64) {
        self.registry.counts()
    }

    /// What netlink adds up to.
    pub fn store(&self) -> &Store {
        &self.learned.store
    }

    /// Takes one piece of state in; says whether it was netlink.
    fn take_in(&mut self, item: &Item, word: &str) -> bool {
        count(&mut self.topics, word);
        let Some(topic) = Topic::new(word) else { return false };
        match netlink::parse(topic, &item.data) {
            Ok(event) => self.learned.store.apply(Owner::Vplaned, event, &mut self.learned.changes),
            Err(error) => {
                self.unreadable += 1;
                self.complain(format!("netlink under {}: {error}", item.topic.escape_ascii()));
            }
        }
        true
    }

    /// Tells what became of a command, unless it was carried out.
    fn judge(&mut self, word: &str, data: &[u8], outcome: Outcome) {
        let shown = shown(data).unwrap_or_else(|| format!("under {word:?}"));
        match outcome {
            Outcome::Applied => return,
            Outcome::Ignored { name, first } => {
                if first {
                    tracing::info!("vplaned: commands {name:?} are accepted and ignored");
                }
                return;
            }
            Outcome::Failed(CommandError::Neither { found }) => {
                if count(&mut self.unknown, word) {
                    match HARMLESS_TOPICS.contains(&word) {
                        true => tracing::debug!("vplaned: topic {word:?} is left to the kernel"),
                        false => self.complain(format!("topic {word:?} means nothing here: {found}")),
                    }
                }
                return;
            }
            Outcome::Unknown { name, first } => {
                if first {
                    self.complain(format!("command {shown} is not known: {name:?}"));
                }
            }
            Outcome::Failed(error) => self.complain(format!("command {shown}: {error}")),
        }
        self.tell_failed(data);
    }

    fn failed(&mut self, data: &[u8], why: &str) {
        let shown = shown(data).unwrap_or_default();
        self.complain(format!("command {shown}: {why}"));
        self.tell_failed(data);
    }

    fn tell_failed(&mut self, data: &[u8]) {
        // Only for text: vplaned's listeners could make nothing of the bytes of an envelope.
        if let Some(text) = text_of(data) {
            self.report_failed(text);
        }
    }

    fn report_failed(&mut self, command: &str) {
        self.tells.push(Tell::Failed { command: command.to_owned(), code: FAILED });
    }

    fn complain(&mut self, text: String) {
        tracing::warn!("vplaned: {text}");
        self.last_error = Some(text);
    }
}

/// A command as the log names it: its text, or the type of its envelope.
fn shown(data: &[u8]) -> Option<String> {
    let text = text_of(data).map(|text| format!("{text:?}"));
    text.or_else(|| named(data).map(|(name, _)| format!("protobuf {name:?}")))
}

/// Counts a name from outside; says whether it is new.
fn count(names: &mut BTreeMap<String, u64>, name: &str) -> bool {
    let known = names.contains_key(name);
    let new = !known && names.len() < MOST_TOPICS;
    let key = if known || new { name.escape_default().to_string() } else { "(others)".to_owned() };
    *names.entry(key).or_default() += 1;
    new
}

impl Dataplane {
    /// Works in what the session tells; what it leads to may take some calls of [`Dataplane::apply_more`].
    pub fn hear_vplaned(&mut self, events: impl IntoIterator<Item = Event>) {
        // Apart while the rest of the state changes by it.
        let Some(mut vplaned) = self.take_part::<Vplaned>() else { return };
        for event in events {
            vplaned = match event {
                Event::Update(item) => self.hear_item(vplaned, &item),
                event => {
                    self.hear_event(&mut vplaned, event);
                    vplaned
                }
            };
        }
        self.apply_slice(&mut vplaned);
        self.put_part(vplaned);
    }

    fn hear_item(&mut self, mut vplaned: Box<Vplaned>, item: &Item) -> Box<Vplaned> {
        let word = String::from_utf8_lossy(item.word()).into_owned();
        if vplaned.take_in(item, &word) {
            return vplaned;
        }
        // Handlers of commands find everything where it belongs.
        let mut registry = std::mem::take(&mut vplaned.registry);
        self.put_part(vplaned);
        let by_plugin = named(&item.data).and_then(|(name, data)| self.plugin_command(&name, &data));
        let outcome = match by_plugin {
            None => Ok(registry.run(self, &item.data)),
            Some(done) => done.map(|()| Outcome::Applied),
        };
        let mut vplaned = self.take_part::<Vplaned>().expect("handlers put vplaned's part back");
        vplaned.registry = registry;
        match outcome {
            Ok(outcome) => vplaned.judge(&word, &item.data, outcome),
            Err(why) => vplaned.failed(&item.data, &why),
        }
        vplaned
    }

    /// A command of a plugin; `None`: no plugin takes it.
    fn plugin_command(&mut self, name: &str, data: &[u8]) -> Option<Result<(), String>> {
        let plugin = self.part::<Plugins>().taker(name)?.to_owned();
        self.with_plugin(&plugin, |plugin, dataplane| plugin.take(dataplane, name, data))
    }

    fn hear_event(&mut self, vplaned: &mut Vplaned, event: Event) {
        match event {
            Event::Update(_) => {}
            Event::Accepted { dataplane } => {
                if dataplane != vplaned.settings.dataplane {
                    let expected = vplaned.settings.dataplane.0;
                    tracing::warn!("vplaned: this is dataplane {}, expected {expected}", dataplane.0);
                }
                tracing::info!("vplaned: connected");
            }
            Event::PortReady { port, ifindex, name } => {
                // The port's interface may have been another one before.
                while self.apply_slice(vplaned) {}
                self.bind_port(vplaned, port, ifindex, &name);
            }
            Event::PortRefused { port, reply } => {
                vplaned.complain(format!("port {} is refused: {reply}", port.0));
            }
            Event::PortDeleted { port, deleted } => {
                tracing::info!("vplaned: port {} is deleted: {deleted}", port.0);
            }
            Event::SnapshotBegin => {
                vplaned.learned.store.begin_resync(Owner::Vplaned);
                vplaned.filters.store.begin_resync();
                let wanted = std::mem::take(&mut vplaned.wanted);
                // One that is begun again was not finished.
                vplaned.before.get_or_insert(wanted);
            }
            Event::SnapshotEnd { messages, took } => {
                let Learned { store, changes, .. } = &mut vplaned.learned;
                store.end_resync(Owner::Vplaned, changes);
                // A snapshot commits by itself (protocol page 13.3).
                let commit = vplaned.filters.store.end_resync();
                let snapshot = Snapshot { messages, took, at: SystemTime::now() };
                vplaned.ending = Some(Ending { snapshot, read: Instant::now(), commit });
            }
            Event::ReportDue => self.report_all(vplaned),
            Event::Malformed { channel, error } => {
                vplaned.complain(format!("message of the {channel} channel: {error}"));
            }
            Event::Refused(reply) => vplaned.complain(format!("answers {reply:?} to a report")),
            Event::Lost { reason, retry_in } => {
                vplaned.filters.store.abandon_resync();
                if let Some(before) = vplaned.before.take() {
                    vplaned.wanted = before;
                }
                vplaned
                    .complain(format!("session lost: {reason}; next attempt in {} ms", retry_in.as_millis()));
            }
        }
    }

    /// Works in what the route broker tells, as [`Dataplane::hear_vplaned`]; says whether it asks for everything anew.
    pub fn hear_broker(&mut self, events: impl IntoIterator<Item = BrokerEvent>) -> bool {
        let Some(mut vplaned) = self.take_part::<Vplaned>() else { return false };
        let mut reset = false;
        for event in events {
            let Learned { store, changes, .. } = &mut vplaned.learned;
            match event {
                BrokerEvent::Said(event) => store.apply(Owner::Broker, event, changes),
                BrokerEvent::ReplayBegins => store.begin_resync(Owner::Broker),
                BrokerEvent::ReplayEnds => store.end_resync(Owner::Broker, changes),
                BrokerEvent::Reset => reset = true,
            }
        }
        self.apply_slice(&mut vplaned);
        self.put_part(vplaned);
        reset
    }

    /// Applies some of what was heard; says whether there is more. Nothing should be heard before all is applied, so that the
    /// senders wait and not the memory grows.
    pub fn apply_more(&mut self) -> bool {
        let Some(mut vplaned) = self.take_part::<Vplaned>() else { return false };
        let more = self.apply_slice(&mut vplaned);
        self.put_part(vplaned);
        more
    }

    fn apply_slice(&mut self, vplaned: &mut Vplaned) -> bool {
        if let Some(multipath) = vplaned.learned.multipath.take() {
            let mut changes = ChangeSet::new(weft_control::Owner::VPLANED);
            changes.set(
                &weft_control::settings::MULTIPATH,
                None,
                weft_control::settings::multipath(multipath),
            );
            self.change_possible(changes);
        }
        vplaned.pending.extend(vplaned.learned.changes.drain(..));
        let most = SLICE.min(vplaned.pending.len());
        if most > 0 {
            let failures = vplaned.bindings.apply(self, vplaned.pending.drain(..most));
            vplaned.failed_changes += failures.count;
            for failure in failures.first {
                vplaned.complain(failure);
            }
        }
        if !vplaned.pending.is_empty() {
            return true;
        }
        for kind in vplaned.learned.store.left_alone().into_keys() {
            if !vplaned.left_alone.contains(&kind) {
                tracing::info!(
                    "vplaned: links of kind {kind:?} have no effect here: they stay with the kernel"
                );
                vplaned.left_alone.insert(kind);
            }
        }
        // What a million left behind.
        vplaned.pending.shrink_to(SLICE);
        vplaned.learned.changes.shrink_to(SLICE);
        if let Some(Ending { snapshot, read, commit }) = vplaned.ending.take() {
            vplaned.before = None;
            self.apply_settings(vplaned);
            if commit {
                self.commit_at_the_end(vplaned);
            }
            let snapshot = Snapshot { took: snapshot.took + read.elapsed(), ..snapshot };
            let Snapshot { messages, took, .. } = snapshot;
            tracing::info!("vplaned: snapshot of {messages} messages in {} ms", took.as_millis());
            vplaned.snapshot = Some(snapshot);
        }
        self.follow_interfaces(vplaned);
        false
    }

    /// What is set for interfaces by name follows those that come and go.
    fn follow_interfaces(&mut self, vplaned: &mut Vplaned) {
        if vplaned.before.is_none() {
            self.apply_settings(vplaned);
        }
        if vplaned.filters.is_outdated(&vplaned.bindings) {
            self.commit_at_the_end(vplaned);
        }
    }

    /// A commit that no command asked for.
    fn commit_at_the_end(&mut self, vplaned: &mut Vplaned) {
        let Vplaned { filters, bindings, .. } = &mut *vplaned;
        let done = filters.commit(self, bindings);
        self.apply_settings(vplaned);
        if let Err(error) = done {
            vplaned.complain(format!("packet filters: {error}"));
            vplaned.report_failed("npf-cfg commit");
        }
    }

    /// Registers ports that are new and withdraws those that are gone; reports links that have changed.
    pub fn look_after_vplaned(&mut self) {
        let Some(mut vplaned) = self.take_part::<Vplaned>() else { return };
        self.look_at_ports(&mut vplaned);
        let now = Instant::now();
        for (index, _) in self.interfaces().iter() {
            vplaned.rates.look(index, now, &self.counters_of(index));
        }
        vplaned.filters.log(self.rule_sets());
        self.put_part(vplaned);
    }

    /// What is to be told to vplaned.
    pub fn take_tells(&mut self) -> Vec<Tell> {
        self.find_part_mut::<Vplaned>().map(|vplaned| std::mem::take(&mut vplaned.tells)).unwrap_or_default()
    }
}
