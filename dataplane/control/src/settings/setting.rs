// SPDX-License-Identifier: Apache-2.0
//! What a setting is: its words, its values, and how it is read and becomes part of a change set. Which ones there are is said above.

use std::cmp::Ordering;

use weft_engine::InterfaceIndex;
use weft_nodes::interface::InterfaceError;
use weft_nodes::values::InterfaceValue;

use super::declared;
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::value::{Grammar, Value};

/// Something that can be set.
pub struct Setting {
    /// Its name, for the binary API and the documentation.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// What values it takes.
    pub grammar: Grammar,
    /// The commands that set it: `<interface>` and `<value>` stand for what they say, `[word]` may be left out.
    pub commands: &'static [Words],
    /// Its key in startup.conf: in an interface's group, or in the section `settings`.
    pub conf: &'static str,
    /// VPP's message that sets it. `weft_setting_set` sets all.
    pub message: Option<&'static str>,
    /// Topic and words of the command of vplaned that sets it, for the documentation.
    pub vplaned: Option<&'static str>,
    pub(crate) scope: ScopeOf,
}

/// A command that sets a setting.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The words.
    pub pattern: &'static str,
    /// What it sets if `<value>` is not among the words.
    pub fixed: Option<fn() -> Value>,
}

impl Words {
    pub(super) const fn new(pattern: &'static str) -> Words {
        Words { pattern, fixed: None }
    }

    pub(super) const fn fixed(pattern: &'static str, value: fn() -> Value) -> Words {
        Words { pattern, fixed: Some(value) }
    }
}

/// What a setting is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Of each interface.
    Interface,
    /// Of the dataplane.
    Global,
}

pub(crate) enum ScopeOf {
    Interface {
        get: fn(&Control, InterfaceIndex) -> Option<Value>,
        plan: fn(&mut Trial<'_>, InterfaceIndex, &Value) -> Result<(), StepError>,
    },
    /// A number of each interface that nodes read.
    Number(&'static InterfaceValue),
    Global {
        get: fn(&Control) -> Value,
        plan: fn(&mut Trial<'_>, &Value) -> Result<(), StepError>,
    },
    /// By a plugin, with the value that it has while nobody wants another.
    Declared(Scope, Value),
}

impl Setting {
    /// What it is of.
    pub fn scope(&self) -> Scope {
        match self.scope {
            ScopeOf::Interface { .. } | ScopeOf::Number(_) => Scope::Interface,
            ScopeOf::Global { .. } => Scope::Global,
            ScopeOf::Declared(scope, _) => scope,
        }
    }

    /// What it is now.
    pub fn get(&'static self, control: &Control, index: Option<InterfaceIndex>) -> Result<Value, StepError> {
        match (&self.scope, index) {
            (ScopeOf::Interface { get, .. }, index) => {
                let index = index.unwrap_or(InterfaceIndex::NONE);
                get(control, index).ok_or_else(|| InterfaceError::Unknown(index).into())
            }
            (ScopeOf::Number(value), index) => {
                let index = index.unwrap_or(InterfaceIndex::NONE);
                control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
                Ok(match control.nodes.values.get(value, index) {
                    0 => Value::None,
                    number => Value::Number(number.into()),
                })
            }
            (ScopeOf::Global { get, .. }, _) => Ok(get(control)),
            (ScopeOf::Declared(Scope::Interface, initial), index) => {
                declared::get(control, self, Some(index.unwrap_or(InterfaceIndex::NONE)), initial)
            }
            (ScopeOf::Declared(Scope::Global, initial), _) => declared::get(control, self, None, initial),
        }
    }

    /// Makes another value of it part of a change set.
    pub(crate) fn plan(
        &'static self,
        trial: &mut Trial<'_>,
        index: Option<InterfaceIndex>,
        value: &Value,
    ) -> Result<(), StepError> {
        match &self.scope {
            ScopeOf::Interface { plan, .. } => plan(trial, index.unwrap_or(InterfaceIndex::NONE), value),
            ScopeOf::Number(of) => {
                let (of, index) = (*of, index.unwrap_or(InterfaceIndex::NONE));
                trial.interface(index)?;
                let number = match value {
                    Value::Number(number) => u32::try_from(*number).unwrap_or(u32::MAX),
                    _ => 0,
                };
                trial.after(move |control| {
                    let Control { nodes, engine, .. } = control;
                    Ok(nodes.values.set(engine, of, index, number)?)
                });
                Ok(())
            }
            ScopeOf::Global { plan, .. } => plan(trial, value),
            ScopeOf::Declared(scope, initial) => {
                let index = index.filter(|_| *scope == Scope::Interface);
                declared::plan(trial, self, index, value, initial);
                Ok(())
            }
        }
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Setting) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

impl PartialOrd for Setting {
    fn partial_cmp(&self, other: &Setting) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Setting {
    fn cmp(&self, other: &Setting) -> Ordering {
        self.name.cmp(other.name)
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
