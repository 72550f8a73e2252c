// SPDX-License-Identifier: Apache-2.0
//! What the router says to links on which it speaks IPv6, without being asked for a neighbour.
//!
//! A link is told when IPv6 comes up there, and when an address is new or the MAC address another: whether somebody else has the address
//! (RFC 4862 section 5.4), that it is here (RFC 4861 section 7.2.6), and which groups are listened to from now on, or no longer (RFC
//! 3810). That is said twice, a second apart, as one frame may be lost. An address is used from the start, as a router's must be (VPP does
//! so too): if another station answers that it has it, the operator is told ([`Router::duplicates`]).
//!
//! Groups are those in which an address is asked for that is answered for on the link (its own, borrowed ones, the one of all routers of
//! a subnet, stations that are answered for), and that of all routers. Where somebody asks as MLD version 1 has it, it is
//! spoken there until that was not heard for a while (RFC 3810 section 8.2).
//!
//! Router advertisements are off until an interface is told to send them. Then hosts hear one when they ask, no more often
//! than every 3 seconds, and from time to time; the last one, when they are switched off, takes the way out back. Who asks can be answered
//! alone. The other way round, an interface can be told to ask for routers, and whoever wants to know hears what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use weft_engine::{Engine, InterfaceIndex};
use weft_fib::{AddressRole, Family, Ip6, IpPrefix};

use super::Router;
use super::neighbors::transmit;
use crate::headers::{MacAddr, solicited_node};
use crate::interface::{AddressFamily, Addressing, Interface, Interfaces, RouterAdvertisements};
use crate::ip6::{
    ALL_ROUTERS, Membership, RouterAdvertisement, announcement_frame, membership_frames, membership_frames_1,
    probe_frame, router_advertisement_frame, router_solicitation_frame,
};
use crate::neighbor::{GroupQuery, PrefixSays, RouterSays};

/// How often a link is told of something new, and the time between.
const TELLINGS: u8 = 2;
const BETWEEN_TELLINGS: Duration = Duration::from_secs(1);
/// RFC 4861 section 10: least time between router advertisements to all.
const BETWEEN_ADVERTISEMENTS: Duration = Duration::from_secs(3);
/// How many hosts are answered alone in that time; those after them hear what all hear.
const ANSWERED_ALONE: u32 = 64;
/// Longest delay of an answer to who asks for groups.
const REPORT_DELAY: Duration = Duration::from_millis(500);
/// How long MLD version 1 is spoken after it was last asked so: twice the interval of questions, and an answer's delay (RFC 3810 section
/// 9.12, with the values that nobody has set another way).
const VERSION_1: Duration = Duration::from_secs(260);

/// What a link knows of this host.
#[derive(Default)]
struct Link {
    mac: Option<MacAddr>,
    addresses: Vec<Ipv6Addr>,
    groups: BTreeSet<Ipv6Addr>,
    /// Addresses that are still to be told of, what has become of groups, and how often it was said.
    fresh: Vec<Ipv6Addr>,
    changes: BTreeMap<Ipv6Addr, Membership>,
    tellings: u8,
    tell_at: Option<Duration>,
    /// A report is due because somebody has asked; of one group, or of all.
    report: Option<(Duration, Option<Ipv6Addr>)>,
    /// Until then MLD version 1 is spoken.
    version1_until: Option<Duration>,
    /// Router advertisements: how many were sent since they were switched on, when the last one was, and when the next is due.
    advertised: u8,
    advertised_at: Option<Duration>,
    advertise_at: Option<Duration>,
    /// How many hosts were answered alone since then.
    alone: (Duration, u32),
    /// What advertisements say, while they are on.
    settings: Option<RouterAdvertisements>,
    sent: u32,
    asked: u32,
    alone_refused: u32,
}

impl Link {
    fn deadline(&self) -> Option<Duration> {
        let report = self.report.map(|(at, _)| at);
        [self.tell_at, report, self.advertise_at].into_iter().flatten().min()
    }

    /// When all may hear the next router advertisement.
    fn earliest(&self, now: Duration) -> Duration {
        self.advertised_at.map_or(now, |last| last + BETWEEN_ADVERTISEMENTS).max(now)
    }

    /// Whether one more host may be answered alone.
    fn may_answer_alone(&mut self, now: Duration) -> bool {
        let (since, count) = &mut self.alone;
        if now.saturating_sub(*since) >= BETWEEN_ADVERTISEMENTS {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let may = *count <= ANSWERED_ALONE;
        self.alone_refused += u32::from(!may);
        may
    }
}

/// What came of router advertisements on a link, by the clock of [`Router::now`].
#[derive(Clone, Copy, Default, Debug)]
pub struct Advertising {
    /// How many were sent.
    pub sent: u32,
    /// How many hosts have asked for one.
    pub asked: u32,
    /// How many of those were to be answered alone, and heard what all hear, since there were too many of them.
    pub alone_refused: u32,
    /// When all heard the last one.
    pub last: Option<Duration>,
    /// When they will hear the next one.
    pub next: Option<Duration>,
    /// Whether the first ones were sent.
    pub first_sent: bool,
}

/// How a link is asked for routers: at times that double, as RFC 8415 section 15 has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterSearch {
    /// Time until the second question.
    pub first: Duration,
    /// Longest time between two; nothing: it goes on doubling.
    pub longest: Option<Duration>,
    /// How many there are.
    pub count: Option<u32>,
    /// How long it goes on.
    pub within: Option<Duration>,
}

/// A search that is under way.
struct Search {
    how: RouterSearch,
    since: Duration,
    asked: u32,
    wait: Duration,
    at: Duration,
}

/// What a router has said to a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterNews {
    /// Which link.
    pub interface: InterfaceIndex,
    /// Which router.
    pub router: Ipv6Addr,
    /// What.
    pub says: RouterSays,
    /// And of which prefixes.
    pub prefixes: Vec<PrefixSays>,
}

/// The links on which this host speaks IPv6, and what is wrong there.
#[derive(Default)]
pub(super) struct Presence {
    links: BTreeMap<InterfaceIndex, Link>,
    /// Addresses of ours that another station uses, and its MAC address.
    duplicates: BTreeMap<(InterfaceIndex, IpAddr), MacAddr>,
    searches: BTreeMap<InterfaceIndex, Search>,
    /// Of each link the router that speaks: its prefixes are still to come.
    speaking: BTreeMap<InterfaceIndex, RouterNews>,
    /// What routers have said, if somebody wants to know.
    news: Option<Vec<RouterNews>>,
}

impl Presence {
    fn deadline(&self) -> Option<Duration> {
        let searches = self.searches.iter().filter(|(index, _)| self.links.contains_key(index));
        self.links.values().filter_map(Link::deadline).chain(searches.map(|(_, search)| search.at)).min()
    }

    /// Forgets an interface that is deleted.
    pub(super) fn forget(&mut self, index: InterfaceIndex) {
        self.links.remove(&index);
        self.searches.remove(&index);
        self.speaking.remove(&index);
        self.duplicates.retain(|(on, _), _| *on != index);
    }

    /// Whether this is new: another station uses an address of ours.
    pub(super) fn is_new_duplicate(&mut self, index: InterfaceIndex, address: IpAddr, mac: MacAddr) -> bool {
        self.duplicates.insert((index, address), mac) != Some(mac)
    }

    /// A router speaks.
    pub(super) fn router_heard(&mut self, interface: InterfaceIndex, router: Ipv6Addr, says: RouterSays) {
        self.searches.remove(&interface);
        self.speaking.insert(interface, RouterNews { interface, router, says, prefixes: Vec::new() });
        self.heard_out(interface);
    }

    /// And says this of a prefix.
    pub(super) fn prefix_heard(&mut self, interface: InterfaceIndex, router: Ipv6Addr, says: PrefixSays) {
        if let Some(speaking) = self.speaking.get_mut(&interface).filter(|it| it.router == router) {
            speaking.prefixes.push(says);
            self.heard_out(interface);
        }
    }

    /// Passes on what a router has said, if that is all.
    fn heard_out(&mut self, interface: InterfaceIndex) {
        let is_all = |it: &RouterNews| it.prefixes.len() >= it.says.prefixes.into();
        if self.speaking.get(&interface).is_some_and(is_all)
            && let Some(said) = self.speaking.remove(&interface)
            && let Some(news) = &mut self.news
        {
            news.push(said);
        }
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

    /// What came of router advertisements on a link on which IPv6 is up.
    pub fn advertising(&self, index: InterfaceIndex) -> Option<Advertising> {
        let link = self.presence.links.get(&index)?;
        let first_sent = link.settings.as_ref().is_some_and(|settings| link.advertised >= settings.first);
        Some(Advertising {
            sent: link.sent,
            asked: link.asked,
            alone_refused: link.alone_refused,
            last: link.advertised_at,
            next: link.advertise_at,
            first_sent,
        })
    }

    /// Says whether anybody calls [`Router::take_router_news`].
    pub fn watch_routers(&mut self, on: bool) {
        match on {
            true => drop(self.presence.news.get_or_insert_default()),
            false => self.presence.news = None,
        }
    }

    /// What other routers have said since the last call.
    pub fn take_router_news(&mut self) -> Vec<RouterNews> {
        self.presence.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Has a link asked for routers until one is heard, or no more. It waits while IPv6 is not up there.
    pub fn search_routers(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        how: Option<RouterSearch>,
    ) {
        let now = self.now();
        let search = how.map(|how| Search { how, since: now, asked: 0, wait: how.first, at: now });
        match search {
            Some(search) => drop(self.presence.searches.insert(index, search)),
            None => drop(self.presence.searches.remove(&index)),
        }
        self.tick_link(engine, interfaces, index);
    }

    /// An interface has come up or gone down, or has other addresses, another MAC address or other settings of router
    /// advertisements than before: its link is told.
    pub fn tell_link(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        let now = self.now();
        let (Some(interface), Some(ip6)) = (interfaces.get(index), interfaces.effective::<Ip6>(index)) else {
            return;
        };
        // Addresses that it borrows are announced by the one that they are of.
        let mut own: Vec<Ipv6Addr> = interface.ip6.addresses.iter().map(IpPrefix::addr).collect();
        own.extend(ip6.link_local.filter(|link_local| !own.contains(link_local)));
        let is_own = |address: &IpAddr| match address {
            IpAddr::V4(address) => interface.ip4.has(*address),
            IpAddr::V6(address) => own.contains(address),
        };
        self.presence.duplicates.retain(|(on, address), _| *on != index || is_own(address));
        if !ip6.is_enabled() || !interfaces.is_up(index) {
            self.presence.links.remove(&index);
            return;
        }
        let groups = groups_of(interfaces, index, &ip6);
        let link = self.presence.links.entry(index).or_default();
        let moved = link.mac.replace(interface.mac) != Some(interface.mac);
        let fresh: Vec<_> =
            own.iter().copied().filter(|address| moved || !link.addresses.contains(address)).collect();
        let comes = groups.iter().filter(|group| moved || !link.groups.contains(group));
        let goes = link.groups.difference(&groups);
        let changes: BTreeMap<_, _> = comes
            .map(|group| (*group, Membership::Begins))
            .chain(goes.map(|group| (*group, Membership::Ends)))
            .collect();
        (link.addresses, link.groups) = (own, groups);
        if !fresh.is_empty() || !changes.is_empty() {
            // What was to be said once more is said with it, unless it is not so any more.
            let still = |group: &Ipv6Addr, was: &mut Membership| {
                link.groups.contains(group) == (*was == Membership::Begins)
            };
            link.changes.retain(still);
            link.changes.extend(changes);
            link.fresh = fresh;
            (link.tellings, link.tell_at) = (0, Some(now));
        }
        let settings = &interface.router_advertisement;
        match (settings.on, link.advertise_at) {
            (true, None) => (link.advertised, link.advertise_at) = (0, Some(now)),
            // Hosts hear soon that something is another now.
            (true, Some(due)) if link.settings.as_ref().is_some_and(|said| said != settings) => {
                (link.advertised, link.advertise_at) = (0, Some(link.earliest(now).min(due)));
            }
            (false, Some(_)) => {
                (link.advertise_at, link.advertised_at) = (None, None);
                advertise(engine, interface, index, ip6.link_local, true, None);
            }
            _ => {}
        }
        link.settings = settings.on.then(|| settings.clone());
        self.tick_link(engine, interfaces, index);
    }

    /// The same of all links: what they are told depends on other interfaces, too.
    pub fn tell_all_links(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        for (index, _) in interfaces.iter() {
            self.tell_link(engine, interfaces, index);
        }
    }

    /// A host has asked for routers.
    pub(super) fn router_asked(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        from: Option<(Ipv6Addr, MacAddr)>,
    ) {
        let now = self.now();
        let (Some(interface), Some(link)) = (interfaces.get(index), self.presence.links.get_mut(&index))
        else {
            return;
        };
        let Some(due) = link.advertise_at else { return };
        link.asked = link.asked.wrapping_add(1);
        if interface.router_advertisement.unicast && from.is_some() && link.may_answer_alone(now) {
            let own = interfaces.effective::<Ip6>(index).and_then(|ip6| ip6.link_local);
            link.sent = link.sent.wrapping_add(1);
            advertise(engine, interface, index, own, false, from);
            return;
        }
        link.advertise_at = Some(due.min(link.earliest(now)));
        self.tick_link(engine, interfaces, index);
    }

    /// A router or a switch has asked which groups are listened to.
    pub(super) fn groups_asked(&mut self, index: InterfaceIndex, query: GroupQuery) {
        let now = self.now();
        let Some(link) = self.presence.links.get_mut(&index) else { return };
        if query.version1 {
            link.version1_until = Some(now + VERSION_1);
        }
        let only = Some(query.group).filter(|group| !group.is_unspecified());
        if only.is_some_and(|group| !link.groups.contains(&group)) {
            return;
        }
        let delay = REPORT_DELAY.min(Duration::from_millis(query.within.into()));
        let at = now + spread(now, index, delay);
        link.report = match link.report {
            None => Some((at, only)),
            Some((before, also)) => Some((before.min(at), only.filter(|group| also == Some(*group)))),
        };
    }

    /// Says what is due on all links.
    pub(super) fn tick_links(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        let now = self.now();
        let searches = &self.presence.searches;
        let is_due = |index: &InterfaceIndex, link: &Link| {
            let search = searches.get(index).map(|search| search.at);
            link.deadline().into_iter().chain(search).any(|at| at <= now)
        };
        let due = self.presence.links.iter().filter(|(index, link)| is_due(index, link));
        for index in due.map(|(index, _)| *index).collect::<Vec<_>>() {
            self.tick_link(engine, interfaces, index);
        }
    }

    fn tick_link(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        let now = self.now();
        let Presence { links, searches, .. } = &mut self.presence;
        let (Some(interface), Some(link)) = (interfaces.get(index), links.get_mut(&index)) else { return };
        let own = interfaces.effective::<Ip6>(index).and_then(|ip6| ip6.link_local);
        let (mac, tags) = (interface.mac, interface.tags());
        let version1 = link.version1_until.is_some_and(|until| now < until);
        let mut say = |groups: &[(Ipv6Addr, Membership)]| {
            let frames = if version1 { membership_frames_1 } else { membership_frames };
            frames(mac, own, groups, tags)
                .into_iter()
                .for_each(|frame| transmit(engine, interface, index, frame));
        };
        let tells = link.tell_at.is_some_and(|at| at <= now);
        if tells {
            say(&link.changes.iter().map(|(group, change)| (*group, *change)).collect::<Vec<_>>());
        }
        if let Some((_, only)) = link.report.take_if(|(at, _)| *at <= now) {
            let asked = link.groups.iter().filter(|group| only.is_none_or(|only| only == **group));
            say(&asked.map(|group| (*group, Membership::Listens)).collect::<Vec<_>>());
        }
        if tells {
            for &address in &link.fresh {
                if link.tellings == 0 {
                    transmit(engine, interface, index, probe_frame(mac, address, tags));
                }
                transmit(engine, interface, index, announcement_frame(mac, address, tags));
            }
            link.tellings += 1;
            link.tell_at = (link.tellings < TELLINGS).then(|| now + BETWEEN_TELLINGS);
            if link.tell_at.is_none() {
                link.changes.clear();
            }
        }
        if link.advertise_at.is_some_and(|at| at <= now) {
            let settings = &interface.router_advertisement;
            advertise(engine, interface, index, own, false, None);
            link.advertised = link.advertised.saturating_add(1);
            link.sent = link.sent.wrapping_add(1);
            link.advertised_at = Some(now);
            // RFC 4861 section 6.2.1: at least a third of the longest, if nobody says otherwise, and at most three quarters of it.
            let seconds = |seconds: u16| Duration::from_secs(seconds.into());
            let longest = match link.advertised < settings.first {
                true => seconds(settings.interval).min(Duration::from_secs(settings.first_interval.into())),
                false => seconds(settings.interval),
            };
            let shortest = settings.least_interval.map_or(longest / 3, seconds).min(longest * 3 / 4);
            let shortest = shortest.max(BETWEEN_ADVERTISEMENTS);
            link.advertise_at = Some(now + shortest + spread(now, index, longest.saturating_sub(shortest)));
        }
        let search = searches.get_mut(&index).filter(|search| search.at <= now);
        if let (Some(search), Some(own)) = (search, own) {
            let RouterSearch { longest, count, within, .. } = search.how;
            let is_over = count.is_some_and(|count| search.asked >= count)
                || within.is_some_and(|within| now - search.since >= within);
            if is_over {
                searches.remove(&index);
                return;
            }
            transmit(engine, interface, index, router_solicitation_frame(mac, own, tags));
            search.asked = search.asked.saturating_add(1);
            // A tenth more or less, so that hosts which start together do not ask together.
            search.at = now + search.wait * 9 / 10 + spread(now, index, search.wait / 5);
            search.wait = longest.map_or(search.wait * 2, |longest| longest.min(search.wait * 2));
        }
    }
}

/// The groups that are listened to on a link.
fn groups_of(interfaces: &Interfaces, index: InterfaceIndex, ip6: &Addressing<Ip6>) -> BTreeSet<Ipv6Addr> {
    let anycast = ip6.addresses.iter().flat_map(|subnet| Ip6::roles(subnet.truncated()));
    let anycast = anycast.filter(|(_, role)| *role == AddressRole::Host).map(|(address, _)| address);
    let others = interfaces
        .iter()
        .filter(|(other, it)| *other != index && it.ip6.table == ip6.table)
        .flat_map(|(_, it)| it.proxied.iter().copied());
    let others = others.filter(|station| ip6.on_link(*station).is_some());
    ip6.own().chain(anycast).chain(others).map(solicited_node).chain([ALL_ROUTERS]).collect()
}

/// A part of a time that differs from link to link and from moment to moment, so that not all speak at once.
fn spread(now: Duration, index: InterfaceIndex, longest: Duration) -> Duration {
    let dice = (now.as_nanos() as u64).wrapping_add(index.0.into()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    longest.mul_f64(dice as f64 / 65_536.0)
}

fn advertise(
    engine: &mut Engine,
    interface: &Interface,
    index: InterfaceIndex,
    link_local: Option<Ipv6Addr>,
    last: bool,
    to: Option<(Ipv6Addr, MacAddr)>,
) {
    let Some(link_local) = link_local else { return };
    let mut subnets: Vec<_> = interface
        .ip6
        .addresses
        .iter()
        .filter(|address| !Ip6::is_link_scoped(address.addr()) && address.length() < 127)
        .map(IpPrefix::truncated)
        .collect();
    subnets.sort_unstable();
    subnets.dedup();
    let settings = &interface.router_advertisement;
    let say = RouterAdvertisement { settings, mtu: interface.mtu, subnets: &subnets, last, to };
    let frame = router_advertisement_frame(interface.mac, link_local, say, interface.tags());
    transmit(engine, interface, index, frame);
}
