// SPDX-License-Identifier: Apache-2.0
//! From events of the session to what forwards, without sockets and without rights.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::Ipv4Net;
use weft_devices::pg::{Mode, PgId};
use weft_engine::InterfaceIndex;
use weft_vplaned::config::Draft;
use weft_vplaned::netlink::{IfIndex, InterfaceAddress, MacAddr, TagProtocol, VlanId};
use weft_vplaned::store::{
    FibTable, Interface, InterfaceKind, IpSettings, KnownNeighbor, PathTarget, RoutePath,
};
use weft_vplaned::types::Sequence;

use super::*;
use crate::testing::Bed;
use crate::vplaned::Vplaned;

fn ifindex(number: u32) -> IfIndex {
    IfIndex::new(number).expect("not 0")
}

/// A dataplane with one port that the kernel knows as `dp0p0s4`, number 2.
pub(super) struct Stand {
    pub bed: Bed,
    pub port: InterfaceIndex,
    folder: std::path::PathBuf,
}

impl Drop for Stand {
    fn drop(&mut self) {
        // The folder is of this test alone, and holds a socket at most.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Stand {
    pub fn new() -> Stand {
        let folder = std::env::temp_dir().join(format!(
            "weft-vplaned-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&folder).expect("a folder for the socket of flows");
        let mut bed = Bed::new(&format!("unix {{ runtime-dir {} }}", folder.display()), 1);
        let mut vplaned = Vplaned::new(Draft::default().settle().expect("all has a default"));
        let port = bed
            .dataplane
            .create_pg_interface(PgId(0), Mode::Ethernet, None)
            .expect("a port of the packet generator");
        vplaned.bindings.bind(ifindex(2), port, "dp0p0s4");
        bed.dataplane.put_part(Box::new(vplaned));
        Stand { bed, port, folder }
    }

    pub fn change(&mut self, changes: Vec<Change>) {
        self.vplaned().learned.changes.extend(changes);
        self.bed.dataplane.hear_vplaned([]);
    }

    pub fn vplaned(&mut self) -> &mut Vplaned {
        self.bed.dataplane.find_part_mut::<Vplaned>().expect("there is one")
    }

    fn assert_all_applied(&mut self) {
        let Vplaned { failed_changes, last_error, .. } = self.vplaned();
        assert_eq!(*failed_changes, 0, "{last_error:?}");
    }

    pub fn hear(&mut self, topic: &str, data: &[u8]) {
        let item = Item { topic: topic.into(), sequence: Sequence(1), data: data.into() };
        self.bed.dataplane.hear_vplaned([Event::Update(item)]);
    }

    /// Commands that were reported as failed since the last time.
    pub fn failed(&mut self) -> Vec<String> {
        let tells = self.bed.dataplane.take_tells().into_iter();
        let failed = tells.filter_map(|tell| match tell {
            Tell::Failed { command, .. } => Some(command),
            _ => None,
        });
        failed.collect()
    }

    /// What `route lookup` of the console says.
    fn lookup(&mut self, address: &str) -> serde_json::Value {
        let request = vec![format!("route lookup {address}").into_bytes()];
        let reply = console().answer(&mut self.bed.dataplane, &request);
        assert_eq!(reply[0], b"OK", "{reply:?}");
        let json: serde_json::Value = serde_json::from_slice(&reply[1]).expect("JSON");
        json["route_lookup"][0].clone()
    }

    pub fn ask(&mut self, command: &str) -> serde_json::Value {
        let reply = console().answer(&mut self.bed.dataplane, &[command.as_bytes().to_vec()]);
        assert_eq!(reply[0], b"OK", "{reply:?}");
        serde_json::from_slice(&reply[1]).expect("JSON")
    }
}

fn interface(up: bool) -> Change {
    Change::Interface(Interface {
        index: ifindex(2),
        name: "dp0p0s4".into(),
        kind: InterfaceKind::Port,
        admin_up: up,
        mac: Some(MacAddr([2, 0, 0, 0, 1, 0])),
        mtu: 1400,
        vrf: None,
        member_of: None,
        ip4: IpSettings::default(),
        ip6: IpSettings::default(),
    })
}

fn address(index: u32, text: &str) -> InterfaceAddress {
    InterfaceAddress {
        index: ifindex(index),
        address: text.parse().expect("an address"),
        peer: None,
        broadcast: None,
        scope: weft_vplaned::netlink::Scope::UNIVERSE,
    }
}

fn route(prefix: &str, target: PathTarget) -> Change {
    let paths: Arc<[RoutePath]> = Arc::new([RoutePath { target, weight: NonZeroU16::MIN }]);
    Change::Route(FibTable::MAIN, prefix.parse().expect("a prefix"), paths)
}

fn via(address: [u8; 4]) -> PathTarget {
    PathTarget::Gateway { interface: ifindex(2), address: IpAddr::V4(Ipv4Addr::from(address)), onlink: false }
}

#[test]
fn addresses_routes_and_neighbours_become_forwarding() {
    let mut stand = Stand::new();
    stand.change(vec![
        interface(true),
        Change::Address(address(2, "192.0.2.1/24")),
        route("203.0.113.0/24", via([192, 0, 2, 254])),
        route("198.51.100.0/24", PathTarget::Blackhole),
        Change::Neighbor(KnownNeighbor {
            index: ifindex(2),
            address: [192, 0, 2, 254].into(),
            mac: MacAddr([2, 0, 0, 0, 9, 9]),
            permanent: true,
        }),
    ]);
    stand.assert_all_applied();
    let found = stand.lookup("203.0.113.9");
    assert_eq!(found["state"], "gateway");
    assert_eq!((&found["via"], &found["ifname"]), (&"192.0.2.254".into(), &"dp0p0s4".into()));
    assert_eq!(found["neigh_present"], true);
    assert_eq!(stand.lookup("198.51.100.1")["state"], "blackhole");
    assert_eq!(stand.lookup("192.0.2.77")["state"], "directly connected");

    let shown = stand.ask("ifconfig");
    let shown = &shown["interfaces"][0];
    assert_eq!((&shown["name"], &shown["mtu"]), (&"dp0p0s4".into(), &1400.into()));
    assert_eq!((&shown["ifindex"], &shown["ether"]), (&2.into(), &"2:0:0:0:1:0".into()));
    assert_eq!(shown["addresses"][0]["inet"], "192.0.2.1/24");
    assert_eq!(stand.ask("arp")["arp"][0]["flags"], "STATIC");
    assert_eq!(stand.ask("local")["local"][0]["address"], "192.0.2.1");
    assert_eq!(stand.ask("vrf")["vrf_table"][0]["name"], "default");

    stand.change(vec![
        Change::RouteGone(FibTable::MAIN, "203.0.113.0/24".parse().expect("a prefix")),
        Change::NeighborGone(ifindex(2), [192, 0, 2, 254].into()),
        Change::AddressGone(address(2, "192.0.2.1/24")),
        interface(false),
    ]);
    assert_eq!(stand.lookup("203.0.113.9")["state"], "nomatch");
    assert_eq!(stand.lookup("192.0.2.77")["state"], "nomatch");
    assert_eq!(stand.ask("arp")["arp"], serde_json::json!([]));
    stand.assert_all_applied();
}

#[test]
fn addresses_routes_and_neighbours_of_ipv6_become_forwarding() {
    let mut stand = Stand::new();
    let next_hop: IpAddr = "fe80::9".parse().expect("an address");
    let gateway = PathTarget::Gateway { interface: ifindex(2), address: next_hop, onlink: false };
    stand.change(vec![
        interface(true),
        Change::Address(address(2, "2001:db8::1/64")),
        route("2001:db8:9::/48", gateway),
        Change::Neighbor(KnownNeighbor {
            index: ifindex(2),
            address: next_hop,
            mac: MacAddr([2, 0, 0, 0, 9, 9]),
            permanent: true,
        }),
    ]);
    stand.assert_all_applied();
    let lookup = |stand: &mut Stand, address: &str| {
        stand.ask(&format!("route6 lookup {address}"))["route6_lookup"][0].clone()
    };
    let found = lookup(&mut stand, "2001:db8:9::1");
    assert_eq!((&found["state"], &found["via"]), (&"gateway".into(), &"fe80::9".into()));
    assert_eq!((&found["ifname"], &found["neigh_present"]), (&"dp0p0s4".into(), &true.into()));
    assert_eq!(lookup(&mut stand, "2001:db8::77")["state"], "directly connected");
    assert_eq!(lookup(&mut stand, "2001:db8:8::1")["state"], "nomatch");
    let inet6 = stand.ask("ifconfig")["interfaces"][0]["addresses"][0].clone();
    assert_eq!(inet6, serde_json::json!({"inet6": "2001:db8::1/64", "scope": "Universe"}));
    let neighbor = stand.ask("nd6")["nd6"][0].clone();
    assert_eq!((&neighbor["ip"], &neighbor["state"]), (&"fe80::9".into(), &"REACHABLE".into()));
    assert_eq!(stand.ask("arp")["arp"], serde_json::json!([]));
    let own = stand.ask("local")["local"].clone();
    let own: Vec<&str> =
        own.as_array().expect("a list").iter().filter_map(|it| it["address"].as_str()).collect();
    assert_eq!(own, ["2001:db8::1", "fe80::ff:fe00:100"]);

    stand.change(vec![
        Change::RouteGone(FibTable::MAIN, "2001:db8:9::/48".parse().expect("a prefix")),
        Change::NeighborGone(ifindex(2), next_hop),
        Change::AddressGone(address(2, "2001:db8::1/64")),
    ]);
    stand.assert_all_applied();
    assert_eq!(lookup(&mut stand, "2001:db8:9::1")["state"], "nomatch");
    assert_eq!(lookup(&mut stand, "2001:db8::77")["state"], "nomatch");
    assert_eq!(stand.ask("nd6")["nd6"], serde_json::json!([]));
}

#[test]
fn a_vlan_comes_and_goes_as_a_sub_interface() {
    let mut stand = Stand::new();
    let Change::Interface(mut vlan) = interface(true) else { unreachable!("it is one") };
    vlan.index = ifindex(7);
    vlan.name = "dp0p0s4.100".into();
    vlan.kind = InterfaceKind::Vlan {
        parent: ifindex(2),
        id: VlanId::new(100).expect("an id"),
        protocol: TagProtocol::Dot1Q,
    };
    stand.change(vec![interface(true), Change::Interface(vlan), Change::Address(address(7, "192.0.2.1/24"))]);
    stand.assert_all_applied();
    assert_eq!(stand.lookup("192.0.2.77")["ifname"], "dp0p0s4.100");
    stand.change(vec![Change::AddressGone(address(7, "192.0.2.1/24")), Change::InterfaceGone(ifindex(7))]);
    stand.assert_all_applied();
    assert_eq!(stand.lookup("192.0.2.77")["state"], "nomatch");
    let port = stand.port;
    assert_eq!(stand.bed.dataplane.interfaces().subs(port).count(), 0);
}

#[test]
fn a_bad_route_does_not_keep_good_ones_out() {
    let mut stand = Stand::new();
    stand.change(vec![
        interface(true),
        Change::Address(address(2, "192.0.2.1/24")),
        route("203.0.113.0/24", via([192, 0, 2, 254])),
        route("203.0.114.0/24", via([224, 0, 0, 1])),
        route("203.0.115.0/24", via([192, 0, 2, 254])),
        Change::RouteGone(FibTable::MAIN, "10.0.0.0/8".parse().expect("a prefix")),
    ]);
    assert_eq!(stand.vplaned().failed_changes, 2);
    assert_eq!(stand.lookup("203.0.113.1")["state"], "gateway");
    assert_eq!(stand.lookup("203.0.114.1")["state"], "nomatch");
    assert_eq!(stand.lookup("203.0.115.1")["state"], "gateway");
}

#[test]
fn routes_of_the_broker_come_and_are_swept_apart_from_vplaneds() {
    let mut stand = Stand::new();
    stand.vplaned().learned.store.bind_port(ifindex(2), &mut Vec::new());
    let recording = include_str!("../../../../api/vplaned/tests/fixtures/transcript.txt");
    let frame = |topic: &str| {
        let mut lines = recording.lines().skip_while(|line| !line.contains(topic)).skip(2);
        let line = lines.next().expect("the recording has it");
        let hex = line.split("] ").nth(1).expect("hexadecimal").split(' ').next().expect("a word");
        let byte = |pair: &[u8]| {
            let digit = |digit: u8| char::from(digit).to_digit(16).expect("hexadecimal") as u8;
            digit(pair[0]) << 4 | digit(pair[1])
        };
        hex.as_bytes().chunks_exact(2).map(byte).collect::<Vec<u8>>()
    };
    let mut link = frame("\"link 2 0 \"");
    // It was recorded while it was down: IFF_UP of ifi_flags.
    link[24] |= 1;
    stand.hear("link 2 0 ", &link);
    let address = frame("\"address 2 inet 192.0.2.1/24 scope global\"");
    stand.hear("address 2 inet", &address);
    let told = netlink::parse(Topic::Route, &frame("\"route 203.0.113.0/24 0 254\"")).expect("a route");
    assert!(!stand.bed.dataplane.hear_broker([BrokerEvent::ReplayBegins, BrokerEvent::Said(told)]));
    stand.assert_all_applied();
    assert_eq!(stand.lookup("203.0.113.9")["state"], "gateway");
    // A snapshot of vplaned that does not mention it leaves it alone; a replay of the broker does not.
    stand.bed.dataplane.hear_vplaned([Event::SnapshotBegin]);
    stand.hear("link 2 0 ", &link);
    stand.hear("address 2 inet", &address);
    let took = std::time::Duration::ZERO;
    stand.bed.dataplane.hear_vplaned([Event::SnapshotEnd { messages: 2, took }]);
    assert_eq!(stand.lookup("203.0.113.9")["state"], "gateway");
    assert!(!stand.bed.dataplane.hear_broker([BrokerEvent::ReplayBegins, BrokerEvent::ReplayEnds]));
    assert_eq!(stand.lookup("203.0.113.9")["state"], "nomatch");
    assert!(stand.bed.dataplane.hear_broker([BrokerEvent::Reset]));
}

#[test]
fn settings_of_netconf_say_what_an_interface_lets_in() {
    let mut stand = Stand::new();
    let with = |ip4| {
        let Change::Interface(port) = interface(true) else { unreachable!("it is one") };
        Change::Interface(Interface { ip4, ..port })
    };
    // The first is local0.
    let shown = |stand: &mut Stand, what: &str| stand.bed.json(what)["interfaces"][1]["mode"].clone();
    let said = IpSettings {
        forwarding: Some(false),
        rp_filter: Some(weft_vplaned::netlink::RpFilter::Strict),
        ..IpSettings::default()
    };
    stand.change(vec![with(said)]);
    assert_eq!(shown(&mut stand, "show ip forwarding"), "disabled");
    assert_eq!(shown(&mut stand, "show urpf"), "strict");
    // A vplaned that has been restarted says nothing of netconf.
    stand.change(vec![with(IpSettings::default())]);
    assert_eq!(shown(&mut stand, "show ip forwarding"), "disabled");
    assert_eq!(shown(&mut stand, "show urpf"), "strict");
    // IPv6 has its own.
    let six = |forwarding, proxy| {
        let Change::Interface(port) = interface(true) else { unreachable!("it is one") };
        let ip6 = IpSettings { forwarding: Some(forwarding), proxy: Some(proxy), ..IpSettings::default() };
        Change::Interface(Interface { ip6, ..port })
    };
    let of_ip6 = |stand: &mut Stand| {
        let all = stand.bed.json("show settings")["settings"].clone();
        let value = |name: &str| {
            let mut all = all.as_array().expect("a list").iter();
            let of = |view: &&serde_json::Value| view["setting"] == name && view["interface"] != "local0";
            all.find(of).expect("it is shown")["value"].clone()
        };
        ["forwarding", "ip6-forwarding", "proxy-nd"].map(value)
    };
    stand.change(vec![six(false, true)]);
    assert_eq!(of_ip6(&mut stand), ["disable", "disable", "enable"]);
    stand.change(vec![six(true, false)]);
    assert_eq!(of_ip6(&mut stand), ["disable", "enable", "disable"]);
    let rp_filter = Some(weft_vplaned::netlink::RpFilter::Loose);
    stand.change(vec![with(IpSettings { forwarding: Some(true), rp_filter, ..IpSettings::default() })]);
    assert_eq!(shown(&mut stand, "show ip forwarding"), "enabled");
    assert_eq!(shown(&mut stand, "show urpf"), "loose");
    stand.change(vec![Change::InterfaceGone(ifindex(2))]);
    assert_eq!(shown(&mut stand, "show urpf"), "off");
    stand.assert_all_applied();
}

#[test]
fn what_the_kernel_sends_on_is_left_to_it_and_not_taken_for_this_host() {
    let mut stand = Stand::new();
    stand.change(vec![route("203.0.113.0/24", PathTarget::Host), route("203.0.113.1/32", PathTarget::Local)]);
    stand.assert_all_applied();
    assert_eq!(stand.lookup("203.0.113.9")["state"], "non-dataplane interface");
    assert_eq!(stand.lookup("203.0.113.1")["state"], "local");
}

#[test]
fn ecmp_modes_say_how_flows_take_paths() {
    let mut stand = Stand::new();
    for (word, mode) in [
        ("hrw", "hrw"),
        ("modulo-n", "modulo-n"),
        ("hash-threshold", "hash-threshold"),
        ("disable", "disable"),
    ] {
        stand.hear("ecmp mode ", format!("ecmp mode {word}").as_bytes());
        assert_eq!(stand.bed.json("show ip multipath")["mode"], mode);
    }
}

#[test]
fn a_large_sweep_is_applied_in_slices() {
    let mut stand = Stand::new();
    let prefix =
        |number: u32| Ipv4Net::new((0x2000_0000 + (number << 8)).into(), 24).expect("24 is a length");
    let routes = 3 * SLICE as u32;
    let blackhole: Arc<[RoutePath]> =
        Arc::new([RoutePath { target: PathTarget::Blackhole, weight: NonZeroU16::MIN }]);
    let add = |number| Change::Route(FibTable::MAIN, prefix(number).into(), Arc::clone(&blackhole));
    stand.change((0..routes).map(add).collect());
    while stand.bed.dataplane.apply_more() {}
    stand.assert_all_applied();
    let gone = (0..routes).map(|number| Change::RouteGone(FibTable::MAIN, prefix(number).into()));
    stand.vplaned().learned.changes.extend(gone);
    let took = Duration::from_millis(1);
    stand.bed.dataplane.hear_vplaned([Event::SnapshotEnd { messages: 1, took }]);
    let last = stand.lookup(&prefix(routes - 1).addr().to_string());
    assert_eq!(last["state"], "blackhole");
    assert!(stand.vplaned().snapshot.is_none(), "the snapshot is not in force yet");
    while stand.bed.dataplane.apply_more() {}
    let last = stand.lookup(&prefix(routes - 1).addr().to_string());
    assert_eq!(last["state"], "nomatch");
    assert!(stand.vplaned().snapshot.is_some_and(|snapshot| snapshot.took > took));
}

#[test]
fn commands_that_fail_are_reported_and_those_that_mean_nothing_are_listed() {
    let mut stand = Stand::new();
    stand.hear("ip4 redirects ", b"ip4 redirects enable");
    stand.hear("npf-cfg add ", b"npf-cfg add fw:F 10 action=drop ttl=1 rproc=nosuch");
    stand.hear("qos x ", b"qos dp0p0s4 enable");
    stand.hear("poe x ", b"poe enable dp0p0s4");
    stand.hear("tc_qdisc 1 0 ffffffff noqueue", &[0x94, 0, 0, 0, 0x24, 0]);
    stand.hear("link 2 0 ", b"no netlink at all");
    let failed = stand.failed();
    assert_eq!(failed, ["npf-cfg add fw:F 10 action=drop ttl=1 rproc=nosuch", "qos dp0p0s4 enable"]);
    let listed = stand.bed.json("show vplaned ignored");
    let names = |kind: &str| -> Vec<String> {
        let names = listed[kind].as_array().expect("a list").iter();
        names.map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names("commands"), ["poe", "qos"]);
    assert_eq!(names("topics"), ["tc_qdisc"]);
    let shown = stand.bed.json("show vplaned");
    assert_eq!((&shown["commands_applied"], &shown["netlink_unreadable"]), (&1.into(), &1.into()));
    assert!(stand.bed.text("show vplaned").contains("Commands:"));
}

#[test]
fn without_a_section_there_is_nothing_to_show() {
    let refusal = Bed::new("", 1).refusal("show vplaned").to_string();
    assert!(refusal.contains("no section vplaned"), "{refusal}");
}

#[test]
fn strangers_messages_and_questions_are_answered_as_their_files_say() {
    for (path, text) in crate::strangers::files("vplaned") {
        let mut stand = Stand::new();
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).peekable();
        while let Some((number, line)) = lines.next() {
            let place = format!("{}:{}: {line}", path.display(), number + 1);
            let is_check = |line: &str| line.starts_with("= ") || line.starts_with("! ");
            let check = lines.next_if(|(_, line)| is_check(line)).map(|(_, line)| line.split_at(2));
            let (is_good, said) = match line.strip_prefix("> ") {
                Some(command) => {
                    let topic = command.split(' ').next().unwrap_or_default();
                    stand.hear(topic, command.as_bytes());
                    let failed = stand.failed();
                    (failed.is_empty(), stand.vplaned().last_error.clone().unwrap_or_default())
                }
                None => {
                    let request = [line.as_bytes().to_vec()];
                    let reply = console().answer(&mut stand.bed.dataplane, &request);
                    (reply[0] == b"OK", String::from_utf8_lossy(&reply[1]).into_owned())
                }
            };
            match check {
                Some(("! ", part)) => assert!(!is_good && said.contains(part), "{place}\nsays: {said}"),
                Some((_, part)) => assert!(is_good && said.contains(part), "{place}\nsays: {said}"),
                None => assert!(is_good, "{place}\nsays: {said}"),
            }
        }
    }
}
