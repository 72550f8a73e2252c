// SPDX-License-Identifier: Apache-2.0
//! Which rules the packets of an interface meet: one immutable table for all interfaces, replaced as a whole.
//!
//! So a change of a rule set reaches all interfaces that it is attached to with one pointer store, and a vector of packets is
//! matched against the old set or the new one, never a mixture.

use std::sync::Arc;

use weft_engine::{InterfaceIndex, NodeId};

use crate::classifier::Classifier;

/// Which packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Those that came in by it.
    Input,
    /// Those that leave by it.
    Output,
}

/// A rule set's number, which traces name. Used again when the set is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetIndex(pub u32);

/// The rules of one interface in one direction.
#[derive(Clone)]
pub(crate) struct Attached {
    pub set: SetIndex,
    pub classifier: Arc<Classifier>,
    /// Flags of packets that do not meet the rules.
    pub exempt: u32,
}

/// One direction, by interface.
#[derive(Clone, Default)]
pub(crate) struct Side(Vec<Option<Attached>>);

impl Side {
    #[inline(always)]
    pub fn get(&self, interface: InterfaceIndex) -> Option<&Attached> {
        self.0.get(interface.index())?.as_ref()
    }
}

/// What workers read.
#[derive(Clone, Default)]
pub struct Attachments {
    sides: [Side; 2],
    /// Where packets go whose flow is admitted; `None`: nobody tracks flows.
    pub(crate) tracker: Option<NodeId>,
}

impl Attachments {
    pub(crate) fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }

    pub(crate) fn set(&mut self, interface: InterfaceIndex, direction: Direction, attached: Attached) {
        let Side(side) = &mut self.sides[direction as usize];
        if interface.index() >= side.len() {
            side.resize(interface.index() + 1, None);
        }
        side[interface.index()] = Some(attached);
    }
}
