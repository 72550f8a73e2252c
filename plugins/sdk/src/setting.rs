// SPDX-License-Identifier: Apache-2.0
//! What operators and programs can set: a plugin declares a setting, and every front end has it.
//!
//! The command line, startup.conf and the binary API read and check its values, keep them with their owners, and print them,
//! as they do for the settings that are built in (docs/settings.md). The plugin hears a value when it is in force; it has no
//! say then, so what is no value is to be said by [`Values`]. Main thread only.

use std::ffi::{CString, c_void};
use std::ops::RangeInclusive;

use crate::abi;
use crate::main_thread::{InterfaceIndex, Main};
use crate::panic::catch;
use crate::plugin::{Plugin, Running, finish};
use crate::refusal::Result;
use crate::setup::{Names, Setup, forget, keep};

/// What values a setting takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Values {
    /// One of two words.
    Switch {
        /// For [`Value::Switch`] of true.
        on: &'static str,
        /// For false.
        off: &'static str,
    },
    /// A number.
    Number {
        /// What it counts, with its unit: "packets per second".
        what: &'static str,
        /// From the lowest to the highest.
        range: RangeInclusive<u64>,
        /// The word for [`Value::None`], if there is one.
        none: Option<&'static str>,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An ASCII text.
    Text {
        /// What it is.
        what: &'static str,
        /// Its bytes, at most.
        longest: u32,
    },
    /// The MAC address of a station.
    Mac,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// No number: the word for it.
    None,
    /// On or off.
    Switch(bool),
    /// A number.
    Number(u64),
    /// The place of the word.
    Choice(usize),
    /// A text.
    Text(String),
    /// A MAC address.
    Mac([u8; 6]),
}

impl Value {
    /// The number, if it is one.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is a switch that is on.
    pub fn is_on(&self) -> bool {
        *self == Value::Switch(true)
    }

    /// Has `tell` given the form in which it crosses the boundary.
    pub fn lend<R>(
        &self,
        interface: Option<InterfaceIndex>,
        tell: impl FnOnce(&abi::SettingValue) -> R,
    ) -> R {
        let text = match self {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        let number = match self {
            Value::None | Value::Text(_) => 0,
            Value::Switch(on) => u64::from(*on),
            Value::Number(number) => *number,
            Value::Choice(place) => *place as u64,
            Value::Mac(mac) => mac.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
        };
        tell(&abi::SettingValue {
            size: size_of::<abi::SettingValue>() as u32,
            interface: interface.map_or(abi::NO_INTERFACE, |interface| interface.0),
            none: (*self == Value::None).into(),
            text_length: text.len() as u32,
            number,
            text: text.as_ptr(),
        })
    }

    /// # Safety
    /// The text of `value` is good.
    unsafe fn read(kind: u32, value: &abi::SettingValue) -> Value {
        match kind {
            _ if value.none != 0 => Value::None,
            abi::SETTING_SWITCH => Value::Switch(value.number != 0),
            abi::SETTING_NUMBER => Value::Number(value.number),
            abi::SETTING_CHOICE => Value::Choice(value.number as usize),
            abi::SETTING_MAC => {
                let [_, _, mac @ ..] = value.number.to_be_bytes();
                Value::Mac(mac)
            }
            _ => {
                // SAFETY: by the caller.
                let text = unsafe { std::slice::from_raw_parts(value.text, value.text_length as usize) };
                Value::Text(String::from_utf8_lossy(text).into_owned())
            }
        }
    }
}

type Changed<P> = Box<dyn Fn(&mut P, &mut Main<'_>, InterfaceIndex, Value) -> Result<()>>;

/// What hears of a setting: kept by the host as `user`.
struct Hearer<P> {
    kind: u32,
    changed: Changed<P>,
}

/// Something that can be set.
pub struct Setting<P> {
    name: &'static str,
    help: &'static str,
    values: Values,
    initial: &'static str,
    of_interface: bool,
    changed: Changed<P>,
}

impl<P: Plugin> Setting<P> {
    /// A setting of the dataplane, known as `<plugin>.<name>`. `initial` is its value while nobody wants another, as it is
    /// written. `changed` hears its value once the plugin has started, and each later one.
    pub fn global(
        name: &'static str,
        values: Values,
        initial: &'static str,
        changed: impl Fn(&mut P, &mut Main<'_>, Value) -> Result<()> + 'static,
    ) -> Setting<P> {
        let changed = move |plugin: &mut P, main: &mut Main<'_>, _, value| changed(plugin, main, value);
        Setting { of_interface: false, ..Setting::of_interface(name, values, initial, changed) }
    }

    /// A setting of each interface. `changed` hears of interfaces that have another value than `initial` once the plugin has
    /// started, and of each later change; the value of an interface that is deleted goes with it
    /// ([`crate::Event::InterfaceRemoved`]).
    pub fn of_interface(
        name: &'static str,
        values: Values,
        initial: &'static str,
        changed: impl Fn(&mut P, &mut Main<'_>, InterfaceIndex, Value) -> Result<()> + 'static,
    ) -> Setting<P> {
        Setting { name, help: "", values, initial, of_interface: true, changed: Box::new(changed) }
    }

    /// What it does, in one sentence.
    pub fn help(mut self, help: &'static str) -> Setting<P> {
        self.help = help;
        self
    }
}

impl<P: Plugin> Setup<'_, P> {
    /// Declares a setting: every front end can set it then.
    pub fn setting(&mut self, setting: Setting<P>) -> Result<()> {
        let Setting { name, help, values, initial, of_interface, changed } = setting;
        let (kind, what, words, low, high) = match values {
            Values::Switch { on, off } => (abi::SETTING_SWITCH, "", vec![on, off], 0, 0),
            Values::Number { what, range, none } => {
                (abi::SETTING_NUMBER, what, none.into_iter().collect(), *range.start(), *range.end())
            }
            Values::Choice(words) => (abi::SETTING_CHOICE, "", words.to_vec(), 0, 0),
            Values::Text { what, longest } => (abi::SETTING_TEXT, what, Vec::new(), 0, longest.into()),
            Values::Mac => (abi::SETTING_MAC, "", Vec::new(), 0, 0),
        };
        let text = |text: &str| CString::new(text);
        let (name, help, what, initial) = (text(name)?, text(help)?, text(what)?, text(initial)?);
        let words = Names::new(&words)?;
        let described = abi::Setting {
            size: size_of::<abi::Setting>() as u32,
            kind,
            of_interface: of_interface.into(),
            name: name.as_ptr(),
            help: help.as_ptr(),
            what: what.as_ptr(),
            words: words.pointers.as_ptr(),
            low,
            high,
            initial: initial.as_ptr(),
            user: keep::<Hearer<P>>(Hearer { kind, changed }),
            changed: Some(run_changed::<P>),
            forget: Some(forget::<Hearer<P>>),
        };
        let (host, main) = self.raw();
        // SAFETY: `main` is that of the running call; the host copies what the pointers lead to, and ends `user` by
        // `forget`, now if it refuses.
        let code = unsafe { (host.add_setting)(main, &raw const described) };
        self.done(code)
    }
}

unsafe extern "C" fn run_changed<P: Plugin>(
    user: *mut c_void,
    state: *mut c_void,
    main: *mut abi::Main,
    value: *const abi::SettingValue,
) -> i32 {
    // SAFETY: `user` was made by `keep` in `Setup::setting`, `state` by `plugin::init` for this type; the host calls nothing
    // else of the plugin meanwhile. The value and its text are good during this call.
    let (hearer, running, interface, value) = unsafe {
        let (hearer, value) = (&*user.cast::<Hearer<P>>(), &*value);
        let interface = InterfaceIndex(value.interface);
        (hearer, &mut *state.cast::<Running<P>>(), interface, Value::read(hearer.kind, value))
    };
    // SAFETY: both are those of this call.
    let mut main = unsafe { Main::new(running.host, main) };
    let done = catch(|| (hearer.changed)(&mut running.plugin, &mut main, interface, value));
    finish(&main, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crosses_the_boundary_is_what_was_said() {
        for (kind, value) in [
            (abi::SETTING_SWITCH, Value::Switch(true)),
            (abi::SETTING_SWITCH, Value::Switch(false)),
            (abi::SETTING_NUMBER, Value::Number(u64::MAX)),
            (abi::SETTING_NUMBER, Value::None),
            (abi::SETTING_CHOICE, Value::Choice(2)),
            (abi::SETTING_TEXT, Value::Text(String::new())),
            (abi::SETTING_TEXT, Value::Text("gold".to_owned())),
            (abi::SETTING_MAC, Value::Mac([2, 0, 0, 0xab, 0xcd, 0xff])),
        ] {
            value.lend(Some(InterfaceIndex(7)), |lent| {
                assert_eq!(lent.interface, 7);
                // SAFETY: the text is that of `value`.
                assert_eq!(unsafe { Value::read(kind, lent) }, value);
            });
        }
        Value::None.lend(None, |lent| assert_eq!(lent.interface, abi::NO_INTERFACE));
    }
}
