// SPDX-License-Identifier: Apache-2.0
//! Memory that one process writes and others read: the only module of the crate that dereferences pointers.
//!
//! Everybody else sees either `&AtomicU64` (the writer) or loaded `u64` values (a reader), each behind
//! a check against the length of the mapping. Invariants:
//!
//! * The file can neither shrink nor be replaced while it is mapped: it is a memfd sealed with
//!   `F_SEAL_SHRINK`, and [`ReadMemory::open`] refuses one that is not. Otherwise a load could raise
//!   SIGBUS.
//! * Only the mapping made in [`SharedMemory::create`] is writable: `F_SEAL_FUTURE_WRITE` (Linux 5.1)
//!   refuses every later one, write(2) and hole punching, also through the descriptor that is handed
//!   out to readers.
//! * The mapping lives as long as any [`Cells`] into it.

use std::fs::File;
use std::io;
use std::mem::{align_of, size_of};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use crate::layout::{Entry, Header, Pair, WORD};

/// What may be viewed in shared memory.
///
/// # Safety
/// The type consists of `AtomicU64` and nothing else, without padding: any bit pattern is valid, and an
/// access that races with another process is an atomic one.
pub unsafe trait Shared {}
// SAFETY: it is an AtomicU64.
unsafe impl Shared for AtomicU64 {}
// SAFETY: `repr(C)` with AtomicU64 fields only; the size asserts in `layout` exclude padding.
unsafe impl Shared for Header {}
// SAFETY: as for `Header`.
unsafe impl Shared for Entry {}
// SAFETY: as for `Header`.
unsafe impl Shared for Pair {}

/// Bytes of a page of the second level of x86-64's page tables, and of ARMv8's with 4 KiB granules.
const HUGE_PAGE: usize = 2 << 20;
/// The smallest page of any host.
const SMALL_PAGE: usize = 4096;

/// Which pages the writer asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// Those of the host.
    Small,
    /// Huge ones if the host has any to give: for a table that is read at random.
    Huge,
}

/// A mapping of a file, part of a reservation of address space that is released as a whole.
struct Map {
    _reserved: MmapRaw,
    base: NonNull<u8>,
    len: usize,
    /// Huge pages were asked for, and the kernel gave them.
    huge: bool,
}

// SAFETY: a mapping has no thread affinity; what may be accessed is decided by the owner of the `Map`.
unsafe impl Send for Map {}
// SAFETY: as for Send.
unsafe impl Sync for Map {}

impl Map {
    fn of(map: MmapRaw) -> io::Result<Map> {
        let base =
            NonNull::new(map.as_mut_ptr()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Map { base, len: map.len(), _reserved: map, huge: false })
    }

    /// Maps `file` where huge pages can back it. MADV_COLLAPSE (Linux 6.1) makes them whatever
    /// `transparent_hugepage/shmem_enabled` says, which is "never" on most hosts; a host that refuses leaves small pages.
    fn huge(file: &File, len: usize) -> io::Result<Map> {
        let reserved = MmapRaw::from(MmapOptions::new().len(len + HUGE_PAGE).no_reserve_swap().map_anon()?);
        let start = reserved.as_mut_ptr().wrapping_add(reserved.as_mut_ptr().align_offset(HUGE_PAGE));
        let (start, size) = (NonZeroUsize::new(start.addr()), NonZeroUsize::new(len));
        let (Some(start), Some(size)) = (start, size) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: the `len` bytes from `start` lie in the reservation just made, to which nothing else refers.
        let base = unsafe { mmap(Some(start), size, access, flags, file, 0)? }.cast::<u8>();
        let touch_every = |step: usize| {
            for offset in (0..len).step_by(step) {
                // SAFETY: in the mapping just made, which nobody else has yet.
                unsafe { base.as_ptr().add(offset).write_volatile(0) };
            }
        };
        // Collapsing refuses a range of which no page exists, and copies those that do: so one of each, and the kernel zeroes
        // the rest. With all of them there first, 128 MB took 0.5 to 1.2 s, so they take 0.05 s. What could not be
        // collapsed is populated behind it.
        touch_every(HUGE_PAGE);
        const MADV_COLLAPSE: libc::c_int = 25;
        // SAFETY: advice about a mapping of our own; it changes no byte of it.
        let collapsed = unsafe { libc::madvise(base.as_ptr().cast(), len & !(HUGE_PAGE - 1), MADV_COLLAPSE) };
        touch_every(SMALL_PAGE);
        Ok(Map { _reserved: reserved, base, len, huge: collapsed == 0 && len >= HUGE_PAGE })
    }
}

/// First byte of `count` elements of `T` at `offset`, if they lie inside the mapping and are aligned.
fn locate<T: Shared>(map: &Map, offset: u64, count: usize) -> Option<NonNull<T>> {
    let offset = usize::try_from(offset).ok()?;
    let end = count.checked_mul(size_of::<T>())?.checked_add(offset)?;
    if end > map.len || !offset.is_multiple_of(align_of::<T>()) {
        return None;
    }
    // A mapping starts at a page boundary, so an aligned offset gives an aligned address.
    NonNull::new(map.base.as_ptr().wrapping_add(offset).cast())
}

/// The writer's mapping, readable and writable.
pub struct SharedMemory {
    map: Map,
    file: File,
}

impl SharedMemory {
    /// A new zeroed memfd of `size` bytes, mapped and sealed.
    ///
    /// All pages are allocated now, so that a worker that counts never takes a page
    /// fault.
    pub fn create(name: &str, size: usize, pages: Pages) -> io::Result<SharedMemory> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(name, flags)?);
        file.set_len(size as u64)?;
        let map = match pages {
            Pages::Small => Map::of(MmapOptions::new().len(size).populate().map_raw(&file)?)?,
            Pages::Huge => Map::huge(&file, size)?,
        };
        let seals = SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_FUTURE_WRITE
            | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(SharedMemory { map, file })
    }

    /// What readers map.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether the writer's mapping got the huge pages that it asked for ([`Pages::Huge`]).
    pub fn is_huge(&self) -> bool {
        self.map.huge
    }

    /// # Panics
    /// If the range is not inside the mapping. The writer asks only for what its own allocator gave it,
    /// whose range ends inside the mapping, so this is an invariant and not a check of outside data.
    pub fn slice<T: Shared>(&self, offset: u64, count: usize) -> &[T] {
        let start =
            locate::<T>(&self.map, offset, count).expect("the allocator hands out memory inside the mapping");
        // SAFETY: `locate` checked bounds and alignment; the mapping lives as long as `self`, is
        // readable and writable, and `T: Shared` accepts any bytes and is changed only by atomic
        // stores.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), count) }
    }

    /// As [`SharedMemory::slice`], for one object.
    pub fn at<T: Shared>(&self, offset: u64) -> &T {
        &self.slice::<T>(offset, 1)[0]
    }

    /// A view that keeps the mapping alive, for the thread that counts.
    pub fn cells<T: Shared>(self: &Arc<Self>, offset: u64, count: usize) -> Cells<T> {
        Cells {
            first: NonNull::from(self.slice::<T>(offset, count)).cast(),
            count,
            _memory: Arc::clone(self),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        self.at(0)
    }
}

/// An array in the writer's mapping.
pub struct Cells<T> {
    first: NonNull<T>,
    count: usize,
    _memory: Arc<SharedMemory>,
}

// SAFETY: a `Cells` is a shared slice of `T: Shared`, that is of atomics, and an Arc that keeps its
// memory mapped.
unsafe impl<T: Shared> Send for Cells<T> {}
// SAFETY: as for Send; all access is atomic.
unsafe impl<T: Shared> Sync for Cells<T> {}

impl<T: Shared> Cells<T> {
    /// An element.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&T> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `index < count`, and `cells` checked that `count` elements lie inside the mapping,
        // which `_memory` keeps alive; `T: Shared` accepts any bytes and is changed only by atomic
        // stores.
        Some(unsafe { &*self.first.as_ptr().add(index) })
    }

    /// The first `len` elements, or all.
    #[inline(always)]
    pub fn first(&self, len: usize) -> &[T] {
        // SAFETY: as in `get`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), len.min(self.count)) }
    }
}

/// Why a file cannot be read as a segment.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be mapped.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It could shrink under the reader.
    #[error("not sealed against shrinking")]
    Unsealed,
    /// It has no room for its header.
    #[error("{found} bytes long")]
    Short {
        /// Its length.
        found: u64,
    },
}

/// A reader's mapping: every access is one relaxed load of a word, checked against the mapping.
///
/// Relaxed, because no other atomic access is guaranteed to work on memory that is mapped read-only
/// (`std::sync::atomic`, "Atomic accesses to read-only memory").
pub struct ReadMemory {
    map: Map,
}

impl ReadMemory {
    /// Maps `fd`, a memory file of at least `least` bytes.
    pub fn open(fd: OwnedFd, least: usize) -> Result<ReadMemory, OpenError> {
        let seals = fcntl(&fd, FcntlArg::F_GET_SEALS).map_err(io::Error::from)?;
        if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) {
            return Err(OpenError::Unsealed);
        }
        let file = File::from(fd);
        let found = file.metadata()?.len();
        let len = usize::try_from(found).map_err(|_| OpenError::Short { found })?;
        if len < least {
            return Err(OpenError::Short { found });
        }
        Ok(ReadMemory { map: Map::of(MmapOptions::new().len(len).map_raw_read_only(&file)?)? })
    }

    /// Bytes.
    pub fn length(&self) -> usize {
        self.map.len
    }

    fn slice(&self, offset: u64, count: usize) -> Option<&[AtomicU64]> {
        let start = locate(&self.map, offset, count)?;
        // SAFETY: `locate` checked bounds and alignment; the mapping lives as long as `self` and its
        // file cannot shrink; an AtomicU64 accepts any bytes. This reference stays inside this impl,
        // which never stores.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// The word at `offset`; `None` if that is not inside, or not the place of a word.
    pub fn load(&self, offset: u64) -> Option<u64> {
        Some(self.slice(offset, 1)?[0].load(Ordering::Relaxed))
    }

    /// `count` words from `offset` on, each loaded once when the iterator comes to it.
    pub fn words(&self, offset: u64, count: usize) -> Option<impl Iterator<Item = u64> + '_> {
        Some(self.slice(offset, count)?.iter().map(|word| word.load(Ordering::Relaxed)))
    }

    /// The word of the [`Header`] at this offset.
    pub(crate) fn field(&self, offset: usize) -> u64 {
        self.load(offset as u64).expect("`open` refuses a file shorter than the header")
    }
}

const _: () =
    assert!(align_of::<Entry>() == WORD && align_of::<Pair>() == WORD && align_of::<Header>() == WORD);
