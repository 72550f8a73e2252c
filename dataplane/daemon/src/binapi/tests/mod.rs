// SPDX-License-Identifier: Apache-2.0
//! Messages on a dataplane without devices, asked by our own client over a socket.

mod batch;
mod habits;
mod l2;
mod model;
mod owners;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::{LocalSet, spawn_local};
use weft_binapi::Retval;
use weft_binapi::api::feature::{FeatureEnableDisable, FeatureIsEnabled};
use weft_binapi::api::fib_types::{FibPath, FibPathNhProto, FibPathType};
use weft_binapi::api::interface::*;
use weft_binapi::api::interface_types::{IfStatusFlags, IfType, InterfaceIndex, SubIfFlags};
use weft_binapi::api::ip::*;
use weft_binapi::api::ip_neighbor::*;
use weft_binapi::api::ip_types::{AddressFamily, Prefix};
use weft_binapi::api::ip6_nd::*;
use weft_binapi::api::vlib::{CliInband, GetNodeIndex, ShowThreads};
use weft_binapi::api::vpe::ShowVersion;
use weft_binapi::api::weft_resync::*;
use weft_binapi::message::Request;
use weft_binapi::server::{Host, Options, Server};
use weft_client::{Batch, Client, Error, Notice};
use weft_engine::Context;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec};

use super::{Api, registry};
use crate::state::Dataplane;
use crate::testing::Bed;

#[derive(Clone)]
struct Shared(Rc<RefCell<Bed>>);

impl Host for Shared {
    type State = Dataplane;

    fn with<R>(&self, work: impl FnOnce(&mut Dataplane) -> R) -> R {
        let dataplane = &mut self.0.borrow_mut().dataplane;
        let result = work(dataplane);
        dataplane.poll();
        result
    }
}

/// A client of a dataplane, and the way to make more.
struct Served {
    path: std::path::PathBuf,
    client: Client,
    bed: Shared,
}

impl Served {
    async fn another(&self, name: &str) -> Client {
        Client::connect(&self.path, weft_client::Options::new(name)).await.expect("the server listens")
    }

    async fn ask<M: Request>(&self, message: M) -> M::Reply {
        let what = format!("{message:?}");
        self.client.request(&message).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Why a message is refused.
    async fn refusal<M: Request>(&self, message: M) -> Retval {
        match self.client.request(&message).await {
            Err(Error::Retval { retval, .. }) => retval,
            other => panic!("{message:?} should be refused, and is answered {other:?}"),
        }
    }

    /// Clients that hear of neighbours.
    fn watchers(&self) -> usize {
        self.bed.0.borrow().dataplane.find_part::<Api>().map_or(0, |api| api.watchers.len())
    }

    async fn cli(&self, command: &str) -> String {
        self.ask(CliInband { cmd: command.into() }).await.reply
    }
}

static SOCKETS: AtomicU32 = AtomicU32::new(0);

/// Runs a test on a dataplane with one worker and these commands done.
fn serve<F: Future<Output = ()>>(commands: &[&str], test: impl FnOnce(Served) -> F) {
    let mut bed = Bed::new("", 1);
    commands.iter().for_each(|command| drop(bed.text(command)));
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("weft-api-{}-{number}.sock", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(async {
        let server = Server::bind(&path, Options::default(), registry()).expect("a socket in /tmp");
        let shared = Shared(Rc::new(RefCell::new(bed)));
        let api = Api::new(&server);
        shared.with(|dataplane| dataplane.put_part(Box::new(api)));
        let serving = spawn_local(server.serve(shared.clone()));
        let client = Client::connect(&path, weft_client::Options::new("test")).await;
        let client = client.expect("the server listens");
        test(Served { path: path.clone(), client, bed: shared.clone() }).await;
        serving.abort();
    }));
}

const LOOP0: &[&str] = &[
    "create loopback interface",
    "set interface state loop0 up",
    "set interface ip address loop0 192.0.2.1/24",
];

/// The interface that was made first; index 0 is that of `local0`.
const FIRST: InterfaceIndex = InterfaceIndex(1);

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').expect("a prefix");
    (address.parse::<IpAddr>().expect("an address"), length.parse().expect("a length")).into()
}

fn via(address: &str, interface: u32) -> FibPath {
    let mut path = FibPath { sw_if_index: interface, ..FibPath::default() };
    path.nh.address = address.parse::<IpAddr>().expect("an address").into();
    path
}

fn route(is_add: bool, to: &str, paths: Vec<FibPath>) -> IpRouteAddDel {
    let route = IpRoute { prefix: prefix(to), paths, ..IpRoute::default() };
    IpRouteAddDel { is_add, is_multipath: false, route }
}

#[test]
fn the_program_says_what_it_is() {
    serve(LOOP0, |served| async move {
        assert_eq!(served.ask(ShowVersion {}).await.program.get(), Some("vpe"));
        let threads = served.ask(ShowThreads {}).await.thread_data;
        let kinds: Vec<_> = threads.iter().filter_map(|thread| thread.r#type.get()).collect();
        assert_eq!(kinds, ["", "workers"]);
        assert!(served.ask(GetNodeIndex { node_name: "ip4-lookup".into() }).await.node_index > 0);
        assert_eq!(served.refusal(GetNodeIndex { node_name: "nowhere".into() }).await, Retval::NO_SUCH_NODE);
        assert!(served.cli("show interface").await.contains("loop0"));
        assert!(served.cli("show api clients").await.contains("test"));
        assert!(served.cli("show api messages").await.contains("control_ping_51077d14"));
        assert_eq!(served.refusal(CliInband { cmd: "show nonsense".into() }).await, Retval::UNSPECIFIED);
    });
}

#[test]
fn interfaces_are_made_found_changed_and_deleted() {
    serve(LOOP0, |served| async move {
        let index = served.ask(CreateLoopback::default()).await.sw_if_index;
        assert_eq!(index, InterfaceIndex(2));
        let instance = |user_instance| CreateLoopbackInstance {
            is_specified: true,
            user_instance,
            ..Default::default()
        };
        assert_eq!(served.refusal(instance(1)).await, Retval::INVALID_REGISTRATION);
        assert_eq!(served.ask(instance(7)).await.sw_if_index, InterfaceIndex(3));

        let dump = |sw_if_index, filter: &str| SwInterfaceDump {
            sw_if_index: InterfaceIndex(sw_if_index),
            name_filter_valid: !filter.is_empty(),
            name_filter: filter.into(),
        };
        for (question, found) in [
            (dump(u32::MAX, ""), vec![0, 1, 2, 3]),
            (dump(0, ""), vec![0, 1, 2, 3]),
            (dump(2, ""), vec![2]),
            (dump(9, ""), vec![]),
            (dump(u32::MAX, "OOP7"), vec![3]),
        ] {
            let details = served.client.dump(&question).await.unwrap();
            assert_eq!(
                details.iter().map(|one| one.sw_if_index.0).collect::<Vec<_>>(),
                found,
                "{question:?}"
            );
        }
        let up = SwInterfaceSetFlags { sw_if_index: index, flags: IfStatusFlags::ADMIN_UP };
        served.ask(up).await;
        served.ask(SwInterfaceTagAddDel { is_add: true, sw_if_index: index, tag: "uplink".into() }).await;
        served.ask(SwInterfaceSetMtu { sw_if_index: index, mtu: [1400, 0, 0, 0] }).await;
        let details = served.client.dump(&dump(2, "")).await.unwrap().remove(0);
        assert_eq!(details.flags, IfStatusFlags::ADMIN_UP | IfStatusFlags::LINK_UP);
        assert_eq!((details.tag.get(), details.mtu[0]), (Some("uplink"), 1400));
        assert_eq!(details.interface_dev_type.get(), Some("Loopback"));
        let mac = served.ask(SwInterfaceGetMacAddress { sw_if_index: index }).await.mac_address;
        assert_eq!(mac.to_string(), "de:ad:00:00:00:01");

        let none = InterfaceIndex(99);
        assert_eq!(
            served.refusal(SwInterfaceSetFlags { sw_if_index: none, ..up }).await,
            Retval::INVALID_SW_IF_INDEX
        );
        assert_eq!(served.refusal(DeleteSubif { sw_if_index: index }).await, Retval::INVALID_SUB_SW_IF_INDEX);
        served.ask(DeleteLoopback { sw_if_index: index }).await;
        assert_eq!(served.refusal(DeleteLoopback { sw_if_index: index }).await, Retval::INVALID_SW_IF_INDEX);
    });
}

#[test]
fn sub_interfaces_have_exact_tags() {
    serve(&["create packet-generator interface pg0"], |served| async move {
        let port = FIRST;
        let vlan = |vlan_id| CreateVlanSubif { sw_if_index: port, vlan_id };
        assert_eq!(served.ask(vlan(10)).await.sw_if_index, InterfaceIndex(2));
        assert_eq!(served.refusal(vlan(10)).await, Retval::VLAN_ALREADY_EXISTS);
        for wrong in [0, 4095, 65546] {
            assert_eq!(served.refusal(vlan(wrong)).await, Retval::INVALID_VLAN);
        }
        let subif = |sub_if_flags| CreateSubif {
            sw_if_index: port,
            sub_id: 5,
            sub_if_flags,
            outer_vlan_id: 20,
            inner_vlan_id: 30,
        };
        assert_eq!(served.refusal(subif(SubIfFlags::DEFAULT)).await, Retval::UNSUPPORTED);
        assert_eq!(served.refusal(subif(SubIfFlags::EXACT_MATCH)).await, Retval::INVALID_VLAN_TAG_COUNT);
        let flags = SubIfFlags::TWO_TAGS | SubIfFlags::EXACT_MATCH | SubIfFlags::DOT1AD;
        let made = served.ask(subif(flags)).await.sw_if_index;
        let question = SwInterfaceDump { sw_if_index: made, ..SwInterfaceDump::default() };
        let details = served.client.dump(&question).await.unwrap().remove(0);
        assert_eq!((details.r#type, details.sup_sw_if_index, details.sub_id), (IfType::SUB, 1, 5));
        assert_eq!((details.sub_number_of_tags, details.sub_if_flags), (2, flags));
        assert_eq!((details.sub_outer_vlan_id, details.sub_inner_vlan_id), (20, 30));
        assert_eq!(details.interface_name.get(), Some("pg0.5"));
        served.ask(DeleteSubif { sw_if_index: made }).await;
    });
}

#[test]
fn addresses_and_tables() {
    serve(LOOP0, |served| async move {
        let index = FIRST;
        let address = |is_add, text: &str| SwInterfaceAddDelAddress {
            sw_if_index: index,
            is_add,
            del_all: false,
            prefix: prefix(text),
        };
        served.ask(address(true, "198.51.100.1/24")).await;
        for (message, retval) in [
            (address(true, "198.51.100.1/24"), Retval::ADDRESS_IN_USE),
            (address(false, "198.51.100.1/25"), Retval::ADDRESS_LENGTH_MISMATCH),
            (address(false, "203.0.113.1/25"), Retval::ADDRESS_NOT_FOUND_FOR_INTERFACE),
            (address(true, "2001:db8::/64"), Retval::INVALID_VALUE),
        ] {
            assert_eq!(served.refusal(message).await, retval, "{message:?}");
        }
        let question = IpAddressDump { sw_if_index: index, is_ipv6: false };
        let addresses = served.client.dump(&question).await.unwrap();
        let found: Vec<_> = addresses.iter().map(|one| one.prefix).collect();
        assert_eq!(found, [prefix("192.0.2.1/24"), prefix("198.51.100.1/24")]);

        let table =
            |is_add, table_id| IpTableAddDel { is_add, table: IpTable { table_id, ..IpTable::default() } };
        for _ in 0..2 {
            served.ask(table(true, 7)).await;
        }
        let bind = SwInterfaceSetTable { sw_if_index: index, is_ipv6: false, vrf_id: 7 };
        assert_eq!(served.refusal(bind).await, Retval::ADDRESS_FOUND_FOR_INTERFACE);
        assert_eq!(served.refusal(SwInterfaceSetTable { vrf_id: 8, ..bind }).await, Retval::NO_SUCH_FIB);
        served.ask(SwInterfaceAddDelAddress { del_all: true, ..address(false, "0.0.0.0/0") }).await;
        served.ask(bind).await;
        assert_eq!(served.ask(SwInterfaceGetTable { sw_if_index: index, is_ipv6: false }).await.vrf_id, 7);
        assert_eq!(served.refusal(table(false, 7)).await, Retval::RSRC_IN_USE);
        served.ask(SwInterfaceSetTable { sw_if_index: index, is_ipv6: false, vrf_id: 0 }).await;
        served.ask(table(false, 7)).await;
        served.ask(table(false, 0)).await;
        let any = IpTableAllocate { table: IpTable { table_id: u32::MAX, ..IpTable::default() } };
        assert_eq!(served.ask(any).await.table.table_id, 1);
        let tables = served.client.dump(&IpTableDump {}).await.unwrap();
        let tables: Vec<_> =
            tables.iter().map(|one| (one.table.table_id, one.table.name.to_string())).collect();
        let expected = [(0, "ipv4-VRF:0"), (1, "ipv4-VRF:1"), (0, "ipv6-VRF:0")];
        assert_eq!(tables, expected.map(|(id, name)| (id, name.to_owned())));
    });
}

#[test]
fn messages_that_serve_ipv4_serve_ipv6() {
    serve(LOOP0, |served| async move {
        let index = FIRST;
        let address = |is_add, text: &str| SwInterfaceAddDelAddress {
            sw_if_index: index,
            is_add,
            del_all: false,
            prefix: prefix(text),
        };
        let link_local = SwInterfaceIp6GetLinkLocalAddress { sw_if_index: index };
        assert_eq!(served.refusal(link_local).await, Retval::IP6_NOT_ENABLED);
        let enable = |enable| SwInterfaceIp6EnableDisable { sw_if_index: index, enable };
        served.ask(enable(true)).await;
        let own = served.ask(link_local).await.ip.0;
        assert_eq!(own[..2], [0xfe, 0x80]);
        let ip = weft_binapi::api::ip_types::Ip6Address("fe80::7".parse::<Ipv6Addr>().unwrap().octets());
        served.ask(SwInterfaceIp6SetLinkLocalAddress { sw_if_index: index, ip }).await;
        assert_eq!(served.ask(link_local).await.ip, ip);
        assert_eq!(served.client.dump(&IpDump { is_ipv6: true }).await.unwrap()[0].sw_if_index, index);
        served.ask(enable(false)).await;
        assert_eq!(served.client.dump(&IpDump { is_ipv6: true }).await.unwrap(), []);

        served.ask(address(true, "2001:db8::1/64")).await;
        served.ask(address(true, "2001:db8:1::/127")).await;
        let question = IpAddressDump { sw_if_index: index, is_ipv6: true };
        let found = served.client.dump(&question).await.unwrap();
        let found: Vec<_> = found.iter().map(|one| one.prefix).collect();
        assert_eq!(found, ["2001:db8::1/64", "2001:db8:1::/127"].map(prefix));
        let ip4 = served.client.dump(&IpAddressDump { is_ipv6: false, ..question }).await.unwrap();
        assert_eq!(ip4.len(), 1, "each family has its own");
        assert_eq!(served.refusal(address(true, "2001:db8::1/64")).await, Retval::ADDRESS_IN_USE);
        let mtu = SwInterfaceSetMtu { sw_if_index: index, mtu: [1279, 0, 0, 0] };
        assert_eq!(served.refusal(mtu).await, Retval::INVALID_VALUE);
        served.ask(SwInterfaceSetMtu { mtu: [1280, 0, 0, 0], ..mtu }).await;

        let of_ip6 = |table_id| IpTable { table_id, is_ip6: true, ..IpTable::default() };
        served.ask(IpTableAddDelV2 { is_add: true, table: of_ip6(7), ..Default::default() }).await;
        let any = IpTableAllocate { table: of_ip6(u32::MAX) };
        assert_eq!(served.ask(any).await.table.table_id, 1);
        let bind = SwInterfaceSetTable { sw_if_index: index, is_ipv6: true, vrf_id: 7 };
        assert_eq!(served.refusal(bind).await, Retval::ADDRESS_FOUND_FOR_INTERFACE);
        let ip4 = SwInterfaceSetTable { is_ipv6: false, ..bind };
        assert_eq!(served.refusal(ip4).await, Retval::NO_SUCH_FIB, "IPv4 has no table 7");

        let mut next_hop = via("fe80::2", index.0);
        next_hop.proto = FibPathNhProto::IP6;
        let mut message = route(true, "2001:db8:9::/48", vec![next_hop]);
        let placed = served.ask(message.clone()).await;
        let lookup = IpRouteLookup { table_id: 0, exact: 0, prefix: prefix("2001:db8:9::1/128") };
        let found = served.ask(lookup).await.route;
        assert_eq!((found.prefix, found.stats_index), (prefix("2001:db8:9::/48"), placed.stats_index));
        assert_eq!(found.paths[0].nh.address, via("fe80::2", index.0).nh.address);
        assert_eq!((found.paths[0].proto, found.paths[0].sw_if_index), (FibPathNhProto::IP6, index.0));
        let routes = served.client.dump(&IpRouteDump { table: of_ip6(0) }).await.unwrap();
        let known: Vec<_> = routes.iter().map(|one| one.route.prefix).collect();
        for expected in ["2001:db8:9::/48", "2001:db8::/64", "2001:db8::1/128", "2001:db8:1::/128"] {
            assert!(known.contains(&prefix(expected)), "{expected}: {known:?}");
        }
        served.ask(IpTableFlush { table: of_ip6(0) }).await;
        served.ask(message.clone()).await;
        served.ask(IpTableReplaceBegin { table: of_ip6(0) }).await;
        served.ask(IpTableReplaceEnd { table: of_ip6(0) }).await;
        let exact = IpRouteLookup { exact: 1, prefix: prefix("2001:db8:9::/48"), ..lookup };
        assert_eq!(served.refusal(exact).await, Retval::NO_SUCH_ENTRY, "it was not said again");
        message.route.table_id = 7;
        served.ask(message).await;

        let mac_address = weft_binapi::api::ethernet_types::MacAddress([2, 0, 0, 0, 0, 9]);
        let ip_address = "2001:db8::9".parse::<IpAddr>().unwrap().into();
        let neighbor =
            IpNeighbor { sw_if_index: index, flags: IpNeighborFlags::STATIC, mac_address, ip_address };
        served.ask(IpNeighborAddDel { is_add: true, neighbor }).await;
        let dump = |af| IpNeighborDump { sw_if_index: InterfaceIndex(u32::MAX), af };
        let known = served.client.dump(&dump(AddressFamily::IP6)).await.unwrap();
        assert_eq!(known[0].neighbor, neighbor);
        assert_eq!(served.client.dump(&dump(AddressFamily::IP4)).await.unwrap(), []);
        served.ask(IpNeighborAddDel { is_add: false, neighbor }).await;
        let config = IpNeighborConfig { af: AddressFamily::IP6, max_number: 99, max_age: 77, recycle: true };
        served.ask(config).await;
        let config = served.ask(IpNeighborConfigGet { af: AddressFamily::IP6 }).await;
        assert_eq!((config.max_number, config.max_age), (99, 77));

        let config = SwInterfaceIp6ndRaConfig { sw_if_index: index, ..SwInterfaceIp6ndRaConfig::default() };
        served.ask(SwInterfaceIp6ndRaConfig { suppress: 1, is_no: true, ..config }).await;
        served.ask(SwInterfaceIp6ndRaConfig { default_router: 1, lifetime: 99, ..config }).await;
        served.ask(Ip6ndProxyEnableDisable { sw_if_index: index, is_enable: true }).await;
        served.bed.with(|dataplane| {
            let interface = dataplane.interfaces().get(weft_engine::InterfaceIndex(index.0)).unwrap();
            let told = &interface.router_advertisement;
            assert_eq!((told.on, told.lifetime, interface.proxy_nd), (true, 99, true));
        });

        served.ask(SwInterfaceAddDelAddress { del_all: true, ..address(false, "::/0") }).await;
        served.ask(bind).await;
        assert_eq!(served.ask(SwInterfaceGetTable { sw_if_index: index, is_ipv6: true }).await.vrf_id, 7);
    });
}

#[test]
fn router_advertisements_are_configured_and_shown() {
    serve(LOOP0, |served| async move {
        let index = FIRST;
        let dump = SwInterfaceIp6ndRaDump { sw_if_index: InterfaceIndex(u32::MAX) };
        assert_eq!(served.client.dump(&dump).await.unwrap(), [], "IPv6 is spoken nowhere");
        served.ask(SwInterfaceIp6EnableDisable { sw_if_index: index, enable: true }).await;
        let config = SwInterfaceIp6ndRaConfig { sw_if_index: index, ..SwInterfaceIp6ndRaConfig::default() };
        let flags =
            SwInterfaceIp6ndRaConfig { managed: 1, other: 1, ll_option: 1, send_unicast: 1, ..config };
        served.ask(flags).await;
        let numbers = SwInterfaceIp6ndRaConfig {
            max_interval: 20,
            min_interval: 10,
            initial_count: 2,
            initial_interval: 5,
            ..config
        };
        served.ask(numbers).await;
        let details = |all: Vec<SwInterfaceIp6ndRaDetails>| {
            let [one] = <[SwInterfaceIp6ndRaDetails; 1]>::try_from(all).expect("one interface");
            one
        };
        let shown = details(served.client.dump(&dump).await.unwrap());
        assert_eq!((shown.sw_if_index, shown.send_radv, shown.cur_hop_limit), (index, false, 64));
        assert_eq!([shown.adv_managed_flag, shown.adv_other_flag, shown.send_unicast], [true; 3]);
        assert!(!shown.adv_link_layer_address);
        assert_eq!((shown.max_radv_interval, shown.min_radv_interval), (20.0, 10.0));
        assert_eq!((shown.initial_adverts_count, shown.initial_adverts_interval), (2, 5.0));
        // "no" takes back what was said.
        served.ask(SwInterfaceIp6ndRaConfig { is_no: true, ..flags }).await;
        served.ask(SwInterfaceIp6ndRaConfig { is_no: true, ..numbers }).await;
        let shown = details(served.client.dump(&dump).await.unwrap());
        assert_eq!([shown.adv_managed_flag, shown.adv_other_flag, shown.send_unicast], [false; 3]);
        assert_eq!((shown.max_radv_interval, shown.initial_adverts_count), (600.0, 3));
        assert!(shown.adv_link_layer_address);
        for wrong in [
            SwInterfaceIp6ndRaConfig { max_interval: 1801, ..config },
            SwInterfaceIp6ndRaConfig { initial_count: 4, ..config },
            SwInterfaceIp6ndRaConfig { initial_interval: 17, ..config },
            SwInterfaceIp6ndRaConfig { default_router: 1, lifetime: 9001, ..config },
        ] {
            assert_eq!(served.refusal(wrong).await, Retval::INVALID_VALUE, "{wrong:?}");
        }

        let say = SwInterfaceIp6ndRaPrefix {
            sw_if_index: index,
            prefix: prefix("2001:db8:7::/64"),
            ..SwInterfaceIp6ndRaPrefix::default()
        };
        served.ask(SwInterfaceIp6ndRaPrefix { use_default: true, off_link: true, ..say }).await;
        let other = prefix("2001:db8:8::/48");
        let times = SwInterfaceIp6ndRaPrefix { prefix: other, val_lifetime: 20, pref_lifetime: 10, ..say };
        served.ask(SwInterfaceIp6ndRaPrefix { no_autoconfig: true, no_advertise: true, ..times }).await;
        let shown = details(served.client.dump(&dump).await.unwrap()).prefixes;
        assert_eq!(
            (shown[0].prefix, shown[0].onlink_flag, shown[0].autonomous_flag),
            (say.prefix, false, true)
        );
        assert_eq!((shown[0].val_lifetime, shown[0].pref_lifetime), (2_592_000, 604_800));
        assert_eq!(
            (shown[1].prefix, shown[1].onlink_flag, shown[1].autonomous_flag, shown[1].no_advertise),
            (other, true, false, true)
        );
        let wrong = SwInterfaceIp6ndRaPrefix { val_lifetime: 10, pref_lifetime: 20, ..say };
        assert_eq!(served.refusal(wrong).await, Retval::INVALID_VALUE);
        let wrong = SwInterfaceIp6ndRaPrefix { prefix: prefix("10.0.0.0/8"), use_default: true, ..say };
        assert_eq!(served.refusal(wrong).await, Retval::INVALID_ADDRESS_FAMILY);
        let gone = SwInterfaceIp6ndRaPrefix { is_no: true, ..say };
        served.ask(gone).await;
        assert_eq!(served.refusal(gone).await, Retval::NO_SUCH_ENTRY);
        assert_eq!(details(served.client.dump(&dump).await.unwrap()).prefixes.len(), 1);
    });
}

#[test]
fn stations_are_answered_for_and_routers_are_heard() {
    serve(LOOP0, |served| async move {
        let other = served.ask(CreateLoopback::default()).await.sw_if_index;
        let address = |index, text: &str| SwInterfaceAddDelAddress {
            sw_if_index: index,
            is_add: true,
            del_all: false,
            prefix: prefix(text),
        };
        served.ask(address(FIRST, "2001:db8::1/64")).await;
        let solicit = Ip6ndSendRouterSolicitation { sw_if_index: other, ..Default::default() };
        assert_eq!(served.refusal(solicit).await, Retval::IP6_NOT_ENABLED);
        served.ask(address(other, "2001:db8:1::1/64")).await;
        let six =
            |text: &str| weft_binapi::api::ip_types::Ip6Address(text.parse::<Ipv6Addr>().unwrap().octets());
        let ip = six("2001:db8::99");
        let proxy = Ip6ndProxyAddDel { sw_if_index: other, is_add: true, ip };
        assert_eq!(served.refusal(Ip6ndProxyAddDel { is_add: false, ..proxy }).await, Retval::NO_SUCH_ENTRY);
        served.ask(proxy).await;
        served.ask(proxy).await;
        let elsewhere = Ip6ndProxyAddDel { sw_if_index: FIRST, ..proxy };
        assert_eq!(served.refusal(elsewhere).await, Retval::ENTRY_ALREADY_EXISTS);
        for wrong in ["2001:db8::1", "fe80::9", "ff02::1"] {
            let refused = served.refusal(Ip6ndProxyAddDel { ip: six(wrong), ..proxy }).await;
            assert_eq!(refused, Retval::INVALID_VALUE, "{wrong}");
        }
        let known = served.client.dump(&Ip6ndProxyDump {}).await.unwrap();
        assert_eq!(known, [Ip6ndProxyDetails { sw_if_index: other, ip }]);
        let asked = IpRouteDump { table: IpTable { is_ip6: true, ..IpTable::default() } };
        let routes = served.client.dump(&asked).await.unwrap();
        let route = routes.iter().find(|one| one.route.prefix == prefix("2001:db8::99/128"));
        let path = &route.expect("it has a route").route.paths[0];
        assert_eq!(path.sw_if_index, other.0);
        served.ask(Ip6ndProxyAddDel { is_add: false, ..proxy }).await;
        assert_eq!(served.client.dump(&Ip6ndProxyDump {}).await.unwrap(), []);
        let routes = served.client.dump(&asked).await.unwrap();
        assert!(!routes.iter().any(|one| one.route.prefix == prefix("2001:db8::99/128")));

        served.ask(Ip6ndSendRouterSolicitation { irt: 1, mrt: 120, ..solicit }).await;
        served.ask(Ip6ndSendRouterSolicitation { stop: true, ..solicit }).await;
        served.ask(WantIp6RaEvents { enable: true, pid: 7 }).await;
        served.ask(WantIp6RaEvents { enable: false, pid: 7 }).await;
    });
}

#[test]
fn routes_are_replaced_extended_found_and_deleted() {
    serve(LOOP0, |served| async move {
        let added = served.ask(route(true, "10.0.0.7/8", vec![via("192.0.2.2", FIRST.0)])).await;
        assert_ne!(added.stats_index, u32::MAX);
        let lookup = |exact, text: &str| IpRouteLookup { table_id: 0, exact, prefix: prefix(text) };
        let found = served.ask(lookup(1, "10.0.0.0/8")).await.route;
        assert_eq!((found.prefix, found.stats_index), (prefix("10.0.0.0/8"), added.stats_index));
        assert_eq!((found.paths[0].sw_if_index, found.paths[0].weight), (1, 1));
        assert_eq!(found.paths[0].nh.address, via("192.0.2.2", FIRST.0).nh.address);
        assert_eq!(served.ask(lookup(0, "10.1.2.3/32")).await.route.prefix, prefix("10.0.0.0/8"));
        assert_eq!(served.refusal(lookup(1, "10.1.2.3/32")).await, Retval::NO_SUCH_ENTRY);

        let paths = |message: IpRouteAddDel| IpRouteAddDel { is_multipath: true, ..message };
        let second = FibPath { weight: 3, ..via("192.0.2.3", FIRST.0) };
        for _ in 0..2 {
            served.ask(paths(route(true, "10.0.0.0/8", vec![second.clone()]))).await;
        }
        assert_eq!(served.ask(lookup(1, "10.0.0.0/8")).await.route.paths.len(), 2);
        served.ask(paths(route(false, "10.0.0.0/8", vec![via("192.0.2.2", FIRST.0)]))).await;
        assert_eq!(served.ask(lookup(1, "10.0.0.0/8")).await.route.paths[0].weight, 3);

        let of_kind = |r#type| FibPath { sw_if_index: u32::MAX, r#type, ..FibPath::default() };
        let kinds =
            [FibPathType::DROP, FibPathType::ICMP_UNREACH, FibPathType::ICMP_PROHIBIT, FibPathType::LOCAL];
        for (number, kind) in kinds.into_iter().enumerate() {
            let to = format!("10.9.{number}.0/24");
            served.ask(route(true, &to, vec![of_kind(kind)])).await;
            assert_eq!(served.ask(lookup(1, &to)).await.route.paths[0].r#type, kind);
        }
        served.ask(route(true, "10.8.0.0/16", vec![via("10.0.0.1", u32::MAX)])).await;

        let unknown = IpRoute { table_id: 5, prefix: prefix("10.0.0.0/8"), ..IpRoute::default() };
        let labels = FibPath { n_labels: 1, ..via("192.0.2.2", FIRST.0) };
        for (message, retval) in [
            (route(true, "10.0.0.0/8", vec![]), Retval::NO_PATHS_IN_ROUTE),
            (route(true, "10.0.0.0/8", vec![via("192.0.2.2", 44)]), Retval::NO_MATCHING_INTERFACE),
            (route(true, "10.0.0.0/8", vec![via("224.0.0.1", FIRST.0)]), Retval::INVALID_VALUE),
            (route(true, "10.0.0.0/8", vec![labels]), Retval::UNSUPPORTED),
            (
                route(true, "2001:db8::/32", vec![via("192.0.2.2", FIRST.0)]),
                Retval::FIB_PATH_UNSUPPORTED_NH_PROTO,
            ),
            (IpRouteAddDel { is_add: true, is_multipath: false, route: unknown }, Retval::NO_SUCH_FIB),
        ] {
            assert_eq!(served.refusal(message.clone()).await, retval, "{message:?}");
        }

        // Twice, as VPP's clients do.
        for _ in 0..2 {
            served.ask(route(false, "10.0.0.0/8", vec![])).await;
        }
        let routes = served.client.dump(&IpRouteDump::default()).await.unwrap();
        let prefixes: Vec<_> = routes.iter().map(|one| one.route.prefix).collect();
        assert!(prefixes.contains(&prefix("192.0.2.1/32")) && prefixes.contains(&prefix("10.9.0.0/24")));
        assert!(!prefixes.contains(&prefix("10.0.0.0/8")));
        let ours = served.client.dump(&IpRouteV2Dump { src: 3, ..IpRouteV2Dump::default() }).await.unwrap();
        assert_eq!(ours.len(), 5);
        served.ask(IpTableFlush::default()).await;
        let ours = served.client.dump(&IpRouteV2Dump { src: 3, ..IpRouteV2Dump::default() }).await.unwrap();
        assert!(ours.is_empty());
    });
}

async fn routes_of_clients(served: &Served) -> usize {
    served.client.dump(&IpRouteV2Dump { src: 3, ..IpRouteV2Dump::default() }).await.unwrap().len()
}

#[test]
fn a_batch_of_routes_is_made_whole_or_not_at_all() {
    serve(LOOP0, |served| async move {
        served
            .ask(IpTableAddDel { is_add: true, table: IpTable { table_id: 1, ..IpTable::default() } })
            .await;
        let in_table = |table_id, mut message: IpRouteAddDel| {
            message.route.table_id = table_id;
            message
        };
        let mut batch = Batch::new();
        let mut bad = Batch::new();
        for number in 0..100 {
            let message = route(true, &format!("10.{number}.0.0/16"), vec![via("192.0.2.2", FIRST.0)]);
            for table in [0, 1] {
                batch.add(&in_table(table, message.clone())).unwrap();
                bad.add(&in_table(table, message.clone())).unwrap();
            }
        }
        // Of the same batch: what was added before can be deleted again.
        batch.add(&route(false, "10.0.0.0/16", vec![])).unwrap();
        bad.add(&in_table(1, route(false, "10.200.0.0/16", vec![]))).unwrap();
        bad.add(&in_table(9, route(false, "10.200.0.0/16", vec![]))).unwrap();
        bad.add(&route(true, "10.200.0.0/16", vec![via("224.0.0.1", FIRST.0)])).unwrap();
        let Err(Error::Refused(refused)) = served.client.commit(bad).await else {
            panic!("it should be refused")
        };
        let failed = [(200, Retval::NO_SUCH_ENTRY), (201, Retval::NO_SUCH_FIB), (202, Retval::INVALID_VALUE)];
        assert_eq!((refused.retval, &refused.failed[..]), (Retval::NO_SUCH_ENTRY, &failed[..]));
        assert_eq!(routes_of_clients(&served).await, 0);
        assert_eq!(served.client.commit(batch).await.unwrap().items, 201);
        assert_eq!(routes_of_clients(&served).await, 99);

        let mut rest = Batch::new();
        rest.add(&route(false, "10.1.0.0/16", vec![])).unwrap();
        assert_eq!(served.client.try_out(rest).await.unwrap().items, 0);
        assert_eq!(routes_of_clients(&served).await, 99);
    });
}

#[test]
fn an_agent_says_everything_again_and_the_rest_goes() {
    serve(LOOP0, |served| async move {
        let to = |number: u32| route(true, &format!("10.{number}.0.0/16"), vec![via("192.0.2.2", FIRST.0)]);
        let agent = served.another("agent").await;
        for number in 0..4 {
            agent.request(&to(number)).await.unwrap();
        }
        served.ask(to(9)).await;
        // What another has changed is the other's.
        served.ask(to(3)).await;
        drop(agent);
        let agent = served.another("agent").await;
        agent.request(&WeftResyncBegin {}).await.unwrap();
        agent.request(&to(1)).await.unwrap();
        assert_eq!(routes_of_clients(&served).await, 5);
        assert_eq!(agent.request(&WeftResyncEnd {}).await.unwrap().removed, 2);
        assert_eq!(routes_of_clients(&served).await, 3);
        assert!(agent.request(&WeftResyncEnd {}).await.is_err());

        // A replay that is given up keeps everything, and the next one starts anew.
        agent.request(&to(5)).await.unwrap();
        agent.request(&WeftResyncBegin {}).await.unwrap();
        agent.request(&WeftResyncAbort {}).await.unwrap();
        agent.request(&WeftResyncBegin {}).await.unwrap();
        agent.request(&to(5)).await.unwrap();
        assert_eq!(agent.request(&WeftResyncEnd {}).await.unwrap().removed, 1);

        // The table as VPP replaces it: all agents together.
        served.ask(IpTableReplaceBegin::default()).await;
        served.ask(to(9)).await;
        agent.request(&to(5)).await.unwrap();
        served.ask(IpTableReplaceEnd::default()).await;
        assert_eq!(routes_of_clients(&served).await, 2);
    });
}

#[test]
fn neighbours_and_who_watches_them() {
    serve(LOOP0, |served| async move {
        let neighbor = |address: &str, mac: u8| IpNeighbor {
            sw_if_index: FIRST,
            flags: IpNeighborFlags::STATIC,
            mac_address: weft_binapi::api::ethernet_types::MacAddress([2, 0, 0, 0, 0, mac]),
            ip_address: address.parse::<IpAddr>().unwrap().into(),
        };
        let change = |is_add, neighbor| IpNeighborAddDel { is_add, neighbor };
        let mut want = WantIpNeighborEventsV2 { enable: true, pid: 8, ..WantIpNeighborEventsV2::default() };
        want.ip = "192.0.2.9".parse::<IpAddr>().unwrap().into();
        let mut events = served.client.subscribe::<_, IpNeighborEventV2>(&want).await.unwrap();
        for number in [8, 9] {
            served.ask(change(true, neighbor(&format!("192.0.2.{number}"), number))).await;
        }
        let question = IpNeighborDump { sw_if_index: InterfaceIndex(u32::MAX), af: AddressFamily::IP4 };
        let details = served.client.dump(&question).await.unwrap();
        let found: Vec<_> = details.iter().map(|one| one.neighbor).collect();
        assert_eq!(found, [neighbor("192.0.2.8", 8), neighbor("192.0.2.9", 9)]);
        served.ask(change(false, neighbor("192.0.2.9", 9))).await;
        assert_eq!(served.refusal(change(false, neighbor("192.0.2.9", 9))).await, Retval::NO_SUCH_ENTRY);
        assert_eq!(
            served.refusal(change(true, neighbor("192.0.2.9", 9)).with_group_mac()).await,
            Retval::INVALID_VALUE
        );
        for flags in [IpNeighborEventFlags::ADDED, IpNeighborEventFlags::REMOVED] {
            let Ok(Notice::Event(event)) = events.next().await else { panic!("an event should come") };
            assert_eq!((event.pid, event.flags), (8, flags));
            assert_eq!(event.neighbor.ip_address, want.ip);
        }
        assert!(served.ask(IpNeighborConfigGet { af: AddressFamily::IP4 }).await.max_number > 0);
    });
}

trait WithGroupMac {
    fn with_group_mac(self) -> Self;
}

impl WithGroupMac for IpNeighborAddDel {
    fn with_group_mac(mut self) -> Self {
        self.neighbor.mac_address.0[0] |= 1;
        self
    }
}

#[test]
fn events_say_what_has_become_of_interfaces() {
    serve(LOOP0, |served| async move {
        let want = WantInterfaceEvents { enable_disable: 1, pid: 42 };
        let mut events = served.client.subscribe::<_, SwInterfaceEvent>(&want).await.unwrap();
        let index = served.ask(CreateLoopback::default()).await.sw_if_index;
        let set = |flags| SwInterfaceSetFlags { sw_if_index: index, flags };
        served.ask(set(IfStatusFlags::ADMIN_UP)).await;
        served.ask(set(IfStatusFlags(0))).await;
        served.cli("delete loopback interface intfc loop1").await;
        let both = IfStatusFlags::ADMIN_UP | IfStatusFlags::LINK_UP;
        for (flags, deleted) in
            [(IfStatusFlags(0), false), (both, false), (IfStatusFlags(0), false), (IfStatusFlags(0), true)]
        {
            let Ok(Notice::Event(event)) = events.next().await else { panic!("an event should come") };
            assert_eq!(event, SwInterfaceEvent { pid: 42, sw_if_index: index, flags, deleted });
        }
        let none = WantInterfaceEvents { enable_disable: 0, pid: 42 };
        served.ask(none).await;
        assert_eq!(served.refusal(none).await, Retval::INVALID_REGISTRATION);
    });
}

#[test]
fn a_capture_begins_and_ends() {
    serve(LOOP0, |served| async move {
        let name = format!("weft-api-{}.pcap", std::process::id());
        let capture = |filename: &str| PcapTraceOn {
            capture_rx: true,
            max_packets: 10,
            sw_if_index: InterfaceIndex(u32::MAX),
            filename: filename.into(),
            ..PcapTraceOn::default()
        };
        assert_eq!(served.refusal(capture("../etc/x")).await, Retval::INVALID_VALUE);
        assert_eq!(served.refusal(PcapTraceOff {}).await, Retval::NO_SUCH_ENTRY);
        served.ask(capture(&name)).await;
        assert_eq!(served.refusal(capture(&name)).await, Retval::VALUE_EXIST);
        served.ask(PcapTraceOff {}).await;
        std::fs::remove_file(std::path::Path::new("/tmp").join(name)).expect("the capture was written");
    });
}

#[test]
fn features_of_an_interface() {
    static FREE: NodeSpec = NodeSpec::internal("free").features(&[FeatureSpec::on("ip4-unicast")]);
    struct Free;
    impl Node for Free {
        fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
            let arcs = cx.arcs();
            cx.each(frame, |packet| arcs.next(packet));
        }
    }
    serve(LOOP0, |served| async move {
        let free = NodeDef::new(&FREE, |_| Box::new(Free));
        served.bed.0.borrow_mut().dataplane.engine_mut().add_nodes("test", vec![free]).expect("a new node");
        let feature = |arc: &str, feature: &str, enable| FeatureEnableDisable {
            sw_if_index: FIRST,
            enable,
            arc_name: arc.into(),
            feature_name: feature.into(),
        };
        assert_eq!(served.refusal(feature("ip4-unicast", "nothing", true)).await, Retval::INVALID_VALUE);
        assert_eq!(served.refusal(feature("nowhere", "nothing", true)).await, Retval::INVALID_VALUE);
        for enable in [true, false] {
            // What another message or command sets is not opened or closed by its node.
            let filter = feature("ip4-unicast", "ip4-classify", enable);
            assert_eq!(served.refusal(filter).await, Retval::UNSUPPORTED);
            served.ask(feature("ip4-unicast", "free", enable)).await;
            let question = FeatureIsEnabled {
                arc_name: "ip4-unicast".into(),
                feature_name: "free".into(),
                sw_if_index: FIRST,
            };
            assert_eq!(served.ask(question).await.is_enabled, enable);
        }
    });
}

#[test]
fn what_is_kept_for_an_interface_goes_with_it() {
    use weft_binapi::api::classify::*;
    serve(LOOP0, |served| async move {
        let watch = |sw_if_index| WantIpNeighborEventsV2 {
            enable: true,
            sw_if_index: InterfaceIndex(sw_if_index),
            ..WantIpNeighborEventsV2::default()
        };
        served.ask(watch(1)).await;
        let none = u32::MAX;
        let table = ClassifyAddDelTable {
            is_add: true,
            table_index: none,
            nbuckets: 1,
            memory_size: 1 << 20,
            match_n_vectors: 1,
            next_table_index: none,
            miss_next_index: none,
            mask: vec![0; 16],
            ..ClassifyAddDelTable::default()
        };
        let table = served.ask(table).await.new_table_index;
        served
            .ask(InputAclSetInterface {
                sw_if_index: FIRST,
                ip4_table_index: table,
                ip6_table_index: none,
                l2_table_index: none,
                is_add: true,
            })
            .await;
        assert!(served.cli("show classify").await.contains("vpp-table-0"));
        served.cli("delete loopback interface intfc loop0").await;
        assert!(!served.cli("show classify").await.contains("vpp-table-0"));
        // A table that is asked nowhere can go.
        served.ask(ClassifyAddDelTable { table_index: table, ..ClassifyAddDelTable::default() }).await;
        assert_eq!(served.watchers(), 0);
    });
}
