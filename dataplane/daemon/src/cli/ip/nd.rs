// SPDX-License-Identifier: Apache-2.0
//! `ip6 nd` and `set ip6 nd proxy`, with VPP's words: they set what `set interface ip6 ra-...` sets, several at once, and say what has
//! no setting, prefixes and stations that are answered for.

use ipnet::Ipv6Net;
use weft_cli::{Args, CliError, Command};
use weft_control::settings::{
    RA_INITIAL_COUNT, RA_INITIAL_INTERVAL, RA_INTERVAL, RA_LIFETIME, RA_LINK_ADDRESS, RA_MANAGED,
    RA_MIN_INTERVAL, RA_OTHER, RA_UNICAST, ROUTER_ADVERTISEMENT,
};
use weft_control::{ChangeSet, Object, Setting, Value};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::AdvertisedPrefix;

use super::super::settings::read as read_value;
use super::super::{change, complete_interface, interface};
use crate::state::Dataplane;

/// A word for a switch of an interface, and what it says without "no".
type Flag = (&'static str, &'static Setting, bool);

const FLAGS: [Flag; 6] = [
    ("ra-suppress", &ROUTER_ADVERTISEMENT, false),
    ("ra-cease", &ROUTER_ADVERTISEMENT, false),
    ("ra-managed-config-flag", &RA_MANAGED, true),
    ("ra-other-config-flag", &RA_OTHER, true),
    ("ra-suppress-link-layer", &RA_LINK_ADDRESS, false),
    ("ra-send-unicast", &RA_UNICAST, true),
];

/// A word that numbers follow: one, and perhaps another one.
type Numbers = (&'static str, &'static Setting, Option<&'static Setting>);

const NUMBERS: [Numbers; 3] = [
    ("ra-lifetime", &RA_LIFETIME, None),
    ("ra-interval", &RA_INTERVAL, Some(&RA_MIN_INTERVAL)),
    ("ra-initial", &RA_INITIAL_COUNT, Some(&RA_INITIAL_INTERVAL)),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    const SYNOPSIS: &str = "<interface> [no] ra-suppress|ra-cease|ra-managed-config-flag|ra-other-config-flag|\
        ra-suppress-link-layer|ra-send-unicast|ra-lifetime <seconds>|ra-interval <longest> [<least>]|\
        ra-initial <count> [<seconds>]|prefix <prefix> [<valid> <preferred>|infinite|default] [no-advertise] [off-link] \
        [no-onlink] [no-autoconfig] ..";
    vec![
        complete_interface(change("ip6 nd", set), WORDS)
            .synopsis(SYNOPSIS)
            .help("Say what an interface tells hosts that look for a router (RFC 4861)"),
        complete_interface(change("set ip6 nd proxy", proxy), &["del"])
            .synopsis("<interface> [del] <address>")
            .help("Answer for a station on this interface where others have the subnet of its address (RFC 4389)"),
    ]
}

const WORDS: &[&str] = &[
    "no",
    "ra-suppress",
    "ra-cease",
    "ra-managed-config-flag",
    "ra-other-config-flag",
    "ra-suppress-link-layer",
    "ra-send-unicast",
    "ra-lifetime",
    "ra-interval",
    "ra-initial",
    "prefix",
    "infinite",
    "default",
    "no-advertise",
    "off-link",
    "no-onlink",
    "no-autoconfig",
];

fn set(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    // It says something, or it is incomplete.
    one(dataplane, changes, args, index)?;
    while !args.is_empty() {
        one(dataplane, changes, args, index)?;
    }
    Ok(())
}

/// Takes one thing that is said.
fn one(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    index: InterfaceIndex,
) -> Result<(), CliError> {
    let no = args.keyword("no");
    if let Some((_, setting, means)) = FLAGS.iter().find(|(word, ..)| args.keyword(word)) {
        changes.set(setting, index, Value::Switch(*means != no));
        return Ok(());
    }
    if let Some((_, first, second)) = NUMBERS.iter().find(|(word, ..)| args.keyword(word)) {
        if no {
            let all = [Some(*first), *second].into_iter().flatten();
            all.for_each(|setting| changes.release(Object::Setting(setting, Some(index))));
            return Ok(());
        }
        changes.set(first, index, read_value(dataplane, changes, args, &first.grammar)?);
        if let Some(second) = second
            && let Some(number) = args.take_if("number", |word| word.parse().ok())
        {
            changes.set(second, index, Value::Number(number));
        }
        return Ok(());
    }
    args.expect("prefix")?;
    let prefix: Ipv6Net = args.parse_with("IPv6 prefix", |word| match word.parse::<Ipv6Net>() {
        Ok(prefix) if prefix == prefix.trunc() => Ok(prefix),
        Ok(prefix) => Err(format!("bits behind its length are set: {} has none", prefix.trunc())),
        Err(_) => Err("expected an IPv6 address, and its length after /".to_owned()),
    })?;
    if no {
        changes.delete(Object::Prefix(index, prefix));
        return Ok(());
    }
    let mut says = AdvertisedPrefix { autonomous: true, ..AdvertisedPrefix::of_subnet(prefix.prefix_len()) };
    if args.keyword("infinite") {
        (says.valid, says.preferred) = (u32::MAX, u32::MAX);
    } else if !args.keyword("default")
        && let Some(valid) = args.take_if("seconds", |word| word.parse().ok())
    {
        (says.valid, says.preferred) = (valid, args.parse("seconds")?);
    }
    loop {
        if args.keyword("no-advertise") {
            says.advertised = false;
        } else if args.keyword("off-link") || args.keyword("no-onlink") {
            says.on_link = false;
        } else if args.keyword("no-autoconfig") {
            says.autonomous = false;
        } else {
            break;
        }
    }
    changes.want(Object::Prefix(index, prefix), Value::Prefix(says));
    Ok(())
}

fn proxy(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = interface(args, dataplane, changes)?;
    let del = args.keyword("del");
    let object = Object::Proxied(index, args.parse("IPv6 address")?);
    match del {
        true => changes.delete(object),
        false => changes.want(object, Value::None),
    }
    args.finish()
}
