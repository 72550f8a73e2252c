// SPDX-License-Identifier: Apache-2.0
//! What a plugin registers while it starts. The host takes all of it or, if anything is refused, none.

use std::ffi::{CString, NulError, c_char, c_void};
use std::ops::{Deref, DerefMut};
use std::ptr;

use crate::abi;
use crate::api::{self, ApiMessage};
use crate::command::{Answer, Words};
use crate::main_thread::{Main, text};
use crate::node::{self, Node, ReasonSpec, Severity};
use crate::packet::{Field, FieldValue};
use crate::panic::catch;
use crate::plugin::{Plugin, Running, finish};
use crate::refusal::Result;

/// A counter of the plugin, on all workers.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub(crate) u32);

/// An arc that the plugin has added.
#[derive(Clone, Copy, Debug)]
pub struct OwnArc(pub(crate) u32);

/// What follows the features of an arc, and which interface decides which these are.
#[derive(Clone, Copy, Debug)]
pub enum ArcEnd<'a> {
    /// This node, by the interface where a packet came in.
    OfRx(&'a str),
    /// This node, by the interface where it goes out.
    OfTx(&'a str),
    /// Transmission on the interface where it goes out.
    Transmit,
}

/// A node as a feature of an arc.
#[derive(Clone, Debug)]
pub struct Feature<'a> {
    arc: &'a str,
    node: &'a str,
    after: Vec<&'a str>,
    before: Vec<&'a str>,
    set_by: Option<&'a str>,
}

impl<'a> Feature<'a> {
    /// `node`, which the same plugin has registered, can be enabled on `arc`.
    pub fn new(arc: &'a str, node: &'a str) -> Feature<'a> {
        Feature { arc, node, after: Vec::new(), before: Vec::new(), set_by: None }
    }

    /// Features that come before it, where enabled.
    pub fn after(mut self, others: &[&'a str]) -> Feature<'a> {
        self.after.extend(others);
        self
    }

    /// Features that come after it, where enabled.
    pub fn before(mut self, others: &[&'a str]) -> Feature<'a> {
        self.before.extend(others);
        self
    }

    /// It belongs to something that this command of the plugin sets, a filter or a limit: nobody but the plugin enables or
    /// disables it ([`Main::set_feature`](crate::Main::set_feature)).
    pub fn set_by(mut self, command: &'a str) -> Feature<'a> {
        self.set_by = Some(command);
        self
    }
}

/// A node as the one that handles packets of a number.
#[derive(Clone, Copy, Debug)]
pub struct Handler<'a> {
    registry: &'a str,
    number: u16,
    reason: Option<&'a str>,
    node: &'a str,
}

impl<'a> Handler<'a> {
    /// `node`, which the same plugin has registered, handles frames of an EtherType. It sees them from what follows the
    /// link header on.
    pub fn ether_type(number: u16, node: &'a str) -> Handler<'a> {
        Handler { registry: "ethertype", number, reason: None, node }
    }

    /// IPv4 packets for this host of a protocol, but fragments, from their IPv4 header on.
    pub fn ip4_protocol(number: u8, node: &'a str) -> Handler<'a> {
        Handler { registry: "ip4-protocol", number: number.into(), reason: None, node }
    }

    /// UDP datagrams over IPv4 for this host to a port, likewise.
    pub fn udp4_port(number: u16, node: &'a str) -> Handler<'a> {
        Handler { registry: "udp4-port", number, reason: None, node }
    }

    /// IPv6 packets for this host of a protocol, but those with extension headers, from their IPv6 header on.
    pub fn ip6_protocol(number: u8, node: &'a str) -> Handler<'a> {
        Handler { registry: "ip6-protocol", number: number.into(), reason: None, node }
    }

    /// UDP datagrams over IPv6 for this host to a port, likewise.
    pub fn udp6_port(number: u16, node: &'a str) -> Handler<'a> {
        Handler { registry: "udp6-port", number, reason: None, node }
    }

    /// Packets on their way to the host's stack for a reason, `<node>/<reason>` as in `show punt reasons`, in its place.
    pub fn punt_reason(reason: &'a str, node: &'a str) -> Handler<'a> {
        Handler { registry: "punt-reason", number: 0, reason: Some(reason), node }
    }
}

type Run<P> = Box<dyn Fn(&mut P, &mut Main<'_>, &mut Words<'_>) -> Result<Answer>>;
type Later<P> = Box<dyn Fn(&mut P, &mut Main<'_>, &str) -> Result<Option<Answer>>>;
type Cancel<P> = Box<dyn Fn(&mut P, &mut Main<'_>, &str)>;

/// What a command does: kept by the host as `user`.
struct Deeds<P> {
    run: Run<P>,
    later: Option<(Later<P>, Cancel<P>)>,
}

/// A command of the command line.
pub struct Command<P> {
    path: &'static str,
    synopsis: &'static str,
    help: &'static str,
    deeds: Deeds<P>,
}

impl<P: Plugin> Command<P> {
    /// `path` are its words: "show acl". `run` reads all words after them, and only then does something.
    pub fn new(
        path: &'static str,
        run: impl Fn(&mut P, &mut Main<'_>, &mut Words<'_>) -> Result<Answer> + 'static,
    ) -> Command<P> {
        Command { path, synopsis: "", help: "", deeds: Deeds { run: Box::new(run), later: None } }
    }

    /// For a command that takes its time: `run` gives [`Answer::later`], `later` is asked every now and then until it has
    /// the answer, and `cancel` ends what was begun if whoever waits for it goes away. The main thread does not wait.
    pub fn later(
        mut self,
        later: impl Fn(&mut P, &mut Main<'_>, &str) -> Result<Option<Answer>> + 'static,
        cancel: impl Fn(&mut P, &mut Main<'_>, &str) + 'static,
    ) -> Command<P> {
        self.deeds.later = Some((Box::new(later), Box::new(cancel)));
        self
    }

    /// Its arguments: `<value>`, `[optional]`, `this|that`, keywords as they are.
    pub fn synopsis(mut self, synopsis: &'static str) -> Command<P> {
        self.synopsis = synopsis;
        self
    }

    /// One sentence about what it does.
    pub fn help(mut self, help: &'static str) -> Command<P> {
        self.help = help;
        self
    }
}

type Take<P> = Box<dyn Fn(&mut P, &mut Main<'_>, &[u8]) -> Result<()>>;

/// A command of vplaned that the plugin takes.
pub struct Message<P> {
    name: &'static str,
    run: Take<P>,
}

impl<P: Plugin> Message<P> {
    /// `name` is the first word of a text, or the type of an envelope; `run` is given the whole text, or the inside of the
    /// envelope. What it refuses is told to vplaned. A command may come again: taking it twice does no more than once.
    pub fn new(
        name: &'static str,
        run: impl Fn(&mut P, &mut Main<'_>, &[u8]) -> Result<()> + 'static,
    ) -> Message<P> {
        Message { name, run: Box::new(run) }
    }
}

type Tick<P> = Box<dyn Fn(&mut P, &mut Main<'_>) -> Result<()>>;

/// Something that the main thread does every so often.
pub struct Timer<P> {
    period_ms: u32,
    run: Tick<P>,
}

impl<P: Plugin> Timer<P> {
    /// Runs every `period_ms` milliseconds, at least 10. What it refuses goes to the log.
    pub fn every_ms(period_ms: u32, run: impl Fn(&mut P, &mut Main<'_>) -> Result<()> + 'static) -> Timer<P> {
        Timer { period_ms, run: Box::new(run) }
    }
}

/// For the host to keep as `user`; ended by `forget::<F>`.
pub(crate) fn keep<F>(run: F) -> *mut c_void {
    Box::into_raw(Box::new(run)).cast()
}

/// The host, while a plugin starts.
pub struct Setup<'m, P> {
    main: Main<'m>,
    counters: u32,
    arcs: u32,
    plugin: std::marker::PhantomData<P>,
}

impl<'m, P> Deref for Setup<'m, P> {
    type Target = Main<'m>;

    fn deref(&self) -> &Main<'m> {
        &self.main
    }
}

impl<P> DerefMut for Setup<'_, P> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.main
    }
}

impl<'m, P: Plugin> Setup<'m, P> {
    pub(crate) fn new(main: Main<'m>) -> Setup<'m, P> {
        Setup { main, counters: 0, arcs: 0, plugin: std::marker::PhantomData }
    }

    /// Registers a node.
    pub fn node(&mut self, node: Node) -> Result<()> {
        let (host, main) = self.main.raw();
        let name = CString::new(node.name.as_str())?;
        let edges = Names::new(node.edges)?;
        let (drops, events) = (Reasons::new(node.drops)?, Reasons::new(node.events)?);
        let described = abi::Node {
            size: size_of::<abi::Node>() as u32,
            kind: node.kind,
            period_ms: node.period_ms,
            hands_off: node.hands_off.into(),
            name: name.as_ptr(),
            edges: edges.pointers.as_ptr(),
            drops: drops.described.as_ptr(),
            drops_length: drops.described.len() as u32,
            events_length: events.described.len() as u32,
            events: events.described.as_ptr(),
            open: Some(node::open),
            process: Some(node::process),
            wait: (node.kind == abi::NODE_INPUT).then_some(node::wait as _),
            close: Some(node::close),
            trace: node.trace.is_some().then_some(node::trace as _),
            forget: Some(node::forget),
            user: node.behaviour(host),
        };
        // SAFETY: `main` is that of the running call; the host copies what the pointers lead to, and ends `user` by
        // `forget`, now if it refuses. So in all functions below.
        let code = unsafe { (host.add_node)(main, &raw const described) };
        self.main.done(code)
    }

    /// Adds an arc, which nodes of the plugin start ([`Packet::start`](crate::Packet::start)): it and others can have features
    /// there. When the plugin goes, it stays as long as others have features there.
    pub fn arc(&mut self, name: &str, end: ArcEnd<'_>) -> Result<OwnArc> {
        let (host, main) = self.main.raw();
        let name = CString::new(name)?;
        let (by_tx, next) = match end {
            ArcEnd::OfRx(node) => (0, Some(CString::new(node)?)),
            ArcEnd::OfTx(node) => (1, Some(CString::new(node)?)),
            ArcEnd::Transmit => (1, None),
        };
        let described = abi::Arc {
            size: size_of::<abi::Arc>() as u32,
            by_tx,
            name: name.as_ptr(),
            next: next.as_ref().map_or(ptr::null(), |node| node.as_ptr()),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_arc)(main, &raw const described) };
        self.main.done(code)?;
        self.arcs += 1;
        Ok(OwnArc(self.arcs - 1))
    }

    /// Makes a node a feature of an arc.
    pub fn feature(&mut self, feature: Feature<'_>) -> Result<()> {
        let (host, main) = self.main.raw();
        let (arc, node) = (CString::new(feature.arc)?, CString::new(feature.node)?);
        let (after, before) = (Names::new(&feature.after)?, Names::new(&feature.before)?);
        let set_by = feature.set_by.map(CString::new).transpose()?;
        let described = abi::Feature {
            size: size_of::<abi::Feature>() as u32,
            arc: arc.as_ptr(),
            node: node.as_ptr(),
            after: after.pointers.as_ptr(),
            before: before.pointers.as_ptr(),
            set_by: set_by.as_ref().map_or(std::ptr::null(), |command| command.as_ptr()),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_feature)(main, &raw const described) };
        self.main.done(code)
    }

    /// Has a node handle the packets of a number. Refused if another one does.
    pub fn handler(&mut self, handler: Handler<'_>) -> Result<()> {
        let (host, main) = self.main.raw();
        let (registry, node) = (CString::new(handler.registry)?, CString::new(handler.node)?);
        let reason = handler.reason.map(CString::new).transpose()?;
        let described = abi::Handler {
            size: size_of::<abi::Handler>() as u32,
            number: handler.number.into(),
            registry: registry.as_ptr(),
            reason: reason.as_ref().map_or(ptr::null(), |reason| reason.as_ptr()),
            node: node.as_ptr(),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_handler)(main, &raw const described) };
        self.main.done(code)
    }

    /// Registers a command.
    pub fn command(&mut self, command: Command<P>) -> Result<()> {
        let (host, main) = self.main.raw();
        let text = |text: &str| CString::new(text);
        let (path, synopsis, help) = (text(command.path)?, text(command.synopsis)?, text(command.help)?);
        let described = abi::Command {
            size: size_of::<abi::Command>() as u32,
            path: path.as_ptr(),
            synopsis: synopsis.as_ptr(),
            help: help.as_ptr(),
            run: Some(run_command::<P>),
            forget: Some(forget::<Deeds<P>>),
            later: command.deeds.later.is_some().then_some(run_later::<P> as _),
            cancel: command.deeds.later.is_some().then_some(run_cancel::<P> as _),
            user: keep::<Deeds<P>>(command.deeds),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_command)(main, &raw const described) };
        self.main.done(code)
    }

    /// Registers a timer.
    pub fn timer(&mut self, timer: Timer<P>) -> Result<()> {
        let (host, main) = self.main.raw();
        let described = abi::Timer {
            size: size_of::<abi::Timer>() as u32,
            period_ms: timer.period_ms,
            user: keep::<Tick<P>>(timer.run),
            run: Some(run_timer::<P>),
            forget: Some(forget::<Tick<P>>),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_timer)(main, &raw const described) };
        self.main.done(code)
    }

    /// Has the plugin take a command of vplaned.
    pub fn message(&mut self, message: Message<P>) -> Result<()> {
        let (host, main) = self.main.raw();
        let name = CString::new(message.name)?;
        let described = abi::Message {
            size: size_of::<abi::Message>() as u32,
            name: name.as_ptr(),
            user: keep::<Take<P>>(message.run),
            run: Some(run_message::<P>),
            forget: Some(forget::<Take<P>>),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_message)(main, &raw const described) };
        self.main.done(code)
    }

    /// Defines messages of the binary API that Weft does not know: the text of the file `<name>.api`. It may import Weft's
    /// own files.
    pub fn define_api(&mut self, name: &str, text: &str) -> Result<()> {
        let (host, main) = self.main.raw();
        let (name, text) = (CString::new(name)?, CString::new(text)?);
        // SAFETY: see `node`.
        let code = unsafe { (host.define_api)(main, name.as_ptr(), text.as_ptr()) };
        self.main.done(code)
    }

    /// Has the plugin answer a message of the binary API.
    pub fn api_message(&mut self, message: ApiMessage<P>) -> Result<()> {
        let (host, main) = self.main.raw();
        let name = CString::new(message.name)?;
        let described = abi::ApiMessage {
            size: size_of::<abi::ApiMessage>() as u32,
            name: name.as_ptr(),
            user: keep::<api::Answer<P>>(message.answer),
            run: Some(api::run::<P>),
            forget: Some(forget::<api::Answer<P>>),
        };
        // SAFETY: see `node`.
        let code = unsafe { (host.add_api_message)(main, &raw const described) };
        self.main.done(code)
    }

    /// Registers a counter of this many numbers: `/plugins/<plugin>/<name>` in the stats segment. A name that begins with `/net/`
    /// is the whole name, and its numbers are shown as pairs, of packets and bytes.
    pub fn counter(&mut self, name: &str, columns: u32) -> Result<Counter> {
        let (host, main) = self.main.raw();
        let name = CString::new(name)?;
        // SAFETY: see `node`.
        let code = unsafe { (host.add_counter)(main, name.as_ptr(), columns) };
        self.main.done(code)?;
        self.counters += 1;
        Ok(Counter(self.counters - 1))
    }

    /// Claims what nodes keep with a packet under a name ([`crate::Packet::field`]). Who claims the same name and type, in this
    /// plugin or elsewhere, shares it: `mark` is the number that classifier rules write. All fields together have 64 bytes.
    pub fn field<T: FieldValue>(&mut self, name: &str) -> Result<Field<T>> {
        let (host, main) = self.main.raw();
        let name = CString::new(name)?;
        let mut offset = 0;
        // SAFETY: see `node`.
        let code = unsafe { (host.add_field)(main, name.as_ptr(), size_of::<T>() as u32, &raw mut offset) };
        self.main.done(code)?;
        // SAFETY: the host has said so.
        Ok(unsafe { Field::new(offset) })
    }

    /// The words of the plugin's own section of startup.conf.
    pub fn configuration(&mut self) -> String {
        let (host, main) = self.main.raw();
        // SAFETY: see `node` and `text`.
        text(|buffer, capacity| unsafe { (host.configuration)(main, buffer, capacity) })
    }
}

/// C strings, and the array of pointers to them that ends in null.
pub(crate) struct Names {
    _texts: Vec<CString>,
    pub pointers: Vec<*const c_char>,
}

impl Names {
    pub fn new(names: &[&str]) -> std::result::Result<Names, NulError> {
        let texts =
            names.iter().map(|name| CString::new(*name)).collect::<std::result::Result<Vec<_>, _>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Names { _texts: texts, pointers })
    }
}

/// Reasons, and the C strings that they lead to.
struct Reasons {
    _texts: Vec<(CString, CString)>,
    described: Vec<abi::Reason>,
}

impl Reasons {
    fn new(reasons: &[ReasonSpec]) -> std::result::Result<Reasons, NulError> {
        let texts: Vec<(CString, CString)> = reasons
            .iter()
            .map(|reason| Ok((CString::new(reason.name)?, CString::new(reason.text.trim())?)))
            .collect::<std::result::Result<_, NulError>>()?;
        let described = texts.iter().zip(reasons).map(|((name, text), reason)| abi::Reason {
            name: name.as_ptr(),
            text: text.as_ptr(),
            severity: match reason.severity {
                Severity::Error => abi::SEVERITY_ERROR,
                Severity::Warn => abi::SEVERITY_WARN,
                Severity::Info => abi::SEVERITY_INFO,
            },
        });
        Ok(Reasons { described: described.collect(), _texts: texts })
    }
}

unsafe extern "C" fn run_command<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    line: *const u8,
    length: usize,
    text: *mut abi::Text,
    json: *mut abi::Text,
) -> i32 {
    let run = |deeds: &Deeds<P>, plugin: &mut P, main: &mut Main<'_>, line: &str| {
        (deeds.run)(plugin, main, &mut Words::new(line)).map(Some)
    };
    // SAFETY: all is as `answer` wants it, by the ABI.
    unsafe { answer(user, state, main, (line, length), (text, json), run) }
}

unsafe extern "C" fn run_later<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    line: *const u8,
    length: usize,
    text: *mut abi::Text,
    json: *mut abi::Text,
) -> i32 {
    let run = |deeds: &Deeds<P>, plugin: &mut P, main: &mut Main<'_>, name: &str| match &deeds.later {
        Some((later, _)) => later(plugin, main, name),
        None => Err("this command answers at once".into()),
    };
    // SAFETY: as in `run_command`.
    unsafe { answer(user, state, main, (line, length), (text, json), run) }
}

unsafe extern "C" fn run_cancel<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    line: *const u8,
    length: usize,
) -> i32 {
    let run = |deeds: &Deeds<P>, plugin: &mut P, main: &mut Main<'_>, name: &str| {
        if let Some((_, cancel)) = &deeds.later {
            cancel(plugin, main, name);
        }
        Ok(Some(Answer::empty()))
    };
    // SAFETY: as in `run_command`; the host's function takes texts that are null.
    unsafe { answer(user, state, main, (line, length), (ptr::null_mut(), ptr::null_mut()), run) }
}

/// Has a command answer; nothing means that it is too early.
///
/// # Safety
/// `user` was made by `keep` of the `Deeds` of a command of `P`; all else is what the host gives to a command.
unsafe fn answer<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    (line, length): (*const u8, usize),
    (text, json): (*mut abi::Text, *mut abi::Text),
    run: impl FnOnce(&Deeds<P>, &mut P, &mut Main<'_>, &str) -> Result<Option<Answer>>,
) -> i32 {
    // SAFETY: `user` by the caller, `state` was made by `plugin::init` for this type; the host calls nothing else of the
    // plugin meanwhile. All else is good during this call.
    let (deeds, running, line) = unsafe {
        let line = std::slice::from_raw_parts(line, length);
        (&*user.cast::<Deeds<P>>(), &mut *state.cast::<Running<P>>(), String::from_utf8_lossy(line))
    };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let answer = catch(|| run(deeds, &mut running.plugin, &mut main, &line));
    let mut later = false;
    if let Ok(Ok(answer)) = &answer {
        later = answer.as_ref().is_none_or(|answer| answer.later);
        // SAFETY: the host's table lives as long as the plugin.
        let write = unsafe { (*running.host).write };
        for (out, answer) in answer.iter().flat_map(|answer| [(text, &answer.text), (json, &answer.json)]) {
            // SAFETY: the texts are good during this call.
            unsafe { write(out, answer.as_ptr(), answer.len()) };
        }
    }
    match finish(&main, answer.map(|answer| answer.map(drop))) {
        abi::OK if later => abi::LATER,
        code => code,
    }
}

unsafe extern "C" fn run_message<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    data: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as in `answer`.
    let (run, running, data) = unsafe {
        let data = std::slice::from_raw_parts(data, length);
        (&*user.cast::<Take<P>>(), &mut *state.cast::<Running<P>>(), data)
    };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let done = catch(|| run(&mut running.plugin, &mut main, data));
    finish(&main, done)
}

unsafe extern "C" fn run_timer<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
) -> i32 {
    // SAFETY: as in `answer`.
    let (run, running) = unsafe { (&*user.cast::<Tick<P>>(), &mut *state.cast::<Running<P>>()) };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let done = catch(|| run(&mut running.plugin, &mut main));
    finish(&main, done)
}

pub(crate) unsafe extern "C" fn forget<F>(user: *mut c_void) {
    // SAFETY: made by `keep` with the same type, and forgotten once.
    let _ = catch(|| drop(unsafe { Box::from_raw(user.cast::<F>()) }));
}
