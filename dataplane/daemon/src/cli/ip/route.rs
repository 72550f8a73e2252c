// SPDX-License-Identifier: Apache-2.0
//! `ip route add|replace|del`.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use weft_cli::{Args, CliError, Command};
use weft_control::ChangeSet;
use weft_nodes::ip4::{Action, DropKind, PathTarget, Preference, RoutePath, TableIndex};

use super::super::refused;
use crate::state::Dataplane;

const SYNOPSIS: &str = "[count <n>] <prefix> [table <id>] [preference <n>] via <next-hop> [<interface>] [weight <n>] \
                        | via <interface> | via drop|local|unreachable|prohibit | via table <id> ...";

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        command("ip route add", Verb::Add)
            .synopsis(SYNOPSIS)
            .help("Add paths to a route; several `via` share the traffic by weight"),
        command("ip route replace", Verb::Replace).synopsis(SYNOPSIS).help("Make these the paths of a route"),
        command("ip route del", Verb::Delete)
            .synopsis("[count <n>] <prefix> [table <id>] [via ...]")
            .help("Delete a route, or only these paths of it"),
    ]
}

fn command(path: &str, verb: Verb) -> Command<Dataplane> {
    super::super::change(path, move |dataplane, changes, args| note(dataplane, changes, args, verb))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Delete,
}

fn note(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    verb: Verb,
) -> Result<(), CliError> {
    let count: u32 = if args.keyword("count") { args.parse("number of routes")? } else { 1 };
    let first: Ipv4Net = args.parse("IPv4 prefix")?;
    let mut table = TableIndex(0);
    let mut preference = Preference::default();
    let mut paths = Vec::new();
    loop {
        if args.keyword("table") {
            table = super::table(args, dataplane, changes)?;
        } else if args.keyword("preference") {
            preference = Preference(args.parse("preference")?);
        } else if args.keyword("via") {
            paths.push(path(dataplane, changes, args)?);
        } else {
            break;
        }
    }
    args.finish()?;
    if paths.is_empty() && verb != Verb::Delete {
        return Err(args.reject("a route needs a path: expected via"));
    }
    for prefix in
        prefixes(first, count).ok_or_else(|| refused("the prefixes leave the IPv4 address space"))?
    {
        let actions: Vec<Action> = match verb {
            Verb::Replace => vec![Action::Set(preference, paths.clone())],
            Verb::Delete if paths.is_empty() => vec![Action::Delete],
            Verb::Add => paths.iter().map(|path| Action::AddPath(preference, *path)).collect(),
            Verb::Delete => paths.iter().map(|path| Action::DeletePath(path.target)).collect(),
        };
        actions.into_iter().for_each(|action| changes.route(table, prefix, action));
    }
    Ok(())
}

/// `count` prefixes one behind the other.
fn prefixes(first: Ipv4Net, count: u32) -> Option<Vec<Ipv4Net>> {
    let step = 1u64 << (32 - first.prefix_len());
    (0..u64::from(count))
        .map(|i| {
            let address = u32::try_from(u64::from(first.addr().to_bits()) + i * step).ok()?;
            Ipv4Net::new(address.into(), first.prefix_len()).ok()
        })
        .collect()
}

/// What follows `via`.
fn path(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<RoutePath, CliError> {
    let mut target = target(dataplane, changes, args)?;
    if let PathTarget::Via { interface, .. } = &mut target {
        *interface = args.take_if("interface", |name| dataplane.interfaces.find(name));
    }
    let mut path = RoutePath::new(target);
    if args.keyword("weight") {
        path.weight = args.parse::<NonZeroU16>("weight, 1 to 65535")?;
    }
    Ok(path)
}

fn target(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<PathTarget, CliError> {
    let words = [
        ("drop", PathTarget::Drop(DropKind::Blackhole)),
        ("blackhole", PathTarget::Drop(DropKind::Blackhole)),
        ("unreachable", PathTarget::Drop(DropKind::Unreachable)),
        ("prohibit", PathTarget::Drop(DropKind::Prohibit)),
        ("local", PathTarget::Local),
        ("punt", PathTarget::Punt),
    ];
    for (word, target) in words {
        if args.keyword(word) {
            return Ok(target);
        }
    }
    if args.keyword("table") || args.keyword("ip4-lookup-in-table") {
        return Ok(PathTarget::Table(super::table(args, dataplane, changes)?));
    }
    if let Some(address) = args.take_if("next hop", |word| word.parse::<Ipv4Addr>().ok()) {
        return Ok(PathTarget::Via { address, interface: None });
    }
    Ok(PathTarget::Connected(super::super::interface(args, dataplane)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_prefixes_follow_each_other_and_end_with_the_address_space() {
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        assert_eq!(prefixes(net("10.0.255.0/24"), 2), Some(vec![net("10.0.255.0/24"), net("10.1.0.0/24")]));
        assert_eq!(prefixes(net("255.255.255.0/24"), 2), None);
        assert_eq!(prefixes(net("0.0.0.0/0"), 1), Some(vec![net("0.0.0.0/0")]));
    }
}
