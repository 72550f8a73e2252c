// SPDX-License-Identifier: Apache-2.0
//! The commands of all settings, from the list of them; and `show settings`.

use serde::Serialize;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_control::settings::{ALL, Words};
use weft_control::{ChangeSet, Grammar, Object, Setting, Value};
use weft_engine::InterfaceIndex;

use super::{Column, change, interface_names, of_interfaces, tabled};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    let set = ALL.iter().copied().flat_map(commands_of);
    let show = of_interfaces("show settings", |dataplane, only| Ok(show(dataplane, only)))
        .help("What is set, whose value is in force, and who has said another one, or the same, before");
    set.chain([show]).collect()
}

/// The commands that set a setting.
pub fn commands_of(setting: &'static Setting) -> impl Iterator<Item = Command<Dataplane>> {
    setting.commands.iter().map(move |words| command(setting, *words))
}

/// A word of a pattern.
#[derive(Clone, Copy)]
enum Part {
    Interface,
    Value,
    Keyword(&'static str),
    Optional(&'static str),
}

fn parts(pattern: &'static str) -> (String, Vec<Part>) {
    let (mut path, mut parts) = (Vec::new(), Vec::new());
    for word in pattern.split(' ') {
        let optional = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
        match (word, optional) {
            ("<interface>", _) => parts.push(Part::Interface),
            ("<value>", _) => parts.push(Part::Value),
            (_, Some(word)) => parts.push(Part::Optional(word)),
            (word, None) if parts.is_empty() => path.push(word),
            (word, None) => parts.push(Part::Keyword(word)),
        }
    }
    (path.join(" "), parts)
}

fn command(setting: &'static Setting, words: Words) -> Command<Dataplane> {
    let (path, parts) = parts(words.pattern);
    let synopsis: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Interface => "<interface>".to_owned(),
            Part::Value => setting.grammar.synopsis(),
            Part::Keyword(word) => (*word).to_owned(),
            Part::Optional(word) => format!("[{word}]"),
        })
        .collect();
    let offered = parts.clone();
    change(path, move |dataplane, changes, args| note(dataplane, changes, args, setting, words, &parts))
        .synopsis(synopsis.join(" "))
        .help(setting.help)
        .completer(move |dataplane, words| {
            let mut needed = offered.iter().filter(|part| !matches!(part, Part::Optional(_)));
            match needed.nth(words.len()) {
                Some(Part::Interface) => interface_names(dataplane),
                Some(Part::Value) => values(dataplane, &setting.grammar),
                Some(Part::Keyword(word) | Part::Optional(word)) => vec![Candidate::new(*word, "")],
                None => Vec::new(),
            }
        })
}

fn values(dataplane: &Dataplane, grammar: &Grammar) -> Vec<Candidate> {
    let words: Vec<&str> = match grammar {
        Grammar::Switch { on, off } => vec![on, off],
        Grammar::Choice(words) => words.to_vec(),
        Grammar::Number { none, .. } => none.iter().copied().collect(),
        Grammar::Interface { .. } => return interface_names(dataplane),
        Grammar::LinkLocal { none, stable } => vec![none, stable],
        Grammar::Addresses { none, .. } | Grammar::Domains { none, .. } => vec![none],
        Grammar::Text { .. } | Grammar::Mac => Vec::new(),
    };
    words.into_iter().map(|word| Candidate::new(word, "")).collect()
}

fn note(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    setting: &'static Setting,
    words: Words,
    parts: &[Part],
) -> Result<(), CliError> {
    let (mut index, mut value) = (None, words.fixed.map(|value| value()));
    for part in parts {
        match part {
            Part::Interface => index = Some(super::interface(args, dataplane, changes)?),
            Part::Value => value = Some(read(dataplane, changes, args, &setting.grammar)?),
            Part::Keyword(word) => args.expect(word)?,
            Part::Optional(word) => drop(args.keyword(word)),
        }
    }
    let mut all = vec![(setting, index, value.unwrap_or_default())];
    while let Some(other) = beside(words, args) {
        all.push((other, None, read(dataplane, changes, args, &other.grammar)?));
    }
    args.finish()?;
    for (setting, index, value) in all {
        changes.set(setting, index, value);
    }
    Ok(())
}

/// The setting that the next word names, where one command of VPP sets several: `set ip neighbor-config ip4 limit 9 age 60`.
fn beside(words: Words, args: &mut Args<'_>) -> Option<&'static Setting> {
    let stem = |pattern: &'static str| pattern.strip_suffix(" <value>")?.rsplit_once(' ');
    let (own, _) = stem(words.pattern)?;
    let mut all =
        ALL.iter().flat_map(|setting| setting.commands.iter().map(|words| (*setting, words.pattern)));
    all.find(|(_, pattern)| {
        stem(pattern).is_some_and(|(path, word)| path == own && !pattern.contains('[') && args.keyword(word))
    })
    .map(|(setting, _)| setting)
}

/// Takes a value.
pub(super) fn read(
    dataplane: &Dataplane,
    changes: &ChangeSet,
    args: &mut Args<'_>,
    grammar: &Grammar,
) -> Result<Value, CliError> {
    match *grammar {
        Grammar::Switch { on, off } => args.one_of(&[(on, true), (off, false)]).map(Value::Switch),
        Grammar::Choice(words) => {
            let choices: Vec<(&'static str, usize)> = words.iter().copied().zip(0..).collect();
            args.one_of(&choices).map(Value::Choice)
        }
        Grammar::Number { none: Some(none), .. } if args.keyword(none) => Ok(Value::None),
        Grammar::Number { what, low, high, .. } => args.parse_with(what, |word| match word.parse() {
            Ok(number) if (low..=high).contains(&number) => Ok(Value::Number(number)),
            _ => Err(format!("it is no number from {low} to {high}")),
        }),
        Grammar::Text { what, .. } => args.word(what).map(|text| Value::Text(text.to_owned())),
        Grammar::Mac => args.parse("MAC address").map(Value::Mac),
        Grammar::Interface { none } | Grammar::LinkLocal { none, .. } if args.keyword(none) => {
            Ok(Value::None)
        }
        Grammar::LinkLocal { stable, .. } if args.keyword(stable) => Ok(Value::Stable),
        Grammar::LinkLocal { .. } => args.parse("link-local address").map(Value::Ip6),
        Grammar::Addresses { .. } | Grammar::Domains { .. } => {
            args.parse_with("list", |word| grammar.parse(word, |_| None))
        }
        Grammar::Interface { .. } => super::interface(args, dataplane, changes).map(Value::Interface),
    }
}

#[derive(Serialize)]
struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    setting: &'static str,
    value: String,
    /// The one that has its way comes last.
    owners: Vec<String>,
}

const COLUMNS: &[Column<View>] = &[
    Column::left("Interface", 20, |view| view.interface.clone().unwrap_or_else(|| "-".to_owned())),
    Column::left("Setting", 26, |view| view.setting.to_owned()),
    Column::left("Value", 24, |view| view.value.clone()),
    Column::at_least("In force by", 24, |view| view.owners.last().map_or("-", String::as_str).to_owned()),
    Column::rest("Also wanted by", |view| {
        // Who has its way when that owner lets go comes first.
        let others: Vec<&str> = view.owners.iter().rev().skip(1).map(String::as_str).collect();
        others.join(", ")
    }),
];

fn show(dataplane: &Dataplane, only: Option<InterfaceIndex>) -> Reply {
    let all = dataplane.settings().filter(|(_, index)| only.is_none() || *index == only);
    let mut settings: Vec<View> =
        all.filter_map(|(setting, index)| view(dataplane, setting, index)).collect();
    settings.sort_by(|a, b| a.interface.cmp(&b.interface));
    tabled("settings", settings, COLUMNS)
}

fn view(dataplane: &Dataplane, setting: &'static Setting, index: Option<InterfaceIndex>) -> Option<View> {
    let value = setting.get(dataplane, index).ok()?;
    let owners = dataplane.owners(&Object::Setting(setting, index));
    Some(View {
        interface: index.map(|index| dataplane.interface_name(index)),
        setting: setting.name,
        value: setting.grammar.text(&value, dataplane.interfaces()),
        owners: owners.iter().map(|owner| dataplane.owner_name(*owner)).collect(),
    })
}
