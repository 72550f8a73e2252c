// SPDX-License-Identifier: Apache-2.0
//! RTM_NEWROUTE and RTM_DELROUTE: where packets go (protocol page, 7.7).

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;

use weft_netlink::{Attribute, Family, IfIndex, NetlinkError, NextHopHeader, Part, RouteHeader, align};

use super::{Event, Ignored};

/// A route as the kernel or the route broker describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// To where; no host bits.
    pub prefix: IpNet,
    /// The kernel's table.
    pub table: TableId,
    /// The lowest wins among routes of one table to one prefix.
    pub metric: Metric,
    /// How far away.
    pub scope: Scope,
    /// Who made it.
    pub protocol: Protocol,
    /// What becomes of the packets.
    pub target: RouteTarget,
}

/// The kernel's number of a routing table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u32);

impl TableId {
    /// What everybody means who names none.
    pub const MAIN: TableId = TableId(254);
    /// The host's own addresses; looked up before the main table.
    pub const LOCAL: TableId = TableId(255);

    /// Whether it belongs to the default VRF by its number alone.
    pub const fn is_default_vrf(self) -> bool {
        self.0 <= 255
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// RTA_PRIORITY.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Metric(pub u32);

/// RT_SCOPE_*: 0 everywhere, 253 on the link, 254 in the host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub u8);

impl Scope {
    /// Destinations anywhere.
    pub const UNIVERSE: Scope = Scope(0);
    /// Destinations on the link.
    pub const LINK: Scope = Scope(253);
    /// The host itself.
    pub const HOST: Scope = Scope(254);
}

/// RTPROT_*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Protocol(pub u8);

/// What becomes of the packets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum RouteTarget {
    /// One of these; never empty.
    Forward(Vec<Path>),
    /// They are for this host.
    Local,
    /// Discarded in silence.
    Blackhole,
    /// Discarded with "host unreachable".
    Unreachable,
    /// Discarded with "administratively prohibited".
    Prohibit,
}

/// One way to the destination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    /// Out of where; the kernel names none only where it needs none.
    pub interface: Option<IfIndex>,
    /// To whom.
    pub via: Via,
    /// Its share, in proportion to the other weights.
    pub weight: NonZeroU16,
    /// The gateway is on the link although no subnet says so (RTNH_F_ONLINK).
    pub onlink: bool,
}

/// See [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Via {
    /// The destination itself is on the link.
    Link,
    /// A router on the link.
    Gateway(IpAddr),
    /// Only the kernel can send it.
    Host(HostOnly),
}

/// Why the dataplane leaves a path to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HostOnly {
    /// It adds a header of its own: MPLS labels, a tunnel (RTA_ENCAP).
    Encapsulation,
    /// The gateway has an address of another family (RTA_VIA, RFC 8950).
    GatewayFamily,
    /// No interface is named.
    NoInterface,
}

/// How a new route stands to those that are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// In place of the one with the same prefix, table and metric, if there is one.
    Replace,
    /// Behind it (NLM_F_APPEND): two interfaces with one subnet.
    Append,
}

/// include/uapi/linux/netlink.h
const NLM_F_APPEND: u16 = 0x800;

impl Placement {
    /// A snapshot has lost NLM_F_REPLACE (protocol page, 7.4), so its absence says nothing.
    pub(super) fn of(flags: u16) -> Placement {
        if flags & NLM_F_APPEND != 0 { Placement::Append } else { Placement::Replace }
    }
}

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BLACKHOLE: u8 = 6;
const RTN_UNREACHABLE: u8 = 7;
const RTN_PROHIBIT: u8 = 8;
const RTN_XRESOLVE: u8 = 11;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u8 = 4;
const AF_MPLS: u8 = 28;
const RTNL_FAMILY_IPMR: u8 = 128;
const RTNL_FAMILY_IP6MR: u8 = 129;

/// A route that exists if it has a placement.
pub(super) fn parse(body: Part<'_>, placement: Option<Placement>) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<RouteHeader>("rtmsg")?;
    let Some(family) = Family::new(header.family) else {
        return match header.family {
            AF_MPLS => Ok(Event::Ignored(Ignored::Mpls)),
            RTNL_FAMILY_IPMR | RTNL_FAMILY_IP6MR => Ok(Event::Ignored(Ignored::MulticastRoute)),
            other => Err(NetlinkError::Value {
                what: "rtm_family",
                offset: body.offset,
                found: other.into(),
                expected: "2, 10, 28, 128 or 129 (AF_INET, AF_INET6, AF_MPLS, multicast)",
            }),
        };
    };
    if header.flags.get() & RTM_F_CLONED != 0 {
        return Ok(Event::Ignored(Ignored::Cloned));
    }
    if header.tos != 0 {
        return Ok(Event::Ignored(Ignored::TypeOfService));
    }
    if header.source_length != 0 {
        return Ok(Event::Ignored(Ignored::SourceRoute));
    }

    let mut destination = family.unspecified();
    let mut table = TableId(header.table.into());
    let mut metric = Metric::default();
    let mut paths = Vec::new();
    // RTNH_F_* share the word with RTM_F_*, which begin at the second byte.
    let flags = header.flags.get() as u8;
    let mut single = Hop::new(family, None, flags, NonZeroU16::MIN);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            RTA_DST => destination = attribute.ip("RTA_DST", family)?,
            RTA_OIF => single.interface = attribute.index("RTA_OIF")?,
            RTA_PRIORITY => metric = Metric(attribute.u32("RTA_PRIORITY")?),
            RTA_TABLE => table = TableId(attribute.u32("RTA_TABLE")?),
            RTA_MULTIPATH => multipath(attribute, family, &mut paths)?,
            _ => single.read(attribute)?,
        }
    }

    let target = match header.kind {
        RTN_UNICAST => {
            if paths.is_empty() {
                paths.push(single.path());
            }
            RouteTarget::Forward(paths)
        }
        RTN_LOCAL => RouteTarget::Local,
        RTN_BLACKHOLE => RouteTarget::Blackhole,
        RTN_UNREACHABLE => RouteTarget::Unreachable,
        RTN_PROHIBIT => RouteTarget::Prohibit,
        0..=RTN_XRESOLVE => return Ok(Event::Ignored(Ignored::RouteType)),
        other => {
            return Err(NetlinkError::Value {
                what: "rtm_type",
                offset: body.offset + 7,
                found: other.into(),
                expected: "0 to 11",
            });
        }
    };
    let prefix = prefix(destination, header.destination_length, body.offset + 1, family)?;
    if is_host_prefix(prefix) {
        return Ok(Event::Ignored(Ignored::HostPrefix));
    }
    let (scope, protocol) = (Scope(header.scope), Protocol(header.protocol));
    let route = Route { prefix, table, metric, scope, protocol, target };
    Ok(match placement {
        Some(placement) => Event::Route(route, placement),
        None => Event::RouteGone(route),
    })
}

fn prefix(address: IpAddr, length: u8, offset: usize, family: Family) -> Result<IpNet, NetlinkError> {
    match IpNet::new(address, length) {
        Ok(prefix) => Ok(prefix.trunc()),
        Err(_) => Err(NetlinkError::Value {
            what: "rtm_dst_len",
            offset,
            found: length.into(),
            expected: match family {
                Family::Ip4 => "0 to 32",
                Family::Ip6 => "0 to 128",
            },
        }),
    }
}

/// Whether each link, not a table, has its own answer for this prefix.
pub(crate) fn is_host_prefix(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(prefix) => prefix.prefix_len() >= 8 && prefix.addr().is_loopback(),
        IpNet::V6(prefix) => {
            let (address, length) = (prefix.addr(), prefix.prefix_len());
            (address.is_loopback() && length == 128)
                || (address.is_unicast_link_local() && length >= 10)
                || (address.is_multicast() && length >= 8)
        }
    }
}

/// A path while its attributes are read.
struct Hop {
    family: Family,
    interface: Option<IfIndex>,
    via: Via,
    encapsulation: bool,
    weight: NonZeroU16,
    onlink: bool,
}

impl Hop {
    fn new(family: Family, interface: Option<IfIndex>, flags: u8, weight: NonZeroU16) -> Hop {
        // RTNH_F_DEAD and RTNH_F_LINKDOWN are the state of the kernel's device at the time of the message, which is
        // not sent again when the device recovers.
        Hop {
            family,
            interface,
            via: Via::Link,
            encapsulation: false,
            weight,
            onlink: flags & RTNH_F_ONLINK != 0,
        }
    }

    fn read(&mut self, attribute: Attribute<'_>) -> Result<(), NetlinkError> {
        match attribute.kind {
            RTA_GATEWAY => {
                let gateway = attribute.ip("RTA_GATEWAY", self.family)?;
                // The kernel writes an absent IPv4 gateway as 0.0.0.0 in some dumps.
                self.via = if gateway.is_unspecified() { Via::Link } else { Via::Gateway(gateway) };
            }
            RTA_VIA => self.via = via(attribute, self.family)?,
            RTA_ENCAP => self.encapsulation = true,
            _ => {}
        }
        Ok(())
    }

    fn path(self) -> Path {
        let via = match (self.interface, self.via) {
            _ if self.encapsulation => Via::Host(HostOnly::Encapsulation),
            (None, _) => Via::Host(HostOnly::NoInterface),
            (Some(_), via) => via,
        };
        Path { interface: self.interface, via, weight: self.weight, onlink: self.onlink }
    }
}

/// `struct rtvia`: a family and an address of it.
fn via(attribute: Attribute<'_>, family: Family) -> Result<Via, NetlinkError> {
    let Part { bytes, offset } = attribute.value;
    let error = NetlinkError::Length { what: "RTA_VIA", offset, found: bytes.len(), expected: "6 or 18" };
    let Some((gateway_family, address)) = bytes.split_first_chunk::<2>() else {
        return Err(error);
    };
    let gateway_family = u16::from_ne_bytes(*gateway_family);
    let address: IpAddr = match (gateway_family, address.len()) {
        (2, 4) => attribute_at(address, offset + 2).ip4("RTA_VIA")?.into(),
        (10, 16) => attribute_at(address, offset + 2).ip6("RTA_VIA")?.into(),
        (2 | 10, _) => return Err(error),
        (other, _) => return Err(attribute.value("RTA_VIA family", other, "2 or 10 (AF_INET, AF_INET6)")),
    };
    Ok(match (address, family) {
        (IpAddr::V4(_), Family::Ip4) | (IpAddr::V6(_), Family::Ip6) => Via::Gateway(address),
        _ => Via::Host(HostOnly::GatewayFamily),
    })
}

fn attribute_at(bytes: &[u8], offset: usize) -> Attribute<'_> {
    Attribute { kind: RTA_VIA, value: Part { bytes, offset } }
}

fn multipath(attribute: Attribute<'_>, family: Family, paths: &mut Vec<Path>) -> Result<(), NetlinkError> {
    let mut rest = attribute.value;
    while !rest.bytes.is_empty() {
        let (header, _) = rest.header::<NextHopHeader>("rtnexthop")?;
        let length = usize::from(header.length.get());
        let Some(attributes) = rest.bytes.get(size_of::<NextHopHeader>()..length) else {
            return Err(NetlinkError::Value {
                what: "rtnh_len",
                offset: rest.offset,
                found: length as u64,
                expected: "8 to what is left of RTA_MULTIPATH",
            });
        };
        let index = u32::try_from(header.index.get()).ok().and_then(IfIndex::new);
        // rtnh_hops is the weight less one.
        let weight = NonZeroU16::MIN.saturating_add(header.hops.into());
        let mut hop = Hop::new(family, index, header.flags, weight);
        let attributes = Part { bytes: attributes, offset: rest.offset + size_of::<NextHopHeader>() };
        for attribute in attributes.attributes() {
            hop.read(attribute?)?;
        }
        paths.push(hop.path());
        let next = align(length).min(rest.bytes.len());
        rest = Part { bytes: &rest.bytes[next..], offset: rest.offset + next };
    }
    Ok(())
}
