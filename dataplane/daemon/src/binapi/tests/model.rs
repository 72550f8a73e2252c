// SPDX-License-Identifier: Apache-2.0
//! Random changes of five owners through four front ends, with interfaces and tables that go and owners that say everything
//! again, against a naive model: after each step the tables are the model's, and every object has the owners of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use weft_control::{ChangeSet, Configured, Object, Owner, Purpose, Value, settings};
use weft_devices::pg::{Mode, PgId};
use weft_engine::InterfaceIndex as Index;
use weft_nodes::fib::{Action, DropKind, Ip4, Ip6, PathTarget, Preference, RoutePath};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{IpVersion, by_family};
use weft_nodes::neighbor::NeighborState;

use super::*;
use crate::vplaned::testing as vplaned;

/// Who changes something: each by its own front end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Who {
    Cli,
    /// A client of the binary API.
    Agent(u16),
    Vplaned,
    /// As startup.conf and plugins do it.
    Startup,
}

impl Who {
    /// A delete of theirs is one for all owners.
    fn by_hand(self) -> bool {
        matches!(self, Who::Cli | Who::Agent(_))
    }

    fn owner(self) -> Owner {
        match self {
            Who::Cli => Owner::CLI,
            Who::Agent(number) => Owner::agent(number),
            Who::Vplaned => Owner::VPLANED,
            Who::Startup => Owner::STARTUP,
        }
    }
}

/// A change of one object. Numbers are of the interface, the subnet, the table. What has a high number is of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum What {
    Address(u32, u8),
    Neighbor(u32, u8, u8),
    Table(u32),
    Route(u32, u8),
    Mtu(u32, u16),
    /// A rule of the one set, and the port that it is about.
    Rule(u8, u16),
    /// The set, on what comes in.
    Attachment(u32),
}

#[derive(Clone, Debug)]
enum Step {
    Add(Who, What),
    Delete(Who, What),
    /// An interface is deleted, and made again by a change set of the command line that has these steps too.
    Again(u32, Vec<What>),
    /// It says these things again, and nothing else.
    Resync(Who, Vec<What>),
}

const INTERFACES: std::ops::Range<u32> = 1..3;
/// Of IPv4, and the same of IPv6.
const TABLES: [u32; 4] = [7, 8, OF_IP6 + 7, OF_IP6 + 8];
/// What is added to numbers of IPv6's tables.
const OF_IP6: u32 = 100;
/// Subnets from here on are of IPv6.
const FIRST_IP6: u8 = 3;
const MTU: u16 = 9000;
const SET: &str = "edge";

fn address(subnet: u8) -> IpNet {
    let text = match subnet {
        FIRST_IP6.. => format!("fd00:{subnet}::1/64"),
        _ => format!("10.0.{subnet}.1/24"),
    };
    text.parse().expect("a prefix")
}

fn host(subnet: u8) -> IpAddr {
    let text = match subnet {
        FIRST_IP6.. => format!("fd00:{subnet}::9"),
        _ => format!("10.0.{subnet}.9"),
    };
    text.parse().expect("an address")
}

/// The family of a table, and its number there.
fn table_id(table: u32) -> (IpVersion, u32) {
    table.checked_sub(OF_IP6).map_or((IpVersion::V4, table), |id| (IpVersion::V6, id))
}

fn table_object(table: u32) -> Object {
    let (version, id) = table_id(table);
    Object::Table(version, id)
}

/// A VRF of vplaned's is a table of each family.
fn tables_of(who: Who, table: u32) -> Vec<u32> {
    if who == Who::Vplaned { vec![table, OF_IP6 + table] } else { vec![table] }
}

fn to(table: u32, number: u8) -> IpNet {
    let text = match table_id(table).0 {
        IpVersion::V4 => format!("20.{number}.0.0/16"),
        IpVersion::V6 => format!("2001:db8:{number}::/48"),
    };
    text.parse().expect("a prefix")
}

/// The numbers of routes that are there, with their tables and owners.
fn routes_of<F: Configured>(dataplane: &Dataplane) -> BTreeSet<(u32, u8, Owner)> {
    let mut found = BTreeSet::new();
    for (_, table) in dataplane.router().tables::<F>() {
        let of_ip6 = if F::VERSION == IpVersion::V6 { OF_IP6 } else { 0 };
        for route in table.rib.routes(None) {
            let number = (0..2).find(|number| to(of_ip6, *number) == route.prefix().into());
            let owners: Vec<Owner> = route.sources().map(|source| source.owner.slot()).collect();
            if let Some(number) = number {
                found.extend(owners.into_iter().map(|owner| (of_ip6 + table.id, number, owner)));
            }
        }
    }
    found
}

fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

/// What should be there.
#[derive(Clone, Default)]
struct Model {
    /// Who wants an address, in the order in which they said so.
    addresses: BTreeMap<(u32, u8), Vec<Who>>,
    neighbors: BTreeMap<(u32, u8), Vec<(Who, u8)>>,
    tables: BTreeMap<u32, Vec<Who>>,
    /// Clients of the API share their routes.
    routes: BTreeSet<(u32, u8, Owner)>,
    mtus: BTreeMap<u32, Vec<(Who, u16)>>,
    rules: BTreeMap<u8, Vec<(Who, u16)>>,
    /// Who wants the set: all that have a rule in it, or had one.
    set: Vec<Who>,
    attached: BTreeMap<u32, Vec<Who>>,
    /// Rules that who says everything again has not mentioned yet.
    awaited: BTreeSet<u8>,
}

fn claim<T>(claims: &mut Vec<(Who, T)>, who: Who, value: T) {
    claims.retain(|(other, _)| *other != who);
    claims.push((who, value));
}

impl Model {
    /// Whether it is refused; if not, it is done. `again`: while `who` says everything again.
    fn add(&mut self, who: Who, what: What, again: bool) -> bool {
        match what {
            What::Address(interface, subnet) => {
                let elsewhere =
                    self.addresses.keys().any(|(other, theirs)| *theirs == subnet && *other != interface);
                let owners = self.addresses.get(&(interface, subnet));
                let twice = owners.is_some_and(|owners| owners.contains(&who)) && who.by_hand() && !again;
                if elsewhere || twice {
                    return false;
                }
                let owners = self.addresses.entry((interface, subnet)).or_default();
                owners.retain(|other| *other != who);
                owners.push(who);
            }
            What::Neighbor(interface, subnet, mac) => {
                claim(self.neighbors.entry((interface, subnet)).or_default(), who, mac);
            }
            What::Table(id) => {
                for id in tables_of(who, id) {
                    // To say it again is no error.
                    let owners = self.tables.entry(id).or_default();
                    owners.retain(|other| *other != who);
                    owners.push(who);
                }
            }
            What::Route(table, number) => {
                if table_id(table).1 != 0 && !self.tables.contains_key(&table) {
                    return false;
                }
                self.routes.insert((table, number, who.owner().slot()));
            }
            What::Mtu(interface, mtu) => claim(self.mtus.entry(interface).or_default(), who, mtu),
            What::Rule(id, port) => {
                let awaited = again && self.awaited.remove(&id);
                if who.by_hand() && self.rules.contains_key(&id) && !awaited {
                    return false;
                }
                if !self.set.contains(&who) {
                    self.set.push(who);
                }
                let claims = self.rules.entry(id).or_default();
                if claims.last() != Some(&(who, port)) {
                    // Who has its way with the same rule already keeps it.
                    let same = claims.last().is_some_and(|(_, last)| *last == port);
                    if !(same && claims.contains(&(who, port))) {
                        claim(claims, who, port);
                    }
                }
            }
            What::Attachment(interface) => {
                if self.set.is_empty() {
                    return false;
                }
                let owners = self.attached.entry(interface).or_default();
                owners.retain(|other| *other != who);
                owners.push(who);
            }
        }
        true
    }

    fn delete(&mut self, who: Who, what: What) -> bool {
        match what {
            What::Address(interface, subnet) => {
                let key = (interface, subnet);
                match self.addresses.get_mut(&key) {
                    None => return !who.by_hand(),
                    Some(owners) if !who.by_hand() => owners.retain(|other| *other != who),
                    Some(owners) => owners.clear(),
                }
                self.drop_address(key);
            }
            What::Neighbor(interface, subnet, _) => {
                let key = (interface, subnet);
                match self.neighbors.get_mut(&key) {
                    None => return !who.by_hand(),
                    Some(owners) if !who.by_hand() => owners.retain(|(other, _)| *other != who),
                    Some(owners) => owners.clear(),
                }
                self.neighbors.retain(|_, owners| !owners.is_empty());
            }
            What::Table(id) => {
                for id in tables_of(who, id) {
                    match self.tables.get_mut(&id) {
                        None if who.by_hand() => return false,
                        None => {}
                        Some(owners) if !who.by_hand() => owners.retain(|other| *other != who),
                        Some(owners) => owners.clear(),
                    }
                    self.drop_table(id);
                }
            }
            What::Route(table, number) => return self.routes.remove(&(table, number, who.owner().slot())),
            What::Mtu(interface, _) => {
                if let Some(owners) = self.mtus.get_mut(&interface) {
                    owners.retain(|(other, _)| *other != who);
                }
                self.mtus.retain(|_, owners| !owners.is_empty());
            }
            What::Rule(id, _) => match self.rules.get_mut(&id) {
                None => return !who.by_hand(),
                Some(_) if who.by_hand() => drop(self.rules.remove(&id)),
                Some(_) => self.release_rule(id, who),
            },
            What::Attachment(interface) => match self.attached.get_mut(&interface) {
                None => return !who.by_hand(),
                Some(_) if who.by_hand() => drop(self.attached.remove(&interface)),
                Some(owners) => {
                    owners.retain(|other| *other != who);
                    self.attached.retain(|_, owners| !owners.is_empty());
                }
            },
        }
        true
    }

    fn release_rule(&mut self, id: u8, who: Who) {
        if let Some(claims) = self.rules.get_mut(&id) {
            claims.retain(|(other, _)| *other != who);
        }
        self.rules.retain(|_, claims| !claims.is_empty());
    }

    /// Unless it is attached, the set goes with the last one who wants it.
    fn release_set(&mut self, who: Who) {
        if self.set != [who] || self.attached.is_empty() {
            self.set.retain(|other| *other != who);
        }
    }

    /// Neighbours of a subnet go with its last address.
    fn drop_address(&mut self, key: (u32, u8)) {
        if self.addresses.get(&key).is_some_and(Vec::is_empty) {
            self.addresses.remove(&key);
            self.neighbors.remove(&key);
        }
    }

    fn drop_table(&mut self, id: u32) {
        if self.tables.get(&id).is_some_and(Vec::is_empty) {
            self.tables.remove(&id);
            self.routes.retain(|(table, ..)| *table != id);
        }
    }

    fn again(&mut self, interface: u32) {
        self.addresses.retain(|(on, _), _| *on != interface);
        self.neighbors.retain(|(on, _), _| *on != interface);
        self.mtus.remove(&interface);
        if self.attached.remove(&interface).is_some() && self.attached.is_empty() {
            for who in self.set.clone().into_iter().filter(|who| *who != Who::Cli) {
                self.rules
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|id| self.release_rule(id, who));
                self.release_set(who);
            }
        }
    }

    fn resync(&mut self, who: Who, said: &[What]) {
        let mine = |claims: &[(Who, u16)]| claims.iter().any(|(other, _)| *other == who);
        self.awaited = self.rules.iter().filter(|(_, claims)| mine(claims)).map(|(id, _)| *id).collect();
        let (had_rules, had_set) = (self.awaited.clone(), self.set.contains(&who));
        let kept: Vec<bool> = said.iter().map(|what| self.add(who, *what, true)).collect();
        let said: BTreeSet<What> =
            said.iter().zip(kept).filter(|(_, kept)| *kept).map(|(what, _)| *what).collect();
        let neighbors: BTreeSet<(u32, u8)> = said
            .iter()
            .filter_map(|what| match what {
                What::Neighbor(interface, subnet, _) => Some((*interface, *subnet)),
                _ => None,
            })
            .collect();
        for claims in self.mtus.iter_mut().filter_map(|(interface, claims)| {
            let same = |what: &What| matches!(what, What::Mtu(on, _) if on == interface);
            (!said.iter().any(same)).then_some(claims)
        }) {
            claims.retain(|(other, _)| *other != who);
        }
        self.mtus.retain(|_, claims| !claims.is_empty());
        for (key, claims) in &mut self.neighbors {
            if !neighbors.contains(key) {
                claims.retain(|(other, _)| *other != who);
            }
        }
        self.neighbors.retain(|_, claims| !claims.is_empty());
        for on in INTERFACES {
            if !said.contains(&What::Attachment(on))
                && let Some(owners) = self.attached.get_mut(&on)
            {
                owners.retain(|other| *other != who);
            }
        }
        self.attached.retain(|_, owners| !owners.is_empty());
        let rules: BTreeSet<u8> = said
            .iter()
            .filter_map(|what| match what {
                What::Rule(id, _) => Some(*id),
                _ => None,
            })
            .collect();
        had_rules.difference(&rules).for_each(|id| self.release_rule(*id, who));
        if had_set && rules.is_empty() {
            self.release_set(who);
        }
        for key in self.addresses.keys().copied().collect::<Vec<_>>() {
            if !said.contains(&What::Address(key.0, key.1))
                && let Some(owners) = self.addresses.get_mut(&key)
            {
                owners.retain(|other| *other != who);
                self.drop_address(key);
            }
        }
        for id in TABLES {
            if !said.contains(&What::Table(id))
                && let Some(owners) = self.tables.get_mut(&id)
            {
                owners.retain(|other| *other != who);
                self.drop_table(id);
            }
        }
        let slot = who.owner().slot();
        // Clients share a slot, but each sweeps what it has said itself; of those of the test one has routes.
        if who == Who::Agent(1) {
            return;
        }
        self.routes
            .retain(|(table, number, owner)| *owner != slot || said.contains(&What::Route(*table, *number)));
    }

    fn check(&self, dataplane: &Dataplane) {
        let interfaces = || (INTERFACES).filter_map(|on| Some((on, dataplane.interfaces().get(Index(on))?)));
        let found: BTreeSet<(u32, IpNet)> =
            interfaces().flat_map(|(on, it)| it.addresses().map(move |address| (on, address))).collect();
        let expected = self.addresses.keys().map(|(on, subnet)| (*on, address(*subnet)));
        assert_eq!(found, expected.collect());
        for ((on, subnet), owners) in &self.addresses {
            let object = Object::Address(Index(*on), address(*subnet));
            let owners: Vec<Owner> = owners.iter().map(|who| who.owner()).collect();
            assert_eq!(dataplane.owners(&object), owners, "{object:?}");
        }
        let found: BTreeMap<(u32, IpAddr), MacAddr> = dataplane
            .router()
            .neighbors()
            .iter()
            .filter_map(|neighbor| match neighbor.state {
                NeighborState::Static(mac) => Some(((neighbor.interface.0, neighbor.address), mac)),
                _ => None,
            })
            .collect();
        let effective =
            |claims: &Vec<(Who, u8)>| claims.last().map(|(_, number)| mac(*number)).expect("never empty");
        let expected =
            self.neighbors.iter().map(|((on, subnet), claims)| ((*on, host(*subnet)), effective(claims)));
        assert_eq!(found, expected.collect());
        let ip4 = dataplane.router().tables::<Ip4>().map(|(_, table)| table.id);
        let ip6 = dataplane.router().tables::<Ip6>().map(|(_, table)| OF_IP6 + table.id);
        let tables: BTreeSet<u32> = ip4.chain(ip6).collect();
        assert_eq!(tables, self.tables.keys().copied().chain([0, OF_IP6]).collect());
        for (id, owners) in &self.tables {
            let owners: Vec<Owner> = owners.iter().map(|who| who.owner()).collect();
            assert_eq!(dataplane.owners(&table_object(*id)), owners, "table {id}");
        }
        let found = routes_of::<Ip4>(dataplane).into_iter().chain(routes_of::<Ip6>(dataplane));
        assert_eq!(found.collect::<BTreeSet<_>>(), self.routes);
        for (on, interface) in interfaces() {
            let expected = self.mtus.get(&on).and_then(|claims| claims.last()).map_or(MTU, |(_, mtu)| *mtu);
            assert_eq!(interface.mtu, expected, "interface {on}");
        }
        let set = dataplane.rule_sets().get(SET);
        assert_eq!(set.is_some(), !self.set.is_empty(), "{:?}", self.set);
        let found: BTreeMap<u8, String> = set
            .iter()
            .flat_map(|view| view.rules.iter())
            .map(|rule| (rule.id.0 as u8, format!("{:?}", rule.matches.destination_ports)))
            .collect();
        let port = |port: u16| format!("{:?}", weft_classify::PortRange::only(port));
        let effective =
            |claims: &Vec<(Who, u16)>| claims.last().map(|claim| port(claim.1)).expect("never empty");
        assert_eq!(found, self.rules.iter().map(|(id, claims)| (*id, effective(claims))).collect());
        for (id, claims) in &self.rules {
            let owners: Vec<Owner> = claims.iter().map(|(who, _)| who.owner()).collect();
            assert_eq!(dataplane.owners(&rule_object(*id)), owners, "rule {id}");
        }
        let attached: BTreeSet<u32> = dataplane.rule_sets().attached().map(|(on, ..)| on.0).collect();
        assert_eq!(attached, self.attached.keys().copied().collect());
        let wanted = self.addresses.len() + self.neighbors.len() + self.tables.len() + self.mtus.len();
        let wanted = wanted + self.rules.len() + usize::from(!self.set.is_empty()) + self.attached.len();
        let known = |object: &&Object| {
            !matches!(object, Object::Setting(setting, _) if **setting != settings::MTU)
                && !matches!(object, Object::Interface(_))
        };
        let count = dataplane.owned().map(|(object, _)| object).filter(known).count();
        assert_eq!(count, wanted, "objects with owners: {:?}", dataplane.owned().collect::<Vec<_>>());
    }
}

/// The four front ends.
struct Fronts {
    served: Served,
    agents: Vec<Client>,
}

impl Fronts {
    fn with<R>(&self, work: impl FnOnce(&mut Dataplane) -> R) -> R {
        self.served.bed.with(work)
    }

    /// Says whether it was done.
    async fn change(&self, who: Who, what: What, add: bool) -> bool {
        match who {
            Who::Cli => {
                let command = cli(what, add);
                self.served.client.request(&CliInband { cmd: command.as_str().into() }).await.is_ok()
            }
            Who::Agent(number) => self.by_message(&self.agents[usize::from(number)], what, add).await,
            Who::Vplaned => self.with(|dataplane| vplaned::change(dataplane, what_vplaned_says(what, add))),
            Who::Startup => self.with(|dataplane| {
                let mut changes = ChangeSet::new(Owner::STARTUP);
                note(dataplane, &mut changes, what, add) && dataplane.change(&changes, Purpose::Make).is_ok()
            }),
        }
    }

    async fn by_message(&self, client: &Client, what: What, is_add: bool) -> bool {
        let index = |on| InterfaceIndex(on);
        match what {
            What::Address(on, subnet) => {
                let prefix = prefix(&address(subnet).to_string());
                let message =
                    SwInterfaceAddDelAddress { sw_if_index: index(on), is_add, del_all: false, prefix };
                client.request(&message).await.is_ok()
            }
            What::Neighbor(on, subnet, number) => {
                let neighbor = IpNeighbor {
                    sw_if_index: index(on),
                    flags: IpNeighborFlags::STATIC,
                    mac_address: weft_binapi::api::ethernet_types::MacAddress(mac(number).0),
                    ip_address: host(subnet).into(),
                };
                client.request(&IpNeighborAddDel { is_add, neighbor }).await.is_ok()
            }
            What::Table(table) => {
                let (version, table_id) = table_id(table);
                let table = IpTable { table_id, is_ip6: version == IpVersion::V6, ..IpTable::default() };
                client.request(&IpTableAddDel { is_add, table }).await.is_ok()
            }
            What::Route(table, number) => {
                let path = FibPath { r#type: FibPathType::DROP, ..FibPath::default() };
                let mut message = route(is_add, &to(table, number).to_string(), vec![path]);
                message.route.table_id = table_id(table).1;
                client.request(&message).await.is_ok()
            }
            What::Rule(..) | What::Attachment(_) => {
                let command = cli(what, is_add);
                client.request(&weft_binapi::api::weft_change::WeftChange { command }).await.is_ok()
            }
            What::Mtu(on, mtu) if is_add => {
                let message = SwInterfaceSetMtu { sw_if_index: index(on), mtu: [mtu.into(), 0, 0, 0] };
                client.request(&message).await.is_ok()
            }
            What::Mtu(on, _) => {
                let name = "mtu".into();
                let message =
                    weft_binapi::api::weft_setting::WeftSettingUnset { sw_if_index: index(on), name };
                client.request(&message).await.is_ok()
            }
        }
    }

    async fn resync(&self, who: Who, said: &[What]) {
        match who {
            Who::Agent(number) => {
                let client = &self.agents[usize::from(number)];
                client.request(&WeftResyncBegin {}).await.expect("nobody else resynchronises");
                for what in said {
                    self.by_message(client, *what, true).await;
                }
                client.request(&WeftResyncEnd {}).await.expect("it has begun");
            }
            _ => {
                self.with(|dataplane| dataplane.begin_resync(who.owner()));
                for what in said {
                    self.change(who, *what, true).await;
                }
                self.with(|dataplane| dataplane.end_resync(who.owner()).map(drop)).expect("there is room");
            }
        }
    }
}

fn cli(what: What, add: bool) -> String {
    let del = if add { "" } else { "del " };
    let verb = if add { "add" } else { "del" };
    match what {
        What::Address(on, subnet) => format!("set interface ip address {del}pg{on} {}", address(subnet)),
        What::Neighbor(on, subnet, number) => {
            format!("set ip neighbor {del}static pg{on} {} {}", host(subnet), mac(number))
        }
        What::Table(table) => match table_id(table) {
            (IpVersion::V4, id) => format!("ip table {verb} {id}"),
            (IpVersion::V6, id) => format!("ip6 table {verb} {id}"),
        },
        What::Route(table, number) if add => {
            format!("ip route replace {} table {} via drop", to(table, number), table_id(table).1)
        }
        What::Route(table, number) => {
            format!("ip route del {} table {}", to(table, number), table_id(table).1)
        }
        What::Mtu(on, mtu) => format!("set interface mtu {mtu} pg{on}"),
        What::Rule(id, port) if add => {
            format!("classify rule add {SET} id {id} proto udp dport {port} action drop")
        }
        What::Rule(id, _) => format!("classify rule del {SET} id {id}"),
        What::Attachment(on) if add => format!("classify attach {SET} interface pg{on} input"),
        What::Attachment(on) => format!("classify detach interface pg{on} input"),
    }
}

fn rule_object(id: u8) -> Object {
    Object::Rule(SET.into(), weft_classify::RuleId(id.into()))
}

fn rule(id: u8, port: u16) -> weft_control::WantedRule {
    use weft_classify::{Action, Match, PortRange, Priority, Rule, RuleId, Verdict};
    let matches = Match {
        protocol: Some(weft_nodes::headers::IpProtocol(17)),
        destination_ports: PortRange::only(port),
        ..Match::default()
    };
    let action = Action::only(Verdict::Drop);
    weft_control::WantedRule::new(Rule {
        id: RuleId(id.into()),
        priority: Priority::default(),
        matches,
        action,
    })
}

fn what_vplaned_says(what: What, add: bool) -> vplaned::Said {
    match what {
        What::Address(on, subnet) => vplaned::Said::Address(on, address(subnet), add),
        What::Neighbor(on, subnet, number) => vplaned::Said::Neighbor(on, host(subnet), mac(number), add),
        What::Table(id) => vplaned::Said::Vrf(id, add),
        What::Route(table, number) => vplaned::Said::Blackhole(to(table, number), add),
        What::Mtu(on, mtu) => {
            vplaned::Said::Setting(&settings::MTU, on, add.then_some(Value::Number(mtu.into())))
        }
        What::Rule(..) | What::Attachment(_) => {
            let mut changes = ChangeSet::new(Owner::VPLANED);
            note_rules(&mut changes, what, add);
            vplaned::Said::Changes(changes)
        }
    }
}

fn note_rules(changes: &mut ChangeSet, what: What, add: bool) {
    let attachment = |on| Object::Attachment(Index(on), weft_classify::Direction::Input);
    match (what, add) {
        (What::Rule(id, port), true) => changes.add_rule(SET, rule(id, port)),
        (What::Rule(id, _), false) => changes.release(rule_object(id)),
        (What::Attachment(on), true) => changes.attach(SET, Index(on), weft_classify::Direction::Input),
        (What::Attachment(on), false) => changes.release(attachment(on)),
        _ => {}
    }
}

fn note(dataplane: &Dataplane, changes: &mut ChangeSet, what: What, add: bool) -> bool {
    let object = match what {
        What::Rule(..) | What::Attachment(_) => {
            note_rules(changes, what, add);
            return true;
        }
        What::Address(on, subnet) => Object::Address(Index(on), address(subnet)),
        What::Neighbor(on, subnet, _) => Object::Neighbor(Index(on), host(subnet)),
        What::Table(id) => table_object(id),
        What::Mtu(on, _) => Object::Setting(&settings::MTU, Some(Index(on))),
        What::Route(table, number) => {
            return by_family!(to(table, number), IpNet(prefix), F => {
                let Ok(table) = changes.table::<F>(dataplane, table_id(table).1) else { return false };
                let path = RoutePath::new(PathTarget::<F>::Drop(DropKind::Blackhole));
                let action = if add { Action::Set(Preference::default(), vec![path]) } else { Action::Delete };
                changes.route(table, prefix, action);
                true
            });
        }
    };
    match (what, add) {
        (_, false) => changes.release(object),
        (What::Table(table), true) => {
            let (version, id) = table_id(table);
            return by_family!(version, F => changes.add_table::<F>(dataplane, id, None).is_ok());
        }
        (What::Neighbor(_, _, number), true) => changes.want(object, Value::Mac(mac(number))),
        (What::Mtu(_, mtu), true) => changes.want(object, Value::Number(mtu.into())),
        (_, true) => changes.want(object, Value::None),
    }
    true
}

/// One agent has routes: clients share theirs, so that what one has said is not another's to sweep.
fn can(who: Who, what: What) -> bool {
    match (who, what) {
        (Who::Agent(1), What::Route(..)) => false,
        // A VRF of vplaned's has its routes; this test gives it the main tables'.
        (Who::Vplaned, What::Route(table, _)) => table_id(table).1 == 0,
        (Who::Vplaned, What::Table(table)) => table_id(table).0 == IpVersion::V4,
        _ => true,
    }
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        Just(Who::Cli),
        Just(Who::Agent(0)),
        Just(Who::Agent(1)),
        Just(Who::Vplaned),
        Just(Who::Startup)
    ]
}

fn what() -> impl Strategy<Value = What> {
    let on = INTERFACES;
    prop_oneof![
        4 => (on.clone(), 0..5u8).prop_map(|(on, subnet)| What::Address(on, subnet)),
        3 => (on.clone(), 0..5u8, 1..4u8).prop_map(|(on, subnet, mac)| What::Neighbor(on, subnet, mac)),
        2 => proptest::sample::select(&TABLES).prop_map(What::Table),
        3 => (proptest::sample::select(&[0, 7, 8, OF_IP6, OF_IP6 + 7, OF_IP6 + 8]), 0..2u8).prop_map(|(table, number)| What::Route(table, number)),
        2 => (on.clone(), 1400..1403u16).prop_map(|(on, mtu)| What::Mtu(on, mtu)),
        3 => (0..3u8, 1..4u16).prop_map(|(id, port)| What::Rule(id, port)),
        2 => on.prop_map(What::Attachment),
    ]
}

/// That a table is wanted twice in one change is no error, as it would be of two commands.
fn tables_once(mut with: Vec<What>) -> Vec<What> {
    let mut tables = std::collections::BTreeSet::new();
    with.retain(|what| match what {
        What::Table(id) => tables.insert(*id),
        _ => true,
    });
    with
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (who(), what()).prop_map(|(who, what)| Step::Add(who, what)),
        4 => (who(), what()).prop_map(|(who, what)| Step::Delete(who, what)),
        1 => (INTERFACES, proptest::collection::vec(what(), 0..4)).prop_map(|(on, with)| Step::Again(on, tables_once(with))),
        1 => (
            prop_oneof![Just(Who::Agent(0)), Just(Who::Agent(1)), Just(Who::Startup)],
            proptest::collection::vec(what(), 0..4),
        ).prop_map(|(who, said)| Step::Resync(who, said)),
    ]
}

async fn run(fronts: &Fronts, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        match &step {
            Step::Add(who, what) if can(*who, *what) => {
                let done = fronts.change(*who, *what, true).await;
                assert_eq!(done, model.add(*who, *what, false), "{step:?}");
            }
            // The command line says another value, and lets none go.
            Step::Delete(Who::Cli, What::Mtu(..)) => continue,
            Step::Delete(who, what) if can(*who, *what) => {
                let done = fronts.change(*who, *what, false).await;
                // To delete a route or table that is not there is no error.
                let by_habit =
                    matches!((who, what), (Who::Agent(_) | Who::Cli, What::Table(_) | What::Route(..)));
                assert!(model.delete(*who, *what) == done || by_habit && done, "{step:?}");
            }
            Step::Again(on, with) => {
                model.again(*on);
                let mut tried = model.clone();
                let good = with.iter().all(|what| tried.add(Who::Cli, *what, false));
                fronts.with(|dataplane| {
                    dataplane.delete_interface(Index(*on)).expect("nothing stands on it");
                    // Its index is free when the workers have forgotten it.
                    dataplane.settle(std::time::Duration::from_secs(10), |dataplane| {
                        dataplane.poll();
                        dataplane.interfaces().reserve("").is_ok_and(|at| at.index() == Index(*on))
                    });
                    assert_eq!(port_with(dataplane, *on, with), good, "{step:?}");
                    // One that was refused has left nothing behind, so it can be made.
                    ports(dataplane, *on);
                });
                if good {
                    model = tried;
                }
            }
            Step::Resync(who, said) => {
                let said: Vec<What> = said.iter().copied().filter(|what| can(*who, *what)).collect();
                fronts.resync(*who, &said).await;
                model.resync(*who, &said);
            }
            Step::Add(..) | Step::Delete(..) => continue,
        }
        fronts.with(|dataplane| model.check(dataplane));
    }
}

/// Makes a port by a change set with further steps; says whether it was done.
fn port_with(dataplane: &mut Dataplane, on: u32, with: &[What]) -> bool {
    let mut changes = ChangeSet::new(Owner::CLI);
    let index =
        dataplane.note_pg_interface(&mut changes, PgId(on), Mode::Ethernet, None).expect("there is room");
    assert_eq!(index, Index(on));
    let noted = with.iter().all(|what| note(dataplane, &mut changes, *what, true));
    let could = dataplane.change(&changes, Purpose::Try).is_ok();
    assert!(dataplane.interfaces().get(index).is_none(), "a dry run makes none");
    let done = noted && dataplane.change(&changes, Purpose::Make).is_ok();
    assert_eq!(done, noted && could);
    done
}

/// Makes a port, which vplaned knows too.
fn ports(dataplane: &mut Dataplane, on: u32) {
    let index = dataplane.create_pg_interface(PgId(on), Mode::Ethernet, None).expect("a port");
    assert_eq!(index, Index(on));
    vplaned::bind(dataplane, index);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn four_front_ends_and_a_naive_model_agree(steps in proptest::collection::vec(step(), 1..60)) {
        serve(&[], |served| async move {
            served.bed.with(|dataplane| {
                vplaned::begin(dataplane);
                (INTERFACES).for_each(|on| ports(dataplane, on));
            });
            let agents = vec![served.another("first").await, served.another("second").await];
            let fronts = Fronts { served, agents };
            // Numbers are given in the order in which agents change something.
            for (agent, number) in fronts.agents.iter().zip([7, 8]) {
                let add = |is_add| IpTableAddDel { is_add, table: IpTable { table_id: number, ..IpTable::default() } };
                agent.request(&add(true)).await.expect("a table");
                agent.request(&add(false)).await.expect("it is there");
            }
            run(&fronts, steps).await;
        });
    }
}
