// SPDX-License-Identifier: Apache-2.0
//! The INI files of a vplaned installation, as the inih library reads them: sections without regard to case, keys with
//! it, comments from `;` or `#` at the start of a line and from ` ;` after a value.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use weft_background::file::{self, FileError};

/// Bytes of such a file.
const LONGEST: u64 = 1 << 20;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IniError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{}:{line}: expected {expected}, found {found:?}", path.display())]
    Line { path: PathBuf, line: usize, expected: String, found: String },
}

#[derive(Debug)]
struct Entry {
    /// In lower case.
    section: String,
    key: String,
    value: String,
    line: usize,
}

/// A file that was read.
#[derive(Debug)]
pub struct Ini {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Ini {
    pub fn read(path: &Path) -> Result<Ini, IniError> {
        Ini::parse(path, &file::read_text(path, LONGEST)?)
    }

    /// Reads a text; `path` is for errors.
    pub fn parse(path: &Path, text: &str) -> Result<Ini, IniError> {
        let wrong = |line, expected: &str, found: &str| IniError::Line {
            path: path.to_owned(),
            line,
            expected: expected.to_owned(),
            found: found.to_owned(),
        };
        let (mut section, mut entries) = (String::new(), Vec::new());
        let text = text.trim_start_matches('\u{feff}');
        for (line, written) in (1..).zip(text.lines()) {
            let content = written.trim();
            if content.is_empty() || content.starts_with([';', '#']) {
                continue;
            }
            if let Some(rest) = content.strip_prefix('[') {
                let (name, _) = rest.split_once(']').ok_or_else(|| wrong(line, "[SECTION]", content))?;
                section = name.trim().to_ascii_lowercase();
                continue;
            }
            let (key, value) =
                content.split_once(['=', ':']).ok_or_else(|| wrong(line, "KEY = VALUE", content))?;
            let value = value.split_once(" ;").map_or(value, |(value, _)| value);
            entries.push(Entry {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line,
            });
        }
        Ok(Ini { path: path.to_owned(), entries })
    }

    /// The last value of a key, as every reader of these files takes it; an empty one counts as absent.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.entry(section, key).map(|entry| entry.value.as_str())
    }

    fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        let wanted = |entry: &&Entry| entry.section == section && entry.key == key && !entry.value.is_empty();
        self.entries.iter().rev().find(wanted)
    }

    /// A value that reads as a `T`.
    pub fn value<T: FromStr>(&self, section: &str, key: &str, expected: &str) -> Result<Option<T>, IniError> {
        self.checked(section, key, expected, |text| text.parse().ok())
    }

    /// A value that `read` takes.
    pub fn checked<T>(
        &self,
        section: &str,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, IniError> {
        let Some(entry) = self.entry(section, key) else { return Ok(None) };
        match read(&entry.value) {
            Some(value) => Ok(Some(value)),
            None => Err(IniError::Line {
                path: self.path.clone(),
                line: entry.line,
                expected: format!("{expected} for {key} in [{section}]"),
                found: entry.value.clone(),
            }),
        }
    }

    /// Names of the sections that begin so, in the order of the file.
    pub fn sections(&self, prefix: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for entry in &self.entries {
            if entry.section.starts_with(prefix) && !names.contains(&entry.section.as_str()) {
                names.push(&entry.section);
            }
        }
        names
    }
}
