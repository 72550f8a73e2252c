// SPDX-License-Identifier: Apache-2.0
//! Flows in the daemon: the tracker once somebody wants it, the last events, and the socket that hands out the tables.
//!
//! The tables are handed out by a thread of their own ([`MemoryServer`]): they can be had while the main thread hangs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use weft_control::Control;
use weft_engine::{InterfaceIndex, Lease};
use weft_flow::FlowTracker;
use weft_flow::news::{News, What};
use weft_flow::settings::Mode;
use weft_flow_map::Verdict;
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::IpProtocol;
use weft_nodes::ip4::{Ip4, TableIndex};
use weft_stats::StatsListener;

use crate::lifecycle::{Foundation, Subsystem};
use crate::memory_server::MemoryServer;
use crate::state::Dataplane;

/// Name of the socket in the runtime directory.
pub const SOCKET: &str = "flow.sock";
/// Events that `show flow events` remembers.
const REMEMBERED: usize = 1024;
/// News taken over at once, per worker.
const NEWS_AT_ONCE: usize = 1024;

/// All of it.
#[derive(Default)]
pub struct Flows {
    /// There is none until an interface is enabled.
    pub tracker: Option<FlowTracker>,
    /// The last events, oldest first.
    pub events: VecDeque<News>,
    server: Option<MemoryServer>,
    /// Whether flows that begin, and that end, are a line in the log.
    logged: (bool, bool),
    /// Next hops that verdicts name, held until their interface goes: a flow ends on its worker, which tells nobody.
    held: BTreeMap<(InterfaceIndex, Ipv4Addr), AdjacencyId>,
    /// Of these, what is to be released.
    unnamed: Arc<Mutex<Vec<AdjacencyId>>>,
    /// Who has rules that admit flows.
    admitting: BTreeSet<String>,
    /// Interfaces whose flows are looked up for those alone.
    looked_up: BTreeSet<InterfaceIndex>,
}

impl Dataplane {
    /// Tracks the flows of an interface; the first time, makes the tables.
    pub fn track_flows(&mut self, interface: InterfaceIndex, mode: Mode) -> Result<()> {
        self.make_tracker()?;
        if let Some(tracker) = &mut self.flows.tracker {
            tracker.enable(&mut self.control.engine, interface, mode)?;
        }
        Ok(())
    }

    /// No longer tracks the flows of an interface, but for rules that admit flows.
    pub fn untrack_flows(&mut self, interface: InterfaceIndex) -> Result<()> {
        let Dataplane {
            flows: Flows { tracker, admitting, looked_up, .. },
            control: Control { engine, .. },
            ..
        } = self;
        let Some(tracker) = tracker else { return Ok(()) };
        if admitting.is_empty() {
            tracker.disable(engine, interface)?;
        } else {
            tracker.enable(engine, interface, Mode::Admit)?;
            looked_up.insert(interface);
        }
        Ok(())
    }

    fn make_tracker(&mut self) -> Result<()> {
        if self.flows.tracker.is_none() {
            let interfaces = self.config.limits.interfaces as usize;
            let path = self.config.unix.in_runtime_dir(Path::new(SOCKET));
            let listener = StatsListener::bind(&path, self.config.unix.gid.map(|group| group.0))?;
            let (table, settings) = (self.interfaces.published(), self.config.flow);
            let tracker =
                FlowTracker::new(&mut self.control.engine, settings, &table, interfaces, &self.main)?;
            let name = format!("{}_flows", self.config.cpu.thread_prefix);
            match MemoryServer::start(listener, tracker.tables(), name) {
                Ok(server) => self.flows.server = Some(server),
                Err(error) => {
                    tracker.discard(&mut self.control.engine);
                    return Err(error);
                }
            }
            let Control { rule_sets, engine, .. } = &mut self.control;
            rule_sets.admit_by(engine, tracker.node());
            tracker.set_events(self.flows.logged != (false, false));
            self.flows.tracker = Some(tracker);
        }
        Ok(())
    }

    /// Rules of `owner` admit flows: until [`Dataplane::admit_no_flows`], all interfaces look flows up, for answers may
    /// come in anywhere.
    pub fn admit_flows(&mut self, owner: &str) -> Result<()> {
        // Interfaces may come later.
        self.make_tracker()?;
        self.look_up_flows()?;
        self.flows.admitting.insert(owner.to_owned());
        Ok(())
    }

    /// `owner` has no such rules any more.
    pub fn admit_no_flows(&mut self, owner: &str) {
        if !self.flows.admitting.remove(owner) || !self.flows.admitting.is_empty() {
            return;
        }
        let Dataplane { flows, control: Control { engine, interfaces, .. }, .. } = self;
        for index in std::mem::take(&mut flows.looked_up) {
            // Somebody may have set another mode meanwhile.
            if let Some(tracker) = &mut flows.tracker
                && interfaces.get(index).is_some()
                && tracker.mode(index) == Mode::Admit
                && let Err(error) = tracker.disable(engine, index)
            {
                tracing::warn!("{error}");
            }
        }
    }

    fn look_up_flows(&mut self) -> Result<()> {
        let all: Vec<InterfaceIndex> = self.interfaces.iter().map(|(index, _)| index).collect();
        for index in all {
            let known = self.flows.tracker.as_ref();
            if !known.is_some_and(|tracker| tracker.is_enabled(&self.engine, index)) {
                self.track_flows(index, Mode::Admit)?;
                self.flows.looked_up.insert(index);
            }
        }
        Ok(())
    }

    /// Takes over what workers tell of flows; says whether there may be more.
    pub fn hear_flows(&mut self) -> bool {
        let unnamed = std::mem::take(&mut *self.flows.unnamed.lock().unwrap_or_else(PoisonError::into_inner));
        for id in unnamed {
            self.control.router.release_adjacency(&mut self.control.engine, id);
        }
        let Flows { tracker: Some(tracker), events, logged, .. } = &mut self.flows else {
            return false;
        };
        tracker.hear(NEWS_AT_ONCE, |news| {
            log(*logged, &news);
            if events.len() == REMEMBERED {
                events.pop_front();
            }
            events.push_back(news);
        })
    }

    /// Has flows that begin, and that end, told in the log.
    pub fn log_sessions(&mut self, creation: bool, deletion: bool) {
        if std::mem::replace(&mut self.flows.logged, (creation, deletion)) != (creation, deletion)
            && let Some(tracker) = &self.flows.tracker
        {
            tracker.set_events(creation || deletion);
        }
    }

    /// The verdict that sends a flow to a neighbour.
    pub fn hold_for_flows(&mut self, interface: InterfaceIndex, address: Ipv4Addr) -> Result<Verdict> {
        let id = match self.flows.held.get(&(interface, address)) {
            Some(id) => *id,
            None => {
                let Control { router, engine, interfaces, .. } = &mut self.control;
                let id = router.hold_adjacency::<Ip4>(engine, interfaces, interface, address)?;
                self.flows.held.insert((interface, address), id);
                id
            }
        };
        ensure!(
            id.0 < Verdict::TARGETS,
            "next hop {} cannot be named by a flow: expected less than {}",
            id.0,
            Verdict::TARGETS
        );
        Ok(Verdict::NextHop(id.0))
    }
}

impl Subsystem for Flows {
    /// Interfaces that come after rules that admit flows look flows up too.
    fn interface_added(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        let Some(tracker) = self.tracker.as_mut().filter(|_| !self.admitting.is_empty()) else { return };
        match tracker.enable(cx.engine, index, Mode::Admit) {
            Ok(()) => drop(self.looked_up.insert(index)),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// What waits there for a verdict is dropped, and so are the flows that were sent there.
    fn interface_removing(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        let (gone, held): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.held).into_iter().partition(|((on, _), _)| *on == index);
        self.held = held;
        self.looked_up.remove(&index);
        let ids: Vec<u32> = gone.values().map(|id| id.0).collect();
        // The adjacencies are released when no verdict can name them any more.
        let gone = Unnamed { ids: gone.into_values().collect(), unnamed: Arc::clone(&self.unnamed) };
        let (Some(tracker), Some(lease)) = (&mut self.tracker, cx.interfaces.lease(index)) else { return };
        tracker.drop_flows(cx.engine, &lease.with(gone), move |verdict| match verdict {
            Verdict::Interface(to) => to == index.0,
            Verdict::NextHop(to) => ids.contains(&to),
            _ => false,
        });
        if let Err(error) = tracker.interface_leaves(cx.engine, index, &lease) {
            tracing::warn!("{error}");
        }
    }

    /// Flows that packets were looked up in it for are dropped; those that were seen in it end, for the same addresses in the
    /// next table with its index are somebody else's.
    fn table_removed(&mut self, cx: &mut Foundation<'_>, table: TableIndex, lease: &Lease) {
        let Some(tracker) = &self.tracker else { return };
        let leads_there = move |verdict| matches!(verdict, Verdict::Table(to) if u32::from(to) == table.0);
        tracker.drop_flows(cx.engine, lease, leads_there);
        tracker.end_flows(cx.engine, lease, move |flow| u32::from(flow.key.table()) == table.0);
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
