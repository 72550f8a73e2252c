// SPDX-License-Identifier: Apache-2.0
//! Sessions of vplaned are flows: `session-cfg` and the timeouts of `npf-cfg` are settings of the tracker, `session-op`
//! shows and ends what it has.
//!
//! What is set here goes before startup.conf, and is gone when vplaned no longer says it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use weft_control::version_of;
use weft_engine::InterfaceIndex;
use weft_flow::settings::{Settings, Timeouts};
use weft_flow_map::{Flow, FlowId, State};
use weft_nodes::interface::{TableIndex, by_family};
use weft_vplaned::commands::npf::Store;
use weft_vplaned::commands::{CommandError, SessionSetting, Words};
use weft_vplaned::console::Failure;
use weft_vplaned::console::json::{self, text};

use crate::state::Dataplane;

/// Sessions that are shown without a count.
const MANY: usize = 100_000;

/// What `session-cfg` has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionSettings {
    most: Option<u32>,
    pub log_creation: bool,
    pub log_deletion: bool,
}

impl SessionSettings {
    /// Takes a command, unless it cannot be honoured.
    pub fn take(&mut self, setting: SessionSetting, configured: &Settings) -> Result<(), CommandError> {
        match setting {
            SessionSetting::Most(most) if most as usize > configured.flows => {
                Err(CommandError::Refused(format!(
                    "sessions-max {most}: startup.conf makes room for {}: flow {{ flows }}",
                    configured.flows
                )))
            }
            SessionSetting::Most(most) => {
                self.most = Some(most);
                Ok(())
            }
            SessionSetting::Logging { periodic: Some(periodic), .. } if !periodic.is_zero() => {
                Err(CommandError::Unsupported(format!(
                    "periodic={}: reports of sessions that live",
                    periodic.as_secs()
                )))
            }
            SessionSetting::Logging { creation, deletion, .. } => {
                self.log_creation = creation.unwrap_or(self.log_creation);
                self.log_deletion = deletion.unwrap_or(self.log_deletion);
                Ok(())
            }
        }
    }
}

/// The timeout that a protocol and a state of npf name.
pub fn timeout(protocol: &str, state: &str) -> Option<fn(&mut Timeouts) -> &mut Duration> {
    Some(match (protocol, state) {
        ("tcp", "syn-sent" | "simsyn-sent" | "syn-received" | "syn-rcvd" | "opening" | "new") => {
            |its| &mut its.tcp_new
        }
        ("tcp", "established") => |its| &mut its.tcp_established,
        (
            "tcp",
            "fin-sent" | "fin-received" | "fin-rcvd" | "fin-wait" | "close-wait" | "closing" | "last-ack",
        ) => |its| &mut its.tcp_fin_wait,
        ("tcp", "time-wait") => |its| &mut its.tcp_time_wait,
        ("tcp", "closed" | "reset") => |its| &mut its.tcp_reset,
        ("udp", "new") => |its| &mut its.udp_new,
        ("udp", "established") => |its| &mut its.udp_established,
        ("icmp", "new" | "established") => |its| &mut its.icmp,
        ("other", "new" | "established") => |its| &mut its.other,
        _ => return None,
    })
}

/// Settings of the tracker: those of startup.conf, and what vplaned wants instead.
pub fn settings(configured: &Settings, sessions: &SessionSettings, store: &Store) -> Settings {
    let mut settings = *configured;
    settings.most = sessions.most.or(settings.most);
    settings.pickup &= !store.tcp_strict();
    let mut given: BTreeMap<*const Duration, Duration> = BTreeMap::new();
    for ((_, protocol, state), seconds) in store.timeouts() {
        let Some(field) = timeout(protocol, state) else { continue };
        let field = field(&mut settings.timeouts);
        // Several states of npf are one here; the longest time is long enough for all.
        let longest = given.entry(&raw const *field).or_default();
        *longest = (*longest).max(Duration::from_secs((*seconds).into()));
        *field = *longest;
    }
    settings
}

// --- session-op ---

/// The number of a session: thread, slot, and what of the generation fits below 2^53, where readers of JSON stop
/// counting exactly.
fn number(id: FlowId) -> u64 {
    u64::from(id.generation & 0xfff) << 40 | u64::from(id.thread & 0xff) << 32 | u64::from(id.slot)
}

fn session(
    dataplane: &Dataplane,
    settings: &Settings,
    flow: &Flow,
    name: &dyn Fn(InterfaceIndex) -> String,
) -> json::Session {
    let (from, to) = (flow.from(), flow.to());
    let patience = settings.patience(flow);
    let left = patience.saturating_sub(flow.idle);
    let [out, back] = flow.sides;
    let table = TableIndex(flow.key.table().into());
    let vrf = by_family!(version_of(flow), F => dataplane.router().table::<F>(table).map(|table| table.id));
    json::Session {
        vrf_id: vrf.unwrap_or(0),
        src_addr: from.address,
        src_port: from.port,
        dst_addr: to.address,
        dst_port: to.port,
        proto: flow.key.protocol(),
        interface: flow.interface.map_or_else(String::new, |index| name(InterfaceIndex(index))),
        time_to_expire: left.as_secs() as u32,
        state_expire_window: patience.as_secs() as u32,
        state: flow.state as u32,
        gen_state: flow.state as u32,
        parent: 0,
        duration: flow.age.as_secs() as u32,
        feature_type: 0,
        counters: json::SessionCounters {
            packets_in: out.packets,
            bytes_in: out.bytes,
            packets_out: back.packets,
            bytes_out: back.bytes,
        },
    }
}

/// Which sessions are meant; everything that is there must hold.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    protocol: Option<u8>,
    interface: Option<String>,
}

impl Filter {
    fn takes(&self, flow: &Flow, name: &dyn Fn(InterfaceIndex) -> String) -> bool {
        let (from, to) = (flow.from(), flow.to());
        self.id.is_none_or(|id| id == number(flow.id))
            && self.source.is_none_or(|address| address == from.address)
            && self.destination.is_none_or(|address| address == to.address)
            && self.source_port.is_none_or(|port| port == from.port)
            && self.destination_port.is_none_or(|port| port == to.port)
            && self.protocol.is_none_or(|protocol| protocol == flow.key.protocol())
            && self.interface.as_ref().is_none_or(|wanted| {
                flow.interface.is_some_and(|index| *wanted == name(InterfaceIndex(index)))
            })
    }

    /// `saddr A sport P daddr A dport P proto N`, with `any` for what does not matter.
    fn five(words: &mut Words<'_>) -> Result<Filter, Failure> {
        let mut filter = Filter::default();
        words.one_of(&[("saddr", ())])?;
        filter.source = any(words, "an address or any")?;
        words.one_of(&[("sport", ())])?;
        filter.source_port = any(words, "a port or any")?;
        words.one_of(&[("daddr", ())])?;
        filter.destination = any(words, "an address or any")?;
        words.one_of(&[("dport", ())])?;
        filter.destination_port = any(words, "a port or any")?;
        words.one_of(&[("proto", ())])?;
        filter.protocol = any(words, "a protocol number or any")?;
        Ok(filter)
    }

    /// `[id N] [src-addr A] ...` of the newer commands.
    fn pairs(words: &mut Words<'_>, options: &mut Options) -> Result<Filter, Failure> {
        let mut filter = Filter::default();
        let expected =
            "ip, id, intf, src-addr, dst-addr, src-port, dst-port, proto, count, start, brief or summary";
        while !words.is_empty() {
            match words.word(expected)? {
                // There are no others.
                "ip" => {}
                "id" => filter.id = Some(words.value("the number of a session")?),
                "intf" => filter.interface = Some(words.word("the name of an interface")?.to_owned()),
                "src-addr" => filter.source = Some(words.value("an address")?),
                "dst-addr" => filter.destination = Some(words.value("an address")?),
                "src-port" => filter.source_port = Some(words.value("a port")?),
                "dst-port" => filter.destination_port = Some(words.value("a port")?),
                "proto" => filter.protocol = Some(words.value("a protocol number")?),
                "count" => options.count = words.value("a number of sessions")?,
                "start" => options.start = words.value("a number of sessions")?,
                "brief" => {}
                "summary" => options.summary = true,
                _ => return Err(words.wrong_last(expected).into()),
            }
        }
        Ok(filter)
    }
}

struct Options {
    start: usize,
    count: usize,
    summary: bool,
}

fn any<T: std::str::FromStr>(words: &mut Words<'_>, expected: &str) -> Result<Option<T>, Failure> {
    if words.rest().first() == Some(&"any") {
        words.word(expected)?;
        return Ok(None);
    }
    Ok(Some(words.value(expected)?))
}

/// `session-op`
pub fn session_op(
    dataplane: &mut Dataplane,
    mut words: Words<'_>,
    name: &dyn Fn(&Dataplane, InterfaceIndex) -> String,
) -> Result<String, Failure> {
    let clears = words.one_of(&[("show", false), ("clear", true), ("delete", true)])?;
    let mut options = Options { start: 0, count: MANY, summary: false };
    let mut filter = Filter::default();
    match words.word("sessions, session or dataplane")? {
        "dataplane" => {
            words.one_of(&[("sessions", ())])?;
            filter = Filter::pairs(&mut words, &mut options)?;
            if options.summary && !clears {
                return text(&newer_summary(dataplane));
            }
        }
        "session" | "sessions" if clears => match words.word("all, id or filter")? {
            "all" => {}
            "id" => filter.id = Some(words.value("the number of a session")?),
            "filter" => filter = Filter::five(&mut words)?,
            // There are none.
            "nat64" | "nat46" => return Ok(String::new()),
            _ => return Err(words.wrong_last("all, id or filter").into()),
        },
        "sessions" => match words.rest().first() {
            None => {}
            Some(&"summary") => {
                let statistics = json::Under("statistics", summary(dataplane));
                return text(&json::Config { config: json::Under("sessions", statistics) });
            }
            Some(&"full") => drop(words.word("full")?),
            Some(&"id") => {
                words.word("id")?;
                filter.id = Some(words.value("the number of a session")?);
            }
            Some(_) => {
                options.start = words.value("id, full, summary or the first session")?;
                options.count = words.value("a number of sessions")?;
            }
        },
        _ => return Err(words.wrong_last("sessions, session or dataplane").into()),
    }
    words.end()?;
    let Some(tracker) = dataplane.flows().tracker() else {
        return if clears {
            Ok(String::new())
        } else {
            text(&json::Config { config: json::Sessions::default() })
        };
    };
    let name = |index| name(dataplane, index);
    let taken = tracker.flows().filter(|flow| filter.takes(flow, &name));
    if clears {
        let ids: Vec<FlowId> = taken.map(|flow| flow.id).collect();
        dataplane.clear_flows(Some(&ids));
        return Ok(String::new());
    }
    let settings = tracker.settings();
    let sessions = taken
        .skip(options.start)
        .take(options.count)
        .map(|flow| (number(flow.id), session(dataplane, settings, &flow, &name)))
        .collect();
    text(&json::Config { config: json::Sessions { sessions } })
}

fn summary(dataplane: &Dataplane) -> json::SessionStatistics {
    let mut statistics = json::SessionStatistics::default();
    let Some(tracker) = dataplane.flows().tracker() else { return statistics };
    let settings = tracker.settings();
    statistics.max = settings.limit() as u64;
    for flow in tracker.flows() {
        let states = match flow.key.protocol() {
            6 => &mut statistics.tcp,
            17 => &mut statistics.udp,
            1 | 58 => &mut statistics.icmp,
            _ => &mut statistics.other,
        };
        *states.entry(flow.state.name()).or_default() += 1;
        statistics.used += 1;
    }
    for states in [&mut statistics.tcp, &mut statistics.udp, &mut statistics.icmp, &mut statistics.other] {
        for state in State::ALL {
            states.entry(state.name()).or_default();
        }
    }
    statistics
}

fn newer_summary(dataplane: &Dataplane) -> json::Under<json::SessionTotals> {
    let mut summary = json::SessionTotals::default();
    for flow in dataplane.flows().tracker().into_iter().flat_map(|tracker| tracker.flows()) {
        let protocol = match flow.key.protocol() {
            6 => "tcp",
            17 => "udp",
            1 | 58 => "icmp",
            _ => "other",
        };
        *summary.protocol.entry(protocol).or_default() += 1;
        summary.total += 1;
        match flow.key.is_ip6() {
            true => summary.address_family.ip6 += 1,
            false => summary.address_family.ip += 1,
        }
    }
    // A session begins with a packet that comes in.
    summary.direction.r#in = summary.total;
    json::Under("summary", summary)
}
