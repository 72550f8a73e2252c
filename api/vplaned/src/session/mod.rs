// SPDX-License-Identifier: Apache-2.0
//! The conversation with vplaned, without sockets or clock.
//!
//! vplaned answers some messages, is silent on others, and forgets a dataplane without a word; what may be sent
//! depends on what was. So the conversation is a state machine: messages and the time go in, messages and
//! [`Event`]s come out, and a recorded dialogue can be replayed frame by frame.
//!
//! ```text
//! Idle -> Dialling -> Accepting -> Asking -> Subscribing -> Registering -> Settling -> Resync <-> Ready
//!   ^------------------------------- anything lost: back-off -----------------------------------'
//! ```
//!
//! Invariants: the subscription stands before a port is registered, and ports are registered before the snapshot is
//! asked for. At most one port request is under way, since a failure does not say which one failed. Publications are
//! read only in `Ready` with no port request under way ([`Session::wants_publications`]); until then they wait in the
//! socket. Memory is bounded by the number of ports. Belongs to the thread that owns the sockets.

mod backoff;
mod counts;
mod ports;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::netlink::IfIndex;
use crate::types::{Channel, DataplaneId, PortNumber, RequestNumber, Sequence, Uuid};
use crate::wire::{Item, Malformed, Message, Reply, Request};

use self::ports::Ports;

pub use self::backoff::BackoffSettings;
pub use self::counts::Counts;

/// What a session must know.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub uuid: Uuid,
    /// The dataplane's address, part of each message about a port.
    pub address: IpAddr,
    /// The first port request's number. Numbers that differ from run to run make logs easier to read.
    pub first_request: RequestNumber,
    pub timing: Timing,
}

/// How long things may take (protocol page 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From CONNECT to ACCEPT, once the connection stands: an unknown UUID is answered by silence.
    pub accept: Duration,
    /// From CONFQUERY to CONF.
    pub configuration: Duration,
    /// Until the publisher's connection stands.
    pub subscription: Duration,
    /// ZeroMQ subscribes asynchronously: pause between that connection and the snapshot.
    pub settling: Duration,
    pub port: Duration,
    pub snapshot: Duration,
    /// Between two reports of all links. They also keep the session alive.
    pub report: Duration,
    pub backoff: BackoffSettings,
}

impl Default for Timing {
    fn default() -> Timing {
        let seconds = Duration::from_secs;
        Timing {
            accept: seconds(5),
            configuration: seconds(5),
            subscription: seconds(5),
            settling: Duration::from_millis(100),
            port: seconds(60),
            snapshot: seconds(300),
            report: seconds(5),
            backoff: BackoffSettings::default(),
        }
    }
}

/// What the owner of the sockets has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a fresh request socket: a used one may still be known to vplaned by its old routing id.
    Dial,
    /// Send on the request channel.
    Send(Message),
    /// Open the publication socket to this endpoint and subscribe to everything.
    Subscribe(String),
    /// Close both sockets.
    HangUp,
    Event(Event),
}

/// What the owner of the session wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Accepted {
        dataplane: DataplaneId,
    },
    /// A port has a kernel interface. Come before all updates about it.
    PortReady {
        port: PortNumber,
        ifindex: IfIndex,
        name: String,
    },
    /// vplaned does not take this port; it is not asked again in this session.
    PortRefused {
        port: PortNumber,
        reply: String,
    },
    PortDeleted {
        port: PortNumber,
        deleted: bool,
    },
    /// Updates until [`Event::SnapshotEnd`] describe all there is.
    SnapshotBegin,
    SnapshotEnd {
        messages: u64,
        took: Duration,
    },
    Update(Item),
    /// Report all links and interfaces now.
    ReportDue,
    /// A message could not be read and was skipped.
    Malformed {
        channel: Channel,
        error: Malformed,
    },
    /// vplaned refused something that needs no answer (`BADLINKPORT`, ...).
    Refused(String),
    /// The session is over; the next attempt follows by itself. What was learned stays valid until a
    /// [`Event::SnapshotEnd`].
    Lost {
        reason: LostReason,
        retry_in: Duration,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    #[error("the {0} socket was disconnected")]
    Disconnected(Channel),
    #[error("no answer to {0} in time")]
    Silent(&'static str),
    #[error(
        "vplaned rejects this dataplane: it speaks another protocol version, or cannot store the console's endpoint"
    )]
    Rejected,
    #[error("vplaned does not know this session (any more)")]
    Unknown,
    #[error("vplaned accepted {found:?} instead of this dataplane")]
    WrongUuid { found: String },
    #[error("vplaned names no publisher")]
    NoPublisher,
    #[error("the snapshot did not end in time")]
    Snapshot,
    #[error("{0}")]
    Transport(String),
}

/// Why vplaned is asked whether it still knows us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// Without a port there is nothing else that keeps the session alive.
    KeepAlive,
    /// A publication bore a number that is known already, and not for the reason that a snapshot gives.
    Numbers,
}

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `None` before the start.
    Idle {
        until: Option<Instant>,
    },
    /// CONNECT waits in the socket for a vplaned.
    Dialling,
    Accepting {
        until: Instant,
    },
    Asking {
        until: Instant,
    },
    Subscribing {
        until: Instant,
    },
    Registering {
        settled: Instant,
    },
    Settling {
        until: Instant,
    },
    Resync {
        began: Instant,
        messages: u64,
    },
    Ready,
}

/// The conversation. See the module's description.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    console: String,
    state: State,
    dataplane: DataplaneId,
    publisher: Option<String>,
    ports: Ports,
    /// Publications up to this one are known.
    last: Sequence,
    /// A publication beyond the snapshot's end was seen.
    advanced: bool,
    /// A CONFQUERY is out, and why. Its refusal says that vplaned was restarted.
    probe: Option<Probe>,
    resync_wanted: bool,
    next_report: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    counts: Counts,
    output: VecDeque<Output>,
}

impl Session {
    /// [`Session::state_name`] while nobody answers.
    pub const CONNECTING: &str = "connecting";

    /// `console` is the endpoint that CONNECT announces.
    pub fn new(settings: SessionSettings, console: String) -> Session {
        Session {
            console,
            state: State::Idle { until: None },
            dataplane: DataplaneId::default(),
            publisher: None,
            ports: Ports::new(settings.first_request),
            last: Sequence::default(),
            advanced: false,
            probe: None,
            resync_wanted: false,
            next_report: None,
            failures: 0,
            counts: Counts::default(),
            output: VecDeque::new(),
            settings,
        }
    }

    /// Begins the first attempt.
    pub fn start(&mut self) {
        if self.state == (State::Idle { until: None }) {
            self.dial();
        }
    }

    /// The next thing to do. To be asked until there is none, after every input.
    pub fn poll(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Session::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let timing = &self.settings.timing;
        let state = match self.state {
            State::Idle { until } => until,
            State::Accepting { until } | State::Asking { until } | State::Subscribing { until } => {
                Some(until)
            }
            State::Settling { until } => Some(until),
            State::Resync { began, .. } => Some(began + timing.snapshot),
            State::Dialling | State::Registering { .. } | State::Ready => None,
        };
        let port = self.ports.asked_at().map(|asked| asked + timing.port);
        [state, port, self.next_report].into_iter().flatten().min()
    }

    /// Whether publications may be handed in; else they have to wait in their socket.
    pub fn wants_publications(&self) -> bool {
        self.state == State::Ready && self.ports.asked_at().is_none()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        let silent = match self.state {
            State::Idle { until: Some(until) } if now >= until => return self.dial(),
            State::Settling { until } if now >= until => return self.ask_for_snapshot(now),
            State::Accepting { until } if now >= until => LostReason::Silent("CONNECT"),
            State::Asking { until } if now >= until => LostReason::Silent("CONFQUERY"),
            State::Subscribing { until } if now >= until => LostReason::Silent("the subscription"),
            State::Resync { began, .. } if now >= began + self.settings.timing.snapshot => {
                LostReason::Snapshot
            }
            _ if self.ports.asked_at().is_some_and(|asked| now >= asked + self.settings.timing.port) => {
                LostReason::Silent("a port request")
            }
            _ => return self.report_if_due(now),
        };
        self.lose(now, silent);
    }

    /// A socket's connection stands, its handshake included.
    pub fn channel_up(&mut self, now: Instant, channel: Channel) {
        let timing = &self.settings.timing;
        match (channel, self.state) {
            (Channel::Request, State::Dialling) => {
                self.state = State::Accepting { until: now + timing.accept };
            }
            (Channel::Publication, State::Subscribing { .. }) => {
                self.state = State::Registering { settled: now + timing.settling };
                self.ports.begin();
                self.ask_for_ports(now);
            }
            _ => {}
        }
    }

    /// A socket's connection broke. ZeroMQ would connect again, but vplaned would not know who calls.
    pub fn channel_down(&mut self, now: Instant, channel: Channel) {
        let used = match channel {
            Channel::Request => !matches!(self.state, State::Idle { .. } | State::Dialling),
            Channel::Publication => !matches!(
                self.state,
                State::Idle { .. } | State::Dialling | State::Accepting { .. } | State::Asking { .. }
            ),
        };
        if used {
            self.lose(now, LostReason::Disconnected(channel));
        }
    }

    /// A socket could not be opened or used.
    pub fn transport_failed(&mut self, now: Instant, error: String) {
        if !matches!(self.state, State::Idle { .. }) {
            self.lose(now, LostReason::Transport(error));
        }
    }

    /// A message of the request channel.
    pub fn received(&mut self, now: Instant, message: Message) {
        match Reply::parse(message) {
            Ok(reply) => {
                self.counts.received(&reply);
                self.reply(now, reply);
            }
            Err(error) => self.malformed(Channel::Request, error),
        }
    }

    /// A message of the publication channel.
    pub fn published(&mut self, message: Message) {
        let item = match Item::parse(message) {
            Ok(item) => item,
            Err(error) => return self.malformed(Channel::Publication, error),
        };
        if self.state != State::Ready {
            // Handed in against wants_publications(): the snapshot to come contains it.
            return;
        }
        if item.sequence > self.last {
            self.last = item.sequence;
            self.advanced = true;
            self.counts.live += 1;
            return self.event(Event::Update(item));
        }
        self.counts.duplicates += 1;
        // Right after a snapshot this is what queued meanwhile. Later it is either nothing, or a restarted
        // vplaned that counts from 1 again: that one does not know us.
        if self.advanced && self.probe.replace(Probe::Numbers).is_none() {
            self.send(Request::ConfQuery);
        }
    }

    /// Asks for everything again.
    pub fn resync(&mut self, now: Instant) {
        if self.wants_publications() {
            self.ask_for_snapshot(now);
        } else if self.state == State::Ready {
            self.resync_wanted = true;
        }
    }

    fn reply(&mut self, now: Instant, reply: Reply) {
        match (reply, self.state) {
            (Reply::Unknown, State::Idle { .. }) => {}
            (Reply::Unknown, _) => self.lose(now, LostReason::Unknown),
            (Reply::Accept { uuid, dataplane }, State::Accepting { .. } | State::Dialling) => {
                if uuid != self.settings.uuid.as_str() {
                    return self.lose(now, LostReason::WrongUuid { found: uuid });
                }
                self.dataplane = dataplane;
                self.state = State::Asking { until: now + self.settings.timing.configuration };
                self.event(Event::Accepted { dataplane });
                self.send(Request::ConfQuery);
            }
            (Reply::Reject, State::Accepting { .. } | State::Dialling) => {
                self.lose(now, LostReason::Rejected)
            }
            (Reply::Conf { publish }, State::Asking { .. }) => match publish {
                Some(endpoint) => {
                    self.state = State::Subscribing { until: now + self.settings.timing.subscription };
                    self.publisher = Some(endpoint.clone());
                    self.output.push_back(Output::Subscribe(endpoint));
                }
                None => self.lose(now, LostReason::NoPublisher),
            },
            (Reply::Conf { .. }, _) if self.probe.is_some() => {
                // vplaned knows us, so its numbers went back while it ran, or one jumped ahead of the others. Which of the
                // publications since then were new is anybody's guess: the snapshot's end says where they stand.
                if self.probe.take() == Some(Probe::Numbers) {
                    self.resync(now);
                }
            }
            (Reply::PortAdded { request, ifindex, name }, _) => self.port_added(now, request, ifindex, name),
            (Reply::PortDeleted { request, deleted }, _) => self.port_deleted(now, request, deleted),
            (Reply::Refused(reply), _) => self.refused(now, reply),
            (Reply::Item(item), State::Resync { began, messages }) => {
                self.state = State::Resync { began, messages: messages + 1 };
                self.event(Event::Update(item));
            }
            (Reply::End { last }, State::Resync { began, messages }) => {
                self.last = last;
                self.advanced = false;
                self.state = State::Ready;
                self.failures = 0;
                self.event(Event::SnapshotEnd { messages, took: now.saturating_duration_since(began) });
                self.ask_for_ports(now);
            }
            // Late or out of place: nothing depends on it.
            _ => self.counts.unexpected += 1,
        }
    }

    fn ask_for_snapshot(&mut self, now: Instant) {
        self.resync_wanted = false;
        self.state = State::Resync { began: now, messages: 0 };
        self.event(Event::SnapshotBegin);
        self.send(Request::WhatsUp);
        self.report_from(now);
    }

    fn dial(&mut self) {
        self.state = State::Dialling;
        self.output.push_back(Output::Dial);
        let connect = Request::Connect { uuid: &self.settings.uuid, console: &self.console };
        let message = connect.encode();
        self.counts.sent(connect.word());
        self.output.push_back(Output::Send(message));
    }

    fn lose(&mut self, now: Instant, reason: LostReason) {
        let retry_in = self.settings.timing.backoff.after(&reason, &mut self.failures);
        self.state = State::Idle { until: Some(now + retry_in) };
        self.ports.forget();
        self.publisher = None;
        self.probe = None;
        self.resync_wanted = false;
        self.next_report = None;
        self.counts.lost += 1;
        self.output.push_back(Output::HangUp);
        self.event(Event::Lost { reason, retry_in });
    }

    fn send(&mut self, request: Request<'_>) {
        self.counts.sent(request.word());
        self.output.push_back(Output::Send(request.encode()));
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    fn malformed(&mut self, channel: Channel, error: Malformed) {
        self.counts.malformed += 1;
        self.event(Event::Malformed { channel, error });
    }

    /// A word for operators.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Idle { .. } => "waiting",
            State::Dialling => Session::CONNECTING,
            State::Accepting { .. } => "waiting for ACCEPT",
            State::Asking { .. } => "waiting for CONF",
            State::Subscribing { .. } => "subscribing",
            State::Registering { .. } => "registering ports",
            State::Settling { .. } => "settling",
            State::Resync { .. } => "synchronising",
            State::Ready => "ready",
        }
    }

    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    pub fn dataplane(&self) -> DataplaneId {
        self.dataplane
    }

    /// The endpoint that vplaned named in this session.
    pub fn publisher(&self) -> Option<&str> {
        self.publisher.as_deref()
    }

    pub fn last_sequence(&self) -> Sequence {
        self.last
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
