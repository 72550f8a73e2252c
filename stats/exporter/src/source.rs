// SPDX-License-Identifier: Apache-2.0
//! Follows the segment of whatever daemon is running.
//!
//! A mapped segment stays readable when its daemon has ended, so silence has to be noticed: a daemon
//! that ends removes its socket file, one that starts makes a new one, and one that was killed leaves a
//! file behind which nobody listens. A daemon whose main thread hangs still has its file and its
//! listener; its workers go on counting, so its segment is read on.
//!
//! Invariant: what [`Source::read`] returns was read from the segment of a daemon that was there then,
//! or at most [`SILENCE`] before.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use weft_stats::tables::Snapshot;
use weft_stats::{ReadError, Reader};

/// After so long without a heartbeat the socket is tried. A daemon with a longer update interval is
/// tried in vain, which costs it one accept(2).
pub const SILENCE: Duration = Duration::from_secs(3);

/// The statistics socket, and the segment that was had from it last.
pub struct Source {
    socket: PathBuf,
    link: Option<Link>,
}

struct Link {
    reader: Reader,
    /// The socket file that it came from.
    file: FileId,
    heartbeat: u64,
    /// When the heartbeat was seen to change, or the socket was tried.
    alive: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds: inode numbers are used again.
    changed: (i64, i64),
}

impl Source {
    /// Connects when it is read for the first time.
    pub fn new(socket: impl Into<PathBuf>) -> Source {
        Source { socket: socket.into(), link: None }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the running daemon has counted. May take two seconds if the daemon is in a bad way.
    ///
    /// # Errors
    /// There is no daemon, or its segment cannot be read. The next call tries again.
    pub fn read(&mut self) -> Result<Snapshot, ReadError> {
        let result = self.try_read();
        if result.is_err() {
            self.link = None;
        }
        result
    }

    fn try_read(&mut self) -> Result<Snapshot, ReadError> {
        let file = FileId::of(&self.socket)
            .map_err(|source| ReadError::Connect { path: self.socket.clone(), source })?;
        let link = match self.link.take().filter(|link| link.file == file) {
            Some(link) => self.link.insert(link),
            None => self.link.insert(Link::connect(&self.socket, file)?),
        };
        let snapshot = Snapshot::read(&link.reader)?;
        if snapshot.system.heartbeat != link.heartbeat {
            link.heartbeat = snapshot.system.heartbeat;
            link.alive = Instant::now();
        } else if link.alive.elapsed() >= SILENCE {
            match Reader::connect(&self.socket) {
                Err(error) if nobody_listens(&error) => return Err(error),
                // The same daemon, or one that does not get to answering.
                _ => link.alive = Instant::now(),
            }
        }
        Ok(snapshot)
    }
}

impl Link {
    fn connect(socket: &Path, file: FileId) -> Result<Link, ReadError> {
        let reader = Reader::connect(socket)?;
        Ok(Link { reader, file, heartbeat: 0, alive: Instant::now() })
    }
}

impl FileId {
    fn of(path: &Path) -> io::Result<FileId> {
        let found = fs::metadata(path)?;
        Ok(FileId { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) })
    }
}

fn nobody_listens(error: &ReadError) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error, ReadError::Connect { source, .. } if matches!(source.kind(), ConnectionRefused | NotFound))
}
