// SPDX-License-Identifier: Apache-2.0
//! What there is, and what it has met.

use weft_plugin_sdk::{Answer, Direction, Hits, Main, Result, RuleId, Words, json_text};

use crate::Acl;
use crate::compile::{REST, set_name};
use crate::model::{List, Number};
use crate::state::direction;

/// `show acl-plugin acl`.
pub fn lists(acl: &mut Acl, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
    let only = match words.keyword("index") {
        true => Some(acl.lists.find(words.word("a list's number or tag")?)?),
        false => None,
    };
    words.finish()?;
    let (mut text, mut json) = (String::new(), Vec::new());
    for (number, list) in
        acl.lists.lists.iter().filter(|(number, _)| only.is_none_or(|only| only == **number))
    {
        let (its_text, its_json) = one(acl, main, *number, list);
        text += &its_text;
        json.push(its_json);
    }
    Ok(Answer::new(text, format!("[{}]", json.join(","))))
}

fn one(acl: &Acl, main: &mut Main<'_>, number: Number, list: &List) -> (String, String) {
    let List { tag, rules } = list;
    let mut text = format!("acl-index {} count {} tag {{{tag}}}\n", number.0, rules.len());
    let mut json = Vec::new();
    for (place, (id, rule)) in rules.iter().enumerate() {
        let Hits { packets, bytes } = hits(acl, main, number, *id);
        text += &format!("{place:>11}: ipv4 {rule}\n{:>13}{packets} packets, {bytes} bytes\n", "");
        let rule = json_text(&rule.to_string());
        json.push(format!("{{\"id\":{},\"rule\":{rule},\"packets\":{packets},\"bytes\":{bytes}}}", id.0));
    }
    let mut applied = String::new();
    for (direction, shown) in [(Direction::Input, "inbound"), (Direction::Output, "outbound")] {
        let at = acl.lists.applied.iter();
        let at = at.filter(|(at, numbers)| at.direction == direction && numbers.contains(&number));
        let names: Vec<&str> = at.map(|(at, _)| at.name.as_str()).collect();
        if !names.is_empty() {
            text += &format!("  applied {shown} on: {}\n", names.join(", "));
        }
        let names: Vec<String> = names.into_iter().map(json_text).collect();
        applied += &format!(",\"{}\":[{}]", self::direction(direction), names.join(","));
    }
    let head = format!("\"index\":{},\"tag\":{}", number.0, json_text(tag));
    (text, format!("{{{head},\"rules\":[{}]{applied}}}", json.join(",")))
}

/// On all interfaces together.
fn hits(acl: &Acl, main: &mut Main<'_>, number: Number, id: RuleId) -> Hits {
    let at = acl.lists.applied.iter().filter(|(_, numbers)| numbers.contains(&number));
    at.filter_map(|(at, _)| main.hits(&set_name(at), id)).fold(Hits::default(), |sum, hits| Hits {
        packets: sum.packets + hits.packets,
        bytes: sum.bytes + hits.bytes,
    })
}

/// `show acl-plugin interface`.
pub fn interfaces(acl: &mut Acl, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
    let only = if words.is_empty() { None } else { Some(main.interface(words.word("interface")?)?) };
    words.finish()?;
    let (mut text, mut json) = (String::new(), Vec::new());
    for (at, numbers) in &acl.lists.applied {
        if only.is_some_and(|only| only != at.interface) {
            continue;
        }
        let Hits { packets, bytes } = main.hits(&set_name(at), REST).unwrap_or_default();
        let numbers: Vec<String> = numbers.iter().map(|number| number.0.to_string()).collect();
        let (name, direction) = (&at.name, direction(at.direction));
        text += &format!("{name} {direction} acl(s): {}\n", numbers.join(", "));
        text += &format!("  denied at the end: {packets} packets, {bytes} bytes\n");
        json.push(format!(
            "{{\"interface\":{},\"direction\":\"{direction}\",\"acls\":[{}],\
             \"rest\":{{\"packets\":{packets},\"bytes\":{bytes}}}}}",
            json_text(name),
            numbers.join(",")
        ));
    }
    Ok(Answer::new(text, format!("[{}]", json.join(","))))
}
