// SPDX-License-Identifier: Apache-2.0
//! `unix { ... }`: the process and its files.

use std::path::{Path, PathBuf};

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
    /// As written; see [`Unix::in_runtime_dir`].
    pub cli_listen: PathBuf,
    /// Ends in a blank.
    pub cli_prompt: String,
    /// Commands to run after the start.
    pub startup_config: Option<PathBuf>,
    /// Where messages and CLI commands are appended, beside the standard error.
    pub log: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    /// Who may use the sockets, beside root.
    pub gid: Option<Gid>,
}

impl Unix {
    /// Where a file of the configuration is: below the runtime directory, unless it is absolute.
    pub fn in_runtime_dir(&self, path: &Path) -> PathBuf {
        self.runtime_dir.join(path)
    }
}

const NO_OWN_TERMINAL: &str = "weftctl has the terminal";

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
    key("cli-listen", |unix, words| {
        let read = |text: &str| match text.contains(':') && !text.contains('/') {
            true => Err("Weft listens on unix sockets only, not on TCP"),
            false => Ok(text.into()),
        };
        set(&mut unix.cli_listen, words.value("path", read))
    }),
    key("cli-prompt", |unix, words| {
        let prompt = words.word("prompt").map(|word| format!("{} ", word.text.trim_end()));
        set(&mut unix.cli_prompt, prompt)
    }),
    key("startup-config", |unix, words| set_some(&mut unix.startup_config, words.path())),
    key("exec", |unix, words| set_some(&mut unix.startup_config, words.path())),
    key("log", |unix, words| set_some(&mut unix.log, words.path())),
    key("pidfile", |unix, words| set_some(&mut unix.pidfile, words.path())),
    key("gid", |unix, words| set_some(&mut unix.gid, words.value("group", group))),
    ignored("poll-sleep-usec", 1, "workers sleep when idle; see cpu { idle }"),
    ignored("nocolor", 0, NO_OWN_TERMINAL),
    ignored("nobanner", 0, NO_OWN_TERMINAL),
    ignored("cli-no-banner", 0, NO_OWN_TERMINAL),
    ignored("cli-line-mode", 0, NO_OWN_TERMINAL),
    ignored("cli-no-pager", 0, NO_OWN_TERMINAL),
    ignored("cli-pager-buffer-limit", 1, NO_OWN_TERMINAL),
    ignored("cli-history-limit", 1, NO_OWN_TERMINAL),
    ignored("use-current-dir", 0, "Weft does not change its directory"),
    ignored("coredump-size", 1, "set the limit where Weft is started (LimitCORE= or ulimit -c)"),
    ignored("full-coredump", 0, "set /proc/PID/coredump_filter where Weft is started"),
];

/// A group by number or name.
fn group(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse() {
        return Ok(Gid(number));
    }
    match nix::unistd::Group::from_name(text) {
        Ok(Some(group)) => Ok(Gid(group.gid.as_raw())),
        Ok(None) => Err("this machine has no such group".into()),
        Err(error) => Err(format!("the groups of this machine cannot be read: {error}")),
    }
}
