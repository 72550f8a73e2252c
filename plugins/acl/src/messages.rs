// SPDX-License-Identifier: Apache-2.0
//! The messages of VPP's acl plugin that this one can do as they say. Lists are those of the command line too.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use weft_binapi::api::acl::{
    AclAddReplace, AclAddReplaceReply, AclDel, AclDelReply, AclDetails, AclDump, AclInterfaceAddDel,
    AclInterfaceAddDelReply, AclInterfaceListDetails, AclInterfaceListDump, AclInterfaceSetAclList,
    AclInterfaceSetAclListReply, AclPluginControlPing, AclPluginControlPingReply,
    AclPluginGetConnTableMaxEntries, AclPluginGetConnTableMaxEntriesReply, AclPluginGetVersion,
    AclPluginGetVersionReply, AclPluginUseHashLookupGet, AclPluginUseHashLookupGetReply,
    MacipAclInterfaceGet, MacipAclInterfaceGetReply,
};
use weft_binapi::api::acl_types::{AclAction, AclRule};
use weft_binapi::api::interface_types::InterfaceIndex as ApiInterface;
use weft_binapi::api::ip_types::{IpProto, Prefix as ApiPrefix};
use weft_binapi::plugin::{dump, request};
use weft_binapi::{Retval, Text};
use weft_plugin_sdk::{ApiMessage, Direction, InterfaceIndex, Main, Result, Setup};

use crate::Acl;
use crate::model::{At, List, Lists, Number};
use crate::rule::{self, ANY, Ace, ICMP, ICMP6, Permission, TcpFlags};

/// Of a list: make a new one. Of a dump: all.
const ALL: u32 = u32::MAX;
/// What clients of `acl_interface_set_acl_list` are told of a list that stands twice in one direction.
const TWICE: i32 = 1;
/// Of VPP's plugin: clients compare it with what they can do.
const VERSION: (u32, u32) = (1, 4);

/// Registers all of them.
pub fn register(setup: &mut Setup<'_, Acl>) -> Result<()> {
    messages().into_iter().try_for_each(|message| setup.api_message(message))
}

/// All that are answered here. A reply without a return value cannot say that nobody handles the request, so all of those are.
fn messages() -> Vec<ApiMessage<Acl>> {
    vec![
        // Connections are flows of the flow tracker.
        request(|_, main: &mut Main<'_>, _, AclPluginGetConnTableMaxEntries {}| {
            Ok(AclPluginGetConnTableMaxEntriesReply { conn_table_max_entries: main.flow_limit() })
        }),
        // Rules are compiled for the classifier, which never goes through them one by one.
        request(|_, _, _, AclPluginUseHashLookupGet {}| Ok(AclPluginUseHashLookupGetReply { enable: true })),
        // No interface has a MACIP list: there are none.
        request(|_, _, _, MacipAclInterfaceGet {}| Ok(MacipAclInterfaceGetReply { acls: Vec::new() })),
        request(|_, _, _, AclPluginGetVersion {}| {
            Ok(AclPluginGetVersionReply { major: VERSION.0, minor: VERSION.1 })
        }),
        request(|_, _, client, AclPluginControlPing {}| {
            let (client_index, vpe_pid) = (client.index, std::process::id());
            Ok(AclPluginControlPingReply { retval: 0, client_index, vpe_pid })
        }),
        request(|acl: &mut Acl, main, _, message| acl.add_replace(main, &message)),
        request(|acl: &mut Acl, main, _, AclDel { acl_index }| {
            acl.made(main, |lists| delete(lists, Number(acl_index)))?;
            Ok(AclDelReply { retval: 0 })
        }),
        request(|acl: &mut Acl, main, _, message: AclInterfaceAddDel| {
            let at = at(main, message.sw_if_index, message.is_input)?;
            let number = Number(message.acl_index);
            acl.made(main, |lists| match message.is_add {
                true => add(lists, at, number),
                false => lists.take_off(&at, number).map_err(|_| Retval::NO_SUCH_ENTRY),
            })?;
            Ok(AclInterfaceAddDelReply { retval: 0 })
        }),
        request(|acl: &mut Acl, main, _, message| acl.set_list(main, &message)),
        dump(|acl: &mut Acl, _, AclDump { acl_index }, place| {
            let from = Number(u32::try_from(place).ok()?);
            let wanted = |number: Number| *acl_index == ALL || *acl_index == number.0;
            let (number, list) = acl.lists.lists.range(from..).find(|(number, _)| wanted(**number))?;
            Some((number.0.into(), details(*number, list)))
        }),
        dump(|acl: &mut Acl, main, AclInterfaceListDump { sw_if_index }, place| {
            let wanted = |index: &InterfaceIndex| sw_if_index.0 == ALL || sw_if_index.0 == index.0;
            let behind = |index: &InterfaceIndex| u64::from(index.0) >= place;
            let interface = main.interfaces().into_iter().find(|index| wanted(index) && behind(index))?;
            Some((interface.0.into(), list_details(&acl.lists, interface)))
        }),
    ]
}

impl Acl {
    /// Changes the lists, and the rules with them, or neither.
    fn made<R>(
        &mut self,
        main: &mut Main<'_>,
        change: impl FnOnce(&mut Lists) -> std::result::Result<R, Retval>,
    ) -> std::result::Result<R, Retval> {
        let mut refused = None;
        let changed = self.change(main, |lists| {
            change(lists).map_err(|retval| {
                refused = Some(retval);
                retval.into()
            })
        });
        changed.map_err(|_| refused.unwrap_or(Retval::UNSPECIFIED))
    }

    fn add_replace(
        &mut self,
        main: &mut Main<'_>,
        message: &AclAddReplace,
    ) -> std::result::Result<AclAddReplaceReply, Retval> {
        let tag = message.tag.get().filter(|_| message.tag.is_terminated()).ok_or(Retval::INVALID_VALUE)?;
        let rules: std::result::Result<Vec<Ace>, Retval> = message.r.iter().map(read).collect();
        let (tag, rules) = (tag.to_owned(), rules?);
        let number = (message.acl_index != ALL).then_some(Number(message.acl_index));
        let number =
            self.made(main, |lists| lists.set(number, Some(tag), rules).map_err(|_| Retval::NO_SUCH_ENTRY))?;
        Ok(AclAddReplaceReply { acl_index: number.0, retval: 0 })
    }

    /// All lists of an interface at once, in both directions.
    fn set_list(
        &mut self,
        main: &mut Main<'_>,
        message: &AclInterfaceSetAclList,
    ) -> std::result::Result<AclInterfaceSetAclListReply, Retval> {
        let (input, output) =
            message.acls.split_at_checked(message.n_input.into()).ok_or(Retval::INVALID_VALUE)?;
        let both = [(true, input), (false, output)]
            .map(|(is_input, acls)| at(main, message.sw_if_index, is_input).map(|at| (at, acls)));
        self.made(main, |lists| {
            for one in both {
                let (at, acls) = one?;
                lists.applied.remove(&at);
                for acl in acls {
                    add(lists, at.clone(), Number(*acl)).map_err(|retval| match retval {
                        Retval::ENTRY_ALREADY_EXISTS => Retval::new(TWICE).unwrap_or(retval),
                        other => other,
                    })?;
                }
            }
            Ok(())
        })?;
        Ok(AclInterfaceSetAclListReply { retval: 0 })
    }
}

fn at(main: &mut Main<'_>, interface: ApiInterface, is_input: bool) -> std::result::Result<At, Retval> {
    let interface = InterfaceIndex(interface.0);
    let name = main.interface_name(interface).ok_or(Retval::INVALID_SW_IF_INDEX)?;
    let direction = if is_input { Direction::Input } else { Direction::Output };
    Ok(At { interface, name, direction })
}

fn add(lists: &mut Lists, at: At, number: Number) -> std::result::Result<(), Retval> {
    lists.get(number).map_err(|_| Retval::NO_SUCH_ENTRY)?;
    lists.apply(at, number).map_err(|_| Retval::ENTRY_ALREADY_EXISTS)
}

fn delete(lists: &mut Lists, number: Number) -> std::result::Result<(), Retval> {
    lists.get(number).map_err(|_| Retval::NO_SUCH_ENTRY)?;
    if let Some((at, _)) = lists.applied.iter().find(|(_, numbers)| numbers.contains(&number)) {
        return Err(match at.direction {
            Direction::Input => Retval::ACL_IN_USE_INBOUND,
            Direction::Output => Retval::ACL_IN_USE_OUTBOUND,
        });
    }
    lists.delete(number).map_err(|_| Retval::UNSPECIFIED)
}

/// A rule of a message. Ports of a protocol that has none mean nothing, as in VPP.
fn read(rule: &AclRule) -> std::result::Result<Ace, Retval> {
    let range = |first: u16, last: u16| match first <= last {
        true => Ok(first..=last),
        false => Err(Retval::INVALID_VALUE_2),
    };
    let source = range(rule.srcport_or_icmptype_first, rule.srcport_or_icmptype_last)?;
    let destination = range(rule.dstport_or_icmpcode_first, rule.dstport_or_icmpcode_last)?;
    let of = |range: RangeInclusive<u16>| match rule.proto.0 {
        // A type or code is one byte.
        ICMP | ICMP6 if range != ANY => *range.start()..=(*range.end()).min(255),
        ICMP | ICMP6 | 6 | 17 | 33 | 132 | 136 => range,
        _ => ANY,
    };
    let read = Ace {
        permission: match rule.is_permit {
            AclAction::DENY => Permission::Deny,
            AclAction::PERMIT => Permission::Permit,
            AclAction::PERMIT_REFLECT => Permission::Reflect,
            _ => return Err(Retval::INVALID_VALUE),
        },
        from: prefix(&rule.src_prefix, Retval::INVALID_SRC_ADDRESS)?,
        to: prefix(&rule.dst_prefix, Retval::INVALID_DST_ADDRESS)?,
        protocol: Some(rule.proto.0).filter(|protocol| *protocol != 0),
        source: of(source),
        destination: of(destination),
        flags: (rule.tcp_flags_mask != 0 || rule.tcp_flags_value != 0)
            .then_some(TcpFlags { mask: rule.tcp_flags_mask, value: rule.tcp_flags_value }),
    };
    if read.source.is_empty() || read.destination.is_empty() {
        return Err(Retval::INVALID_VALUE_2);
    }
    rule::check(&read).map(|()| read).map_err(|_| Retval::INVALID_VALUE)
}

/// Bits beyond the length are refused, as by VPP.
fn prefix(prefix: &ApiPrefix, bad: Retval) -> std::result::Result<IpNet, Retval> {
    let (address, length) = prefix.get().ok_or(bad)?;
    IpNet::new(address, length).ok().filter(|net| net.trunc() == *net).ok_or(bad)
}

fn written(rule: &Ace) -> AclRule {
    let prefix = |net: IpNet| ApiPrefix::from((net.addr(), net.prefix_len()));
    let flags = rule.flags.unwrap_or(TcpFlags { mask: 0, value: 0 });
    AclRule {
        is_permit: match rule.permission {
            Permission::Deny => AclAction::DENY,
            Permission::Permit => AclAction::PERMIT,
            Permission::Reflect => AclAction::PERMIT_REFLECT,
        },
        src_prefix: prefix(rule.from),
        dst_prefix: prefix(rule.to),
        proto: IpProto(rule.protocol.unwrap_or(0)),
        srcport_or_icmptype_first: *rule.source.start(),
        srcport_or_icmptype_last: *rule.source.end(),
        dstport_or_icmpcode_first: *rule.destination.start(),
        dstport_or_icmpcode_last: *rule.destination.end(),
        tcp_flags_mask: flags.mask,
        tcp_flags_value: flags.value,
    }
}

fn details(number: Number, list: &List) -> AclDetails {
    let rules = list.rules.iter().map(|(_, rule)| written(rule)).collect();
    AclDetails { acl_index: number.0, tag: Text::new(&list.tag), r: rules }
}

fn list_details(lists: &Lists, interface: InterfaceIndex) -> AclInterfaceListDetails {
    let of = |direction| {
        let here =
            lists.applied.iter().find(|(at, _)| at.interface == interface && at.direction == direction);
        here.map(|(_, numbers)| numbers.iter().map(|number| number.0).collect()).unwrap_or_default()
    };
    let (mut acls, output): (Vec<u32>, Vec<u32>) = (of(Direction::Input), of(Direction::Output));
    let n_input = u8::try_from(acls.len()).unwrap_or(u8::MAX);
    acls.extend(output);
    AclInterfaceListDetails { sw_if_index: ApiInterface(interface.0), n_input, acls }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use weft_binapi::api::MODULES;
    use weft_binapi::message::Role;
    use weft_plugin_sdk::Words;

    #[test]
    fn what_cannot_be_refused_is_answered() {
        let module = MODULES.iter().find(|module| module.name == "acl").expect("it is defined");
        let info = |name: &str| module.messages.iter().find(|info| info.name == name);
        let answered: Vec<_> = messages().iter().map(ApiMessage::name).collect();
        let mut without = module.messages.iter().filter(|request| match request.role {
            Role::Request { reply, .. } => info(reply).is_some_and(|reply| reply.retval_at.is_none()),
            _ => false,
        });
        assert!(without.clone().count() >= 4, "version, lookup, table, MACIP");
        assert!(without.all(|request| answered.contains(&request.name)), "{answered:?}");
    }

    #[test]
    fn what_the_command_line_can_say_comes_back_by_a_message() {
        for text in [
            "deny",
            "permit src 10.0.0.0/8 dst 192.0.2.1/32 proto 6 sport 1024-65535 dport 80",
            "permit+reflect proto 6 tcpflags 2 mask 18",
            "permit proto 1 sport 3-4 dport 0-1",
            "permit proto 47",
            "permit src 2001:db8::/32 proto 58 sport 128-129",
        ] {
            let rule = rule::read(&mut Words::new(text)).expect("good");
            assert_eq!(read(&written(&rule)), Ok(rule), "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        let good = written(&rule::read(&mut Words::new("permit src 10.0.0.0/8 proto 6")).expect("good"));
        let v6 = ApiPrefix::from((IpAddr::from(std::net::Ipv6Addr::LOCALHOST), 128));
        let v4 = ApiPrefix::from((IpAddr::from(Ipv4Addr::new(10, 0, 0, 0)), 8));
        let host_bits = ApiPrefix::from((IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), 8));
        let too_long = ApiPrefix::from((IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), 33));
        for (bad, retval) in [
            (AclRule { is_permit: AclAction(3), ..good }, Retval::INVALID_VALUE),
            (AclRule { src_prefix: v6, dst_prefix: v4, ..good }, Retval::INVALID_VALUE),
            (AclRule { src_prefix: host_bits, ..good }, Retval::INVALID_SRC_ADDRESS),
            (AclRule { dst_prefix: too_long, ..good }, Retval::INVALID_DST_ADDRESS),
            (
                AclRule { srcport_or_icmptype_first: 9, srcport_or_icmptype_last: 8, ..good },
                Retval::INVALID_VALUE_2,
            ),
            (AclRule { tcp_flags_value: 2, ..good }, Retval::INVALID_VALUE),
            (AclRule { proto: IpProto(1), srcport_or_icmptype_first: 256, ..good }, Retval::INVALID_VALUE_2),
        ] {
            assert_eq!(read(&bad), Err(retval), "{bad:?}");
        }
        let no_ports = AclRule { proto: IpProto(0), srcport_or_icmptype_last: 0, ..good };
        assert_eq!(read(&no_ports).map(|rule| (rule.protocol, rule.source)), Ok((None, ANY)));
    }
}
