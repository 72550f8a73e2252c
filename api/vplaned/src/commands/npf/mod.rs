// SPDX-License-Identifier: Apache-2.0
//! Firewall, ACL and their kin: `npf-cfg`.
//!
//! Rules stand in groups, groups are attached to interfaces, and commands come in any order: a group may be attached
//! before it has rules, an interface may not exist yet. So commands only change what is wanted ([`Store`]); what is wanted
//! is handed to the classifier as a whole at `commit`, and at the end of a snapshot, which commits by itself.
//!
//! Stateless and stateful IPv4 filtering is understood down to the single match ([`NpfRule`]). What belongs to other
//! features (NAT, zones, ...) is told apart and refused by name.

mod names;
mod rule;
mod store;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::{CommandError, Feature, Words};

pub use self::names::{AttachPoint, GroupClass, GroupName, Ruleset};
pub use self::rule::{
    AddressMatch, Decision, FilterRule, IcmpMatch, Match, NpfRule, PortMatch, ProtocolMatch, TcpFlag,
};
pub use self::store::{Attachment, Group, Store};

/// The feature.
#[derive(Debug)]
pub struct Npf;

/// A range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    pub first: IpAddr,
    pub last: IpAddr,
    /// How it was written: the same addresses in another form are another entry, and shown as they were given.
    pub form: AddressForm,
}

/// How addresses of a group were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressForm {
    /// An address alone.
    Address,
    /// Address and length.
    Prefix(u8),
    /// First and last.
    Range,
}

impl AddressRange {
    /// The fewest prefixes that are all of it.
    pub fn prefixes(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What an `npf-cfg` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NpfCommand {
    /// Creates or replaces a rule, and its group with it.
    AddRule {
        group: GroupName,
        index: u32,
        rule: NpfRule,
    },
    DeleteRule {
        group: GroupName,
        index: u32,
    },
    DeleteGroup {
        group: GroupName,
    },
    Attach {
        point: AttachPoint,
        ruleset: Ruleset,
        group: GroupName,
    },
    Detach {
        point: AttachPoint,
        ruleset: Ruleset,
        group: GroupName,
    },
    Commit,
    CreateAddressGroup {
        name: String,
    },
    DeleteAddressGroup {
        name: String,
    },
    AddAddresses {
        name: String,
        range: AddressRange,
    },
    RemoveAddresses {
        name: String,
        range: AddressRange,
    },
    TcpStrict(bool),
    IcmpStrict(bool),
    Timeout {
        vrf: u32,
        protocol: String,
        state: String,
        /** `None`: the default */
        seconds: Option<u32>,
    },
}

impl Feature for Npf {
    const WORDS: &'static [&'static str] = &["npf-cfg"];
    type Value = NpfCommand;

    fn text(mut words: Words<'_>) -> Result<NpfCommand, CommandError> {
        let command = match words.word("add, delete, attach, detach, commit, fw, zone or app-grp")? {
            "add" => add(&mut words)?,
            "delete" => return delete(words),
            "attach" => {
                let (point, ruleset, group) = attachment(&mut words)?;
                NpfCommand::Attach { point, ruleset, group }
            }
            "detach" => {
                let (point, ruleset, group) = attachment(&mut words)?;
                NpfCommand::Detach { point, ruleset, group }
            }
            "commit" => NpfCommand::Commit,
            "fw" => firewall(&mut words)?,
            "zone" => return Err(CommandError::Unsupported("zones".to_owned())),
            "app-grp" => return Err(CommandError::Unsupported("application groups".to_owned())),
            _ => return Err(words.wrong_last("add, delete, attach, detach, commit, fw, zone or app-grp")),
        };
        words.end()?;
        Ok(command)
    }
}

fn group(words: &mut Words<'_>) -> Result<GroupName, CommandError> {
    words.value("CLASS:NAME with a class of groups")
}

fn index(words: &mut Words<'_>) -> Result<u32, CommandError> {
    words.value("the number of a rule")
}

fn add(words: &mut Words<'_>) -> Result<NpfCommand, CommandError> {
    let group = group(words)?;
    let index = index(words)?;
    let rule = NpfRule::parse(group.class, index, words)?;
    Ok(NpfCommand::AddRule { group, index, rule })
}

/// What stands after the number repeats the rule, and does not matter.
fn delete(mut words: Words<'_>) -> Result<NpfCommand, CommandError> {
    let group = group(&mut words)?;
    if words.is_empty() {
        return Ok(NpfCommand::DeleteGroup { group });
    }
    Ok(NpfCommand::DeleteRule { group, index: index(&mut words)? })
}

fn attachment(words: &mut Words<'_>) -> Result<(AttachPoint, Ruleset, GroupName), CommandError> {
    let point = words.value("interface:NAME, global:, vrf:ID or another attach point")?;
    let ruleset = words.value("a type of ruleset, as fw-in or acl-out")?;
    Ok((point, ruleset, group(words)?))
}

fn firewall(words: &mut Words<'_>) -> Result<NpfCommand, CommandError> {
    match words.word("table, global, alg, session-log or session-limit")? {
        "table" => address_group(words),
        "global" => global(words),
        "alg" => Err(CommandError::Unsupported("application level gateways".to_owned())),
        "session-log" => Err(CommandError::Unsupported("logging of sessions by state".to_owned())),
        "session-limit" => Err(CommandError::Unsupported("limits of sessions".to_owned())),
        _ => Err(words.wrong_last("table, global, alg, session-log or session-limit")),
    }
}

fn address_group(words: &mut Words<'_>) -> Result<NpfCommand, CommandError> {
    let what = words.one_of(&[("create", 0), ("delete", 1), ("add", 2), ("remove", 3)])?;
    let name = words.word("the name of an address group")?.to_owned();
    Ok(match what {
        0 => NpfCommand::CreateAddressGroup { name },
        1 => NpfCommand::DeleteAddressGroup { name },
        2 => NpfCommand::AddAddresses { name, range: range(words)? },
        _ => NpfCommand::RemoveAddresses { name, range: range(words)? },
    })
}

/// `ADDR`, `PREFIX/LEN`, or `FIRST LAST`.
fn range(words: &mut Words<'_>) -> Result<AddressRange, CommandError> {
    let expected = "ADDRESS, PREFIX/LENGTH or FIRST LAST";
    let first = words.word(expected)?;
    if let Ok(prefix) = first.parse::<IpNet>() {
        let form = AddressForm::Prefix(prefix.prefix_len());
        return Ok(AddressRange { first: prefix.network(), last: prefix.broadcast(), form });
    }
    let first: IpAddr = first.parse().map_err(|_| words.wrong_last(expected))?;
    if words.is_empty() {
        return Ok(AddressRange { first, last: first, form: AddressForm::Address });
    }
    let last: IpAddr = words.value("the last address of the range")?;
    if last.is_ipv4() != first.is_ipv4() || last < first {
        return Err(words.wrong_last("an address of the same family, not before the first"));
    }
    Ok(AddressRange { first, last, form: AddressForm::Range })
}

fn global(words: &mut Words<'_>) -> Result<NpfCommand, CommandError> {
    let on_off = [("enable", true), ("disable", false)];
    match words.word("tcp-strict, icmp-strict or timeout")? {
        "tcp-strict" => Ok(NpfCommand::TcpStrict(words.one_of(&on_off)?)),
        "icmp-strict" => Ok(NpfCommand::IcmpStrict(words.one_of(&on_off)?)),
        "timeout" => {
            let vrf = words.value("the number of a VRF")?;
            let update = words.one_of(&[("update", true), ("delete", false)])?;
            let protocol = words.word("a protocol")?.to_owned();
            let state = words.word("a state")?.to_owned();
            // A delete repeats the value or leaves it out.
            let given = if update || !words.is_empty() { Some(words.value("seconds")?) } else { None };
            Ok(NpfCommand::Timeout { vrf, protocol, state, seconds: given.filter(|_| update) })
        }
        _ => Err(words.wrong_last("tcp-strict, icmp-strict or timeout")),
    }
}
