// SPDX-License-Identifier: Apache-2.0
//! `plugins { ... }`: where plugins are and which of them are loaded.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::words::{Key, ignored, key, set, set_some};

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugins {
    /// Directories, in the order of search.
    pub path: Vec<PathBuf>,
    /// Only files with this in their name.
    pub name_filter: Option<String>,
    /// Whether a plugin is loaded that has no entry of its own.
    pub enabled: bool,
    /// By name, or by that of the file: `acl` or `acl.so`. Names that do not exist are no error.
    pub plugins: BTreeMap<String, Switch>,
    /// Whether a plugin whose file has changed is reloaded.
    pub auto_reload: bool,
    /// How long a plugin may take for a vector.
    pub runaway: Duration,
    /// By name, the words of a plugin's own section.
    pub sections: BTreeMap<String, String>,
}

impl Plugins {
    /// Whether a plugin of that name has an entry, and thus may have a section of its own.
    pub fn names(&self, name: &str) -> bool {
        self.plugins.contains_key(name) || self.plugins.contains_key(&format!("{name}.so"))
    }
}

/// Whether a plugin is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    Enable,
    Disable,
}

const OWN_HANDSHAKE: &str = "a plugin of another version is never loaded";

pub(super) const KEYS: &[Key<Plugins>] = &[
    key("path", |plugins, words| {
        set(&mut plugins.path, words.word("path").map(|word| directories(&word.text)))
    }),
    key("add-path", |plugins, words| {
        plugins.path.extend(words.word("path").map(|word| directories(&word.text))?);
        Ok(())
    }),
    key("name-filter", |plugins, words| {
        set_some(&mut plugins.name_filter, words.word("part of a name").map(|word| word.text.clone()))
    }),
    key("plugin", |plugins, words| {
        let name = words.word("plugin")?.text.clone();
        let mut switch = None;
        words.group("plugin")?.read(PLUGIN_KEYS, &mut switch);
        match (name.as_str(), switch) {
            (_, None) => {}
            ("default", Some(switch)) => plugins.enabled = switch == Switch::Enable,
            (_, Some(switch)) => {
                plugins.plugins.insert(name, switch);
            }
        }
        Ok(())
    }),
    key("auto-reload", |plugins, words| {
        set(&mut plugins.auto_reload, words.one_of(&[("on", true), ("off", false)]))
    }),
    key("runaway", |plugins, words| {
        let milliseconds = words.number("milliseconds", 10..=60_000)?;
        set(&mut plugins.runaway, Ok(Duration::from_millis(milliseconds)))
    }),
    ignored("vat-path", 1, "Weft has no API test plugins"),
    ignored("vat-name-filter", 1, "Weft has no API test plugins"),
];

const PLUGIN_KEYS: &[Key<Option<Switch>>] = &[
    key("enable", |switch, _| set(switch, Ok(Some(Switch::Enable)))),
    key("disable", |switch, _| set(switch, Ok(Some(Switch::Disable)))),
    ignored("skip-version-check", 0, OWN_HANDSHAKE),
];

/// `a:b:c`
fn directories(text: &str) -> Vec<PathBuf> {
    text.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect()
}
