// SPDX-License-Identifier: Apache-2.0
//! `set interface ip address`.

use weft_cli::{Args, CliError, Command};
use weft_control::{ChangeSet, Object};

use super::super::{change, complete_interface};
use crate::config::values::prefix;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(change("set interface ip address", set), &["del"])
            .synopsis("[del] <interface> <address>/<length>|all")
            .help("Give an interface an IPv4 or IPv6 address, or take one away"),
    ]
}

fn set(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let del = args.keyword("del");
    let index = super::super::interface(args, dataplane, changes)?;
    if del && args.keyword("all") {
        changes.delete_addresses(index);
        return args.finish();
    }
    let address = args.parse_with("address with prefix length", prefix)?;
    match del {
        true => changes.delete(Object::Address(index, address)),
        false => changes.add_address(index, address),
    }
    args.finish()
}
