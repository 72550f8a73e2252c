// SPDX-License-Identifier: Apache-2.0
//! What a node is: a static descriptor beside one function.
//!
//! The descriptor ([`NodeSpec`]) holds all that an operator can see: name, edges, reasons with their
//! sentences, the formatter of its trace. The function ([`Node::process`]) says what happens to a vector of
//! packets. There is one instance per worker, so an instance owns what it keeps and needs no lock; what
//! instances share, they read through [`crate::publish`].

use std::any::Any;
use std::marker::PhantomData;
use std::time::Duration;

use crate::buffer::Packet;
use crate::context::Context;
use crate::counters::Counters;
use crate::feature::FeatureSpec;
use crate::frame::Frame;
use crate::ids::{NodeId, ReasonId};
use crate::registry::Handles;
use crate::trace::TraceFormat;
use crate::wait::WaitSet;

/// When a node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Polled in every turn; brings packets into the graph. Its frame is always empty.
    Input,
    /// Runs when packets wait for it.
    Internal,
    /// Runs when packets wait for it, and every so often with an empty frame.
    Timer(Duration),
}

/// What becomes of packets in a node, as far as rates and captures are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Hands packets on.
    Transit,
    /// Sends them out of an interface.
    Output,
    /// Hands them to the host.
    Punt,
    /// Ends them with a reason.
    Drop,
    /// Keeps them until something happens (an ARP reply, a verdict).
    Hold,
}

impl Role {
    /// Whether the node keeps or frees its packets, so that they must be looked at before it runs.
    pub(crate) fn ends_packets(self) -> bool {
        self != Role::Transit
    }
}

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

impl Severity {
    /// The word that `show errors` prints.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warn => "warn",
            Severity::Info => "info",
        }
    }
}

/// What a counter of a node counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReasonKind {
    /// Packets that end with this reason in the drop node.
    Drop,
    /// Something that happened, and ended no packet.
    Event,
}

impl ReasonKind {
    /// The word that operators read.
    pub const fn word(self) -> &'static str {
        match self {
            ReasonKind::Drop => "drop",
            ReasonKind::Event => "event",
        }
    }
}

/// A counter of a node: a reason to drop, or an event. Made by [`crate::drops!`] and [`crate::events!`].
#[derive(Clone, Copy, Debug)]
pub struct ReasonSpec {
    /// Which of the two.
    pub kind: ReasonKind,
    /// Identifier, as in `/err/<node>/<name>`.
    pub name: &'static str,
    /// The sentence for the operator.
    pub text: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

/// Counters of one node, as an enum. Implemented by [`crate::drops!`] and [`crate::events!`].
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
///
/// ```
/// weft_engine::drops! {
///     pub enum Reason {
///         /// no route to the destination
///         NoRoute = "no_route", Error;
///     }
/// }
/// use weft_engine::node::{ReasonKind, Reasons};
/// assert_eq!((Reason::ALL[0].text.trim(), Reason::ALL[0].kind), ("no route to the destination", ReasonKind::Drop));
/// ```
#[macro_export]
macro_rules! drops {
    ($($declaration:tt)*) => { $crate::reasons! { Drop Drops $($declaration)* } };
}

/// Declares what else a node counts, in the same form: what happened without an end to a packet.
#[macro_export]
macro_rules! events {
    ($($declaration:tt)*) => { $crate::reasons! { Event Events $($declaration)* } };
}

/// What [`drops!`] and [`events!`] have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! reasons {
    ($kind:ident $marker:ident $(#[$meta:meta])* $vis:vis enum $name:ident {
        $( $(#[doc = $text:literal])+ $variant:ident = $id:literal, $severity:ident; )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        $vis enum $name { $( $(#[doc = $text])+ $variant ),* }

        impl $crate::node::$marker for $name {}

        impl $crate::node::Reasons for $name {
            const ALL: &'static [$crate::node::ReasonSpec] = &[
                $( $crate::node::ReasonSpec {
                    kind: $crate::node::ReasonKind::$kind,
                    name: $id,
                    text: concat!($($text),+),
                    severity: $crate::node::Severity::$severity,
                } ),*
            ];
            #[inline(always)]
            fn ordinal(self) -> u16 { self as u16 }
        }
    };
}

/// Declares the edges of a node.
///
/// ```
/// weft_engine::edges! { pub enum Next { Rewrite => "ip4-rewrite", Drop => "drop" } }
/// ```
#[macro_export]
macro_rules! edges {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $( $variant:ident => $node:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        $vis enum $name { $( $variant ),* }

        impl $crate::node::Edges for $name {
            const NAMES: &'static [&'static str] = &[ $( $node ),* ];
            #[inline(always)]
            fn ordinal(self) -> usize { self as usize }
        }
    };
}

/// Most edges that a node names.
pub const MAX_EDGES: usize = 12;

/// A node's edges, resolved to the graph of the engine that it runs in.
#[derive(Clone, Copy)]
pub struct Nexts<E> {
    ids: [NodeId; MAX_EDGES],
    edges: PhantomData<E>,
}

impl<E: Edges> Nexts<E> {
    pub(crate) fn new(resolved: &[NodeId]) -> Self {
        let mut ids = [NodeId::DROP; MAX_EDGES];
        ids[..resolved.len()].copy_from_slice(resolved);
        Nexts { ids, edges: PhantomData }
    }

    /// The node at the end of `edge`.
    #[inline(always)]
    pub fn to(&self, edge: E) -> NodeId {
        self.ids[edge.ordinal() % MAX_EDGES]
    }
}

/// A node's drop reasons or its events, placed in the engine's table.
#[derive(Clone, Copy)]
pub struct ReasonBase<R> {
    base: u16,
    reasons: PhantomData<R>,
}

impl<R: Reasons> ReasonBase<R> {
    pub(crate) fn new(base: ReasonId) -> Self {
        ReasonBase { base: base.0, reasons: PhantomData }
    }

    /// The id of a reason.
    #[inline(always)]
    pub fn id(&self, reason: R) -> ReasonId {
        ReasonId(self.base + reason.ordinal())
    }
}

impl<E: Events> ReasonBase<E> {
    /// Counts an event `n` times.
    #[inline(always)]
    pub fn count(&self, counters: &Counters, event: E, n: u64) {
        counters.count(self.id(event), n);
    }
}

impl<R: Drops> ReasonBase<R> {
    /// Marks the packet and names the node that ends it.
    #[inline(always)]
    pub fn drop(&self, packet: &mut Packet<'_>, reason: R) -> NodeId {
        // Keeps the loop of a node free of what it does not do for good packets.
        std::hint::cold_path();
        packet.meta.reason = self.id(reason);
        NodeId::DROP
    }
}

/// All that an operator can see of a node.
#[derive(Debug)]
pub struct NodeSpec {
    /// `<protocol>-<verb>`.
    pub name: &'static str,
    /// When it runs.
    pub kind: Kind,
    /// What becomes of packets.
    pub role: Role,
    /// Names of the next nodes.
    pub next: &'static [&'static str],
    /// Arcs that it is a feature of, and its places there.
    pub features: &'static [FeatureSpec<'static>],
    /// The node that it stands in front of: see [`NodeSpec::in_front_of`].
    pub front_of: Option<&'static str>,
    /// Packets of which numbers are handed to it.
    pub handles: &'static [Handles<'static>],
    /// Names of its reasons for which packets go to the host rather than nowhere.
    pub punts: &'static [&'static str],
    /// Why packets end in it. (Those of a plugin's node are all here, whatever they say of themselves.)
    pub drops: &'static [ReasonSpec],
    /// What else it counts.
    pub events: &'static [ReasonSpec],
    /// Prints what the trace kept of a packet in this node.
    pub trace: Option<TraceFormat>,
}

impl NodeSpec {
    const fn new(name: &'static str, kind: Kind) -> Self {
        NodeSpec {
            name,
            kind,
            role: Role::Transit,
            next: &[],
            features: &[],
            front_of: None,
            handles: &[],
            punts: &[],
            drops: &[],
            events: &[],
            trace: None,
        }
    }

    /// A node that brings packets in.
    pub const fn input(name: &'static str) -> Self {
        Self::new(name, Kind::Input)
    }

    /// A node that packets pass.
    pub const fn internal(name: &'static str) -> Self {
        Self::new(name, Kind::Internal)
    }

    /// A node that runs every `period`, and for packets if any come to it.
    pub const fn timer(name: &'static str, period: Duration) -> Self {
        Self::new(name, Kind::Timer(period))
    }

    /// What becomes of packets.
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Its edges.
    pub const fn next(mut self, names: &'static [&'static str]) -> Self {
        assert!(names.len() <= MAX_EDGES, "a node names at most MAX_EDGES edges");
        self.next = names;
        self
    }

    /// The arcs that it is a feature of.
    pub const fn features(mut self, places: &'static [FeatureSpec<'static>]) -> Self {
        self.features = places;
        self
    }

    /// It sees each vector of the node `name` first, and takes from it the packets that it knows a shorter way for
    /// ([`Context::hand_on_taken`]); the others stay there. Not while anything is traced or captured: then packets go the way
    /// that an operator knows.
    pub const fn in_front_of(mut self, name: &'static str) -> Self {
        self.front_of = Some(name);
        self
    }

    /// What it handles: entries of registries.
    pub const fn handles(mut self, entries: &'static [Handles<'static>]) -> Self {
        self.handles = entries;
        self
    }

    /// Its reasons, by name, for which packets go to the host if there is one, and are dropped otherwise.
    pub const fn punts(mut self, reasons: &'static [&'static str]) -> Self {
        self.punts = reasons;
        self
    }

    /// Why packets end in it.
    pub const fn drops(mut self, drops: &'static [ReasonSpec]) -> Self {
        self.drops = drops;
        self
    }

    /// What else it counts.
    pub const fn events(mut self, events: &'static [ReasonSpec]) -> Self {
        self.events = events;
        self
    }

    /// All that it counts: drop reasons, then events.
    pub fn reasons(&self) -> impl ExactSizeIterator<Item = &'static ReasonSpec> + use<> {
        let (drops, events) = (self.drops, self.events);
        (0..drops.len() + events.len()).map(move |i| drops.get(i).unwrap_or_else(|| &events[i - drops.len()]))
    }

    /// Its trace formatter.
    pub const fn trace(mut self, format: TraceFormat) -> Self {
        self.trace = Some(format);
        self
    }
}

/// One instance of a node, on one worker.
pub trait Node: Any + Send {
    /// Does the node's work on a vector of packets. Each packet is handed on (by [`Context::each`] and its
    /// siblings), kept, sent or freed; none is forgotten.
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame);

    /// Called at the end of each turn, for output that is collected over the turn (one system call per
    /// port), if [`Node::flushes`].
    fn flush(&mut self, _cx: &mut Context<'_>) {}

    /// Whether [`Node::flush`] does anything.
    fn flushes(&self) -> bool {
        false
    }

    /// Before the worker sleeps: which descriptors wake it, and whether it must not sleep at all.
    fn wait(&mut self, _set: &mut WaitSet) {}

    /// Packets that the instance keeps between turns (hold queues, device rings).
    fn held(&self) -> usize {
        0
    }

    /// The node leaves the graph: gives back what it keeps.
    fn close(&mut self, _buffers: &mut crate::buffer::BufferCache) {}
}
