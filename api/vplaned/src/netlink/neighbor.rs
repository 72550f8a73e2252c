// SPDX-License-Identifier: Apache-2.0
//! RTM_NEWNEIGH and RTM_DELNEIGH: who is on a link (protocol page, 7.8).

use std::net::IpAddr;

use weft_netlink::{AF_BRIDGE, Family, IfIndex, MacAddr, NeighborHeader, NetlinkError, Part};

use super::{Event, Ignored, VlanId};

/// A neighbour as the kernel knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// On which link.
    pub index: IfIndex,
    /// Who.
    pub address: IpAddr,
    /// How sure the kernel is.
    pub state: NeighborState,
    /// Absent while unknown.
    pub mac: Option<MacAddr>,
}

/// NUD_*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborState {
    /// Nothing is known or wanted.
    None,
    /// Asked, no answer yet.
    Incomplete,
    /// Heard of lately.
    Reachable,
    /// Heard of once.
    Stale,
    /// To be asked again soon.
    Delay,
    /// Asked again.
    Probe,
    /// Gave no answer.
    Failed,
    /// Needs no question: multicast, or a link without ARP.
    NoArp,
    /// Configured.
    Permanent,
}

/// An address that an interface answers for in place of its owner (NTF_PROXY).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyNeighbor {
    /// Where the questions arrive.
    pub index: IfIndex,
    /// What they ask for.
    pub address: IpAddr,
}

/// Where a bridge or VXLAN sends frames for a MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FdbEntry {
    /// Port of the bridge, or the VXLAN.
    pub index: IfIndex,
    /// For whom; all zeros for everyone unknown.
    pub mac: MacAddr,
    /// Within which VLAN.
    pub vlan: Option<VlanId>,
    /// The tunnel endpoint behind a VXLAN.
    pub remote: Option<IpAddr>,
}

// include/uapi/linux/neighbour.h
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
const NTF_PROXY: u8 = 0x08;
/// By the kernel's `NUD_` bits, of which one is set or none.
const STATES: [(u16, NeighborState); 9] = [
    (0, NeighborState::None),
    (1, NeighborState::Incomplete),
    (2, NeighborState::Reachable),
    (4, NeighborState::Stale),
    (8, NeighborState::Delay),
    (0x10, NeighborState::Probe),
    (0x20, NeighborState::Failed),
    (0x40, NeighborState::NoArp),
    (0x80, NeighborState::Permanent),
];

pub(super) fn parse(body: Part<'_>, exists: bool) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<NeighborHeader>("ndmsg")?;
    let index = IfIndex::required(header.index.get(), "ndm_ifindex", body.offset + 4)?;
    if header.family == AF_BRIDGE {
        return parse_fdb(index, attributes, exists);
    }
    let Some(family) = Family::new(header.family) else {
        return Ok(Event::Ignored(Ignored::NeighborFamily));
    };
    let (mut address, mut mac) = (None, None);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            NDA_DST => address = Some(attribute.ip("NDA_DST", family)?),
            NDA_LLADDR => mac = attribute.mac(),
            _ => {}
        }
    }
    let address = address.ok_or(NetlinkError::Missing { message: "neighbour", what: "NDA_DST" })?;
    if header.flags & NTF_PROXY != 0 {
        let proxy = ProxyNeighbor { index, address };
        return Ok(if exists { Event::Proxy(proxy) } else { Event::ProxyGone(proxy) });
    }
    let found = header.state.get();
    let state = STATES.iter().find(|(bits, _)| *bits == found).map(|(_, state)| *state);
    let state = state.ok_or(NetlinkError::Value {
        what: "ndm_state",
        offset: body.offset + 8,
        found: found.into(),
        expected: "one of the NUD_ bits",
    })?;
    let neighbor = Neighbor { index, address, state, mac };
    Ok(if exists { Event::Neighbor(neighbor) } else { Event::NeighborGone(neighbor) })
}

fn parse_fdb(index: IfIndex, attributes: Part<'_>, exists: bool) -> Result<Event, NetlinkError> {
    let (mut mac, mut vlan, mut remote) = (None, None, None);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            NDA_LLADDR => mac = attribute.mac(),
            NDA_VLAN => vlan = VlanId::new(attribute.u16("NDA_VLAN")?),
            // The endpoint's family is nowhere but in its length.
            NDA_DST if attribute.value.bytes.len() == 4 => remote = Some(attribute.ip4("NDA_DST")?.into()),
            NDA_DST => remote = Some(attribute.ip6("NDA_DST")?.into()),
            _ => {}
        }
    }
    let mac = mac.ok_or(NetlinkError::Missing { message: "forwarding entry", what: "NDA_LLADDR" })?;
    let entry = FdbEntry { index, mac, vlan, remote };
    Ok(if exists { Event::Fdb(entry) } else { Event::FdbGone(entry) })
}
