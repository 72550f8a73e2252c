// SPDX-License-Identifier: Apache-2.0
//! The log: to standard error and a file, and the last lines in memory for `show logging`.
//!
//! The file is opened again on SIGHUP, so that logrotate(8) can move it away. A file that cannot be opened is a warning, as in VPP:
//! a router without a log is better than none. So is one that is a FIFO or a socket: no line may wait for a reader.
//!
//! Only the main thread (and the helper that closes devices) logs; workers count instead.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use anyhow::{Context, Result};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, layer};

use crate::config::logging::{self, Logging};
use crate::crash;

/// One line of the log.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Line {
    /// Seconds since 1970.
    pub time: f64,
    /// `error`, `warn`, `info`, `debug`.
    pub level: &'static str,
    /// The part of Weft that says it.
    pub class: String,
    /// The sentence.
    pub message: String,
}

/// The last lines, oldest first.
#[derive(Clone, Default)]
pub struct Recent {
    lines: Arc<Mutex<VecDeque<Line>>>,
    limit: usize,
    levels: Arc<RwLock<Levels>>,
}

impl Recent {
    /// For so many lines.
    pub fn new(limit: usize) -> Self {
        Recent { lines: Arc::default(), limit: limit.max(1), levels: Arc::default() }
    }

    /// Does something, and keeps what is said in the log meanwhile.
    pub fn listen(&self, work: impl FnOnce()) {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::subscriber::with_default(subscriber, work);
    }

    /// Messages of a class are kept from this level on.
    pub fn set_level(&self, class: &str, level: logging::Level) {
        if let Ok(mut levels) = self.levels.write() {
            levels.classes.insert(class.to_owned(), filter(level));
        }
        // What is not kept is not even asked about otherwise.
        tracing::callsite::rebuild_interest_cache();
    }

    /// A copy of the lines.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }

    /// Forgets them.
    pub fn clear(&self) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.clear();
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let line = Line {
            time: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64(),
            level: match *event.metadata().level() {
                Level::ERROR => "error",
                Level::WARN => "warn",
                Level::INFO => "info",
                Level::DEBUG | Level::TRACE => "debug",
            },
            class: class(event.metadata().target()),
            message: message.0,
        };
        if let Ok(mut lines) = self.lines.lock() {
            if lines.len() >= self.limit {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
}

/// The class of a message: its module, as `logging { class ... }` writes it. `weft_devices::af_xdp::port` is
/// `devices/af_xdp/port`.
fn class(target: &str) -> String {
    target.strip_prefix("weft_").unwrap_or(target).replace("::", "/")
}

/// Which messages are kept.
#[derive(Clone, Debug)]
struct Levels {
    default: LevelFilter,
    classes: BTreeMap<String, LevelFilter>,
}

impl Default for Levels {
    fn default() -> Self {
        Levels::new(&Logging::default())
    }
}

impl Levels {
    fn new(logging: &Logging) -> Self {
        // Who comes and goes on the command line is for those who ask for it, by this name.
        let quiet = ("cli".to_owned(), LevelFilter::WARN);
        let named = logging.classes.iter().map(|(class, level)| (class.clone(), filter(*level)));
        let classes = std::iter::once(quiet).chain(named).collect();
        Levels { default: filter(logging.level), classes }
    }

    /// The setting with the longest name that is a part of the message's class decides.
    fn keep(&self, metadata: &Metadata<'_>) -> bool {
        let class = format!("/{}/", class(metadata.target()));
        let named = self.classes.iter().filter(|(name, _)| class.contains(&format!("/{name}/")));
        let level = named.max_by_key(|(name, _)| name.len()).map_or(self.default, |(_, level)| *level);
        *metadata.level() <= level
    }
}

/// `tracing` knows neither the levels above `error` nor `notice`.
fn filter(level: logging::Level) -> LevelFilter {
    use logging::Level;
    match level {
        Level::Disabled => LevelFilter::OFF,
        Level::Emergency | Level::Alert | Level::Critical | Level::Error => LevelFilter::ERROR,
        Level::Warning => LevelFilter::WARN,
        Level::Notice | Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}

/// Who logs the commands of operators; they are kept in the file whatever the level.
const COMMANDS: &str = "weft_cli::server";

fn plain<S: Subscriber + for<'a> LookupSpan<'a>>() -> fmt::Layer<S> {
    fmt::layer().with_target(false).with_ansi(false)
}

/// The file, which can be another one of the same name from one line to the next.
pub struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<File> {
        weft_background::file::open_to_append(path)
    }

    /// Opens the file anew; if that fails, the old one is written to as before.
    pub fn reopen(&self) {
        match (LogFile::open(&self.path), self.file.lock()) {
            (Ok(new), Ok(mut file)) => {
                crash::log_to(&new);
                *file = new;
            }
            (Err(error), _) => {
                tracing::warn!("cannot open the log {} again: {error}", self.path.display());
                return;
            }
            (Ok(_), Err(_)) => return,
        }
        tracing::info!("the log is opened again");
    }
}

impl io::Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().map_err(|_| io::ErrorKind::Other)?.flush()
    }
}

/// A log at work.
pub struct Log {
    /// Its last lines.
    pub recent: Recent,
    /// Its file, if there is one.
    pub file: Option<Arc<LogFile>>,
}

/// Starts logging; `path` is appended to. Once per process.
pub fn start(logging: &Logging, path: Option<&Path>) -> Result<Log> {
    let recent = Recent::new(logging.size as usize);
    if let Ok(mut levels) = recent.levels.write() {
        *levels = Levels::new(logging);
    }
    let levels = Arc::clone(&recent.levels);
    let keeps = |levels: &RwLock<Levels>, metadata: &Metadata<'_>| {
        levels.read().is_ok_and(|levels| levels.keep(metadata))
    };
    let keep = |levels: Arc<RwLock<Levels>>| FilterFn::new(move |metadata| keeps(&levels, metadata));
    let opened = path.map(|path| (path, LogFile::open(path)));
    let file = match &opened {
        Some((path, Ok(file))) => {
            crash::log_to(file);
            let file = file.try_clone().context("the log")?;
            Some(Arc::new(LogFile { path: path.to_path_buf(), file: Mutex::new(file) }))
        }
        _ => None,
    };
    let to_file = file.clone().map(|file| {
        let levels = levels.clone();
        let keep = FilterFn::new(move |metadata| metadata.target() == COMMANDS || keeps(&levels, metadata));
        plain().with_writer(file).with_filter(keep)
    });
    tracing_subscriber::registry()
        .with(to_file)
        .with(recent.clone().with_filter(keep(levels.clone())))
        .with(plain().with_writer(io::stderr).with_filter(keep(levels)))
        .try_init()?;
    if let Some((path, Err(error))) = opened {
        tracing::warn!("cannot open the log {}, so there is none: {error}", path.display());
    }
    Ok(Log { recent, file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{debug, info, warn};

    #[test]
    fn levels_are_decided_by_the_longest_class() {
        let classes = [("log", logging::Level::Warning), ("daemon/log", logging::Level::Debug)];
        let classes = classes.map(|(name, level)| (name.to_owned(), level)).into();
        let levels = Levels::new(&Logging { classes, size: 2, ..Logging::default() });
        let recent = Recent::new(2);
        let keep = FilterFn::new(move |metadata| levels.keep(metadata));
        let subscriber = tracing_subscriber::registry().with(recent.clone().with_filter(keep));
        tracing::subscriber::with_default(subscriber, || {
            warn!(target: "weft_daemon::ports", "too old");
            debug!(target: "weft_engine::log", "below warn");
            debug!(target: "weft_daemon::log::x", port = 7, "seen");
            info!(target: "weft_daemon::catalog", "of the default level");
        });
        let lines: Vec<_> = recent.lines().into_iter().map(|l| (l.level, l.class, l.message)).collect();
        let expected =
            [("debug", "daemon/log/x", "seen port=7"), ("info", "daemon/catalog", "of the default level")];
        assert_eq!(lines, expected.map(|(l, c, m)| (l, c.to_owned(), m.to_owned())));
        recent.clear();
        assert!(recent.lines().is_empty());
    }
}
