// SPDX-License-Identifier: Apache-2.0
//! The commands, in VPP's words.

use weft_plugin_sdk::{Answer, Command, Main, Result, Setup, Words};

use crate::model::{At, Number};
use crate::rule::{self, Ace};
use crate::state::read_direction;
use crate::{Acl, show};

const SET_SYNOPSIS: &str = "[index <number>|<tag>] permit|permit+reflect|deny [src <prefix>] [dst <prefix>] \
    [proto <protocol>] [sport <first>[-<last>]] [dport <first>[-<last>]] [tcpflags <value> mask <mask>] [, ...] \
    [tag <tag>]";

/// Registers all of them.
pub fn register(setup: &mut Setup<'_, Acl>) -> Result<()> {
    for command in [
        Command::new("set acl-plugin acl", set)
            .synopsis(SET_SYNOPSIS)
            .help("Make a list, or replace one as a whole; its rules are between commas"),
        Command::new("delete acl-plugin acl", delete)
            .synopsis("index <number>|<tag>")
            .help("Delete a list that is applied nowhere"),
        Command::new("set acl-plugin interface", apply)
            .synopsis("<interface> input|output acl <number>|<tag> [del]")
            .help("Let the packets of an interface meet a list, behind those that it has; what no list permits is denied"),
        Command::new("show acl-plugin acl", show::lists)
            .synopsis("[index <number>|<tag>]")
            .help("Lists, what their rules have met, and where they are applied"),
        Command::new("show acl-plugin interface", show::interfaces)
            .synopsis("[<interface>]")
            .help("Which lists the packets of an interface meet, in their order"),
    ] {
        setup.command(command)?;
    }
    Ok(())
}

fn set(acl: &mut Acl, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
    let number = match words.keyword("index") {
        true => Some(acl.lists.find(words.word("a list's number or tag")?)?),
        false => None,
    };
    let mut tag = None;
    let rules = read_rules(words, &mut tag)?;
    let Number(index) = acl.change(main, |lists| lists.set(number, tag, rules))?;
    Ok(Answer::new(format!("ACL index:{index}\n"), format!("{{\"index\":{index}}}")))
}

/// Rules between commas, wherever there are blanks; a tag may come last.
fn read_rules(words: &mut Words<'_>, tag: &mut Option<String>) -> Result<Vec<Ace>> {
    let mut line = String::new();
    while !words.is_empty() {
        line.push_str(words.word("a rule")?);
        line.push(' ');
    }
    let mut rules = Vec::new();
    for (place, part) in (1..).zip(line.split(',')) {
        let mut words = Words::new(part);
        let refused = |why: weft_plugin_sdk::Refusal| format!("rule {place}: {}", why.sentence());
        rules.push(rule::read(&mut words).map_err(refused)?);
        if words.keyword("tag") {
            *tag = Some(read_tag(&mut words)?);
        }
        words.finish().map_err(refused)?;
    }
    Ok(rules)
}

/// A tag that could be a number would not name a list.
fn read_tag(words: &mut Words<'_>) -> Result<String> {
    let tag = words.word("a tag")?;
    let good = tag.len() < 64 && tag != "-" && tag.parse::<u32>().is_err() && !tag.contains(',');
    if good {
        Ok(tag.to_owned())
    } else {
        Err(format!("expected a tag that is no number, found {tag:?}").into())
    }
}

fn delete(acl: &mut Acl, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
    words.expect("index")?;
    let number = acl.lists.find(words.word("a list's number or tag")?)?;
    words.finish()?;
    acl.change(main, |lists| lists.delete(number))?;
    Ok(Answer::empty())
}

fn apply(acl: &mut Acl, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
    let name = words.word("interface")?;
    let interface = main.interface(name)?;
    let direction = read_direction(words)?;
    words.expect("acl")?;
    let number = acl.lists.find(words.word("a list's number or tag")?)?;
    let del = words.keyword("del");
    words.finish()?;
    let at = At { interface, name: name.to_owned(), direction };
    acl.change(main, |lists| match del {
        true => lists.take_off(&at, number),
        false => lists.apply(at, number),
    })?;
    Ok(Answer::empty())
}
