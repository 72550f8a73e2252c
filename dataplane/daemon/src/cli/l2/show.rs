// SPDX-License-Identifier: Apache-2.0
//! `show bridge-domain`, `show l2fib`, `show mode`.

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::Control;
use weft_l2::{DomainView, MacView, Mode, Port, Rewrite, Role};
use weft_nodes::headers::EtherType;

use super::LINK_GROUPS;
use crate::cli::{complete_interface, left, optional_interface, right, row};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show bridge-domain", domains)
            .synopsis("[<id> [detail]]")
            .help("Bridge domains, or one with its ports"),
        Command::new("show l2fib", stations)
            .synopsis("[bd_id <id>] [learn|add] [verbose]")
            .help("Stations of bridge domains: how many, or each"),
        complete_interface(Command::new("show mode", modes), &[])
            .synopsis("[<interface>]")
            .help("Whether interfaces are routed, bridged or cross-connected"),
    ]
}

#[derive(Serialize)]
struct MemberView {
    interface: String,
    index: u32,
    role: &'static str,
    split_horizon_group: u8,
    learn: bool,
    learned: usize,
    learn_limit: Option<u32>,
    tag_rewrite: String,
}

#[derive(Serialize)]
struct Domain {
    id: u32,
    index: u16,
    learn: bool,
    forward: bool,
    flood: bool,
    unknown_flood: bool,
    link_groups: &'static str,
    age_minutes: u8,
    learned: usize,
    learn_limit: Option<u32>,
    moves: u64,
    tag: String,
    ports: Vec<MemberView>,
}

#[derive(Serialize)]
struct Domains {
    domains: Vec<Domain>,
    macs: usize,
    macs_limit: usize,
    #[serde(skip)]
    detail: bool,
}

fn domains(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let only: Option<u32> = args.optional("bridge domain")?;
    let detail = only.is_some() && args.keyword("detail");
    args.finish()?;
    let switch = dataplane.switch();
    let shown = switch.domains().filter(|domain| only.is_none_or(|only| only == domain.id));
    let domains: Vec<Domain> = shown.map(|view| domain(dataplane, &view)).collect();
    if let Some(only) = only.filter(|_| domains.is_empty()) {
        return Err(args.reject(format!("there is no bridge domain {only}")));
    }
    let (macs, macs_limit) = switch.size();
    Ok(Reply::new(Domains { domains, macs, macs_limit, detail }, text))
}

fn domain(control: &Control, view: &DomainView<'_>) -> Domain {
    let DomainView { id, index, domain, learned, moves } = view;
    let config = control.switch().config();
    let groups = LINK_GROUPS.iter().find(|(_, groups)| *groups == domain.link_groups);
    let ports = config.members(*id).filter_map(|(index, role, group)| {
        let port = config.ports.get(&index)?;
        Some(MemberView {
            interface: control.interface_name(index),
            index: index.0,
            role: role_word(role),
            split_horizon_group: group,
            learn: port.learn,
            learned: control.switch().learned_on(index),
            learn_limit: port.limit,
            tag_rewrite: rewrite_words(port.rewrite),
        })
    });
    Domain {
        id: *id,
        index: *index,
        learn: domain.learn,
        forward: domain.forward,
        flood: domain.flood,
        unknown_flood: domain.unknown_flood,
        link_groups: groups.map_or("", |(word, _)| word),
        age_minutes: domain.age,
        learned: *learned,
        learn_limit: domain.limit,
        moves: *moves,
        tag: domain.tag.clone(),
        ports: ports.collect(),
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Normal => "normal",
        Role::Bvi => "bvi",
        Role::Uplink => "uu-fwd",
    }
}

/// As the command that sets it has it.
fn rewrite_words(rewrite: Option<Rewrite>) -> String {
    let Some(Rewrite { pop, push }) = rewrite else { return "none".to_owned() };
    let tags: Vec<_> = push.iter().flatten().collect();
    let kind = match tags.first() {
        Some(tag) if tag.kind == EtherType::QINQ => " dot1ad",
        Some(_) => " dot1q",
        None => "",
    };
    let vlans: String = tags.iter().map(|tag| format!(" {}", tag.vlan)).collect();
    match (pop, tags.len()) {
        (pop, 0) => format!("pop {pop}"),
        (0, _) => format!("push{kind}{vlans}"),
        (pop, count) => format!("translate {pop}-{count}{kind}{vlans}"),
    }
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn text(answer: &Domains) -> String {
    if answer.domains.is_empty() {
        return "no bridge domains\n".to_owned();
    }
    let head = [
        "BD-ID", "Index", "Age(min)", "Learning", "U-Forwrd", "Flooding", "UU-Flood", "Learned", "Moves",
        "Ports",
    ];
    let mut text = row(head.map(|title| right(title, 10)));
    for it in &answer.domains {
        let age = if it.age_minutes == 0 { "off".to_owned() } else { it.age_minutes.to_string() };
        let cells = [
            it.id.to_string(),
            it.index.to_string(),
            age,
            on(it.learn).to_owned(),
            on(it.forward).to_owned(),
            on(it.flood).to_owned(),
            on(it.unknown_flood).to_owned(),
            it.learned.to_string(),
            it.moves.to_string(),
            it.ports.len().to_string(),
        ];
        text += &row(cells.map(|cell| right(cell, 10)));
        if !answer.detail {
            continue;
        }
        let limit = |limit: Option<u32>| limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        text += &format!("  link groups: {}; learn limit: {}", it.link_groups, limit(it.learn_limit));
        if !it.tag.is_empty() {
            text += &format!("; tag: {}", it.tag);
        }
        text += "\n\n";
        let titles = ["Interface", "If-idx", "SHG", "Role", "Learn", "Learned", "Limit", "VLAN-Tag-Rewrite"];
        text += &row(titles.iter().zip(WIDTHS).map(|(title, width)| column(title, width)));
        for port in &it.ports {
            let cells = [
                port.interface.clone(),
                port.index.to_string(),
                port.split_horizon_group.to_string(),
                port.role.to_owned(),
                on(port.learn).to_owned(),
                port.learned.to_string(),
                limit(port.learn_limit),
                port.tag_rewrite.clone(),
            ];
            text += &row(cells.iter().zip(WIDTHS).map(|(cell, width)| column(cell, width)));
        }
    }
    text
}

const WIDTHS: [usize; 8] = [32, 7, 4, 7, 6, 8, 8, 24];

/// A name, and then numbers.
fn column(text: &str, width: usize) -> String {
    if width > 20 { left(format!("  {text}"), width) } else { right(text, width) }
}

#[derive(Serialize)]
struct Station {
    mac: String,
    domain: u32,
    interface: Option<String>,
    index: Option<u32>,
    learned: bool,
    filter: bool,
    bvi: bool,
    age_seconds: u64,
}

#[derive(Serialize)]
struct Stations {
    total: usize,
    limit: usize,
    stations: Vec<Station>,
    #[serde(skip)]
    verbose: bool,
}

fn stations(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let (mut only, mut kind, mut verbose) = (None, None, false);
    while !args.is_empty() {
        if args.keyword("bd_id") || args.keyword("bd-id") {
            only = Some(args.parse::<u32>("bridge domain")?);
            verbose = true;
        } else if args.keyword("learn") {
            kind = Some(true);
            verbose = true;
        } else if args.keyword("add") {
            kind = Some(false);
            verbose = true;
        } else if args.keyword("verbose") || args.keyword("all") {
            verbose = true;
        } else {
            return Err(args.unexpected());
        }
    }
    let switch = dataplane.switch();
    if let Some(only) = only {
        switch.config().domain(only).map_err(|error| args.reject(error))?;
    }
    let wanted = |it: &MacView| {
        only.is_none_or(|only| only == it.domain) && kind.is_none_or(|kind| kind == it.learned)
    };
    let mut found: Vec<MacView> =
        if verbose { switch.stations().filter(wanted).collect() } else { Vec::new() };
    found.sort_by_key(|station| (station.domain, station.mac));
    let (total, limit) = switch.size();
    let stations = found.into_iter().map(|it| Station {
        mac: it.mac.to_string(),
        domain: it.domain,
        interface: it.port.map(|port| dataplane.interface_name(port)),
        index: it.port.map(|port| port.0),
        learned: it.learned,
        filter: it.port.is_none(),
        bvi: it.bvi,
        age_seconds: it.age.as_secs(),
    });
    Ok(Reply::new(Stations { total, limit, stations: stations.collect(), verbose }, stations_text))
}

fn stations_text(answer: &Stations) -> String {
    let mut text = String::new();
    if answer.verbose && !answer.stations.is_empty() {
        let cells = |[mac, domain, index, age, fixed, filter, bvi, name]: [String; 8]| {
            row([
                left(mac, 18),
                right(domain, 9),
                right(index, 8),
                right(age, 9),
                right(fixed, 7),
                right(filter, 7),
                right(bvi, 4),
                format!("  {name}"),
            ])
        };
        let head =
            ["Mac-Address", "BD-ID", "If-Idx", "Age(sec)", "static", "filter", "bvi", "Interface-Name"];
        text += &cells(head.map(str::to_owned));
        let mark = |on: bool| if on { "*" } else { "-" }.to_owned();
        for it in &answer.stations {
            text += &cells([
                it.mac.clone(),
                it.domain.to_string(),
                it.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
                if it.learned { it.age_seconds.to_string() } else { "no".to_owned() },
                mark(!it.learned),
                mark(it.filter),
                mark(it.bvi),
                it.interface.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    text + &format!("L2FIB total entries: {} of {}\n", answer.total, answer.limit)
}

#[derive(Serialize)]
struct ModeView {
    interface: String,
    mode: String,
}

#[derive(Serialize)]
struct Modes {
    interfaces: Vec<ModeView>,
}

fn modes(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let only = optional_interface(args, dataplane)?;
    let ports = &dataplane.switch().config().ports;
    let all = dataplane.interfaces().iter().filter(|(index, _)| only.is_none_or(|only| only == *index));
    let interfaces = all.map(|(index, interface)| ModeView {
        interface: interface.name.clone(),
        mode: mode_words(dataplane, ports.get(&index)),
    });
    let modes = Modes { interfaces: interfaces.collect() };
    Ok(Reply::new(modes, |modes| {
        modes.interfaces.iter().map(|it| format!("{} {}\n", it.mode, it.interface)).collect()
    }))
}

fn mode_words(control: &Control, port: Option<&Port>) -> String {
    match port.map(|port| port.mode) {
        None => "l3".to_owned(),
        Some(Mode::Crossed(to)) => format!("l2 xconnect {}", control.interface_name(to)),
        Some(Mode::Bridged { domain, role, group }) => {
            let role = match role {
                Role::Normal => "",
                Role::Bvi => " bvi",
                Role::Uplink => " uu-fwd",
            };
            format!("l2 bridge bd_id {domain}{role} shg {group}")
        }
    }
}
