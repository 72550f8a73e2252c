// SPDX-License-Identifier: Apache-2.0
//! What an interface is, as the facts that others ask for.
//!
//! Whoever wants to know something of an interface's kind asks for the fact and not for the kind, so that another kind
//! is known to all of them when it is known here.

use weft_engine::InterfaceIndex;

use crate::{Interface, Tags};

/// What an interface is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A device.
    Port,
    /// Always up, reaches nobody: holds addresses.
    Loopback,
    /// The frames of a port that carry these tags.
    Sub {
        /// The port.
        parent: InterfaceIndex,
        /// Number in the name: `<port>.<number>`.
        id: u32,
        /// What the frames carry.
        tags: Tags,
    },
}

impl Kind {
    /// The interface below, which it goes up and down with and whose device it uses.
    pub const fn parent(self) -> Option<InterfaceIndex> {
        match self {
            Kind::Sub { parent, .. } => Some(parent),
            Kind::Port | Kind::Loopback => None,
        }
    }

    /// The number that it has below its parent, if it has a parent.
    pub const fn sub_id(self) -> Option<u32> {
        match self {
            Kind::Sub { id, .. } => Some(id),
            Kind::Port | Kind::Loopback => None,
        }
    }

    /// The tags that its frames carry.
    pub fn tags(self) -> Tags {
        match self {
            Kind::Sub { tags, .. } => tags,
            Kind::Port | Kind::Loopback => Tags::default(),
        }
    }

    /// Whether there is no link that could be down.
    pub const fn is_always_up(self) -> bool {
        matches!(self, Kind::Loopback)
    }

    /// In sentences, with its article.
    pub const fn sentence(self) -> &'static str {
        match self {
            Kind::Port => "a port",
            Kind::Loopback => "a loopback interface",
            Kind::Sub { .. } => "a sub-interface",
        }
    }

    /// What Linux calls such a link.
    pub const fn link_type(self) -> &'static str {
        match self {
            Kind::Port => "ether",
            Kind::Loopback => "loopback",
            Kind::Sub { .. } => "vlan",
        }
    }
}

impl Interface {
    /// See [`Kind::parent`].
    pub fn parent(&self) -> Option<InterfaceIndex> {
        self.kind.parent()
    }

    /// See [`Kind::tags`].
    pub fn tags(&self) -> Tags {
        self.kind.tags()
    }
}
