// SPDX-License-Identifier: Apache-2.0
//! What an operator says: rules over the headers of packets, and what becomes of those that match.
//!
//! Plain values without tables behind them, so that a command line, a binary API and a plugin build the same thing. A
//! [`Match`] is checked when its rule is added ([`Match::check`]): one that no packet can ever meet is an error, not a rule
//! that silently never hits.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};
use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::{Icmp4Type, IpProtocol, TcpFlags};

/// A rule's name for life: counters and policers belong to it, also across a replacement of its set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u32);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rules with a lower number are asked first; among equals, the one that was added first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Priority(pub u32);

/// Ports from the first to the last one, both included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port, and packets that have none.
    pub const ANY: PortRange = PortRange { first: 0, last: u16::MAX };

    /// From `first` to `last`; `None` if that is no port at all.
    pub const fn new(first: u16, last: u16) -> Option<PortRange> {
        if first <= last { Some(PortRange { first, last }) } else { None }
    }

    /// One port.
    pub const fn only(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }

    /// The lowest one.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest one.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether the range says nothing.
    pub const fn is_any(self) -> bool {
        self.first == 0 && self.last == u16::MAX
    }

    /// Whether it is one port.
    pub const fn is_one(self) -> bool {
        self.first == self.last
    }
}

/// A differentiated services code point (RFC 2474): 6 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Dscp(u8);

impl Dscp {
    /// A code point from 0 to 63.
    pub const fn new(value: u8) -> Option<Dscp> {
        if value < 64 { Some(Dscp(value)) } else { None }
    }

    /// From 0 to 63.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Which of TCP's control bits are looked at, and how they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlagsMatch {
    /// Bits that are looked at.
    pub mask: TcpFlags,
    /// Their values; bits outside the mask are 0.
    pub value: TcpFlags,
}

/// ICMP types and codes, each from the first to the last one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpMatch {
    types: (u8, u8),
    codes: (u8, u8),
}

impl IcmpMatch {
    /// One type, and one code or all of them.
    pub const fn only(icmp_type: Icmp4Type, code: Option<u8>) -> IcmpMatch {
        let codes = match code {
            Some(code) => (code, code),
            None => (0, u8::MAX),
        };
        IcmpMatch { types: (icmp_type.0, icmp_type.0), codes }
    }

    /// Ranges, both ends included; `None` if one of them is empty.
    pub fn ranges(types: RangeInclusive<u8>, codes: RangeInclusive<u8>) -> Option<IcmpMatch> {
        let ends = |range: RangeInclusive<u8>| (!range.is_empty()).then(|| range.into_inner());
        Some(IcmpMatch { types: ends(types)?, codes: ends(codes)? })
    }

    /// From the first to the last type.
    pub const fn types(self) -> RangeInclusive<u8> {
        self.types.0..=self.types.1
    }

    /// From the first to the last code.
    pub const fn codes(self) -> RangeInclusive<u8> {
        self.codes.0..=self.codes.1
    }
}

/// What part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// A part, whichever.
    Any,
    /// The first part, with the ports.
    First,
    /// A later part, which has no ports, flags or ICMP type.
    Later,
}

/// Which network protocol a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family {
    /// Whatever the other conditions let through: IPv4 and IPv6, and frames of neither if no condition is about IP. IPv4
    /// alone if an IPv4 prefix, an ICMP type or a next hop to redirect to is named.
    #[default]
    Any,
    /// IPv4 alone.
    Ip4,
    /// IPv6 alone.
    Ip6 {
        /// Source addresses.
        source: Ipv6Net,
        /// Destination addresses.
        destination: Ipv6Net,
    },
}

impl Family {
    /// IPv6, whatever the addresses.
    pub const IP6: Family = Family::Ip6 { source: ANY6, destination: ANY6 };
}

/// All IPv6 addresses.
const ANY6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);

/// Which packets a rule is about: those that meet all conditions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// Network protocol, with the addresses of IPv6.
    pub family: Family,
    /// Source addresses of IPv4.
    pub source: Ipv4Net,
    /// Destination addresses of IPv4.
    pub destination: Ipv4Net,
    /// Protocol.
    pub protocol: Option<IpProtocol>,
    /// Source ports.
    pub source_ports: PortRange,
    /// Destination ports.
    pub destination_ports: PortRange,
    /// TCP's control bits.
    pub tcp_flags: Option<FlagsMatch>,
    /// ICMP type and code; of ICMPv6 in a rule about IPv6.
    pub icmp: Option<IcmpMatch>,
    /// Code point.
    pub dscp: Option<Dscp>,
    /// Flow label (RFC 6437), 20 bits; of a rule about IPv6.
    pub flow_label: Option<u32>,
    /// Where the packet came in.
    pub interface: Option<InterfaceIndex>,
    /// What part of a datagram it is.
    pub fragment: Option<Fragment>,
    /// Not IPv6's neighbour discovery, without which a link is dead: router and neighbour solicitations and
    /// advertisements and redirects that come from the link itself (RFC 4861: hop limit 255).
    pub not_discovery: bool,
}

impl Default for Match {
    fn default() -> Self {
        Match {
            family: Family::Any,
            source: Ipv4Net::default(),
            destination: Ipv4Net::default(),
            protocol: None,
            source_ports: PortRange::ANY,
            destination_ports: PortRange::ANY,
            tcp_flags: None,
            icmp: None,
            dscp: None,
            flow_label: None,
            interface: None,
            fragment: None,
            not_discovery: false,
        }
    }
}

/// Why no packet can ever meet a [`Match`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum MatchError {
    /// Ports of ICMP and the like.
    #[error("{0} has no ports; expected tcp, udp, sctp, dccp or udplite")]
    NoPorts(IpProtocol),
    /// TCP flags of UDP and the like.
    #[error("{0} has no TCP flags; expected tcp")]
    NoFlags(IpProtocol),
    /// A flag must be set that is not looked at.
    #[error("TCP flags 0x{value:02x} are outside the mask 0x{mask:02x}")]
    FlagsOutsideMask {
        /// Wanted.
        value: u8,
        /// Looked at.
        mask: u8,
    },
    /// ICMP type of TCP and the like.
    #[error("{found} has no type of {expected}")]
    NoIcmp {
        /// The rule's.
        found: IpProtocol,
        /// The one with such a type: ICMP, or ICMPv6 in a rule about IPv6.
        expected: IpProtocol,
    },
    /// Addresses of both families.
    #[error("no packet has addresses of both IPv4 and IPv6")]
    Families,
    /// Both at once.
    #[error("a packet has ports and TCP flags, or an ICMP type, but not both")]
    PortsAndIcmp,
    /// Flow label of IPv4, or beyond 20 bits.
    #[error("no packet has this flow label: expected a rule about IPv6, and a number below 2^20")]
    FlowLabel,
    /// Ports of a later fragment.
    #[error("later fragments have no ports, TCP flags or ICMP type")]
    LaterFragment,
    /// The compiled form has 16 bits for it.
    #[error("interface {0} is beyond the 65534th, the last one that a rule can name")]
    Interface(InterfaceIndex),
}

impl Match {
    fn has_ip4_prefix(&self) -> bool {
        self.source.prefix_len() > 0 || self.destination.prefix_len() > 0
    }

    /// The protocol of [`Match::icmp`].
    pub(crate) const fn icmp_protocol(&self) -> IpProtocol {
        match self.family {
            Family::Ip6 { .. } => IpProtocol::ICMPV6,
            Family::Any | Family::Ip4 => IpProtocol::ICMP,
        }
    }

    /// Whether IPv4 packets can meet it.
    pub(crate) const fn is_of_ip4(&self) -> bool {
        !matches!(self.family, Family::Ip6 { .. })
    }

    /// The IPv6 addresses of packets that can meet it; `None`: no IPv6 packet can.
    pub(crate) fn ip6(&self) -> Option<(Ipv6Net, Ipv6Net)> {
        match self.family {
            Family::Ip6 { source, destination } => Some((source, destination)),
            Family::Any if !self.has_ip4_prefix() && self.icmp.is_none() => Some((ANY6, ANY6)),
            Family::Any | Family::Ip4 => None,
        }
    }

    /// Whether it asks for nothing that only IP packets have.
    pub(crate) fn is_of_any_frame(&self) -> bool {
        let Match { interface, not_discovery, .. } = *self;
        *self == Match { interface, not_discovery, ..Match::default() }
    }

    /// The highest interface that a rule can name.
    pub(crate) const LAST_INTERFACE: u32 = u16::MAX as u32 - 1;

    /// Whether some packet can meet it.
    pub fn check(&self) -> Result<(), MatchError> {
        let ports = !self.source_ports.is_any() || !self.destination_ports.is_any();
        if self.has_ip4_prefix() && matches!(self.family, Family::Ip6 { .. }) {
            return Err(MatchError::Families);
        }
        if self.flow_label.is_some_and(|label| self.is_of_ip4() || label >= 1 << 20) {
            return Err(MatchError::FlowLabel);
        }
        if let Some(protocol) = self.protocol {
            if ports && !has_ports(protocol) {
                return Err(MatchError::NoPorts(protocol));
            }
            if self.tcp_flags.is_some() && protocol != IpProtocol::TCP {
                return Err(MatchError::NoFlags(protocol));
            }
            if self.icmp.is_some() && protocol != self.icmp_protocol() {
                return Err(MatchError::NoIcmp { found: protocol, expected: self.icmp_protocol() });
            }
        }
        if let Some(FlagsMatch { mask, value }) = self.tcp_flags
            && value.0 & !mask.0 != 0
        {
            return Err(MatchError::FlagsOutsideMask { value: value.0, mask: mask.0 });
        }
        if self.icmp.is_some() && (ports || self.tcp_flags.is_some()) {
            return Err(MatchError::PortsAndIcmp);
        }
        let transport = ports || self.tcp_flags.is_some() || self.icmp.is_some();
        if self.fragment == Some(Fragment::Later) && transport {
            return Err(MatchError::LaterFragment);
        }
        match self.interface {
            Some(interface) if interface.0 > Self::LAST_INTERFACE => Err(MatchError::Interface(interface)),
            _ => Ok(()),
        }
    }
}

/// Whether packets of a protocol begin with two ports: TCP, UDP, DCCP (RFC 4340), SCTP (RFC 9260), UDP-Lite (RFC 3828).
#[inline(always)]
pub(crate) const fn has_ports(protocol: IpProtocol) -> bool {
    matches!(protocol.0, 6 | 17 | 33 | 132 | 136)
}

/// How much may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Police {
    /// On average, per second.
    pub rate: NonZeroU64,
    /// At once.
    pub burst: NonZeroU64,
    /// Of what.
    pub unit: PoliceUnit,
}

/// What a policer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoliceUnit {
    /// Packets.
    Packets,
    /// Bytes of the IP packet.
    Bytes,
}

/// Where a redirected packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Redirect {
    /// Out of this interface, as the frame that it is: link header and TTL stay as they are.
    Interface(InterfaceIndex),
    /// To this neighbour, whatever the routes say; one hop less to live. Whoever builds the rule holds the next hop.
    NextHop(AdjacencyId),
}

/// What becomes of a packet in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on as if there were no classifier. Also what happens to packets that match no rule.
    Pass,
    /// It ends here.
    Drop,
    /// It goes to the host's own stack.
    Punt,
    /// It goes another way than the routes say.
    Redirect(Redirect),
    /// The next matching rule decides.
    Continue,
}

/// What a rule does to packets that match, in this order: police, mark, set the code point, and the verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// Packets beyond the rate are dropped, and nothing else is done to them.
    pub police: Option<Police>,
    /// Written into the packet's metadata.
    pub mark: Option<u32>,
    /// Written into the IP header.
    pub dscp: Option<Dscp>,
    /// Whether the flow of a packet that passes is admitted: its later packets, and the answers, pass rule sets that
    /// exempt such flows ([`Exempt`]). Only where flows are tracked.
    pub admit: bool,
    /// What then becomes of the packet.
    pub verdict: Verdict,
}

/// Packets that do not meet the rules of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exempt {
    /// Those of flows that a rule of this interface has admitted, in whichever direction.
    pub admitted: bool,
    /// Those that the router makes itself.
    pub own: bool,
}

impl Action {
    /// Nothing but a verdict.
    pub const fn only(verdict: Verdict) -> Action {
        Action { police: None, mark: None, dscp: None, admit: false, verdict }
    }

    /// Counts the packet, and lets the next matching rule decide.
    pub const COUNT: Action = Action::only(Verdict::Continue);
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Unique in its set.
    pub id: RuleId,
    /// When it is asked.
    pub priority: Priority,
    /// Which packets.
    pub matches: Match,
    /// What becomes of them.
    pub action: Action,
}
