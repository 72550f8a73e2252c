// SPDX-License-Identifier: Apache-2.0
//! `unix { ... }`: the process and its files.

use std::path::{Path, PathBuf};

use weft_cli::vppctl;

use super::words::{Key, ignored, key, set, set_some};

/// A group of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gid(pub u32);

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unix {
    pub nodaemon: bool,
    pub interactive: bool,
    pub runtime_dir: PathBuf,
    /// The socket of `weftctl`, as written; see [`Unix::in_runtime_dir`].
    pub weftctl_listen: PathBuf,
    /// The sockets of `vppctl` and telnet.
    pub cli_listen: Vec<CliListen>,
    /// Ends in a blank; without one, each of the two has its own.
    pub cli_prompt: Option<String>,
    /// How sessions of `vppctl` begin; [`Unix::cli_prompt`] goes before its prompt.
    pub terminal: vppctl::Options,
    /// Commands to run after the start.
    pub startup_config: Option<PathBuf>,
    /// Where messages and CLI commands are appended, beside the standard error.
    pub log: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    /// What stable link-local addresses are made from; by default it is what the machine is known by.
    pub stable_secret: Option<PathBuf>,
    /// Who may use the sockets, beside root.
    pub gid: Option<Gid>,
}

/// Where `vppctl` or telnet finds Weft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliListen {
    /// As written; see [`Unix::in_runtime_dir`].
    Path(PathBuf),
    /// An empty host is this machine.
    Tcp { host: String, port: u16 },
}

impl Unix {
    /// Where a file of the configuration is: below the runtime directory, unless it is absolute.
    pub fn in_runtime_dir(&self, path: &Path) -> PathBuf {
        self.runtime_dir.join(path)
    }

    /// What `weftctl` and the daemon's own terminal show.
    pub fn prompt(&self) -> String {
        self.cli_prompt.clone().unwrap_or_else(|| "weft# ".into())
    }
}

pub(super) const KEYS: &[Key<Unix>] = &[
    key("nodaemon", |unix, _| set(&mut unix.nodaemon, Ok(true))),
    // In VPP too, who does not want the system's log stays in the foreground.
    key("nosyslog", |unix, _| set(&mut unix.nodaemon, Ok(true))),
    key("interactive", |unix, _| set(&mut unix.interactive, Ok(true))),
    key("runtime-dir", |unix, words| {
        let read = |text: &str| match Path::new(text) {
            path if path.is_absolute() => Ok(path.to_owned()),
            _ => Err("the path must begin with /"),
        };
        set(&mut unix.runtime_dir, words.value("directory", read))
    }),
    key("weftctl-listen", |unix, words| set(&mut unix.weftctl_listen, words.path())),
    key("cli-listen", |unix, words| {
        unix.cli_listen.push(words.value("path or HOST:PORT", cli_listen)?);
        Ok(())
    }),
    key("cli-prompt", |unix, words| {
        let prompt = words.word("prompt").map(|word| format!("{} ", word.text.trim_end()));
        set_some(&mut unix.cli_prompt, prompt)
    }),
    key("cli-line-mode", |unix, _| set(&mut unix.terminal.line_mode, Ok(true))),
    key("cli-no-banner", |unix, _| set(&mut unix.terminal.banner, Ok(false))),
    key("nobanner", |unix, _| set(&mut unix.terminal.banner, Ok(false))),
    key("cli-no-pager", |unix, _| set(&mut unix.terminal.pager, Ok(false))),
    key("cli-pager-buffer-limit", |unix, words| {
        let lines = words.number("number of lines", 0..=10_000_000)?;
        // As in VPP, 0 is no limit.
        set(&mut unix.terminal.pager_lines, Ok(if lines == 0 { usize::MAX } else { lines }))
    }),
    key("cli-history-limit", |unix, words| {
        set(&mut unix.terminal.history, words.number("number of lines", 0..=100_000))
    }),
    key("startup-config", |unix, words| set_some(&mut unix.startup_config, words.path())),
    key("exec", |unix, words| set_some(&mut unix.startup_config, words.path())),
    key("log", |unix, words| set_some(&mut unix.log, words.path())),
    key("pidfile", |unix, words| set_some(&mut unix.pidfile, words.path())),
    key("stable-secret", |unix, words| set_some(&mut unix.stable_secret, words.path())),
    key("gid", |unix, words| set_some(&mut unix.gid, words.value("group", group))),
    ignored("poll-sleep-usec", 1, "workers sleep when idle; see cpu { idle }"),
    ignored("nocolor", 0, "Weft prints no colors"),
    ignored("use-current-dir", 0, "Weft does not change its directory"),
    ignored("coredump-size", 1, "set the limit where Weft is started (LimitCORE= or ulimit -c)"),
    ignored("full-coredump", 0, "set /proc/PID/coredump_filter where Weft is started"),
];

/// As VPP tells the two apart: a path has a slash or no colon.
fn cli_listen(text: &str) -> Result<CliListen, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !text.contains('/') => {
            let port = port.parse().map_err(|_| "a port is a number from 0 to 65535")?;
            Ok(CliListen::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port })
        }
        _ => Ok(CliListen::Path(text.into())),
    }
}

/// A group by number or name.
pub(super) fn group(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse() {
        return Ok(Gid(number));
    }
    match nix::unistd::Group::from_name(text) {
        Ok(Some(group)) => Ok(Gid(group.gid.as_raw())),
        Ok(None) => Err("this machine has no such group".into()),
        Err(error) => Err(format!("the groups of this machine cannot be read: {error}")),
    }
}
