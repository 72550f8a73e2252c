// SPDX-License-Identifier: Apache-2.0
//! The nodes of IP, written once for any family: see whether a packet is sound, look its destination up, take one from the hops
//! that are left, put the link header in front, ask whether a source is where it says that it is, deliver what is for this
//! host, tell a sender why its packet ends.
//!
//! A node is a file here, for a [`Forwarded`] family: how it reads tables and counts, which arcs and nodes follow. Each adds
//! itself for both families. What a family has of its own stands in ip4/ and ip6/: names and sentences, header layout, message
//! types, and what its RFCs say of them, as the trait that the node's file declares. All of these traits that a packet on the usual way meets
//! is inlined, so each family has a node of its own in machine code.

pub mod checks;
pub(crate) mod discovery;
pub(crate) mod fragment;
pub mod icmp_error;
pub(crate) mod input;
pub(crate) mod local;
pub mod lookup;
pub mod rewrite;
pub(crate) mod routes;
pub(crate) mod woven;

use std::fmt;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::publish::SlabReader;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::{Family, LoadBalanceId, ReaderOf};

use crate::interface::{InterfaceTable, TableIndex};
use crate::tables::Tables;
pub use lookup::MAX_TABLES;

/// What a family's nodes are called.
#[derive(Clone, Copy, Debug)]
pub struct NodeNames {
    /// Takes plain packets all the way.
    pub woven: &'static str,
    /// Sees whether packets are sound.
    pub input: &'static str,
    /// [`lookup`].
    pub lookup: &'static str,
    /// [`rewrite`].
    pub rewrite: &'static str,
    /// Makes fragments.
    pub frag: &'static str,
    /// Where packets wait for a neighbour: [`crate::hold`].
    pub hold: &'static str,
    /// Where packets for this host begin.
    pub local: &'static str,
    /// And where those end that no feature takes.
    pub local_end: &'static str,
    /// Where fragments wait for the others: [`crate::reassembly`].
    pub reassembly: &'static str,
    /// Tells senders: [`icmp_error`].
    pub icmp_error: &'static str,
    /// The source is believed if its route leads to the interface that the packet came in by: [`checks`].
    pub urpf_strict: &'static str,
    /// The source is believed if it has a route.
    pub urpf_loose: &'static str,
    /// What is not for this host goes no further.
    pub local_only: &'static str,
    /// The classifier's, of weft-classify.
    pub classify: &'static str,
}

/// What the sender of a packet is to learn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undeliverable {
    /// No hop is left.
    Expired,
    /// Longer than a link of this MTU carries.
    TooLong(u16),
    /// No route.
    NoRoute,
    /// The route says that nobody is there.
    Unreachable,
    /// The route says that nobody may go there.
    Prohibited,
    /// Its source says something on the link only that it came from.
    BeyondScope,
}

/// What nodes that forward have of a family's own.
pub trait Forwarded: Family {
    /// An address as forwarding tables look it up.
    type Key: Copy + Default + PartialEq + 'static;

    /// Its nodes.
    const NODES: NodeNames;
    /// Packets to groups, before [`Forwarded::UNICAST_ARC`].
    const MULTICAST_ARC: &'static ArcSpec<'static>;
    /// Packets before they are routed.
    const UNICAST_ARC: &'static ArcSpec<'static>;
    /// Packets that cannot go on, with the reason.
    const DROP_ARC: &'static ArcSpec<'static>;
    /// Packets for this host.
    const LOCAL_ARC: &'static ArcSpec<'static>;
    /// Packets for the host.
    const PUNT_ARC: &'static ArcSpec<'static>;
    /// Packets about to leave by an interface.
    const OUTPUT_ARC: &'static ArcSpec<'static>;

    /// Its tables.
    fn fibs(tables: &Tables) -> &SlabReader<Arc<ReaderOf<Self>>>;
    /// An address as tables look it up.
    fn key(address: Self::Addr) -> Self::Key;
    /// And as it is.
    fn addr(key: Self::Key) -> Self::Addr;
    /// The route of an address.
    fn find(fib: &ReaderOf<Self>, address: Self::Key) -> LoadBalanceId;
    /// Whether [`Forwarded::find_all`] is faster in this table than one after the other.
    fn finds_many(fib: &ReaderOf<Self>) -> bool;
    /// The routes of up to [`lookup::BLOCK`] addresses.
    fn find_all(fib: &ReaderOf<Self>, addresses: &[Self::Key], found: &mut [LoadBalanceId]);
    /// Starts to load what these read first.
    fn prefetch(fib: &ReaderOf<Self>, address: Self::Key);

    /// Where a packet goes; `None`: it has no whole header.
    fn destination(packet: &Packet<'_>) -> Option<Self::Key>;
    /// Where it says that it is from.
    fn source(packet: &Packet<'_>) -> Option<Self::Key>;
    /// Whether that is an address which no route leads to, and that a packet from a link may have all the same.
    fn is_of_link(source: Self::Key) -> bool;
    /// Whether an address may be that of one host in a table, as far as this host can tell.
    fn is_host(interfaces: &InterfaceTable, table: TableIndex, address: Self::Addr) -> bool;
    /// The hash that keeps a flow on one of several paths; never 0, which means "not computed yet".
    fn flow_hash(packet: &Packet<'_>, labels: bool) -> u32;

    /// The next step of a packet whose route says that it is for this host.
    fn local(packet: &mut Packet<'_>) -> lookup::Step;
    /// The hops that are left; `None`: it has no whole header.
    fn hops(packet: &Packet<'_>) -> Option<u8>;
    /// Takes one, if more than that are left.
    fn hop(packet: &mut Packet<'_>) -> bool;
    /// The next step of a packet that is longer than an MTU; what its sender is to learn is noted on it.
    fn too_long(packet: &mut Packet<'_>, mtu: u16) -> rewrite::Step;
    /// Prints the header of a record.
    fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result;
    /// Notes on a packet what its sender is to learn.
    fn mark(packet: &mut Packet<'_>, why: Undeliverable);
}
