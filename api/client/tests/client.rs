// SPDX-License-Identifier: Apache-2.0
//! The client against the server.

#[path = "../../binapi/tests/server/daemon.rs"]
mod daemon;

use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use daemon::Daemon;
use weft_binapi::Retval;
use weft_binapi::api::interface::{
    CreateLoopback, SwInterfaceDump, SwInterfaceEvent, SwInterfaceSetFlags, SwInterfaceTxPlacementGet,
    WantInterfaceEvents,
};
use weft_binapi::api::interface_types::{IfStatusFlags, InterfaceIndex};
use weft_binapi::api::ip::{IpRoute, IpRouteAddDel};
use weft_binapi::api::l2::L2XconnectDump;
use weft_binapi::api::memclnt::ControlPing;
use weft_binapi::api::vlib::CliInband;
use weft_binapi::api::vpe::ShowVersion;
use weft_binapi::server;
use weft_client::{Backoff, Batch, Client, Error, Notice, Options, Refused, blocking};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(name: &str) -> Options {
    let backoff = Backoff { first: Duration::from_millis(5), most: Duration::from_millis(50) };
    Options { patience: PATIENCE, backoff: Some(backoff), ..Options::new(name) }
}

fn set_flags(index: u32, flags: IfStatusFlags) -> SwInterfaceSetFlags {
    SwInterfaceSetFlags { sw_if_index: InterfaceIndex(index), flags }
}

fn route(number: u32, is_add: bool) -> IpRouteAddDel {
    let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    let route = IpRoute { prefix: (address, 32).into(), ..IpRoute::default() };
    IpRouteAddDel { is_add, is_multipath: false, route }
}

async fn cli(client: &Client, command: &str) -> String {
    client.request(&CliInband { cmd: command.into() }).await.unwrap().reply
}

#[tokio::test]
async fn questions_have_their_answers() {
    let daemon = Daemon::with(server::Options::default(), 3);
    let client = Client::connect(&daemon.path, options("test")).await.unwrap();
    assert_eq!(client.request(&ShowVersion {}).await.unwrap().program.get(), Some("weft"));
    let made = client.request(&CreateLoopback::default()).await.unwrap();
    assert_eq!(made.sw_if_index, InterfaceIndex(4));
    let dump = client.dump(&SwInterfaceDump::default()).await.unwrap();
    assert!(dump.iter().map(|details| details.sw_if_index.0).eq(1..=4));
    let none = SwInterfaceDump { sw_if_index: InterfaceIndex(77), ..SwInterfaceDump::default() };
    assert!(client.dump(&none).await.unwrap().is_empty());

    let refused = client.request(&set_flags(77, IfStatusFlags(0))).await.unwrap_err();
    let Error::Retval { message: "sw_interface_set_flags", retval: Retval::INVALID_SW_IF_INDEX } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(refused.to_string(), "sw_interface_set_flags: invalid sw if index (-2)");
    let missing = client.dump(&L2XconnectDump {}).await.unwrap_err();
    assert_eq!(missing.to_string(), "the daemon does not offer l2_xconnect_dump_51077d14");
}

#[tokio::test]
async fn many_questions_are_under_way() {
    let daemon = Daemon::with(server::Options::default(), 100);
    let client = Client::connect(&daemon.path, options("test")).await.unwrap();
    let tasks: Vec<_> = (0..2000_u32)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                if number % 20 == 0 {
                    return client.dump(&SwInterfaceDump::default()).await.unwrap().len() == 100;
                }
                let reply = client.request(&set_flags(number % 200, IfStatusFlags(0))).await;
                reply.is_ok() == (1..=100).contains(&(number % 200))
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_until_its_end() {
    let daemon = Daemon::with(server::Options::default(), 20_000);
    let client = Client::connect(&daemon.path, options("test")).await.unwrap();
    let get = SwInterfaceTxPlacementGet { cursor: 0, sw_if_index: InterfaceIndex(u32::MAX) };
    let all = client.stream(&get).await.unwrap();
    assert!(all.iter().map(|details| details.sw_if_index.0).eq(1..=20_000));
    let beyond = SwInterfaceTxPlacementGet { cursor: 30_000, ..get };
    let error = client.stream(&beyond).await.unwrap_err();
    assert!(matches!(error, Error::Retval { retval: Retval::INVALID_VALUE, .. }), "{error}");
}

#[tokio::test]
async fn batches() {
    let daemon = Daemon::start();
    let client = Client::connect(&daemon.path, options("test")).await.unwrap();
    let mut batch = Batch::new();
    for number in 0..5000 {
        batch.add(&route(number, true)).unwrap();
    }
    assert_eq!(client.try_out(batch.clone()).await.unwrap().items, 0);
    assert_eq!(cli(&client, "show routes").await, "0 routes, 0 commits");
    assert_eq!(client.commit(batch).await.unwrap().items, 5000);
    assert_eq!(cli(&client, "show routes").await, "5000 routes, 1 commits");

    let mut batch = Batch::new();
    batch.add(&route(1, false)).unwrap();
    batch.add(&route(1, false)).unwrap();
    batch.add(&CreateLoopback::default()).unwrap();
    let error = client.commit(batch).await.unwrap_err();
    let failed = vec![(1, Retval::NO_SUCH_ENTRY), (2, Retval::UNSUPPORTED)];
    let Error::Refused(refused) = &error else { panic!("{error:?}") };
    assert_eq!(*refused, Refused { retval: Retval::NO_SUCH_ENTRY, failed });
    assert_eq!(error.to_string(), "the batch was refused: no such entry (-6), item 1 and 1 more");
    assert_eq!(cli(&client, "show routes").await, "5000 routes, 1 commits");
}

#[tokio::test]
async fn a_client_outlives_the_daemon() {
    let daemon = Daemon::with(server::Options::default(), 1);
    let path = daemon.path.clone();
    let client = Client::connect(&path, options("test")).await.unwrap();
    let want = WantInterfaceEvents { enable_disable: 1, pid: 5 };
    let mut events = client.subscribe::<_, SwInterfaceEvent>(&want).await.unwrap();
    client.request(&set_flags(1, IfStatusFlags::ADMIN_UP)).await.unwrap();
    let event = |flags| {
        let sw_if_index = InterfaceIndex(1);
        Notice::Event(SwInterfaceEvent { pid: 5, sw_if_index, flags, deleted: false })
    };
    assert_eq!(events.next().await.unwrap(), event(IfStatusFlags::ADMIN_UP));

    drop(daemon);
    // Whether the loss was noticed before or after this was asked, it is answered by the next daemon or fails.
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.request(&ControlPing {}).await }
    });
    let _daemon = Daemon::at(path, server::Options::default(), 1);
    assert_eq!(events.next().await.unwrap(), Notice::Gap);
    let answer = asked.await.unwrap();
    assert!(matches!(answer, Ok(_) | Err(Error::Lost)), "{answer:?}");
    client.request(&set_flags(1, IfStatusFlags(0))).await.unwrap();
    assert_eq!(events.next().await.unwrap(), event(IfStatusFlags(0)));
}

#[tokio::test]
async fn without_back_off_a_loss_is_final() {
    let daemon = Daemon::start();
    let options = Options { backoff: None, ..options("test") };
    let client = Client::connect(&daemon.path, options).await.unwrap();
    let want = WantInterfaceEvents { enable_disable: 1, pid: 5 };
    let mut events = client.subscribe::<_, SwInterfaceEvent>(&want).await.unwrap();
    drop(daemon);
    assert!(matches!(client.request(&ControlPing {}).await, Err(Error::Lost)));
    assert!(matches!(client.request(&ControlPing {}).await, Err(Error::Lost)));
    assert!(matches!(events.next().await, Err(Error::Lost)));
}

#[tokio::test]
async fn nobody_and_somebody_else_at_the_socket() {
    let path = std::env::temp_dir().join(format!("weft-client-{}.sock", std::process::id()));
    let error = Client::connect(&path, options("test")).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");

    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A frame with message 1 instead of 16.
        let frame = [&[0; 8][..], &6_u32.to_be_bytes(), &[0; 4], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        std::io::Write::write_all(&mut stream, &frame).unwrap();
        // Until the other side is done.
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    let error = Client::connect(&path, options("test")).await.map(drop).unwrap_err();
    assert!(matches!(error, Error::Handshake { .. }), "{error}");
    thread.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn patience_ends() {
    let daemon = Daemon::start();
    let path = daemon.path.clone();
    let options = Options { patience: Duration::from_millis(100), ..options("test") };
    let client = Client::connect(&path, options).await.unwrap();
    drop(daemon);
    // The first may still be sent and lost; the next waits for a daemon that does not come.
    let _ = client.request(&ControlPing {}).await;
    let error = client.request(&ControlPing {}).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { message: "control_ping", .. }), "{error}");
}

#[test]
fn programs_that_block() {
    let daemon = Daemon::with(server::Options::default(), 2);
    let client = blocking::Client::connect(&daemon.path, options("test")).unwrap();
    assert_eq!(client.request(&ShowVersion {}).unwrap().program.get(), Some("weft"));
    assert_eq!(client.dump(&SwInterfaceDump::default()).unwrap().len(), 2);
    let get = SwInterfaceTxPlacementGet { cursor: 2, sw_if_index: InterfaceIndex(u32::MAX) };
    assert_eq!(client.stream(&get).unwrap().len(), 1);
    let mut batch = Batch::new();
    batch.add(&route(1, true)).unwrap();
    assert_eq!(client.try_out(batch.clone()).unwrap().items, 0);
    assert_eq!(client.commit(batch).unwrap().items, 1);
    let want = WantInterfaceEvents { enable_disable: 1, pid: 5 };
    let mut events = client.subscribe::<_, SwInterfaceEvent>(&want).unwrap();
    assert_eq!(events.next(Duration::ZERO).unwrap(), None);
    client.request(&set_flags(2, IfStatusFlags::ADMIN_UP)).unwrap();
    let Some(Notice::Event(event)) = events.next(PATIENCE).unwrap() else { panic!("an event was to come") };
    assert_eq!(event.sw_if_index, InterfaceIndex(2));
}
