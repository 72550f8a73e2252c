// SPDX-License-Identifier: Apache-2.0
//! What a plugin has registered in `init`, copied and checked. It takes effect only when all of it is good.

use std::ffi::c_void;

use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec};
use weft_engine::node::Severity;
use weft_plugin_sdk::abi;

use crate::counter::PAIRS;
use crate::foreign::{self, Described};
use crate::instance::Kept;
use crate::settings::SettingParts;

// SAFETY: integers, raw pointers and optional functions only.
unsafe impl Described for abi::Node {
    const WHAT: &'static str = "a node";
}
// SAFETY: as above.
unsafe impl Described for abi::Arc {
    const WHAT: &'static str = "an arc";
}
// SAFETY: as above.
unsafe impl Described for abi::Feature {
    const WHAT: &'static str = "a feature";
}
// SAFETY: as above.
unsafe impl Described for abi::Handler {
    const WHAT: &'static str = "a handler";
}
// SAFETY: as above.
unsafe impl Described for abi::Command {
    const WHAT: &'static str = "a command";
}
// SAFETY: as above.
unsafe impl Described for abi::Message {
    const WHAT: &'static str = "a message";
}
// SAFETY: as above.
unsafe impl Described for abi::ApiMessage {
    const WHAT: &'static str = "an API message";
}
// SAFETY: as above.
unsafe impl Described for abi::Timer {
    const WHAT: &'static str = "a timer";
}

/// Shortest period of a timer, in milliseconds: what the main loop can keep.
pub const SHORTEST_PERIOD: u32 = 10;
/// Most edges, most reasons to drop and most events of one node.
const MOST: usize = 64;
/// Most columns of a counter.
const MOST_COLUMNS: u32 = 4096;

pub(crate) type Open = unsafe extern "C" fn(*mut c_void, u32, *mut *mut c_void) -> i32;
pub(crate) type Process = unsafe extern "C" fn(*mut abi::Vector) -> u32;
pub(crate) type Wait = unsafe extern "C" fn(*mut c_void, *mut abi::Wait) -> i32;
pub(crate) type Close = unsafe extern "C" fn(*mut c_void);
pub(crate) type Trace = unsafe extern "C" fn(*mut c_void, *const abi::Trace, *mut abi::Text) -> i32;
pub(crate) type Run = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *mut abi::Main,
    *const u8,
    usize,
    *mut abi::Text,
    *mut abi::Text,
) -> i32;
pub(crate) type Tick = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut abi::Main) -> i32;

pub(crate) type Take =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut abi::Main, *const u8, usize) -> i32;

pub(crate) type Answer = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *mut abi::Main,
    *const abi::ApiRequest,
    *mut abi::ApiReply,
) -> i32;

/// A reason of a node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReasonText {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) severity: &'static str,
}

impl ReasonText {
    pub(crate) fn severity(&self) -> Severity {
        match self.severity {
            "error" => Severity::Error,
            "warn" => Severity::Warn,
            _ => Severity::Info,
        }
    }
}

/// A node.
pub(crate) struct NodeParts {
    pub name: String,
    pub edges: Vec<String>,
    pub drops: Vec<ReasonText>,
    pub events: Vec<ReasonText>,
    pub input: bool,
    pub period_ms: u32,
    pub hands_off: bool,
    pub user: *mut c_void,
    pub open: Option<Open>,
    pub process: Process,
    pub wait: Option<Wait>,
    pub close: Option<Close>,
    pub trace: Option<Trace>,
}

/// An arc.
#[derive(Clone, Debug)]
pub(crate) struct ArcParts {
    pub name: String,
    pub by_tx: bool,
    /// The node that follows; otherwise transmission does.
    pub next: Option<String>,
}

impl ArcParts {
    /// As the engine wants it.
    pub fn spec(&self) -> ArcSpec<'_> {
        ArcSpec {
            name: &self.name,
            key: if self.by_tx { ArcKey::TxInterface } else { ArcKey::RxInterface },
            end: self.next.as_deref().map_or(ArcEnd::Transmit, ArcEnd::Node),
        }
    }
}

/// A feature.
#[derive(Clone, Debug)]
pub struct FeatureParts {
    /// The arc.
    pub arc: String,
    /// The node.
    pub node: String,
    pub(crate) after: Vec<String>,
    pub(crate) before: Vec<String>,
    pub(crate) set_by: Option<String>,
}

/// A node that handles packets of a number.
pub(crate) struct HandlerParts {
    pub registry: String,
    pub number: u16,
    /// In a registry of reasons.
    pub reason: Option<String>,
    pub node: String,
}

/// A command.
#[derive(Clone)]
pub struct CommandParts {
    /// Its words.
    pub path: String,
    /// Its arguments.
    pub synopsis: String,
    /// What it does.
    pub help: String,
    pub(crate) user: *mut c_void,
    pub(crate) run: Run,
    pub(crate) later: Option<Run>,
    pub(crate) cancel: Option<Take>,
}

/// A command of vplaned.
pub(crate) struct MessageParts {
    pub name: String,
    pub user: *mut c_void,
    pub run: Take,
}

/// A message of the binary API.
pub(crate) struct ApiMessageParts {
    pub name: String,
    pub user: *mut c_void,
    pub run: Answer,
}

/// A timer.
pub(crate) struct TimerParts {
    pub period_ms: u32,
    pub user: *mut c_void,
    pub run: Tick,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Registration {
    pub nodes: Vec<NodeParts>,
    pub arcs: Vec<ArcParts>,
    pub features: Vec<FeatureParts>,
    pub handlers: Vec<HandlerParts>,
    pub commands: Vec<CommandParts>,
    pub timers: Vec<TimerParts>,
    pub settings: Vec<SettingParts>,
    pub messages: Vec<MessageParts>,
    pub api_messages: Vec<ApiMessageParts>,
    /// Names and texts of `.api` files.
    pub api_definitions: Vec<(String, String)>,
    /// Names and columns.
    pub counters: Vec<(String, u32)>,
    /// Claims packet fields while it lives.
    pub fields: std::sync::Arc<()>,
    pub users: Vec<Kept>,
}

impl Registration {
    /// # Safety
    /// Here and below: the pointer is what the plugin has given to the function of this name, as the ABI describes it.
    pub(crate) unsafe fn node(&mut self, node: *const abi::Node) -> Result<(), String> {
        // SAFETY: by the caller.
        let node = unsafe { foreign::read(node) }?;
        self.users.push(Kept { data: node.user, end: node.forget });
        // SAFETY: by the caller.
        let (name, edges) = unsafe { (foreign::text(node.name), foreign::list(node.edges)) };
        let name = name.filter(|name| is_name(name)).ok_or("a node needs a name of a-z, 0-9, - and _")?;
        if edges.len() > MOST {
            return Err(format!("node '{name}' has {} edges: expected at most {MOST}", edges.len()));
        }
        // SAFETY: by the caller.
        let (drops, events) = unsafe {
            let drops = reasons(&name, "reason to drop", node.drops, node.drops_length)?;
            (drops, reasons(&name, "event", node.events, node.events_length)?)
        };
        if let Some(twice) = events.iter().find(|event| drops.iter().any(|drop| drop.name == event.name)) {
            return Err(format!("node '{name}' has a reason to drop and an event '{}'", twice.name));
        }
        let process = node.process.ok_or_else(|| format!("node '{name}' does nothing: process is null"))?;
        let input = match (node.kind, node.period_ms) {
            (abi::NODE_INTERNAL, _) => false,
            (abi::NODE_INPUT, 0) => true,
            (abi::NODE_INPUT, _) => {
                return Err(format!(
                    "node '{name}' is an input node, which runs in every turn: expected no period"
                ));
            }
            (other, _) => return Err(format!("node '{name}' is of kind {other}, which is not known")),
        };
        let abi::Node { period_ms, user, open, wait, close, trace, .. } = node;
        let parts = NodeParts {
            name,
            edges,
            drops,
            events,
            input,
            period_ms,
            hands_off: node.hands_off != 0,
            user,
            open,
            process,
            wait,
            close,
            trace,
        };
        self.nodes.push(parts);
        Ok(())
    }

    pub(crate) unsafe fn arc(&mut self, arc: *const abi::Arc) -> Result<(), String> {
        // SAFETY: by the caller.
        let arc = unsafe { foreign::read(arc) }?;
        // SAFETY: by the caller.
        let (name, next) = unsafe { (foreign::text(arc.name), foreign::text(arc.next)) };
        let name = name.filter(|name| is_name(name)).ok_or("an arc needs a name of a-z, 0-9, - and _")?;
        if self.arcs.iter().any(|known| known.name == name) {
            return Err(format!("arc '{name}' is added twice"));
        }
        if arc.by_tx > 1 {
            return Err(format!("arc '{name}': by_tx is {}: expected 0 or 1", arc.by_tx));
        }
        self.arcs.push(ArcParts { name, by_tx: arc.by_tx == 1, next });
        Ok(())
    }

    pub(crate) unsafe fn feature(&mut self, feature: *const abi::Feature) -> Result<(), String> {
        // SAFETY: by the caller.
        let feature = unsafe { foreign::read(feature) }?;
        // SAFETY: by the caller.
        let parts = unsafe {
            FeatureParts {
                arc: foreign::text(feature.arc).ok_or("a feature without an arc")?,
                node: foreign::text(feature.node).ok_or("a feature without a node")?,
                after: foreign::list(feature.after),
                before: foreign::list(feature.before),
                set_by: foreign::text(feature.set_by),
            }
        };
        let FeatureParts { arc, node: name, .. } = &parts;
        match self.nodes.iter().find(|node| node.name == *name) {
            None => Err(format!("feature '{name}' on arc '{arc}' is no node that was added before")),
            Some(node) if node.input => {
                Err(format!("feature '{name}' on arc '{arc}' is an input node, to which no packets go"))
            }
            Some(_) => {
                self.features.push(parts);
                Ok(())
            }
        }
    }

    pub(crate) unsafe fn handler(&mut self, handler: *const abi::Handler) -> Result<(), String> {
        // SAFETY: by the caller.
        let handler = unsafe { foreign::read(handler) }?;
        // SAFETY: by the caller.
        let (registry, reason, node) = unsafe {
            (foreign::text(handler.registry), foreign::text(handler.reason), foreign::text(handler.node))
        };
        let registry = registry.ok_or("a handler without a registry")?;
        let node = node.ok_or_else(|| format!("a handler of {registry} without a node"))?;
        let number = handler.number;
        let number = u16::try_from(number)
            .map_err(|_| format!("'{node}' is to handle {registry} {number}: expected 0 to {}", u16::MAX))?;
        match self.nodes.iter().find(|known| known.name == node) {
            None => Err(format!(
                "'{node}', which is to handle packets of {registry}, is no node that was added before"
            )),
            Some(known) if known.input => Err(format!(
                "'{node}', which is to handle packets of {registry}, is an input node, to which none go"
            )),
            Some(_) => {
                self.handlers.push(HandlerParts { registry, number, reason, node });
                Ok(())
            }
        }
    }

    pub(crate) unsafe fn command(&mut self, command: *const abi::Command) -> Result<(), String> {
        // SAFETY: by the caller.
        let command = unsafe { foreign::read(command) }?;
        self.users.push(Kept { data: command.user, end: command.forget });
        // SAFETY: by the caller.
        let (path, synopsis, help) = unsafe {
            let text = |text| foreign::text(text).unwrap_or_default();
            (text(command.path), text(command.synopsis), text(command.help))
        };
        let run = command.run.ok_or_else(|| format!("command '{path}' does nothing: run is null"))?;
        let abi::Command { user, later, cancel, .. } = command;
        self.commands.push(CommandParts { path, synopsis, help, user, run, later, cancel });
        Ok(())
    }

    pub(crate) unsafe fn timer(&mut self, timer: *const abi::Timer) -> Result<(), String> {
        // SAFETY: by the caller.
        let timer = unsafe { foreign::read(timer) }?;
        self.users.push(Kept { data: timer.user, end: timer.forget });
        let run = timer.run.ok_or("a timer does nothing: run is null")?;
        if timer.period_ms < SHORTEST_PERIOD {
            return Err(format!(
                "a timer every {} ms: expected at least {SHORTEST_PERIOD} ms",
                timer.period_ms
            ));
        }
        self.timers.push(TimerParts { period_ms: timer.period_ms, user: timer.user, run });
        Ok(())
    }

    pub(crate) unsafe fn message(&mut self, message: *const abi::Message) -> Result<(), String> {
        // SAFETY: by the caller.
        let message = unsafe { foreign::read(message) }?;
        self.users.push(Kept { data: message.user, end: message.forget });
        // SAFETY: by the caller.
        let name = unsafe { foreign::text(message.name) }.filter(|name| !name.is_empty());
        let name = name.ok_or("a message without a name")?;
        let run = message.run.ok_or_else(|| format!("message '{name}' does nothing: run is null"))?;
        if self.messages.iter().any(|known| known.name == name) {
            return Err(format!("message '{name}' is taken twice"));
        }
        self.messages.push(MessageParts { name, user: message.user, run });
        Ok(())
    }

    pub(crate) unsafe fn api_message(&mut self, message: *const abi::ApiMessage) -> Result<(), String> {
        // SAFETY: by the caller.
        let message = unsafe { foreign::read(message) }?;
        self.users.push(Kept { data: message.user, end: message.forget });
        // SAFETY: by the caller.
        let name = unsafe { foreign::text(message.name) }.ok_or("an API message without a name")?;
        let run = message.run.ok_or_else(|| format!("API message '{name}' does nothing: run is null"))?;
        if self.api_messages.iter().any(|known| known.name == name) {
            return Err(format!("API message '{name}' is answered twice"));
        }
        self.api_messages.push(ApiMessageParts { name, user: message.user, run });
        Ok(())
    }

    pub(crate) unsafe fn api_definition(
        &mut self,
        name: *const std::ffi::c_char,
        text: *const std::ffi::c_char,
    ) -> Result<(), String> {
        // SAFETY: by the caller.
        let (name, text) = unsafe { (foreign::text(name), foreign::text(text)) };
        let (Some(name), Some(text)) = (name.filter(|name| is_name(name)), text) else {
            return Err("definitions of messages need a name of a-z, 0-9, - and _, and a text".to_owned());
        };
        self.api_definitions.push((name, text));
        Ok(())
    }

    pub(crate) unsafe fn counter(
        &mut self,
        name: *const std::ffi::c_char,
        columns: u32,
    ) -> Result<(), String> {
        // SAFETY: by the caller.
        let name = unsafe { foreign::text(name) }.filter(|name| is_counter_name(name));
        let name = name.ok_or("a counter needs a name of a-z, 0-9, - and _, perhaps several behind /net")?;
        if !(1..=MOST_COLUMNS).contains(&columns) {
            return Err(format!("counter '{name}' has {columns} columns, expected 1 to {MOST_COLUMNS}"));
        }
        if self.counters.iter().any(|(known, _)| *known == name) {
            return Err(format!("counter '{name}' is there already"));
        }
        self.counters.push((name, columns));
        Ok(())
    }
}

/// Reasons to drop, or events (`what`), of a node.
///
/// # Safety
/// `first` leads to `length` of them, as the ABI describes it.
unsafe fn reasons(
    node: &str,
    what: &str,
    first: *const abi::Reason,
    length: u32,
) -> Result<Vec<ReasonText>, String> {
    if length as usize > MOST {
        return Err(format!("node '{node}' has {length} times a {what}: expected at most {MOST}"));
    }
    let reasons = match length {
        0 => &[],
        // SAFETY: by the caller.
        length => unsafe { std::slice::from_raw_parts(first, length as usize) },
    };
    let read = reasons.iter().map(|reason| {
        // SAFETY: by the caller.
        let (name, text) = unsafe { (foreign::text(reason.name)?, foreign::text(reason.text)?) };
        let severity = match reason.severity {
            abi::SEVERITY_ERROR => "error",
            abi::SEVERITY_WARN => "warn",
            _ => "info",
        };
        is_name(&name).then_some(ReasonText { name, text, severity })
    });
    let read: Option<Vec<_>> = read.collect();
    read.ok_or_else(|| format!("a {what} of node '{node}' has no good name or no text"))
}

/// Its own, or a whole name in the stats segment.
fn is_counter_name(name: &str) -> bool {
    match name.strip_prefix(PAIRS) {
        Some(rest) => name.len() <= 64 && rest.split('/').all(is_name),
        None => is_name(name),
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(good)
}
