// SPDX-License-Identifier: Apache-2.0
//! A port: one interface, its XDP program, and a socket per queue.
//!
//! How well AF_XDP works depends on the driver, and no query tells beforehand. So a port climbs
//! down a ladder of [`Rung`]s, keeps why each was refused, and reports the one it stands on as the
//! kernel reads it back.
//!
//! The main thread opens, starts, stops and closes a port; the queues' halves go to workers and
//! must come back to [`AfXdpPort::close`], which accounts for every chunk. Dropping a port without
//! that leaves the interface clean but the chunks unaccounted for.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::neighbors::Neighbors;
use super::preflight::{self, Advice, Facts, PreflightError};
use super::program::{Attachment, Filter, Program, ProgramError};
use super::socket::{
    self, BusyPoll, QueueId, RingSizes, SocketError, SocketOptions, SocketReport, XskRx, XskSocket,
    XskStatistics, XskTx,
};
use super::stall::Stall;
use super::sys::RELEASE_TIME;
use super::umem::{CHUNK_SIZE, ChunkIndex, CopyMode, KERNEL_HEADROOM, Umem};
use crate::netdev::{Channels, LinkName, Listening, Listens, Netdev, NetdevError, XdpMode};
use crate::netns::{NetNs, NetNsError};
use crate::undo::{Change, Journal, Note};

/// An Ethernet header with two VLAN tags.
const LINK_HEADER: u32 = 22;

/// Drivers that forget the program, though the kernel still shows it, when their interface is opened again (`ip link set down`
/// and `up`, another size of rings): seen of vmxnet3 in Linux 6.12 to 7.2.
const FORGETFUL: [&str; 1] = ["vmxnet3"];
/// Drivers that give the program only to the queues that are used when it is attached (`veth_enable_xdp`; Linux 6.18): the frames
/// of those that come later pass it by.
const PARTIAL: [&str; 1] = ["veth"];
/// No program is attached again sooner than that: attaching may itself open the interface again.
const ATTACHED_FOR: Duration = Duration::from_secs(2);

/// PCI numbers of 82599 controllers (drivers/net/ethernet/intel/ixgbe/ixgbe_type.h, `IXGBE_DEV_ID_82599_*`).
const IXGBE_82599: [u16; 16] = [
    0x10f7, 0x10f8, 0x10f9, 0x10fb, 0x10fc, 0x1507, 0x1514, 0x1517, 0x151c, 0x1529, 0x152a, 0x154a, 0x154d,
    0x154f, 0x1557, 0x1558,
];

/// Where the limit of an MTU comes from, as the end of a sentence.
const IN_ONE_BUFFER: &str = ", the largest that fits a buffer with two VLAN tags; for more, set it in startup.conf (mtu) or give it to \
                             the Linux interface before the port is opened";
const IN_PIECES: &str = ", the largest that fits the buffers of a frame with two VLAN tags";
const IN_KIB: &str = ", the largest that the NIC puts in a buffer as a whole, since it counts them in KiB; for more, open the port \
                      with zero-copy off";

/// The largest IP packet of a port whose frames have several buffers, and of another.
pub fn largest_mtu(umem: &Umem, pieces: bool) -> (u32, &'static str) {
    if pieces { (umem.max_mtu_in_pieces(), IN_PIECES) } else { (umem.max_mtu(), IN_ONE_BUFFER) }
}

/// How long [`AfXdpPort::close`] waits for frames that are being sent.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// A way to attach to an interface, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// The program in the driver, the NIC writes into our chunks.
    NativeZeroCopy,
    /// The program in the driver, the kernel copies.
    NativeCopy,
    /// The program in the stack, after an skb was made; works everywhere.
    GenericCopy,
}

impl Rung {
    /// The whole ladder.
    pub const ALL: [Self; 3] = [Self::NativeZeroCopy, Self::NativeCopy, Self::GenericCopy];

    fn attach_mode(self) -> XdpMode {
        match self {
            Self::NativeZeroCopy | Self::NativeCopy => XdpMode::Native,
            Self::GenericCopy => XdpMode::Generic,
        }
    }

    fn copy_mode(self) -> CopyMode {
        match self {
            Self::NativeZeroCopy => CopyMode::ZeroCopy,
            Self::NativeCopy | Self::GenericCopy => CopyMode::Copy,
        }
    }

    fn default_rings(self) -> RingSizes {
        match self {
            Self::NativeZeroCopy => RingSizes::ZERO_COPY,
            Self::NativeCopy | Self::GenericCopy => RingSizes::COPY,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NativeZeroCopy => "native zero-copy",
            Self::NativeCopy => "native copy",
            Self::GenericCopy => "generic copy",
        })
    }
}

/// A rung that didn't hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rung: Rung,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rung, self.reason)
    }
}

/// What port to open.
#[derive(Clone, Debug)]
pub struct AfXdpConfig {
    pub interface: LinkName,
    /// Network namespace of the interface, such as `/run/netns/NAME`; `None` for that of the
    /// process.
    pub namespace: Option<PathBuf>,
    /// Number of queues, from queue 0 on; `None` for all that the interface has.
    pub queues: Option<u32>,
    /// Queues that the NIC is to use while the port is open; `None`: as it does.
    pub channels: Option<u32>,
    /// Rungs to try, in this order.
    pub rungs: Vec<Rung>,
    /// `None` for sizes that suit the rung.
    pub rings: Option<RingSizes>,
    /// Frames per transmit call in copy mode, from 32 to the size of the transmit ring; `None` for
    /// the kernel's 32.
    pub tx_budget: Option<u32>,
    pub busy_poll: Option<BusyPoll>,
    /// How long to wait for each queue that another socket has. The kernel releases one within a second; who can come
    /// again need not wait.
    pub patience: Duration,
    pub filter: Filter,
    /// The MTU that it is to have at least: an interface with a smaller one is given it. If that does not fit a chunk, frames may
    /// have several.
    pub mtu: u32,
    /// Where it notes what it changes and the kernel does not undo.
    pub journal: Journal,
}

impl AfXdpConfig {
    /// All queues of `interface`, the whole ladder, every frame.
    pub fn new(interface: LinkName) -> Self {
        Self {
            interface,
            namespace: None,
            queues: None,
            channels: None,
            rungs: Rung::ALL.to_vec(),
            rings: None,
            tx_budget: None,
            busy_poll: None,
            patience: RELEASE_TIME,
            filter: Filter::All,
            mtu: 0,
            journal: Journal::default(),
        }
    }
}

/// Why a port can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    #[error(transparent)]
    NetNs(#[from] NetNsError),
    #[error(transparent)]
    Netdev(#[from] NetdevError),
    #[error("{interface}: {source}")]
    Program { interface: LinkName, source: ProgramError },
    #[error("{interface}: {ring} ring of {size} slots, expected a power of two")]
    RingSize { interface: LinkName, ring: &'static str, size: u32 },
    #[error("{interface}: transmit budget {budget}, expected 32 to {limit}, the size of the transmit ring")]
    TxBudget { interface: LinkName, budget: u32, limit: u32 },
    #[error(
        "{interface}: queue {queue} is in use by another AF_XDP socket{}; end the process that holds it (`ss --xdp -p` \
         lists them)",
        waited(*.patience), queue = queue.0
    )]
    QueueInUse { interface: LinkName, queue: QueueId, patience: Duration },
    #[error("{interface}: queue {queue} has come and cannot be served, its frames stay with the kernel: {source}", queue = queue.0)]
    MoreQueues { interface: LinkName, queue: QueueId, source: SocketError },
    #[error("{interface}: attach the XDP program again: {source}")]
    Attach { interface: LinkName, source: io::Error },
    #[error("{interface}: hear ARP and neighbour discovery by a packet socket: {source}")]
    Neighbors { interface: LinkName, source: io::Error },
    #[error("{interface}: no AF_XDP mode works: {}", list(refusals))]
    NoRung { interface: LinkName, refusals: Vec<Refusal> },
}

fn waited(patience: Duration) -> String {
    match patience {
        Duration::ZERO => String::new(),
        patience => format!(" and was not released within {} s", patience.as_secs()),
    }
}

fn list(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "none is allowed by the configuration".to_owned();
    }
    refusals.iter().map(Refusal::to_string).collect::<Vec<_>>().join("; ")
}

/// One queue's socket, for a worker.
pub struct Queue {
    pub id: QueueId,
    pub rx: XskRx,
    pub tx: XskTx,
}

/// An open port.
pub struct AfXdpPort {
    netdev: Netdev,
    facts: Facts,
    rung: Rung,
    refusals: Vec<Refusal>,
    options: SocketOptions,
    sockets: Vec<(Arc<XskSocket>, SocketReport)>,
    /// Whether all queues are served, or a number of them that was asked for.
    serves_all: bool,
    /// Queues that the program has room for: those that the driver has allocated.
    most: u32,
    program: Program,
    /// `None` once stopped.
    attachment: Option<Attachment>,
    attached: Instant,
    was_down: bool,
    namespace: NetNs,
    namespace_path: Option<PathBuf>,
    journal: Journal,
    /// What the NIC lets through beside its own address.
    _listens: Listens,
    /// On an interface that is shared with the host.
    neighbors: Option<Arc<Neighbors>>,
    /// While there are sub-interfaces.
    tags: Option<Tagged>,
    /// Held while frames of other stations are to arrive.
    promiscuous: Option<Listens>,
    channels: Option<SetChannels>,
    /// Where its MTU was raised for the port.
    mtu_before: Option<u32>,
    opened: Instant,
}

/// A larger MTU than the interface had; as before again when this is dropped, unless it is kept. Drivers that have a program take
/// no MTU that it cannot have, so it is set before the ladder, which then finds a rung that does.
struct RaisedMtu {
    netdev: Netdev,
    before: Option<u32>,
}

impl RaisedMtu {
    fn raise(namespace: &NetNs, interface: &LinkName, wanted: u32) -> Result<Self, PortError> {
        let netdev = Netdev::open(namespace, interface)?;
        let before = Some(netdev.link()?.mtu).filter(|there| *there < wanted);
        if before.is_some() {
            netdev.set_mtu(wanted)?;
        }
        Ok(Self { netdev, before })
    }

    /// Gives the MTU that was before, if it is another one now.
    fn keep(mut self) -> Option<u32> {
        self.before.take()
    }
}

impl Drop for RaisedMtu {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.before.map(|mtu| self.netdev.set_mtu(mtu)) {
            tracing::warn!("{error}");
        }
    }
}

/// Another number of queues than the NIC had; as before again when this is dropped, which is after the sockets are closed.
struct SetChannels {
    netdev: Netdev,
    before: Channels,
    _note: Note,
}

impl SetChannels {
    fn set(namespace: &NetNs, config: &AfXdpConfig) -> Result<Option<Self>, PortError> {
        let Some(count) = config.channels else { return Ok(None) };
        let netdev = Netdev::open(namespace, &config.interface)?;
        let Some((before, wanted)) = netdev.other_queues(count)? else { return Ok(None) };
        let change = Change::Channels(before);
        let note = config.journal.note(config.namespace.as_deref(), &netdev, change);
        netdev.set_channels(wanted)?;
        Ok(Some(Self { netdev, before, _note: note }))
    }
}

impl Drop for SetChannels {
    fn drop(&mut self) {
        // Another one may have the name of an interface that has gone.
        if self.netdev.link().is_ok()
            && let Err(error) = self.netdev.set_channels_within(self.before, RELEASE_TIME)
        {
            tracing::warn!("{error}");
        }
    }
}

/// What is done so that frames arrive with their VLAN tags, and undone with this.
struct Tagged {
    _listens: Listens,
    /// The driver took tags out of frames before.
    stripped: Option<Note>,
}

/// What became of the chunks of a closed port.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// Chunks that are the caller's again.
    pub chunks: Vec<ChunkIndex>,
    /// Frames that the kernel took for transmission and didn't complete in time, or refused as
    /// invalid. Their chunks must not be used again.
    pub lost: u32,
}

impl AfXdpPort {
    /// Opens a port, sets its interface up if it is down, and gives the halves of its sockets. No
    /// frame arrives before [`start`](Self::start), so that the fill rings can be filled first.
    ///
    /// # Errors
    /// What [`PortError`] lists; the interface is then as it was, except that it may be up.
    pub fn open(config: &AfXdpConfig, umem: &Umem) -> Result<(Self, Vec<Queue>), PortError> {
        preflight::check_capabilities()?;
        let namespace = match &config.namespace {
            Some(path) => NetNs::open(path)?,
            None => NetNs::current(),
        };
        let netdev = Netdev::open(&namespace, &config.interface)?;
        let channels = SetChannels::set(&namespace, config)?;
        let mut facts = Facts::read(&netdev)?;
        let queues = config.queues.unwrap_or_else(|| facts.queue_pairs());
        preflight::check(&facts, umem, queues, config.mtu)?;
        netdev.set_up(true)?;
        let raised = RaisedMtu::raise(&namespace, &config.interface, config.mtu)?;
        facts.link = netdev.link()?;
        let pieces = facts.link.mtu > umem.max_mtu();
        // Nobody but Weft knows which groups its hosts and routing daemons have joined.
        let listens = netdev.listen(&namespace, Listening::Multicast)?;
        let neighbors = match config.filter {
            Filter::All => None,
            Filter::Pinhole { .. } => {
                let heard = namespace.run(|| Neighbors::hear(facts.link.index))?;
                let interface = || config.interface.clone();
                let heard = heard.map_err(|source| PortError::Neighbors { interface: interface(), source });
                Some(Arc::new(heard?))
            }
        };
        // A driver may use more queues as soon as a program is there.
        let most = queues.max(facts.link.rx_queues);
        let program = Program::load(most, &config.filter, pieces)
            .map_err(|source| PortError::Program { interface: config.interface.clone(), source })?;

        let mut refusals = Vec::new();
        for &rung in &config.rungs {
            let rings = config.rings.unwrap_or(rung.default_rings());
            check_sizes(config, rings)?;
            if let Some(reason) = unfit(rung, &facts, umem, pieces) {
                refusals.push(Refusal { rung, reason });
                continue;
            }
            let (link, there) = (&netdev, &facts);
            let climb = Climb {
                config,
                umem,
                netdev: link,
                facts: there,
                program: &program,
                most,
                rung,
                rings,
                pieces,
            };
            let climbed = namespace.run(|| climb.run())?;
            let options = climb.options();
            match climbed {
                Ok((attachment, sockets, halves)) => {
                    facts.queues = netdev.queues()?;
                    let port = Self {
                        netdev,
                        facts,
                        rung,
                        refusals,
                        options,
                        sockets,
                        serves_all: config.queues.is_none(),
                        most,
                        program,
                        attachment: Some(attachment),
                        attached: Instant::now(),
                        was_down: false,
                        namespace,
                        namespace_path: config.namespace.clone(),
                        journal: config.journal.clone(),
                        _listens: listens,
                        neighbors,
                        channels,
                        tags: None,
                        promiscuous: None,
                        mtu_before: raised.keep(),
                        opened: Instant::now(),
                    };
                    return Ok((port, halves));
                }
                Err(Obstacle::Final(error)) => return Err(error),
                Err(Obstacle::Rung(reason)) => refusals.push(Refusal { rung, reason }),
            }
        }
        Err(PortError::NoRung { interface: config.interface.clone(), refusals })
    }

    /// Lets frames in.
    ///
    /// # Errors
    /// If the kernel refuses a socket for its map.
    pub fn start(&self) -> Result<(), PortError> {
        for (queue, (socket, _)) in (0..).map(QueueId).zip(&self.sockets) {
            self.program
                .connect(queue, socket.as_fd())
                .map_err(|source| PortError::Program { interface: self.facts.name.clone(), source })?;
        }
        Ok(())
    }

    /// Looks how many queues the NIC uses now, and opens sockets for those that have come; what they receive is the kernel's
    /// until [`start`](Self::start) is called for them. The kernel takes no queue away that has a socket (net/ethtool/channels.c).
    ///
    /// # Errors
    /// If a queue cannot be served: the others are.
    pub fn follow_queues(&mut self, umem: &Umem) -> Result<Vec<Queue>, PortError> {
        let there = self.netdev.queues()?;
        if there == self.facts.queues {
            return Ok(Vec::new());
        }
        self.facts.queues = there;
        let (link, mut halves) = (self.netdev.index(), Vec::new());
        // Those that this process has just given up are not waited for, and a queue that somebody else has is told once.
        let options = SocketOptions { patience: Duration::ZERO, ..self.options };
        let wanted = if self.serves_all { self.facts.queue_pairs().min(self.most) } else { 0 };
        let mut refused = None;
        for id in (self.sockets.len() as u32..wanted).map(QueueId) {
            match self.namespace.run(|| socket::open(umem, link, id, &options))? {
                Ok((socket, rx, tx, report)) => {
                    self.sockets.push((socket, report));
                    halves.push(Queue { id, rx, tx });
                }
                Err(source) => {
                    refused =
                        Some(PortError::MoreQueues { interface: self.netdev.name(), queue: id, source });
                    break;
                }
            }
        }
        let native = self.rung.attach_mode() == XdpMode::Native;
        if !halves.is_empty() && native && PARTIAL.contains(&self.facts.driver.name.as_str()) {
            self.attach_again()?;
        }
        match refused {
            Some(error) if halves.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!("{error}");
                Ok(halves)
            }
            None => Ok(halves),
        }
    }

    /// Has frames arrive with their VLAN tags, whichever they are, or ends that. A NIC would take tags out of frames, and drop those
    /// with tags that nobody has asked the kernel for.
    ///
    /// # Errors
    /// If the driver refuses: frames without tags arrive all the same.
    pub fn set_tagged(&mut self, tagged: bool) -> Result<(), PortError> {
        match (tagged, self.tags.take()) {
            (true, Some(tags)) => self.tags = Some(tags),
            (true, None) => {
                let listens = self.netdev.listen(&self.namespace, Listening::Everything)?;
                let note = self.journal.note(self.namespace_path.as_deref(), &self.netdev, Change::Tags);
                let stripped = self.netdev.strip_tags(false)?.then_some(note);
                self.tags = Some(Tagged { _listens: listens, stripped });
            }
            (false, Some(Tagged { stripped: Some(_note), .. })) => {
                self.netdev.strip_tags(true)?;
            }
            (false, _) => {}
        }
        Ok(())
    }

    /// Has all frames arrive, whichever station they are for, or ends that. With its tags a frame arrives as [`Self::set_tagged`] says.
    ///
    /// # Errors
    /// If the kernel refuses: frames for this station arrive all the same.
    pub fn set_promiscuous(&mut self, promiscuous: bool) -> Result<(), PortError> {
        self.promiscuous = match (promiscuous, self.promiscuous.take()) {
            (true, None) => Some(self.netdev.listen(&self.namespace, Listening::Everything)?),
            (true, listens) => listens,
            (false, _) => None,
        };
        Ok(())
    }

    /// The link of the interface has gone, or has come back. A driver that may have forgotten the program is given it again.
    ///
    /// # Errors
    /// If it does not take it: the interface's frames are the kernel's then.
    pub fn link_changed(&mut self, up: bool) -> Result<(), PortError> {
        let back = std::mem::replace(&mut self.was_down, !up) && up;
        let forgets = FORGETFUL.contains(&self.facts.driver.name.as_str());
        if !(back && forgets) || self.attachment.is_none() || self.attached.elapsed() < ATTACHED_FOR {
            return Ok(());
        }
        self.attach_again()
    }

    fn attach_again(&mut self) -> Result<(), PortError> {
        self.attachment = None;
        let (link, mode) = (self.netdev.index(), self.rung.attach_mode());
        let attachment = self.namespace.run(|| self.program.attach(link, mode))?;
        let interface = self.facts.name.clone();
        self.attachment = Some(attachment.map_err(|source| PortError::Attach { interface, source })?);
        self.attached = Instant::now();
        Ok(())
    }

    /// Nothing of what the NIC receives comes here: attaches the program again, and if that was so before, to the stack in place of
    /// the driver. Gives a sentence that says what was done, or what there is to do.
    ///
    /// # Errors
    /// If the kernel refuses: its frames are the kernel's then.
    pub fn recover(&mut self, stall: Stall) -> Result<String, PortError> {
        let Stall { packets, times } = stall;
        let start = format!("it has received {packets} packets, and none of them came here");
        let done = match (times, self.rung) {
            (1, _) => format!("{start}: the program is attached again"),
            (2, Rung::NativeCopy) => {
                let reason = format!(
                    "{} lets nothing through: of {packets} packets none came",
                    self.facts.driver.name
                );
                self.refusals.push(Refusal { rung: self.rung, reason });
                self.rung = Rung::GenericCopy;
                format!("{start} again: from now on by {}", self.rung)
            }
            (_, Rung::NativeZeroCopy) => {
                return Ok(format!("{start} still: have the port opened with zero-copy off"));
            }
            _ => {
                return Ok(format!(
                    "{start} still: look for what takes them (`ip -s link`, `ethtool -S`, `bpftool net`), or have the port opened \
                     in another mode (mode generic)"
                ));
            }
        };
        self.attach_again()?;
        self.start()?;
        Ok(done)
    }

    /// Takes the program off the interface: all frames are the kernel's from now on. What the rings hold stays there.
    pub fn stop(&mut self) {
        self.attachment = None;
    }

    /// The interface as it was when the port was opened.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The interface, for its state at this moment and its settings. An MTU above [`Self::largest_mtu`]
    /// loses frames.
    pub fn netdev(&self) -> &Netdev {
        &self.netdev
    }

    /// Copies of frames that the host has and Weft needs too, on an interface that is shared.
    pub fn neighbors(&self) -> Option<Arc<Neighbors>> {
        self.neighbors.clone()
    }

    /// What the operator should know, as things are now: somebody may have followed the advice, or changed something else.
    pub fn advice(&self) -> Vec<Advice> {
        let now = Facts::read(&self.netdev);
        let merged = self.rung == Rung::GenericCopy || self.options.pieces;
        preflight::advise(now.as_ref().unwrap_or(&self.facts), self.sockets.len() as u32, merged)
    }

    /// The rung that holds.
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// Whether frames may come and go in several chunks.
    pub fn takes_pieces(&self) -> bool {
        self.options.pieces
    }

    /// How long it has been open.
    pub fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// The MTU that the interface had before it was raised for the port, if it was.
    pub fn mtu_before(&self) -> Option<u32> {
        self.mtu_before
    }

    /// The largest MTU that the rung carries, and why, as the end of a sentence.
    pub fn largest_mtu(&self, umem: &Umem) -> (u32, &'static str) {
        match room_in_kib(self.rung, &self.facts, umem).filter(|_| !self.options.pieces) {
            Some(room) => (room - LINK_HEADER, IN_KIB),
            None => largest_mtu(umem, self.options.pieces),
        }
    }

    /// Whether TCP and UDP may come with checksums that their sender has left to hardware: it is a veth, or a virtio-net whose
    /// program runs in the stack, since the driver could not turn its offloads off.
    pub fn has_open_checksums(&self) -> bool {
        let in_stack = self.rung == Rung::GenericCopy;
        self.facts.link.kind == "veth" || in_stack && self.facts.driver.name == "virtio_net"
    }

    /// Better rungs that didn't hold.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Slots per ring, the same for each queue.
    pub fn rings(&self) -> RingSizes {
        self.options.rings
    }

    /// What each queue's socket does, read back from the kernel; in order of queues.
    pub fn reports(&self) -> impl Iterator<Item = &SocketReport> {
        self.sockets.iter().map(|(_, report)| report)
    }

    /// The kernel's counters of each queue's socket, in order of queues.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn statistics(&self) -> io::Result<Vec<XskStatistics>> {
        self.sockets.iter().map(|(socket, _)| socket.statistics()).collect()
    }

    /// Whether the kernel still has its sockets bound to its interface. One that was deleted or moved to another namespace and
    /// has come back with its old number is another interface all the same.
    pub fn is_bound(&self) -> bool {
        self.sockets.iter().all(|(socket, _)| socket.is_bound())
    }

    /// Takes the port off its interface and gives back the chunks that the kernel had.
    ///
    /// `queues` are the halves that [`open`](Self::open) gave. Frames being sent get half a second
    /// to leave; received frames that nobody took are forgotten. In zero-copy mode this call takes
    /// at least a second: the NIC may write into chunks of its receive ring until the kernel has
    /// released the queue, and nothing tells when that is.
    pub fn close(mut self, queues: Vec<Queue>) -> Reclaimed {
        // An interface that has gone has no offloads either.
        let _ = self.set_tagged(false);
        let Self { sockets, program, attachment, _listens, rung, channels, .. } = self;
        // First the program, so that nothing new comes.
        drop((attachment, program, _listens));
        let mut reclaimed = Reclaimed::default();
        let deadline = Instant::now() + DRAIN_TIME;
        let mut left_over = Vec::with_capacity(queues.len());
        for Queue { rx, mut tx, .. } in queues {
            tx.drain(deadline, &mut reclaimed.chunks);
            left_over.push(tx.leave());
            reclaimed.chunks.extend(rx.held());
        }
        // The last descriptors. A mapping of a ring refers to its socket as well (`sock_mmap`), so the kernel closes that only
        // when its rings are gone, and waits there until no CPU is inside of it.
        drop(sockets);
        for rings in left_over {
            reclaimed.lost += rings.reclaim(&mut reclaimed.chunks);
        }
        if rung.copy_mode() == CopyMode::ZeroCopy {
            thread::sleep(RELEASE_TIME);
        }
        drop(channels);
        reclaimed
    }
}

fn check_sizes(config: &AfXdpConfig, rings: RingSizes) -> Result<(), PortError> {
    let interface = || config.interface.clone();
    for (ring, size) in [
        ("receive", rings.rx),
        ("fill", rings.fill),
        ("transmit", rings.tx),
        ("completion", rings.completion),
    ] {
        if !size.is_power_of_two() {
            return Err(PortError::RingSize { interface: interface(), ring, size });
        }
    }
    match config.tx_budget {
        Some(budget) if !(32..=rings.tx).contains(&budget) => {
            Err(PortError::TxBudget { interface: interface(), budget, limit: rings.tx })
        }
        _ => Ok(()),
    }
}

/// Why a rung does not hold although the kernel would take it, as far as the kind of interface and its driver tell.
fn unfit(rung: Rung, facts: &Facts, umem: &Umem, pieces: bool) -> Option<String> {
    let kind = facts.link.kind.as_str();
    if matches!(kind, "bond" | "team") && rung != Rung::GenericCopy {
        return Some(format!(
            "frames of a {kind} carry the queue numbers of its members, and would reach no socket"
        ));
    }
    let room = room_in_kib(rung, facts, umem).filter(|_| !pieces)?;
    let needed = facts.link.mtu + LINK_HEADER;
    (room < needed).then(|| {
        format!(
            "{} counts receive buffers in KiB: of a {CHUNK_SIZE}-byte chunk it uses {room} bytes, and MTU {} needs {needed}",
            facts.driver.name, facts.link.mtu
        )
    })
}

/// Bytes of a chunk that a NIC uses that counts them in KiB; `None`: it uses them all.
///
/// By the drivers' sources (Linux 6.18): `igb_setup_srrctl`, `igc_configure_rx_ring`, `ixgbe_configure_srrctl`, which does it for an
/// 82599 alone; later ones have a register that bounds frames to the byte. igb and igc hand the pieces of a longer frame
/// on as frames, ixgbe drops it.
fn room_in_kib(rung: Rung, facts: &Facts, umem: &Umem) -> Option<u32> {
    let counts = match facts.driver.name.as_str() {
        "igb" | "igc" => true,
        "ixgbe" => facts.device.is_some_and(|device| IXGBE_82599.contains(&device)),
        _ => false,
    };
    let chunk = CHUNK_SIZE - KERNEL_HEADROOM - umem.headroom();
    (counts && rung == Rung::NativeZeroCopy).then_some(chunk & !1023)
}

/// Why a rung wasn't reached.
enum Obstacle {
    /// Another rung may hold.
    Rung(String),
    /// None will.
    Final(PortError),
}

/// One attempt at one rung, in the interface's namespace.
struct Climb<'a> {
    config: &'a AfXdpConfig,
    umem: &'a Umem,
    netdev: &'a Netdev,
    facts: &'a Facts,
    program: &'a Program,
    /// Queues that the program has room for.
    most: u32,
    rung: Rung,
    rings: RingSizes,
    pieces: bool,
}

type Held = (Attachment, Vec<(Arc<XskSocket>, SocketReport)>, Vec<Queue>);

impl Climb<'_> {
    fn run(&self) -> Result<Held, Obstacle> {
        let link = self.facts.link.index;
        let attachment = self
            .program
            .attach(link, self.rung.attach_mode())
            .map_err(|error| self.attach_refused(&error))?;
        let options = self.options();
        let queues = match self.config.queues {
            Some(queues) => queues,
            None => {
                let there = self.netdev.queues().map_err(|error| Obstacle::Final(error.into()))?;
                there.rx.min(there.tx).min(self.most)
            }
        };
        let mut sockets = Vec::new();
        let mut halves = Vec::new();
        for id in (0..queues).map(QueueId) {
            let (socket, rx, tx, report) = socket::open(self.umem, link, id, &options)
                .map_err(|error| self.socket_refused(id, &error))?;
            sockets.push((socket, report));
            halves.push(Queue { id, rx, tx });
        }
        Ok((attachment, sockets, halves))
    }

    fn options(&self) -> SocketOptions {
        SocketOptions {
            rings: self.rings,
            mode: self.rung.copy_mode(),
            pieces: self.pieces,
            tx_budget: self.config.tx_budget,
            busy_poll: self.config.busy_poll,
            patience: self.config.patience,
        }
    }

    fn attach_refused(&self, error: &io::Error) -> Obstacle {
        let meaning = match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) if self.facts.driver.name == "virtio_net" => {
                "the device has offloads that the driver cannot turn off (VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)"
            }
            Some(libc::EOPNOTSUPP) => "the driver has no native XDP",
            Some(libc::ERANGE | libc::EINVAL) => "the driver refuses XDP at this MTU or with these offloads",
            Some(libc::ENOSPC) => {
                "a veth needs as many receive queues as its peer has transmit queues, a NIC free queues for XDP"
            }
            _ => "attach the XDP program",
        };
        Obstacle::Rung(format!("{meaning}: {error}"))
    }

    fn socket_refused(&self, queue: QueueId, error: &SocketError) -> Obstacle {
        match error.source.raw_os_error() {
            Some(libc::EBUSY) => {
                let (interface, patience) = (self.config.interface.clone(), self.config.patience);
                Obstacle::Final(PortError::QueueInUse { interface, queue, patience })
            }
            Some(libc::EOPNOTSUPP) if self.rung == Rung::NativeZeroCopy => {
                Obstacle::Rung(format!("the driver has no zero-copy mode: {}", error.source))
            }
            Some(libc::EINVAL)
                if self.rung == Rung::NativeZeroCopy && self.facts.driver.name == "virtio_net" =>
            {
                Obstacle::Rung(format!(
                    "the device does its own addressing: zero-copy needs one behind an IOMMU \
                     (VIRTIO_F_ACCESS_PLATFORM, QEMU: iommu_platform=on): {}",
                    error.source
                ))
            }
            // Those before 6.6 do not know XDP_USE_SG; drivers say so with EOPNOTSUPP.
            Some(libc::EINVAL | libc::EOPNOTSUPP) if self.pieces => Obstacle::Rung(format!(
                "MTU {} takes frames of several chunks (XDP_USE_SG), which the kernel or the driver does not have; what fits \
                 one is {}: {}",
                self.facts.link.mtu,
                self.umem.max_mtu(),
                error.source
            )),
            Some(libc::ENOBUFS) => Obstacle::Rung(format!(
                "queue {}: {error}; without CAP_IPC_LOCK, RLIMIT_MEMLOCK must cover the packet memory",
                queue.0
            )),
            _ => Obstacle::Rung(format!("queue {}: {error}", queue.0)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::{Namespace, PacketMemory, link_index, veth};

    #[test]
    fn a_queue_that_another_socket_holds_is_named() {
        let (near, far) = (Namespace::new("near"), Namespace::new("far"));
        veth(&near, "port", &far, "port-far", 2);
        let memory = PacketMemory::new(16);
        let link = link_index(&near, "port");
        let options = SocketOptions {
            rings: RingSizes::all(8),
            mode: CopyMode::Copy,
            pieces: false,
            tx_budget: None,
            busy_poll: None,
            patience: RELEASE_TIME,
        };
        // A stranger: packet memory of its own, and no program that a look at the interface would
        // show.
        let stranger = memory.umem(0);
        let held = near.open().run(|| socket::open(&stranger, link, QueueId(1), &options));
        let held = held.expect("the namespace can be entered").expect("the queue is free");

        let config = AfXdpConfig {
            namespace: Some(near.path()),
            ..AfXdpConfig::new("port".parse().expect("a valid name"))
        };
        let umem = memory.umem(0);
        let error = AfXdpPort::open(&config, &umem).map(drop).expect_err("queue 1 is taken");
        assert!(matches!(error, PortError::QueueInUse { queue: QueueId(1), .. }), "{error}");
        assert!(error.to_string().contains("port: queue 1 is in use"), "{error}");
        let (hasty, began) = (AfXdpConfig { patience: Duration::ZERO, ..config.clone() }, Instant::now());
        let error = AfXdpPort::open(&hasty, &umem).map(drop).expect_err("it is still taken");
        assert!(matches!(error, PortError::QueueInUse { .. }), "{error}");
        assert!(began.elapsed() < RELEASE_TIME, "it was not waited for: {:?}", began.elapsed());
        drop(held);
        AfXdpPort::open(&config, &umem).map(drop).expect("queue 1 is free again");
    }
}
