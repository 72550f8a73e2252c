// SPDX-License-Identifier: Apache-2.0
//! AF_XDP sockets: set-up by system calls, then two halves that a worker drives through rings
//! alone.
//!
//! [`XskRx`] owns the receive and fill rings, [`XskTx`] the transmit and completion rings. They
//! share the socket and nothing else, so each may live on its own thread; the socket is closed when
//! both, and the port that opened them, are gone. Opening is for the main thread; a half is used by
//! one thread at a time and makes a system call only in [`XskRx::wake`] and
//! [`XskTx::wake`].
//!
//! Invariant: a chunk is in exactly one place: with the caller, with the receive half (pushed to
//! fill, not yet received) or with the transmit half (pushed to transmit, not yet completed).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::ring::{Consumer, Producer, Reservation, Taken};
use super::sys;
use super::umem::{ChunkIndex, CopyMode, Descriptor, Registered, Umem, UmemAddr, UmemMemory};
use crate::netdev::LinkIndex;

/// A queue of a network interface, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

/// Slots of each ring, powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    pub rx: u32,
    pub fill: u32,
    pub tx: u32,
    pub completion: u32,
}

impl RingSizes {
    /// In copy mode the frames and skbs in flight should stay in the L2 cache; larger rings are
    /// slower there.
    pub const COPY: Self = Self::all(512);
    /// A NIC that fetches buffers by itself needs enough of them to cover a worker's round.
    pub const ZERO_COPY: Self = Self::all(2048);

    /// Four rings of the same size.
    pub const fn all(size: u32) -> Self {
        Self { rx: size, fill: size, tx: size, completion: size }
    }
}

/// Busy polling of the NIC's queue from the worker's own system calls
/// (Documentation/networking/napi.rst, "Busy polling").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`: how long one call polls, in microseconds.
    pub microseconds: u32,
    /// `SO_BUSY_POLL_BUDGET`: packets per poll. The kernel accepts or refuses it but doesn't tell
    /// it back.
    pub budget: u32,
}

/// What became of a setting that the kernel may refuse without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<T> {
    NotAsked,
    InEffect(T),
    /// The `errno` of the refusal.
    Refused(i32),
}

/// Settings of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    pub(crate) rings: RingSizes,
    pub(crate) mode: CopyMode,
    /// Whether frames may come and go in several chunks.
    pub(crate) pieces: bool,
    /// Frames that one transmit call may send in copy mode (`XDP_MAX_TX_SKB_BUDGET`; the kernel's
    /// default is 32).
    pub(crate) tx_budget: Option<u32>,
    pub(crate) busy_poll: Option<BusyPoll>,
    /// How long to wait for a queue that another socket still has.
    pub patience: Duration,
}

/// What a bound socket really does, read back from the kernel where it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketReport {
    pub zero_copy: bool,
    pub tx_budget: Effect<u32>,
    pub busy_poll: Effect<BusyPoll>,
}

/// The kernel's counters of one socket (`struct xdp_statistics`, linux/if_xdp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskStatistics {
    /// Frames dropped for lack of a fill entry or because they don't fit a chunk.
    pub rx_dropped: u64,
    /// Fill entries outside of the UMEM.
    pub rx_invalid_descs: u64,
    /// Transmit descriptors outside of the UMEM or crossing a chunk; they are never completed.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times that the kernel found the fill ring empty.
    pub rx_fill_ring_empty: u64,
    /// Times that the kernel found the transmit ring empty.
    pub tx_ring_empty: u64,
}

/// Why a socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct SocketError {
    /// The call that failed, and what it was for.
    pub(crate) step: &'static str,
    #[source]
    pub(crate) source: io::Error,
}

/// A bound socket. Keeps the packet memory: the kernel may write into it as long as the socket is
/// open.
pub(crate) struct XskSocket {
    fd: Arc<OwnedFd>,
    _memory: Arc<dyn UmemMemory>,
}

impl XskSocket {
    /// Whether it is bound to an interface. The kernel unbinds it for good when the interface leaves its namespace
    /// (`xsk_notifier`), and answers ENXIO from then on.
    pub(crate) fn is_bound(&self) -> bool {
        !matches!(sys::wake_rx(self.fd.as_fd()), Err(error) if error.raw_os_error() == Some(libc::ENXIO))
    }

    pub(crate) fn statistics(&self) -> io::Result<XskStatistics> {
        sys::statistics(self.fd.as_fd())
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Binds a socket to one queue. To be called in the interface's network namespace.
pub(crate) fn open(
    umem: &Umem,
    link: LinkIndex,
    queue: QueueId,
    options: &SocketOptions,
) -> Result<(Arc<XskSocket>, XskRx, XskTx, SocketReport), SocketError> {
    let step = |step| move |source| SocketError { step, source };
    let fd = Arc::new(sys::socket().map_err(step("socket(AF_XDP)"))?);
    let mut members = umem.members();
    let register = || {
        sys::register_umem(fd.as_fd(), &**umem.memory(), umem.headroom())
            .map_err(step("register packet memory (XDP_UMEM_REG)"))
    };
    let registered = Registered { mode: options.mode, pieces: options.pieces };
    let mut introducer = members.introducer(registered);
    if introducer.is_none() {
        register()?;
    }
    let rings = sys::create_rings(fd.as_fd(), options.rings).map_err(step("create rings"))?;
    // The budget is checked against the transmit ring, so it comes after it.
    let tx_budget = match options.tx_budget {
        None => Effect::NotAsked,
        Some(budget) => match sys::set_tx_budget(fd.as_fd(), budget) {
            Ok(()) => Effect::InEffect(budget),
            Err(error) => Effect::Refused(error.raw_os_error().unwrap_or(0)),
        },
    };
    let busy_poll = match options.busy_poll {
        None => Effect::NotAsked,
        Some(wanted) => match sys::set_busy_poll(fd.as_fd(), wanted) {
            Ok(effective) => Effect::InEffect(effective),
            Err(error) => Effect::Refused(error.raw_os_error().unwrap_or(0)),
        },
    };
    loop {
        let joined = introducer.as_ref().map(|fd| fd.as_fd());
        match (sys::bind(fd.as_fd(), link, queue, registered, joined, options.patience), &introducer) {
            (Ok(()), _) => break,
            // It is not bound any more (net/xdp/xsk.c, `xsk_bind`): the next one, or nobody.
            (Err(error), Some(gone)) if error.raw_os_error() == Some(libc::EBADF) => {
                members.leave(registered, gone);
                introducer = members.introducer(registered);
                if introducer.is_none() {
                    register()?;
                }
            }
            (Err(error), _) => return Err(step("bind to the queue")(error)),
        }
    }
    let zero_copy = sys::is_zero_copy(fd.as_fd()).map_err(step("read the mode back (XDP_OPTIONS)"))?;
    members.join(registered, &fd);
    drop(members);

    let socket = Arc::new(XskSocket { fd, _memory: Arc::clone(umem.memory()) });
    let rx = XskRx {
        ring: rings.rx,
        fill: rings.fill,
        held: vec![false; umem.chunks() as usize].into_boxed_slice(),
        drives_napi: matches!(busy_poll, Effect::InEffect(_)),
        socket: Arc::clone(&socket),
    };
    let (ring, completion, pieces) = (rings.tx, rings.completion, options.pieces);
    let tx = XskTx { ring, completion, pieces, socket: Arc::clone(&socket) };
    Ok((socket, rx, tx, SocketReport { zero_copy, tx_budget, busy_poll }))
}

/// The receiving half of a socket.
pub struct XskRx {
    ring: Consumer<Descriptor>,
    fill: Producer<UmemAddr>,
    /// By chunk: pushed to fill and not yet received. The kernel hands chunks back in any order and
    /// keeps some for itself (`free_list` of net/xdp/xsk_buff_pool.c), so only this tells, when the
    /// port closes, which chunks to reclaim. A byte each: two plain stores per packet, without the
    /// dependency that bits in one word would have.
    held: Box<[bool]>,
    /// With busy polling in effect the queue is driven from our calls, asked for or not.
    drives_napi: bool,
    socket: Arc<XskSocket>,
}

impl XskRx {
    /// Received frames, up to `max`.
    #[inline(always)]
    pub fn receive(&mut self, max: u32) -> Received<'_> {
        Received { taken: self.ring.take(max), held: &mut self.held }
    }

    /// Room for up to `want` empty chunks.
    #[inline(always)]
    pub fn fill(&mut self, want: u32) -> Fill<'_> {
        Fill { reservation: self.fill.reserve(want), held: &mut self.held }
    }

    /// Slots of the fill ring.
    pub fn fill_size(&self) -> u32 {
        self.fill.size()
    }

    /// Whether the kernel waits for [`wake`](Self::wake).
    #[inline(always)]
    pub fn needs_wakeup(&self) -> bool {
        self.drives_napi || self.fill.needs_wakeup()
    }

    /// Asks the kernel to go on receiving. To be called on each turn that received nothing, if the kernel waits for it. One
    /// system call.
    ///
    /// # Errors
    /// What `recvfrom` says, other than "nothing to do now"; `ENETDOWN` while the interface is
    /// down.
    #[inline]
    pub fn wake(&self) -> io::Result<()> {
        sys::wake_rx(self.socket.as_fd())
    }

    /// The chunks that were given to the kernel and have not come back.
    pub fn held(&self) -> impl Iterator<Item = ChunkIndex> {
        (0u32..).zip(&self.held).filter(|(_, held)| **held).map(|(index, _)| ChunkIndex(index))
    }
}

/// Readable when frames wait, for poll(2).
impl AsFd for XskRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Frames taken from the receive ring; what isn't iterated over stays there.
pub struct Received<'r> {
    taken: Taken<'r, Descriptor>,
    held: &'r mut [bool],
}

impl Iterator for Received<'_> {
    type Item = Descriptor;

    #[inline(always)]
    fn next(&mut self) -> Option<Descriptor> {
        let descriptor = self.taken.next()?;
        self.held[descriptor.addr.chunk().0 as usize] = false;
        Some(descriptor)
    }

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.taken.size_hint()
    }
}

impl ExactSizeIterator for Received<'_> {}

/// Free places of the fill ring; what isn't pushed stays free.
pub struct Fill<'r> {
    reservation: Reservation<'r, UmemAddr>,
    held: &'r mut [bool],
}

impl Fill<'_> {
    /// Number of chunks that can still be pushed.
    #[inline(always)]
    pub fn remaining(&self) -> u32 {
        self.reservation.remaining()
    }

    /// Gives `chunk` to the kernel.
    ///
    /// # Panics
    /// If the chunk lies outside of the UMEM, or no place remains.
    #[inline(always)]
    pub fn push(&mut self, chunk: ChunkIndex) {
        self.held[chunk.0 as usize] = true;
        self.reservation.push(UmemAddr::new(chunk, 0));
    }
}

/// How a wake-up of the transmit side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The kernel has taken all that was there.
    Done,
    /// The kernel has taken a part (its budget or its memory is used up); call again on the next
    /// turn.
    Later,
}

/// The transmitting half of a socket.
pub struct XskTx {
    ring: Producer<Descriptor>,
    completion: Consumer<UmemAddr>,
    pieces: bool,
    socket: Arc<XskSocket>,
}

impl XskTx {
    /// Whether a frame may have several descriptors, all but the last with [`CONTINUES`](super::umem::CONTINUES).
    pub fn takes_pieces(&self) -> bool {
        self.pieces
    }

    /// Room for up to `want` frames. A frame may begin anywhere in its chunk but must end within
    /// it.
    #[inline(always)]
    pub fn transmit(&mut self, want: u32) -> Reservation<'_, Descriptor> {
        self.ring.reserve(want)
    }

    /// Addresses of frames that have left, as they were submitted, up to `max`.
    #[inline(always)]
    pub fn complete(&mut self, max: u32) -> Taken<'_, UmemAddr> {
        self.completion.take(max)
    }

    /// Frames submitted and not yet taken back by [`complete`](Self::complete).
    #[inline(always)]
    pub fn in_flight(&self) -> u32 {
        // Both indices start at 0, and the kernel completes each descriptor that it takes exactly
        // once.
        self.ring.position().wrapping_sub(self.completion.position())
    }

    /// Frames submitted that the kernel hasn't taken out of the ring yet.
    #[inline]
    pub fn pending(&mut self) -> u32 {
        self.ring.pending()
    }

    /// Whether the kernel waits for [`wake`](Self::wake). In copy mode it always does; a zero-copy
    /// NIC mostly goes on by itself.
    #[inline(always)]
    pub fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }

    /// Makes the kernel send what lies in the ring. One system call; "not now" is an answer, not an
    /// error.
    ///
    /// # Errors
    /// What `sendto` says otherwise; `ENETDOWN` while the interface is down.
    #[inline]
    pub fn wake(&self) -> io::Result<Wake> {
        sys::wake_tx(self.socket.as_fd())
    }
}

impl XskTx {
    /// Waits until all frames have left, or none of those that remain will, or `deadline` passes.
    /// Adds their chunks to `chunks`.
    pub(crate) fn drain(&mut self, deadline: Instant, chunks: &mut Vec<ChunkIndex>) {
        loop {
            chunks.extend(self.complete(u32::MAX).map(|addr| addr.chunk()));
            if self.in_flight() == 0 || Instant::now() >= deadline {
                return;
            }
            // With the interface down or gone, the kernel completes what it has taken and takes no
            // more.
            if self.wake().is_err() && self.in_flight() == self.ring.pending() {
                return;
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Gives up this half's hold of the socket and keeps what is left in its rings.
    pub(crate) fn leave(self) -> LeftOver {
        LeftOver { ring: self.ring, completion: self.completion }
    }
}

/// The rings of a transmit half whose socket is closing.
pub(crate) struct LeftOver {
    ring: Producer<Descriptor>,
    completion: Consumer<UmemAddr>,
}

impl LeftOver {
    /// When nobody kicks the socket any more: adds to `chunks` what the kernel completed late or never took,
    /// and gives the number of frames of which it has said nothing. The rings are unmapped, which closes the socket.
    pub(crate) fn reclaim(mut self, chunks: &mut Vec<ChunkIndex>) -> u32 {
        chunks.extend(self.completion.take(u32::MAX).map(|addr| addr.chunk()));
        let in_flight = self.ring.position().wrapping_sub(self.completion.position());
        let untaken = self.ring.take_back();
        chunks.extend(untaken.iter().map(|descriptor| descriptor.addr.chunk()));
        in_flight - untaken.len() as u32
    }
}

/// Writable when the transmit ring has space, for poll(2).
impl AsFd for XskTx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
