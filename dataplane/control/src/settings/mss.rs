// SPDX-License-Identifier: Apache-2.0
//! The longest TCP segment that connections over an interface may offer.

use super::{ScopeOf, Setting, Words};
use crate::Control;
use crate::value::{Grammar, Value};

/// See there.
pub static MSS: Setting = Setting {
    name: "tcp-mss",
    help: "Lower the TCP segments that connections over an interface offer, in both directions",
    grammar: Grammar::Number { what: "bytes", low: 1, high: u16::MAX as u64, none: Some("off") },
    commands: &[Words::new("set interface tcp-mss <interface> <value>")],
    conf: "tcp-mss",
    message: None,
    vplaned: Some("tcp-mss"),
    scope: ScopeOf::Interface {
        get: |control, index| {
            control.interfaces.get(index)?;
            Some(match control.mss.get(index) {
                0 => Value::None,
                limit => Value::Number(limit.into()),
            })
        },
        plan: |trial, index, value| {
            trial.interface(index)?;
            let limit = match value {
                Value::Number(limit) => u16::try_from(*limit).ok(),
                _ => None,
            };
            trial.after(move |control| {
                let Control { mss, engine, interfaces, .. } = control;
                Ok(mss.set(engine, interfaces, index, limit)?)
            });
            Ok(())
        },
    },
};
