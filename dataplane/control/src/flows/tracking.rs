// SPDX-License-Identifier: Apache-2.0
//! What becomes of flows as interfaces, tables and rules come and go, and what is decided about them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use weft_engine::{InterfaceIndex, Lease};
use weft_flow::settings::{Mode, Settings};
use weft_flow::{FlowError, FlowTracker};
use weft_flow_map::{Flow, FlowId, Verdict};
use weft_nodes::interface::{InterfaceError, IpVersion, TableIndex, by_family};

use super::{Flows, Unnamed, version_of};
use crate::Control;
use crate::error::StepError;
use crate::step::Decision;

impl Control {
    /// Flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// See there.
    pub fn flows_mut(&mut self) -> &mut Flows {
        &mut self.flows
    }

    /// Other limits and timeouts of the tracker; those that it is made with if there is none yet.
    pub fn configure_flows(&mut self, settings: Settings) {
        self.flows.settings = settings;
        if let Some(tracker) = &mut self.flows.tracker {
            tracker.configure(&mut self.engine, settings);
        }
    }

    /// Ends flows: some, or all.
    pub fn clear_flows(&mut self, some: Option<&[FlowId]>) {
        match (&self.flows.tracker, some) {
            (Some(tracker), Some(some)) => tracker.clear(&mut self.engine, some),
            (Some(tracker), None) => tracker.clear_all(&mut self.engine),
            (None, _) => {}
        }
    }

    /// Makes the tracker, if there is none; says whether it has made one.
    pub(crate) fn make_tracker(&mut self) -> Result<bool, StepError> {
        let Flows { tracker: slot, served, serve, settings, interfaces, main, logged, .. } = &mut self.flows;
        if slot.is_some() {
            return Ok(false);
        }
        let table = self.interfaces.published();
        let tracker = FlowTracker::new(&mut self.engine, *settings, &table, *interfaces, main)?;
        match serve(tracker.tables().collect()) {
            Ok(server) => *served = Some(server),
            Err(error) => {
                tracker.discard(&mut self.engine);
                return Err(StepError::FlowTables(error));
            }
        }
        tracker.set_events(*logged != (false, false));
        self.rule_sets.admit_by(&mut self.engine, Some(tracker.node()));
        *slot = Some(tracker);
        Ok(true)
    }

    /// The tracker was made for changes that are refused.
    pub(crate) fn unmake_tracker(&mut self) {
        if let Some(tracker) = self.flows.tracker.take() {
            self.rule_sets.admit_by(&mut self.engine, None);
            tracker.discard(&mut self.engine);
            self.flows.served = None;
        }
    }

    /// Rules admit flows, or do so no longer: all interfaces look flows up, or those that are tracked alone.
    pub(crate) fn follow_admission(&mut self, admits: bool) {
        if std::mem::replace(&mut self.flows.admitting, admits) == admits {
            return;
        }
        if admits {
            let all: Vec<InterfaceIndex> = self.interfaces.iter().map(|(index, _)| index).collect();
            all.into_iter().for_each(|index| self.look_up(index));
            return;
        }
        let Control { flows, engine, interfaces, .. } = self;
        let Some(tracker) = &mut flows.tracker else { return };
        for index in std::mem::take(&mut flows.looked_up) {
            // Somebody may have set another mode meanwhile.
            if interfaces.get(index).is_some()
                && tracker.mode(index) == Mode::Admit
                && let Err(error) = tracker.disable(engine, index)
            {
                tracing::warn!("{error}");
            }
        }
    }

    fn look_up(&mut self, index: InterfaceIndex) {
        let Control { flows: Flows { tracker: Some(tracker), looked_up, .. }, engine, .. } = self else {
            return;
        };
        if !tracker.is_enabled(engine, index) {
            match tracker.enable(engine, index, Mode::Admit) {
                Ok(()) => drop(looked_up.insert(index)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }

    /// Tracks the flows of an interface, or no longer does but for rules that admit flows.
    pub(crate) fn set_flow_mode(
        &mut self,
        index: InterfaceIndex,
        mode: Option<Mode>,
    ) -> Result<(), FlowError> {
        let Control { flows: Flows { tracker, looked_up, admitting, .. }, engine, .. } = self;
        let Some(tracker) = tracker else { return Ok(()) };
        match mode {
            Some(mode) => tracker.enable(engine, index, mode),
            None if *admitting => {
                looked_up.insert(index);
                tracker.enable(engine, index, Mode::Admit)
            }
            None => tracker.disable(engine, index),
        }
    }

    /// An interface is new: it looks flows up too, if rules admit some.
    pub(crate) fn flows_come(&mut self, index: InterfaceIndex) {
        if self.flows.admitting {
            self.look_up(index);
        }
    }

    /// An interface is about to be deleted: what waits there for a verdict is dropped, and so are the flows that were sent there.
    pub(crate) fn flows_leave(&mut self, index: InterfaceIndex) {
        let Control { flows, engine, interfaces, .. } = self;
        let (gone, held): (BTreeMap<_, _>, _) =
            std::mem::take(&mut flows.held).into_iter().partition(|((on, _), _)| *on == index);
        flows.held = held;
        flows.looked_up.remove(&index);
        let ids: Vec<u32> = gone.values().map(|id| id.0).collect();
        // The adjacencies are released when no verdict can name them any more.
        let gone = Unnamed { ids: gone.into_values().collect(), unnamed: Arc::clone(&flows.unnamed) };
        let (Some(tracker), Some(lease)) = (&mut flows.tracker, interfaces.lease(index)) else { return };
        tracker.drop_flows(engine, &lease.with(gone), move |flow| match flow.verdict {
            Verdict::Interface(to) => to == index.0,
            Verdict::NextHop(to) => ids.contains(&to),
            _ => false,
        });
        if let Err(error) = tracker.interface_leaves(engine, index, &lease) {
            tracing::warn!("{error}");
        }
    }

    /// A table is deleted. Flows that packets were looked up in it for are dropped; those that were seen in it end, for the same
    /// addresses in the next table with its index are somebody else's.
    pub(crate) fn flows_lose_table(&mut self, version: IpVersion, table: TableIndex, lease: &Lease) {
        let Some(tracker) = &self.flows.tracker else { return };
        let leads_there = move |flow: &Flow| {
            matches!(flow.verdict, Verdict::Table(to) if u32::from(to) == table.0)
                && version_of(flow) == version
        };
        tracker.drop_flows(&mut self.engine, lease, leads_there);
        tracker.end_flows(&mut self.engine, lease, move |flow| {
            u32::from(flow.key.table()) == table.0 && version_of(flow) == version
        });
    }

    /// Takes over what workers tell of flows; says whether there may be more. Adjacencies that no verdict names any more are
    /// released.
    pub fn hear_flows(&mut self) -> bool {
        let unnamed = std::mem::take(&mut *self.flows.unnamed.lock().unwrap_or_else(PoisonError::into_inner));
        for id in unnamed {
            self.router.release_adjacency(&mut self.engine, id);
        }
        self.flows.hear()
    }

    /// The verdict that a decision is; its next hop is held.
    pub(crate) fn verdict(&mut self, flow: FlowId, decision: Decision) -> Result<Verdict, StepError> {
        let tracker = self.flows.tracker.as_ref().ok_or(StepError::NoFlows)?;
        let version = version_of(&tracker.get(flow).ok_or(StepError::FlowEnded(flow))?);
        let of = match decision {
            Decision::Table(of, _) => Some(of),
            Decision::NextHop(_, address) => Some(address.into()),
            Decision::Forward | Decision::Drop | Decision::Interface(_) => None,
        };
        if let Some(found) = of.filter(|of| *of != version) {
            return Err(StepError::FlowFamily { flow, found, expected: version });
        }
        Ok(match decision {
            Decision::Forward => Verdict::Forward,
            Decision::Drop => Verdict::Drop,
            Decision::Table(_, table) => Verdict::Table(table.0 as u16),
            Decision::Interface(to) => {
                let interface = self.interfaces.get(to).ok_or(InterfaceError::Unknown(to))?;
                // They would be needed.
                if interface.tags().length() > 0 {
                    return Err(StepError::FlowToSub(interface.name.clone()));
                }
                Verdict::Interface(to.0)
            }
            Decision::NextHop(on, address) => {
                let id = match self.flows.held.get(&(on, address)) {
                    Some(id) => *id,
                    None => {
                        let Control { router, engine, interfaces, .. } = self;
                        let id = by_family!(address, IpAddr(address), F => {
                            router.hold_adjacency::<F>(engine, interfaces, on, address)?
                        });
                        self.flows.held.insert((on, address), id);
                        id
                    }
                };
                if id.0 >= Verdict::TARGETS {
                    return Err(StepError::FlowTarget { found: id.0, limit: Verdict::TARGETS });
                }
                Verdict::NextHop(id.0)
            }
        })
    }

    /// What was decided reaches the worker of the flow.
    pub(crate) fn decide(&mut self, flow: FlowId, verdict: Verdict, mark: Option<u32>) {
        if let Some(tracker) = &self.flows.tracker {
            tracker.decide(&mut self.engine, flow, verdict, mark);
        }
    }

    /// Gives back the next hop of a decision that is refused.
    pub(crate) fn forget_decision(&mut self, on: InterfaceIndex, address: IpAddr) {
        if let Some(id) = self.flows.held.remove(&(on, address)) {
            self.router.release_adjacency(&mut self.engine, id);
        }
    }
}
