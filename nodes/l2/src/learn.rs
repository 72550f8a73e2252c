// SPDX-License-Identifier: Apache-2.0
//! How a worker tells the main thread where a station was heard. Bounded, and it never waits: see the crate's documentation.

use std::time::Duration;

use rtrb::Producer;
use weft_engine::InterfaceIndex;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::wait::Waker;

use crate::macs::Key;

/// A station was heard on a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice {
    pub key: Key,
    pub port: InterfaceIndex,
}

/// How long a worker does not tell again what it has told.
const PATIENCE: Duration = Duration::from_millis(100);
/// What it remembers to have told: a vector's stations, twice over.
const MEMORY: usize = 512;

/// What has become of a notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It is on its way.
    Now,
    /// It was told lately.
    Before,
    /// There was no room for it.
    Lost,
}

/// A worker's way to the main thread.
pub struct Teller {
    ring: Producer<Notice>,
    main: Waker,
    told: Box<[(Notice, Tsc)]>,
    patience: u64,
}

impl Teller {
    pub fn new(ring: Producer<Notice>, main: Waker, clock: &Clock) -> Teller {
        let nothing = (Notice { key: Key::NOBODY, port: InterfaceIndex::NONE }, Tsc(0));
        Teller { ring, main, told: vec![nothing; MEMORY].into(), patience: clock.clocks(PATIENCE) }
    }

    /// Tells it, unless that was done a moment ago.
    #[cold]
    #[inline(never)]
    pub fn tell(&mut self, notice: Notice, now: Tsc) -> Told {
        // Which place in the memory does not matter but for how many share it.
        let mixed = notice.key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (before, at) = &mut self.told[mixed as usize % MEMORY];
        if *before == notice && now.since(*at) < self.patience {
            return Told::Before;
        }
        if self.ring.push(notice).is_err() {
            return Told::Lost;
        }
        (*before, *at) = (notice, now);
        self.main.wake();
        Told::Now
    }
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;
    use weft_nodes::headers::MacAddr;

    use super::*;
    use crate::macs::DomainIndex;

    #[test]
    fn a_station_is_told_of_once_in_a_while_and_a_full_ring_is_an_answer() {
        let (ring, mut heard) = RingBuffer::new(2);
        let (clock, main) = (Clock::manual(), Waker::new().expect("an eventfd"));
        let mut teller = Teller::new(ring, main, &clock);
        let notice = |last: u8, port| Notice {
            key: Key::new(DomainIndex(0), MacAddr([2, 0, 0, 0, 0, last])),
            port: InterfaceIndex(port),
        };
        let start = clock.now();
        let later = Tsc(start.0 + clock.clocks(PATIENCE));
        assert_eq!(teller.tell(notice(1, 1), start), Told::Now);
        assert_eq!(teller.tell(notice(1, 1), Tsc(later.0 - 1)), Told::Before);
        assert_eq!(teller.tell(notice(1, 2), start), Told::Now, "another port is another notice");
        assert_eq!(teller.tell(notice(2, 1), start), Told::Lost);
        assert_eq!(heard.pop(), Ok(notice(1, 1)));
        assert_eq!(teller.tell(notice(2, 1), start), Told::Now, "what was lost is told again");
        assert_eq!((heard.pop(), heard.pop()), (Ok(notice(1, 2)), Ok(notice(2, 1))));
        assert_eq!(teller.tell(notice(1, 2), later), Told::Now);
    }
}
