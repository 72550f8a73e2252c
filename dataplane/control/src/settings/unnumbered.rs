// SPDX-License-Identifier: Apache-2.0
//! Interfaces without addresses of their own, which use those of another.

use super::{ScopeOf, Setting, Words, listed};
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(UNNUMBERED);

/// See there.
pub static UNNUMBERED: Setting = Setting {
    name: "unnumbered",
    help: "Let an interface use the addresses of another",
    grammar: Grammar::Interface { none: "none" },
    commands: &[
        Words::new("set interface unnumbered <interface> use <value>"),
        Words::fixed("set interface unnumbered del <interface>", || Value::None),
    ],
    conf: "unnumbered",
    message: Some("sw_interface_set_unnumbered"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| {
            Some(control.interfaces.get(index)?.unnumbered.map_or(Value::None, Value::Interface))
        },
        plan: |trial, index, value| {
            let name = trial.interface(index)?.name.clone();
            let lender = match value {
                Value::Interface(lender) => Some(*lender),
                _ => None,
            };
            if let Some(lender) = lender {
                let other = trial.interface(lender)?;
                if lender == index || other.unnumbered.is_some() {
                    return Err(StepError::NotNumbered(name, other.name.clone()));
                }
                if trial.interface(index)?.addresses().next().is_some() {
                    return Err(StepError::HasAddresses(name));
                }
                let mut others = trial.control().interfaces.iter();
                if let Some((_, user)) = others.find(|(_, other)| other.unnumbered == Some(index)) {
                    return Err(StepError::InUse(name, user.name.clone()));
                }
            }
            trial.change(index, |interface| interface.unnumbered = lender)
        },
    },
};
