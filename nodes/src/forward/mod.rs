// SPDX-License-Identifier: Apache-2.0
//! What the nodes that forward do for any family: look the destination up, take one from the hops that are left, put the link
//! header in front, ask whether a source is where it says that it is.
//!
//! A node is written once ([`lookup`], [`rewrite`], [`checks`], and all of it in one, `woven`) for a [`Forwarded`] family; the family's file names it, its edges and
//! its arcs, and says what its header looks like. All of [`Forwarded`] that a packet on the usual way meets is inlined, so
//! each family has a node of its own in machine code.

pub mod checks;
pub(crate) mod fragment;
pub mod lookup;
pub mod rewrite;
pub(crate) mod routes;
pub(crate) mod woven;

use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::publish::SlabReader;
use weft_fib::{LoadBalanceId, ReaderOf};

use crate::hold::Held;
use crate::tables::Tables;
pub use lookup::MAX_TABLES;

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
pub trait Forwarded: Held {
    /// An address as forwarding tables look it up.
    type Key: Copy + Default + PartialEq + 'static;

    /// Packets before they are routed.
    const UNICAST_ARC: &'static ArcSpec<'static>;
    /// Packets that cannot go on, with the reason.
    const DROP_ARC: &'static ArcSpec<'static>;
    /// Packets for the host.
    const PUNT_ARC: &'static ArcSpec<'static>;
    /// Packets about to leave by an interface.
    const OUTPUT_ARC: &'static ArcSpec<'static>;
    /// The nodes to which the lookup hands packets on, by [`lookup::Step`].
    const AFTER_LOOKUP: &'static [&'static str];
    /// The nodes to which the rewrite hands those that are not transmitted, by [`rewrite::Step`].
    const AFTER_REWRITE: &'static [&'static str];
    /// The nodes that check what an interface lets in.
    const CHECKS: checks::Checks;

    /// Its tables.
    fn fibs(tables: &Tables) -> &SlabReader<Arc<ReaderOf<Self>>>;
    /// An address as tables look it up.
    fn key(address: Self::Addr) -> Self::Key;
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
    /// The hash that keeps a flow on one of several paths; never 0, which means "not computed yet".
    fn flow_hash(packet: &Packet<'_>) -> u32;

    /// The next step of a packet whose route says that it is for this host.
    fn local(packet: &mut Packet<'_>) -> lookup::Step;
    /// The hops that are left; `None`: it has no whole header.
    fn hops(packet: &Packet<'_>) -> Option<u8>;
    /// Takes one, if more than that are left.
    fn hop(packet: &mut Packet<'_>) -> bool;
    /// The next step of a packet that is longer than an MTU; what its sender is to learn is noted on it.
    fn too_long(packet: &mut Packet<'_>, mtu: u16) -> rewrite::Step;
    /// Notes on a packet what its sender is to learn.
    fn mark(packet: &mut Packet<'_>, why: Undeliverable);
}
