// SPDX-License-Identifier: Apache-2.0
//! `statseg` and `socksvr`: where others find Weft.

use std::{path::PathBuf, time::Duration};

use super::{
    unix::{Gid, group},
    values::Bytes,
    words::{Key, ignored, key, set, set_some},
};

/// The stats segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statseg {
    /// As written; relative to the runtime directory.
    pub socket: PathBuf,
    /// Who may read it, beside root; without one, whoever may use the other sockets.
    pub gid: Option<Gid>,
    pub size: Bytes,
    /// How often gauges are brought up to date; counters always are.
    pub update_interval: Duration,
    /// Whether calls, vectors and clocks of each node are counted for readers.
    pub per_node_counters: bool,
}

/// The binary API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socksvr {
    /// As written; relative to the runtime directory.
    pub socket: PathBuf,
}

/// The directory and the counters must fit; more than this is a slip.
const SEGMENT: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 30;

pub(super) const STATSEG_KEYS: &[Key<Statseg>] = &[
    key("socket-name", |statseg, words| set(&mut statseg.socket, words.path())),
    key("gid", |statseg, words| set_some(&mut statseg.gid, words.value("group", group))),
    key("size", |statseg, words| {
        let read = |text: &str| match text.parse()? {
            size @ Bytes(bytes) if SEGMENT.contains(&bytes) => Ok(size),
            _ => Err("the segment has 1m to 64g"),
        };
        set(&mut statseg.size, words.value("size", read))
    }),
    key("update-interval", |statseg, words| {
        set(&mut statseg.update_interval, words.value("number of seconds", seconds))
    }),
    key("per-node-counters", |statseg, words| {
        // VPP reads on in the middle of a word, and files that it has taken for years have none between the two.
        if words.keyword("onupdate-interval") {
            statseg.per_node_counters = true;
            return set(&mut statseg.update_interval, words.value("number of seconds", seconds));
        }
        set(&mut statseg.per_node_counters, words.switch())
    }),
    // VPP's packaged file says so instead of naming the default socket.
    key("default", |_, _| Ok(())),
    ignored("page-size", 1, "the segment is a memfd of ordinary pages"),
];

pub(super) const SOCKSVR_KEYS: &[Key<Socksvr>] = &[
    key("socket-name", |socksvr, words| set(&mut socksvr.socket, words.path())),
    key("default", |_, _| Ok(())),
];

/// A millisecond to an hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write seconds from 0.001 to 3600"),
    }
}
