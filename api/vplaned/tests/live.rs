// SPDX-License-Identifier: Apache-2.0
//! The running kernel against `ip -json`: links, addresses, routes and neighbours come and go in a network namespace, and what the store
//! makes of the messages is what the kernel says it has. Needs root.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::Value;
use weft_vplaned::netlink::{Event, IfIndex, LinkKind, RouteTarget, TableId, Topic, Via, parse};
use weft_vplaned::store::{Change, Owner, Store};

const PATIENCE: Duration = Duration::from_secs(20);

/// RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF as bits.
const GROUPS: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 23 | 1 << 24;

/// A namespace that belongs to this thread and goes with it, and what its kernel has said.
struct Kernel {
    socket: OwnedFd,
    store: Store,
    /// Routes as a dataplane has them.
    routes: BTreeSet<String>,
    messages: usize,
}

impl Kernel {
    fn new() -> Kernel {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
                .expect("a netlink socket");
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).expect("netlink groups");
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(20)).expect("a timeout");
        let mut kernel = Kernel { socket, store: Store::default(), routes: BTreeSet::new(), messages: 0 };
        kernel.ip("link set lo up");
        kernel
    }

    fn ip(&mut self, words: &str) {
        let done = Command::new("ip").args(words.split(' ')).output().expect("iproute2 is installed");
        assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// What each of the commands prints.
    fn json(&self, family: Option<&str>, commands: &str) -> Vec<Vec<Value>> {
        let mut ip = Command::new("ip")
            .args(["-json", "-details"])
            .args(family)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("iproute2 is installed");
        let mut input = ip.stdin.take().expect("a pipe");
        input.write_all(commands.as_bytes()).expect("ip reads its commands");
        drop(input);
        let done = ip.wait_with_output().expect("ip ends");
        let values = serde_json::Deserializer::from_slice(&done.stdout).into_iter();
        values.map(|value| value.expect("ip prints arrays")).collect()
    }

    /// Takes in one datagram; says whether there was one.
    fn take(&mut self) -> bool {
        let mut buffer = vec![0; 1 << 16];
        let length = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Err(error) => panic!("netlink: {error}"),
        };
        let mut rest = &buffer[..length];
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes(rest[..4].try_into().expect("4 bytes")) as usize;
            let (message, behind) = rest.split_at(length);
            rest = behind.get((length.next_multiple_of(4) - length).min(behind.len())..).unwrap_or_default();
            // vplaned sorts by type and family (protocol page, 7.3).
            let topic = match (u16::from_ne_bytes([message[4], message[5]]), message[16]) {
                (16 | 17, 7) => Topic::BridgeLink,
                (16 | 17, _) => Topic::Link,
                (20 | 21, _) => Topic::Address,
                (24 | 25, _) => Topic::Route,
                (28 | 29, _) => Topic::Neighbor,
                (80 | 81, _) => Topic::Netconf,
                (other, _) => panic!("type {other} was not asked for"),
            };
            let event =
                parse(topic, message).unwrap_or_else(|error| panic!("{topic}: {error}: {message:02x?}"));
            let mut changes = Vec::new();
            // Everything with a MAC address is a port here, so that routes lead somewhere.
            if let Event::Link(link) = &event
                && link.kind == LinkKind::Tun
            {
                self.store.bind_port(link.index, &mut changes);
            }
            self.store.apply(Owner::Vplaned, event, &mut changes);
            self.messages += 1;
            for change in changes {
                match change {
                    Change::Route(_, prefix, _) => drop(self.routes.insert(prefix.to_string())),
                    Change::RouteGone(_, prefix) => assert!(self.routes.remove(&prefix.to_string())),
                    _ => {}
                }
            }
        }
        true
    }

    /// Reads messages until what the store has is what `ip` shows.
    fn agree(&mut self, after: &str) {
        let start = Instant::now();
        loop {
            while self.take() {}
            let (ours, theirs) = (self.ours(), self.theirs());
            if ours == theirs {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "after {after}\nstore:  {ours:#?}\nkernel: {theirs:#?}");
        }
    }

    fn names(&self) -> BTreeMap<IfIndex, String> {
        self.store.links().map(|link| (link.index, link.name.to_string())).collect()
    }

    fn ours(&self) -> BTreeSet<String> {
        let names = self.names();
        let name = |index: IfIndex| names.get(&index).cloned().unwrap_or_else(|| format!("#{index}"));
        let mut lines = BTreeSet::new();
        for link in self.store.links() {
            let kind = match &link.kind {
                LinkKind::Loopback => "loopback",
                LinkKind::Tun => "tun",
                LinkKind::Bridge => "bridge",
                LinkKind::Vxlan(_) => "vxlan",
                LinkKind::Macvlan { .. } => "macvlan",
                LinkKind::Vlan { .. } => "vlan",
                LinkKind::Vrf { .. } => "vrf",
                LinkKind::Unsupported(kind) => kind,
            };
            let master = link.master.map(name).unwrap_or_default();
            let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
            let vni = match &link.kind {
                LinkKind::Vxlan(vxlan) => format!(" {} {}", vxlan.vni, vxlan.port),
                _ => String::new(),
            };
            lines.insert(format!(
                "link {} {kind} {} {} {mac} [{master}]{vni}",
                link.name, link.admin_up, link.mtu
            ));
        }
        for address in self.store.addresses() {
            lines.insert(format!("address {} {}", name(address.index), address.address));
        }
        for neighbor in self.store.neighbors() {
            lines.insert(format!("neighbor {} {} {}", name(neighbor.index), neighbor.address, neighbor.mac));
        }
        for (_, route) in self.store.routes() {
            let mut line = format!("route {} table {} metric {}", route.prefix, route.table, route.metric.0);
            match &route.target {
                RouteTarget::Forward(paths) => {
                    let mut hops: Vec<String> = paths
                        .iter()
                        .map(|path| {
                            let via = match path.via {
                                Via::Gateway(gateway) => format!("via {gateway} "),
                                Via::Link => String::new(),
                                Via::Host(reason) => format!("{reason:?} "),
                            };
                            let dev = path.interface.map(name).unwrap_or_default();
                            format!(" [{via}dev {dev} weight {} onlink {}]", path.weight, path.onlink)
                        })
                        .collect();
                    hops.sort();
                    line.extend(hops);
                }
                other => line += &format!(" {other:?}"),
            }
            lines.insert(line);
        }
        lines
    }

    fn theirs(&self) -> BTreeSet<String> {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let mut lines = BTreeSet::new();
        let [links, neighbors] =
            self.json(None, "address show\nneighbor show\n").try_into().expect("two answers");
        let routes4 = self.json(Some("-4"), "route show table all\n").concat();
        let routes6 = self.json(Some("-6"), "route show table all\n").concat();
        for link in links {
            let flags = link["flags"].as_array().expect("flags");
            let kind = match (link["link_type"].as_str(), link["linkinfo"]["info_kind"].as_str()) {
                (Some("loopback"), _) => "loopback",
                (_, Some(kind)) => kind,
                _ => "ethernet",
            };
            let data = &link["linkinfo"]["info_data"];
            let vni =
                if kind == "vxlan" { format!(" {} {}", data["id"], data["port"]) } else { String::new() };
            let name = text(&link, "ifname");
            lines.insert(format!(
                "link {name} {kind} {} {} {} [{}]{vni}",
                flags.iter().any(|flag| flag == "UP"),
                link["mtu"],
                text(&link, "address"),
                text(&link, "master"),
            ));
            for info in link["addr_info"].as_array().into_iter().flatten() {
                let length = if info["address"].is_string() { &Value::from(32) } else { &info["prefixlen"] };
                lines.insert(format!("address {name} {}/{length}", text(info, "local")));
            }
        }
        for neighbor in neighbors {
            let state = neighbor["state"][0].as_str().unwrap_or_default();
            if neighbor["lladdr"].is_string() && ["PERMANENT", "REACHABLE", "STALE"].contains(&state) {
                let (dev, dst) = (text(&neighbor, "dev"), text(&neighbor, "dst"));
                lines.insert(format!("neighbor {dev} {dst} {}", text(&neighbor, "lladdr")));
            }
        }
        lines.extend(routes4.iter().filter_map(|route| route_line("-4", route)));
        lines.extend(routes6.iter().filter_map(|route| route_line("-6", route)));
        lines
    }
}

/// A route of `ip -json route` in the words of the test, if it is one that a dataplane looks at.
fn route_line(family: &str, route: &Value) -> Option<String> {
    let kind = route["type"].as_str().unwrap_or("unicast");
    let destination = route["dst"].as_str().expect("a destination");
    let all = if family == "-4" { ("0.0.0.0/0", 32) } else { ("::/0", 128) };
    let prefix = match destination {
        "default" => all.0.to_owned(),
        prefix if prefix.contains('/') => prefix.to_owned(),
        host => format!("{host}/{}", all.1),
    };
    let skipped = ["127.", "::1/128", "fe80:", "ff"];
    if skipped.iter().any(|start| prefix.starts_with(start))
        || ["broadcast", "anycast", "multicast"].contains(&kind)
    {
        return None;
    }
    let table = match route["table"].as_str().unwrap_or("main") {
        "main" => TableId::MAIN.to_string(),
        "local" => TableId::LOCAL.to_string(),
        number => number.to_owned(),
    };
    let mut line = format!("route {prefix} table {table} metric {}", route["metric"].as_u64().unwrap_or(0));
    let hop = |hop: &Value| {
        let via = hop["gateway"].as_str().map(|gateway| format!("via {gateway} ")).unwrap_or_default();
        let via = if hop["via"].is_object() { "GatewayFamily ".to_owned() } else { via };
        let onlink = hop["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "onlink"));
        let dev = hop["dev"].as_str().unwrap_or_default();
        format!(" [{via}dev {dev} weight {} onlink {onlink}]", hop["weight"].as_u64().unwrap_or(1))
    };
    match (kind, route["nexthops"].as_array()) {
        ("unicast", Some(hops)) => {
            let mut hops: Vec<String> = hops.iter().map(hop).collect();
            hops.sort();
            line.extend(hops);
        }
        ("unicast", None) => line += &hop(route),
        ("local", _) => line += " Local",
        ("blackhole", _) => line += " Blackhole",
        ("unreachable", _) => line += " Unreachable",
        ("prohibit", _) => line += " Prohibit",
        (other, _) => panic!("type {other}: {route}"),
    }
    Some(line)
}

#[test]
fn the_store_has_what_the_kernel_has() {
    let mut kernel = Kernel::new();
    let steps = [
        "link add veth0 type veth peer name veth1",
        "link add veth2 type veth peer name veth3",
        "tuntap add dp0p1 mode tap",
        "link set dp0p1 up",
        "address add 203.0.113.1/24 dev dp0p1",
        "link set veth0 up",
        "link set veth1 up",
        "link set veth2 up",
        "link set veth3 up",
        "link add br0 type bridge",
        "link set br0 up",
        "link set veth1 master br0",
        "link add vxl7 type vxlan id 7 local 192.0.2.9 dstport 4789",
        "link add mac0 link veth0 type macvlan mode bridge",
        "link set mac0 up",
        "address add 192.0.2.1/24 dev veth0",
        "address add 198.51.100.1/24 dev veth2",
        "address add 10.9.9.1 peer 10.9.9.2/32 dev veth2",
        "address add 192.0.2.77/24 dev mac0",
        "address add 2001:db8::1/64 dev veth0 nodad",
        "address add 2001:db8:1::1/64 dev veth2 nodad",
        "route add 10.0.0.0/8 nexthop via 192.0.2.2 weight 1 nexthop via 198.51.100.2 weight 3",
        "route add 10.1.0.0/16 via 192.0.2.2",
        "route add 10.1.0.0/16 via 192.0.2.3 metric 50",
        "route replace 10.1.0.0/16 via 192.0.2.4",
        "route add 10.2.0.0/16 via 172.16.0.1 dev veth0 onlink",
        "route add 10.3.0.0/16 via inet6 2001:db8::9 dev veth0",
        "route add blackhole 10.66.0.0/16",
        "route add unreachable 10.67.0.0/16",
        "route add prohibit 10.68.0.0/16",
        "route add 10.69.0.0/16 via 192.0.2.2 table 1000",
        "route add default via 198.51.100.2",
        "route append 10.1.0.0/16 via 192.0.2.6",
        "-6 route add 2001:db8:5::/48 via 2001:db8::2",
        "-6 route append 2001:db8:5::/48 via 2001:db8:1::2",
        "-6 route add 2001:db8:6::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2",
        "-6 route del 2001:db8:6::/48 via 2001:db8::2",
        "-6 route add default via 2001:db8::2",
        "neighbor add 192.0.2.2 lladdr 02:aa:bb:cc:dd:01 dev veth0 nud permanent",
        "neighbor add 192.0.2.3 lladdr 02:aa:bb:cc:dd:02 dev veth0 nud reachable",
        "-6 neighbor add 2001:db8::2 lladdr 02:aa:bb:cc:dd:03 dev veth0 nud permanent",
        "neighbor del 192.0.2.3 dev veth0",
        "link set veth0 mtu 1400",
        "link set veth0 name uplink",
        "link set veth1 nomaster",
        "route del 10.67.0.0/16",
        "address del 10.9.9.1 peer 10.9.9.2/32 dev veth2",
        // Everything from here on deletes more than the kernel reports.
        "link set veth2 down",
        "link set veth2 up",
        "link del mac0",
        "link del br0",
        "link del vxl7",
        "link del uplink",
        "link set dp0p1 down",
        "tuntap del dp0p1 mode tap",
        "link del veth2",
    ];
    for step in steps {
        kernel.ip(step);
        kernel.agree(step);
    }
    assert!(kernel.messages > steps.len(), "{} messages", kernel.messages);
    assert_eq!(kernel.store.counts().links, 1, "lo is left");
}
