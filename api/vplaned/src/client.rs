// SPDX-License-Identifier: Apache-2.0
//! The session on its sockets.
//!
//! Carries messages between the [`Session`] and ZeroMQ and gives its events to the owner. Request messages are read
//! before publications, as a port's reply has to be known before the netlink messages about it. Belongs to one
//! task of a current-thread runtime; everything is non-blocking.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::session::{Event, Output, Session};
use crate::transport::{
    Change, Connection, Endpoint, Keys, Kind, PublicKey, Transport, TransportError, changed, readable, until,
};
use crate::types::Channel;
use crate::wire::Message;

/// Messages taken before other tasks have their turn.
const TURN: usize = 1024;

/// Messages between two looks at the monitors, each of which is a system call.
const WATCH: usize = 64;

/// Pause before a peer that refused the handshake is asked again. libzmq itself gives it up (`session_base_t::engine_error`,
/// libzmq 4.3.4); but vplaned may admit our certificate at any time.
const REFUSED: Duration = Duration::from_secs(2);

/// Where vplaned is and how it is to be trusted.
#[derive(Debug)]
pub struct Target {
    pub request: Endpoint,
    /// Our certificate and vplaned's key.
    pub curve: Option<(Keys, PublicKey)>,
}

/// A session with its sockets.
pub struct Client {
    session: Session,
    target: Target,
    request: Option<Connection>,
    publication: Option<Connection>,
    /// Messages until the next look at the monitors.
    unwatched: usize,
    /// When to dial again where the handshake was refused.
    redial: Option<Instant>,
    /// Handshakes that failed since the start.
    refused: u64,
    // Last: libzmq ends when its sockets are closed.
    transport: Transport,
}

impl Client {
    pub fn new(transport: Transport, target: Target, session: Session) -> Client {
        Client {
            session,
            target,
            request: None,
            publication: None,
            unwatched: 0,
            redial: None,
            refused: 0,
            transport,
        }
    }

    /// The session, to ask and to tell. What is told goes out with the next [`Client::events`].
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Handshakes that failed since the start: a wrong key, or a peer that is no vplaned.
    pub fn refused_handshakes(&self) -> u64 {
        self.refused
    }

    /// Waits for events and adds at most `most` of them. May be dropped at any time without loss, since all
    /// that was taken is in the session or in `events`.
    pub async fn events(&mut self, events: &mut Vec<Event>, most: usize) {
        self.session.start();
        let before = events.len();
        loop {
            let mut more = true;
            for _ in 0..TURN {
                self.perform(events, before + most);
                more = events.len() - before < most && self.take(Instant::now());
                if !more {
                    break;
                }
            }
            if events.len() > before {
                return;
            }
            if more {
                yield_now().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// Does what the session wants, until there are enough events.
    fn perform(&mut self, events: &mut Vec<Event>, enough: usize) {
        while events.len() < enough {
            match self.session.poll() {
                Some(Output::Event(event)) => events.push(event),
                Some(Output::Send(message)) => self.send(message),
                Some(Output::Dial) => self.dial(),
                Some(Output::Subscribe(endpoint)) => {
                    self.publication = None;
                    let opened = match endpoint.parse::<Endpoint>() {
                        // Publications are never encrypted.
                        Ok(endpoint) => {
                            Connection::open(&mut self.transport, Kind::Subscriber, &endpoint, None)
                                .map_err(|error| error.to_string())
                        }
                        Err(error) => Err(error.to_string()),
                    };
                    self.publication = self.opened(opened);
                }
                Some(Output::HangUp) => {
                    (self.request, self.redial) = (None, None);
                    self.publication = None;
                }
                None => return,
            }
        }
    }

    fn dial(&mut self) {
        (self.request, self.redial) = (None, None);
        let curve = self.target.curve.as_ref().map(|(own, server)| (own, server));
        let opened = Connection::open(&mut self.transport, Kind::Dealer, &self.target.request, curve);
        self.request = self.opened(opened);
    }

    fn opened<E: std::fmt::Display>(&mut self, opened: Result<Connection, E>) -> Option<Connection> {
        opened.map_err(|error| self.session.transport_failed(Instant::now(), error.to_string())).ok()
    }

    fn send(&mut self, message: Message) {
        let Some(request) = &self.request else { return };
        if let Err(error) = request.send(message) {
            self.session.transport_failed(Instant::now(), error.to_string());
        }
    }

    /// Gives the session one thing that happened; says whether there was one.
    fn take(&mut self, now: Instant) -> bool {
        if self.session.deadline().is_some_and(|deadline| now >= deadline) {
            self.session.tick(now);
            return true;
        }
        if self.redial.is_some_and(|redial| now >= redial) {
            self.dial();
            return true;
        }
        match self.look(now) {
            Ok(found) => found,
            Err(error) => {
                self.session.transport_failed(now, error.to_string());
                true
            }
        }
    }

    /// A connection that breaks is noticed some messages late, which is as good as in time: what follows is a resync.
    fn look(&mut self, now: Instant) -> Result<bool, TransportError> {
        if self.unwatched == 0 {
            self.unwatched = WATCH;
            if self.watch(now)? {
                self.unwatched = 0;
                return Ok(true);
            }
        }
        self.unwatched -= 1;
        if let Some(request) = &self.request
            && let Some(message) = request.receive()?
        {
            self.session.received(now, message);
            return Ok(true);
        }
        if self.session.wants_publications()
            && let Some(publication) = &self.publication
            && let Some(message) = publication.receive()?
        {
            self.session.published(message);
            return Ok(true);
        }
        self.unwatched = 0;
        self.watch(now)
    }

    /// Tells the session one change of a connection; says whether there was one.
    fn watch(&mut self, now: Instant) -> Result<bool, TransportError> {
        let channels = [(Channel::Request, &self.request), (Channel::Publication, &self.publication)];
        for (channel, connection) in channels {
            let Some(connection) = connection else { continue };
            match connection.change()? {
                Some(Change::Up) => self.session.channel_up(now, channel),
                Some(Change::Down) => self.session.channel_down(now, channel),
                Some(Change::Refused) => {
                    self.refused += 1;
                    if channel == Channel::Request {
                        self.redial = Some(now + REFUSED);
                    }
                }
                None => continue,
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Waits until there is something to take. What failed shows when it is taken.
    async fn wait(&self) {
        let heard = self.publication.as_ref().filter(|_| self.session.wants_publications());
        tokio::select! {
            biased;
            _ = changed(self.request.as_ref()) => {}
            _ = changed(self.publication.as_ref()) => {}
            _ = readable(self.request.as_ref()) => {}
            _ = readable(heard) => {}
            () = until(self.session.deadline()) => {}
            () = until(self.redial) => {}
        }
    }
}
