// SPDX-License-Identifier: Apache-2.0
//! The textbook: flows in a `HashMap`, TCP as the life of its two sides, time by looking at everything.

use std::collections::HashMap;
use std::net::IpAddr;

use weft_engine::clock::{Clock, Tsc};
use weft_flow_map::{Endpoint, Side, State};

use super::{Kind, Sent};
use crate::settings::{Clocks, Protocol, Settings};
use crate::tcp::{Segment, flags};

/// From, to, protocol, state, answered, packets and bytes.
pub type Essence = (Endpoint, Endpoint, u8, State, bool, [Side; 2]);

/// How far a side of a connection has come.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Life {
    Silent,
    SynSent,
    Open,
    FinSent,
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    life: Life,
    sent_to: i64,
    acked_to: Option<i64>,
    may_send_to: i64,
    best_window: i64,
    offered_scale: Option<u8>,
    scale: u8,
}

const SILENT: Half = Half {
    life: Life::Silent,
    sent_to: 0,
    acked_to: None,
    may_send_to: 0,
    best_window: 0,
    offered_scale: None,
    scale: 0,
};

#[derive(Clone, Debug)]
struct OracleFlow {
    from: Endpoint,
    to: Endpoint,
    /// Which one of all.
    number: u64,
    seen: Tsc,
    answered: bool,
    picked_up: bool,
    reset: bool,
    halves: [Half; 2],
    sides: [Side; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Name {
    protocol: u8,
    ends: [(IpAddr, u16); 2],
    /// Of a query of ICMP: who asks.
    asks: Option<(IpAddr, u16)>,
}

pub struct Oracle {
    flows: HashMap<Name, OracleFlow>,
    settings: Settings,
    clocks: Clocks,
    begun: u64,
}

/// The number nearest to `near` that is `number` modulo 2^32.
fn unwrap(number: u32, near: i64) -> i64 {
    near + i64::from(number.wrapping_sub(near as u32) as i32)
}

impl Oracle {
    pub fn new(settings: Settings, clock: Clock) -> Oracle {
        Oracle { flows: HashMap::new(), clocks: Clocks::new(clock, settings.timeouts), settings, begun: 0 }
    }

    pub fn flows(&self) -> Vec<Essence> {
        self.flows.iter().map(|(name, flow)| essence(name, flow)).collect()
    }

    /// Whether the packet belongs to a flow now.
    pub fn packet(&mut self, now: Tsc, sent: &Sent, bytes: u64) -> bool {
        let (protocol, ports) = match sent.what {
            Kind::Udp => (17, sent.ports),
            Kind::Ping | Kind::Pong => (if sent.ip6 { 58 } else { 1 }, [sent.ports[0]; 2]),
            Kind::Gre => (47, [0; 2]),
            Kind::Tcp(_) => (6, sent.ports),
        };
        let end = |host: usize, port| (sent.host(host), port);
        let (from, to) = (end(sent.from, ports[0]), end(sent.to, ports[1]));
        let mut ends = [from, to];
        ends.sort();
        let asks = match sent.what {
            Kind::Ping => Some(from),
            Kind::Pong => Some(to),
            Kind::Udp | Kind::Gre | Kind::Tcp(_) => None,
        };
        let name = Name { protocol, ends, asks };
        let endpoint = |(address, port)| Endpoint { address, port };
        let (from, to) = (endpoint(from), endpoint(to));
        let segment = match &sent.what {
            Kind::Tcp(segment) => Some(segment),
            _ => None,
        };
        let syn_only = segment.is_some_and(|it| it.flags & (flags::SYN | flags::ACK) == flags::SYN);
        let closed = self.flows.get(&name).is_some_and(|flow| state(&name, flow) == State::Closed);
        if closed && syn_only {
            self.flows.remove(&name);
        }
        if !self.flows.contains_key(&name) {
            let may_begin = match segment {
                None => !matches!(sent.what, Kind::Pong),
                Some(segment) => match segment.flags & 0x17 {
                    flags::SYN => true,
                    0x10 | 0x12 => self.settings.pickup,
                    _ => false,
                },
            };
            if !may_begin {
                return false;
            }
            if self.flows.len() == self.settings.flows {
                let new = self.flows.iter().filter(|(name, flow)| state(name, flow) == State::New);
                match new.min_by_key(|(_, flow)| flow.number).map(|(name, _)| *name) {
                    Some(oldest) => self.flows.remove(&oldest),
                    None => return false,
                };
            }
            self.begun += 1;
            let flow = OracleFlow {
                from,
                to,
                number: self.begun,
                seen: now,
                answered: false,
                picked_up: segment.is_some() && !syn_only,
                reset: false,
                halves: [SILENT; 2],
                sides: [Side::default(); 2],
            };
            self.flows.insert(name, flow);
        }
        let Some(flow) = self.flows.get_mut(&name) else {
            return false;
        };
        let by = usize::from(flow.from != from);
        let fits = segment.map(|segment| flow.segment(by, segment));
        if fits == Some(Some(false)) && self.settings.window_check {
            return false;
        }
        // TCP: only what fits is an answer.
        flow.answered |= by == 1 && matches!(fits, None | Some(Some(true)));
        flow.seen = now;
        flow.sides[by].packets += 1;
        flow.sides[by].bytes += bytes;
        true
    }

    /// Ends what is too old. A flow whose time came within the last tick or two may be there or not.
    pub fn expire(&mut self, now: Tsc, tick: u64, there: &[Essence]) {
        let clocks = &self.clocks;
        self.flows.retain(|name, flow| {
            let state = state(name, flow);
            let over = flow.seen.0 + clocks.idle(Protocol::of(name.protocol), state, flow.reset);
            if now.0 < over {
                true
            } else if now.0 >= over + 2 * tick {
                false
            } else {
                there.contains(&essence(name, flow))
            }
        });
    }
}

fn essence(name: &Name, flow: &OracleFlow) -> Essence {
    (flow.from, flow.to, name.protocol, state(name, flow), flow.answered, flow.sides)
}

fn state(name: &Name, flow: &OracleFlow) -> State {
    if name.protocol != 6 {
        return if flow.answered { State::Established } else { State::New };
    }
    let lives = flow.halves.map(|half| half.life);
    match lives {
        _ if flow.reset => State::Closed,
        [Life::Done, Life::Done] => State::Closed,
        [Life::FinSent | Life::Done, _] | [_, Life::FinSent | Life::Done] => State::FinWait,
        [Life::Open, Life::Open] => State::Established,
        _ => State::New,
    }
}

impl OracleFlow {
    /// A segment from the initiator (0) or the other (1): `Some(true)` if it fits, `Some(false)` if it is out of the window,
    /// `None` if it is left to the receiver.
    fn segment(&mut self, by: usize, segment: &Segment) -> Option<bool> {
        let [mut me, mut peer] = [self.halves[by], self.halves[1 - by]];
        let result = if segment.has(flags::RST) {
            let expected = [Some(me.sent_to).filter(|_| me.life != Life::Silent), peer.acked_to];
            let mut exact = expected.iter().flatten().any(|number| *number as u32 == segment.sequence);
            if me.life == Life::Silent && segment.has(flags::ACK) {
                exact |= peer.sent_to as u32 == segment.acknowledgment;
            }
            self.reset |= exact;
            exact.then_some(true)
        } else if segment.has(flags::SYN) {
            self.syn(&mut me, &mut peer, segment)
        } else {
            self.plain(&mut me, &mut peer, segment)
        };
        // What does not belong to the connection changes nothing.
        if result == Some(true) {
            self.halves[by] = me;
            self.halves[1 - by] = peer;
        }
        result
    }

    fn syn(&self, me: &mut Half, peer: &mut Half, segment: &Segment) -> Option<bool> {
        let ack = segment.has(flags::ACK);
        let next = unwrap(segment.sequence, me.sent_to) + 1;
        let same = next == me.sent_to;
        match me.life {
            _ if segment.has(flags::FIN) => return None,
            Life::Silent if self.picked_up && !ack => return None,
            Life::Silent => {}
            _ if self.picked_up => return None,
            // Again, or another attempt before there was an answer.
            _ if same => {}
            Life::SynSent if !ack && peer.life == Life::Silent => {}
            _ => return None,
        }
        if ack && !self.picked_up {
            let acknowledged = unwrap(segment.acknowledgment, peer.sent_to);
            match peer.life {
                Life::Silent => return Some(false),
                Life::SynSent if !(0..=65_535).contains(&(acknowledged - peer.sent_to)) => {
                    return Some(false);
                }
                Life::SynSent => {
                    peer.life = Life::Open;
                    peer.sent_to = acknowledged;
                }
                _ => {}
            }
        }
        if me.life == Life::Silent || !same {
            me.sent_to = next;
            me.best_window = i64::from(segment.window).max(1);
            me.acked_to = None;
            me.offered_scale = segment.scale;
            me.scale = segment.scale.map_or(0, |scale| scale.min(14));
            if self.picked_up {
                me.scale = 14;
            } else if peer.life != Life::Silent && (segment.scale.is_none() || peer.offered_scale.is_none()) {
                (me.scale, peer.scale) = (0, 0);
            }
            me.life = if self.picked_up { Life::Open } else { Life::SynSent };
        }
        if ack {
            allow(me, peer, segment.acknowledgment, segment.window.into());
        }
        Some(true)
    }

    fn plain(&self, me: &mut Half, peer: &mut Half, segment: &Segment) -> Option<bool> {
        let length = i64::from(segment.payload) + i64::from(segment.has(flags::FIN));
        if me.life == Life::Silent {
            if !self.picked_up {
                return Some(false);
            }
            me.life = Life::Open;
            me.scale = 14;
            me.sent_to = unwrap(segment.sequence, me.sent_to) + length;
        }
        let sequence = unwrap(segment.sequence, me.sent_to);
        let end = sequence + length;
        let finished = matches!(me.life, Life::FinSent | Life::Done);
        if finished && end > me.sent_to {
            return Some(false);
        }
        if peer.acked_to.is_some() {
            let oldest = me.sent_to - peer.best_window.max(65_535) - 1;
            if unwrap(segment.sequence, me.may_send_to) > me.may_send_to || end <= oldest {
                return Some(false);
            }
        }
        if segment.has(flags::ACK) {
            let acknowledged = unwrap(segment.acknowledgment, peer.sent_to);
            let window = i64::from(segment.window) << me.scale;
            let behind = peer.sent_to - acknowledged;
            match peer.life {
                Life::SynSent => {
                    if !(0..=65_535).contains(&-behind) {
                        return Some(false);
                    }
                    peer.life = Life::Open;
                    peer.sent_to = acknowledged;
                }
                Life::Silent => peer.sent_to = acknowledged,
                _ => {
                    if behind < 0 || behind > me.best_window.max(window).max(65_535) {
                        return Some(false);
                    }
                    if peer.life == Life::FinSent && behind == 0 {
                        peer.life = Life::Done;
                    }
                }
            }
            allow(me, peer, segment.acknowledgment, window);
        }
        if me.life == Life::SynSent {
            return Some(true);
        }
        me.sent_to = me.sent_to.max(end);
        if segment.has(flags::FIN) && end == me.sent_to && me.life == Life::Open {
            me.life = Life::FinSent;
        }
        Some(true)
    }
}

/// `me` acknowledges, and allows the peer more.
fn allow(me: &mut Half, peer: &mut Half, acknowledgment: u32, window: i64) {
    match me.acked_to {
        None => {
            let acknowledged = unwrap(acknowledgment, peer.sent_to);
            me.acked_to = Some(acknowledged);
            peer.may_send_to = acknowledged + window;
        }
        Some(before) => {
            me.acked_to = Some(before.max(unwrap(acknowledgment, before)));
            let edge = i64::from(acknowledgment) + window;
            peer.may_send_to = peer.may_send_to.max(unwrap(edge as u32, peer.may_send_to));
        }
    }
    me.best_window = me.best_window.max(window);
}
