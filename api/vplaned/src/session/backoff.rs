// SPDX-License-Identifier: Apache-2.0
//! How long to wait before the next attempt.
//!
//! A vplaned that was restarted should have its dataplane back at once; one that does not want it must not be pestered,
//! and two dataplanes of one UUID must not take the session from each other in a tight loop.

use std::time::Duration;

use super::LostReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffSettings {
    /// After the first failure in a row; doubles with each further one.
    pub first: Duration,
    pub most: Duration,
    /// When vplaned does not know the session: another dataplane may have taken it (protocol page 15.4).
    pub taken_over: Duration,
    /// When vplaned rejects the dataplane: nothing changes until somebody changes it.
    pub rejected: Duration,
}

impl Default for BackoffSettings {
    fn default() -> BackoffSettings {
        BackoffSettings {
            first: Duration::from_millis(100),
            most: Duration::from_secs(10),
            taken_over: Duration::from_secs(10),
            rejected: Duration::from_secs(60),
        }
    }
}

#[derive(Debug)]
pub struct Backoff {
    settings: BackoffSettings,
    next: Duration,
}

impl Backoff {
    pub fn new(settings: BackoffSettings) -> Backoff {
        Backoff { settings, next: settings.first }
    }

    /// How long to wait after this failure.
    pub fn failed(&mut self, reason: &LostReason) -> Duration {
        match reason {
            LostReason::Unknown => self.settings.taken_over,
            LostReason::Rejected => self.settings.rejected,
            _ => {
                let wait = self.next;
                self.next = (wait * 2).min(self.settings.most);
                wait
            }
        }
    }

    pub fn succeeded(&mut self) {
        self.next = self.settings.first;
    }
}
