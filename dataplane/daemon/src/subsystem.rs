// SPDX-License-Identifier: Apache-2.0
//! What parts of the daemon keep in the one state of the main thread, and what they hear.
//!
//! A part is known by its type: whoever wrote it asks for it ([`Subsystems::get`]), and nobody else needs to know that it is
//! there. All parts are named in one place, where the daemon is put together (`assembly`). The list is ordered from the
//! bottom up: a part stands after those that it uses.
//!
//! An index of an interface or of a table is given out again. State that is kept by index and outlives its object becomes
//! another object's, so a part that has such state says here what becomes of it. Who calls, and in which order, is in
//! `lifecycle`.
//!
//! Main thread only. A call of a subsystem does not delete or create interfaces and tables.

use std::any::{Any, TypeId, type_name};

pub use weft_control::Foundation;
use weft_engine::{InterfaceIndex, Lease};
use weft_nodes::interface::{Changes, Interfaces, IpVersion, TableIndex};

/// Why an interface cannot be deleted or changed now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// One of its queues has no worker at the moment.
    #[error("queue {queue} of '{name}' is on its way to another worker: try again in a moment")]
    Moving {
        /// The port.
        name: String,
        /// Its queue.
        queue: u32,
    },
}

/// A part of the main thread's state. It hears of interfaces and tables, if it keeps anything by their indices.
pub trait Subsystem: Any {
    /// An interface is new. Nothing is on it, and it is down.
    fn interface_added(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        let _ = (cx, index);
    }

    /// An interface is another than before.
    fn interface_changed(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex, changes: Changes) {
        let _ = (cx, index, changes);
    }

    /// Whether an interface can be deleted as far as this subsystem is concerned. What merely refers to it goes with it.
    fn interface_may_go(&self, interfaces: &Interfaces, index: InterfaceIndex) -> Result<(), Refusal> {
        let _ = (interfaces, index);
        Ok(())
    }

    /// An interface is about to be deleted: give up what there is on it. Packets may still arrive.
    fn interface_removing(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        let _ = (cx, index);
    }

    /// An interface is deleted. Another one will have its index, and perhaps its name.
    fn interface_removed(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        let _ = (cx, index);
    }

    /// A forwarding table of a family is deleted. Another one will have its index when nobody holds the lease any more.
    fn table_removed(
        &mut self,
        cx: &mut Foundation<'_>,
        version: IpVersion,
        table: TableIndex,
        lease: &Lease,
    ) {
        let _ = (cx, version, table, lease);
    }
}

/// All parts, from the bottom up.
#[derive(Default)]
pub struct Subsystems {
    slots: Vec<(TypeId, Option<Box<dyn Subsystem>>)>,
}

impl Subsystems {
    /// Adds a part on top of those that are there, or puts back one that was taken, where it was.
    pub fn put<T: Subsystem>(&mut self, part: Box<T>) {
        match self.slots.iter_mut().find(|(id, _)| *id == TypeId::of::<T>()) {
            Some((_, slot)) => *slot = Some(part),
            None => self.slots.push((TypeId::of::<T>(), Some(part))),
        }
    }

    /// Takes a part out: for good, or while the rest of the state is changed by it. It hears nothing then.
    pub fn take<T: Subsystem>(&mut self) -> Option<Box<T>> {
        let (_, slot) = self.slots.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        let part: Box<dyn Any> = slot.take()?;
        part.downcast().ok()
    }

    /// A part that is not always there.
    pub fn find<T: Subsystem>(&self) -> Option<&T> {
        let (_, slot) = self.slots.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        let part: &dyn Any = slot.as_deref()?;
        part.downcast_ref()
    }

    /// The same, to be changed.
    pub fn find_mut<T: Subsystem>(&mut self) -> Option<&mut T> {
        let (_, slot) = self.slots.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        let part: &mut dyn Any = slot.as_deref_mut()?;
        part.downcast_mut()
    }

    /// A part that is there as long as the daemon runs.
    ///
    /// # Panics
    /// If it is not: it was not put in, or whoever has taken it asks for it.
    pub fn get<T: Subsystem>(&self) -> &T {
        self.find().unwrap_or_else(|| panic!("there is no {}", type_name::<T>()))
    }

    /// The same, to be changed.
    pub fn get_mut<T: Subsystem>(&mut self) -> &mut T {
        self.find_mut().unwrap_or_else(|| panic!("there is no {}", type_name::<T>()))
    }

    /// All that are there, from the bottom up.
    pub fn all(&mut self) -> impl DoubleEndedIterator<Item = &mut dyn Subsystem> {
        self.slots.iter_mut().filter_map(|(_, slot)| slot.as_deref_mut())
    }
}
