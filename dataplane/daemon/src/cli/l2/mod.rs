// SPDX-License-Identifier: Apache-2.0
//! `create bridge-domain`, `set interface l2|l3`, `set bridge-domain`, `l2fib`, `show bridge-domain`, `show l2fib`, `show mode`.

mod show;
#[cfg(test)]
mod tests;

use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, DomainChange, PortChange};
use weft_engine::InterfaceIndex;
use weft_l2::{LinkGroups, Mode, Rewrite, Role, Tag, Target};
use weft_nodes::headers::{EtherType, MacAddr, VlanId};

use super::{change, complete_interface, interface, present_interface, refused};
use crate::state::Dataplane;

type Switch = fn(bool) -> DomainChange;

/// VPP's switches of a domain.
const SWITCHES: [(&str, Switch); 4] = [
    ("learn", DomainChange::Learn),
    ("forward", DomainChange::Forward),
    ("flood", DomainChange::Flood),
    ("uu-flood", DomainChange::UnknownFlood),
];

/// What becomes of frames to a group of the link itself.
const LINK_GROUPS: [(&str, LinkGroups); 3] =
    [("punt", LinkGroups::Punt), ("drop", LinkGroups::Drop), ("forward", LinkGroups::Forward)];

pub fn commands() -> Vec<Command<Dataplane>> {
    let mut commands = vec![
        change("create bridge-domain", create)
            .synopsis(
                "<id> [learn 0|1] [forward 0|1] [flood 0|1] [uu-flood 0|1] [mac-age <minutes>] \
                 [learn-limit <n>|none] [link-groups punt|drop|forward] [bd-tag <tag>] [del]",
            )
            .help("Make a bridge domain, or delete one that has no ports"),
        complete_interface(change("set interface l2 bridge", bridge), &["bvi", "uu-fwd", "shg"])
            .synopsis("<interface> <id> [bvi|uu-fwd] [[shg] <group>]")
            .help("Make an interface a port of a bridge domain"),
        complete_interface(change("set interface l2 xconnect", cross), &[])
            .synopsis("<interface> <other>")
            .help("Have all that arrives on an interface leave by another one"),
        complete_interface(
            change("set interface l2 tag-rewrite", rewrite),
            &["disable", "pop", "push", "translate"],
        )
        .synopsis(
            "<interface> disable | pop 1|2 | push dot1q|dot1ad <vlan> [<vlan>] | \
                 translate 1-1|1-2|2-1|2-2 dot1q|dot1ad <vlan> [<vlan>]",
        )
        .help(
            "Take VLAN tags off frames that arrive, or put some on; the other way round on those that leave",
        ),
        complete_interface(
            change("set interface l2 learn", |dataplane, changes, args| {
                let index = interface(args, dataplane, changes)?;
                let on = !args.keyword("disable");
                args.finish()?;
                changes.change_port(index, PortChange::Learn(on));
                Ok(())
            }),
            &["disable"],
        )
        .synopsis("<interface> [disable]")
        .help("Learn where stations are by frames of a port, or no longer"),
        complete_interface(
            change("set interface l2 learn-limit", |dataplane, changes, args| {
                let index = interface(args, dataplane, changes)?;
                let limit = limit(args)?;
                args.finish()?;
                changes.change_port(index, PortChange::Limit(limit));
                Ok(())
            }),
            &["none"],
        )
        .synopsis("<interface> <n>|none")
        .help("Set the most stations that are learned on a port"),
        complete_interface(
            change("set interface l3", |dataplane, changes, args| {
                let index = interface(args, dataplane, changes)?;
                args.finish()?;
                changes.route_interface(index);
                Ok(())
            }),
            &[],
        )
        .synopsis("<interface>")
        .help("Route the packets of an interface again"),
        change("set bridge-domain mac-age", |_, changes, args| {
            let (id, minutes) = (args.parse("bridge domain")?, args.parse("minutes")?);
            args.finish()?;
            changes.change_bridge_domain(id, vec![DomainChange::Age(minutes)]);
            Ok(())
        })
        .synopsis("<id> <minutes>")
        .help("Forget stations that nothing was heard of for so long; 0: never"),
        change("set bridge-domain learn-limit", |_, changes, args| {
            let id = args.parse("bridge domain")?;
            let limit = limit(args)?;
            args.finish()?;
            changes.change_bridge_domain(id, vec![DomainChange::Limit(limit)]);
            Ok(())
        })
        .synopsis("<id> <n>|none")
        .help("Set the most stations that are learned in a bridge domain"),
        change("set bridge-domain link-groups", |_, changes, args| {
            let (id, groups) = (args.parse("bridge domain")?, args.one_of(&LINK_GROUPS)?);
            args.finish()?;
            changes.change_bridge_domain(id, vec![DomainChange::LinkGroups(groups)]);
            Ok(())
        })
        .synopsis("<id> punt|drop|forward")
        .help("What becomes of frames to 01:80:c2:00:00:00 to 0f, such as LLDP, LACP and STP"),
        change("l2fib add", add_station)
            .synopsis("<mac> <id> filter | <mac> <id> <interface> [static]")
            .help("Configure where a station is, or that frames from it and to it are dropped"),
        change("l2fib del", |_, changes, args| {
            let (mac, id) = (args.parse("MAC address")?, args.parse("bridge domain")?);
            args.finish()?;
            changes.delete_station(id, mac);
            Ok(())
        })
        .synopsis("<mac> <id>")
        .help("Delete the entry of a station that was configured"),
        Command::new("l2fib flush-mac all", |dataplane: &mut Dataplane, args: &mut Args<'_>| {
            args.finish()?;
            dataplane.flush_stations();
            Ok(Reply::empty())
        })
        .help("Forget all stations that were heard"),
        complete_interface(
            Command::new("l2fib flush-mac interface", |dataplane: &mut Dataplane, args: &mut Args<'_>| {
                let index = present_interface(args, dataplane)?;
                args.finish()?;
                dataplane.flush_stations_on(index);
                Ok(Reply::empty())
            }),
            &[],
        )
        .synopsis("<interface>")
        .help("Forget the stations that were heard on a port"),
        Command::new("l2fib flush-mac bridge-domain", |dataplane: &mut Dataplane, args: &mut Args<'_>| {
            let id = args.parse("bridge domain")?;
            args.finish()?;
            dataplane.flush_stations_of(id).map_err(refused)?;
            Ok(Reply::empty())
        })
        .synopsis("<id>")
        .help("Forget the stations that were heard in a bridge domain"),
    ];
    commands.extend(SWITCHES.map(|(word, make)| {
        change(format!("set bridge-domain {word}"), move |_, changes, args| {
            let id = args.parse("bridge domain")?;
            let on = !args.keyword("disable");
            args.finish()?;
            changes.change_bridge_domain(id, vec![make(on)]);
            Ok(())
        })
        .synopsis("<id> [disable]")
        .help("Switch one of the four things that a bridge domain does")
    }));
    commands.extend(show::commands());
    commands
}

/// A number, or that there is none.
fn limit(args: &mut Args<'_>) -> Result<Option<u32>, CliError> {
    if args.keyword("none") { Ok(None) } else { args.parse("number of stations").map(Some) }
}

fn create(_: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let id: u32 = args.parse("bridge domain")?;
    let mut wanted = Vec::new();
    let mut goes = false;
    'words: while !args.is_empty() {
        for (word, make) in SWITCHES {
            if args.keyword(word) {
                wanted.push(make(args.one_of(&[("0", false), ("1", true)])?));
                continue 'words;
            }
        }
        if args.keyword("mac-age") {
            wanted.push(DomainChange::Age(args.parse("minutes")?));
        } else if args.keyword("learn-limit") {
            wanted.push(DomainChange::Limit(limit(args)?));
        } else if args.keyword("link-groups") {
            wanted.push(DomainChange::LinkGroups(args.one_of(&LINK_GROUPS)?));
        } else if args.keyword("bd-tag") {
            wanted.push(DomainChange::Tag(tag(args)?));
        } else if args.keyword("del") {
            goes = true;
        } else {
            return Err(args.unexpected());
        }
    }
    match goes {
        true => changes.delete_bridge_domain(id),
        false => changes.add_bridge_domain(id, wanted),
    }
    Ok(())
}

/// A note of as many bytes as VPP's messages have room for.
fn tag(args: &mut Args<'_>) -> Result<String, CliError> {
    args.parse_with("tag", |text| match text.is_ascii() && text.len() <= 63 {
        true => Ok(text.to_owned()),
        false => Err("a tag has at most 63 ASCII characters"),
    })
}

fn bridge(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    let domain = args.parse("bridge domain")?;
    let role = if args.keyword("bvi") {
        Role::Bvi
    } else if args.keyword("uu-fwd") {
        Role::Uplink
    } else {
        Role::Normal
    };
    // VPP has the number alone.
    let group = if args.keyword("shg") || !args.is_empty() { args.parse("split-horizon group")? } else { 0 };
    args.finish()?;
    changes.switch(index, Mode::Bridged { domain, role, group });
    Ok(())
}

fn cross(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    let other = interface(args, dataplane, changes)?;
    args.finish()?;
    changes.switch(index, Mode::Crossed(other));
    Ok(())
}

fn rewrite(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    let (pop, pushed) = if args.keyword("disable") {
        args.finish()?;
        changes.rewrite_tags(index, None);
        return Ok(());
    } else if args.keyword("pop") {
        (args.one_of(&[("1", 1), ("2", 2)])?, 0)
    } else if args.keyword("push") {
        // Two if two are said.
        (0, 2)
    } else {
        args.expect("translate")?;
        args.one_of(&[("1-1", (1, 1)), ("1-2", (1, 2)), ("2-1", (2, 1)), ("2-2", (2, 2))])?
    };
    let mut push = [None, None];
    if pushed > 0 {
        let kind = args.one_of(&[("dot1q", EtherType::VLAN), ("dot1ad", EtherType::QINQ)])?;
        push[0] = Some(Tag { kind, vlan: vlan(args)? });
        if pushed == 2 && (pop > 0 || !args.is_empty()) {
            push[1] = Some(Tag { kind: EtherType::VLAN, vlan: vlan(args)? });
        }
    }
    args.finish()?;
    changes.rewrite_tags(index, Some(Rewrite { pop, push }));
    Ok(())
}

fn vlan(args: &mut Args<'_>) -> Result<VlanId, CliError> {
    args.parse_with("VLAN", |text| {
        let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
        number.and_then(VlanId::new).ok_or("VLANs are numbered from 1 to 4094")
    })
}

fn add_station(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let (mac, domain): (MacAddr, u32) = (args.parse("MAC address")?, args.parse("bridge domain")?);
    let target = match args.keyword("filter") {
        true => Target::Filter,
        false => {
            let port: InterfaceIndex = interface(args, dataplane, changes)?;
            // What is configured stays, with or without the word.
            let _ = args.keyword("static");
            Target::Port(port)
        }
    };
    args.finish()?;
    changes.add_station(domain, mac, target);
    Ok(())
}
