// SPDX-License-Identifier: Apache-2.0
//! Commands of the configuration system, as text or protobuf, to typed values and to whoever carries them out.
//!
//! A feature is told apart by the first word of a text or by the type of an envelope; both forms become the same
//! value, and one handler sees it. vplaned stores commands without understanding them, repeats them after a resync and
//! whenever an interface comes back: handlers must be idempotent, and no command may stop the others. What is not
//! understood is counted, told once, and left.
//!
//! The topic is no more than a hint (protocol page 8.4): the data decides.

mod ecmp;
mod error;
mod garp;
mod icmp_rate;
mod neighbor;
pub mod npf;
mod redirects;
mod registry;
mod sessions;
mod table_map;
mod tcp_mss;
#[cfg(test)]
mod tests;
mod words;

pub use self::ecmp::{Ecmp, EcmpMode};
pub use self::error::CommandError;
pub use self::garp::{GarpAction, GarpOperation, GratuitousArp, GratuitousArpSetting};
pub use self::icmp_rate::{IcmpError, IcmpRateLimit, IcmpRateLimitSetting};
pub use self::neighbor::{NeighborParameter, NeighborProtocol, NeighborSetting, Neighbors};
pub use self::redirects::{Redirects, RedirectsSetting};
pub use self::registry::{Feature, Ignored, Outcome, Registry, Taken, named, text_of};
pub use self::sessions::{SessionSetting, Sessions};
pub use self::table_map::TableMap;
pub use self::tcp_mss::{MssClamp, TcpMss, TcpMssSetting};
pub use self::words::Words;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Ip4,
    Ip6,
}

/// Commands that a router may leave alone (protocol page 13.1), by first word.
pub const HARMLESS_WORDS: [&str; 14] = [
    "affinity",
    "backplane",
    "cgn-cfg",
    "mode",
    "mpls",
    "mstp",
    "pathmonitor",
    "poe",
    "portmonitor",
    "ptp",
    "storm-ctl",
    "switchport",
    "vhost",
    "vhost-client",
];

/// The interface of a setting that may be meant for all.
fn interface_or_all(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty() && name != "all")
}

/// An enumeration of a protobuf message; absent means its first value.
fn choice<T>(name: &'static str, value: Option<i32>, first: T) -> Result<T, CommandError>
where
    T: TryFrom<i32>,
{
    match value {
        None => Ok(first),
        Some(value) => T::try_from(value).map_err(|_| CommandError::field(name, "a known value", value)),
    }
}

/// A field that has to be there.
fn given<T>(name: &'static str, expected: &'static str, value: Option<T>) -> Result<T, CommandError> {
    value.ok_or_else(|| CommandError::field(name, expected, "nothing"))
}

/// Decodes the inside of an envelope.
fn decode<M: prost::Message + Default>(kind: &str, bytes: &[u8]) -> Result<M, CommandError> {
    M::decode(bytes).map_err(|source| CommandError::Decode { what: kind.to_owned(), source })
}
