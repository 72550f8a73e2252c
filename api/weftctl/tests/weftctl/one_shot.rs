// SPDX-License-Identifier: Apache-2.0
//! One command per run, and commands from a pipe.

use crate::daemon::{Daemon, pipe, run};

#[test]
fn a_command() {
    let daemon = Daemon::start("command");
    let ran = run(daemon.weftctl(), &["sh", "int"]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "eth0 down\ntap0 up\n", ""));
    let ran = run(daemon.weftctl(), &["set interface state eth0 up"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""));
    for words in [["--json", "show", "interface"], ["show", "interface", "--json"]] {
        let ran = run(daemon.weftctl(), &words);
        assert_eq!(ran.stdout, "[[\"eth0\",true],[\"tap0\",true]]\n");
    }
}

#[test]
fn a_wrong_command() {
    let daemon = Daemon::start("wrong");
    let ran = run(daemon.weftctl(), &["set", "interface", "state", "eth9", "up"]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "weftctl: expected interface, found \"eth9\": no such interface\n  \
         set interface state eth9 up\n                      ^^^^\n"
    );
    let ran = run(daemon.weftctl(), &["--jsn", "show", "interface"]);
    assert_eq!(ran.status, Some(1), "wrong options are wrong input: {}", ran.stderr);
    assert!(ran.stderr.contains("--json"), "{}", ran.stderr);
}

#[test]
fn words_of_a_command_are_never_those_of_weftctl() {
    let daemon = Daemon::start("words");
    let ran = run(daemon.weftctl(), &["show", "top"]);
    assert!(ran.stderr.contains("unknown word \"top\""), "it is for the daemon: {}", ran.stderr);
    let ran = run(daemon.weftctl(), &["show", "--json", "top"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("stats and top cannot stand behind other words"), "{}", ran.stderr);
}

#[test]
fn no_daemon() {
    let daemon = Daemon::start("nobody");
    let mut weftctl = daemon.weftctl();
    weftctl.arg("-s").arg(daemon.directory().join("other.sock"));
    let ran = run(weftctl, &["show", "interface"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.starts_with("weftctl: no daemon listens at "), "{}", ran.stderr);
    let mut weftctl = daemon.weftctl();
    weftctl.env("WEFT_CLI_SOCKET", "/nonexistent");
    assert_eq!(run(weftctl, &[]).status, Some(2), "also with nothing to do");
}

#[test]
fn a_slow_daemon() {
    let daemon = Daemon::start("slow");
    let ran = run(daemon.weftctl(), &["--timeout", "0.1", "sleep", "400"]);
    assert_eq!(ran.status, Some(2));
    assert_eq!(ran.stderr, "weftctl: the daemon was silent for 0.1 seconds\n");
    assert_eq!(run(daemon.weftctl(), &["--timeout", "0", "sleep", "400"]).status, Some(0));
}

#[test]
fn a_pipe() {
    let daemon = Daemon::start("pipe");
    let input = "# set-up\nset interface \\\n  state eth0 up\n\nshow interface\nshow interface --json";
    let ran = pipe(daemon.weftctl(), &[], input);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout, "eth0 up\ntap0 up\n[[\"eth0\",true],[\"tap0\",true]]\n");
    assert_eq!(ran.status, Some(0));
}

#[test]
fn a_pipe_stops_at_the_first_error() {
    let daemon = Daemon::start("stop");
    let input =
        "set interface state eth0 up\nset interface state eth0 upp\nset interface state eth0 down\nfoo\n";
    let ran = pipe(daemon.weftctl(), &[], input);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.starts_with("weftctl: line 2: expected up or down, found \"upp\""), "{}", ran.stderr);
    assert_eq!(run(daemon.weftctl(), &["show", "interface"]).stdout, "eth0 up\ntap0 up\n");

    let ran = pipe(daemon.weftctl(), &["--keep-going"], input);
    assert_eq!(ran.status, Some(1), "one failed, so all did not go well");
    assert!(ran.stderr.contains("line 2: ") && ran.stderr.contains("line 4: "), "{}", ran.stderr);
    assert_eq!(run(daemon.weftctl(), &["show", "interface"]).stdout, "eth0 down\ntap0 up\n");
}

#[test]
fn help_needs_no_daemon() {
    let daemon = Daemon::start("help");
    let ran = run(daemon.weftctl(), &["--help"]);
    assert_eq!(ran.status, Some(0));
    for word in
        ["--socket", "--json", "--timeout", "--keep-going", "WEFT_CLI_SOCKET", "stats", "top", "Exit status"]
    {
        assert!(ran.stdout.contains(word), "{word} is missing in:\n{}", ran.stdout);
    }
}
