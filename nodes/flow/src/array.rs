// SPDX-License-Identifier: Apache-2.0
//! Arrays of a worker's own on huge pages: what is read at random by the million costs a TLB miss each on small ones.
//!
//! With `unsafe`: it gives a mapping the type of its elements.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use weft_engine::buffer::{Memory, PageRequest};
use zerocopy::FromZeros;

/// `len` elements, all zero at first.
pub(crate) struct Array<T> {
    memory: Memory,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: FromZeros> Array<T> {
    /// Maps and populates the memory.
    pub fn new(len: usize) -> io::Result<Array<T>> {
        // A mapping begins at a page, which suits every alignment of a type.
        const { assert!(align_of::<T>() <= 4096) };
        let bytes =
            len.checked_mul(size_of::<T>()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let memory = Memory::map(bytes, PageRequest::Auto)?;
        memory.populate();
        Ok(Array { memory, len, elements: PhantomData })
    }

    /// Starts to load the cache line of an element; any index is harmless.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        weft_engine::prefetch::read(self.memory.base().as_ptr().cast::<T>().wrapping_add(index));
    }
}

impl<T: FromZeros> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `len` elements, aligned (see `new`), zeroed at first (a valid T by `FromZeros`) and since
        // then only written through `deref_mut`; it lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.base().as_ptr().cast(), self.len) }
    }
}

impl<T: FromZeros> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.base().as_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_zero_and_keep_what_is_stored() {
        let mut array = Array::<[u32; 3]>::new(1000).unwrap();
        assert_eq!((array.len(), array[999]), (1000, [0; 3]));
        array[999] = [1, 2, 3];
        array.prefetch(usize::MAX);
        assert_eq!(array.iter().map(|element| element[2]).sum::<u32>(), 3);
    }
}
