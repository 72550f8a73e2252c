// SPDX-License-Identifier: Apache-2.0
//! The forwarding core: from what was configured and heard to what a worker reads.
//!
//! ```text
//!  main thread                              workers
//!  Rib (per table): routes, owners    --->  Fib: address -> LoadBalanceId      one load
//!  path lists                         --->  LoadBalance: flow hash -> Forward  one object per path list
//!  neighbours                         --->  Adjacency: rewrite, interface      one object per neighbour and payload
//! ```
//!
//! Each step to the right is shared by all that is to its left, so a change touches the least: a neighbour's
//! new MAC replaces one [`Adjacency`], a path that goes replaces the [`LoadBalance`] of its path list, and only
//! a change of routes writes to the [`Fib`].
//!
//! Knows interfaces and link headers, but no node: whoever has nodes reads the tables there.
#![deny(unsafe_code)]

mod adjacency;
mod blocks;
mod family;
mod fib;
mod fib6;
mod forward;
mod ip4;
mod ip6;
mod load_balance;
mod multipath;
pub mod neighbor;
mod path_list;
mod rib;
mod route;
mod table_memory;

pub use adjacency::{
    Adjacencies, AdjacenciesFull, Adjacency, AdjacencyId, Egress, MAX_REWRITE, NextHop, Resolution, Rewrite,
    RewriteTooLong, VlanTags,
};
pub use family::{Family, Lookup, LookupErrorOf, LookupWriter, ReaderOf, SettingsOf};
pub use fib::{Fib, FibError, FibSettings, FibView, FibWriter};
pub use fib6::{Fib6, Fib6Error, Fib6Settings, Fib6Writer};
pub use forward::{DropKind, Forward, ForwardKind};
pub use load_balance::{
    LoadBalance, LoadBalanceId, LoadBalances, LoadBalancesFull, MAX_BUCKETS, MAX_FORWARDS, Share,
};
pub use multipath::Multipath;
pub use path_list::{Objects, ObjectsFull};
pub use rib::{ApplyError, MOST_PREFIXES, Pending, Rib, RibSettings, RouteView, SourceView};
pub use route::{Action, AddressRole, Change, Outcome, PathTarget, Preference, RouteError, RoutePath};
pub use weft_interface::{AddressFamily, Ip4, Ip6, IpPrefix};
