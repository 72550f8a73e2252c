// SPDX-License-Identifier: Apache-2.0
//! `l2`: bridge domains, their ports and stations, cross-connections, tag rewriting.
//!
//! What a domain would do with ARP (`arp_term`, `arp_ufwd`) is not there: to ask for it is refused, and not passed over.

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::l2::{
    BdFlags, BridgeDomainAddDel, BridgeDomainAddDelV2, BridgeDomainAddDelV2Reply, BridgeDomainDetails,
    BridgeDomainDump, BridgeDomainSetLearnLimit, BridgeDomainSetMacAge, BridgeDomainSwIf, BridgeFlags,
    BridgeFlagsReply, L2FibTableDetails, L2FibTableDump, L2InterfaceVlanTagRewrite, L2PortType,
    L2XconnectDetails, L2XconnectDump, L2fibAddDel, L2fibFlushAll, L2fibFlushBd, L2fibFlushInt,
    SwInterfaceSetL2Bridge, SwInterfaceSetL2Xconnect,
};
use weft_binapi::server::{Records, Registry};
use weft_control::{ChangeSet, Control, DomainChange};
use weft_engine::InterfaceIndex;
use weft_l2::{HIGHEST_ID, Mode, Rewrite, Role, Tag, Target};
use weft_nodes::headers::{EtherType, MacAddr, VlanId};

use super::{changing, index, retval};
use crate::state::Dataplane;

/// In place of the id of a domain: any.
const ANY: u32 = u32::MAX;

pub fn register(registry: &mut Registry<Dataplane>) {
    domains(registry);
    ports(registry);
    stations(registry);
}

/// What both messages say that make a domain.
struct Wanted {
    /// In the order of [`FLAGS`].
    flags: [bool; 6],
    age: u8,
    tag: Option<String>,
}

const FLAGS: [BdFlags; 6] =
    [BdFlags::LEARN, BdFlags::FWD, BdFlags::FLOOD, BdFlags::UU_FLOOD, BdFlags::ARP_TERM, BdFlags::ARP_UFWD];

fn domains(registry: &mut Registry<Dataplane>) {
    registry.change(|_, changes, _, it: BridgeDomainAddDel| {
        let wanted = Wanted {
            flags: [it.learn, it.forward, it.flood, it.uu_flood, it.arp_term, it.arp_ufwd],
            age: it.mac_age,
            tag: it.bd_tag.get().map(str::to_owned),
        };
        add_or_delete(changes, it.bd_id, it.is_add, wanted)?;
        Ok(())
    });
    registry.change(|dataplane, changes, _, it: BridgeDomainAddDelV2| {
        let wanted = Wanted {
            flags: [it.learn, it.forward, it.flood, it.uu_flood, it.arp_term, it.arp_ufwd],
            age: it.mac_age,
            tag: it.bd_tag.get().map(str::to_owned),
        };
        let bd_id = match it.is_add && it.bd_id == ANY {
            true => {
                let used = &dataplane.switch().config().domains;
                let free = (1..=HIGHEST_ID).find(|id| !used.contains_key(id));
                free.ok_or(Retval::LIMIT_EXCEEDED)?
            }
            false => it.bd_id,
        };
        add_or_delete(changes, bd_id, it.is_add, wanted)?;
        Ok(BridgeDomainAddDelV2Reply { retval: 0, bd_id })
    });
    let changed = |_: &mut Dataplane, changes: &mut ChangeSet, _: &_, message: BridgeFlags| {
        let BridgeFlags { bd_id, is_set, flags } = message;
        let wanted = change_of(flags, is_set)?;
        changes.change_bridge_domain(bd_id, wanted);
        Ok(move |dataplane: &mut Dataplane| {
            let domain = dataplane.switch().config().domains.get(&bd_id);
            let flags = domain.map_or(BdFlags::NONE, flags_of);
            BridgeFlagsReply { retval: 0, resulting_feature_bitmap: flags.0 }
        })
    };
    registry.change_as(changed, |_, _, retval| Err(retval));
    registry.change(|_, changes, _, BridgeDomainSetMacAge { bd_id, mac_age }| {
        changes.change_bridge_domain(bd_id, vec![DomainChange::Age(mac_age)]);
        Ok(())
    });
    registry.change(|_, changes, _, BridgeDomainSetLearnLimit { bd_id, learn_limit }| {
        changes.change_bridge_domain(bd_id, vec![DomainChange::Limit(Some(learn_limit))]);
        Ok(())
    });
    registry.dump(|_, _, BridgeDomainDump { bd_id, sw_if_index }| {
        // VPP has a filter by interface in the message, and answers nothing to it.
        let mut next = (sw_if_index.0 == u32::MAX).then_some(0);
        Records::new(move |dataplane: &mut Dataplane| {
            let config = dataplane.switch().config();
            let mut rest = config.domains.range(next?..).map(|(id, _)| *id);
            let id = rest.find(|id| bd_id == ANY || bd_id == *id)?;
            next = Some(id + 1);
            domain_details(dataplane, id)
        })
    });
}

fn add_or_delete(changes: &mut ChangeSet, id: u32, is_add: bool, wanted: Wanted) -> Result<(), Retval> {
    if id == 0 {
        return Err(Retval::BD_NOT_MODIFIABLE);
    }
    if !is_add {
        changes.delete_bridge_domain(id);
        return Ok(());
    }
    let mut all =
        vec![DomainChange::Age(wanted.age), DomainChange::Tag(wanted.tag.ok_or(Retval::INVALID_VALUE)?)];
    for (flag, on) in FLAGS.into_iter().zip(wanted.flags) {
        all.extend(change_of(flag, on)?);
    }
    changes.add_bridge_domain(id, all);
    Ok(())
}

/// What switching these flags on or off comes to.
fn change_of(flags: BdFlags, on: bool) -> Result<Vec<DomainChange>, Retval> {
    if on && (flags.0 & (BdFlags::ARP_TERM.0 | BdFlags::ARP_UFWD.0)) != 0 {
        return Err(Retval::UNSUPPORTED);
    }
    let known: [(BdFlags, DomainChange); 4] = [
        (BdFlags::LEARN, DomainChange::Learn(on)),
        (BdFlags::FWD, DomainChange::Forward(on)),
        (BdFlags::FLOOD, DomainChange::Flood(on)),
        (BdFlags::UU_FLOOD, DomainChange::UnknownFlood(on)),
    ];
    Ok(known.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, change)| change).collect())
}

fn flags_of(domain: &weft_l2::Domain) -> BdFlags {
    let flags = [
        (domain.learn, BdFlags::LEARN),
        (domain.forward, BdFlags::FWD),
        (domain.flood, BdFlags::FLOOD),
        (domain.unknown_flood, BdFlags::UU_FLOOD),
    ];
    flags.into_iter().filter(|(on, _)| *on).fold(BdFlags::NONE, |all, (_, flag)| all | flag)
}

fn domain_details(control: &Control, id: u32) -> Option<BridgeDomainDetails> {
    let config = control.switch().config();
    let domain = config.domains.get(&id)?;
    let of_role = |role| config.members(id).find(|(_, its, _)| *its == role).map(|(index, ..)| index);
    let or_none = |interface: Option<InterfaceIndex>| index(interface.unwrap_or(InterfaceIndex::NONE));
    let members = config.members(id).filter(|(_, role, _)| *role != Role::Uplink);
    Some(BridgeDomainDetails {
        bd_id: id,
        flood: domain.flood,
        uu_flood: domain.unknown_flood,
        forward: domain.forward,
        learn: domain.learn,
        arp_term: false,
        arp_ufwd: false,
        mac_age: domain.age,
        bd_tag: domain.tag.as_str().into(),
        bvi_sw_if_index: or_none(of_role(Role::Bvi)),
        uu_fwd_sw_if_index: or_none(of_role(Role::Uplink)),
        sw_if_details: members
            .map(|(interface, _, shg)| BridgeDomainSwIf { context: 0, sw_if_index: index(interface), shg })
            .collect(),
    })
}

fn ports(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, it: SwInterfaceSetL2Bridge| {
        let interface = changing(dataplane, changes, it.rx_sw_if_index)?;
        let role = match it.port_type {
            L2PortType::NORMAL => Role::Normal,
            L2PortType::BVI => Role::Bvi,
            L2PortType::UU_FWD => Role::Uplink,
            _ => return Err(Retval::INVALID_VALUE),
        };
        match it.enable {
            true if it.bd_id == 0 => return Err(Retval::BD_NOT_MODIFIABLE),
            true => changes.switch(interface, Mode::Bridged { domain: it.bd_id, role, group: it.shg }),
            false => changes.route_interface(interface),
        }
        Ok(())
    });
    registry.change(|dataplane, changes, _, it: SwInterfaceSetL2Xconnect| {
        let interface = changing(dataplane, changes, it.rx_sw_if_index)?;
        match it.enable {
            true => {
                let other = changing(dataplane, changes, it.tx_sw_if_index)?;
                changes.switch(interface, Mode::Crossed(other));
            }
            false => changes.route_interface(interface),
        }
        Ok(())
    });
    registry.dump(|_, _, L2XconnectDump {}| {
        let mut next = InterfaceIndex(0);
        Records::new(move |dataplane: &mut Dataplane| {
            let mut rest = dataplane.switch().config().ports.range(next..);
            let (from, to) = rest.find_map(|(from, port)| match port.mode {
                Mode::Crossed(to) => Some((*from, to)),
                Mode::Bridged { .. } => None,
            })?;
            next = InterfaceIndex(from.0 + 1);
            Some(L2XconnectDetails { rx_sw_if_index: index(from), tx_sw_if_index: index(to) })
        })
    });
    registry.change(|dataplane, changes, _, it: L2InterfaceVlanTagRewrite| {
        let interface = changing(dataplane, changes, it.sw_if_index)?;
        changes.rewrite_tags(interface, rewrite(&it)?);
        Ok(())
    });
}

/// VPP's operations by number: how many tags are taken off, and how many put on.
pub const OPERATIONS: [(u8, u8); 9] =
    [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)];

fn rewrite(message: &L2InterfaceVlanTagRewrite) -> Result<Option<Rewrite>, Retval> {
    let operation = OPERATIONS.get(message.vtr_op as usize).copied();
    let (pop, pushed) = operation.ok_or(Retval::INVALID_VALUE)?;
    if (pop, pushed) == (0, 0) {
        return Ok(None);
    }
    let vlan =
        |tag: u32| u16::try_from(tag).ok().filter(|tag| (1..=4094).contains(tag)).and_then(VlanId::new);
    let tag = |kind, tag| vlan(tag).map(|vlan| Some(Tag { kind, vlan })).ok_or(Retval::INVALID_VLAN);
    let outer = if message.push_dot1q != 0 { EtherType::VLAN } else { EtherType::QINQ };
    let push = match pushed {
        0 => [None, None],
        1 => [tag(outer, message.tag1)?, None],
        _ => [tag(outer, message.tag1)?, tag(EtherType::VLAN, message.tag2)?],
    };
    Ok(Some(Rewrite { pop, push }))
}

fn stations(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, it: L2fibAddDel| {
        let mac = MacAddr(it.mac.0);
        match (it.is_add, it.filter_mac) {
            (false, _) => changes.delete_station(it.bd_id, mac),
            (true, true) => changes.add_station(it.bd_id, mac, Target::Filter),
            (true, false) => {
                let port = changing(dataplane, changes, it.sw_if_index)?;
                changes.add_station(it.bd_id, mac, Target::Port(port));
            }
        }
        Ok(())
    });
    registry.dump(|_, _, L2FibTableDump { bd_id }| {
        let mut place = 0;
        Records::new(move |dataplane: &mut Dataplane| {
            loop {
                let (station, next) = dataplane.switch().next(place)?;
                place = next;
                if bd_id == ANY || station.domain == bd_id {
                    return Some(L2FibTableDetails {
                        bd_id: station.domain,
                        mac: MacAddress(station.mac.0),
                        sw_if_index: index(station.port.unwrap_or(InterfaceIndex::NONE)),
                        static_mac: !station.learned,
                        filter_mac: station.port.is_none(),
                        bvi_mac: station.bvi,
                    });
                }
            }
        })
    });
    registry.command(|dataplane, _, L2fibFlushAll {}| {
        dataplane.flush_stations();
        Ok(())
    });
    registry.command(|dataplane, _, L2fibFlushBd { bd_id }| {
        dataplane.flush_stations_of(bd_id).map_err(|error| retval::l2(&error))?;
        Ok(())
    });
    registry.command(|dataplane, _, L2fibFlushInt { sw_if_index }| {
        let port = dataplane.api_interface(sw_if_index)?;
        dataplane.flush_stations_on(port);
        Ok(())
    });
}
