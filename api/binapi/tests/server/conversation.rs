// SPDX-License-Identifier: Apache-2.0
//! Requests, dumps, streams and events.

use weft_binapi::api::interface::{
    CreateLoopback, SwInterfaceDetails, SwInterfaceDump, SwInterfaceEvent, SwInterfaceSetFlags,
    SwInterfaceSetFlagsReply, SwInterfaceTxPlacementDetails, SwInterfaceTxPlacementGet,
    SwInterfaceTxPlacementGetReply, WantInterfaceEvents,
};
use weft_binapi::api::interface_types::{IfStatusFlags, InterfaceIndex};
use weft_binapi::api::memclnt::{ControlPing, ControlPingReply};
use weft_binapi::server::Options;

use crate::daemon::Daemon;
use crate::peer::Peer;

fn set_flags(index: u32, flags: IfStatusFlags) -> SwInterfaceSetFlags {
    SwInterfaceSetFlags { sw_if_index: InterfaceIndex(index), flags }
}

/// Details and the ping that ends them.
fn dump(client: &mut Peer, context: u32) -> Vec<SwInterfaceDetails> {
    let ping = client.id::<ControlPingReply>();
    let mut all = Vec::new();
    loop {
        let message = client.receive_raw().unwrap();
        if message[..2] == ping.0.to_be_bytes() {
            assert_eq!(crate::peer::decode::<ControlPingReply>(&message).0.context.0, context);
            return all;
        }
        let (envelope, details) = crate::peer::decode::<SwInterfaceDetails>(&message);
        assert_eq!(envelope.context.0, context);
        all.push(details);
    }
}

#[test]
fn requests_are_answered_in_order() {
    let daemon = Daemon::start();
    let mut client = daemon.client("test");
    let made = client.call(&CreateLoopback::default());
    assert_eq!((made.retval, made.sw_if_index), (0, InterfaceIndex(1)));
    assert_eq!(client.call(&set_flags(1, IfStatusFlags::ADMIN_UP)).retval, 0);
    assert_eq!(client.call(&set_flags(9, IfStatusFlags::ADMIN_UP)).retval, -2);
    // All at once, and in one write.
    let mut bytes = Vec::new();
    for context in 0..1000 {
        bytes.extend(client.frame(context, &set_flags(1 + context % 2, IfStatusFlags(0))));
    }
    std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
    for context in 0..1000 {
        let (echoed, reply) = client.receive::<SwInterfaceSetFlagsReply>();
        assert_eq!((echoed, reply.retval), (context, if context % 2 == 0 { 0 } else { -2 }));
    }
}

#[test]
fn messages_come_byte_by_byte() {
    let daemon = Daemon::with(Options::default(), 3);
    let mut client = daemon.client("slow");
    let mut bytes = client.frame(5, &SwInterfaceDump::default());
    bytes.extend(client.frame(5, &ControlPing {}));
    for byte in bytes {
        std::io::Write::write_all(&mut client.stream, &[byte]).unwrap();
    }
    assert_eq!(dump(&mut client, 5).len(), 3);
}

#[test]
fn a_dump_ends_with_the_ping_behind_it() {
    let daemon = Daemon::with(Options::default(), 2000);
    let mut client = daemon.client("test");
    client.send(1, &SwInterfaceDump::default());
    client.send(1, &ControlPing {});
    client.send(2, &SwInterfaceDump { sw_if_index: InterfaceIndex(7), ..SwInterfaceDump::default() });
    client.send(2, &ControlPing {});
    // No such interface: silence.
    client.send(3, &SwInterfaceDump { sw_if_index: InterfaceIndex(4000), ..SwInterfaceDump::default() });
    client.send(3, &ControlPing {});
    let all = dump(&mut client, 1);
    assert!(all.iter().map(|details| details.sw_if_index.0).eq(1..=2000));
    let one = dump(&mut client, 2);
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].interface_name.get(), Some("loop7"));
    assert!(dump(&mut client, 3).is_empty());
}

#[test]
fn who_does_not_read_waits_and_others_do_not() {
    // Far more than a socket holds: 2000 details of 311 bytes, a hundred times.
    let options = Options { high_water: 32 << 10, ..Options::default() };
    let daemon = Daemon::with(options, 2000);
    let mut lazy = daemon.client("lazy");
    let mut frames = Vec::new();
    for context in 1..=100 {
        frames.extend(lazy.frame(context, &SwInterfaceDump::default()));
        frames.extend(lazy.frame(context, &ControlPing {}));
    }
    std::io::Write::write_all(&mut lazy.stream, &frames).unwrap();
    let mut other = daemon.client("other");
    for _ in 0..100 {
        other.ping();
        let backlog = other.cli("show backlog").reply;
        let bytes: usize = backlog.trim().strip_prefix("lazy ").unwrap().parse().unwrap();
        // At most one message above the line.
        assert!(bytes <= (32 << 10) + 1024, "{backlog}");
    }
    // Nothing was lost meanwhile.
    for context in 1..=100 {
        assert_eq!(dump(&mut lazy, context).len(), 2000);
    }
}

#[test]
fn a_stream_goes_on_where_it_ended() {
    let daemon = Daemon::with(Options::default(), 20_000);
    let mut client = daemon.client("test");
    let mut get = SwInterfaceTxPlacementGet { cursor: 0, sw_if_index: InterfaceIndex(u32::MAX) };
    let mut seen = Vec::new();
    let mut calls = 0;
    loop {
        calls += 1;
        client.send(calls, &get);
        let reply_id = client.id::<SwInterfaceTxPlacementGetReply>().0.to_be_bytes();
        let reply = loop {
            let message = client.receive_raw().unwrap();
            if message[..2] == reply_id {
                break crate::peer::decode::<SwInterfaceTxPlacementGetReply>(&message).1;
            }
            // These details have a client index before their context.
            let (envelope, details) = crate::peer::decode::<SwInterfaceTxPlacementDetails>(&message);
            assert_eq!((envelope.context.0, details.threads.len()), (calls, 2));
            seen.push(details.sw_if_index.0);
        };
        match reply.retval {
            0 => {
                assert_eq!(reply.cursor, u32::MAX);
                break;
            }
            retval => {
                assert_eq!((retval, reply.cursor), (-165, seen.last().unwrap() + 1));
                get.cursor = reply.cursor;
            }
        }
    }
    assert!(seen.iter().copied().eq(1..=20_000));

    let beyond = SwInterfaceTxPlacementGet { cursor: 20_001, ..get };
    client.send(90, &beyond);
    let reply = SwInterfaceTxPlacementGetReply { retval: -7, cursor: u32::MAX };
    assert_eq!(client.receive::<SwInterfaceTxPlacementGetReply>(), (90, reply));
    let empty = Daemon::start();
    let mut client = empty.client("test");
    client.send(91, &beyond);
    let reply = SwInterfaceTxPlacementGetReply { retval: 0, cursor: u32::MAX };
    assert_eq!(client.receive::<SwInterfaceTxPlacementGetReply>(), (91, reply));
}

#[test]
fn events_go_to_those_who_asked() {
    let daemon = Daemon::with(Options::default(), 1);
    let mut listener = daemon.client("listener");
    let mut actor = daemon.client("actor");
    let want = |enable_disable| WantInterfaceEvents { enable_disable, pid: 77 };
    assert_eq!(listener.call(&want(0)).retval, -31);
    assert_eq!(listener.call(&want(1)).retval, 0);
    assert_eq!(listener.call(&want(1)).retval, -31);
    assert_eq!(actor.call(&set_flags(1, IfStatusFlags::ADMIN_UP)).retval, 0);
    let event = SwInterfaceEvent {
        pid: 77,
        sw_if_index: InterfaceIndex(1),
        flags: IfStatusFlags::ADMIN_UP,
        deleted: false,
    };
    assert_eq!(listener.receive::<SwInterfaceEvent>().1, event);
    assert_eq!(listener.call(&want(0)).retval, 0);
    assert_eq!(actor.call(&set_flags(1, IfStatusFlags(0))).retval, 0);
    listener.ping();
    actor.ping();
}

#[test]
fn who_does_not_read_events_is_cut_off() {
    let daemon = Daemon::with(Options { backlog: 64 << 10, ..Options::default() }, 1);
    let mut deaf = daemon.client("deaf");
    assert_eq!(deaf.call(&WantInterfaceEvents { enable_disable: 1, pid: 1 }).retval, 0);
    let mut actor = daemon.client("actor");
    let mut sent = 0;
    while actor.cli("show lost").reply != "deaf" {
        assert!(sent < 1_000_000, "the client must be cut off");
        for _ in 0..1000 {
            actor.send(1, &set_flags(1, IfStatusFlags::ADMIN_UP));
        }
        for _ in 0..1000 {
            actor.receive::<SwInterfaceSetFlagsReply>();
        }
        sent += 1000;
    }
    assert!(deaf.is_closed());
}
