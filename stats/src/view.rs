// SPDX-License-Identifier: Apache-2.0
//! One attempt to copy something out of a segment that may change meanwhile, or be damaged.
//!
//! Nothing that is read here is trusted: every pointer and length is checked against the mapping before
//! it is followed, and the words copied in one attempt are limited. All loops are bounded by a checked
//! length.

use std::cell::Cell;
use std::mem::{offset_of, size_of};

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
    /// Words that may still be copied. In a sound segment no two vectors overlap, and a column has
    /// hardly more than one symlink, so everything together is at most about twice the segment. Without
    /// a limit a few damaged pointers could ask for terabytes.
    budget: Cell<usize>,
}

impl<'a> View<'a> {
    pub fn new(memory: &'a ReadMemory) -> View<'a> {
        let base = memory.field(offset_of!(Header, base));
        View { memory, base, budget: Cell::new(memory.len() / WORD * 4) }
    }

    /// Calls `f` with offset and name of every entry in use.
    pub fn for_each_entry(
        &self,
        mut f: impl FnMut(u64, String) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        for entry in self.directory()?.offsets() {
            if self.kind(entry)? != Ok(Kind::Empty) {
                f(entry, self.text(entry + offset_of!(Entry, name) as u64, NAME_SIZE)?)?;
            }
        }
        Ok(())
    }

    /// Offset of the entry with that name, looked for first at the position `hint`, which becomes the
    /// position found.
    pub fn find(&self, name: &str, hint: &mut usize) -> Result<u64, ReadError> {
        let directory = self.directory()?;
        if name.len() < NAME_SIZE {
            for index in std::iter::once(*hint).chain(0..directory.len) {
                let entry = directory.at(index);
                if index < directory.len
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

    pub fn value(&self, entry: u64) -> Result<Value, ReadError> {
        let field = entry + offset_of!(Entry, value) as u64;
        Ok(match self.kind(entry)? {
            Ok(Kind::Scalar | Kind::Gauge) => Value::Scalar(self.load(field, "scalar")?),
            Ok(Kind::Simple) => Value::Simple(self.rows(field, simple)?),
            Ok(Kind::Combined) => Value::Combined(self.rows(field, combined)?),
            Ok(Kind::Names) => Value::Names(self.names(field)?),
            Ok(Kind::Symlink) => self.shown(field)?,
            Ok(Kind::Empty) => Value::Other(Kind::Empty as u32),
            Err(number) => Value::Other(number),
        })
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

    fn directory(&self) -> Result<Span, ReadError> {
        self.vector(offset_of!(Header, directory) as u64, size_of::<Entry>(), "directory")
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

    /// The text at `offset`: up to its NUL, at most `size` bytes.
    fn text(&self, offset: u64, size: usize) -> Result<String, ReadError> {
        let words = self.words(offset, size.div_ceil(WORD), "text")?;
        let bytes: Vec<u8> =
            words.flat_map(u64::to_le_bytes).take(size).take_while(|&byte| byte != 0).collect();
        match bytes.iter().find(|byte| !byte.is_ascii()) {
            Some(&byte) => Err(ReadError::Damaged {
                what: "text",
                offset,
                found: byte.into(),
                expected: "ASCII characters only",
            }),
            None => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    fn names(&self, field: u64) -> Result<Vec<String>, ReadError> {
        let text = |pointer| {
            let text = self.vector(pointer, 1, "name")?;
            self.text(text.data, text.len)
        };
        self.vector(field, WORD, "name vector")?.offsets().map(text).collect()
    }

    /// All rows of a counter whose elements are `N` words.
    fn rows<const N: usize, T>(&self, field: u64, make: fn([u64; N]) -> T) -> Result<Vec<Vec<T>>, ReadError> {
        let row = |pointer| {
            let row = self.vector(pointer, N * WORD, "counter row")?;
            let mut words = self.words(row.data, row.len * N, "counter row")?;
            // `words` has exactly N for each element.
            let element = |_| make(std::array::from_fn(|_| words.next().unwrap_or_default()));
            Ok((0..row.len).map(element).collect())
        };
        self.vector(field, WORD, "counter")?.offsets().map(row).collect()
    }

    /// Element `column` of all rows of a counter.
    fn column<const N: usize, T>(
        &self,
        field: u64,
        column: usize,
        make: fn([u64; N]) -> T,
    ) -> Result<Vec<T>, ReadError> {
        let element = |pointer| {
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
            Ok(make(std::array::from_fn(|_| words.next().unwrap_or_default())))
        };
        self.vector(field, WORD, "counter")?.offsets().map(element).collect()
    }

    /// What a symlink shows.
    fn shown(&self, field: u64) -> Result<Value, ReadError> {
        let link = self.load(field, "symlink")?;
        let (target, column) = symlink_parts(link);
        let damaged = |expected| ReadError::Damaged { what: "symlink", offset: field, found: link, expected };
        let directory = self.directory()?;
        if target as usize >= directory.len {
            return Err(damaged("a target inside the directory"));
        }
        let target = directory.at(target as usize);
        let rows = target + offset_of!(Entry, value) as u64;
        match self.kind(target)? {
            Ok(Kind::Simple) => Ok(Value::SimpleColumn(self.column(rows, column as usize, simple)?)),
            Ok(Kind::Combined) => Ok(Value::CombinedColumn(self.column(rows, column as usize, combined)?)),
            _ => Err(damaged("a counter as target")),
        }
    }
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
