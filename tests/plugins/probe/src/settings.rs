// SPDX-License-Identifier: Apache-2.0
//! Settings of every kind. The probe tells what it has heard of them, in order.

use weft_plugin_sdk::{Answer, Command, InterfaceIndex, Main, Result, Setting, Setup, Value, Values};

use crate::Probe;

const LEVELS: &[&str] = &["low", "middle", "high"];

/// What was heard and not told yet.
#[derive(Default)]
pub struct Heard(Vec<String>);

/// Declares them.
pub fn register(setup: &mut Setup<'_, Probe>) -> Result<()> {
    let limit = Values::Number { what: "packets", range: 1..=64, none: Some("none") };
    let note = Values::Text { what: "note", longest: 16 };
    for setting in [
        Setting::global("limit", limit, "8", |probe: &mut Probe, _, value| {
            let limit = value.number().map_or("none".to_owned(), |limit| limit.to_string());
            probe.heard.note(format!("limit {limit}"))
        })
        .help("Limit nothing"),
        Setting::global(
            "quiet",
            Values::Switch { on: "on", off: "off" },
            "off",
            |probe: &mut Probe, _, value| {
                let on = value.is_on();
                probe.heard.note(if on { format!("quiet {on}") } else { String::new() })
            },
        )
        .help("Say less"),
        Setting::global("note", note, "", |probe: &mut Probe, _, value| {
            let Value::Text(text) = value else { return Err(format!("{value:?} is no text").into()) };
            probe.heard.note(if text.is_empty() { text } else { format!("note {text}") })
        })
        .help("Put a note on the probe"),
        Setting::global("mac", Values::Mac, "02:00:00:00:00:01", |probe: &mut Probe, _, value| {
            let Value::Mac(mac) = value else { return Err(format!("{value:?} is no MAC address").into()) };
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            probe.heard.note(if mac.ends_with(":01") { String::new() } else { format!("mac {mac}") })
        })
        .help("Give the probe a MAC address"),
        Setting::of_interface("level", Values::Choice(LEVELS), "low", level)
            .help("Set the level of an interface"),
    ] {
        setup.setting(setting)?;
    }
    setup.command(Command::new("show probe settings", |probe: &mut Probe, _, words| {
        words.finish()?;
        let heard = std::mem::take(&mut probe.heard.0);
        let json: Vec<String> = heard.iter().map(|line| weft_plugin_sdk::json_text(line)).collect();
        Ok(Answer::new(heard.join("\n"), format!("[{}]", json.join(","))))
    }))
}

fn level(probe: &mut Probe, main: &mut Main<'_>, interface: InterfaceIndex, value: Value) -> Result<()> {
    let Value::Choice(place) = value else { return Err(format!("{value:?} is no choice").into()) };
    let name = main.interface_name(interface).ok_or("the interface is gone")?;
    probe.heard.note(format!("level {name} {}", LEVELS[place]))
}

impl Heard {
    /// The initial values of most say nothing.
    fn note(&mut self, line: String) -> Result<()> {
        if !line.is_empty() {
            self.0.push(line);
        }
        Ok(())
    }
}
