// SPDX-License-Identifier: Apache-2.0
//! `vplaned { ... }`: the controller that drives Weft. Without the section there is none.
//!
//! What the section does not say is taken from the files of a vplaned installation, if they are named, and then from the
//! defaults, which are those of a local vplaned.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use weft_vplaned::config::{ConfigError, Draft, Settings};
use weft_vplaned::types::DataplaneId;

use super::diagnostic::Diagnostic;
use super::words::{Key, Words, key, set_some};

/// The section, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vplaned {
    /// Values of the section itself.
    pub draft: Draft,
    /// `/etc/vyatta/dataplane.conf` or another file like it.
    pub dataplane_config: Option<PathBuf>,
    /// `/etc/vyatta/controller.conf` or another file like it.
    pub controller_config: Option<PathBuf>,
}

impl Vplaned {
    /// What it comes to, its files included.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut draft = self.draft.clone();
        if let Some(path) = &self.dataplane_config {
            draft.read_dataplane(path)?;
        }
        if let Some(path) = &self.controller_config {
            draft.read_controller(path)?;
        }
        draft.settle()
    }
}

pub(super) const KEYS: &[Key<Vplaned>] = &[
    key("dataplane-config", |vplaned, words| set_some(&mut vplaned.dataplane_config, words.path())),
    key("controller-config", |vplaned, words| set_some(&mut vplaned.controller_config, words.path())),
    key("request", |vplaned, words| set_some(&mut vplaned.draft.request, words.value(ENDPOINT, str::parse))),
    key("controller-address", |vplaned, words| set_some(&mut vplaned.draft.controller, address(words))),
    key("address", |vplaned, words| set_some(&mut vplaned.draft.address, address(words))),
    key("uuid", |vplaned, words| set_some(&mut vplaned.draft.uuid, words.value("UUID", str::parse))),
    key("dataplane-id", |vplaned, words| {
        set_some(&mut vplaned.draft.dataplane, words.number("number", 0..=u16::MAX).map(DataplaneId))
    }),
    key("console", |vplaned, words| set_some(&mut vplaned.draft.console, words.value(ENDPOINT, str::parse))),
    key("vplsh-console", |vplaned, words| {
        set_some(&mut vplaned.draft.well_known_console, words.value(ENDPOINT, str::parse))
    }),
    key("authentication", |vplaned, words| {
        set_some(&mut vplaned.draft.curve, words.one_of(&[("elliptic-curve", true), ("none", false)]))
    }),
    key("certificate", |vplaned, words| set_some(&mut vplaned.draft.certificate, words.path())),
    key("controller-certificate", |vplaned, words| {
        set_some(&mut vplaned.draft.controller_certificate, words.path())
    }),
    key("route-broker", |vplaned, words| {
        set_some(&mut vplaned.draft.broker, words.value(ENDPOINT, str::parse))
    }),
    key("report-interval", |vplaned, words| {
        let seconds = words.number("seconds", 1..=3600).map(Duration::from_secs);
        set_some(&mut vplaned.draft.report, seconds)
    }),
];

const ENDPOINT: &str = "endpoint";

fn address(words: &mut Words<'_>) -> Result<IpAddr, Diagnostic> {
    words.value("IP address", str::parse)
}
