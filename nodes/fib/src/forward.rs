// SPDX-License-Identifier: Apache-2.0
//! What happens to a packet after its route was found: the kind of thing that it meets, and which one of that kind.
//!
//! The kinds of this crate have fixed numbers. Any node can be another: [`ForwardKind::to`] makes the kind of packets that go
//! to a node, and the packet carries the number of the object there. So a worker needs no table of kinds, and what routes
//! lead to is open: a bridge domain, a tunnel, a pool of addresses. The main thread knows the names of such kinds
//! (the router's `register_kind`), accepts routes to these only, and keeps a kind and an object as long as routes lead there.

use std::fmt;

use weft_engine::{InterfaceIndex, NodeId};
use weft_interface::TableIndex;

use crate::AdjacencyId;

/// Why a route drops; each is a drop reason of its own and an ICMP code of its own, or none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DropKind {
    /// No route covers the destination: network unreachable.
    NoRoute,
    /// Silently.
    Blackhole,
    /// Host unreachable.
    Unreachable,
    /// Administratively prohibited.
    Prohibit,
}

impl DropKind {
    const ALL: [DropKind; 4] =
        [DropKind::NoRoute, DropKind::Blackhole, DropKind::Unreachable, DropKind::Prohibit];
}

/// The kind of thing that packets meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct ForwardKind(u32);

impl ForwardKind {
    /// Rewrite and transmit. The object is an [`AdjacencyId`].
    pub const ADJACENCY: ForwardKind = ForwardKind(0);
    /// The destination is on a link: ask for its MAC address. The object is the interface.
    pub const GLEAN: ForwardKind = ForwardKind(1);
    /// The destination is this host.
    pub const LOCAL: ForwardKind = ForwardKind(2);
    /// The host sends it on, over an interface of its own.
    pub const PUNT: ForwardKind = ForwardKind(3);
    /// Drop: one kind for each [`DropKind`].
    const DROP: u32 = 4;
    /// Look the destination up in another table, which is the object.
    pub const LOOKUP: ForwardKind = ForwardKind(8);
    /// From here on, the kind is the number of a node.
    const NODES: u32 = 16;
    const NAMES: [&str; 9] = [
        "adjacency",
        "glean",
        "local",
        "punt",
        "drop-no-route",
        "drop-blackhole",
        "drop-unreachable",
        "drop-prohibit",
        "lookup-in-table",
    ];

    /// Packets go to `node`, which finds the object in their metadata, where others have the adjacency.
    pub const fn to(node: NodeId) -> ForwardKind {
        ForwardKind(Self::NODES + node.0 as u32)
    }

    /// Where packets go; `None` for the kinds of this crate.
    #[inline(always)]
    pub const fn node(self) -> Option<NodeId> {
        match self.0.checked_sub(Self::NODES) {
            Some(node) => Some(NodeId(node as _)),
            None => None,
        }
    }

    pub(super) fn number(self) -> u64 {
        self.0.into()
    }

    /// How packets are dropped, if they are.
    pub fn dropped(self) -> Option<DropKind> {
        DropKind::ALL.get((self.0 as usize).checked_sub(Self::DROP as usize)?).copied()
    }
}

impl fmt::Display for ForwardKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Self::NAMES.get(self.0 as usize), self.node()) {
            (Some(name), _) => f.write_str(name),
            (None, Some(node)) => write!(f, "node {}", node.0),
            (None, None) => write!(f, "kind {}", self.0),
        }
    }
}

/// What happens to a packet after its route was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forward {
    pub(super) kind: ForwardKind,
    pub(super) object: u32,
}

const _: () = assert!(size_of::<Forward>() == 8, "eight buckets fit a cache line");

impl Forward {
    /// See [`ForwardKind::LOCAL`].
    pub const LOCAL: Forward = Forward::new(ForwardKind::LOCAL, 0);
    /// See [`ForwardKind::PUNT`].
    pub const PUNT: Forward = Forward::new(ForwardKind::PUNT, 0);

    /// An object of a kind.
    pub const fn new(kind: ForwardKind, object: u32) -> Forward {
        Forward { kind, object }
    }

    /// See [`ForwardKind::ADJACENCY`].
    pub const fn adjacency(id: AdjacencyId) -> Forward {
        Forward::new(ForwardKind::ADJACENCY, id.0)
    }

    /// See [`ForwardKind::GLEAN`].
    pub const fn glean(interface: InterfaceIndex) -> Forward {
        Forward::new(ForwardKind::GLEAN, interface.0)
    }

    /// Drop.
    pub const fn drop(kind: DropKind) -> Forward {
        Forward::new(ForwardKind(ForwardKind::DROP + kind as u32), 0)
    }

    /// See [`ForwardKind::LOOKUP`].
    pub const fn lookup(table: TableIndex) -> Forward {
        Forward::new(ForwardKind::LOOKUP, table.0)
    }

    /// The kind.
    #[inline(always)]
    pub const fn kind(self) -> ForwardKind {
        self.kind
    }

    /// Which one; 0 where there is but one.
    #[inline(always)]
    pub const fn object(self) -> u32 {
        self.object
    }

    const fn of(self, kind: ForwardKind) -> Option<u32> {
        if self.kind.0 == kind.0 { Some(self.object) } else { None }
    }

    /// The adjacency, if it is one.
    #[inline(always)]
    pub const fn as_adjacency(self) -> Option<AdjacencyId> {
        match self.of(ForwardKind::ADJACENCY) {
            Some(id) => Some(AdjacencyId(id)),
            None => None,
        }
    }

    /// The link, if the destination is on one.
    #[inline(always)]
    pub const fn as_glean(self) -> Option<InterfaceIndex> {
        match self.of(ForwardKind::GLEAN) {
            Some(interface) => Some(InterfaceIndex(interface)),
            None => None,
        }
    }

    /// The other table, if the lookup goes on there.
    #[inline(always)]
    pub const fn as_lookup(self) -> Option<TableIndex> {
        match self.of(ForwardKind::LOOKUP) {
            Some(table) => Some(TableIndex(table)),
            None => None,
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ForwardKind::ADJACENCY | ForwardKind::GLEAN | ForwardKind::LOOKUP => {
                write!(f, "{} {}", self.kind, self.object)
            }
            kind if kind.node().is_some() => write!(f, "{kind} object {}", self.object),
            kind => kind.fmt(f),
        }
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_apart_and_have_names() {
        let all = [
            (Forward::adjacency(AdjacencyId(7)), "adjacency 7"),
            (Forward::glean(InterfaceIndex(7)), "glean 7"),
            (Forward::LOCAL, "local"),
            (Forward::PUNT, "punt"),
            (Forward::drop(DropKind::NoRoute), "drop-no-route"),
            (Forward::drop(DropKind::Blackhole), "drop-blackhole"),
            (Forward::drop(DropKind::Unreachable), "drop-unreachable"),
            (Forward::drop(DropKind::Prohibit), "drop-prohibit"),
            (Forward::lookup(TableIndex(7)), "lookup-in-table 7"),
            (Forward::new(ForwardKind::to(NodeId(0)), 7), "node 0 object 7"),
        ];
        for (number, (forward, text)) in all.iter().enumerate() {
            assert_eq!(forward.to_string(), *text);
            assert_eq!(forward.as_adjacency(), (number == 0).then_some(AdjacencyId(7)));
            assert_eq!(forward.as_glean(), (number == 1).then_some(InterfaceIndex(7)));
            assert_eq!(forward.as_lookup(), (number == 8).then_some(TableIndex(7)));
            assert_eq!(forward.kind().dropped().is_some(), (4..8).contains(&number));
            assert_eq!(forward.kind().node(), (number == 9).then_some(NodeId(0)));
        }
        for kind in DropKind::ALL {
            assert_eq!(Forward::drop(kind).kind().dropped(), Some(kind));
        }
    }
}
