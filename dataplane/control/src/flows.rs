// SPDX-License-Identifier: Apache-2.0
//! Flows: the tracker once somebody wants it, and what is decided about them.
//!
//! There is no tracker, and no memory for flows, until an interface is to be tracked or a rule admits flows. As long as a rule
//! does, all interfaces look flows up, for answers may come in anywhere.

mod tracking;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

use weft_engine::wait::Waker;
use weft_engine::{Engine, InterfaceIndex};
use weft_flow::FlowTracker;
use weft_flow::news::{News, What};
use weft_flow::settings::{Mode, Settings};
use weft_flow_map::Flow;
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::IpProtocol;
use weft_nodes::interface::IpVersion;

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
    held: BTreeMap<(InterfaceIndex, IpAddr), AdjacencyId>,
    /// Of these, what is to be released.
    unnamed: Arc<Mutex<Vec<AdjacencyId>>>,
    /// Whether a rule admits flows.
    pub(crate) admitting: bool,
    /// Interfaces whose flows are looked up for those alone.
    looked_up: BTreeSet<InterfaceIndex>,
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

    pub(crate) fn holds(&self, on: InterfaceIndex, address: IpAddr) -> bool {
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

/// The family of a flow.
pub fn version_of(flow: &Flow) -> IpVersion {
    if flow.key.is_ip6() { IpVersion::V6 } else { IpVersion::V4 }
}

fn log((creation, deletion): (bool, bool), news: &News) {
    let what = match news.what {
        What::Began if creation => "begins",
        What::Ended { .. } if deletion => "ended",
        _ => return,
    };
    let [from, to] = news.ends();
    tracing::info!("session {} {what}: {} {from} -> {to}", news.id, IpProtocol(news.key.protocol()));
}
