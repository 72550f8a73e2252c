// SPDX-License-Identifier: Apache-2.0
//! Which key a terminal means by its bytes: control characters, and the sequences of VT100 and its descendants.

/// Control-C, as a byte (ETX of ECMA-48).
pub(super) const INTERRUPT: u8 = 3;

/// A key, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character.
    Char(char),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    PageUp,
    PageDown,
    WordLeft,
    WordRight,
    EraseWord,
    EraseBefore,
    EraseAfter,
    Yank,
    Redraw,
    SearchBackward,
    SearchForward,
    Cancel,
}

/// Bytes between `ESC [` and the end of a sequence; what has more is none.
const LONGEST: usize = 16;

/// Puts keys together from bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    sequence: Vec<u8>,
    /// A carriage return was the last byte: a line feed or NUL after it belongs to it (RFC 854, page 11).
    after_return: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    Escape,
    /// Behind `ESC [`.
    Sequence,
    /// Behind `ESC O`, of keypads in application mode.
    Application,
}

impl Decoder {
    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Option<Key> {
        let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
        match self.state {
            State::Plain if after_return && matches!(byte, b'\n' | 0) => None,
            State::Plain => self.plain(byte),
            State::Escape => {
                self.state = match byte {
                    b'[' => State::Sequence,
                    b'O' => State::Application,
                    _ => State::Plain,
                };
                self.sequence.clear();
                match byte {
                    b'b' => Some(Key::WordLeft),
                    b'f' => Some(Key::WordRight),
                    _ => None,
                }
            }
            State::Sequence if matches!(byte, 0x40..=0x7e) => {
                self.state = State::Plain;
                match (self.sequence.as_slice(), byte) {
                    (b"", _) => cursor(byte),
                    (b"1;5", b'D') => Some(Key::WordLeft),
                    (b"1;5", b'C') => Some(Key::WordRight),
                    (b"1" | b"7", b'~') => Some(Key::Home),
                    (b"4" | b"8", b'~') => Some(Key::End),
                    (b"3", b'~') => Some(Key::Delete),
                    (b"5", b'~') => Some(Key::PageUp),
                    (b"6", b'~') => Some(Key::PageDown),
                    _ => None,
                }
            }
            State::Sequence => {
                self.sequence.push(byte);
                if self.sequence.len() == LONGEST {
                    self.state = State::Plain;
                }
                None
            }
            State::Application => {
                self.state = State::Plain;
                cursor(byte)
            }
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            0x08 | 0x7f => Key::Backspace,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            b' '..=b'~' => Key::Char(byte.into()),
            // Control characters: ^A is 1.
            1 => Key::Home,
            2 => Key::Left,
            INTERRUPT => Key::Cancel,
            4 => Key::Delete,
            5 => Key::End,
            6 => Key::Right,
            11 => Key::EraseAfter,
            12 => Key::Redraw,
            14 => Key::Down,
            16 => Key::Up,
            18 => Key::SearchBackward,
            19 => Key::SearchForward,
            21 => Key::EraseBefore,
            23 => Key::EraseWord,
            25 => Key::Yank,
            _ => return None,
        })
    }
}

fn cursor(byte: u8) -> Option<Key> {
    match byte {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'F' => Some(Key::End),
        b'H' => Some(Key::Home),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    #[test]
    fn one_enter_however_it_is_sent() {
        assert_eq!(keys(b"\r\n\r\0\r\n\n"), [Key::Enter; 4]);
        assert_eq!(keys(b"\r\r"), [Key::Enter; 2]);
    }

    #[test]
    fn sequences() {
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[3~\x1b[1;5D"), [Key::Up, Key::Down, Key::Delete, Key::WordLeft]);
        assert_eq!(keys(b"\x1bb\x01\x7f?"), [Key::WordLeft, Key::Home, Key::Backspace, Key::Char('?')]);
        assert_eq!(
            keys(b"\x1b[200~a\x1bxb\xc3\xa4"),
            [Key::Char('a'), Key::Char('b')],
            "what is unknown is left out"
        );
        let endless = [b"\x1b[".as_slice(), &[b';'; LONGEST], b"a"].concat();
        assert_eq!(keys(&endless), [Key::Char('a')]);
    }
}
