// SPDX-License-Identifier: Apache-2.0
//! What clients are told unasked. Whoever changes an interface does not know of them: they are found by looking
//! at all interfaces when the main thread has done something, if anything of them has changed.

use std::collections::BTreeMap;

use weft_binapi::api::interface::SwInterfaceEvent;
use weft_binapi::api::interface_types::IfStatusFlags;
use weft_binapi::server::Clients;
use weft_engine::InterfaceIndex;
use weft_nodes::interface::Interfaces;

use super::{index, interface};

/// Interfaces as clients know them.
#[derive(Default)]
pub struct Announced {
    changes: u64,
    interfaces: BTreeMap<InterfaceIndex, (String, IfStatusFlags)>,
}

impl Announced {
    /// What has happened since the last call: `flags` hold the state if something came up, and nothing if it is new or
    /// went down, as in VPP.
    fn news(&mut self, interfaces: &Interfaces) -> Vec<SwInterfaceEvent> {
        if self.changes == interfaces.changes() {
            return Vec::new();
        }
        self.changes = interfaces.changes();
        let event =
            |place, flags, deleted| SwInterfaceEvent { pid: 0, sw_if_index: index(place), flags, deleted };
        let nothing = IfStatusFlags(0);
        let now: BTreeMap<_, _> = interfaces
            .iter()
            .map(|(place, one)| (place, (one.name.clone(), interface::flags(interfaces, one))))
            .collect();
        let mut news = Vec::new();
        for (place, (name, _)) in &self.interfaces {
            // An index that was given to another interface meanwhile.
            if now.get(place).is_none_or(|(other, _)| other != name) {
                news.push(event(*place, nothing, true));
            }
        }
        for (place, (name, flags)) in &now {
            match self.interfaces.get(place).filter(|(other, _)| other == name) {
                Some((_, before)) if before == flags => {}
                Some((_, before)) if before.contains(*flags) => news.push(event(*place, nothing, false)),
                Some(_) => news.push(event(*place, *flags, false)),
                None => {
                    news.push(event(*place, nothing, false));
                    if flags.contains(IfStatusFlags::ADMIN_UP) {
                        news.push(event(*place, *flags, false));
                    }
                }
            }
        }
        self.interfaces = now;
        news
    }

    /// Tells those who want to know.
    pub(super) fn announce(&mut self, interfaces: &Interfaces, clients: &Clients) {
        for event in self.news(interfaces) {
            clients.publish(|pid| SwInterfaceEvent { pid, ..event });
        }
    }
}
