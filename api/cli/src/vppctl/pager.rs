// SPDX-License-Identifier: Apache-2.0
//! `-- more --`: shows an answer that is longer than the terminal page by page.

use super::keys::Key;

/// An answer, of which a part is on the terminal.
#[derive(Debug)]
pub struct Pager {
    /// Lines of the terminal: longer ones of the answer are cut.
    rows: Vec<String>,
    /// The row below the last one that is shown.
    end: usize,
    /// Rows of the terminal but for the prompt.
    page: usize,
    ansi: bool,
}

impl Pager {
    /// The pager of a text that does not fit and has `most` rows at most.
    pub fn new(text: &str, width: usize, height: usize, most: usize, ansi: bool) -> Option<Pager> {
        let rows: Vec<String> = text.lines().flat_map(|line| cut(line, width)).collect();
        let page = height.saturating_sub(1).max(1);
        (rows.len() > height && rows.len() <= most).then_some(Pager { rows, end: 0, page, ansi })
    }

    /// Shows the first page.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        self.forward(out, self.page);
    }

    /// Does what a key asks for; says whether the pager goes on.
    pub fn key(&mut self, out: &mut Vec<u8>, key: Key) -> bool {
        let (page, last) = (self.page, self.rows.len());
        match key {
            Key::Char('q') | Key::Cancel => {
                self.erase_prompt(out);
                return false;
            }
            Key::Char(' ') | Key::PageDown => self.forward(out, page),
            Key::Enter | Key::Down => self.forward(out, 1),
            Key::Char('p') | Key::Up => self.show(out, self.end - 1),
            Key::PageUp => self.show(out, self.end.saturating_sub(page)),
            Key::Home => self.show(out, page),
            Key::End => self.show(out, last),
            Key::Redraw => self.show(out, self.end),
            _ => {}
        }
        // The last page stays until a key has been pressed for more than there is.
        self.end <= last
    }

    fn forward(&mut self, out: &mut Vec<u8>, rows: usize) {
        if self.end > 0 {
            self.erase_prompt(out);
        }
        if self.end == self.rows.len() {
            self.end += 1;
            return;
        }
        let end = (self.end + rows).min(self.rows.len());
        self.print(out, self.end, end);
    }

    /// Shows the page that ends before `end`, on a screen of its own.
    fn show(&mut self, out: &mut Vec<u8>, end: usize) {
        self.erase_prompt(out);
        if self.ansi {
            // Erase the display; cursor to the upper left corner (ECMA-48).
            out.extend(b"\x1b[2J\x1b[1;1H");
        }
        let end = end.clamp(self.page, self.rows.len());
        self.print(out, end - self.page, end);
    }

    fn print(&mut self, out: &mut Vec<u8>, from: usize, to: usize) {
        for row in &self.rows[from..to] {
            out.extend(row.as_bytes());
            out.extend(b"\r\n");
        }
        self.end = to;
        let first = to.saturating_sub(self.page) + 1;
        let prompt = format!("-- more -- ({first}-{to}/{})", self.rows.len());
        let prompt = if self.ansi { format!("\r\x1b[1m{prompt}\x1b[0m") } else { format!("\r{prompt}") };
        out.extend(prompt.as_bytes());
    }

    fn erase_prompt(&self, out: &mut Vec<u8>) {
        if self.ansi {
            out.extend(b"\r\x1b[2K");
        } else {
            let digits = self.rows.len().to_string().len();
            out.extend(format!("\r{}\r", " ".repeat("-- more -- (-/)".len() + 3 * digits)).as_bytes());
        }
    }
}

/// A line in pieces of `width` characters.
fn cut(line: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    match characters.is_empty() {
        true => vec![String::new()],
        false => characters.chunks(width).map(String::from_iter).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pager(rows: usize) -> (Pager, String) {
        let text: String = (1..=rows).map(|row| format!("{row}\n")).collect();
        let mut pager = Pager::new(&text, 80, 4, 100, false).expect("it does not fit");
        let mut out = Vec::new();
        pager.start(&mut out);
        (pager, String::from_utf8(out).unwrap())
    }

    fn press(pager: &mut Pager, key: Key) -> (bool, String) {
        let mut out = Vec::new();
        let goes_on = pager.key(&mut out, key);
        (goes_on, String::from_utf8(out).unwrap().replace(&format!("\r{}\r", " ".repeat(18)), "<"))
    }

    #[test]
    fn only_what_does_not_fit() {
        assert!(Pager::new("1\n2\n3\n4\n", 80, 4, 100, false).is_none());
        assert!(Pager::new(&"x".repeat(9), 2, 4, 100, false).is_some(), "a line that wraps has several rows");
        assert!(Pager::new(&"x\n".repeat(101), 80, 4, 100, false).is_none(), "too long to be kept");
    }

    #[test]
    fn pages_and_lines() {
        let (mut pager, shown) = pager(7);
        assert_eq!(shown, "1\r\n2\r\n3\r\n\r-- more -- (1-3/7)");
        assert_eq!(press(&mut pager, Key::Enter), (true, "<4\r\n\r-- more -- (2-4/7)".into()));
        assert_eq!(press(&mut pager, Key::Char(' ')), (true, "<5\r\n6\r\n7\r\n\r-- more -- (5-7/7)".into()));
        assert_eq!(press(&mut pager, Key::Up), (true, "<4\r\n5\r\n6\r\n\r-- more -- (4-6/7)".into()));
        assert_eq!(press(&mut pager, Key::Home).1, "<1\r\n2\r\n3\r\n\r-- more -- (1-3/7)");
        assert_eq!(press(&mut pager, Key::Char('x')), (true, String::new()));
        assert_eq!(press(&mut pager, Key::End).1, "<5\r\n6\r\n7\r\n\r-- more -- (5-7/7)");
        assert_eq!(press(&mut pager, Key::Char(' ')), (false, "<".into()));
    }

    #[test]
    fn quit() {
        let (mut pager, _) = pager(9);
        assert_eq!(press(&mut pager, Key::Char('q')), (false, "<".into()));
    }
}
