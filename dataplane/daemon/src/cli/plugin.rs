// SPDX-License-Identifier: Apache-2.0
//! `plugin load|unload|reload|enable|disable`, `show plugins`, and the commands that plugins bring.

use serde::Serialize;
use serde_json::value::RawValue;
use weft_cli::{Args, Candidate, CliError, Command, Later, Reply};
use weft_plugin_host::health::Mode;
use weft_plugin_host::plugin::{Answer, CommandParts};

use super::table::{line, titles};
use super::{Column, doing, refused, showing};
use crate::plugins::Plugins;
use crate::plugins::PluginsError;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    let name = |dataplane: &Dataplane, words: &[&str]| match words {
        [] => dataplane.part::<Plugins>().names().map(|name| Candidate::new(name, "plugin")).collect(),
        _ => Vec::new(),
    };
    let change = |path: &str, change: fn(&mut Dataplane, &str) -> Result<(), PluginsError>| {
        doing(path, move |dataplane, args| {
            let name = args.word("plugin")?.to_owned();
            args.finish()?;
            change(dataplane, &name).map_err(refused)
        })
        .synopsis("<plugin>")
        .completer(name)
    };
    vec![
        Command::new("plugin load", |dataplane: &mut Dataplane, args: &mut Args<'_>| {
            let name = args.word("plugin")?.to_owned();
            args.finish()?;
            let loaded = dataplane.load_plugin(&name).map_err(refused)?;
            Ok(Reply::new(loaded, |names| names.iter().map(|name| format!("loaded {name}\n")).collect()))
        })
        .synopsis("<plugin>")
        .help("Load a plugin, and those that it depends on, from plugins { path }"),
        change("plugin unload", Dataplane::unload_plugin)
            .help("Take a plugin out of the graph and close it; packets go on without it"),
        change("plugin reload", Dataplane::reload_plugin)
            .help("Replace a plugin by what its file is now; it hands its state over"),
        change("plugin enable", |dataplane, name| dataplane.switch_plugin(name, true))
            .help("Let packets pass the nodes of a plugin again, also of one that has failed"),
        change("plugin disable", |dataplane, name| dataplane.switch_plugin(name, false))
            .help("Let packets go on without the nodes of a plugin, which stays loaded"),
        showing("show plugins", show).help("Plugins, also those that could not be loaded, and why"),
    ]
}

#[derive(Default, Serialize)]
struct View {
    name: String,
    version: String,
    abi_version: Option<u32>,
    state: &'static str,
    /// Why it is not running.
    reason: Option<String>,
    summary: String,
    file: Option<String>,
    depends: Vec<String>,
    nodes: Vec<String>,
    failures: u64,
    reloads: u64,
}

#[derive(Serialize)]
struct Views {
    path: Vec<String>,
    plugins: Vec<View>,
}

fn show(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    dataplane.hear_plugins();
    let loaded = dataplane.part::<Plugins>().loaded().iter().map(|loaded| {
        let (plugin, library) = (loaded.plugin(), &loaded.plugin().library);
        let failure = loaded.failure.as_ref();
        View {
            name: library.name.clone(),
            version: library.version.clone(),
            abi_version: Some(library.abi_version),
            state: match plugin.health.mode() {
                Mode::Running => "running",
                Mode::Disabled => "disabled",
                Mode::Failed => "failed",
            },
            reason: failure.map(|failure| format!("{}: {}", failure.place, failure.said)),
            summary: library.summary.clone(),
            file: Some(library.path.display().to_string()),
            depends: library.depends.clone(),
            nodes: plugin.nodes().to_vec(),
            failures: plugin.health.failures(),
            reloads: loaded.reloads,
        }
    });
    let refused = dataplane.part::<Plugins>().refused().iter().map(|(name, why)| View {
        name: name.clone(),
        state: "refused",
        reason: Some(why.clone()),
        ..View::default()
    });
    let path = dataplane.config().plugins.path.iter().map(|directory| directory.display().to_string());
    let views = Views { path: path.collect(), plugins: loaded.chain(refused).collect() };
    Ok(Reply::new(views, render))
}

const COLUMNS: &[Column<View>] = &[
    Column::left("Plugin", 17, |plugin| plugin.name.clone()),
    Column::left("Version", 12, |plugin| plugin.version.clone()),
    Column::left("State", 10, |plugin| plugin.state.to_owned()),
    Column::rest("Description", |plugin| plugin.summary.clone()),
];

fn render(views: &Views) -> String {
    let mut text = format!("Plugin path is: {}\n\n", views.path.join(":"));
    text += &titles(COLUMNS);
    for view in &views.plugins {
        text += &line(COLUMNS, view);
        if let Some(reason) = &view.reason {
            text += &format!("  {reason}\n");
        }
    }
    text
}

/// A command that a plugin brings. It holds nothing of the plugin but its name.
pub fn command(plugin: &str, parts: &CommandParts) -> Command<Dataplane> {
    let (plugin, path) = (plugin.to_owned(), parts.path.clone());
    Command::new(path.clone(), move |dataplane: &mut Dataplane, args: &mut Args<'_>| {
        let line = args.rest();
        let answer = dataplane.with_plugin(&plugin, |plugin, dataplane| plugin.run(dataplane, &path, line));
        reply(&plugin, &path, answer)
    })
    .synopsis(parts.synopsis.clone())
    .help(parts.help.clone())
}

/// Asks a plugin for an answer that was to come later.
pub fn later(dataplane: &mut Dataplane, later: &Later) -> Result<Reply, CliError> {
    let Later { of, command, name } = later;
    let answer = dataplane.with_plugin(of, |plugin, dataplane| plugin.later(dataplane, command, name));
    // Only the first answer has a name.
    reply(of, command, answer).map(|reply| match reply.is_later() {
        Some(_) => Reply::later(later.clone()),
        None => reply,
    })
}

/// Tells a plugin that nobody waits for an answer any more.
pub fn cancel(dataplane: &mut Dataplane, Later { of, command, name }: &Later) {
    dataplane.with_plugin(of, |plugin, dataplane| plugin.cancel(dataplane, command, name));
}

/// What a plugin has said; nothing if it is gone.
fn reply(plugin: &str, command: &str, answer: Option<Result<Answer, String>>) -> Result<Reply, CliError> {
    match answer.unwrap_or_else(|| Err(format!("plugin '{plugin}' is gone"))).map_err(refused)? {
        Answer::Now { text, json } if text.is_empty() && matches!(json.as_str(), "" | "null") => {
            Ok(Reply::empty())
        }
        Answer::Now { text, json } => {
            // A plugin that writes no JSON has its text in it.
            let json = RawValue::from_string(json)
                .or_else(|_| serde_json::value::to_raw_value(&text))
                .map_err(refused)?;
            Ok(Reply::new(json, move |_| text.clone()))
        }
        Answer::Later { name } => {
            Ok(Reply::later(Later { of: plugin.to_owned(), command: command.to_owned(), name }))
        }
    }
}
