// SPDX-License-Identifier: Apache-2.0
//! `create sub-interfaces` and `delete sub-interface`, and what the commands have in common by which interfaces come and go:
//! those of each kind of device are with it ([`crate::ports`]). Words are read into the same types as those of
//! `interfaces { ... }`, so both ways make the same thing.

use weft_cli::{Args, CliError, Command, Reply};
use weft_devices::device::DeviceKind;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, VlanId};

use super::{complete_interface, interface, refused};
use crate::config::Span;
use crate::config::interfaces::Common;
use crate::config::values::InterfaceName;
use crate::ports::SubInterface;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(
            Command::new("create sub-interfaces", create_sub),
            &["dot1q", "dot1ad", "inner-dot1q", "exact-match"],
        )
        .synopsis("<port> <id> [dot1q|dot1ad <vlan>] [inner-dot1q <vlan>] [exact-match]")
        .help("Make an interface of the frames of a port that carry these VLAN tags"),
        complete_interface(Command::new("delete sub-interface", delete_sub), &[])
            .synopsis("<interface>")
            .help("Delete a sub-interface"),
    ]
}

/// Answers with the name of the interface, as VPP does.
pub(crate) fn created(dataplane: &Dataplane, index: InterfaceIndex) -> Reply {
    Reply::new(dataplane.interface_name(index), Clone::clone)
}

pub(crate) fn common(name: InterfaceName) -> Common {
    Common::new(name, Span::default())
}

/// Deletes an interface that is of the kind which the command is for.
pub(crate) fn delete(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    kind: &DeviceKind,
    expected: &str,
) -> Result<Reply, CliError> {
    let index = interface(args, dataplane)?;
    if !dataplane.devices.is(index, kind) {
        return Err(args.reject(format!("'{}' is no {expected}", dataplane.interface_name(index))));
    }
    args.finish()?;
    dataplane.delete_interface(index).map_err(refused)?;
    Ok(Reply::empty())
}

fn create_sub(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let port = interface(args, dataplane)?;
    let id: u32 = args.parse("number")?;
    let vlan = |args: &mut Args<'_>| {
        args.parse_with("VLAN", |text| {
            let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
            number.and_then(VlanId::new).ok_or("VLANs are numbered from 1 to 4094")
        })
    };
    let (mut outer, mut inner) = (None, None);
    while !args.is_empty() {
        if args.keyword("dot1q") {
            outer = Some((EtherType::VLAN, vlan(args)?));
        } else if args.keyword("dot1ad") {
            outer = Some((EtherType::QINQ, vlan(args)?));
        } else if args.keyword("inner-dot1q") {
            inner = Some(vlan(args)?);
        } else if args.keyword("exact-match") {
            // There is no other match here.
        } else {
            return Err(args.unexpected());
        }
    }
    let outer = match outer {
        Some(outer) => outer,
        // As in VPP: without tags the number is the VLAN.
        None => match u16::try_from(id).ok().filter(|id| (1..=4094).contains(id)).and_then(VlanId::new) {
            Some(id) => (EtherType::VLAN, id),
            None => {
                return Err(CliError::new(format!("{id} is no VLAN: expected dot1q or dot1ad and a VLAN")));
            }
        },
    };
    let sub = SubInterface { id, outer, inner };
    let index = dataplane.create_sub_interface(port, sub).map_err(refused)?;
    Ok(created(dataplane, index))
}

fn delete_sub(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = interface(args, dataplane)?;
    if dataplane.interfaces.get(index).is_none_or(|interface| interface.parent().is_none()) {
        return Err(args.reject(format!("'{}' is no sub-interface", dataplane.interface_name(index))));
    }
    args.finish()?;
    dataplane.delete_interface(index).map_err(refused)?;
    Ok(Reply::empty())
}
