// SPDX-License-Identifier: Apache-2.0
//! What of telnet (RFC 854, 1073, 1091) passes between `vppctl` and the server.

/// `IAC`, the byte that announces a command (RFC 854).
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Subnegotiation: from `IAC SB` to `IAC SE`.
const SB: u8 = 250;
const AYT: u8 = 246;
const SE: u8 = 240;
const ECHO: u8 = 1;
/// Suppress go-ahead (RFC 858).
const SGA: u8 = 3;
/// Terminal type (RFC 1091).
const TTYPE: u8 = 24;
const IS: u8 = 0;
const SEND: u8 = 1;
/// Size of the window (RFC 1073).
const NAWS: u8 = 31;
const LINEMODE: u8 = 34;

/// What the server says first. One write: `vppctl` cannot read a command that is cut in two.
#[rustfmt::skip]
pub const PREAMBLE: [u8; 36] = [
    IAC, WONT, LINEMODE, IAC, DONT, LINEMODE,
    IAC, WILL, SGA, IAC, DO, SGA,
    IAC, WILL, ECHO, IAC, DONT, ECHO,
    IAC, DO, TTYPE, IAC, SB, TTYPE, SEND, IAC, SE,
    IAC, DO, NAWS, IAC, SB, NAWS, 1, IAC, SE,
];

/// Bytes of a subnegotiation; after as many without an end, what follows is taken for text.
const LONGEST: usize = 64;

/// What the client means.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Byte(u8),
    Terminal(String),
    Window { columns: u16, rows: u16 },
    AreYouThere,
}

/// Takes the client's bytes apart.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    content: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Text,
    Command,
    Option,
    Inside,
    InsideCommand,
}

impl Decoder {
    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Option<Event> {
        match (self.state, byte) {
            (State::Text, IAC) => self.state = State::Command,
            (State::Text, _) => return Some(Event::Byte(byte)),
            (State::Command, WILL | WONT | DO | DONT) => self.state = State::Option,
            (State::Command, SB) => {
                self.content.clear();
                self.state = State::Inside;
            }
            (State::Command, _) => {
                self.state = State::Text;
                return (byte == AYT).then_some(Event::AreYouThere);
            }
            (State::Option, _) => self.state = State::Text,
            (State::Inside, IAC) => self.state = State::InsideCommand,
            (State::Inside, _) => self.keep(byte),
            (State::InsideCommand, SE) => {
                self.state = State::Text;
                return self.subnegotiated();
            }
            // IAC IAC is the byte itself; other commands have no place here and are passed over.
            (State::InsideCommand, _) => {
                self.state = State::Inside;
                if byte == IAC {
                    self.keep(byte);
                }
            }
        }
        None
    }

    fn keep(&mut self, byte: u8) {
        self.content.push(byte);
        if self.content.len() == LONGEST {
            self.state = State::Text;
        }
    }

    fn subnegotiated(&self) -> Option<Event> {
        match *self.content.as_slice() {
            [TTYPE, IS, ref name @ ..] if !name.is_empty() => {
                Some(Event::Terminal(String::from_utf8_lossy(name).to_ascii_lowercase()))
            }
            [NAWS, a, b, c, d] => {
                Some(Event::Window { columns: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    #[test]
    fn the_preamble_is_what_vppctl_expects() {
        let hex: String = PREAMBLE.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex, "fffc22fffe22fffb03fffd03fffb01fffe01fffd18fffa1801fff0fffd1ffffa1f01fff0",
            "the block of 36 bytes that VPP sends"
        );
    }

    #[test]
    fn commands_are_taken_out_of_the_text() {
        assert_eq!(events(b"\xff\xfb\x18a\xff\xf1b\xff\xffc"), [b'a', b'b', b'c'].map(Event::Byte));
        assert_eq!(events(b"\xff\xfa\x18\x00XTerm\xff\xf0"), [Event::Terminal("xterm".into())]);
        assert_eq!(
            events(b"\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0"),
            [Event::Window { columns: 255, rows: 24 }]
        );
        assert_eq!(events(b"\xff\xf6"), [Event::AreYouThere]);
        assert_eq!(events(b"\xff\xfa\x18\x00\xff\xf0\xff\xfa\x1f\x00\xff\xf0"), []);
    }

    #[test]
    fn a_subnegotiation_without_an_end_is_given_up() {
        let mut bytes = b"\xff\xfa\x18".to_vec();
        bytes.extend([b'x'; LONGEST - 1]);
        bytes.extend(b"text");
        assert_eq!(events(&bytes), b"text".map(Event::Byte));
    }
}
