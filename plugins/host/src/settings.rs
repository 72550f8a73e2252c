// SPDX-License-Identifier: Apache-2.0
//! Settings that a plugin declares, and how it hears of their values.
//!
//! Values are not kept here: the daemon reads, checks and keeps them as it does those of built-in settings. Main thread.

use std::ffi::c_void;

use weft_plugin_sdk::{InterfaceIndex, Value, abi};

use crate::foreign::{self, Described};
use crate::health::Mode;
use crate::instance::Kept;
use crate::plugin::Plugin;
use crate::registration::{Registration, is_name};
use crate::world::World;

/// Most words of a choice.
const MOST_WORDS: usize = 64;
/// Bytes of the longest text.
const LONGEST_TEXT: u64 = 1024;

pub(crate) type Changed =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut abi::Main, *const abi::SettingValue) -> i32;

// SAFETY: integers, raw pointers and optional functions only.
unsafe impl Described for abi::Setting {
    const WHAT: &'static str = "a setting";
}

/// What values a setting takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettingKind {
    /// One of two words.
    Switch {
        /// For on.
        on: String,
        /// For off.
        off: String,
    },
    /// A number.
    Number {
        /// What it counts, with its unit.
        what: String,
        /// The lowest.
        low: u64,
        /// The highest.
        high: u64,
        /// The word for no number, if there is one.
        none: Option<String>,
    },
    /// One of these words.
    Choice(Vec<String>),
    /// An ASCII text.
    Text {
        /// What it is.
        what: String,
        /// Its bytes, at most.
        longest: usize,
    },
    /// The MAC address of a station.
    Mac,
}

/// A setting.
pub struct SettingParts {
    /// Unique in the plugin.
    pub name: String,
    /// What it does, in one sentence.
    pub help: String,
    /// What values it takes.
    pub kind: SettingKind,
    /// Whether each interface has a value of its own.
    pub of_interface: bool,
    /// Its value while nobody wants another, as it is written.
    pub initial: String,
    user: *mut c_void,
    changed: Option<Changed>,
}

impl Registration {
    /// # Safety
    /// The pointer is what the plugin has given to `add_setting`, as the ABI describes it.
    pub(crate) unsafe fn setting(&mut self, setting: *const abi::Setting) -> Result<(), String> {
        // SAFETY: by the caller.
        let setting = unsafe { foreign::read(setting) }?;
        self.users.push(Kept { data: setting.user, end: setting.forget });
        // SAFETY: by the caller.
        let (name, help, what, initial, words) = unsafe {
            let text = |text| foreign::text(text).unwrap_or_default();
            let words = foreign::list(setting.words);
            (text(setting.name), text(setting.help), text(setting.what), text(setting.initial), words)
        };
        if !is_name(&name) {
            return Err("a setting needs a name of a-z, 0-9, - and _".to_owned());
        }
        if self.settings.iter().any(|known| known.name == name) {
            return Err(format!("setting '{name}' is declared twice"));
        }
        let wrong = |problem: &str| Err(format!("setting '{name}' {problem}"));
        if help.is_empty() {
            return wrong("does not say what it does: expected help");
        }
        if words.len() > MOST_WORDS || !words.iter().all(|word| is_name(word)) {
            return wrong(&format!(
                "has words {words:?}: expected at most {MOST_WORDS}, of a-z, 0-9, - and _"
            ));
        }
        let kind = match (setting.kind, words.as_slice()) {
            (abi::SETTING_SWITCH, [on, off]) if on != off => {
                SettingKind::Switch { on: on.clone(), off: off.clone() }
            }
            (abi::SETTING_SWITCH, _) => return wrong("is a switch: expected two words"),
            (abi::SETTING_NUMBER | abi::SETTING_TEXT, _) if what.is_empty() => {
                return wrong("does not say what it counts or holds: expected what");
            }
            (abi::SETTING_NUMBER, [] | [_]) if setting.low <= setting.high => SettingKind::Number {
                what,
                low: setting.low,
                high: setting.high,
                none: words.into_iter().next(),
            },
            (abi::SETTING_NUMBER, _) => {
                return wrong("is a number: expected low up to high, and at most one word, for no number");
            }
            (abi::SETTING_CHOICE, [_, ..]) => SettingKind::Choice(words),
            (abi::SETTING_CHOICE, []) => return wrong("is a choice: expected words"),
            (abi::SETTING_TEXT, []) if (1..=LONGEST_TEXT).contains(&setting.high) => {
                SettingKind::Text { what, longest: setting.high as usize }
            }
            (abi::SETTING_TEXT, _) => {
                return wrong(&format!("is a text: expected high from 1 to {LONGEST_TEXT}, and no words"));
            }
            (abi::SETTING_MAC, []) => SettingKind::Mac,
            (abi::SETTING_MAC, _) => return wrong("is a MAC address: expected no words"),
            (kind, _) => return wrong(&format!("is of kind {kind}, which is not known")),
        };
        let abi::Setting { of_interface, user, changed, .. } = setting;
        let of_interface = of_interface != 0;
        self.settings.push(SettingParts { name, help, kind, of_interface, initial, user, changed });
        Ok(())
    }
}

impl Plugin {
    /// Tells it the value of one of its settings.
    pub fn set(
        &self,
        world: &mut dyn World,
        setting: &str,
        interface: Option<InterfaceIndex>,
        value: &Value,
    ) {
        let Some(setting) = self.settings.iter().find(|known| known.name == setting) else { return };
        let Some(changed) = setting.changed.filter(|_| self.health.mode() != Mode::Failed) else { return };
        let mut call = self.call(world);
        let (user, state, main) = (setting.user, self.instance.state.data, call.main());
        // SAFETY: the plugin registered the function with `user`; its state is used by one call at a time, and the value is
        // good during this one.
        let code = value.lend(interface, |value| unsafe { changed(user, state, main, value) });
        let said = call.said;
        match code {
            abi::OK => {}
            abi::PANICKED => drop(self.panicked(format!("setting '{}'", setting.name), said)),
            _ => tracing::warn!("plugin {}: setting {}: {said}", self.library.name, setting.name),
        }
    }

    /// What it lets be set.
    pub fn settings(&self) -> &[SettingParts] {
        &self.settings
    }
}
