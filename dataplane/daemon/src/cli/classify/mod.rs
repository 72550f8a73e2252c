// SPDX-License-Identifier: Apache-2.0
//! `classify rule|replace-set|delete-set|attach|detach`, `show classify`.

mod rule;
mod tables;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Serialize;
use weft_background::{Background, file};
use weft_classify::text;
use weft_classify::{Direction, Exempt, RuleId, SetView};
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_control::{ChangeSet, Object, Owner, Purpose, WantedRule};
use weft_engine::InterfaceIndex;

use super::{change, refused};
use crate::state::Dataplane;

pub use tables::commands as table_commands;

/// Longest file of rules: some 500,000 of them.
const MOST_BYTES: u64 = 64 << 20;

const DIRECTIONS: [(&str, Direction); 2] = [("input", Direction::Input), ("output", Direction::Output)];

pub fn commands() -> Vec<Command<Dataplane>> {
    let set_first = |dataplane: &Dataplane, words: &[&str]| match words {
        [] => set_names(dataplane),
        _ => Vec::new(),
    };
    vec![
        change("classify rule add", add)
            .synopsis(format!("<set> {}", text::SYNOPSIS))
            .help("Add a rule to a set, which is made if there is none; lower priorities are asked first")
            .completer(set_first),
        change("classify rule del", delete)
            .synopsis("<set> id <n>")
            .help("Delete a rule")
            .completer(set_first),
        Command::new("classify replace-set", replace)
            .change()
            .synopsis("<set> file <path>")
            .help("Make the rules of a file, one per line, the rules of a set, all at once")
            .completer(set_first),
        change("classify delete-set", delete_set)
            .synopsis("<set>")
            .help("Delete a set that is attached nowhere")
            .completer(set_first),
        change("classify attach", attach)
            .synopsis("<set> interface <interface> input|output")
            .help("Let the packets of an interface meet the rules of a set")
            .completer(set_first),
        change("classify detach", detach)
            .synopsis("interface <interface> input|output")
            .help("Let the packets of an interface pass without rules"),
        Command::new("show classify", show)
            .synopsis("[<set>]")
            .help("Rule sets, or the rules of one with their packets and bytes")
            .completer(set_first),
    ]
}

fn set_names(dataplane: &Dataplane) -> Vec<Candidate> {
    dataplane.rule_sets().iter().map(|set| Candidate::new(set.name, "rule set")).collect()
}

fn add(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let set = args.word("rule set")?.to_owned();
    let mut reader = rule::Reader { dataplane, changes, next_hops: Vec::new() };
    let rule = text::read(args, &mut reader)?;
    changes.add_rule(&set, WantedRule::noted(rule, &reader.next_hops));
    Ok(())
}

fn delete(_: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let set = args.word("rule set")?.into();
    args.expect("id")?;
    let id = RuleId(args.parse("rule id")?);
    args.finish()?;
    changes.delete(Object::Rule(set, id));
    Ok(())
}

/// Another thread reads the file, with the rights of whoever asks.
fn replace(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let set = args.word("rule set")?.to_owned();
    args.expect("file")?;
    let path = args.word("path")?.to_owned();
    args.finish()?;
    let name = PathBuf::from(&path);
    let reading =
        Background::start(args.rights(), move || file::read_text(&name, MOST_BYTES)).map_err(refused)?;
    if dataplane.collected().is_some() {
        // One change of several, which are made together: the next one may build on it.
        let lines = reading.wait().map_err(refused)?.map_err(refused)?;
        dataplane.collect(|dataplane, collected| note_file(dataplane, collected, &set, &path, &lines))?;
        return Ok(Reply::empty());
    }
    Ok(Reply::after(reading, move |dataplane: &mut Dataplane, lines| {
        let mut changes = ChangeSet::new(Owner::CLI);
        note_file(dataplane, &mut changes, &set, &path, &lines?)?;
        dataplane.change(&changes, Purpose::Make).map_err(refused)?;
        Ok(Reply::empty())
    }))
}

fn note_file(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    set: &str,
    path: &str,
    lines: &str,
) -> Result<(), CliError> {
    let mut reader = rule::Reader { dataplane, changes, next_hops: Vec::new() };
    let rules = text::read_lines(path, lines, &mut reader)?;
    let next_hops = reader.next_hops;
    changes.set_rules(
        set,
        Exempt::default(),
        rules.into_iter().map(|rule| WantedRule::noted(rule, &next_hops)),
    );
    Ok(())
}

fn delete_set(_: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let set = args.word("rule set")?.into();
    args.finish()?;
    changes.delete(Object::RuleSet(set));
    Ok(())
}

fn attach(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let set = args.word("rule set")?.to_owned();
    let (interface, direction) = place(dataplane, changes, args)?;
    changes.attach(&set, interface, direction);
    Ok(())
}

fn detach(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let (interface, direction) = place(dataplane, changes, args)?;
    changes.delete(Object::Attachment(interface, direction));
    Ok(())
}

/// Takes what packets meet a set.
fn place(
    dataplane: &Dataplane,
    changes: &ChangeSet,
    args: &mut Args<'_>,
) -> Result<(InterfaceIndex, Direction), CliError> {
    args.expect("interface")?;
    let interface = super::interface(args, dataplane, changes)?;
    let direction = args.one_of(&DIRECTIONS)?;
    args.finish()?;
    Ok((interface, direction))
}

/// Takes the name of a set.
fn known_set(dataplane: &Dataplane, args: &mut Args<'_>) -> Result<String, CliError> {
    args.parse_with("rule set", |name| match dataplane.rule_sets().get(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err("there is no such rule set"),
    })
}

#[derive(Serialize)]
struct Attachment {
    interface: String,
    direction: &'static str,
}

#[derive(Serialize)]
struct Set {
    name: String,
    /// As in traces.
    index: u32,
    rules: usize,
    /// Rules about exactly one session.
    sessions: usize,
    /// Depths of the trees of all others.
    trees: Vec<u32>,
    bytes: usize,
    attached: Vec<Attachment>,
}

#[derive(Serialize)]
struct ShownRule {
    id: u32,
    priority: u32,
    #[serde(rename = "match")]
    matches: String,
    action: String,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Rules {
    #[serde(flatten)]
    set: Set,
    #[serde(rename = "rule_list")]
    list: Vec<ShownRule>,
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    if args.is_empty() {
        let sets = dataplane.rule_sets().iter().map(|view| summary(dataplane, &view));
        return Ok(Reply::each("sets", sets, line));
    }
    let name = known_set(dataplane, args)?;
    args.finish()?;
    let Some(view) = dataplane.rule_sets().get(&name) else {
        return Err(args.reject("there is no such rule set"));
    };
    let list = view.rules.iter().map(|rule| {
        let hits = view.hits(rule.id);
        let (matches, action) = text::write(rule, dataplane);
        let (id, priority) = (rule.id.0, rule.priority.0);
        ShownRule { id, priority, matches, action, packets: hits.packets, bytes: hits.bytes }
    });
    let rules = Rules { list: list.collect(), set: summary(dataplane, &view) };
    Ok(Reply::new(rules, |rules| {
        let mut text = line(&rules.set);
        for ShownRule { id, priority, matches, action, packets, bytes } in &rules.list {
            let blank = if matches.is_empty() { "" } else { " " };
            text += &format!(
                "  id {id} priority {priority} {matches}{blank}action {action}\n      {packets} packets, {bytes} bytes\n"
            );
        }
        text
    }))
}

fn summary(dataplane: &Dataplane, view: &SetView<'_>) -> Set {
    let (sessions, session_bytes) = view.classifier.sessions();
    let shape = view.classifier.shape();
    let attached = dataplane.rule_sets().attached().filter(|(_, _, set)| *set == view.name);
    Set {
        name: view.name.to_owned(),
        index: view.index.0,
        rules: view.rules.len(),
        sessions,
        trees: shape.depths,
        bytes: session_bytes + shape.bytes,
        attached: attached
            .map(|(interface, direction, _)| Attachment {
                interface: dataplane.interface_name(interface),
                direction: DIRECTIONS[direction as usize].0,
            })
            .collect(),
    }
}

fn line(set: &Set) -> String {
    let Set { name, index, rules, sessions, trees, bytes, attached } = set;
    let mut text = format!(
        "{name} (set {index}): {rules} rules, {sessions} of them sessions; {} trees, {} KiB\n",
        trees.len(),
        bytes.div_ceil(1024)
    );
    for Attachment { interface, direction } in attached {
        text += &format!("  attached to {interface} {direction}\n");
    }
    text
}
