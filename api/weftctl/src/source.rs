// SPDX-License-Identifier: Apache-2.0
//! Where the counters come from: the segment of whoever serves the statistics socket now.
//!
//! A mapped segment stays readable when its daemon has gone, and nothing in it says so; the socket alone tells. So it is
//! fetched anew for every look: one connection and one mapping, and a daemon that was restarted needs no word of its own.
//! Somebody who listens but has no time to answer has not gone: what was mapped last is still his.

use std::{env, io, path::PathBuf};

use weft_stats::{ReadError, Reader};

/// As in the defaults of startup.conf: `unix { runtime-dir }` and `statseg { socket-name }`.
pub const DEFAULT_SOCKET: &str = "/run/weft/stats.sock";
/// Names another socket.
pub const SOCKET_VARIABLE: &str = "WEFT_STATS_SOCKET";

/// A statistics socket.
pub struct Source {
    path: PathBuf,
    last: Option<Reader>,
}

impl Source {
    /// The socket that an option names, or else the environment, or else the usual one.
    pub fn new(option: Option<PathBuf>) -> Self {
        let variable = || env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = option.or_else(variable).unwrap_or_else(|| DEFAULT_SOCKET.into());
        Self { path, last: None }
    }

    /// Looks at the segment of the daemon that listens now.
    pub fn look<R>(&mut self, look: impl FnOnce(&Reader) -> Result<R, ReadError>) -> Result<R, ReadError> {
        let last = self.last.take();
        let reader = match (Reader::connect(&self.path), last) {
            (Err(error), Some(last)) if is_silence(&error) => last,
            (result, _) => result?,
        };
        look(self.last.insert(reader))
    }
}

/// Whether somebody listens who does not answer in time.
fn is_silence(error: &ReadError) -> bool {
    matches!(error, ReadError::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut)
}

/// Whether the daemon is not there, as opposed to a segment that cannot be read.
pub fn is_absence(error: &ReadError) -> bool {
    matches!(error, ReadError::Connect { .. } | ReadError::NoDescriptor { .. })
}
