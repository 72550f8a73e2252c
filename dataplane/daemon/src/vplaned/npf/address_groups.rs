// SPDX-License-Identifier: Apache-2.0
//! `npf-op fw show address-group`: addresses as they were configured, as prefixes, or as the fewest prefixes.
//!
//! Two generations of scripts ask for them. The first says `list=`, `tree=`, `id=` or `optimal`, and reads one group; the second
//! says `option=`, and reads a list. Who says neither is answered in both forms.

use std::collections::BTreeSet;

use ipnet::IpNet;
use weft_vplaned::commands::Words;
use weft_vplaned::commands::npf::{AddressForm, AddressRange};
use weft_vplaned::console::{Failure, json};

use super::Filters;

const OPTIONS: [(&str, Option<Listed>); 4] = [
    ("detail", Some(Listed::Detailed)),
    ("brief", None),
    ("tree", Some(Listed::Prefixes)),
    ("optimal", Some(Listed::Fewest)),
];
const FORMS: &str = "af=all|ipv4|ipv6, name=GROUP, option=detail|brief|tree|optimal, list=none|list-only|all, tree=none|all, id=N";
const PREFIX: u8 = 0;
const RANGE: u8 = 1;

/// What of a group's addresses is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Given,
    /// As given, and the prefixes of ranges.
    Detailed,
    Prefixes,
    Fewest,
}

/// What was asked for.
struct Asked<'a> {
    ip4: bool,
    ip6: bool,
    name: Option<&'a str>,
    /// A word of the first generation was said, or one of the second.
    generations: [bool; 2],
    /// Of the first: the list, the tree, and which group is the first of interest.
    list: Option<Listed>,
    tree: Option<Listed>,
    id: usize,
    /// Of the second.
    option: Option<Listed>,
}

impl<'a> Asked<'a> {
    fn read(mut words: Words<'a>) -> Result<Asked<'a>, Failure> {
        let mut asked = Asked {
            ip4: true,
            ip6: true,
            name: None,
            generations: [false; 2],
            list: Some(Listed::Given),
            tree: None,
            id: 0,
            option: Some(Listed::Given),
        };
        while !words.is_empty() {
            let word = words.word(FORMS)?;
            match word.split_once('=').unwrap_or((word, "")) {
                ("af", "all") => (asked.ip4, asked.ip6) = (true, true),
                ("af", "ipv4") => (asked.ip4, asked.ip6) = (true, false),
                ("af", "ipv6") => (asked.ip4, asked.ip6) = (false, true),
                ("name", name) if !name.is_empty() => asked.name = Some(name),
                ("option", option) => {
                    let known = OPTIONS.iter().find(|(known, _)| *known == option);
                    (asked.generations[1], asked.option) =
                        (true, known.ok_or_else(|| words.wrong_last(FORMS))?.1);
                }
                ("list", list) => {
                    asked.generations[0] = true;
                    asked.list = match list {
                        "none" => None,
                        "list-only" => Some(Listed::Given),
                        "all" => Some(Listed::Detailed),
                        _ => return Err(words.wrong_last(FORMS).into()),
                    };
                }
                ("tree", tree @ ("none" | "all")) => {
                    (asked.generations[0], asked.tree) = (true, (tree == "all").then_some(Listed::Prefixes));
                }
                ("id", id) => {
                    (asked.generations[0], asked.id) =
                        (true, id.parse().map_err(|_| words.wrong_last(FORMS))?);
                }
                ("optimal", "") => {
                    asked.generations[0] = true;
                    (asked.list, asked.tree) = (None, Some(Listed::Fewest));
                }
                _ => return Err(words.wrong_last(FORMS).into()),
            }
        }
        Ok(asked)
    }
}

/// `npf-op fw show address-group`. A group that is not there is no error, as in the C dataplane.
pub fn address_groups(filters: &Filters, words: Words<'_>) -> Result<json::AddressGroups, Failure> {
    let asked = Asked::read(words)?;
    let all = || filters.store.address_groups().enumerate();
    let meant = |name: &str| asked.name.is_none_or(|wanted| wanted == name);
    let mut answer = json::AddressGroups::default();
    if !asked.generations[1] {
        // One, and the next from a number on, so that who asks again with a higher one sees all.
        let found = all().find(|(id, (name, _))| meant(name) && (asked.name.is_some() || *id >= asked.id));
        answer.address_group = found.map(|(id, (name, group))| {
            view(&asked, id, name, |ip6| json::AddressLists {
                list_entries: asked.list.map(|listed| entries(group, ip6, listed, true)),
                tree: asked.tree.map(|listed| entries(group, ip6, listed, true)),
                entries: None,
            })
        });
    }
    if !asked.generations[0] {
        let groups = all().filter(|(_, (name, _))| meant(name)).map(|(id, (name, group))| {
            view(&asked, id, name, |ip6| json::AddressLists {
                entries: asked.option.map(|listed| entries(group, ip6, listed, false)),
                ..json::AddressLists::default()
            })
        });
        answer.address_groups = Some(groups.collect());
    }
    Ok(answer)
}

fn view(
    asked: &Asked<'_>,
    id: usize,
    name: &str,
    lists: impl Fn(bool) -> json::AddressLists,
) -> json::AddressGroup {
    // Brief: names alone.
    let told = asked.generations[0] || asked.option.is_some();
    json::AddressGroup {
        name: name.to_owned(),
        id,
        ipv4: (told && asked.ip4).then(|| lists(false)),
        ipv6: (told && asked.ip6).then(|| lists(true)),
    }
}

/// The addresses of a family. `first`: for scripts of the first generation.
fn entries(
    group: &BTreeSet<AddressRange>,
    ip6: bool,
    listed: Listed,
    first: bool,
) -> Vec<json::AddressEntry> {
    let ranges = || group.iter().filter(|range| range.first.is_ipv6() == ip6);
    match listed {
        Listed::Prefixes => ranges().flat_map(AddressRange::prefixes).map(prefix).collect(),
        Listed::Fewest => {
            let all: Vec<IpNet> = ranges().flat_map(AddressRange::prefixes).collect();
            IpNet::aggregate(&all).into_iter().map(prefix).collect()
        }
        Listed::Given | Listed::Detailed => ranges().map(|range| given(range, listed, first)).collect(),
    }
}

/// An entry as it was configured.
fn given(range: &AddressRange, listed: Listed, first: bool) -> json::AddressEntry {
    let mask = match range.form {
        AddressForm::Address => None,
        AddressForm::Prefix(length) => Some(length),
        AddressForm::Range => {
            let detail = |said| {
                (listed == Listed::Detailed && said)
                    .then(|| range.prefixes().into_iter().map(prefix).collect())
            };
            return json::AddressEntry::Range {
                kind: RANGE,
                start: range.first,
                end: range.last,
                range_prefixes: detail(first),
                entries: detail(!first),
            };
        }
    };
    json::AddressEntry::Prefix { kind: PREFIX, prefix: range.first, mask }
}

fn prefix(prefix: IpNet) -> json::AddressEntry {
    json::AddressEntry::Prefix { kind: PREFIX, prefix: prefix.network(), mask: Some(prefix.prefix_len()) }
}
