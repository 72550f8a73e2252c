// SPDX-License-Identifier: Apache-2.0
//! TCP as an observer between the two ends can follow it (RFC 9293, with the checks of RFC 5961).
//!
//! Per side: whether its SYN and its FIN were seen and acknowledged, how far it has sent, how far it has acknowledged, and
//! how far the other side allows it to send. The state of the connection follows from these facts alone, so simultaneous
//! open and close need no rules of their own. Windows are followed as van Rooij describes ("Real Stateful TCP Packet
//! Filtering in IP Filter", 2001). A segment that cannot belong to the connection changes nothing here; whether it is
//! dropped too is a setting.
//!
//! A reset counts only with exactly the sequence number that its receiver waits for (RFC 5961 section 3.2). The receiver
//! answers any other one in its window with a challenge ACK, and if the connection is really gone at the other end,
//! that draws the exact one. A SYN within a connection is likewise left to the receiver (section 4.2).
//!
//! Pure functions and plain data.

use weft_flow_map::{Direction, State};

/// What a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Control bits, those of [`flags`].
    pub flags: u8,
    /// First sequence number.
    pub sequence: u32,
    /// Next one expected, if ACK is set.
    pub acknowledgment: u32,
    /// As in the header.
    pub window: u16,
    /// Bytes of payload.
    pub payload: u32,
    /// Window scale option, of a SYN.
    pub scale: Option<u8>,
}

/// Control bits.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
    /// What the state of a connection may follow from.
    pub const CONTROL: u8 = FIN | SYN | RST | ACK;
}

const SYN_ACK: u8 = flags::SYN | flags::ACK;

impl Segment {
    /// Whether a control bit is set.
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after the segment; SYN and FIN have one each.
    #[inline(always)]
    const fn end(&self) -> u32 {
        let control = (self.flags >> 1 & 1) + (self.flags & 1);
        self.sequence.wrapping_add(self.payload).wrapping_add(control as u32)
    }
}

/// Facts about a side: [`Side::facts`].
pub(crate) mod fact {
    /// Its SYN was seen.
    pub const SYN: u8 = 1;
    /// And acknowledged.
    pub const SYN_ACKED: u8 = 2;
    /// Its FIN was seen.
    pub const FIN: u8 = 4;
    /// And acknowledged.
    pub const FIN_ACKED: u8 = 8;
}

/// [`Side::scale`] of a side all of whose positions are known.
pub(crate) const STEADY: u8 = known::SENT | known::ACKED;

/// What is known of a side's positions: [`Side::scale`], whose lower four bits are the shift of its window.
mod known {
    /// Its SYN offered window scaling.
    pub const SCALE: u8 = 1 << 4;
    /// It has sent something: `end` counts.
    pub const SENT: u8 = 1 << 5;
    /// It has acknowledged something: `acknowledged` counts, and the other side's `limit`.
    pub const ACKED: u8 = 1 << 6;
}

/// Largest shift (RFC 7323 section 2.3). Of a connection that was picked up the real one is unknown: assume this.
const MAX_SCALE: u8 = 14;
/// How far an acknowledgment may lie behind what was sent, at least: the largest window without scaling.
pub(crate) const UNSCALED_WINDOW: u32 = 65_535;

/// One side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Side {
    /// Behind the highest sequence number that it has sent.
    pub end: u32,
    /// Highest acknowledgment that it has sent.
    pub acknowledged: u32,
    /// Right edge of what the other side allows it to send.
    pub limit: u32,
    /// Largest window that it has offered.
    pub window: u32,
    pub(crate) facts: u8,
    pub(crate) scale: u8,
}

/// `a` comes after `b` in sequence space (RFC 9293 section 3.4).
#[inline(always)]
pub(crate) const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Side {
    #[inline(always)]
    const fn is(&self, fact: u8) -> bool {
        self.facts & fact != 0
    }

    #[inline(always)]
    const fn knows(&self, known: u8) -> bool {
        self.scale & known != 0
    }

    #[inline(always)]
    const fn shift(&self) -> u8 {
        self.scale & 0xf
    }
}

/// What a segment means for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// It belongs to the connection.
    Fits,
    /// It does not, as far as can be told: sequence or acknowledgment number out of the window.
    OutOfWindow,
    /// A reset with another sequence number than the exact one, or a SYN within the connection: the receiver decides.
    LeftToReceiver,
}

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Connection {
    /// By [`Direction`].
    pub sides: [Side; 2],
    /// Began with another segment than a SYN.
    pub picked_up: bool,
    /// Ended by a reset.
    pub reset: bool,
}

impl Connection {
    /// The state that follows from what was seen.
    #[inline(always)]
    pub fn state(&self) -> State {
        let [low, high] = &self.sides;
        let (all, any) = (low.facts & high.facts, low.facts | high.facts);
        let answered = self.picked_up && low.knows(known::SENT) && high.knows(known::SENT);
        if self.reset || all & fact::FIN_ACKED != 0 {
            State::Closed
        } else if any & fact::FIN != 0 {
            State::FinWait
        } else if all & (fact::SYN | fact::SYN_ACKED) == fact::SYN | fact::SYN_ACKED || answered {
            State::Established
        } else {
            State::New
        }
    }

    /// The first segment of a connection: what it begins with decides how the rest is looked at. `false`: a connection cannot
    /// begin with it.
    pub fn begin(&mut self, segment: &Segment, pickup: bool) -> bool {
        self.picked_up = segment.flags & flags::CONTROL != flags::SYN;
        let plain = matches!(segment.flags & flags::CONTROL, flags::ACK | SYN_ACK);
        !self.picked_up || pickup && plain
    }

    /// A segment from one side.
    #[inline(always)]
    pub fn step(&mut self, from: Direction, segment: &Segment) -> Judgement {
        let [low, high] = &mut self.sides;
        let (sender, receiver) = if from == Direction::FromLow { (low, high) } else { (high, low) };
        if segment.flags & (flags::SYN | flags::RST) != 0 {
            std::hint::cold_path();
            return match segment.has(flags::RST) {
                true => {
                    let exact = is_exact_reset(sender, receiver, segment);
                    self.reset |= exact;
                    if exact { Judgement::Fits } else { Judgement::LeftToReceiver }
                }
                false => synchronise(sender, receiver, segment, self.picked_up),
            };
        }
        if !sender.knows(known::SENT) {
            if !self.picked_up {
                // The other side's SYN is not answered with this (RFC 9293 section 3.10.7.3): an old connection's challenge.
                return Judgement::OutOfWindow;
            }
            sender.end = segment.end();
            sender.scale |= known::SENT | MAX_SCALE;
        }
        exchange(sender, receiver, segment)
    }
}

/// Whether the receiver will take this reset for real.
fn is_exact_reset(sender: &Side, receiver: &Side, segment: &Segment) -> bool {
    if !sender.knows(known::SENT) {
        // It refuses the receiver's SYN (RFC 9293 section 3.10.7.3), or this side was not seen yet.
        let acknowledges = segment.has(flags::ACK) && segment.acknowledgment == receiver.end;
        return acknowledges || receiver.knows(known::ACKED) && segment.sequence == receiver.acknowledged;
    }
    // The receiver waits for what it has acknowledged, or for more if the segments in between have passed here already.
    segment.sequence == sender.end
        || receiver.knows(known::ACKED) && segment.sequence == receiver.acknowledged
}

/// A SYN, with or without ACK.
fn synchronise(sender: &mut Side, receiver: &mut Side, segment: &Segment, picked_up: bool) -> Judgement {
    if segment.has(flags::FIN) {
        return Judgement::LeftToReceiver;
    }
    let answers = segment.has(flags::ACK);
    let end = segment.sequence.wrapping_add(1);
    let silent = !sender.knows(known::SENT);
    // The same SYN again, or now with the acknowledgment of the other side's.
    let again = sender.is(fact::SYN) && end == sender.end;
    // With another number, before anybody has answered: the sender has begun anew.
    let anew = sender.is(fact::SYN) && !answers && !receiver.knows(known::SENT);
    if picked_up {
        if !silent || !answers {
            return Judgement::LeftToReceiver;
        }
    } else {
        if !silent && !again && !anew {
            return Judgement::LeftToReceiver;
        }
        if answers {
            // Data in a SYN (RFC 7413) may be acknowledged or not.
            let beyond = segment.acknowledgment.wrapping_sub(receiver.end);
            if !receiver.is(fact::SYN) || !receiver.is(fact::SYN_ACKED) && beyond > UNSCALED_WINDOW {
                return Judgement::OutOfWindow;
            }
            if !receiver.is(fact::SYN_ACKED) {
                receiver.facts |= fact::SYN_ACKED;
                receiver.end = segment.acknowledgment;
            }
        }
        sender.facts |= fact::SYN;
    }
    if !again {
        sender.end = end;
        sender.scale = known::SENT | segment.scale.map_or(0, |shift| known::SCALE | shift.min(MAX_SCALE));
        sender.window = u32::from(segment.window).max(1);
        if picked_up {
            // Whether the other side's SYN offered scaling too was not seen.
            sender.scale = known::SENT | MAX_SCALE;
        } else if receiver.knows(known::SENT) && !(sender.knows(known::SCALE) && receiver.knows(known::SCALE))
        {
            // Both or none (RFC 7323 section 2.2).
            sender.scale &= !0xf;
            receiver.scale &= !0xf;
        }
    }
    if answers {
        acknowledge(sender, receiver, segment.acknowledgment, segment.window.into());
    }
    Judgement::Fits
}

/// A segment of a connection in which both sides may be heard.
#[inline(always)]
fn exchange(sender: &mut Side, receiver: &mut Side, segment: &Segment) -> Judgement {
    let end = segment.end();
    if sender.is(fact::FIN) && after(end, sender.end) {
        // Nothing comes after a FIN.
        return Judgement::OutOfWindow;
    }
    if receiver.knows(known::ACKED) {
        // Not beyond what the receiver allows, and not further back than it could still want.
        let oldest = sender.end.wrapping_sub(receiver.window.max(UNSCALED_WINDOW)).wrapping_sub(1);
        if after(segment.sequence, sender.limit) || !after(end, oldest) {
            return Judgement::OutOfWindow;
        }
    }
    if segment.has(flags::ACK) {
        let window = u32::from(segment.window) << (sender.shift() & MAX_SHIFT);
        if receiver.facts & (fact::SYN | fact::SYN_ACKED) == fact::SYN {
            // The SYN, and what the other side may have sent since (RFC 7413), which is not followed before.
            if segment.acknowledgment.wrapping_sub(receiver.end) > UNSCALED_WINDOW {
                return Judgement::OutOfWindow;
            }
            receiver.facts |= fact::SYN_ACKED;
            receiver.end = segment.acknowledgment;
        } else if receiver.knows(known::SENT) {
            let behind = receiver.end.wrapping_sub(segment.acknowledgment);
            // Not of what was never sent, and not older than a window.
            if behind > sender.window.max(window).max(UNSCALED_WINDOW) {
                return Judgement::OutOfWindow;
            }
            if receiver.is(fact::FIN) && behind == 0 {
                receiver.facts |= fact::FIN_ACKED;
            }
        } else {
            // Of a connection that was picked up: what this side has acknowledged, the other one has sent.
            receiver.end = segment.acknowledgment;
        }
        acknowledge(sender, receiver, segment.acknowledgment, window);
    }
    if sender.facts & (fact::SYN | fact::SYN_ACKED) == fact::SYN {
        return Judgement::Fits;
    }
    if after(end, sender.end) {
        sender.end = end;
    }
    if segment.has(flags::FIN) && end == sender.end {
        sender.facts |= fact::FIN;
    }
    Judgement::Fits
}

/// Keeps the shift of a window below 16 for the compiler's sake.
const MAX_SHIFT: u8 = 15;

/// The sender says what it has received and how much more it can take.
#[inline(always)]
fn acknowledge(sender: &mut Side, receiver: &mut Side, acknowledgment: u32, window: u32) {
    let edge = acknowledgment.wrapping_add(window);
    if !sender.knows(known::ACKED) {
        sender.scale |= known::ACKED;
        sender.acknowledged = acknowledgment;
        receiver.limit = edge;
    } else {
        if after(acknowledgment, sender.acknowledged) {
            sender.acknowledged = acknowledgment;
        }
        if after(edge, receiver.limit) {
            receiver.limit = edge;
        }
    }
    sender.window = sender.window.max(window);
}

#[cfg(test)]
mod tests;
