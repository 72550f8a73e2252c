// SPDX-License-Identifier: Apache-2.0
//! The largest IP packet of an interface. A Linux interface below that carries less is told to carry more.
//!
//! What the kernel owner says is so already: nothing longer can be sent, whatever IPv6 needs.

use weft_nodes::interface::{AddressFamily, Ip6, Owner};

use super::{ScopeOf, Setting, Words, listed};
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(MTU);

/// Every link carries packets of that size (RFC 791).
const LEAST: u32 = 68;

/// See there.
pub static MTU: Setting = Setting {
    name: "mtu",
    help: "Set the largest IP packet of an interface",
    grammar: Grammar::Number { what: "bytes", low: LEAST as u64, high: u16::MAX as u64, none: None },
    // VPP has further kinds (ip4, ip6, mpls); here there is one for all.
    commands: &[Words::new("set interface mtu [packet] <value> <interface>")],
    conf: "mtu",
    message: Some("sw_interface_set_mtu"),
    vplaned: Some("netlink link: IFLA_MTU"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Number(control.interfaces.get(index)?.mtu.into())),
        plan: |trial, index, value| {
            let interface = trial.interface(index)?;
            let name = interface.name.clone();
            let ip6 = interface.ip6.is_enabled() && trial.owner() != Owner::KERNEL;
            let &Value::Number(mtu) = value else { return Ok(()) };
            let (limit, why) = trial.largest_mtu(index);
            let (least, why) = match ip6 {
                true if mtu < Ip6::MIN_MTU.into() => (Ip6::MIN_MTU.into(), "; IPv6 is enabled there"),
                _ => (LEAST, why),
            };
            let fits = u16::try_from(mtu).ok().filter(|size| (least..=limit).contains(&u32::from(*size)));
            let size = fits.ok_or(StepError::Mtu { name, mtu, least, limit, why })?;
            trial.change(index, |interface| interface.mtu = size)?;
            trial.carry(index, size.into());
            Ok(())
        },
    },
};
