// SPDX-License-Identifier: Apache-2.0
//! Sizes and times of the neighbour table.

use std::time::Duration;

use weft_nodes::neighbor::NeighborSettings;

use super::{ScopeOf, Setting, Words, listed};
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::value::{Grammar, Value, ValueError};

listed!(NEIGHBOR_LIMIT, NEIGHBOR_UNRESOLVED, NEIGHBOR_AGE);

const fn entries(none: Option<&'static str>) -> Grammar {
    Grammar::Number { what: "neighbours", low: 1, high: u32::MAX as u64, none }
}

fn settings(control: &Control) -> &NeighborSettings {
    control.router.neighbors().settings()
}

/// How many neighbours there may be.
pub static NEIGHBOR_LIMIT: Setting = Setting {
    name: "neighbor-limit",
    help: "Limit the number of neighbours",
    grammar: entries(None),
    commands: &[
        Words::new("set ip neighbor-config ip4 limit <value>"),
        // One table has the neighbours of both families.
        Words::new("set ip neighbor-config ip6 limit <value>"),
    ],
    conf: "neighbor-limit",
    message: Some("ip_neighbor_config"),
    vplaned: Some("arp default-max-entries"),
    scope: ScopeOf::Global {
        get: |control| Value::Number(settings(control).limit as u64),
        plan: |trial, value| {
            let most = settings(trial.control()).most as u64;
            if let &Value::Number(number) = value
                && number > most
            {
                let expected =
                    format!("neighbours from 1 to {most}, of which limits {{ next-hops }} is the measure");
                let error = ValueError { expected, found: number.to_string() };
                return Err(StepError::Value(NEIGHBOR_LIMIT.name, error));
            }
            plan(trial, value, |settings, number| settings.limit = number as usize)
        },
    },
};

/// How many of them may be unresolved.
pub static NEIGHBOR_UNRESOLVED: Setting = Setting {
    name: "neighbor-unresolved",
    help: "Limit the number of neighbours that have not answered, or did not answer",
    grammar: entries(None),
    commands: &[
        Words::new("set ip neighbor-config ip4 unresolved <value>"),
        // One table has the neighbours of both families.
        Words::new("set ip neighbor-config ip6 unresolved <value>"),
    ],
    conf: "neighbor-unresolved",
    message: None,
    vplaned: Some("arp resolution-tokens"),
    scope: ScopeOf::Global {
        get: |control| Value::Number(settings(control).unresolved_limit as u64),
        plan: |trial, value| {
            plan(trial, value, |settings, number| settings.unresolved_limit = number as usize)
        },
    },
};

/// How long an answer is good.
pub static NEIGHBOR_AGE: Setting = Setting {
    name: "neighbor-age",
    help: "Set how long a neighbour is known before it is asked again",
    grammar: Grammar::Number { what: "seconds", low: 1, high: u32::MAX as u64, none: None },
    commands: &[
        Words::new("set ip neighbor-config ip4 age <value>"),
        // One table has the neighbours of both families.
        Words::new("set ip neighbor-config ip6 age <value>"),
    ],
    conf: "neighbor-age",
    message: Some("ip_neighbor_config"),
    vplaned: Some("arp aging-time"),
    scope: ScopeOf::Global {
        get: |control| Value::Number(settings(control).age.as_secs()),
        plan: |trial, value| {
            plan(trial, value, |settings, number| settings.age = Duration::from_secs(number))
        },
    },
};

fn plan(
    trial: &mut Trial<'_>,
    value: &Value,
    put: impl FnOnce(&mut NeighborSettings, u64) + 'static,
) -> Result<(), StepError> {
    let &Value::Number(number) = value else { return Ok(()) };
    trial.after(move |control| {
        let mut changed = *settings(control);
        put(&mut changed, number);
        control.router.configure_neighbors(changed);
        Ok(())
    });
    Ok(())
}
