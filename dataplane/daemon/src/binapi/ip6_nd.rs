// SPDX-License-Identifier: Apache-2.0
//! `ip6_nd`: router advertisements and proxy neighbour discovery of an interface, the search for other routers, and who wants to hear of
//! them.
//!
//! Advertisements are settings, and an object for each prefix of which something is said; the subnets of the interface's addresses
//! are advertised without that. An interface answers for all that is reached by others (RFC 4389) if that is set, and for
//! single stations, which have a route of their own then.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::Ipv6Net;
use weft_binapi::Retval;
use weft_binapi::api::ip_types::{Ip6Address, Prefix};
use weft_binapi::api::ip6_nd::{
    Ip6RaEvent, Ip6RaPrefixInfo, Ip6ndProxyAddDel, Ip6ndProxyDetails, Ip6ndProxyDump,
    Ip6ndProxyEnableDisable, Ip6ndRaPrefix, Ip6ndSendRouterSolicitation, SwInterfaceIp6ndRaConfig,
    SwInterfaceIp6ndRaDetails, SwInterfaceIp6ndRaDump, SwInterfaceIp6ndRaPrefix, WantIp6RaEvents,
};
use weft_binapi::server::{Clients, Records, Registry, SessionId};
use weft_control::{Object, Value, settings};
use weft_nodes::interface::{AdvertisedPrefix, Interface};
use weft_nodes::router::{Advertising, RouterNews, RouterSearch};

use super::{changing, index, set};
use crate::binapi::Api;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: SwInterfaceIp6ndRaConfig| {
        let index = changing(dataplane, changes, message.sw_if_index)?;
        let no = message.is_no;
        // A flag that is not said stays; "no" takes back what the message without it says.
        for (said, setting, means) in [
            (message.suppress | message.cease, &settings::ROUTER_ADVERTISEMENT, false),
            (message.managed, &settings::RA_MANAGED, true),
            (message.other, &settings::RA_OTHER, true),
            (message.ll_option, &settings::RA_LINK_ADDRESS, false),
            (message.send_unicast, &settings::RA_UNICAST, true),
        ] {
            if said != 0 {
                changes.set(setting, index, Value::Switch(means != no));
            }
        }
        for (named, setting, value) in [
            (message.default_router != 0, &settings::RA_LIFETIME, message.lifetime),
            (message.max_interval != 0, &settings::RA_INTERVAL, message.max_interval),
            (message.min_interval != 0, &settings::RA_MIN_INTERVAL, message.min_interval),
            (message.initial_count != 0, &settings::RA_INITIAL_COUNT, message.initial_count),
            (message.initial_interval != 0, &settings::RA_INITIAL_INTERVAL, message.initial_interval),
        ] {
            match (named, no) {
                (false, _) => {}
                (true, false) => changes.set(setting, index, Value::Number(value.into())),
                (true, true) => changes.release(Object::Setting(setting, Some(index))),
            }
        }
        Ok(())
    });
    registry.change(|dataplane, changes, _, message: SwInterfaceIp6ndRaPrefix| {
        let index = changing(dataplane, changes, message.sw_if_index)?;
        let prefix = prefix(&message.prefix)?;
        let usual = AdvertisedPrefix { autonomous: true, ..AdvertisedPrefix::of_subnet(prefix.prefix_len()) };
        let (valid, preferred) = match message.use_default {
            true => (usual.valid, usual.preferred),
            false => (message.val_lifetime, message.pref_lifetime),
        };
        let says = AdvertisedPrefix {
            advertised: !message.no_advertise,
            on_link: !message.off_link && !message.no_onlink,
            autonomous: !message.no_autoconfig,
            valid,
            preferred,
        };
        match message.is_no {
            true => changes.delete(Object::Prefix(index, prefix)),
            false => changes.want(Object::Prefix(index, prefix), Value::Prefix(says)),
        }
        Ok(())
    });
    registry.dump(|dataplane, _, SwInterfaceIp6ndRaDump { sw_if_index }| {
        let all = dataplane.interfaces().iter();
        let wanted = all.filter(|(place, _)| sw_if_index.0 == u32::MAX || index(*place).0 == sw_if_index.0);
        let details = wanted.filter(|(_, interface)| interface.ip6.is_wanted()).map(|(place, interface)| {
            SwInterfaceIp6ndRaDetails {
                sw_if_index: index(place),
                ..details(dataplane, interface, dataplane.router().advertising(place))
            }
        });
        Records::ready(details)
    });
    registry.change(|dataplane, changes, _, Ip6ndProxyEnableDisable { sw_if_index, is_enable }| {
        set(dataplane, changes, sw_if_index, &settings::PROXY_ND, Value::Switch(is_enable))
    });
    registry.change(|dataplane, changes, _, Ip6ndProxyAddDel { sw_if_index, is_add, ip }| {
        let object = Object::Proxied(changing(dataplane, changes, sw_if_index)?, ip.0.into());
        match is_add {
            true => changes.want(object, Value::None),
            false => changes.delete(object),
        }
        Ok(())
    });
    registry.dump(|dataplane, _, Ip6ndProxyDump {}| {
        let all = dataplane.interfaces().iter();
        let details = all.flat_map(|(place, interface)| {
            let detail = move |station: &std::net::Ipv6Addr| Ip6ndProxyDetails {
                sw_if_index: index(place),
                ip: Ip6Address(station.octets()),
            };
            interface.proxied.iter().map(detail)
        });
        Records::ready(details)
    });
    registry.command(|dataplane, _, message: Ip6ndSendRouterSolicitation| {
        let index = dataplane.api_interface(message.sw_if_index)?;
        let is_enabled = |interface: &Interface| interface.ip6.is_wanted();
        if !dataplane.interfaces().get(index).is_some_and(is_enabled) {
            return Err(Retval::IP6_NOT_ENABLED);
        }
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        // 0 stands for no limit; at first a second goes by (RFC 8415 section 7.6, SOL_TIMEOUT).
        let some = |number: u32| (number != 0).then_some(number);
        let how = RouterSearch {
            first: seconds(message.irt.max(1)),
            longest: some(message.mrt).map(seconds),
            count: some(message.mrc),
            within: some(message.mrd).map(seconds),
        };
        dataplane.search_routers(index, (!message.stop).then_some(how));
        Ok(())
    });
    registry.event::<Ip6RaEvent>();
    registry.query(|dataplane, session, WantIp6RaEvents { enable, pid }| {
        let id = session.id();
        let Some(api) = dataplane.find_part_mut::<Api>() else { return Ok(()) };
        let listeners = &mut api.router_listeners.0;
        listeners.retain(|(other, _)| *other != id);
        if enable {
            listeners.push((id, pid));
            dataplane.watch_routers(true);
        }
        Ok(())
    });
    registry.on_lost(|dataplane, session| {
        if let Some(api) = dataplane.find_part_mut::<Api>() {
            api.router_listeners.0.retain(|(other, _)| *other != session.id());
        }
    });
}

/// Who wants to hear of routers, and by which number of a process.
#[derive(Default)]
pub struct RouterListeners(Vec<(SessionId, u32)>);

impl RouterListeners {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn announce(&self, news: Vec<RouterNews>, clients: &Clients) {
        for RouterNews { interface, router, says, prefixes } in news {
            let prefixes: Vec<_> = prefixes
                .iter()
                .map(|it| Ip6RaPrefixInfo {
                    prefix: (IpAddr::V6(it.prefix.addr()), it.prefix.prefix_len()).into(),
                    flags: it.flags,
                    valid_time: it.valid,
                    preferred_time: it.preferred,
                })
                .collect();
            for &(session, pid) in &self.0 {
                let event = Ip6RaEvent {
                    pid,
                    sw_if_index: index(interface),
                    router_addr: Ip6Address(router.octets()),
                    current_hop_limit: says.hop_limit,
                    flags: says.flags,
                    router_lifetime_in_sec: says.lifetime,
                    neighbor_reachable_time_in_msec: says.reachable,
                    time_in_msec_between_retransmitted_neighbor_solicitations: says.retransmission,
                    prefixes: prefixes.clone(),
                };
                clients.send(session, &event);
            }
        }
    }
}

/// Bits behind its length do not matter.
fn prefix(prefix: &Prefix) -> Result<Ipv6Net, Retval> {
    match super::ip::prefix(prefix)? {
        ipnet::IpNet::V6(prefix) => Ok(prefix),
        ipnet::IpNet::V4(_) => Err(Retval::INVALID_ADDRESS_FAMILY),
    }
}

fn details(
    dataplane: &Dataplane,
    interface: &Interface,
    advertising: Option<Advertising>,
) -> SwInterfaceIp6ndRaDetails {
    let settings = &interface.router_advertisement;
    let Advertising { sent, asked, alone_refused, last, next, first_sent } = advertising.unwrap_or_default();
    let now = dataplane.router().now();
    let ago = |at: Option<Duration>| at.map_or(0.0, |at| now.saturating_sub(at).as_secs_f64());
    let longest = f64::from(settings.interval);
    SwInterfaceIp6ndRaDetails {
        cur_hop_limit: 64,
        adv_managed_flag: settings.managed,
        adv_other_flag: settings.other,
        adv_router_lifetime: settings.lifetime,
        adv_link_mtu: interface.mtu.into(),
        send_radv: settings.on,
        send_unicast: settings.unicast,
        adv_link_layer_address: settings.link_address,
        max_radv_interval: longest,
        min_radv_interval: settings.least_interval.map_or(longest / 3.0, f64::from),
        last_radv_time: ago(last),
        last_multicast_time: ago(last),
        next_multicast_time: next.map_or(0.0, |at| at.saturating_sub(now).as_secs_f64()),
        initial_adverts_count: settings.first.into(),
        initial_adverts_interval: settings.first_interval.into(),
        initial_adverts_sent: first_sent,
        n_advertisements_sent: sent,
        n_solicitations_rcvd: asked,
        n_solicitations_dropped: alone_refused,
        prefixes: settings
            .prefixes
            .iter()
            .map(|(prefix, says)| Ip6ndRaPrefix {
                prefix: (IpAddr::V6(prefix.addr()), prefix.prefix_len()).into(),
                onlink_flag: says.on_link,
                autonomous_flag: says.autonomous,
                val_lifetime: says.valid,
                pref_lifetime: says.preferred,
                no_advertise: !says.advertised,
                ..Ip6ndRaPrefix::default()
            })
            .collect(),
        ..SwInterfaceIp6ndRaDetails::default()
    }
}
