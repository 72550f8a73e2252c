// SPDX-License-Identifier: Apache-2.0
//! What the console answers, in the forms that vplsh and the scripts above it read.
//!
//! Interfaces bear the kernel's names here, as vplaned gave them. A lookup or a list is bounded by what is asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weft_control::Configured;
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{AddressFamily, AddressRole, DropKind, Ip4, Ip6, IpPrefix, PathTarget, RouteView};
use weft_nodes::interface::{Interface, IpVersion, Owner, SourceCheck, TableIndex};
use weft_nodes::neighbor::NeighborState;
use weft_nodes::router::Routed;
use weft_vplaned::commands::Words;
use weft_vplaned::console::json::{self, text};
use weft_vplaned::console::{Console, Failure};
use weft_vplaned::netlink::{IfIndex, MacAddr};

use super::netstat::netstat;
use super::{npf, sessions};
use crate::ports::local::LOCAL0;
use crate::state::Dataplane;
use crate::vplaned::Vplaned;

/// Routes that `route show` gives without a count.
const MANY: usize = 10_000;
/// VRF_DEFAULT_ID.
const DEFAULT_VRF: u32 = 1;
/// The kernel's numbers of tables that hold what belongs to no other (linux/rtnetlink.h).
const RT_TABLES_MAIN: [u32; 3] = [0, 254, 255];
/// The kernel's numbers of who made a route (rtnetlink(7)).
const RTPROT_KERNEL: u8 = 2;
const RTPROT_STATIC: u8 = 4;
// IFF_* of linux/if.h.
const UP: u32 = 1;
const BROADCAST: u32 = 2;
const RUNNING: u32 = 0x40;
const MULTICAST: u32 = 0x1000;

/// All commands of the console.
pub fn console() -> Console<Dataplane> {
    let mut console = Console::new();
    console.register_json("ifconfig", "interfaces: [-a | [-v] NAME ...]", ifconfig);
    console.register(
        "route",
        "IPv4 routes: [vrf_id N] [table N] [show [N] | show get-next ADDRESS LENGTH N | all | summary | lookup ADDRESS [LENGTH]]",
        route::<Ip4>,
    );
    console.register(
        "route6",
        "IPv6 routes: [vrf_id N] [table N] [show [N] | show get-next ADDRESS LENGTH N | all | summary | lookup ADDRESS [LENGTH]]",
        route::<Ip6>,
    );
    console.register(
        "arp",
        "neighbours by ARP: [show [NAME ...] | flush to ADDRESS | flush dev NAME | get]",
        |dataplane, words| neighbors(dataplane, words, IpVersion::V4),
    );
    console.register(
        "nd6",
        "neighbours by neighbour discovery: [show [NAME ...] | flush to ADDRESS | flush dev NAME | get]",
        |dataplane, words| neighbors(dataplane, words, IpVersion::V6),
    );
    console.register_json("vrf", "tables", vrf);
    console.register_json("local", "addresses of the router: [vrf_id N]", local);
    console.register_json("incomplete", "what waits for others, and what had no consequence", incomplete);
    console.register_json("netstat", "counters of protocols", netstat);
    console.register(
        "npf-op",
        "packet filters: show|state|clear [-n CLASS:GROUP] [-r RULE] [all:|interface:NAME [RULESET ...]], dump groups|attach-points, \
         fw show address-group [af=..] [name=..] [option=..]",
        npf_op,
    );
    console.register(
        "session-op",
        "sessions: show|clear session[s] ..., show|clear dataplane sessions [FILTER ...] [summary]",
        |dataplane, words| sessions::session_op(dataplane, words, &name_of),
    );
    console
}

/// The kernel's name of an interface, or else our own.
fn name_of(dataplane: &Dataplane, index: InterfaceIndex) -> String {
    let vplaned = dataplane.find_part::<Vplaned>();
    let known = vplaned.and_then(|vplaned| vplaned.bindings.kernel_of(index));
    known.map_or_else(|| dataplane.interface_name(index), |(_, name)| name.to_owned())
}

fn find(dataplane: &Dataplane, name: &str) -> Result<InterfaceIndex, Failure> {
    let all = dataplane.interfaces().iter().map(|(index, _)| index);
    let found = all.into_iter().find(|index| name_of(dataplane, *index) == name);
    found.ok_or_else(|| Failure(format!("no interface {name:?}\n")))
}

/// The number of a VRF as the C dataplane gives it: 1 for the default one, else that of the master interface. A table that no VRF
/// of vplaned has keeps its own.
fn vrf_id(dataplane: &Dataplane, table: u32) -> u32 {
    let vplaned = dataplane.find_part::<Vplaned>();
    match table {
        0 => DEFAULT_VRF,
        _ => vplaned.and_then(|vplaned| vplaned.bindings.master_of(table)).map_or(table, IfIndex::get),
    }
}

fn vrf_of<F: Routed>(dataplane: &Dataplane, table: TableIndex) -> u32 {
    vrf_id(dataplane, dataplane.router().table::<F>(table).map_or(0, |table| table.id))
}

/// The table of a VRF by such a number.
fn table_of<F: Routed>(dataplane: &Dataplane, vrf: u32) -> Result<TableIndex, Failure> {
    let mut ids = dataplane.router().tables::<F>().map(|(index, table)| (index, table.id));
    let found = ids.find(|(_, id)| vrf_id(dataplane, *id) == vrf || (vrf, *id) == (0, 0));
    found.map(|(index, _)| index).ok_or_else(|| Failure(format!("no VRF {vrf}\n")))
}

// --- npf-op ---

fn npf_op(dataplane: &mut Dataplane, mut words: Words<'_>) -> Result<String, Failure> {
    let what = "show, state, clear, dump or fw";
    let word = words.word(what)?;
    let (control, parts) = dataplane.split();
    let rule_sets = control.rule_sets();
    let Some(vplaned) = parts.find_mut::<Vplaned>() else {
        return Err(Failure("there is no vplaned\n".to_owned()));
    };
    let filters = &mut vplaned.filters;
    match word {
        "show" => text(&npf::show(filters, rule_sets, words)?),
        "state" => text(&npf::state(filters, rule_sets, words)?),
        "clear" => npf::clear(filters, rule_sets, words),
        "dump" => {
            let groups = words.one_of(&[("groups", true), ("attach-points", false)])?;
            words.end()?;
            if groups { text(&npf::groups(filters)) } else { text(&npf::attach_points(filters)) }
        }
        "fw" => {
            words.one_of(&[("show", ())])?;
            words.one_of(&[("address-group", ())])?;
            text(&npf::address_groups(filters, words)?)
        }
        _ => Err(words.wrong_last(what).into()),
    }
}

// --- ifconfig ---

fn ifconfig(dataplane: &mut Dataplane, mut words: Words<'_>) -> Result<json::Interfaces, Failure> {
    let (mut all, mut named) = (false, Vec::new());
    while !words.is_empty() {
        match words.word("-a, -v or the name of an interface")? {
            "-a" => all = true,
            // More is not to be had.
            "-v" => {}
            name => named.push(find(dataplane, name)?),
        }
    }
    let wanted = |index: InterfaceIndex, interface: &Interface| match named.is_empty() {
        // vplaned's tools know of none that is not a port of theirs.
        true => index != LOCAL0 && (all || interface.admin_up),
        false => named.contains(&index),
    };
    let shown = dataplane.interfaces().iter().filter(|(index, interface)| wanted(*index, interface));
    Ok(json::Interfaces {
        interfaces: shown.map(|(index, entry)| interface(dataplane, index, entry)).collect(),
    })
}

fn interface(dataplane: &Dataplane, index: InterfaceIndex, entry: &Interface) -> json::Interface {
    let vplaned = dataplane.find_part::<Vplaned>();
    let kernel = vplaned.and_then(|vplaned| vplaned.bindings.kernel_of(index));
    let counters = dataplane.counters_of(index);
    let up = dataplane.interfaces().is_up(index);
    let parent = entry.parent().map(|parent| name_of(dataplane, parent));
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let rp_filter = match entry.source_check {
        SourceCheck::Off => 0,
        SourceCheck::Strict => 1,
        SourceCheck::Loose => 2,
    };
    let vectors = &dataplane.engine().counters.interfaces;
    let sum = |vector: &weft_stats::SimpleVector| vector.sum(index.index());
    let rates = vplaned.map(|vplaned| vplaned.rates.of(index)).unwrap_or_default();
    let address = |address: IpNet| match address {
        IpNet::V4(inet) => {
            json::Address::Inet { inet, broadcast: (inet.prefix_len() < 31).then(|| inet.broadcast()) }
        }
        IpNet::V6(inet6) => json::Address::Inet6 {
            inet6,
            scope: if Ip6::is_link_scoped(inet6.addr()) { "Link" } else { "Universe" },
        },
    };
    json::Interface {
        name: name_of(dataplane, index),
        vrf_id: vrf_of::<Ip4>(dataplane, entry.ip4.table),
        ifindex: kernel.map(|(index, _)| index),
        parent,
        bridge: None,
        role: "dataplane",
        mtu: entry.mtu.into(),
        flags: BROADCAST | MULTICAST | flag(entry.admin_up, UP) | flag(up, RUNNING),
        ip_forwarding: entry.forwarding.into(),
        ip_proxy_arp: entry.proxy_arp.into(),
        ip_mc_forwarding: 0,
        ip_rp_filter: rp_filter,
        ip6_forwarding: (entry.forwarding && entry.forwarding6).into(),
        ip6_mc_forwarding: 0,
        dp_id: vplaned.map_or(0, |vplaned| vplaned.status.dataplane.0),
        ether: MacAddr(entry.mac.0),
        kind: entry.kind.link_type(),
        eth_info: None,
        link: json::LinkState { up, duplex: None, speed: None },
        addresses: json::Addresses(entry.addresses().map(address).collect()),
        statistics: json::Statistics {
            rx_packets: counters.rx_packets,
            rx_errors: counters.rx_errors,
            tx_packets: counters.tx_packets,
            tx_errors: counters.tx_errors,
            rx_bytes: counters.rx_bytes,
            tx_bytes: counters.tx_bytes,
            rx_dropped: counters.rx_dropped,
            tx_dropped: counters.tx_dropped,
            rx_multicast: counters.multicast,
            rates,
        },
        xstatistics: BTreeMap::from([
            ("rx_good_packets", counters.rx_packets),
            ("rx_good_bytes", counters.rx_bytes),
            ("rx_missed_errors", sum(&vectors.rx_miss)),
            ("rx_mbuf_allocation_errors", sum(&vectors.rx_no_buf)),
            ("rx_errors", counters.rx_errors),
            ("tx_good_packets", counters.tx_packets),
            ("tx_good_bytes", counters.tx_bytes),
            ("tx_errors", counters.tx_errors),
        ]),
        ipv4: json::Ip4 {
            forwarding: entry.forwarding.into(),
            rp_filter,
            proxy_arp: entry.proxy_arp.into(),
            ..json::Ip4::default()
        },
    }
}

// --- route ---

fn route<F: Configured>(dataplane: &mut Dataplane, mut words: Words<'_>) -> Result<String, Failure> {
    let mut table = TableIndex(0);
    let (mut many, mut what, mut after) = (MANY, "show", None);
    while !words.is_empty() {
        match words.word("vrf_id, table, show, all, summary or lookup")? {
            "vrf_id" => table = table_of::<F>(dataplane, words.value("the number of a VRF")?)?,
            "table" => {
                let id: u32 = words.value("the number of a table")?;
                // That of the VRF itself; others are those of policies, or of this router.
                if !RT_TABLES_MAIN.contains(&id) {
                    let found = dataplane.router().table_index::<F>(id);
                    table = found.map_err(|error| Failure(format!("{error}\n")))?;
                }
            }
            "show" => {
                what = "show";
                if words.rest().first() == Some(&"get-next") {
                    words.word("get-next")?;
                    let address: IpAddr = words.value("an address")?;
                    after = Some(prefix::<F>(address, words.value("a prefix length")?)?);
                }
                if !words.is_empty() {
                    many = words.value("a number of routes")?;
                }
            }
            "all" => many = usize::MAX,
            "summary" => what = "summary",
            "lookup" => {
                let address: IpAddr = words.value("an address")?;
                let address = F::address(address)
                    .ok_or_else(|| Failure(format!("expected an {} address, found {address}\n", F::NAME)))?;
                let length: Option<u8> =
                    if words.is_empty() { None } else { Some(words.value("a prefix length")?) };
                words.end()?;
                return text(&lookup::<F>(dataplane, table, address, length)?);
            }
            _ => return Err(words.wrong_last("vrf_id, table, show, all, summary or lookup").into()),
        }
    }
    let Some(entry) = dataplane.router().table::<F>(table) else {
        return Err(Failure("no such table\n".to_owned()));
    };
    if what == "summary" {
        let mut stats = json::RouteStats { total: entry.rib.len() as u64, ..json::RouteStats::default() };
        for route in entry.rib.routes(None) {
            *stats.prefix.entry(route.prefix().length()).or_default() += 1;
        }
        stats.used = entry.rib.installed() as u64;
        stats.nexthop.used = dataplane.router().objects().adjacencies.iter().count() as u64;
        return text(&json::Under(key::<F>(json::SUMMARY), stats));
    }
    let mut routes = entry.rib.routes(after);
    let shown = routes.by_ref().take(many).filter_map(|route| shown(dataplane, &route));
    let mut route_show: Vec<json::Shown> = shown.map(json::Shown::Route).collect();
    if routes.next().is_some() {
        route_show.push(json::Shown::More);
    }
    text(&json::Under(key::<F>(json::SHOW), route_show))
}

/// The key of the command of a family.
fn key<F: Configured>(keys: [&'static str; 2]) -> &'static str {
    keys[usize::from(F::VERSION == IpVersion::V6)]
}

/// A prefix of a family.
fn prefix<F: Configured>(address: IpAddr, length: u8) -> Result<F::Net, Failure> {
    let prefix = IpNet::new(address, length).map_err(|error| Failure(format!("{error}\n")))?;
    let found = F::prefix(prefix.trunc());
    found.ok_or_else(|| Failure(format!("expected an {} prefix, found {prefix}\n", F::NAME)))
}

fn lookup<F: Configured>(
    dataplane: &Dataplane,
    table: TableIndex,
    address: F::Addr,
    length: Option<u8>,
) -> Result<json::Under<Vec<json::Looked>>, Failure> {
    let Some(entry) = dataplane.router().table::<F>(table) else {
        return Err(Failure("no such table\n".to_owned()));
    };
    let (asked, found) = match length {
        None => (json::Asked::Address { address: address.into() }, entry.rib.longest_match(address)),
        Some(length) => {
            let prefix = prefix::<F>(address.into(), length)?;
            (json::Asked::Prefix { prefix: prefix.into() }, entry.rib.get(prefix))
        }
    };
    let found = found.and_then(|route| shown(dataplane, &route));
    let route_lookup = vec![match found {
        None => json::Looked::NoMatch { asked, state: "nomatch" },
        Some(route) => json::Looked::Found {
            asked,
            nh_index: route.nh_index,
            nh_refcount: route.nh_refcount,
            first: route.next_hop.first().cloned(),
            next_hop: route.next_hop,
        },
    }];
    Ok(json::Under(key::<F>(json::LOOKUP), route_lookup))
}

/// The route that packets take; `None` if no owner's can be resolved.
fn shown<F: Configured>(dataplane: &Dataplane, route: &RouteView<'_, F>) -> Option<json::Route> {
    let installed = route.load_balance();
    let source = route.sources().find(|source| source.load_balance == installed)?;
    let next_hop = |target: PathTarget<F>| {
        let (state, via, interface) = match target {
            PathTarget::Via { address, interface } => (json::NextHopState::Gateway, Some(address), interface),
            PathTarget::Connected(interface) => (json::NextHopState::Connected, None, Some(interface)),
            PathTarget::Local | PathTarget::OwnAddress { role: AddressRole::Host, .. } => {
                (json::NextHopState::Local, None, None)
            }
            PathTarget::Punt => (json::NextHopState::NonDataplane, None, None),
            PathTarget::OwnAddress { role: AddressRole::Network, .. }
            | PathTarget::Drop(DropKind::Blackhole) => (json::NextHopState::Blackhole, None, None),
            PathTarget::Drop(_) | PathTarget::Table(_) | PathTarget::Object(_) => {
                (json::NextHopState::Unreachable, None, None)
            }
        };
        let neighbor = via
            .zip(interface)
            .and_then(|(address, interface)| dataplane.router().neighbors().get(interface, address.into()));
        json::NextHop {
            state,
            via: via.map(Into::into),
            dead: interface.is_some_and(|interface| !dataplane.interfaces().is_up(interface)),
            neigh_present: neighbor.is_some_and(|neighbor| neighbor.state.mac().is_some()),
            ifname: interface.map(|interface| name_of(dataplane, interface)),
        }
    };
    Some(json::Route {
        prefix: route.prefix().into(),
        scope: 0,
        proto: if source.owner == Owner::CONNECTED { RTPROT_KERNEL } else { RTPROT_STATIC },
        payload: "ip",
        nh_index: installed.0,
        nh_refcount: 1,
        next_hop: source.paths.iter().map(|path| next_hop(path.target)).collect(),
    })
}

// --- tables ---

fn neighbors(dataplane: &mut Dataplane, mut words: Words<'_>, version: IpVersion) -> Result<String, Failure> {
    let what = match words.is_empty() {
        true => "show",
        false => words.one_of(&[("show", "show"), ("flush", "flush"), ("get", "get")])?,
    };
    match what {
        "flush" => flush(dataplane, words, version),
        "get" => {
            words.end()?;
            let settings = dataplane.router().neighbors().settings();
            let (age, most) = (settings.age.as_secs(), settings.limit as u64);
            text(&BTreeMap::from([("Aging time", age), ("Max entries", most)]))
        }
        _ => text(&show_neighbors(dataplane, words, version)?),
    }
}

/// Forgets what was learned: a neighbour, or all of an interface. Static ones are vplaned's or the operator's, and stay.
fn flush(dataplane: &mut Dataplane, mut words: Words<'_>, version: IpVersion) -> Result<String, Failure> {
    let (mut on, mut to) = (None, None);
    match words.one_of(&[("dev", true), ("to", false)])? {
        true => on = Some(find(dataplane, words.word("the name of an interface")?)?),
        false => to = Some(words.value::<IpAddr>("an address")?),
    }
    words.end()?;
    dataplane.forget_learned(|it| {
        IpVersion::from(it.address) == version
            && on.is_none_or(|on| on == it.interface)
            && to.is_none_or(|to| to == it.address)
    });
    Ok(String::new())
}

fn show_neighbors(
    dataplane: &Dataplane,
    mut words: Words<'_>,
    version: IpVersion,
) -> Result<json::Under<Vec<json::ArpEntry>>, Failure> {
    let mut named = Vec::new();
    while !words.is_empty() {
        named.push(find(dataplane, words.word("the name of an interface")?)?);
    }
    let mut entries = Vec::new();
    let all = dataplane.router().neighbors().iter();
    for neighbor in all.filter(|neighbor| IpVersion::from(neighbor.address) == version) {
        if !named.is_empty() && !named.contains(&neighbor.interface) {
            continue;
        }
        let flags = match neighbor.state {
            NeighborState::Static(_) => "STATIC",
            NeighborState::Reachable(_) | NeighborState::Stale { .. } => "VALID",
            NeighborState::Incomplete { .. } | NeighborState::Failed => "PENDING",
        };
        let state = match neighbor.state {
            _ if version == IpVersion::V4 => None,
            NeighborState::Static(_) | NeighborState::Reachable(_) => Some("REACHABLE"),
            NeighborState::Stale { .. } => Some("STALE"),
            NeighborState::Incomplete { .. } | NeighborState::Failed => Some("INCOMPLETE"),
        };
        entries.push(json::ArpEntry {
            ip: neighbor.address,
            flags,
            mac: MacAddr(neighbor.state.mac().map_or([0; 6], |mac| mac.0)),
            ifname: name_of(dataplane, neighbor.interface),
            state,
        });
    }
    let key = match version {
        IpVersion::V4 => "arp",
        IpVersion::V6 => "nd6",
    };
    Ok(json::Under(key, entries))
}

fn vrf(dataplane: &mut Dataplane, words: Words<'_>) -> Result<json::Under<Vec<json::VrfEntry>>, Failure> {
    words.end()?;
    let users = |table: TableIndex| {
        dataplane.interfaces().iter().filter(|(_, interface)| interface.ip4.table == table).count() as u32
    };
    let entry = |(index, table): (TableIndex, &weft_nodes::router::Table<Ip4>)| json::VrfEntry {
        name: if table.id == 0 { "default".to_owned() } else { table.name.clone() },
        vrf_id: vrf_id(dataplane, table.id),
        internal_vrf_id: index.0,
        ref_count: users(index),
    };
    Ok(json::Under("vrf_table", dataplane.router().tables::<Ip4>().map(entry).collect()))
}

fn local(
    dataplane: &mut Dataplane,
    mut words: Words<'_>,
) -> Result<json::Under<Vec<json::LocalAddress>>, Failure> {
    let mut only = None;
    if !words.is_empty() {
        words.one_of(&[("vrf_id", ())])?;
        let vrf: u32 = words.value("the number of a VRF")?;
        table_of::<Ip4>(dataplane, vrf)?;
        only = Some(vrf.max(DEFAULT_VRF));
        words.end()?;
    }
    let addresses = dataplane.interfaces().iter().flat_map(|(index, interface)| {
        let ifname = name_of(dataplane, index);
        let vrfs =
            [vrf_of::<Ip4>(dataplane, interface.ip4.table), vrf_of::<Ip6>(dataplane, interface.ip6.table)];
        let own4 = interface.ip4.own().map(IpAddr::V4);
        let address = move |address: IpAddr| json::LocalAddress {
            address,
            ifname: ifname.clone(),
            vrf_id: vrfs[usize::from(address.is_ipv6())],
        };
        own4.chain(interface.ip6.own().map(IpAddr::V6)).map(address)
    });
    let wanted = addresses.filter(|address| only.is_none_or(|only| only == address.vrf_id));
    Ok(json::Under("local", wanted.collect()))
}

/// What came before that which it needs, and what had no consequence.
fn incomplete(
    dataplane: &mut Dataplane,
    words: Words<'_>,
) -> Result<json::Under<BTreeMap<&'static str, u64>>, Failure> {
    words.end()?;
    let Some(vplaned) = dataplane.find_part::<Vplaned>() else {
        return Err(Failure("there is no vplaned\n".to_owned()));
    };
    let counts = vplaned.store().counts();
    let waiting = (counts.links_waiting + counts.routes_waiting) as u64;
    let counts = [("incomplete", waiting), ("ignored", counts.ignored.values().sum())];
    Ok(json::Under("incomplete", BTreeMap::from(counts)))
}
