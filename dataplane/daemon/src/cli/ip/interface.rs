// SPDX-License-Identifier: Apache-2.0
//! `show ip6 interface`: where IPv6 is enabled, and with which addresses.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_nodes::interface::{AddressFamily, Ip6, RouterAdvertisements};
use weft_nodes::router::Advertising;

use super::super::{asked_for, of_interfaces};
use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    name: String,
    admin_up: bool,
    link_local: Option<Ipv6Addr>,
    addresses: Vec<Ipv6Net>,
    /// Whose addresses it uses.
    unnumbered: Option<String>,
    mtu: u16,
    /// Whether its link carries IPv6.
    carries_ip6: bool,
    /// Its addresses that another station of the link uses.
    duplicates: Vec<Duplicate>,
    /// Stations on it that are answered for on links with their subnet.
    proxied: Vec<Ipv6Addr>,
    router_advertisements: Option<Advertisements>,
}

#[derive(Serialize)]
struct Duplicate {
    address: IpAddr,
    mac: String,
}

/// Times are seconds.
#[derive(Serialize)]
struct Advertisements {
    interval: u16,
    lifetime: u16,
    managed: bool,
    other: bool,
    resolvers: Vec<Ipv6Addr>,
    domains: Vec<String>,
    prefixes: Vec<Prefix>,
    sent: u32,
    asked: u32,
}

/// Of which something is said beside that it is the subnet of an address.
#[derive(Serialize)]
struct Prefix {
    prefix: Ipv6Net,
    advertised: bool,
    on_link: bool,
    autonomous: bool,
    valid: u32,
    preferred: u32,
}

impl Advertisements {
    fn new(settings: &RouterAdvertisements, done: Advertising) -> Advertisements {
        Advertisements {
            interval: settings.interval,
            lifetime: settings.lifetime,
            managed: settings.managed,
            other: settings.other,
            resolvers: settings.resolvers.clone(),
            domains: settings.domains.iter().map(ToString::to_string).collect(),
            prefixes: settings
                .prefixes
                .iter()
                .map(|(prefix, says)| Prefix {
                    prefix: *prefix,
                    advertised: says.advertised,
                    on_link: says.on_link,
                    autonomous: says.autonomous,
                    valid: says.valid,
                    preferred: says.preferred,
                })
                .collect(),
            sent: done.sent,
            asked: done.asked,
        }
    }

    fn render(&self) -> String {
        let Advertisements { interval, lifetime, sent, asked, .. } = self;
        let mut text = format!("  router advertisements at most {interval} s apart, lifetime {lifetime} s");
        text += if self.managed { ", managed" } else { "" };
        text += if self.other { ", other" } else { "" };
        text += &format!("; sent: {sent}, asked for: {asked}\n");
        for resolver in &self.resolvers {
            text += &format!("    resolver {resolver}\n");
        }
        for domain in &self.domains {
            text += &format!("    domain {domain}\n");
        }
        for Prefix { prefix, advertised, on_link, autonomous, valid, preferred } in &self.prefixes {
            let word = |on: bool, word| if on { "" } else { word };
            text += &format!(
                "    prefix {prefix}: valid {valid} s, preferred {preferred} s{}{}{}\n",
                word(*advertised, ", not advertised"),
                word(*on_link, ", off link"),
                word(*autonomous, ", no autoconfiguration"),
            );
        }
        text
    }
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let show = of_interfaces("show ip6 interface", |dataplane, only| {
        let ip6 = |index| dataplane.interfaces().effective::<Ip6>(index).unwrap_or_default();
        let wanted = asked_for(dataplane, only).into_iter().filter(|(index, _)| ip6(*index).is_wanted());
        let views = wanted.map(|(index, interface)| View {
            name: interface.name.clone(),
            admin_up: interface.admin_up,
            link_local: ip6(index).link_local,
            addresses: interface.ip6.addresses.clone(),
            unnumbered: interface.unnumbered.map(|lender| dataplane.interface_name(lender)),
            mtu: interface.mtu,
            carries_ip6: interface.ip6.carried,
            duplicates: dataplane
                .router()
                .duplicates()
                .filter(|(on, address, _)| *on == index && address.is_ipv6())
                .map(|(_, address, mac)| Duplicate { address, mac: mac.to_string() })
                .collect(),
            proxied: interface.proxied.iter().copied().collect(),
            router_advertisements: Some(&interface.router_advertisement).filter(|settings| settings.on).map(
                |settings| {
                    let done = dataplane.router().advertising(index);
                    Advertisements::new(settings, done.unwrap_or_default())
                },
            ),
        });
        Ok(Reply::each("interfaces", views, View::render))
    });
    vec![show.help("Interfaces on which IPv6 is enabled, with their addresses")]
}

impl View {
    fn render(&self) -> String {
        let mut text = format!("{} is admin {}\n", self.name, if self.admin_up { "up" } else { "down" });
        if let Some(address) = self.link_local {
            text += &format!("  Link-local address(es):\n    {address}\n");
        }
        if !self.addresses.is_empty() {
            text += "  Unicast address(es):\n";
            for address in &self.addresses {
                text += &format!("    {address}, subnet is {}\n", address.trunc());
            }
        }
        if let Some(lender) = &self.unnumbered {
            text += &format!("  unnumbered, use {lender}\n");
        }
        text += &format!("  MTU is {}\n", self.mtu);
        if !self.carries_ip6 {
            text += &format!("  IPv6 is OFF: it needs an MTU of at least {}\n", Ip6::MIN_MTU);
        }
        for Duplicate { address, mac } in &self.duplicates {
            text += &format!("  DUPLICATE: {address} is also used by {mac}\n");
        }
        for station in &self.proxied {
            text += &format!("  answered for elsewhere: {station}\n");
        }
        if let Some(advertisements) = &self.router_advertisements {
            text += &advertisements.render();
        }
        text
    }
}
