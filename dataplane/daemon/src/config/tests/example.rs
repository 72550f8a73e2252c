// SPDX-License-Identifier: Apache-2.0
//! `startup.conf.example` cannot rot: it parses, it shows the defaults, it has every key.

use std::{fs, path::Path};

use super::{accepted, config};
use crate::config::{
    Config, Parsed, SECTIONS,
    af_xdp::{self, AfXdp},
    bridging,
    buffers::{self, Buffers},
    cpu::{self, Cpu},
    flow,
    interfaces::{self, TableId},
    limits::{self, Limits},
    logging, plugins,
    sockets::{self, Statseg},
    unix,
    values::Core,
    vplaned,
    words::Key,
};
use weft_cli::vppctl::Options;
use weft_vplaned::config::Draft;

/// `startup.conf.example`, as shipped.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../startup.conf.example");
    fs::read_to_string(path).unwrap()
}

/// The example with the settings switched on: `#` directly before a word is taken away.
fn switched_on() -> String {
    let line = |line: &str| {
        let setting =
            line.trim_start().strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        setting.unwrap_or(line).to_owned() + "\n"
    };
    example().lines().map(line).collect()
}

#[test]
fn the_example_changes_nothing() {
    assert_eq!(config(&example()), Config::default());
}

#[test]
fn the_example_shows_the_defaults() {
    let Parsed { config, warnings } = accepted(&switched_on());
    let only: Vec<&str> = warnings.diagnostics.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(only, [""; 0]);

    let unix = config.unix;
    let defaults = unix::Unix::default();
    let without_default = unix::Unix {
        nodaemon: true,
        interactive: true,
        startup_config: unix.startup_config.clone(),
        log: unix.log.clone(),
        pidfile: unix.pidfile.clone(),
        stable_secret: unix.stable_secret.clone(),
        gid: unix.gid,
        cli_listen: unix.cli_listen.clone(),
        cli_prompt: Some("weft# ".into()),
        terminal: Options { banner: false, pager: false, line_mode: true, ..defaults.terminal },
        ..defaults
    };
    assert_eq!(unix, without_default);
    assert_eq!(unix.cli_listen.len(), 2);
    assert!(
        unix.startup_config.is_some()
            && unix.log.is_some()
            && unix.pidfile.is_some()
            && unix.gid.is_some()
            && unix.stable_secret.is_some()
    );
    assert_eq!(config.cpu, Cpu { main_core: Some(Core(0)), ..Cpu::default() });
    assert_eq!(Buffers { per_node: Default::default(), ..config.buffers }, Buffers::default());
    assert_eq!(config.flow, Default::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(logging::Logging { classes: Default::default(), ..config.logging }, Default::default());
    assert_eq!(Statseg { gid: None, ..config.statseg }, Statseg::default());
    assert_eq!(config.socksvr, Default::default());
    let mut vplaned = config.vplaned.expect("switched on");
    assert!(vplaned.dataplane_config.take().is_some() && vplaned.controller_config.take().is_some());
    assert!(vplaned.draft.broker.take().is_some());
    // The defaults name no certificates: nobody asks for them.
    let settings = vplaned.settings().expect("complete");
    assert_eq!(settings, Draft::default().settle().expect("all has a default"));
    let port = config.interfaces[0].settings::<AfXdp>().expect("the first one is a port");
    assert!(config.interfaces[1].settings::<interfaces::Tap>().is_some());
    assert!(config.interfaces[2].settings::<interfaces::Loopback>().is_some());
    assert_eq!(config.interfaces.len(), 3);
    let plain = AfXdp::new(port.host.clone(), port.common.clone());
    assert_eq!((port.queues, port.zero_copy, port.mode), (plain.queues, plain.zero_copy, plain.mode));
    assert!(port.common.up && port.common.table == TableId::default());
}

#[test]
fn the_example_knows_every_section_and_key() {
    fn missing<T>(text: &str, section: &str, keys: &[Key<T>]) -> Vec<String> {
        let served = keys.iter().filter(|key| key.is_read());
        let absent = served.filter(|key| !text.contains(key.name)).map(|key| key.name);
        absent.map(|name| format!("{section} {name}")).collect()
    }
    let example = example();
    // The kind of docs/extending.md is there for tests alone.
    let mut keys = interfaces::keys();
    keys.retain(|key| key.name != "null");
    let mut absent = Vec::new();
    for section in SECTIONS {
        let begin = example.find(&format!("\n{} {{\n", section.name));
        let begin = begin.or_else(|| example.find(&format!("\n#{} {{\n", section.name)));
        let Some(begin) = begin else {
            absent.push(section.name.to_owned());
            continue;
        };
        let length = example[begin..].find("\n}\n").unwrap_or(example.len() - begin);
        let text = &example[begin..begin + length];
        absent.extend(match section.name {
            "unix" => missing(text, section.name, unix::KEYS),
            "cpu" => missing(text, section.name, cpu::KEYS),
            "buffers" => missing(text, section.name, buffers::KEYS),
            "interfaces" => [
                missing(text, "interfaces", &keys),
                missing(text, "af_xdp", af_xdp::KEYS),
                missing(text, "filter", af_xdp::FILTER_KEYS),
                missing(text, "tap", interfaces::TAP_KEYS),
                missing(text, "loopback", interfaces::LOOPBACK_KEYS),
            ]
            .concat(),
            "bridge-domains" => {
                [missing(text, section.name, bridging::KEYS), missing(text, "domain", bridging::DOMAIN_KEYS)]
                    .concat()
            }
            "flow" => missing(text, section.name, flow::KEYS),
            "limits" => missing(text, section.name, limits::KEYS),
            "logging" => missing(text, section.name, logging::KEYS),
            "plugins" => missing(text, section.name, plugins::KEYS),
            "statseg" => missing(text, section.name, sockets::STATSEG_KEYS),
            "socksvr" => missing(text, section.name, sockets::SOCKSVR_KEYS),
            "vplaned" => missing(text, section.name, vplaned::KEYS),
            _ => Vec::new(),
        });
    }
    assert_eq!(absent, [""; 0]);
}
