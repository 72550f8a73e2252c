// SPDX-License-Identifier: Apache-2.0
//! What plugins need from time to time: their timers, a look at those that fail or hang, and at files that have changed.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use weft_engine::ThreadIndex;
use weft_plugin_host::health::Failure;

use super::modified;
use crate::main_loop::Main;
use crate::plugins::Plugins;
use crate::state::Dataplane;

/// How long the main loop sleeps at most before it looks for timers that have come with a new plugin.
const LOOK: Duration = Duration::from_millis(100);
/// No shorter, so that a plugin cannot keep the main thread busy.
const SHORTEST: Duration = Duration::from_millis(5);

/// Runs the timers of plugins.
pub async fn tick(main: Main) {
    loop {
        let due = main.look(Dataplane::next_plugin_timer);
        let left = due.map_or(LOOK, |due| due.saturating_duration_since(Instant::now()));
        sleep(left.clamp(SHORTEST, LOOK)).await;
        if due.is_some_and(|due| due <= Instant::now()) {
            main.with(Dataplane::tick_plugins);
        }
    }
}

impl Dataplane {
    fn next_plugin_timer(&self) -> Option<Instant> {
        self.part::<Plugins>().loaded.iter().filter_map(|loaded| loaded.plugin.next_due()).min()
    }

    fn tick_plugins(&mut self) {
        let now = Instant::now();
        let due = |name: &(String, Option<Instant>)| name.1.is_some_and(|due| due <= now);
        let all = self.part::<Plugins>().loaded.iter();
        let all = all.map(|loaded| (loaded.plugin.library.name.clone(), loaded.plugin.next_due()));
        for (name, _) in all.filter(due).collect::<Vec<_>>() {
            self.with_plugin(&name, |plugin, dataplane| plugin.tick(dataplane, now));
        }
    }

    /// Hears of failures.
    pub fn hear_plugins(&mut self) {
        for loaded in &mut self.part_mut::<Plugins>().loaded {
            for failure in loaded.plugin.health.news() {
                let Failure { place, thread, said } = &failure;
                let name = &loaded.plugin.library.name;
                tracing::error!(
                    "plugin {name} has failed in {place} on thread {thread}: {said}; packets go on without it"
                );
                loaded.failure = Some(failure);
            }
        }
    }

    /// Looks for calls that do not return, for plugins that can be closed by now, and for changed files.
    pub fn watch_plugins(&mut self) {
        self.part::<Plugins>().host.retire();
        self.part_mut::<Plugins>().leaving.retain(|plugin| !plugin.is_idle());
        let limit = self.engine().clock.clocks(self.config().plugins.runaway);
        for loaded in &self.part::<Plugins>().loaded {
            let plugin = &loaded.plugin;
            for (node, thread) in plugin.overdue(self.engine().clock.now(), limit) {
                if plugin.health.runs() {
                    plugin.health.fail(Failure {
                        place: format!("node {node}"),
                        thread,
                        said: format!(
                            "a vector has taken more than {} ms, and the worker waits for it",
                            self.config().plugins.runaway.as_millis()
                        ),
                    });
                }
            }
        }
        self.hear_plugins();
        if self.config().plugins.auto_reload {
            self.reload_changed_plugins();
        }
    }

    fn reload_changed_plugins(&mut self) {
        let plugins = self.part_mut::<Plugins>();
        let mut ready = Vec::new();
        for loaded in &plugins.loaded {
            let library = &loaded.plugin.library;
            let Some(now) = modified(&library.path).filter(|now| Some(*now) != loaded.modified) else {
                plugins.changing.remove(&library.name);
                continue;
            };
            // Whoever writes the file may not have finished: it must look the same twice.
            if plugins.changing.insert(library.name.clone(), now) == Some(now) {
                ready.push(library.name.clone());
            }
        }
        for name in ready {
            self.part_mut::<Plugins>().changing.remove(&name);
            match self.reload_plugin(&name) {
                Ok(()) => tracing::info!("plugin {name}: its file has changed, and it was reloaded"),
                Err(error) => {
                    tracing::error!("plugin {name} is not reloaded, though its file has changed: {error}");
                    self.forget_change(&name);
                }
            }
        }
    }

    /// A file that was refused is tried again only when it changes again.
    fn forget_change(&mut self, name: &str) {
        if let Some(place) = self.part::<Plugins>().place(name) {
            let loaded = &mut self.part_mut::<Plugins>().loaded[place];
            loaded.modified = modified(&loaded.plugin.library.path);
            loaded.failure.get_or_insert_with(|| Failure {
                place: "the reload".to_owned(),
                thread: ThreadIndex(0),
                said: "its changed file was refused; see the log".to_owned(),
            });
        }
    }
}
