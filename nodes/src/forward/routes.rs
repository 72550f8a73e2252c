// SPDX-License-Identifier: Apache-2.0
//! Where an address is, asked by nodes that do not forward to it: is a source where it says, is a station on this link.

use std::sync::Arc;

use weft_engine::publish::{SlabReader, SlabView};
use weft_engine::{Context, InterfaceIndex};
use weft_fib::{Adjacency, Forward, ForwardKind, LoadBalance, ReaderOf};

use super::{Forwarded, MAX_TABLES};
use crate::interface::TableIndex;
use crate::tables::Tables;

/// The tables that answer where an address is.
pub struct RouteTables<F: Forwarded> {
    /// Forwarding tables by index.
    pub tables: SlabReader<Arc<ReaderOf<F>>>,
    /// Load-balances by id.
    pub load_balances: SlabReader<LoadBalance>,
    /// Neighbours.
    pub adjacencies: SlabReader<Adjacency>,
}

pub(crate) struct Routes<'a, F: Forwarded> {
    tables: SlabView<'a, Arc<ReaderOf<F>>>,
    load_balances: SlabView<'a, LoadBalance>,
    adjacencies: SlabView<'a, Adjacency>,
}

impl<F: Forwarded> Clone for RouteTables<F> {
    fn clone(&self) -> Self {
        RouteTables {
            tables: self.tables.clone(),
            load_balances: self.load_balances.clone(),
            adjacencies: self.adjacencies.clone(),
        }
    }
}

impl<F: Forwarded> RouteTables<F> {
    pub(crate) fn of(tables: &Tables) -> Self {
        RouteTables {
            tables: F::fibs(tables).clone(),
            load_balances: tables.load_balances.clone(),
            adjacencies: tables.adjacencies.clone(),
        }
    }

    pub(crate) fn read<'a>(&'a self, cx: &Context<'a>) -> Routes<'a, F> {
        let guard = cx.guard();
        Routes {
            tables: self.tables.read(guard),
            load_balances: self.load_balances.read(guard),
            adjacencies: self.adjacencies.read(guard),
        }
    }
}

impl<F: Forwarded> Routes<'_, F> {
    /// Starts to load what [`Routes::to`] reads first.
    #[inline(always)]
    pub(crate) fn prefetch(&self, table: u32, address: F::Key) {
        if let Some(fib) = self.tables.get(table) {
            F::prefetch(fib, address);
        }
    }

    /// Everywhere that the route to an address leads; nowhere if there is no table, or too many in a row.
    #[inline(always)]
    pub(crate) fn to(&self, mut table: u32, address: F::Key) -> &[Forward] {
        for _ in 0..MAX_TABLES {
            let Some(fib) = self.tables.get(table) else { break };
            let Some(load_balance) = self.load_balances.get(F::find(fib, address).0) else { break };
            match load_balance.buckets() {
                [forward] if let Some(other) = forward.as_lookup() => table = other.0,
                buckets => return buckets,
            }
        }
        &[]
    }

    /// Whether packets leave by an interface.
    #[inline(always)]
    pub(crate) fn is_by(&self, forward: &Forward, interface: InterfaceIndex) -> bool {
        match forward.as_adjacency() {
            Some(id) => self.adjacencies.get(id.0).is_some_and(|hop| hop.interface == interface),
            None => forward.as_glean() == Some(interface),
        }
    }

    /// Whether packets for `target` would leave by another interface than `rx` (RFC 1027 section 2: answering for a
    /// host on the same link would take its packets away from it).
    pub(crate) fn lead_elsewhere(&self, table: TableIndex, target: F::Addr, rx: InterfaceIndex) -> bool {
        self.first(table, target).is_some_and(|forward| match forward.kind() {
            ForwardKind::ADJACENCY | ForwardKind::GLEAN => !self.is_by(&forward, rx),
            // To a node that forwards it in its own way, too.
            kind => matches!(kind, ForwardKind::LOCAL | ForwardKind::PUNT) || kind.node().is_some(),
        })
    }

    /// Whether `host` itself is on the link of `rx` by a route: a link may have no subnet.
    pub(crate) fn lead_to(&self, table: TableIndex, host: F::Addr, rx: InterfaceIndex) -> bool {
        self.first(table, host).is_some_and(|forward| match forward.as_adjacency() {
            Some(id) => self
                .adjacencies
                .get(id.0)
                .is_some_and(|hop| hop.interface == rx && hop.address == host.into()),
            None => forward.as_glean() == Some(rx),
        })
    }

    fn first(&self, table: TableIndex, address: F::Addr) -> Option<Forward> {
        self.to(table.0, F::key(address)).first().copied()
    }
}
