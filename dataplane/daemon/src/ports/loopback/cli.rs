// SPDX-License-Identifier: Apache-2.0
//! `create loopback interface`, `delete loopback interface`.

use weft_cli::{Args, CliError, Command, Reply};
use weft_devices::loopback::LOOPBACK;

use crate::cli::create::{common, created, delete};
use crate::cli::refused;
use crate::config::interfaces::Loopback;
use crate::config::values::InterfaceName;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("create loopback interface", create_loopback)
            .synopsis("[mac <mac>] [instance <n>]")
            .help("Make an interface without a device"),
        Command::new("delete loopback interface", delete_loopback)
            .synopsis("intfc <interface>")
            .help("Delete a loopback interface"),
    ]
}

fn create_loopback(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
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
    let instance = instance.unwrap_or_else(|| dataplane.free_loopback());
    let name: InterfaceName = format!("loop{instance}").parse().map_err(refused)?;
    let index =
        dataplane.create_loopback(&Loopback { common: common(name), instance, mac }).map_err(refused)?;
    Ok(created(dataplane, index))
}

fn delete_loopback(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let _ = args.keyword("intfc");
    delete(dataplane, args, &LOOPBACK, "loopback interface")
}
