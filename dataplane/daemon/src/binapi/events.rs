// SPDX-License-Identifier: Apache-2.0
//! What clients are told of interfaces unasked. It waits until the main thread has done what it is about: a client that has
//! changed something has its answer first.

use std::collections::BTreeMap;

use weft_binapi::api::interface::SwInterfaceEvent;
use weft_binapi::api::interface_types::IfStatusFlags;
use weft_binapi::server::Clients;
use weft_engine::InterfaceIndex;
use weft_nodes::interface::Interfaces;

use super::{index, interface};

/// Interfaces as clients know them, and what they are still to be told.
#[derive(Default)]
pub struct Announced {
    flags: BTreeMap<InterfaceIndex, IfStatusFlags>,
    waiting: Vec<SwInterfaceEvent>,
}

impl Announced {
    /// An interface is new.
    pub(super) fn added(&mut self, place: InterfaceIndex) {
        self.flags.insert(place, IfStatusFlags(0));
        self.note(place, IfStatusFlags(0), false);
    }

    /// An interface went up or down: `flags` hold the state if something came up, and nothing if it went down, as in VPP.
    pub(super) fn changed(&mut self, interfaces: &Interfaces, place: InterfaceIndex) {
        let Some(one) = interfaces.get(place) else { return };
        let (flags, nothing) = (interface::flags(interfaces, one), IfStatusFlags(0));
        let is_news = self.waiting.iter().any(|event| event.sw_if_index == index(place) && !event.deleted);
        match self.flags.insert(place, flags).unwrap_or(nothing) {
            before if before == flags => {}
            // The link of one that clients are still to hear of is part of its coming.
            _ if is_news && !flags.contains(IfStatusFlags::ADMIN_UP) => {}
            before if before.contains(flags) => self.note(place, nothing, false),
            _ => self.note(place, flags, false),
        }
    }

    /// An interface is gone.
    pub(super) fn removed(&mut self, place: InterfaceIndex) {
        self.flags.remove(&place);
        self.note(place, IfStatusFlags(0), true);
    }

    fn note(&mut self, place: InterfaceIndex, flags: IfStatusFlags, deleted: bool) {
        self.waiting.push(SwInterfaceEvent { pid: 0, sw_if_index: index(place), flags, deleted });
    }

    /// Tells those who want to know.
    pub(super) fn announce(&mut self, clients: &Clients) {
        for event in self.waiting.drain(..) {
            clients.publish(|pid| SwInterfaceEvent { pid, ..event });
        }
    }
}
