// SPDX-License-Identifier: Apache-2.0
//! `show vplaned [ignored]`: the session with the controller, and what it has brought.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use weft_cli::{CliError, Command, Reply};

use super::{left, row};
use crate::state::Dataplane;
use crate::vplaned::Vplaned;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show vplaned", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            Ok(Reply::new(Session::of(part(dataplane)?), render))
        })
        .help("Session with the vplaned controller: state, endpoints, counters"),
        Command::new("show vplaned ignored", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            Ok(Reply::new(LeftOut::of(part(dataplane)?), render_left_out))
        })
        .help("Commands and topics of vplaned that had no effect"),
    ]
}

fn part(dataplane: &Dataplane) -> Result<&Vplaned, CliError> {
    dataplane.find_part::<Vplaned>().ok_or_else(|| CliError::new("startup.conf has no section vplaned { }"))
}

#[derive(Serialize)]
struct Session {
    state: &'static str,
    request: String,
    publisher: Option<String>,
    console: Vec<String>,
    uuid: String,
    dataplane: u16,
    sequence: u64,
    snapshot: Option<Snapshot>,
    sessions_lost: u64,
    handshakes_refused: u64,
    last_error: Option<String>,
    sent: BTreeMap<&'static str, u64>,
    received: BTreeMap<&'static str, u64>,
    /// Publications by what became of them.
    live: u64,
    duplicates: u64,
    malformed: u64,
    unexpected: u64,
    /// By the first word of the topic.
    topics: BTreeMap<String, u64>,
    commands_applied: u64,
    commands_failed: u64,
    /// Commands that are accepted without effect, and those that are not known, by their first word.
    commands_ignored: BTreeMap<String, u64>,
    netlink_unreadable: u64,
    changes_failed: u64,
    links: usize,
    addresses: usize,
    routes4: usize,
    routes6: usize,
    routes_waiting: usize,
    neighbors: usize,
    links_unsupported: BTreeMap<String, usize>,
    broker: Option<Broker>,
}

#[derive(Serialize)]
struct Broker {
    endpoint: String,
    accepts: u64,
    routes: u64,
    /// Routes that came without a pause of a second, and how long from the first to the last.
    burst_routes: u64,
    burst_milliseconds: u64,
    malformed: u64,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct Snapshot {
    messages: u64,
    milliseconds: u64,
    /// Seconds since 1970.
    at: u64,
}

impl Session {
    fn of(vplaned: &Vplaned) -> Session {
        let (status, counts) = (&vplaned.status, vplaned.store().counts());
        let (commands_applied, commands_failed) = vplaned.commands();
        let snapshot = vplaned.snapshot.map(|snapshot| Snapshot {
            messages: snapshot.messages,
            milliseconds: snapshot.took.as_millis() as u64,
            at: snapshot.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        });
        Session {
            state: status.state,
            request: status.request.clone(),
            publisher: status.publisher.clone(),
            console: status.console.clone(),
            uuid: vplaned.settings.uuid.to_string(),
            dataplane: status.dataplane.0,
            sequence: status.sequence.0,
            snapshot,
            sessions_lost: status.counts.lost,
            handshakes_refused: status.refused,
            last_error: vplaned.last_error.clone(),
            sent: status.counts.sent.clone(),
            received: status.counts.received.clone(),
            live: status.counts.live,
            duplicates: status.counts.duplicates,
            malformed: status.counts.malformed,
            unexpected: status.counts.unexpected,
            topics: vplaned.topics.clone(),
            commands_applied,
            commands_failed,
            commands_ignored: {
                let ignored = vplaned.ignored().iter();
                ignored.map(|(name, ignored)| (name.clone(), ignored.count)).collect()
            },
            netlink_unreadable: vplaned.unreadable,
            changes_failed: vplaned.failed_changes,
            links: counts.links,
            addresses: counts.addresses,
            routes4: counts.routes4,
            routes6: counts.routes6,
            routes_waiting: counts.routes_waiting,
            neighbors: counts.neighbors,
            links_unsupported: counts
                .links_unsupported
                .into_iter()
                .map(|(kind, links)| (kind.into_string(), links))
                .collect(),
            broker: status.broker.clone().map(|(endpoint, counts)| Broker {
                endpoint,
                accepts: counts.accepts,
                routes: counts.routes,
                burst_routes: counts.burst.routes,
                burst_milliseconds: counts.burst.took().as_millis() as u64,
                malformed: counts.malformed,
                last_error: counts.last_error,
            }),
        }
    }
}

fn render(session: &Session) -> String {
    let line = |label: &str, value: &dyn std::fmt::Display| format!("{}{value}\n", left(label, 20));
    let counts = |counts: &mut dyn Iterator<Item = (&str, u64)>| {
        let words: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    };
    let named =
        |map: &BTreeMap<&'static str, u64>| counts(&mut map.iter().map(|(name, count)| (*name, *count)));
    let mut text = line("State:", &session.state);
    text += &line("Request endpoint:", &session.request);
    text += &line("Publisher:", &session.publisher.as_deref().unwrap_or("not known"));
    text += &line("Console:", &session.console.join(", "));
    text += &line("Dataplane:", &format!("{} ({})", session.dataplane, session.uuid));
    text += &line("Last sequence:", &session.sequence);
    if let Some(Snapshot { messages, milliseconds, .. }) = &session.snapshot {
        text += &line("Snapshot:", &format!("{messages} messages in {milliseconds} ms"));
    }
    text += &line("Sessions lost:", &session.sessions_lost);
    text += &line("Refused handshakes:", &session.handshakes_refused);
    text += &line("Sent:", &named(&session.sent));
    text += &line("Received:", &named(&session.received));
    let Session { live, duplicates, malformed, unexpected, .. } = session;
    text += &line(
        "Messages:",
        &format!("live {live}, duplicates {duplicates}, malformed {malformed}, unexpected {unexpected}"),
    );
    text +=
        &line("Topics:", &counts(&mut session.topics.iter().map(|(name, count)| (name.as_str(), *count))));
    text += &line(
        "Commands:",
        &format!("applied {}, failed {}", session.commands_applied, session.commands_failed),
    );
    let ignored = counts(&mut session.commands_ignored.iter().map(|(name, count)| (name.as_str(), *count)));
    text += &line("Without effect:", &ignored);
    let Session { links, addresses, routes4, routes6, routes_waiting, neighbors, .. } = session;
    text += &line(
        "Known:",
        &format!(
            "links {links}, addresses {addresses}, IPv4 routes {routes4}, IPv6 routes {routes6}, waiting {routes_waiting}, \
             neighbours {neighbors}"
        ),
    );
    let unsupported =
        counts(&mut session.links_unsupported.iter().map(|(kind, links)| (kind.as_str(), *links as u64)));
    text += &line("Links left alone:", &unsupported);
    if let Some(broker) = &session.broker {
        let Broker { endpoint, accepts, routes, burst_routes, burst_milliseconds, malformed, last_error } =
            broker;
        let error = last_error.as_deref().unwrap_or("none");
        let counts = format!("accepts {accepts}, routes {routes}, malformed {malformed}, last error {error}");
        text += &line("Route broker:", &format!("{endpoint}: {counts}"));
        let rate = burst_routes * 1000 / burst_milliseconds.max(&1);
        text += &line(
            "Last burst:",
            &format!("{burst_routes} routes in {burst_milliseconds} ms ({rate} routes/s)"),
        );
    }
    text += &line(
        "Failures:",
        &format!("netlink unreadable {}, changes {}", session.netlink_unreadable, session.changes_failed),
    );
    text + &line("Last error:", &session.last_error.as_deref().unwrap_or("none"))
}

#[derive(Serialize)]
struct LeftOut {
    commands: Vec<Name>,
    topics: Vec<Name>,
}

#[derive(Serialize)]
struct Name {
    name: String,
    count: u64,
    /// Leaving it out is fine for a router.
    harmless: bool,
}

impl LeftOut {
    fn of(vplaned: &Vplaned) -> LeftOut {
        let command = |(name, ignored): (&String, &weft_vplaned::commands::Ignored)| Name {
            name: name.clone(),
            count: ignored.count,
            harmless: ignored.harmless,
        };
        let topic =
            |(name, count): (&String, &u64)| Name { name: name.clone(), count: *count, harmless: false };
        LeftOut {
            commands: vplaned.ignored().iter().map(command).collect(),
            topics: vplaned.unknown.iter().map(topic).collect(),
        }
    }
}

fn render_left_out(left_out: &LeftOut) -> String {
    let columns = |what: &str, name: &str, count: &str, why: &str| {
        row([left(what, 9), left(name, 34), left(count, 12), why.to_owned()])
    };
    let mut text = columns("Kind", "Name", "Count", "Meaning");
    for (what, names) in [("command", &left_out.commands), ("topic", &left_out.topics)] {
        for Name { name, count, harmless } in names {
            let meaning = if *harmless { "accepted, without effect" } else { "unknown" };
            text += &columns(what, name, &count.to_string(), meaning);
        }
    }
    text
}
