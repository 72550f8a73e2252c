// SPDX-License-Identifier: Apache-2.0
//! RTM_NEWLINK and RTM_DELLINK: what exists as an interface (protocol page, 7.5).

use std::net::IpAddr;

use weft_netlink::{
    AF_BRIDGE, AF_INET6, AF_UNSPEC, Attribute, IfIndex, LinkHeader, MacAddr, NetlinkError, Part,
};

use super::{Event, Ignored, TableId};

/// A link as the kernel describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number.
    pub index: IfIndex,
    /// Changes when it is renamed.
    pub name: Box<str>,
    /// What it is.
    pub kind: LinkKind,
    /// Set up by the operator (IFF_UP).
    pub admin_up: bool,
    /// Its own address, if it is one of Ethernet.
    pub mac: Option<MacAddr>,
    /// Most bytes of an IP packet.
    pub mtu: u32,
    /// The VRF, bridge or bond that it belongs to.
    pub master: Option<IfIndex>,
}

/// What a link is: its hardware type, then its IFLA_INFO_KIND.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// The loopback device.
    Loopback,
    /// A TUN or TAP device; a port if vplaned made it for one.
    Tun,
    /// The frames of a parent that carry a tag.
    Vlan {
        /// Whose frames.
        parent: IfIndex,
        /// Of the tag.
        id: VlanId,
        /// Of the tag.
        protocol: TagProtocol,
    },
    /// A second MAC address on a parent, as VRRP uses it.
    Macvlan {
        /// Whose frames.
        parent: IfIndex,
    },
    /// A bridge.
    Bridge,
    /// A VXLAN tunnel.
    Vxlan(Vxlan),
    /// The master of a VRF.
    Vrf {
        /// Of its routes.
        table: TableId,
    },
    /// Any other: the kernel's name of the kind, or of the hardware type.
    Unsupported(Box<str>),
}

/// 1 to 4094 (IEEE 802.1Q, 9.6); 0 for a priority tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(u16);

impl VlanId {
    /// `None` for 4095 and more.
    pub const fn new(id: u16) -> Option<VlanId> {
        if id < 4095 { Some(VlanId(id)) } else { None }
    }

    /// As a number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The Ethernet type of a tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TagProtocol {
    /// 0x8100.
    Dot1Q,
    /// 0x88a8.
    Dot1Ad,
}

/// How a VXLAN tunnel is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vxlan {
    /// The VXLAN network identifier.
    pub vni: u32,
    /// Multicast group or default remote endpoint.
    pub remote: Option<IpAddr>,
    /// Source address of the outer packets.
    pub local: Option<IpAddr>,
    /// UDP port of the outer packets.
    pub port: u16,
    /// Interface of the outer packets.
    pub parent: Option<IfIndex>,
    /// Whether source addresses of inner frames make forwarding entries.
    pub learning: bool,
}

/// A link as a port of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BridgePort {
    /// The port.
    pub index: IfIndex,
    /// The bridge.
    pub bridge: IfIndex,
    /// What the bridge lets through, if the message says it.
    pub state: Option<BridgePortState>,
}

/// State of a port in the spanning tree (BR_STATE_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BridgePortState {
    /// Not part of the bridge's traffic.
    Disabled,
    /// Hears, learns nothing.
    Listening,
    /// Learns, forwards nothing.
    Learning,
    /// Forwards.
    Forwarding,
    /// Kept out by the spanning tree.
    Blocking,
}

// include/uapi/linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_VRF_TABLE: u16 = 1;
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_GROUP: u16 = 2;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_GROUP6: u16 = 16;
const IFLA_VXLAN_LOCAL6: u16 = 17;
const IFLA_BRPORT_STATE: u16 = 1;

const IFF_UP: u32 = 1;

/// Offset of `ifi_index` in the message.
const INDEX_OFFSET: usize = 16 + 4;

pub(super) fn parse(body: Part<'_>, exists: bool) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<LinkHeader>("ifinfomsg")?;
    let index = IfIndex::required(header.index.get(), "ifi_index", INDEX_OFFSET)?;
    match (header.family, exists) {
        (AF_UNSPEC, true) => parse_link(header, index, attributes).map(Event::Link),
        (AF_UNSPEC, false) => Ok(Event::LinkGone(index)),
        (AF_INET6, _) => Ok(Event::Ignored(Ignored::Ip6LinkState)),
        (AF_BRIDGE, _) => parse_bridge(body, exists),
        (family, _) => Err(NetlinkError::Value {
            what: "ifi_family",
            offset: body.offset,
            found: family.into(),
            expected: "0, 7 or 10 (AF_UNSPEC, AF_BRIDGE, AF_INET6)",
        }),
    }
}

pub(super) fn parse_bridge(body: Part<'_>, exists: bool) -> Result<Event, NetlinkError> {
    let (header, attributes) = body.header::<LinkHeader>("ifinfomsg")?;
    let index = IfIndex::required(header.index.get(), "ifi_index", INDEX_OFFSET)?;
    if header.family != AF_BRIDGE {
        return Err(NetlinkError::Value {
            what: "ifi_family",
            offset: body.offset,
            found: header.family.into(),
            expected: "7 (AF_BRIDGE)",
        });
    }
    if !exists {
        return Ok(Event::BridgePortGone(index));
    }
    let (mut bridge, mut state) = (None, None);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_MASTER => bridge = attribute.index("IFLA_MASTER")?,
            IFLA_PROTINFO => {
                for nested in attribute.value.attributes() {
                    let nested = nested?;
                    if nested.kind == IFLA_BRPORT_STATE {
                        state = Some(port_state(nested)?);
                    }
                }
            }
            _ => {}
        }
    }
    let bridge = bridge.ok_or(NetlinkError::Missing { message: "bridge port", what: "IFLA_MASTER" })?;
    Ok(Event::BridgePort(BridgePort { index, bridge, state }))
}

fn port_state(attribute: Attribute<'_>) -> Result<BridgePortState, NetlinkError> {
    // include/uapi/linux/if_bridge.h
    Ok(match attribute.u8("IFLA_BRPORT_STATE")? {
        0 => BridgePortState::Disabled,
        1 => BridgePortState::Listening,
        2 => BridgePortState::Learning,
        3 => BridgePortState::Forwarding,
        4 => BridgePortState::Blocking,
        other => return Err(attribute.value("IFLA_BRPORT_STATE", other, "0 to 4")),
    })
}

fn parse_link(header: &LinkHeader, index: IfIndex, attributes: Part<'_>) -> Result<Link, NetlinkError> {
    let mut name = None;
    let (mut mac, mut mtu, mut parent, mut master) = (None, None, None, None);
    let (mut kind, mut data) = (None, None);
    for attribute in attributes.attributes() {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_IFNAME => name = Some(attribute.text("IFLA_IFNAME")?),
            IFLA_ADDRESS => mac = attribute.mac(),
            IFLA_MTU => mtu = Some(attribute.u32("IFLA_MTU")?),
            IFLA_LINK => parent = attribute.index("IFLA_LINK")?,
            IFLA_MASTER => master = attribute.index("IFLA_MASTER")?,
            IFLA_LINKINFO => {
                for nested in attribute.value.attributes() {
                    let nested = nested?;
                    match nested.kind {
                        IFLA_INFO_KIND => kind = Some(nested.text("IFLA_INFO_KIND")?),
                        IFLA_INFO_DATA => data = Some(nested.value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let name = name.ok_or(NetlinkError::Missing { message: "link", what: "IFLA_IFNAME" })?;
    let mtu = mtu.ok_or(NetlinkError::Missing { message: "link", what: "IFLA_MTU" })?;
    let kind = link_kind(header.hardware.get(), kind, parent, data)?;
    Ok(Link { index, name: name.into(), kind, admin_up: header.flags.get() & IFF_UP != 0, mac, mtu, master })
}

// include/uapi/linux/if_arp.h
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_NONE: u16 = 0xfffe;

fn link_kind(
    hardware: u16,
    kind: Option<&str>,
    parent: Option<IfIndex>,
    data: Option<Part<'_>>,
) -> Result<LinkKind, NetlinkError> {
    let parent = |message| parent.ok_or(NetlinkError::Missing { message, what: "IFLA_LINK" });
    Ok(match (hardware, kind) {
        (ARPHRD_LOOPBACK, _) => LinkKind::Loopback,
        (ARPHRD_ETHER | ARPHRD_NONE, Some("tun")) => LinkKind::Tun,
        (ARPHRD_ETHER | ARPHRD_NONE, Some("vxlan")) => LinkKind::Vxlan(vxlan(data)?),
        (ARPHRD_ETHER, Some("vlan")) => {
            let (id, protocol) = vlan(data)?;
            LinkKind::Vlan { parent: parent("VLAN")?, id, protocol }
        }
        (ARPHRD_ETHER, Some("macvlan")) => LinkKind::Macvlan { parent: parent("macvlan")? },
        (ARPHRD_ETHER, Some("bridge")) => LinkKind::Bridge,
        (ARPHRD_ETHER, Some("vrf")) => LinkKind::Vrf { table: vrf(data)? },
        (_, Some(kind)) => LinkKind::Unsupported(kind.into()),
        (ARPHRD_ETHER, None) => LinkKind::Unsupported("ethernet".into()),
        (512, None) => LinkKind::Unsupported("ppp".into()),
        (768, None) => LinkKind::Unsupported("ipip".into()),
        (769, None) => LinkKind::Unsupported("ip6tnl".into()),
        (776, None) => LinkKind::Unsupported("sit".into()),
        (778, None) => LinkKind::Unsupported("gre".into()),
        (823, None) => LinkKind::Unsupported("ip6gre".into()),
        (other, None) => LinkKind::Unsupported(format!("hardware type {other}").into()),
    })
}

fn vlan(data: Option<Part<'_>>) -> Result<(VlanId, TagProtocol), NetlinkError> {
    // The kernel leaves the protocol out for 802.1Q only in old versions.
    let (mut id, mut protocol) = (None, TagProtocol::Dot1Q);
    for attribute in data.into_iter().flat_map(Part::attributes) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_VLAN_ID => {
                let found = attribute.u16("IFLA_VLAN_ID")?;
                let valid = VlanId::new(found);
                id = Some(valid.ok_or_else(|| attribute.value("IFLA_VLAN_ID", found, "0 to 4094"))?);
            }
            IFLA_VLAN_PROTOCOL => {
                protocol = match attribute.u16_be("IFLA_VLAN_PROTOCOL")? {
                    0x8100 => TagProtocol::Dot1Q,
                    0x88a8 => TagProtocol::Dot1Ad,
                    other => {
                        let expected = "33024 (0x8100) or 34984 (0x88a8)";
                        return Err(attribute.value("IFLA_VLAN_PROTOCOL", other, expected));
                    }
                }
            }
            _ => {}
        }
    }
    let id = id.ok_or(NetlinkError::Missing { message: "VLAN", what: "IFLA_VLAN_ID" })?;
    Ok((id, protocol))
}

fn vrf(data: Option<Part<'_>>) -> Result<TableId, NetlinkError> {
    for attribute in data.into_iter().flat_map(Part::attributes) {
        let attribute = attribute?;
        if attribute.kind == IFLA_VRF_TABLE {
            return attribute.u32("IFLA_VRF_TABLE").map(TableId);
        }
    }
    Err(NetlinkError::Missing { message: "VRF", what: "IFLA_VRF_TABLE" })
}

fn vxlan(data: Option<Part<'_>>) -> Result<Vxlan, NetlinkError> {
    /// The kernel's own default (drivers/net/vxlan, `udp_port`); it always reports the port in use.
    const LINUX_DEFAULT_PORT: u16 = 8472;
    let mut vni = None;
    let (mut remote, mut local, mut parent) = (None, None, None);
    let (mut port, mut learning) = (LINUX_DEFAULT_PORT, true);
    for attribute in data.into_iter().flat_map(Part::attributes) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_VXLAN_ID => vni = Some(attribute.u32("IFLA_VXLAN_ID")?),
            IFLA_VXLAN_GROUP => remote = Some(attribute.ip4("IFLA_VXLAN_GROUP")?.into()),
            IFLA_VXLAN_GROUP6 => remote = Some(attribute.ip6("IFLA_VXLAN_GROUP6")?.into()),
            IFLA_VXLAN_LOCAL => local = Some(attribute.ip4("IFLA_VXLAN_LOCAL")?.into()),
            IFLA_VXLAN_LOCAL6 => local = Some(attribute.ip6("IFLA_VXLAN_LOCAL6")?.into()),
            IFLA_VXLAN_LINK => parent = attribute.index("IFLA_VXLAN_LINK")?,
            IFLA_VXLAN_PORT => port = attribute.u16_be("IFLA_VXLAN_PORT")?,
            IFLA_VXLAN_LEARNING => learning = attribute.u8("IFLA_VXLAN_LEARNING")? != 0,
            _ => {}
        }
    }
    let vni = vni.ok_or(NetlinkError::Missing { message: "VXLAN", what: "IFLA_VXLAN_ID" })?;
    Ok(Vxlan { vni, remote, local, port, parent, learning })
}
