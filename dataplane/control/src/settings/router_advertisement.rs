// SPDX-License-Identifier: Apache-2.0
//! What an interface says to hosts that look for a router (RFC 4861 section 6.2.1, RFC 8106). What it says of single prefixes is no
//! setting but an object for each ([`crate::Object::Prefix`]).

use weft_engine::InterfaceIndex;
use weft_nodes::interface::RouterAdvertisements;

use super::{ScopeOf, Setting, Words, listed};
use crate::commit::Trial;
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(
    ROUTER_ADVERTISEMENT,
    RA_LIFETIME,
    RA_INTERVAL,
    RA_MIN_INTERVAL,
    RA_INITIAL_COUNT,
    RA_INITIAL_INTERVAL,
    RA_MANAGED,
    RA_OTHER,
    RA_LINK_ADDRESS,
    RA_UNICAST,
    RA_DNS,
    RA_DOMAINS
);

const MESSAGE: Option<&str> = Some("sw_interface_ip6nd_ra_config");
const SWITCH: Grammar = Grammar::Switch { on: "enable", off: "disable" };

const fn seconds(low: u64, high: u64, none: Option<&'static str>) -> Grammar {
    Grammar::Number { what: "seconds", low, high, none }
}

macro_rules! said {
    (
        $setting:ident, $name:literal, $grammar:expr, $message:expr, $help:literal,
        |$it:ident| $get:expr, |$to:ident, $value:ident| $put:expr
    ) => {
        /// See there.
        pub static $setting: Setting = Setting {
            name: $name,
            help: $help,
            grammar: $grammar,
            commands: &[Words::new(concat!("set interface ip6 ", $name, " <interface> <value>"))],
            conf: concat!("ip6 ", $name),
            message: $message,
            vplaned: None,
            scope: ScopeOf::Interface {
                get: |control, index| {
                    let $it = &control.interfaces.get(index)?.router_advertisement;
                    Some($get)
                },
                plan: |trial, index, $value| plan(trial, index, |$to| $put),
            },
        };
    };
}

said!(
    ROUTER_ADVERTISEMENT,
    "router-advertisement",
    SWITCH,
    MESSAGE,
    "Tell hosts of the link that this router is there, the MTU, and the subnets that are on it (RFC 4861)",
    |it| Value::Switch(it.on),
    |it, value| it.on = is_on(value)
);
said!(
    RA_LIFETIME,
    "ra-lifetime",
    seconds(0, 9000, None),
    MESSAGE,
    "Set how long hosts that have heard a router advertisement use this router; 0: for nothing beyond the link",
    |it| Value::Number(it.lifetime.into()),
    |it, value| it.lifetime = number(value).unwrap_or(0)
);
said!(
    RA_INTERVAL,
    "ra-interval",
    seconds(4, 1800, None),
    MESSAGE,
    "Set the longest time between router advertisements that nobody has asked for",
    |it| Value::Number(it.interval.into()),
    |it, value| it.interval = number(value).unwrap_or(0)
);
said!(
    RA_MIN_INTERVAL,
    "ra-min-interval",
    seconds(3, 1350, Some("default")),
    MESSAGE,
    "Set the least time between router advertisements, up to three quarters of the longest; by default a third of it",
    |it| it.least_interval.map_or(Value::None, |least| Value::Number(least.into())),
    |it, value| it.least_interval = number(value)
);
said!(
    RA_INITIAL_COUNT,
    "ra-initial-count",
    Grammar::Number { what: "advertisements", low: 1, high: 3, none: None },
    MESSAGE,
    "Set how many router advertisements come first, when they are switched on or say something new",
    |it| Value::Number(it.first.into()),
    |it, value| it.first = number(value).unwrap_or(0) as u8
);
said!(
    RA_INITIAL_INTERVAL,
    "ra-initial-interval",
    seconds(3, 16, None),
    MESSAGE,
    "Set the longest time between the first router advertisements",
    |it| Value::Number(it.first_interval.into()),
    |it, value| it.first_interval = number(value).unwrap_or(0) as u8
);
said!(
    RA_MANAGED,
    "ra-managed",
    SWITCH,
    MESSAGE,
    "Tell hosts to get their addresses by DHCPv6 (RFC 4861, flag M)",
    |it| Value::Switch(it.managed),
    |it, value| it.managed = is_on(value)
);
said!(
    RA_OTHER,
    "ra-other",
    SWITCH,
    MESSAGE,
    "Tell hosts to get all but their addresses by DHCPv6 (RFC 4861, flag O)",
    |it| Value::Switch(it.other),
    |it, value| it.other = is_on(value)
);
said!(
    RA_LINK_ADDRESS,
    "ra-link-address",
    SWITCH,
    MESSAGE,
    "Say the MAC address of the interface in router advertisements",
    |it| Value::Switch(it.link_address),
    |it, value| it.link_address = is_on(value)
);
said!(
    RA_UNICAST,
    "ra-unicast",
    SWITCH,
    MESSAGE,
    "Answer a host that asks for routers alone, in place of telling all hosts",
    |it| Value::Switch(it.unicast),
    |it, value| it.unicast = is_on(value)
);
said!(
    RA_DNS,
    "ra-dns",
    Grammar::Addresses { most: 8, none: "none" },
    None,
    "Tell hosts which servers resolve names for them (RFC 8106)",
    |it| Value::Addresses(it.resolvers.clone()),
    |it, value| {
        it.resolvers = match value {
            Value::Addresses(addresses) => addresses.clone(),
            _ => Vec::new(),
        }
    }
);
said!(
    RA_DOMAINS,
    "ra-domains",
    Grammar::Domains { longest: 240, none: "none" },
    None,
    "Tell hosts in which domains they look for names (RFC 8106)",
    |it| Value::Domains(it.domains.clone()),
    |it, value| {
        it.domains = match value {
            Value::Domains(domains) => domains.clone(),
            _ => Vec::new(),
        }
    }
);

fn is_on(value: &Value) -> bool {
    *value == Value::Switch(true)
}

/// The grammars have no larger ones.
fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn plan(
    trial: &mut Trial<'_>,
    index: InterfaceIndex,
    change: impl FnOnce(&mut RouterAdvertisements),
) -> Result<(), StepError> {
    trial.change(index, |interface| change(&mut interface.router_advertisement))?;
    trial.after(move |control| {
        control.router.tell_link(&mut control.engine, &control.interfaces, index);
        Ok(())
    });
    Ok(())
}
