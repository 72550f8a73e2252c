// SPDX-License-Identifier: Apache-2.0
//! What a setting may do to become part of a change set.

use std::collections::BTreeMap;

use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Interface, InterfaceError, Owner};

use crate::Control;
use crate::error::StepError;
use crate::links::Links;

/// What is done when everything has been published. That it can be was checked before.
pub(super) type After = Box<dyn FnOnce(&mut Control) -> Result<(), StepError>>;

/// The largest IP packet of a device, and where the limit comes from, as the end of a sentence.
pub(super) type Limit = (u32, &'static str);

/// What settings have left to be done, each with its step.
#[derive(Default)]
pub(super) struct Work {
    /// Whether the flow tracker was made for the change set.
    pub(super) tracker_made: bool,
    /// Of devices that come.
    pub(super) limits: BTreeMap<InterfaceIndex, Limit>,
    pub(super) mtus: Vec<(usize, InterfaceIndex, u32)>,
    pub(super) macs: Vec<(usize, InterfaceIndex, MacAddr)>,
    pub(super) after: Vec<(usize, After)>,
}

impl Work {
    /// An interface goes: nothing has to be done below it.
    pub(super) fn interface_goes(&mut self, index: InterfaceIndex) {
        self.limits.remove(&index);
        self.mtus.retain(|(_, on, _)| *on != index);
        self.macs.retain(|(_, on, _)| *on != index);
    }
}

/// A step of a change set that is being tried.
pub struct Trial<'a> {
    pub(super) control: &'a mut Control,
    pub(super) links: &'a dyn Links,
    pub(super) owner: Owner,
    pub(super) step: usize,
    pub(super) work: &'a mut Work,
}

impl Trial<'_> {
    /// The state as if the steps so far had been made.
    pub fn control(&self) -> &Control {
        self.control
    }

    /// Who wants the change.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// An interface.
    pub fn interface(&self, index: InterfaceIndex) -> Result<&Interface, StepError> {
        Ok(self.control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?)
    }

    /// There is a flow tracker if this is made.
    pub(crate) fn make_tracker(&mut self) -> Result<(), StepError> {
        self.work.tracker_made |= self.control.make_tracker()?;
        Ok(())
    }

    /// Changes an interface; workers see it when all is published.
    pub fn change(
        &mut self,
        index: InterfaceIndex,
        change: impl FnOnce(&mut Interface),
    ) -> Result<(), StepError> {
        let Control { interfaces, engine, .. } = &mut *self.control;
        Ok(interfaces.change(engine, index, change)?)
    }

    /// To be done when everything else has been published. It must not fail then; if it does, the log has it.
    pub fn after(&mut self, work: impl FnOnce(&mut Control) -> Result<(), StepError> + 'static) {
        self.work.after.push((self.step, Box::new(work)));
    }

    /// The largest IP packet that an interface can carry: see [`Links::largest_mtu`].
    pub fn largest_mtu(&self, index: InterfaceIndex) -> (u32, &'static str) {
        self.work.limits.get(&index).copied().unwrap_or_else(|| self.links.largest_mtu(index))
    }

    /// What is below the interface has to carry packets of that size.
    pub fn carry(&mut self, index: InterfaceIndex, mtu: u32) {
        self.work.mtus.push((self.step, index, mtu));
    }

    /// What is below the interface has to have that address.
    pub fn link_mac(&mut self, index: InterfaceIndex, mac: MacAddr) {
        self.work.macs.push((self.step, index, mac));
    }
}
