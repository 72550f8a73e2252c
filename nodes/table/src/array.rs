// SPDX-License-Identifier: Apache-2.0
//! Arrays on huge pages: what is read at random by the million costs a TLB miss each on small ones.
//!
//! With `unsafe`: it gives a mapping the type of its elements. Under loom, whose atomics have a constructor, an array is a
//! box.

use std::io;
#[cfg(not(loom))]
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

#[cfg(not(loom))]
use weft_engine::buffer::{Memory, PageRequest, Pages};

/// What all bytes zero are a value of.
#[cfg(not(loom))]
pub trait Zeroed: zerocopy::FromZeros {}
#[cfg(not(loom))]
impl<T: zerocopy::FromZeros> Zeroed for T {}
/// What all bytes zero are a value of.
#[cfg(loom)]
pub trait Zeroed: Default {}
#[cfg(loom)]
impl<T: Default> Zeroed for T {}

/// `len` elements, all zero at first.
pub struct Array<T> {
    #[cfg(not(loom))]
    memory: Memory,
    #[cfg(not(loom))]
    len: usize,
    #[cfg(not(loom))]
    elements: PhantomData<T>,
    #[cfg(loom)]
    elements: Box<[T]>,
}

#[cfg(not(loom))]
impl<T: Zeroed> Array<T> {
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

    /// What it lies on.
    pub fn pages(&self) -> Pages {
        self.memory.pages()
    }

    /// Starts to load the cache line of an element; any index is harmless.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        weft_engine::prefetch::read(self.memory.base().as_ptr().cast::<T>().wrapping_add(index));
    }
}

#[cfg(not(loom))]
impl<T: Zeroed> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `len` elements, aligned (see `new`), zeroed at first (a valid T by `FromZeros`) and since
        // then only written through `deref_mut` and what a T allows; it lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.memory.base().as_ptr().cast(), self.len) }
    }
}

#[cfg(not(loom))]
impl<T: Zeroed> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.base().as_ptr().cast(), self.len) }
    }
}

#[cfg(loom)]
impl<T: Zeroed> Array<T> {
    pub fn new(len: usize) -> io::Result<Array<T>> {
        Ok(Array { elements: (0..len).map(|_| T::default()).collect() })
    }

    pub fn prefetch(&self, _: usize) {}
}

#[cfg(loom)]
impl<T: Zeroed> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

#[cfg(loom)]
impl<T: Zeroed> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }
}

#[cfg(all(test, not(loom)))]
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
