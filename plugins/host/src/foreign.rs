// SPDX-License-Identifier: Apache-2.0
//! Reads what a plugin points to. What is read is copied: nothing here keeps a pointer.

use std::ffi::{CStr, c_char};

/// Most names in a list: a list without its null pointer must end somewhere.
const LONGEST_LIST: usize = 64;

/// A structure of the ABI that says in its first field, or the one at `SIZE_AT`, how many bytes it has.
///
/// # Safety
/// Every field is an integer, a raw pointer, or an `Option` of a function pointer.
pub unsafe trait Described: Sized {
    /// Offset of `size`.
    const SIZE_AT: usize = 0;
    /// For a sentence: "a node".
    const WHAT: &'static str;
}

/// A copy of a plugin's structure, if its `size` is right; an error is a sentence.
///
/// # Safety
/// `from` points to a structure of the plugin with as many bytes as its `size` says.
pub unsafe fn read<T: Described>(from: *const T) -> Result<T, String> {
    if from.is_null() {
        return Err(format!("{} without a description", T::WHAT));
    }
    // SAFETY: the caller has the structure, and `size` is one of its fields.
    let found = unsafe { from.byte_add(T::SIZE_AT).cast::<u32>().read() } as usize;
    match size_of::<T>() {
        // SAFETY: it has as many bytes as it says.
        expected if found == expected => Ok(unsafe { from.read() }),
        expected => Err(format!("{} has a description of {found} bytes, expected {expected}", T::WHAT)),
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
