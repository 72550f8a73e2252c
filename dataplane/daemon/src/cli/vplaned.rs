// SPDX-License-Identifier: Apache-2.0
//! `show vplaned [ignored]`: the session with the controller, and what it has brought.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use weft_cli::{CliError, Command, Reply};
use weft_vplaned::{session, store};

use super::{Column, left, showing, table};
use crate::state::Dataplane;
use crate::vplaned::Vplaned;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show vplaned", |dataplane| Ok(Reply::new(Session::of(part(dataplane)?), render)))
            .help("Session with the vplaned controller: state, endpoints, counters"),
        showing("show vplaned ignored", |dataplane| {
            Ok(Reply::new(LeftOut::of(part(dataplane)?), |LeftOut { commands, topics }| {
                table(COLUMNS, commands.iter().chain(topics))
            }))
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
    #[serde(flatten)]
    messages: session::Counts,
    /// By the first word of the topic.
    topics: BTreeMap<String, u64>,
    commands_applied: u64,
    commands_failed: u64,
    /// Commands that are accepted without effect, and those that are not known, by their first word.
    commands_ignored: BTreeMap<String, u64>,
    netlink_unreadable: u64,
    changes_failed: u64,
    #[serde(flatten)]
    known: store::Counts,
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
        let status = &vplaned.status;
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
            messages: status.counts.clone(),
            topics: vplaned.topics.clone(),
            commands_applied,
            commands_failed,
            commands_ignored: {
                let ignored = vplaned.ignored().iter();
                ignored.map(|(name, ignored)| (name.clone(), ignored.count)).collect()
            },
            netlink_unreadable: vplaned.unreadable,
            changes_failed: vplaned.failed_changes,
            known: vplaned.store().counts(),
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
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn Display| text += &format!("{}{value}\n", left(label, 20));
    let Session { messages, known, .. } = session;
    line("State:", &session.state);
    line("Request endpoint:", &session.request);
    line("Publisher:", &session.publisher.as_deref().unwrap_or("not known"));
    line("Console:", &session.console.join(", "));
    line("Dataplane:", &format!("{} ({})", session.dataplane, session.uuid));
    line("Last sequence:", &session.sequence);
    if let Some(Snapshot { messages, milliseconds, .. }) = &session.snapshot {
        line("Snapshot:", &format!("{messages} messages in {milliseconds} ms"));
    }
    line("Sessions lost:", &session.sessions_lost);
    line("Refused handshakes:", &session.handshakes_refused);
    line("Sent:", &counted(&messages.sent));
    line("Received:", &counted(&messages.received));
    let session::Counts { live, duplicates, malformed, unexpected, .. } = messages;
    line(
        "Messages:",
        &format!("live {live}, duplicates {duplicates}, malformed {malformed}, unexpected {unexpected}"),
    );
    line("Topics:", &counted(&session.topics));
    line("Commands:", &format!("applied {}, failed {}", session.commands_applied, session.commands_failed));
    line("Without effect:", &counted(&session.commands_ignored));
    let store::Counts { links, addresses, routes4, routes6, routes_waiting, neighbors, .. } = known;
    line(
        "Known:",
        &format!(
            "links {links}, addresses {addresses}, IPv4 routes {routes4}, IPv6 routes {routes6}, waiting {routes_waiting}, \
             neighbours {neighbors}"
        ),
    );
    line("Links left alone:", &counted(&known.links_unsupported));
    if let Some(broker) = &session.broker {
        let Broker { endpoint, accepts, routes, burst_routes, burst_milliseconds, malformed, last_error } =
            broker;
        let error = last_error.as_deref().unwrap_or("none");
        let counts = format!("accepts {accepts}, routes {routes}, malformed {malformed}, last error {error}");
        line("Route broker:", &format!("{endpoint}: {counts}"));
        let rate = burst_routes * 1000 / burst_milliseconds.max(&1);
        line("Last burst:", &format!("{burst_routes} routes in {burst_milliseconds} ms ({rate} routes/s)"));
    }
    line(
        "Failures:",
        &format!("netlink unreadable {}, changes {}", session.netlink_unreadable, session.changes_failed),
    );
    line("Last error:", &session.last_error.as_deref().unwrap_or("none"));
    text
}

fn counted<K: Display, N: Display>(counts: &BTreeMap<K, N>) -> String {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

#[derive(Serialize)]
struct LeftOut {
    commands: Vec<Name>,
    topics: Vec<Name>,
}

#[derive(Serialize)]
struct Name {
    #[serde(skip)]
    kind: &'static str,
    name: String,
    count: u64,
    /// Leaving it out is fine for a router.
    harmless: bool,
}

const COLUMNS: &[Column<Name>] = &[
    Column::left("Kind", 9, |it| it.kind.to_owned()),
    Column::left("Name", 34, |it| it.name.clone()),
    Column::left("Count", 12, |it| it.count.to_string()),
    Column::rest("Meaning", |it| if it.harmless { "accepted, without effect" } else { "unknown" }.to_owned()),
];

impl LeftOut {
    fn of(vplaned: &Vplaned) -> LeftOut {
        let command = |(name, ignored): (&String, &weft_vplaned::commands::Ignored)| Name {
            kind: "command",
            name: name.clone(),
            count: ignored.count,
            harmless: ignored.harmless,
        };
        let topic = |(name, count): (&String, &u64)| Name {
            kind: "topic",
            name: name.clone(),
            count: *count,
            harmless: false,
        };
        LeftOut {
            commands: vplaned.ignored().iter().map(command).collect(),
            topics: vplaned.unknown.iter().map(topic).collect(),
        }
    }
}
