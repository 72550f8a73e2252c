// SPDX-License-Identifier: Apache-2.0
//! Address space for tables that are mostly empty.
//!
//! A forwarding table is an array that covers all addresses, and most VRFs use little of it. The kernel
//! already knows how to keep that cheap: an anonymous mapping costs page tables and zero pages until
//! it is written. So a table of 64 MB begins at nothing and grows by the pages that its routes touch.
//!
//! What it holds is atomic: the main thread writes and workers read at the same time. This module only makes the
//! memory; it gives no meaning to it.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use zerocopy::FromZeros;

/// The page size that a full table wants.
const HUGE_PAGE: usize = 2 << 20;

/// `N` items, zero at first, aligned to a huge page.
pub(super) struct Mapped<T, const N: usize> {
    items: NonNull<[T; N]>,
    mapping: NonNull<libc::c_void>,
}

/// Words.
pub(super) type Words<const N: usize> = Mapped<AtomicU32, N>;

// SAFETY: the items lie in memory that belongs to this value and that no thread is tied to.
unsafe impl<T: Send, const N: usize> Send for Mapped<T, N> {}
// SAFETY: it hands out shared references to the items, and nothing else.
unsafe impl<T: Sync, const N: usize> Sync for Mapped<T, N> {}

impl<T: FromZeros, const N: usize> Mapped<T, N> {
    const BYTES: usize = size_of::<[T; N]>();
    /// With room to cut an aligned range out of it.
    const MAPPED: usize = Self::BYTES + HUGE_PAGE;

    /// Reserves the address space; fails only if the process has none left or may have no more.
    pub fn map() -> io::Result<Self> {
        // NORESERVE: what is never touched must not count against the overcommit limit.
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::MAPPED,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = NonNull::new(mapping).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        let skip = mapping.align_offset(HUGE_PAGE);
        // SAFETY: `skip` is less than HUGE_PAGE, so BYTES from there lie inside the mapping.
        let items = unsafe { mapping.byte_add(skip) }.cast();
        Ok(Mapped { items, mapping })
    }

    /// Asks the kernel for huge pages; what is touched already follows when `khugepaged` comes by.
    pub fn prefer_huge_pages(&self) -> io::Result<()> {
        // SAFETY: advice about our own mapping; it does not change what the memory holds.
        match unsafe { libc::madvise(self.items.as_ptr().cast(), Self::BYTES, libc::MADV_HUGEPAGE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl<T: FromZeros, const N: usize> Deref for Mapped<T, N> {
    type Target = [T; N];

    #[inline(always)]
    fn deref(&self) -> &[T; N] {
        // SAFETY: `map` placed N items there, aligned and zeroed (a valid T); they live as long as this value and are only
        // accessed through shared references.
        unsafe { self.items.as_ref() }
    }
}

impl<T, const N: usize> Drop for Mapped<T, N> {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` made; references to the items cannot outlive this value.
        unsafe { libc::munmap(self.mapping.as_ptr(), size_of::<[T; N]>() + HUGE_PAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn words_are_zero_aligned_and_keep_what_is_stored() {
        const N: usize = 1 << 24;
        let words = Words::<N>::map().unwrap();
        assert_eq!(words.as_ptr().align_offset(HUGE_PAGE), 0);
        for index in [0, 1, 12345, N - 1] {
            assert_eq!(words[index].load(Relaxed), 0);
            words[index].store(index as u32 + 1, Relaxed);
        }
        words.prefer_huge_pages().unwrap();
        assert_eq!(words[N - 1].load(Relaxed), N as u32);
    }
}
