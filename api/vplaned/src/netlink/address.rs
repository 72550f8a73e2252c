// SPDX-License-Identifier: Apache-2.0
//! RTM_NEWADDR and RTM_DELADDR: addresses of interfaces (protocol page, 7.6).
//!
//! An address makes no route by itself; connected and local routes arrive as routes.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use weft_netlink::{AF_UNSPEC, AddressHeader, Family, IfIndex, NetlinkError, Part};

use super::{Event, Ignored, Scope};

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// Whose.
    pub index: IfIndex,
    /// With its subnet; a host prefix if there is a peer.
    pub address: IpNet,
    /// The other end of a point-to-point address, with the prefix that is behind it.
    pub peer: Option<IpNet>,
    /// Of the subnet.
    pub broadcast: Option<Ipv4Addr>,
    /// How far it is valid.
    pub scope: Scope,
}

// include/uapi/linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

pub(super) fn parse(body: Part<'_>, exists: bool) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<AddressHeader>("ifaddrmsg")?;
    let Some(family) = Family::new(header.family) else {
        return match header.family {
            AF_UNSPEC => Ok(Event::Ignored(Ignored::MulticastFilter)),
            other => Err(NetlinkError::Value {
                what: "ifa_family",
                offset: body.offset,
                found: other.into(),
                expected: "0, 2 or 10 (AF_UNSPEC, AF_INET, AF_INET6)",
            }),
        };
    };
    let index = header.index.get().cast_signed();
    let index = IfIndex::required(index, "ifa_index", body.offset + 4)?;
    let (mut address, mut local, mut broadcast) = (None, None, None);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            IFA_ADDRESS => address = Some(attribute.ip("IFA_ADDRESS", family)?),
            IFA_LOCAL => local = Some(attribute.ip("IFA_LOCAL", family)?),
            IFA_BROADCAST => broadcast = Some(attribute.ip4("IFA_BROADCAST")?),
            _ => {}
        }
    }
    let own = local.or(address).ok_or(NetlinkError::Missing { message: "address", what: "IFA_ADDRESS" })?;
    let subnet = |address| {
        IpNet::new(address, header.prefix_length).map_err(|_| NetlinkError::Value {
            what: "ifa_prefixlen",
            offset: body.offset + 1,
            found: header.prefix_length.into(),
            expected: match family {
                Family::Ip4 => "0 to 32",
                Family::Ip6 => "0 to 128",
            },
        })
    };
    let peer = address.filter(|address| *address != own).map(subnet).transpose()?;
    let address = match peer {
        Some(_) => IpNet::from(own),
        None => subnet(own)?,
    };
    let address = InterfaceAddress { index, address, peer, broadcast, scope: Scope(header.scope) };
    Ok(if exists { Event::Address(address) } else { Event::AddressGone(address) })
}
