// SPDX-License-Identifier: Apache-2.0
//! Address space for tables that are mostly empty.
//!
//! A forwarding table is an array that covers all addresses, and most VRFs use little of it. The kernel
//! already knows how to keep that cheap: an anonymous mapping costs page tables and zero pages until
//! it is written. So a table of 64 MB begins at nothing and grows by the pages that its routes touch.
//!
//! Words are atomic: the main thread writes and workers read at the same time. This module only makes the
//! memory; it gives no meaning to it.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// The page size that a full table wants.
const HUGE_PAGE: usize = 2 << 20;

/// `N` words, zero at first, aligned to a huge page.
pub(super) struct Words<const N: usize> {
    words: NonNull<[AtomicU32; N]>,
    mapping: NonNull<libc::c_void>,
}

// SAFETY: the words are atomics in memory that belongs to this value and that no thread is tied to.
unsafe impl<const N: usize> Send for Words<N> {}
// SAFETY: shared access to the words is by atomics only.
unsafe impl<const N: usize> Sync for Words<N> {}

impl<const N: usize> Words<N> {
    const BYTES: usize = N * size_of::<AtomicU32>();
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
        let words = unsafe { mapping.byte_add(skip) }.cast();
        Ok(Words { words, mapping })
    }

    /// Asks the kernel for huge pages; what is touched already follows when `khugepaged` comes by.
    pub fn prefer_huge_pages(&self) -> io::Result<()> {
        // SAFETY: advice about our own mapping; it does not change what the memory holds.
        match unsafe { libc::madvise(self.words.as_ptr().cast(), Self::BYTES, libc::MADV_HUGEPAGE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Starts to load the cache line of a word.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        let word: *const AtomicU32 = &raw const self[index];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint with no architectural effect; SSE is part of x86_64.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(word.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = word;
    }
}

impl<const N: usize> Deref for Words<N> {
    type Target = [AtomicU32; N];

    #[inline(always)]
    fn deref(&self) -> &[AtomicU32; N] {
        // SAFETY: `map` placed N words there, aligned and zeroed (a valid AtomicU32); they live as long as
        // this value and are only accessed through shared references.
        unsafe { self.words.as_ref() }
    }
}

impl<const N: usize> Drop for Words<N> {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` made; references to the words cannot outlive this value.
        unsafe { libc::munmap(self.mapping.as_ptr(), Self::MAPPED) };
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
            words.prefetch(index);
            assert_eq!(words[index].load(Relaxed), 0);
            words[index].store(index as u32 + 1, Relaxed);
        }
        words.prefer_huge_pages().unwrap();
        assert_eq!(words[N - 1].load(Relaxed), N as u32);
    }
}
