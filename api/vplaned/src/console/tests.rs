// SPDX-License-Identifier: Apache-2.0
//! One reply of two frames to whatever is asked, over real sockets too; the JSON's shapes.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json, to_value};

use super::json::{
    Address, Addresses, ArpEntry, Asked, Config, Interface, Interfaces, Ip4, LOOKUP, LinkState, Looked,
    NextHop, NextHopState, NpfAttachPoint, NpfGroup, NpfRule, NpfRuleset, Rates, Route, SHOW, Shown,
    Statistics, Under,
};
use super::*;
use crate::netlink::{IfIndex, MacAddr};
use crate::transport::{Endpoint, Transport};
use crate::wire::Message;

fn console() -> Console<u32> {
    let mut console: Console<u32> = Console::new();
    console.register_json("ifconfig", "interfaces", |_, _| Ok(Interfaces::default()));
    console.register("count", "how often it was asked", |asked, words| {
        words.end()?;
        *asked += 1;
        Ok(asked.to_string())
    });
    console
}

fn ask(request: &[&[u8]]) -> (String, String) {
    let request: Message = request.iter().map(|frame| frame.to_vec()).collect();
    let reply = console().answer(&mut 0, &request);
    let [status, output] = &reply[..] else { panic!("{reply:?}") };
    let text = |frame: &[u8]| String::from_utf8(frame.to_vec()).expect("text");
    (text(status), text(output))
}

fn ok(output: &str) -> (String, String) {
    ("OK".to_owned(), output.to_owned())
}

fn error(output: &str) -> (String, String) {
    ("ERROR".to_owned(), output.to_owned())
}

#[test]
fn what_vplsh_was_recorded_to_get() {
    assert_eq!(ask(&[b"bogus"]), error("Unknown command: bogus\n"));
    assert_eq!(ask(&[b"ifconfig"]), ok("{\"interfaces\":[]}"));
    assert_eq!(ask(&[b"help"]), ok("count        how often it was asked\nifconfig     interfaces\n"));
}

#[test]
fn line_16_one_reply_of_two_frames_to_whatever_comes() {
    assert_eq!(ask(&[]), error("expected 1 frame, found 0\n"));
    assert_eq!(ask(&[b"a", b"b", b"c"]), error("expected 1 frame, found 3\n"));
    assert_eq!(ask(&[b"\xff"]), error("not a text: \"\\xff\"\n"));
    assert_eq!(ask(&[b"protobuf", b"\x0a"]).0, "ERROR");
    assert!(ask(&[b"  "]).1.contains("expected a command"));
    assert!(ask(&[b"count down"]).1.contains("expected the end of the command, found \"down\""));
}

proptest! {
    #[test]
    fn line_16_any_request_has_one_reply_of_two_frames(
        request in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)
    ) {
        let reply = console().answer(&mut 0, &request);
        prop_assert_eq!(reply.len(), 2);
        prop_assert!(reply[0] == b"OK" || reply[0] == b"ERROR");
        prop_assert!(std::str::from_utf8(&reply[1]).is_ok());
    }
}

/// A client on a thread of its own, as vplsh is a process of its own.
fn client(endpoint: &str, requests: Vec<Message>) -> Vec<Message> {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::REQ).expect("a socket");
    socket.set_linger(0).expect("linger");
    socket.set_rcvtimeo(10_000).expect("a timeout");
    socket.connect(endpoint).expect("connected");
    let ask = |request| {
        socket.send_multipart(request, 0).expect("sent");
        socket.recv_multipart(0).expect("an answer")
    };
    requests.into_iter().map(ask).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn clients_of_all_endpoints_are_answered_and_one_that_does_not_read_delays_nobody() {
    let transport = Transport::new();
    let tcp: Endpoint = "tcp://127.0.0.1:*".parse().expect("an endpoint");
    let mut server = ConsoleServer::bind(&transport, &[Endpoint::any_local(), tcp], Listening::default())
        .expect("both endpoints");
    let endpoints = server.endpoints().expect("resolved");
    assert!(endpoints[0].starts_with("ipc://"), "{endpoints:?}");

    // Asks without end and never reads.
    let context = zmq::Context::new();
    let deaf = context.socket(zmq::DEALER).expect("a socket");
    deaf.set_linger(0).expect("linger");
    deaf.set_sndhwm(0).expect("no limit");
    deaf.connect(&endpoints[0]).expect("connected");
    for _ in 0..5000 {
        deaf.send_multipart([&b""[..], b"count"], zmq::DONTWAIT).expect("queued");
    }

    let clients: Vec<_> = endpoints
        .iter()
        .cloned()
        .map(|endpoint| {
            let requests = vec![vec![b"bogus".to_vec()], vec![b"count".to_vec()], vec![vec![], vec![0xff]]];
            std::thread::spawn(move || client(&endpoint, requests))
        })
        .collect();
    let (console, mut asked) = (console(), 0_u32);
    let serve = async {
        while !clients.iter().all(|client| client.is_finished()) {
            let one = server.serve_one(|request| console.answer(&mut asked, request));
            // Also looks up when nobody asks.
            if let Ok(served) = tokio::time::timeout(Duration::from_millis(20), one).await {
                served.expect("the sockets work");
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), serve).await.expect("clients are answered");
    for client in clients {
        let answers = client.join().expect("no panic");
        assert_eq!(answers[0], [b"ERROR".to_vec(), b"Unknown command: bogus\n".to_vec()]);
        assert_eq!(answers[1][0], b"OK");
        assert_eq!(answers[2][0], b"ERROR");
    }
    assert!(asked >= 2);
}

#[tokio::test(flavor = "current_thread")]
async fn a_console_file_is_for_owner_and_group_and_replaces_a_stale_one() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("weft-console-{}", std::process::id()));
    std::fs::write(&path, b"stale").expect("written");
    let endpoint: Endpoint = format!("ipc://{}", path.display()).parse().expect("an endpoint");
    let transport = Transport::new();
    let server = ConsoleServer::bind(&transport, &[endpoint], Listening::default()).expect("bound");
    let mode = std::fs::metadata(&path).expect("the socket's file").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(server);
    assert!(!path.exists(), "the file goes with the server");
}

#[test]
fn ifconfig_has_the_recorded_keys() {
    let interface = Interface {
        name: "dp0p0s4".to_owned(),
        vrf_id: 1,
        ifindex: IfIndex::new(2),
        parent: None,
        bridge: None,
        role: "dataplane",
        mtu: 1500,
        flags: 0x1043,
        ip_forwarding: 1,
        ip_proxy_arp: 0,
        ip_mc_forwarding: 0,
        ip_rp_filter: 0,
        ip6_forwarding: 0,
        ip6_mc_forwarding: 0,
        dp_id: 0,
        ether: MacAddr([2, 0, 0, 0, 1, 0]),
        kind: "ether",
        eth_info: None,
        link: LinkState { up: true, duplex: Some("full"), speed: Some(10_000) },
        addresses: Addresses(vec![Address::Inet {
            inet: "192.0.2.1/24".parse().expect("an address"),
            broadcast: Some([192, 0, 2, 255].into()),
        }]),
        statistics: Statistics {
            rx_packets: 7,
            rates: Rates { rx_pps_avg: [1, 2, 3], ..Rates::default() },
            ..Statistics::default()
        },
        xstatistics: BTreeMap::from([("rx_missed_errors", 5)]),
        ipv4: Ip4 { forwarding: 1, redirects: true, ..Ip4::default() },
    };
    let shown = to_value(Interfaces { interfaces: vec![interface] }).expect("JSON");
    let shown = &shown["interfaces"][0];
    assert_eq!(shown["ether"], "2:0:0:0:1:0");
    assert_eq!(shown["type"], "ether");
    assert_eq!(shown["link"], json!({"up": true, "duplex": "full", "speed": 10_000}));
    assert_eq!(shown["addresses"], json!([{"inet": "192.0.2.1/24", "broadcast": "192.0.2.255"}]));
    assert_eq!(shown["statistics"]["rx_packets"], 7);
    assert_eq!(shown["statistics"]["rx_pps_avg"], json!([1, 2, 3]));
    assert_eq!(shown["xstatistics"], json!({"rx_missed_errors": 5}));
    assert_eq!(shown["ipv4"]["redirects"], 1);
    assert_eq!(shown.get("parent"), None);
}

#[test]
fn routes_and_lookups_have_their_shapes() {
    let gateway = NextHop {
        state: NextHopState::Gateway,
        via: Some([192, 0, 2, 2].into()),
        dead: false,
        neigh_present: true,
        ifname: Some("dp0p0s4".to_owned()),
    };
    let route = Route {
        prefix: "10.0.0.0/8".parse().expect("a prefix"),
        scope: 0,
        proto: 3,
        payload: "ip",
        nh_index: 7,
        nh_refcount: 1,
        next_hop: vec![gateway.clone()],
    };
    let next_hop =
        json!({"state": "gateway", "via": "192.0.2.2", "neigh_present": true, "ifname": "dp0p0s4"});
    assert_eq!(
        to_value(Under(SHOW[0], vec![Shown::Route(route), Shown::More])).expect("JSON"),
        json!({"route_show": [
            {"prefix": "10.0.0.0/8", "scope": 0, "proto": 3, "use": "ip", "nh_index": 7, "nh_refcount": 1,
             "next_hop": [next_hop]},
            {"prefix": "more"},
        ]})
    );
    let asked = |address: [u8; 4]| Asked::Address { address: address.into() };
    let lookup = vec![
        Looked::Found {
            asked: asked([10, 0, 0, 1]),
            nh_index: 7,
            nh_refcount: 1,
            next_hop: vec![gateway.clone()],
            first: Some(gateway),
        },
        Looked::NoMatch { asked: asked([11, 0, 0, 1]), state: "nomatch" },
        Looked::NoMatch {
            asked: Asked::Prefix { prefix: "11.0.0.0/8".parse().expect("a prefix") },
            state: "nomatch",
        },
    ];
    // The next hops are a list, as in `route show`.
    let mut found: Value = next_hop.clone();
    found["address"] = json!("10.0.0.1");
    found["nh_index"] = json!(7);
    found["nh_refcount"] = json!(1);
    found["next_hop"] = json!([next_hop]);
    assert_eq!(
        to_value(Under(LOOKUP[1], lookup)).expect("JSON"),
        json!({"route6_lookup": [
            found,
            {"address": "11.0.0.1", "state": "nomatch"},
            {"prefix": "11.0.0.0/8", "state": "nomatch"},
        ]})
    );
}

#[test]
fn arp_and_npf_have_their_shapes() {
    let entry = ArpEntry {
        ip: [192, 0, 2, 2].into(),
        flags: "VALID",
        mac: MacAddr([0, 0x10, 0xff, 1, 2, 3]),
        ifname: "dp0p0s4".to_owned(),
        state: None,
    };
    assert_eq!(
        to_value(Under("arp", vec![entry])).expect("JSON"),
        json!({"arp": [{"ip": "192.0.2.2", "flags": "VALID", "mac": "0:10:ff:1:2:3", "ifname": "dp0p0s4"}]})
    );
    let rule = NpfRule {
        action: "pass ",
        config: "action=accept".to_owned(),
        matches: String::new(),
        operation: "accept".to_owned(),
        bytes: 0,
        packets: 0,
    };
    let groups = vec![NpfGroup {
        class: "fw",
        name: "F".to_owned(),
        direction: "in",
        rules: BTreeMap::from([(10, rule)]),
    }];
    let point = NpfAttachPoint {
        attach_type: "interface",
        attach_point: "dp0p0s4".to_owned(),
        rulesets: vec![NpfRuleset { ruleset_type: "fw-in", groups }],
    };
    let shown = to_value(Config { config: vec![point] }).expect("JSON");
    assert_eq!(shown["config"][0]["rulesets"][0]["groups"][0]["rules"]["10"]["action"], "pass ");
}
