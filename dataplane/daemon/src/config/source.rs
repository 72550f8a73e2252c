// SPDX-License-Identifier: Apache-2.0
//! The text of a configuration and places in it, so that every complaint can point at a word.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use weft_background::file;
use weft_words::position;
pub use weft_words::{Position, Span};

/// Bytes in a configuration; VPP has the same bound.
const LARGEST: u64 = 256 << 10;

/// A value, and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// Where a configuration comes from, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Whether `#` starts a comment: in a file it does, on a command line it doesn't.
    comments: bool,
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: the configuration has more than {LARGEST} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{}:{at}: expected UTF-8 text, found the byte 0x{byte:02x}", path.display())]
    NotUtf8 { path: PathBuf, at: Position, byte: u8 },
}

impl Source {
    /// A file, or a pipe that was handed over. A FIFO is refused: whoever opens one waits for its writer, who may never come.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = file::open_input(path).map_err(failed)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(SourceError::TooLarge(path.to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let before = String::from_utf8_lossy(&bytes[..valid]);
            SourceError::NotUtf8 {
                path: path.to_owned(),
                at: position(&before, before.len()),
                byte: bytes[valid],
            }
        })?;
        Ok(Self { name: path.display().to_string(), text, comments: true })
    }

    /// The words of a command line, as VPP takes them: joined by blanks, without comments.
    pub fn from_arguments(words: &[String]) -> Self {
        Self { name: "command line".into(), text: words.join(" "), comments: false }
    }

    /// Text with the rules of a file.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), comments: true }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn has_comments(&self) -> bool {
        self.comments
    }

    /// What stands at `span`.
    pub fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    /// Line and column of a byte offset.
    pub fn position(&self, offset: usize) -> Position {
        position(&self.text, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_that_are_no_text() {
        let path = std::env::temp_dir().join(format!("weft-config-{}", std::process::id()));
        fs::write(&path, b"unix {\n  \xff }").unwrap();
        let message = Source::read(&path).unwrap_err().to_string();
        assert_eq!(message, format!("{}:2:3: expected UTF-8 text, found the byte 0xff", path.display()));
        fs::write(&path, vec![b' '; LARGEST as usize + 1]).unwrap();
        assert!(matches!(Source::read(&path), Err(SourceError::TooLarge(_))));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Source::read(&path), Err(SourceError::Read { .. })));
        assert!(matches!(Source::read(Path::new("/")), Err(SourceError::Read { .. })));
        // Nobody writes to it, and nobody is waited for.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let message = Source::read(&path).unwrap_err().to_string();
        assert!(message.ends_with("it is a FIFO, not a regular file"), "{message}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_pipe_that_was_handed_over_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            io::Write::write_all(&mut writer, b"unix { nodaemon }").unwrap();
        });
        assert_eq!(Source::read(Path::new(&path)).unwrap().text(), "unix { nodaemon }");
        late.join().unwrap();
    }
}
