// SPDX-License-Identifier: Apache-2.0
//! RTM_NEWNETCONF: whether an interface forwards, and what it believes of source addresses (protocol page, 7.9).

use weft_netlink::{AF_INET, AF_INET6, Attribute, IfIndex, NetconfHeader, NetlinkError, Part};

use super::{Event, Ignored};

/// Settings of an interface for one family; absent where the message does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Netconf {
    /// Whose.
    pub index: IfIndex,
    /// Of which protocol.
    pub family: NetconfFamily,
    /// Whether packets that arrive here are routed.
    pub forwarding: Option<bool>,
    /// The check of source addresses.
    pub rp_filter: Option<RpFilter>,
    /// Whether multicast that arrives here is routed.
    pub multicast_forwarding: Option<bool>,
    /// Whether it answers in place of others (proxy ARP).
    pub proxy: Option<bool>,
}

/// See [`Netconf`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NetconfFamily {
    /// IPv4.
    Ip4,
    /// IPv6.
    Ip6,
}

/// The check of source addresses (RFC 3704).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RpFilter {
    /// None.
    Off,
    /// The route back leads to the interface.
    Strict,
    /// There is a route back.
    Loose,
}

// include/uapi/linux/netconf.h
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_MC_FORWARDING: u16 = 4;
const NETCONFA_PROXY_NEIGH: u16 = 5;
const NETCONFA_IFINDEX_ALL: i32 = -1;
const NETCONFA_IFINDEX_DEFAULT: i32 = -2;

pub(super) fn parse(body: Part<'_>) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<NetconfHeader>("netconfmsg")?;
    let family = match header.family {
        AF_INET => NetconfFamily::Ip4,
        AF_INET6 => NetconfFamily::Ip6,
        _ => return Ok(Event::Ignored(Ignored::NetconfScope)),
    };
    let mut index = None;
    let (mut forwarding, mut rp_filter, mut multicast_forwarding, mut proxy) = (None, None, None, None);
    let flag = |attribute: Attribute<'_>, what| attribute.i32(what).map(|value| Some(value != 0));
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            NETCONFA_IFINDEX => index = Some((attribute.i32("NETCONFA_IFINDEX")?, attribute.value.offset)),
            NETCONFA_FORWARDING => forwarding = flag(attribute, "NETCONFA_FORWARDING")?,
            NETCONFA_RP_FILTER => {
                rp_filter = Some(match attribute.u32("NETCONFA_RP_FILTER")? {
                    0 => RpFilter::Off,
                    1 => RpFilter::Strict,
                    2 => RpFilter::Loose,
                    other => return Err(attribute.value("NETCONFA_RP_FILTER", other, "0 to 2")),
                })
            }
            NETCONFA_MC_FORWARDING => multicast_forwarding = flag(attribute, "NETCONFA_MC_FORWARDING")?,
            NETCONFA_PROXY_NEIGH => proxy = flag(attribute, "NETCONFA_PROXY_NEIGH")?,
            _ => {}
        }
    }
    let index = match index {
        Some((NETCONFA_IFINDEX_ALL | NETCONFA_IFINDEX_DEFAULT, _)) => {
            return Ok(Event::Ignored(Ignored::NetconfScope));
        }
        Some((index, offset)) => IfIndex::required(index, "NETCONFA_IFINDEX", offset)?,
        None => return Err(NetlinkError::Missing { message: "netconf", what: "NETCONFA_IFINDEX" }),
    };
    Ok(Event::Netconf(Netconf { index, family, forwarding, rp_filter, multicast_forwarding, proxy }))
}
