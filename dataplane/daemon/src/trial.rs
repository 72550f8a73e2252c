// SPDX-License-Identifier: Apache-2.0
//! A start in memory, for `--check-config`: what only the start itself can judge. A file that is called good starts.
//!
//! A dataplane is put together as the start does it, with few buffers, and what the file says is made in its order on interfaces that
//! have no device below. No thread, no socket and no device is made, and no file but those of plugins is read: these are loaded as the
//! start loads them, since they alone know their settings. What the start would say in its log is a warning here.
//!
//! Workers are made and never run; what is posted to them goes with them.

use std::any::Any;
use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;

use weft_control::{ChangeSet, Owner, Purpose};

use crate::assembly::assemble_serving;
use crate::cli_sockets::resolve;
use crate::config::af_xdp::AfXdp;
use crate::config::check::{self, Findings};
use crate::config::interfaces::Common;
use crate::config::unix::CliListen;
use crate::config::{Config, Source, Span};
use crate::error::sentence;
use crate::log::Recent;
use crate::startup::{self, Misplaced};
use crate::state::Dataplane;
use crate::threads::Plan;
use crate::topology::Topology;
use crate::vplaned;

/// Buffers of a pool: no packet will be there.
const FEW: NonZeroU32 = NonZeroU32::new(1024).expect("not 0");
/// Lines of the log that are told.
const LINES: usize = 1000;

/// What is wrong with a configuration on this machine: what can be seen without starting, and what a start in memory meets.
pub fn check(config: &Config, source: &Source, topology: &Topology) -> Findings {
    let mut found = check::machine(config, source, topology);
    for listen in &config.unix.cli_listen {
        if let CliListen::Tcp { host, port } = listen
            && let Err(error) = resolve(host, *port)
        {
            found.error(format!("unix {{ cli-listen }}: {}", sentence(&error)));
        }
    }
    if let Err(error) = vplaned::check(config) {
        found.error(sentence(&error));
    }
    start(config, source, topology, &mut found);
    found
}

/// Starts in memory, and adds what is wrong to `found`.
fn start(config: &Config, source: &Source, topology: &Topology, found: &mut Findings) {
    // What is wrong with its cores is found already.
    let Ok(plan) = Plan::new(&config.cpu, topology) else { return };
    let said = Recent::new(LINES);
    said.listen(|| attempt(config, source, plan, found));
    for line in said.lines() {
        if matches!(line.level, "warn" | "error") {
            found.warning(line.message);
        }
    }
}

fn attempt(config: &Config, source: &Source, plan: Plan, found: &mut Findings) {
    let mut small = config.clone();
    let buffers = &mut small.buffers;
    buffers.per_node.values_mut().chain([&mut buffers.per_numa]).for_each(|count| *count = FEW.min(*count));
    // A daemon that runs hands out its own.
    let unserved = Box::new(|_: Vec<BorrowedFd<'_>>| Ok(Box::new(()) as Box<dyn Any>));
    let (mut dataplane, workers) = match assemble_serving(small, plan, Recent::default(), unserved) {
        Ok(made) => made,
        Err(error) => return found.error(sentence(&error)),
    };
    make_all(&mut dataplane, source, found);
    dataplane.load_configured_plugins();
    // They hold what is closed with the dataplane.
    drop(workers);
}

fn make_all(dataplane: &mut Dataplane, source: &Source, found: &mut Findings) {
    let largest = dataplane.devices().largest_mtu_of_ports();
    let interfaces = dataplane.config().interfaces.clone();
    let complain = |found: &mut Findings, common: &Common, Misplaced { span, error }: Misplaced| {
        found.at(Some(source.position(span.unwrap_or(common.span).start)));
        found.error(format!("interface {}: {error}", common.name.as_str()));
    };
    // All are there before anything is said of one: they name each other, whatever their order.
    let mut made = Vec::new();
    for interface in &interfaces {
        let common = interface.common();
        match dataplane.create_stand_in(&common.name) {
            Ok(index) => made.push((index, common)),
            Err(error) => complain(found, common, error.into()),
        }
        if let Some(mtu) = common.mtu.filter(|mtu| u32::from(mtu.0) > largest)
            && interface.settings::<AfXdp>().is_some()
        {
            found.at(Some(source.position(common.span.start)));
            found.error(format!(
                "interface {}: mtu {}: expected 68 to {largest}",
                common.name.as_str(),
                mtu.0
            ));
        }
    }
    let all = dataplane.config().settings.clone();
    let judged = judge(dataplane, |dataplane, changes| startup::wanted(dataplane, changes, None, &all));
    if let Err(Misplaced { span, error }) = judged {
        found.at(span.map(|span| source.position(span.start)));
        found.error(format!("settings: {error}"));
    }
    for (index, common) in made {
        let judged =
            judge(dataplane, |dataplane, changes| startup::configure(dataplane, changes, common, index));
        judged.unwrap_or_else(|error| complain(found, common, error));
    }
    found.at(None);
}

/// Makes what a part of the file says.
fn judge(
    dataplane: &mut Dataplane,
    note: impl FnOnce(&Dataplane, &mut ChangeSet) -> Result<Vec<Span>, Misplaced>,
) -> Result<(), Misplaced> {
    let mut changes = ChangeSet::new(Owner::STARTUP);
    let places = note(dataplane, &mut changes)?;
    dataplane.change(&changes, Purpose::Make).map_err(|refused| startup::blame(&places, refused))
}
