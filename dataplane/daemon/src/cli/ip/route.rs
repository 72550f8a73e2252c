// SPDX-License-Identifier: Apache-2.0
//! `ip route [add]|replace|del`. The command line has a route of its own to a prefix, beside those of other owners; to say again what is
//! so already is no error.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::IpNet;
use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, Configured, Owner, Purpose, StepError};
use weft_nodes::fib::{Action, DropKind, MOST_PREFIXES, PathTarget, Preference, RouteError, RoutePath};
use weft_nodes::interface::{TableIndex, by_family};
use weft_nodes::router::TableId;

use super::super::refused;
use super::words;
use crate::config::values::prefix;
use crate::state::Dataplane;

const SYNOPSIS: &str = "<prefix> [count <n>] [table <id>] [preference <n>] via <next-hop> [<interface>] [weight <n>] \
                        | via <interface> | via drop|local|unreachable|prohibit | via table <id> ...";

const ADD: &str = "Add paths to a route; several `via` share the traffic by weight";

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        command("ip route add", Verb::Add).synopsis(SYNOPSIS).help(ADD),
        command("ip route", Verb::Add).synopsis(SYNOPSIS).help(ADD),
        command("ip route replace", Verb::Replace).synopsis(SYNOPSIS).help("Make these the paths of a route"),
        command("ip route del", Verb::Delete)
            .synopsis("<prefix> [count <n>] [table <id>] [via ...]")
            .help("Delete the command line's route to a prefix, or only these paths of it; others keep theirs, and are named"),
        command("ip route delete", Verb::Delete)
            .synopsis("<prefix> [count <n>] [table <id>] [via ...]")
            .help("The same as ip route del"),
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

/// What is said of a route beside its prefix and its paths, before or after them.
#[derive(Clone, Copy)]
struct Options {
    count: u32,
    /// Its number: which family it is of is known when the prefix is.
    table: TableId,
    preference: Preference,
}

impl Options {
    /// Takes one of them, if it is next.
    fn take(&mut self, args: &mut Args<'_>) -> Result<bool, CliError> {
        if args.keyword("count") {
            self.count = args.parse_with("number of routes", number)?;
        } else if args.keyword("table") {
            self.table = args.parse_with("table", |word| word.parse().map_err(|_| "a table is a number"))?;
        } else if args.keyword("preference") {
            self.preference = Preference(args.parse("preference")?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// The prefix says which family the route is of.
fn run(dataplane: &mut Dataplane, args: &mut Args<'_>, verb: Verb) -> Result<Reply, CliError> {
    let mut options = Options { count: 1, table: 0, preference: Preference::default() };
    while options.take(args)? {}
    let first = args.parse_with("prefix", prefix)?;
    by_family!(first, IpNet(_), F => run_of::<F>(dataplane, args, verb, (first, options)))
}

/// Notes the routes of a file that is one change; else makes them, many in several turns.
fn run_of<F: Configured>(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    verb: Verb,
    prefixes: (IpNet, Options),
) -> Result<Reply, CliError> {
    if dataplane.collected().is_some() {
        dataplane.collect(|dataplane, collected| {
            read::<F>(dataplane, collected, args, verb, prefixes)?.note_all(collected)
        })?;
        return Ok(Reply::empty());
    }
    // No step, but the tables that are named: that they are still the same is looked at with every portion.
    let mut named = ChangeSet::new(Owner::CLI);
    let mut routes = read::<F>(dataplane, &mut named, args, verb, prefixes)?;
    if let (Verb::Delete, 1, Some(prefix)) = (verb, routes.left, F::prefix(prefixes.0)) {
        return delete(dataplane, named, routes, prefix);
    }
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
    Ok(Reply::in_portions(portion))
}

/// What is so when a route was to be deleted.
#[derive(Serialize)]
struct Deleted {
    prefix: String,
    /// Whether the command line had it.
    deleted: bool,
    /// Who else has a route to the prefix.
    remaining: Vec<String>,
}

/// Deletes one route, or paths of it, and says whose routes to the prefix remain: packets go by these.
fn delete<F: Configured>(
    dataplane: &mut Dataplane,
    mut changes: ChangeSet,
    mut routes: Routes<F, impl Iterator<Item = F::Net>>,
    prefix: F::Net,
) -> Result<Reply, CliError> {
    routes.note(&mut changes, 1);
    let deleted = match dataplane.change(&changes, Purpose::Make) {
        Ok(()) => true,
        Err(error) => match error.first() {
            Some(
                StepError::Ip4(RouteError::NoSuchRoute(..) | RouteError::NoSuchPath(..))
                | StepError::Ip6(RouteError::NoSuchRoute(..) | RouteError::NoSuchPath(..)),
            ) => false,
            _ => return Err(refused(error)),
        },
    };
    let route = dataplane.router().table::<F>(routes.table).and_then(|table| table.rib.get(prefix));
    let others = route.iter().flat_map(|route| route.sources()).map(|source| source.owner);
    let others = others.filter(|owner| *owner != Owner::CLI);
    let remaining: Vec<String> = others.map(|owner| dataplane.owner_name(owner)).collect();
    if deleted && remaining.is_empty() {
        return Ok(Reply::empty());
    }
    Ok(Reply::new(Deleted { prefix: prefix.to_string(), deleted, remaining }, |it| {
        let Deleted { prefix, deleted, remaining } = it;
        let remaining = remaining.join(", ");
        match (deleted, remaining.as_str()) {
            (true, remaining) => format!("{prefix}: the route of {remaining} remains\n"),
            (false, "") => format!("{prefix}: there is no such route\n"),
            (false, remaining) => format!("{prefix}: cli has no such route; that of {remaining} remains\n"),
        }
    }))
}

/// What a command asks for: the same actions for one prefix after the other.
struct Routes<F: Configured, P> {
    prefixes: P,
    /// How many of them are still to come.
    left: usize,
    table: TableIndex,
    actions: Vec<Action<F>>,
    /// Number of paths that each prefix names.
    paths: usize,
}

impl<F: Configured, P: Iterator<Item = F::Net>> Routes<F, P> {
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

fn read<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    verb: Verb,
    (first, mut options): (IpNet, Options),
) -> Result<Routes<F, impl Iterator<Item = F::Net> + use<F>>, CliError> {
    let mut paths = Vec::new();
    loop {
        if args.keyword("via") {
            paths.push(path(dataplane, changes, args)?);
        } else if !options.take(args)? {
            break;
        }
    }
    args.finish()?;
    let Options { count, table, preference } = options;
    let table = changes.table::<F>(dataplane, table).map_err(refused)?;
    if paths.is_empty() && verb != Verb::Delete {
        return Err(args.reject("a route needs a path: expected via"));
    }
    let prefixes = prefixes(first, count)
        .ok_or_else(|| refused(format!("the prefixes leave the {} address space", F::NAME)))?
        .filter_map(F::prefix);
    let named = paths.len();
    let actions: Vec<Action<F>> = match verb {
        Verb::Replace => vec![Action::Set(preference, paths)],
        Verb::Delete if paths.is_empty() => vec![Action::Delete],
        Verb::Add => paths.into_iter().map(|path| Action::SetPath(preference, path)).collect(),
        Verb::Delete => paths.into_iter().map(|path| Action::DeletePath(path.target)).collect(),
    };
    Ok(Routes { prefixes, left: count as usize, table, actions, paths: named })
}

/// Prefixes that are changed together, all of them or none; more are changed in several turns.
const PORTION: usize = 512;
/// Paths that the commands of a file may name that is one change: some seconds' work at most, and no other has its turn.
const MOST_AT_ONCE: usize = 1 << 19;

/// As many as a table takes.
fn number(word: &str) -> Result<u32, String> {
    match word.parse() {
        Ok(count @ 1..=MOST_PREFIXES) => Ok(count),
        _ => Err(format!("expected 1 to {MOST_PREFIXES}, as many as a table takes")),
    }
}

/// `count` prefixes one after the other, made one by one. `None`: not all of them are addresses.
fn prefixes(first: IpNet, count: u32) -> Option<impl Iterator<Item = IpNet>> {
    let (start, last, length) = match first.addr() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), u32::MAX.into(), first.prefix_len()),
        IpAddr::V6(address) => (address.to_bits(), u128::MAX, first.prefix_len()),
    };
    let step = match count {
        1 => 0,
        _ => 1u128.checked_shl((first.max_prefix_len() - length).into())?,
    };
    start.checked_add(step.checked_mul((count - 1).into())?).filter(|end| *end <= last)?;
    let address = move |bits: u128| match first {
        // Each is at most the last, which is an address.
        IpNet::V4(_) => IpAddr::V4((bits as u32).into()),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    };
    Some((0..u128::from(count)).filter_map(move |i| IpNet::new(address(start + i * step), length).ok()))
}

/// What follows `via`.
fn path<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<RoutePath<F>, CliError> {
    let mut target = target(dataplane, changes, args)?;
    if let PathTarget::Via { interface, .. } = &mut target {
        *interface = args.take_if("interface", |name| changes.find_interface(dataplane, name));
    }
    let mut path = RoutePath::new(target);
    if args.keyword("weight") {
        path.weight = args.parse::<NonZeroU16>("weight, 1 to 65535")?;
    }
    Ok(path)
}

fn target<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<PathTarget<F>, CliError> {
    let targets = [
        ("drop", PathTarget::Drop(DropKind::Blackhole)),
        ("blackhole", PathTarget::Drop(DropKind::Blackhole)),
        ("unreachable", PathTarget::Drop(DropKind::Unreachable)),
        ("prohibit", PathTarget::Drop(DropKind::Prohibit)),
        // VPP's words for the two.
        ("null-send-unreach", PathTarget::Drop(DropKind::Unreachable)),
        ("null-send-prohibit", PathTarget::Drop(DropKind::Prohibit)),
        ("local", PathTarget::Local),
        ("punt", PathTarget::Punt),
    ];
    for (word, target) in targets {
        if args.keyword(word) {
            return Ok(target);
        }
    }
    if args.keyword("table") || args.keyword(words::<F>().lookup) {
        return Ok(PathTarget::Table(super::table::<F>(args, dataplane, changes)?));
    }
    if let Some(address) = args.take_if("next hop", |word| word.parse::<F::Addr>().ok()) {
        return Ok(PathTarget::Via { address, interface: None });
    }
    Ok(PathTarget::Connected(super::super::interface(args, dataplane, changes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_prefixes_follow_each_other_and_end_with_the_address_space() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let prefixes = |first, count| prefixes(net(first), count).map(Iterator::collect::<Vec<_>>);
        assert_eq!(prefixes("10.0.255.0/24", 2), Some(vec![net("10.0.255.0/24"), net("10.1.0.0/24")]));
        assert_eq!(prefixes("255.255.255.0/24", 2), None);
        assert_eq!(prefixes("0.0.0.0/0", 2), None);
        assert_eq!(prefixes("0.0.0.0/0", 1), Some(vec![net("0.0.0.0/0")]));
        assert_eq!(prefixes("255.255.255.254/32", 2).unwrap().len(), 2);
        let pair = vec![net("2001:db8:0:ffff::/64"), net("2001:db8:1::/64")];
        assert_eq!(prefixes("2001:db8:0:ffff::/64", 2), Some(pair));
        assert_eq!(prefixes("::/0", 1), Some(vec![net("::/0")]));
        assert_eq!(prefixes("::/0", 2), None);
        assert_eq!(prefixes("ffff::/16", 2), None);
    }
}
