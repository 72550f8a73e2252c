// SPDX-License-Identifier: Apache-2.0
//! Classifier commands on a running dataplane: what is said comes back, and what is wrong changes nothing.

use std::fs;

use crate::testing::Bed;

fn bed() -> Bed {
    let mut bed = Bed::new("", 1);
    bed.text("create packet-generator interface pg0");
    bed.text("set interface ip address pg0 10.1.0.1/24");
    bed
}

const RULES: [&str; 9] = [
    "id 1 priority 5 src 10.0.0.0/8 dst 192.0.2.1 proto tcp sport 1024-65535 dport 80 action drop",
    "id 2 priority 5 tcp-flags syn,!ack action police packets 1000 burst 50 pass",
    "id 3 priority 6 icmp 8/0 action count",
    "id 4 priority 6 proto esp dscp ef action mark 7 set-dscp af21 pass",
    "id 5 priority 7 interface pg0 fragment later action punt",
    "id 6 priority 8 dst 10.9.0.0/16 action redirect interface pg0",
    "id 7 priority 9 action police bytes 125000 burst 15000 redirect next-hop 10.1.0.7 pg0",
    "id 8 priority 10 action drop",
    "id 9 priority 11 icmp 3-4/1-2 action pass",
];

fn shown(bed: &mut Bed) -> Vec<String> {
    let text = bed.text("show classify edge");
    text.lines().filter_map(|line| line.strip_prefix("  id ")).map(|line| format!("id {line}")).collect()
}

#[test]
fn what_is_said_comes_back() {
    let mut bed = bed();
    for rule in RULES {
        bed.text(&format!("classify rule add edge {rule}"));
    }
    assert_eq!(shown(&mut bed), RULES);
    bed.text("classify attach edge interface pg0 input");
    let edge = &bed.json("show classify")["sets"][0];
    assert_eq!((&edge["name"], &edge["rules"]), (&"edge".into(), &RULES.len().into()));
    assert_eq!(edge["attached"][0], serde_json::json!({ "interface": "pg0", "direction": "input" }));
    assert_eq!(bed.json("show classify edge")["rule_list"][2]["action"], "count");
    bed.text("classify rule del edge id 2");
    assert_eq!(shown(&mut bed).len(), RULES.len() - 1);
    assert!(bed.refusal("classify delete-set edge").message.contains("is attached to 'pg0'"));
    bed.text("classify detach interface pg0 input");
    bed.text("classify delete-set edge");
    assert_eq!(bed.text("show classify"), "");
}

#[test]
fn next_hops_are_held_as_long_as_rules_name_them() {
    let mut bed = bed();
    let held = |bed: &Bed| bed.dataplane.router().objects().adjacencies.len();
    let before = held(&bed);
    bed.text("classify rule add edge id 1 action redirect next-hop 10.1.0.7");
    bed.text("classify rule add edge id 2 action redirect next-hop 10.1.0.7");
    assert_eq!(held(&bed), before + 1);
    bed.refusal("classify rule add edge id 2 action redirect next-hop 10.1.0.8");
    bed.refusal("classify rule add edge id 3 action redirect next-hop 10.1.0.9 pg0 more");
    assert_eq!(held(&bed), before + 1);
    bed.text("classify rule del edge id 1");
    bed.text("classify rule add edge id 4 interface pg0 action drop");
    bed.text("classify rule add edge id 5 action redirect interface pg0");
    assert_eq!(held(&bed), before + 1);
    bed.text("delete packet-generator interface pg0");
    assert_eq!((held(&bed), shown(&mut bed).len()), (0, 0), "rules over an interface go with it");
}

#[test]
fn bad_rules_say_what_is_wrong_with_them() {
    let mut bed = bed();
    for (rule, reason) in [
        ("priority 5 action drop", "expected id, found \"priority\""),
        (
            "id 1",
            "the command ends too early: expected action, priority, family, src, dst, proto, sport, dport",
        ),
        ("id 1 src 10.0.0.1/8 action drop", "bits beyond the prefix are set; 10.0.0.0/8 has none"),
        (
            "id 1 proto tpc action drop",
            "expected any, icmp, tcp, udp, dccp, gre, esp, ah, icmp6, sctp, udplite or a number",
        ),
        ("id 1 dport 90-80 action drop", "90 is above 80"),
        ("id 1 proto icmp dport 80 action drop", "rule 1 can never match: ICMP has no ports"),
        ("id 1 tcp-flags sin action drop", "'sin' is none of fin, syn"),
        ("id 1 dscp 64 action drop", "expected a number from 0 to 63"),
        ("id 1 action", "expected police, mark, set-dscp, pass, drop, punt, count or redirect"),
        ("id 1 action redirect next-hop 172.16.0.1", "172.16.0.1 is on the link of no interface"),
        ("id 1 action police packets 0 burst 1 pass", "expected rate per second, found \"0\""),
    ] {
        let error = bed.refusal(&format!("classify rule add edge {rule}"));
        assert!(error.message.contains(reason), "{rule}: {error}");
    }
    assert_eq!(bed.text("show classify"), "", "no set was made on the way");
}

#[test]
fn a_file_replaces_all_rules_or_none() {
    let mut bed = bed();
    let path = std::env::temp_dir().join(format!("weft-classify-test-{}", std::process::id()));
    let name = path.display();
    let replace = |bed: &mut Bed, text: &str| {
        fs::write(&path, text).expect("a temporary file");
        let command = format!("classify replace-set edge file {}", path.display());
        match text.contains("BAD") {
            true => Some(bed.refusal(&command).message),
            false => Some(bed.text(&command)).filter(|text| !text.is_empty()),
        }
    };
    let good = format!("# rules of the edge\n\n{}\n", RULES.join("\n"));
    assert_eq!(replace(&mut bed, &good), None);
    assert_eq!(shown(&mut bed), RULES);
    let bad = replace(&mut bed, "id 1 action drop\n  id 2 proto BAD action drop\n").unwrap();
    assert!(bad.starts_with(&format!("{name}:2:14: expected protocol, found \"BAD\"")), "{bad}");
    let bad = replace(&mut bed, "id 1 action drop # BAD\n\nid 1 action pass\n").unwrap();
    assert_eq!(bad, format!("{name}:3:1: rule 1 is on line 1 already"));
    assert_eq!(shown(&mut bed), RULES, "nothing has changed");
    fs::remove_file(&path).expect("the file was written");
    let error = bed.refusal(&format!("classify replace-set edge file {name}"));
    assert!(error.message.contains("No such file"), "{error}");
    let error = bed.refusal("classify replace-set edge file /dev/zero");
    assert!(error.message.contains("it is a device, not a regular file"), "{error}");
}
