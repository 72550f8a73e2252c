// SPDX-License-Identifier: Apache-2.0
//! The one description of the bytes in the segment, so that writer and reader cannot disagree.
//!
//! This is version 2 of VPP's statistics segment (`vlib/stats/shared.h`), because the clients that
//! exist read it: vpp_papi, GoVPP, libvppapiclient. Everything is made of naturally aligned 64-bit
//! little-endian words, and both sides touch the segment only by whole words: accesses of different
//! widths to one address that race have no meaning in the Rust memory model, and a 64-bit load is the
//! widest that is atomic on every target.
//!
//! * A *pointer* is the byte offset in the file plus the header's `base`; Weft writes base 0. Offset 0
//!   is never an object.
//! * A *vector* is an array that follows one word with its length (in the low half; the high half
//!   belongs to VPP's allocator and is ignored by clients). A pointer to a vector points at its first
//!   element.
//! * A *counter* entry points to a vector of one pointer per thread, each to a vector of values by
//!   index.
//! * A *name* entry points to a vector of pointers to vectors of bytes; the length counts the
//!   terminating NUL.

use std::mem::{offset_of, size_of};
use std::sync::atomic::AtomicU64;

#[cfg(not(all(target_endian = "little", target_has_atomic = "64", target_pointer_width = "64")))]
compile_error!(
    "the statistics segment is defined for little-endian targets with 64-bit atomics and pointers"
);

/// The only version of the layout that exists in the field.
pub(crate) const VERSION: u64 = 2;
/// Bytes of one word, the unit of every access.
pub(crate) const WORD: usize = size_of::<AtomicU64>();
/// Bytes of a directory name, its terminating NUL included.
pub(crate) const NAME_SIZE: usize = 128;

/// Stands at offset 0 of the file.
#[repr(C)]
pub(crate) struct Header {
    pub version: AtomicU64,
    pub base: AtomicU64,
    /// Number of structural changes so far, from 1: GoVPP takes 0 for a failed access.
    pub epoch: AtomicU64,
    pub in_progress: AtomicU64,
    /// Pointer to the vector of [`Entry`].
    pub directory: AtomicU64,
    /// Always 0: GoVPP takes anything else for a segment older than VPP 22.02, and numbers the types
    /// differently.
    pub error_vector: AtomicU64,
}

/// One named thing in the directory.
#[repr(C)]
pub(crate) struct Entry {
    /// [`Kind`] in the low half; the high half is padding.
    pub kind: AtomicU64,
    /// The value of a scalar, the pointer to a vector, or the target of a symlink ([`symlink_word`]).
    pub value: AtomicU64,
    pub name: [AtomicU64; NAME_SIZE / WORD],
}

/// One element of a combined counter. A reader may see `packets` of one moment and `bytes` of the next.
#[repr(C)]
pub struct Pair {
    pub packets: AtomicU64,
    pub bytes: AtomicU64,
}

const _: () = {
    assert!(size_of::<Header>() == 48);
    assert!(offset_of!(Header, version) == 0);
    assert!(offset_of!(Header, base) == 8);
    assert!(offset_of!(Header, epoch) == 16);
    assert!(offset_of!(Header, in_progress) == 24);
    assert!(offset_of!(Header, directory) == 32);
    assert!(offset_of!(Header, error_vector) == 40);
    assert!(size_of::<Entry>() == 144);
    assert!(offset_of!(Entry, kind) == 0);
    assert!(offset_of!(Entry, value) == 8);
    assert!(offset_of!(Entry, name) == 16);
    assert!(size_of::<Pair>() == 16);
    assert!(offset_of!(Pair, packets) == 0);
    assert!(offset_of!(Pair, bytes) == 8);
};

/// Type numbers of directory entries (`stat_directory_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scalar = 1,
    Simple = 2,
    Combined = 3,
    Names = 4,
    Empty = 5,
    Symlink = 6,
    /// Never written by Weft (clients released before 2025 do not know it), but read.
    Gauge = 9,
}

impl Kind {
    /// The kind in the first word of an entry, or its number if it is none of ours.
    pub fn of(word: u64) -> Result<Kind, u32> {
        match word as u32 {
            1 => Ok(Kind::Scalar),
            2 => Ok(Kind::Simple),
            3 => Ok(Kind::Combined),
            4 => Ok(Kind::Names),
            5 => Ok(Kind::Empty),
            6 => Ok(Kind::Symlink),
            9 => Ok(Kind::Gauge),
            other => Err(other),
        }
    }
}

/// The value word of a symlink: directory index of the target in the low half, column in the high half.
pub(crate) fn symlink_word(target: u32, column: u32) -> u64 {
    u64::from(target) | u64::from(column) << 32
}

/// Inverse of [`symlink_word`]: (target, column).
pub(crate) fn symlink_parts(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// The `index`th word of a text that is padded with NUL bytes.
pub(crate) fn text_word(text: &[u8], index: usize) -> u64 {
    let rest = text.get(index * WORD..).unwrap_or_default();
    let mut word = [0; WORD];
    let count = rest.len().min(WORD);
    word[..count].copy_from_slice(&rest[..count]);
    u64::from_le_bytes(word)
}
