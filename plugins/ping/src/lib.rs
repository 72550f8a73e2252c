// SPDX-License-Identifier: Apache-2.0
//! Pings from the router itself, through the dataplane: by its routes, out of its interfaces.
//!
//! The kernel of the machine cannot send them: it knows neither the routes nor the forwarding tables of Weft. A
//! worker sends and workers take the answers ([`node`]); the main thread begins a ping, looks at what has come of it
//! when it is asked ([`run`]), and never waits.
#![forbid(unsafe_code)]

mod message;
mod messages;
mod node;
mod report;
mod run;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weft_plugin_sdk::{
    Answer, Command, Event, Feature, InterfaceIndex, Level, Main, Node, Plugin, Published, Result, SessionId,
    Setting, Setup, Timer, Value, Values, Words, weft_plugin,
};

use message::MOST_DATA;
use node::{Next, PERIOD_MS, PingNode, Reason};
use run::{Outcome, Run, Settings};

/// Where answers are seen before the host sees them.
const ARCS: [&str; 2] = ["ip4-local", "ip6-local"];
const NODE: &str = "ping";
/// How often pings are looked at whose result nobody asks for.
const TICK_MS: u32 = 100;
/// Requests at a time, at most: a vector.
const MOST_BURST: u16 = 256;
/// Pings at a time, at most.
const MOST: u64 = 1024;
const SYNOPSIS: &str = "<address> [repeat <count>] [burst <count>] [interval <seconds>] [size <bytes>] [ttl <hops>] [timeout <seconds>] \
                        [table <id>] [source <address>] [interface <interface>]";

/// What is asked for.
struct Wanted {
    destination: IpAddr,
    repeat: u16,
    burst: u16,
    /// Seconds, as the timeout.
    interval: f64,
    size: usize,
    ttl: u8,
    timeout: f64,
    table: u32,
    source: Option<IpAddr>,
    /// Whose link it is, of an address that says nothing without.
    interface: Option<InterfaceIndex>,
}

impl Wanted {
    fn new(destination: IpAddr) -> Wanted {
        Wanted {
            destination,
            repeat: 5,
            burst: 1,
            interval: 1.0,
            size: 56,
            ttl: 64,
            timeout: 1.0,
            table: 0,
            source: None,
            interface: None,
        }
    }
}

/// A ping, and when it is over.
struct Ping {
    run: Arc<Run>,
    /// Who is told when it is over, unless somebody waits for the answer of a command.
    client: Option<SessionId>,
    /// How long to wait for the last answer.
    timeout: Duration,
    /// When the last request was seen to be sent.
    all_sent: Option<Instant>,
    /// When it is over even if not all could be sent.
    deadline: Instant,
}

impl Ping {
    /// Whether nothing more can come.
    fn is_over(&mut self) -> bool {
        let (now, run) = (Instant::now(), &self.run);
        if run.sent() < run.settings.repeat {
            return now >= self.deadline;
        }
        let all_sent = *self.all_sent.get_or_insert(now);
        now >= all_sent + self.timeout || run.outcomes().all(|outcome| outcome != Outcome::Nothing)
    }
}

struct Pings {
    pings: Vec<Ping>,
    runs: Published<Vec<Arc<Run>>>,
    identifier: u16,
    /// Pings at a time: the setting `ping.limit`.
    limit: usize,
}

impl Plugin for Pings {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        let runs = Published::new(Vec::new());
        let reader = runs.reader();
        let node = Node::new(NODE, move |_| PingNode { runs: reader.clone() });
        setup.node(node.edges::<Next>().drops::<Reason>().every_ms(PERIOD_MS))?;
        ARCS.into_iter().try_for_each(|arc| setup.feature(Feature::new(arc, NODE).set_by("ping")))?;
        setup.command(
            Command::new("ping", Pings::begin)
                .synopsis(SYNOPSIS)
                .help("Send echo requests of IPv4 or IPv6 by the routes of a forwarding table, and show what answers")
                .later(Pings::result, |pings, main, name| drop(pings.end(main, name))),
        )?;
        setup.timer(Timer::every_ms(TICK_MS, Pings::tick))?;
        let limit = Values::Number { what: "pings", range: 1..=MOST, none: None };
        let set = |pings: &mut Pings, _: &mut Main<'_>, value: Value| {
            pings.limit = value.number().unwrap_or(MOST) as usize;
            Ok(())
        };
        setup.setting(
            Setting::global("limit", limit, "16", set).help("Limit the pings that are under way at a time"),
        )?;
        messages::register(setup)?;
        // Not the same after every load, so that late answers to an older ping find nobody.
        let identifier =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros() as u16);
        // The host says what the limit is before anything else.
        Ok(Pings { pings: Vec::new(), runs, identifier, limit: 0 })
    }

    /// Answers may come in anywhere.
    fn hear(&mut self, main: &mut Main<'_>, event: Event) -> Result<()> {
        match event {
            Event::InterfaceAdded(interface) if !self.pings.is_empty() => {
                ARCS.into_iter().try_for_each(|arc| main.set_feature(arc, NODE, interface, true))
            }
            _ => Ok(()),
        }
    }
}

impl Pings {
    fn begin(&mut self, main: &mut Main<'_>, words: &mut Words<'_>) -> Result<Answer> {
        let mut wanted = Wanted::new(words.parse("IP address")?);
        while !words.is_empty() {
            match words.word("option")? {
                "repeat" => wanted.repeat = within("repeat", words.parse("count")?, 1, u16::MAX)?,
                "burst" => wanted.burst = within("burst", words.parse("count")?, 1, MOST_BURST)?,
                "interval" => wanted.interval = within("interval", words.parse("seconds")?, 0.01, 60.0)?,
                "size" => wanted.size = within("size", words.parse("bytes")?, 0, MOST_DATA)?,
                "ttl" => wanted.ttl = within("ttl", words.parse("hops")?, 1, u8::MAX)?,
                "timeout" => wanted.timeout = within("timeout", words.parse("seconds")?, 0.01, 60.0)?,
                // VPP's word is the second one.
                "table" | "table-id" => wanted.table = words.parse("table")?,
                "source" => wanted.source = Some(words.parse("IP address")?),
                "interface" => wanted.interface = Some(main.interface(words.word("interface")?)?),
                other => {
                    let expected = "repeat, burst, interval, size, ttl, timeout, table, source or interface";
                    return Err(format!("expected {expected}, found {other:?}").into());
                }
            }
        }
        let destination = wanted.destination;
        if !is_one_host(destination) {
            return Err(format!("expected the address of one host, found {destination}").into());
        }
        let identifier = self.launch(main, &wanted, None)?;
        Ok(Answer::later(identifier.to_string()))
    }

    /// Has the workers begin; the ping's name is what its packets are known by.
    fn launch(&mut self, main: &mut Main<'_>, wanted: &Wanted, client: Option<SessionId>) -> Result<u16> {
        let Wanted { destination, repeat, burst, interval, size, ttl, timeout, table, source, interface } =
            *wanted;
        let repeat = repeat.checked_mul(burst).ok_or_else(|| {
            format!("{repeat} bursts of {burst} are too many: expected at most {} requests", u16::MAX)
        })?;
        if self.pings.len() >= self.limit {
            let (now, limit) = (self.pings.len(), self.limit);
            return Err(format!("{now} pings are under way, and ping.limit is {limit}").into());
        }
        let route = main.route(table, destination, interface)?;
        let family = if destination.is_ipv4() { "IPv4" } else { "IPv6" };
        let Some(source) = source.or(route.source) else {
            let name = main.interface_name(route.interface).unwrap_or_default();
            return Err(
                format!("{name}, the way out, has no {family} address: say which source to use").into()
            );
        };
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(format!("expected a source of {family}, as {destination} is, found {source}").into());
        }
        let clocks = (interval * main.clocks_per_second()) as u64;
        let settings = Settings { destination, source, route, size, ttl, repeat, burst, interval: clocks };
        self.identifier = self.identifier.wrapping_add(1);
        // Twice the time that it takes, should the worker be held up or buffers be scarce.
        let most = Duration::from_secs_f64(interval * 2.0 * f64::from(repeat) + timeout + 1.0);
        let run = Arc::new(Run::new(settings, self.identifier));
        let timeout = Duration::from_secs_f64(timeout);
        self.pings.push(Ping { run, client, timeout, all_sent: None, deadline: Instant::now() + most });
        self.publish(main)?;
        Ok(self.identifier)
    }

    /// Has the workers see the pings. The node costs packets for this host nothing while there are none.
    fn publish(&mut self, main: &mut Main<'_>) -> Result<()> {
        let runs: Vec<_> = self.pings.iter().map(|ping| Arc::clone(&ping.run)).collect();
        let on = !runs.is_empty();
        self.runs.replace(main, runs);
        for interface in main.interfaces() {
            ARCS.into_iter().try_for_each(|arc| main.set_feature(arc, NODE, interface, on))?;
        }
        Ok(())
    }

    fn find(&mut self, name: &str) -> Option<usize> {
        self.pings.iter().position(|ping| ping.run.identifier.to_string() == name)
    }

    /// Ends a ping.
    fn end(&mut self, main: &mut Main<'_>, name: &str) -> Option<Arc<Run>> {
        let place = self.find(name)?;
        let ping = self.pings.remove(place);
        if let Err(refusal) = self.publish(main) {
            main.log(Level::Warn, refusal.sentence());
        }
        Some(ping.run)
    }

    fn result(&mut self, main: &mut Main<'_>, name: &str) -> Result<Option<Answer>> {
        let place = self.find(name).ok_or("the ping has ended: the plugin was replaced meanwhile")?;
        if !self.pings[place].is_over() {
            return Ok(None);
        }
        let clocks_per_second = main.clocks_per_second();
        Ok(self.end(main, name).map(|run| report::report(&run, clocks_per_second)))
    }

    /// Ends pings that are over and whose result nobody asks for. A client of the binary API is told; what comes of those in
    /// a file of commands goes to the log.
    fn tick(&mut self, main: &mut Main<'_>) -> Result<()> {
        let now = Instant::now();
        let unasked = |ping: &mut Ping| ping.is_over() && (ping.client.is_some() || now >= ping.deadline);
        let over = self
            .pings
            .iter_mut()
            .filter_map(|ping| unasked(ping).then_some((ping.run.identifier, ping.client)));
        for (name, client) in over.collect::<Vec<_>>() {
            match (self.end(main, &name.to_string()), client) {
                (Some(run), Some(client)) => messages::finished(main, client, &run),
                (Some(run), None) => main.log(Level::Info, &report::summary(&run)),
                (None, _) => {}
            }
        }
        Ok(())
    }
}

/// Whether an address is that of one host.
fn is_one_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn within<T: PartialOrd + std::fmt::Display>(what: &str, value: T, least: T, most: T) -> Result<T> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(format!("expected {what} from {least} to {most}, found {value}").into())
}

weft_plugin! { plugin: Pings, name: "ping", summary: "Pings through the dataplane" }
