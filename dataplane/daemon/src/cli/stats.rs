// SPDX-License-Identifier: Apache-2.0
//! `show statistics segment`.

use serde::Serialize;
use weft_cli::{Command, Reply};

use super::showing;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Segment {
    socket: String,
    size: usize,
    used: usize,
    /// Rows of each counter.
    threads: usize,
    heartbeat: u64,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show statistics segment", |dataplane| {
            let (stats, unix) = (&dataplane.engine().stats, &dataplane.config().unix);
            let segment = Segment {
                socket: unix.in_runtime_dir(&dataplane.config().statseg.socket).display().to_string(),
                size: stats.size(),
                used: stats.used(),
                threads: stats.threads(),
                heartbeat: stats.heartbeat().get(),
            };
            Ok(Reply::new(segment, |segment| {
                format!(
                    "{}: {} of {} KiB used, rows for {} threads, heartbeat {}",
                    segment.socket,
                    segment.used.div_ceil(1024),
                    segment.size / 1024,
                    segment.threads,
                    segment.heartbeat
                )
            }))
        })
        .help("The shared memory that counters are in"),
    ]
}
