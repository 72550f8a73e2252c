// SPDX-License-Identifier: Apache-2.0
//! A TAP seen from the host's side: its settings, frames both ways, and its end.

#![cfg(not(loom))]

mod common;

use std::io::ErrorKind;

use common::{Namespace, RawSocket, checksum_is_right, eventually, send_from_host, serial, udp};
use weft_devices::netdev::MacAddr;
use weft_devices::tap::input::{FrameSource, Taken};
use weft_devices::tap::{Tap, TapConfig};

const MAC: MacAddr = MacAddr([0x02, 0xfe, 0, 0, 0, 0x17]);

fn config(host: &Namespace) -> TapConfig {
    TapConfig {
        namespace: Some(host.path()),
        mac: Some(MAC),
        mtu: Some(1400),
        address: Some("192.0.2.1/28".parse().expect("an address")),
        ..TapConfig::new("weft0".parse().expect("a valid name"))
    }
}

#[test]
fn the_host_sees_what_was_asked_for() {
    let host = Namespace::new("host");
    let tap = Tap::create(&config(&host)).expect("the TAP is created");
    let shown = host.ip("-d address show dev weft0");
    for word in [
        "mtu 1400",
        &MAC.to_string(),
        "inet 192.0.2.1/28",
        "tun type tap pi off vnet_hdr on persist off",
        ",UP",
    ] {
        assert!(shown.contains(word), "\"{word}\" is missing in: {shown}");
    }
    let link = tap.netdev().link().expect("the interface is there");
    assert_eq!((link.mac, link.mtu, link.up), (Some(MAC), 1400, true));
    drop(tap);
    // Not at once if another test is just starting a command: its child holds the descriptor until exec.
    eventually("the interface ends with the value", || {
        (!host.ip("link show").contains("weft0")).then_some(())
    });
}

#[test]
fn frames_go_both_ways_whole() {
    let host = Namespace::new("host");
    let tap = Tap::create(&config(&host)).expect("the TAP is created");
    let stack = RawSocket::open(&host, "weft0");
    let mut buffer = [0; 1422];

    let up = udp([192, 0, 2, 1].into(), 53, 11);
    tap.send(&up).expect("the interface is up");
    let seen = eventually("the host receives", || stack.receive(|frame| serial(frame) == Some(11)));
    assert_eq!(seen, up);

    let down = udp([192, 0, 2, 2].into(), 53, 12);
    stack.send(&down);
    let length = eventually("the host's frame arrives", || {
        let Taken { length, .. } = tap.take(&mut buffer, &mut []).expect("reading works")?;
        (serial(&buffer[..length]) == Some(12)).then_some(length)
    });
    assert_eq!(&buffer[..length], down);

    // Checksums of the host's own packets are left to us: a UDP datagram of its stack.
    host.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev weft0");
    send_from_host(&host, [192, 0, 2, 2].into());
    let right = eventually("the datagram arrives", || {
        let Taken { length, unfinished } = tap.take(&mut buffer, &mut []).expect("reading works")?;
        let before = checksum_is_right(&buffer[..length])?;
        unfinished.finish(&mut buffer[..length]).expect("the kernel is right");
        Some((before, checksum_is_right(&buffer[..length])?))
    });
    assert_eq!(right, (false, true));
}

#[test]
fn a_stream_of_the_host_comes_in_large_pieces() {
    let host = Namespace::new("host");
    let tap = Tap::create(&config(&host)).expect("the TAP is created");
    assert!(host.exec("ethtool -k weft0").contains("tcp-segmentation-offload: on"));
    drop(tap);
}

#[test]
fn an_empty_tap_has_nothing_and_a_bad_frame_is_refused() {
    let host = Namespace::new("host");
    let tap = Tap::create(&config(&host)).expect("the TAP is created");
    // The host announces itself (IPv6) for a while; in the end nothing is left.
    host.ip("link set weft0 down");
    let mut buffer = [0; 1422];
    eventually("nothing is left", || {
        tap.take(&mut buffer, &mut []).expect("an empty TAP is no error").is_none().then_some(())
    });
    assert_eq!(tap.send(&[0; 60]).expect_err("the interface is down").raw_os_error(), Some(libc::EIO));
    host.ip("link set weft0 up");
    assert_eq!(tap.send(&[0; 13]).expect_err("shorter than a header").kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let host = Namespace::new("host");
    let tap = Tap::create(&config(&host)).expect("the TAP is created");
    for (name, what) in [("weft0", "a TAP of that name"), ("lo", "an interface of that name")] {
        let config = TapConfig { name: name.parse().expect("a valid name"), ..config(&host) };
        let error = Tap::create(&config).expect_err(what).to_string();
        assert!(error.contains(name) && error.contains("exists already"), "{error}");
    }
    drop(tap);
}
