// SPDX-License-Identifier: Apache-2.0
//! `show ip6 interface`: where IPv6 is enabled, and with which addresses.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use serde::Serialize;
use weft_cli::{Command, Reply};

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
    /// Its addresses that another station of the link uses.
    duplicates: Vec<Duplicate>,
    router_advertisements: Option<Advertisements>,
}

#[derive(Serialize)]
struct Duplicate {
    address: IpAddr,
    mac: String,
}

/// Both in seconds.
#[derive(Serialize)]
struct Advertisements {
    interval: u16,
    lifetime: u16,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let show = of_interfaces("show ip6 interface", |dataplane, only| {
        let enabled = asked_for(dataplane, only).into_iter().filter(|(_, it)| it.ip6.is_enabled());
        let views = enabled.map(|(index, interface)| View {
            name: interface.name.clone(),
            admin_up: interface.admin_up,
            link_local: interface.ip6.link_local,
            addresses: interface.ip6.addresses.clone(),
            unnumbered: interface.unnumbered.map(|lender| dataplane.interface_name(lender)),
            mtu: interface.mtu,
            duplicates: dataplane
                .router()
                .duplicates()
                .filter(|(on, address, _)| *on == index && address.is_ipv6())
                .map(|(_, address, mac)| Duplicate { address, mac: mac.to_string() })
                .collect(),
            router_advertisements: Some(interface.router_advertisement)
                .filter(|settings| settings.on)
                .map(|settings| Advertisements { interval: settings.interval, lifetime: settings.lifetime }),
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
        for Duplicate { address, mac } in &self.duplicates {
            text += &format!("  DUPLICATE: {address} is also used by {mac}\n");
        }
        if let Some(Advertisements { interval, lifetime }) = &self.router_advertisements {
            text += &format!("  router advertisements at most {interval} s apart, lifetime {lifetime} s\n");
        }
        text
    }
}
