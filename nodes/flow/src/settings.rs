// SPDX-License-Identifier: Apache-2.0
//! What an operator can set, and what workers share of it.

use std::sync::atomic::{AtomicU8, AtomicU32};
use std::time::Duration;

use weft_engine::clock::Clock;
use weft_flow_map::{Flow, State};
use weft_table::Seed;

/// How long a flow may idle in each state. Defaults are those of Linux (net/netfilter/nf_conntrack_proto_*.c), which meet
/// what RFC 5382 REQ-5 (established TCP: at least 2 hours 4 minutes) asks for; but for handshakes, of which a flood leaves
/// half: theirs is the longest time between two SYNs of one connection (RFC 6298: 1, 2, 4, 8, 16 s) and a little more. RFC 4787 REQ-5 wants 2 minutes for UDP,
/// which an answered flow has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP, until the handshake is complete.
    pub tcp_new: Duration,
    /// TCP, after it.
    pub tcp_established: Duration,
    /// TCP, after the first FIN.
    pub tcp_fin_wait: Duration,
    /// TCP, after both FINs are acknowledged.
    pub tcp_time_wait: Duration,
    /// TCP, after a reset.
    pub tcp_reset: Duration,
    /// UDP, until there is an answer.
    pub udp_new: Duration,
    /// UDP, after it.
    pub udp_established: Duration,
    /// ICMP queries.
    pub icmp: Duration,
    /// Other protocols.
    pub other: Duration,
    /// Notes about fragments (the reassembly time; Linux: net.ipv4.ipfrag_time).
    pub fragment: Duration,
    /// The time that an agent has for its verdict.
    pub agent: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Timeouts {
            tcp_new: seconds(30),
            tcp_established: seconds(432_000),
            tcp_fin_wait: seconds(120),
            tcp_time_wait: seconds(120),
            tcp_reset: seconds(10),
            udp_new: seconds(30),
            udp_established: seconds(120),
            icmp: seconds(30),
            other: seconds(600),
            fragment: seconds(30),
            agent: seconds(2),
        }
    }
}

impl Timeouts {
    /// The one for a flow in this state.
    fn of(&self, protocol: Protocol, state: State, reset: bool) -> Duration {
        match (protocol, state) {
            (Protocol::Tcp, State::New) => self.tcp_new,
            (Protocol::Tcp, State::Established) => self.tcp_established,
            (Protocol::Tcp, State::FinWait) => self.tcp_fin_wait,
            (Protocol::Tcp, State::Closed) if reset => self.tcp_reset,
            (Protocol::Tcp, State::Closed) => self.tcp_time_wait,
            (Protocol::Udp, State::New) => self.udp_new,
            (Protocol::Udp, _) => self.udp_established,
            (Protocol::Icmp, _) => self.icmp,
            (Protocol::Other, _) => self.other,
        }
    }
}

/// What happens to packets that cannot be tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// They are dropped, each with its reason.
    Drop,
    /// They go on as if nobody looked, counted as untracked.
    Forward,
}

/// New flows that may begin, on all workers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// In a second, on average.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// All of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Flows of all workers together.
    pub flows: usize,
    /// Of these, how many there may be; `None`: as many as have room.
    pub most: Option<u32>,
    /// Flows that packets of one interface may have begun; `None` is no limit.
    pub interface_flows: Option<u32>,
    /// New flows per interface; `None` is no limit.
    pub rate: Option<Rate>,
    /// Packets that would begin a flow when there is no room or no token.
    pub excess: Policy,
    /// Packets that belong to no flow and may not begin one.
    pub invalid: Policy,
    /// Whether a TCP connection may be picked up in the middle.
    pub pickup: bool,
    /// Whether segments out of the window are treated as invalid; else they only change nothing.
    pub window_check: bool,
    /// How long flows last.
    pub timeouts: Timeouts,
    /// Packets that may wait for verdicts, in percent of all buffers.
    pub parked_percent: u8,
    /// The verdict on flows of which the agent says nothing in time.
    pub timeout_verdict: Policy,
    /// Most extension headers of an IPv6 packet that are skipped to find the transport header; a longer chain is invalid.
    pub extension_headers: usize,
    /// Room for news on the way to the main thread, per worker.
    pub news: usize,
    /// Room for packets on the way from one worker to another.
    pub handoff: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            flows: 1 << 18,
            most: None,
            interface_flows: None,
            rate: Some(Rate { per_second: 100_000, burst: 100_000 }),
            excess: Policy::Forward,
            invalid: Policy::Forward,
            pickup: true,
            window_check: false,
            timeouts: Timeouts::default(),
            parked_percent: 10,
            timeout_verdict: Policy::Drop,
            extension_headers: 8,
            news: 4096,
            handoff: 1024,
        }
    }
}

impl Settings {
    /// How long a flow like this may idle.
    pub fn patience(&self, flow: &Flow) -> Duration {
        self.timeouts.of(Protocol::of(flow.key.protocol()), flow.state, false)
    }

    /// Flows that all workers together may have.
    pub fn limit(&self) -> usize {
        self.most.map_or(self.flows, |most| self.flows.min(most as usize))
    }

    /// Flows that one of this many workers may have.
    pub(crate) fn share(&self, workers: usize) -> usize {
        self.limit().div_ceil(workers)
    }
}

/// A timeout by what decides it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Other,
}

impl Protocol {
    #[inline(always)]
    pub fn of(protocol: u8) -> Protocol {
        match protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            1 | 58 => Protocol::Icmp,
            _ => Protocol::Other,
        }
    }
}

/// [`Timeouts`] in clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    clock: Clock,
    timeouts: Timeouts,
}

impl Clocks {
    pub fn new(clock: Clock, timeouts: Timeouts) -> Clocks {
        Clocks { clock, timeouts }
    }

    /// Other times.
    pub fn with(&self, timeouts: Timeouts) -> Clocks {
        Clocks { timeouts, ..*self }
    }

    /// Clocks per second.
    pub fn per_second(&self) -> f64 {
        self.clock.per_second()
    }

    /// How long a flow may idle. Not per packet: when a flow begins, changes its state, or has idled for long.
    pub fn idle(&self, protocol: Protocol, state: State, reset: bool) -> u64 {
        self.clock.clocks(self.timeouts.of(protocol, state, reset))
    }

    /// The time that an agent has.
    pub fn agent(&self) -> u64 {
        self.clock.clocks(self.timeouts.agent)
    }
}

/// How packets of an interface are tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Flows begin by themselves.
    Track = 0,
    /// An agent decides about each flow.
    Agent = 1,
    /// Flows begin when a rule admits them.
    Admit = 2,
}

/// What all workers know of interfaces, by index. The main thread writes modes, workers count flows.
pub(crate) struct Shared {
    pub modes: Box<[AtomicU8]>,
    /// Flows that its packets have begun: the one word that several workers add to, once per flow.
    pub flows: Box<[AtomicU32]>,
    /// Whether somebody listens to events.
    pub events: AtomicU8,
    /// Of the digests of IPv6 addresses.
    pub digests: Seed,
}

impl Shared {
    pub fn new(interfaces: usize) -> Shared {
        Shared {
            modes: (0..interfaces).map(|_| AtomicU8::new(Mode::Track as u8)).collect(),
            flows: (0..interfaces).map(|_| AtomicU32::new(0)).collect(),
            events: AtomicU8::new(0),
            digests: Seed::random(),
        }
    }
}
