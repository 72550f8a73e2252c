// SPDX-License-Identifier: Apache-2.0
//! One ping: what is sent, and what has come back so far.
//!
//! Made by the main thread, which later reads the result. One worker sends; answers may come to any worker. Each
//! request has a slot of atomics, so nobody waits for anybody and nothing is allocated for a packet.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weft_plugin_sdk::Route;

use crate::message::{Answer, Error, Request};

/// A request. All 0 at first.
#[derive(Default, Debug)]
struct Slot {
    /// When it was sent, in clocks.
    sent: AtomicU64,
    /// Of the first answer: [`pack`].
    answer: AtomicU64,
    /// Clocks from sending to the first answer; not 0 when all of the answer is here.
    took: AtomicU64,
    /// Whose error it was, as IPv6 maps it.
    from: [AtomicU64; 2],
    /// Replies after the first.
    duplicates: AtomicU32,
}

/// What came first: a reply as its TTL, or an error; never 0.
fn pack(answer: Answer) -> u64 {
    match answer {
        Answer::Reply { ttl, .. } => 1 << 48 | u64::from(ttl),
        Answer::Error(Error { kind, code, .. }) => 2 << 48 | u64::from(kind) << 40 | u64::from(code) << 32,
    }
}

/// The halves of an address.
fn halves(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// What has become of a request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    Nothing,
    Reply { ttl: u8, clocks: u64 },
    Error(Error),
}

/// What an answer was to the run that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    First,
    Error,
    Duplicate,
    /// Not what was sent.
    Damaged,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    pub destination: IpAddr,
    pub source: IpAddr,
    pub route: Route,
    /// Bytes of data.
    pub size: usize,
    pub ttl: u8,
    /// Requests.
    pub repeat: u16,
    /// How many of them are sent together.
    pub burst: u16,
    /// From one burst to the next, in clocks.
    pub interval: u64,
}

/// A ping under way.
#[derive(Debug)]
pub struct Run {
    pub settings: Settings,
    pub identifier: u16,
    slots: Box<[Slot]>,
    sent: AtomicU32,
    /// When the next request is due, in clocks. Only the sender uses it.
    due: AtomicU64,
    damaged: AtomicU32,
}

impl Run {
    pub fn new(settings: Settings, identifier: u16) -> Run {
        Run {
            settings,
            identifier,
            slots: (0..settings.repeat).map(|_| Slot::default()).collect(),
            sent: AtomicU32::new(0),
            due: AtomicU64::new(0),
            damaged: AtomicU32::new(0),
        }
    }

    fn request(&self, sequence: u16) -> Request {
        let Settings { source, destination, .. } = self.settings;
        Request { source, destination, identifier: self.identifier, sequence }
    }

    /// Has `send` send the next requests, if they are due; it says whether it could. Only one thread may call this.
    pub fn send_next(&self, now: u64, mut send: impl FnMut(Request) -> bool) {
        for _ in 0..self.settings.burst {
            if !self.send_one(now, &mut send) {
                return;
            }
        }
    }

    /// Says whether there was one to send, and it could be sent.
    fn send_one(&self, now: u64, send: impl FnOnce(Request) -> bool) -> bool {
        let sequence = self.sent.load(Ordering::Relaxed);
        let Some(slot) =
            self.slots.get(sequence as usize).filter(|_| now >= self.due.load(Ordering::Relaxed))
        else {
            return false;
        };
        // Before the packet leaves: its answer may come to another worker at once.
        slot.sent.store(now.max(1), Ordering::Release);
        let done = send(self.request(sequence as u16));
        if done {
            let sent = sequence + 1;
            if sent.is_multiple_of(self.settings.burst.into()) {
                self.due.store(now + self.settings.interval, Ordering::Relaxed);
            }
            self.sent.store(sent, Ordering::Release);
        } else {
            // It is tried again the next time.
            slot.sent.store(0, Ordering::Relaxed);
        }
        done
    }

    /// Takes an answer if it is to this run.
    pub fn take(&self, now: u64, request: Request, answer: Answer) -> Option<Taken> {
        let slot = self.slots.get(usize::from(request.sequence))?;
        let sent = slot.sent.load(Ordering::Acquire);
        if request != self.request(request.sequence) || sent == 0 {
            return None;
        }
        if let Answer::Reply { size, intact, .. } = answer
            && (!intact || size != self.settings.size)
        {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            return Some(Taken::Damaged);
        }
        let first =
            slot.answer.compare_exchange(0, pack(answer), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if first {
            if let Answer::Error(Error { from, .. }) = answer {
                let halves = slot.from.iter().zip(halves(from));
                halves.for_each(|(place, half)| place.store(half, Ordering::Relaxed));
            }
            slot.took.store(now.saturating_sub(sent).max(1), Ordering::Release);
        }
        Some(match (answer, first) {
            (Answer::Reply { .. }, true) => Taken::First,
            (Answer::Reply { .. }, false) => {
                slot.duplicates.fetch_add(1, Ordering::Relaxed);
                Taken::Duplicate
            }
            (Answer::Error(_), _) => Taken::Error,
        })
    }

    /// Requests that were sent.
    pub fn sent(&self) -> u16 {
        self.sent.load(Ordering::Acquire) as u16
    }

    /// Replies with other data than what was sent.
    pub fn damaged(&self) -> u32 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Replies after the first ones.
    pub fn duplicates(&self) -> u32 {
        self.slots.iter().map(|slot| slot.duplicates.load(Ordering::Relaxed)).sum()
    }

    /// What has become of each request that was sent.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.slots[..usize::from(self.sent())].iter().map(|slot| {
            let answer = slot.answer.load(Ordering::Acquire);
            match (answer >> 48, slot.took.load(Ordering::Acquire)) {
                // The worker is between the two: the next look sees it.
                (0, _) | (_, 0) => Outcome::Nothing,
                (1, clocks) => Outcome::Reply { ttl: answer as u8, clocks },
                _ => {
                    let [high, low] = [&slot.from[0], &slot.from[1]].map(|half| half.load(Ordering::Relaxed));
                    let from = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
                    Outcome::Error(Error {
                        from: IpAddr::V6(from).to_canonical(),
                        kind: (answer >> 40) as u8,
                        code: (answer >> 32) as u8,
                    })
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_plugin_sdk::InterfaceIndex;

    fn run(repeat: u16) -> Run {
        let (source, destination) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let route = Route { interface: InterfaceIndex(1), source: Some(source), table: 0 };
        Run::new(
            Settings { destination, source, route, size: 8, ttl: 64, repeat, burst: 1, interval: 100 },
            7,
        )
    }

    const REPLY: Answer = Answer::Reply { ttl: 63, size: 8, intact: true };

    #[test]
    fn requests_go_out_one_interval_after_the_other() {
        let run = run(3);
        let mut sent = Vec::new();
        for now in (1_000..1_500).step_by(10) {
            run.send_next(now, |request| {
                sent.push((now, request.sequence));
                true
            });
        }
        assert_eq!(sent, [(1_000, 0), (1_100, 1), (1_200, 2)]);
        assert_eq!(run.sent(), 3);
    }

    #[test]
    fn requests_of_a_burst_go_out_together() {
        let one = run(5);
        let run = Run::new(Settings { burst: 2, ..one.settings }, 7);
        let (mut sent, mut refuse) = (Vec::new(), true);
        for now in (1_000..1_500).step_by(10) {
            run.send_next(now, |request| {
                // Once there is no buffer for the second one.
                if request.sequence == 1 && std::mem::take(&mut refuse) {
                    return false;
                }
                sent.push((now, request.sequence));
                true
            });
        }
        assert_eq!(sent, [(1_000, 0), (1_010, 1), (1_110, 2), (1_110, 3), (1_210, 4)]);
    }

    #[test]
    fn what_could_not_be_sent_is_sent_later() {
        let run = run(1);
        run.send_next(1_000, |_| false);
        assert_eq!(run.take(1_001, run.request(0), REPLY), None, "nobody was asked");
        run.send_next(1_010, |_| true);
        assert_eq!(run.take(1_030, run.request(0), REPLY), Some(Taken::First));
        assert_eq!(run.outcomes().collect::<Vec<_>>(), [Outcome::Reply { ttl: 63, clocks: 20 }]);
    }

    #[test]
    fn each_answer_is_taken_for_what_it_is() {
        let run = run(4);
        for now in [1_000, 1_100, 1_200] {
            run.send_next(now, |_| true);
        }
        let error = Error { from: "2001:db8::1".parse().unwrap(), kind: 11, code: 0 };
        let take = |sequence, answer| run.take(1_250, run.request(sequence), answer);
        assert_eq!(take(0, REPLY), Some(Taken::First));
        assert_eq!(take(0, REPLY), Some(Taken::Duplicate));
        assert_eq!(take(1, Answer::Error(error)), Some(Taken::Error));
        assert_eq!(take(2, Answer::Reply { ttl: 1, size: 8, intact: false }), Some(Taken::Damaged));
        assert_eq!(take(2, Answer::Reply { ttl: 1, size: 7, intact: true }), Some(Taken::Damaged));
        assert_eq!(take(3, REPLY), None, "not sent yet");
        assert_eq!(take(4, REPLY), None, "never sent");
        let other = Request { identifier: 8, ..run.request(0) };
        assert_eq!(run.take(1_250, other, REPLY), None);
        let other = Request { destination: IpAddr::from([10, 0, 0, 3]), ..run.request(0) };
        assert_eq!(run.take(1_250, other, REPLY), None);
        let reply = Outcome::Reply { ttl: 63, clocks: 250 };
        assert_eq!(run.outcomes().collect::<Vec<_>>(), [reply, Outcome::Error(error), Outcome::Nothing]);
        assert_eq!((run.duplicates(), run.damaged()), (1, 2));
    }
}
