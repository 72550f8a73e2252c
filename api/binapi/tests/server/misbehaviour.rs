// SPDX-License-Identifier: Apache-2.0
//! Clients that send what they should not.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weft_binapi::Retval;
use weft_binapi::api::interface::{
    DeleteLoopback, DeleteLoopbackReply, SwInterfaceSetFlags, SwInterfaceSetFlagsReply,
};
use weft_binapi::api::memclnt::RpcCallReply;
use weft_binapi::api::vlib::{CliInband, CliInbandReply};
use weft_binapi::frame::HEADER;
use weft_binapi::server::Options;

use crate::daemon::Daemon;
use crate::peer::Peer;

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    frame[8..12].copy_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn send_raw(client: &mut Peer, message: &[u8]) {
    client.stream.write_all(&frame(message)).unwrap();
}

#[test]
fn what_is_not_understood_is_ignored() {
    let daemon = Daemon::start();
    let mut client = daemon.client("odd");
    for message in [&[][..], &[1], &[0, 0], &[0xff, 0xff, 1, 2, 3], &[0, 23], &[0, 23, 0, 0, 0, 0, 0, 0, 0]] {
        send_raw(&mut client, message);
    }
    // A pointer to a function is not called.
    send_raw(&mut client, &[[0, 8].as_slice(), &[0; 40]].concat());
    assert_eq!(client.receive::<RpcCallReply>().1.retval, Retval::UNIMPLEMENTED.get());
    // Replies and events of ours mean nothing when they come back.
    send_raw(&mut client, &[[0, 24].as_slice(), &[0; 40]].concat());
    client.ping();
}

#[test]
fn known_messages_are_refused_with_a_reason() {
    let daemon = Daemon::start();
    let mut client = daemon.client("odd");
    let whole = client.frame(7, &SwInterfaceSetFlags::default());
    send_raw(&mut client, &whole[HEADER..whole.len() - 1]);
    let refused = client.receive::<SwInterfaceSetFlagsReply>();
    assert_eq!(refused, (7, SwInterfaceSetFlagsReply { retval: -7 }));
    // Longer than it need be is fine.
    send_raw(&mut client, &[&whole[HEADER..], &[1, 2, 3]].concat());
    assert_eq!(client.receive::<SwInterfaceSetFlagsReply>().1.retval, -2);
    let mut cli = client.frame(8, &CliInband { cmd: "x".into() });
    *cli.last_mut().unwrap() = 0xff;
    client.stream.write_all(&cli).unwrap();
    assert_eq!(client.receive::<CliInbandReply>(), (8, CliInbandReply { retval: -7, reply: String::new() }));
    // The one reply with two numbers before its return value.
    send_raw(&mut client, &[0, 15, 0, 0, 0, 9, b'x']);
    let message = client.receive_raw().unwrap();
    let expected =
        [&[0, 16, 0, 0, 0, 0][..], &9_u32.to_be_bytes(), &(-7_i32).to_be_bytes(), &[0; 6]].concat();
    assert_eq!(message, expected);
    // Of a family that is served, but handled by nobody.
    let delete = client.id::<DeleteLoopback>().0;
    send_raw(&mut client, &[&delete.to_be_bytes()[..], &[0; 12]].concat());
    assert_eq!(client.receive::<DeleteLoopbackReply>().1.retval, Retval::UNIMPLEMENTED.get());
    // Of one that is not: whoever knows its id was not told by us.
    send_raw(&mut client, &[&(u16::MAX - 1).to_be_bytes()[..], &[0; 12]].concat());
    client.ping();
}

#[test]
fn a_message_that_is_too_long_ends_the_connection() {
    let daemon = Daemon::with(Options { longest: 4096, ..Options::default() }, 0);
    let mut client = daemon.client("long");
    let cmd = "x".repeat(5000);
    client.send(1, &CliInband { cmd });
    assert!(client.is_closed());
    let mut client = daemon.client("liar");
    client.stream.write_all(&[0xff; 16]).unwrap();
    assert!(client.is_closed());
    daemon.client("good").ping();
}

#[test]
fn unfinished_messages_of_all_clients_take_no_more_than_their_share() {
    let options = Options { longest: 1 << 20, incoming: 4 << 20, ..Options::default() };
    let daemon = Daemon::with(options, 0);
    let mut good = daemon.client("good");
    // Each announces a message of nearly a megabyte, and keeps its last byte.
    let half = &frame(&[0; (1 << 20) - 64])[..(1 << 20) - 65];
    let mut clients: Vec<Peer> = (0..8).map(|number| daemon.client(&format!("half{number}"))).collect();
    for client in &mut clients {
        // One that is let go may be so while it still writes.
        let _ = client.stream.write_all(half);
        good.ping();
        client.stream.set_nonblocking(true).unwrap();
    }
    let is_gone = |client: &mut Peer| match client.stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    let begun = Instant::now();
    let mut gone = 0;
    while gone < 4 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
        gone = clients.iter_mut().map(is_gone).filter(|gone| *gone).count();
    }
    assert!((4..8).contains(&gone), "{gone} of 8 were let go");
    // What they took is free again.
    drop(clients);
    let mut late = daemon.client("late");
    late.send(1, &CliInband { cmd: "x".repeat(900_000) });
    assert_eq!(late.receive::<CliInbandReply>().0, 1);
    good.ping();
}

#[test]
fn sixty_four_clients_at_a_time() {
    let daemon = Daemon::with(Options::default(), 5);
    let mut clients: Vec<Peer> = (0..64).map(|number| daemon.client(&format!("client{number}"))).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.send(1, &SwInterfaceSetFlags::default());
        }
        for client in &mut clients {
            assert_eq!(client.receive::<SwInterfaceSetFlagsReply>().0, 1);
        }
    }
    let reply = clients[0].cli("show clients").reply;
    assert_eq!(reply, "64");
}

#[test]
fn a_thousand_clients_send_garbage_and_vanish() {
    let daemon = Daemon::with(Options::default(), 5);
    let mut good = daemon.client("good");
    // The same garbage each time: xorshift64*.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    for number in 0..1000 {
        let mut client = Peer::connect(&daemon.path);
        let garbage: Vec<u8> = (0..random() % 600).map(|_| random() as u8).collect();
        // Some is garbage from the first byte, some is well framed.
        let bytes = if number % 2 == 0 { garbage } else { frame(&garbage) };
        // It may be cut off already.
        let _ = client.stream.write_all(&bytes);
        if number % 100 == 0 {
            good.ping();
        }
    }
    good.ping();
    while good.cli("show clients").reply != "1" {
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any body behind any id is answered or ignored, and the next message is answered.
    #[test]
    fn any_message_leaves_the_server_alive(messages in prop::collection::vec(
        (0..700_u16, prop::collection::vec(prop_oneof![3 => Just(0), 1 => any::<u8>()], 0..400)),
        1..20,
    )) {
        thread_local!(static DAEMON: Daemon = Daemon::with(Options::default(), 5));
        DAEMON.with(|daemon| {
            let mut client = daemon.client("fuzz");
            for (id, body) in &messages {
                // This one ends the connection, as it should.
                if *id != 17 {
                    send_raw(&mut client, &[&id.to_be_bytes()[..], body].concat());
                }
            }
            daemon.client("after").ping();
        });
    }
}
