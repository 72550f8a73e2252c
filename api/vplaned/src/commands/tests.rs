// SPDX-License-Identifier: Apache-2.0
//! Both encodings, what is left alone, and noise.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::netlink::TableId;
use crate::proto::commands as wire;
use crate::proto::envelope::DataplaneEnvelope;
use crate::store::{self, PolicyTable};
use crate::testing::transcript::{Party, Transcript};
use crate::wire::Item;

/// What handlers were told.
#[derive(Debug, Default)]
struct Told(Vec<String>);

fn told<F>(registry: &mut Registry<Told>)
where
    F: Feature,
    F::Value: std::fmt::Debug,
{
    registry
        .register::<F>(|told, value| {
            told.0.push(format!("{value:?}"));
            Ok(())
        })
        .expect("nobody else takes it");
}

fn registry() -> Registry<Told> {
    let mut registry = Registry::new();
    told::<Redirects>(&mut registry);
    told::<Ecmp>(&mut registry);
    told::<TableMap>(&mut registry);
    told::<Neighbors>(&mut registry);
    told::<GratuitousArp>(&mut registry);
    told::<IcmpRateLimit>(&mut registry);
    told::<TcpMss>(&mut registry);
    told::<Sessions>(&mut registry);
    told::<npf::Npf>(&mut registry);
    registry.ignore(&HARMLESS_WORDS);
    registry
}

fn envelope(kind: &str, message: &impl Message) -> Vec<u8> {
    DataplaneEnvelope { r#type: kind.to_owned(), msg: message.encode_to_vec() }.encode_to_vec()
}

/// The value that a command becomes.
fn value_of(command: &[u8]) -> Result<String, Outcome> {
    let mut told = Told::default();
    match registry().run(&mut told, command) {
        Outcome::Applied => Ok(told.0.concat()),
        other => Err(other),
    }
}

#[test]
fn small_commands_become_values() {
    for (command, value) in [
        ("ip4 redirects enable", format!("{:?}", RedirectsSetting { family: Family::Ip4, enabled: true })),
        ("ecmp mode hrw", "Hrw".to_owned()),
        ("ecmp mode hash-threshold\n", "HashThreshold".to_owned()),
        (
            "tablemap red 10 1010 3",
            format!(
                "{:?}",
                store::TableMap { vrf: "red".into(), policy: PolicyTable(10), table: Some(TableId(1010)) }
            ),
        ),
        (
            "tablemap red 10 0 3",
            format!("{:?}", store::TableMap { vrf: "red".into(), policy: PolicyTable(10), table: None }),
        ),
        ("session-cfg sessions-max 1000", "Most(1000)".to_owned()),
        (
            "session-cfg logging creation=on periodic=30",
            format!(
                "{:?}",
                SessionSetting::Logging {
                    creation: Some(true),
                    deletion: None,
                    periodic: Some(Duration::from_secs(30)),
                }
            ),
        ),
    ] {
        assert_eq!(value_of(command.as_bytes()).as_ref(), Ok(&value), "{command}");
    }
}

#[test]
fn protobuf_commands_become_values() {
    let neighbors = wire::NbrResConfig {
        prot: Some(1),
        param: Some(2),
        value: Some(300),
        ifname: Some("all".to_owned()),
        action: None,
    };
    let expected = NeighborSetting {
        protocol: NeighborProtocol::Nd6,
        interface: None,
        parameter: NeighborParameter::AgingTime,
        value: Some(300),
    };
    assert_eq!(value_of(&envelope("vyatta:nd6", &neighbors)), Ok(format!("{expected:?}")));

    let garp = wire::GArpConfig {
        ifname: Some("dp0p1s1".to_owned()),
        set: Some(true),
        op: Some(2),
        action: Some(1),
    };
    let expected = GratuitousArpSetting {
        interface: Some("dp0p1s1".to_owned()),
        operation: GarpOperation::Reply,
        action: Some(GarpAction::Update),
    };
    assert_eq!(value_of(&envelope("vyatta:garp", &garp)), Ok(format!("{expected:?}")));

    let limit = wire::IcmpRateLimConfig { r#type: Some(1), maximum: Some(100), ..Default::default() };
    let expected =
        IcmpRateLimitSetting { family: Family::Ip4, error: IcmpError::TimeExceeded, maximum: Some(100) };
    assert_eq!(value_of(&envelope("vyatta:icmp-ratelimit", &limit)), Ok(format!("{expected:?}")));

    let mss = wire::TcpmssConfig {
        is_enable: Some(true),
        af: Some(0),
        ifname: Some("dp0p1s1".to_owned()),
        mtu_option: Some(2),
        value: Some(40),
    };
    let expected = TcpMssSetting {
        interface: "dp0p1s1".to_owned(),
        family: Family::Ip4,
        clamp: Some(MssClamp::MtuMinus(40)),
    };
    assert_eq!(value_of(&envelope("vyatta:tcp-mss", &mss)), Ok(format!("{expected:?}")));
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    let unknown = wire::NbrResConfig { prot: Some(9), ..Default::default() };
    let none = wire::NbrResConfig { prot: Some(0), ..Default::default() };
    let mss = wire::TcpmssConfig {
        ifname: Some("x".to_owned()),
        mtu_option: Some(3),
        value: Some(-1),
        ..Default::default()
    };
    for (command, expected) in [
        (envelope("vyatta:arp", &unknown), "prot: expected a known value, found 9"),
        (envelope("vyatta:arp", &none), "value: expected a number to set, found nothing"),
        (envelope("vyatta:tcp-mss", &mss), "value: expected 0 to 65535, found -1"),
        (
            envelope("vyatta:tcp-mss", &wire::TcpmssConfig::default()),
            "ifname: expected the name of an interface",
        ),
        (b"\x0a\x0avyatta:ip6\x12\x02\x08".to_vec(), "cannot be decoded"),
        (b"\x12\x00".to_vec(), "type: expected the type of a command, found nothing"),
    ] {
        match value_of(&command) {
            Err(Outcome::Failed(error)) => assert!(error.to_string().contains(expected), "{error}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn both_encodings_of_a_feature_reach_the_same_handler() {
    let text = value_of(b"ip4 redirects disable");
    let message =
        value_of(&envelope("vyatta:ip6", &wire::Ip6RedirectsConfig { enable_redirects: Some(false) }));
    assert_eq!(text, Ok(format!("{:?}", RedirectsSetting { family: Family::Ip4, enabled: false })));
    assert_eq!(message, Ok(format!("{:?}", RedirectsSetting { family: Family::Ip6, enabled: false })));
}

#[test]
fn what_is_harmless_or_unknown_is_counted_and_told_once() {
    let (mut registry, mut told) = (registry(), Told::default());
    let portmonitor = b"portmonitor del session 1 0 0 0 0";
    let outcomes: Vec<Outcome> = (0..3).map(|_| registry.run(&mut told, portmonitor)).collect();
    let ignored = |first| Outcome::Ignored { name: "portmonitor".to_owned(), first };
    assert_eq!(outcomes, [ignored(true), ignored(false), ignored(false)]);
    let unknown = |first| Outcome::Unknown { name: "qos".to_owned(), first };
    assert_eq!(registry.run(&mut told, b"qos commit"), unknown(true));
    assert_eq!(registry.run(&mut told, b"qos commit"), unknown(false));
    let lag = envelope("vyatta:lag", &wire::Ip6RedirectsConfig::default());
    assert_eq!(
        registry.run(&mut told, &lag),
        Outcome::Unknown { name: "vyatta:lag".to_owned(), first: true }
    );
    assert_eq!(registry.ignored()["portmonitor"], Ignored { count: 3, harmless: true });
    assert_eq!(registry.ignored()["qos"], Ignored { count: 2, harmless: false });
    assert!(told.0.is_empty());
}

#[test]
fn names_without_end_fill_no_memory() {
    let (mut registry, mut told) = (registry(), Told::default());
    for number in 0..10_000 {
        registry.run(&mut told, format!("word{number} x").as_bytes());
    }
    assert_eq!(registry.ignored().len(), 257);
    assert_eq!(registry.ignored()["(others)"].count, 10_000 - 256);
}

#[test]
fn two_features_cannot_take_one_word() {
    let mut registry = registry();
    assert_eq!(registry.register::<Ecmp>(|_, _| Ok(())), Err(Taken("ecmp")));
}

#[test]
fn line_10_the_data_decides_not_the_topic() {
    // Recorded: a second value under one key comes under the topic of the first.
    let recording = Transcript::read();
    let mut values = Vec::new();
    for section in ["7.", "8."] {
        for line in recording.section("main", section) {
            let item = Item::parse(line.frames.clone());
            let Ok(item) = item else { panic!("{line:?}") };
            if line.party == Party::Publisher && !matches!(item.word(), b"link" | b"netconf") {
                values.push(value_of(&item.data));
            }
        }
    }
    assert_eq!(values.len(), 8);
    assert!(values.iter().all(Result::is_ok), "{values:?}");
    assert_eq!(values[2..4], [Ok("HashThreshold".to_owned()), Ok("Disable".to_owned())]);
}

#[test]
fn line_14_a_bad_command_does_not_stop_the_next() {
    let (mut registry, mut told) = (registry(), Told::default());
    let outcomes: Vec<Outcome> =
        [&b"ip4 redirects perhaps"[..], b"", b"\xff\xfe", b"nosuch x", b"ecmp mode hrw"]
            .map(|command| registry.run(&mut told, command))
            .into();
    assert!(matches!(outcomes[..3], [Outcome::Failed(_), Outcome::Failed(_), Outcome::Failed(_)]));
    assert!(matches!(outcomes[3], Outcome::Unknown { .. }));
    assert_eq!(outcomes[4], Outcome::Applied);
    assert_eq!(registry.counts(), (1, 3));
}

proptest! {
    #[test]
    fn any_bytes_have_one_outcome(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (mut registry, mut told) = (registry(), Told::default());
        registry.run(&mut told, &bytes);
        prop_assert!(told.0.len() <= 1);
    }

    #[test]
    fn any_inside_of_an_envelope_is_read_or_refused(
        kind in prop::sample::select(vec!["vyatta:arp", "vyatta:garp", "vyatta:icmp-ratelimit", "vyatta:tcp-mss", "vyatta:ip6"]),
        msg in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = DataplaneEnvelope { r#type: kind.to_owned(), msg }.encode_to_vec();
        let outcome = registry().run(&mut Told::default(), &bytes);
        prop_assert!(matches!(outcome, Outcome::Applied | Outcome::Failed(_)));
    }

    #[test]
    fn any_words_are_read_or_refused(command in "(ip4|ecmp|tablemap|session-cfg)( [ -~]{0,20}){0,5}") {
        let outcome = registry().run(&mut Told::default(), command.as_bytes());
        prop_assert!(matches!(outcome, Outcome::Applied | Outcome::Failed(_)));
    }
}
