// SPDX-License-Identifier: Apache-2.0
//! What IPv4 has of its own of the nodes that are written once for all families ([`crate::forward`]), and nodes that it alone has.
//! The tables that they read are [`weft_fib`]'s, and the router ([`crate::router`]) keeps them.

mod forward;
mod fragment;
mod icmp_error;
mod input;
mod local;
pub mod min_ttl;
mod mss;
mod options;
mod reassembly;
mod woven;

pub use crate::icmp_limits::{IcmpLimits, IcmpRates};
pub use crate::tables::IcmpSettings;
pub use crate::tcp_mss::TCP_MSS;
pub(crate) use input::format_header;
pub use weft_fib::{
    AddressRole, DropKind, Egress, Fib, FibError, FibSettings, FibWriter, Forward, ForwardKind, Ip4,
    LoadBalance, LoadBalanceId, LoadBalances, LoadBalancesFull, MAX_BUCKETS, MAX_FORWARDS, MAX_REWRITE,
    Multipath, Objects, ObjectsFull, Outcome, Preference, Resolution, Rewrite, RewriteTooLong, Share,
    VlanTags,
};
pub use weft_interface::{Owner, SourceCheck, TableIndex};

/// RFC 1700 "IP TIME TO LIVE PARAMETER".
const TTL: u8 = 64;

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
