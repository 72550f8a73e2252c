// SPDX-License-Identifier: Apache-2.0
//! One attempt to copy something out of a segment that may change meanwhile, or be damaged.
//!
//! Nothing that is read here is trusted: every pointer and length is checked against the mapping before
//! it is followed, and the words copied in one attempt are limited. All loops are bounded by a checked
//! length.

use std::cell::Cell;
use std::mem::{offset_of, size_of, take};

use crate::error::ReadError;
use crate::layout::{Entry, Header, Kind, NAME_SIZE, WORD, symlink_parts, text_word};
use crate::memory::ReadMemory;
use crate::value::{Combined, Value};

/// A vector that lies inside the mapping.
struct Span {
    data: u64,
    len: usize,
    /// Bytes of an element.
    element: usize,
}

impl Span {
    /// Offset of an element.
    fn at(&self, index: usize) -> u64 {
        self.data + (index * self.element) as u64
    }

    fn offsets(&self) -> impl Iterator<Item = u64> {
        (0..self.len).map(|index| self.at(index))
    }
}

pub(crate) struct View<'a> {
    memory: &'a ReadMemory,
    base: u64,
    directory: Span,
    /// Words that may still be copied. In a sound segment no two vectors overlap, and a column has
    /// hardly more than one symlink, so everything together is at most about twice the segment. Without
    /// a limit a few damaged pointers could ask for terabytes.
    budget: Cell<usize>,
}

impl<'a> View<'a> {
    pub fn new(memory: &'a ReadMemory) -> Result<View<'a>, ReadError> {
        let base = memory.field(offset_of!(Header, base));
        let budget = Cell::new(memory.len() / WORD * 4);
        let mut view = View { memory, base, directory: Span { data: 0, len: 0, element: 1 }, budget };
        view.directory =
            view.vector(offset_of!(Header, directory) as u64, size_of::<Entry>(), "directory")?;
        Ok(view)
    }

    /// Calls `f` with offset and name of every entry in use.
    pub fn for_each_entry(
        &self,
        mut f: impl FnMut(u64, &str) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut name = String::with_capacity(NAME_SIZE);
        for entry in self.directory.offsets() {
            if self.kind(entry)? != Ok(Kind::Empty) {
                self.text(entry + offset_of!(Entry, name) as u64, NAME_SIZE, &mut name)?;
                f(entry, &name)?;
            }
        }
        Ok(())
    }

    /// Offset of the entry with that name, looked for first at the position `hint`, which becomes the
    /// position found.
    pub fn find(&self, name: &str, hint: &mut usize) -> Result<u64, ReadError> {
        if name.len() < NAME_SIZE {
            for index in std::iter::once(*hint).chain(0..self.directory.len) {
                let entry = self.directory.at(index);
                if index < self.directory.len
                    && self.has_name(entry, name)?
                    && self.kind(entry)? != Ok(Kind::Empty)
                {
                    *hint = index;
                    return Ok(entry);
                }
            }
        }
        Err(ReadError::NotFound { name: name.to_owned() })
    }

    /// Copies an entry into `value`, in the memory that is there if it is of the same kind. After an
    /// error `value` is arbitrary.
    pub fn copy(&self, entry: u64, value: &mut Value) -> Result<(), ReadError> {
        let field = entry + offset_of!(Entry, value) as u64;
        match self.kind(entry)? {
            Ok(Kind::Scalar | Kind::Gauge) => *value = Value::Scalar(self.load(field, "scalar")?),
            Ok(Kind::Simple) => {
                let mut rows = if let Value::Simple(rows) = value { take(rows) } else { Vec::new() };
                self.rows(field, simple, &mut rows)?;
                *value = Value::Simple(rows);
            }
            Ok(Kind::Combined) => {
                let mut rows = if let Value::Combined(rows) = value { take(rows) } else { Vec::new() };
                self.rows(field, combined, &mut rows)?;
                *value = Value::Combined(rows);
            }
            Ok(Kind::Names) => {
                let mut names = if let Value::Names(names) = value { take(names) } else { Vec::new() };
                self.names(field, &mut names)?;
                *value = Value::Names(names);
            }
            Ok(Kind::Symlink) => self.shown(field, value)?,
            Ok(Kind::Empty) => *value = Value::Other(Kind::Empty as u32),
            Err(number) => *value = Value::Other(number),
        }
        Ok(())
    }

    fn load(&self, offset: u64, what: &'static str) -> Result<u64, ReadError> {
        self.memory.load(offset).ok_or(outside(what, offset, offset))
    }

    /// Takes `words` from the budget; `what` at `offset` asked for them.
    fn charge(&self, words: usize, what: &'static str, offset: u64) -> Result<(), ReadError> {
        let Some(left) = self.budget.get().checked_sub(words) else {
            let expected = "vectors that do not overlap (together they are larger than the segment)";
            return Err(ReadError::Damaged { what, offset, found: words as u64, expected });
        };
        self.budget.set(left);
        Ok(())
    }

    /// `count` words from `offset` on.
    fn words(
        &self,
        offset: u64,
        count: usize,
        what: &'static str,
    ) -> Result<impl Iterator<Item = u64>, ReadError> {
        self.charge(count, what, offset)?;
        self.memory.words(offset, count).ok_or(outside(what, offset, offset))
    }

    /// The vector that the pointer at `offset` points to, with elements of `element` bytes.
    fn vector(&self, offset: u64, element: usize, what: &'static str) -> Result<Span, ReadError> {
        self.charge(2, what, offset)?;
        let pointer = self.load(offset, what)?;
        let data = pointer.wrapping_sub(self.base);
        let length = data.checked_sub(WORD as u64).ok_or(outside(what, offset, pointer))?;
        let header = self.memory.load(length).ok_or(outside(what, offset, pointer))?;
        // The high half is not part of the length.
        let len = header as u32 as usize;
        let words = len.checked_mul(element).map(|bytes| bytes.div_ceil(WORD));
        if words.and_then(|words| self.memory.words(data, words)).is_none() {
            let expected = "a number of elements that fits into the segment";
            return Err(ReadError::Damaged { what, offset: length, found: len as u64, expected });
        }
        Ok(Span { data, len, element })
    }

    /// The kind of an entry, or the number that is none of ours.
    fn kind(&self, entry: u64) -> Result<Result<Kind, u32>, ReadError> {
        Ok(Kind::of(self.load(entry + offset_of!(Entry, kind) as u64, "entry type")?))
    }

    fn has_name(&self, entry: u64, name: &str) -> Result<bool, ReadError> {
        // No charge: the directory is walked once per attempt, and most names differ in the first
        // words.
        let words = self.memory.words(entry + offset_of!(Entry, name) as u64, NAME_SIZE / WORD);
        let mut words = words.ok_or(outside("entry name", entry, entry))?.enumerate();
        Ok(words.all(|(index, word)| word == text_word(name.as_bytes(), index)))
    }

    /// Copies the text at `offset` into `text`: up to its NUL, at most `size` bytes.
    fn text(&self, offset: u64, size: usize, text: &mut String) -> Result<(), ReadError> {
        text.clear();
        let mut left = size;
        for word in self.words(offset, size.div_ceil(WORD), "text")? {
            let bytes = word.to_le_bytes();
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(WORD).min(left);
            match std::str::from_utf8(&bytes[..end]) {
                Ok(part) if part.is_ascii() => text.push_str(part),
                _ => {
                    let expected = "ASCII characters only";
                    return Err(ReadError::Damaged { what: "text", offset, found: word, expected });
                }
            }
            left -= end;
            if end < WORD {
                break;
            }
        }
        Ok(())
    }

    fn names(&self, field: u64, names: &mut Vec<String>) -> Result<(), ReadError> {
        let table = self.vector(field, WORD, "name vector")?;
        names.truncate(table.len);
        for (index, pointer) in table.offsets().enumerate() {
            let text = self.vector(pointer, 1, "name")?;
            self.text(text.data, text.len, slot(names, index))?;
        }
        Ok(())
    }

    /// All rows of a counter whose elements are `N` words.
    fn rows<const N: usize, T>(
        &self,
        field: u64,
        make: fn([u64; N]) -> T,
        rows: &mut Vec<Vec<T>>,
    ) -> Result<(), ReadError> {
        let table = self.vector(field, WORD, "counter")?;
        rows.truncate(table.len);
        for (index, pointer) in table.offsets().enumerate() {
            let row = self.vector(pointer, N * WORD, "counter row")?;
            let mut words = self.words(row.data, row.len * N, "counter row")?;
            let values = slot(rows, index);
            values.clear();
            // `words` has exactly N for each element.
            let element = |_| make(std::array::from_fn(|_| words.next().unwrap_or_default()));
            values.extend((0..row.len).map(element));
        }
        Ok(())
    }

    /// Element `column` of all rows of a counter.
    fn column<const N: usize, T>(
        &self,
        field: u64,
        column: usize,
        make: fn([u64; N]) -> T,
        values: &mut Vec<T>,
    ) -> Result<(), ReadError> {
        values.clear();
        for pointer in self.vector(field, WORD, "counter")?.offsets() {
            let row = self.vector(pointer, N * WORD, "counter row")?;
            if column >= row.len {
                let found = row.len as u64;
                return Err(ReadError::Damaged {
                    what: "counter row",
                    offset: pointer,
                    found,
                    expected: "the column of a symlink",
                });
            }
            let mut words = self.words(row.at(column), N, "counter row")?;
            values.push(make(std::array::from_fn(|_| words.next().unwrap_or_default())));
        }
        Ok(())
    }

    /// What a symlink shows.
    fn shown(&self, field: u64, value: &mut Value) -> Result<(), ReadError> {
        let link = self.load(field, "symlink")?;
        let (target, column) = symlink_parts(link);
        let damaged = |expected| ReadError::Damaged { what: "symlink", offset: field, found: link, expected };
        if target as usize >= self.directory.len {
            return Err(damaged("a target inside the directory"));
        }
        let target = self.directory.at(target as usize);
        let rows = target + offset_of!(Entry, value) as u64;
        match self.kind(target)? {
            Ok(Kind::Simple) => {
                let mut values =
                    if let Value::SimpleColumn(values) = value { take(values) } else { Vec::new() };
                self.column(rows, column as usize, simple, &mut values)?;
                *value = Value::SimpleColumn(values);
            }
            Ok(Kind::Combined) => {
                let mut values =
                    if let Value::CombinedColumn(values) = value { take(values) } else { Vec::new() };
                self.column(rows, column as usize, combined, &mut values)?;
                *value = Value::CombinedColumn(values);
            }
            _ => return Err(damaged("a counter as target")),
        }
        Ok(())
    }
}

/// The element at `index`, which is at most the length; grown one by one, as a damaged length may promise
/// more than there is.
fn slot<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if index >= list.len() {
        list.push(T::default());
    }
    &mut list[index]
}

fn outside(what: &'static str, offset: u64, found: u64) -> ReadError {
    ReadError::Damaged { what, offset, found, expected: "an aligned place inside the segment" }
}

fn simple([value]: [u64; 1]) -> u64 {
    value
}

fn combined([packets, bytes]: [u64; 2]) -> Combined {
    Combined { packets, bytes }
}
