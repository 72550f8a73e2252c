// SPDX-License-Identifier: Apache-2.0
//! `create loopback interface`, `delete loopback interface`.

use weft_cli::{Args, CliError, Command};
use weft_control::ChangeSet;
use weft_devices::loopback::LOOPBACK;
use weft_engine::InterfaceIndex;

use crate::cli::create::{common, create, delete};
use crate::cli::refused;
use crate::config::interfaces::{Interface, Loopback};
use crate::config::values::InterfaceName;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        create("create loopback interface", create_loopback)
            .synopsis("[mac <mac>] [instance <n>]")
            .help("Make an interface without a device"),
        delete("delete loopback interface", &LOOPBACK, "loopback interface")
            .synopsis("intfc <interface>")
            .help("Delete a loopback interface"),
    ]
}

fn create_loopback(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<InterfaceIndex, CliError> {
    let (mut mac, mut instance) = (None, None);
    while !args.is_empty() {
        if args.keyword("mac") {
            mac = Some(args.parse("MAC address")?);
        } else if args.keyword("instance") {
            instance = Some(args.parse("number")?);
        } else {
            return Err(args.unexpected());
        }
    }
    let instance = instance.unwrap_or_else(|| dataplane.free_loopback(changes));
    let name: InterfaceName = format!("loop{instance}").parse().map_err(refused)?;
    let loopback = Loopback { common: common(name), instance, mac };
    Interface::new(loopback).create(dataplane, changes).map_err(refused)
}
