// SPDX-License-Identifier: Apache-2.0
//! The tables that plugins make: `weft-table` over the ABI.
//!
//! A plugin holds a pointer to a [`Held`]. Any of its threads searches by the reader; the one that it has chosen to write
//! is the only one that calls the functions of the writer, as the ABI demands.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use weft_plugin_sdk::abi;
use weft_table::{Found, KEY_WORDS, Reader, TableError, View, Writer};

/// Most words of a value: a few cache lines.
const MOST_WORDS: u32 = 64;

struct Pair<const N: usize> {
    reader: Reader<N>,
    writer: UnsafeCell<Writer<N>>,
}

/// A table, by the words of its keys.
enum Held {
    One(Pair<1>),
    Two(Pair<2>),
    Three(Pair<3>),
    Five(Pair<5>),
    Six(Pair<6>),
}

macro_rules! with {
    ($held:expr, $pair:ident => $run:expr) => {
        match $held {
            Held::One($pair) => $run,
            Held::Two($pair) => $run,
            Held::Three($pair) => $run,
            Held::Five($pair) => $run,
            Held::Six($pair) => $run,
        }
    };
}

const _: () = assert!(size_of::<Found>() == size_of::<abi::Found>());

fn found(found: abi::Found) -> Found {
    Found { slot: found.slot, version: found.version }
}

fn abi_found(found: Found) -> abi::Found {
    abi::Found { slot: found.slot, version: found.version }
}

impl<const N: usize> Pair<N> {
    fn new(capacity: u32, width: u32) -> Result<Pair<N>, TableError> {
        let writer = Writer::new(capacity as usize, width as usize)?;
        Ok(Pair { reader: writer.reader(), writer: UnsafeCell::new(writer) })
    }

    /// # Safety
    /// The caller is the thread that writes this table.
    #[expect(
        clippy::mut_from_ref,
        reason = "the ABI has one thread call this, and readers have a side of their own"
    )]
    unsafe fn writer(&self) -> &mut Writer<N> {
        // SAFETY: by the caller, nobody else has it.
        unsafe { &mut *self.writer.get() }
    }

    /// # Safety
    /// A key of this table can be read from there.
    unsafe fn key(&self, key: *const u64) -> [u64; N] {
        // SAFETY: by the caller.
        unsafe { key.cast::<[u64; N]>().read() }
    }

    fn find(&self, keys: &[[u64; N]], found: &mut [Found], values: Option<&mut [u64]>) {
        self.reader.find(keys, found);
        let width = self.reader.width();
        let Some(values) = values.filter(|_| width > 0) else {
            return;
        };
        for ((key, found), value) in keys.iter().zip(found).zip(values.chunks_exact_mut(width)) {
            // What is replaced between the two steps is looked for again, and then there is no step between.
            while found.is_some() && !self.reader.read(*found, value) {
                *found = self.reader.get(key);
            }
        }
    }
}

fn entry<const N: usize>(view: View<'_, N>) -> abi::TableEntry {
    let mut key = [0; 6];
    key[..N].copy_from_slice(&view.key);
    abi::TableEntry { found: abi_found(view.found), seen: view.seen, key, value: view.value.as_ptr().cast() }
}

/// Makes one; an error is a sentence.
pub(crate) fn new(key_words: u32, value_words: u32, capacity: u32) -> Result<*mut abi::Table, String> {
    if value_words > MOST_WORDS {
        return Err(format!("a table with values of {value_words} words: expected at most {MOST_WORDS}"));
    }
    let held = match key_words {
        1 => Pair::new(capacity, value_words).map(Held::One),
        2 => Pair::new(capacity, value_words).map(Held::Two),
        3 => Pair::new(capacity, value_words).map(Held::Three),
        5 => Pair::new(capacity, value_words).map(Held::Five),
        6 => Pair::new(capacity, value_words).map(Held::Six),
        other => return Err(format!("a table with keys of {other} words: expected one of {KEY_WORDS:?}")),
    };
    Ok(Box::into_raw(Box::new(held.map_err(|error| error.to_string())?)).cast())
}

/// # Safety
/// Here and below: the arguments are as the ABI describes them, and `table` was made by [`new`].
unsafe fn held<'a>(table: *const abi::Table) -> &'a Held {
    // SAFETY: by the caller.
    unsafe { &*table.cast() }
}

pub(crate) unsafe extern "C" fn free(table: *mut abi::Table) {
    if !table.is_null() {
        // SAFETY: made by `new`, and freed once.
        drop(unsafe { Box::from_raw(table.cast::<Held>()) });
    }
}

/// # Safety
/// `length` of them can be written, or `length` is 0.
unsafe fn written<'a, T>(first: *mut T, length: usize) -> &'a mut [T] {
    match length {
        0 => &mut [],
        // SAFETY: by the caller.
        _ => unsafe { std::slice::from_raw_parts_mut(first, length) },
    }
}

pub(crate) unsafe extern "C" fn find(
    table: *const abi::Table,
    keys: *const u64,
    count: u32,
    found: *mut abi::Found,
    values: *mut u64,
) {
    let count = count as usize;
    if count == 0 {
        return;
    }
    // SAFETY: the ABI: there are `count` keys and as many places; both structures of a place are the same two numbers.
    with!(unsafe { held(table) }, pair => unsafe {
        let found = written(found.cast::<Found>(), count);
        let width = pair.reader.width();
        let values = (!values.is_null()).then(|| written(values, count * width));
        pair.find(std::slice::from_raw_parts(keys.cast(), count), found, values);
    });
}

pub(crate) unsafe extern "C" fn touch(table: *const abi::Table, at: abi::Found, now: u32) {
    // SAFETY: the ABI.
    with!(unsafe { held(table) }, pair => pair.reader.touch(found(at), now));
}

pub(crate) unsafe extern "C" fn word(table: *const abi::Table, at: abi::Found, word: u32) -> *mut u64 {
    // SAFETY: the ABI.
    let word = with!(unsafe { held(table) }, pair => pair.reader.word(found(at), word as usize));
    word.map_or(std::ptr::null_mut(), |word| word.as_ptr())
}

pub(crate) unsafe extern "C" fn next(table: *const abi::Table, from: u32, into: *mut abi::TableEntry) -> u32 {
    // SAFETY: the ABI.
    let next = with!(unsafe { held(table) }, pair => pair.reader.next(from).map(entry));
    if let Some(entry) = next {
        // SAFETY: the ABI: there is room.
        unsafe { into.write(entry) };
    }
    next.is_some().into()
}

pub(crate) unsafe extern "C" fn put(
    table: *mut abi::Table,
    key: *const u64,
    value: *const u64,
    now: u32,
    at: *mut abi::Found,
) -> i32 {
    // SAFETY: the ABI: a key and a value of the table's width, and this is the thread that writes.
    let put = with!(unsafe { held(table) }, pair => unsafe {
        let value = match pair.reader.width() {
            0 => &[],
            width => std::slice::from_raw_parts(value, width),
        };
        pair.writer().put(pair.key(key), value, now)
    });
    match put {
        Ok(found) => {
            if !at.is_null() {
                // SAFETY: the ABI.
                unsafe { at.write(abi_found(found)) };
            }
            abi::OK
        }
        Err(_) => abi::REFUSED,
    }
}

pub(crate) unsafe extern "C" fn remove(table: *mut abi::Table, key: *const u64) -> i32 {
    // SAFETY: as in `put`.
    let removed = with!(unsafe { held(table) }, pair => unsafe { pair.writer().remove(&pair.key(key)) });
    if removed { abi::OK } else { abi::REFUSED }
}

pub(crate) unsafe extern "C" fn sweep(
    table: *mut abi::Table,
    slots: u32,
    old: Option<unsafe extern "C" fn(*mut c_void, *const abi::TableEntry) -> u32>,
    user: *mut c_void,
) -> u32 {
    let Some(old) = old else {
        return 0;
    };
    // SAFETY: as in `put`; the plugin gave `old` and `user` for each other.
    let taken = with!(unsafe { held(table) }, pair => unsafe {
        pair.writer().sweep(slots as usize, |view| {
            let entry = entry(view);
            old(user, &raw const entry) != 0
        })
    });
    taken as u32
}

pub(crate) unsafe extern "C" fn length(table: *const abi::Table) -> u32 {
    // SAFETY: as in `put`.
    with!(unsafe { held(table) }, pair => unsafe { pair.writer().len() as u32 })
}
