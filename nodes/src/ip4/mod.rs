// SPDX-License-Identifier: Apache-2.0
//! IPv4 forwarding state, from what was configured to what a worker reads.
//! The tables and the way from routes to them are [`weft_fib`]'s; here are the nodes that read them, and the router that
//! keeps them.

mod admission;
mod flow_hash;
mod fragment;
mod icmp_error;
mod input;
mod local;
mod lookup;
mod mss;
mod rewrite;
mod router;

pub use admission::{
    AdmissionNodes, IP4_LOCAL_ONLY, IP4_URPF_LOOSE, IP4_URPF_STRICT, Ip4LocalOnly, Ip4Urpf, Whereabouts,
};
pub use flow_hash::flow_hash;
pub use fragment::{IP4_FRAG, Ip4Frag};
pub use icmp_error::{IP4_ICMP_ERROR, IcmpError, IcmpLimits, IcmpRates, IcmpSettings, Ip4IcmpError};
pub(crate) use input::format_header;
pub use input::{IP4_INPUT, Ip4Input};
pub use local::{IP4_LOCAL, IP4_LOCAL_END, Ip4Local, Ip4LocalEnd};
pub(crate) use lookup::{GLEAN, MAX_TABLES};
pub use lookup::{IP4_LOOKUP, Ip4Lookup};
pub use mss::{IP4_TCP_MSS, IP4_TCP_MSS_OUTPUT, MssLimits};
pub use rewrite::{IP4_REWRITE, Ip4Rewrite};
pub use router::{NeighborNews, PendingChanges, Router, RouterError, RouterSettings, Table, TableId, Users};
pub use weft_fib::{
    AddressRole, Adjacencies as NextHops, AdjacenciesFull as NextHopsFull, Adjacency as NextHop,
    AdjacencyId as NextHopId, DropKind, Egress, Fib, FibError, FibSettings, FibWriter, Forward, ForwardKind,
    Ip4, LoadBalance, LoadBalanceId, LoadBalances, LoadBalancesFull, MAX_BUCKETS, MAX_FORWARDS, MAX_REWRITE,
    Multipath, Objects, ObjectsFull, Outcome, Preference, Resolution, Rewrite, RewriteTooLong, Share,
    VlanTags,
};
pub use weft_interface::{Owner, SourceCheck, TableIndex};

/// Of IPv4: see there.
pub type Action = weft_fib::Action<Ip4>;
/// Of IPv4: see there.
pub type ApplyError = weft_fib::ApplyError<Ip4>;
/// Of IPv4: see there.
pub type Change = weft_fib::Change<Ip4>;
/// Of IPv4: see there.
pub type PathTarget = weft_fib::PathTarget<Ip4>;
/// Of IPv4: see there.
pub type Pending = weft_fib::Pending<Ip4>;
/// Of IPv4: see there.
pub type Rib = weft_fib::Rib<Ip4>;
/// Of IPv4: see there.
pub type RibSettings = weft_fib::RibSettings<Ip4>;
/// Of IPv4: see there.
pub type RouteError = weft_fib::RouteError<Ip4>;
/// Of IPv4: see there.
pub type RoutePath = weft_fib::RoutePath<Ip4>;
/// Of IPv4: see there.
pub type RouteView<'a> = weft_fib::RouteView<'a, Ip4>;
/// Of IPv4: see there.
pub type SourceView<'a> = weft_fib::SourceView<'a, Ip4>;
