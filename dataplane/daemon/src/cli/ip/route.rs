// SPDX-License-Identifier: Apache-2.0
//! `ip route add|replace|del`.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use weft_cli::{Args, CliError, Command, Reply, Slice, Turn};
use weft_control::{ChangeSet, Owner, Purpose};
use weft_nodes::ip4::{Action, DropKind, PathTarget, Preference, RoutePath, TableIndex};

use super::super::refused;
use crate::config::values::prefix;
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
    Command::new(path, move |dataplane: &mut Dataplane, args| run(dataplane, args, verb)).change()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Delete,
}

/// Notes the routes of a file that is one change; else makes them, many in several turns.
fn run(dataplane: &mut Dataplane, args: &mut Args<'_>, verb: Verb) -> Result<Reply, CliError> {
    if let Some(mut collected) = dataplane.collected.take() {
        let noted =
            read(dataplane, &mut collected, args, verb).and_then(|routes| routes.note_all(&mut collected));
        dataplane.collected = Some(collected);
        return noted.map(|()| Reply::empty());
    }
    // No step, but the tables that are named: that they are still the same is looked at with every portion.
    let mut named = ChangeSet::new(Owner::CLI);
    let mut routes = read(dataplane, &mut named, args, verb)?;
    let mut done = 0;
    let mut portion = move |dataplane: &mut Dataplane| {
        let mut changes = named.clone();
        let noted = routes.note(&mut changes, PORTION);
        dataplane.change(&changes, Purpose::Make).map_err(|error| match done {
            0 => refused(error),
            _ => refused(format!("{error}; {done} prefixes before it are done")),
        })?;
        done += noted;
        Ok(routes.left == 0)
    };
    if portion(dataplane)? {
        return Ok(Reply::empty());
    }
    Ok(Reply::in_turns(move |dataplane: &mut Dataplane| {
        let slice = Slice::begin();
        while !slice.is_over() {
            match portion(dataplane) {
                Ok(false) => {}
                Ok(true) => return Turn::Done(Ok(Reply::empty())),
                Err(error) => return Turn::Done(Err(error)),
            }
        }
        Turn::More
    }))
}

/// What a command asks for: the same actions for one prefix after the other.
struct Routes<P> {
    prefixes: P,
    /// How many of them are still to come.
    left: usize,
    table: TableIndex,
    actions: Vec<Action>,
    /// Number of paths that each prefix names.
    paths: usize,
}

impl<P: Iterator<Item = Ipv4Net>> Routes<P> {
    /// Notes the changes of the next prefixes, `most` of them; says of how many.
    fn note(&mut self, changes: &mut ChangeSet, most: usize) -> usize {
        let taken = most.min(self.left);
        for prefix in self.prefixes.by_ref().take(taken) {
            for action in &self.actions {
                changes.route(self.table, prefix, action.clone());
            }
        }
        self.left -= taken;
        taken
    }

    /// Notes all, for a change that is made in a single turn.
    fn note_all(mut self, changes: &mut ChangeSet) -> Result<(), CliError> {
        let size = self.left.saturating_mul(self.paths.max(1)).saturating_add(changes.len());
        if size > MOST_AT_ONCE {
            return Err(refused(format!(
                "{size} paths are too many for one change: at most {MOST_AT_ONCE}, since nothing else is done meanwhile"
            )));
        }
        self.note(changes, usize::MAX);
        Ok(())
    }
}

fn read(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    verb: Verb,
) -> Result<Routes<impl Iterator<Item = Ipv4Net> + use<>>, CliError> {
    let count = if args.keyword("count") { args.parse_with("number of routes", number)? } else { 1 };
    let first = args.parse_with("IPv4 prefix", prefix)?;
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
    let prefixes =
        prefixes(first, count).ok_or_else(|| refused("the prefixes leave the IPv4 address space"))?;
    let named = paths.len();
    let actions: Vec<Action> = match verb {
        Verb::Replace => vec![Action::Set(preference, paths)],
        Verb::Delete if paths.is_empty() => vec![Action::Delete],
        Verb::Add => paths.into_iter().map(|path| Action::AddPath(preference, path)).collect(),
        Verb::Delete => paths.into_iter().map(|path| Action::DeletePath(path.target)).collect(),
    };
    Ok(Routes { prefixes, left: count as usize, table, actions, paths: named })
}

/// Prefixes that are changed together, all of them or none; more are changed in several turns.
const PORTION: usize = 512;
/// Paths that the commands of a file may name that is one change: some seconds' work at most, and no other has its turn.
const MOST_AT_ONCE: usize = 1 << 19;
/// Four times as many as the Internet has.
const MOST: u32 = 1 << 22;

fn number(word: &str) -> Result<u32, String> {
    match word.parse() {
        Ok(count @ 1..=MOST) => Ok(count),
        _ => Err(format!("expected 1 to {MOST}")),
    }
}

/// `count` prefixes one after the other, made one by one. `None`: not all of them are addresses.
fn prefixes(first: Ipv4Net, count: u32) -> Option<impl Iterator<Item = Ipv4Net>> {
    let (start, step) = (u64::from(first.addr().to_bits()), 1u64 << (32 - first.prefix_len()));
    u32::try_from(start + u64::from(count - 1) * step).ok()?;
    let length = first.prefix_len();
    // Of 64 bits, and each of them is at most the last, which is an address.
    Some(
        (0..u64::from(count))
            .filter_map(move |i| Ipv4Net::new(((start + i * step) as u32).into(), length).ok()),
    )
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
        let prefixes = |first, count| prefixes(net(first), count).map(Iterator::collect::<Vec<_>>);
        assert_eq!(prefixes("10.0.255.0/24", 2), Some(vec![net("10.0.255.0/24"), net("10.1.0.0/24")]));
        assert_eq!(prefixes("255.255.255.0/24", 2), None);
        assert_eq!(prefixes("0.0.0.0/0", 2), None);
        assert_eq!(prefixes("0.0.0.0/0", 1), Some(vec![net("0.0.0.0/0")]));
        assert_eq!(prefixes("255.255.255.254/32", 2).unwrap().len(), 2);
    }
}
