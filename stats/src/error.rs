// SPDX-License-Identifier: Apache-2.0
//! What can go wrong, per side: the writer, a reader, the hand-over.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The segment could not be made or changed. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    #[error("cannot map a statistics segment of {size} bytes: {source}")]
    Memory { size: usize, source: io::Error },
    #[error("a statistics segment of {size} bytes is too small, the least is {least}")]
    Size { size: usize, least: usize },
    #[error("a statistics segment has rows for 1 to 65536 threads, not for {threads}")]
    Threads { threads: usize },
    #[error("statistics name {name:?} {problem}")]
    Name { name: String, problem: &'static str },
    #[error("statistics name {name:?} exists already")]
    Taken { name: String },
    #[error("{name}: length {asked} is above the reserved capacity of {capacity}")]
    Capacity { name: String, asked: usize, capacity: usize },
    #[error(
        "{name} needs {needed} bytes in one piece, the statistics segment has {fresh} of its {size} left"
    )]
    Full { name: String, needed: u64, fresh: u64, size: usize },
    #[error("the statistics entry was removed, or belongs to another segment")]
    Stale,
    #[error("{name}: a symlink can show a column of a counter vector only, not of {target}")]
    Target { name: String, target: String },
    #[error("{name}: {target} has {len} columns, a symlink cannot show column {column}")]
    Column { name: String, target: String, len: usize, column: u32 },
    #[error("{name} cannot be shortened to {len}: symlink {symlink} shows column {column}")]
    Shown { name: String, len: usize, symlink: String, column: u32 },
}

/// A segment could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot connect to the statistics socket {}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("the server at {} closed without sending a file descriptor", path.display())]
    NoDescriptor { path: PathBuf },
    #[error("cannot map the statistics segment: {0}")]
    Map(#[from] io::Error),
    #[error("the statistics segment is not sealed against shrinking (F_SEAL_SHRINK), reading it could crash")]
    Unsealed,
    #[error("the statistics segment is {found} bytes long, shorter than its header of 48")]
    Short { found: u64 },
    #[error("the statistics segment has layout version {found}, expected 2")]
    Version { found: u64 },
    #[error("the statistics segment was being changed all through {waited:?}")]
    Busy { waited: Duration },
    #[error("damaged statistics segment: {what} at offset {offset} is {found}, expected {expected}")]
    Damaged { what: &'static str, offset: u64, found: u64, expected: &'static str },
    #[error("the statistics segment has no entry {name:?}")]
    NotFound { name: String },
}

/// The statistics socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("statistics socket: {0}")]
    Bind(#[from] weft_sockets::BindError),
    #[error("statistics socket {}: cannot {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: io::Error },
}
