// SPDX-License-Identifier: Apache-2.0
//! The forwarding table of what arrives on an interface.

use weft_nodes::ip4::Ip4;

use weft_nodes::router::TableId;

use super::{ScopeOf, Setting, Words};
use crate::error::RouterError;
use crate::value::{Grammar, Value};

/// See there.
pub static TABLE: Setting = Setting {
    name: "ip-table",
    help: "Move an interface without addresses to another IPv4 table",
    grammar: Grammar::Number { what: "table", low: 0, high: u32::MAX as u64, none: None },
    commands: &[Words::new("set interface ip table <interface> <value>")],
    conf: "ip table",
    message: Some("sw_interface_set_table"),
    vplaned: Some("netlink link: IFLA_MASTER of a VRF"),
    scope: ScopeOf::Interface {
        get: |control, index| {
            let table = control.router.table::<Ip4>(control.interfaces.get(index)?.ip4.table);
            Some(Value::Number(table.map_or(0, |table| table.id).into()))
        },
        plan: |trial, index, value| {
            let &Value::Number(id) = value else { return Ok(()) };
            let table =
                trial.control().router.table_index::<Ip4>(TableId::try_from(id).unwrap_or(TableId::MAX))?;
            let interface = trial.interface(index)?;
            if !interface.ip4.addresses.is_empty() {
                return Err(RouterError::HasAddresses(interface.name.clone()).into());
            }
            trial.change(index, |interface| interface.ip4.table = table)
        },
    },
};
