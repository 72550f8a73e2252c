// SPDX-License-Identifier: Apache-2.0
//! Why a plugin is not loaded. Each is a sentence that an operator can act on.

use std::path::PathBuf;

use weft_engine::feature::FeatureError;
use weft_engine::graph::GraphError;
use weft_plugin_sdk::abi;
use weft_stats::StatsError;

use crate::elf::ElfError;

/// Why a plugin cannot be what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Said by the system.
        error: std::io::Error,
    },
    /// It is a directory, a FIFO, a device, or longer than any plugin.
    #[error(transparent)]
    File(#[from] weft_background::file::FileError),
    /// Somebody else's.
    #[error("{path} belongs to user {uid}, expected root or the user that Weft runs as", path = path.display())]
    Owner {
        /// The file or its directory.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others can replace it.
    #[error(
        "{path} can be written by others than its owner (mode {mode:04o}), and what is loaded runs with all rights of \
         Weft: chmod go-w", path = path.display()
    )]
    Writable {
        /// The file or its directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a library for this machine.
    #[error("{path}: {error}", path = path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ElfError,
    },
    /// The dynamic linker refuses.
    #[error("{path} cannot be loaded: {reason}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Said by the linker.
        reason: String,
    },
    /// Not a plugin.
    #[error("{} is no plugin of Weft: it exports no 'weft_plugin'", .0.display())]
    NoDescriptor(PathBuf),
    /// Not a plugin either.
    #[error("{}: 'weft_plugin' is not the descriptor of a plugin of Weft: its magic number is {:#018x}", .0.display(), .1)]
    Magic(PathBuf, u64),
    /// Too old or too new.
    #[error(
        "{path} was built for version {found} of the plugin ABI, and this Weft has version {expected}: build it with this \
         Weft's headers", path = path.display(), expected = abi::ABI_VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Of the plugin.
        found: u32,
    },
    /// Of the same version, which promises nothing yet.
    #[error(
        "{path} was built with other headers of version {version} of the plugin ABI: their fingerprint is {found:#x}, \
         expected {expected:#x}: build it with this Weft's headers",
        path = path.display(), version = abi::ABI_VERSION, expected = abi::ABI_FINGERPRINT
    )]
    Fingerprint {
        /// The file.
        path: PathBuf,
        /// Of the plugin.
        found: u64,
    },
    /// A plugin in a file of another name, by which nothing would find it.
    #[error("{path} holds the plugin '{name}': rename the file to {name}.so", path = path.display())]
    FileName {
        /// The file.
        path: PathBuf,
        /// The plugin.
        name: String,
    },
    /// The descriptor makes no sense.
    #[error("{path}: the descriptor is damaged: {problem}", path = path.display())]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The plugin itself says no, or does something that cannot be.
    #[error("plugin '{plugin}' does not start: {said}")]
    Init {
        /// Its name.
        plugin: String,
        /// Why.
        said: String,
    },
    /// Code of the plugin has panicked.
    #[error("plugin '{plugin}' has failed {during}: {said}")]
    Panicked {
        /// Its name.
        plugin: String,
        /// What it was doing.
        during: &'static str,
        /// What the panic said.
        said: String,
    },
    /// The state of the one before does not do.
    #[error("plugin '{plugin}' does not take over the state of the one before: {said}")]
    Import {
        /// Its name.
        plugin: String,
        /// Why.
        said: String,
    },
    /// A node cannot join the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A feature cannot be.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A counter cannot be.
    #[error("no counter for plugin '{plugin}': {error}")]
    Stats {
        /// Its name.
        plugin: String,
        /// Why.
        error: StatsError,
    },
}
