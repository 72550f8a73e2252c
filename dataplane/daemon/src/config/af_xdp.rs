// SPDX-License-Identifier: Apache-2.0
//! `interfaces { af_xdp NAME { ... } }`: a network interface of the host whose queues Weft serves.

use std::{collections::BTreeSet, num::NonZeroU32};

use ipnet::IpNet;

use super::{
    diagnostic::Diagnostic,
    interfaces::Common,
    values::{HostInterface, number_list},
    words::{Key, Words, key, set, set_some},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfXdp {
    pub common: Common,
    pub host: HostInterface,
    pub queues: Queues,
    /// Queues that the NIC is to use.
    pub channels: Option<NonZeroU32>,
    pub zero_copy: ZeroCopy,
    pub mode: Mode,
    /// Slots of the receive and fill rings; without it what suits the mode in which the socket runs.
    pub rx_queue_size: Option<RingSize>,
    /// Slots of the transmit and completion rings.
    pub tx_queue_size: Option<RingSize>,
    /// Frames that one system call may send in copy mode (`XDP_MAX_TX_SKB_BUDGET`).
    pub tx_budget: Option<NonZeroU32>,
    /// `SO_BUSY_POLL`: how long one system call polls the NIC's queue, in microseconds.
    pub busy_poll_usec: Option<NonZeroU32>,
    /// `SO_BUSY_POLL_BUDGET`: packets per such poll.
    pub busy_poll_budget: Option<NonZeroU32>,
    /// Workers that may serve the queues; without it all of the NIC's NUMA node.
    pub workers: Option<BTreeSet<WorkerNumber>>,
    /// Network namespace of the interface: a name below /run/netns, or a path.
    pub netns: Option<String>,
    pub filter: Filter,
    /// Name of a TAP through which the host takes part in this port's traffic.
    pub host_tap: Option<HostInterface>,
}

/// A worker, counted from 0 as in VPP's `worker N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerNumber(pub u32);

/// Receive queues to serve, from queue 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {
    All,
    Count(NonZeroU32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZeroCopy {
    /// If the driver can, otherwise copying.
    Auto,
    /// Or no start.
    On,
    Off,
}

/// Where the XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver if it can, otherwise in the stack.
    Auto,
    /// In the driver, or no start.
    Native,
    /// In the stack, after the kernel has made an skb.
    Generic,
}

/// A power of two, which rings must be (xsk_init_queue, net/xdp/xsk.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSize(pub u32);

/// What Weft takes from the host's stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    All,
    /// What one of the matches names. The rest stays with the host; it and Weft have ARP, or with `take_arp` Weft alone.
    Only {
        matches: Vec<Match>,
        take_arp: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// IP packets to this prefix.
    Destination(IpNet),
    /// IP packets to this port.
    Port { transport: Transport, port: u16 },
    /// Frames of this Ethernet type.
    EtherType(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

/// More than any NIC has.
const MOST_CHANNELS: u32 = 4096;
pub(crate) const LARGEST_RING: u32 = 32768;
const SMALLEST_RING: u32 = 64;
const LAST_WORKER: u32 = 1022;

pub(crate) const MODES: &[(&str, Mode)] =
    &[("auto", Mode::Auto), ("native", Mode::Native), ("generic", Mode::Generic)];

pub(super) const KEYS: &[Key<AfXdp>] = &[
    key("name", |port, words| port.common.read_name(words)),
    key("ip address", |port, words| port.common.read_address(words)),
    key("ip table", |port, words| port.common.read_table(words)),
    key("ip6 table", |port, words| port.common.read_ip6_table(words)),
    key("mtu", |port, words| port.common.read_mtu(words)),
    key("state", |port, words| port.common.read_state(words)),
    key("l2 bridge", |port, words| port.common.read_bridge(words)),
    key("l2 xconnect", |port, words| port.common.read_xconnect(words)),
    key("num-rx-queues", |port, words| set(&mut port.queues, words.value("number of queues", queues))),
    key("channels", |port, words| {
        set_some(&mut port.channels, at_most(words, "number of queues", MOST_CHANNELS))
    }),
    key("zero-copy", |port, words| {
        let choices = [("auto", ZeroCopy::Auto), ("on", ZeroCopy::On), ("off", ZeroCopy::Off)];
        set(&mut port.zero_copy, words.one_of(&choices))
    }),
    key("mode", |port, words| set(&mut port.mode, words.one_of(MODES))),
    key("rx-queue-size", |port, words| {
        set_some(&mut port.rx_queue_size, words.value("ring size", ring_size))
    }),
    key("tx-queue-size", |port, words| {
        set_some(&mut port.tx_queue_size, words.value("ring size", ring_size))
    }),
    key("tx-budget", |port, words| {
        set_some(&mut port.tx_budget, at_most(words, "number of frames", LARGEST_RING))
    }),
    key("busy-poll-usec", |port, words| {
        set_some(&mut port.busy_poll_usec, at_most(words, "microseconds", 1_000_000))
    }),
    key("busy-poll-budget", |port, words| {
        // NAPI takes no more than a u16 (sk_setsockopt, net/core/sock.c).
        set_some(&mut port.busy_poll_budget, at_most(words, "number of packets", u16::MAX.into()))
    }),
    key("workers", |port, words| set_some(&mut port.workers, words.value("list of workers", workers))),
    key("netns", |port, words| {
        set_some(&mut port.netns, words.word("network namespace").map(|word| word.text.clone()))
    }),
    key("host-tap", |port, words| set_some(&mut port.host_tap, words.value("interface name", str::parse))),
    key("filter", |port, words| {
        let mut draft = FilterDraft::default();
        if words.group("filter")?.read(FILTER_KEYS, &mut draft) && draft.matches.is_empty() {
            let span = words.last_span();
            return Err(
                Diagnostic::error(span, "this filter takes nothing").help("leave it out to take every frame")
            );
        }
        port.filter = Filter::Only { matches: draft.matches, take_arp: draft.take_arp };
        Ok(())
    }),
];

#[derive(Default)]
pub(super) struct FilterDraft {
    matches: Vec<Match>,
    take_arp: bool,
}

pub(super) const FILTER_KEYS: &[Key<FilterDraft>] = &[
    key("destination", |filter, words| {
        let read = |text: &str| match text.parse::<IpNet>() {
            Ok(prefix) if prefix.addr() == prefix.network() => Ok(prefix),
            Ok(prefix) => Err(format!("bits are set behind the prefix: write {}", prefix.trunc())),
            Err(_) => Err("write 192.0.2.0/24 or 2001:db8::/32".into()),
        };
        filter.matches.push(Match::Destination(words.value("IP prefix", read)?));
        Ok(())
    }),
    key("tcp", |filter, words| filter.read_port(Transport::Tcp, words)),
    key("udp", |filter, words| filter.read_port(Transport::Udp, words)),
    key("sctp", |filter, words| filter.read_port(Transport::Sctp, words)),
    key("ethertype", |filter, words| {
        filter.matches.push(Match::EtherType(words.value("Ethernet type", ether_type)?));
        Ok(())
    }),
    key("arp", |filter, words| set(&mut filter.take_arp, words.one_of(&[("take", true), ("pass", false)]))),
];

impl FilterDraft {
    fn read_port(&mut self, transport: Transport, words: &mut Words<'_>) -> Result<(), Diagnostic> {
        let port = words.number("port", 1..=u16::MAX)?;
        self.matches.push(Match::Port { transport, port });
        Ok(())
    }
}

pub(crate) fn queues(text: &str) -> Result<Queues, &'static str> {
    match (text, text.parse()) {
        ("all", _) => Ok(Queues::All),
        (_, Ok(count)) => Ok(Queues::Count(count)),
        _ => Err("write all, or a number from 1"),
    }
}

pub(crate) fn workers(text: &str) -> Result<BTreeSet<WorkerNumber>, String> {
    Ok(number_list(text, LAST_WORKER)?.into_iter().map(WorkerNumber).collect())
}

pub(crate) fn ring_size(text: &str) -> Result<RingSize, String> {
    match text.parse::<u32>() {
        Ok(size @ SMALLEST_RING..=LARGEST_RING) if size.is_power_of_two() => Ok(RingSize(size)),
        _ => Err(format!("a ring has a power of two of slots, from {SMALLEST_RING} to {LARGEST_RING}")),
    }
}

/// Values from 1536 are types, lower ones are lengths (IEEE 802.3, 3.2.6).
fn ether_type(text: &str) -> Result<u16, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("write it in hexadecimal, such as 0x0800")?;
    match u16::from_str_radix(digits, 16) {
        Ok(ether_type @ 0x0600..) => Ok(ether_type),
        _ => Err("types go from 0x0600 to 0xffff"),
    }
}

fn at_most(words: &mut Words<'_>, what: &str, most: u32) -> Result<NonZeroU32, Diagnostic> {
    let most = NonZeroU32::new(most).expect("bounds are written as numbers other than zero");
    words.number(what, NonZeroU32::MIN..=most)
}
