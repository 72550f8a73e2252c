// SPDX-License-Identifier: Apache-2.0
//! Commands on a running dataplane, from the packet generator's packets to the columns that scripts read.

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::testing::Bed;

fn bed() -> Bed {
    Bed::new("", 1)
}

#[test]
fn cells_are_aligned_and_cut_as_vpp_does_it() {
    assert_eq!(center("ab", 5), "  ab ");
    assert_eq!(center("abc", 4), " abc");
    assert_eq!((left("ab", 4), right("ab", 4)), ("ab  ".into(), "  ab".into()));
    assert_eq!(left("too long", 3), "too");
    assert_eq!(row([left("a", 4), left("b", 4)]), "a   b\n");
    assert_eq!(scientific(81_400_000.0, 4), "8.1400e7");
    assert_eq!(scientific(0.0, 4), "0.0000e0");
}

#[test]
fn every_show_answers_as_text_and_as_json() {
    let mut bed = bed();
    bed.text("create loopback interface");
    for what in [
        "version",
        "version verbose",
        "interface",
        "interface address",
        "interface rx-placement",
        "interface features loop0",
        "hardware-interfaces",
        "runtime",
        "runtime verbose",
        "errors",
        "threads",
        "buffers",
        "node ip4-lookup",
        "graph",
        "features",
        "registrations",
        "registrations ethertype",
        "punt reasons",
        "trace",
        "logging",
        "statistics segment",
        "packet-generator",
        "bridge-domain",
        "l2fib",
        "l2fib verbose",
        "mode",
    ] {
        let command = format!("show {what}");
        let silent = ["interface rx-placement", "logging"].contains(&what);
        assert!(silent || !bed.text(&command).is_empty(), "{command}");
        assert!(bed.json(&command).is_object(), "{command}");
    }
}

#[test]
fn interfaces_come_and_go() {
    let mut bed = bed();
    assert_eq!(bed.text("create loopback interface"), "loop0\n");
    assert_eq!(bed.text("create loopback interface instance 7 mac 02:00:00:00:00:07"), "loop7\n");
    assert_eq!(bed.text("create loopback interface"), "loop1\n");
    assert!(bed.refusal("create loopback interface instance 7").message.contains("'loop7' exists already"));
    bed.text("set interface state loop7 up");
    let header =
        "              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count\n";
    let row = "loop7                             2      up          9000/0/0/0\n";
    assert_eq!(bed.text("show interface loop7"), format!("{header}{row}"));

    let error = bed.refusal("delete tap loop7");
    assert_eq!((error.message.as_str(), error.word.as_deref()), ("'loop7' is no TAP", Some("loop7")));
    bed.text("delete loopback interface intfc loop7");
    let error = bed.refusal("show interface loop7");
    assert!(error.message.starts_with("expected interface, found \"loop7\""), "{error}");
    bed.rest();
    bed.text("create loopback interface instance 8");
    assert_eq!(bed.json("show interface loop8")["interfaces"][0]["index"], 2, "the index is free again");
}

#[test]
fn a_sub_interface_lives_on_its_port() {
    let mut bed = bed();
    bed.text("create packet-generator interface pg0");
    assert_eq!(bed.text("create sub-interfaces pg0 100"), "pg0.100\n");
    assert_eq!(bed.text("create sub-interfaces pg0 7 dot1ad 300 inner-dot1q 7 exact-match"), "pg0.7\n");
    for (command, reason) in [
        ("create sub-interfaces pg0 8 dot1q 100", "'pg0.100' has these tags already"),
        ("create sub-interfaces pg0.100 1", "is a sub-interface, expected a port"),
        ("create sub-interfaces pg0 5000", "5000 is no VLAN: expected dot1q or dot1ad and a VLAN"),
        ("create sub-interfaces pg0 9 dot1q 4095", "VLANs are numbered from 1 to 4094"),
        ("delete packet-generator interface pg0", "has sub-interfaces"),
        ("set interface mac address pg0.100 02:00:00:00:00:01", "expected the port below"),
        ("set interface mac address pg0 01:00:5e:00:00:01", "expected a unicast MAC address"),
        (
            "set interface mtu 67 pg0",
            "expected packet or bytes, found \"67\": it is no number from 68 to 65535",
        ),
        (
            "set interface rx-placement pg0 worker 0",
            "'pg0' is a packet-generator interface, expected an AF_XDP port",
        ),
    ] {
        let error = bed.refusal(command);
        assert!(error.message.contains(reason), "{command}: {error}");
    }
    bed.text("set interface mac address pg0 02:00:00:00:00:09");
    bed.text("set interface mtu packet 1400 pg0.100");
    let sub = &bed.json("show interface pg0.100")["interfaces"][0];
    assert_eq!((&sub["mac"], &sub["mtu"]), (&"02:00:00:00:00:09".into(), &1400.into()));
    for command in [
        "delete sub-interface pg0.100",
        "delete sub-interface pg0.7",
        "delete packet-generator interface pg0",
    ] {
        bed.text(command);
    }
    let left = bed.json("show interface")["interfaces"].as_array().map(Vec::len);
    assert_eq!(left, Some(1), "local0 stays");
}

/// Sends packets into the drop node and waits until they are there.
fn drop_packets(bed: &mut Bed, count: u32) {
    bed.text(&format!(
        "packet-generator new {{ name s limit {count} source pg0 node drop size 64-64 \
         data {{ IP4: 1.2.3 -> 4.5.6 UDP: 10.0.0.1 -> 10.0.0.2 UDP: 1 -> 2 incrementing 20 }} }}"
    ));
    bed.text("packet-generator enable-stream s");
    bed.rest();
    assert!(!bed.text("show packet-generator").contains("Yes"));
    bed.text("packet-generator delete s");
}

#[test]
fn packets_are_counted_and_counters_cleared() {
    let mut bed = bed();
    drop_packets(&mut bed, 600);
    let errors = bed.json("show errors");
    let expected = serde_json::json!([{
        "count": 600,
        "node": "drop",
        "reason": "dropped without a reason given by the node before",
        "counter": "unspecified",
        "severity": "error",
        "kind": "drop",
    }]);
    assert_eq!(errors["errors"], expected);
    let lines = "   Count                  Node                              Reason                             Severity\n       600 drop                              dropped without a reason given by the node before error\n";
    assert_eq!(bed.text("show errors"), lines);
    assert_eq!(bed.json("show interface pg0")["interfaces"][0]["drops"], 600);
    assert!(bed.text("show interface pg0").contains("drops                        600\n"));

    let drop_node = |bed: &mut Bed| {
        let runtime = bed.json("show runtime");
        let nodes = runtime["threads"][0]["nodes"].as_array().expect("a list of nodes").clone();
        nodes.into_iter().find(|node| node["name"] == "drop").map(|node| node["vectors"].clone())
    };
    assert_eq!(drop_node(&mut bed), Some(600.into()));
    let node = bed.json("show node pg-input");
    assert_eq!((&node["next"][0]["node"], &node["next"][0]["vectors"]), (&"drop".into(), &600.into()));

    for command in ["clear errors", "clear interfaces", "clear runtime"] {
        assert_eq!(bed.text(command), "");
    }
    assert_eq!(bed.json("show errors")["errors"], serde_json::json!([]));
    assert_eq!(bed.json("show interface pg0")["interfaces"][0]["drops"], 0);
    assert_eq!(drop_node(&mut bed), None);
    drop_packets(&mut bed, 5);
    assert_eq!(bed.json("show errors")["errors"][0]["count"], 5);
    assert_eq!(drop_node(&mut bed), Some(5.into()));
    let pool = &bed.json("show buffers")["pools"][0];
    assert_eq!((&pool["used"], &pool["total"]), (&0.into(), &16384.into()));
}

#[test]
fn packets_are_traced_until_the_trace_is_cleared() {
    let mut bed = bed();
    bed.text("create packet-generator interface pg0");
    bed.text("trace add pg-input 3");
    drop_packets(&mut bed, 10);
    let text = bed.text("show trace max 2");
    assert!(
        text.starts_with(
            "------------------- Start of thread 1 weft_wk_0 -------------------\nPacket 1\n\n00:00:0"
        ),
        "{text}"
    );
    assert!(text.contains(": pg-input\n") && text.contains("  rx:pg0 reason:dropped without"), "{text}");
    assert!(text.ends_with("Limiting display to 2 packets. To display more specify max.\n"), "{text}");
    let packets = bed.json("show trace")["threads"][0]["packets"].clone();
    assert_eq!(packets.as_array().map(Vec::len), Some(3));
    assert_eq!(packets[0]["steps"][0]["next"], "drop");
    bed.text("clear trace");
    drop_packets(&mut bed, 1);
    assert!(bed.text("show trace").ends_with("No packets in trace buffer\n"));
    assert_eq!(bed.refusal("trace add pg-inptu 3").word.as_deref(), Some("pg-inptu"));
}

#[test]
fn dropped_packets_are_captured_into_a_file() {
    let mut bed = bed();
    let name = format!("weft-cli-test-{}.pcap", std::process::id());
    bed.text(&format!("pcap trace drop max 4 file {name}"));
    assert!(bed.refusal("pcap trace rx").message.contains("running already"));
    drop_packets(&mut bed, 10);
    let status = bed.json("pcap trace status");
    assert_eq!((&status["running"], &status["packets"]), (&false.into(), &4.into()));
    assert!(bed.text("pcap trace off").starts_with("Write 4 packets to /tmp/"));
    let path = format!("/tmp/{name}");
    let bytes = fs::read(&path).expect("the capture was written");
    fs::remove_file(&path).expect("the capture is ours");
    // 24 bytes of file header, then per packet 16 and its 64 bytes.
    assert_eq!((&bytes[..4], bytes.len()), (&[0xd4, 0xc3, 0xb2, 0xa1][..], 24 + 4 * (16 + 64)));
    assert_eq!(bed.refusal("pcap trace off").message, "no packet capture is running");
    for bad in ["pcap trace", "pcap trace rx file ../x", "pcap trace max 3"] {
        bed.refusal(bad);
    }
}

#[test]
fn threads_are_where_they_were_put() {
    let mut bed = Bed::new("cpu { scheduler-policy batch }", 2);
    let threads = bed.json("show threads")["threads"].as_array().expect("a list").clone();
    let names: Vec<_> = threads.iter().map(|thread| thread["name"].clone()).collect();
    assert_eq!(names, ["weft_main", "weft_wk_0", "weft_wk_1"]);
    assert_eq!(threads[1]["scheduler"], "batch (0)");
    let lwp = threads[1]["lwp"].as_i64().expect("a number");
    let comm = fs::read_to_string(format!("/proc/self/task/{lwp}/comm")).expect("the thread runs");
    assert_eq!(comm.trim(), "weft_wk_0");
    // Field 41 of stat: SCHED_BATCH is 3 (sched.h).
    let stat = fs::read_to_string(format!("/proc/self/task/{lwp}/stat")).expect("the thread runs");
    assert_eq!(stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(38)), Some("3"));
}

#[test]
fn words_are_completed_from_what_there_is() {
    let mut bed = bed();
    bed.text("create loopback interface");
    let offered = |bed: &Bed, line: &str| -> Vec<String> {
        let completion = super::tree().complete(&bed.dataplane, line, line.len());
        completion.candidates.into_iter().map(|candidate| candidate.text).collect()
    };
    assert_eq!(offered(&bed, "set interface state loo"), ["loop0"]);
    assert_eq!(offered(&bed, "set interface state loop0 "), ["up", "down"]);
    assert!(offered(&bed, "trace add ").contains(&"af-xdp-input".to_owned()));
    assert!(offered(&bed, "show node ip4-l").contains(&"ip4-lookup".to_owned()));
}

/// The words of the header line of a table, and where each begins.
fn columns(text: &str, first: &str) -> Vec<(usize, String)> {
    let line = text.lines().find(|line| line.trim_start().starts_with(first)).expect("a header");
    let mut columns: Vec<(usize, String)> = Vec::new();
    let mut blanks = 2;
    for (at, c) in line.char_indices() {
        match (c, blanks) {
            (' ', _) => blanks += 1,
            (c, 0..2) => {
                let word = &mut columns.last_mut().expect("the line begins with two blanks or more").1;
                word.push_str(&" ".repeat(blanks));
                word.push(c);
                blanks = 0;
            }
            (c, _) => {
                columns.push((at, c.to_string()));
                blanks = 0;
            }
        }
    }
    columns
}

#[test]
fn tables_have_the_columns_of_vpp() {
    let mut bed = bed();
    drop_packets(&mut bed, 5);
    let has = |bed: &mut Bed, command: &str, first: &str, expected: &[(usize, &str)]| {
        let text = bed.text(command);
        let found = columns(&text, first);
        let expected: Vec<_> = expected.iter().map(|(at, word)| (*at, (*word).to_owned())).collect();
        assert_eq!(found[..expected.len().min(found.len())], expected, "{command}:\n{text}");
    };
    has(
        &mut bed,
        "sh int",
        "Name",
        &[
            (14, "Name"),
            (33, "Idx"),
            (40, "State"),
            (47, "MTU (L3/IP4/IP6/MPLS)"),
            (73, "Counter"),
            (90, "Count"),
        ],
    );
    has(&mut bed, "sh hard", "Name", &[(14, "Name"), (34, "Idx"), (40, "Link"), (46, "Hardware")]);
    has(
        &mut bed,
        "sh run",
        "Name",
        &[
            (13, "Name"),
            (34, "State"),
            (48, "Calls"),
            (63, "Vectors"),
            (78, "Suspends"),
            (95, "Clocks"),
            (108, "Vectors/Call"),
        ],
    );
    has(&mut bed, "sh err", "Count", &[(3, "Count"), (26, "Node"), (60, "Reason"), (95, "Severity")]);
    has(&mut bed, "sh buf", "Pool", &[(0, "Pool Name"), (21, "Index NUMA"), (33, "Size"), (39, "Data Size")]);
    has(
        &mut bed,
        "sh thr",
        "ID",
        &[
            (0, "ID"),
            (7, "Name"),
            (27, "Type"),
            (39, "LWP"),
            (47, "Sched Policy (Priority)"),
            (72, "lcore"),
            (79, "Socket State"),
        ],
    );
    has(&mut bed, "show node pg-input", "next-index", &[(4, "next-index"), (16, "node-index"), (41, "Node")]);
    has(&mut bed, "show ip fib summary", "Prefix", &[(4, "Prefix length"), (26, "Count")]);
    bed.text("set interface state pg0 up");
    bed.text("set interface ip address pg0 10.1.2.1/24");
    bed.text("set ip neighbor pg0 10.1.2.2 02:00:00:00:00:02");
    let neighbors = &[(5, "Age"), (31, "IP"), (53, "Flags"), (64, "Ethernet"), (86, "Interface")];
    has(&mut bed, "sh ip nei", "Age", neighbors);
    assert_eq!(bed.text("show ip4 neighbors").lines().count(), 2);
    bed.text("set ip neighbor del pg0 10.1.2.2 02:00:00:00:00:02");
    assert_eq!(bed.text("show ip neighbors"), "");
    assert_eq!(bed.text("sh int addr"), "local0 (dn):\npg0 (up):\n  L3 10.1.2.1/24\n");
    assert!(bed.text("show version").starts_with("weft v"));
    let fib = bed.text("sh ip fib 10.1.2.1");
    assert!(
        fib.starts_with(
            "ipv4-VRF:0, fib_index:0, flow hash:[src dst sport dport proto ] epoch:0 flags:none locks:["
        ),
        "{fib}"
    );
    assert!(fib.contains("\n  unicast-ip4-chain\n  [@0]: dpo-load-balance: [proto:ip4 index:"), "{fib}");
    assert!(fib.contains(" buckets:1 uRPF:0 to:[0:0]]\n    [0] [@12]: dpo-receive: local\n"), "{fib}");
    let time = bed.text("show runtime");
    assert!(
        time.contains(" sec internal node vector rate ") && time.contains("\n  vector rates in "),
        "{time}"
    );
}

#[test]
fn an_address_says_its_table() {
    let mut bed = bed();
    for command in ["create loopback interface", "ip table add 77", "set interface ip table loop0 77"] {
        bed.text(command);
    }
    bed.text("set interface ip address loop0 10.7.0.1/24");
    assert_eq!(bed.text("show int addr loop0"), "loop0 (dn):\n  L3 10.7.0.1/24 ip4 table-id 77 fib-idx 1\n");
}

#[test]
fn commands_of_ipv6_are_those_of_ipv4() {
    let mut bed = bed();
    bed.text("create loopback interface");
    bed.text("enable ip6 interface loop0");
    let shown = bed.json("show ip6 interface loop0")["interfaces"][0].clone();
    assert!(shown["link_local"].as_str().is_some_and(|own| own.starts_with("fe80::")), "{shown}");
    bed.text("set interface ip6 link-local loop0 fe80::7");
    assert!(
        bed.text("show ip6 interface")
            .contains("loop0 is admin down\n  Link-local address(es):\n    fe80::7\n")
    );
    let error = bed.refusal("set interface ip6 link-local loop0 2001:db8::1");
    let expected =
        "ip6-link-local: expected an address of fe80::/10, stable or eui-64, found \"2001:db8::1\"";
    assert_eq!(error.message, expected);
    bed.text("disable ip6 interface loop0");
    assert_eq!(bed.text("show ip6 interface"), "");

    for command in ["ip6 table add 77 name blue", "set interface ip6 table loop0 77"] {
        bed.text(command);
    }
    bed.text("set interface ip address loop0 2001:db8::1/64");
    bed.text("set interface ip address loop0 2001:db8:1::/127");
    bed.text("set interface ip address loop0 2001:db8:2::1/128");
    let address = "  L3 2001:db8::1/64 ip6 table-id 77 fib-idx 1\n";
    assert!(bed.text("show int addr loop0").starts_with(&format!("loop0 (dn):\n{address}")));
    assert_eq!(bed.json("show ip6 table")["tables"][1]["name"], "blue");
    assert_eq!(bed.json("show ip table")["tables"].as_array().map(Vec::len), Some(1));
    assert!(bed.refusal("ip6 table del 77").message.contains("in use by interface 'loop0'"));
    let error = bed.refusal("set interface mtu 1279 loop0");
    assert!(error.message.contains("IPv6 is enabled there"), "{error}");
    let error = bed.refusal("set interface ip address loop0 2001:db8::/64");
    assert!(error.message.contains("cannot be the address of an interface"), "{error}");
    bed.text("set interface ip address del loop0 2001:db8:1::/127");
    bed.text("create loopback interface");
    bed.text("set interface mtu 1000 loop1");
    let error = bed.refusal("set interface ip address loop1 2001:db8:3::1/64");
    assert_eq!(error.message, "interface 'loop1' has an MTU of 1000 bytes; IPv6 needs at least 1280");

    bed.text("set interface state loop0 up");
    bed.text("set ip neighbor loop0 2001:db8::2 02:00:00:00:00:02");
    assert_eq!(bed.json("show ip6 neighbors")["neighbors"][0]["address"], "2001:db8::2");
    assert_eq!(bed.text("show ip4 neighbors"), "");
    bed.text("ip route add 2001:db8:9::/48 table 77 via 2001:db8::2 loop0");
    bed.text("ip route add count 3 2001:db8:a::/64 table 77 via fe80::2 loop0 weight 2");
    let fib = bed.text("show ip6 fib table 77 2001:db8:9::1");
    assert!(fib.starts_with("blue, fib_index:1,"), "{fib}");
    assert!(fib.contains("\n  unicast-ip6-chain\n  [@0]: dpo-load-balance: [proto:ip6 index:"), "{fib}");
    assert!(fib.contains("[0] [@5]: ipv6 via 2001:db8::2 loop0: mac:02:00:00:00:00:02"), "{fib}");
    assert!(
        bed.text("show ip6 fib table 77 2001:db8:a:2::/64").contains("[@3]: arp-ipv6: via fe80::2 loop0")
    );
    bed.text("ip route del count 3 2001:db8:a::/64 table 77");
    bed.text("ip route add ::/0 via ip6-lookup-in-table 77");
    assert!(bed.text("show ip6 fib ::/0").contains("lookup in table 77"));
    for (command, what) in [
        ("ip route add 2001:db8:9::1/48 via loop0", "host bits set"),
        ("ip route add 2001:db8:b::/48 via 10.0.0.1", "expected"),
        ("ip route add count 2 ::/0 via loop0", "leave the IPv6 address space"),
        ("ip route add 10.0.0.0/8 via table 77", "no IPv4 table 77; `ip table add 77` makes it"),
        ("show ip6 fib 10.0.0.0/8", "this is no IPv6 prefix"),
        ("set ip neighbor loop0 ff02::1 02:00:00:00:00:02", "cannot be a neighbour"),
    ] {
        let error = bed.refusal(command);
        assert!(error.to_string().contains(what), "{command}: {error}");
    }
    bed.text("ip route del ::/0");
    bed.text("ip route del 2001:db8:9::/48 table 77");
    bed.text("set ip neighbor del loop0 2001:db8::2");
    bed.text("set interface ip address del loop0 all");
    bed.text("set interface ip6 table loop0 0");
    bed.text("ip6 table del 77");
    assert_eq!(bed.json("show ip6 fib")["tables"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_in_use_is_not_deleted_and_what_no_host_has_is_refused() {
    struct Family {
        ip: &'static str,
        address: &'static str,
        route: &'static str,
        no_neighbors: &'static [&'static str],
        /// What follows from the address.
        routes: &'static [&'static str],
    }
    for Family { ip, address, route, no_neighbors, routes } in [
        Family {
            ip: "ip",
            address: "10.0.0.1/24",
            route: "10.9.0.0/16",
            no_neighbors: &["224.0.0.1", "255.255.255.255", "0.0.0.0", "10.0.0.1", "10.0.0.255"],
            routes: &["10.0.0.0/24", "10.0.0.0/32", "10.0.0.1/32", "10.0.0.255/32"],
        },
        Family {
            ip: "ip6",
            address: "2001:db8::1/64",
            route: "2001:db8:9::/48",
            no_neighbors: &["ff02::1", "::", "::1", "2001:db8::1", "2001:db8::", "::ffff:10.0.0.1"],
            routes: &["2001:db8::/64", "2001:db8::/128", "2001:db8::1/128"],
        },
    ] {
        let mut bed = bed();
        bed.text("create loopback interface");
        bed.text(&format!("set interface ip address loop0 {address}"));
        bed.text(&format!("{ip} table add 7"));
        bed.text(&format!("ip route add {route} via table 7"));
        let error = bed.refusal(&format!("{ip} table del 7"));
        assert!(error.message.contains(&format!("in use by the route to {route} in table 0")), "{error}");
        bed.text(&format!("ip route del {route}"));
        bed.text(&format!("{ip} table del 7"));
        bed.text(&format!("{ip} table add 8"));
        for address in no_neighbors {
            let error = bed.refusal(&format!("set ip neighbor loop0 {address} 02:00:00:00:00:09"));
            assert!(error.message.contains("cannot be a neighbour"), "{error}");
        }

        // While the interface is down its addresses are shown, and lead nowhere; another's route to the subnet is used then.
        let installed = |bed: &mut Bed, prefix: &str| {
            bed.json(&format!("show {ip} fib {prefix}"))["tables"][0]["routes"][0]["load_balance"] != 0
        };
        for up in [false, true] {
            bed.text(if up { "set interface state loop0 up" } else { "set interface state loop0 down" });
            for prefix in routes {
                assert_eq!(installed(&mut bed, prefix), up, "{prefix}");
            }
            assert!(bed.text("show interface address").contains(address));
        }
        bed.text("set interface state loop0 down");
        bed.text(&format!("ip route add {} via drop", routes[0]));
        assert!(installed(&mut bed, routes[0]), "the route of the operator");
    }
}

#[test]
fn the_packet_generator_takes_the_commands_of_vpp_s_tests() {
    let mut bed = bed();
    let path = std::env::temp_dir().join(format!("weft-pg-{}.pcap", std::process::id()));
    bed.text("create packet-generator interface pg1");
    bed.text(&format!("packet-generator capture pg1 pcap {}", path.display()));
    bed.text(&format!("packet-generator capture pg1 pcap {} disable", path.display()));
    assert!(!path.exists(), "no packet, no file");
    let missing = bed.refusal(&format!("packet-generator new pcap {} source pg1 name one", path.display()));
    assert!(missing.message.contains("No such file"), "{missing}");
    bed.text("packet-generator enable");
    assert_eq!(bed.text("show packet-generator"), "no streams currently defined\n");
}

/// Features of others that say where they belong among the built-in ones then cannot contradict each other: see
/// [`weft_engine::feature`].
#[test]
fn the_built_in_features_of_each_arc_are_in_a_total_order() {
    let bed = bed();
    for arc in bed.dataplane.engine().features().list() {
        let features: Vec<_> = arc.features().collect();
        for pair in features.windows(2) {
            let [first, second] = pair else { unreachable!("a window of two") };
            let said = first.before.iter().any(|name| name == second.node)
                || second.after.iter().any(|name| name == first.node);
            assert!(said, "{}: {} and {} are in no order", arc.name, first.node, second.node);
        }
    }
}

#[test]
fn built_in_features_are_set_by_what_they_belong_to_and_by_nothing_else() {
    let mut bed = bed();
    bed.text("create loopback interface");
    let all: Vec<(String, String, Option<String>)> = bed
        .dataplane
        .engine()
        .features()
        .list()
        .flat_map(|arc| arc.features().map(move |feature| (arc.name, feature)))
        .map(|(arc, feature)| (arc.to_owned(), feature.node.to_owned(), feature.set_by.map(str::to_owned)))
        .collect();
    assert!(all.len() > 5, "{all:?}");
    for (arc, node, command) in all {
        let command = command.unwrap_or_else(|| panic!("{node} on {arc} says what sets it"));
        assert!(bed.execute(&format!("help {command}")).is_ok(), "there is a command '{command}'");
        for way in ["", " disable"] {
            let error =
                bed.refusal(&format!("set interface feature loop0 {node} arc {arc}{way}")).to_string();
            assert!(error.contains(&format!("expected the command '{command}'")), "{error}");
        }
    }
}

#[test]
fn a_filter_stays_in_force_whatever_is_said_of_its_node() {
    let mut bed = bed();
    bed.text("create loopback interface");
    bed.text("classify rule add closed id 1 action drop");
    bed.text("classify attach closed interface loop0 input");
    bed.refusal("set interface feature loop0 ip4-classify arc ip4-unicast disable");
    assert!(bed.text("show interface features loop0").contains("ip4-classify"));
    assert!(bed.text("show features verbose").contains("  ip4-classify (set by 'classify attach')"));
    bed.text("classify detach interface loop0 input");
    assert!(!bed.text("show interface features loop0").contains("ip4-classify"));
}

#[test]
fn a_feature_whose_node_is_made_later_has_its_place() {
    let mut bed = bed();
    bed.text("create loopback interface");
    assert!(bed.text("show features").contains("flow-track"));
    bed.text("flow enable loop0");
    let text = bed.text("show interface features loop0");
    assert!(text.contains("flow-track"), "{text}");
    let text = bed.text("show features verbose");
    assert!(text.contains("ip4-output:\n  [by tx interface, then interface-output]"), "{text}");
}

/// Runs a command file, which is gone afterwards.
fn exec(bed: &mut Bed, options: &str, text: &str) -> Result<(), String> {
    let file = format!("weft-atomic-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(file);
    fs::write(&path, text).expect("a file in /tmp");
    let tree = bed.dataplane.commands();
    let done = tree.execute(&mut bed.dataplane, &format!("exec {options} '{}'", path.display()));
    fs::remove_file(&path).expect("it is there");
    done.map(drop).map_err(|error| error.message.replace(&path.display().to_string(), "FILE"))
}

#[test]
fn a_command_file_is_one_change_or_none() {
    let mut bed = bed();
    bed.text("create packet-generator interface pg0");
    let shown = |bed: &mut Bed| {
        let commands = [
            "show interface address",
            "show ip table",
            "show ip fib",
            "show settings",
            "show ip neighbors",
            "show classify",
        ];
        let held = bed.dataplane.router().objects().adjacencies.len();
        let tracked = bed.dataplane.flows().tracker().is_some();
        format!("{held} next hops, flows {tracked}\n") + &commands.map(|command| bed.text(command)).concat()
    };
    let site = "ip table add 7\nset interface ip table pg0 7\nset interface state pg0 up\n\
                set interface ip address pg0 192.0.2.1/24\nset interface mtu 1400 pg0\n\
                ip route add 10.0.0.0/8 table 7 via 192.0.2.9 pg0\n# into it\nip route add 10.0.0.0/8 via table 7\n\
                classify rule add edge id 1 action redirect next-hop 192.0.2.7 pg0\n\
                classify rule add edge id 2 proto udp action drop\nclassify attach edge interface pg0 input\n\
                flow enable pg0 mode agent\n";
    let before = shown(&mut bed);
    exec(&mut bed, "--dry-run", site).expect("it could be made");
    assert_eq!(shown(&mut bed), before);
    for (line, reason) in [
        (
            "set interface ip address pg0 192.0.2.1/24",
            "FILE:13: 192.0.2.1 is the address of interface 'pg0' already",
        ),
        (
            "set interface mtu 20 pg0",
            "FILE:13: expected packet or bytes, found \"20\": it is no number from 68 to 65535",
        ),
        ("set ip neighbor pg0 224.0.0.1 02:00:00:00:00:01", "FILE:13: 224.0.0.1 cannot be a neighbour"),
        ("ip route del 10.9.0.0/16", "FILE:13: cli has no route to 10.9.0.0/16"),
        ("show version", "FILE:13: 'show version' cannot be part of one change"),
        ("classify rule add edge id 2 action pass", "FILE:13: rule set 'edge': rule 2 exists already"),
        ("classify attach other interface pg0 output", "FILE:13: there is no rule set 'other'"),
        (
            "classify attach edge interface pg0 output",
            "FILE:13: rule 1 of set 'edge' says redirect to a next hop, which packets that leave",
        ),
        ("ip route add 10.1.0.0/16 via table 9", "FILE:13: expected table, found \"9\": no IPv4 table 9"),
    ] {
        let error = exec(&mut bed, "--atomic", &format!("{site}{line}\n")).expect_err(line);
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(shown(&mut bed), before, "{line} leaves nothing behind");
    }
    exec(&mut bed, "--atomic", site).expect("all is well");
    assert!(bed.text("show interface address").contains("192.0.2.1/24 ip4 table-id 7"));
    assert_eq!(bed.json("show interface pg0")["interfaces"][0]["mtu"], 1400);
    assert_eq!(bed.json("show classify edge")["rule_list"].as_array().map(Vec::len), Some(2));
    assert!(
        bed.text("show settings pg0")
            .lines()
            .any(|line| line.contains("flow-tracking") && line.contains("agent"))
    );
}

#[test]
fn a_long_table_is_shown_in_parts_that_make_one_answer() {
    let mut bed = bed();
    exec(
        &mut bed,
        "--atomic",
        "ip table add 7\nip table add 8\nip route add count 3000 10.0.0.0/24 table 7 via drop\n",
    )
    .expect("all is well");
    let shown = bed.json("show ip fib");
    let tables = shown["tables"].as_array().expect("a list");
    assert!(tables.len() >= 3, "{} tables", tables.len());
    for table in tables {
        let routes = table["routes"].as_array().expect("a list");
        assert_eq!(Some(routes.len() as u64), table["prefixes"].as_u64(), "{}", table["name"]);
        let prefixes: BTreeSet<&str> = routes.iter().filter_map(|route| route["prefix"].as_str()).collect();
        assert_eq!(prefixes.len(), routes.len(), "each once");
    }
    let text = bed.text("show ip fib table 7");
    assert_eq!(text.matches("fib_index:").count(), 1);
    assert_eq!(text.lines().filter(|line| line.starts_with("10.") && line.ends_with("/24")).count(), 3000);
    // What is kept whole has a bound.
    exec(&mut bed, "", "ip route add count 100000 11.0.0.0/32 table 7 via drop\n").expect("all is well");
    assert!(bed.refusal("show ip fib").message.contains("longer than 8 MiB"));
    assert!(bed.text("show ip fib table 8").contains("fib_index:"));
    assert!(bed.text("show ip fib 11.0.0.7/32 table 7").contains("11.0.0.7/32"));
}

#[test]
fn counted_routes_are_part_of_one_change_up_to_a_limit() {
    let mut bed = bed();
    let file = "ip table add 7\nip route add count 2000 10.0.0.0/24 table 7 via drop\n";
    exec(&mut bed, "--dry-run", file).expect("it could be made");
    exec(&mut bed, "--atomic", file).expect("all is well");
    let routes = |bed: &mut Bed| bed.json("show ip fib table 7 summary")["tables"][0]["prefixes"].as_u64();
    let there = routes(&mut bed);
    assert!(there >= Some(2000), "{there:?}");
    let line = "ip route add count 300000 11.0.0.0/32 table 7 via drop\n";
    let error = exec(&mut bed, "--atomic", &format!("{line}{line}")).expect_err("they are too many");
    assert!(error.starts_with("FILE:2: 600000 paths are too many for one change"), "{error}");
    assert_eq!(routes(&mut bed), there);
    // One by one they come in portions, of which each looks at the table again.
    exec(&mut bed, "", "ip route del count 2000 10.0.0.0/24 table 7\n").expect("all is well");
    assert_eq!(routes(&mut bed), there.map(|there| there - 2000));
    let error = exec(
        &mut bed,
        "",
        "ip route add count 600 10.0.0.0/24 table 7 via drop\n\
                                    ip route del count 700 10.0.0.0/24 table 7\n",
    );
    let error = error.expect_err("100 of them are not there");
    assert!(error.contains("512 prefixes before it are done"), "{error}");
}

#[test]
fn what_hosts_are_told_is_said_with_the_words_of_vpp() {
    let mut bed = bed();
    for command in [
        "create loopback interface",
        "enable ip6 interface loop0",
        "ip6 nd loop0 no ra-suppress ra-managed-config-flag ra-lifetime 900 ra-interval 30 20 ra-initial 2 5",
        "ip6 nd loop0 ra-other-config-flag prefix 2001:db8:7::/64 20 10 no-autoconfig off-link",
        "ip6 nd loop0 prefix 2001:db8:8::/64 infinite",
        "set interface ip6 ra-dns loop0 2001:db8::53,fe80::53",
        "set interface ip6 ra-domains loop0 Corp.example,example",
    ] {
        bed.text(command);
    }
    let told = bed.json("show ip6 interface loop0")["interfaces"][0]["router_advertisements"].clone();
    let expected = serde_json::json!({
        "interval": 30, "lifetime": 900, "managed": true, "other": true, "sent": 0, "asked": 0,
        "resolvers": ["2001:db8::53", "fe80::53"], "domains": ["corp.example", "example"],
        "prefixes": [
            {"prefix": "2001:db8:7::/64", "advertised": true, "on_link": false, "autonomous": false,
             "valid": 20, "preferred": 10},
            {"prefix": "2001:db8:8::/64", "advertised": true, "on_link": true, "autonomous": true,
             "valid": 4_294_967_295_u32, "preferred": 4_294_967_295_u32},
        ],
    });
    assert_eq!(told, expected);
    let text = bed.text("show ip6 interface loop0");
    for line in [
        "  router advertisements at most 30 s apart, lifetime 900 s, managed, other; sent: 0, asked for: 0\n",
        "    resolver fe80::53\n    domain corp.example\n    domain example\n",
        "    prefix 2001:db8:7::/64: valid 20 s, preferred 10 s, off link, no autoconfiguration\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    bed.text("ip6 nd loop0 no prefix 2001:db8:8::/64 no ra-managed-config-flag no ra-lifetime ra-suppress");
    let settings = bed.json("show settings loop0")["settings"].clone();
    let of = |name: &str| {
        let all = settings.as_array().expect("a list");
        all.iter().find(|view| view["setting"] == name).expect("it is one")["value"].clone()
    };
    let now =
        ["router-advertisement", "ra-managed", "ra-lifetime", "ra-min-interval", "ra-initial-count"].map(of);
    assert_eq!(now, ["disable", "disable", "1800", "20", "2"]);
    for (command, why) in [
        ("ip6 nd loop0 prefix 2001:db8:7::1/64", "bits behind its length are set: 2001:db8:7::/64 has none"),
        ("ip6 nd loop0 prefix 2001:db8:7::/64 10 20", "preferred for longer than they are good"),
        ("ip6 nd loop0 prefix fe80::/64", "not of their link only"),
        ("ip6 nd loop0 no prefix 2001:db8:9::/64", "nothing is said of 2001:db8:9::/64 on loop0"),
        ("set interface ip6 ra-domains loop0 a..b", "domain names with commas between"),
        ("set interface ip6 ra-dns loop0 10.0.0.1", "IPv6 addresses of hosts with commas between"),
        ("ip6 nd loop0 ra-lifetime 9001", "no number from 0 to 9000"),
    ] {
        let error = bed.refusal(command);
        assert!(error.message.contains(why), "{command}: {error}");
    }
    let error = bed.refusal("ip6 nd loop0 prefix 2001:db8:7::/64 banana");
    assert!(error.message.contains("banana"), "{error}");

    // A station that is answered for elsewhere.
    bed.text("create loopback interface");
    bed.text("set interface ip address loop0 2001:db8::1/64");
    bed.text("enable ip6 interface loop1");
    bed.text("set ip6 nd proxy loop1 2001:db8::99");
    assert!(bed.text("show ip6 interface loop1").contains("  answered for elsewhere: 2001:db8::99\n"));
    let error = bed.refusal("set ip6 nd proxy loop0 2001:db8::99");
    assert_eq!(error.message, "2001:db8::99 is answered for as a station on loop1 already");
    bed.text("ip6 table add 7");
    let error = bed.refusal("set interface ip6 table loop1 7");
    assert!(error.message.contains("delete them before it changes its table"), "{error}");
    bed.text("set ip6 nd proxy loop1 del 2001:db8::99");
    bed.text("set interface ip6 table loop1 7");
}

#[test]
fn a_stable_address_is_made_from_a_secret() {
    let mut bed = bed();
    bed.text("create loopback interface");
    bed.text("enable ip6 interface loop0");
    bed.dataplane.set_stable_secret(None);
    let error = bed.refusal("set interface ip6 link-local loop0 stable");
    assert!(error.message.contains("/etc/machine-id"), "{error}");
    bed.dataplane.set_stable_secret(weft_control::StableSecret::new(b"0123456789abcdef"));
    let own = |bed: &mut Bed| bed.json("show ip6 interface loop0")["interfaces"][0]["link_local"].clone();
    let from_mac = own(&mut bed);
    bed.text("set interface ip6 link-local loop0 stable");
    let stable = own(&mut bed);
    assert_ne!(stable, from_mac);
    bed.text("set interface mac address loop0 02:00:00:00:00:99");
    assert_eq!(own(&mut bed), stable, "another MAC address, the same address");
    assert!(bed.text("show settings loop0").contains("stable"));
    bed.text("set interface ip6 link-local loop0 eui-64");
    assert_eq!(own(&mut bed), "fe80::ff:fe00:99");
}

#[test]
fn every_setting_is_set_by_its_commands_and_shown() {
    let mut bed = bed();
    let before = ["create loopback interface", "create packet-generator interface pg0"];
    for command in before.into_iter().chain(["ip table add 7", "ip6 table add 7"]) {
        bed.text(command);
    }
    let shown = |bed: &mut Bed, setting: &str| {
        let json = bed.json("show settings");
        let all = json["settings"].as_array().expect("a list").clone();
        let of = |view: &&serde_json::Value| {
            view["setting"] == setting && view["interface"].as_str().is_none_or(|name| name == "pg0")
        };
        let view = all.iter().find(of).unwrap_or_else(|| panic!("{setting} is shown")).clone();
        (view["value"].as_str().expect("a text").to_owned(), view["owners"].clone())
    };
    for setting in weft_control::settings::ALL.iter() {
        use weft_control::Grammar;
        let value = match setting.grammar {
            _ if setting.name.ends_with("-table") => "7".to_owned(),
            Grammar::Switch { on, off } => if setting.name == "forwarding" { off } else { on }.to_owned(),
            Grammar::Number { high, .. } => high.min(1777).to_string(),
            Grammar::Choice(words) => words[1].to_owned(),
            Grammar::Text { .. } => "uplink".to_owned(),
            Grammar::Mac => "02:00:00:00:00:77".to_owned(),
            Grammar::LinkLocal { .. } => "fe80::7".to_owned(),
            Grammar::Addresses { .. } => "2001:db8::53,fe80::53".to_owned(),
            Grammar::Domains { .. } => "corp.example,example".to_owned(),
            Grammar::Interface { .. } => "loop0".to_owned(),
        };
        let words = setting.commands[0].pattern.replace("<interface>", "pg0").replace("<value>", &value);
        bed.text(&words.replace("[packet] ", ""));
        assert_eq!(shown(&mut bed, setting.name), (value, serde_json::json!(["cli"])), "{words}");
    }
    bed.text("clear interface tag pg0");
    assert_eq!(shown(&mut bed, "tag").0, "");
    bed.text("set interface unnumbered del pg0");
    assert_eq!(shown(&mut bed, "unnumbered").0, "none");
    assert_eq!(bed.refusal("set interface unnumbered del pg0").message, "'pg0' is not unnumbered");
}

#[test]
fn who_handles_what_is_shown() {
    let mut bed = bed();
    let entries = bed.json("show registrations")["registrations"].clone();
    let entries = entries.as_array().expect("a list").clone();
    let of = |key: &str| entries.iter().find(|entry| entry["key"] == key).map(|entry| entry["node"].clone());
    assert_eq!(of("0x0800"), Some("ip4-input".into()));
    assert_eq!(of("0x0806"), Some("arp-input".into()));
    let error = bed.refusal("show registrations port");
    assert!(
        error
            .message
            .contains("there are: ethertype, ip4-protocol, udp4-port, ip6-protocol, udp6-port, punt-reason"),
        "{error}"
    );
    let text = bed.text("show punt reasons");
    assert!(text.contains("ethernet-input/unknown_ethertype"), "{text}");
}

#[test]
fn interfaces_come_and_go_in_one_change_with_what_is_on_them() {
    let mut bed = bed();
    bed.text("create packet-generator interface pg0");
    let shown = |bed: &mut Bed| {
        let commands =
            ["show interface", "show interface address", "show ip fib", "show settings", "show classify"];
        let engine = bed.dataplane.engine();
        let nodes: Vec<String> = engine.graph().nodes().map(|(_, node)| node.name.clone()).collect();
        let rows = engine.counters.interfaces.rx.published_len();
        format!("{rows} rows, {nodes:?}\n") + &commands.map(|command| bed.text(command)).concat()
    };
    let site = "create loopback interface instance 3\nip table add 7\nset interface ip table loop3 7\n\
                set interface ip address loop3 192.0.2.1/24\nset interface state loop3 up\n\
                create sub-interfaces pg0 100\nset interface ip address pg0.100 198.51.100.1/24\n\
                ip route add 10.0.0.0/8 via 198.51.100.9 pg0.100\nclassify rule add edge id 1 proto udp action drop\n\
                classify attach edge interface pg0.100 input\ncreate packet-generator interface pg1\n\
                set interface unnumbered pg1 use pg0.100\n";
    let before = shown(&mut bed);
    exec(&mut bed, "--dry-run", site).expect("it could be made");
    assert_eq!(shown(&mut bed), before);
    for (line, reason) in [
        ("create sub-interfaces pg0 9 dot1q 100", "FILE:13: 'pg0.100' has these tags already"),
        ("create loopback interface instance 3", "FILE:13: interface 'loop3' exists already"),
        ("delete packet-generator interface pg0", "FILE:13: 'pg0' has sub-interfaces"),
        ("set interface mtu 20 loop3", "FILE:13: expected packet or bytes, found \"20\""),
        ("delete loopback interface intfc loop3\nset interface state loop3 up", "FILE:14: "),
    ] {
        let error = exec(&mut bed, "--atomic", &format!("{site}{line}\n")).expect_err(line);
        assert!(error.starts_with(reason), "{error}");
        assert_eq!(shown(&mut bed), before, "{line} leaves nothing behind");
    }
    exec(&mut bed, "--atomic", site).expect("all is well");
    bed.rest();
    let text = bed.text("show interface address");
    assert!(
        text.contains("192.0.2.1/24 ip4 table-id 7") && text.contains("unnumbered, use pg0.100"),
        "{text}"
    );
    let text = bed.text("show ip fib 10.0.0.0/8");
    assert!(text.contains("pg0.100"), "{text}");
    assert_eq!(bed.json("show interface loop3")["interfaces"][0]["admin_up"], true);
    // What goes makes room for what comes: names, tags, addresses.
    let again = "delete packet-generator interface pg1\ndelete sub-interface pg0.100\n\
                 delete loopback interface intfc loop3\nip table del 7\ncreate loopback interface instance 3\n\
                 create sub-interfaces pg0 100\nset interface ip address loop3 198.51.100.1/24\n";
    exec(&mut bed, "--dry-run", again).expect("it could be made");
    exec(&mut bed, "--atomic", again).expect("all is well");
    bed.rest();
    let text = bed.text("show interface address");
    assert!(
        text.contains("198.51.100.1/24") && !text.contains("192.0.2.1") && !text.contains("pg1"),
        "{text}"
    );
    assert!(!bed.text("show ip fib").contains("10.0.0.0/8"), "its way is gone");
    assert!(bed.dataplane.rule_sets().attached().next().is_none());
    let error = exec(
        &mut bed,
        "--atomic",
        "delete sub-interface pg0.100\ndelete packet-generator interface pg0\ncreate packet-generator interface pg0\n",
    );
    let error = error.expect_err("its device is there until then");
    assert!(error.starts_with("FILE:3: interface 'pg0' is deleted by the same change"), "{error}");
    assert!(bed.text("show interface").contains("pg0.100"));
}

#[test]
fn a_long_list_of_rules_is_shown_in_parts_that_make_one_answer() {
    let mut bed = bed();
    let rules: String = (1..=2500)
        .map(|id| {
            format!(
                "classify rule add edge id {id} priority {} proto tcp dport {id} action drop\n",
                5000 - id
            )
        })
        .collect();
    exec(&mut bed, "--atomic", &rules).expect("all is well");
    let shown = bed.json("show classify edge");
    let ids: Vec<u64> = shown["rule_list"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|rule| rule["id"].as_u64())
        .collect();
    assert_eq!(ids, (1..=2500).rev().collect::<Vec<_>>(), "in the order in which they are asked");
    assert_eq!(shown["rules"], 2500);
    let text = bed.text("show classify edge");
    assert_eq!((text.lines().count(), text.matches("edge (set").count()), (5001, 1));
}

#[test]
fn many_neighbours_come_and_go_in_turns_and_none_if_one_is_refused() {
    let mut bed = bed();
    bed.text("create loopback interface");
    bed.text("set interface ip address loop0 10.1.0.1/16");
    let known = |bed: &mut Bed| bed.json("show ip neighbors")["neighbors"].as_array().map_or(0, Vec::len);
    bed.text("set ip neighbor-config ip4 limit 2000");
    for (range, reason) in [
        // The last of them is the broadcast address of the subnet.
        ("loop0 10.1.255.0 02:00:00:00:00:01 static count 256", "10.1.255.255 cannot be a neighbour"),
        ("loop0 255.255.255.0 02:00:00:00:00:01 count 300", "the addresses end before the count does"),
        ("loop0 10.1.0.3 02:00:00:00:00:01 count 100 del", "10.1.0.3 is no neighbour on loop0"),
    ] {
        let error = bed.refusal(&format!("set ip neighbor {range}"));
        assert!(error.message.contains(reason), "{range}: {error}");
        assert_eq!(known(&mut bed), 0, "{range}");
    }
    assert_eq!(bed.text("show ip neighbors"), "");
    bed.text("set ip neighbor loop0 10.1.0.3 02:00:00:00:00:01 static count 1000");
    assert_eq!(known(&mut bed), 1000);
    bed.text("set ip neighbor loop0 10.1.100.0 02:00:00:00:00:01 static count 500");
    // More than a part has, each once.
    let shown = bed.json("show ip neighbors");
    let shown = shown["neighbors"].as_array().expect("a list").iter();
    assert_eq!(shown.map(|each| each["address"].to_string()).collect::<BTreeSet<_>>().len(), 1500);
    let text = bed.text("show ip neighbors");
    assert_eq!((text.lines().count(), text.matches("Ethernet").count()), (1501, 1));
    bed.text("set ip neighbor del loop0 10.1.100.0 count 500");
    let error = bed.refusal("set ip neighbor loop0 10.1.100.0 02:00:00:00:00:01 count 1001");
    assert!(error.message.contains("it has 2000 entries"), "{error}");
    assert_eq!(known(&mut bed), 1000, "the table has no room for all of them");
    bed.text("set ip neighbor del loop0 10.1.0.3 count 999");
    assert!(bed.text("show ip neighbors").contains("10.1.3.234"), "the last one stays");
    assert_eq!(known(&mut bed), 1);
}
