// SPDX-License-Identifier: Apache-2.0
//! One attempt to copy something out of a segment that may change meanwhile, or be damaged.
//!
//! Nothing that is read here is trusted: every pointer and length is checked against the mapping before
//! it is followed, and the words copied in one attempt are limited. All loops are bounded by a checked
//! length.
//!
//! An entry is copied in two parts: [`View::resolve`] follows the pointers, [`View::copy`] loads the words at the
//! end of them. What the first finds holds as long as the epoch does, so a reader that comes again need
//! only do the second.

use std::cell::Cell;
use std::mem::{offset_of, size_of, take};
use std::ops::Range;

use crate::error::ReadError;
use crate::layout::{Entry, Header, Kind, NAME_SIZE, WORD, symlink_parts, text_word};
use crate::memory::ReadMemory;
use crate::value::{Combined, Value};

/// Elements that lie inside the mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    data: u64,
    len: usize,
}

impl Span {
    /// Offset of an element of `size` bytes.
    fn at(&self, index: usize, size: usize) -> u64 {
        self.data + (index * size) as u64
    }

    fn offsets(self, size: usize) -> impl Iterator<Item = u64> {
        (0..self.len).map(move |index| self.at(index, size))
    }
}

/// What an entry holds, and where: the ranges are of the list of spans that [`View::resolve`] fills.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Scalar(u64),
    /// A span per thread.
    Simple(Range<usize>),
    Combined(Range<usize>),
    /// A span of one element per thread.
    SimpleColumn(Range<usize>),
    CombinedColumn(Range<usize>),
    /// A span of bytes per text.
    Names(Range<usize>),
    Other(u32),
}

/// Bytes of an element.
const SIMPLE: usize = WORD;
const COMBINED: usize = 2 * WORD;

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
        let budget = Cell::new(memory.length() / WORD * 4);
        let mut view = View { memory, base, directory: Span { data: 0, len: 0 }, budget };
        let field = offset_of!(Header, directory) as u64;
        view.directory = view.vector(field, size_of::<Entry>(), "directory")?;
        Ok(view)
    }

    /// Calls `f` with offset and name of every entry in use.
    pub fn for_each_entry(
        &self,
        mut f: impl FnMut(u64, &str) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut name = String::with_capacity(NAME_SIZE);
        for entry in self.directory.offsets(size_of::<Entry>()) {
            if self.kind(entry)? != Ok(Kind::Empty) {
                name.clear();
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
                let entry = self.directory.at(index.min(self.directory.len), size_of::<Entry>());
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

    /// Follows the pointers of an entry; appends to `spans` what they lead to.
    pub fn resolve(&self, entry: u64, spans: &mut Vec<Span>) -> Result<Place, ReadError> {
        let field = entry + offset_of!(Entry, value) as u64;
        Ok(match self.kind(entry)? {
            Ok(Kind::Scalar | Kind::Gauge) => Place::Scalar(field),
            Ok(Kind::Simple) => Place::Simple(self.rows(field, SIMPLE, spans)?),
            Ok(Kind::Combined) => Place::Combined(self.rows(field, COMBINED, spans)?),
            Ok(Kind::Names) => {
                let first = spans.len();
                for pointer in self.vector(field, WORD, "name vector")?.offsets(WORD) {
                    let text = self.vector(pointer, 1, "name")?;
                    self.charge(text.len.div_ceil(WORD), "name", pointer)?;
                    spans.push(text);
                }
                Place::Names(first..spans.len())
            }
            Ok(Kind::Symlink) => self.shown(field, spans)?,
            Ok(Kind::Empty) => Place::Other(Kind::Empty as u32),
            Err(number) => Place::Other(number),
        })
    }

    /// Loads what is at `place`, into the memory of `value` if that is of the same kind. After an error
    /// `value` is arbitrary.
    pub fn copy(&self, place: &Place, spans: &[Span], value: &mut Value) -> Result<(), ReadError> {
        match place {
            Place::Scalar(field) => *value = Value::Scalar(self.load(*field, "scalar")?),
            Place::Simple(rows) => {
                let mut values = if let Value::Simple(values) = value { take(values) } else { Vec::new() };
                self.copy_rows(&spans[rows.clone()], simple, &mut values)?;
                *value = Value::Simple(values);
            }
            Place::Combined(rows) => {
                let mut values = if let Value::Combined(values) = value { take(values) } else { Vec::new() };
                self.copy_rows(&spans[rows.clone()], combined, &mut values)?;
                *value = Value::Combined(values);
            }
            Place::SimpleColumn(rows) => {
                let mut values =
                    if let Value::SimpleColumn(values) = value { take(values) } else { Vec::new() };
                values.clear();
                spans[rows.clone()].iter().try_for_each(|row| self.copy_row(row, simple, &mut values))?;
                *value = Value::SimpleColumn(values);
            }
            Place::CombinedColumn(rows) => {
                let mut values =
                    if let Value::CombinedColumn(values) = value { take(values) } else { Vec::new() };
                values.clear();
                spans[rows.clone()].iter().try_for_each(|row| self.copy_row(row, combined, &mut values))?;
                *value = Value::CombinedColumn(values);
            }
            Place::Names(texts) => {
                let mut names = if let Value::Names(names) = value { take(names) } else { Vec::new() };
                names.resize(texts.len(), String::new());
                for (text, name) in spans[texts.clone()].iter().zip(&mut names) {
                    name.clear();
                    self.text(text.data, text.len, name)?;
                }
                *value = Value::Names(names);
            }
            Place::Other(kind) => *value = Value::Other(*kind),
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
        Ok(Span { data, len })
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

    /// Appends the text at `offset` to `text`: up to its NUL, at most `size` bytes.
    fn text(&self, offset: u64, size: usize, text: &mut String) -> Result<(), ReadError> {
        let words = self.memory.words(offset, size.div_ceil(WORD)).ok_or(outside("text", offset, offset))?;
        let mut left = size;
        for word in words {
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

    /// All rows of a counter.
    fn rows(&self, field: u64, element: usize, spans: &mut Vec<Span>) -> Result<Range<usize>, ReadError> {
        let first = spans.len();
        for pointer in self.vector(field, WORD, "counter")?.offsets(WORD) {
            let row = self.vector(pointer, element, "counter row")?;
            self.charge(row.len * element / WORD, "counter row", pointer)?;
            spans.push(row);
        }
        Ok(first..spans.len())
    }

    /// Element `column` of all rows of a counter.
    fn column(
        &self,
        field: u64,
        element: usize,
        column: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Range<usize>, ReadError> {
        let first = spans.len();
        for pointer in self.vector(field, WORD, "counter")?.offsets(WORD) {
            let row = self.vector(pointer, element, "counter row")?;
            if column >= row.len {
                let (what, found) = ("counter row", row.len as u64);
                let expected = "the column of a symlink";
                return Err(ReadError::Damaged { what, offset: pointer, found, expected });
            }
            spans.push(Span { data: row.at(column, element), len: 1 });
        }
        Ok(first..spans.len())
    }

    /// What a symlink shows.
    fn shown(&self, field: u64, spans: &mut Vec<Span>) -> Result<Place, ReadError> {
        let link = self.load(field, "symlink")?;
        let (target, column) = symlink_parts(link);
        let damaged = |expected| ReadError::Damaged { what: "symlink", offset: field, found: link, expected };
        if target as usize >= self.directory.len {
            return Err(damaged("a target inside the directory"));
        }
        let target = self.directory.at(target as usize, size_of::<Entry>());
        let rows = target + offset_of!(Entry, value) as u64;
        match self.kind(target)? {
            Ok(Kind::Simple) => Ok(Place::SimpleColumn(self.column(rows, SIMPLE, column as usize, spans)?)),
            Ok(Kind::Combined) => {
                Ok(Place::CombinedColumn(self.column(rows, COMBINED, column as usize, spans)?))
            }
            _ => Err(damaged("a counter as target")),
        }
    }

    fn copy_rows<const N: usize, T>(
        &self,
        rows: &[Span],
        make: fn([u64; N]) -> T,
        values: &mut Vec<Vec<T>>,
    ) -> Result<(), ReadError> {
        values.resize_with(rows.len(), Vec::new);
        for (row, values) in rows.iter().zip(values) {
            values.clear();
            self.copy_row(row, make, values)?;
        }
        Ok(())
    }

    /// Appends elements of `N` words.
    #[inline]
    fn copy_row<const N: usize, T>(
        &self,
        row: &Span,
        make: fn([u64; N]) -> T,
        values: &mut Vec<T>,
    ) -> Result<(), ReadError> {
        let words = self.memory.words(row.data, row.len * N);
        let mut words = words.ok_or(outside("counter row", row.data, row.data))?;
        // `words` has exactly N for each element.
        let element = |_| make(std::array::from_fn(|_| words.next().unwrap_or_default()));
        values.extend((0..row.len).map(element));
        Ok(())
    }
}

fn outside(what: &'static str, offset: u64, found: u64) -> ReadError {
    ReadError::Damaged { what, offset, found, expected: "an aligned place inside the segment" }
}

#[inline]
fn simple([value]: [u64; 1]) -> u64 {
    value
}

#[inline]
fn combined([packets, bytes]: [u64; 2]) -> Combined {
    Combined { packets, bytes }
}
