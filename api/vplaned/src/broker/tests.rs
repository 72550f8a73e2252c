// SPDX-License-Identifier: Apache-2.0
//! The dialogue frame by frame, both formats of a route, and what a broker should not send.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::netlink::messages::{CREATE, DELROUTE, Message as Netlink, NEWROUTE, ip4};
use crate::netlink::{Event, Ignored, RouteTarget, Via};
use crate::proto::route as pb;
use crate::types::Uuid;

const STALE: Duration = Duration::from_secs(60);

fn frames(words: &[&[u8]]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.to_vec()).collect()
}

fn outputs(control: &mut Control) -> Vec<Output> {
    std::iter::from_fn(|| control.poll()).collect()
}

fn hello(word: &str) -> Output {
    Output::Send(frames(&[word.as_bytes(), &[0; 4], Uuid::local().as_str().as_bytes()]))
}

fn accept(url: &str, format: Option<u32>) -> Vec<Vec<u8>> {
    let mut message = frames(&[b"ACCEPT", Uuid::local().as_str().as_bytes(), url.as_bytes()]);
    message.extend(format.map(|format| format.to_ne_bytes().to_vec()));
    message
}

#[test]
fn the_dialogue_connects_keeps_alive_and_connects_again() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut control = Control::new(Uuid::local(), STALE);
    assert_eq!((outputs(&mut control), control.deadline()), (vec![], None));
    control.connected();
    assert_eq!(outputs(&mut control), [hello("CONNECT")]);
    assert_eq!(control.deadline(), None, "no retry: ZeroMQ delivers it when the broker appears");

    control.received(start, &accept("ipc:///run/routes", Some(1))).expect("well formed");
    let data = Output::Data("ipc:///run/routes".into(), Format::Protobuf);
    assert_eq!(outputs(&mut control), [data, Output::ReplayBegins]);
    for seconds in [10, 20, 30, 40, 50] {
        assert_eq!(control.deadline(), Some(after(seconds)));
        control.tick(after(seconds));
        assert_eq!(outputs(&mut control), [hello("KEEPALIVE")]);
    }
    control.tick(after(60));
    assert_eq!(outputs(&mut control), [Output::ReplayEnds, hello("KEEPALIVE")]);

    // The broker is away and comes back.
    control.disconnected();
    assert_eq!(control.deadline(), None);
    control.connected();
    control.received(after(90), &accept("ipc:///run/routes", Some(1))).expect("well formed");
    assert_eq!(outputs(&mut control), [hello("CONNECT"), Output::ReplayBegins], "no second data socket");
    control.received(after(91), &accept("ipc:///run/others", None)).expect("well formed");
    let data = Output::Data("ipc:///run/others".into(), Format::Netlink);
    assert_eq!(outputs(&mut control), [data, Output::ReplayBegins]);
    assert_eq!(control.deadline(), Some(after(101)));

    control.received(after(92), &frames(&[b"RECONNECT"])).expect("known");
    assert_eq!(outputs(&mut control), [Output::Reset, hello("CONNECT")]);
}

#[test]
fn what_a_broker_should_not_say_changes_nothing() {
    let mut control = Control::new(Uuid::local(), STALE);
    let uuid = Uuid::local();
    let uuid = uuid.as_str().as_bytes();
    let mut error = |message: &[&[u8]]| {
        let error = control.received(Instant::now(), &frames(message)).expect_err("malformed").to_string();
        assert_eq!(outputs(&mut control), []);
        error
    };
    assert_eq!(error(&[b"HELLO"]), "route broker: unknown message \"HELLO\": expected ACCEPT or RECONNECT");
    assert_eq!(error(&[]), "route broker: unknown message \"\": expected ACCEPT or RECONNECT");
    assert_eq!(
        error(&[b"ACCEPT", b"x"]),
        "route broker: ACCEPT with x as its UUID: expected 00000000-0000-0000-0000-000000000000"
    );
    assert_eq!(
        error(&[b"ACCEPT", uuid]),
        "route broker: ACCEPT with nothing as its data URL: expected an endpoint"
    );
    assert_eq!(
        error(&[b"ACCEPT", uuid, b"ipc://x", &[9, 0, 0, 0]]),
        "route broker: ACCEPT with [9, 0, 0, 0] as its format: expected 4 bytes: 0 (netlink) or 1 (protobuf)"
    );
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_ne_bytes([a, b, c, d])
}

fn address(image: u32) -> Option<pb::IpAddress> {
    Some(pb::IpAddress { address_oneof: Some(pb::ip_address::AddressOneof::Ipv4Addr(image)) })
}

fn update(prefix: u32, length: u32, paths: Vec<pb::Path>) -> pb::RibUpdate {
    let prefix =
        pb::IpAddressOrLabel { address_oneof: Some(pb::ip_address_or_label::AddressOneof::Ipv4Addr(prefix)) };
    let route = pb::Route { prefix: Some(prefix), prefix_length: Some(length), paths, ..Default::default() };
    pb::RibUpdate { action: None, route: Some(route) }
}

fn path(nexthop: Option<u32>, ifindex: u32) -> pb::Path {
    pb::Path { nexthop: nexthop.and_then(address), ifindex: Some(ifindex), ..Default::default() }
}

fn read(update: &pb::RibUpdate) -> Result<Event, UpdateError> {
    decode(Format::Protobuf, &update.encode_to_vec())
}

#[test]
fn both_formats_say_the_same() {
    let netlink = Netlink::route(NEWROUTE, CREATE, (ip4(10, 1, 0, 0), 16), 254)
        .multipath(&[(2, Some(ip4(192, 0, 2, 1)), 1), (3, None, 1)])
        .bytes();
    let protobuf = update(v4(10, 1, 0, 0), 16, vec![path(Some(v4(192, 0, 2, 1)), 2), path(None, 3)]);
    let (Ok(Event::Route(one, _)), Ok(Event::Route(other, _))) =
        (decode(Format::Netlink, &netlink), read(&protobuf))
    else {
        panic!("two routes");
    };
    assert_eq!(
        (one.prefix, one.table, one.metric, one.scope),
        (other.prefix, other.table, other.metric, other.scope)
    );
    assert_eq!(one.target, other.target);
    assert_eq!((one.protocol.0, other.protocol.0), (3, 11), "static of the message, zebra by default");
    let gone = Netlink::route(DELROUTE, 0, (ip4(10, 1, 0, 0), 16), 254).bytes();
    assert!(matches!(decode(Format::Netlink, &gone), Ok(Event::RouteGone(_))));
    let gone = pb::RibUpdate { action: Some(1), ..update(v4(10, 1, 0, 0), 16, vec![]) };
    assert!(matches!(read(&gone), Ok(Event::RouteGone(_))));
}

#[test]
#[cfg(target_endian = "little")]
fn the_bytes_of_a_rib_update() {
    // By hand from Appendix A; addresses are the memory image of network order, so 192.0.2.1 is the varint of 0x010200c0.
    let route = [
        &[0x0a, 5, 0x0d, 10, 0, 0, 0][..],
        &[0x10, 8],
        &[0x22, 9, 0x12, 5, 0x08, 0xc0, 0x81, 0x88, 0x08, 0x18, 2],
    ];
    let update = [&[0x12, 20][..], &route.concat()].concat();
    let Ok(Event::Route(route, _)) = decode(Format::Protobuf, &update) else { panic!("a route") };
    assert_eq!((route.prefix.to_string(), route.table), ("10.0.0.0/8".into(), crate::netlink::TableId::MAIN));
    let RouteTarget::Forward(paths) = route.target else { panic!("paths") };
    assert_eq!(paths[0].via, Via::Gateway(ip4(192, 0, 2, 1)));
}

#[test]
fn paths_of_every_kind() {
    let target = |paths| match read(&update(v4(10, 0, 0, 0), 8, paths)) {
        Ok(Event::Route(route, _)) => Ok(route.target),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let of_type = |kind: i32| pb::Path { r#type: Some(kind), ..Default::default() };
    assert_eq!(target(vec![of_type(0)]), Ok(RouteTarget::Blackhole));
    assert_eq!(target(vec![of_type(1)]), Ok(RouteTarget::Unreachable));
    assert_eq!(target(vec![of_type(2)]), Ok(RouteTarget::Local));
    assert_eq!(target(vec![of_type(9)]), Err("RibUpdate: path type is 9: expected 0 to 3".into()));
    assert_eq!(target(vec![]), Err("RibUpdate without paths".into()));
    let via = |paths| match target(paths) {
        Ok(RouteTarget::Forward(paths)) => paths.iter().map(|path| path.via).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let gateway = Via::Gateway(ip4(192, 0, 2, 1));
    let primary = path(Some(v4(192, 0, 2, 1)), 2);
    let backup = pb::Path { backup: Some(true), ..path(Some(v4(192, 0, 2, 9)), 3) };
    assert_eq!(via(vec![backup.clone(), primary.clone()]), [gateway]);
    assert_eq!(via(vec![backup]), [Via::Gateway(ip4(192, 0, 2, 9))]);
    let labelled = pb::Path { mpls_labels: vec![100], ..primary };
    assert_eq!(via(vec![labelled]), [Via::Host(crate::netlink::HostOnly::Encapsulation)]);
    let v6 = pb::IpAddress { address_oneof: Some(pb::ip_address::AddressOneof::Ipv6Addr(vec![0xfe; 16])) };
    let other_family = pb::Path { nexthop: Some(v6), ifindex: Some(2), ..Default::default() };
    assert!(target(vec![other_family]).is_err_and(|error| error.contains("expected an IPv4 address")));
}

#[test]
fn an_ipv6_route_by_an_ipv4_gateway_has_the_mapped_address() {
    let prefix =
        pb::ip_address_or_label::AddressOneof::Ipv6Addr([&[0x20, 1, 0xd, 0xb8][..], &[0; 12]].concat());
    let route = pb::Route {
        prefix: Some(pb::IpAddressOrLabel { address_oneof: Some(prefix) }),
        prefix_length: Some(32),
        paths: vec![path(Some(v4(192, 0, 2, 1)), 2)],
        ..Default::default()
    };
    let update = pb::RibUpdate { action: None, route: Some(route) };
    let Ok(Event::Route(route, _)) = read(&update) else { panic!("a route") };
    let RouteTarget::Forward(paths) = route.target else { panic!("paths") };
    assert_eq!(paths[0].via, Via::Gateway("::ffff:192.0.2.1".parse().expect("an address")));
}

#[test]
fn bad_updates_say_what_is_wrong() {
    let error = |update: pb::RibUpdate| read(&update).expect_err("malformed").to_string();
    assert_eq!(error(pb::RibUpdate::default()), "RibUpdate without route");
    let empty = pb::RibUpdate { action: None, route: Some(pb::Route::default()) };
    assert_eq!(error(empty), "RibUpdate without prefix");
    let long = update(v4(10, 0, 0, 0), 33, vec![path(None, 2)]);
    assert_eq!(error(long), "RibUpdate: prefix_length is 33: expected 0 to 32");
    let mut scope = update(v4(10, 0, 0, 0), 8, vec![path(None, 2)]);
    scope.route.as_mut().expect("there").scope = Some(256);
    assert_eq!(error(scope), "RibUpdate: scope is 256: expected 0 to 255");
    let action = pb::RibUpdate { action: Some(7), ..update(v4(10, 0, 0, 0), 8, vec![]) };
    assert_eq!(error(action), "RibUpdate: action is 7: expected 0 or 1 (UPDATE, DELETE)");
    let label = pb::ip_address_or_label::AddressOneof::MplsLabel(100);
    let mut mpls = update(0, 20, vec![path(None, 2)]);
    mpls.route.as_mut().expect("there").prefix = Some(pb::IpAddressOrLabel { address_oneof: Some(label) });
    assert_eq!(read(&mpls), Ok(Event::Ignored(Ignored::Mpls)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), netlink in any::<bool>()) {
        let _ = decode(if netlink { Format::Netlink } else { Format::Protobuf }, &bytes);
    }

    #[test]
    fn damaged_updates_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..8usize) {
        let mut bytes = update(v4(10, 0, 0, 0), 8, vec![path(Some(v4(192, 0, 2, 1)), 2)]).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        let _ = decode(Format::Protobuf, &bytes);
    }

    #[test]
    fn arbitrary_dialogues_never_panic(messages in prop::collection::vec(prop::collection::vec(
        prop_oneof![Just(b"ACCEPT".to_vec()), Just(b"RECONNECT".to_vec()), prop::collection::vec(any::<u8>(), 0..40)], 0..6), 0..10)) {
        let mut control = Control::new(Uuid::local(), STALE);
        for message in messages {
            let _ = control.received(Instant::now(), &message);
            control.tick(Instant::now());
            outputs(&mut control);
        }
    }
}
