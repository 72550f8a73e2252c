// SPDX-License-Identifier: Apache-2.0
//! The grammar of `npf-cfg` and what its commands add up to.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<NpfCommand, CommandError> {
    let mut words = Words::of(text)?;
    words.word("npf-cfg")?;
    Npf::text(words)
}

fn filter(text: &str) -> FilterRule {
    match parse(text) {
        Ok(NpfCommand::AddRule { rule, .. }) => rule.filter.expect("a rule that filters"),
        other => panic!("{other:?}"),
    }
}

fn store(commands: &[&str]) -> Store {
    let mut store = Store::new();
    for command in commands {
        store.apply(parse(command).expect(command));
    }
    store
}

#[test]
fn the_examples_of_the_protocol_page_are_understood() {
    let rule = filter("npf-cfg add fw:WEB 10 action=accept stateful=y proto-final=6 dst-port=80;443");
    assert_eq!(rule.decision, Some(Decision::Accept));
    assert!(rule.stateful);
    assert_eq!(
        rule.matches,
        [
            Match::Protocol(ProtocolMatch::Final(6)),
            Match::DestinationPort(PortMatch::Ranges(vec![80..=80, 443..=443])),
        ]
    );
    let rule = filter("npf-cfg add fw:WEB 20 action=drop src-addr=!10.0.0.0/8 rproc=log");
    let prefix = "10.0.0.0/8".parse().expect("a prefix");
    assert_eq!(rule.matches, [Match::Source(AddressMatch::Prefix { negated: true, prefix })]);
    assert!(rule.log);
    let rule = filter("npf-cfg add acl:A4 0 family=inet");
    assert_eq!((rule.decision, rule.matches), (None, vec![Match::Ip6(false)]));
    for other in [
        "npf-cfg attach interface:dp0p1s1 fw-in fw:WEB",
        "npf-cfg add port-group:P1 0 1024-2047;8080",
        "npf-cfg add snat:dp0p1s1 100 src-addr=192.168.0.0/16 trans-addr=203.0.113.1 trans-port=1024-65535",
        "npf-cfg attach interface:dp0p1s1 acl-in acl:A4",
        "npf-cfg fw table create T1",
        "npf-cfg fw table add T1 198.51.100.0/24",
        "npf-cfg fw table add T1 198.51.100.1 198.51.100.9",
        "npf-cfg fw global timeout 1 update tcp established 600",
        "npf-cfg fw global timeout 1 delete tcp established",
        "npf-cfg delete fw:FW1 10",
        "npf-cfg delete fw:FW1 10 action=accept",
        "npf-cfg commit",
    ] {
        parse(other).expect(other);
    }
}

#[test]
fn every_match_of_a_filter_is_typed() {
    let rule = filter(
        "npf-cfg add fw:F 1 action=drop src-addr=2001:db8::/32 dst-addr-group=T1 proto=17 src-port=1-9 \
         dst-port-group=P fragment=y dscp=0;46 ttl=255 tcp-flags=SYN,!ACK icmpv4=3:4 icmpv6=echo-request",
    );
    assert_eq!(rule.matches.len(), 11);
    assert!(rule.matches.contains(&Match::TcpFlags(vec![(TcpFlag::Syn, true), (TcpFlag::Ack, false)])));
    assert!(rule.matches.contains(&Match::Icmp4(IcmpMatch::Type { kind: 3, code: Some(4) })));
    assert!(rule.matches.contains(&Match::Icmp6(IcmpMatch::Name("echo-request".to_owned()))));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (command, expected) in [
        ("npf-cfg", "expected add, delete, attach, detach, commit, fw, zone or app-grp, found the end"),
        ("npf-cfg add fw 10", "word 3 of \"npf-cfg add fw 10\": expected CLASS:NAME"),
        ("npf-cfg add nosuch:X 10", "expected CLASS:NAME"),
        ("npf-cfg add fw:F ten", "expected the number of a rule, found \"ten\""),
        ("npf-cfg add fw:F 10 proto-final=6", "expected action=accept or action=drop, found the end"),
        ("npf-cfg add fw:F 10 action=maybe", "expected action=accept or action=drop, found \"action=maybe\""),
        ("npf-cfg add fw:F 10 action=drop dst-port=9-1", "expected a value of dst-port"),
        ("npf-cfg add fw:F 10 action=drop dst-port=", "expected a value of dst-port"),
        ("npf-cfg add fw:F 10 action=drop src-addr=10.0.0.0/33", "expected a value of src-addr"),
        ("npf-cfg add fw:F 10 action=drop tcp-flags=SYN,BAD", "expected a value of tcp-flags"),
        ("npf-cfg add fw:F 10 action=drop dscp=64", "expected a value of dscp"),
        ("npf-cfg add fw:F 10 action=drop word", "expected KEY=VALUE, found \"word\""),
        ("npf-cfg attach dp0p1s1 fw-in fw:F", "expected interface:NAME"),
        ("npf-cfg attach interface:x fw-up fw:F", "expected a type of ruleset"),
        ("npf-cfg fw table add T 10.0.0.2 10.0.0.1", "not before the first"),
        ("npf-cfg fw table add T 10.0.0.2 2001:db8::1", "of the same family"),
        ("npf-cfg fw global timeout 1 update tcp established", "expected seconds, found the end"),
        ("npf-cfg commit now", "expected the end of the command, found \"now\""),
    ] {
        let error = parse(command).expect_err(command).to_string();
        assert!(error.contains(expected), "{command}: {error}");
    }
}

#[test]
fn a_filter_with_a_condition_that_is_not_understood_is_refused() {
    for command in ["npf-cfg zone add Z", "npf-cfg fw session-limit param add name X"] {
        let error = parse(command).expect_err(command);
        assert!(matches!(error, CommandError::Unsupported(_)), "{error}");
    }
    // A rule stays in its group, which cannot be put into effect with it nor without it.
    for (command, word) in [
        ("npf-cfg add fw:F 10 action=accept src-mac=2:0:0:0:0:1", "src-mac= in a filter"),
        ("npf-cfg add fw:F 10 action=accept rproc=policer(1)", "rproc=policer"),
    ] {
        let Ok(NpfCommand::AddRule { rule, .. }) = parse(command) else { panic!("{command}") };
        assert_eq!(rule.unsupported.as_deref(), Some(word));
    }
}

#[test]
fn line_13_a_group_may_be_attached_before_it_has_rules_and_nat_attaches_itself() {
    let mut store = store(&["npf-cfg attach interface:later0 fw-in fw:F"]);
    assert!(store.rulesets().all(|(_, groups)| groups.is_empty()));
    store.apply(parse("npf-cfg add fw:F 1 action=accept").expect("a rule"));
    store.apply(parse("npf-cfg add dnat:later0 1 dst-port=80 trans-addr=192.0.2.9").expect("a rule"));
    let rulesets: Vec<(String, Vec<String>)> = store
        .rulesets()
        .map(|(at, groups)| {
            let groups = groups.iter().map(ToString::to_string).collect();
            (format!("{} {}", at.point, at.ruleset), groups)
        })
        .collect();
    assert_eq!(
        rulesets,
        [
            ("interface:later0 fw-in".to_owned(), vec!["fw:F".to_owned()]),
            ("interface:later0 dnat".to_owned(), vec!["dnat:later0".to_owned()]),
        ]
    );
}

#[test]
fn line_15_the_end_of_a_snapshot_commits() {
    let mut store = store(&["npf-cfg add fw:F 1 action=accept"]);
    assert!(store.apply(NpfCommand::Commit));
    store.begin_resync();
    store.apply(parse("npf-cfg add fw:F 1 action=drop").expect("a rule"));
    assert!(!store.apply(NpfCommand::Commit), "the rest of the snapshot is missing");
    assert!(store.end_resync());
    assert!(!store.apply(NpfCommand::Commit), "nothing is left to do");
}

#[test]
fn a_snapshot_that_says_the_same_changes_nothing_and_one_that_says_less_deletes() {
    let commands = ["npf-cfg add fw:F 1 action=accept", "npf-cfg attach interface:x fw-in fw:F"];
    let mut store = store(&commands);
    store.apply(NpfCommand::Commit);
    store.begin_resync();
    for command in commands {
        store.apply(parse(command).expect(command));
    }
    assert!(!store.end_resync());
    store.begin_resync();
    assert!(store.end_resync());
    assert_eq!(store, Store::new());
}

#[test]
fn a_snapshot_that_breaks_off_leaves_what_stood() {
    let mut store = store(&["npf-cfg add fw:F 1 action=accept"]);
    store.apply(NpfCommand::Commit);
    let before = store.clone();
    store.begin_resync();
    store.begin_resync();
    store.apply(parse("npf-cfg add fw:G 1 action=accept").expect("a rule"));
    store.abandon_resync();
    assert_eq!(store, before);
}

fn command() -> impl Strategy<Value = String> {
    let commands = [
        "npf-cfg add fw:A 1 action=accept",
        "npf-cfg add fw:A 2 action=drop proto=6",
        "npf-cfg add fw:B 1 action=drop",
        "npf-cfg delete fw:A 1",
        "npf-cfg delete fw:A",
        "npf-cfg attach interface:x fw-in fw:A",
        "npf-cfg attach interface:x fw-in fw:B",
        "npf-cfg detach interface:x fw-in fw:A",
        "npf-cfg fw table create T",
        "npf-cfg fw table add T 10.0.0.0/8",
        "npf-cfg fw table remove T 10.0.0.0/8",
        "npf-cfg fw table delete T",
        "npf-cfg fw global tcp-strict enable",
        "npf-cfg fw global tcp-strict disable",
        "npf-cfg fw global timeout 1 update tcp established 600",
        "npf-cfg fw global timeout 1 delete tcp established",
        "npf-cfg commit",
    ];
    prop::sample::select(commands.map(str::to_owned).to_vec())
}

proptest! {
    #[test]
    fn line_12_a_command_that_comes_twice_is_the_same_as_once(commands in prop::collection::vec(command(), 0..40)) {
        let (mut once, mut twice) = (Store::new(), Store::new());
        for command in commands {
            let command = parse(&command).expect("of the list");
            let effect = once.apply(command.clone());
            prop_assert_eq!(twice.apply(command.clone()), effect);
            prop_assert!(!twice.apply(command) || !effect);
            prop_assert_eq!(&once, &twice);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(npf-cfg )?(add |attach |delete |fw )?[ -~]{0,60}") {
        let _ = parse(&text);
    }
}
