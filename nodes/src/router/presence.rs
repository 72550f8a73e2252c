// SPDX-License-Identifier: Apache-2.0
//! What the router says to links on which it speaks IPv6, without being asked for a neighbour.
//!
//! A link is told when IPv6 comes up there, and when an address is new or the MAC address another: whether somebody else has the address
//! (RFC 4862 section 5.4), that it is here (RFC 4861 section 7.2.6), and which groups are listened to (RFC 3810). That is said
//! twice, a second apart, as one frame may be lost. An address is used from the start, as a router's must be (VPP does
//! so too): if another station answers that it has it, the operator is told ([`Router::duplicates`]).
//!
//! Router advertisements are off until an interface is told to send them. Then hosts hear one when they ask, no more often
//! than every 3 seconds, and from time to time; the last one, when they are switched off, takes the way out back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use weft_engine::{Engine, InterfaceIndex};
use weft_fib::{Ip6, IpPrefix};

use super::Router;
use super::neighbors::transmit;
use crate::headers::MacAddr;
use crate::interface::{AddressFamily, Interface, Interfaces};
use crate::ip6::{
    Report, RouterAdvertisement, announcement_frame, membership_frame, probe_frame,
    router_advertisement_frame,
};

/// How often a link is told of something new, and the time between.
const TELLINGS: u8 = 2;
const BETWEEN_TELLINGS: Duration = Duration::from_secs(1);
/// RFC 4861 section 10: least time between router advertisements, and what the first ones are sent by.
const BETWEEN_ADVERTISEMENTS: Duration = Duration::from_secs(3);
const FIRST_ADVERTISEMENTS: u8 = 3;
const FIRST_INTERVAL: Duration = Duration::from_secs(16);
/// Longest delay of an answer to who asks for groups.
const REPORT_DELAY: Duration = Duration::from_millis(500);

/// What a link knows of this host.
#[derive(Default)]
struct Link {
    mac: Option<MacAddr>,
    addresses: Vec<Ipv6Addr>,
    /// Addresses that are still to be told of, and how often.
    fresh: Vec<Ipv6Addr>,
    tellings: u8,
    tell_at: Option<Duration>,
    /// A report is due because somebody has asked.
    report_at: Option<Duration>,
    /// Router advertisements: how many were sent since they were switched on, when the last one was, and when the next is due.
    advertised: u8,
    advertised_at: Option<Duration>,
    advertise_at: Option<Duration>,
}

impl Link {
    fn deadline(&self) -> Option<Duration> {
        [self.tell_at, self.report_at, self.advertise_at].into_iter().flatten().min()
    }
}

/// The links on which this host speaks IPv6, and what is wrong there.
#[derive(Default)]
pub(super) struct Presence {
    links: BTreeMap<InterfaceIndex, Link>,
    /// Addresses of ours that another station uses, and its MAC address.
    duplicates: BTreeMap<(InterfaceIndex, IpAddr), MacAddr>,
}

impl Presence {
    fn deadline(&self) -> Option<Duration> {
        self.links.values().filter_map(Link::deadline).min()
    }

    /// Forgets an interface that is deleted.
    pub(super) fn forget(&mut self, index: InterfaceIndex) {
        self.links.remove(&index);
        self.duplicates.retain(|(on, _), _| *on != index);
    }

    /// Whether this is new: another station uses an address of ours.
    pub(super) fn is_new_duplicate(&mut self, index: InterfaceIndex, address: IpAddr, mac: MacAddr) -> bool {
        self.duplicates.insert((index, address), mac) != Some(mac)
    }
}

impl Router {
    /// When [`Router::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        [self.neighbors.next_deadline(), self.presence.deadline()].into_iter().flatten().min()
    }

    /// Our addresses that another station uses, as far as it has been heard since they were configured, with its MAC address.
    pub fn duplicates(&self) -> impl Iterator<Item = (InterfaceIndex, IpAddr, MacAddr)> {
        self.presence.duplicates.iter().map(|(&(index, address), &mac)| (index, address, mac))
    }

    /// An interface has come up or gone down, or has other addresses, another MAC address or other settings of router
    /// advertisements than before: its link is told.
    pub fn tell_link(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        let now = self.now();
        let Some(interface) = interfaces.get(index) else { return };
        let own: Vec<Ipv6Addr> = interface.ip6.own().collect();
        let is_own = |address: &IpAddr| match address {
            IpAddr::V4(address) => interface.ip4.has(*address),
            IpAddr::V6(address) => own.contains(address),
        };
        self.presence.duplicates.retain(|(on, address), _| *on != index || is_own(address));
        if !interface.ip6.is_enabled() || !interfaces.is_up(index) {
            self.presence.links.remove(&index);
            return;
        }
        let link = self.presence.links.entry(index).or_default();
        let moved = link.mac.replace(interface.mac) != Some(interface.mac);
        let fresh: Vec<_> =
            own.iter().copied().filter(|address| moved || !link.addresses.contains(address)).collect();
        link.addresses = own;
        if !fresh.is_empty() {
            link.fresh = fresh;
            (link.tellings, link.tell_at) = (0, Some(now));
        }
        match (interface.router_advertisement.on, link.advertise_at) {
            (true, None) => (link.advertised, link.advertise_at) = (0, Some(now)),
            (false, Some(_)) => {
                (link.advertise_at, link.advertised_at) = (None, None);
                advertise(engine, interface, index, Duration::ZERO);
            }
            _ => {}
        }
        self.tick_link(engine, interfaces, index);
    }

    /// A host has asked for routers.
    pub(super) fn router_asked(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) {
        let now = self.now();
        if let Some(link) = self.presence.links.get_mut(&index)
            && let Some(due) = &mut link.advertise_at
        {
            let earliest = link.advertised_at.map_or(now, |last| last + BETWEEN_ADVERTISEMENTS);
            *due = (*due).min(earliest.max(now));
            self.tick_link(engine, interfaces, index);
        }
    }

    /// A router or a switch has asked which groups are listened to.
    pub(super) fn groups_asked(&mut self, index: InterfaceIndex) {
        let at = self.now() + spread(self.now(), index, REPORT_DELAY);
        if let Some(link) = self.presence.links.get_mut(&index) {
            link.report_at.get_or_insert(at);
        }
    }

    /// Says what is due on all links.
    pub(super) fn tick_links(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        let now = self.now();
        let due = self.presence.links.iter().filter(|(_, link)| link.deadline().is_some_and(|at| at <= now));
        for index in due.map(|(index, _)| *index).collect::<Vec<_>>() {
            self.tick_link(engine, interfaces, index);
        }
    }

    fn tick_link(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        let now = self.now();
        let (Some(interface), Some(link)) = (interfaces.get(index), self.presence.links.get_mut(&index))
        else {
            return;
        };
        let (mac, tags, own) = (interface.mac, interface.tags(), interface.ip6.link_local);
        if link.tell_at.is_some_and(|at| at <= now) {
            let report = membership_frame(mac, own, &link.addresses, Report::Changed, tags);
            transmit(engine, interface, index, report);
            for &address in &link.fresh {
                if link.tellings == 0 {
                    transmit(engine, interface, index, probe_frame(mac, address, tags));
                }
                transmit(engine, interface, index, announcement_frame(mac, address, tags));
            }
            link.tellings += 1;
            link.tell_at = (link.tellings < TELLINGS).then(|| now + BETWEEN_TELLINGS);
        }
        if link.report_at.is_some_and(|at| at <= now) {
            let report = membership_frame(mac, own, &link.addresses, Report::Asked, tags);
            transmit(engine, interface, index, report);
            link.report_at = None;
        }
        if link.advertise_at.is_some_and(|at| at <= now) {
            let settings = interface.router_advertisement;
            advertise(engine, interface, index, Duration::from_secs(settings.lifetime.into()));
            link.advertised = link.advertised.saturating_add(1);
            link.advertised_at = Some(now);
            // Between a third of the interval and all of it (RFC 4861 section 6.2.1).
            let longest = Duration::from_secs(settings.interval.into());
            let longest =
                if link.advertised < FIRST_ADVERTISEMENTS { longest.min(FIRST_INTERVAL) } else { longest };
            let shortest = (longest / 3).max(BETWEEN_ADVERTISEMENTS);
            link.advertise_at = Some(now + shortest + spread(now, index, longest.saturating_sub(shortest)));
        }
    }
}

/// A part of a time that differs from link to link and from moment to moment, so that not all speak at once.
fn spread(now: Duration, index: InterfaceIndex, longest: Duration) -> Duration {
    let dice = (now.as_nanos() as u64).wrapping_add(index.0.into()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    longest.mul_f64(dice as f64 / 65_536.0)
}

fn advertise(engine: &mut Engine, interface: &Interface, index: InterfaceIndex, lifetime: Duration) {
    let Some(link_local) = interface.ip6.link_local else { return };
    let mut subnets: Vec<_> = interface
        .ip6
        .addresses
        .iter()
        .filter(|address| !Ip6::is_link_scoped(address.addr()) && address.length() < 127)
        .map(IpPrefix::truncated)
        .collect();
    subnets.sort_unstable();
    subnets.dedup();
    let say = RouterAdvertisement { lifetime, mtu: interface.mtu, subnets: &subnets };
    let frame = router_advertisement_frame(interface.mac, link_local, say, interface.tags());
    transmit(engine, interface, index, frame);
}
