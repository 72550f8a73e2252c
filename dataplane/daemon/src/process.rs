// SPDX-License-Identifier: Apache-2.0
//! The daemon as a process: its directory, its pid file, its signals.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_local;
use weft_background::file;

use crate::log::LogFile;

/// Makes the runtime directory, if it is not there.
pub fn make_runtime_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make the runtime directory {}", path.display()))
}

/// The file with the number of this process; it disappears with the value.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it, over that of a process that has died.
    pub fn write(path: PathBuf) -> Result<PidFile> {
        // Of a regular file only: a device would be removed in the end, and a FIFO waits for its reader.
        file::write(&path, 0o644, &format!("{}\n", std::process::id()))
            .with_context(|| format!("write the pid file {}", path.display()))?;
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove the pid file {}: {error}", self.0.display());
        }
    }
}

/// The signals that end the daemon in good order.
pub struct EndSignals(Vec<(&'static str, Signal)>);

impl EndSignals {
    /// Catches them from now on. Must be called within a tokio runtime.
    pub fn catch() -> Result<EndSignals> {
        let kinds = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
        ];
        let signals = kinds.into_iter().map(|(name, kind)| Ok((name, signal(kind)?)));
        Ok(EndSignals(signals.collect::<std::io::Result<_>>().context("catch signals")?))
    }

    /// Opens the log again at each SIGHUP; that is all that the signal does. Must run inside a `LocalSet`.
    pub fn reopen_on_hangup(log: Option<Arc<LogFile>>) -> Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("catch SIGHUP")?;
        spawn_local(async move {
            while hangup.recv().await.is_some() {
                match &log {
                    Some(log) => log.reopen(),
                    None => {
                        tracing::info!("SIGHUP: there is no log to open again; nothing else is read again")
                    }
                }
            }
        });
        Ok(())
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_replaces_an_old_one_and_is_a_regular_file() {
        let path = std::env::temp_dir().join(format!("weft-pid-{}", std::process::id()));
        fs::write(&path, "4000000000 and more than that\n").unwrap();
        let written = PidFile::write(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(written);
        assert!(!path.exists());
        let refusal = |path: PathBuf| format!("{:#}", PidFile::write(path).err().unwrap());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refusal(path.clone()).contains("it is a FIFO, not a regular file"));
        fs::remove_file(&path).unwrap();
        assert!(refusal("/dev/null".into()).contains("it is a device, not a regular file"));
        assert!(Path::new("/dev/null").exists());
    }
}
