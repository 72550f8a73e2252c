// SPDX-License-Identifier: Apache-2.0
//! The reading side: any process, any thread, no message to the daemon.
//!
//! What is read is outside data: a table of another version or a damaged one is refused with a sentence, and no value in it
//! makes a reader loop or leave the mapping.

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::fence;
use std::time::Duration;

use weft_stats::shared::{OpenError, ReadMemory, request};

use crate::flow::{Flow, FlowId, Side, State, Verdict};
use crate::key::{Direction, Key, Pair6};
use crate::layout::{self, Addresses, Entry, Header, state};

/// Longest wait for the daemon to hand out its tables.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tries to copy an entry that its owner keeps changing, a few nanoseconds each.
const TRIES: usize = 64;

/// Why tables cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Nobody hands them out.
    #[error("cannot connect to the flow socket {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are none.
    #[error("the daemon at {} has no flow tables: no interface tracks flows", path.display())]
    None {
        /// The socket.
        path: PathBuf,
    },
    /// Not a table.
    #[error("cannot map a flow table: {0}")]
    Open(#[from] OpenError),
    /// Not a table.
    #[error("not a flow table: the first word is {0:#x}")]
    Magic(u64),
    /// Another version.
    #[error("the flow table has layout version {found}, expected {expected}", expected = layout::VERSION)]
    Version {
        /// Found.
        found: u64,
    },
    /// Inconsistent.
    #[error("damaged flow table: {capacity} slots of {entry_size} bytes do not fit {length} bytes")]
    Damaged {
        /// Slots, as the header says.
        capacity: u64,
        /// Bytes of each.
        entry_size: u64,
        /// Bytes of the file.
        length: usize,
    },
}

/// The table of one worker.
pub struct Table {
    memory: ReadMemory,
    capacity: u32,
    thread: u16,
    clocks_per_second: f64,
}

impl Table {
    /// Maps a table.
    pub fn open(fd: OwnedFd) -> Result<Table, TableError> {
        let memory = ReadMemory::open(fd, layout::SLOTS as usize)?;
        let field = |offset: usize| memory.load(offset as u64).unwrap_or(0);
        let magic = field(offset_of!(Header, magic));
        if magic != layout::MAGIC {
            return Err(TableError::Magic(magic));
        }
        let found = field(offset_of!(Header, version));
        if found != layout::VERSION {
            return Err(TableError::Version { found });
        }
        let (capacity, entry_size) =
            (field(offset_of!(Header, capacity)), field(offset_of!(Header, entry_size)));
        let length = memory.length();
        let fits = u32::try_from(capacity).is_ok_and(|slots| layout::size(slots as usize) <= length);
        if !fits || entry_size != size_of::<Entry>() as u64 {
            return Err(TableError::Damaged { capacity, entry_size, length });
        }
        let (thread, clocks) =
            (field(offset_of!(Header, thread)), field(offset_of!(Header, clocks_per_second)));
        Ok(Table {
            capacity: capacity as u32,
            thread: thread as u16,
            clocks_per_second: clocks.max(1) as f64,
            memory,
        })
    }

    fn field(&self, offset: usize) -> u64 {
        self.memory.load(offset as u64).unwrap_or(0)
    }

    /// Thread that owns the table.
    pub fn thread(&self) -> u16 {
        self.thread
    }

    /// Slots.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Slots in use.
    pub fn active(&self) -> u64 {
        self.field(offset_of!(Header, active))
    }

    /// The owner's time, in clocks.
    fn now(&self) -> u64 {
        self.field(offset_of!(Header, now))
    }

    fn since(&self, now: u64, then: u64) -> Duration {
        Duration::from_secs_f64(now.saturating_sub(then) as f64 / self.clocks_per_second)
    }

    /// A copy of the flow in `slot`, if there is one now.
    pub fn get(&self, slot: u32) -> Option<Flow> {
        if slot >= self.capacity {
            return None;
        }
        let start = layout::SLOTS + u64::from(slot) * size_of::<Entry>() as u64;
        let version = |at: &Self| at.memory.load(start + offset_of!(Entry, version) as u64);
        for _ in 0..TRIES {
            let before = version(self)?;
            fence(Acquire);
            if before & 1 != 0 {
                std::hint::spin_loop();
                continue;
            }
            let mut words = [0; size_of::<Entry>() / 8];
            for (copy, word) in words.iter_mut().zip(self.memory.words(start, size_of::<Entry>() / 8)?) {
                *copy = word;
            }
            let beside =
                layout::addresses(self.capacity as usize) + u64::from(slot) * size_of::<Addresses>() as u64;
            let mut pair = [0; size_of::<Addresses>() / 8];
            for (copy, word) in pair.iter_mut().zip(self.memory.words(beside, size_of::<Addresses>() / 8)?) {
                *copy = word;
            }
            fence(Acquire);
            if version(self)? == before {
                return self.unpack(slot, &words, Pair6(pair));
            }
        }
        None
    }

    fn unpack(&self, slot: u32, words: &[u64; size_of::<Entry>() / 8], pair: Pair6) -> Option<Flow> {
        let word = |offset: usize| words[offset / 8];
        let state_word = word(offset_of!(Entry, state));
        let state = State::from_word(state_word)?;
        let initiator = Direction::from_bit(state_word >> state::INITIATOR);
        let counts = offset_of!(Entry, counts) / 8;
        let side = |of: Direction| {
            let at = counts + 2 * of.index();
            Side { packets: words[at], bytes: words[at + 1] }
        };
        let now = self.now();
        // What is newer than the time that the owner last told is no older than 0.
        Some(Flow {
            id: FlowId {
                thread: self.thread,
                slot,
                generation: (word(offset_of!(Entry, version)) >> 32) as u32,
            },
            key: Key { addresses: words[0], rest: words[1] },
            pair,
            initiator,
            state,
            answered: state_word & state::ANSWERED != 0,
            waiting: state_word & state::WAITING != 0,
            admitted: state_word & (3 << state::ADMITTED) != 0,
            verdict: Verdict::from_word(state_word),
            mark: word(offset_of!(Entry, mark)) as u32,
            interface: Some(word(offset_of!(Entry, interfaces)) as u32).filter(|index| *index != u32::MAX),
            sides: [side(initiator), side(initiator.reverse())],
            age: self.since(now, word(offset_of!(Entry, created))),
            idle: self.since(now, word(offset_of!(Entry, seen))),
        })
    }

    /// All flows. One that begins or ends meanwhile may be missing or be there.
    pub fn flows(&self) -> impl Iterator<Item = Flow> + '_ {
        let used = self.field(offset_of!(Header, high_water)).min(self.capacity.into()) as u32;
        (0..used).filter_map(|slot| self.get(slot))
    }
}

/// The tables of all workers.
pub struct Reader {
    tables: Vec<Table>,
}

impl Reader {
    /// Fetches the tables from the flow socket at `path` (default of the daemon: `<runtime-dir>/flow.sock`).
    pub fn connect(path: impl AsRef<Path>) -> Result<Reader, TableError> {
        let path = path.as_ref();
        let fds = request(path, PATIENCE)
            .map_err(|source| TableError::Connect { path: path.to_owned(), source })?;
        if fds.is_empty() {
            return Err(TableError::None { path: path.to_owned() });
        }
        Self::from_fds(fds)
    }

    /// Maps tables whose descriptors were had by other means.
    pub fn from_fds(fds: impl IntoIterator<Item = OwnedFd>) -> Result<Reader, TableError> {
        Ok(Reader { tables: fds.into_iter().map(Table::open).collect::<Result<_, _>>()? })
    }

    /// The tables, one per worker.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// All flows of all workers.
    pub fn flows(&self) -> impl Iterator<Item = Flow> + '_ {
        self.tables.iter().flat_map(Table::flows)
    }

    /// The flow of that name, unless it has ended.
    pub fn get(&self, id: FlowId) -> Option<Flow> {
        let table = self.tables.iter().find(|table| table.thread == id.thread)?;
        table.get(id.slot).filter(|flow| flow.id == id)
    }
}
