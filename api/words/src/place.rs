// SPDX-License-Identifier: Apache-2.0
//! Places in a text, and how an error shows them.

use std::fmt;

/// Byte range of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Of its first byte.
    pub start: usize,
    /// Just after its last byte.
    pub end: usize,
}

/// Line and column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The position of a byte offset; the end of the text if it is further.
pub fn position(text: &str, offset: usize) -> Position {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Position {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

/// Bytes of a line that an excerpt shows: a line may be a whole file.
pub const WIDEST: usize = 200;

/// The line in which a span begins, and carets under the span. Displays with the number of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excerpt<'a> {
    /// The line, without its end; of one that is longer than [`WIDEST`] the part around the span.
    pub line: &'a str,
    number: usize,
    /// Bytes of the line before the span.
    before: usize,
    /// Characters of the span within the line, at least 1.
    width: usize,
}

impl<'a> Excerpt<'a> {
    /// `None` if the text has no such place.
    pub fn new(text: &'a str, span: Span) -> Option<Excerpt<'a>> {
        let (before, after) = text.split_at_checked(span.start)?;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = after.find('\n').map_or(text.len(), |newline| span.start + newline);
        let whole = text[start..end].trim_end_matches('\r');
        // A part that ends WIDEST bytes after its beginning, and begins so that the span is not at its edge.
        let begin = match whole.len() {
            ..=WIDEST => 0,
            _ => whole.floor_char_boundary((span.start - start).saturating_sub(WIDEST / 2)),
        };
        let line = &whole[begin..whole.floor_char_boundary(begin + WIDEST)];
        let start = start + begin;
        let marked = line.get(span.start - start..).unwrap_or("");
        let marked = &marked[..marked.floor_char_boundary(span.end.saturating_sub(span.start))];
        Some(Excerpt {
            line,
            number: position(text, span.start).line,
            before: (span.start - start).min(line.len()),
            width: marked.chars().count().max(1),
        })
    }

    /// What stands below the line: blanks (tabs stay tabs, so that columns agree) and carets.
    pub fn marks(&self) -> String {
        let indent = self.line[..self.before].chars().map(|c| if c == '\t' { c } else { ' ' });
        indent.chain(std::iter::repeat_n('^', self.width)).collect()
    }

    /// Blanks as wide as the number of the line, for a note below.
    pub fn gutter(&self) -> String {
        " ".repeat(self.number.to_string().len())
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} | {}", self.number, self.line)?;
        write!(f, "  {} | {}", self.gutter(), self.marks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions() {
        let text = "ab\n\tü x\r\nlast";
        let at = |offset| position(text, offset).to_string();
        assert_eq!([at(0), at(2), at(3), at(7), at(14), at(99)], ["1:1", "1:3", "2:1", "2:4", "3:5", "3:5"]);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_span_is_shown() {
        let text = format!("{}word{}", "ä ".repeat(5000), " ö".repeat(5000));
        let excerpt = Excerpt::new(&text, Span { start: 15_000, end: 15_004 }).unwrap();
        assert!(excerpt.line.len() <= WIDEST && excerpt.line.contains("ä word ö"), "{excerpt}");
        let carets = excerpt.marks().chars().position(|c| c == '^');
        assert_eq!(carets, excerpt.line.chars().position(|c| c == 'w'));
        let end = Excerpt::new(&text, Span { start: text.len(), end: text.len() }).unwrap();
        assert!(end.line.len() <= WIDEST && end.marks().ends_with('^'));
    }

    #[test]
    fn carets_stand_under_the_span() {
        let excerpt = |text, start, end| Excerpt::new(text, Span { start, end }).map(|it| it.to_string());
        assert_eq!(excerpt("cpu {\n\tmian 1\r\n}", 7, 11).unwrap(), "  2 | \tmian 1\n    | \t^^^^");
        assert_eq!(excerpt("u8 ä;", 3, 5).unwrap(), "  1 | u8 ä;\n    |    ^");
        assert_eq!(excerpt("unix", 4, 4).unwrap(), "  1 | unix\n    |     ^");
        assert_eq!(excerpt("a {\nb", 2, 5).unwrap(), "  1 | a {\n    |   ^", "to the end of its line");
        assert_eq!(excerpt("a\r\n", 2, 3).unwrap(), "  1 | a\n    |  ^");
        assert_eq!((excerpt("ip", 9, 9), excerpt("ü", 1, 2)), (None, None));
    }

    proptest! {
        #[test]
        fn any_place_of_any_text_is_shown(text in "(?s)[a\n\r\tü]{0,20}", start in 0usize..24, end in 0usize..24) {
            if let Some(excerpt) = Excerpt::new(&text, Span { start, end }) {
                prop_assert!(!excerpt.line.contains('\n') && excerpt.marks().contains('^'));
            }
        }
    }
}
