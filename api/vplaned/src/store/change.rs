// SPDX-License-Identifier: Apache-2.0
//! What the store tells a dataplane: only differences, and only about things whose references exist.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;

use crate::netlink::{
    IfIndex, InterfaceAddress, MacAddr, NetconfFamily, ProxyNeighbor, RpFilter, TableId, TagProtocol, VlanId,
};

/// One difference. Whoever applies them in order never meets a name that does not exist: an interface comes after its
/// parent and VRF and before its addresses and routes, and goes after them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// There is this VRF, or it is another one now.
    Vrf(Vrf),
    /// The VRF is gone.
    VrfGone(VrfId),
    /// There is this interface, or it is another one now.
    Interface(Interface),
    /// The interface is gone.
    InterfaceGone(IfIndex),
    /// The interface has this address.
    Address(InterfaceAddress),
    /// The interface has it no more.
    AddressGone(InterfaceAddress),
    /// There is this neighbour, or it has another MAC address now.
    Neighbor(KnownNeighbor),
    /// The neighbour is not known any more.
    NeighborGone(IfIndex, IpAddr),
    /// The interface answers in place of this address.
    Proxy(ProxyNeighbor),
    /// The interface answers no more.
    ProxyGone(ProxyNeighbor),
    /// There is this route, or it leads elsewhere now.
    Route(FibTable, IpNet, Paths),
    /// The route is gone.
    RouteGone(FibTable, IpNet),
}

/// A VRF, by the interface that stands for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VrfId(pub IfIndex);

/// See [`Change::Vrf`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vrf {
    /// Its master interface.
    pub id: VrfId,
    /// Of the master interface.
    pub name: Box<str>,
    /// Where the kernel keeps its routes.
    pub table: TableId,
}

/// A table of routes as a dataplane looks addresses up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FibTable {
    /// `None` for the default VRF.
    pub vrf: Option<VrfId>,
    /// `None` for the table of all packets of the VRF.
    pub policy: Option<PolicyTable>,
}

impl FibTable {
    /// Of packets that no VRF and no policy claims.
    pub const MAIN: FibTable = FibTable { vrf: None, policy: None };
}

/// A table that only policy-based routing chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PolicyTable(pub u32);

/// An interface that the dataplane forwards on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The kernel's number.
    pub index: IfIndex,
    /// Changes when it is renamed.
    pub name: Box<str>,
    /// What it is.
    pub kind: InterfaceKind,
    /// Set up by the operator.
    pub admin_up: bool,
    /// Its own address.
    pub mac: Option<MacAddr>,
    /// Most bytes of an IP packet.
    pub mtu: u32,
    /// `None` for the default VRF.
    pub vrf: Option<VrfId>,
    /// The bridge or bond that its packets belong to; then nothing is routed here.
    pub member_of: Option<IfIndex>,
    /// Settings of IPv4.
    pub ip4: IpSettings,
    /// Settings of IPv6.
    pub ip6: IpSettings,
}

/// See [`Interface`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InterfaceKind {
    /// A port of the dataplane.
    Port,
    /// The frames of a parent that carry a tag.
    Vlan {
        /// An interface of the dataplane.
        parent: IfIndex,
        /// Of the tag.
        id: VlanId,
        /// Of the tag.
        protocol: TagProtocol,
    },
}

impl InterfaceKind {
    /// The interface that it stands on.
    pub fn parent(self) -> Option<IfIndex> {
        match self {
            InterfaceKind::Port => None,
            InterfaceKind::Vlan { parent, .. } => Some(parent),
        }
    }
}

/// What is set for one family; `None` where nobody has said it, as after a restart of vplaned (protocol page, 15.3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IpSettings {
    /// Whether packets that arrive here are routed.
    pub forwarding: Option<bool>,
    /// The check of source addresses.
    pub rp_filter: Option<RpFilter>,
    /// Whether multicast that arrives here is routed.
    pub multicast_forwarding: Option<bool>,
    /// Whether it answers in place of others.
    pub proxy: Option<bool>,
}

impl Interface {
    pub(super) fn settings(&mut self, family: NetconfFamily) -> &mut IpSettings {
        match family {
            NetconfFamily::Ip4 => &mut self.ip4,
            NetconfFamily::Ip6 => &mut self.ip6,
        }
    }
}

/// A neighbour with a MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownNeighbor {
    /// On which link.
    pub index: IfIndex,
    /// Who.
    pub address: IpAddr,
    /// Where.
    pub mac: MacAddr,
    /// Configured, not learned.
    pub permanent: bool,
}

/// The paths of a route, shared by all routes that have the same; never empty.
pub type Paths = Arc<[RoutePath]>;

/// One of the ways of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutePath {
    /// Where it leads; no two paths of a route lead to the same.
    pub target: PathTarget,
    /// Its share, in proportion to the other weights.
    pub weight: NonZeroU16,
}

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathTarget {
    /// To a router on the link of an interface of the dataplane.
    Gateway {
        /// Its link.
        interface: IfIndex,
        /// The router.
        address: IpAddr,
        /// No subnet of the link contains the router.
        onlink: bool,
    },
    /// Destinations are on the link of an interface of the dataplane.
    Link(IfIndex),
    /// The kernel sends it: over an interface of its own, or in a way that the dataplane cannot.
    Host,
    /// Destinations are this host.
    Local,
    /// Discarded in silence.
    Blackhole,
    /// Discarded with "host unreachable".
    Unreachable,
    /// Discarded with "administratively prohibited".
    Prohibit,
}
