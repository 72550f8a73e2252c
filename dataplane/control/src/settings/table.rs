// SPDX-License-Identifier: Apache-2.0
//! The forwarding tables of what arrives on an interface.

use weft_engine::InterfaceIndex;
use weft_nodes::fib::{Ip4, Ip6, IpPrefix};
use weft_nodes::interface::IpVersion;
use weft_nodes::router::{RouterError, TableId};

use super::{ScopeOf, Setting, Words, listed};
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::family::Configured;
use crate::value::{Grammar, Value};

listed!(TABLE, IP6_TABLE);

const GRAMMAR: Grammar = Grammar::Number { what: "table", low: 0, high: u32::MAX as u64, none: None };

/// See there.
pub static TABLE: Setting = Setting {
    name: "ip-table",
    help: "Move an interface without addresses to another IPv4 table",
    grammar: GRAMMAR,
    commands: &[Words::new("set interface ip table <interface> <value>")],
    conf: "ip table",
    message: Some("sw_interface_set_table"),
    vplaned: Some("netlink link: IFLA_MASTER of a VRF"),
    scope: ScopeOf::Interface { get: get::<Ip4>, plan: plan::<Ip4> },
};

/// See there.
pub static IP6_TABLE: Setting = Setting {
    name: "ip6-table",
    help: "Move an interface without IPv6 addresses to another IPv6 table",
    grammar: GRAMMAR,
    commands: &[Words::new("set interface ip6 table <interface> <value>")],
    conf: "ip6 table",
    message: Some("sw_interface_set_table"),
    vplaned: Some("netlink link: IFLA_MASTER of a VRF"),
    scope: ScopeOf::Interface { get: get::<Ip6>, plan: plan::<Ip6> },
};

fn get<F: Configured>(control: &Control, index: InterfaceIndex) -> Option<Value> {
    let table = control.router.table::<F>(F::of(control.interfaces.get(index)?).table);
    Some(Value::Number(table.map_or(0, |table| table.id).into()))
}

fn plan<F: Configured>(trial: &mut Trial<'_>, index: InterfaceIndex, value: &Value) -> Result<(), StepError> {
    // The grammar has no larger ones.
    let &Value::Number(id) = value else { return Ok(()) };
    let table = trial.control().router.table_index::<F>(id as TableId)?;
    let interface = trial.interface(index)?;
    // Of a link-local address nothing is in a table.
    let proxies = F::VERSION == IpVersion::V6 && !interface.proxied.is_empty();
    if proxies || F::of(interface).addresses.iter().any(|own| !F::is_link_scoped(own.addr())) {
        return Err(RouterError::<F>::HasAddresses(interface.name.clone()).into());
    }
    trial.change(index, |interface| F::of_mut(interface).table = table)
}
