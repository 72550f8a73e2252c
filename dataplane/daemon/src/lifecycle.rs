// SPDX-License-Identifier: Apache-2.0
//! Lifecycle: whoever keeps something by the index of an interface or of a table hears when that object changes and goes.
//!
//! Whoever keeps state by such an index is a [`Subsystem`]. Nothing else is called when an interface or a table goes.
//!
//! # Order
//!
//! The [`Subsystems`](crate::subsystem::Subsystems) have an order, with devices at the bottom. What comes and
//! changes is heard in this order, what goes in the opposite order. Interfaces, routes and rules are used by all others: they are the
//! [`Foundation`] that each call is given. Plugins can reach all of the dataplane, so they stand outside of the list: they
//! hear what comes and changes last, of a deletion first, and that it is done last.
//!
//! # What comes and changes
//!
//! The registry notes it ([`weft_nodes::interface::Interfaces::take_events`]), so whoever changes an interface need not know who hears of it, and
//! what a transaction changes is heard when it is committed. `Dataplane::tell_of_changes` passes it on: the router first.
//!
//! # Deletion
//!
//! It is a step of a change set.
//!
//! 1. Everybody is asked ([`Subsystem::interface_may_go`]), and nothing changes. A refusal leaves all as it was.
//! 2. With the rest of the change set it is published that there is no such interface, address, path or rule.
//! 3. Everybody gives up what it has there ([`Subsystem::interface_removing`]): the interface can still be looked at by its
//!    index.
//! 4. The registry forgets it; then everybody hears that it is gone ([`Subsystem::interface_removed`]).
//!
//! A worker may be about to write down what names the object: a verdict is on its way to it, or a packet. Whoever keeps
//! such things holds the [`weft_engine::lease::Lease`] of the index until it has looked again, and the index is given out only then.
//!
//! Main thread only. A call of a subsystem does not delete or create interfaces and tables.

use weft_control::{ChangeSet, Object, Owner, Purpose};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::{Event, IpVersion};
use weft_plugin_host::{Changes as PluginChanges, Event as PluginEvent, InterfaceIndex as PluginInterface};

use crate::ports::DeviceError;
use crate::ports::local::LOCAL0;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};

impl Dataplane {
    /// Tells everybody what has come and changed since the last call. Whoever has created or changed interfaces calls this
    /// when all of it is done; the main loop does in any case.
    pub fn tell_of_changes(&mut self) {
        // What is told may change other interfaces.
        loop {
            let events = self.take_events();
            if events.is_empty() {
                return;
            }
            for event in events {
                if let Event::Added(index) = event {
                    self.watch_link(index);
                }
                let (Event::Added(index) | Event::Changed(index, _)) = event;
                self.show_state(index);
                let (control, parts) = self.split();
                let mut cx = control.foundation();
                for subsystem in parts.all() {
                    match event {
                        Event::Added(index) => subsystem.interface_added(&mut cx, index),
                        Event::Changed(index, changes) => {
                            subsystem.interface_changed(&mut cx, index, changes)
                        }
                    }
                }
                self.tell_plugins(match event {
                    Event::Added(index) => PluginEvent::InterfaceAdded(PluginInterface(index.0)),
                    Event::Changed(index, changes) => {
                        PluginEvent::InterfaceChanged(PluginInterface(index.0), PluginChanges(changes.bits()))
                    }
                });
            }
        }
    }

    /// Tells everybody that something goes.
    fn tell_of_removal(&mut self, mut tell: impl FnMut(&mut dyn Subsystem, &mut Foundation<'_>)) {
        let (control, parts) = self.split();
        let mut cx = control.foundation();
        parts.all().rev().for_each(|subsystem| tell(subsystem, &mut cx));
    }

    /// Deletes an interface of any kind with all that is on it but sub-interfaces, which are refused. A refusal leaves all
    /// as it was.
    pub fn delete_interface(&mut self, index: InterfaceIndex) -> Result<(), DeviceError> {
        let mut changes = ChangeSet::new(Owner::CLI);
        changes.delete_interface(self, index)?;
        Ok(self.change(&changes, Purpose::Make)?)
    }

    /// Tells everybody of the interfaces that change sets have deleted.
    pub fn tell_of_deleted_interfaces(&mut self) {
        for index in self.take_deleted_interfaces() {
            self.tell_plugins(PluginEvent::InterfaceRemoving(PluginInterface(index.0)));
            self.tell_of_removal(|subsystem, cx| subsystem.interface_removing(cx, index));
            let gone = self.forget_interface(index);
            self.tell_of_removal(|subsystem, cx| subsystem.interface_removed(cx, index));
            self.tell_plugins(PluginEvent::InterfaceRemoved(PluginInterface(index.0)));
            // Nobody has made local0, and it goes with the daemon.
            if let Some(gone) = gone.filter(|_| index != LOCAL0) {
                tracing::info!("{} is deleted", gone.name);
            }
        }
    }

    /// Deletes all interfaces, when the daemon ends: those that stand on others first.
    pub fn delete_all_interfaces(&mut self) {
        let mut all: Vec<_> = self
            .interfaces()
            .iter()
            .map(|(index, interface)| (interface.parent().is_none(), index))
            .collect();
        all.sort_unstable();
        let mut changes = ChangeSet::new(Owner::CLI);
        all.into_iter().for_each(|(_, index)| changes.delete(Object::Interface(index)));
        for (_, error) in self.change_possible(changes) {
            tracing::warn!("{error}");
        }
    }

    /// Tells everybody of the tables that change sets have deleted.
    pub fn tell_of_deleted_tables(&mut self) {
        for (version, table, lease) in self.take_deleted_tables() {
            self.tell_of_removal(|subsystem, cx| subsystem.table_removed(cx, version, table, &lease));
            self.tell_plugins(match version {
                IpVersion::V4 => PluginEvent::TableRemoved(table.0),
                IpVersion::V6 => PluginEvent::Table6Removed(table.0),
            });
        }
    }
}

#[cfg(test)]
mod tests;
