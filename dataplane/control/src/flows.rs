// SPDX-License-Identifier: Apache-2.0
//! Flows: the tracker once somebody wants it, and what is decided about them.
//!
//! There is no tracker, and no memory for flows, until an interface is to be tracked or a rule admits flows. As long as a rule
//! does, all interfaces look flows up, for answers may come in anywhere.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use weft_engine::wait::Waker;
use weft_engine::{Engine, InterfaceIndex, Lease};
use weft_flow::news::{News, What};
use weft_flow::settings::{Mode, Settings};
use weft_flow::{FlowError, FlowTracker};
use weft_flow_map::{FlowId, Verdict};
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::IpProtocol;
use weft_nodes::interface::InterfaceError;
use weft_nodes::ip4::{Ip4, TableIndex};

use crate::Control;
use crate::change_set::{ChangeSet, Operation};
use crate::error::StepError;

/// Events that are remembered.
const REMEMBERED: usize = 1024;
/// News taken over at once, per worker.
const NEWS_AT_ONCE: usize = 1024;

/// Hands the tables of flows out of the process, as long as what it returns lives; an error is a sentence.
pub type ServeTables = Box<dyn FnMut(Vec<BorrowedFd<'_>>) -> Result<Box<dyn Any>, String>>;

/// All of it.
pub struct Flows {
    settings: Settings,
    interfaces: usize,
    main: Waker,
    serve: ServeTables,
    /// There is none until somebody wants one.
    pub(crate) tracker: Option<FlowTracker>,
    served: Option<Box<dyn Any>>,
    /// The last events, oldest first.
    events: VecDeque<News>,
    /// Whether flows that begin, and that end, are a line in the log.
    logged: (bool, bool),
    /// Next hops that verdicts name, held until their interface goes: a flow ends on its worker, which tells nobody.
    held: BTreeMap<(InterfaceIndex, Ipv4Addr), AdjacencyId>,
    /// Of these, what is to be released.
    unnamed: Arc<Mutex<Vec<AdjacencyId>>>,
    /// Whether a rule admits flows.
    pub(crate) admitting: bool,
    /// Interfaces whose flows are looked up for those alone.
    looked_up: BTreeSet<InterfaceIndex>,
}

/// Where a flow is sent, or what else becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// As the tables say.
    Forward,
    /// Nowhere.
    Drop,
    /// As another table says.
    Table(TableIndex),
    /// Out by a port.
    Interface(InterfaceIndex),
    /// To a neighbour.
    NextHop(InterfaceIndex, Ipv4Addr),
}

/// What is decided about one flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub flow: FlowId,
    pub decision: Decision,
    pub mark: Option<u32>,
}

impl ChangeSet {
    /// Decides about a flow, and releases its packets that wait. Nobody owns a decision: it goes with the flow.
    pub fn decide(&mut self, flow: FlowId, decision: Decision, mark: Option<u32>) {
        self.push(Operation::Decide(Decided { flow, decision, mark }));
    }
}

impl Flows {
    /// No tracker yet. It will have these settings, and room for as many interfaces; `main` is woken by workers with news.
    pub fn new(settings: Settings, interfaces: usize, main: Waker, serve: ServeTables) -> Flows {
        Flows {
            settings,
            interfaces,
            main,
            serve,
            tracker: None,
            served: None,
            events: VecDeque::new(),
            logged: (false, false),
            held: BTreeMap::new(),
            unnamed: Arc::default(),
            admitting: false,
            looked_up: BTreeSet::new(),
        }
    }

    /// The tracker, if somebody has wanted one.
    pub fn tracker(&self) -> Option<&FlowTracker> {
        self.tracker.as_ref()
    }

    /// Limits and timeouts of the tracker that there is or will be.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn holds(&self, on: InterfaceIndex, address: Ipv4Addr) -> bool {
        self.held.contains_key(&(on, address))
    }

    /// The last events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &News> + ExactSizeIterator {
        self.events.iter()
    }

    /// How flows of an interface are tracked, if they are for their own sake.
    pub(crate) fn mode(&self, engine: &Engine, index: InterfaceIndex) -> Option<Mode> {
        let tracker = self.tracker.as_ref()?;
        let mode = tracker.is_enabled(engine, index).then(|| tracker.mode(index))?;
        (mode != Mode::Admit).then_some(mode)
    }

    /// Has flows that begin, and that end, told in the log.
    pub fn log_sessions(&mut self, creation: bool, deletion: bool) {
        if std::mem::replace(&mut self.logged, (creation, deletion)) != (creation, deletion)
            && let Some(tracker) = &self.tracker
        {
            tracker.set_events(creation || deletion);
        }
    }

    /// Takes over what workers tell; says whether there may be more.
    fn hear(&mut self) -> bool {
        let Flows { tracker: Some(tracker), events, logged, .. } = self else { return false };
        tracker.hear(NEWS_AT_ONCE, |news| {
            log(*logged, &news);
            if events.len() == REMEMBERED {
                events.pop_front();
            }
            events.push_back(news);
        })
    }
}

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
        tracker.drop_flows(engine, &lease.with(gone), move |verdict| match verdict {
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
    pub(crate) fn flows_lose_table(&mut self, table: TableIndex, lease: &Lease) {
        let Some(tracker) = &self.flows.tracker else { return };
        let leads_there = move |verdict| matches!(verdict, Verdict::Table(to) if u32::from(to) == table.0);
        tracker.drop_flows(&mut self.engine, lease, leads_there);
        tracker.end_flows(&mut self.engine, lease, move |flow| u32::from(flow.key.table()) == table.0);
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
        tracker.get(flow).ok_or(StepError::FlowEnded(flow))?;
        Ok(match decision {
            Decision::Forward => Verdict::Forward,
            Decision::Drop => Verdict::Drop,
            Decision::Table(table) => Verdict::Table(table.0 as u16),
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
                        let id = router.hold_adjacency::<Ip4>(engine, interfaces, on, address)?;
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
    pub(crate) fn forget_decision(&mut self, on: InterfaceIndex, address: Ipv4Addr) {
        if let Some(id) = self.flows.held.remove(&(on, address)) {
            self.router.release_adjacency(&mut self.engine, id);
        }
    }
}

/// Adjacencies that no verdict can name any more when this is dropped: it has them released.
struct Unnamed {
    ids: Vec<AdjacencyId>,
    unnamed: Arc<Mutex<Vec<AdjacencyId>>>,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.ids);
    }
}

fn log((creation, deletion): (bool, bool), news: &News) {
    let what = match news.what {
        What::Began if creation => "begins",
        What::Ended { .. } if deletion => "ended",
        _ => return,
    };
    let (from, to) = (news.key.endpoint(news.initiator), news.key.endpoint(news.initiator.reverse()));
    tracing::info!("session {} {what}: {} {from} -> {to}", news.id, IpProtocol(news.key.protocol()));
}
