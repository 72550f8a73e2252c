// SPDX-License-Identifier: Apache-2.0
//! Commands: a file per topic, each with the list of its own.
//!
//! Words and columns are VPP's where it has the command, since scripts read them; every answer is a value first, so
//! that `--json` says the same. A handler reads all its words, and only then does something.

mod api;
mod api_trace;
mod buffers;
mod classify;
mod clock;
pub(crate) mod create;
mod drops;
mod errors;
mod features;
mod flow;
mod hardware;
mod interface;
mod ip;
mod l2;
mod log;
mod node;
pub(crate) mod pcap;
pub(crate) mod pg;
pub(crate) mod plugin;
mod registries;
mod runtime;
mod script;
mod set;
pub(crate) mod settings;
mod stats;
mod table;
mod threads;
pub mod trace;
mod version;
mod vplaned;

use weft_cli::{Args, Atomic, Candidate, CliError, Command, CommandTree, End, Reply};
use weft_control::{ChangeSet, Owner, Purpose, Refused};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::Interface;

use self::table::{Column, center, centered, left, right, row, table, tabled};
use crate::ports::kinds;
use crate::state::Dataplane;

/// All commands.
pub fn tree() -> CommandTree<Dataplane> {
    let topics = [
        version::commands(),
        clock::commands(),
        interface::commands(),
        hardware::commands(),
        set::commands(),
        settings::commands(),
        ip::commands(),
        create::commands(),
        threads::commands(),
        buffers::commands(),
        runtime::commands(),
        script::commands(),
        errors::commands(),
        drops::commands(),
        node::commands(),
        features::commands(),
        registries::commands(),
        classify::commands(),
        classify::table_commands(),
        flow::commands(),
        l2::commands(),
        trace::commands(),
        pcap::commands(),
        plugin::commands(),
        log::commands(),
        stats::commands(),
        vplaned::commands(),
        api::commands(),
        api_trace::commands(),
    ];
    let mut tree = CommandTree::new();
    let devices = kinds().into_iter().flat_map(|kind| (kind.commands)());
    for command in topics.into_iter().flatten().chain(devices) {
        tree.add(command).expect("command paths are well-formed and differ (a test adds them all)");
    }
    tree.atomic(Atomic {
        collect: |dataplane, before| {
            let changes = match before.map(|before| before.downcast::<Paused>()) {
                Some(Ok(before)) if before.deletions == dataplane.interfaces().deletions() => before.changes,
                Some(_) => {
                    let why = "an interface was deleted while the file was being read: nothing is changed";
                    return Err(CliError::new(why));
                }
                None => ChangeSet::new(Owner::CLI),
            };
            dataplane.begin_collecting(changes);
            Ok(())
        },
        steps: |dataplane| dataplane.collected().map_or(0, ChangeSet::len),
        pause: |dataplane| {
            let changes = dataplane.end_collecting().unwrap_or_else(|| ChangeSet::new(Owner::CLI));
            Box::new(Paused { changes, deletions: dataplane.interfaces().deletions() })
        },
        end: |dataplane, end| {
            let changes = dataplane.end_collecting();
            let (purpose, changes) = match (end, changes) {
                (_, None) => return Ok(()),
                (End::Make, Some(changes)) => (Purpose::Make, changes),
                (End::Try, Some(changes)) => (Purpose::Try, changes),
            };
            dataplane.change(&changes, purpose).map_err(|refused| {
                let Refused { steps, general } = refused;
                let steps = steps.into_iter().map(|(step, error)| (Some(step), error));
                let all = steps.chain(general.map(|error| (None, error)));
                all.map(|(step, error)| (step, CliError::new(error))).collect()
            })
        },
    });
    tree
}

/// What the commands of a file would change, between two turns. It names interfaces by their indices, which others may have when
/// one was deleted; tables are looked at when it is made.
struct Paused {
    changes: ChangeSet,
    deletions: u64,
}

/// Takes the name of an interface, which may be one that the change creates.
pub(crate) fn interface(
    args: &mut Args<'_>,
    dataplane: &Dataplane,
    changes: &ChangeSet,
) -> Result<InterfaceIndex, CliError> {
    let find = |name: &str| changes.find_interface(dataplane, name).ok_or("there is no such interface");
    args.parse_with("interface", find)
}

/// Takes the name of an interface that is there.
pub(crate) fn present_interface(
    args: &mut Args<'_>,
    dataplane: &Dataplane,
) -> Result<InterfaceIndex, CliError> {
    args.parse_with("interface", |name| dataplane.interfaces().find(name).ok_or("there is no such interface"))
}

/// As [`present_interface`], but no word at all is fine too: for an argument at the end.
fn optional_interface(
    args: &mut Args<'_>,
    dataplane: &Dataplane,
) -> Result<Option<InterfaceIndex>, CliError> {
    let index = if args.is_empty() { None } else { Some(present_interface(args, dataplane)?) };
    args.finish()?;
    Ok(index)
}

/// A command about one interface, or about all.
fn of_interfaces(
    path: impl Into<String>,
    run: impl Fn(&mut Dataplane, Option<InterfaceIndex>) -> Result<Reply, CliError> + 'static,
) -> Command<Dataplane> {
    let command = Command::new(path, move |dataplane, args| {
        let only = optional_interface(args, dataplane)?;
        run(dataplane, only)
    });
    complete_interface(command, &[]).synopsis("[<interface>]")
}

/// Those that it is about, by name.
fn asked_for(dataplane: &Dataplane, only: Option<InterfaceIndex>) -> Vec<(InterfaceIndex, &Interface)> {
    let all = dataplane.interfaces().iter();
    let mut asked_for: Vec<_> = all.filter(|(index, _)| only.is_none_or(|only| only == *index)).collect();
    asked_for.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    asked_for
}

/// Takes the name of a node.
fn node(args: &mut Args<'_>, dataplane: &Dataplane) -> Result<weft_engine::NodeId, CliError> {
    args.parse_with("node", |name| dataplane.engine().graph().id(name).ok_or("there is no such node"))
}

/// Offers interfaces for the first argument, and the words of the synopsis after it.
pub(crate) fn complete_interface(
    command: Command<Dataplane>,
    keywords: &'static [&'static str],
) -> Command<Dataplane> {
    command.completer(move |dataplane, words| match words {
        [] => interface_names(dataplane),
        _ => keywords.iter().map(|word| Candidate::new(*word, "")).collect(),
    })
}

fn interface_names(dataplane: &Dataplane) -> Vec<Candidate> {
    dataplane.interfaces().iter().map(|(_, interface)| Candidate::new(&interface.name, "interface")).collect()
}

fn node_names(dataplane: &Dataplane) -> Vec<Candidate> {
    dataplane.engine().graph().nodes().map(|(_, node)| Candidate::new(&node.name, "node")).collect()
}

/// A number as the C library of VPP writes it: `8.14e0`.
fn scientific(value: f64, digits: usize) -> String {
    format!("{value:.digits$e}")
}

/// A command that has no arguments, and shows something.
fn showing(
    path: impl Into<String>,
    show: impl Fn(&mut Dataplane) -> Result<Reply, CliError> + 'static,
) -> Command<Dataplane> {
    Command::new(path, move |dataplane, args| {
        args.finish()?;
        show(dataplane)
    })
}

/// A command that has nothing to say when it is done.
pub(crate) fn doing(
    path: impl Into<String>,
    run: impl Fn(&mut Dataplane, &mut Args<'_>) -> Result<(), CliError> + 'static,
) -> Command<Dataplane> {
    Command::new(path, move |dataplane, args| run(dataplane, args).map(|()| Reply::empty()))
}

/// A command that changes what is configured. The handler only notes what is to be done.
fn change(
    path: impl Into<String>,
    handler: impl Fn(&Dataplane, &mut ChangeSet, &mut Args<'_>) -> Result<(), CliError> + 'static,
) -> Command<Dataplane> {
    note(path, move |dataplane, changes, args| handler(dataplane, changes, args).map(|()| Reply::empty()))
}

/// The same, with an answer for when it is done.
pub(crate) fn note(
    path: impl Into<String>,
    handler: impl Fn(&Dataplane, &mut ChangeSet, &mut Args<'_>) -> Result<Reply, CliError> + 'static,
) -> Command<Dataplane> {
    let run = move |dataplane: &mut Dataplane, args: &mut Args<'_>| {
        noted(dataplane, |dataplane, changes| handler(dataplane, changes, args))
    };
    Command::new(path, run).change()
}

/// Makes a change that is noted, or notes it among those of a file.
pub(crate) fn noted(
    dataplane: &mut Dataplane,
    note: impl FnOnce(&Dataplane, &mut ChangeSet) -> Result<Reply, CliError>,
) -> Result<Reply, CliError> {
    if dataplane.collected().is_some() {
        return dataplane.collect(note);
    }
    let mut changes = ChangeSet::new(Owner::CLI);
    let reply = note(dataplane, &mut changes)?;
    dataplane.change(&changes, Purpose::Make).map_err(refused)?;
    Ok(reply)
}

/// Any error of another crate, as that of a command.
pub(crate) fn refused(error: impl ToString) -> CliError {
    CliError::new(error)
}

#[cfg(test)]
mod tests;
