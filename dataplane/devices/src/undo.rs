// SPDX-License-Identifier: Apache-2.0
//! What is changed on Linux interfaces and does not end with the process, noted in files, so that the next start puts it back if
//! this process is killed. What the kernel ends by itself (XDP programs, promiscuity by a packet socket) needs no note.
//!
//! A note is a file of the runtime directory, which is empty after a boot, as the changes are. It is written before the change and removed
//! after it was undone; an interface that has gone, or come again under its old name, has nothing to be put back.
//!
//! For the main thread, and for the helper that closes a port.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::netdev::{Channels, LinkIndex, LinkName, Netdev};
use crate::netns::NetNs;

/// How long queues of a process that was killed may still have its sockets.
const PATIENCE: Duration = Duration::from_secs(2);

/// A change, as it is to be undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The driver is to take VLAN tags out of frames again.
    Tags,
    /// It is to have its queues again.
    Channels(Channels),
}

/// Where changes are noted.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    folder: Option<PathBuf>,
}

/// A change that is to be undone; forgotten when this is dropped.
#[derive(Debug)]
pub struct Note {
    file: Option<PathBuf>,
}

/// An interface by its name and number, in a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Noted {
    namespace: Option<PathBuf>,
    name: LinkName,
    index: LinkIndex,
    change: Change,
}

impl Journal {
    /// Notes in files of a folder, which is made with the first one and goes with the last.
    pub fn new(folder: PathBuf) -> Journal {
        Journal { folder: Some(folder) }
    }

    /// Notes a change that is about to be made. Without a file the change is made all the same, and the log says so.
    pub fn note(&self, namespace: Option<&Path>, netdev: &Netdev, change: Change) -> Note {
        let Some(folder) = &self.folder else { return Note { file: None } };
        let noted = Noted {
            namespace: namespace.map(Into::into),
            name: netdev.name(),
            index: netdev.index(),
            change,
        };
        let kind = match change {
            Change::Tags => "tags",
            Change::Channels(_) => "channels",
        };
        let file = folder.join(format!("{}-{}-{kind}", noted.name, noted.index.0));
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, noted.to_text()));
        if let Err(error) = written {
            tracing::warn!(
                "{}: {error}: what is changed on {} stays so after a crash",
                file.display(),
                noted.name
            );
            return Note { file: None };
        }
        Note { file: Some(file) }
    }

    /// Undoes what a process before this one has left, and forgets it; gives a sentence for each.
    pub fn put_back(&self) -> Vec<Result<String, String>> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let done = files.map(|file| {
            let done = fs::read_to_string(&file)
                .and_then(|text| Noted::parse(&text).ok_or_else(|| io::Error::other("not a note")))
                .map_err(|error| format!("{}: {error}", file.display()))
                .and_then(|noted| noted.undo());
            drop(Note { file: Some(file) });
            done
        });
        done.collect()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        let _ = fs::remove_file(file);
        // Which fails while there are others.
        let _ = file.parent().map(fs::remove_dir);
    }
}

impl Noted {
    fn to_text(&self) -> String {
        let change = match self.change {
            Change::Tags => "tags".to_owned(),
            Change::Channels(channels) => format!("channels {}", channels.to_text()),
        };
        let namespace = self.namespace.as_deref().map_or_else(String::new, |path| path.display().to_string());
        format!("{}\n{}\n{change}\n{namespace}\n", self.name, self.index.0)
    }

    fn parse(text: &str) -> Option<Noted> {
        let mut lines = text.lines();
        let name = lines.next()?.parse().ok()?;
        let index = LinkIndex(lines.next()?.parse().ok()?);
        let change = match lines.next()? {
            "tags" => Change::Tags,
            line => Change::Channels(Channels::parse(line.strip_prefix("channels ")?)?),
        };
        let namespace = lines.next().filter(|path| !path.is_empty()).map(PathBuf::from);
        Some(Noted { namespace, name, index, change })
    }

    fn undo(&self) -> Result<String, String> {
        let namespace = match &self.namespace {
            Some(path) => NetNs::open(path).map_err(|error| error.to_string())?,
            None => NetNs::current(),
        };
        let name = &self.name;
        let netdev = Netdev::open(&namespace, name).map_err(|error| error.to_string())?;
        if netdev.index() != self.index {
            return Ok(format!("{name} is another interface than the one that was left changed"));
        }
        let (what, done) = match self.change {
            Change::Tags => ("rx-vlan-offload", netdev.strip_tags(true).map(drop)),
            Change::Channels(channels) => ("its queues", netdev.set_channels_within(channels, PATIENCE)),
        };
        done.map(|()| format!("{name}: {what} put back as before a process that was killed"))
            .map_err(|error| error.to_string())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let channels = Channels::parse("0 0 1 4").expect("four numbers");
        for namespace in [None, Some("/run/netns/blue".into())] {
            for change in [Change::Tags, Change::Channels(channels)] {
                let name = "eth0".parse().expect("a valid name");
                let noted = Noted { namespace: namespace.clone(), name, index: LinkIndex(7), change };
                assert_eq!(Noted::parse(&noted.to_text()), Some(noted));
            }
        }
        for text in ["", "eth0\n", "eth0\nx\ntags\n\n", "eth0\n7\nchannels 1 2\n\n", "eth0\n7\nother\n\n"] {
            assert_eq!(Noted::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_put_back_is_said_and_forgotten() {
        let folder = std::env::temp_dir().join(format!("weft-undo-{}", std::process::id()));
        let journal = Journal::new(folder.clone());
        assert_eq!(journal.put_back(), []);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("gone"), "weft-none\n7\ntags\n\n").expect("a file");
        let said = journal.put_back();
        assert!(matches!(&said[..], [Err(error)] if error.contains("no interface weft-none")), "{said:?}");
        assert!(!folder.exists());
    }
}
