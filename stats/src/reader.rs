// SPDX-License-Identifier: Apache-2.0
//! Reading a segment from any process: list, dump, and follow single entries.
//!
//! A reader can neither disturb nor trust the writer. What it reads may change under its eyes (module
//! `epoch` says when it is believed) and may be damaged (module `view` checks everything); retries are
//! limited by time. The result is a value or an error, never a crash or an endless loop.

use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::epoch;
use crate::error::ReadError;
use crate::handover;
use crate::layout::{Header, VERSION};
use crate::memory::{OpenError, ReadMemory};
use crate::value::Value;
use crate::view::{Place, Span, View};

/// How long a server may take to send its descriptor, and a writer to come to rest. A step that lasts
/// this long belongs to a process that died or was stopped in the middle of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts.
const PAUSE: Duration = Duration::from_micros(10);

/// A mapped segment. Stays readable after the daemon has gone: watch `/sys/heartbeat`.
pub struct Reader {
    memory: ReadMemory,
}

/// The name of an entry that is read again and again, with the place where it was found last. The place
/// is only a hint: a counter may outlive the entry and the reader.
#[derive(Clone, Debug)]
pub struct Counter {
    name: String,
    position: usize,
    /// Memory of the last read.
    spans: Vec<Span>,
}

impl Counter {
    pub fn new(name: impl Into<String>) -> Counter {
        Counter { name: name.into(), position: 0, spans: Vec::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Reader {
    /// Fetches the segment from the statistics socket at `path` (default of the daemon:
    /// `<runtime-dir>/stats.sock`).
    pub fn connect(path: impl AsRef<Path>) -> Result<Reader, ReadError> {
        let path = path.as_ref();
        match handover::request(path, PATIENCE).map(|mut fds| fds.pop()) {
            Ok(Some(fd)) => Reader::from_fd(fd),
            Ok(None) => Err(ReadError::NoDescriptor { path: path.to_owned() }),
            Err(source) => Err(ReadError::Connect { path: path.to_owned(), source }),
        }
    }

    /// Maps a segment whose descriptor was had by other means.
    pub fn from_fd(fd: OwnedFd) -> Result<Reader, ReadError> {
        let memory = ReadMemory::open(fd, size_of::<Header>()).map_err(|error| match error {
            OpenError::Io(source) => ReadError::Map(source),
            OpenError::Unsealed => ReadError::Unsealed,
            OpenError::Short { found } => ReadError::Short { found },
        })?;
        let found = memory.field(offset_of!(Header, version));
        if found != VERSION {
            return Err(ReadError::Version { found });
        }
        Ok(Reader { memory })
    }

    /// Names of the entries that match any of `patterns` (all if there is none), in the order of the
    /// directory.
    ///
    /// A pattern is plain text that may stand anywhere in the name; a leading `^` ties it to the start
    /// and a trailing `$` to the end.
    pub fn ls(&self, patterns: &[&str]) -> Result<Vec<String>, ReadError> {
        self.consistent(|view, _| {
            let mut names = Vec::new();
            view.for_each_entry(|_, name| {
                if matches_any(patterns, name) {
                    names.push(name.to_owned());
                }
                Ok(())
            })?;
            Ok(names)
        })
    }

    /// Names and values of all entries that match `pattern` (see [`Reader::ls`]), of one moment as far
    /// as the structure goes: the lengths belong together, the counters go on counting.
    pub fn dump(&self, pattern: &str) -> Result<Vec<(String, Value)>, ReadError> {
        self.dump_any(&[pattern])
    }

    /// As [`Reader::dump`], of all entries that match any of `patterns` (all if there is none).
    pub fn dump_any(&self, patterns: &[&str]) -> Result<Vec<(String, Value)>, ReadError> {
        self.dump_where(|name| matches_any(patterns, name))
    }

    /// As [`Reader::dump`], of the entries whose names are `wanted`. It may be asked about a name more than
    /// once.
    pub fn dump_where(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Value)>, ReadError> {
        self.consistent(|view, _| {
            let (mut values, mut spans) = (Vec::new(), Vec::new());
            view.for_each_entry(|entry, name| {
                if wanted(name) {
                    spans.clear();
                    let mut value = Value::Scalar(0);
                    view.copy(&view.resolve(entry, &mut spans)?, &spans, &mut value)?;
                    values.push((name.to_owned(), value));
                }
                Ok(())
            })?;
            Ok(values)
        })
    }

    /// The present value of one entry.
    pub fn read(&self, counter: &mut Counter) -> Result<Value, ReadError> {
        let mut value = Value::Scalar(0);
        self.read_into(counter, &mut value)?;
        Ok(value)
    }

    /// As [`Reader::read`], into the memory of an earlier value. After an error `value` is arbitrary.
    pub fn read_into(&self, counter: &mut Counter, value: &mut Value) -> Result<(), ReadError> {
        self.consistent(|view, _| {
            let entry = view.find(&counter.name, &mut counter.position)?;
            counter.spans.clear();
            let place = view.resolve(entry, &mut counter.spans)?;
            view.copy(&place, &counter.spans, value)
        })
    }

    /// The entries that match any of `patterns` (see [`Reader::ls`]), to be dumped again and again.
    pub fn select(&self, patterns: &[&str]) -> Selection<'_> {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Selection {
            reader: self,
            patterns,
            epoch: 0,
            places: Vec::new(),
            spans: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Runs `copy` until nothing changed meanwhile, or patience is at an end.
    fn consistent<R>(
        &self,
        mut copy: impl FnMut(&View<'_>, u64) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let started = Instant::now();
        loop {
            if let Some(epoch) = epoch::enter(&self.memory) {
                let result = View::new(&self.memory).and_then(|view| copy(&view, epoch));
                // An error, too, is believed only if nothing changed.
                if epoch::unchanged(&self.memory, epoch) {
                    return result;
                }
            }
            let waited = started.elapsed();
            if waited >= PATIENCE {
                return Err(ReadError::Busy { waited });
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Entries that are dumped again and again: names are looked up and pointers followed only when the structure
/// has changed, and values are copied into the memory of the last ones.
pub struct Selection<'r> {
    reader: &'r Reader,
    patterns: Vec<String>,
    /// Of `places`, `spans` and the names in `entries`; 0, which no segment has, if they are of none.
    epoch: u64,
    places: Vec<Place>,
    spans: Vec<Span>,
    entries: Vec<(String, Value)>,
}

impl Selection<'_> {
    /// Names and present values, in the order of the directory; consistent as [`Reader::dump`].
    pub fn read(&mut self) -> Result<&[(String, Value)], ReadError> {
        let Selection { reader, patterns, epoch: known, places, spans, entries } = self;
        reader.consistent(|view, epoch| {
            let found = *known == epoch;
            if !found {
                *known = 0;
                let mut count = 0;
                places.clear();
                spans.clear();
                view.for_each_entry(|entry, name| {
                    if matches_any(patterns, name) {
                        places.push(view.resolve(entry, spans)?);
                        match entries.get_mut(count) {
                            Some((old, _)) => name.clone_into(old),
                            None => entries.push((name.to_owned(), Value::Scalar(0))),
                        }
                        count += 1;
                    }
                    Ok(())
                })?;
                entries.truncate(count);
            }
            for (place, (_, value)) in places.iter().zip(&mut *entries) {
                // Texts change with the structure only.
                if !(found && matches!(place, Place::Names(_))) {
                    view.copy(place, spans, value)?;
                }
            }
            *known = epoch;
            Ok(())
        })?;
        Ok(&self.entries)
    }
}

fn matches_any<S: AsRef<str>>(patterns: &[S], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern.as_ref(), name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let (from_start, text) = pattern.strip_prefix('^').map_or((false, pattern), |text| (true, text));
    let (to_end, text) = text.strip_suffix('$').map_or((false, text), |text| (true, text));
    match (from_start, to_end) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}
