// SPDX-License-Identifier: Apache-2.0
//! Reads the recorded dialogues of `tests/fixtures/transcript.txt`.

use std::collections::BTreeMap;

use crate::wire::Message;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    Dataplane,
    Vplaned,
    Publisher,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub party: Party,
    pub frames: Message,
}

/// Messages by scenario and section.
pub struct Transcript {
    sections: BTreeMap<(String, String), Vec<Line>>,
}

impl Transcript {
    pub fn read() -> Transcript {
        let mut sections: BTreeMap<(String, String), Vec<Line>> = BTreeMap::new();
        let (mut scenario, mut section) = (String::new(), String::new());
        let mut current: Option<Line> = None;
        for text in include_str!("../../tests/fixtures/transcript.txt").lines() {
            if let Some(frame) = text.strip_prefix("  [") {
                if let Some(line) = &mut current {
                    line.frames.push(frame_of(frame));
                }
                continue;
            }
            if let Some(line) = current.take() {
                sections.entry((scenario.clone(), section.clone())).or_default().push(line);
            }
            if let Some(name) = text.strip_prefix("######## scenario ") {
                scenario = name.split(':').next().expect("a name").to_owned();
            } else if let Some(name) = text.strip_prefix("== ") {
                section = name.to_owned();
            }
            let party = match text {
                "DP -> vplaned (DEALER)" => Some(Party::Dataplane),
                "vplaned -> DP (DEALER)" => Some(Party::Vplaned),
                "PUB -> DP (SUB)" => Some(Party::Publisher),
                _ => None,
            };
            current = party.map(|party| Line { party, frames: Message::new() });
        }
        Transcript { sections }
    }

    /// The messages under the heading that begins so.
    pub fn section(&self, scenario: &str, heading: &str) -> &[Line] {
        let found = self
            .sections
            .iter()
            .find(|((scene, section), _)| scene == scenario && section.starts_with(heading));
        found.unwrap_or_else(|| panic!("no section {heading} of {scenario}")).1
    }

    pub fn sections(&self) -> impl Iterator<Item = &[Line]> {
        self.sections.values().map(Vec::as_slice)
    }
}

/// `  12] 0a0b  "text"`: the size, the bytes in hexadecimal, and for readers the text.
fn frame_of(text: &str) -> Vec<u8> {
    let (size, rest) = text.split_once(']').expect("a size");
    let hex = rest.trim_start().split(' ').next().unwrap_or_default();
    let nibble = |byte: u8| char::from(byte).to_digit(16).expect("hexadecimal") as u8;
    let bytes: Vec<u8> =
        hex.as_bytes().chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
    assert_eq!(Ok(bytes.len()), size.trim().parse(), "{text}");
    bytes
}
