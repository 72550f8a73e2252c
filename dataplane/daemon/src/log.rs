// SPDX-License-Identifier: Apache-2.0
//! The log: to standard error and a file, and the last lines in memory for `show logging`.
//!
//! The file is opened again on SIGHUP, so that logrotate(8) can move it away. A file that cannot be opened is a warning, as in VPP:
//! a router without a log is better than none. So is one that is a FIFO or a socket: no line may wait for a reader. A pipe that was
//! handed over (`log /dev/stderr` under a container's runtime, or under systemd) is written to as long as it takes lines; those that it
//! does not take are counted, and told when it takes some again. A log that is standard error itself has each line once.
//!
//! Only the main thread (and the helper that closes devices) logs; workers count instead.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use anyhow::{Context, Result};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, layer};
use weft_words::LogText;

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

/// A field of a message, as all logs have it. Clients choose names and send texts: here is the one place where they lose whatever a
/// terminal would obey, or would look like another line.
fn write_field(
    out: &mut dyn std::fmt::Write,
    field: &Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    match field.name() {
        "message" => write!(LogText(out), "{value:?}"),
        name => write!(LogText(out), "{name}={value:?}"),
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = self.0.write_str(separator).and_then(|()| write_field(&mut self.0, field, value));
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
    fn keep(&self, metadata: &tracing::Metadata<'_>) -> bool {
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

fn plain<S: Subscriber + for<'a> LookupSpan<'a>>() -> fmt::Layer<S, impl for<'w> FormatFields<'w> + 'static> {
    let fields = fmt::format::debug_fn(|out, field, value| write_field(out, field, value)).delimited(" ");
    fmt::layer().with_target(false).with_ansi(false).fmt_fields(fields)
}

/// The file, which can be another one of the same name from one line to the next.
pub struct LogFile {
    path: PathBuf,
    end: Mutex<FileEnd>,
}

/// Where lines are appended.
struct FileEnd {
    file: File,
    /// Lines that it did not take, since the last one that it took.
    lost: u64,
}

impl FileEnd {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 {
            let said = format!("{} lines of the log are missing here: nobody read them\n", self.lost);
            if !takes(self.file.write(said.as_bytes()))? {
                self.lost += 1;
                return Ok(line.len());
            }
            self.lost = 0;
        }
        self.lost += u64::from(!takes(self.file.write(line))?);
        Ok(line.len())
    }
}

/// Whether a pipe has taken a line: of one that is full it takes nothing, or the beginning.
fn takes(written: io::Result<usize>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        written => written.map(|_| true),
    }
}

impl LogFile {
    fn open(path: &Path) -> io::Result<File> {
        weft_background::file::open_to_append(path)
    }

    /// Opens the file anew; if that fails, the old one is written to as before.
    pub fn reopen(&self) {
        match self.replace() {
            Ok(()) => tracing::info!("the log is opened again"),
            Err(error) => tracing::warn!("cannot open the log {} again: {error}", self.path.display()),
        }
    }

    fn replace(&self) -> io::Result<()> {
        let new = LogFile::open(&self.path)?;
        report_crashes_to(&new);
        let mut end = self.end.lock().map_err(|_| io::ErrorKind::Other)?;
        *end = FileEnd { file: new, lost: 0 };
        Ok(())
    }

    /// The process has other descriptors from now on: what it logs to does not keep one of the old ones open.
    pub fn follow_descriptors(&self) {
        if weft_background::file::handed_over(&self.path).is_some()
            && let Err(error) = self.replace()
        {
            tracing::warn!("cannot open the log {} again: {error}", self.path.display());
        }
    }
}

impl io::Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end.lock().map_err(|_| io::ErrorKind::Other)?.file.flush()
    }
}

/// Reports go to standard error in any case.
fn report_crashes_to(log: &File) {
    if !is_stderr(log) {
        crash::log_to(log);
    }
}

/// Whether a file is standard error.
fn is_stderr(file: &File) -> bool {
    let place = |found: io::Result<Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    place(file.metadata()).is_some_and(|own| place(stderr.and_then(|it| it.metadata())) == Some(own))
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
    let keeps = |levels: &RwLock<Levels>, metadata: &tracing::Metadata<'_>| {
        levels.read().is_ok_and(|levels| levels.keep(metadata))
    };
    let keep = |levels: Arc<RwLock<Levels>>| FilterFn::new(move |metadata| keeps(&levels, metadata));
    let opened = path.map(|path| (path, LogFile::open(path)));
    let file = match &opened {
        Some((path, Ok(file))) => {
            report_crashes_to(file);
            let end = FileEnd { file: file.try_clone().context("the log")?, lost: 0 };
            Some(Arc::new(LogFile { path: path.to_path_buf(), end: Mutex::new(end) }))
        }
        _ => None,
    };
    let to_file = file.clone().map(|file| {
        let levels = levels.clone();
        let keep = FilterFn::new(move |metadata| metadata.target() == COMMANDS || keeps(&levels, metadata));
        plain().with_writer(file).with_filter(keep)
    });
    let twice = matches!(&opened, Some((_, Ok(file))) if is_stderr(file));
    let to_stderr = (!twice).then(|| plain().with_writer(io::stderr).with_filter(keep(levels.clone())));
    tracing_subscriber::registry()
        .with(to_file)
        .with(recent.clone().with_filter(keep(levels)))
        .with(to_stderr)
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
    fn a_pipe_that_nobody_reads_loses_lines_and_says_how_many() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        let mut end = FileEnd { file: LogFile::open(Path::new(&path)).unwrap(), lost: 0 };
        let line = [[b'x'; 99].as_slice(), b"\n"].concat();
        let mut written = 0;
        while end.lost < 3 {
            assert_eq!(end.write(&line).unwrap(), line.len());
            written += 1;
        }
        drop(writer);
        io::Read::read_exact(&mut reader, &mut [0; 8192]).unwrap();
        end.write(b"the last\n").unwrap();
        drop(end);
        let read = io::read_to_string(reader).unwrap();
        // What says that lines are missing is shorter than a line, so there may be room for one before there is for the other.
        let missing = |line: &str| {
            line.strip_suffix(" lines of the log are missing here: nobody read them")?.parse().ok()
        };
        let missing: Vec<u64> = read.lines().filter_map(missing).collect();
        assert_eq!(missing.last(), Some(&3));
        let read_before = 8192usize.div_ceil(line.len());
        let rest = read.lines().filter(|line| line.len() == 99).count();
        assert_eq!(read_before as u64 + rest as u64 + missing.iter().sum::<u64>(), written, "{read}");
        assert!(read.ends_with(" lines of the log are missing here: nobody read them\nthe last\n"), "{read}");
    }

    #[test]
    fn no_text_of_a_client_is_obeyed_by_a_terminal_or_looks_like_another_line() {
        let file = std::env::temp_dir().join(format!("weft-log-{}-escaped", std::process::id()));
        let recent = Recent::new(9);
        let end = Mutex::new(FileEnd { file: LogFile::open(&file).unwrap(), lost: 0 });
        let log = Arc::new(LogFile { path: file.clone(), end });
        let subscriber = tracing_subscriber::registry().with(recent.clone()).with(plain().with_writer(log));
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\u{1b}]0;owned\u{7}\r\n2026-12-01T00:00:00Z ERROR forged";
            warn!(session = 7, client = name, "client {name} leaves");
        });
        let written = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        for text in [&*recent.lines()[0].message, &written] {
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            assert!(
                text.contains(
                    "client a\\u{1b}]0;owned\\u{7}\\r\n    2026-12-01T00:00:00Z ERROR forged leaves"
                ),
                "{text}"
            );
            assert!(text.contains("session=7"), "{text}");
        }
        assert_eq!(written.lines().filter(|line| !line.starts_with(' ')).count(), 1, "{written}");
    }

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
