// SPDX-License-Identifier: Apache-2.0
//! `show ip fib`, `show ip6 fib`: what workers forward by, and whose routes it comes from.

use std::collections::VecDeque;
use std::fmt::Write;

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Part, Reply, Slice};
use weft_control::{ChangeSet, Configured, Owner};
use weft_nodes::fib::{
    DropKind, Forward, ForwardKind, Ip4, Ip6, IpPrefix, LoadBalanceId, PathTarget, RouteView,
};
use weft_nodes::interface::{IpVersion, TableIndex};

use super::super::{center, row};
use super::{Words, words};
use crate::config::values::prefix_of;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Source {
    owner: String,
    /// `None`: the least preferred, which is what a route has that says nothing of it.
    preference: Option<u32>,
    installed: bool,
    paths: Vec<String>,
}

#[derive(Serialize)]
struct Route {
    prefix: String,
    /// Index into `/net/route/to`; 0: not installed.
    load_balance: u32,
    packets: u64,
    bytes: u64,
    buckets: Vec<String>,
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Table {
    table: u32,
    index: u32,
    name: String,
    prefixes: usize,
    installed: usize,
    /// Interfaces that use it.
    interfaces: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_length: Option<Vec<(u8, usize)>>,
}

/// Bytes of routes that are shown in one part of an answer, about.
const PART: usize = 128 << 10;

/// A part of the answer: of one table, whose `routes` are the last member of its JSON.
#[derive(Default)]
struct Piece {
    /// The table begins here; whether it is the first one.
    begins: Option<(Table, bool)>,
    routes: Option<Vec<Route>>,
    /// Routes of the table were shown before.
    continues: bool,
    /// The table ends here.
    ends: bool,
    detail: bool,
    /// The prefix or address that was asked for.
    asked: Option<String>,
    /// The family's name in what is shown.
    node: &'static str,
}

/// What stands around the tables in JSON.
struct Bracket(&'static str);

impl Part for Bracket {
    fn text(&self) -> String {
        String::new()
    }

    fn json(&self) -> serde_json::Result<String> {
        Ok(self.0.to_owned())
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

impl Part for Piece {
    fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn json(&self) -> serde_json::Result<String> {
        let mut out = String::new();
        if let Some((table, first)) = &self.begins {
            out += if *first { "" } else { "," };
            out += &serde_json::to_string(table)?;
            // It goes on after its members.
            out.pop();
            out += if self.routes.is_some() { ",\"routes\":[" } else { "" };
        }
        for (i, route) in self.routes.iter().flatten().enumerate() {
            out += if i > 0 || self.continues { "," } else { "" };
            out += &serde_json::to_string(route)?;
        }
        if self.ends {
            out += if self.routes.is_some() { "]}" } else { "}" };
        }
        Ok(out)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.routes.iter().flatten().map(Route::size).sum::<usize>()
    }
}

impl Route {
    /// Bytes of memory, about.
    fn size(&self) -> usize {
        let strings =
            |strings: &[String]| strings.iter().map(|it| it.len() + size_of::<String>()).sum::<usize>();
        let source = |source: &Source| size_of::<Source>() + source.owner.len() + strings(&source.paths);
        size_of::<Self>()
            + self.prefix.len()
            + strings(&self.buckets)
            + self.sources.iter().map(source).sum::<usize>()
    }
}

/// What to show of each table.
enum Scope<F: Configured> {
    All,
    Summary,
    Prefix(F::Net),
    Match(F::Addr),
}

pub fn commands<F: Configured>() -> Vec<Command<Dataplane>> {
    let help = "routes and what they resolve to; for an address the route that its packets take";
    let show = |path: String| {
        Command::new(path, show::<F>)
            .synopsis("[table <id>] [summary|mtrie|detail|<prefix>|<address>]")
            .help(format!("{} {help}", F::NAME))
    };
    let mut all = vec![show(format!("show {} fib", F::COMMAND)), show(format!("show {} route", F::COMMAND))];
    if F::VERSION == IpVersion::V6 {
        all.push(show("show ipv6 route".to_owned()));
    }
    all
}

#[derive(Serialize)]
struct AdjacencyView {
    index: u32,
    text: String,
}

/// `show adj`, of both families.
pub fn adjacencies() -> Vec<Command<Dataplane>> {
    let show = |path: &str| {
        Command::new(path, show_adjacencies).synopsis("[<index>]").help(
            "How neighbours are reached: address, interface and MAC address by the number of the adjacency",
        )
    };
    vec![show("show adj"), show("show adjacency")]
}

fn show_adjacencies(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let only: Option<u32> = args.optional("index of an adjacency")?;
    args.finish()?;
    let all = dataplane.router().objects().adjacencies.iter();
    let wanted = all.filter(|(id, _)| only.is_none_or(|only| only == id.0));
    let mut adjacencies: Vec<AdjacencyView> = wanted
        .map(|(id, hop)| AdjacencyView {
            index: id.0,
            text: match hop.address.is_ipv4() {
                true => show_forward::<Ip4>(dataplane, Forward::adjacency(id)),
                false => show_forward::<Ip6>(dataplane, Forward::adjacency(id)),
            },
        })
        .collect();
    adjacencies.sort_by_key(|view| view.index);
    match (only, adjacencies.as_slice()) {
        (Some(only), []) => Err(args.reject(format!("there is no adjacency {only}"))),
        _ => Ok(Reply::each("adjacencies", adjacencies, |AdjacencyView { index, text }| {
            format!("{index} {text}\n")
        })),
    }
}

fn show<F: Configured>(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let (mut table, mut scope, mut detail) = (None, Scope::<F>::All, false);
    let words = words::<F>();
    while !args.is_empty() {
        if args.keyword("table") {
            table = Some(super::table::<F>(args, dataplane, &mut ChangeSet::new(Owner::CLI))?);
        } else if args.keyword("summary") || args.keyword("mtrie") {
            scope = Scope::Summary;
        } else if args.keyword("detail") {
            detail = true;
        } else if let Some(address) = args.take_if(words.address, |word| word.parse().ok()) {
            (scope, detail) = (Scope::Match(address), true);
        } else {
            (scope, detail) = (Scope::Prefix(args.parse_with(words.prefix, prefix_of::<F>)?), true);
        }
    }
    let asked = match &scope {
        Scope::Prefix(prefix) => Some(prefix.to_string()),
        Scope::Match(address) => Some(address.to_string()),
        Scope::All | Scope::Summary => None,
    };
    let indices: Vec<TableIndex> = dataplane.router().tables::<F>().map(|(index, _)| index).collect();
    let mut left = indices
        .into_iter()
        .filter(move |index| table.is_none_or(|table| table == *index))
        .collect::<VecDeque<_>>();
    let (mut begun, mut ended, mut first) = (false, false, true);
    let mut current = None::<(TableIndex, Option<F::Net>)>;
    Ok(Reply::in_parts(move |dataplane: &mut Dataplane| {
        let part = |piece: Piece| -> Option<Box<dyn Part>> {
            Some(Box::new(Piece { detail, asked: asked.clone(), node: words.node, ..piece }))
        };
        if !std::mem::replace(&mut begun, true) {
            return Ok(Some(Box::new(Bracket("{\"tables\":["))));
        }
        if let Some((index, after)) = current.take() {
            let (routes, last) = more::<F>(dataplane, index, after);
            current = last.map(|last| (index, Some(last)));
            let (continues, ends) = (after.is_some(), last.is_none());
            return Ok(part(Piece { routes: Some(routes), continues, ends, ..Piece::default() }));
        }
        while let Some(index) = left.pop_front() {
            // One that was deleted meanwhile is not shown.
            let Some((table, routes)) = view(dataplane, index, &scope) else { continue };
            let all = matches!(scope, Scope::All);
            current = all.then_some((index, None));
            let begins = Some((table, std::mem::take(&mut first)));
            return Ok(part(Piece { begins, routes, ends: !all, ..Piece::default() }));
        }
        if !std::mem::replace(&mut ended, true) {
            return Ok(Some(Box::new(Bracket("]}"))));
        }
        Ok(None)
    }))
}

/// The next routes of a table that are all shown, and the last one of them if there may be more. Between two turns routes come
/// and go: those are shown that are there when their turn has come.
fn more<F: Configured>(
    dataplane: &Dataplane,
    index: TableIndex,
    after: Option<F::Net>,
) -> (Vec<Route>, Option<F::Net>) {
    let (slice, mut routes, mut size) = (Slice::begin(), Vec::new(), 0);
    let Some(table) = dataplane.router().table::<F>(index) else { return (routes, None) };
    for route in table.rib.routes(after) {
        let prefix = route.prefix();
        let shown = show_route(dataplane, route);
        size += shown.size();
        routes.push(shown);
        if size >= PART || slice.is_over() {
            return (routes, Some(prefix));
        }
    }
    (routes, None)
}

fn view<F: Configured>(
    dataplane: &Dataplane,
    index: TableIndex,
    scope: &Scope<F>,
) -> Option<(Table, Option<Vec<Route>>)> {
    let table = dataplane.router().table::<F>(index)?;
    let rib = &table.rib;
    let route = |view: RouteView<'_, F>| show_route(dataplane, view);
    let (mut routes, mut by_length) = (None, None);
    match scope {
        Scope::All => routes = Some(Vec::new()),
        Scope::Prefix(prefix) => routes = Some(rib.get(*prefix).map(route).into_iter().collect()),
        Scope::Match(address) => routes = Some(rib.longest_match(*address).map(route).into_iter().collect()),
        Scope::Summary => {
            let mut counts = vec![0usize; usize::from(F::Net::HOST) + 1];
            rib.routes(None).for_each(|route| counts[usize::from(route.prefix().length())] += 1);
            let used = (0u8..).zip(counts).filter(|(_, count)| *count > 0);
            by_length = Some(used.collect());
        }
    }
    let head = Table {
        table: table.id,
        index: index.0,
        name: table.name.clone(),
        prefixes: rib.len(),
        installed: rib.installed(),
        interfaces: dataplane.interfaces().iter().filter(|(_, it)| F::of(it).table == index).count(),
        by_length,
    };
    Some((head, routes))
}

fn show_route<F: Configured>(dataplane: &Dataplane, route: RouteView<'_, F>) -> Route {
    let id = route.load_balance();
    let installed = id != LoadBalanceId::NO_ROUTE;
    let objects = dataplane.router().objects();
    let buckets = match objects.load_balances.get(id) {
        Some(load_balance) if installed => {
            load_balance.buckets().iter().map(|forward| show_forward::<F>(dataplane, *forward)).collect()
        }
        _ => Vec::new(),
    };
    let count = objects.load_balances.count(id);
    let sources = route
        .sources()
        .map(|source| Source {
            owner: dataplane.owner_name(source.owner),
            preference: Some(source.preference.0).filter(|preference| *preference != u32::MAX),
            installed: installed && source.load_balance == id,
            paths: source
                .paths
                .iter()
                .map(|path| {
                    let weight = match path.weight.get() {
                        1 => String::new(),
                        weight => format!(" weight {weight}"),
                    };
                    format!("{}{weight}", show_target(dataplane, path.target))
                })
                .collect(),
        })
        .collect();
    Route {
        prefix: route.prefix().to_string(),
        load_balance: id.0,
        packets: if installed { count.packets } else { 0 },
        bytes: if installed { count.bytes } else { 0 },
        buckets,
        sources,
    }
}

/// As [`PathTarget`] prints itself, with the names of interfaces and the numbers of tables that the operator knows.
fn show_target<F: Configured>(dataplane: &Dataplane, target: PathTarget<F>) -> String {
    match target {
        PathTarget::Via { address, interface: Some(interface) } => {
            format!("via {address} {}", dataplane.interface_name(interface))
        }
        PathTarget::Connected(interface) => format!("via {}", dataplane.interface_name(interface)),
        PathTarget::Table(index) => table_name::<F>(dataplane, index),
        PathTarget::Object(forward) => show_forward::<F>(dataplane, forward),
        PathTarget::OwnAddress { role, .. } => role.to_string(),
        PathTarget::Via { interface: None, .. }
        | PathTarget::Local
        | PathTarget::Punt
        | PathTarget::Drop(_) => target.to_string(),
    }
}

fn table_name<F: Configured>(dataplane: &Dataplane, index: TableIndex) -> String {
    match dataplane.router().table::<F>(index) {
        Some(table) => format!("lookup in table {}", table.id),
        None => "lookup in a deleted table".to_owned(),
    }
}

fn show_forward<F: Configured>(dataplane: &Dataplane, forward: Forward) -> String {
    let Words { node, link, .. } = words::<F>();
    if let Some(id) = forward.as_adjacency() {
        let Some(hop) = dataplane.router().objects().adjacencies.get(id) else {
            return format!("next hop {} is gone", id.0);
        };
        let name = dataplane.interface_name(hop.interface);
        let neighbor = dataplane.router().neighbors().get(hop.interface, hop.address);
        return match neighbor.and_then(|neighbor| neighbor.state.mac()) {
            Some(mac) => format!("[@5]: {link} via {} {name}: mac:{mac}", hop.address),
            None => format!("[@3]: arp-{link}: via {} {name}", hop.address),
        };
    }
    if let Some(interface) = forward.as_glean() {
        return format!("[@4]: {link}-glean: {}", dataplane.interface_name(interface));
    }
    if let Some(table) = forward.as_lookup() {
        return table_name::<F>(dataplane, table);
    }
    let text = match (forward.kind(), forward.kind().dropped()) {
        (ForwardKind::LOCAL, _) => "[@12]: dpo-receive: local",
        (ForwardKind::PUNT, _) => "punt: the host sends it on",
        (_, Some(DropKind::NoRoute)) => return format!("[@0]: dpo-drop {node}"),
        (_, Some(DropKind::Blackhole)) => return format!("[@0]: dpo-drop {node}: blackhole"),
        (_, Some(DropKind::Unreachable)) => "unreachable",
        (_, Some(DropKind::Prohibit)) => "prohibit",
        (kind, None) => {
            let name = dataplane.router().kind_name(kind).map_or_else(|| kind.to_string(), str::to_owned);
            return format!("{name} {}", forward.object());
        }
    };
    text.to_owned()
}

impl Piece {
    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        if let Some((table, _)) = &self.begins {
            writeln!(
                out,
                "{}, fib_index:{}, flow hash:[src dst sport dport proto ] epoch:0 flags:none locks:[interface:{}, ] \
         prefixes:{} installed:{}",
                table.name, table.index, table.interfaces, table.prefixes, table.installed
            )?;
            if let Some(lengths) = &table.by_length {
                out.write_str(&row([center("Prefix length", 20), center("Count", 16)]))?;
                for (length, count) in lengths {
                    writeln!(out, "{length:>20}{count:>16}")?;
                }
            }
        }
        for route in self.routes.iter().flatten() {
            writeln!(out, "{}", route.prefix)?;
            if self.detail || route.buckets.is_empty() {
                for source in &route.sources {
                    let installed = if source.installed { ", installed" } else { "" };
                    match source.preference {
                        Some(preference) => {
                            writeln!(out, "  {} preference {preference}{installed}", source.owner)?
                        }
                        None => writeln!(out, "  {}{installed}", source.owner)?,
                    }
                    source.paths.iter().try_for_each(|path| writeln!(out, "    {path}"))?;
                }
            }
            if route.buckets.is_empty() {
                writeln!(out, "  unresolved: not installed")?;
                continue;
            }
            writeln!(out, "  unicast-{}-chain", self.node)?;
            writeln!(
                out,
                "  [@0]: dpo-load-balance: [proto:{} index:{} buckets:{} uRPF:0 to:[{}:{}]]",
                self.node,
                route.load_balance,
                route.buckets.len(),
                route.packets,
                route.bytes
            )?;
            for (i, bucket) in route.buckets.iter().enumerate() {
                writeln!(out, "    [{i}] {bucket}")?;
            }
        }

        if let (Some(asked), Some([])) = (&self.asked, self.routes.as_deref()) {
            writeln!(out, "  no route to {asked}")?;
        }
        Ok(())
    }
}
