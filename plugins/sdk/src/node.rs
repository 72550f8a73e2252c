// SPDX-License-Identifier: Apache-2.0
//! A node of the graph: what an operator can see of it, and the code that works on vectors.

use std::ffi::c_void;
use std::fmt;

use crate::abi;
use crate::main_thread::InterfaceIndex;
use crate::packet::{Field, FieldValue};
use crate::panic::catch;
use crate::vector::{Done, Vector};

/// A worker, from 1 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thread(pub u16);

/// How bad it is when a counter moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// A packet was lost that the sender expected to arrive.
    Error,
    /// Worth a look.
    Warn,
    /// Normal operation.
    Info,
}

/// A reason to drop, or an event. Made by [`crate::drops!`] and [`crate::events!`].
#[derive(Clone, Copy, Debug)]
pub struct ReasonSpec {
    /// Identifier, as in `/err/<node>/<name>`.
    pub name: &'static str,
    /// The sentence for the operator.
    pub text: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

/// What one node counts, as an enum. Implemented by [`crate::drops!`] and [`crate::events!`].
pub trait Reasons: Copy + 'static {
    /// All, by ordinal.
    const ALL: &'static [ReasonSpec];
    /// Position in [`Reasons::ALL`].
    fn ordinal(self) -> u16;
}

/// Why packets end in one node. Implemented by [`crate::drops!`].
pub trait Drops: Reasons {}

/// What else one node counts. Implemented by [`crate::events!`].
pub trait Events: Reasons {}

/// The edges of one node, as an enum. Implemented by [`crate::edges!`].
pub trait Edges: Copy + 'static {
    /// Names of the next nodes, by ordinal.
    const NAMES: &'static [&'static str];
    /// Position in [`Edges::NAMES`].
    fn ordinal(self) -> usize;
}

/// Declares why packets end in a node: the doc comment of a variant is what `show errors` prints.
#[macro_export]
macro_rules! drops {
    ($($declaration:tt)*) => { $crate::reasons! { Drops $($declaration)* } };
}

/// Declares what else a node counts, in the same form: what happens without an end to a packet.
#[macro_export]
macro_rules! events {
    ($($declaration:tt)*) => { $crate::reasons! { Events $($declaration)* } };
}

/// What [`drops!`] and [`events!`] have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! reasons {
    ($marker:ident $(#[$meta:meta])* $vis:vis enum $name:ident {
        $( $(#[doc = $text:literal])+ $variant:ident = $id:literal, $severity:ident; )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        $vis enum $name { $( $(#[doc = $text])+ $variant ),* }

        impl $crate::$marker for $name {}

        impl $crate::Reasons for $name {
            const ALL: &'static [$crate::ReasonSpec] = &[
                $( $crate::ReasonSpec {
                    name: $id,
                    text: concat!($($text),+),
                    severity: $crate::Severity::$severity,
                } ),*
            ];
            #[inline(always)]
            fn ordinal(self) -> u16 { self as u16 }
        }
    };
}

/// Declares the edges of a node: `edges! { enum Next { Lookup => "ip4-lookup" } }`.
#[macro_export]
macro_rules! edges {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $( $variant:ident => $node:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum $name { $( $variant ),* }

        impl $crate::Edges for $name {
            const NAMES: &'static [&'static str] = &[ $( $node ),* ];
            #[inline(always)]
            fn ordinal(self) -> usize { self as usize }
        }
    };
}

/// What a node does. One instance per worker: what it owns needs no lock.
pub trait PluginNode: Send + 'static {
    /// Works on a vector: sends each packet on, by [`Vector::each`] and its siblings.
    fn process(&mut self, vector: Vector<'_>) -> Done;

    /// Of an input node ([`Node::input`]): what wakes the worker, which is about to sleep.
    fn wait(&mut self) -> Wait {
        Wait::default()
    }
}

/// What wakes a worker for an input node. By default nothing: packets wait up to 100 ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wait {
    /// There is work already: do not sleep.
    pub busy: bool,
    /// A descriptor that can be read when there is work. The plugin keeps it open.
    pub fd: Option<std::os::fd::RawFd>,
    /// Sleep no longer than this.
    pub within: Option<std::time::Duration>,
}

/// What a trace has kept of a packet in a node.
pub struct TraceRecord<'a> {
    metadata: &'a abi::Metadata,
    fields: &'a abi::Fields,
    mark: Field<u32>,
    record: &'a [u8],
    /// The first bytes, from the current header on, as the node left them.
    pub data: &'a [u8],
}

impl TraceRecord<'_> {
    /// Where the packet came in.
    pub fn rx_interface(&self) -> InterfaceIndex {
        InterfaceIndex(self.metadata.rx_interface)
    }

    /// Where it goes out, if that is known.
    pub fn tx_interface(&self) -> InterfaceIndex {
        InterfaceIndex(self.metadata.tx_interface)
    }

    /// What a classifier's rule has written.
    pub fn mark(&self) -> u32 {
        self.field(self.mark)
    }

    /// What nodes kept with the packet under a name.
    pub fn field<T: FieldValue>(&self, field: Field<T>) -> T {
        // SAFETY: the line is a copy that the trace has.
        unsafe { field.read(self.metadata, self.fields) }
    }

    /// What the node has said of the packet ([`crate::Packet::trace`]), if it was so many words.
    pub fn words<const N: usize>(&self) -> Option<[u32; N]> {
        let (words, rest) = self.record.as_chunks::<4>();
        let words: [[u8; 4]; N] = words.try_into().ok().filter(|_| rest.is_empty())?;
        Some(words.map(u32::from_ne_bytes))
    }

    /// Bytes of the packet in its first buffer.
    pub fn length(&self) -> usize {
        self.metadata.length.into()
    }
}

/// Prints a record, each line indented by two blanks.
pub type TraceFormat = fn(&TraceRecord<'_>, &mut String) -> fmt::Result;

type Make = Box<dyn Fn(Thread) -> Box<dyn PluginNode>>;

/// The behaviour of a node: kept by the host as `user`.
pub(crate) struct Behaviour {
    make: Make,
    trace: Option<TraceFormat>,
    host: *const abi::Host,
}

/// A node on its way into the graph.
pub struct Node {
    pub(crate) name: String,
    pub(crate) edges: &'static [&'static str],
    pub(crate) drops: &'static [ReasonSpec],
    pub(crate) events: &'static [ReasonSpec],
    pub(crate) kind: u32,
    pub(crate) period_ms: u32,
    pub(crate) hands_off: bool,
    pub(crate) make: Make,
    pub(crate) trace: Option<TraceFormat>,
}

impl Node {
    /// `make` makes the instance of each worker, on the main thread.
    pub fn new<N: PluginNode>(name: &str, make: impl Fn(Thread) -> N + 'static) -> Node {
        Node {
            name: name.to_owned(),
            edges: &[],
            drops: &[],
            events: &[],
            kind: abi::NODE_INTERNAL,
            period_ms: 0,
            hands_off: false,
            make: Box::new(move |thread| Box::new(make(thread))),
            trace: None,
        }
    }

    /// A node that brings packets in: it runs in every turn of its worker, with an empty vector, and makes packets by
    /// [`Vector::originate`]. Before the worker sleeps it says what wakes it ([`PluginNode::wait`]).
    pub fn input<N: PluginNode>(name: &str, make: impl Fn(Thread) -> N + 'static) -> Node {
        Node { kind: abi::NODE_INPUT, ..Node::new(name, make) }
    }

    /// The nodes that it sends to, beside the next one of its arc and the end of all packets.
    pub fn edges<E: Edges>(mut self) -> Node {
        self.edges = E::NAMES;
        self
    }

    /// Why packets end in it.
    pub fn drops<D: Drops>(mut self) -> Node {
        self.drops = D::ALL;
        self
    }

    /// What else it counts.
    pub fn events<E: Events>(mut self) -> Node {
        self.events = E::ALL;
        self
    }

    /// Runs it on every worker at this interval in milliseconds, with an empty vector if no packet waits.
    pub fn every_ms(mut self, period: u32) -> Node {
        self.period_ms = period;
        self
    }

    /// Its packets may go on in this node on another worker ([`crate::Packet::hand_off`]).
    pub fn hands_off(mut self) -> Node {
        self.hands_off = true;
        self
    }

    /// How a trace prints what it has kept here.
    pub fn trace(mut self, format: TraceFormat) -> Node {
        self.trace = Some(format);
        self
    }

    pub(crate) fn behaviour(self, host: *const abi::Host) -> *mut c_void {
        Box::into_raw(Box::new(Behaviour { make: self.make, trace: self.trace, host })).cast()
    }
}

pub(crate) unsafe extern "C" fn open(user: *mut c_void, thread: u32, state: *mut *mut c_void) -> i32 {
    // SAFETY: `user` is what `Node::behaviour` gave to the host.
    let behaviour = unsafe { &*user.cast::<Behaviour>() };
    match catch(|| (behaviour.make)(Thread(thread as u16))) {
        Ok(node) => {
            let node: *mut Box<dyn PluginNode> = Box::into_raw(Box::new(node));
            // SAFETY: the host gives a place for the state.
            unsafe { state.write(node.cast()) };
            abi::OK
        }
        Err(_) => abi::PANICKED,
    }
}

pub(crate) unsafe extern "C" fn process(raw: *mut abi::Vector) -> u32 {
    // SAFETY: the host gives a vector whose state was made by `open` for this worker alone.
    let node = unsafe { &mut *(*raw).state.cast::<Box<dyn PluginNode>>() };
    // SAFETY: the vector lives during this call.
    match catch(|| node.process(unsafe { Vector::new(raw) }).0) {
        Ok(verdict) => verdict,
        Err(said) => failed(raw, &said),
    }
}

#[cold]
fn failed(raw: *mut abi::Vector, said: &str) -> u32 {
    // SAFETY: as in `process`; the panic has ended all that referred to the vector.
    unsafe { ((*(*raw).host).write)((*raw).failure, said.as_ptr(), said.len()) };
    abi::SEND_FAILED
}

pub(crate) unsafe extern "C" fn wait(state: *mut c_void, wait: *mut abi::Wait) -> i32 {
    // SAFETY: the state was made by `open` for the worker that calls.
    let (node, wait) = unsafe { (&mut *state.cast::<Box<dyn PluginNode>>(), &mut *wait) };
    match catch(|| node.wait()) {
        Ok(Wait { busy, fd, within }) => {
            wait.busy = busy.into();
            wait.fd = fd.unwrap_or(-1);
            // 0 is no bound.
            wait.within_ms = within.map_or(0, |within| within.as_millis().clamp(1, u32::MAX.into()) as u32);
            abi::OK
        }
        Err(said) => {
            // SAFETY: both are good during this call.
            unsafe { ((*wait.host).write)(wait.failure, said.as_ptr(), said.len()) };
            abi::PANICKED
        }
    }
}

pub(crate) unsafe extern "C" fn close(state: *mut c_void) {
    // SAFETY: made by `open`, and closed once.
    let _ = catch(|| drop(unsafe { Box::from_raw(state.cast::<Box<dyn PluginNode>>()) }));
}

/// Registered for nodes that print what a trace has kept.
pub(crate) unsafe extern "C" fn trace(
    user: *mut c_void,
    trace: *const abi::Trace,
    text: *mut abi::Text,
) -> i32 {
    // SAFETY: `user` is what `Node::behaviour` gave to the host; the trace is good during this call.
    let (behaviour, record) = unsafe {
        let trace = &*trace;
        let data = std::slice::from_raw_parts(trace.data, trace.length as usize);
        let record = match trace.record_length {
            0 => &[],
            length => std::slice::from_raw_parts(trace.record, length as usize),
        };
        let (metadata, fields, mark) = (&*trace.metadata, &*trace.fields, Field::new(trace.mark));
        (&*user.cast::<Behaviour>(), TraceRecord { metadata, fields, mark, record, data })
    };
    let Some(format) = behaviour.trace else {
        return abi::OK;
    };
    let printed = catch(|| {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = format(&record, &mut out);
        out
    });
    let (code, out) = match printed {
        Ok(out) => (abi::OK, out),
        Err(said) => (abi::PANICKED, said),
    };
    // SAFETY: the host's table lives as long as the plugin; the text is good during this call.
    unsafe { ((*behaviour.host).write)(text, out.as_ptr(), out.len()) };
    code
}

pub(crate) unsafe extern "C" fn forget(user: *mut c_void) {
    // SAFETY: made by `Node::behaviour`, and forgotten once.
    let _ = catch(|| drop(unsafe { Box::from_raw(user.cast::<Behaviour>()) }));
}
