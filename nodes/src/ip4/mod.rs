// SPDX-License-Identifier: Apache-2.0
//! IPv4 forwarding state, from what was configured to what a worker reads.
//!
//! ```text
//!  main thread                              workers
//!  Rib (per table): routes, owners    --->  Fib: address -> LoadBalanceId      one load
//!  path lists                         --->  LoadBalance: flow hash -> Forward  one object per path list
//!  neighbours                         --->  NextHop: rewrite, interface        one object per neighbour
//! ```
//!
//! Each step to the right is shared by all that is to its left, so a change touches the least: a neighbour's
//! new MAC replaces one [`NextHop`], a path that goes replaces the [`LoadBalance`] of its path list, and only
//! a change of routes writes to the [`Fib`].

mod fib;
mod flow_hash;
mod fragment;
mod icmp_error;
mod input;
mod load_balance;
mod local;
mod lookup;
mod mss;
mod next_hop;
mod path_list;
mod rewrite;
mod rib;
mod route;
mod router;
mod table_memory;

pub use fib::{Fib, FibError, FibSettings, FibWriter};
pub use flow_hash::flow_hash;
pub use fragment::{IP4_FRAG, Ip4Frag};
pub use icmp_error::{IP4_ICMP_ERROR, IcmpError, IcmpLimits, IcmpRates, IcmpSettings, Ip4IcmpError};
pub(crate) use input::format_header;
pub use input::{IP4_INPUT, Ip4Input};
pub use load_balance::{
    DropKind, Forward, LoadBalance, LoadBalanceId, LoadBalances, LoadBalancesFull, MAX_BUCKETS, MAX_FORWARDS,
    Share, TableIndex,
};
pub use local::{IP4_LOCAL, IP4_LOCAL_END, Ip4Local, Ip4LocalEnd};
pub(crate) use lookup::{GLEAN, MAX_TABLES};
pub use lookup::{IP4_LOOKUP, Ip4Lookup};
pub use mss::{IP4_TCP_MSS, IP4_TCP_MSS_OUTPUT, MssError, MssLimits};
pub use next_hop::{Egress, NextHop, NextHopId, NextHops, NextHopsFull, Resolution, Rewrite, VlanTags};
pub use path_list::{Objects, ObjectsFull};
pub use rewrite::{IP4_REWRITE, Ip4Rewrite};
pub use rib::{ApplyError, Rib, RibSettings, RouteView, SourceView};
pub use route::{Action, Change, Outcome, Owner, PathTarget, Preference, RouteError, RoutePath};
pub use router::{Router, RouterError, RouterSettings, Table, TableId};
