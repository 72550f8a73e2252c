// SPDX-License-Identifier: Apache-2.0
//! The system calls of AF_XDP, one function each (linux/if_xdp.h,
//! Documentation/networking/af_xdp.rst).
//!
//! A leaf: it turns raw calls into `io::Result` and mappings into ring cursors, and decides
//! nothing. Everything but the two wake-ups is called once per socket.

use core::ptr::{self, NonNull};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::ring::{Consumer, Producer, RingMemory};
use super::socket::{BusyPoll, QueueId, RingSizes, Wake, XskStatistics};
use super::umem::{CHUNK_SIZE, CopyMode, Descriptor, Registered, UmemAddr, UmemMemory};
use crate::netdev::LinkIndex;

/// How long a queue may stay busy after its last socket was closed: the kernel releases it from a
/// work queue (net/xdp/xsk_buff_pool.c, `xp_put_pool`), usually within some milliseconds.
pub(crate) const RELEASE_TIME: Duration = Duration::from_secs(1);

/// linux/if_xdp.h, since Linux 6.17; not in libc 0.2.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// The four cursors of a socket.
pub(crate) struct Rings {
    pub(crate) rx: Consumer<Descriptor>,
    pub(crate) tx: Producer<Descriptor>,
    pub(crate) fill: Producer<UmemAddr>,
    pub(crate) completion: Consumer<UmemAddr>,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a live reference.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Reads an option of plain integers; fields that an older kernel doesn't know stay 0.
fn option<T>(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<T>
where
    T: Copy + PlainIntegers,
{
    let mut length = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: `T` consists of integers, for which zero is a value.
    let mut value: T = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most `length` bytes, the size of `value`.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, ptr::from_mut(&mut value).cast(), &mut length)
    })?;
    Ok(value)
}

/// # Safety
/// Every bit pattern is a value of the type.
unsafe trait PlainIntegers {}
// SAFETY: integers only.
unsafe impl PlainIntegers for libc::c_int {}
// SAFETY: integers only.
unsafe impl PlainIntegers for libc::xdp_options {}
// SAFETY: integers only.
unsafe impl PlainIntegers for libc::xdp_statistics {}
// SAFETY: integers only.
unsafe impl PlainIntegers for libc::xdp_mmap_offsets {}

pub(crate) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn register_umem(fd: BorrowedFd<'_>, memory: &dyn UmemMemory, headroom: u32) -> io::Result<()> {
    let registration = libc::xdp_umem_reg {
        addr: memory.bytes().cast::<u8>().as_ptr().expose_provenance() as u64,
        len: memory.bytes().len() as u64,
        chunk_size: CHUNK_SIZE,
        headroom,
        flags: 0,
        tx_metadata_len: 0,
    };
    set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)
}

pub(crate) fn create_rings(fd: BorrowedFd<'_>, sizes: RingSizes) -> io::Result<Rings> {
    for (name, size) in [
        (libc::XDP_UMEM_FILL_RING, sizes.fill),
        (libc::XDP_UMEM_COMPLETION_RING, sizes.completion),
        (libc::XDP_RX_RING, sizes.rx),
        (libc::XDP_TX_RING, sizes.tx),
    ] {
        set_option(fd, libc::SOL_XDP, name, &size)?;
    }
    let offsets: libc::xdp_mmap_offsets = option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
    let rx = map_ring(fd, sizes.rx, &offsets.rx, libc::XDP_PGOFF_RX_RING as u64)?;
    let tx = map_ring(fd, sizes.tx, &offsets.tx, libc::XDP_PGOFF_TX_RING as u64)?;
    let fill = map_ring(fd, sizes.fill, &offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING)?;
    let completion = map_ring(fd, sizes.completion, &offsets.cr, libc::XDP_UMEM_PGOFF_COMPLETION_RING)?;
    // SAFETY: each memory was laid out by `map_ring` for its element type; the socket is new, so
    // there is one cursor of ours on each ring, and the kernel is the other side.
    Ok(unsafe {
        Rings {
            rx: Consumer::new(rx),
            tx: Producer::new(tx),
            fill: Producer::new(fill),
            completion: Consumer::new(completion),
        }
    })
}

/// A mapping of one ring. The pages stay until `munmap`, and so does the socket, to which the mapping refers.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an address range; what is in it is accessed through ring cursors only.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself gives no access.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this range was mapped by `map_ring`, and the cursors that point into it hold an
        // `Arc` of this value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn map_ring<T>(
    fd: BorrowedFd<'_>,
    size: u32,
    offset: &libc::xdp_ring_offset,
    page_offset: u64,
) -> io::Result<RingMemory<T>> {
    let len = offset.desc as usize + size as usize * mem::size_of::<T>();
    // SAFETY: a new mapping at an address that the kernel chooses.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            page_offset as libc::off_t,
        )
    };
    let base = NonNull::new(base.cast::<u8>()).filter(|base| base.as_ptr().cast() != libc::MAP_FAILED);
    let base = base.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel states these offsets for this mapping, whose length covers the slots
    // after them.
    let at = |offset: u64| unsafe { base.add(offset as usize) };
    Ok(RingMemory {
        producer: at(offset.producer).cast(),
        consumer: at(offset.consumer).cast(),
        flags: at(offset.flags).cast(),
        slots: at(offset.desc).cast(),
        size,
        owner: Arc::new(Mapping { base, len }),
    })
}

pub(crate) fn set_tx_budget(fd: BorrowedFd<'_>, budget: u32) -> io::Result<()> {
    set_option(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget)
}

/// Turns busy polling on and reads back what the kernel made of it. It has no way to read the
/// budget back (net/core/sock.c, `sk_getsockopt`), so that one is what was accepted.
pub(crate) fn set_busy_poll(fd: BorrowedFd<'_>, wanted: BusyPoll) -> io::Result<BusyPoll> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, &1_i32)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &wanted.microseconds)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL_BUDGET, &wanted.budget)?;
    let microseconds: libc::c_int = option(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL)?;
    Ok(BusyPoll { microseconds: microseconds as u32, budget: wanted.budget })
}

/// Binds, and waits for a queue whose last socket was closed just now, for `patience` at most.
pub(crate) fn bind(
    fd: BorrowedFd<'_>,
    link: LinkIndex,
    queue: QueueId,
    registered: Registered,
    introducer: Option<BorrowedFd<'_>>,
    patience: Duration,
) -> io::Result<()> {
    // The kernel refuses any other flag beside XDP_SHARED_UMEM: a socket that joins inherits them.
    let mode = match registered.mode {
        CopyMode::Copy => libc::XDP_COPY,
        CopyMode::ZeroCopy => libc::XDP_ZEROCOPY,
    };
    let pieces = if registered.pieces { libc::XDP_USE_SG } else { 0 };
    let flags = match introducer {
        Some(_) => libc::XDP_SHARED_UMEM,
        None => mode | pieces | libc::XDP_USE_NEED_WAKEUP,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: link.0,
        sxdp_queue_id: queue.0,
        sxdp_shared_umem_fd: introducer.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        // SAFETY: the kernel reads one `sockaddr_xdp`.
        let result = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                ptr::from_ref(&address).cast(),
                mem::size_of_val(&address) as libc::socklen_t,
            )
        };
        match check(result) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            result => return result.map(drop),
        }
    }
}

pub(crate) fn is_zero_copy(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let options: libc::xdp_options = option(fd, libc::SOL_XDP, libc::XDP_OPTIONS)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

pub(crate) fn statistics(fd: BorrowedFd<'_>) -> io::Result<XskStatistics> {
    let raw: libc::xdp_statistics = option(fd, libc::SOL_XDP, libc::XDP_STATISTICS)?;
    Ok(XskStatistics {
        rx_dropped: raw.rx_dropped,
        rx_invalid_descs: raw.rx_invalid_descs,
        tx_invalid_descs: raw.tx_invalid_descs,
        rx_ring_full: raw.rx_ring_full,
        rx_fill_ring_empty: raw.rx_fill_ring_empty_descs,
        tx_ring_empty: raw.tx_ring_empty_descs,
    })
}

/// Errors by which the kernel says "not all of it, come again" (net/xdp/xsk.c,
/// `__xsk_generic_xmit`).
fn means_later(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR))
}

#[inline]
pub(crate) fn wake_tx(fd: BorrowedFd<'_>) -> io::Result<Wake> {
    // SAFETY: no data and no address are passed.
    let sent = unsafe { libc::sendto(fd.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent >= 0 {
        return Ok(Wake::Done);
    }
    let error = io::Error::last_os_error();
    if means_later(&error) { Ok(Wake::Later) } else { Err(error) }
}

#[inline]
pub(crate) fn wake_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer and no address are passed.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if received >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if means_later(&error) { Ok(()) } else { Err(error) }
}
