// SPDX-License-Identifier: Apache-2.0
//! The line under the cursor: editing, history, and how the terminal is told.
//!
//! Only backspaces and the text itself are sent, which any terminal understands; a line that wraps needs cursor movements of
//! ECMA-48, and looks odd on a terminal that has none.

use std::collections::VecDeque;

use super::keys::Key;

/// Bytes in a line; more are not taken.
pub const LONGEST: usize = 4096;

/// What has been typed so far, and what was typed before. All of it is ASCII.
#[derive(Debug, Default)]
pub struct Line {
    pub text: String,
    pub cursor: usize,
    yank: String,
    history: VecDeque<String>,
    /// How many lines back the history shows; 0 is the line that is being typed.
    back: usize,
    /// That line, while the history is shown.
    typed: String,
    search: Option<Search>,
}

/// An incremental search through the history.
#[derive(Debug)]
struct Search {
    key: String,
    backward: bool,
}

impl Line {
    /// Lines entered so far, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.history.iter().map(String::as_str)
    }

    /// Ends the line and gives it; the last `most` of them are remembered.
    pub fn enter(&mut self, most: usize) -> String {
        let text = std::mem::take(&mut self.text);
        self.forget();
        if !text.trim().is_empty() && self.history.back() != Some(&text) {
            self.history.push_back(text.clone());
        }
        while self.history.len() > most {
            self.history.pop_front();
        }
        text
    }

    /// Drops what has been typed.
    pub fn forget(&mut self) {
        self.text.clear();
        (self.cursor, self.back, self.search) = (0, 0, None);
    }

    /// Puts text in place of what stands between `start` and the cursor.
    pub fn replace(&mut self, start: usize, text: &str) {
        if self.text.len() - (self.cursor - start) + text.len() <= LONGEST && text.is_ascii() {
            self.text.replace_range(start..self.cursor, text);
            self.cursor = start + text.len();
        }
    }

    /// What stands before the line while the history is searched.
    pub fn search_prompt(&self) -> Option<String> {
        self.search.as_ref().map(|search| {
            let way = if search.backward { "reverse-" } else { "" };
            format!("({way}i-search)'{}': ", search.key)
        })
    }

    /// Changes the line as a key says.
    pub fn edit(&mut self, key: Key) {
        if self.search_key(key) {
            return;
        }
        match key {
            Key::Char(c) => self.replace(self.cursor, c.encode_utf8(&mut [0; 4])),
            Key::Backspace => self.erase(self.cursor.saturating_sub(1), self.cursor, false),
            Key::Delete => self.erase(self.cursor, (self.cursor + 1).min(self.text.len()), false),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.text.len(),
            Key::WordLeft => self.cursor = self.word_left(),
            Key::WordRight => self.cursor = self.word_right(),
            Key::EraseWord => self.erase(self.word_left(), self.cursor, true),
            Key::EraseBefore => self.erase(0, self.cursor, true),
            Key::EraseAfter => self.erase(self.cursor, self.text.len(), true),
            Key::Yank => self.replace(self.cursor, &self.yank.clone()),
            Key::Up => self.browse(self.back + 1),
            Key::Down => self.browse(self.back.saturating_sub(1)),
            _ => {}
        }
    }

    fn erase(&mut self, from: usize, to: usize, keep: bool) {
        let gone: String = self.text.drain(from..to).collect();
        self.cursor = from;
        if keep && !gone.is_empty() {
            self.yank = gone;
        }
    }

    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before.rfind(' ').map_or(0, |blank| blank + 1)
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let blanks = after.len() - after.trim_start().len();
        let word = after[blanks..].find(' ').unwrap_or(after.len() - blanks);
        self.cursor + blanks + word
    }

    fn browse(&mut self, back: usize) {
        if back > self.history.len() || back == self.back {
            return;
        }
        if self.back == 0 {
            self.typed = std::mem::take(&mut self.text);
        }
        self.back = back;
        self.text = match back {
            0 => std::mem::take(&mut self.typed),
            back => self.history[self.history.len() - back].clone(),
        };
        self.cursor = self.text.len();
    }

    /// Whether the key belongs to a search.
    fn search_key(&mut self, key: Key) -> bool {
        let start = match (&mut self.search, key) {
            (_, Key::SearchBackward | Key::SearchForward) => {
                let backward = key == Key::SearchBackward;
                let again = self.search.is_some();
                let search = self.search.get_or_insert_with(|| Search { key: String::new(), backward });
                search.backward = backward;
                match (again, backward) {
                    (false, _) => return true,
                    (true, true) => self.back + 1,
                    (true, false) => self.back.saturating_sub(1),
                }
            }
            (None, _) => return false,
            (Some(search), Key::Char(c)) => {
                search.key.push(c);
                self.back.max(1)
            }
            (Some(search), Key::Backspace) => {
                search.key.pop();
                self.back.max(1)
            }
            (Some(_), _) => {
                self.search = None;
                return false;
            }
        };
        let Some(search) = &self.search else { return true };
        let holds = |back: &usize| self.history[self.history.len() - back].contains(&search.key);
        let found = match search.backward {
            true => (start..=self.history.len()).find(holds),
            false => (1..=start.min(self.history.len())).rev().find(holds),
        };
        if let Some(back) = found.filter(|_| !search.key.is_empty()) {
            self.browse(back);
        }
        true
    }
}

/// Where the cursor is on a terminal this many columns wide, after a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub width: usize,
    pub ansi: bool,
    pub prompt: usize,
}

impl Screen {
    /// Sends what turns the one line and cursor into the other.
    pub fn redraw(&self, out: &mut Vec<u8>, old: (&str, usize), new: (&str, usize)) {
        let (mut at, (text, cursor)) = (old.1, new);
        if old.0 != text {
            let same = old.0.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            self.go(out, text, at, same.min(at));
            // From the first change on, and blanks over what is left of the old line.
            let whole = format!("{text:0$}", text.len().max(old.0.len()));
            self.print(out, &whole, same.min(at), whole.len());
            at = whole.len();
        }
        self.go(out, text, at, cursor);
    }

    /// Prints the line from one place to another.
    fn print(&self, out: &mut Vec<u8>, line: &str, from: usize, to: usize) {
        out.extend(&line.as_bytes()[from..to]);
        // A terminal keeps the cursor in the last column until one more character comes: bring it down now.
        if from < to && (self.prompt + to).is_multiple_of(self.width) {
            out.extend([line.as_bytes().get(to).copied().unwrap_or(b' '), b'\r']);
        }
    }

    /// Moves the cursor; forward over characters that are there.
    fn go(&self, out: &mut Vec<u8>, text: &str, from: usize, to: usize) {
        let place = |at: usize| ((self.prompt + at) / self.width, (self.prompt + at) % self.width);
        let ((row, _), (wanted, column)) = (place(from), place(to));
        if to >= from {
            self.print(out, text, from, to);
        } else if row == wanted || !self.ansi {
            out.extend(std::iter::repeat_n(8, from - to));
        } else {
            // Cursor up; cursor to column, counted from 1.
            out.extend(format!("\x1b[{}A\x1b[{}G", row - wanted, column + 1).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(line: &mut Line, text: &str) {
        text.chars().for_each(|c| line.edit(Key::Char(c)));
    }

    #[test]
    fn editing() {
        let mut line = Line::default();
        typed(&mut line, "show interface  eth0");
        line.edit(Key::EraseWord);
        assert_eq!((line.text.as_str(), line.cursor), ("show interface  ", 16));
        line.edit(Key::WordLeft);
        assert_eq!(line.cursor, 5);
        line.edit(Key::EraseAfter);
        line.edit(Key::Yank);
        line.edit(Key::Home);
        line.edit(Key::WordRight);
        line.edit(Key::Backspace);
        assert_eq!(line.text, "sho interface  ");
        line.edit(Key::Delete);
        line.edit(Key::EraseBefore);
        assert_eq!((line.text.as_str(), line.cursor), ("interface  ", 0));
    }

    #[test]
    fn the_history_and_its_search() {
        let mut line = Line::default();
        for text in ["show version", "show errors", "show errors", " ", "help"] {
            typed(&mut line, text);
            assert_eq!(line.enter(2), text);
        }
        assert_eq!(line.history().collect::<Vec<_>>(), ["show errors", "help"]);
        typed(&mut line, "dra");
        line.edit(Key::Up);
        line.edit(Key::Up);
        line.edit(Key::Up);
        assert_eq!(line.text, "show errors");
        line.edit(Key::Down);
        line.edit(Key::Down);
        assert_eq!(line.text, "dra");
        line.edit(Key::SearchBackward);
        typed(&mut line, "ow");
        assert_eq!(line.text, "show errors");
        assert_eq!(line.search_prompt().as_deref(), Some("(reverse-i-search)'ow': "));
        line.edit(Key::End);
        assert_eq!((line.search_prompt(), line.text.as_str()), (None, "show errors"));
    }

    /// A terminal that knows what [`Screen`] sends.
    fn show(bytes: &[u8], width: usize) -> (Vec<Vec<u8>>, usize, usize) {
        let (mut rows, mut row, mut column) = (vec![vec![b' '; width]], 0, 0);
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            match *byte {
                8 => column = usize::saturating_sub(column, 1),
                b'\r' => column = 0,
                0x1b => {
                    let end = rest.iter().position(u8::is_ascii_alphabetic).expect("a whole sequence");
                    let number: usize =
                        std::str::from_utf8(&rest[1..end]).unwrap().parse().expect("a number");
                    if rest[end] == b'A' {
                        row -= number
                    } else {
                        column = number - 1
                    }
                    rest = &rest[end + 1..];
                }
                byte => {
                    if column == width {
                        (row, column) = (row + 1, 0);
                    }
                    if row == rows.len() {
                        rows.push(vec![b' '; width]);
                    }
                    rows[row][column] = byte;
                    column += 1;
                }
            }
        }
        (rows, row, column)
    }

    proptest! {
        #[test]
        fn the_terminal_shows_the_line(keys in prop::collection::vec(prop::sample::select(vec![
            Key::Char('a'), Key::Char('b'), Key::Char(' '), Key::Char('c'), Key::Left, Key::Right, Key::Home, Key::End,
            Key::WordLeft, Key::WordRight, Key::EraseWord, Key::EraseAfter, Key::Yank, Key::Backspace, Key::Delete,
        ]), 0..80)) {
            let screen = Screen { width: 7, ansi: true, prompt: 2 };
            let mut out = b"> ".to_vec();
            let mut line = Line::default();
            for key in keys {
                let old = (line.text.clone(), line.cursor);
                line.edit(key);
                screen.redraw(&mut out, (&old.0, old.1), (&line.text, line.cursor));
            }
            let (rows, row, column) = show(&out, 7);
            let shown = String::from_utf8(rows.concat()).unwrap();
            let expected = format!("> {}", line.text);
            prop_assert_eq!(shown.trim_end(), expected.trim_end());
            prop_assert_eq!(row * 7 + column, 2 + line.cursor);
        }
    }
}
