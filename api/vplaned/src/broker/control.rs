// SPDX-License-Identifier: Apache-2.0
//! The dialogue with the broker as a state machine: frames and time in, frames and wishes out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::types::Uuid;
use crate::wire::Message;

/// How the broker writes a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RTM_NEWROUTE and RTM_DELROUTE.
    Netlink,
    /// `RibUpdate`.
    Protobuf,
}

/// What the dialogue wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To the broker.
    Send(Message),
    /// Routes come from here now, and from nowhere else.
    Data(String, Format),
    /// From now on the broker says everything again.
    ReplayBegins,
    /// It has had time enough.
    ReplayEnds,
    /// The broker asks for a full reset, not only of routes.
    Reset,
}

/// What the broker should not have sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// A word that is none of ACCEPT, RECONNECT.
    #[error("route broker: unknown message {0:?}: expected ACCEPT or RECONNECT")]
    Word(String),
    /// Not the frames of an ACCEPT.
    #[error("route broker: ACCEPT with {found} as its {frame}: expected {expected}")]
    Accept {
        /// Which frame.
        frame: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Control {
    uuid: Uuid,
    stale_time: Duration,
    outputs: VecDeque<Output>,
    data: Option<(String, Format)>,
    next_keepalive: Option<Instant>,
    replay_ends: Option<Instant>,
}

/// Of KEEPALIVE.
const INTERVAL: Duration = Duration::from_secs(10);

impl Control {
    /// A dialogue that begins with [`Control::connected`]. What the broker has not repeated `stale_time` after an
    /// ACCEPT is given up.
    pub fn new(uuid: Uuid, stale_time: Duration) -> Control {
        let (outputs, data) = (VecDeque::new(), None);
        Control { uuid, stale_time, outputs, data, next_keepalive: None, replay_ends: None }
    }

    /// The next wish.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The connection stands, for the first time or again: to the broker this is somebody new.
    pub fn connected(&mut self) {
        self.next_keepalive = None;
        self.say("CONNECT");
    }

    /// The connection broke. A broker that is gone is no reason to forget its routes.
    pub fn disconnected(&mut self) {
        self.next_keepalive = None;
    }

    /// A message of the broker.
    pub fn received(&mut self, now: Instant, message: &Message) -> Result<(), ControlError> {
        match message.first().map_or(&[][..], Vec::as_slice) {
            b"ACCEPT" => self.accepted(now, message),
            b"RECONNECT" => {
                self.outputs.push_back(Output::Reset);
                self.connected();
                Ok(())
            }
            other => Err(ControlError::Word(excerpt(other))),
        }
    }

    fn accepted(&mut self, now: Instant, message: &Message) -> Result<(), ControlError> {
        let error = |frame, found, expected: &str| {
            Err(ControlError::Accept { frame, found, expected: expected.to_owned() })
        };
        let text = |at: usize| message.get(at).map_or_else(|| "nothing".to_owned(), |frame| excerpt(frame));
        if message.get(1).map(Vec::as_slice) != Some(self.uuid.as_str().as_bytes()) {
            return error("UUID", text(1), self.uuid.as_str());
        }
        let url = match message.get(2).map(|frame| std::str::from_utf8(frame)) {
            Some(Ok(url)) if !url.is_empty() => url.to_owned(),
            _ => return error("data URL", text(2), "an endpoint"),
        };
        let format = match message.get(3) {
            None => Format::Netlink,
            Some(frame) => match <[u8; 4]>::try_from(frame.as_slice()).map(u32::from_ne_bytes) {
                Ok(0) => Format::Netlink,
                Ok(1) => Format::Protobuf,
                _ => return error("format", format!("{frame:?}"), "4 bytes: 0 (netlink) or 1 (protobuf)"),
            },
        };
        let data = (url, format);
        if self.data.as_ref() != Some(&data) {
            self.data = Some(data.clone());
            self.outputs.push_back(Output::Data(data.0, data.1));
        }
        self.outputs.push_back(Output::ReplayBegins);
        self.replay_ends = Some(now + self.stale_time);
        self.next_keepalive = Some(now + INTERVAL);
        Ok(())
    }

    /// When [`Control::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        [self.next_keepalive, self.replay_ends].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        if self.replay_ends.is_some_and(|at| at <= now) {
            self.replay_ends = None;
            self.outputs.push_back(Output::ReplayEnds);
        }
        if self.next_keepalive.is_some_and(|at| at <= now) {
            self.next_keepalive = Some(now + INTERVAL);
            self.say("KEEPALIVE");
        }
    }

    fn say(&mut self, word: &str) {
        // The version of the protocol.
        let version = 0u32.to_ne_bytes().to_vec();
        self.outputs.push_back(Output::Send(vec![word.into(), version, self.uuid.as_str().into()]));
    }
}

/// What a log line shows of a bad frame.
fn excerpt(frame: &[u8]) -> String {
    frame[..frame.len().min(48)].escape_ascii().to_string()
}
