// SPDX-License-Identifier: Apache-2.0
//! The largest IP packet of an interface. A Linux interface below that carries less is told to carry more.
//!
//! What the kernel owner says is so already: nothing longer can be sent, whatever IPv6 needs.
//!
//! A sub-interface has the MTU of its port, as of each moment. One that is asked for is the most that it has then: a frame that
//! does not fit the port does not fit a VLAN of it either.

use weft_engine::InterfaceIndex;
use weft_nodes::interface::{AddressFamily, Interface, Ip6, Owner};

use super::{ScopeOf, Setting, Words, listed};
use crate::Control;
use crate::commit::Trial;
use crate::error::StepError;
use crate::object::Object;
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
            let &Value::Number(mtu) = value else { return Ok(()) };
            let interface = trial.interface(index)?;
            let (limit, why) = trial.largest_mtu(index);
            let size = fits(trial.owner(), interface, mtu, (limit, why))?;
            let size = size.min(of_port(trial.control(), index).unwrap_or(size));
            let subs: Vec<_> = trial.control().interfaces.subs(index).map(|(sub, _)| sub).collect();
            trial.change(index, |interface| interface.mtu = size)?;
            for sub in subs {
                follow(trial, sub, size, (limit, why))?;
            }
            trial.carry(index, size.into());
            Ok(())
        },
    },
};

/// An MTU as it can be, of an interface on which no more than `limit` fits.
fn fits(
    owner: Owner,
    interface: &Interface,
    mtu: u64,
    (limit, why): (u32, &'static str),
) -> Result<u16, StepError> {
    let ip6 = interface.ip6.is_enabled() && owner != Owner::KERNEL;
    let (least, why) = match ip6 {
        true if mtu < Ip6::MIN_MTU.into() => (Ip6::MIN_MTU.into(), "; IPv6 is enabled there"),
        _ => (LEAST, why),
    };
    let size = u16::try_from(mtu).ok().filter(|size| (least..=limit).contains(&u32::from(*size)));
    size.ok_or_else(|| StepError::Mtu { name: interface.name.clone(), mtu, least, limit, why })
}

/// The MTU of the port below a sub-interface.
pub(crate) fn of_port(control: &Control, index: InterfaceIndex) -> Option<u16> {
    let port = control.interfaces.get(index)?.parent()?;
    Some(control.interfaces.get(port)?.mtu)
}

/// The port of a sub-interface has an MTU of `size` now.
fn follow(
    trial: &mut Trial<'_>,
    sub: InterfaceIndex,
    size: u16,
    limit: (u32, &'static str),
) -> Result<(), StepError> {
    let asked = trial.control().claims.get(&Object::Setting(&MTU, Some(sub))).map(|entry| entry.value());
    let mtu = match asked {
        Some(Value::Number(asked)) => u64::from(size).min(*asked),
        _ => size.into(),
    };
    let mtu = fits(trial.owner(), trial.interface(sub)?, mtu, limit)?;
    trial.change(sub, |interface| interface.mtu = mtu)
}
