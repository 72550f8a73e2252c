// SPDX-License-Identifier: Apache-2.0
//! The session as a task of the main loop: sockets on one side, the dataplane on the other.
//!
//! Events are worked in by batches, between which everybody else has a turn; so a snapshot of a million routes does not
//! keep a command waiting.

use std::future::pending;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use tokio::task::yield_now;
use weft_vplaned::broker::{Broker, BrokerEvent};
use weft_vplaned::client::{Client, Target};
use weft_vplaned::console::{ConsoleServer, Listening};
use weft_vplaned::session::{Event, Session, SessionSettings, Timing};
use weft_vplaned::transport::{Endpoint, Keys, PublicKey, Transport, require_curve};
use weft_vplaned::types::RequestNumber;

use super::{Status, Tell, Vplaned, console};
use crate::config::Config;
use crate::main_loop::Main;
use crate::state::Dataplane;

/// Events worked in at once, some milliseconds' work if they are all routes.
const BATCH: usize = 1024;
/// A broker never says when it has told everything: routes that it has not repeated so long after it accepted are
/// given up.
const STALE: Duration = Duration::from_secs(60);
/// The console's socket, unless another one is named.
const CONSOLE: &str = "vplaned-console.sock";
/// How often ports and links are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What of [`open`] is known without making anything. `authentication elliptic-curve` makes its own keys, but not the folder for
/// them, nor those of the controller.
pub fn check(config: &Config) -> Result<()> {
    let Some(section) = &config.vplaned else { return Ok(()) };
    let settings = section.settings().context("vplaned")?;
    let Some(authentication) = &settings.authentication else { return Ok(()) };
    let of = "vplaned: authentication elliptic-curve";
    require_curve().context(of)?;
    if Keys::read(&authentication.certificate).context(of)?.is_none() {
        let folder = authentication.certificate.parent().filter(|folder| *folder != Path::new(""));
        let lacks = folder.filter(|folder| !folder.is_dir());
        lacks.map_or(Ok(()), |folder| Err(anyhow!("there is no folder {}", folder.display()))).context(of)?;
    }
    PublicKey::read(&authentication.controller).map(drop).context(of)
}

/// A session before its first message.
pub struct Opened {
    client: Client,
    console: ConsoleServer,
    endpoints: Vec<String>,
}

/// Reads keys and binds the console; what is wrong with either ends the start. To be called on the runtime.
pub fn open(config: &Config) -> Result<Option<(Opened, Vplaned)>> {
    let Some(section) = &config.vplaned else { return Ok(None) };
    let mut settings = section.settings().context("vplaned")?;
    settings.console.iter_mut().for_each(|endpoint| place(endpoint, config));
    let curve = match &settings.authentication {
        Some(authentication) => {
            require_curve().context("vplaned: authentication elliptic-curve")?;
            let own = Keys::read_or_make(&authentication.certificate, &settings.uuid).context("vplaned")?;
            Some((own, PublicKey::read(&authentication.controller).context("vplaned")?))
        }
        None => None,
    };
    let transport = Transport::new();
    let listening = Listening { group: config.unix.gid.map(|gid| gid.0) };
    let console =
        ConsoleServer::bind(&transport, &settings.console, listening).context("vplaned: console")?;
    let endpoints = console.endpoints().context("vplaned: console")?;
    let announced = endpoints.first().cloned().unwrap_or_default();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let session = SessionSettings {
        uuid: settings.uuid.clone(),
        address: settings.address,
        first_request: RequestNumber(since.as_millis() as u64),
        timing: Timing { report: settings.report, ..Timing::default() },
    };
    let target = Target { request: settings.request.clone(), curve };
    let client = Client::new(transport, target, Session::new(session, announced));
    let state = Vplaned::new(settings);
    Ok(Some((Opened { client, console, endpoints }, state)))
}

/// A console at no place of its own is in the runtime directory, by its whole path: vplaned hands the endpoint to programs that
/// run elsewhere.
fn place(endpoint: &mut Endpoint, config: &Config) {
    let path = std::path::absolute(config.unix.in_runtime_dir(Path::new(CONSOLE)));
    let here = path.ok().and_then(|path| format!("ipc://{}", path.display()).parse().ok());
    if let Some(here) = here.filter(|_| *endpoint == Endpoint::any_local()) {
        *endpoint = here;
    }
}

/// Serves for ever.
pub async fn serve(main: Main, opened: Opened) {
    let Opened { mut client, console: mut server, endpoints } = opened;
    let answers = console();
    let mut events: Vec<Event> = Vec::with_capacity(BATCH);
    let mut broker: Option<Broker> = None;
    let mut routes: Vec<BrokerEvent> = Vec::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Before the first message: vplaned deletes the TAP of a port that is not registered when a snapshot is asked for.
    main.with(|dataplane| dataplane.look_after_vplaned());
    hand_over(&main, &mut client);
    let mut absence = Absence::default();
    // Whether all that was heard is applied.
    let mut settled = true;
    loop {
        tokio::select! {
            () = yield_now(), if !settled => settled = !main.with(Dataplane::apply_more),
            () = client.events(&mut events, BATCH), if settled => {
                // The interfaces that its routes name are there now.
                if broker.is_none() && events.iter().any(|event| matches!(event, Event::SnapshotEnd { .. })) {
                    broker = open_broker(&main);
                }
                main.with(|dataplane| dataplane.hear_vplaned(events.drain(..)));
                settled = false;
            }
            () = heard(&mut broker, &mut routes), if settled => {
                if main.with(|dataplane| dataplane.hear_broker(routes.drain(..))) {
                    broker = None;
                    client.session().resync(Instant::now());
                }
                settled = false;
            }
            _ = look.tick() => main.with(|dataplane| dataplane.look_after_vplaned()),
            served = server.serve_one(|request| main.with(|dataplane| answers.answer(dataplane, request))) => {
                if let Err(error) = served {
                    tracing::warn!("vplaned: console: {error}");
                }
            }
        }
        hand_over(&main, &mut client);
        let status = status(&mut client, &endpoints, broker.as_ref());
        absence.look(&status, Instant::now());
        main.with(|dataplane| {
            if let Some(vplaned) = dataplane.find_part_mut::<Vplaned>() {
                vplaned.status = status;
            }
        });
        // Others have a turn even while there is always something.
        yield_now().await;
    }
}

/// A controller that does not answer: one that is not there leaves no trace, since ZeroMQ goes on trying in silence.
#[derive(Default)]
struct Absence {
    since: Option<Instant>,
    told: bool,
    refused: u64,
}

impl Absence {
    /// How long a controller may take before it is missed.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Tells each once, until the controller is there.
    fn look(&mut self, status: &Status, now: Instant) {
        if status.refused > self.refused {
            if self.refused == 0 {
                tracing::warn!(
                    "vplaned: {} or its publisher does not admit the certificate of this dataplane, or has another one than \
                     is configured",
                    status.request
                );
            }
            self.refused = status.refused;
        }
        if status.state != Session::CONNECTING {
            *self = Absence { refused: self.refused, ..Absence::default() };
            return;
        }
        let since = *self.since.get_or_insert(now);
        if !self.told && now.saturating_duration_since(since) >= Self::PATIENCE {
            self.told = true;
            tracing::warn!("vplaned: nobody answers at {}; it is tried for ever", status.request);
        }
    }
}

fn open_broker(main: &Main) -> Option<Broker> {
    let settings =
        main.look(|dataplane| dataplane.find_part::<Vplaned>().map(|vplaned| vplaned.settings.clone()))?;
    let endpoint = settings.broker?;
    match Broker::new(Transport::new(), endpoint, settings.uuid, STALE) {
        Ok(broker) => Some(broker),
        Err(error) => {
            tracing::warn!("vplaned: route broker: {error}");
            None
        }
    }
}

async fn heard(broker: &mut Option<Broker>, events: &mut Vec<BrokerEvent>) {
    match broker {
        Some(broker) => broker.events(events, BATCH).await,
        None => pending().await,
    }
}

/// Gives the session what the dataplane has to say.
fn hand_over(main: &Main, client: &mut Client) {
    for tell in main.with(|dataplane| dataplane.take_tells()) {
        say(client, tell);
    }
}

fn say(client: &mut Client, tell: Tell) {
    let (session, now) = (client.session(), Instant::now());
    match tell {
        Tell::AddPort(description) => session.add_port(now, description),
        Tell::RemovePort(number) => session.remove_port(now, number),
        Tell::Link(number, link) => session.report_link(number, &link),
        Tell::Counters(interface, counters) => session.report_counters(&interface, &counters),
        Tell::Failed { command, code } => session.report_failed_command(&command, code),
    }
}

fn status(client: &mut Client, console: &[String], broker: Option<&Broker>) -> Status {
    let (request, refused) = (client.target().request.to_string(), client.refused_handshakes());
    let session = client.session();
    Status {
        state: session.state_name(),
        request,
        publisher: session.publisher().map(str::to_owned),
        console: console.to_vec(),
        dataplane: session.dataplane(),
        sequence: session.last_sequence(),
        counts: session.counts().clone(),
        refused,
        broker: broker.map(|broker| (broker.endpoint().to_string(), broker.counts().clone())),
    }
}
