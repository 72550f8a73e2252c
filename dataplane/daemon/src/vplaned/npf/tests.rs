// SPDX-License-Identifier: Apache-2.0
//! From `npf-cfg` to rule sets: what a rule becomes, what a commit does, what is refused and how.

use weft_classify::{Direction, Family, PortRange, Verdict};
use weft_devices::pg::{Mode, PgId};
use weft_vplaned::commands::npf::Npf;
use weft_vplaned::commands::{Feature, Words};
use weft_vplaned::netlink::IfIndex;
use weft_vplaned::session::Event;

use super::*;
use crate::vplaned::tests::Stand;

fn command(text: &str) -> NpfCommand {
    let mut words = Words::of(text).expect("few words");
    words.word("npf-cfg").expect("the first");
    Npf::text(words).expect(text)
}

/// What rule 10 of group fw:F becomes, said by these words, beside these commands.
fn compiled(rule: &str, more: &[&str]) -> Result<Vec<Match>, String> {
    let mut store = Store::new();
    for text in more {
        store.apply(command(text));
    }
    store.apply(command(&format!("npf-cfg add fw:F 10 action=accept {rule}")));
    let group = "fw:F".parse().expect("a group");
    let compiled = compile(&store, &[&group]).map_err(|error| error.to_string())?;
    Ok(compiled.into_iter().flat_map(|rule| rule.matches).collect())
}

fn count(rule: &str) -> usize {
    compiled(rule, &[]).expect(rule).len()
}

#[test]
fn lists_become_a_rule_for_each_combination() {
    let rules = compiled("proto-final=6 src-addr=10.0.0.0/8 dst-port=80;443;8000-8080", &[]).expect("good");
    assert_eq!(rules.len(), 3);
    assert!(rules.iter().all(|rule| rule.source == "10.0.0.0/8".parse().expect("a prefix")));
    assert_eq!(rules[2].destination_ports, PortRange::new(8000, 8080).expect("a range"));
    assert_eq!(count("proto-final=17 src-port=1;2 dst-port=1;2;3"), 6);
    assert_eq!(count("dscp=0;46"), 2);
    assert_eq!(count(""), 1);
}

#[test]
fn a_rule_is_about_the_families_that_its_conditions_leave() {
    let families = |rule: &str| -> Vec<Family> {
        compiled(
            rule,
            &[
                "npf-cfg fw table create T",
                "npf-cfg fw table add T 192.0.2.1",
                "npf-cfg fw table add T 2001:db8::1",
            ],
        )
        .expect(rule)
        .iter()
        .map(|rule| rule.family)
        .collect()
    };
    let to = |prefix: &str| Family::Ip6 {
        source: ipnet::Ipv6Net::default(),
        destination: prefix.parse().expect("a prefix"),
    };
    assert_eq!(families("proto-final=6 dst-port=80"), [Family::Any]);
    assert_eq!(families("family=inet"), [Family::Ip4]);
    assert_eq!(families("family=inet6"), [Family::IP6]);
    assert_eq!(families("icmpv4=echo-request"), [Family::Ip4]);
    assert_eq!(families("icmpv6=echo-request"), [Family::IP6]);
    assert_eq!(families("dst-addr=2001:db8::/32"), [to("2001:db8::/32")]);
    assert_eq!(families("dst-addr-group=T"), [Family::Ip4, to("2001:db8::1/128")]);
    assert_eq!(families("family=inet6 dst-addr-group=T"), [to("2001:db8::1/128")]);
    assert_eq!(families("dst-addr=!2001:db8::/127").len(), 127);
    let types = compiled("icmpv6=neighbor-solicitation", &[]).expect("good")[0].icmp.expect("a type").types();
    assert_eq!(types, 135..=135);
    for never in ["family=inet6 src-addr=10.0.0.1", "src-addr=10.0.0.1 dst-addr=::1", "icmpv4=8 icmpv6=128"] {
        let error = compiled(never, &[]).expect_err(never);
        assert!(error.contains("can never match: it has conditions of both"), "{error}");
    }
}

#[test]
fn a_negated_prefix_is_all_the_others() {
    let rules = compiled("src-addr=!10.0.0.0/8", &[]).expect("good");
    assert_eq!(rules.len(), 8);
    let has = |address: [u8; 4]| {
        rules.iter().filter(|rule| rule.source.contains(&std::net::Ipv4Addr::from(address))).count()
    };
    for outside in [[0, 0, 0, 0], [9, 255, 255, 255], [11, 0, 0, 0], [255, 255, 255, 255]] {
        assert_eq!(has(outside), 1, "{outside:?}");
    }
    assert_eq!((has([10, 0, 0, 0]), has([10, 255, 255, 255])), (0, 0));
    assert_eq!((count("src-addr=!0.0.0.0/0"), count("src-addr=!255.255.255.255")), (0, 32));
}

#[test]
fn groups_are_looked_up_when_they_are_used() {
    let groups = [
        "npf-cfg fw table create T",
        "npf-cfg fw table add T 192.0.2.1 192.0.2.2",
        "npf-cfg fw table add T 192.0.2.0/30",
        "npf-cfg fw table add T 2001:db8::1",
        "npf-cfg add port-group:P 0 1024-2047;8080",
        "npf-cfg add protocol-group:Q 0 6;17;1",
        "npf-cfg add icmp-group:I 0 3:4;echo-request",
        "npf-cfg add dscp-group:D 0 10;12",
    ];
    let rules = compiled("src-addr-group=T dst-port-group=P proto-final=6", &groups).expect("good");
    assert_eq!(rules.len(), 4, "overlapping ranges are one, for each family");
    assert_eq!(rules[0].source, "192.0.2.0/30".parse().expect("a prefix"));
    assert_eq!((rules[0].family, rules[2].source), (Family::Ip4, ipnet::Ipv4Net::default()));
    // Of these protocols, one has no ports.
    assert_eq!(compiled("protocol-group=Q dst-port-group=P", &groups).expect("good").len(), 4);
    assert_eq!(compiled("icmpv4-group=I", &groups).expect("good").len(), 2);
    assert_eq!(compiled("dscp-group=D", &groups).expect("good").len(), 2);
    for (rule, missing) in [
        ("src-addr-group=X", "address group \"X\" does not exist"),
        ("dst-port-group=X", "port-group \"X\" does not exist"),
    ] {
        let error = compiled(rule, &groups).expect_err(rule);
        assert_eq!(error, format!("not supported: fw:F rule 10: {missing}"));
    }
}

#[test]
fn what_cannot_be_honoured_names_the_rule_and_the_word() {
    for (rule, word) in [
        ("ttl=5", "ttl="),
        ("rproc=policer(1)", "rproc=policer"),
        ("src-mac=2:0:0:0:0:1", "src-mac= in a filter"),
        ("icmpv4=nosuch", "icmpv4=nosuch: expected"),
        ("icmpv6=nosuch", "icmpv6=nosuch: expected"),
        ("proto-final=1 dst-port=80", "can never match: ICMP has no ports"),
        ("src-addr=10.0.0.1 src-addr=10.0.0.2", "src-addr is there twice"),
    ] {
        let error = compiled(rule, &[]).expect_err(rule);
        assert!(error.starts_with(&format!("not supported: fw:F rule 10: {word}")), "{error}");
    }
    let ports = |key: &str| {
        format!("{key}={}", (0..70).map(|port| (2 * port).to_string()).collect::<Vec<_>>().join(";"))
    };
    let error = compiled(&format!("{} {}", ports("src-port"), ports("dst-port")), &[]).expect_err("too many");
    assert!(error.contains("more than 4096 combinations"), "{error}");
}

impl Stand {
    fn npf(&mut self, commands: &[&str]) {
        for command in commands {
            self.hear("npf-cfg", command.as_bytes());
        }
    }

    /// Rules of a set in order: how many the first ones are, and what they do.
    fn verdicts(&self, set: &str) -> Option<Vec<Verdict>> {
        let set = self.bed.dataplane.rule_sets().get(set)?;
        Some(set.rules.iter().map(|rule| rule.action.verdict).collect())
    }
}

const WEB: [&str; 3] = [
    "npf-cfg add fw:WEB 10 action=accept proto-final=6 dst-port=80;443",
    "npf-cfg add fw:WEB 20 action=drop src-addr=10.0.0.0/8 rproc=log",
    "npf-cfg attach interface:dp0p0s4 fw-in fw:WEB",
];
const SET: &str = "npf.pg0.in";

#[test]
fn nothing_happens_before_the_commit_and_all_of_it_then() {
    let mut stand = Stand::new();
    stand.npf(&WEB);
    assert_eq!(stand.verdicts(SET), None);
    stand.npf(&["npf-cfg commit"]);
    assert_eq!(stand.failed(), [""; 0]);
    // Behind the rules, what matches none is dropped.
    assert_eq!(stand.verdicts(SET), Some(vec![Verdict::Pass, Verdict::Pass, Verdict::Drop, Verdict::Drop]));
    let attached: Vec<_> = stand
        .bed
        .dataplane
        .rule_sets()
        .attached()
        .map(|(at, side, name)| (at, side, name.to_owned()))
        .collect();
    assert_eq!(attached, [(stand.port, Direction::Input, SET.to_owned())]);
    assert!(stand.bed.dataplane.flows().tracker().is_none(), "rules without state need no flows");
    stand.npf(&["npf-cfg detach interface:dp0p0s4 fw-in fw:WEB", "npf-cfg commit"]);
    assert_eq!((stand.verdicts(SET), stand.bed.dataplane.rule_sets().attached().count()), (None, 0));
}

#[test]
fn a_stateful_rule_closes_the_other_direction_to_all_but_answers() {
    let mut stand = Stand::new();
    stand.npf(&WEB);
    stand.npf(&["npf-cfg add fw:WEB 30 action=accept stateful=y proto-final=17", "npf-cfg commit"]);
    assert_eq!(stand.failed(), [""; 0]);
    assert_eq!(stand.verdicts("npf.pg0.out"), Some(vec![Verdict::Drop]));
    let sets = &stand.bed.dataplane.rule_sets();
    let exempt = Exempt { admitted: true, own: true };
    assert_eq!(sets.get(SET).map(|set| set.rules.exempt), Some(exempt));
    let admits: Vec<bool> =
        sets.get(SET).expect("a set").rules.iter().map(|rule| rule.action.admit).collect();
    assert_eq!(admits, [false, false, false, true, false]);
    let port = stand.port;
    let is_tracked = |stand: &Stand| {
        let dataplane = &stand.bed.dataplane;
        dataplane.flows().tracker().is_some_and(|tracker| tracker.is_enabled(dataplane.engine(), port))
    };
    assert!(is_tracked(&stand));
    stand.npf(&["npf-cfg delete fw:WEB 30", "npf-cfg commit"]);
    assert_eq!(stand.verdicts("npf.pg0.out"), None);
    assert!(!is_tracked(&stand));
}

#[test]
fn rules_that_cannot_be_honoured_close_their_direction_and_no_other() {
    let mut stand = Stand::new();
    let other = stand.bed.dataplane.create_pg_interface(PgId(1), Mode::Ethernet, None);
    let ifindex = weft_vplaned::netlink::IfIndex::new(9).expect("not 0");
    stand.vplaned().bindings.bind(ifindex, other.expect("a second port"), "dp0p1s1");
    stand.npf(&WEB);
    stand.npf(&["npf-cfg commit"]);
    let good = stand.verdicts(SET);
    let closed = Some(vec![Verdict::Drop]);
    for bad in ["action=drop ttl=1", "action=drop rproc=policer(1)"] {
        let rule = format!("npf-cfg add fw:WEB 15 {bad}");
        stand.npf(&["npf-cfg add fw:WEB 5 action=accept", &rule, "npf-cfg commit"]);
        assert!(stand.failed().contains(&"npf-cfg commit".to_owned()));
        let error = stand.vplaned().last_error.clone().expect("it is told");
        assert!(error.contains("not supported: fw:WEB rule 15: "), "{error}");
        assert!(error.contains("dp0p0s4 lets nothing pass by fw-in until that is mended"), "{error}");
        assert_eq!(stand.verdicts(SET), closed);
        // Another interface follows what is wanted for it.
        stand.npf(&[
            "npf-cfg add fw:B 10 action=accept proto-final=6",
            "npf-cfg attach interface:dp0p1s1 fw-in fw:B",
            "npf-cfg commit",
        ]);
        assert_eq!(stand.failed(), ["npf-cfg commit"]);
        assert_eq!(stand.verdicts("npf.pg1.in"), Some(vec![Verdict::Pass, Verdict::Drop]));
        assert_eq!(stand.verdicts(SET), closed);
        stand.npf(&[
            "npf-cfg detach interface:dp0p1s1 fw-in fw:B",
            "npf-cfg delete fw:WEB 15",
            "npf-cfg delete fw:WEB 5",
            "npf-cfg commit",
        ]);
        assert_eq!((stand.failed(), stand.verdicts("npf.pg1.in")), (Vec::new(), None));
        assert_eq!(stand.verdicts(SET), good);
    }
}

#[test]
fn a_restart_has_the_filters_that_were_there_before_it() {
    let bad = "npf-cfg add fw:WEB 15 action=drop rproc=policer(1)";
    let mut before = Stand::new();
    before.npf(&WEB);
    before.npf(&["npf-cfg commit", bad, "npf-cfg commit"]);
    // vplaned stores commands, and a new daemon hears them in a snapshot.
    let mut after = Stand::new();
    after.bed.dataplane.hear_vplaned([Event::SnapshotBegin]);
    after.npf(&WEB);
    after.npf(&[bad]);
    let took = std::time::Duration::ZERO;
    after.bed.dataplane.hear_vplaned([Event::SnapshotEnd { messages: 4, took }]);
    assert_eq!(after.verdicts(SET), Some(vec![Verdict::Drop]));
    assert_eq!(after.verdicts(SET), before.verdicts(SET));
    assert_eq!(after.failed(), [bad, "npf-cfg commit"]);
}

#[test]
fn other_attach_points_and_classes_are_refused_by_name() {
    let mut stand = Stand::new();
    let refused = [
        "npf-cfg attach global: fw-in fw:WEB",
        "npf-cfg attach interface:dp0p0s4 snat fw:WEB",
        "npf-cfg add dnat:dp0p0s4 10 trans-addr=192.0.2.9",
        "npf-cfg fw global icmp-strict enable",
        "npf-cfg fw global timeout 7 update tcp established 600",
        "npf-cfg fw global timeout 1 update tcp nosuch 600",
    ];
    stand.npf(&refused);
    assert_eq!(stand.failed(), refused);
    stand.npf(&WEB);
    stand.npf(&[
        "npf-cfg add acl:A 10 action=drop",
        "npf-cfg attach interface:dp0p0s4 acl-in acl:A",
        "npf-cfg commit",
    ]);
    assert_eq!(stand.failed(), ["npf-cfg commit"]);
    let error = stand.vplaned().last_error.clone().expect("it is told");
    assert!(error.contains("interface:dp0p0s4: fw-in beside acl-in"), "{error}");
    assert_eq!(stand.verdicts(SET), Some(vec![Verdict::Drop]));
}

#[test]
fn line_13_rules_wait_for_their_interface_and_line_15_a_snapshot_commits() {
    let mut stand = Stand::new();
    let dataplane = &mut stand.bed.dataplane;
    dataplane.hear_vplaned([Event::SnapshotBegin]);
    stand.npf(&WEB);
    stand.npf(&["npf-cfg attach interface:later0 fw-out fw:WEB"]);
    let took = std::time::Duration::ZERO;
    stand.bed.dataplane.hear_vplaned([Event::SnapshotEnd { messages: 4, took }]);
    assert!(stand.verdicts(SET).is_some());
    let other = stand.bed.dataplane.create_pg_interface(PgId(1), Mode::Ethernet, None);
    let other = other.expect("a second port");
    let ifindex = weft_vplaned::netlink::IfIndex::new(9).expect("not 0");
    stand.vplaned().bindings.bind(ifindex, other, "later0");
    stand.bed.dataplane.hear_vplaned([]);
    assert!(stand.verdicts("npf.pg1.out").is_some());
    // A snapshot that says nothing of filters ends them.
    stand.bed.dataplane.hear_vplaned([Event::SnapshotBegin, Event::SnapshotEnd { messages: 0, took }]);
    assert_eq!((stand.verdicts(SET), stand.verdicts("npf.pg1.out")), (None, None));
}

#[test]
fn rules_are_shown_as_clients_expect_and_keep_their_counters() {
    let mut stand = Stand::new();
    stand.npf(&WEB);
    stand.npf(&["npf-cfg commit"]);
    let shown = stand.ask("npf-op show all: fw-in");
    let expected = serde_json::json!({"config": [{
        "attach_type": "interface", "attach_point": "dp0p0s4", "rulesets": [{
            "ruleset_type": "fw-in", "groups": [{
                "class": "fw", "name": "WEB", "direction": "in", "rules": {
                    "10": {"action": "pass ", "config": "action=accept proto-final=6 dst-port=80;443",
                           "match": "proto-final=6 dst-port=80;443", "operation": "", "bytes": 0, "packets": 0},
                    "20": {"action": "block ", "config": "action=drop src-addr=10.0.0.0/8 rproc=log",
                           "match": "src-addr=10.0.0.0/8", "operation": "log", "bytes": 0, "packets": 0}}}]}]}]});
    assert_eq!(shown, expected);
    let one = stand.ask("npf-op show -n fw:WEB -r 20 interface:dp0p0s4 fw-in");
    let rules = &one["config"][0]["rulesets"][0]["groups"][0]["rules"];
    assert_eq!(rules.as_object().map(|rules| rules.len()), Some(1));
    assert_eq!(stand.ask("npf-op show all: fw-out"), serde_json::json!({"config": []}));
    // Rules that stay the same keep their ids, whatever comes before them.
    let ids = |stand: &Stand| -> Vec<u32> {
        stand.bed.dataplane.rule_sets().get(SET).expect("a set").rules.iter().map(|rule| rule.id.0).collect()
    };
    assert_eq!(ids(&stand), [1, 2, 3, 0]);
    stand.npf(&["npf-cfg add fw:WEB 5 action=drop proto-final=17", "npf-cfg commit"]);
    assert_eq!(ids(&stand), [4, 1, 2, 3, 0]);
}

#[test]
fn the_state_of_rules_is_told_where_the_configuration_has_them() {
    let mut stand = Stand::new();
    stand.npf(&WEB);
    stand.npf(&[
        "npf-cfg add acl:A 10 action=drop proto-final=17",
        "npf-cfg attach interface:dp0p0s4 acl-out acl:A",
    ]);
    stand.npf(&["npf-cfg commit"]);
    let rule = |number: u32| serde_json::json!({"rule-number": number, "bytes": 0, "packets": 0});
    let state = |rules: &[u32]| {
        let rules: Vec<_> = rules.iter().copied().map(rule).collect();
        serde_json::json!({"dataplane": [{
            "tagnode": "dp0p0s4",
            "firewall": {"state": {"in": {"name": [{"group-name": "WEB", "rule": rules}]}}}}]})
    };
    assert_eq!(stand.ask("npf-op state all: fw-in fw-out local bridge"), state(&[10, 20]));
    assert_eq!(stand.ask("npf-op state"), state(&[10, 20]));
    assert_eq!(stand.ask("npf-op state -r 20 interface:dp0p0s4 fw-in"), state(&[20]));
    for nothing in
        ["npf-op state all: nat64 snat dnat", "npf-op state all: acl-out", "npf-op state interface:dp0p0s5"]
    {
        assert_eq!(stand.ask(nothing), serde_json::json!({}), "{nothing}");
    }
}

#[test]
fn what_is_wanted_can_be_dumped_before_it_is_in_effect() {
    let mut stand = Stand::new();
    assert_eq!(stand.ask("npf-op dump groups"), serde_json::json!({"rule_groups": []}));
    assert_eq!(stand.ask("npf-op dump attach-points"), serde_json::json!({"attach_points": []}));
    stand.npf(&[
        "npf-cfg add fw:F 10 action=accept",
        "npf-cfg add fw:F 5 action=drop proto-final=6",
        "npf-cfg add port-group:P 1 80",
        "npf-cfg attach interface:later0 fw-in fw:F",
        "npf-cfg attach interface:later0 fw-out fw:F",
        "npf-cfg attach interface:later0 fw-out fw:G",
    ]);
    let groups = serde_json::json!({"rule_groups": [
        {"group_class": "port-group", "group": "P", "rules": [{"index": 1, "rule": "80"}]},
        {"group_class": "fw", "group": "F", "rules": [
            {"index": 5, "rule": "action=drop proto-final=6"}, {"index": 10, "rule": "action=accept"}]}]});
    assert_eq!(stand.ask("npf-op dump groups"), groups);
    let group = |name: &str| serde_json::json!({"group_class": "fw", "group": name});
    let points = serde_json::json!({"attach_points": [{
        "attach_type": "interface", "attach_point": "later0", "rulesets": [
            {"ruleset_type": "fw-in", "groups": [group("F")]},
            {"ruleset_type": "fw-out", "groups": [group("F"), group("G")]}]}]});
    assert_eq!(stand.ask("npf-op dump attach-points"), points);
}

#[test]
fn address_groups_are_shown_in_both_forms() {
    let mut stand = Stand::new();
    assert_eq!(stand.ask("npf-op fw show address-group"), serde_json::json!({"address-groups": []}));
    stand.npf(&[
        "npf-cfg fw table create B",
        "npf-cfg fw table add A 10.0.0.0/25",
        "npf-cfg fw table add A 10.0.0.128/25",
        "npf-cfg fw table add A 10.1.0.1",
        "npf-cfg fw table add A 10.2.0.1 10.2.0.2",
        "npf-cfg fw table add A 2001:db8::/32",
    ]);
    let prefix = |prefix: &str, mask: u8| serde_json::json!({"type": 0, "prefix": prefix, "mask": mask});
    let range = serde_json::json!({"type": 1, "start": "10.2.0.1", "end": "10.2.0.2"});
    let host = serde_json::json!({"type": 0, "prefix": "10.1.0.1"});
    let given = serde_json::json!([prefix("10.0.0.0", 25), prefix("10.0.0.128", 25), host, range]);
    let six = serde_json::json!([prefix("2001:db8::", 32)]);
    let both = stand.ask("npf-op fw show address-group name=A");
    let first = serde_json::json!({
        "name": "A", "id": 0, "ipv4": {"list-entries": given}, "ipv6": {"list-entries": six}});
    assert_eq!(both["address-group"], first);
    let second =
        serde_json::json!([{"name": "A", "id": 0, "ipv4": {"entries": given}, "ipv6": {"entries": six}}]);
    assert_eq!(both["address-groups"], second);
    // All of them, one after the other.
    let next = stand.ask("npf-op fw show address-group af=all list=all tree=all id=1");
    assert_eq!(next["address-group"]["name"], "B");
    assert_eq!(stand.ask("npf-op fw show address-group list=all id=2"), serde_json::json!({}));
    // A range by its prefixes, and all of the group by the fewest.
    let parts = serde_json::json!([prefix("10.2.0.1", 32), prefix("10.2.0.2", 32)]);
    let detail = stand.ask("npf-op fw show address-group name=A af=ipv4 list=all");
    assert_eq!(detail["address-group"]["ipv4"]["list-entries"][3]["range-prefixes"], parts);
    let detail = stand.ask("npf-op fw show address-group name=A af=ipv4 option=detail");
    assert_eq!(detail["address-groups"][0]["ipv4"]["entries"][3]["entries"], parts);
    let fewest = serde_json::json!([prefix("10.0.0.0", 24), prefix("10.1.0.1", 32), parts[0], parts[1]]);
    let optimal = stand.ask("npf-op fw show address-group optimal af=ipv4 name=A");
    assert_eq!(optimal["address-group"], serde_json::json!({"name": "A", "id": 0, "ipv4": {"tree": fewest}}));
    let optimal = stand.ask("npf-op fw show address-group af=ipv4 name=A option=optimal");
    assert_eq!(optimal["address-groups"][0]["ipv4"]["entries"], fewest);
    let brief = serde_json::json!({"address-groups": [{"name": "A", "id": 0}, {"name": "B", "id": 1}]});
    assert_eq!(stand.ask("npf-op fw show address-group option=brief"), brief);
    // What was given in one form is taken back in that form.
    stand.npf(&["npf-cfg fw table remove A 10.1.0.1/32", "npf-cfg fw table remove A 10.2.0.1 10.2.0.2"]);
    let left = stand.ask("npf-op fw show address-group name=A af=ipv4 option=tree");
    assert_eq!(left["address-groups"][0]["ipv4"]["entries"].as_array().map(Vec::len), Some(3));
}

#[test]
fn sessions_follow_what_is_set() {
    let mut stand = Stand::new();
    let configured = *stand.bed.dataplane.flows().settings();
    stand.npf(&[
        "npf-cfg fw global timeout 1 update tcp established 600",
        "npf-cfg fw global tcp-strict enable",
    ]);
    stand.hear("session-cfg", b"session-cfg sessions-max 1000");
    stand.npf(&["npf-cfg commit"]);
    let set = *stand.bed.dataplane.flows().settings();
    assert_eq!(set.timeouts.tcp_established, std::time::Duration::from_secs(600));
    assert_eq!((set.pickup, set.most), (false, Some(1000)));
    for refused in ["session-cfg sessions-max 4000000000", "session-cfg logging periodic=5"] {
        stand.hear("session-cfg", refused.as_bytes());
        assert_eq!(stand.failed(), [refused]);
    }
    let took = std::time::Duration::ZERO;
    stand.bed.dataplane.hear_vplaned([Event::SnapshotBegin, Event::SnapshotEnd { messages: 0, took }]);
    assert_eq!(*stand.bed.dataplane.flows().settings(), configured);
    assert_eq!(stand.ask("session-op show sessions"), serde_json::json!({"config": {"sessions": {}}}));
}

#[test]
fn filters_follow_a_port_that_is_deleted_and_made_again_with_its_index() {
    let mut stand = Stand::new();
    stand.npf(&WEB);
    stand.npf(&["npf-cfg commit"]);
    let dataplane = &mut stand.bed.dataplane;
    let port = stand.port;
    dataplane.delete_interface(port).expect("nothing refuses");
    assert_eq!(stand.vplaned().bindings.kernel_of(port), None);
    stand.bed.rest();
    let dataplane = &mut stand.bed.dataplane;
    let made = dataplane.create_pg_interface(PgId(0), Mode::Ethernet, None).expect("its name is free");
    assert_eq!(made, port, "the index is given out again");
    stand.vplaned().bindings.bind(IfIndex::new(2).expect("not 0"), made, "dp0p0s4");
    stand.bed.dataplane.hear_vplaned([]);
    let attached: Vec<_> = stand.bed.dataplane.rule_sets().attached().map(|(at, ..)| at).collect();
    assert_eq!(attached, [made]);
}
