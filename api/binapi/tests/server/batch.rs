// SPDX-License-Identifier: Apache-2.0
//! Many changes as one.

use std::net::IpAddr;

use weft_binapi::api::interface::{CreateLoopback, SwInterfaceDump};
use weft_binapi::api::ip::{IpRoute, IpRouteAddDel, IpRouteAddDelReply};
use weft_binapi::api::memclnt::{ControlPing, ControlPingReply};
use weft_binapi::api::weft_batch::{
    WeftBatchAbort, WeftBatchBegin, WeftBatchCommit, WeftBatchCommitReply, WeftBatchFlags,
    WeftBatchResultDetails,
};
use weft_binapi::server::Options;

use crate::daemon::Daemon;
use crate::peer::{Peer, decode};

fn route(number: u32, is_add: bool) -> IpRouteAddDel {
    let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    let route = IpRoute { prefix: (address, 32).into(), ..IpRoute::default() };
    IpRouteAddDel { is_add, is_multipath: false, route }
}

/// A route that no table has.
fn missing() -> IpRouteAddDel {
    route(999_999, false)
}

fn begin(client: &mut Peer, flags: WeftBatchFlags) {
    assert_eq!(client.call(&WeftBatchBegin { flags }).retval, 0);
}

/// Results of items, and how it all ended.
fn commit(client: &mut Peer) -> (Vec<WeftBatchResultDetails>, WeftBatchCommitReply) {
    client.send(500, &WeftBatchCommit {});
    let end = client.id::<WeftBatchCommitReply>().0.to_be_bytes();
    let mut results = Vec::new();
    loop {
        let message = client.receive_raw().unwrap();
        if message[..2] == end {
            return (results, decode(&message).1);
        }
        results.push(decode(&message).1);
    }
}

#[test]
fn all_or_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client("batch");
    let mut other = daemon.client("other");
    begin(&mut client, WeftBatchFlags(0));
    for number in 0..3 {
        // Kept, not done.
        let kept = client.call(&route(number, true));
        assert_eq!(kept, IpRouteAddDelReply { retval: 0, stats_index: u32::MAX });
    }
    assert_eq!(other.cli("show routes").reply, "0 routes, 0 commits");
    let done = WeftBatchCommitReply { retval: 0, items: 3, applied: 3, failed: 0, first_failed: u32::MAX };
    assert_eq!(commit(&mut client), (vec![], done));
    assert_eq!(other.cli("show routes").reply, "3 routes, 1 commits");

    begin(&mut client, WeftBatchFlags(0));
    client.call(&route(7, true));
    client.send(301, &missing());
    client.receive::<IpRouteAddDelReply>();
    client.call(&route(0, false));
    client.send(302, &missing());
    client.receive::<IpRouteAddDelReply>();
    let failed = WeftBatchCommitReply { retval: -6, items: 4, applied: 0, failed: 2, first_failed: 1 };
    let results = vec![
        WeftBatchResultDetails { item: 1, item_context: 301, retval: -6 },
        WeftBatchResultDetails { item: 3, item_context: 302, retval: -6 },
    ];
    assert_eq!(commit(&mut client), (results, failed));
    assert_eq!(other.cli("show routes").reply, "3 routes, 1 commits");

    // By itself each change is a batch of one.
    assert_eq!(client.call(&route(9, true)), IpRouteAddDelReply { retval: 0, stats_index: 7 });
    assert_eq!(client.call(&missing()), IpRouteAddDelReply { retval: -6, stats_index: u32::MAX });
    assert_eq!(other.cli("show routes").reply, "4 routes, 2 commits");
}

#[test]
fn a_dry_run_changes_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client("batch");
    begin(&mut client, WeftBatchFlags::DRY_RUN | WeftBatchFlags::ALL_RESULTS);
    client.send(41, &route(1, true));
    client.receive::<IpRouteAddDelReply>();
    client.send(42, &route(1, false));
    client.receive::<IpRouteAddDelReply>();
    let results = vec![
        WeftBatchResultDetails { item: 0, item_context: 41, retval: 0 },
        WeftBatchResultDetails { item: 1, item_context: 42, retval: 0 },
    ];
    let reply = WeftBatchCommitReply { retval: 0, items: 2, applied: 0, failed: 0, first_failed: u32::MAX };
    assert_eq!(commit(&mut client), (results, reply));
    assert_eq!(client.cli("show routes").reply, "0 routes, 0 commits");
}

#[test]
fn a_quiet_batch_is_answered_at_its_end() {
    const ROUTES: u32 = 20_000;
    let daemon = Daemon::start();
    let mut client = daemon.client("batch");
    begin(&mut client, WeftBatchFlags::QUIET);
    let mut bytes = Vec::new();
    for number in 0..ROUTES {
        bytes.extend(client.frame(number, &route(number, true)));
    }
    std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
    let reply =
        WeftBatchCommitReply { retval: 0, items: ROUTES, applied: ROUTES, failed: 0, first_failed: u32::MAX };
    assert_eq!(commit(&mut client), (vec![], reply));
    assert_eq!(client.cli("show routes").reply, format!("{ROUTES} routes, 1 commits"));
}

#[test]
fn while_a_batch_is_open() {
    let daemon = Daemon::with(Options::default(), 1);
    let mut client = daemon.client("batch");
    begin(&mut client, WeftBatchFlags(0));
    // Another one is not opened, and this one stays.
    assert_eq!(client.call(&WeftBatchBegin::default()).retval, -155);
    client.ping();
    client.send(3, &SwInterfaceDump::default());
    client.send(3, &ControlPing {});
    assert!(client.receive_raw().is_some());
    assert_eq!(client.receive::<ControlPingReply>().0, 3);
    // What cannot be undone cannot be part of it, and the batch will not go through without it.
    assert_eq!(client.call(&CreateLoopback::default()).retval, -126);
    client.call(&route(1, true));
    let (results, reply) = commit(&mut client);
    assert_eq!((results.len(), results[0].retval, reply.retval, reply.applied), (1, -126, -126, 0));

    begin(&mut client, WeftBatchFlags(0));
    client.call(&route(1, true));
    assert_eq!(client.call(&WeftBatchAbort {}).retval, 0);
    assert_eq!(client.call(&WeftBatchAbort {}).retval, -6);
    let (results, reply) = commit(&mut client);
    assert_eq!((results.len(), reply.retval, reply.items), (0, -6, 0));
    assert_eq!(client.cli("show routes").reply, "0 routes, 0 commits");
}

#[test]
fn a_batch_goes_with_its_client() {
    let daemon = Daemon::start();
    let mut client = daemon.client("batch");
    begin(&mut client, WeftBatchFlags(0));
    client.call(&route(1, true));
    drop(client);
    let mut other = daemon.client("other");
    while other.cli("show lost").reply != "batch" {
        std::thread::yield_now();
    }
    assert_eq!(other.cli("show routes").reply, "0 routes, 0 commits");
    assert_eq!(other.call(&route(1, true)).retval, 0);
}

#[test]
fn a_batch_has_limits() {
    let daemon = Daemon::with(Options { batch_items: 2, ..Options::default() }, 0);
    let mut client = daemon.client("batch");
    begin(&mut client, WeftBatchFlags(0));
    assert_eq!(client.call(&route(1, true)).retval, 0);
    assert_eq!(client.call(&route(2, true)).retval, 0);
    assert_eq!(client.call(&route(3, true)).retval, -162);
    let (_, reply) = commit(&mut client);
    assert_eq!((reply.retval, reply.applied), (-162, 0));
    assert_eq!(client.cli("show routes").reply, "0 routes, 0 commits");
}
