// SPDX-License-Identifier: Apache-2.0
//! The last messages that came from clients: what an agent has really sent is seen after it went wrong.
//!
//! Off unless somebody asks for it, and then bounded in number and size; each message costs a copy of its beginning.

use std::collections::VecDeque;
use std::time::SystemTime;

use super::session::SessionId;

/// Messages that are kept.
const MOST: usize = 4096;
/// Bytes that are kept of each.
const LONGEST: usize = 256;

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    pub at: SystemTime,
    pub session: SessionId,
    /// The client's name.
    pub client: String,
    /// The message's.
    pub message: &'static str,
    /// Of all of it.
    pub length: usize,
    /// Its first bytes as they came, from the id on.
    pub bytes: Box<[u8]>,
}

/// The last messages, the oldest first.
#[derive(Default)]
pub(super) struct Trace {
    pub on: bool,
    pub messages: VecDeque<Traced>,
}

impl Trace {
    pub fn keep(&mut self, session: SessionId, client: String, message: &'static str, bytes: &[u8]) {
        if self.messages.len() == MOST {
            self.messages.pop_front();
        }
        let kept = &bytes[..bytes.len().min(LONGEST)];
        self.messages.push_back(Traced {
            at: SystemTime::now(),
            session,
            client,
            message,
            length: bytes.len(),
            bytes: kept.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_bounded() {
        let mut trace = Trace::default();
        for _ in 0..=MOST {
            trace.keep(SessionId(1), "agent".into(), "control_ping", &[7; 2 * LONGEST]);
        }
        assert_eq!(trace.messages.len(), MOST);
        assert_eq!((trace.messages[0].length, trace.messages[0].bytes.len()), (2 * LONGEST, LONGEST));
    }
}
