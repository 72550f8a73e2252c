// SPDX-License-Identifier: Apache-2.0
//! How long to wait before the next attempt.
//!
//! A vplaned that was restarted should have its dataplane back at once; one that does not want it must not be pestered,
//! and two dataplanes of one UUID must not take the session from each other in a tight loop.

use std::time::Duration;

use weft_sockets::Backoff;

use super::LostReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffSettings {
    /// After failures in a row.
    pub failed: Backoff,
    /// When vplaned does not know the session: another dataplane may have taken it (protocol page 15.4).
    pub taken_over: Duration,
    /// When vplaned rejects the dataplane: nothing changes until somebody changes it.
    pub rejected: Duration,
}

impl Default for BackoffSettings {
    fn default() -> BackoffSettings {
        BackoffSettings {
            failed: Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10) },
            taken_over: Duration::from_secs(10),
            rejected: Duration::from_secs(60),
        }
    }
}

impl BackoffSettings {
    /// How long to wait after this failure; `failures`: those in a row before it.
    pub(super) fn after(&self, reason: &LostReason, failures: &mut u32) -> Duration {
        match reason {
            LostReason::Unknown => self.taken_over,
            LostReason::Rejected => self.rejected,
            _ => {
                let wait = self.failed.interval(*failures);
                *failures = failures.saturating_add(1);
                wait
            }
        }
    }
}
