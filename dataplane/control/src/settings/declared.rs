// SPDX-License-Identifier: Apache-2.0
//! Settings that plugins declare, and their values.
//!
//! Every front end has them as it has the built-in ones, under the name `<plugin>.<setting>`. What a value does is the
//! plugin's business: here it is kept, with its owners, and [`Control::take_declared_changes`] says what the plugin is to
//! hear of. So a value is in force when it is published, and nobody but its grammar can refuse it.
//!
//! Objects name a setting by a `&'static Setting`. One is made, and never freed, for each different declaration; a plugin
//! that is loaded a thousand times has the same one a thousand times. While its plugin is not loaded, it is not
//! known: no value can be wanted, and a change set that was noted before is refused.

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_nodes::interface::InterfaceError;

use super::{Scope, ScopeOf, Setting, Words};
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::object::Object;
use crate::value::{Grammar, Value, ValueError};

/// The longest name, with that of the plugin: the binary API has 64 bytes for it.
const LONGEST_NAME: usize = 63;

/// What values a declared setting takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeclaredValues {
    /// See [`Grammar::Switch`].
    Switch {
        /// The word for on.
        on: String,
        /// The word for off.
        off: String,
    },
    /// See [`Grammar::Number`].
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
    /// See [`Grammar::Choice`].
    Choice(Vec<String>),
    /// See [`Grammar::Text`].
    Text {
        /// What it is.
        what: String,
        /// Its length.
        longest: usize,
    },
    /// See [`Grammar::Mac`].
    Mac,
}

/// A setting, as a plugin declares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// Unique in the plugin.
    pub name: String,
    /// What it does, in one sentence.
    pub help: String,
    /// What it is of.
    pub scope: Scope,
    /// What values it takes.
    pub values: DeclaredValues,
    /// Its value while nobody wants another, as it is written.
    pub initial: String,
}

/// Why a declaration is refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum DeclarationError {
    /// The binary API could not name it.
    #[error("the name of setting '{0}' has more than {LONGEST_NAME} bytes")]
    LongName(String),
    /// Its first value is none.
    #[error("setting '{0}': its initial value: {1}")]
    Initial(String, #[source] ValueError),
}

/// A value that is another than before, for the plugin that has declared the setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredChange {
    /// The setting.
    pub setting: &'static Setting,
    /// Whose value it is; `None`: the dataplane's.
    pub interface: Option<InterfaceIndex>,
    /// From now on.
    pub value: Value,
}

/// What plugins have declared.
#[derive(Default)]
pub(crate) struct Declared {
    /// All texts that a setting refers to.
    texts: HashSet<&'static str>,
    words: HashSet<&'static [&'static str]>,
    made: Vec<&'static Setting>,
    /// Those of loaded plugins.
    known: BTreeMap<String, Vec<&'static Setting>>,
    /// Where they are not the initial ones.
    values: BTreeMap<(&'static Setting, Option<InterfaceIndex>), Value>,
    changes: Vec<DeclaredChange>,
}

impl Declared {
    fn text(&mut self, text: &str) -> &'static str {
        if let Some(known) = self.texts.get(text) {
            return known;
        }
        let text: &'static str = text.to_owned().leak();
        self.texts.insert(text);
        text
    }

    fn words(&mut self, words: &[String]) -> &'static [&'static str] {
        let words: Vec<&'static str> = words.iter().map(|word| self.text(word)).collect();
        if let Some(known) = self.words.get(words.as_slice()) {
            return known;
        }
        let words: &'static [&'static str] = words.leak();
        self.words.insert(words);
        words
    }

    fn grammar(&mut self, values: &DeclaredValues) -> Grammar {
        match values {
            DeclaredValues::Switch { on, off } => Grammar::Switch { on: self.text(on), off: self.text(off) },
            DeclaredValues::Number { what, low, high, none } => Grammar::Number {
                what: self.text(what),
                low: *low,
                high: *high,
                none: none.as_ref().map(|none| self.text(none)),
            },
            DeclaredValues::Choice(words) => Grammar::Choice(self.words(words)),
            DeclaredValues::Text { what, longest } => {
                Grammar::Text { what: self.text(what), longest: *longest }
            }
            DeclaredValues::Mac => Grammar::Mac,
        }
    }

    fn make(&mut self, plugin: &str, declared: &Declaration) -> Result<&'static Setting, DeclarationError> {
        let Declaration { name, help, scope, values, initial } = declared;
        let command = match scope {
            Scope::Interface => format!("set interface {plugin} {name} <interface> <value>"),
            Scope::Global => format!("set {plugin} {name} <value>"),
        };
        let name = format!("{plugin}.{name}");
        if name.len() > LONGEST_NAME {
            return Err(DeclarationError::LongName(name));
        }
        let grammar = self.grammar(values);
        let read = grammar.parse(initial, |_| None).and_then(|value| grammar.check(&value).map(|()| value));
        let initial = read.map_err(|error| DeclarationError::Initial(name.clone(), error))?;
        let (name, help, pattern) = (self.text(&name), self.text(help), self.text(&command));
        let same = |made: &&&Setting| {
            let of = matches!(&made.scope, ScopeOf::Declared(of, value) if of == scope && *value == initial);
            of && made.name == name && made.help == help && made.grammar == grammar
        };
        if let Some(made) = self.made.iter().find(same) {
            return Ok(made);
        }
        let made: &'static Setting = Box::leak(Box::new(Setting {
            name,
            help,
            grammar,
            commands: vec![Words::new(pattern)].leak(),
            conf: name,
            message: None,
            vplaned: None,
            scope: ScopeOf::Declared(*scope, initial),
        }));
        self.made.push(made);
        Ok(made)
    }

    /// Those of the plugins that are loaded.
    pub fn settings(&self) -> impl Iterator<Item = &'static Setting> + use<'_> {
        self.known.values().flatten().copied()
    }

    fn is_known(&self, setting: &Setting) -> bool {
        let of_plugin = setting.plugin().and_then(|plugin| self.known.get(plugin));
        of_plugin.is_some_and(|known| known.iter().any(|known| std::ptr::eq(*known, setting)))
    }

    /// What it is, if not what it is at first. Settings are told apart by name: one that was declared otherwise is another.
    fn value(&self, setting: &'static Setting, index: Option<InterfaceIndex>) -> Option<&Value> {
        let ((known, _), value) = self.values.get_key_value(&(setting, index))?;
        std::ptr::eq(*known, setting).then_some(value)
    }

    /// An interface goes: another one may have its index.
    pub fn forget(&mut self, interface: InterfaceIndex) {
        self.values.retain(|(_, of), _| *of != Some(interface));
        self.changes.retain(|change| change.interface != Some(interface));
    }
}

/// What the setting is, if a loaded plugin has declared it.
pub(super) fn get(
    control: &Control,
    setting: &'static Setting,
    index: Option<InterfaceIndex>,
    initial: &Value,
) -> Result<Value, StepError> {
    if !control.declared.is_known(setting) {
        return Err(StepError::NoSuchSetting(setting.name.to_owned()));
    }
    if let Some(index) = index {
        control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
    }
    Ok(control.declared.value(setting, index).unwrap_or(initial).clone())
}

/// Makes another value part of a change set.
pub(super) fn plan(
    trial: &mut Trial<'_>,
    setting: &'static Setting,
    index: Option<InterfaceIndex>,
    value: &Value,
    initial: &'static Value,
) {
    let value = value.clone();
    trial.after(move |control| {
        let Declared { values, changes, .. } = &mut control.declared;
        match value == *initial {
            true => drop(values.remove(&(setting, index))),
            false => drop(values.insert((setting, index), value.clone())),
        }
        changes.retain(|change| (change.setting, change.interface) != (setting, index));
        changes.push(DeclaredChange { setting, interface: index, value });
        Ok(())
    });
}

impl Control {
    /// What a plugin declares, as settings. They are not known yet ([`Control::adopt_settings`]).
    pub fn make_settings(
        &mut self,
        plugin: &str,
        declarations: &[Declaration],
    ) -> Result<Vec<&'static Setting>, DeclarationError> {
        declarations.iter().map(|declared| self.declared.make(plugin, declared)).collect()
    }

    /// The settings of a plugin are these from now on, none if it goes. One that is declared as it was keeps its values and
    /// their owners; of others nobody can want anything any more.
    pub fn adopt_settings(&mut self, plugin: &str, settings: Vec<&'static Setting>) {
        let before = match settings.is_empty() {
            true => self.declared.known.remove(plugin),
            false => self.declared.known.insert(plugin.to_owned(), settings),
        };
        let gone: Vec<&Setting> =
            before.into_iter().flatten().filter(|setting| !self.declared.is_known(setting)).collect();
        if gone.is_empty() {
            return;
        }
        let stays = |setting: &Setting| !gone.iter().any(|gone| std::ptr::eq(*gone, setting));
        self.declared.values.retain(|(setting, _), _| stays(setting));
        self.declared.changes.retain(|change| stays(change.setting));
        self.claims.retain(|object| match object {
            Object::Setting(setting, _) => stays(setting),
            _ => true,
        });
    }

    /// What a plugin has to hear when it starts or takes over: the values of its settings of the dataplane, and those of
    /// interfaces that are not the initial ones.
    pub fn values_of_plugin(&self, settings: &[&'static Setting]) -> Vec<DeclaredChange> {
        let global = settings.iter().filter(|setting| setting.scope() == Scope::Global).map(|setting| {
            let value = self.declared.value(setting, None).or_else(|| setting.initial());
            (*setting, None, value.cloned().unwrap_or_default())
        });
        let of_interfaces = self.declared.values.iter().filter(|((setting, index), _)| {
            index.is_some() && settings.iter().any(|known| std::ptr::eq(*known, *setting))
        });
        let of_interfaces = of_interfaces.map(|((setting, index), value)| (*setting, *index, value.clone()));
        global
            .chain(of_interfaces)
            .map(|(setting, interface, value)| DeclaredChange { setting, interface, value })
            .collect()
    }

    /// What plugins have to hear of: values that are others since the last call.
    pub fn take_declared_changes(&mut self) -> Vec<DeclaredChange> {
        std::mem::take(&mut self.declared.changes)
    }
}

impl Setting {
    /// The plugin that has declared it.
    pub fn plugin(&self) -> Option<&'static str> {
        match self.scope {
            ScopeOf::Declared(..) => self.name.split_once('.').map(|(plugin, _)| plugin),
            _ => None,
        }
    }

    /// Its name in the plugin that has declared it.
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, name)| name)
    }

    /// Of a declared one: its value while nobody wants another.
    fn initial(&self) -> Option<&Value> {
        match &self.scope {
            ScopeOf::Declared(_, initial) => Some(initial),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(name: &str, values: DeclaredValues, initial: &str) -> Declaration {
        let (name, initial) = (name.to_owned(), initial.to_owned());
        Declaration { name, help: "Test".to_owned(), scope: Scope::Interface, values, initial }
    }

    fn number(high: u64) -> DeclaredValues {
        DeclaredValues::Number { what: "packets".to_owned(), low: 1, high, none: Some("none".to_owned()) }
    }

    #[test]
    fn the_same_declaration_is_the_same_setting() {
        let mut declared = Declared::default();
        let mut make = |declaration: Declaration| declared.make("guard", &declaration).expect("a good one");
        let first = make(declaration("limit", number(9), "none"));
        assert_eq!((first.name, first.conf, first.plugin()), ("guard.limit", "guard.limit", Some("guard")));
        assert_eq!((first.own_name(), first.scope()), ("limit", Scope::Interface));
        assert_eq!(first.commands[0].pattern, "set interface guard limit <interface> <value>");
        assert!(std::ptr::eq(first, make(declaration("limit", number(9), "none"))));
        for other in [
            declaration("limit", number(8), "none"),
            declaration("limit", number(9), "3"),
            Declaration { help: "Another".to_owned(), ..declaration("limit", number(9), "none") },
            Declaration { scope: Scope::Global, ..declaration("limit", number(9), "none") },
        ] {
            assert!(!std::ptr::eq(first, make(other.clone())), "{other:?}");
        }
        let words = || DeclaredValues::Choice(vec!["low".to_owned(), "high".to_owned()]);
        let choice = make(declaration("level", words(), "high"));
        assert!(std::ptr::eq(choice, make(declaration("level", words(), "high"))));
    }

    #[test]
    fn the_initial_value_is_one() {
        let mut declared = Declared::default();
        let mut make = |declaration: Declaration| declared.make("guard", &declaration).map(|made| made.name);
        let said = make(declaration("limit", number(9), "10")).expect_err("too high").to_string();
        assert_eq!(
            said,
            "setting 'guard.limit': its initial value: expected packets from 1 to 9, or none, found \"10\""
        );
        assert_eq!(make(declaration("limit", number(9), "9")), Ok("guard.limit"));
        let long = "x".repeat(LONGEST_NAME);
        assert!(matches!(make(declaration(&long, number(9), "1")), Err(DeclarationError::LongName(_))));
    }
}
