// SPDX-License-Identifier: Apache-2.0
//! The prompt, on a pseudo-terminal.

use crate::{daemon::Daemon, terminal::Terminal};

#[test]
fn a_session() {
    let daemon = Daemon::start("session");
    let mut terminal = Terminal::open(daemon.weftctl(), None);
    terminal.wait_for("toy 1. Tab completes");
    terminal.wait_for("toy# ");

    terminal.type_in("show interface\r");
    terminal.wait_for("eth0 down\r\ntap0 up\r\n");
    terminal.wait_for("toy# ");

    terminal.type_in("show bogus\r");
    terminal.wait_for("unknown word \"bogus\"");
    terminal.wait_for("^^^^^");
    terminal.wait_for("toy# ");

    // Tab finishes each word; the name of the interface comes from the daemon.
    terminal.type_in("set\tint\tst\tet\tu\t\r");
    terminal.wait_for("set interface state eth0 up");
    terminal.wait_for("toy# ");
    terminal.type_in("show interface\r");
    terminal.wait_for("eth0 up\r\n");
    terminal.wait_for("toy# ");

    // `?` answers at once and gives the line back.
    terminal.type_in("set interface state ?");
    terminal.wait_for("set interface state <interface> up|down");
    terminal.wait_for("eth0");
    terminal.wait_for("toy# ");
    terminal.wait_for("set interface state ");
    terminal.type_in("tap0 down\r");
    terminal.wait_for("toy# ");

    // ^C drops the line, not the session.
    terminal.type_in("nonsense\x03");
    terminal.wait_for("toy# ");
    terminal.type_in("show interface\r");
    terminal.wait_for("tap0 down\r\n");
    terminal.wait_for("toy# ");
    terminal.type_in("quit\r");
    assert_eq!(terminal.end().code(), Some(0));
}

#[test]
fn history_outlives_the_session() {
    let daemon = Daemon::start("history");
    let mut first = Terminal::open(daemon.weftctl(), None);
    first.wait_for("toy# ");
    first.type_in("set interface state eth0 up\r");
    first.wait_for("toy# ");
    first.type_in("\x04");
    assert_eq!(first.end().code(), Some(0), "^D leaves");

    let mut second = Terminal::open(daemon.weftctl(), None);
    second.wait_for("toy# ");
    second.type_in("\x1b[A");
    second.wait_for("set interface state eth0 up");
}

#[test]
fn no_daemon() {
    let daemon = Daemon::start("gone");
    let mut weftctl = daemon.weftctl();
    weftctl.arg("--socket=/nonexistent");
    let pty = nix::pty::openpty(None, None).unwrap();
    let status = weftctl.stdin(pty.slave).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
