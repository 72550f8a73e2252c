// SPDX-License-Identifier: Apache-2.0
//! Registering ports, one request at a time.
//!
//! A refusal bears no request number, so with one request under way it can only be that one's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::netlink::IfIndex;
use crate::types::{PortDescription, PortNumber, RequestNumber};
use crate::wire::Request;

use super::{Event, Session, State};

#[derive(Debug)]
struct Port {
    description: PortDescription,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not known to vplaned in this session.
    Wanted,
    Registered,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    request: RequestNumber,
    port: PortNumber,
    at: Instant,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Add,
    Delete,
}

/// The ports that vplaned is to know.
#[derive(Debug)]
pub struct Ports {
    ports: BTreeMap<PortNumber, Port>,
    /// Registered in this session, wanted no more.
    leaving: BTreeSet<PortNumber>,
    asked: Option<Asked>,
    next: RequestNumber,
}

impl Ports {
    pub fn new(first: RequestNumber) -> Ports {
        Ports { ports: BTreeMap::new(), leaving: BTreeSet::new(), asked: None, next: first }
    }

    /// When the request that is under way was sent.
    pub fn asked_at(&self) -> Option<Instant> {
        self.asked.map(|asked| asked.at)
    }

    /// A new session knows no port.
    pub fn begin(&mut self) {
        self.forget();
    }

    pub fn forget(&mut self) {
        self.asked = None;
        self.leaving.clear();
        for port in self.ports.values_mut() {
            port.standing = Standing::Wanted;
        }
    }

    /// How many ports vplaned knows.
    pub fn registered(&self) -> usize {
        self.ports.values().filter(|port| port.standing == Standing::Registered).count()
    }

    /// Notes that vplaned has to forget a port, if it knows or is about to know it.
    fn leave(&mut self, port: PortNumber) {
        let registered = self.ports.get(&port).is_some_and(|port| port.standing == Standing::Registered);
        if registered || self.asked.is_some_and(|asked| asked.port == port && asked.what == What::Add) {
            self.leaving.insert(port);
        }
    }

    /// Takes the request that this reply answers.
    fn answered(&mut self, request: RequestNumber, what: What) -> Option<Asked> {
        self.asked.take_if(|asked| asked.request == request && asked.what == what)
    }

    /// What to ask next, leaving first: a port that was replaced keeps its number.
    fn choose(&mut self) -> Option<(PortNumber, What)> {
        if let Some(port) = self.leaving.pop_first() {
            return Some((port, What::Delete));
        }
        let wanted = self.ports.iter().find(|(_, port)| port.standing == Standing::Wanted);
        wanted.map(|(number, _)| (*number, What::Add))
    }
}

impl Session {
    /// Makes a port known to vplaned, in this session and in those to come.
    pub fn add_port(&mut self, now: Instant, description: PortDescription) {
        let number = description.port;
        match self.ports.ports.get(&number) {
            Some(known) if known.description == description => return,
            Some(_) => self.ports.leave(number),
            None => {}
        }
        self.ports.ports.insert(number, Port { description, standing: Standing::Wanted });
        self.ask_for_ports(now);
    }

    /// Withdraws a port. Without a session nothing is said: vplaned deletes what is not registered again.
    pub fn remove_port(&mut self, now: Instant, number: PortNumber) {
        self.ports.leave(number);
        self.ports.ports.remove(&number);
        self.ask_for_ports(now);
    }

    /// Sends the next request, or goes on if there is none.
    pub(super) fn ask_for_ports(&mut self, now: Instant) {
        if !matches!(self.state, State::Registering { .. } | State::Ready) || self.ports.asked.is_some() {
            return;
        }
        if let Some((port, what)) = self.ports.choose() {
            let request = self.ports.next;
            self.ports.next = RequestNumber(request.0.wrapping_add(1));
            self.ports.asked = Some(Asked { request, port, at: now, what });
            return self.ask_for_port(request, port, what);
        }
        match self.state {
            State::Registering { settled } => {
                self.state = State::Settling { until: settled };
                self.tick(now);
            }
            _ if self.resync_wanted => self.resync(now),
            _ => {}
        }
    }

    fn ask_for_port(&mut self, request: RequestNumber, port: PortNumber, what: What) {
        let address = self.settings.address;
        let asked = match (what, self.ports.ports.get(&port)) {
            (What::Add, Some(known)) => Request::NewPort { request, address, port: &known.description },
            _ => Request::DelPort { request, address, port },
        };
        let (word, message) = (asked.word(), asked.encode());
        self.counts.sent(word);
        self.output.push_back(super::Output::Send(message));
    }

    pub(super) fn port_added(
        &mut self,
        now: Instant,
        request: RequestNumber,
        ifindex: IfIndex,
        name: String,
    ) {
        let Some(Asked { port, .. }) = self.ports.answered(request, What::Add) else {
            self.counts.unexpected += 1;
            return;
        };
        // One that was replaced or removed meanwhile is deleted next.
        if !self.ports.leaving.contains(&port)
            && let Some(known) = self.ports.ports.get_mut(&port)
        {
            known.standing = Standing::Registered;
            self.event(Event::PortReady { port, ifindex, name });
        }
        self.ask_for_ports(now);
    }

    pub(super) fn port_deleted(&mut self, now: Instant, request: RequestNumber, deleted: bool) {
        match self.ports.answered(request, What::Delete) {
            Some(Asked { port, .. }) => self.event(Event::PortDeleted { port, deleted }),
            None => self.counts.unexpected += 1,
        }
        self.ask_for_ports(now);
    }

    /// A refusal: of the port request under way, else of a report.
    pub(super) fn refused(&mut self, now: Instant, reply: String) {
        // Reports are refused under their own names, whatever else is under way.
        let of_report = reply.starts_with("BAD") || reply == "FAIL: linkup_request";
        match self.ports.asked.take_if(|_| !of_report) {
            Some(Asked { port, what: What::Add, .. }) => {
                // One that was replaced meanwhile still has to be asked for.
                if !self.ports.leaving.remove(&port)
                    && let Some(known) = self.ports.ports.get_mut(&port)
                {
                    known.standing = Standing::Refused;
                    self.event(Event::PortRefused { port, reply });
                }
            }
            Some(Asked { port, what: What::Delete, .. }) => {
                self.event(Event::PortDeleted { port, deleted: false });
            }
            None => self.event(Event::Refused(reply)),
        }
        self.ask_for_ports(now);
    }
}
