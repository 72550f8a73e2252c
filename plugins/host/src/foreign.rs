// SPDX-License-Identifier: Apache-2.0
//! Reads what a plugin points to. What is read is copied: nothing here keeps a pointer.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

/// Most names in a list: a list without its null pointer must end somewhere.
const LONGEST_LIST: usize = 64;

/// A structure of the ABI: all zero is a value of it, and its first field, or the one at `SIZE_AT`, says how much of it
/// the plugin knows.
///
/// # Safety
/// Every field is an integer, a raw pointer, or an `Option` of a function pointer.
pub unsafe trait Sized32: Sized {
    /// Offset of `size`.
    const SIZE_AT: usize = 0;
    /// Bytes of the oldest version.
    const LEAST: usize;
}

/// A copy of a plugin's structure; what the plugin does not know of is zero. `None` if it is smaller than it ever was.
///
/// # Safety
/// `from` points to a structure of the plugin with as many bytes as its `size` says.
pub unsafe fn read<T: Sized32>(from: *const T) -> Option<T> {
    if from.is_null() {
        return None;
    }
    // SAFETY: the oldest version has the field.
    let size = unsafe { from.byte_add(T::SIZE_AT).cast::<u32>().read() } as usize;
    if size < T::LEAST {
        return None;
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: both have so many bytes, and zero is a good value of the rest.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.as_mut_ptr().cast(), size.min(size_of::<T>()));
        Some(copy.assume_init())
    }
}

/// A text that ends in NUL; `None` for the null pointer.
///
/// # Safety
/// `text` is null or a C string.
pub unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: by the caller.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Texts closed by a null pointer; none for the null pointer.
///
/// # Safety
/// `list` is null or such a list.
pub unsafe fn list(list: *const *const c_char) -> Vec<String> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: by the caller; the iterator ends with the null pointer.
    (0..LONGEST_LIST).map_while(|i| unsafe { text(*list.add(i)) }).collect()
}

/// A text with a length.
///
/// # Safety
/// `length` bytes can be read from `bytes`, or `length` is 0.
pub unsafe fn bytes<'a>(bytes: *const u8, length: usize) -> &'a [u8] {
    match length {
        0 => &[],
        // SAFETY: by the caller.
        _ => unsafe { std::slice::from_raw_parts(bytes, length) },
    }
}
