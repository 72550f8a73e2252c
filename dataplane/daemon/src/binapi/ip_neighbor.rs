// SPDX-License-Identifier: Apache-2.0
//! `ip_neighbor`: neighbours, and who wants to know of them.
//!
//! What a client adds as static is its own, and stays until somebody removes it. What it adds without that flag is taken as if the
//! neighbour had said it: nobody owns it, it ages, and what the neighbour says itself changes it.

use std::net::IpAddr;
use std::ops::Bound;

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface_types;
use weft_binapi::api::ip_neighbor::{
    IpNeighbor, IpNeighborAddDel, IpNeighborAddDelReply, IpNeighborConfig, IpNeighborConfigGet,
    IpNeighborConfigGetReply, IpNeighborDetails, IpNeighborDump, IpNeighborEvent, IpNeighborEventFlags,
    IpNeighborEventV2, IpNeighborFlags, IpNeighborFlush, IpNeighborReplaceBegin, IpNeighborReplaceEnd,
    WantIpNeighborEvents, WantIpNeighborEventsV2,
};
use weft_binapi::api::ip_types::{Address, AddressFamily};
use weft_binapi::server::{Clients, Records, Registry, Session, SessionId};
use weft_control::{Object, Replay, Value, settings};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::neighbor::{Neighbor, NeighborState};
use weft_nodes::router::NeighborNews;

use super::{changing, index};
use crate::binapi::Api;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, IpNeighborAddDel { is_add, neighbor }| {
        let index = changing(dataplane, changes, neighbor.sw_if_index)?;
        let address = neighbor.ip_address.get().ok_or(Retval::INVALID_ADDRESS_FAMILY)?;
        let mac = MacAddr(neighbor.mac_address.0);
        let is_static = neighbor.flags.0 & IpNeighborFlags::STATIC.0 != 0;
        match is_add {
            true if is_static => changes.add_neighbor(index, address, mac),
            true => changes.tell_neighbor(index, address, mac),
            false => changes.delete(Object::Neighbor(index, address)),
        }
        Ok(IpNeighborAddDelReply { retval: 0, stats_index: u32::MAX })
    });
    registry.command(|dataplane, _, IpNeighborReplaceBegin {}| {
        dataplane.begin_replay(Replay::Neighbors);
        Ok(())
    });
    registry.command(|dataplane, _, IpNeighborReplaceEnd {}| {
        dataplane.end_replay(Replay::Neighbors);
        Ok(())
    });
    registry.dump(|_, _, IpNeighborDump { sw_if_index, af }| {
        let only = (sw_if_index.0 != u32::MAX).then_some(InterfaceIndex(sw_if_index.0));
        let mut last = None;
        Records::new(move |dataplane: &mut Dataplane| {
            let neighbor = next(dataplane, only, last, af)?;
            last = Some((neighbor.interface, neighbor.address));
            Some(details(dataplane, &neighbor))
        })
    });
    registry.command(|dataplane, _, IpNeighborFlush { af, sw_if_index }| {
        let only = dataplane.api_interface_or_all(sw_if_index)?;
        dataplane.forget_learned(|it| {
            AddressFamily::from(it.address) == af && only.is_none_or(|only| only == it.interface)
        });
        Ok(())
    });
    registry.change(|_, changes, _, message: IpNeighborConfig| {
        // Both families are in one table. It makes room when it is full, whether that is asked for or not.
        // Elsewhere 0 stands for no limit, or for no ageing; here is neither.
        changes.set(&settings::NEIGHBOR_LIMIT, None, Value::Number(message.max_number.into()));
        changes.set(&settings::NEIGHBOR_AGE, None, Value::Number(message.max_age.into()));
        Ok(())
    });
    registry.query(|dataplane, _, IpNeighborConfigGet { af }| {
        let settings = dataplane.router().neighbors().settings();
        Ok(IpNeighborConfigGetReply {
            retval: 0,
            af,
            max_number: u32::try_from(settings.limit).unwrap_or(u32::MAX),
            max_age: u32::try_from(settings.age.as_secs()).unwrap_or(u32::MAX),
            recycle: true,
        })
    });
    registry.event::<IpNeighborEvent>();
    registry.query(|dataplane, session, message: WantIpNeighborEvents| {
        let WantIpNeighborEvents { enable, pid, ip, sw_if_index, .. } = message;
        watch(dataplane, session, enable, pid, (ip, sw_if_index), Form::First)
    });
    registry.event::<IpNeighborEventV2>();
    registry.query(|dataplane, session, message: WantIpNeighborEventsV2| {
        let WantIpNeighborEventsV2 { enable, pid, ip, sw_if_index, .. } = message;
        watch(dataplane, session, enable, pid, (ip, sw_if_index), Form::Second)
    });
    registry.on_lost(|dataplane, session| {
        if let Some(api) = dataplane.find_part_mut::<Api>() {
            api.watchers.0.retain(|watcher| watcher.session != session.id());
        }
    });
}

/// The next neighbour with a MAC address.
fn next(
    dataplane: &Dataplane,
    only: Option<InterfaceIndex>,
    last: Option<(InterfaceIndex, IpAddr)>,
    af: AddressFamily,
) -> Option<Neighbor> {
    let first = last.map_or(InterfaceIndex(0), |(interface, _)| interface);
    let interfaces = dataplane.interfaces().iter().map(|(index, _)| index);
    let interfaces = interfaces.filter(|index| *index >= first && only.is_none_or(|only| only == *index));
    let neighbors = interfaces.flat_map(|index| {
        let behind = last.filter(|(interface, _)| *interface == index);
        let start = behind.map_or(Bound::Unbounded, |(_, address)| Bound::Excluded(address));
        dataplane.router().neighbors().after(start, index)
    });
    let known =
        |neighbor: &Neighbor| neighbor.state.mac().is_some() && AddressFamily::from(neighbor.address) == af;
    neighbors.into_iter().find(known)
}

fn details(dataplane: &Dataplane, neighbor: &Neighbor) -> IpNeighborDetails {
    let age = dataplane.router().now().saturating_sub(neighbor.since).as_secs_f64();
    let flags = match neighbor.state {
        NeighborState::Static(_) => IpNeighborFlags::STATIC,
        _ => IpNeighborFlags::NONE,
    };
    IpNeighborDetails {
        age,
        neighbor: shown(neighbor.interface, neighbor.address, neighbor.state.mac(), flags),
    }
}

fn shown(
    interface: InterfaceIndex,
    address: IpAddr,
    mac: Option<MacAddr>,
    flags: IpNeighborFlags,
) -> IpNeighbor {
    let mac_address = MacAddress(mac.map(|mac| mac.0).unwrap_or_default());
    IpNeighbor { sw_if_index: index(interface), flags, mac_address, ip_address: address.into() }
}

/// Which message a watcher is told by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    First,
    Second,
}

/// Who wants to know of what.
struct Watcher {
    session: SessionId,
    pid: u32,
    address: Option<IpAddr>,
    interface: Option<InterfaceIndex>,
    form: Form,
}

/// All of them.
#[derive(Default)]
pub struct Watchers(Vec<Watcher>);

/// An address of zeros and an index of ones mean all.
fn watch(
    dataplane: &mut Dataplane,
    session: &Session,
    enable: bool,
    pid: u32,
    (address, sw_if_index): (Address, interface_types::InterfaceIndex),
    form: Form,
) -> Result<(), Retval> {
    let interface = dataplane.api_interface_or_all(sw_if_index)?;
    let address = address.get().filter(|address| !address.is_unspecified());
    let session = session.id();
    let Some(api) = dataplane.find_part_mut::<Api>() else { return Ok(()) };
    let watchers = &mut api.watchers.0;
    let same = |other: &Watcher| {
        (other.session, other.address, other.interface, other.form) == (session, address, interface, form)
    };
    watchers.retain(|other| !same(other));
    if enable {
        watchers.push(Watcher { session, pid, address, interface, form });
    }
    // That nobody is left is found out with the next news.
    if enable {
        dataplane.watch_neighbors(true);
    }
    Ok(())
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// An interface is deleted.
    pub(super) fn forget(&mut self, interface: InterfaceIndex) {
        self.0.retain(|watcher| watcher.interface != Some(interface));
    }

    pub(super) fn announce(&self, news: Vec<NeighborNews>, clients: &Clients) {
        for NeighborNews { interface, address, mac } in news {
            let neighbor = shown(interface, address, mac, IpNeighborFlags::NONE);
            let wants = |watcher: &&Watcher| {
                watcher.address.is_none_or(|wanted| wanted == address)
                    && watcher.interface.is_none_or(|wanted| wanted == interface)
            };
            for Watcher { session, pid, form, .. } in self.0.iter().filter(wants) {
                let pid = *pid;
                match (form, mac) {
                    (Form::Second, mac) => {
                        let flags = match mac {
                            Some(_) => IpNeighborEventFlags::ADDED,
                            None => IpNeighborEventFlags::REMOVED,
                        };
                        clients.send(*session, &IpNeighborEventV2 { pid, flags, neighbor });
                    }
                    // It has no word for one that is gone.
                    (Form::First, None) => {}
                    (Form::First, Some(_)) => {
                        clients.send(*session, &IpNeighborEvent { pid, neighbor });
                    }
                }
            }
        }
    }
}
