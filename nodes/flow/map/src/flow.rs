// SPDX-License-Identifier: Apache-2.0
//! A flow as people and programs see it: a copy of its slot, unpacked.

use std::fmt;
use std::time::Duration;

use crate::key::{Direction, Endpoint, Key, Pair6};
use crate::layout::state;

/// Where a flow is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum State {
    /// Begun; no answer yet, or the handshake of TCP not complete.
    New = 1,
    /// Both sides speak.
    Established = 2,
    /// TCP: one side has no more to say.
    FinWait = 3,
    /// TCP: both sides have closed, or one has reset.
    Closed = 4,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [State::New, State::Established, State::FinWait, State::Closed];

    /// From the lowest byte of the state word; `None` is a free slot.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<State> {
        match word & state::STATE {
            1 => Some(State::New),
            2 => Some(State::Established),
            3 => Some(State::FinWait),
            4 => Some(State::Closed),
            _ => None,
        }
    }

    /// The word that people use.
    pub const fn name(self) -> &'static str {
        match self {
            State::New => "new",
            State::Established => "established",
            State::FinWait => "fin-wait",
            State::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happens to the packets of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Verdict {
    /// They go on.
    #[default]
    Forward,
    /// They are dropped.
    Drop,
    /// They are looked up in this forwarding table.
    Table(u16),
    /// They go to this next hop, whatever the routes say.
    NextHop(u32),
    /// They leave by this interface as the frames that they are.
    Interface(u32),
}

impl Verdict {
    /// Next hops and interfaces from here on have no room in the state word.
    pub const TARGETS: u32 = 1 << 21;

    /// From the state word.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Verdict {
        let low = (word >> state::TARGET) as u16;
        let target = low as u32 | ((word >> state::TARGET_HIGH & 0x1f) as u32) << 16;
        match word >> state::VERDICT & 7 {
            0 => Verdict::Forward,
            2 => Verdict::Table(low),
            3 => Verdict::NextHop(target),
            4 => Verdict::Interface(target),
            _ => Verdict::Drop,
        }
    }

    /// The bits of the state word.
    pub const fn to_word(self) -> u64 {
        let (kind, target) = match self {
            Verdict::Forward => (0, 0),
            Verdict::Drop => (1, 0),
            Verdict::Table(table) => (2, table as u64),
            Verdict::NextHop(next_hop) => (3, next_hop as u64),
            Verdict::Interface(interface) => (4, interface as u64),
        };
        kind << state::VERDICT
            | (target >> 16 & 0x1f) << state::TARGET_HIGH
            | (target & 0xffff) << state::TARGET
    }

    /// The bits that [`Verdict::to_word`] may set.
    pub const MASK: u64 = 7 << state::VERDICT | 0x1f << state::TARGET_HIGH | 0xffff << state::TARGET;
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Forward => f.write_str("forward"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Table(table) => write!(f, "redirect table {table}"),
            Verdict::NextHop(next_hop) => write!(f, "redirect next-hop {next_hop}"),
            Verdict::Interface(interface) => write!(f, "redirect interface {interface}"),
        }
    }
}

/// Names a flow, now and after it has ended: `worker/slot.generation`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId {
    /// Thread that owns it.
    pub thread: u16,
    /// Its slot.
    pub slot: u32,
    /// Which of the flows that had the slot.
    pub generation: u32,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.thread, self.slot, self.generation)
    }
}

impl std::str::FromStr for FlowId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<FlowId, Self::Err> {
        const FORM: &str = "a flow is named THREAD/SLOT.GENERATION, as 1/42.7";
        let (thread, rest) = text.split_once('/').ok_or(FORM)?;
        let (slot, generation) = rest.split_once('.').ok_or(FORM)?;
        Ok(FlowId {
            thread: thread.parse().map_err(|_| FORM)?,
            slot: slot.parse().map_err(|_| FORM)?,
            generation: generation.parse().map_err(|_| FORM)?,
        })
    }
}

/// What one endpoint has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Side {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// A copy of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Its name.
    pub id: FlowId,
    /// Its key.
    pub key: Key,
    /// Its addresses, if it is of IPv6.
    pub pair: Pair6,
    /// Who sent the first packet.
    pub initiator: Direction,
    /// State.
    pub state: State,
    /// Whether the other side has ever sent something.
    pub answered: bool,
    /// Whether it waits for a verdict.
    pub waiting: bool,
    /// Whether a rule has admitted it, at either interface.
    pub admitted: bool,
    /// What happens to its packets.
    pub verdict: Verdict,
    /// The mark.
    pub mark: u32,
    /// Interface of the first packet, unless it has gone.
    pub interface: Option<u32>,
    /// What the initiator sent, and what the other side sent.
    pub sides: [Side; 2],
    /// Time since the first packet.
    pub age: Duration,
    /// Time since the last packet.
    pub idle: Duration,
}

impl Flow {
    /// Who sent the first packet.
    pub fn from(&self) -> Endpoint {
        self.key.endpoint(&self.pair, self.initiator)
    }

    /// To whom.
    pub fn to(&self) -> Endpoint {
        self.key.endpoint(&self.pair, self.initiator.reverse())
    }

    /// Packets and bytes of both sides.
    pub fn total(&self) -> Side {
        Side {
            packets: self.sides[0].packets.wrapping_add(self.sides[1].packets),
            bytes: self.sides[0].bytes.wrapping_add(self.sides[1].bytes),
        }
    }
}
