// SPDX-License-Identifier: Apache-2.0
//! What the dataplane tells vplaned unasked: links, counters, failed commands.
//!
//! A kernel interface falls back to DORMANT whenever it is set up, and only the next LINKUP wakes it; so links are told
//! every few seconds, not only on change. The same reports keep the session alive (protocol page 4.7, 5.4).

use std::time::Instant;

use crate::types::{Counters, Link, PortNumber};
use crate::wire::Request;

use super::{Event, Probe, Session, State};

impl Session {
    /// Tells a port's link; does nothing while vplaned cannot know the port.
    pub fn report_link(&mut self, port: PortNumber, link: &Link) {
        if self.may_report() {
            self.send(Request::Link { port, address: self.settings.address, link });
        }
    }

    /// Tells the counters of an interface that is no port.
    pub fn report_counters(&mut self, interface: &str, counters: &Counters) {
        if self.may_report() {
            self.send(Request::Stats { interface, counters });
        }
    }

    /// Tells whoever listens to vplaned's events that a command failed.
    pub fn report_failed_command(&mut self, command: &str, code: i32) {
        if self.may_report() {
            self.send(Request::ConfErr { dataplane: self.dataplane, command, code });
        }
    }

    fn may_report(&self) -> bool {
        matches!(self.state, State::Resync { .. } | State::Ready)
    }

    pub(super) fn report_from(&mut self, now: Instant) {
        self.next_report.get_or_insert(now);
        self.report_if_due(now);
    }

    pub(super) fn report_if_due(&mut self, now: Instant) {
        if self.next_report.is_none_or(|due| now < due) {
            return;
        }
        self.next_report = Some(now + self.settings.timing.report);
        // With nothing to report, this keeps the session alive. vplaned answers it at any time.
        if self.ports.registered() == 0 && self.probe.is_none() && self.state == State::Ready {
            self.probe = Some(Probe::KeepAlive);
            self.send(Request::ConfQuery);
        }
        self.event(Event::ReportDue);
    }
}
