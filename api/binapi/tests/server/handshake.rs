// SPDX-License-Identifier: Apache-2.0
//! Connections, message tables, and what needs no dataplane.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use weft_binapi::Retval;
use weft_binapi::api::interface::{DeleteLoopback, SwInterfaceDetails, SwInterfaceSetFlags};
use weft_binapi::api::l2::L2XconnectDump;
use weft_binapi::api::memclnt::{
    ApiVersions, ControlPing, ControlPingReply, GetApiJson, GetFirstMsgId, GetFirstMsgIdReply, MemclntCreate,
    MemclntKeepalive, SockclntCreate, SockclntDelete,
};
use weft_binapi::api::vlib::{GetF64EndianValue, GetF64IncrementByOne};
use weft_binapi::api::vpe::{LogDump, ShowVersion, ShowVpeSystemTime};
use weft_binapi::frame::MessageId;
use weft_binapi::message::Message;
use weft_binapi::server::{BindError, Options, Registry, Server};

use crate::daemon::{Daemon, Toy};

#[test]
fn a_client_learns_its_index_and_the_messages_that_are_handled() {
    let daemon = Daemon::start();
    let first = daemon.client("first");
    let second = daemon.client("second");
    assert_eq!((first.index.0, second.index.0), (0x8000_0000, 0x8000_0001));
    assert_eq!(first.table, second.table);
    assert_eq!(first.id::<SockclntCreate>(), MessageId(15));
    assert_eq!(first.id::<ControlPing>(), MessageId(23));
    assert_eq!(first.id::<ControlPingReply>(), MessageId(24));
    assert!(first.table.contains_key(&SwInterfaceDetails::INFO.key()));
    assert!(first.table.contains_key("sw_interface_event_2d3d95a7"));
    // Nobody handles it, but others of its family.
    assert!(first.table.contains_key(&DeleteLoopback::INFO.key()));
    assert!(!first.table.contains_key(&L2XconnectDump::INFO.key()));
    drop(first);
    let mut third = daemon.client("third");
    third.ping();
}

#[test]
fn a_program_says_what_it_is() {
    let daemon = Daemon::start();
    let mut client = daemon.client("test");
    let version = client.call(&ShowVersion {});
    assert_eq!(version.program.get(), Some("weft"));
    // Clients read ASCII only.
    assert_eq!(version.version.get(), Some("0.1.0-?"));
    assert!(client.call(&ShowVpeSystemTime {}).vpe_system_time.0 > 1.7e9);
    assert_eq!(client.call(&GetF64EndianValue { f64_one: 1.0 }).f64_one_result, 1.0);
    assert_eq!(client.call(&GetF64EndianValue { f64_one: 2.0 }).retval as i32, -159);
    assert_eq!(client.call(&GetF64IncrementByOne { f64_value: 41.5 }).f64_value, 42.5);
    assert_eq!(client.call(&MemclntKeepalive {}).retval, 0);
    let reply = client.cli("show clients");
    assert_eq!((reply.retval, reply.reply.as_str()), (0, "1"));
    let reply = client.cli("nonsense");
    assert_eq!((reply.retval, reply.reply.as_str()), (-1, "unknown command: nonsense"));
}

#[test]
fn tables_of_modules() {
    let daemon = Daemon::start();
    let mut client = daemon.client("test");
    let first = client.call(&GetFirstMsgId { name: "memclnt_b197c551".into() });
    assert_eq!(first, GetFirstMsgIdReply { retval: 0, first_msg_id: 1 });
    let none = client.call(&GetFirstMsgId { name: "memclnt".into() });
    assert_eq!(none, GetFirstMsgIdReply { retval: -7, first_msg_id: u16::MAX });

    let versions = client.call(&ApiVersions {}).api_versions;
    let names: Vec<&str> = versions.iter().filter_map(|version| version.name.get()).collect();
    assert!(names.contains(&"interface.api") && names.contains(&"vpe.api"), "{names:?}");
    assert!(!names.contains(&"l2.api") && !names.contains(&"ip_types.api"), "{names:?}");

    let json = client.call(&GetApiJson {}).json;
    let modules: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(modules.len(), versions.len());
    // It describes the table: no message more, none less.
    let described = modules.iter().flat_map(|module| module["messages"].as_array().unwrap());
    let key = |message: &serde_json::Value| {
        let fields = message.as_array().unwrap();
        let crc = fields.last().unwrap()["crc"].as_str().unwrap().trim_start_matches("0x");
        format!("{}_{crc}", fields[0].as_str().unwrap())
    };
    let described: BTreeSet<String> = described.map(key).collect();
    assert_eq!(described, client.table.keys().cloned().collect());
}

#[test]
fn what_nobody_handles_of_a_family_is_answered_all_the_same() {
    let daemon = Daemon::start();
    let mut client = daemon.client("test");
    assert_eq!(client.call(&DeleteLoopback::default()).retval, Retval::UNIMPLEMENTED.get());
    // A dump of what there is not is empty: the ping after it is answered next.
    client.send(9, &LogDump::default());
    client.ping();
    let created = client.call(&MemclntCreate::default());
    assert_eq!((created.response, created.index), (0, client.index.0));
}

#[test]
fn a_client_leaves() {
    let daemon = Daemon::start();
    let mut client = daemon.client("leaver");
    let index = client.index.0;
    assert_eq!(client.call(&SockclntDelete { index: index + 1 }).response, -1);
    client.ping();
    assert_eq!(client.call(&SockclntDelete { index }).response, 1);
    assert!(client.is_closed());
    let mut other = daemon.client("other");
    assert_eq!(other.cli("show lost").reply, "leaver");
    assert_eq!(other.cli("show clients").reply, "1");
}

#[test]
fn answers_reach_a_client_that_has_closed_its_side() {
    let daemon = Daemon::start();
    let mut client = daemon.client("test");
    client.send(1, &SwInterfaceSetFlags::default());
    client.send(2, &ControlPing {});
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.receive::<weft_binapi::api::interface::SwInterfaceSetFlagsReply>().0, 1);
    assert_eq!(client.receive::<ControlPingReply>().0, 2);
    assert!(client.is_closed());
}

#[test]
fn one_client_too_many_is_closed() {
    let daemon = Daemon::with(Options { max_clients: 1, ..Options::default() }, 0);
    let mut first = daemon.client("first");
    let mut second = crate::peer::Peer::connect(&daemon.path);
    assert!(second.is_closed());
    first.ping();
}

#[test]
fn the_socket_belongs_to_one_daemon() {
    let daemon = Daemon::start();
    let mode = std::fs::metadata(&daemon.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let bind = |path: &std::path::Path| Server::bind(path, Options::default(), Registry::<Toy>::new());
    assert!(matches!(bind(&daemon.path).map(drop), Err(BindError::InUse(_))));

    let stale = daemon.path.with_extension("stale");
    drop(UnixListener::bind(&stale).unwrap());
    drop(bind(&stale).unwrap());
    std::fs::write(&stale, "").unwrap();
    assert!(matches!(bind(&stale).map(drop), Err(BindError::NotASocket(_))));
    std::fs::remove_file(&stale).unwrap();
}
