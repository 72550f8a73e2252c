// SPDX-License-Identifier: Apache-2.0
//! From a description to packets: a template, the fields that change, the lengths and checksums that follow.
//!
//! All that can be computed once is computed here, on the main thread. On a worker a packet of fixed
//! fields is one copy; each field that changes adds a store and an addition per checksum that covers it.

use std::ops::Range;

use super::edit::{Edit, Place, Value, Walk, checksum, sum};

/// Sizes of the packets of a stream, in bytes from the first header on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Smallest.
    pub min: usize,
    /// Largest.
    pub max: usize,
    /// Drawn at random between them; otherwise one byte more per packet.
    pub random: bool,
}

/// Bytes from `from` to the end of the packet, as a 16-bit field at `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Length {
    pub at: usize,
    pub from: usize,
}

/// What a checksum covers beside a range of the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pseudo {
    /// Both addresses.
    pub addresses: Range<usize>,
    pub protocol: u8,
}

/// A checksum to be computed, a 16-bit field at `at`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Checksum {
    pub at: usize,
    pub from: usize,
    /// `None`: the end of the packet.
    pub to: Option<usize>,
    pub pseudo: Option<Pseudo>,
}

impl Checksum {
    fn covers(&self, offset: usize) -> bool {
        let inside = offset >= self.from && self.to.is_none_or(|to| offset < to);
        inside || self.pseudo.as_ref().is_some_and(|pseudo| pseudo.addresses.contains(&offset))
    }
}

/// A packet as it was described.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Description {
    /// Headers and payload; zero bits where a field changes.
    pub bytes: Vec<u8>,
    pub edits: Vec<(Place, Value)>,
    pub lengths: Vec<Length>,
    pub checksums: Vec<Checksum>,
}

impl Description {
    /// Gives a field its value, in place of the one that it had.
    pub fn set(&mut self, place: Place, value: Value) {
        self.edits.retain(|(other, _)| *other != place);
        let fixed = match value {
            Value::Fixed(value) => value,
            Value::Increment { .. } | Value::Random { .. } => {
                self.edits.push((place, value));
                0
            }
        };
        place.write(&mut self.bytes, fixed);
    }
}

/// A checksum to be stored into every packet.
#[derive(Clone, Debug)]
struct Fixup {
    at: usize,
    /// Of what does not change, by size of the packet.
    sums: Box<[u16]>,
    /// Of the packet that is being made.
    sum: u64,
    udp: bool,
}

/// A description, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    min: usize,
    /// Sizes above `min`.
    sizes: Walk,
    edits: Vec<Edit>,
    lengths: Vec<Length>,
    fixups: Vec<Fixup>,
}

/// Most checksums in a packet: one bit each in [`Edit::covered_by`].
pub(super) const MAX_CHECKSUMS: usize = 32;

/// IP protocol number.
const UDP: u8 = 17;

/// Seed of all random fields, spread by their number, so that a run can be repeated.
const SEED: u64 = 0x5eed;

impl Template {
    /// `sizes.min` must not be below the bytes described, and `sizes.max` not below that.
    pub fn new(description: &Description, sizes: Sizes) -> Template {
        let Description { bytes, edits, lengths, checksums } = description;
        debug_assert!(bytes.len() <= sizes.min && sizes.min <= sizes.max && checksums.len() <= MAX_CHECKSUMS);
        let mut bytes = bytes.clone();
        bytes.resize(sizes.max, 0);
        let one_size = sizes.min == sizes.max;
        let mut edits: Vec<Edit> = edits
            .iter()
            .zip(1u64..)
            .filter_map(|((place, value), i)| Edit::new(*place, *value, SEED.wrapping_mul(2 * i + 1)))
            .collect();
        let mut fixups = Vec::new();
        for checksum in checksums {
            let sums = sums(checksum, &bytes, lengths, sizes);
            for edit in edits.iter_mut().filter(|edit| checksum.covers(edit.offset())) {
                edit.covered_by |= 1 << fixups.len();
            }
            let udp = checksum.pseudo.as_ref().is_some_and(|pseudo| pseudo.protocol == UDP);
            fixups.push(Fixup { at: checksum.at, sums, sum: 0, udp });
        }
        let mut template = Template {
            bytes,
            min: sizes.min,
            sizes: Walk::new(sizes.random, (sizes.max - sizes.min) as u64, SEED),
            edits,
            lengths: lengths.clone(),
            fixups,
        };
        if one_size {
            let mut made = template.bytes.clone();
            template.lengths.drain(..).for_each(|length| length.store(&mut made));
            if template.edits.is_empty() {
                template.fixups.drain(..).for_each(|fixup| fixup.store(&mut made, fixup.sums[0].into()));
            }
            template.bytes = made;
        }
        template
    }

    /// Size of the next packet.
    #[inline(always)]
    pub fn next_size(&mut self) -> usize {
        self.min + self.sizes.next() as usize
    }

    /// Makes the next packet; `packet` is as long as [`Template::next_size`] said.
    #[inline(always)]
    pub fn fill(&mut self, packet: &mut [u8]) {
        packet.copy_from_slice(&self.bytes[..packet.len()]);
        if self.edits.is_empty() && self.fixups.is_empty() && self.lengths.is_empty() {
            return;
        }
        for length in &self.lengths {
            length.store(packet);
        }
        for fixup in &mut self.fixups {
            fixup.sum = fixup.sums[packet.len() - self.min].into();
        }
        for edit in &mut self.edits {
            let sum = edit.apply(packet);
            for (i, fixup) in self.fixups.iter_mut().enumerate() {
                fixup.sum += if edit.covered_by >> i & 1 == 1 { sum } else { 0 };
            }
        }
        for fixup in &self.fixups {
            fixup.store(packet, fixup.sum);
        }
    }
}

impl Length {
    #[inline(always)]
    fn store(self, packet: &mut [u8]) {
        let length = (packet.len() - self.from) as u16;
        packet[self.at..][..2].copy_from_slice(&length.to_be_bytes());
    }
}

impl Fixup {
    #[inline(always)]
    fn store(&self, packet: &mut [u8], sum: u64) {
        let sum = checksum(sum);
        // Zero means "no checksum" there (RFC 768).
        let sum = if sum == 0 && self.udp { 0xffff } else { sum };
        packet[self.at..][..2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The sum of what does not change, for each size. In `bytes`, lengths, checksums and the fields that change
/// are zero.
fn sums(checksum: &Checksum, bytes: &[u8], lengths: &[Length], sizes: Sizes) -> Box<[u16]> {
    debug_assert!(checksum.from.is_multiple_of(2), "all headers have an even length");
    let pseudo = checksum.pseudo.as_ref();
    let end = checksum.to.unwrap_or(sizes.min);
    let mut fixed = sum(&bytes[checksum.from..end]);
    fixed += pseudo.map_or(0, |pseudo| sum(&bytes[pseudo.addresses.clone()]) + u64::from(pseudo.protocol));
    let lengths: Vec<usize> = lengths
        .iter()
        .filter(|length| checksum.covers(length.at))
        .map(|length| length.from)
        .chain(pseudo.map(|_| checksum.from))
        .collect();
    (sizes.min..=sizes.max)
        .map(|size| {
            if checksum.to.is_none() && size > sizes.min {
                // Headers start on even offsets, so the parity of the packet is that of the sum.
                fixed += u64::from(bytes[size - 1]) << (8 * (size & 1));
            }
            let lengths: u64 = lengths.iter().map(|from| (size - from) as u64).sum();
            !self::checksum(fixed + lengths)
        })
        .collect()
}
