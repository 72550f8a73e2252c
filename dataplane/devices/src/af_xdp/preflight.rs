// SPDX-License-Identifier: Apache-2.0
//! What can be known to fail before anything is opened, told with interface, limit, value found and
//! remedy.
//!
//! The kernel answers most of these cases with `EINVAL` or with frames that silently don't arrive.
//! Errors stop the port; [`Advice`] is for the log and `show hardware`. Facts are read first and
//! judged by a pure function. For the main thread.

use std::fs;
use std::io;

use super::umem::{CHUNK_SIZE, KERNEL_HEADROOM, MOST_PIECES, Umem};
use crate::netdev::{
    Driver, Link, LinkName, Netdev, NetdevError, NumaNode, Offloads, QueueCounts, XdpAttachment,
};

/// What there is to know about an interface before a port is opened on it.
#[derive(Clone, Debug)]
pub struct Facts {
    pub name: LinkName,
    pub link: Link,
    pub driver: Driver,
    /// Number of the PCI device.
    pub device: Option<u16>,
    pub queues: QueueCounts,
    pub offloads: Offloads,
    pub numa_node: Option<NumaNode>,
    /// Name and offloads of a veth's other end, or of the interface that a stacked one lies on, if it is in the same namespace.
    pub peer: Option<(LinkName, Offloads)>,
    /// Kind and name of the bridge, bond or team that it is a port of.
    pub master: Option<(String, LinkName)>,
}

impl Facts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// If the interface is gone or the kernel refuses to tell.
    pub fn read(netdev: &Netdev) -> Result<Self, NetdevError> {
        let link = netdev.link()?;
        let peer = match link.peer {
            Some(peer) if !peer.in_other_namespace => netdev.neighbour(peer.index),
            _ => None,
        };
        let peer = match peer {
            Some(peer) => Some((peer.name().clone(), peer.offloads()?)),
            None => None,
        };
        let master = link.master.and_then(|master| netdev.neighbour(master));
        let master = match master {
            Some(master) => Some((master.link()?.kind, master.name())),
            None => None,
        };
        Ok(Self {
            name: netdev.name(),
            link,
            driver: netdev.driver()?,
            device: netdev.pci_device()?,
            queues: netdev.queues()?,
            offloads: netdev.offloads()?,
            numa_node: netdev.numa_node()?,
            peer,
            master,
        })
    }

    /// Pairs of receive and transmit queues, one per socket.
    pub fn queue_pairs(&self) -> u32 {
        self.queues.rx.min(self.queues.tx)
    }
}

/// A capability that a port takes (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    NetRaw,
    NetAdmin,
    Bpf,
}

impl Capability {
    const ALL: [Self; 3] = [Self::NetRaw, Self::NetAdmin, Self::Bpf];

    /// Bit in `CapEff` (linux/capability.h).
    fn bit(self) -> u32 {
        match self {
            Self::NetRaw => 13,
            Self::NetAdmin => 12,
            Self::Bpf => 39,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::NetRaw => "CAP_NET_RAW",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::Bpf => "CAP_BPF",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::NetRaw => "open AF_XDP sockets",
            Self::NetAdmin => "attach XDP programs",
            Self::Bpf => "load XDP programs",
        }
    }
}

/// Why a port can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    #[error(
        "{name} is missing, which it takes to {purpose}; start as root, or grant it \
         (systemd: AmbientCapabilities={name})",
        name = .0.name(), purpose = .0.purpose()
    )]
    MissingCapability(Capability),
    #[error("read the capabilities (/proc/thread-self/status): {0}")]
    Capabilities(io::Error),
    #[error(transparent)]
    Netdev(#[from] NetdevError),
    #[error("{0}: not an Ethernet interface, expected one with a 6-byte MAC address")]
    NotEthernet(LinkName),
    #[error(
        "{interface}: {asked} queues asked, but it has {rx} receive and {tx} transmit queues in use; \
         ask for at most {limit}, or enable more (`ethtool -L {interface} combined {asked}`, for a veth \
         `rx {asked} tx {asked}`)",
        rx = there.rx, tx = there.tx, limit = there.rx.min(there.tx)
    )]
    TooManyQueues { interface: LinkName, asked: u32, there: QueueCounts },
    #[error("{0}: no queues asked, expected at least 1")]
    NoQueues(LinkName),
    #[error(
        "{interface}: MTU {mtu}, but the largest whose frames fit is {limit}: a frame has {MOST_PIECES} chunks at most, and of \
         each {CHUNK_SIZE} bytes {KERNEL_HEADROOM} belong to the kernel and {headroom} to the headroom; \
         `ip link set dev {interface} mtu {limit}`"
    )]
    MtuTooLarge { interface: LinkName, mtu: u32, limit: u32, headroom: u32 },
    #[error(
        "{interface}: XDP program {program} is attached already, expected none; end the process that \
         holds it (`bpftool link`), or take it off (`ip link set dev {interface} xdp off`)",
        program = found.program
    )]
    ProgramAttached { interface: LinkName, found: XdpAttachment },
}

/// What will work, but perhaps not as expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Advice {
    #[error(
        "{interface} is a veth: the host at its other end merges TCP segments into frames that do not fit; \
         `ethtool -K {peer} tso off gso off` there"
    )]
    PeerSegments { interface: LinkName, peer: String },
    #[error(
        "{interface}: large receive offload is on, with which drivers refuse XDP; \
         `ethtool -K {interface} lro off`"
    )]
    LargeReceive { interface: LinkName },
    #[error(
        "{interface}: {below}, which it lies on, merges TCP segments into frames that do not fit; \
         `ethtool -K {below} gro off`"
    )]
    MergedBelow { interface: LinkName, below: LinkName },
    #[error(
        "{interface} is a port of the {kind} {master}, which gets no frame any more; `ip link set dev \
         {interface} nomaster`, or name what Weft is to take (filter)"
    )]
    HasMaster { interface: LinkName, kind: String, master: LinkName },
    #[error(
        "{interface}: it spreads frames over {there} receive queues and only {asked} are served, the \
         others stay with the kernel; `ethtool -L {interface} combined {asked}`, for a veth `rx {asked}`, \
         or ask for {there} queues"
    )]
    UnservedQueues { interface: LinkName, there: u32, asked: u32 },
}

/// Checks that this thread may open ports.
///
/// # Errors
/// If a capability is missing.
pub fn check_capabilities() -> Result<(), PreflightError> {
    let status = fs::read_to_string("/proc/thread-self/status").map_err(PreflightError::Capabilities)?;
    missing_capability(&status).map_or(Ok(()), |missing| Err(PreflightError::MissingCapability(missing)))
}

fn missing_capability(status: &str) -> Option<Capability> {
    /// Stands for CAP_BPF and, in the initial user namespace, for all that the kernels before 5.8
    /// had no name for.
    const CAP_SYS_ADMIN: u32 = 21;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| effective >> bit & 1 != 0;
    let held = |wanted: &Capability| has(wanted.bit()) || (*wanted == Capability::Bpf && has(CAP_SYS_ADMIN));
    Capability::ALL.into_iter().find(|wanted| !held(wanted))
}

/// Judges `facts` for a port of `queues` sockets on `umem`, which is to have at least that MTU.
///
/// # Errors
/// The first reason why such a port can't work.
pub fn check(facts: &Facts, umem: &Umem, queues: u32, mtu: u32) -> Result<(), PreflightError> {
    let interface = facts.name.clone();
    if facts.link.mac.is_none() {
        return Err(PreflightError::NotEthernet(interface));
    }
    if let Some(found) = facts.link.xdp {
        return Err(PreflightError::ProgramAttached { interface, found });
    }
    if queues == 0 {
        return Err(PreflightError::NoQueues(interface));
    }
    if queues > facts.queue_pairs() {
        return Err(PreflightError::TooManyQueues { interface, asked: queues, there: facts.queues });
    }
    let (limit, mtu) = (umem.max_mtu_in_pieces(), mtu.max(facts.link.mtu));
    if mtu > limit {
        return Err(PreflightError::MtuTooLarge { interface, mtu, limit, headroom: umem.headroom() });
    }
    Ok(())
}

/// What the operator of such a port should know. With `merged` the other end of a veth may merge TCP segments: with a
/// program in the driver and frames of one chunk the kernel does not let it (`veth_xdp_set`).
pub fn advise(facts: &Facts, queues: u32, merged: bool) -> Vec<Advice> {
    let mut advice = Vec::new();
    let interface = || facts.name.clone();
    if facts.link.kind == "veth" {
        let merges = facts.peer.as_ref().is_none_or(|(_, offloads)| offloads.tso);
        if merged && merges {
            // One in another namespace has settings that can't be read from here.
            let peer = facts.peer.as_ref().map_or_else(|| "PEER".to_owned(), |(peer, _)| peer.to_string());
            advice.push(Advice::PeerSegments { interface: interface(), peer });
        }
    } else if let Some((below, offloads)) = &facts.peer
        && offloads.gro
    {
        advice.push(Advice::MergedBelow { interface: interface(), below: below.clone() });
    }
    if let Some((kind, master)) = &facts.master {
        let (interface, kind, master) = (interface(), kind.clone(), master.clone());
        advice.push(Advice::HasMaster { interface, kind, master });
    }
    if facts.offloads.lro {
        advice.push(Advice::LargeReceive { interface: interface() });
    }
    if queues < facts.queues.rx {
        advice.push(Advice::UnservedQueues { interface: interface(), there: facts.queues.rx, asked: queues });
    }
    advice
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::netdev::{LinkIndex, MacAddr, Peer, XdpMode};
    use crate::testing::PacketMemory;

    fn facts() -> Facts {
        Facts {
            name: "eth7".parse().expect("a valid name"),
            link: Link {
                index: LinkIndex(7),
                name: "eth7".to_owned(),
                mac: Some(MacAddr([2, 0, 0, 0, 0, 7])),
                mtu: 1500,
                up: true,
                carrier: true,
                kind: String::new(),
                rx_queues: 4,
                tx_queues: 4,
                xdp: None,
                peer: None,
                master: None,
                rx_packets: 0,
            },
            driver: Driver { name: "ice".to_owned(), bus: String::new() },
            device: None,
            queues: QueueCounts { rx: 4, tx: 3 },
            offloads: Offloads { tx_checksum: true, tso: true, gro: true, lro: false, rx_vlan: false },
            numa_node: None,
            peer: None,
            master: None,
        }
    }

    fn refusal(facts: &Facts, headroom: u32, queues: u32) -> String {
        check(facts, &PacketMemory::new(2).umem(headroom), queues, 0).expect_err("a refusal").to_string()
    }

    fn advice(facts: &Facts, queues: u32) -> Vec<Advice> {
        check(facts, &PacketMemory::new(2).umem(0), queues, 0).expect("no refusal");
        advise(facts, queues, true)
    }

    fn assert_says(text: &str, words: &[&str]) {
        for word in words {
            assert!(text.contains(word), "\"{word}\" is missing in: {text}");
        }
    }

    #[test]
    fn queues_are_limited_by_the_fewer_kind() {
        assert_says(
            &refusal(&facts(), 0, 4),
            &["eth7", "4 queues asked", "4 receive and 3 transmit", "at most 3", "ethtool -L eth7"],
        );
        assert_says(&refusal(&facts(), 0, 0), &["eth7", "at least 1"]);
        let unserved = Advice::UnservedQueues { interface: facts().name, there: 4, asked: 3 };
        assert_eq!(advice(&facts(), 3), [unserved]);
    }

    #[test]
    fn the_mtu_must_fit_the_chunks_of_a_frame_with_two_tags() {
        let mut facts = facts();
        // 2048 - 256 - 14 - 8 = 1770 in one chunk, 17 * (2048 - 256) - 14 - 8 in as many as a frame has; and less by the headroom.
        for (headroom, single, limit) in [(0, 1770, 30442), (128, 1642, 28266)] {
            let memory = PacketMemory::new(2);
            let umem = memory.umem(headroom);
            assert_eq!((umem.max_mtu(), umem.max_mtu_in_pieces()), (single, limit));
            facts.link.mtu = limit;
            assert!(check(&facts, &umem, 3, 0).is_ok());
            let wanted = check(&facts, &umem, 3, limit + 1).expect_err("an MTU that is to be").to_string();
            facts.link.mtu = limit + 1;
            let there = refusal(&facts, headroom, 3);
            for text in [wanted, there] {
                assert_says(
                    &text,
                    &[
                        "eth7",
                        &format!("MTU {}", limit + 1),
                        &format!("is {limit}"),
                        &format!("mtu {limit}`"),
                    ],
                );
            }
        }
    }

    #[test]
    fn a_program_that_is_there_is_named() {
        let mut facts = facts();
        facts.link.xdp = Some(XdpAttachment { mode: XdpMode::Native, program: 4711 });
        assert_says(&refusal(&facts, 0, 1), &["eth7", "4711", "ip link set dev eth7 xdp off"]);
    }

    #[test]
    fn an_interface_without_a_mac_is_refused() {
        let mut facts = facts();
        facts.link.mac = None;
        assert_says(&refusal(&facts, 0, 1), &["eth7", "6-byte MAC"]);
    }

    #[test]
    fn a_veth_is_told_about_its_peer() {
        let mut facts = facts();
        facts.link.kind = "veth".to_owned();
        facts.queues.rx = 3;
        facts.link.peer = Some(Peer { index: LinkIndex(8), in_other_namespace: true });
        let unseen = Advice::PeerSegments { interface: facts.name.clone(), peer: "PEER".to_owned() };
        assert_eq!(advice(&facts, 3), [unseen]);
        assert_eq!(advise(&facts, 3, false), [], "the kernel does not let it");

        let peer: LinkName = "eth8".parse().expect("a valid name");
        let seen = Advice::PeerSegments { interface: facts.name.clone(), peer: "eth8".to_owned() };
        facts.peer = Some((peer.clone(), facts.offloads));
        assert_says(&seen.to_string(), &["eth7", "ethtool -K eth8 tso off gso off"]);
        assert_eq!(advice(&facts, 3), [seen]);
        facts.peer = Some((peer, Offloads { tso: false, ..facts.offloads }));
        assert_eq!(advice(&facts, 3), []);
    }

    #[test]
    fn harmful_offloads_are_told() {
        let mut facts = facts();
        facts.offloads.lro = true;
        facts.queues.rx = 3;
        let interface = || facts.name.clone();
        assert_eq!(advice(&facts, 3), [Advice::LargeReceive { interface: interface() }]);
    }

    #[test]
    fn what_lies_below_or_above_is_told() {
        let mut facts = facts();
        (facts.link.kind, facts.queues.rx) = ("vlan".to_owned(), 3);
        let below: LinkName = "eth8".parse().expect("a valid name");
        facts.peer = Some((below.clone(), facts.offloads));
        let merged = Advice::MergedBelow { interface: facts.name.clone(), below: below.clone() };
        assert_says(&merged.to_string(), &["eth7", "ethtool -K eth8 gro off"]);
        assert_eq!(advice(&facts, 3), [merged]);
        facts.peer = Some((below.clone(), Offloads { gro: false, ..facts.offloads }));
        facts.master = Some(("bridge".to_owned(), below.clone()));
        let port =
            Advice::HasMaster { interface: facts.name.clone(), kind: "bridge".to_owned(), master: below };
        assert_says(&port.to_string(), &["eth7 is a port of the bridge eth8", "nomaster"]);
        assert_eq!(advice(&facts, 3), [port]);
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = |bits: u64| format!("Name:\tweft\nCapPrm:\tffffffffffffffff\nCapEff:\t{bits:016x}\n");
        let (admin, raw, bpf, sys_admin) = (1 << 12, 1 << 13, 1 << 39, 1 << 21);
        assert_eq!(missing_capability(&status(admin | raw | bpf)), None);
        assert_eq!(missing_capability(&status(admin | raw | sys_admin)), None);
        assert_eq!(missing_capability(&status(admin | raw)), Some(Capability::Bpf));
        assert_eq!(missing_capability(&status(raw | bpf)), Some(Capability::NetAdmin));
        assert_eq!(missing_capability(&status(admin | bpf)), Some(Capability::NetRaw));
        assert_eq!(missing_capability(""), Some(Capability::NetRaw));
        let text = PreflightError::MissingCapability(Capability::Bpf).to_string();
        assert_says(&text, &["CAP_BPF", "load XDP programs", "AmbientCapabilities=CAP_BPF"]);
    }
}
