// SPDX-License-Identifier: Apache-2.0
//! The MAC address of a port, of its sub-interfaces, and of the Linux interface below.

use super::{ScopeOf, Setting, Words, listed};
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(MAC);

/// See there.
pub static MAC: Setting = Setting {
    name: "mac",
    help: "Set the MAC address of an interface, and of the Linux interface below",
    grammar: Grammar::Mac,
    commands: &[Words::new("set interface mac address <interface> <value>")],
    conf: "mac",
    message: Some("sw_interface_set_mac_address"),
    vplaned: Some("netlink link: IFLA_ADDRESS"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Mac(control.interfaces.get(index)?.mac)),
        plan: |trial, index, value| {
            let interface = trial.interface(index)?;
            if interface.parent().is_some() {
                return Err(StepError::MacOfSub(interface.name.clone()));
            }
            let mac = match value {
                Value::Mac(mac) if mac.is_station() => *mac,
                _ => return Err(StepError::MacNotUnicast),
            };
            let subs: Vec<_> = trial.control().interfaces.subs(index).map(|(sub, _)| sub).collect();
            for index in subs.into_iter().chain([index]) {
                trial.change(index, |interface| interface.mac = mac)?;
            }
            trial.link_mac(index, mac);
            Ok(())
        },
    },
};
