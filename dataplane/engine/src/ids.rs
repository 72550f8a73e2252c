// SPDX-License-Identifier: Apache-2.0
//! The small integers that packets carry and tables are indexed by, each with its own type.

use std::fmt;

pub use weft_stats::ThreadIndex;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($int:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// For indexing a slice.
            #[inline(always)]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A packet buffer: its slot in the buffer memory and its line of metadata.
    BufferIndex(u32)
}
id! {
    /// A node of the graph, the same on every worker.
    NodeId(u16)
}
id! {
    /// An interface: a port, a sub-interface or a loopback. VPP calls it `sw_if_index`.
    InterfaceIndex(u32)
}
id! {
    /// A drop reason or event counter of some node; indexes `/node/errors` in the stats segment.
    ReasonId(u16)
}

impl ReasonId {
    /// Of a packet that met a removed node: see the drop node.
    pub(crate) const NODE_REMOVED: ReasonId = ReasonId(1);
}

id! {
    /// An edge of the graph; indexes `/sys/edge/packets` in the stats segment.
    EdgeIndex(u16)
}
id! {
    /// A feature arc.
    ArcId(u8)
}

impl InterfaceIndex {
    /// No interface.
    pub const NONE: InterfaceIndex = InterfaceIndex(u32::MAX);
}

impl NodeId {
    /// The node that ends a packet: it counts the packet's reason and frees its buffer.
    pub const DROP: NodeId = NodeId(0);
    /// In place of a node that has left the graph, where its number could be taken for that of the next node that has it.
    pub const GONE: NodeId = NodeId(u16::MAX);
}
