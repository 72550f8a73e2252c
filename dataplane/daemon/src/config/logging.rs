// SPDX-License-Identifier: Apache-2.0
//! `logging { ... }`: which messages are written, and how many `show log` remembers.

use std::collections::BTreeMap;

use super::{
    diagnostic::Diagnostic,
    words::{Key, Words, ignored, key, set, set_some},
};

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    pub level: Level,
    /// Messages that are kept for `show log`.
    pub size: u32,
    /// Parts of Weft that have a level of their own; `class` or `class/subclass`.
    pub classes: BTreeMap<String, Level>,
}

/// Messages of this severity and above are written (syslog(3), and none at all).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Disabled,
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

const ONE_LOG: &str = "all messages go to the standard error and to unix { log }";
const NO_THROTTLE: &str = "messages are not throttled";

pub(super) const KEYS: &[Key<Logging>] = &[
    key("default-log-level", |logging, words| set(&mut logging.level, level(words))),
    key("size", |logging, words| set(&mut logging.size, words.number("number of messages", 1..=1 << 20))),
    key("class", |logging, words| {
        let name = words.word("class")?.text.clone();
        let mut own = None;
        words.group("class")?.read(CLASS_KEYS, &mut own);
        logging.classes.extend(own.map(|level| (name, level)));
        Ok(())
    }),
    ignored("unthrottle-time", 1, NO_THROTTLE),
    ignored("default-syslog-log-level", 1, ONE_LOG),
    ignored("default-kmsg-log-level", 1, ONE_LOG),
    ignored("add-to-elog", 0, "there is no event log"),
];

const CLASS_KEYS: &[Key<Option<Level>>] = &[
    key("level", |own, words| set_some(own, level(words))),
    ignored("syslog-level", 1, ONE_LOG),
    ignored("kmsg-level", 1, ONE_LOG),
    ignored("rate-limit", 1, NO_THROTTLE),
];

fn level(words: &mut Words<'_>) -> Result<Level, Diagnostic> {
    words.one_of(LEVELS)
}

/// Their words.
pub const LEVELS: &[(&str, Level)] = &[
    ("emerg", Level::Emergency),
    ("alert", Level::Alert),
    ("crit", Level::Critical),
    ("err", Level::Error),
    ("error", Level::Error),
    ("warn", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("disabled", Level::Disabled),
];
