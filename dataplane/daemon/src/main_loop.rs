// SPDX-License-Identifier: Apache-2.0
//! The main loop: start, serve, stop.
//!
//! One thread does all that is not moving packets: commands, timers, and what the engine defers until the workers have
//! passed by (the stats socket alone has another, `memory_server`). It is a current-thread tokio runtime; each task borrows the one [`Dataplane`] between
//! two awaits and never across one. If this thread hangs, packets still flow.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use weft_cli::server::{Peer, Service, Shared};
use weft_cli::{CliError, Completion, Later, Reply, Rights, Turn};
use weft_devices::pg::Pg;
use weft_stats::StatsListener;

use crate::VERSION;
use crate::assembly::{assemble, link_journal};
use crate::binapi::Api;
use crate::cli_sockets::Sockets;
use crate::config::{Config, Source};
use crate::error::sentence;
use crate::log::{Log, LogFile};
use crate::memory_server::MemoryServer;
use crate::os::Starting;
use crate::process::{EndSignals, PidFile, make_runtime_dir};
use crate::state::Dataplane;
use crate::threads::{Plan, WorkerThreads, become_main};
use crate::topology::Topology;
use crate::{binapi, cli, interactive, log, news, plugins, startup, vplaned};

/// Pause between two looks at what waits for the workers.
const SETTLING: Duration = Duration::from_millis(2);
/// Pause between two looks at what a command waits for.
const WAITING: Duration = Duration::from_millis(2);
/// How often links are looked at.
const WATCH: Duration = Duration::from_millis(500);
/// How long ports may take to close when the daemon ends: a zero-copy port takes a second.
const CLOSING: Duration = Duration::from_millis(1600);
/// How long workers may take to end.
const JOINING: Duration = Duration::from_secs(1);

/// Why the daemon ends.
pub enum End {
    /// It was asked to.
    Asked(&'static str),
    /// It cannot go on.
    Failed(anyhow::Error),
}

/// What all tasks share.
#[derive(Clone)]
pub struct Main {
    state: Rc<RefCell<Dataplane>>,
    /// Something may wait for the workers.
    changed: Rc<Notify>,
    end: mpsc::UnboundedSender<End>,
}

impl Main {
    /// Works on the state.
    pub fn with<R>(&self, work: impl FnOnce(&mut Dataplane) -> R) -> R {
        // No task keeps the state borrowed while it waits, so nobody else has it.
        let result = work(&mut self.state.borrow_mut());
        self.changed.notify_one();
        result
    }

    /// Looks at the state without changing it.
    pub fn look<R>(&self, look: impl FnOnce(&Dataplane) -> R) -> R {
        look(&self.state.borrow())
    }

    /// Does all the work of a command, a turn at a time.
    pub async fn finish(&self, mut reply: Reply) -> Result<Reply, CliError> {
        while reply.is_work() {
            match self.with(|dataplane| reply.turn(dataplane)) {
                Turn::More => yield_now().await,
                Turn::Waits => sleep(WAITING).await,
                Turn::Done(answer) => reply = answer?,
            }
        }
        Ok(reply)
    }

    /// Ends the daemon.
    pub fn end(&self, why: End) {
        // Fails only when it ends already.
        let _ = self.end.send(why);
    }
}

/// Commands, from whatever side they come.
struct Commands {
    state: Rc<RefCell<Dataplane>>,
    changed: Rc<Notify>,
}

impl Commands {
    /// The commands that there are now: one of them may change them.
    fn shared(&self) -> Shared<Dataplane> {
        let tree = self.state.borrow().commands();
        Shared { tree, state: Rc::clone(&self.state) }
    }
}

impl Service for Commands {
    fn execute(&self, peer: Peer, rights: &Rights, command: &str) -> Result<Reply, CliError> {
        let result = self.shared().execute(peer, rights, command);
        self.changed.notify_one();
        result
    }

    fn turn(&self, work: &mut Reply) -> Turn {
        let turn = self.shared().turn(work);
        self.changed.notify_one();
        turn
    }

    fn vpp_error(&self, command: &str, error: &CliError) -> String {
        self.shared().vpp_error(command, error)
    }

    fn later(&self, later: &Later) -> Result<Reply, CliError> {
        let result = cli::plugin::later(&mut self.state.borrow_mut(), later);
        self.changed.notify_one();
        result
    }

    fn cancel(&self, later: &Later) {
        // Also called when a task is dropped, which may be while the state is borrowed to end everything.
        if let Ok(mut state) = self.state.try_borrow_mut() {
            cli::plugin::cancel(&mut state, later);
        }
    }

    fn complete(&self, line: &str, cursor: usize) -> Completion {
        self.shared().complete(line, cursor)
    }
}

/// Runs the daemon until a signal ends it.
pub fn run(config: Config, source: &Source, starting: Option<Starting>) -> Result<()> {
    let unix = &config.unix;
    make_runtime_dir(&unix.runtime_dir)?;
    let file = unix.log.as_ref().map(|log| unix.in_runtime_dir(log));
    let log = log::start(&config.logging, file.as_deref())?;
    let topology = Topology::read()?;
    let plan = Plan::new(&config.cpu, &topology)?;
    become_main(&plan.main)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("main loop")?;
    runtime.block_on(LocalSet::new().run_until(serve(config, source, plan, log, starting)))
}

async fn serve(
    config: Config,
    source: &Source,
    plan: Plan,
    log: Log,
    starting: Option<Starting>,
) -> Result<()> {
    let mut signals = EndSignals::catch()?;
    EndSignals::reopen_on_hangup(log.file.clone())?;
    let starting = starting.map(|starting| (starting, log.file));
    let log = log.recent;
    // The sockets first: they tell whether another daemon runs here, before anything is taken from it.
    let cli = Sockets::bind(&config)?;
    let stats = bind_stats(&config)?;
    let api = binapi::bind(&config)?;
    let (session, vplaned) = vplaned::task::open(&config)?.unzip();
    for done in link_journal(&config).put_back() {
        match done {
            Ok(done) => tracing::info!("{done}"),
            Err(error) => tracing::warn!("not put back as before a process that was killed: {error}"),
        }
    }
    let (mut dataplane, workers) = assemble(config, plan, log)?;
    if let Some(vplaned) = vplaned {
        dataplane.put_part(Box::new(vplaned));
    }
    // Before plugins, which bring messages.
    dataplane.put_part(Box::new(Api::new(&api)));
    let state = Rc::new(RefCell::new(dataplane));
    let result = {
        let dataplane = &mut *state.borrow_mut();
        begin(dataplane, workers, source).and_then(|pid_file| Ok((pid_file, serve_stats(dataplane, stats)?)))
    };
    let (end, mut ended) = mpsc::unbounded_channel();
    let main = Main { state: Rc::clone(&state), changed: Rc::default(), end };
    let result = match result {
        Ok(_until_end) => {
            attend(&main);
            let serve = || {
                serve_commands(&main, cli);
                spawn_local(api.serve(main.clone()));
                if let Some(session) = session {
                    spawn_local(vplaned::task::serve(main.clone(), session));
                }
            };
            let end = async {
                tokio::select! {
                    signal = signals.next() => End::Asked(signal),
                    Some(why) = ended.recv() => why,
                }
            };
            live(&main, starting, serve, end).await
        }
        Err(error) => Err(error),
    };
    let stopped = stop(&mut state.borrow_mut());
    result.and(stopped)
}

/// From the first command to the end. Nobody is served before the commands of the start have been run: who is answered finds what they
/// have made. They can be ended, though.
async fn live(
    main: &Main,
    starting: Option<(Starting, Option<Arc<LogFile>>)>,
    serve: impl FnOnce(),
    end: impl Future<Output = End>,
) -> Result<()> {
    let mut end = std::pin::pin!(end);
    let early = tokio::select! {
        done = startup::run_commands(main) => {
            if let Err(error) = done {
                tracing::error!("{}", sentence(&error));
            }
            None
        }
        early = &mut end => Some(early),
    };
    serve();
    if let Some((starting, log)) = starting {
        starting.done().context("go into the background")?;
        if let Some(log) = log {
            log.follow_descriptors();
        }
    }
    let end = match early {
        Some(end) => end,
        None => end.await,
    };
    match end {
        End::Asked(by) => {
            tracing::info!("ends: {by}");
            Ok(())
        }
        End::Failed(error) => Err(error),
    }
}

/// Gives the workers their threads and makes what is configured.
fn begin(
    dataplane: &mut Dataplane,
    workers: Vec<weft_engine::Worker>,
    source: &Source,
) -> Result<Option<PidFile>> {
    let threads = WorkerThreads::start(workers, &dataplane.plan().workers)?;
    dataplane.put_part(Box::new(threads));
    let (plan, config) = (dataplane.plan(), dataplane.config());
    let workers: Vec<String> = plan.workers.iter().map(|place| place.core.to_string()).collect();
    tracing::info!("weft {}: main on core {}, workers on {}", VERSION, plan.main.core, workers.join(","));
    startup::log_memory(dataplane, config);
    startup::make_interfaces(dataplane, source)?;
    dataplane.tell_of_idle_workers();
    dataplane.load_configured_plugins();
    let unix = &dataplane.config().unix;
    unix.pidfile.as_ref().map(|path| PidFile::write(unix.in_runtime_dir(path))).transpose()
}

fn bind_stats(config: &Config) -> Result<StatsListener> {
    let path = config.unix.in_runtime_dir(&config.statseg.socket);
    let group = config.statseg.gid.or(config.unix.gid);
    Ok(StatsListener::bind(&path, group.map(|group| group.0))?)
}

fn serve_stats(dataplane: &Dataplane, listener: StatsListener) -> Result<MemoryServer> {
    let name = format!("{}_stats", dataplane.config().cpu.thread_prefix);
    MemoryServer::start(listener, [dataplane.engine().stats.fd()], name)
}

/// Starts the tasks that look after the dataplane.
fn attend(main: &Main) {
    spawn_local(settle(main.clone()));
    spawn_local(or_end(main.clone(), news::hear(main.clone())));
    spawn_local(news::tick(main.clone()));
    spawn_local(watch(main.clone()));
    spawn_local(plugins::watch::tick(main.clone()));
    spawn_local(collect(main.clone()));
}

/// Takes commands, from sockets and from the terminal.
fn serve_commands(main: &Main, cli: Sockets) {
    let service = Commands { state: Rc::clone(&main.state), changed: Rc::clone(&main.changed) };
    cli.serve(Rc::new(service));
    if main.with(|dataplane| dataplane.config().unix.interactive) {
        spawn_local(interactive::serve(main.clone()));
    }
}

async fn or_end(main: Main, task: impl Future<Output = Result<()>>) {
    if let Err(error) = task.await {
        main.end(End::Failed(error));
    }
}

/// Does what waits for the workers, as soon as they have passed by.
async fn settle(main: Main) {
    loop {
        if main.state.borrow_mut().poll() {
            sleep(SETTLING).await;
        } else {
            main.changed.notified().await;
        }
    }
}

async fn watch(main: Main) {
    let mut ticks = every(WATCH);
    let news = main.look(|dataplane| dataplane.devices().links.news());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = news.notified() => {}
        }
        let lost = main.with(|dataplane| {
            dataplane.watch_links();
            dataplane.watch_tables();
            dataplane.watch_plugins();
            dataplane
                .part::<WorkerThreads>()
                .lost()
                .map(|worker| dataplane.plan().workers[worker].name.clone())
        });
        if let Some(name) = lost {
            main.end(End::Failed(anyhow::anyhow!("worker {name} has ended by itself")));
        }
    }
}

async fn collect(main: Main) {
    let mut ticks = every(main.with(|dataplane| dataplane.config().statseg.update_interval));
    loop {
        main.with(Dataplane::update_gauges);
        ticks.tick().await;
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Dataplane {
    /// Does what is due; says whether anything still waits.
    pub fn poll(&mut self) -> bool {
        let waits = self.engine_mut().reclaim();
        self.publish_route_counters();
        self.tell_of_changes();
        self.announce();
        let (pg, control) = self.part_and_control::<Pg>();
        let streams = pg.poll(control.engine_mut());
        let captures = self.drain_capture();
        waits || streams || captures
    }
}

/// Closes all devices and ends the workers.
fn stop(dataplane: &mut Dataplane) -> Result<()> {
    dataplane.stop_capture().transpose().map(drop).unwrap_or_else(|error| tracing::warn!("{error}"));
    dataplane.unload_all_plugins();
    dataplane.delete_all_interfaces();
    let closed = dataplane.settle(CLOSING, |dataplane| dataplane.devices_mut().closing() == 0);
    let (threads, control) = dataplane.part_and_control::<WorkerThreads>();
    let joined = threads.stop(control.engine(), JOINING);
    if !joined {
        bail!("workers did not end within {} ms", JOINING.as_millis());
    }
    if !closed {
        bail!("ports did not close within {} ms", CLOSING.as_millis());
    }
    let buffers = &dataplane.engine().buffers;
    let missing = buffers.total() - buffers.levels().iter().map(|level| level.available).sum::<usize>();
    if missing > 0 {
        tracing::warn!("{missing} buffers were not given back");
    }
    Ok(())
}
