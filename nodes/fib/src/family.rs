// SPDX-License-Identifier: Apache-2.0
//! What forwarding needs of an address family: a lookup structure, and which addresses are special.
//!
//! Everything else here is written once for a [`Family`]; [`Ip4`](weft_interface::Ip4) and [`Ip6`](weft_interface::Ip6)
//! are those that there are.

use std::fmt;
use std::io;
use std::sync::Arc;

use weft_engine::qsbr::Domain;
use weft_interface::AddressFamily;

use crate::{AddressRole, LoadBalanceId};

/// An address family that packets are forwarded in.
pub trait Family: AddressFamily<Net: prefix_trie::Prefix> {
    /// The main thread's side of a forwarding table.
    type Fib: LookupWriter<Self>;

    /// What is for this host's own protocols in every table, and never forwarded.
    fn own_prefixes() -> Vec<Self::Net>;
    /// The addresses of a subnet that are special to a host in it, beside its own.
    fn roles(subnet: Self::Net) -> Vec<(Self::Addr, AddressRole)>;
    /// Whether an interface can have this address in this subnet.
    fn can_be_own(address: Self::Net) -> bool;
    /// Whether a station on some link can have this address, as far as the address alone tells.
    fn can_be_neighbor(address: Self::Addr) -> bool;
}

/// The worker's side of a forwarding table. Any number of threads read while one writes: each address shows the route
/// that it had or the one that it has.
pub trait Lookup<F: Family>: Send + Sync + 'static {
    /// The route of `address` by longest match, [`LoadBalanceId::NO_ROUTE`] if there is none.
    fn lookup(&self, address: F::Addr) -> LoadBalanceId;
}

/// The main thread's side of a forwarding table: a set of prefixes that it alone changes.
pub trait LookupWriter<F: Family>: Sized {
    /// Sizes.
    type Settings: Copy + fmt::Debug + Default;
    /// Why there is no room.
    type Error: std::error::Error + Clone + Eq + Send + Sync + 'static;
    /// What workers read.
    type Reader: Lookup<F>;

    /// An empty table. Fails if there is no address space for it.
    fn new(settings: Self::Settings) -> io::Result<Self>;
    /// For the workers.
    fn reader(&self) -> Arc<Self::Reader>;
    /// Says how many routes the table is going to hold, before they come.
    fn expect_routes(&mut self, routes: usize);
    /// Whether all of these prefixes can be added now. After that, adding them does not fail.
    fn check_room(&self, additions: impl Iterator<Item = F::Net>) -> Result<(), Self::Error>;
    /// Adds the route of `prefix`, or replaces it. Readers may see it before [`LookupWriter::show`].
    fn insert(&mut self, prefix: F::Net, id: LoadBalanceId) -> Result<(), Self::Error>;
    /// Removes the route of `prefix`, likewise. `covering` is the longest other prefix of this table that contains it. Between
    /// insertions and removals what was done is shown: so no address that has a route before and after is without one.
    fn remove(&mut self, domain: &mut Domain, prefix: F::Net, covering: Option<(F::Net, LoadBalanceId)>);
    /// Has readers see all that was inserted and removed.
    fn show(&mut self, domain: &mut Domain);
}

/// What workers of a family read.
pub type ReaderOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Reader;
/// The sizes of a family's forwarding table.
pub type SettingsOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Settings;
/// Why a forwarding table of a family has no room.
pub type LookupErrorOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Error;
