// SPDX-License-Identifier: Apache-2.0
//! Where the files of plugins are: `<name>.so` in the directories of `plugins { path }`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use weft_plugin_host::{PluginError, image};

use crate::config::plugins::{Plugins, Switch};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// In no directory.
    #[error("there is no {name}.so in {path}")]
    NotFound {
        /// The plugin.
        name: String,
        /// Where it was looked for.
        path: String,
    },
    /// A name is no path.
    #[error("expected the name of a plugin, found {0:?}; plugins are looked for in plugins {{ path }}")]
    Name(String),
    /// Others can write there.
    #[error(transparent)]
    Directory(PluginError),
}

/// The name of a plugin, given as such or as that of its file.
pub fn stem(name: &str) -> String {
    name.strip_suffix(".so").unwrap_or(name).to_owned()
}

/// The file of a plugin.
pub fn find(path: &[PathBuf], name: &str) -> Result<PathBuf, SearchError> {
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(SearchError::Name(name.to_owned()));
    }
    let Some(directory) = path.iter().find(|directory| file(directory, name).exists()) else {
        let path: Vec<_> = path.iter().map(|directory| directory.display().to_string()).collect();
        return Err(SearchError::NotFound { name: name.to_owned(), path: path.join(", ") });
    };
    trusted(directory)?;
    Ok(file(directory, name))
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.so"))
}

/// Whoever can write into the directory can replace a file that is trusted.
fn trusted(directory: &Path) -> Result<(), SearchError> {
    let found = fs::metadata(directory)
        .map_err(|error| PluginError::Read { path: directory.to_owned(), error })
        .map_err(SearchError::Directory)?;
    image::trusted(directory, &found).map_err(SearchError::Directory)
}

/// The names of all plugins that the settings want loaded, and why directories are left out. One that is not there is
/// none.
pub fn all(settings: &Plugins) -> (BTreeSet<String>, Vec<SearchError>) {
    let (mut names, mut refused) = (BTreeSet::new(), Vec::new());
    for directory in settings.path.iter().filter(|directory| directory.exists()) {
        if let Err(error) = trusted(directory) {
            refused.push(error);
            continue;
        }
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let files = files.filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(files.filter(|file| wanted(settings, file)).map(|file| stem(&file)));
    }
    (names, refused)
}

/// The name that VPP gives to the file of a plugin: `acl_plugin.so` for `acl`.
fn vpp_stem(name: &str) -> String {
    let name = stem(name);
    name.strip_suffix("_plugin").map_or(name.clone(), str::to_owned)
}

/// Entries of the settings that name no plugin, by whatever spelling.
pub fn unknown(settings: &Plugins) -> Vec<&str> {
    let files = settings.path.iter().flat_map(fs::read_dir).flatten().flatten();
    let files: BTreeSet<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let known =
        |name: &str| [stem(name), vpp_stem(name)].iter().any(|name| files.contains(&format!("{name}.so")));
    settings.plugins.keys().map(String::as_str).filter(|name| !known(name)).collect()
}

fn wanted(settings: &Plugins, file: &str) -> bool {
    let name = stem(file);
    let exact = settings.plugins.get(file).or_else(|| settings.plugins.get(&name));
    let by_vpp =
        || settings.plugins.iter().find(|(named, _)| vpp_stem(named) == name).map(|(_, switch)| switch);
    let switch = exact.or_else(by_vpp);
    file.ends_with(".so")
        && settings.name_filter.as_ref().is_none_or(|filter| file.contains(filter))
        && switch.map_or(settings.enabled, |switch| *switch == Switch::Enable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_the_names_of_vpps_files_too() {
        let folder = std::env::temp_dir().join(format!("weft-plugins-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for file in ["acl.so", "ping.so", "policer.so"] {
            fs::write(folder.join(file), "").unwrap();
        }
        let switches = [
            ("acl_plugin.so", Switch::Disable),
            ("ping", Switch::Disable),
            ("dpdk_plugin.so", Switch::Disable),
        ];
        let settings = Plugins {
            path: vec![folder.clone()],
            plugins: switches.map(|(name, switch)| (name.to_owned(), switch)).into(),
            ..Plugins::default()
        };
        assert_eq!(all(&settings).0, BTreeSet::from(["policer".to_owned()]));
        assert_eq!(unknown(&settings), ["dpdk_plugin.so"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
