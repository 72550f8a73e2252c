// SPDX-License-Identifier: Apache-2.0
//! The broker's dialogue and its routes on ZeroMQ sockets.
//!
//! The data socket has a high-water mark: when routes come faster than they are applied, the broker waits and nothing is lost.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::{Control, Format, Output, decode};
use crate::netlink;
use crate::transport::{
    Change, Connection, Endpoint, Kind, Transport, TransportError, changed, readable, until,
};
use crate::types::Uuid;
use crate::wire::Message;

/// Messages taken before other tasks have their turn.
const TURN: usize = 1024;

/// Routes between two looks at the control socket and the monitors, each of which is a system call.
const WATCH: usize = 64;

/// What the owner has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerEvent {
    /// For the store, as said by the broker.
    Said(netlink::Event),
    /// Begin a resync of the broker's routes.
    ReplayBegins,
    /// End it.
    ReplayEnds,
    /// Begin anew with vplaned too.
    Reset,
}

/// What has happened since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerCounts {
    /// Times that the broker accepted.
    pub accepts: u64,
    /// Routes set or taken back.
    pub routes: u64,
    /// The last burst of them.
    pub burst: Burst,
    /// Messages that were not understood.
    pub malformed: u64,
    /// The latest of what went wrong.
    pub last_error: Option<String>,
}

/// Routes that came one after the other, none later than [`Burst::PAUSE`] after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burst {
    /// How many.
    pub routes: u64,
    span: Option<(Instant, Instant)>,
}

impl Burst {
    /// What ends a burst.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// From the first to the last of them.
    pub fn took(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    fn add(&mut self, now: Instant) {
        match &mut self.span {
            Some((_, last)) if now.saturating_duration_since(*last) <= Burst::PAUSE => *last = now,
            _ => *self = Burst { routes: 0, span: Some((now, now)) },
        }
        self.routes += 1;
    }
}

/// See the module.
pub struct Broker {
    control: Control,
    endpoint: Endpoint,
    connection: Option<Connection>,
    data: Option<(Connection, Format)>,
    /// Where it is connected to.
    data_url: String,
    /// Routes until the next look at all else.
    unwatched: usize,
    counts: BrokerCounts,
    // Last: libzmq ends when its sockets are closed.
    transport: Transport,
}

impl Broker {
    /// A broker whose ROUTER is at `endpoint`. Routes that it has not repeated `stale_time` after it accepted are
    /// given up.
    pub fn new(
        mut transport: Transport,
        endpoint: Endpoint,
        uuid: Uuid,
        stale_time: Duration,
    ) -> Result<Broker, TransportError> {
        let connection = Some(Connection::open(&mut transport, Kind::Dealer, &endpoint, None)?);
        let control = Control::new(uuid, stale_time);
        Ok(Broker {
            control,
            endpoint,
            connection,
            data: None,
            data_url: String::new(),
            unwatched: 0,
            counts: BrokerCounts::default(),
            transport,
        })
    }

    /// For show.
    pub fn counts(&self) -> &BrokerCounts {
        &self.counts
    }

    /// Where its ROUTER is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for events and adds at most `most` of them. May be dropped at any time without loss.
    pub async fn events(&mut self, events: &mut Vec<BrokerEvent>, most: usize) {
        let before = events.len();
        loop {
            let mut more = true;
            for _ in 0..TURN {
                self.perform(events);
                more = events.len() - before < most && self.take(Instant::now(), events);
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

    fn failed(&mut self, error: String) {
        if self.counts.last_error.as_ref() != Some(&error) {
            tracing::warn!("{error}");
        }
        self.counts.last_error = Some(error);
    }

    fn perform(&mut self, events: &mut Vec<BrokerEvent>) {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Send(message) => self.send(message),
                Output::Data(url, format) => self.open_data(&url, format),
                Output::ReplayBegins => {
                    self.counts.accepts += 1;
                    events.push(BrokerEvent::ReplayBegins);
                }
                Output::ReplayEnds => events.push(BrokerEvent::ReplayEnds),
                Output::Reset => events.push(BrokerEvent::Reset),
            }
        }
    }

    fn send(&mut self, message: Message) {
        if let Some(connection) = &self.connection
            && let Err(error) = connection.send(message)
        {
            self.failed(format!("route broker at {}: {error}", self.endpoint));
        }
    }

    /// A broker that has started again at the same place may have pushed routes already into the socket that is there, which
    /// libzmq has connected again: it stays.
    fn open_data(&mut self, url: &str, format: Format) {
        if let Some((_, known)) = &mut self.data
            && self.data_url == url
        {
            *known = format;
            return;
        }
        self.data = None;
        self.data_url = url.to_owned();
        let opened = url.parse::<Endpoint>().map_err(|error| error.to_string()).and_then(|endpoint| {
            Connection::open(&mut self.transport, Kind::Pull, &endpoint, None)
                .map_err(|error| error.to_string())
        });
        match opened {
            Ok(connection) => self.data = Some((connection, format)),
            Err(error) => self.failed(format!("route broker's data: {error}")),
        }
    }

    /// Takes one thing that happened; says whether there was one.
    fn take(&mut self, now: Instant, events: &mut Vec<BrokerEvent>) -> bool {
        if self.control.deadline().is_some_and(|deadline| now >= deadline) {
            self.control.tick(now);
            return true;
        }
        match self.look(now, events) {
            Ok(found) => found,
            Err(error) => {
                self.failed(format!("route broker at {}: {error}", self.endpoint));
                // A socket that fails once fails again; the next start of the session opens new ones.
                (self.connection, self.data) = (None, None);
                true
            }
        }
    }

    fn look(&mut self, now: Instant, events: &mut Vec<BrokerEvent>) -> Result<bool, TransportError> {
        if self.unwatched == 0 {
            self.unwatched = WATCH;
            if self.look_at_control(now)? {
                self.unwatched = 0;
                return Ok(true);
            }
        }
        self.unwatched -= 1;
        if self.take_routes(now, events)? {
            return Ok(true);
        }
        self.unwatched = 0;
        self.look_at_control(now)
    }

    fn look_at_control(&mut self, now: Instant) -> Result<bool, TransportError> {
        if let Some((connection, _)) = &self.data {
            // Read so that they do not pile up; libzmq connects again by itself.
            while connection.change()?.is_some() {}
        }
        let Some(connection) = &self.connection else { return Ok(false) };
        if let Some(change) = connection.change()? {
            match change {
                Change::Up => self.control.connected(),
                Change::Down => self.control.disconnected(),
                Change::Refused => {}
            }
            return Ok(true);
        }
        let Some(message) = connection.receive()? else { return Ok(false) };
        if let Err(error) = self.control.received(now, &message) {
            self.counts.malformed += 1;
            self.failed(error.to_string());
        }
        Ok(true)
    }

    fn take_routes(&mut self, now: Instant, events: &mut Vec<BrokerEvent>) -> Result<bool, TransportError> {
        let Some((connection, format)) = &self.data else { return Ok(false) };
        let format = *format;
        let Some(message) = connection.receive()? else { return Ok(false) };
        for frame in message {
            match decode(format, &frame) {
                Ok(event) => {
                    self.counts.routes += 1;
                    self.counts.burst.add(now);
                    events.push(BrokerEvent::Said(event));
                }
                Err(error) => {
                    self.counts.malformed += 1;
                    self.failed(error.to_string());
                    break;
                }
            }
        }
        Ok(true)
    }

    async fn wait(&self) {
        let data = self.data.as_ref().map(|(connection, _)| connection);
        tokio::select! {
            biased;
            _ = changed(self.connection.as_ref()) => {}
            _ = readable(self.connection.as_ref()) => {}
            _ = changed(data) => {}
            _ = readable(data) => {}
            () = until(self.control.deadline()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_a_burst() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert_eq!((burst.routes, burst.took()), (0, Duration::ZERO));
        for milliseconds in [0, 400, 1400] {
            burst.add(start + Duration::from_millis(milliseconds));
        }
        assert_eq!((burst.routes, burst.took()), (3, Duration::from_millis(1400)));
        burst.add(start + Duration::from_millis(2401));
        assert_eq!((burst.routes, burst.took()), (1, Duration::ZERO));
    }
}
