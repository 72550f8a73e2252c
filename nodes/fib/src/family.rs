// SPDX-License-Identifier: Apache-2.0
//! What an address family has of its own: addresses, prefixes, a lookup structure, and which addresses are special.
//!
//! Everything else here is written once for a [`Family`]. [`Ip4`](crate::Ip4) is the first one.

use std::fmt;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use weft_engine::qsbr::Domain;

use crate::LoadBalanceId;

/// An address family. Its value says nothing; the type does.
pub trait Family: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// An address.
    type Addr: Copy + Ord + Hash + fmt::Debug + fmt::Display + Into<IpAddr> + Send + Sync + 'static;
    /// A prefix.
    type Net: IpPrefix<Addr = Self::Addr>;
    /// The main thread's side of a forwarding table.
    type Fib: LookupWriter<Self>;
    /// As sentences name it.
    const NAME: &'static str;

    /// Whether one host can have this address: what a next hop and a neighbour must have.
    fn is_unicast(address: Self::Addr) -> bool;
}

/// A prefix, as far as routes need it. Its order is by address, then by length.
pub trait IpPrefix:
    prefix_trie::Prefix + Copy + Ord + Hash + fmt::Debug + fmt::Display + Send + Sync + 'static
{
    /// An address of its family.
    type Addr;

    /// The prefix that contains this address alone.
    fn host(address: Self::Addr) -> Self;
    /// The address that it was written with.
    fn addr(&self) -> Self::Addr;
    /// Its first address.
    fn first(&self) -> Self::Addr;
    /// Its last address.
    fn last(&self) -> Self::Addr;
    /// The same without bits beyond its length.
    fn truncated(&self) -> Self;
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
    /// Adds the route of `prefix`, or replaces it.
    fn insert(&mut self, domain: &mut Domain, prefix: F::Net, id: LoadBalanceId) -> Result<(), Self::Error>;
    /// Removes the route of `prefix`. `covering` is the longest other prefix of this table that contains it.
    fn remove(&mut self, domain: &mut Domain, prefix: F::Net, covering: Option<(F::Net, LoadBalanceId)>);
}

/// What workers of a family read.
pub type ReaderOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Reader;
/// The sizes of a family's forwarding table.
pub type SettingsOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Settings;
/// Why a forwarding table of a family has no room.
pub type LookupErrorOf<F> = <<F as Family>::Fib as LookupWriter<F>>::Error;

macro_rules! ip_prefix {
    ($net:ty, $addr:ty) => {
        impl IpPrefix for $net {
            type Addr = $addr;

            fn host(address: $addr) -> Self {
                address.into()
            }

            fn addr(&self) -> $addr {
                <$net>::addr(self)
            }

            fn first(&self) -> $addr {
                self.network()
            }

            fn last(&self) -> $addr {
                self.broadcast()
            }

            fn truncated(&self) -> Self {
                self.trunc()
            }
        }
    };
}

ip_prefix!(Ipv4Net, Ipv4Addr);
ip_prefix!(Ipv6Net, Ipv6Addr);
