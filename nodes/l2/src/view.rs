// SPDX-License-Identifier: Apache-2.0
//! What workers know of domains and ports: one immutable object, replaced as a whole when something is configured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weft_engine::InterfaceIndex;
use weft_table::Reader;

use crate::config::{LinkGroups, Role};
use crate::macs::DomainIndex;
use crate::tags::Rewrite;

/// Says to workers that no more stations are learned. The main thread sets it.
#[derive(Clone, Debug, Default)]
pub struct Full(Arc<AtomicBool>);

impl Full {
    /// Whether it is so.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Makes it so, or not.
    pub fn set(&self, full: bool) {
        if self.is_set() != full {
            self.0.store(full, Ordering::Relaxed);
        }
    }
}

/// What becomes of the frames that arrive on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// They are switched in this domain.
    Domain(DomainIndex),
    /// They leave by this interface.
    Cross(InterfaceIndex),
}

/// An interface that is switched.
#[derive(Clone, Debug)]
pub struct PortView {
    pub way: Way,
    /// Split-horizon group; 0: none.
    pub group: u8,
    pub learn: bool,
    pub full: Full,
    pub rewrite: Option<Rewrite>,
}

/// A port, as flooding sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub interface: InterfaceIndex,
    pub role: Role,
    pub group: u8,
}

/// A domain.
#[derive(Clone, Debug)]
pub struct DomainsView {
    pub learn: bool,
    pub forward: bool,
    pub flood: bool,
    pub unknown_flood: bool,
    pub link_groups: LinkGroups,
    pub full: Full,
    pub uplink: Option<InterfaceIndex>,
    pub members: Box<[Member]>,
}

/// All of it.
#[derive(Default)]
pub struct View {
    /// By interface.
    pub ports: Box<[Option<PortView>]>,
    /// By index.
    pub domains: Box<[Option<DomainsView>]>,
    /// There is a table since there was a domain.
    pub macs: Option<Reader<1>>,
    /// No station of any domain is learned any more.
    pub full: Full,
}

impl View {
    /// What an interface is; `None`: it is routed.
    #[inline(always)]
    pub fn port(&self, interface: InterfaceIndex) -> Option<&PortView> {
        self.ports.get(interface.index())?.as_ref()
    }

    /// A domain.
    #[inline(always)]
    pub fn domain(&self, index: DomainIndex) -> Option<&DomainsView> {
        self.domains.get(usize::from(index.0))?.as_ref()
    }

    /// The domain that an interface is a port of.
    #[inline(always)]
    pub fn domain_of(&self, interface: InterfaceIndex) -> Option<DomainIndex> {
        match self.port(interface)?.way {
            Way::Domain(domain) => Some(domain),
            Way::Cross(_) => None,
        }
    }
}

/// Whether frames may go from a port of one group to one of another.
#[inline(always)]
pub fn may_meet(one: u8, other: u8) -> bool {
    one == 0 || one != other
}
