// SPDX-License-Identifier: Apache-2.0
//! What becomes of interfaces and forwarding tables, told to each plugin.

use crate::abi;
use crate::main_thread::InterfaceIndex;

/// Something has happened, or is about to. A plugin that keeps anything by the index of an interface or of a table must
/// forget it when that goes: another one will have the index, and perhaps the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An interface is new. Those that were there before the plugin are not told.
    InterfaceAdded(InterfaceIndex),
    /// An interface is another than before.
    InterfaceChanged(InterfaceIndex, Changes),
    /// An interface is about to be deleted: it can still be looked at, and its features be changed.
    InterfaceRemoving(InterfaceIndex),
    /// An interface is deleted. Its features are off, and rule sets that were attached there alone are gone.
    InterfaceRemoved(InterfaceIndex),
    /// An IPv4 forwarding table is deleted: that of [`crate::Packet::set_table`] and [`crate::Route::table`].
    TableRemoved(u32),
    /// An IPv6 forwarding table is deleted, likewise ([`crate::Route::table`]). Each family has its own indices.
    Table6Removed(u32),
}

/// Which properties of an interface have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes(pub u32);

impl Changes {
    /// Up or down, by the operator or by its link.
    pub const STATE: Changes = Changes(abi::CHANGED_STATE);
    /// The largest IP packet.
    pub const MTU: Changes = Changes(abi::CHANGED_MTU);
    /// Its MAC address.
    pub const MAC: Changes = Changes(abi::CHANGED_MAC);
    /// Its addresses of any family, or those that it borrows.
    pub const ADDRESSES: Changes = Changes(abi::CHANGED_ADDRESSES);
    /// The forwarding table of packets of some family that arrive there.
    pub const TABLE: Changes = Changes(abi::CHANGED_TABLE);
    /// Anything else.
    pub const SETTINGS: Changes = Changes(abi::CHANGED_SETTINGS);

    /// Whether any of these is among them.
    pub const fn any_of(self, these: Changes) -> bool {
        self.0 & these.0 != 0
    }
}

impl From<Event> for abi::Event {
    fn from(event: Event) -> abi::Event {
        let (kind, object, changes) = match event {
            Event::InterfaceAdded(interface) => (abi::EVENT_INTERFACE_ADDED, interface.0, 0),
            Event::InterfaceChanged(interface, Changes(changes)) => {
                (abi::EVENT_INTERFACE_CHANGED, interface.0, changes)
            }
            Event::InterfaceRemoving(interface) => (abi::EVENT_INTERFACE_REMOVING, interface.0, 0),
            Event::InterfaceRemoved(interface) => (abi::EVENT_INTERFACE_REMOVED, interface.0, 0),
            Event::TableRemoved(table) => (abi::EVENT_TABLE_REMOVED, table, 0),
            Event::Table6Removed(table) => (abi::EVENT_TABLE6_REMOVED, table, 0),
        };
        abi::Event { size: size_of::<abi::Event>() as u32, kind, object, changes }
    }
}

impl Event {
    /// `None`: of a kind that is not known here.
    pub(crate) fn read(event: &abi::Event) -> Option<Event> {
        let interface = InterfaceIndex(event.object);
        Some(match event.kind {
            abi::EVENT_INTERFACE_ADDED => Event::InterfaceAdded(interface),
            abi::EVENT_INTERFACE_CHANGED => Event::InterfaceChanged(interface, Changes(event.changes)),
            abi::EVENT_INTERFACE_REMOVING => Event::InterfaceRemoving(interface),
            abi::EVENT_INTERFACE_REMOVED => Event::InterfaceRemoved(interface),
            abi::EVENT_TABLE_REMOVED => Event::TableRemoved(event.object),
            abi::EVENT_TABLE6_REMOVED => Event::Table6Removed(event.object),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_crosses_the_boundary() {
        let interface = InterfaceIndex(7);
        for event in [
            Event::InterfaceAdded(interface),
            Event::InterfaceChanged(interface, Changes::MTU),
            Event::InterfaceRemoving(interface),
            Event::InterfaceRemoved(interface),
            Event::TableRemoved(3),
            Event::Table6Removed(4),
        ] {
            assert_eq!(Event::read(&event.into()), Some(event));
        }
    }
}
