// SPDX-License-Identifier: Apache-2.0
//! A node of the graph: what an operator can see of it, and the code that works on vectors.

use std::ffi::c_void;
use std::fmt;

use crate::abi;
use crate::main_thread::InterfaceIndex;
use crate::panic::catch;
use crate::vector::{Vector, Verdict};

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

/// A reason to drop, or an event. Made by [`crate::reasons!`].
#[derive(Clone, Copy, Debug)]
pub struct ReasonSpec {
    /// Identifier, as in `/err/<node>/<name>`.
    pub name: &'static str,
    /// The sentence for the operator.
    pub text: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

/// The reasons of one node, as an enum. Implemented by [`crate::reasons!`].
pub trait Reasons: Copy + 'static {
    /// All, by ordinal.
    const ALL: &'static [ReasonSpec];
    /// Position in [`Reasons::ALL`].
    fn ordinal(self) -> u16;
}

/// The edges of one node, as an enum. Implemented by [`crate::edges!`].
pub trait Edges: Copy + 'static {
    /// Names of the next nodes, by ordinal.
    const NAMES: &'static [&'static str];
    /// Position in [`Edges::NAMES`].
    fn ordinal(self) -> usize;
}

/// Declares what a node counts: the doc comment of a variant is what `show errors` prints.
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $( $(#[doc = $text:literal])+ $variant:ident = $id:literal, $severity:ident; )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        $vis enum $name { $( $(#[doc = $text])+ $variant ),* }

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
    fn process(&mut self, vector: Vector<'_>) -> Verdict;
}

/// What a trace has kept of a packet in a node.
pub struct TraceRecord<'a> {
    metadata: &'a abi::Metadata,
    mark: u32,
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
        self.mark
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
    pub(crate) reasons: &'static [ReasonSpec],
    pub(crate) period_ms: u32,
    pub(crate) make: Make,
    pub(crate) trace: Option<TraceFormat>,
}

impl Node {
    /// `make` makes the instance of each worker, on the main thread.
    pub fn new<N: PluginNode>(name: &str, make: impl Fn(Thread) -> N + 'static) -> Node {
        Node {
            name: name.to_owned(),
            edges: &[],
            reasons: &[],
            period_ms: 0,
            make: Box::new(move |thread| Box::new(make(thread))),
            trace: None,
        }
    }

    /// The nodes that it sends to, beside the next one of its arc and the end of all packets.
    pub fn edges<E: Edges>(mut self) -> Node {
        self.edges = E::NAMES;
        self
    }

    /// What it counts.
    pub fn reasons<R: Reasons>(mut self) -> Node {
        self.reasons = R::ALL;
        self
    }

    /// Runs it on every worker every so many milliseconds, with an empty vector if no packet waits.
    pub fn every_ms(mut self, period: u32) -> Node {
        self.period_ms = period;
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
        let metadata = &*trace.metadata;
        let mark = match metadata.flags & abi::FLAG_FIELDS {
            0 => 0,
            _ => trace.fields.cast::<u8>().add(trace.mark as usize).cast::<u32>().read(),
        };
        (&*user.cast::<Behaviour>(), TraceRecord { metadata, mark, data })
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
