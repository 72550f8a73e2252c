// SPDX-License-Identifier: Apache-2.0
//! The packet memory that AF_XDP sockets share, and the addresses within it.
//!
//! The memory belongs to the caller (the engine's buffer pool); this module only registers it. All
//! ports share it, which is what lets a packet go from one port to another without a copy. The
//! kernel keeps one registration per copy mode, and for frames of several chunks another: a socket that joins an existing one
//! (`XDP_SHARED_UMEM`) inherits these from it and can't choose (net/xdp/xsk.c, `xsk_bind`; net/xdp/
//! xsk_buff_pool.c, `xp_assign_dev_shared`), so a host with a zero-copy NIC and a veth registers
//! the same memory twice.
//!
//! Used by the main thread only, when a port is opened.

use core::ptr::NonNull;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes per chunk: the smallest that the kernel takes (`XDP_UMEM_MIN_CHUNK_SIZE`), and the
/// engine's buffer size.
pub const CHUNK_SIZE: u32 = 1 << CHUNK_SHIFT;
/// `log2(CHUNK_SIZE)`.
pub const CHUNK_SHIFT: u32 = 11;
/// Bytes that the kernel keeps free in front of each received frame (linux/bpf.h,
/// `XDP_PACKET_HEADROOM`).
pub const KERNEL_HEADROOM: u32 = 256;
/// Ethernet header and two VLAN tags, which the MTU doesn't count.
const LAYER2_OVERHEAD: u32 = 14 + 2 * 4;
/// The kernel refuses memory that doesn't begin on a page.
const PAGE_SIZE: usize = 4096;

/// A chunk's number, counted from the start of the UMEM; equal to the engine's buffer index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ChunkIndex(pub u32);

/// A byte offset from the start of the UMEM: what the rings carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct UmemAddr(pub u64);

impl UmemAddr {
    /// The byte at `offset` in `chunk`.
    #[inline(always)]
    pub const fn new(chunk: ChunkIndex, offset: u32) -> Self {
        Self(((chunk.0 as u64) << CHUNK_SHIFT) + offset as u64)
    }

    /// The chunk that this byte lies in.
    #[inline(always)]
    pub const fn chunk(self) -> ChunkIndex {
        ChunkIndex((self.0 >> CHUNK_SHIFT) as u32)
    }

    /// Distance from the start of the chunk, below [`CHUNK_SIZE`].
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        self.0 as u32 & (CHUNK_SIZE - 1)
    }
}

/// A frame in the UMEM (`struct xdp_desc`, linux/if_xdp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Descriptor {
    /// First byte of the frame.
    pub addr: UmemAddr,
    /// Length of the frame in bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`; 0 for a frame in one chunk.
    pub options: u32,
}

/// In [`Descriptor::options`]: the frame goes on in the next descriptor (`XDP_PKT_CONTD`).
pub const CONTINUES: u32 = 1;
/// Descriptors of one frame at most: what an skb in the kernel holds (`MAX_SKB_FRAGS`, 17 unless configured otherwise).
pub const MOST_PIECES: usize = 17;

/// Memory that can be a UMEM.
///
/// # Safety
/// `bytes()` is mapped, readable and writable, and stays so, at the same address, as long as the
/// value lives. The memory is written by the kernel and by devices at any time, so nobody may hold
/// a reference into a chunk that was given to a fill or transmit ring.
pub unsafe trait UmemMemory: Send + Sync {
    /// The memory: aligned to a page, its length a multiple of [`CHUNK_SIZE`].
    fn bytes(&self) -> NonNull<[u8]>;
}

/// Why memory can't be a UMEM.
#[derive(Debug, thiserror::Error)]
pub enum UmemError {
    /// The kernel wants a page-aligned start.
    #[error("packet memory begins at {0:#x}, expected a multiple of {PAGE_SIZE}")]
    Misaligned(usize),
    /// The kernel wants whole chunks, between one and 2^32 - 1.
    #[error(
        "packet memory of {0} bytes, expected a multiple of {CHUNK_SIZE} between {CHUNK_SIZE} bytes and 8 TiB"
    )]
    Length(usize),
    /// The headroom leaves no space for a frame.
    #[error("headroom of {0} bytes, expected less than {max}", max = CHUNK_SIZE - KERNEL_HEADROOM)]
    Headroom(u32),
}

/// How a socket of this UMEM moves frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyMode {
    Copy,
    ZeroCopy,
}

/// Memory ready to be registered by the first socket of each copy mode.
pub struct Umem {
    memory: Arc<dyn UmemMemory>,
    headroom: u32,
    members: Mutex<Members>,
}

/// What a registration is for: sockets that join one inherit both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) mode: CopyMode,
    /// Frames may come and go in several chunks (`XDP_USE_SG`).
    pub(crate) pieces: bool,
}

/// The bound sockets of one UMEM, by what it was registered for. Any of them can introduce the next.
#[derive(Default)]
pub(crate) struct Members {
    lists: [Vec<Weak<OwnedFd>>; 4],
}

impl Members {
    fn of(&mut self, registered: Registered) -> &mut Vec<Weak<OwnedFd>> {
        let zero_copy = usize::from(registered.mode == CopyMode::ZeroCopy);
        &mut self.lists[2 * zero_copy + usize::from(registered.pieces)]
    }

    /// A socket whose registration a new one can join.
    pub(crate) fn introducer(&mut self, registered: Registered) -> Option<Arc<OwnedFd>> {
        let members = self.of(registered);
        members.retain(|member| member.strong_count() > 0);
        members.iter().find_map(Weak::upgrade)
    }

    /// A socket that introduces nobody any more: its link has gone, and the kernel has unbound it.
    pub(crate) fn leave(&mut self, registered: Registered, socket: &Arc<OwnedFd>) {
        self.of(registered).retain(|member| !core::ptr::eq(member.as_ptr(), Arc::as_ptr(socket)));
    }

    pub(crate) fn join(&mut self, registered: Registered, socket: &Arc<OwnedFd>) {
        self.of(registered).push(Arc::downgrade(socket));
    }
}

impl Umem {
    /// Prepares `memory`. Received frames begin [`KERNEL_HEADROOM`] plus `headroom` bytes into
    /// their chunk.
    ///
    /// # Errors
    /// If the memory or the headroom isn't what the kernel takes.
    pub fn new(memory: Arc<dyn UmemMemory>, headroom: u32) -> Result<Self, UmemError> {
        let base = memory.bytes().cast::<u8>().addr().get();
        if !base.is_multiple_of(PAGE_SIZE) {
            return Err(UmemError::Misaligned(base));
        }
        let len = memory.bytes().len();
        let chunks = len as u64 >> CHUNK_SHIFT;
        if !len.is_multiple_of(CHUNK_SIZE as usize) || chunks == 0 || chunks > u64::from(u32::MAX) {
            return Err(UmemError::Length(len));
        }
        if headroom >= CHUNK_SIZE - KERNEL_HEADROOM {
            return Err(UmemError::Headroom(headroom));
        }
        Ok(Self { memory, headroom, members: Mutex::default() })
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        (self.memory.bytes().len() >> CHUNK_SHIFT) as u32
    }

    /// The largest MTU whose frames, with two VLAN tags, fit into as many chunks as a frame can have, and what Weft can say of its
    /// length.
    pub fn max_mtu_in_pieces(&self) -> u32 {
        let room = (CHUNK_SIZE - KERNEL_HEADROOM - self.headroom) * MOST_PIECES as u32;
        room.min(u16::MAX.into()) - LAYER2_OVERHEAD
    }

    /// Bytes between [`KERNEL_HEADROOM`] and a received frame.
    pub fn headroom(&self) -> u32 {
        self.headroom
    }

    /// The largest MTU whose frames, with two VLAN tags, fit into one chunk.
    pub fn max_mtu(&self) -> u32 {
        (CHUNK_SIZE - KERNEL_HEADROOM - self.headroom).saturating_sub(LAYER2_OVERHEAD)
    }

    pub(crate) fn memory(&self) -> &Arc<dyn UmemMemory> {
        &self.memory
    }

    /// Locks the list of sockets; held while a socket binds, so that two first sockets don't both
    /// register.
    pub(crate) fn members(&self) -> MutexGuard<'_, Members> {
        // The list holds after each single step, so a panic elsewhere doesn't spoil it.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
