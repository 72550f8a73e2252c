// SPDX-License-Identifier: Apache-2.0
//! The text of a configuration and places in it, so that every complaint can point at a word.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Bytes in a configuration; VPP has the same bound.
const LARGEST: u64 = 256 << 10;

/// Byte range of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// A value, and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// Line and column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
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
    /// A file, or a pipe.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(SourceError::TooLarge(path.to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let before = String::from_utf8_lossy(&bytes[..valid]);
            SourceError::NotUtf8 { path: path.to_owned(), at: end_of(&before), byte: bytes[valid] }
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
        end_of(&self.text[..offset])
    }

    /// The whole line that holds a byte offset, and where it begins.
    pub(super) fn line_at(&self, offset: usize) -> (&str, usize) {
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let length = self.text[start..].find('\n').unwrap_or(self.text.len() - start);
        (self.text[start..start + length].trim_end_matches('\r'), start)
    }
}

/// The position just behind `text`.
fn end_of(text: &str) -> Position {
    let line_start = text.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: text.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: text[line_start..].chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let source = Source::from_text("f", "ab\n\tü x\r\nlast");
        let at = |offset| source.position(offset).to_string();
        assert_eq!([at(0), at(2), at(3), at(7), at(14)], ["1:1", "1:3", "2:1", "2:4", "3:5"]);
        assert_eq!(source.line_at(7), ("\tü x", 3));
        assert_eq!(source.line_at(14), ("last", 10));
    }

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
    }
}
