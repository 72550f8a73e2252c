// SPDX-License-Identifier: Apache-2.0
//! A plugin as the main thread has it: started, in the graph, out of it again, ended.
//!
//! The main thread calls into a plugin from here alone, one call at a time, and from no call into another.

mod api;

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use weft_classify::OwnedSet;
use weft_engine::buffer::context::Field;
use weft_engine::clock::Tsc;
use weft_engine::feature::FeatureSpec;
use weft_engine::graph::{GraphError, NodeDef, Registration as GraphRegistration, Wiring};
use weft_engine::node::Node;
use weft_engine::registry::{Handles, Key};
use weft_engine::trace::TraceRecord;
use weft_engine::wait::Waker;
use weft_engine::{Engine, InterfaceIndex, NodeId, ThreadIndex};
use weft_nodes::context::MARK;
use weft_plugin_sdk::{Event, abi};

pub use self::api::{ApiAnswer, ApiFailure, ApiQuestion};
use crate::counter::Counter;
use crate::error::PluginError;
use crate::health::{Failure, Health, Mode, Since};
use crate::instance::{Instance, Kept, WorkerState};
use crate::library::Library;
use crate::node::{Parts, PluginNode};
use crate::registration::{
    ApiMessageParts, ArcParts, HandlerParts, MessageParts, NodeParts, Registration, Run, TimerParts,
};
pub use crate::registration::{CommandParts, FeatureParts};
use crate::settings::SettingParts;
use crate::specs::Specs;
use crate::table::{Call, HOST, readable, text};
use crate::world::World;

/// What all plugins share.
pub struct Host {
    specs: Specs,
    retire: Sender<WorkerState>,
    retired: Receiver<WorkerState>,
}

impl Default for Host {
    fn default() -> Host {
        let (retire, retired) = channel();
        Host { specs: Specs::default(), retire, retired }
    }
}

impl Host {
    /// Ends what workers have sent back.
    pub fn retire(&self) {
        self.retired.try_iter().for_each(drop);
    }
}

/// Where a feature was enabled: arc, node, and the interfaces.
pub type Enabled = Vec<(String, String, Vec<InterfaceIndex>)>;

/// What an exported state is of, and its bytes.
pub type State = (u32, Vec<u8>);

/// What a command says.
pub enum Answer {
    /// The same as text and as JSON.
    Now {
        /// For people.
        text: String,
        /// For programs.
        json: String,
    },
    /// [`Plugin::later`] has it, some time.
    Later {
        /// To ask by; when asked, of no meaning.
        name: String,
    },
}

/// A node that is being watched: its name, its worker, since when the running call runs.
struct Watched {
    node: String,
    thread: ThreadIndex,
    since: Arc<Since>,
}

/// A started plugin.
pub struct Plugin {
    /// What it was loaded from.
    pub library: Library,
    /// How it is.
    pub health: Arc<Health>,
    nodes: Vec<NodeParts>,
    node_names: Vec<String>,
    ids: Vec<NodeId>,
    arcs: Vec<ArcParts>,
    features: Vec<FeatureParts>,
    handlers: Vec<HandlerParts>,
    commands: Vec<CommandParts>,
    timers: Vec<(TimerParts, Instant)>,
    pub(crate) settings: Vec<SettingParts>,
    messages: Vec<MessageParts>,
    api_messages: Vec<ApiMessageParts>,
    api_definitions: Vec<(String, String)>,
    counters: Vec<Counter>,
    counter_names: Vec<(String, u32)>,
    watched: Vec<Watched>,
    rules: Vec<OwnedSet>,
    pub(crate) instance: Arc<Instance>,
    /// Once it is in the graph.
    mark: Option<Field<u32>>,
}

impl Plugin {
    /// Has the plugin register what it has. Nothing of it is in the graph yet. `main` is woken when it fails.
    pub fn start(
        library: Library,
        world: &mut dyn World,
        configuration: &str,
        main: Waker,
    ) -> Result<Plugin, PluginError> {
        let mut registration = Registration::default();
        let mut rules = Vec::new();
        let mut instance = Instance::new(Arc::clone(&library.code));
        let mut state: *mut c_void = ptr::null_mut();
        let mut call = Call {
            plugin: &library.name,
            world,
            registration: Some(&mut registration),
            rules: Some(&mut rules),
            instance: None,
            counters: &[],
            nodes: &[],
            configuration,
            said: String::new(),
            why: String::new(),
        };
        // SAFETY: the descriptor's function, with what the ABI says; `library` keeps the code.
        let code = unsafe { (library.descriptor.init)(&raw const HOST, call.main(), &raw mut state) };
        let said = call.said;
        instance.users = std::mem::take(&mut registration.users);
        instance.fields = std::mem::take(&mut registration.fields);
        let plugin = library.name.clone();
        match code {
            abi::OK => instance.state = Kept { data: state, end: library.descriptor.exit },
            abi::PANICKED => return Err(PluginError::Panicked { plugin, during: "in init", said }),
            _ => return Err(PluginError::Init { plugin, said }),
        }
        let Registration {
            nodes,
            arcs,
            features,
            handlers,
            commands,
            timers,
            settings,
            messages,
            api_messages,
            api_definitions,
            counters,
            fields: _,
            users: _,
        } = registration;
        let now = Instant::now();
        let period = |timer: &TimerParts| Duration::from_millis(timer.period_ms.into());
        Ok(Plugin {
            library,
            health: Health::new(main),
            node_names: nodes.iter().map(|node| node.name.clone()).collect(),
            nodes,
            ids: Vec::new(),
            arcs,
            features,
            handlers,
            commands,
            timers: timers
                .into_iter()
                .map(|timer| (now + period(&timer), timer))
                .map(|(due, timer)| (timer, due))
                .collect(),
            settings,
            messages,
            api_messages,
            api_definitions,
            counters: Vec::new(),
            counter_names: counters,
            watched: Vec::new(),
            rules,
            instance: Arc::new(instance),
            mark: None,
        })
    }

    pub(crate) fn call<'a>(&'a self, world: &'a mut dyn World) -> Call<'a> {
        Call {
            plugin: &self.library.name,
            world,
            registration: None,
            rules: None,
            instance: Some(&self.instance),
            counters: &self.counters,
            nodes: &self.node_names,
            configuration: "",
            said: String::new(),
            why: String::new(),
        }
    }

    /// What the next incarnation needs, if the plugin has such a thing.
    pub fn export(&self, world: &mut dyn World) -> Result<Option<State>, PluginError> {
        let Some(export) = self.library.descriptor.export_state else {
            return Ok(None);
        };
        let (mut version, mut bytes) = (0, Vec::new());
        let mut call = self.call(world);
        // SAFETY: as in `start`.
        let code =
            unsafe { export(self.instance.state.data, call.main(), &raw mut version, text(&mut bytes)) };
        match code {
            abi::OK => Ok((version > 0).then_some((version, bytes))),
            _ => Err(PluginError::Panicked {
                plugin: self.library.name.clone(),
                during: "in export_state",
                said: call.said,
            }),
        }
    }

    /// Gives it what the one before has exported.
    pub fn import(&mut self, world: &mut dyn World, (version, bytes): &State) -> Result<(), PluginError> {
        let Some(import) = self.library.descriptor.import_state else {
            return Ok(());
        };
        let mut rules = std::mem::take(&mut self.rules);
        let mut call = self.call(world);
        call.rules = Some(&mut rules);
        let state = self.instance.state.data;
        // SAFETY: as in `start`.
        let code = unsafe { import(state, call.main(), *version, bytes.as_ptr(), bytes.len()) };
        let said = call.said;
        self.rules = rules;
        match code {
            abi::OK => Ok(()),
            _ => Err(PluginError::Import { plugin: self.library.name.clone(), said }),
        }
    }

    /// Tells it what becomes of interfaces and tables.
    pub fn hear(&self, world: &mut dyn World, event: Event) {
        let Some(hear) = self.library.descriptor.event.filter(|_| self.health.mode() != Mode::Failed) else {
            return;
        };
        let event = abi::Event::from(event);
        let mut call = self.call(world);
        // SAFETY: as in `start`.
        let code = unsafe { hear(self.instance.state.data, call.main(), &raw const event) };
        let said = call.said;
        match code {
            abi::OK => {}
            abi::PANICKED => drop(self.panicked("an event".to_owned(), said)),
            _ => tracing::warn!("plugin {}: an event: {said}", self.library.name),
        }
    }

    /// Rules that it wants to have from its start on.
    pub fn rules(&self) -> &[OwnedSet] {
        &self.rules
    }

    /// Registers its counters; those that the incarnation before has under the same name go on.
    pub fn make_counters(&mut self, engine: &mut Engine, before: Option<&Plugin>) -> Result<(), PluginError> {
        let plugin = &self.library.name;
        let mut counters = Vec::new();
        for (name, columns) in &self.counter_names {
            let columns = *columns as usize;
            let known = before.and_then(|before| before.counter(name));
            if let Some(vector) = known.filter(|vector| vector.columns() == columns) {
                counters.push(vector.clone());
                continue;
            }
            if let Some(other) = known {
                engine.stats.remove(other.entry());
            }
            match Counter::new(engine, plugin, name, columns) {
                Ok(vector) => counters.push(vector),
                Err(error) => {
                    self.counters = counters;
                    self.remove_counters(engine, before);
                    return Err(PluginError::Stats { plugin: self.library.name.clone(), error });
                }
            }
        }
        self.counters = counters;
        Ok(())
    }

    fn counter(&self, name: &str) -> Option<&Counter> {
        let place = self.counter_names.iter().position(|(known, _)| known == name)?;
        self.counters.get(place)
    }

    /// Removes its counters, but for those that the next incarnation (or the one before) goes on with.
    pub fn remove_counters(&self, engine: &mut Engine, but: Option<&Plugin>) {
        let kept = |vector: &Counter| {
            but.is_some_and(|but| but.counters.iter().any(|other| other.entry() == vector.entry()))
        };
        for vector in self.counters.iter().filter(|vector| !kept(vector)) {
            engine.stats.remove(vector.entry());
        }
    }

    /// Brings its nodes and features into the graph; all of them or, on an error, none.
    pub fn install(&mut self, host: &mut Host, engine: &mut Engine) -> Result<(), PluginError> {
        let mark = engine.field::<u32>(MARK).map_err(GraphError::from)?;
        self.mark = Some(mark);
        let mut opened = self.open(engine)?;
        let plugin = &*self;
        let (watched, reasons) = (RefCell::new(Vec::new()), engine.counters.reasons.clone());
        let workers = engine.threads().count() as u16;
        let mut defs = Vec::new();
        for (part, opened) in plugin.nodes.iter().zip(&mut opened) {
            let spec = host.specs.get(part);
            let (retire, watched, reasons) = (&host.retire, &watched, &reasons);
            defs.push(NodeDef::new(spec, move |wiring: &Wiring<'_>| {
                let thread = usize::from(wiring.thread().0) - 1;
                let worker_state = opened[thread].take().expect("a node is made once per thread");
                let since = Arc::new(Since::default());
                let (node, thread) = (part.name.clone(), wiring.thread());
                watched.borrow_mut().push(Watched { node, thread, since: Arc::clone(&since) });
                Box::new(PluginNode::new(
                    wiring,
                    Parts {
                        process: part.process,
                        wait: part.wait,
                        workers,
                        hands_off: part.hands_off,
                        mark,
                        feature: plugin.features.iter().any(|feature| feature.node == part.name),
                        handles: plugin.handlers.iter().any(|handler| handler.node == part.name),
                        reasons_length: (part.drops.len() as u16, part.events.len() as u16),
                        health: &plugin.health,
                        since,
                        counters: &plugin.counters,
                        arcs: &plugin.arcs,
                        reasons,
                        name: &part.name,
                        state: worker_state.state(),
                        worker_state,
                        retire: retire.clone(),
                    },
                )) as Box<dyn Node>
            }));
        }
        let names: Vec<_> =
            plugin.features.iter().map(|it| (borrowed(&it.after), borrowed(&it.before))).collect();
        let features = plugin.features.iter().zip(&names);
        let features = features.map(|(feature, (after, before))| {
            let set_by = feature.set_by.as_deref();
            (feature.node.as_str(), FeatureSpec { arc: &feature.arc, after, before, set_by })
        });
        let handles = plugin.handlers.iter().map(|handler| {
            let key = handler.reason.as_deref().map_or(Key::Number(handler.number), Key::Reason);
            (handler.node.as_str(), Handles { registry: &handler.registry, key })
        });
        let brought = GraphRegistration {
            arcs: plugin.arcs.iter().map(ArcParts::spec).collect(),
            nodes: defs,
            features: features.collect(),
            handles: handles.collect(),
            ..Default::default()
        };
        let ids = engine.register(&plugin.library.name, brought)?;
        self.watched = watched.into_inner();
        self.ids = ids;
        Ok(())
    }

    /// Has the plugin make the state of each of its nodes, on each worker.
    fn open(&self, engine: &Engine) -> Result<Vec<Vec<Option<WorkerState>>>, PluginError> {
        let mut opened = Vec::new();
        for node in &self.nodes {
            let mut of_node = Vec::new();
            for thread in engine.threads() {
                let mut state = ptr::null_mut();
                if let Some(open) = node.open {
                    // SAFETY: the plugin registered both for each other.
                    let code = unsafe { open(node.user, thread.0.into(), &raw mut state) };
                    if code != abi::OK {
                        let said = format!("node '{}' makes no instance for worker {thread}", node.name);
                        return Err(PluginError::Init { plugin: self.library.name.clone(), said });
                    }
                }
                let end = node.close.filter(|_| node.open.is_some());
                of_node.push(Some(WorkerState::new(Kept { data: state, end }, &self.instance)));
            }
            opened.push(of_node);
        }
        Ok(opened)
    }

    /// Takes its features and nodes out of the graph: packets go on without it, and none is lost. Says where its features
    /// were enabled.
    pub fn leave(&mut self, engine: &mut Engine) -> Enabled {
        let enabled = remove_features(engine, self.features.iter());
        self.ids.drain(..).for_each(|id| engine.remove_node(id));
        engine.remove_arcs(&self.library.name);
        self.watched.clear();
        enabled
    }

    /// Enables its features where `enabled` says, as far as it still has them.
    pub fn enable(&self, engine: &mut Engine, enabled: Enabled) {
        for (arc, node, interfaces) in enabled {
            for interface in interfaces {
                let arc = engine.features().arc(&arc);
                let enabled = arc.and_then(|arc| engine.set_feature(arc, interface, &node, true));
                if let Err(error) = enabled {
                    tracing::warn!("plugin {}: {error}", self.library.name);
                }
            }
        }
    }

    /// Whether nobody else holds anything of it any more: it can be dropped, which ends it.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.instance) == 1
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[String] {
        &self.node_names
    }

    /// Its features.
    pub fn features(&self) -> &[FeatureParts] {
        &self.features
    }

    /// Its commands.
    pub fn commands(&self) -> &[CommandParts] {
        &self.commands
    }

    /// Runs a command; an error is the sentence that says why not.
    pub fn run(&self, world: &mut dyn World, path: &str, line: &str) -> Result<Answer, String> {
        self.answer_of(world, path, line, |command| Some(command.run))
    }

    /// Asks for an answer that was to come later, by its name.
    pub fn later(&self, world: &mut dyn World, path: &str, name: &str) -> Result<Answer, String> {
        self.answer_of(world, path, name, |command| command.later)
    }

    fn answer_of(
        &self,
        world: &mut dyn World,
        path: &str,
        line: &str,
        function: impl FnOnce(&CommandParts) -> Option<Run>,
    ) -> Result<Answer, String> {
        let command = self.commands.iter().find(|command| command.path == path);
        let Some((command, function)) = command.and_then(|command| Some((command, function(command)?)))
        else {
            return Err(format!("plugin '{}' has no command '{path}'", self.library.name));
        };
        if self.health.mode() == Mode::Failed {
            return Err(format!("plugin '{}' has failed; see show plugins", self.library.name));
        }
        let (mut plain, mut json) = (Vec::new(), Vec::new());
        let mut call = self.call(world);
        // SAFETY: the plugin registered the function with `user`; its state is used by one call at a time.
        let code = unsafe {
            let (user, state) = (command.user, self.instance.state.data);
            let (line, length) = (line.as_ptr(), line.len());
            function(user, state, call.main(), line, length, text(&mut plain), text(&mut json))
        };
        let said = call.said;
        match code {
            abi::OK => Ok(Answer::Now { text: readable(plain), json: readable(json) }),
            abi::LATER => Ok(Answer::Later { name: readable(plain) }),
            abi::PANICKED => Err(self.panicked(format!("command '{path}'"), said)),
            _ => Err(said),
        }
    }

    /// Nobody waits any more for the answer of that name.
    pub fn cancel(&self, world: &mut dyn World, path: &str, name: &str) {
        let command = self.commands.iter().find(|command| command.path == path);
        let Some((command, cancel)) = command.and_then(|command| Some((command, command.cancel?))) else {
            return;
        };
        if self.health.mode() == Mode::Failed {
            return;
        }
        let mut call = self.call(world);
        // SAFETY: as in `answer`.
        let code =
            unsafe { cancel(command.user, self.instance.state.data, call.main(), name.as_ptr(), name.len()) };
        let said = call.said;
        if code == abi::PANICKED {
            self.panicked(format!("the end of command '{path}'"), said);
        }
    }

    /// The commands of vplaned that it takes.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(|message| message.name.as_str())
    }

    /// Takes a command of vplaned; an error is a sentence.
    pub fn take(&self, world: &mut dyn World, name: &str, data: &[u8]) -> Result<(), String> {
        let Some(message) = self.messages.iter().find(|message| message.name == name) else {
            return Err(format!("plugin '{}' does not take '{name}'", self.library.name));
        };
        if self.health.mode() == Mode::Failed {
            return Err(format!("plugin '{}' has failed; see show plugins", self.library.name));
        }
        let mut call = self.call(world);
        let (user, state) = (message.user, self.instance.state.data);
        // SAFETY: as in `answer`.
        let code = unsafe { (message.run)(user, state, call.main(), data.as_ptr(), data.len()) };
        let said = call.said;
        match code {
            abi::OK => Ok(()),
            abi::PANICKED => Err(self.panicked(format!("message '{name}'"), said)),
            _ => Err(said),
        }
    }

    /// When its next timer is due.
    pub fn next_due(&self) -> Option<Instant> {
        let runs = self.health.mode() != Mode::Failed;
        self.timers.iter().map(|(_, due)| *due).min().filter(|_| runs)
    }

    /// Runs the timers that are due.
    pub fn tick(&mut self, world: &mut dyn World, now: Instant) {
        for i in 0..self.timers.len() {
            let (timer, due) = &mut self.timers[i];
            if *due > now || self.health.mode() == Mode::Failed {
                continue;
            }
            *due = now + Duration::from_millis(timer.period_ms.into());
            let (user, run) = (timer.user, timer.run);
            let mut call = self.call(world);
            // SAFETY: as in `run`.
            let code = unsafe { run(user, self.instance.state.data, call.main()) };
            let said = call.said;
            match code {
                abi::OK => {}
                abi::PANICKED => drop(self.panicked("a timer".to_owned(), said)),
                _ => tracing::warn!("plugin {}: a timer: {said}", self.library.name),
            }
        }
    }

    pub(crate) fn panicked(&self, place: String, said: String) -> String {
        let sentence = format!("plugin '{}' has failed in {place}: {said}", self.library.name);
        self.health.fail(Failure { place, thread: ThreadIndex(0), said });
        sentence
    }

    /// What a node of it says of a packet in a trace.
    pub fn trace(&self, node: &str, record: &TraceRecord) -> Option<String> {
        let node = self.nodes.iter().find(|part| part.name == node)?;
        let format = node.trace?;
        let mut out = Vec::new();
        let data = record.data();
        let detail = record.detail.as_ref().map_or(&[][..], |detail| detail.bytes());
        let trace = abi::Trace {
            size: size_of::<abi::Trace>() as u32,
            length: data.len() as u32,
            metadata: (&raw const record.meta).cast(),
            data: data.as_ptr(),
            fields: (&raw const record.fields).cast(),
            mark: self.mark?.offset().into(),
            record_length: detail.len() as u32,
            record: detail.as_ptr(),
        };
        // SAFETY: the plugin registered both for each other; the trace is good during the call.
        let code = unsafe { format(node.user, &raw const trace, text(&mut out)) };
        match code {
            abi::OK => Some(readable(out)),
            _ => {
                self.panicked(format!("the trace of node {}", node.name), readable(out));
                None
            }
        }
    }

    /// Nodes whose running call has taken longer than `limit` clocks so far.
    pub fn overdue(&self, now: Tsc, limit: u64) -> Vec<(&str, ThreadIndex)> {
        let late = |watched: &&Watched| match watched.since.0.load(Ordering::Relaxed) {
            0 => false,
            since => now.since(Tsc(since)) > limit,
        };
        self.watched.iter().filter(late).map(|watched| (watched.node.as_str(), watched.thread)).collect()
    }
}

fn remove_features<'a>(engine: &mut Engine, features: impl Iterator<Item = &'a FeatureParts>) -> Enabled {
    let mut enabled = Vec::new();
    let mut seen = HashSet::new();
    for feature in features {
        if let Ok(arc) = engine.features().arc(&feature.arc)
            && seen.insert((arc, feature.node.as_str()))
        {
            let interfaces = engine.remove_feature(arc, &feature.node);
            enabled.push((feature.arc.clone(), feature.node.clone(), interfaces));
        }
    }
    enabled
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
