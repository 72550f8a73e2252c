// SPDX-License-Identifier: Apache-2.0
//! `weftctl top`: one frame, and the live screen on a pseudo-terminal.

use std::os::unix::process::ExitStatusExt;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    daemon::run,
    segment::{Daemon, Folder},
    terminal::Terminal,
};

/// What a terminal is told when a full screen begins and ends (xterm's private mode 1049).
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const SIZE: Option<(u16, u16)> = Some((100, 30));

#[test]
fn one_frame() {
    let folder = Folder::new("once");
    let _daemon = Daemon::start(&folder);
    let ran = run(folder.weftctl(), &["top", "--once", "--interval", "0.1"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    for text in [
        "\nInterfaces\nName ",
        "\np0 ",
        "\nip4-lookup ",
        "ip4-lookup  no-route  no route to the destination\n",
    ] {
        assert!(ran.stdout.contains(text), "{text:?} is missing in:\n{}", ran.stdout);
    }
    let ran = run(folder.weftctl(), &["top", "--once", "--interval", "0.1", "--json"]);
    let frame: Value = serde_json::from_str(&ran.stdout).unwrap();
    let p0 = &frame["interfaces"][0];
    assert_eq!(p0["name"], "p0");
    let rx = |figure: &str| p0["rx"][figure].as_f64().unwrap();
    assert!(rx("packets_per_second") > 0.0);
    assert_about(&(rx("bits_per_second") / rx("packets_per_second")).into(), 480.0);
    let lookup = frame["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "ip4-lookup").unwrap();
    assert_about(&lookup["vectors_per_call"], 100.0);
    assert_about(&lookup["clocks_per_packet"], 40.0);
    assert_eq!(frame["drops"][0]["sentence"], "no route to the destination");
    assert_about(&frame["workers"][0]["clocks_per_packet"], 70.0);
}

/// Rates are quotients of floating-point numbers.
fn assert_about(figure: &Value, expected: f64) {
    let figure = figure.as_f64().unwrap();
    assert!((figure - expected).abs() < 0.01, "{figure} is not {expected}");
}

#[test]
fn one_frame_without_a_daemon() {
    let folder = Folder::new("once-absent");
    for words in [&["top", "--once"][..], &["top", "--json"]] {
        let ran = run(folder.weftctl(), words);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.starts_with("weftctl: cannot connect to the statistics socket"), "{}", ran.stderr);
    }
}

#[test]
fn a_screen_needs_a_terminal() {
    let folder = Folder::new("no-terminal");
    let ran = run(folder.weftctl(), &["top"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("needs a terminal"), "{}", ran.stderr);
}

fn open(folder: &Folder) -> Terminal {
    let mut weftctl = folder.weftctl();
    weftctl.args(["top", "--interval", "0.05"]);
    Terminal::open(weftctl, SIZE)
}

#[test]
fn a_live_screen() {
    let folder = Folder::new("live");
    let _daemon = Daemon::start(&folder);
    let mut terminal = open(&folder);
    terminal.wait_for(ENTER);
    terminal.wait_for("Interfaces");
    terminal.wait_for("p0");
    terminal.type_in("2");
    terminal.wait_for("ip4-lookup");
    terminal.type_in("\t");
    terminal.wait_for("no route to the destination");
    terminal.type_in("p");
    terminal.wait_for("paused");
    terminal.type_in("q");
    terminal.wait_for(LEAVE);
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn a_daemon_that_is_restarted_is_waited_for() {
    let folder = Folder::new("top-restart");
    let mut terminal = open(&folder);
    terminal.wait_for("waiting for weft");
    let daemon = Daemon::start(&folder);
    terminal.wait_for("p0");
    drop(daemon);
    terminal.wait_for("waiting for weft");
    let _daemon = Daemon::start(&folder);
    // The words of the status line are drawn anew.
    terminal.wait_for("up ");
    terminal.type_in("\x03");
    terminal.wait_for(LEAVE);
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let folder = Folder::new("signal");
    let _daemon = Daemon::start(&folder);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut terminal = open(&folder);
        terminal.wait_for("p0");
        kill(Pid::from_raw(terminal.pid()), signal).unwrap();
        terminal.wait_for(LEAVE);
        assert_eq!(terminal.end().signal(), Some(signal as i32));
    }
}
