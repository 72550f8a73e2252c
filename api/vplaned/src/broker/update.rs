// SPDX-License-Identifier: Apache-2.0
//! One message of the broker as an event: both formats become the same.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::IpNet;
use prost::Message as _;
use thiserror::Error;

use super::Format;
use crate::netlink::{
    self, Event, HostOnly, IfIndex, Ignored, Metric, NetlinkError, Placement, Protocol, Route, RouteTarget,
    Scope, TableId, Topic, Via, is_host_prefix,
};
use crate::proto::route::ip_address::AddressOneof;
use crate::proto::route::ip_address_or_label::AddressOneof as PrefixOneof;
use crate::proto::route::path::PathType;
use crate::proto::route::rib_update::Action;
use crate::proto::route::{Path, RibUpdate};

/// Why a route is not understood.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum UpdateError {
    /// See there.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Not the encoding of a RibUpdate.
    #[error("RibUpdate: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A field that a route cannot do without.
    #[error("RibUpdate without {0}")]
    Missing(&'static str),
    /// A field with a value that means nothing.
    #[error("RibUpdate: {field} is {found}: expected {expected}")]
    Value {
        /// Its name.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
}

/// What a message of the broker says.
pub fn decode(format: Format, message: &[u8]) -> Result<Event, UpdateError> {
    match format {
        Format::Netlink => Ok(netlink::parse(Topic::Route, message)?),
        Format::Protobuf => event(RibUpdate::decode(message)?),
    }
}

fn event(update: RibUpdate) -> Result<Event, UpdateError> {
    let action = Action::try_from(update.action.unwrap_or_default());
    let action = action.map_err(|error| value("action", error.0, "0 or 1 (UPDATE, DELETE)"))?;
    let route = update.route.ok_or(UpdateError::Missing("route"))?;
    let length = route.prefix_length();
    let address = match route.prefix.as_ref().and_then(|prefix| prefix.address_oneof.as_ref()) {
        Some(PrefixOneof::Ipv4Addr(image)) => IpAddr::from(image.to_ne_bytes()),
        Some(PrefixOneof::Ipv6Addr(bytes)) => ip6("prefix", bytes)?.into(),
        Some(PrefixOneof::MplsLabel(_)) => return Ok(Event::Ignored(Ignored::Mpls)),
        None => return Err(UpdateError::Missing("prefix")),
    };
    let expected = if address.is_ipv4() { "0 to 32" } else { "0 to 128" };
    let prefix = u8::try_from(length).ok().and_then(|length| IpNet::new(address, length).ok());
    let prefix = prefix.ok_or_else(|| value("prefix_length", length, expected))?.trunc();
    if is_host_prefix(prefix) {
        return Ok(Event::Ignored(Ignored::HostPrefix));
    }
    let byte = |field, found: u32| u8::try_from(found).map_err(|_| value(field, found, "0 to 255"));
    let target = match action {
        Action::Update => target(&route.paths, prefix)?,
        // What is deleted is named by prefix, table and scope alone.
        Action::Delete => RouteTarget::Blackhole,
    };
    let route = Route {
        prefix,
        table: TableId(route.table_id()),
        metric: Metric::default(),
        scope: Scope(byte("scope", route.scope())?),
        protocol: Protocol(byte("routing_protocol", route.routing_protocol())?),
        target,
    };
    Ok(match action {
        Action::Update => Event::Route(route, Placement::Replace),
        Action::Delete => Event::RouteGone(route),
    })
}

fn target(paths: &[Path], prefix: IpNet) -> Result<RouteTarget, UpdateError> {
    // A backup is for a fault of the others; alone it is all there is.
    let any_primary = paths.iter().any(|path| !path.backup());
    let mut forward = Vec::with_capacity(paths.len());
    let mut other = None;
    for path in paths.iter().filter(|path| !any_primary || !path.backup()) {
        let kind = path.r#type.unwrap_or(PathType::Unicast.into());
        match PathType::try_from(kind).map_err(|error| value("path type", error.0, "0 to 3"))? {
            PathType::Unicast => forward.push(unicast(path, prefix)?),
            PathType::Blackhole => other = other.or(Some(RouteTarget::Blackhole)),
            PathType::Unreachable => other = other.or(Some(RouteTarget::Unreachable)),
            PathType::Local => other = other.or(Some(RouteTarget::Local)),
        }
    }
    match other {
        _ if !forward.is_empty() => Ok(RouteTarget::Forward(forward)),
        Some(other) => Ok(other),
        None => Err(UpdateError::Missing("paths")),
    }
}

fn unicast(path: &Path, prefix: IpNet) -> Result<netlink::Path, UpdateError> {
    let interface = IfIndex::new(path.ifindex());
    let nexthop = match path.nexthop.as_ref().and_then(|nexthop| nexthop.address_oneof.as_ref()) {
        Some(AddressOneof::Ipv4Addr(image)) => Some(IpAddr::from(image.to_ne_bytes())),
        Some(AddressOneof::Ipv6Addr(bytes)) => Some(ip6("nexthop", bytes)?.into()),
        None => None,
    };
    let gateway = match (prefix, nexthop) {
        (IpNet::V4(_), Some(IpAddr::V6(nexthop))) => {
            return Err(value("nexthop", nexthop, "an IPv4 address, as of the prefix"));
        }
        (IpNet::V6(_), Some(IpAddr::V4(nexthop))) => Some(nexthop.to_ipv6_mapped().into()),
        (_, nexthop) => nexthop,
    };
    let via = match (interface, gateway) {
        _ if !path.mpls_labels.is_empty() => Via::Host(HostOnly::Encapsulation),
        (None, _) => Via::Host(HostOnly::NoInterface),
        (Some(_), Some(gateway)) => Via::Gateway(gateway),
        (Some(_), None) => Via::Link,
    };
    Ok(netlink::Path { interface, via, weight: NonZeroU16::MIN, onlink: false })
}

fn ip6(field: &'static str, bytes: &[u8]) -> Result<Ipv6Addr, UpdateError> {
    let octets: Result<[u8; 16], _> = bytes.try_into();
    octets
        .map(Ipv6Addr::from)
        .map_err(|_| value(field, format!("{} bytes", bytes.len()), "an IPv6 address of 16"))
}

fn value(field: &'static str, found: impl ToString, expected: &'static str) -> UpdateError {
    UpdateError::Value { field, found: found.to_string(), expected }
}
