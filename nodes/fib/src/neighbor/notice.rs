// SPDX-License-Identifier: Apache-2.0
//! What workers tell the main thread about neighbours.
//!
//! One bounded ring per node instance. Whoever tells keeps quiet about what it has told a moment ago; a ring that is
//! full all the same loses the notice, counted, and the next packet brings it again.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::Ipv6Net;
use rtrb::Producer;
use weft_engine::InterfaceIndex;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::wait::Waker;
use weft_headers::MacAddr;

use super::Evidence;

/// A question for groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupQuery {
    /// The one that is asked for; nothing but zeros: all.
    pub group: Ipv6Addr,
    /// Whether it is asked as MLD version 1 has it, and is to be answered so (RFC 3810 section 8.2.1).
    pub version1: bool,
    /// Milliseconds in which an answer is awaited.
    pub within: u32,
}

/// What a router advertisement says besides its options (RFC 4861 section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterSays {
    /// Hop limit for packets of hosts; 0: as they like.
    pub hop_limit: u8,
    /// "M" is the highest bit, "O" the next one.
    pub flags: u8,
    /// Seconds for which it is a way out.
    pub lifetime: u16,
    /// Milliseconds for which neighbours that have answered are taken to be there; 0: not said.
    pub reachable: u32,
    /// Milliseconds between questions for neighbours; 0: not said.
    pub retransmission: u32,
    /// How many prefixes follow.
    pub prefixes: u8,
}

/// What it says of a prefix (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixSays {
    /// The prefix.
    pub prefix: Ipv6Net,
    /// "L" is the highest bit, "A" the next one.
    pub flags: u8,
    /// Seconds for which it is good.
    pub valid: u32,
    /// Seconds for which addresses in it are preferred.
    pub preferred: u32,
}

/// A piece of news.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborNotice {
    /// A neighbour said what its address is.
    Learned {
        /// Where.
        interface: InterfaceIndex,
        /// Whose.
        address: IpAddr,
        /// Its address.
        mac: MacAddr,
        /// Whether it spoke to us.
        evidence: Evidence,
    },
    /// Packets wait for a neighbour. If it is known after all (the packets crossed the news), release them.
    Wanted {
        /// Where.
        interface: InterfaceIndex,
        /// Whom.
        address: IpAddr,
    },
    /// A host looks for routers (RFC 4861 section 6.3.7).
    RouterAsked {
        /// Where.
        interface: InterfaceIndex,
        /// Who, if it has an address already.
        from: Option<(Ipv6Addr, MacAddr)>,
    },
    /// A router or a switch asks which groups are listened to (RFC 3810 section 5.1).
    GroupsAsked {
        /// Where.
        interface: InterfaceIndex,
        /// What and how.
        query: GroupQuery,
    },
    /// A router is there (RFC 4861 section 6.3.4). Its prefixes follow, one by one.
    RouterHeard {
        /// Where.
        interface: InterfaceIndex,
        /// Which.
        router: Ipv6Addr,
        /// What it says.
        says: RouterSays,
    },
    /// What a router has said of one prefix.
    PrefixHeard {
        /// Where.
        interface: InterfaceIndex,
        /// Which router.
        router: Ipv6Addr,
        /// What it says.
        says: PrefixSays,
    },
    /// Somebody else uses an address of ours.
    Conflict {
        /// Where.
        interface: InterfaceIndex,
        /// Our address.
        address: IpAddr,
        /// Theirs.
        mac: MacAddr,
    },
}

impl NeighborNotice {
    /// Where it is from.
    pub fn interface(&self) -> InterfaceIndex {
        let (NeighborNotice::Learned { interface, .. }
        | NeighborNotice::Wanted { interface, .. }
        | NeighborNotice::RouterAsked { interface, .. }
        | NeighborNotice::GroupsAsked { interface, .. }
        | NeighborNotice::RouterHeard { interface, .. }
        | NeighborNotice::PrefixHeard { interface, .. }
        | NeighborNotice::Conflict { interface, .. }) = self;
        *interface
    }
}

/// A node's way to the main thread.
pub struct NoticeSender {
    ring: Producer<NeighborNotice>,
    main: Waker,
}

impl NoticeSender {
    /// Tells by `ring` and wakes the main thread by `main`.
    pub fn new(ring: Producer<NeighborNotice>, main: Waker) -> Self {
        NoticeSender { ring, main }
    }

    /// False if the ring is full.
    pub fn send(&mut self, notice: NeighborNotice) -> bool {
        let sent = self.ring.push(notice).is_ok();
        if sent {
            self.main.wake();
        }
        sent
    }
}

/// Places of [`Recent`].
const PLACES: usize = 256;

/// What was told a moment ago, so that it is not told with every packet. Two pieces of news that share a place
/// displace each other, and are then told more often.
pub struct Recent {
    told: Box<[Option<(NeighborNotice, Tsc)>; PLACES]>,
    quiet: u64,
}

impl Recent {
    /// Keeps quiet about the same for `quiet`.
    pub fn new(clock: &Clock, quiet: Duration) -> Self {
        Recent { told: Box::new([None; PLACES]), quiet: clock.clocks(quiet) }
    }

    /// Sends news that was not sent a moment ago; false if the ring is full.
    pub fn tell(&mut self, sender: &mut NoticeSender, notice: NeighborNotice, now: Tsc) -> bool {
        let place = match notice {
            NeighborNotice::Learned { address, .. }
            | NeighborNotice::Wanted { address, .. }
            | NeighborNotice::Conflict { address, .. } => match address {
                IpAddr::V4(address) => address.to_bits(),
                IpAddr::V6(address) => address.to_bits() as u32,
            },
            NeighborNotice::RouterAsked { from, .. } => from.map_or(0, |(from, _)| from.to_bits() as u32),
            NeighborNotice::GroupsAsked { query, .. } => query.group.to_bits() as u32 ^ 1,
            NeighborNotice::RouterHeard { router, .. } => router.to_bits() as u32,
            NeighborNotice::PrefixHeard { says, .. } => (says.prefix.addr().to_bits() >> 64) as u32,
        };
        let interface = notice.interface();
        let told = &mut self.told[(place.wrapping_add(interface.0.wrapping_mul(31)) as usize) % PLACES];
        if told.is_some_and(|(old, at)| old == notice && now.since(at) < self.quiet) {
            return true;
        }
        let sent = sender.send(notice);
        *told = sent.then_some((notice, now));
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtrb::RingBuffer;

    fn learned(last: u8, mac: u8) -> NeighborNotice {
        NeighborNotice::Learned {
            interface: InterfaceIndex(1),
            address: IpAddr::from([10, 0, 0, last]),
            mac: MacAddr([2, 0, 0, 0, 0, mac]),
            evidence: Evidence::ToUs,
        }
    }

    #[test]
    fn news_is_told_once_and_again_later() {
        let clock = Clock::calibrate();
        let (producer, mut consumer) = RingBuffer::new(2);
        let mut sender = NoticeSender::new(producer, Waker::new().unwrap());
        let mut recent = Recent::new(&clock, Duration::from_secs(1));
        let start = Tsc::now();
        let later = Tsc(start.0 + clock.clocks(Duration::from_secs(2)));
        assert!(recent.tell(&mut sender, learned(1, 1), start));
        assert!(recent.tell(&mut sender, learned(1, 1), start));
        assert_eq!((consumer.pop(), consumer.slots()), (Ok(learned(1, 1)), 0));
        // Another MAC is news, and so is the same after a while.
        assert!(recent.tell(&mut sender, learned(1, 2), start));
        assert!(recent.tell(&mut sender, learned(1, 2), later));
        // What the ring refused has not been told.
        assert!(!recent.tell(&mut sender, learned(2, 1), later));
        assert_eq!(consumer.pop(), Ok(learned(1, 2)));
        assert!(recent.tell(&mut sender, learned(2, 1), later));
        assert_eq!((consumer.pop(), consumer.pop()), (Ok(learned(1, 2)), Ok(learned(2, 1))));
    }
}
