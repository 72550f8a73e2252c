// SPDX-License-Identifier: Apache-2.0
//! Commands about the session itself: the server behind it never sees them.

/// What a session can do about itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Own {
    Quit,
    History,
    Pager(bool),
    ShowTerminal,
}

/// The command, in the abbreviations that cannot be mistaken for another one.
pub fn own(line: &str) -> Option<Own> {
    // How much of each word must be there.
    let like = |word: &str, full: &str, least: usize| word.len() >= least && full.starts_with(word);
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["quit" | "q" | "exit"] => Some(Own::Quit),
        ["history"] => Some(Own::History),
        [set, terminal, pager, value]
            if like(set, "set", 2) && like(terminal, "terminal", 3) && like(pager, "pager", 1) =>
        {
            match *value {
                "on" => Some(Own::Pager(true)),
                "off" => Some(Own::Pager(false)),
                _ => None,
            }
        }
        [show, terminal] if like(show, "show", 2) && like(terminal, "terminal", 3) => Some(Own::ShowTerminal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations() {
        assert_eq!(own(" q\r"), Some(Own::Quit));
        assert_eq!(own("set term pag off"), Some(Own::Pager(false)));
        assert_eq!(own("sh terminal"), Some(Own::ShowTerminal));
        for other in ["", "qu", "quit now", "show t", "set terminal pager maybe", "show thr"] {
            assert_eq!(own(other), None, "{other}");
        }
    }
}
