// SPDX-License-Identifier: Apache-2.0
//! What workers tell the main thread about flows: that one began or ended, and that one waits for a verdict.
//!
//! One bounded ring per worker. When it is full the news is lost, counted; nothing waits for the main thread.

use rtrb::Producer;
use weft_engine::clock::Tsc;
use weft_engine::wait::Waker;
use weft_flow_map::{Direction, Endpoint, FlowId, Key, Pair6, Side};

/// Why a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It has idled for too long.
    Idle,
    /// Its endpoints have closed it, or a reset has, and the time after that is over.
    Closed,
    /// The same endpoints have begun another one.
    Replaced,
    /// Somebody has cleared it.
    Cleared,
    /// Nobody had confirmed it when a new one needed its place.
    Displaced,
}

impl Ending {
    /// The word that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Ending::Idle => "idle",
            Ending::Closed => "closed",
            Ending::Replaced => "replaced",
            Ending::Cleared => "cleared",
            Ending::Displaced => "displaced",
        }
    }
}

/// First bytes of a packet that waits for a verdict.
pub const HEAD: usize = 64;

/// What happened to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// It began.
    Began,
    /// It ended.
    Ended {
        /// Why.
        why: Ending,
        /// What the initiator has sent, and what the other side has.
        sides: [Side; 2],
        /// From its first packet to its last, in clocks.
        lasted: u64,
    },
    /// Its first packet waits for a verdict.
    Waits {
        /// Bytes of the packet.
        length: u32,
        /// The first of them, from the IP header on; zeros after a shorter packet.
        head: [u8; HEAD],
    },
}

/// A piece of news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// When.
    pub at: Tsc,
    /// Which flow.
    pub id: FlowId,
    /// Its key.
    pub key: Key,
    /// Its addresses, if it is of IPv6.
    pub pair: Pair6,
    /// Who sent the first packet.
    pub initiator: Direction,
    /// What.
    pub what: What,
}

impl News {
    /// Who sent the first packet, and to whom.
    pub fn ends(&self) -> [Endpoint; 2] {
        [self.initiator, self.initiator.reverse()].map(|sends| self.key.endpoint(&self.pair, sends))
    }
}

/// A worker's way to the main thread.
pub(crate) struct Teller {
    ring: Producer<News>,
    main: Waker,
}

impl Teller {
    pub fn new(ring: Producer<News>, main: Waker) -> Teller {
        Teller { ring, main }
    }

    /// False if the ring is full.
    pub fn tell(&mut self, news: News) -> bool {
        let told = self.ring.push(news).is_ok();
        if told {
            self.main.wake();
        }
        told
    }
}
