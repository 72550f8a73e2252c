// SPDX-License-Identifier: Apache-2.0
//! Whether what a NIC receives comes to Weft.
//!
//! No query tells whether a rung holds: a driver may take the program and the sockets and pass no frame, or somebody may
//! take the program off later. What tells is that the NIC's counter of received packets goes on and ours stands still. A look
//! costs nothing that is not asked anyway. Main thread; time is what the caller says.

use std::time::{Duration, Instant};

/// For so long ours stands still, from the first packet on that the NIC has counted since.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many packets at least: some drivers count frames that they filter.
const PACKETS: u64 = 10;

/// The counters of one port, as last seen in step.
#[derive(Debug, Default)]
pub struct Watch {
    /// `None` before the first look: what the NIC has counted until then was nobody's, or the kernel's.
    nic: Option<u64>,
    ours: u64,
    /// When the NIC's was first seen ahead.
    ahead: Option<Instant>,
    /// How often nothing had come.
    times: u32,
}

/// Nothing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// Packets that the NIC has received meanwhile.
    pub packets: u64,
    /// How often that is so in a row: from 1.
    pub times: u32,
}

impl Watch {
    /// Takes note of both counters. What is lost for lack of buffers or of room in a ring is ours.
    pub fn look(&mut self, now: Instant, nic: u64, ours: u64) -> Option<Stall> {
        // Counters of the NIC begin again with its driver.
        let Some(base) = self.nic.filter(|base| ours == self.ours && nic >= *base) else {
            let times = if ours == self.ours { self.times } else { 0 };
            *self = Watch { nic: Some(nic), ours, ahead: None, times };
            return None;
        };
        if nic == base {
            return None;
        }
        let ahead = *self.ahead.get_or_insert(now);
        let packets = nic - base;
        if now.duration_since(ahead) < PATIENCE || packets < PACKETS {
            return None;
        }
        let times = self.times + 1;
        *self = Watch { nic: Some(nic), ours, ahead: None, times };
        Some(Stall { packets, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_nic_has_counted_before_says_nothing() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // Its link is quiet, and nothing has come to us yet.
        assert_eq!(watch.look(at(0), 34_907, 0), None);
        assert_eq!(watch.look(at(10), 34_907, 0), None);
        assert_eq!(watch.look(at(20), 34_917, 0), None);
        assert_eq!(watch.look(at(23), 34_917, 0), Some(Stall { packets: 10, times: 1 }));
    }

    #[test]
    fn a_counter_that_stands_still_while_the_nic_s_goes_on_is_a_stall() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(watch.look(at(0), 100, 50), None, "where they begin says nothing");
        assert_eq!(watch.look(at(100), 100, 50), None, "an idle link");
        // Packets that are still on their way.
        assert_eq!(watch.look(at(101), 200, 50), None);
        assert_eq!(watch.look(at(102), 200, 150), None);
        // None comes.
        assert_eq!(watch.look(at(103), 209, 150), None);
        assert_eq!(watch.look(at(107), 209, 150), None, "few: they may have been filtered");
        assert_eq!(watch.look(at(108), 260, 150), Some(Stall { packets: 60, times: 1 }));
        assert_eq!(watch.look(at(109), 300, 150), None);
        assert_eq!(watch.look(at(112), 340, 150), Some(Stall { packets: 80, times: 2 }));
        // One is enough.
        assert_eq!(watch.look(at(113), 350, 151), None);
        assert_eq!(watch.look(at(114), 400, 151), None);
        assert_eq!(watch.look(at(118), 400, 151), Some(Stall { packets: 50, times: 1 }));
        // The driver was loaded anew.
        assert_eq!(watch.look(at(119), 7, 151), None);
        assert_eq!(watch.look(at(130), 17, 151), None, "time counts from the first packet on");
        assert_eq!(watch.look(at(133), 17, 151), Some(Stall { packets: 10, times: 2 }));
    }
}
