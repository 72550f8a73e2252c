// SPDX-License-Identifier: Apache-2.0
//! What one incarnation tells the next when the plugin is reloaded: lines of text, so that an older or newer one can say
//! which line it does not understand.
//!
//! ```text
//! next <id>
//! list <number> <tag>|-
//! rule <id> <rule>                         of the list above
//! applied <interface> <name> input|output <number>...
//! ```

use std::fmt::Write;

use weft_plugin_sdk::{Direction, InterfaceIndex, Result, RuleId, State, Words};

use crate::model::{At, List, Lists, Number};
use crate::rule;

/// Of this form.
pub const VERSION: u32 = 1;

/// Instead of a tag.
const NO_TAG: &str = "-";

/// All lists.
pub fn write(lists: &Lists) -> String {
    let mut text = format!("next {}\n", lists.next_id);
    // Writing to a string does not fail.
    for (number, list) in &lists.lists {
        let _ = writeln!(text, "list {} {}", number.0, written(&list.tag));
        for (id, rule) in &list.rules {
            let _ = writeln!(text, "rule {} {rule}", id.0);
        }
    }
    for (at, numbers) in &lists.applied {
        let _ = write!(text, "applied {} {} {}", at.interface, at.name, direction(at.direction));
        for number in numbers {
            let _ = write!(text, " {}", number.0);
        }
        text.push('\n');
    }
    text
}

/// A tag as one word: bytes of a tag that clients of the binary API have given may be blanks.
fn written(tag: &str) -> String {
    match tag {
        "" => NO_TAG.to_owned(),
        NO_TAG => "%2d".to_owned(),
        tag => tag.bytes().fold(String::new(), |mut word, byte| {
            match byte {
                b'%' | 0..=b' ' | 0x7f.. => {
                    let _ = write!(word, "%{byte:02x}");
                }
                byte => word.push(byte.into()),
            }
            word
        }),
    }
}

fn read_tag(word: &str) -> Result<String> {
    let mut parts = word.split('%');
    let mut tag = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or("expected two digits behind %")?;
        tag.push(u8::from_str_radix(digits, 16)?);
        tag.extend(rest.bytes());
    }
    Ok(String::from_utf8(tag)?)
}

/// The word for a direction.
pub fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "input",
        Direction::Output => "output",
    }
}

/// Takes one.
pub fn read_direction(words: &mut Words<'_>) -> Result<Direction> {
    if words.keyword("output") {
        return Ok(Direction::Output);
    }
    words.expect("input").map(|()| Direction::Input)
}

/// The lists that [`write`] has written.
pub fn read(state: &State) -> Result<Lists> {
    if state.version != VERSION {
        return Err(format!("state of version {}: expected {VERSION}", state.version).into());
    }
    let text = std::str::from_utf8(&state.bytes)?;
    let mut lists = Lists::default();
    let mut last = None;
    for (place, line) in text.lines().enumerate() {
        let mut words = Words::new(line);
        let read = read_line(&mut lists, &mut last, &mut words).and_then(|()| words.finish());
        read.map_err(|why| format!("line {} of the state: {}", place + 1, why.sentence()))?;
    }
    Ok(lists)
}

fn read_line(lists: &mut Lists, last: &mut Option<Number>, words: &mut Words<'_>) -> Result<()> {
    match words.word("a line")? {
        "next" => lists.next_id = words.parse("an id")?,
        "list" => {
            let number = Number(words.parse("a number")?);
            let tag = match words.word("a tag")? {
                NO_TAG => String::new(),
                word => read_tag(word)?,
            };
            lists.lists.insert(number, List { tag, rules: Vec::new() });
            *last = Some(number);
        }
        "rule" => {
            let id = RuleId(words.parse("an id")?);
            let list = last.and_then(|number| lists.lists.get_mut(&number));
            list.ok_or("a rule before all lists")?.rules.push((id, rule::read(words)?));
        }
        "applied" => {
            let interface = InterfaceIndex(words.parse("an interface")?);
            let name = words.word("a name")?.to_owned();
            let at = At { interface, name, direction: read_direction(words)? };
            while !words.is_empty() {
                lists.apply(at.clone(), Number(words.parse("a number")?))?;
            }
        }
        other => return Err(format!("{other:?} is not known").into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let rules = |texts: &[&str]| {
            texts.iter().map(|text| rule::read(&mut Words::new(text)).expect("good")).collect()
        };
        let mut lists = Lists::default();
        let web = rules(&["permit+reflect src 10.0.0.0/8 proto tcp dport 80", "deny proto icmp sport 8"]);
        let named = lists.set(None, Some("web".into()), web).expect("good");
        let other = lists.set(None, None, rules(&["deny"])).expect("good");
        for tag in ["-", "two words", "100%", "%2d", "\u{1}µ"] {
            lists.set(None, Some(tag.into()), rules(&[])).expect("good");
        }
        let at = |direction| At { interface: InterfaceIndex(3), name: "p0.7".into(), direction };
        for (direction, number) in
            [(Direction::Input, other), (Direction::Input, named), (Direction::Output, named)]
        {
            assert!(lists.apply(at(direction), number).is_ok());
        }
        let state = |text: &str| State { version: VERSION, bytes: text.as_bytes().to_vec() };
        assert_eq!(read(&state(&write(&lists))).expect("good"), lists);
        assert_eq!(read(&state("next 1\n")).expect("good"), Lists::default());
        for bad in ["next", "rule 1 deny", "list 0 a b", "list 0 %4", "applied 1 p0 input 4", "other"] {
            assert!(read(&state(bad)).is_err(), "{bad}");
        }
        assert!(read(&State { version: 2, bytes: Vec::new() }).is_err());
    }
}
