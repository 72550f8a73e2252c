// SPDX-License-Identifier: Apache-2.0
//! Plugins: which are loaded, in which order, and how they come and go while packets flow.
//!
//! What a plugin is, the crate `weft-plugin-host` knows. Here is the life of all of them together: a plugin is loaded
//! after those that it depends on and unloaded before them. Coming, going and being replaced is one change for a worker
//! each, so that no packet is lost and none passes between the old and the new.
//!
//! Main thread only. While a plugin is being called, it stands in no list: `Dataplane::with_plugin` takes it out, so
//! that the plugin can be given the whole dataplane.

mod api;
mod order;
mod rules;
mod search;
mod settings;
pub mod watch;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use weft_binapi::message::ModuleInfo;
use weft_binapi::server::Definitions;
use weft_control::Setting;
use weft_plugin_host::health::{Failure, Mode};
use weft_plugin_host::{Event, Host, Library, Plugin, PluginError};

use crate::cli;
use crate::state::{Dataplane, PATIENCE};
use crate::subsystem::Subsystem;

pub use order::OrderError;
pub use search::SearchError;

/// Why a command about plugins is refused.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// No such file, or one that is not trusted.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Dependencies.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The plugin itself.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It is there.
    #[error("plugin '{0}' is loaded already")]
    Loaded(String),
    /// It is not there.
    #[error("plugin '{0}' is not loaded")]
    NotLoaded(String),
    /// Others need it.
    #[error("plugin '{needed}' cannot go: plugin '{by}' depends on it")]
    Needed {
        /// The one that should go.
        needed: String,
        /// One that stays.
        by: String,
    },
    /// Commands collide.
    #[error("plugin '{0}': {1}")]
    Command(String, weft_cli::tree::RegisterError),
    /// Commands of vplaned collide.
    #[error("plugin '{plugin}' takes vplaned's command '{message}', and so does plugin '{by}'")]
    Taken {
        /// The new one.
        plugin: String,
        /// The command.
        message: String,
        /// The one that takes it already.
        by: String,
    },
    /// What is wrong with messages of the binary API.
    #[error("plugin '{plugin}' {problem}")]
    Api {
        /// The plugin.
        plugin: String,
        /// What.
        problem: String,
    },
    /// More messages were defined than there are numbers for them.
    #[error(transparent)]
    Ids(#[from] weft_binapi::server::Full),
    /// What is wrong with its settings.
    #[error("plugin '{0}': {1}")]
    Setting(String, weft_control::settings::DeclarationError),
    /// Its rules cannot have effect.
    #[error("plugin '{0}': {1:#}")]
    Rules(String, anyhow::Error),
    /// A worker is late. It ends all the same.
    #[error(
        "plugin '{0}' has left the graph, but a worker has not passed by yet; it is closed when that worker has"
    )]
    Leaving(String),
}

/// A loaded plugin.
pub struct Loaded {
    plugin: Plugin,
    /// What it defines of the binary API.
    modules: Vec<&'static ModuleInfo>,
    /// Of its file, when it was read.
    modified: Option<SystemTime>,
    /// The last one.
    pub failure: Option<Failure>,
    /// Times that it was replaced.
    pub reloads: u64,
}

impl Loaded {
    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }
}

/// All plugins.
#[derive(Default)]
pub struct Plugins {
    host: Host,
    /// In the order of loading.
    loaded: Vec<Loaded>,
    /// Out of the graph, but something still holds them.
    leaving: Vec<Plugin>,
    /// Why files were not loaded, by name; until they are.
    refused: BTreeMap<String, String>,
    /// Of messages that plugins have brought.
    definitions: Definitions,
    /// Files whose change was seen in the last look: they may still be written to.
    changing: BTreeMap<String, SystemTime>,
    /// Names of all that were ever loaded: each has a number, as an owner of what it wants.
    numbers: Vec<String>,
}

impl Subsystem for Plugins {}

impl Plugins {
    /// Loaded plugins, in the order of loading.
    pub fn loaded(&self) -> &[Loaded] {
        &self.loaded
    }

    /// Plugins that are not loaded, and why.
    pub fn refused(&self) -> &BTreeMap<String, String> {
        &self.refused
    }

    /// Names of loaded plugins.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(|loaded| loaded.plugin.library.name.as_str())
    }

    /// The plugin that takes a command of vplaned.
    pub fn taker(&self, message: &str) -> Option<&str> {
        let takes = |loaded: &&Loaded| loaded.plugin.messages().any(|name| name == message);
        self.loaded.iter().find(takes).map(|loaded| loaded.plugin.library.name.as_str())
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names().position(|known| known == name)
    }

    /// What a trace has kept in a node of a plugin, if the plugin prints it.
    pub fn trace(&self, node: &str, record: &weft_engine::trace::TraceRecord) -> Option<String> {
        self.loaded.iter().find_map(|loaded| loaded.plugin.trace(node, record))
    }
}

impl Dataplane {
    /// Loads a plugin and those that it depends on; returns the names of what came.
    pub fn load_plugin(&mut self, name: &str) -> Result<Vec<String>, PluginsError> {
        let name = search::stem(name);
        let loaded = self.load_all(&name);
        match &loaded {
            Ok(names) => names.iter().for_each(|name| drop(self.part_mut::<Plugins>().refused.remove(name))),
            Err(PluginsError::Loaded(_)) => {}
            Err(error) => drop(self.part_mut::<Plugins>().refused.insert(name, error.to_string())),
        }
        loaded
    }

    fn load_all(&mut self, name: &str) -> Result<Vec<String>, PluginsError> {
        if self.part::<Plugins>().place(name).is_some() {
            return Err(PluginsError::Loaded(name.to_owned()));
        }
        let libraries = order::resolve(
            name,
            |name| self.part::<Plugins>().place(name).is_some(),
            |name| Ok(Library::open(&search::find(&self.config().plugins.path, name)?)?),
        )?;
        let mut names = Vec::new();
        for library in libraries {
            let name = library.name.clone();
            self.start_plugin(library)?;
            names.push(name);
        }
        Ok(names)
    }

    fn start_plugin(&mut self, library: Library) -> Result<(), PluginsError> {
        let modified = modified(&library.path);
        let mut plugin = self.started(library)?;
        let modules = self.check_messages(&plugin)?;
        let settings = self.settings_of(&plugin)?;
        plugin.make_counters(self.engine_mut(), None)?;
        let (Plugins { host, .. }, control) = self.part_and_control();
        let engine = control.engine_mut();
        if let Err(error) = engine.at_once(|engine| plugin.install(host, engine)) {
            plugin.remove_counters(engine, None);
            self.end(plugin);
            return Err(error.into());
        }
        let name = plugin.library.name.clone();
        if let Err(error) = self.set_plugin_rules(&name, plugin.rules()) {
            self.remove(plugin);
            return Err(PluginsError::Rules(name, error));
        }
        self.tell_values(&plugin, &settings);
        self.part_mut::<Plugins>().loaded.push(Loaded {
            plugin,
            modules,
            modified,
            failure: None,
            reloads: 0,
        });
        self.adopt_settings(&name, settings.clone());
        if let Err(error) = self.publish() {
            if let Some(Loaded { plugin, .. }) = self.part_mut::<Plugins>().loaded.pop() {
                self.remove(plugin);
            }
            if let Err(error) = self.publish() {
                tracing::error!("plugins: {error}");
            }
            return Err(error);
        }
        self.want_configured(&settings);
        Ok(())
    }

    /// Nobody else takes the messages that a plugin takes; one that it is to replace does not count.
    fn check_messages(&mut self, plugin: &Plugin) -> Result<Vec<&'static ModuleInfo>, PluginsError> {
        let name = &plugin.library.name;
        let taken = |message: &str| {
            let by = self.part::<Plugins>().taker(message).filter(|by| by != name)?;
            Some(PluginsError::Taken { plugin: name.clone(), message: message.to_owned(), by: by.to_owned() })
        };
        match plugin.messages().find_map(taken) {
            Some(error) => Err(error),
            None => self.check_api(plugin),
        }
    }

    /// Has a plugin register what it has.
    fn started(&mut self, library: Library) -> Result<Plugin, PluginError> {
        let configuration = self.config().plugins.sections.get(&library.name).cloned().unwrap_or_default();
        let main = self.waker().clone();
        Plugin::start(library, self, &configuration, main)
    }

    /// Unloads a plugin: its features are off, its nodes gone, its library closed.
    pub fn unload_plugin(&mut self, name: &str) -> Result<(), PluginsError> {
        let Some(place) = self.part::<Plugins>().place(name) else {
            // Whoever unloads a plugin that was refused does not want to hear of it any more.
            return match self.part_mut::<Plugins>().refused.remove(name) {
                Some(_) => Ok(()),
                None => Err(PluginsError::NotLoaded(name.to_owned())),
            };
        };
        let by = self.part::<Plugins>().loaded.iter().map(|loaded| &loaded.plugin.library);
        if let Some(by) = by.clone().find(|library| library.depends.iter().any(|needed| needed == name)) {
            return Err(PluginsError::Needed { needed: name.to_owned(), by: by.name.clone() });
        }
        let Loaded { plugin, .. } = self.part_mut::<Plugins>().loaded.remove(place);
        self.adopt_settings(name, Vec::new());
        let published = self.publish();
        debug_assert!(published.is_ok(), "fewer commands do not collide, fewer messages need no ids");
        if self.remove(plugin) { Ok(()) } else { Err(PluginsError::Leaving(name.to_owned())) }
    }

    /// Takes a plugin out of the graph and ends it; says whether that is done already.
    fn remove(&mut self, mut plugin: Plugin) -> bool {
        self.engine_mut().at_once(|engine| plugin.leave(engine));
        self.forget_plugin(&plugin.library.name);
        self.adopt_settings(&plugin.library.name, Vec::new());
        plugin.remove_counters(self.engine_mut(), None);
        self.end(plugin)
    }

    /// Ends a plugin that is out of the graph, when nobody holds anything of it any more.
    fn end(&mut self, plugin: Plugin) -> bool {
        let idle = self.settle(PATIENCE, |dataplane| {
            dataplane.part::<Plugins>().host.retire();
            plugin.is_idle()
        });
        if !idle {
            self.part_mut::<Plugins>().leaving.push(plugin);
        }
        idle
    }

    /// Unloads all plugins, last loaded first.
    pub fn unload_all_plugins(&mut self) {
        while let Some(Loaded { plugin, .. }) = self.part_mut::<Plugins>().loaded.pop() {
            self.remove(plugin);
        }
    }

    /// Replaces a plugin by what its file is now. Its features stay enabled where they are, and its state is handed over.
    pub fn reload_plugin(&mut self, name: &str) -> Result<(), PluginsError> {
        let place =
            self.part::<Plugins>().place(name).ok_or_else(|| PluginsError::NotLoaded(name.to_owned()))?;
        let path = self.part::<Plugins>().loaded[place].plugin.library.path.clone();
        let modified = modified(&path);
        let library = Library::open(&path)?;
        order::check(&library, |name| self.part::<Plugins>().place(name).is_some_and(|other| other < place))?;
        let mut new = self.started(library)?;
        let modules = self.check_messages(&new)?;
        let settings = self.settings_of(&new)?;
        let known: Vec<_> = self.known_settings().collect();
        let mut old = self.part_mut::<Plugins>().loaded.remove(place);
        match self.replace(&mut old.plugin, &mut new, place, &settings) {
            Ok(()) => {
                let reloads = old.reloads + 1;
                let new = Loaded { plugin: new, modules, modified, failure: None, reloads };
                self.part_mut::<Plugins>().loaded.insert(place, new);
                self.forget_lost_features();
                self.adopt_settings(name, settings.clone());
            }
            Err(error) => {
                old.modified = modified;
                self.part_mut::<Plugins>().loaded.insert(place, old);
                self.end(new);
                return Err(error);
            }
        }
        if let Err(error) = self.publish() {
            tracing::error!("{error}");
        }
        let is_new = |setting: &&'static Setting| !known.iter().any(|known| std::ptr::eq(*known, *setting));
        self.want_configured(&settings.into_iter().filter(is_new).collect::<Vec<_>>());
        self.end(old.plugin);
        Ok(())
    }

    /// Puts `new` in the place of `old`; on an error all is as it was. Plugins after `place` may have edges to its nodes:
    /// those that depend on it are wired again.
    fn replace(
        &mut self,
        old: &mut Plugin,
        new: &mut Plugin,
        place: usize,
        settings: &[&'static Setting],
    ) -> Result<(), PluginsError> {
        // A plugin that has failed may have left anything in its state.
        if old.health.mode() != Mode::Failed
            && let Some(state) = old.export(self)?
        {
            new.import(self, &state)?;
        }
        self.tell_values(new, settings);
        new.make_counters(self.engine_mut(), Some(old))?;
        let name = old.library.name.clone();
        let owner = self.plugin_owner(&name);
        let rules = self.rule_sets_of(owner);
        if let Err(error) = self.set_plugin_rules(&name, new.rules()) {
            new.remove_counters(self.engine_mut(), Some(old));
            return Err(PluginsError::Rules(name, error));
        }
        let (Plugins { host, loaded, .. }, control) = self.part_and_control();
        let engine = control.engine_mut();
        let replaced = engine.at_once(|engine| {
            let depend = |loaded: &&mut Loaded| loaded.plugin.library.depends.contains(&name);
            let mut others: Vec<_> =
                loaded[place..].iter_mut().filter(depend).map(|loaded| &mut loaded.plugin).collect();
            let left: Vec<_> = others.iter_mut().map(|other| other.leave(engine)).collect();
            let enabled = old.leave(engine);
            let replaced = match new.install(host, engine) {
                Ok(()) => {
                    new.enable(engine, enabled);
                    Ok(())
                }
                Err(error) => {
                    back(old, host, engine);
                    old.enable(engine, enabled);
                    Err(error)
                }
            };
            for (other, enabled) in others.into_iter().zip(left) {
                back(other, host, engine);
                other.enable(engine, enabled);
            }
            replaced
        });
        match replaced {
            Ok(()) => old.remove_counters(engine, Some(new)),
            Err(_) => {
                new.remove_counters(engine, Some(old));
                let undone = self.set_plugin_rules(&name, &rules);
                debug_assert!(undone.is_ok(), "what was in effect fits: {:?}", undone.err());
            }
        }
        Ok(replaced?)
    }

    /// Lets packets pass the nodes of a plugin, or go on without them.
    pub fn switch_plugin(&mut self, name: &str, on: bool) -> Result<(), PluginsError> {
        let place =
            self.part::<Plugins>().place(name).ok_or_else(|| PluginsError::NotLoaded(name.to_owned()))?;
        let loaded = &mut self.part_mut::<Plugins>().loaded[place];
        let missed = on && loaded.plugin.health.mode() == Mode::Failed;
        loaded.plugin.health.set(if on { Mode::Running } else { Mode::Disabled });
        if on {
            loaded.failure = None;
        }
        if missed {
            self.tell_all_values(name);
        }
        Ok(())
    }

    /// Loads what `plugins { ... }` asks for. A plugin that cannot be loaded is in the log and in `show plugins`.
    pub fn load_configured_plugins(&mut self) {
        let (found, refused) = search::all(&self.config().plugins);
        for error in refused {
            tracing::error!("plugins: {error}");
        }
        for name in search::unknown(&self.config().plugins) {
            tracing::warn!(
                "plugins {{ plugin {name} }} has no effect: there is no such plugin in plugins {{ path }}"
            );
        }
        for name in found {
            match self.load_plugin(&name) {
                // It came with another one, which depends on it.
                Ok(_) | Err(PluginsError::Loaded(_)) => {}
                Err(error) => tracing::error!("plugin {name} is not loaded: {error}"),
            }
        }
        self.warn_of_unknown_settings();
    }

    /// Tells all plugins what becomes of interfaces and tables.
    pub(crate) fn tell_plugins(&mut self, event: Event) {
        let names: Vec<String> = self.part::<Plugins>().names().map(str::to_owned).collect();
        for name in names {
            self.with_plugin(&name, |plugin, dataplane| plugin.hear(dataplane, event));
        }
    }

    /// Works with a plugin that is given the dataplane.
    pub(crate) fn with_plugin<R>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Plugin, &mut Dataplane) -> R,
    ) -> Option<R> {
        let place = self.part::<Plugins>().place(name)?;
        let mut loaded = self.part_mut::<Plugins>().loaded.remove(place);
        let result = work(&mut loaded.plugin, self);
        self.part_mut::<Plugins>().loaded.insert(place, loaded);
        Some(result)
    }

    /// Makes the command tree anew, with the commands of the plugins that are loaded, and tells clients of the binary API
    /// of the messages of these.
    fn publish(&mut self) -> Result<(), PluginsError> {
        let mut tree = cli::tree();
        for Loaded { plugin, .. } in &self.part::<Plugins>().loaded {
            let own = plugin.commands().iter();
            let own = own.map(|command| cli::plugin::command(&plugin.library.name, command));
            let settings = self.known_settings();
            let settings = settings.filter(|setting| setting.plugin() == Some(&plugin.library.name));
            for command in own.chain(settings.flat_map(cli::settings::commands_of)) {
                let added = tree.add(command);
                added.map_err(|error| PluginsError::Command(plugin.library.name.clone(), error))?;
            }
        }
        self.publish_api()?;
        self.set_commands(tree);
        Ok(())
    }
}

/// A plugin that was in the graph comes back.
fn back(plugin: &mut Plugin, host: &mut Host, engine: &mut weft_engine::Engine) {
    if let Err(error) = plugin.install(host, engine) {
        plugin.health.fail(Failure {
            place: "its return into the graph".to_owned(),
            thread: weft_engine::ThreadIndex(0),
            said: error.to_string(),
        });
    }
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|found| found.modified()).ok()
}
