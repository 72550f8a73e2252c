// SPDX-License-Identifier: Apache-2.0
//! `create sub-interfaces` and `delete sub-interface`, and what the commands have in common by which interfaces come and go:
//! those of each kind of device are with it ([`crate::ports`]). Words are read into the same types as those of
//! `interfaces { ... }`, so both ways make the same thing.

use weft_cli::args::CommandOption;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::ChangeSet;
use weft_devices::device::DeviceKind;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, VlanId};
use weft_nodes::interface::Tags;

use super::{change, complete_interface, interface, note, refused};
use crate::config::Span;
use crate::config::interfaces::Common;
use crate::config::values::InterfaceName;
use crate::config::words::set_some;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(
            create("create sub-interfaces", create_sub),
            &["dot1q", "dot1ad", "inner-dot1q", "exact-match"],
        )
        .synopsis("<port> <id> [dot1q|dot1ad <vlan>] [inner-dot1q <vlan>] [exact-match]")
        .help("Make an interface of the frames of a port that carry these VLAN tags"),
        delete_if("delete sub-interface", "sub-interface", |dataplane, changes, index| {
            changes.port_below(dataplane, index).is_some()
        })
        .synopsis("<interface>")
        .help("Delete a sub-interface"),
    ]
}

/// A command that creates an interface, and answers with its name, as VPP does.
pub(crate) fn create(
    path: &str,
    handler: impl Fn(&Dataplane, &mut ChangeSet, &mut Args<'_>) -> Result<InterfaceIndex, CliError> + 'static,
) -> Command<Dataplane> {
    note(path, move |dataplane, changes, args| {
        let index = handler(dataplane, changes, args)?;
        Ok(Reply::new(changes.interface_name(dataplane, index), Clone::clone))
    })
}

pub(crate) fn common(name: InterfaceName) -> Common {
    Common::new(name, Span::default())
}

/// A command that deletes interfaces of one kind. Of what the same change creates, the kind is not asked.
pub(crate) fn delete(path: &str, kind: &'static DeviceKind, expected: &'static str) -> Command<Dataplane> {
    delete_if(path, expected, |dataplane, changes, index| {
        changes.creates(index) || dataplane.devices().is(index, kind)
    })
}

fn delete_if(
    path: &str,
    expected: &'static str,
    is_of_kind: impl Fn(&Dataplane, &ChangeSet, InterfaceIndex) -> bool + 'static,
) -> Command<Dataplane> {
    let command = change(path, move |dataplane, changes, args| {
        // A word of VPP's `delete loopback interface`.
        let _ = args.keyword("intfc");
        note_deletion(dataplane, changes, args, expected, &is_of_kind)
    });
    complete_interface(command, &[])
}

/// Notes that an interface is to be deleted, if it is of the kind that is expected.
pub(crate) fn note_deletion(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    expected: &str,
    is_of_kind: impl Fn(&Dataplane, &ChangeSet, InterfaceIndex) -> bool,
) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    if !is_of_kind(dataplane, changes, index) {
        return Err(args.reject(format!("'{}' is no {expected}", changes.interface_name(dataplane, index))));
    }
    args.finish()?;
    changes.delete_interface(dataplane, index).map_err(refused)
}

fn vlan(args: &mut Args<'_>) -> Result<VlanId, CliError> {
    args.parse_with("VLAN", |text| {
        let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
        number.and_then(VlanId::new).ok_or("VLANs are numbered from 1 to 4094")
    })
}

const TAGS: &[CommandOption<Tags>] = &[
    ("dot1q", |tags, args| set_some(&mut tags.outer, vlan(args).map(|vlan| (EtherType::VLAN, vlan)))),
    ("dot1ad", |tags, args| set_some(&mut tags.outer, vlan(args).map(|vlan| (EtherType::QINQ, vlan)))),
    ("inner-dot1q", |tags, args| set_some(&mut tags.inner, vlan(args))),
    // There is no other match here.
    ("exact-match", |_, _| Ok(())),
];

fn create_sub(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<InterfaceIndex, CliError> {
    let port = interface(args, dataplane, changes)?;
    let id: u32 = args.parse("number")?;
    let mut tags = Tags::default();
    args.options(&mut tags, TAGS)?;
    if tags.outer.is_none() {
        // As in VPP: without tags the number is the VLAN.
        let vlan = u16::try_from(id).ok().filter(|id| (1..=4094).contains(id)).and_then(VlanId::new);
        let no_vlan = || CliError::new(format!("{id} is no VLAN: expected dot1q or dot1ad and a VLAN"));
        tags.outer = Some((EtherType::VLAN, vlan.ok_or_else(no_vlan)?));
    }
    changes.create_sub_interface(dataplane, port, id, tags).map_err(refused)
}
